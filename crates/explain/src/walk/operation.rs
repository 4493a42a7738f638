//! What operations make of values, as far as their forms tell.

use program::DType;
use program::ir::{Binary, Constant};

use crate::form::{Form, Size};
use crate::walk::value::{Bound, Held, Spot, Thing, What};

/// Returns what an operator makes of two plain values; `None` where it is not known, or would be an error.
pub fn binary(operator: Binary, left: &Thing, right: &Thing) -> Option<Thing> {
    if let (Some(left), Some(right), Binary::Add) = (left.as_str(), right.as_str(), operator) {
        return (left.len() + right.len() <= 4096).then(|| Thing::text(&format!("{left}{right}")));
    }
    let (left, right) = (left.as_int()?, right.as_int()?);
    let value = match operator {
        Binary::Add => left.checked_add(right)?,
        Binary::Sub => left.checked_sub(right)?,
        Binary::Mul => left.checked_mul(right)?,
        Binary::FloorDiv if right > 0 => left.div_euclid(right),
        Binary::Mod if right > 0 => left.rem_euclid(right),
        Binary::Pow => left.checked_pow(u32::try_from(right).ok()?)?,
        Binary::Div => {
            #[expect(clippy::cast_precision_loss, reason = "as Python divides")]
            let value = (right != 0).then(|| left as f64 / right as f64)?;
            return Some(Thing::plain(What::Constant(Constant::Float(value))));
        }
        _ => return None,
    };
    Some(Thing::int(value))
}

/// Returns how many numbers a range has.
pub fn count(start: i64, stop: i64, step: i64) -> usize {
    let (start, stop, step) = (i128::from(start), i128::from(stop), i128::from(step));
    let count = match step {
        0 => 0,
        step if step > 0 => (stop - start + step - 1) / step,
        step => (start - stop - step - 1) / -step,
    };
    usize::try_from(count.max(0)).unwrap_or(usize::MAX)
}

/// Returns the place that an index means, which counts from the end where it is negative.
pub fn index(index: i64, count: usize) -> Option<usize> {
    let at = if index < 0 { index.checked_add(i64::try_from(count).ok()?)? } else { index };
    usize::try_from(at).ok().filter(|at| *at < count)
}

/// Returns the places that a slice selects; `None` where they are not known.
pub fn places(bounds: &[Bound; 3], count: usize) -> Option<Vec<usize>> {
    let [start, stop, step] = bounds;
    let step = match step {
        Bound::Open => 1,
        Bound::At(step) if *step != 0 => *step,
        _ => return None,
    };
    let count = i64::try_from(count).ok()?;
    let (lowest, highest) = if step > 0 { (0, count) } else { (-1, count - 1) };
    let place = |bound: &Bound, open: i64| match bound {
        Bound::Open => Some(open),
        Bound::At(at) => Some((if *at < 0 { at.saturating_add(count) } else { *at }).clamp(lowest, highest)),
        Bound::Unknown => None,
    };
    let (first, end) = if step > 0 { (0, count) } else { (count - 1, -1) };
    let (start, stop) = (place(start, first)?, place(stop, end)?);
    let all = (0..self::count(start, stop, step)).map(|at| start + i64::try_from(at).unwrap_or(0) * step);
    all.map(|at| usize::try_from(at).ok()).collect()
}

/// Says where a value lies.
pub fn at(what: What, spot: Option<Spot>) -> What {
    match what {
        What::Value(form, _) => What::Value(form, spot),
        what => what,
    }
}

/// Returns the form of two tensors that are combined element by element.
pub fn broadcast(left: &Form, right: &Form) -> Form {
    match (left, right) {
        (Form::Tensor(..), Form::Scalar) => left.clone(),
        (Form::Scalar, Form::Tensor(..)) => right.clone(),
        (Form::Scalar, Form::Scalar) => Form::Scalar,
        (Form::Tensor(one, left), Form::Tensor(other, right)) => {
            let count = left.len().max(right.len());
            let size = |shape: &[Size], at: usize| {
                (at + shape.len()).checked_sub(count).and_then(|at| shape.get(at)).copied().unwrap_or(Size::Fixed(1))
            };
            let sizes = (0..count).map(|at| match (size(left, at), size(right, at)) {
                (Size::Fixed(1), other) | (other, Size::Fixed(1)) => other,
                (left, right) if left == right => left,
                (Size::Fixed(size), Size::Unknown) | (Size::Unknown, Size::Fixed(size)) => Size::Fixed(size),
                _ => Size::Unknown,
            });
            if one == other { Form::Tensor(*one, sizes.collect()) } else { Form::Unknown }
        }
        _ => Form::Unknown,
    }
}

/// Returns the form that indexing gives, and whether that is a view.
pub fn indexed(form: &Form, keys: &[Thing], held: &Held) -> (Form, bool) {
    let Form::Tensor(dtype, shape) = form else { return (Form::Unknown, true) };
    let is = |key: &Thing, constant: &str| match &key.what {
        What::Constant(Constant::None) => constant == "None",
        What::Constant(Constant::Ellipsis) => constant == "...",
        _ => false,
    };
    let takes = keys.iter().filter(|key| !is(key, "None") && !is(key, "...")).count();
    let mut view = true;
    let (mut sizes, mut dimension) = (Vec::new(), 0);
    for key in keys {
        if is(key, "None") {
            sizes.push(Size::Fixed(1));
            continue;
        }
        if is(key, "...") {
            let rest = shape.len().saturating_sub(takes);
            sizes.extend(shape.iter().skip(dimension).take(rest));
            dimension += rest;
            continue;
        }
        let Some(size) = shape.get(dimension).copied() else { return (Form::Unknown, true) };
        dimension += 1;
        match &key.what {
            What::Constant(Constant::Int(_)) => {}
            What::Slice(bounds) => sizes.push(match (size, bounds) {
                (_, [Bound::Open, Bound::Open, Bound::Open]) => size,
                (Size::Fixed(size), bounds) => {
                    let count =
                        usize::try_from(size).ok().and_then(|size| places(bounds, size)).map(|places| places.len());
                    count.and_then(|count| i64::try_from(count).ok()).map_or(Size::Unknown, Size::Fixed)
                }
                _ => Size::Unknown,
            }),
            What::List(at)
                if held
                    .lists
                    .get(*at)
                    .is_some_and(|it| it.exact && it.items.iter().all(|item| item.as_int().is_some())) =>
            {
                view = false;
                let count = held.lists.get(*at).map_or(0, |items| items.items.len());
                sizes.push(i64::try_from(count).map_or(Size::Unknown, Size::Fixed));
            }
            // A number or a tensor of numbers: who knows how many.
            _ => return (Form::Unknown, false),
        }
    }
    sizes.extend(shape.iter().skip(dimension));
    (Form::Tensor(*dtype, sizes), view)
}

/// What a method of a tensor, or the function of `torch` of the same name, gives.
pub enum Made {
    /// A tensor in the same memory.
    View(Form),
    New(Form),
    /// The tensor itself, changed.
    Itself,
    Number(i64),
}

/// Returns what a method makes of a tensor; `None` where that is not known.
pub fn method(name: &str, form: &Form, positional: &[Thing], dim: Option<i64>, keep: bool) -> Option<Made> {
    let Form::Tensor(dtype, shape) = form else { return None };
    let axis = |at: i64| index(at, shape.len());
    let first = positional.first().and_then(Thing::as_int);
    let of = |dtype: DType| Some(Made::New(Form::Tensor(dtype, shape.clone())));
    let reduced = |dtype: DType, dim: Option<i64>| {
        let Some(dim) = dim else { return Some(Form::Tensor(dtype, Vec::new())) };
        let mut shape = shape.clone();
        let axis = axis(dim)?;
        if keep {
            shape[axis] = Size::Fixed(1);
        } else {
            shape.remove(axis);
        }
        Some(Form::Tensor(dtype, shape))
    };
    let dim = dim.or(first);
    match name {
        "detach" | "cpu" | "cuda" | "contiguous" | "data" => Some(Made::View(form.clone())),
        "clone" | "softmax" | "log_softmax" | "relu" | "exp" | "log" | "abs" | "sqrt" | "rsqrt" | "sigmoid"
        | "tanh" | "neg" | "pow" | "clamp" | "gelu" | "silu" | "cumsum" | "zeros_like" | "ones_like" | "empty_like"
        | "randn_like" | "rand_like" | "full_like" | "flip" | "roll" | "round" | "floor" | "ceil" | "nan_to_num" => {
            of(*dtype)
        }
        "float" => of(DType::Float32),
        "half" => of(DType::Float16),
        "double" => of(DType::Float64),
        "bfloat16" => of(DType::BFloat16),
        "long" => of(DType::Int64),
        "int" => of(DType::Int32),
        "bool" | "isnan" | "isfinite" => of(DType::Bool),
        "to" | "type" => match positional.first().map(|thing| &thing.what) {
            Some(What::Global(name)) => {
                let named = DType::ALL.into_iter().find(|dtype| Some(dtype.name()) == name.strip_prefix("torch."));
                named.map(|dtype| Made::New(Form::Tensor(dtype, shape.clone())))
            }
            Some(What::Constant(Constant::Str(_))) => Some(Made::View(form.clone())),
            _ => None,
        },
        "argmax" | "argmin" => reduced(DType::Int64, dim).map(Made::New),
        "mean" | "sum" | "std" | "var" | "prod" | "logsumexp" | "norm" | "amax" | "amin" => {
            // What is given first is no dimension of these.
            let dim = if name == "norm" { dim.filter(|_| first.is_none()) } else { dim };
            let many = positional.first().is_some_and(|thing| thing.as_int().is_none());
            if many { None } else { reduced(*dtype, dim).map(Made::New) }
        }
        "max" | "min" | "median" => match dim {
            None => Some(Made::New(Form::Tensor(*dtype, Vec::new()))),
            Some(_) => Some(Made::New(Form::Tuple(vec![reduced(*dtype, dim)?, reduced(DType::Int64, dim)?]))),
        },
        "topk" => {
            let mut shape = shape.clone();
            *shape.last_mut()? = Size::Fixed(first?);
            Some(Made::New(Form::Tuple(vec![Form::Tensor(*dtype, shape.clone()), Form::Tensor(DType::Int64, shape)])))
        }
        "unsqueeze" => {
            let mut shape = shape.clone();
            let at = index(dim?, shape.len() + 1)?;
            shape.insert(at, Size::Fixed(1));
            Some(Made::View(Form::Tensor(*dtype, shape)))
        }
        "squeeze" => {
            let mut shape = shape.clone();
            let at = axis(dim?)?;
            match shape[at] {
                Size::Fixed(1) => drop(shape.remove(at)),
                Size::Fixed(_) => {}
                _ => return None,
            }
            Some(Made::View(Form::Tensor(*dtype, shape)))
        }
        "transpose" => {
            let mut shape = shape.clone();
            let (one, other) = (axis(first?)?, axis(positional.get(1)?.as_int()?)?);
            shape.swap(one, other);
            Some(Made::View(Form::Tensor(*dtype, shape)))
        }
        "item" => Some(Made::New(Form::Scalar)),
        "numel" | "nelement" => shape
            .iter()
            .try_fold(1_i64, |product, size| match size {
                Size::Fixed(size) => product.checked_mul(*size),
                _ => None,
            })
            .map(Made::Number),
        "size" => match shape.get(axis(dim?)?)? {
            Size::Fixed(size) => Some(Made::Number(*size)),
            _ => None,
        },
        "dim" => i64::try_from(shape.len()).ok().map(Made::Number),
        // A name that ends so changes the tensor; a boundary of a private one does not.
        name if name.ends_with('_') && !name.ends_with("__") => Some(Made::Itself),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_and_ranges_are_pythons() {
        use Bound::{At, Open, Unknown};
        assert_eq!(places(&[Open, Open, Open], 3), Some(vec![0, 1, 2]));
        assert_eq!(places(&[At(-2), Open, Open], 3), Some(vec![1, 2]));
        assert_eq!(places(&[Open, Open, At(-1)], 3), Some(vec![2, 1, 0]));
        assert_eq!(places(&[At(5), At(-9), At(-2)], 3), Some(vec![2, 0]));
        assert_eq!(places(&[At(2), At(1), Open], 3), Some(vec![]));
        assert_eq!(places(&[Open, Unknown, Open], 3), None);
        assert_eq!((count(0, 10, 3), count(10, 0, -3), count(0, 0, 1), count(0, 5, 0)), (4, 4, 0, 0));
        assert_eq!((index(-1, 3), index(3, 3), index(-4, 3)), (Some(2), None, None));
    }

    #[test]
    fn forms_follow_operations() {
        let size = |shape: &[i64]| Form::Tensor(DType::Float32, shape.iter().map(|size| Size::Fixed(*size)).collect());
        assert_eq!(broadcast(&size(&[2, 1, 4]), &size(&[3, 1])), size(&[2, 3, 4]));
        let held = Held::default();
        let all = Thing::plain(What::Slice([Bound::Open; 3]));
        let keys = [all.clone(), Thing::int(-1)];
        assert_eq!(indexed(&size(&[2, 3, 4]), &keys, &held), (size(&[2, 4]), true));
        let keys = [Thing::plain(What::Constant(Constant::Ellipsis)), Thing::none(), Thing::int(0)];
        assert_eq!(indexed(&size(&[2, 3, 4]), &keys, &held), (size(&[2, 3, 1]), true));
        let Some(Made::New(form)) = method("mean", &size(&[2, 3]), &[], Some(-1), false) else { panic!("unknown") };
        assert_eq!(form, size(&[2]));
        assert!(method("mean", &size(&[2, 3]), &[], Some(7), false).is_none());
        assert!(matches!(method("add_", &size(&[2]), &[], None, false), Some(Made::Itself)));
    }
}
