//! Tensors from Python data: `torch.tensor`, and what indexing makes of lists.

use interpreter::raise::Raise;
use interpreter::{Machine, Value};
use program::DType;

use crate::array::{self, Array};
use crate::dispatch::{self, Argument, Number};
use crate::dtype::{self, Device};
use crate::elements;
use crate::job::Job;
use crate::python;
use crate::tensor::Tensor;

/// How deep lists may nest.
const DEPTH: usize = 64;

/// Makes a tensor with its own memory of a number, a tensor, or nested sequences of them.
///
/// # Errors
/// `ValueError` for ragged sequences, `TypeError` and `RuntimeError` for elements that are no numbers.
pub fn of_data(machine: &Machine, data: &Value, dtype: Option<DType>, device: Option<Device>) -> Result<Tensor, Raise> {
    convert(machine, of_numbers(machine, data, dtype, DType::Float32)?, dtype, device)
}

/// Makes a tensor as [`of_data`], where Python's own floats are of the type `float` unless another is asked for.
///
/// # Errors
/// As [`of_data`].
pub fn of_numbers(machine: &Machine, data: &Value, dtype: Option<DType>, float: DType) -> Result<Tensor, Raise> {
    if let Some(tensor) = array::elements_of(data) {
        let detached = dispatch::tensor(machine, "detach", "", &[Argument::from(tensor)])?;
        let copy = dispatch::tensor(machine, "clone", "", &[Argument::from(detached)])?;
        return convert(machine, copy, dtype, None);
    }
    let mut collected = Collected { numbers: Vec::new(), beyond: false, floats: false, dtypes: Vec::new(), float };
    let shape = collected.shape(machine, data)?;
    collected.fill(machine, data, &shape, 0)?;
    collected.tensor(machine, &shape, dtype)
}

/// Converts to a type and a device where they are given.
pub fn convert(
    machine: &Machine,
    tensor: Tensor,
    dtype: Option<DType>,
    device: Option<Device>,
) -> Result<Tensor, Raise> {
    let dtype = dtype.filter(|dtype| *dtype != tensor.dtype());
    let device = device.map(|device| Job::of(machine).resolve(device).map(|_| device)).transpose()?;
    let device = device.filter(|device| device.kind != tensor.device().kind);
    if dtype.is_none() && device.is_none() {
        return Ok(tensor);
    }
    let code = dtype.map_or(Argument::None, |dtype| Argument::from(i64::from(dtype::code(dtype))));
    let device = device.map_or(Argument::None, Argument::Device);
    dispatch::tensor(machine, "to", "dtype_layout", &[Argument::from(tensor), code, Argument::None, device])
}

struct Collected {
    numbers: Vec<Number>,
    /// Whether there are integers among them that no tensor of integers holds.
    beyond: bool,
    /// Whether there are floats among them.
    floats: bool,
    /// Types of the tensors and arrays among the elements.
    dtypes: Vec<DType>,
    /// The type of Python's own floats.
    float: DType,
}

impl Collected {
    /// Follows first elements down.
    fn shape(&self, machine: &Machine, data: &Value) -> Result<Vec<i64>, Raise> {
        let mut shape = Vec::new();
        let mut inner = data.clone();
        while let Some(items) = children(machine, &inner)? {
            shape.push(items.len() as i64);
            if shape.len() > DEPTH {
                return Err(Raise::value_error("too many dimensions 'list'"));
            }
            match items.first() {
                Some(first) => inner = first.clone(),
                None => break,
            }
        }
        Ok(shape)
    }

    fn fill(&mut self, machine: &Machine, data: &Value, shape: &[i64], dim: usize) -> Result<(), Raise> {
        let Some(&size) = shape.get(dim) else {
            let number = match (array::elements_of(data), python::number(data)) {
                (None, Some(number)) => number,
                (None, None) if let (Value::Big(_), Some(number)) = (data, python::float(data)) => {
                    self.beyond = true;
                    Number::Float(number)
                }
                (Some(tensor), _) => {
                    if tensor.elements() != 1 {
                        return Err(Raise::value_error("only one element tensors can be converted to Python scalars"));
                    }
                    self.dtypes.push(tensor.dtype());
                    python::number(&tensor.item()?).unwrap_or(Number::Float(f64::NAN))
                }
                (None, None) => return Err(no_number(data, dim)),
            };
            self.floats |= matches!(data, Value::Float(_) | Value::Complex(..));
            self.numbers.push(number);
            return Ok(());
        };
        let Some(items) = children(machine, data)? else {
            return Err(Raise::type_error(format!("len() of unsized object of type {}", python::type_name(data))));
        };
        if items.len() as i64 != size {
            let got = items.len();
            return Err(Raise::value_error(format!("expected sequence of length {size} at dim {dim} (got {got})")));
        }
        machine.charge_fuel(1 + items.len() as u64 / 8)?;
        items.iter().try_for_each(|item| self.fill(machine, item, shape, dim + 1))
    }

    fn tensor(&self, machine: &Machine, shape: &[i64], wanted: Option<DType>) -> Result<Tensor, Raise> {
        machine.charge_fuel(self.numbers.len() as u64 / 64)?;
        // Elements that are tensors bring their own types.
        let own = match elements::natural(&self.numbers) {
            // Integers stand as floats where they are beyond: without a float among them, no type holds them.
            DType::Float32 if self.beyond && !self.floats => DType::Int64,
            DType::Float32 => self.float,
            DType::Complex64 if self.float == DType::Float64 => DType::Complex128,
            own => own,
        };
        let natural = match self.dtypes.split_first() {
            Some((&first, rest)) => {
                let among = rest.iter().fold(first, |promoted, &dtype| dtype::promote(promoted, dtype));
                if self.dtypes.len() < self.numbers.len() { dtype::promote(among, own) } else { among }
            }
            None => own,
        };
        let kind = wanted.unwrap_or(natural);
        if self.beyond && !dtype::is_floating(kind) && !dtype::is_complex(kind) {
            return Err(python::no_long());
        }
        let (stored, bytes) = elements::encode(&self.numbers, kind)?;
        let made = Tensor::of_bytes(stored, shape, &bytes)?;
        // The conversion's result is charged to the job; the first copy is gone by then.
        match stored == kind {
            true => dispatch::tensor(machine, "clone", "", &[Argument::from(made)]),
            false => convert(machine, made, Some(kind), None),
        }
    }
}

/// Returns the elements of a sequence or an array. A tensor counts as a number, as a numpy scalar does.
fn children(machine: &Machine, value: &Value) -> Result<Option<Vec<Value>>, Raise> {
    if let Some(array) = python::host::<Array>(value) {
        return array.rows(machine);
    }
    match Tensor::of(value) {
        Some(_) => Ok(None),
        None => python::elements(machine, value),
    }
}

fn no_number(data: &Value, dim: usize) -> Raise {
    let name = python::type_name(data);
    match data {
        Value::Str(_) if dim > 0 => Raise::value_error("too many dimensions 'str'"),
        Value::Str(_) => Raise::type_error("new(): invalid data type 'str'"),
        Value::None => Raise::runtime_error("Could not infer dtype of NoneType"),
        _ => Raise::runtime_error(format!("Could not infer dtype of {name}")),
    }
}
