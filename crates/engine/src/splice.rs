//! Values as the blocks of one trace see and replace them, each its own rows.

use std::collections::BTreeMap;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Machine, Value};

use crate::model::{Fields, Inputs, Model, Tensor, Tree};
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

/// A tensor over a whole batch, and what blocks have put in the place of their rows. These are joined once, when all
/// blocks have been served, however many there are; not in place, since what a block read before stays as it was.
#[derive(Clone)]
pub struct Leaf<T> {
    whole: T,
    /// By their first row.
    pieces: BTreeMap<i64, Piece<T>>,
}

#[derive(Clone)]
struct Piece<T> {
    rows: i64,
    /// Nobody else's memory.
    value: T,
}

impl<T: Tensor> Leaf<T> {
    /// Takes a tensor that nobody has changed.
    pub fn new(whole: T) -> Self {
        Self { whole, pieces: BTreeMap::new() }
    }

    /// Joins what was put in the place of rows.
    ///
    /// # Errors
    /// When there is no memory for that.
    pub fn settle(&mut self) -> Result<&T, Raise> {
        if !self.pieces.is_empty() {
            let total = self.whole.shape().first().copied().unwrap_or(0);
            let (mut parts, mut at) = (Vec::with_capacity(2 * self.pieces.len() + 1), 0);
            for (&start, piece) in &self.pieces {
                if start > at {
                    parts.push(self.whole.rows(at, start - at)?);
                }
                parts.push(piece.value.clone());
                at = start + piece.rows;
            }
            if total > at {
                parts.push(self.whole.rows(at, total - at)?);
            }
            self.whole = T::join(&parts)?;
            self.pieces.clear();
        }
        Ok(&self.whole)
    }

    /// Returns what a block sees.
    fn seen(&mut self, rows: Rows) -> Result<T, Raise> {
        let Some((start, length)) = rows.group.filter(|_| self.whole.shape().first() == Some(&rows.total)) else {
            return self.settle().cloned();
        };
        if let Some(piece) = self.pieces.get(&start).filter(|piece| piece.rows == length) {
            return Ok(piece.value.clone());
        }
        let before = self.pieces.range(..start + length).next_back();
        if before.is_some_and(|(first, piece)| first + piece.rows > start) {
            self.settle()?;
        }
        self.whole.rows(start, length)
    }

    /// Decides how a tensor takes the place of a block's rows.
    fn replacement(&self, new: T, rows: Rows) -> Result<New<T>, Raise> {
        let shape = self.whole.shape();
        let Some((start, length)) = rows.group.filter(|_| shape.first() == Some(&rows.total)) else {
            return Ok(New::Whole(new));
        };
        let fits = !self.whole.pending() && !new.pending() && self.whole.same_kind(&new) && {
            let given = new.shape();
            given.first() == Some(&length) && given.get(1..) == shape.get(1..)
        };
        if fits {
            return Ok(New::Rows(start, Piece { rows: length, value: new.duplicate()? }));
        }
        // What does not fit is refused, or not, as by PyTorch's own joining.
        let mut whole = self.clone();
        let whole = whole.settle()?;
        let end = start + length;
        Ok(New::Whole(T::join(&[whole.rows(0, start)?, new, whole.rows(end, rows.total - end)?])?))
    }
}

/// What a block assigned.
enum New<T> {
    /// What was there.
    Keep,
    Whole(T),
    Rows(i64, Piece<T>),
}

/// Begins to show a value.
pub fn open<T: Tensor>(tree: Tree<T>) -> Tree<Leaf<T>> {
    map(tree, &mut |leaf| Ok(Leaf::new(leaf))).unwrap_or(Tree::None)
}

/// Returns the value that blocks have made of it.
///
/// # Errors
/// When there is no memory to join it.
pub fn close<T: Tensor>(tree: Tree<Leaf<T>>) -> Result<Tree<T>, Raise> {
    map(tree, &mut |mut leaf| leaf.settle().cloned())
}

/// Does to all of a module's arguments what [`open`] and [`close`] do to one value.
///
/// # Errors
/// The first that the function returns.
pub fn each<A, B>(inputs: Inputs<A>, apply: impl Fn(Tree<A>) -> Result<Tree<B>, Raise>) -> Result<Inputs<B>, Raise> {
    Ok(Inputs {
        args: inputs.args.into_iter().map(&apply).collect::<Result<_, _>>()?,
        kwargs: inputs.kwargs.into_iter().map(|(name, tree)| Ok((name, apply(tree)?))).collect::<Result<_, Raise>>()?,
    })
}

fn map<A, B>(tree: Tree<A>, apply: &mut impl FnMut(A) -> Result<B, Raise>) -> Result<Tree<B>, Raise> {
    Ok(match tree {
        Tree::None => Tree::None,
        Tree::Bool(value) => Tree::Bool(value),
        Tree::Int(value) => Tree::Int(value),
        Tree::Float(value) => Tree::Float(value),
        Tree::Object(object) => Tree::Object(object),
        Tree::Leaf(leaf) => Tree::Leaf(apply(leaf)?),
        Tree::Tuple(items) => Tree::Tuple(items.into_iter().map(|item| map(item, apply)).collect::<Result<_, _>>()?),
        Tree::Dict(entries) => Tree::Dict(map_fields(entries, apply)?),
        Tree::Record { class, fields } => Tree::Record { class, fields: map_fields(fields, apply)? },
    })
}

fn map_fields<A, B>(fields: Fields<A>, apply: &mut impl FnMut(A) -> Result<B, Raise>) -> Result<Fields<B>, Raise> {
    fields.into_iter().map(|(name, field)| Ok((name, map(field, apply)?))).collect()
}

/// Shows a value to Python, narrowed to a block's rows.
///
/// # Errors
/// When a view cannot be made.
pub fn show<M: Model>(
    model: &M,
    machine: &Machine,
    tree: &mut Tree<Leaf<M::Tensor>>,
    part: usize,
    rows: Rows,
) -> Result<Value, Raise> {
    Ok(match tree {
        Tree::None => Value::None,
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Int(value) => Value::Int(*value),
        Tree::Float(value) => Value::Float(*value),
        Tree::Object(object) => match object.downcast_ref::<Value>() {
            Some(value) => value.clone(),
            None => model.object(machine, object, part),
        },
        Tree::Leaf(leaf) => leaf.seen(rows)?.to_value(machine),
        Tree::Tuple(items) => {
            Value::tuple(items.iter_mut().map(|item| show(model, machine, item, part, rows)).collect::<Result<_, _>>()?)
        }
        Tree::Dict(entries) => {
            let entries = entries
                .iter_mut()
                .map(|(name, entry)| Ok((Value::string(*name), show(model, machine, entry, part, rows)?)))
                .collect::<Result<Vec<_>, Raise>>()?;
            python::dict(machine, entries)?
        }
        Tree::Record { class, fields } => {
            let fields = fields
                .iter_mut()
                .map(|(name, field)| Ok((*name, show(model, machine, field, part, rows)?)))
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
    inputs: &mut Inputs<Leaf<M::Tensor>>,
    part: usize,
    rows: Rows,
) -> Result<Value, Raise> {
    let args = inputs.args.iter_mut().map(|tree| show(model, machine, tree, part, rows)).collect::<Result<_, _>>()?;
    let kwargs = inputs
        .kwargs
        .iter_mut()
        .map(|(name, tree)| Ok((Value::string(*name), show(model, machine, tree, part, rows)?)))
        .collect::<Result<Vec<_>, Raise>>()?;
    Ok(Value::tuple(vec![Value::tuple(args), python::dict(machine, kwargs)?]))
}

/// Puts an edited value in the place of a block's rows; what Python cannot express (a cache) stays as it was.
///
/// # Errors
/// `TypeError` for a value that no model computes with, and whatever joining raises. Then nothing has changed.
pub fn assign<T: Tensor>(tree: &mut Tree<Leaf<T>>, value: &Value, rows: Rows) -> Result<(), Raise> {
    let new = merge(tree, value, rows)?;
    *tree = apply(std::mem::replace(tree, Tree::None), new);
    Ok(())
}

/// Takes edited arguments back from `(args, kwargs)`.
///
/// # Errors
/// `TypeError` for anything but such a pair.
pub fn assign_inputs<T: Tensor>(inputs: &mut Inputs<Leaf<T>>, value: &Value, rows: Rows) -> Result<(), Raise> {
    let bad = || Raise::type_error("`.inputs` takes a pair of a tuple of arguments and a dict of keyword arguments");
    let pair = python::sequence(value).filter(|pair| pair.len() == 2).ok_or_else(bad)?;
    let args = pair.first().and_then(python::sequence).ok_or_else(bad)?;
    let kwargs = pair.get(1).and_then(python::string_items).ok_or_else(bad)?;
    let is_known = |name: &str| inputs.kwargs.iter().any(|(known, _)| *known == name);
    if let Some((name, _)) = kwargs.iter().find(|(name, _)| !is_known(name)) {
        return Err(Raise::type_error(format!("forward() got an unexpected keyword argument '{name}'")));
    }
    let new: Vec<_> = args
        .iter()
        .enumerate()
        .map(|(index, value)| merge(inputs.args.get(index).unwrap_or(&Tree::None), value, rows))
        .collect::<Result<_, _>>()?;
    let named: Vec<_> = inputs
        .kwargs
        .iter()
        .filter_map(|(name, tree)| {
            let (_, value) = kwargs.iter().find(|(other, _)| &**other == *name)?;
            Some(merge(tree, value, rows).map(|new| (*name, new)))
        })
        .collect::<Result<_, _>>()?;
    let mut old = std::mem::take(&mut inputs.args).into_iter();
    inputs.args = new.into_iter().map(|new| apply(old.next().unwrap_or(Tree::None), new)).collect();
    let mut old = std::mem::take(&mut inputs.kwargs);
    for (name, new) in named {
        if let Some(at) = old.iter().position(|(other, _)| *other == name) {
            inputs.kwargs.push((name, apply(old.swap_remove(at).1, new)));
        }
    }
    Ok(())
}

/// Says whether `.inputs` was given a tensor where the arguments of a call belong: rows of it would be the arguments, which
/// does not matter where the module is left out.
pub fn is_tensor_for_arguments<T: Tensor>(value: &Value) -> bool {
    python::sequence(value).and_then(|pair| T::of_value(pair.first()?)).is_some()
}

/// Reads what a block assigns.
fn merge<T: Tensor>(old: &Tree<Leaf<T>>, new: &Value, rows: Rows) -> Result<Tree<New<T>>, Raise> {
    if let Some(tensor) = T::of_value(new) {
        return Ok(Tree::Leaf(match old {
            Tree::Leaf(leaf) => leaf.replacement(tensor, rows)?,
            _ => New::Whole(tensor),
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
                None => Ok((*name, Tree::Leaf(New::Keep))),
            })
            .collect::<Result<_, Raise>>()?;
        return Ok(Tree::Record { class, fields });
    }
    if let Tree::Dict(entries) = old
        && let Some(given) = python::string_items(new)
    {
        let own =
            |(name, entry): &(&'static str, Tree<Leaf<T>>)| match given.iter().find(|(other, _)| **other == **name) {
                Some((_, value)) => Ok((*name, merge(entry, value, rows)?)),
                None => Err(Raise::key_error(Value::string(*name))),
            };
        return Ok(Tree::Dict(entries.iter().map(own).collect::<Result<_, Raise>>()?));
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
            Tree::Object(_) => Tree::Leaf(New::Keep),
            _ => {
                return Err(Raise::type_error(format!(
                    "a model cannot compute with a value of type '{}'",
                    interpreter::types::type_name(new)
                )));
            }
        },
    })
}

/// Puts what was assigned in the place of what was there.
fn apply<T: Tensor>(old: Tree<Leaf<T>>, new: Tree<New<T>>) -> Tree<Leaf<T>> {
    match new {
        Tree::Leaf(New::Keep) => old,
        Tree::Leaf(New::Whole(tensor)) => Tree::Leaf(Leaf::new(tensor)),
        Tree::Leaf(New::Rows(start, piece)) => match old {
            Tree::Leaf(mut leaf) => {
                leaf.pieces.insert(start, piece);
                Tree::Leaf(leaf)
            }
            other => other,
        },
        Tree::Tuple(items) => {
            let mut old = if let Tree::Tuple(old) = old { old } else { Vec::new() }.into_iter();
            Tree::Tuple(items.into_iter().map(|item| apply(old.next().unwrap_or(Tree::None), item)).collect())
        }
        Tree::Dict(entries) => {
            Tree::Dict(apply_fields(if let Tree::Dict(old) = old { old } else { Vec::new() }, entries))
        }
        Tree::Record { class, fields } => {
            let old = if let Tree::Record { fields, .. } = old { fields } else { Vec::new() };
            Tree::Record { class, fields: apply_fields(old, fields) }
        }
        Tree::None => Tree::None,
        Tree::Bool(value) => Tree::Bool(value),
        Tree::Int(value) => Tree::Int(value),
        Tree::Float(value) => Tree::Float(value),
        Tree::Object(object) => Tree::Object(object),
    }
}

fn apply_fields<T: Tensor>(mut old: Fields<Leaf<T>>, new: Fields<New<T>>) -> Fields<Leaf<T>> {
    let mut own = |name: &str| {
        let at = old.iter().position(|(other, _)| *other == name)?;
        Some(old.swap_remove(at).1)
    };
    new.into_iter().map(|(name, field)| (name, apply(own(name).unwrap_or(Tree::None), field))).collect()
}

/// Reads the whole value that a skip puts in place of a module's output.
///
/// # Errors
/// `TypeError` for a value that no model computes with.
pub fn skipped<T: Tensor>(value: &Value, total: i64) -> Result<Tree<T>, Raise> {
    let mut tree = Tree::None;
    assign(&mut tree, value, Rows { group: None, total })?;
    close(tree)
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use program::TensorData;

    use super::*;
    use crate::fake::FakeTensor;

    thread_local! {
        /// Rows that were joined on this thread.
        static JOINED: Cell<i64> = const { Cell::new(0) };
    }

    /// A toy tensor that counts what is copied.
    #[derive(Clone)]
    struct Counted(FakeTensor);

    impl Tensor for Counted {
        type Deferred = <FakeTensor as Tensor>::Deferred;

        fn resolve(deferred: Vec<Self::Deferred>) -> Vec<Result<Value, Raise>> {
            FakeTensor::resolve(deferred)
        }

        fn of_data(data: &TensorData) -> Result<Self, Raise> {
            FakeTensor::of_data(data).map(Self)
        }

        fn to_data(&self) -> Result<TensorData, Raise> {
            self.0.to_data()
        }

        fn to_value(&self, machine: &Machine) -> Value {
            self.0.to_value(machine)
        }

        fn of_value(value: &Value) -> Option<Self> {
            FakeTensor::of_value(value).map(Self)
        }

        fn shape(&self) -> Vec<i64> {
            self.0.shape()
        }

        fn rows(&self, start: i64, length: i64) -> Result<Self, Raise> {
            self.0.rows(start, length).map(Self)
        }

        fn join(parts: &[Self]) -> Result<Self, Raise> {
            JOINED.set(JOINED.get() + parts.iter().map(|part| part.shape()[0]).sum::<i64>());
            FakeTensor::join(&parts.iter().map(|part| part.0.clone()).collect::<Vec<_>>()).map(Self)
        }

        fn view(&self, shape: &[i64]) -> Result<Self, Raise> {
            self.0.view(shape).map(Self)
        }

        fn last_position(&self) -> Result<Self, Raise> {
            self.0.last_position().map(Self)
        }

        fn duplicate(&self) -> Result<Self, Raise> {
            JOINED.set(JOINED.get() + self.shape()[0]);
            self.0.duplicate().map(Self)
        }

        fn first_differences(&self, other: &Self) -> Result<Vec<i64>, Raise> {
            self.0.first_differences(&other.0)
        }
    }

    fn tensor(numbers: &[f64]) -> Counted {
        Counted(FakeTensor::new(numbers.to_vec(), vec![i64::try_from(numbers.len()).unwrap(), 1]))
    }

    fn put(leaf: &mut Leaf<Counted>, new: Counted, rows: Rows) {
        match apply(Tree::Leaf(leaf.clone()), Tree::Leaf(leaf.replacement(new, rows).unwrap())) {
            Tree::Leaf(new) => *leaf = new,
            _ => unreachable!(),
        }
    }

    #[test]
    fn however_many_blocks_write_all_is_joined_once() {
        let total = 500;
        let numbers: Vec<f64> = (0..total).map(|row| row as f64).collect();
        let mut leaf = Leaf::new(tensor(&numbers));
        JOINED.set(0);
        for row in 0..total {
            let rows = Rows { group: Some((row, 1)), total };
            let own = leaf.seen(rows).unwrap().0.data()[0];
            put(&mut leaf, tensor(&[2.0 * own]), rows);
            assert_eq!(leaf.seen(rows).unwrap().0.data(), [2.0 * own], "it sees what it wrote");
        }
        assert_eq!(leaf.settle().unwrap().0.data(), numbers.iter().map(|number| 2.0 * number).collect::<Vec<_>>());
        assert_eq!(JOINED.get(), 2 * total, "each row is copied when it is written, and once with all others");
    }

    #[test]
    fn a_block_sees_its_rows_as_they_are_then_and_who_sees_all_sees_what_others_wrote() {
        let rows = |start, length| Rows { group: Some((start, length)), total: 4 };
        let mut leaf = Leaf::new(tensor(&[0.0, 1.0, 2.0, 3.0]));
        let before = leaf.seen(rows(1, 2)).unwrap();
        put(&mut leaf, tensor(&[5.0, 6.0]), rows(1, 2));
        assert_eq!(before.0.data(), [1.0, 2.0], "what was read stays as it was");
        assert_eq!(leaf.seen(rows(0, 1)).unwrap().0.data(), [0.0]);
        assert_eq!(leaf.seen(rows(2, 2)).unwrap().0.data(), [6.0, 3.0], "a part of what was written, and more");
        assert_eq!(leaf.seen(Rows { group: None, total: 4 }).unwrap().0.data(), [0.0, 5.0, 6.0, 3.0]);
        put(&mut leaf, tensor(&[7.0]), rows(3, 1));
        put(&mut leaf, tensor(&[8.0]), rows(3, 1));
        assert_eq!(leaf.settle().unwrap().0.data(), [0.0, 5.0, 6.0, 8.0]);
        // Of another number of rows, as PyTorch joins it.
        put(&mut leaf, tensor(&[1.0, 2.0]), rows(0, 1));
        assert_eq!(leaf.settle().unwrap().0.data(), [1.0, 2.0, 5.0, 6.0, 8.0]);
    }

    #[test]
    fn what_is_written_to_a_value_after_it_was_assigned_does_not_reach_the_model() {
        let rows = Rows { group: Some((0, 1)), total: 2 };
        let mut leaf = Leaf::new(tensor(&[0.0, 1.0]));
        let value = tensor(&[4.0]);
        put(&mut leaf, value.clone(), rows);
        value.0.write(|_, _| 9.0);
        assert_eq!(leaf.settle().unwrap().0.data(), [4.0, 1.0]);
    }
}
