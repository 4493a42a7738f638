//! `tensor[…]`, read and written, with PyTorch's rules.

use interpreter::raise::Raise;
use interpreter::{Machine, Value};
use program::DType;

use super::Tensor;
use crate::array;
use crate::bounds;
use crate::create;
use crate::dispatch::{self, Argument, Failure, Lists, Number};
use crate::dtype;
use crate::ffi::{self, Datum};
use crate::job::{Job, Paying};
use crate::python;

/// Reads `tensor[key]`: a view where the key selects, a copy where it gathers.
///
/// # Errors
/// `IndexError` and `TypeError` as PyTorch.
pub fn get(machine: &Machine, tensor: &Tensor, key: &Value) -> Result<Tensor, Raise> {
    let indices = Indices::new(machine, tensor, key)?;
    machine.charge_fuel(10)?;
    let job = Job::of(machine);
    let paying = Paying::new(machine, &job);
    if job.device().is_cuda() {
        indices.check(tensor)?;
    }
    let mut failure = Failure::none();
    let data = indices.data();
    // SAFETY: the data point into `indices`, which outlives the call.
    let made = unsafe { ffi::vt_get_item(tensor.as_ptr(), data.as_ptr(), data.len(), job.gradients(), failure.out()) };
    paying.settle(match dispatch::adopt(made) {
        Some(made) => Ok(dispatch::known(made, &[tensor])),
        None => Err(failure.raise()),
    })
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
        (None, Some(number)) => Argument::Number(number),
        (None, None) => {
            return Err(Raise::type_error(format!(
                "can't assign a {} to a {}",
                python::type_name(value),
                legacy_name(tensor)
            )));
        }
    };
    machine.charge_fuel(10 + tensor.elements() / 4096)?;
    let job = Job::of(machine);
    let paying = Paying::new(machine, &job);
    if job.device().is_cuda() {
        indices.check(tensor)?;
    }
    let mut failure = Failure::none();
    let data = indices.data();
    let mut lists = Lists::default();
    let source = lists.datum(&source);
    // SAFETY: the data point into `indices` and `value`, which outlive the call.
    let done = unsafe {
        ffi::vt_set_item(tensor.as_ptr(), data.as_ptr(), data.len(), &raw const source, job.gradients(), failure.out())
    };
    paying.settle(if done { Ok(()) } else { Err(failure.raise()) })
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
        let datum = |part: &Part| match part {
            Part::None => Datum::of(ffi::NONE),
            Part::Ellipsis => Datum::of(ffi::ELLIPSIS),
            Part::Number(number) => number.datum(),
            Part::Tensor(tensor) => Datum { data: tensor.as_ptr(), ..Datum::of(ffi::TENSOR) },
            Part::Slice { bounds, given } => {
                Datum { data: bounds.as_ptr().cast(), kind: *given, ..Datum::of(ffi::SLICE) }
            }
        };
        self.0.iter().map(datum).collect()
    }
}

impl Part {
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

fn part(machine: &Machine, key: &Value) -> Result<Part, Raise> {
    if let Some(index) = array::elements_of(key) {
        return Ok(Part::Tensor(index));
    }
    Ok(match key {
        Value::None => Part::None,
        Value::Ellipsis => Part::Ellipsis,
        Value::Bool(flag) => Part::Number(Number::Bool(*flag)),
        Value::Int(index) => Part::Number(Number::Int(*index)),
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
    if let Some(index) = bound.as_int() {
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
