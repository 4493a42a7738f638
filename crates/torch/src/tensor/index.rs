//! `tensor[…]`, read and written, with PyTorch's rules.

use std::ffi::c_void;
use std::rc::Rc;

use interpreter::operators::plain;
use interpreter::raise::Raise;
use interpreter::{Machine, Slice, Value};
use libtorch::ffi::{self, Datum, Mode};
use libtorch::{Failure, Problem};
use program::DType;

use super::Tensor;
use crate::array;
use crate::away;
use crate::bounds;
use crate::cost::{self, Work};
use crate::create;
use crate::dispatch::{self, Argument, Lists, Number, Owned};
use crate::dtype;
use crate::job::Job;
use crate::python;
use crate::raising::Raising;

/// Reads `tensor[key]`: a view where the key selects, a copy where it gathers.
///
/// # Errors
/// `IndexError` and `TypeError` as PyTorch.
pub fn get(machine: &Machine, tensor: &Tensor, key: &Value) -> Result<Tensor, Raise> {
    let indices = Indices::new(machine, tensor, key)?;
    let job = Job::of(machine);
    // A view looks at nothing.
    let looked = if indices.gather() { indices.selected(tensor) } else { 0 };
    let (work, mode) = (cost::indexing(looked), job.mode());
    let learns = job.modes().gradients();
    let is_long = away::is_long(work) && !tensor.is_on_gpu();
    if is_long && away::may_wait(machine, "index", work)? {
        let mut own = Owned::empty();
        let from = Pointer(own.tensor(tensor));
        indices.parts().for_each(|part| part.hand_over(&mut own));
        let made = away::run(machine, &job, move || read(from, own.data(), mode))?;
        return job
            .pay(machine, Work::default(), || Ok(dispatch::known(made.map_err(Problem::raise)?, tensor, learns)));
    }
    let work = if is_long { Work::default() } else { work };
    job.pay(machine, work, || {
        if job.device().is_cuda() {
            indices.check(tensor)?;
        }
        let made = read(Pointer(tensor.as_ptr()), &indices.data(), mode).map_err(Problem::raise)?;
        Ok(dispatch::known(made, tensor, learns))
    })
}

/// A tensor of ours, for another thread.
#[derive(Clone, Copy)]
struct Pointer(*const c_void);

// SAFETY: libtorch's handles may be used by any thread, one at a time.
unsafe impl Send for Pointer {}

fn read(from: Pointer, indices: &[Datum], mode: Mode) -> Result<tch::Tensor, Problem> {
    let mut failure = Failure::none();
    // SAFETY: the tensor, and what the data point at, outlive the call.
    let made = unsafe { ffi::vt_get_item(from.0, indices.as_ptr(), indices.len(), mode, failure.out()) };
    libtorch::adopt(made).ok_or_else(|| failure.problem())
}

fn write(to: Pointer, indices: &[Datum], value: Datum, mode: Mode) -> Result<(), Problem> {
    let mut failure = Failure::none();
    // SAFETY: the tensor, and what the data point at, outlive the call.
    let done =
        unsafe { ffi::vt_set_item(to.0, indices.as_ptr(), indices.len(), &raw const value, mode, failure.out()) };
    if done { Ok(()) } else { Err(failure.problem()) }
}

/// Writes `tensor[key] = value`.
///
/// # Errors
/// As [`get`]; `RuntimeError` for weights; `TypeError` for values that are neither tensors nor numbers.
pub fn set(machine: &Machine, tensor: &Tensor, key: &Value, value: &Value) -> Result<(), Raise> {
    if tensor.is_read_only() {
        return Err(dispatch::read_only_error());
    }
    let indices = Indices::new(machine, tensor, key)?;
    let source = match (Tensor::of(value), python::number(value)) {
        (Some(source), _) => Argument::Tensor(source),
        (None, Some(Number::Unsigned(_))) => return Err(python::no_long()),
        (None, Some(number)) => Argument::Number(number),
        (None, None) if matches!(value, Value::Big(_)) => return Err(python::no_long()),
        (None, None) => {
            return Err(Raise::type_error(format!(
                "can't assign a {} to a {}",
                python::type_name(value),
                legacy_name(tensor)
            )));
        }
    };
    let job = Job::of(machine);
    if job.modes().gradients()
        && let Argument::Tensor(source) = &source
        && source.is_learned()
    {
        tensor.set_learned(true);
    }
    let (work, mode) = (cost::indexing(indices.selected(tensor)), job.mode());
    let is_long = away::is_long(work) && !tensor.is_on_gpu();
    if is_long && away::may_wait(machine, "index_put_", work)? {
        let mut own = Owned::empty();
        let to = Pointer(own.tensor(tensor));
        indices.parts().for_each(|part| part.hand_over(&mut own));
        let source = own.describe(&source);
        own.push(source);
        let written = away::run(machine, &job, move || match own.data().split_last() {
            Some((value, indices)) => write(to, indices, *value, mode),
            None => Ok(()),
        })?;
        return written.map_err(Problem::raise);
    }
    let work = if is_long { Work::default() } else { work };
    job.pay(machine, work, || {
        if job.device().is_cuda() {
            indices.check(tensor)?;
        }
        let mut lists = Lists::default();
        let source = lists.datum(&source);
        write(Pointer(tensor.as_ptr()), &indices.data(), source, mode).map_err(Problem::raise)
    })
}

/// One part of a key.
enum Part {
    None,
    Ellipsis,
    Number(Number),
    Tensor(Tensor),
    Slice { bounds: [i64; 3], given: i32 },
}

struct Indices(Vec<Part>);

impl Indices {
    fn new(machine: &Machine, tensor: &Tensor, key: &Value) -> Result<Self, Raise> {
        let keys = match key {
            Value::Tuple(tuple) => tuple.to_vec(),
            key => match python::host::<crate::size::Size>(key) {
                Some(_) => python::sequence(key).unwrap_or_default(),
                None => spread(key).unwrap_or_else(|| vec![key.clone()]),
            },
        };
        let parts: Vec<Part> = keys.iter().map(|key| part(machine, key)).collect::<Result<_, _>>()?;
        let dimensions = tensor.sizes().len();
        let specified: usize = parts.iter().map(Part::specified).sum();
        if specified > dimensions && !(dimensions == 0 && parts.len() == 1) {
            return Err(Raise::index_error(format!("too many indices for tensor of dimension {dimensions}")));
        }
        Ok(Self(parts))
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    /// Returns how many elements are looked at, at most: those that are selected, and those of masks.
    fn selected(&self, tensor: &Tensor) -> u64 {
        let (mut rest, mut places, mut looked) = (tensor.elements(), 1_u64, 0_u64);
        let sizes = tensor.sizes();
        let mut dim = 0;
        let specified: usize = self.0.iter().map(Part::specified).sum();
        for part in &self.0 {
            let size = |dim: usize| sizes.get(dim).map_or(1, |&size| u64::try_from(size).unwrap_or(1)).max(1);
            match part {
                Part::Tensor(index) => {
                    looked = looked.saturating_add(index.elements());
                    let spans = part.specified();
                    (dim..dim + spans).for_each(|dim| rest /= size(dim));
                    places = places.max(index.elements());
                }
                Part::Number(Number::Int(_)) => rest /= size(dim),
                Part::Slice { .. } => rest = rest / size(dim) * part.length(size(dim)),
                Part::Ellipsis => dim += sizes.len().saturating_sub(specified),
                _ => {}
            }
            dim += part.specified();
        }
        looked.saturating_add(rest.saturating_mul(places))
    }

    /// Whether elements are gathered, so that what is read is no view.
    fn gather(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Tensor(_)))
    }

    /// Checks indices that a GPU is to follow.
    fn check(&self, tensor: &Tensor) -> Result<(), Raise> {
        if !tensor.is_on_gpu() {
            return Ok(());
        }
        let sizes = tensor.sizes();
        let specified: usize = self.0.iter().map(Part::specified).sum();
        let indices = self.0.iter().flat_map(|part| match part {
            Part::Tensor(index) => vec![Some(index)],
            Part::Ellipsis => vec![None; sizes.len().saturating_sub(specified)],
            part => vec![None; part.specified()],
        });
        bounds::indices(&sizes, indices)
    }

    fn data(&self) -> Vec<Datum> {
        self.0.iter().map(Part::datum).collect()
    }
}

impl Part {
    fn datum(&self) -> Datum {
        match self {
            Self::None => Datum::of(ffi::NONE),
            Self::Ellipsis => Datum::of(ffi::ELLIPSIS),
            Self::Number(number) => number.datum(),
            Self::Tensor(tensor) => Datum { data: tensor.as_ptr(), ..Datum::of(ffi::TENSOR) },
            Self::Slice { bounds, given } => {
                Datum { data: bounds.as_ptr().cast(), kind: *given, ..Datum::of(ffi::SLICE) }
            }
        }
    }

    /// Returns how many of a dimension's entries a slice selects.
    fn length(&self, size: u64) -> u64 {
        let Self::Slice { bounds: [start, stop, step], given } = *self else { return size };
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let bound = |at: i64, which: i32, default: i64| match given >> which & 1 {
            0 => default,
            _ if at < 0 => at.saturating_add(size).max(0),
            _ => at.min(size),
        };
        let step = if given & 4 == 0 { 1 } else { step.max(1) };
        let length = bound(stop, 1, size) - bound(start, 0, 0);
        u64::try_from(length.max(0).saturating_add(step - 1) / step).unwrap_or(0)
    }

    /// Describes the part for another thread.
    fn hand_over(&self, own: &mut Owned) {
        let datum = match self {
            Self::Tensor(tensor) => Datum { data: own.tensor(tensor), ..self.datum() },
            Self::Slice { bounds, .. } => Datum { data: own.ints(bounds).data, ..self.datum() },
            part => part.datum(),
        };
        own.push(datum);
    }

    /// Returns how many dimensions this part is about.
    fn specified(&self) -> usize {
        match self {
            Self::None | Self::Ellipsis | Self::Number(Number::Bool(_)) => 0,
            Self::Tensor(tensor) if matches!(tensor.dtype(), DType::Bool | DType::UInt8) => tensor.sizes().len(),
            _ => 1,
        }
    }
}

/// A short list with anything but plain indices in it counts as a tuple, as it once did in NumPy.
fn spread(key: &Value) -> Option<Vec<Value>> {
    const LONGEST: usize = 32;
    let Value::List(list) = key else { return None };
    let items = list.to_vec().into_vec();
    let tuple_like = |item: &Value| {
        matches!(item, Value::None | Value::Ellipsis | Value::Slice(_))
            || array::elements_of(item).is_some()
            || python::sequence(item).is_some()
    };
    (items.len() < LONGEST && items.iter().any(tuple_like)).then_some(items)
}

/// A key in which slices go backwards, as those of PyTorch do not.
pub struct Backwards {
    /// Selects what the slices select, in the order in which it lies.
    pub forwards: Value,
    /// What is left of the key behind that.
    pub rest: Value,
    /// Whether that is nothing.
    pub alone: bool,
    /// The dimensions that go backwards then.
    pub dimensions: Vec<i64>,
}

/// Takes apart a key with steps below zero.
///
/// # Errors
/// A slice's bounds are no numbers.
pub fn backwards(tensor: &Tensor, key: &Value) -> Result<Option<Backwards>, Raise> {
    let keys = match key {
        Value::Tuple(tuple) => tuple.to_vec(),
        key => vec![key.clone()],
    };
    let step = |slice: &Slice| match slice.step {
        Value::None => Ok(1),
        ref step => bound_of(step),
    };
    let mut any = false;
    for key in &keys {
        if let Value::Slice(slice) = key {
            any |= step(slice)? < 0;
        }
    }
    if !any {
        return Ok(None);
    }
    let spans = |key: &Value| match (key, array::elements_of(key)) {
        (Value::None | Value::Ellipsis | Value::Bool(_), _) => 0,
        (_, Some(mask)) if matches!(mask.dtype(), DType::Bool | DType::UInt8) => mask.sizes().len(),
        _ => 1,
    };
    let sizes = tensor.sizes();
    let specified: usize = keys.iter().map(spans).sum();
    let all = || Value::Slice(Rc::new(Slice { start: Value::None, stop: Value::None, step: Value::None }));
    let (mut forwards, mut rest, mut dimensions, mut alone) = (Vec::new(), Vec::new(), Vec::new(), true);
    for key in keys {
        match &key {
            Value::Slice(slice) if step(slice)? < 0 => {
                let size = sizes.get(forwards.len()).copied().unwrap_or(0);
                let step = step(slice)?;
                let bound = |bound: &Value, default: i64| match bound {
                    Value::None => Ok(default),
                    bound => {
                        bound_of(bound).map(|at| if at < 0 { at.saturating_add(size) } else { at }.clamp(-1, size - 1))
                    }
                };
                let (start, stop) = (bound(&slice.start, size - 1)?, bound(&slice.stop, -1)?);
                let width = step.unsigned_abs().min(i64::MAX.unsigned_abs()).cast_signed();
                let count = if start > stop { (start - stop - 1) / width + 1 } else { 0 };
                let first = if count > 0 { start - (count - 1) * width } else { 0 };
                let end = if count > 0 { start + 1 } else { 0 };
                dimensions.push(i64::try_from(forwards.len()).unwrap_or(0));
                let [start, stop, step] = [first, end, width].map(Value::Int);
                forwards.push(Value::Slice(Rc::new(Slice { start, stop, step })));
                rest.push(all());
            }
            Value::Ellipsis => {
                (0..sizes.len().saturating_sub(specified)).for_each(|_| forwards.push(all()));
                rest.push(key);
            }
            _ => {
                (0..spans(&key)).for_each(|_| forwards.push(all()));
                alone &= matches!(&key, Value::Slice(slice) if matches!((&slice.start, &slice.stop, &slice.step), (Value::None, Value::None, Value::None)));
                rest.push(key);
            }
        }
    }
    if forwards.len() > sizes.len() {
        return Err(Raise::index_error(format!(
            "too many indices for array: array is {}-dimensional, but {} were indexed",
            sizes.len(),
            forwards.len()
        )));
    }
    Ok(Some(Backwards { forwards: Value::tuple(forwards), rest: Value::tuple(rest), alone, dimensions }))
}

fn part(machine: &Machine, key: &Value) -> Result<Part, Raise> {
    if let Some(index) = array::elements_of(key) {
        return Ok(Part::Tensor(index));
    }
    Ok(match key {
        Value::None => Part::None,
        Value::Ellipsis => Part::Ellipsis,
        Value::Bool(flag) => Part::Number(Number::Bool(*flag)),
        Value::Int(index) => Part::Number(Number::Int(*index)),
        Value::Big(_) => return Err(python::no_long()),
        // A number of a class of the program's, as members of an `IntEnum` are.
        Value::Instance(_) if plain(key).as_int().is_some() => part(machine, &plain(key))?,
        Value::Str(_) => return Err(Raise::type_error("new(): invalid data type 'str'")),
        Value::Slice(slice) => {
            let mut bounds = [0; 3];
            let mut given = 0;
            for (at, bound) in [&slice.start, &slice.stop, &slice.step].into_iter().enumerate() {
                if !matches!(bound, Value::None) {
                    bounds[at] = bound_of(bound)?;
                    given |= 1 << at;
                }
            }
            Part::Slice { bounds, given }
        }
        key => match python::elements(machine, key)? {
            Some(_) => {
                // It stays with the host: libtorch takes it from there to a device.
                let index = create::of_data(machine, key, None, None)?;
                // As PyTorch: lists of bools are masks, an empty list is of integers.
                let index = match index.dtype() {
                    DType::Bool | DType::UInt8 | DType::Int64 => index,
                    _ => {
                        let long = Argument::from(i64::from(dtype::code(DType::Int64)));
                        dispatch::tensor(machine, "to", "dtype", &[Argument::from(index), long])?
                    }
                };
                Part::Tensor(index)
            }
            None => {
                return Err(Raise::index_error(format!(
                    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices \
                     (got {})",
                    python::type_name(key)
                )));
            }
        },
    })
}

/// Reads one bound of a slice.
fn bound_of(bound: &Value) -> Result<i64, Raise> {
    if let Some(index) = plain(bound).as_int() {
        return Ok(index);
    }
    let index = Tensor::of(bound).filter(|tensor| tensor.elements() == 1).map(|tensor| tensor.item()).transpose()?;
    match (bound, index.as_ref().and_then(Value::as_int)) {
        (_, Some(index)) => Ok(index),
        // Bounds beyond 64 bits are clipped, as Python does.
        (Value::Big(number), _) if number.sign() == num_bigint::Sign::Minus => Ok(i64::MIN),
        (Value::Big(_), _) => Ok(i64::MAX),
        _ => Err(Raise::type_error("slice indices must be integers or None or have an __index__ method")),
    }
}

/// Returns the name that PyTorch's older messages give a tensor's type.
pub fn legacy_name(tensor: &Tensor) -> &'static str {
    match tensor.dtype() {
        DType::Float64 => "torch.DoubleTensor",
        DType::Float16 => "torch.HalfTensor",
        DType::BFloat16 => "torch.BFloat16Tensor",
        DType::Int64 => "torch.LongTensor",
        DType::Int32 => "torch.IntTensor",
        DType::Int16 => "torch.ShortTensor",
        DType::Int8 => "torch.CharTensor",
        DType::UInt8 => "torch.ByteTensor",
        DType::Bool => "torch.BoolTensor",
        DType::Complex64 => "torch.ComplexFloatTensor",
        DType::Complex128 => "torch.ComplexDoubleTensor",
        _ => "torch.FloatTensor",
    }
}
