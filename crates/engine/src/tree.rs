//! Structured values between the model, which packs many jobs' rows, and Python, which sees one block's rows.

use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Machine, Value};

use crate::model::{Inputs, Layout, Model, Packed, Part, Tensor, Tree};
use crate::output::ModelOutput;
use crate::python;

/// The rows that a block sees of its job's batch.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// First row and number of rows; `None` sees all.
    pub group: Option<(i64, i64)>,
    /// Rows of the whole batch.
    pub total: i64,
}

/// Returns what one part has of a packed value.
///
/// # Errors
/// When the packed tensor does not lie as the layout says.
pub fn take<T: Tensor>(tree: &Tree<Packed<T>>, layout: &Layout, part: usize) -> Result<Tree<T>, Raise> {
    map(tree, &mut |leaf| match leaf {
        Packed::Segments(parts) => parts.get(part).cloned().ok_or_else(missing_segment),
        Packed::Tokens(tensor) => {
            let &Part { rows, length, .. } = layout.parts.get(part).ok_or_else(missing_segment)?;
            let own = if layout.parts.len() == 1 {
                tensor.clone()
            } else {
                tensor.rows(layout.start(part), rows * length)?
            };
            let mut shape = vec![rows, length];
            shape.extend(own.shape().into_iter().skip(1));
            own.view(&shape)
        }
    })
}

/// Replaces what one part has of a packed value.
///
/// # Errors
/// `RuntimeError` for a tensor of another shape than the packed one holds.
pub fn put<T: Tensor>(
    tree: &Tree<Packed<T>>,
    layout: &Layout,
    part: usize,
    new: Tree<T>,
) -> Result<Tree<Packed<T>>, Raise> {
    Ok(match (tree, new) {
        (Tree::Leaf(packed), Tree::Leaf(new)) => Tree::Leaf(put_leaf(packed, layout, part, new)?),
        (Tree::Tuple(old), Tree::Tuple(new)) if old.len() == new.len() => {
            Tree::Tuple(old.iter().zip(new).map(|(old, new)| put(old, layout, part, new)).collect::<Result<_, _>>()?)
        }
        (Tree::Record { class, fields: old }, Tree::Record { fields: new, .. }) => {
            let fields = old
                .iter()
                .map(|(name, old)| match new.iter().find(|(other, _)| other == name) {
                    Some((_, new)) => Ok((*name, put(old, layout, part, new.clone())?)),
                    None => Ok((*name, old.clone())),
                })
                .collect::<Result<_, Raise>>()?;
            Tree::Record { class, fields }
        }
        (_, new) if layout.parts.len() == 1 => map(&new, &mut |leaf: &T| Ok(Packed::Segments(vec![leaf.clone()])))?,
        (old, _) => old.clone(),
    })
}

fn put_leaf<T: Tensor>(packed: &Packed<T>, layout: &Layout, part: usize, new: T) -> Result<Packed<T>, Raise> {
    match packed {
        Packed::Segments(parts) => {
            let mut parts = parts.clone();
            *parts.get_mut(part).ok_or_else(missing_segment)? = new;
            Ok(Packed::Segments(parts))
        }
        Packed::Tokens(tensor) => {
            let &Part { rows, length, .. } = layout.parts.get(part).ok_or_else(missing_segment)?;
            let whole = tensor.shape();
            let mut expected = vec![rows, length];
            expected.extend(whole.iter().skip(1));
            let given = new.shape();
            if given != expected {
                return Err(Raise::runtime_error(format!(
                    "the value assigned has shape {}, but the model computes with {} here",
                    python::shape_text(&given),
                    python::shape_text(&expected)
                )));
            }
            let mut flat = vec![rows * length];
            flat.extend(whole.iter().skip(1));
            if layout.parts.len() == 1 {
                return Ok(Packed::Tokens(new.view(&flat)?));
            }
            // The others' views of live memory, so that many replacements cost one joining.
            let mut parts = (0..layout.parts.len())
                .map(|part| match take(&Tree::Leaf(packed.clone()), layout, part)? {
                    Tree::Leaf(own) => Ok(own),
                    _ => Err(missing_segment()),
                })
                .collect::<Result<Vec<_>, _>>()?;
            *parts.get_mut(part).ok_or_else(missing_segment)? = new;
            Ok(Packed::Segments(parts))
        }
    }
}

fn missing_segment() -> Raise {
    Raise::runtime_error("the model returned fewer segments than it was given")
}

/// Applies a function to every tensor.
///
/// # Errors
/// The first that the function returns.
pub fn map<A, B>(tree: &Tree<A>, apply: &mut impl FnMut(&A) -> Result<B, Raise>) -> Result<Tree<B>, Raise> {
    Ok(match tree {
        Tree::None => Tree::None,
        Tree::Bool(value) => Tree::Bool(*value),
        Tree::Int(value) => Tree::Int(*value),
        Tree::Float(value) => Tree::Float(*value),
        Tree::Object(object) => Tree::Object(Rc::clone(object)),
        Tree::Leaf(leaf) => Tree::Leaf(apply(leaf)?),
        Tree::Tuple(items) => Tree::Tuple(items.iter().map(|item| map(item, apply)).collect::<Result<_, _>>()?),
        Tree::Record { class, fields } => Tree::Record {
            class,
            fields: fields.iter().map(|(name, field)| Ok((*name, map(field, apply)?))).collect::<Result<_, Raise>>()?,
        },
    })
}

/// Lists the tensors.
pub fn leaves<T: Clone>(tree: &Tree<T>, found: &mut Vec<T>) {
    match tree {
        Tree::Leaf(leaf) => found.push(leaf.clone()),
        Tree::Tuple(items) => items.iter().for_each(|item| leaves(item, found)),
        Tree::Record { fields, .. } => fields.iter().for_each(|(_, field)| leaves(field, found)),
        Tree::None | Tree::Bool(_) | Tree::Int(_) | Tree::Float(_) | Tree::Object(_) => {}
    }
}

/// Returns whether what replaces a part's value can lie where that lies: tensors along the tokens keep their shape and
/// element type, and what is no tensor stays as it is.
pub fn alike<T: Tensor>(old: &Tree<T>, new: &Tree<T>, part: &Part) -> bool {
    match (old, new) {
        (Tree::Leaf(old), Tree::Leaf(new)) => {
            let free = old.pending() || !old.shape().starts_with(&[part.rows, part.length]);
            free || old.shape() == new.shape() && old.same_kind(new)
        }
        (Tree::Tuple(old), Tree::Tuple(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| alike(old, new, part))
        }
        (Tree::Record { fields: old, .. }, Tree::Record { fields: new, .. }) => old.iter().all(|(name, old)| {
            new.iter().find(|(other, _)| other == name).is_none_or(|(_, new)| alike(old, new, part))
        }),
        (Tree::None, Tree::None) | (Tree::Object(_), Tree::Object(_)) => true,
        (Tree::Bool(old), Tree::Bool(new)) => old == new,
        (Tree::Int(old), Tree::Int(new)) => old == new,
        (Tree::Float(old), Tree::Float(new)) => old.to_bits() == new.to_bits(),
        _ => false,
    }
}

/// Returns whether a module's arguments can be replaced by others in a shared pass.
pub fn alike_inputs<T: Tensor>(old: &Inputs<T>, new: &Inputs<T>, part: &Part) -> bool {
    let named = |(name, old): &(&'static str, Tree<T>)| {
        new.kwargs.iter().find(|(other, _)| other == name).is_none_or(|(_, new)| alike(old, new, part))
    };
    old.args.len() >= new.args.len()
        && old.args.iter().zip(&new.args).all(|(old, new)| alike(old, new, part))
        && old.kwargs.iter().all(named)
}

/// Returns whether the tensors of all parts begin with their part's `[rows, length]` and agree in all else.
pub fn lie_along_tokens<T: Tensor>(parts: &[&Tree<T>], layout: &Layout) -> bool {
    let all: Vec<Vec<T>> = parts
        .iter()
        .map(|tree| {
            let mut found = Vec::new();
            leaves(tree, &mut found);
            found
        })
        .collect();
    let Some(first) = all.first() else { return true };
    let rest = |leaf: &T| leaf.shape().into_iter().skip(2).collect::<Vec<_>>();
    all.iter().zip(&layout.parts).all(|(leaves, &Part { rows, length, .. })| {
        leaves.len() == first.len()
            && leaves.iter().zip(first).all(|(leaf, first)| {
                leaf.shape().starts_with(&[rows, length]) && rest(leaf) == rest(first) && leaf.same_kind(first)
            })
    })
}

/// Applies a function to every tree of a module's arguments.
///
/// # Errors
/// The first that the function returns.
pub fn map_inputs<A, B>(
    inputs: &Inputs<A>,
    mut apply: impl FnMut(&Tree<A>) -> Result<Tree<B>, Raise>,
) -> Result<Inputs<B>, Raise> {
    Ok(Inputs {
        args: inputs.args.iter().map(&mut apply).collect::<Result<_, _>>()?,
        kwargs: inputs.kwargs.iter().map(|(name, tree)| Ok((*name, apply(tree)?))).collect::<Result<_, Raise>>()?,
    })
}

/// Shows a value to Python, narrowed to a block's rows.
///
/// # Errors
/// When a view cannot be made.
pub fn show<M: Model>(
    model: &M,
    machine: &Machine,
    tree: &Tree<M::Tensor>,
    segment: usize,
    rows: Rows,
) -> Result<Value, Raise> {
    Ok(match tree {
        Tree::None => Value::None,
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Int(value) => Value::Int(*value),
        Tree::Float(value) => Value::Float(*value),
        Tree::Object(object) => model.object(machine, object, segment),
        Tree::Leaf(tensor) => match rows.group {
            Some((start, length)) if tensor.shape().first() == Some(&rows.total) => {
                tensor.rows(start, length)?.to_value(machine)
            }
            _ => tensor.to_value(machine),
        },
        Tree::Tuple(items) => {
            Value::tuple(items.iter().map(|item| show(model, machine, item, segment, rows)).collect::<Result<_, _>>()?)
        }
        Tree::Record { class, fields } => {
            let fields = fields
                .iter()
                .map(|(name, field)| Ok((*name, show(model, machine, field, segment, rows)?)))
                .collect::<Result<_, Raise>>()?;
            Value::Host(Rc::new(ModelOutput::new(class, fields)))
        }
    })
}

/// Shows a module's arguments to Python as `(args, kwargs)`.
///
/// # Errors
/// When a view cannot be made.
pub fn show_inputs<M: Model>(
    model: &M,
    machine: &Machine,
    inputs: &Inputs<M::Tensor>,
    segment: usize,
    rows: Rows,
) -> Result<Value, Raise> {
    let args = inputs.args.iter().map(|tree| show(model, machine, tree, segment, rows)).collect::<Result<_, _>>()?;
    let kwargs = inputs
        .kwargs
        .iter()
        .map(|(name, tree)| Ok((Value::string(*name), show(model, machine, tree, segment, rows)?)))
        .collect::<Result<Vec<_>, Raise>>()?;
    Ok(Value::tuple(vec![Value::tuple(args), python::dict(machine, kwargs)?]))
}

/// Takes an edited value back: tensors of a block's rows are spliced into the batch, and what Python cannot express
/// (a cache) stays as it was.
///
/// # Errors
/// `TypeError` for a value that no model computes with, and whatever splicing raises.
pub fn merge<T: Tensor>(old: &Tree<T>, new: &Value, rows: Rows) -> Result<Tree<T>, Raise> {
    if let Some(tensor) = T::of_value(new) {
        return Ok(Tree::Leaf(match (rows.group, old) {
            (Some((start, length)), Tree::Leaf(whole)) if whole.shape().first() == Some(&rows.total) => {
                splice(whole, start, length, tensor, rows.total)?
            }
            _ => tensor,
        }));
    }
    if let Some(output) = python::host::<ModelOutput>(new) {
        let Tree::Record { class, fields } = old else {
            return Err(Raise::type_error("a ModelOutput was assigned where the module returns something else"));
        };
        let fields = fields
            .iter()
            .map(|(name, field)| match output.field(name) {
                Some(value) => Ok((*name, merge(field, &value, rows)?)),
                None => Ok((*name, field.clone())),
            })
            .collect::<Result<_, Raise>>()?;
        return Ok(Tree::Record { class, fields });
    }
    if let Some(items) = python::sequence(new) {
        let old_items = match old {
            Tree::Tuple(items) => items.as_slice(),
            _ => &[],
        };
        let items = items
            .iter()
            .enumerate()
            .map(|(index, item)| merge(old_items.get(index).unwrap_or(&Tree::None), item, rows))
            .collect::<Result<_, _>>()?;
        return Ok(Tree::Tuple(items));
    }
    Ok(match new {
        Value::None => Tree::None,
        Value::Bool(value) => Tree::Bool(*value),
        Value::Int(value) => Tree::Int(*value),
        Value::Float(value) => Tree::Float(*value),
        _ => match old {
            Tree::Object(object) => Tree::Object(Rc::clone(object)),
            _ => {
                return Err(Raise::type_error(format!(
                    "a model cannot compute with a value of type '{}'",
                    interpreter::types::type_name(new)
                )));
            }
        },
    })
}

/// Takes edited arguments back from `(args, kwargs)`.
///
/// # Errors
/// `TypeError` for anything but such a pair.
pub fn merge_inputs<T: Tensor>(old: &Inputs<T>, new: &Value, rows: Rows) -> Result<Inputs<T>, Raise> {
    let bad = || Raise::type_error("`.inputs` takes a pair of a tuple of arguments and a dict of keyword arguments");
    let pair = python::sequence(new).filter(|pair| pair.len() == 2).ok_or_else(bad)?;
    let args = pair.first().and_then(python::sequence).ok_or_else(bad)?;
    let kwargs = pair.get(1).and_then(python::string_items).ok_or_else(bad)?;
    let args = args
        .iter()
        .enumerate()
        .map(|(index, value)| merge(old.args.get(index).unwrap_or(&Tree::None), value, rows))
        .collect::<Result<_, _>>()?;
    let kwargs = old
        .kwargs
        .iter()
        .filter_map(|(name, tree)| {
            let (_, value) = kwargs.iter().find(|(other, _)| &**other == *name)?;
            Some(merge(tree, value, rows).map(|tree| (*name, tree)))
        })
        .collect::<Result<_, _>>()?;
    Ok(Inputs { args, kwargs })
}

/// Joins what each block's skip put in place of a module's output.
///
/// # Errors
/// `ValueError` when the parts leave rows out.
pub fn join_skips<T: Tensor>(mut parts: Vec<((i64, i64), Tree<T>)>, total: i64) -> Result<Tree<T>, Raise> {
    parts.sort_by_key(|((start, _), _)| *start);
    let covered =
        parts.iter().try_fold(0, |covered, ((start, length), _)| (*start == covered).then_some(covered + length));
    if covered != Some(total) {
        return Err(Raise::value_error(
            "A batched `.skip()` has to cover every row: skip the module in every invoke, or none — a shared forward \
             can't run for only the rows an invoke left unskipped.",
        ));
    }
    concat(&parts.into_iter().map(|(_, tree)| tree).collect::<Vec<_>>())
}

fn concat<T: Tensor>(trees: &[Tree<T>]) -> Result<Tree<T>, Raise> {
    let Some(first) = trees.first() else { return Ok(Tree::None) };
    Ok(match first {
        Tree::Leaf(_) => {
            let tensors = trees.iter().filter_map(|tree| match tree {
                Tree::Leaf(tensor) => Some(tensor.clone()),
                _ => None,
            });
            Tree::Leaf(T::join(&tensors.collect::<Vec<_>>())?)
        }
        Tree::Tuple(items) => Tree::Tuple(
            (0..items.len())
                .map(|index| {
                    let column = trees.iter().filter_map(|tree| match tree {
                        Tree::Tuple(items) => items.get(index).cloned(),
                        _ => None,
                    });
                    concat(&column.collect::<Vec<_>>())
                })
                .collect::<Result<_, _>>()?,
        ),
        other => other.clone(),
    })
}

/// Replaces rows by joining, not in place: the block's earlier readings of the tensor stay as they were.
fn splice<T: Tensor>(whole: &T, start: i64, length: i64, new: T, total: i64) -> Result<T, Raise> {
    T::join(&[whole.rows(0, start)?, new, whole.rows(start + length, total - start - length)?])
}

/// Packs one value of each segment: a tensor that begins with a segment's `[rows, length]` lies along the tokens.
///
/// # Errors
/// When the segments' tensors do not join.
pub fn pack<T: Tensor>(parts: &[&Tree<T>], layout: &Layout) -> Result<Tree<Packed<T>>, Raise> {
    let Some(first) = parts.first() else { return Ok(Tree::None) };
    Ok(match first {
        Tree::Leaf(_) => {
            let leaves = parts.iter().filter_map(|part| match part {
                Tree::Leaf(tensor) => Some(tensor.clone()),
                _ => None,
            });
            let leaves: Vec<T> = leaves.collect();
            let flat: Option<Vec<T>> = leaves
                .iter()
                .zip(&layout.parts)
                .map(|(leaf, &Part { rows, length, .. })| {
                    let shape = leaf.shape();
                    let rest = shape.strip_prefix(&[rows, length])?;
                    let mut flat = vec![rows * length];
                    flat.extend(rest);
                    leaf.view(&flat).ok()
                })
                .collect();
            Tree::Leaf(match flat {
                Some(flat) if flat.len() == 1 => Packed::Tokens(flat.into_iter().next().ok_or_else(missing_segment)?),
                Some(flat) => Packed::Tokens(T::join(&flat)?),
                None => Packed::Segments(leaves),
            })
        }
        Tree::Tuple(items) => Tree::Tuple(
            (0..items.len())
                .map(|index| {
                    let column = parts.iter().filter_map(|part| match part {
                        Tree::Tuple(items) => items.get(index),
                        _ => None,
                    });
                    pack(&column.collect::<Vec<_>>(), layout)
                })
                .collect::<Result<_, _>>()?,
        ),
        Tree::None => Tree::None,
        Tree::Bool(value) => Tree::Bool(*value),
        Tree::Int(value) => Tree::Int(*value),
        Tree::Float(value) => Tree::Float(*value),
        Tree::Object(object) => Tree::Object(Rc::clone(object)),
        Tree::Record { class, fields } => Tree::Record {
            class,
            fields: fields
                .iter()
                .map(|(name, _)| {
                    let column = parts.iter().filter_map(|part| match part {
                        Tree::Record { fields, .. } => {
                            fields.iter().find(|(other, _)| other == name).map(|(_, tree)| tree)
                        }
                        _ => None,
                    });
                    Ok((*name, pack(&column.collect::<Vec<_>>(), layout)?))
                })
                .collect::<Result<_, Raise>>()?,
        },
    })
}
