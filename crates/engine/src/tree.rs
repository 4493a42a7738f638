//! Structured values of a model that packs many jobs' rows.

use std::rc::Rc;

use interpreter::raise::Raise;

use crate::model::{Fields, Inputs, Layout, Packed, Part, Tensor, Tree};
use crate::python;

/// Returns what one part has of a packed value.
///
/// # Errors
/// When the packed tensor does not lie as the layout says.
pub fn take<T: Tensor>(tree: &Tree<Packed<T>>, layout: &Layout, part: usize) -> Result<Tree<T>, Raise> {
    graft(tree, &mut |leaf| match leaf {
        Packed::Parts(parts) => parts.get(part).cloned().map(Tree::Leaf).ok_or_else(missing_segment),
        Packed::Some(parts) => Ok(parts.get(part).ok_or_else(missing_segment)?.clone().map_or(Tree::None, Tree::Leaf)),
        Packed::Tokens(tensor) => {
            let &Part { rows, length, .. } = layout.parts.get(part).ok_or_else(missing_segment)?;
            let own = if layout.parts.len() == 1 {
                tensor.clone()
            } else {
                tensor.rows(layout.start(part), rows * length)?
            };
            let mut shape = vec![rows, length];
            shape.extend(own.shape().into_iter().skip(1));
            own.view(&shape).map(Tree::Leaf)
        }
    })
}

/// Replaces what one part has of a packed value.
///
/// # Errors
/// `RuntimeError` for a tensor of another shape than the packed one holds. Then nothing of other parts has changed.
pub fn put<T: Tensor>(tree: &mut Tree<Packed<T>>, layout: &Layout, part: usize, new: Tree<T>) -> Result<(), Raise> {
    match (tree, new) {
        (Tree::Leaf(packed), Tree::Leaf(new)) => put_leaf(packed, layout, part, new)?,
        (Tree::Tuple(old), Tree::Tuple(new)) if old.len() == new.len() => {
            old.iter_mut().zip(new).try_for_each(|(old, new)| put(old, layout, part, new))?;
        }
        (Tree::Record { fields: old, .. }, Tree::Record { fields: new, .. }) | (Tree::Dict(old), Tree::Dict(new)) => {
            for (name, new) in new {
                if let Some((_, old)) = old.iter_mut().find(|(other, _)| *other == name) {
                    put(old, layout, part, new)?;
                }
            }
        }
        (tree, new) if layout.parts.len() == 1 => {
            *tree = map(&new, &mut |leaf: &T| Ok(Packed::Parts(vec![leaf.clone()])))?;
        }
        _ => {}
    }
    Ok(())
}

fn put_leaf<T: Tensor>(packed: &mut Packed<T>, layout: &Layout, part: usize, new: T) -> Result<(), Raise> {
    match packed {
        Packed::Parts(parts) => *parts.get_mut(part).ok_or_else(missing_segment)? = new,
        Packed::Some(parts) => *parts.get_mut(part).ok_or_else(missing_segment)? = Some(new),
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
                *packed = Packed::Tokens(new.view(&flat)?);
                return Ok(());
            }
            // The others' views of live memory, so that many replacements cost one joining.
            let mut parts = (0..layout.parts.len())
                .map(|part| match take(&Tree::Leaf(Packed::Tokens(tensor.clone())), layout, part)? {
                    Tree::Leaf(own) => Ok(own),
                    _ => Err(missing_segment()),
                })
                .collect::<Result<Vec<_>, _>>()?;
            *parts.get_mut(part).ok_or_else(missing_segment)? = new;
            *packed = Packed::Parts(parts);
        }
    }
    Ok(())
}

fn missing_segment() -> Raise {
    Raise::runtime_error("the model returned fewer segments than it was given")
}

/// Applies a function to every tensor.
///
/// # Errors
/// The first that the function returns.
pub fn map<A, B>(tree: &Tree<A>, apply: &mut impl FnMut(&A) -> Result<B, Raise>) -> Result<Tree<B>, Raise> {
    graft(tree, &mut |leaf| apply(leaf).map(Tree::Leaf))
}

/// Puts what a function makes of it in the place of every tensor.
fn graft<A, B>(tree: &Tree<A>, apply: &mut impl FnMut(&A) -> Result<Tree<B>, Raise>) -> Result<Tree<B>, Raise> {
    Ok(match tree {
        Tree::None => Tree::None,
        Tree::Bool(value) => Tree::Bool(*value),
        Tree::Int(value) => Tree::Int(*value),
        Tree::Float(value) => Tree::Float(*value),
        Tree::Object(object) => Tree::Object(Rc::clone(object)),
        Tree::Leaf(leaf) => apply(leaf)?,
        Tree::Tuple(items) => Tree::Tuple(items.iter().map(|item| graft(item, apply)).collect::<Result<_, _>>()?),
        Tree::Dict(entries) => Tree::Dict(graft_fields(entries, apply)?),
        Tree::Record { class, fields } => Tree::Record { class, fields: graft_fields(fields, apply)? },
    })
}

fn graft_fields<A, B>(
    fields: &[(&'static str, Tree<A>)],
    apply: &mut impl FnMut(&A) -> Result<Tree<B>, Raise>,
) -> Result<Fields<B>, Raise> {
    fields.iter().map(|(name, field)| Ok((*name, graft(field, apply)?))).collect()
}

/// Lists the tensors.
pub fn leaves<T: Clone>(tree: &Tree<T>, found: &mut Vec<T>) {
    match tree {
        Tree::Leaf(leaf) => found.push(leaf.clone()),
        Tree::Tuple(items) => items.iter().for_each(|item| leaves(item, found)),
        Tree::Record { fields, .. } | Tree::Dict(fields) => fields.iter().for_each(|(_, field)| leaves(field, found)),
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
        (Tree::Record { fields: old, .. }, Tree::Record { fields: new, .. }) | (Tree::Dict(old), Tree::Dict(new)) => {
            let kept = |(name, old): &(&str, Tree<T>)| {
                new.iter().find(|(other, _)| other == name).is_none_or(|(_, new)| alike(old, new, part))
            };
            old.iter().all(kept)
        }
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
                None => Packed::Parts(leaves),
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
        Tree::Dict(entries) => Tree::Dict(pack_fields(entries, parts, layout)?),
        Tree::Record { class, fields } => Tree::Record { class, fields: pack_fields(fields, parts, layout)? },
    })
}

fn pack_fields<T: Tensor>(
    fields: &[(&'static str, Tree<T>)],
    parts: &[&Tree<T>],
    layout: &Layout,
) -> Result<Fields<Packed<T>>, Raise> {
    let own = |(name, _): &(&'static str, Tree<T>)| {
        let column = parts.iter().filter_map(|part| match part {
            Tree::Record { fields, .. } | Tree::Dict(fields) => {
                fields.iter().find(|(other, _)| other == name).map(|(_, tree)| tree)
            }
            _ => None,
        });
        Ok((*name, pack(&column.collect::<Vec<_>>(), layout)?))
    };
    fields.iter().map(own).collect()
}
