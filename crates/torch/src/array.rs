//! The common part of `numpy`: arrays over the same memory as tensors.

pub mod natives;
mod print;
pub mod types;
mod ziggurat;

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{
    Args, Effect, HostObject, HostResult, Iteration, Kind, Machine, Method, Operator, Outcome, Use, Value,
};
use program::DType;

use crate::dispatch::{self, Argument};
use crate::dtype::{self, Device};
use crate::job::Job;
use crate::modules::{Native, class_named, written};
use crate::tensor::{self, Tensor};
use crate::{allowed, binding, create, python};

/// Bytes for an element that is written out.
const ELEMENT: u64 = 96;

/// A `numpy.ndarray`, or a numpy scalar, which is a 0-dim array that indexing or reducing made.
///
/// PyTorch has no views backwards: an array that is one has the elements in the order in which they lie, and turns a copy of
/// them each time that it is read, and what was written into such a copy back.
pub struct Array {
    tensor: Tensor,
    scalar: bool,
    /// Dimensions that are gone through from their end.
    backwards: Vec<i64>,
}

impl Array {
    #[must_use]
    pub fn new(tensor: Tensor) -> Self {
        Self { tensor, scalar: false, backwards: Vec::new() }
    }

    /// Wraps a result, which is a scalar where it has no dimensions.
    fn result(tensor: Tensor) -> Value {
        let scalar = tensor.sizes().is_empty();
        Value::host(Self { tensor, scalar, backwards: Vec::new() })
    }

    /// Returns the elements in the array's order, in its own memory unless that is another one.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn tensor(&self, machine: &Machine) -> Result<Tensor, Raise> {
        match self.backwards.is_empty() {
            true => Ok(self.tensor.clone()),
            false => self.turned(machine, &self.tensor),
        }
    }

    /// The same for a job that has ended, and where nobody is at hand who could pay for a copy: what is written down, and an
    /// index.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn unpaid(&self) -> Result<Tensor, Raise> {
        match self.backwards.is_empty() {
            true => Ok(self.tensor.clone()),
            false => dispatch::call_unpaid("flip", "", &[(&self.tensor).into(), self.backwards.clone().into()]),
        }
    }

    fn turned(&self, machine: &Machine, tensor: &Tensor) -> Result<Tensor, Raise> {
        dispatch::tensor(machine, "flip", "", &[tensor.into(), self.backwards.clone().into()])
    }

    /// Writes back what was written into [`Array::tensor`].
    fn put_back(&self, machine: &Machine, written: &Tensor) -> Result<(), Raise> {
        if !self.backwards.is_empty() {
            dispatch::tensor(machine, "copy_", "", &[(&self.tensor).into(), self.turned(machine, written)?.into()])?;
        }
        Ok(())
    }

    /// Returns what lies along the first dimension, if there is one.
    ///
    /// # Errors
    /// What taking a tensor apart raises.
    pub fn rows(&self, machine: &Machine) -> Result<Option<Vec<Value>>, Raise> {
        if self.tensor.sizes().is_empty() {
            return Ok(None);
        }
        Ok(Some(self.tensor(machine)?.unbind(machine)?.into_iter().map(Self::result).collect()))
    }

    #[must_use]
    pub fn is_scalar(&self) -> bool {
        self.scalar
    }
}

/// `tensor.numpy()`: an array over the same memory, or over a copy of what lies on a GPU: arrays lie with the host.
///
/// # Errors
/// `RuntimeError` for tensors that require grad, `TypeError` for types that numpy lacks.
pub fn of_tensor(machine: &Machine, tensor: &Tensor) -> Result<Value, Raise> {
    if tensor.requires_grad() {
        return Err(Raise::runtime_error(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
        ));
    }
    if matches!(tensor.dtype(), DType::BFloat16 | DType::Float8E4M3Fn | DType::Float8E5M2 | DType::Complex32) {
        let name = match tensor.dtype() {
            DType::BFloat16 => "BFloat16",
            DType::Complex32 => "ComplexHalf",
            DType::Float8E4M3Fn => "Float8_e4m3fn",
            _ => "Float8_e5m2",
        };
        return Err(Raise::type_error(format!("Got unsupported ScalarType {name}")));
    }
    Ok(Value::host(Array::new(on_host(machine, tensor.clone())?)))
}

/// `torch.from_numpy(array)`: a tensor over the same memory; like all that is made, on the model's device.
///
/// # Errors
/// `TypeError` for anything else.
pub fn to_tensor(machine: &Machine, value: &Value) -> Result<Tensor, Raise> {
    match python::host::<Array>(value) {
        Some(array) => {
            // Another object, even where the array is one's that came of a tensor.
            let own = dispatch::tensor(machine, "detach", "", &[array.tensor(machine)?.into()])?;
            create::convert(machine, own, None, Some(Job::of(machine).device()))
        }
        None => Err(Raise::type_error(format!("expected np.ndarray (got {})", python::type_name(value)))),
    }
}

fn on_host(machine: &Machine, tensor: Tensor) -> Result<Tensor, Raise> {
    create::convert(machine, tensor, None, Some(Device::CPU))
}

/// Returns the elements of a tensor or an array.
#[must_use]
pub fn elements_of(value: &Value) -> Option<Tensor> {
    Tensor::of(value).or_else(|| python::host::<Array>(value).and_then(|array| array.unpaid().ok()))
}

/// Returns the number behind one of numpy's scalars.
#[must_use]
pub fn scalar_of(value: &Value) -> Option<Tensor> {
    python::host::<Array>(value).filter(|array| array.scalar).map(|array| array.tensor.clone())
}

/// Finds a function of `numpy`.
pub fn function(module: &str, name: &str) -> Option<Native> {
    Some(match (module, name) {
        ("numpy", "array" | "asarray") => |machine, args| {
            let [data, dtype, _] = args.bind("array", ["object", "dtype", "copy"], 1)?;
            let dtype = python::given(dtype).map(|dtype| types::require(&dtype)).transpose()?;
            let data = data.unwrap_or(Value::None);
            let made = create::of_numbers(machine, &data, dtype, DType::Float64).map_err(|raise| {
                // PyTorch's words for it would say nothing of arrays.
                match raise.message().contains("'str'") {
                    true => {
                        Raise::type_error("numpy.array(): arrays of text are not supported by this server: use a list")
                    }
                    false => raise,
                }
            })?;
            Ok(Value::host(Array::new(on_host(machine, made)?)).into())
        },
        ("numpy", "mean") => |machine, args| through(machine, args, "mean"),
        ("numpy", "sum") => |machine, args| through(machine, args, "sum"),
        ("numpy", "std") => |machine, mut args| {
            population(&mut args.keyword);
            through(machine, args, "std")
        },
        ("numpy", "var") => |machine, mut args| {
            population(&mut args.keyword);
            through(machine, args, "var")
        },
        ("numpy", "argmax") => |machine, args| found(machine, args, "argmax"),
        ("numpy", "argmin") => |machine, args| found(machine, args, "argmin"),
        ("numpy", "amax" | "max") => |machine, args| through(machine, args, "amax"),
        ("numpy", "amin" | "min") => |machine, args| through(machine, args, "amin"),
        ("numpy", "zeros") => |machine, args| factory(machine, args, "zeros"),
        ("numpy", "ones") => |machine, args| factory(machine, args, "ones"),
        _ => return None,
    })
}

/// Finds where an extreme is: of a tensor by its own method, as NumPy does, which gives a tensor.
fn found(machine: &Machine, args: Args, operator: &str) -> HostResult {
    let tensor = args.positional.first().and_then(Tensor::of);
    let found = through(machine, args, operator)?;
    Ok(match (tensor, &found) {
        (Some(_), Outcome::Ready(place)) => elements_of(place).map_or(found, |place| place.value().into()),
        _ => found,
    })
}

/// Divides by the number of elements, as numpy's deviations do, where PyTorch's divide by one less.
fn population(keyword: &mut Vec<(Rc<str>, Value)>) {
    match keyword.iter_mut().find(|(name, _)| &**name == "ddof") {
        Some((name, _)) => *name = "correction".into(),
        None => keyword.push(("correction".into(), Value::Int(0))),
    }
}

/// Calls an operator on the tensors of arrays and wraps its results.
fn through(machine: &Machine, args: Args, operator: &str) -> HostResult {
    // What NumPy's reductions have besides, they have in Python.
    let more = |(name, _): &(Rc<str>, Value)| matches!(&**name, "where" | "initial" | "out");
    if args.keyword.iter().any(more)
        && let Some(reduced) = written::member(machine, "numpy", "_reduced")?
    {
        let positional = std::iter::once(Value::from(operator)).chain(args.positional).collect();
        return machine.call_now(&reduced, Args { positional, keyword: args.keyword });
    }
    let positional = args.positional.iter().map(|value| match Tensor::of(value) {
        Some(tensor) => on_host(machine, tensor).map(|tensor| tensor.value()),
        None => Ok(unwrapped(value)),
    });
    let positional: Vec<Value> = positional.collect::<Result<_, _>>()?;
    let keyword = args.keyword.iter().map(|(name, value)| {
        let value = match &**name {
            "dtype" => dtype::value(types::require(value)?),
            _ => unwrapped(value),
        };
        Ok((name.clone(), value))
    });
    let mut keyword = keyword.collect::<Result<Vec<_>, Raise>>()?;
    if matches!(operator, "zeros" | "ones" | "arange" | "linspace") {
        keyword.push(("device".into(), Device::CPU.value()));
    }
    let mut positional = positional;
    if let Some(first) = positional.first_mut() {
        // Reductions take lists too, and functions of numbers take those.
        let factory = matches!(operator, "zeros" | "ones");
        if !factory
            && matches!(first, Value::List(_) | Value::Tuple(_) | Value::Float(_) | Value::Int(_) | Value::Bool(_))
        {
            *first = on_host(machine, create::of_numbers(machine, first, None, DType::Float64)?)?.value();
        }
        if let Some(tensor) =
            Tensor::of(first).filter(|tensor| FLOATING.contains(&operator) && is_whole(tensor.dtype()))
        {
            let exact = matches!(operator, "mean" | "std" | "var");
            let floats = if exact { DType::Float64 } else { floats(tensor.dtype()) };
            *first = create::convert(machine, tensor, Some(floats), None)?.value();
        }
    }
    // Sums of numbers without a sign have none.
    let unsigned = matches!(operator, "sum" | "prod" | "cumsum")
        && !keyword.iter().any(|(name, _)| &**name == "dtype")
        && positional.first().and_then(Tensor::of).is_some_and(|tensor| is_unsigned(tensor.dtype()));
    let first = positional.first().and_then(Tensor::of);
    let shape = positional.get(1).and_then(python::sequence).filter(|_| operator == "reshape");
    let found = binding::call(machine, operator, None, &Args { positional, keyword }).map_err(|raise| {
        let text = raise.message();
        match (operator, &shape) {
            _ if text.starts_with("Dimension out of range") && first.is_some() => {
                let axis = text.rsplit("but got ").next().unwrap_or_default().trim_end_matches(')');
                let dimensions = first.as_ref().map_or(0, |tensor| tensor.sizes().len());
                let says = format!("axis {axis} is out of bounds for array of dimension {dimensions}");
                Raise::named("numpy.exceptions.AxisError", Kind::IndexError, says)
            }
            ("reshape", Some(shape)) if text.contains("is invalid for input of size") => {
                let shape: Vec<i64> = shape.iter().filter_map(Value::as_int).collect();
                let size = first.as_ref().map_or(0, Tensor::elements);
                Raise::value_error(format!("cannot reshape array of size {size} into shape {}", shape_text(&shape)))
            }
            ("amax" | "amin", _) if first.as_ref().is_some_and(|tensor| tensor.elements() == 0) => {
                let name = if operator == "amax" { "maximum" } else { "minimum" };
                Raise::value_error(format!("zero-size array to reduction operation {name} which has no identity"))
            }
            _ => raise,
        }
    })?;
    match Tensor::of(&found).filter(|_| unsigned) {
        Some(sum) => wrapped(create::convert(machine, sum, Some(DType::UInt64), None)?.value()),
        None => wrapped(found),
    }
}

/// Operators whose results numpy gives as floats of 64 bits where they are of whole numbers.
const FLOATING: [&str; 6] = ["exp", "log", "mean", "sqrt", "std", "var"];

fn is_whole(dtype: DType) -> bool {
    !dtype::is_floating(dtype) && !dtype::is_complex(dtype)
}

fn is_unsigned(dtype: DType) -> bool {
    matches!(dtype, DType::UInt8 | DType::UInt16 | DType::UInt32 | DType::UInt64)
}

/// Returns the floats in which numpy computes functions of whole numbers of a type.
fn floats(dtype: DType) -> DType {
    match dtype {
        DType::Bool | DType::Int8 | DType::UInt8 => DType::Float16,
        DType::Int16 | DType::UInt16 => DType::Float32,
        _ => DType::Float64,
    }
}

/// Returns the type in which arrays of two types meet, whichever of them is a scalar: numpy's scalars have a type as well.
fn met(machine: &Machine, one: DType, other: DType) -> Result<DType, Raise> {
    if let Some(common) = promoted(one, other) {
        return Ok(common);
    }
    let empty = |dtype: DType| {
        let code = Argument::from(i64::from(dtype::code(dtype)));
        dispatch::tensor(machine, "zeros", "", &[Argument::Ints(vec![1]), code])
    };
    // Of types that numpy has no rule of its own for, PyTorch's sum has the type.
    Ok(dispatch::tensor(machine, "add", "Tensor", &[empty(one)?.into(), empty(other)?.into()])?.dtype())
}

fn is_signed(dtype: DType) -> bool {
    matches!(dtype, DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64)
}

/// Returns the type in which numpy computes with elements of two: none is less exact than either.
fn promoted(one: DType, other: DType) -> Option<DType> {
    let wide = |dtype| matches!(dtype, DType::Int32 | DType::Int64 | DType::UInt32 | DType::UInt64);
    let single = |dtype| matches!(dtype, DType::Float16 | DType::Float32);
    if wide(one) && single(other) || wide(other) && single(one) {
        return Some(DType::Float64);
    }
    match (one, other) {
        (DType::Int16 | DType::UInt16, DType::Float16) | (DType::Float16, DType::Int16 | DType::UInt16) => {
            Some(DType::Float32)
        }
        (DType::Float64, DType::Complex64) | (DType::Complex64, DType::Float64) => Some(DType::Complex128),
        (whole, DType::Complex64) | (DType::Complex64, whole) if wide(whole) => Some(DType::Complex128),
        (one, other) if is_signed(one) && is_signed(other) => {
            Some(if one.size() >= other.size() { one } else { other })
        }
        (signed, unsigned) | (unsigned, signed) if is_signed(signed) && is_unsigned(unsigned) => {
            Some(match unsigned.size().max(signed.size() / 2) {
                _ if unsigned.size() < signed.size() => signed,
                1 => DType::Int16,
                2 => DType::Int32,
                4 => DType::Int64,
                _ => DType::Float64,
            })
        }
        (one, other) if is_unsigned(one) && is_unsigned(other) => {
            Some(if one.size() >= other.size() { one } else { other })
        }
        (one, other) if dtype::is_complex(one) || dtype::is_complex(other) || is_whole(one) || is_whole(other) => None,
        (one, other) => Some(if one.size() >= other.size() { one } else { other }),
    }
}

fn factory(machine: &Machine, mut args: Args, operator: &str) -> HostResult {
    if args.positional.len() > 1 {
        // `np.zeros(3, int)`.
        let dtype = args.positional.remove(1);
        args.keyword.push(("dtype".into(), dtype));
    }
    if !args.keyword.iter().any(|(name, _)| &**name == "dtype") {
        args.keyword.push(("dtype".into(), types::element_type(DType::Float64)));
    }
    through(machine, args, operator)
}

/// Replaces arrays by their tensors, in sequences too, and numpy's element types by PyTorch's.
fn unwrapped(value: &Value) -> Value {
    if let Some(tensor) = python::host::<Array>(value).and_then(|array| array.unpaid().ok()) {
        return tensor.value();
    }
    match value {
        Value::Host(_) if Tensor::of(value).is_none() => {
            types::of_value(value).map_or_else(|| value.clone(), dtype::value)
        }
        Value::List(list) => Value::list(list.to_vec().iter().map(unwrapped).collect()),
        Value::Tuple(tuple) => Value::tuple(tuple.iter().map(unwrapped).collect()),
        value => value.clone(),
    }
}

/// Makes of numbers in a key that has arrays, too, arrays of their own, as NumPy does: where they stand decides where what
/// was selected does.
fn numbered(key: Value) -> Value {
    let Value::Tuple(parts) = &key else { return key };
    let several = |part: &Value| match Tensor::of(part) {
        Some(tensor) => !tensor.sizes().is_empty() && tensor.dtype() != DType::Bool,
        None => matches!(part, Value::List(_)) || matches!(part, Value::Tuple(_)),
    };
    if !parts.iter().any(several) {
        return key;
    }
    let part = |part: &Value| match part {
        Value::Int(_) => Value::list(vec![part.clone()]),
        part => part.clone(),
    };
    Value::tuple(parts.iter().map(part).collect())
}

/// Says as NumPy does what is wrong with a key.
fn unfound(raise: Raise, own: &Tensor, key: &Value) -> Raise {
    let text = raise.message();
    if raise.as_fatal().is_some() {
        return raise;
    }
    if text.contains("is out of bounds for dimension") {
        return Raise::index_error(text.replace("for dimension", "for axis"));
    }
    if text.starts_with("too many indices for tensor") {
        let parts = match key {
            Value::Tuple(parts) => parts.iter().filter(|part| !matches!(part, Value::None | Value::Ellipsis)).count(),
            _ => 1,
        };
        return Raise::index_error(format!(
            "too many indices for array: array is {}-dimensional, but {parts} were indexed",
            own.sizes().len()
        ));
    }
    if text.starts_with("only integers, slices") || text.contains("invalid data type 'str'") {
        return Raise::index_error(
            "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are valid \
             indices",
        );
    }
    raise
}

fn ready(outcome: Outcome) -> Result<Value, Raise> {
    match outcome {
        Outcome::Ready(value) => Ok(value),
        _ => Err(Raise::runtime_error("an array's attribute is there at once")),
    }
}

fn wrapped(value: Value) -> HostResult {
    Ok(match (Tensor::of(&value), python::sequence(&value)) {
        (Some(tensor), _) => Array::result(tensor),
        (None, Some(items)) => {
            let wrap = |item: &Value| Tensor::of(item).map_or_else(|| item.clone(), Array::result);
            Value::tuple(items.iter().map(wrap).collect())
        }
        (None, None) => value,
    }
    .into())
}

impl HostObject for Array {
    fn type_name(&self) -> Cow<'static, str> {
        match self.scalar {
            false => "numpy.ndarray".into(),
            true => format!("numpy.{}", self.tensor.dtype().name()).into(),
        }
    }

    fn is_callable(&self) -> bool {
        false
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match (name, usage) {
            (_, Use::Store) => Effect::Anything,
            ("__setitem__", _) => Effect::Changes,
            ("shape" | "size" | "dtype" | "T" | "ndim" | "itemsize" | "nbytes", _) => Effect::Looks,
            (name, _) if METHODS.contains(&name) => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn memory(&self) -> Option<usize> {
        Some(self.tensor.storage())
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "shape" => Value::tuple(self.tensor.sizes().into_iter().map(Value::Int).collect()).into(),
            "size" => Value::Int(self.tensor.elements() as i64).into(),
            "dtype" => types::element_type(self.tensor.dtype()).into(),
            "T" => return wrapped(dispatch::tensor(machine, "numpy_T", "", &[self.tensor(machine)?.into()])?.value()),
            "ndim" | "itemsize" | "nbytes" => return tensor::get_attribute(machine, &self.tensor, name),
            name if METHODS.contains(&name) => python::method(self, name).into(),
            "real" | "imag" if !dtype::is_complex(self.tensor.dtype()) => {
                let operator = if name == "real" { "alias" } else { "zeros_like" };
                return wrapped(dispatch::tensor(machine, operator, "", &[self.tensor(machine)?.into()])?.value());
            }
            "real" | "imag" | "mT" => {
                return wrapped(tensor::get_attribute(machine, &self.tensor(machine)?, name).and_then(ready)?);
            }
            "strides" => {
                let size = self.tensor.dtype().size() as i64;
                let strides =
                    (0_i64..).zip(self.tensor.strides()).map(|(dim, stride)| match self.backwards.contains(&dim) {
                        true => Value::Int(-stride * size),
                        false => Value::Int(stride * size),
                    });
                Value::tuple(strides.collect()).into()
            }
            "flat" => {
                return wrapped(
                    dispatch::tensor(machine, "flatten", "using_ints", &[self.tensor(machine)?.into()])?.value(),
                );
            }
            "flags" => match written::member(machine, "numpy.ndarray", "_flags")? {
                Some(flags) => return machine.call_now(&flags, python::positional([Value::Host(self)])),
                None => Outcome::NotImplemented,
            },
            name => match written::member(machine, "numpy.ndarray", name)? {
                Some(function) => Value::Method(Rc::new(Method { function, receiver: Value::Host(self) })).into(),
                None if allowed::reason("numpy.ndarray", name).is_some() => {
                    return Err(allowed::refused("numpy.ndarray", name));
                }
                // Those of 64 bits are Python's floats, too.
                None if self.scalar && self.tensor.dtype() == DType::Float64 && FLOATS.contains(&name) => {
                    match interpreter::methods::method(machine, &self.tensor.item()?, name) {
                        Some(method) => method.into(),
                        None => Outcome::NotImplemented,
                    }
                }
                // What every object has may still be meant: `save`.
                None => Outcome::NotImplemented,
            },
        })
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        let own = self.tensor(machine)?;
        match name {
            "item" if !args.positional.is_empty() => {
                let key = match &args.positional[..] {
                    [Value::Tuple(place)] => Value::Tuple(Rc::clone(place)),
                    [place @ Value::Int(_)] => {
                        let flat = dispatch::tensor(machine, "flatten", "using_ints", &[own.into()])?;
                        return Ok(tensor::get_item(machine, &flat, place)?.item()?.into());
                    }
                    places => Value::tuple(places.to_vec()),
                };
                Ok(tensor::get_item(machine, &own, &key)?.item()?.into())
            }
            "item" if own.elements() != 1 => {
                Err(Raise::value_error("can only convert an array of size 1 to a Python scalar"))
            }
            "item" | "tolist" => tensor::call_method(machine, &own, name, args),
            "copy" => wrapped(dispatch::tensor(machine, "clone", "", &[own.into()])?.value()),
            "astype" => {
                let dtype = types::require(&args.clone().one("astype")?)?;
                wrapped(create::convert(machine, own, Some(dtype), None)?.value())
            }
            "cumsum" | "flatten" | "ravel"
                if name == "cumsum" || !(args.positional.is_empty() && args.keyword.is_empty()) =>
            {
                let function = if name == "cumsum" { "cumsum" } else { "ravel" };
                let Some(function) = written::member(machine, "numpy", function)? else {
                    return Ok(Outcome::NotImplemented);
                };
                let positional = std::iter::once(Value::Host(self)).chain(args.positional.iter().cloned()).collect();
                machine.call_now(&function, Args { positional, keyword: args.keyword.clone() })
            }
            "flatten" | "ravel" => {
                let flat = dispatch::tensor(machine, "flatten", "using_ints", &[own.into()])?;
                wrapped(flat.value())
            }
            name if METHODS.contains(&name) => {
                let operator = match name {
                    "max" => "amax",
                    "min" => "amin",
                    "__abs__" => "abs",
                    name => name,
                };
                let mut all = vec![own.value()];
                all.extend(args.positional.iter().cloned());
                let mut keyword = args.keyword.clone();
                if matches!(operator, "std" | "var") {
                    population(&mut keyword);
                }
                if operator == "reshape" && !matches!(all.get(1), Some(Value::Tuple(_) | Value::List(_))) {
                    all = vec![own.value(), Value::list(all.split_off(1))];
                }
                through(machine, Args { positional: all, keyword }, operator)
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        let key = numbered(unwrapped(key));
        let own = self.tensor(machine)?;
        let (own, key) = match tensor::backwards(&own, &key)? {
            // A view backwards and nothing else stays one.
            Some(found) if found.alone && self.backwards.is_empty() => {
                let tensor = tensor::get_item(machine, &own, &found.forwards)?;
                return Ok(Value::host(Self { tensor, scalar: false, backwards: found.dimensions }).into());
            }
            Some(found) => {
                let forwards = tensor::get_item(machine, &own, &found.forwards)?;
                let turned = Self { tensor: forwards, scalar: false, backwards: found.dimensions };
                (turned.tensor(machine)?, found.rest)
            }
            None => (own, key),
        };
        let found = tensor::get_item(machine, &own, &key).map_err(|raise| unfound(raise, &own, &key))?;
        wrapped(found.value())
    }

    fn set_item(self: Rc<Self>, machine: &Machine, key: &Value, value: Value) -> HostResult {
        let value = match python::elements(machine, &unwrapped(&value))? {
            Some(_) if Tensor::of(&unwrapped(&value)).is_none() => {
                create::of_data(machine, &unwrapped(&value), Some(self.tensor.dtype()), None)?.value()
            }
            _ => unwrapped(&value),
        };
        let key = numbered(unwrapped(key));
        let own = self.tensor(machine)?;
        match tensor::backwards(&own, &key)? {
            Some(found) => {
                let tensor = tensor::get_item(machine, &own, &found.forwards)?;
                let turned = Self { tensor, scalar: false, backwards: found.dimensions };
                let written = turned.tensor(machine)?;
                tensor::set_item(machine, &written, &found.rest, &value)?;
                turned.put_back(machine, &written)?;
            }
            None => tensor::set_item(machine, &own, &key, &value)?,
        }
        self.put_back(machine, &own)?;
        Ok(Value::None.into())
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        let (tensor, other_given) = (Tensor::of(other), other.clone());
        let other = match unwrapped(other) {
            list @ (Value::List(_) | Value::Tuple(_)) => create::of_data(machine, &list, None, None)?.value(),
            other => other,
        };
        let device = tensor.as_ref().map(Tensor::device);
        let own_type = self.tensor.dtype();
        // Numbers of Python's have no type of their own; arrays and numpy's scalars have.
        let common = match (&other, Tensor::of(&other)) {
            _ if tensor.is_some() => None,
            (_, Some(operand)) if operand.dtype() == own_type => None,
            (_, Some(operand)) if operand.sizes().is_empty() != self.tensor.sizes().is_empty() => {
                Some(met(machine, own_type, operand.dtype())?)
            }
            (_, Some(operand)) => promoted(own_type, operand.dtype()),
            (Value::Float(_) | Value::Complex(..), None) if is_whole(own_type) => Some(DType::Float64),
            _ => None,
        };
        let quotient = tensor.is_none() && operator == Operator::Div && is_whole(own_type);
        let common = common.or(quotient.then_some(DType::Float64));
        let other = match (common, Tensor::of(&other)) {
            (Some(common), Some(operand)) if !quotient || is_whole(operand.dtype()) => {
                create::convert(machine, operand, Some(common), None)?.value()
            }
            _ => other,
        };
        let own = create::convert(machine, self.tensor(machine)?, common, device)?.value();
        let Value::Host(own) = own else { return Ok(Outcome::NotImplemented) };
        let (sizes, operand) = (self.tensor.sizes(), Tensor::of(&other).map(|operand| operand.sizes()));
        let divides = matches!(operator, Operator::FloorDiv | Operator::Mod) && is_whole(own_type) && tensor.is_none();
        let done = match own.binary(machine, operator, &other, reflected) {
            Err(raise) if divides && raise.message().contains("ZeroDivisionError") => {
                let name = if operator == Operator::Mod { "mod" } else { "floor_divide" };
                let Some(function) = written::member(machine, "numpy", name)? else { return Err(raise) };
                let (left, right) = match reflected {
                    true => (other_given, Value::Host(self)),
                    false => (Value::Host(self), other_given),
                };
                return machine.call_now(&function, python::positional([left, right]));
            }
            done => done.map_err(|raise| match &operand {
                Some(operand) if tensor.is_none() => unfit(raise, operator, [&sizes, operand], reflected),
                _ => raise,
            })?,
        };
        match done {
            // What a tensor takes part in is a tensor.
            Outcome::Ready(value) if tensor.is_some() => Ok(value.into()),
            Outcome::Ready(value) => wrapped(value),
            outcome => Ok(outcome),
        }
    }

    fn in_place(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value) -> HostResult {
        let tensor = self.tensor(machine)?;
        let Value::Host(own) = tensor.value() else { return Ok(Outcome::NotImplemented) };
        match own.in_place(machine, operator, &unwrapped(other))? {
            Outcome::Ready(_) => {
                self.put_back(machine, &tensor)?;
                Ok(Value::Host(self).into())
            }
            outcome => Ok(outcome),
        }
    }

    fn unary(self: Rc<Self>, machine: &Machine, operator: Operator) -> HostResult {
        if operator == Operator::Negative && self.tensor.dtype() == DType::Bool {
            return Err(Raise::type_error(
                "The numpy boolean negative, the `-` operator, is not supported, use the `~` operator or the logical_not \
                 function instead.",
            ));
        }
        let Value::Host(own) = self.tensor(machine)?.value() else { return Ok(Outcome::NotImplemented) };
        match own.unary(machine, operator)? {
            Outcome::Ready(value) => wrapped(value),
            outcome => Ok(outcome),
        }
    }

    fn truth(&self, machine: &Machine) -> Result<Option<bool>, Raise> {
        if self.tensor.elements() > 1 {
            return Err(Raise::value_error(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()",
            ));
        }
        python::truth(machine, &self.tensor.value()).map(Some)
    }

    fn contains(self: Rc<Self>, machine: &Machine, element: &Value) -> HostResult {
        let compared = self.binary(machine, Operator::Equal, element, false)?;
        let Outcome::Ready(compared) = compared else { return Ok(Value::Bool(false).into()) };
        let Some(same) = elements_of(&compared) else { return Ok(compared.into()) };
        python::truth(machine, &dispatch::tensor(machine, "any", "", &[same.into()])?.value())
            .map(|any| Value::Bool(any).into())
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        match self.tensor.sizes().first() {
            Some(&size) => Ok(usize::try_from(size).ok()),
            None => Err(Raise::type_error("len() of unsized object")),
        }
    }

    fn iterate(self: Rc<Self>, machine: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        match self.rows(machine)? {
            Some(rows) => Ok(Some(Box::new(python::Items::new(rows)))),
            None => Err(Raise::type_error("iteration over a 0-d array")),
        }
    }

    fn integer(&self, machine: &Machine, exact: bool) -> Result<Option<Value>, Raise> {
        self.one(exact)?;
        let Value::Host(own) = self.tensor.value() else { return Ok(None) };
        own.integer(machine, exact)
    }

    fn float(&self, machine: &Machine) -> Result<Option<f64>, Raise> {
        self.one(false)?;
        let Value::Host(own) = self.tensor.value() else { return Ok(None) };
        own.float(machine)
    }

    fn number(&self) -> Option<Value> {
        if self.scalar { self.tensor.item().ok() } else { None }
    }

    fn hash(&self, _: &Machine) -> Result<Option<i64>, Raise> {
        match self.scalar {
            true => Ok(None),
            false => Err(Raise::type_error("unhashable type: 'numpy.ndarray'")),
        }
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        if !self.scalar {
            return print::repr(machine, &self.tensor(machine)?).map(Some);
        }
        let number = self.digits(&self.tensor.item()?);
        let number = number.trim_matches(['(', ')']);
        Ok(Some(match self.tensor.dtype() {
            DType::Bool => format!("np.{number}_"),
            dtype => format!("np.{}({number})", dtype.name()),
        }))
    }

    fn str(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        match self.tensor.sizes().is_empty() {
            true => self.tensor.item().map(|item| Some(self.digits(&item))),
            false => self.format(machine, ""),
        }
    }

    fn format(&self, machine: &Machine, spec: &str) -> Result<Option<String>, Raise> {
        match (self.tensor.sizes().is_empty(), spec.is_empty()) {
            // NumPy formats what `item` gives: a float of Python's, with all digits that tell it from those.
            (true, _) => python::format(machine, &self.tensor.item()?, spec).map(Some),
            (false, true) => print::text(machine, &self.tensor(machine)?).map(Some),
            (false, false) => Ok(None),
        }
    }

    fn class(&self) -> Option<Value> {
        match self.scalar {
            true => types::class(self.tensor.dtype().name()),
            false => class_named("numpy.ndarray"),
        }
    }

    fn is_instance(&self, class: &str) -> bool {
        let dtype = self.tensor.dtype();
        match (self.scalar, class) {
            (false, class) => class == "numpy.ndarray",
            (true, class) => class.strip_prefix("numpy.") == Some(dtype.name()) || types::is_of(dtype, class),
        }
    }
}

impl Array {
    /// Refuses to make a number of several.
    fn one(&self, exact: bool) -> Result<(), Raise> {
        match self.tensor.elements() == 1 || exact {
            true => Ok(()),
            false => Err(Raise::type_error("only 0-dimensional arrays can be converted to Python scalars")),
        }
    }

    /// Shows an element with the fewest digits that tell it from its neighbours of the same type.
    fn digits(&self, number: &Value) -> String {
        let shown = match number {
            Value::Float(number) => Value::from(shortest(*number, self.tensor.dtype())),
            number => number.clone(),
        };
        // Those of fewer bits are written with an exponent sooner than Python's floats.
        let most = match self.tensor.dtype() {
            DType::Float16 => 1e3,
            DType::Float32 => 1e6,
            _ => f64::INFINITY,
        };
        if let (Value::Float(exact), Value::Float(short)) = (number, &shown)
            && most.is_finite()
            && exact.is_finite()
            && *exact != 0.0
            && (exact.abs() >= most || exact.abs() < 1e-4)
        {
            let text = format!("{short:e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            return format!("{mantissa}e{sign}{exponent:0>2}");
        }
        interpreter::format::repr_now(&shown).unwrap_or_default()
    }
}

/// Writes a shape as NumPy's errors do: `(2,3)`.
fn shape_text(sizes: &[i64]) -> String {
    match sizes {
        [only] => format!("({only},)"),
        sizes => format!("({})", sizes.iter().map(i64::to_string).collect::<Vec<_>>().join(",")),
    }
}

/// Says as NumPy does that arrays of two shapes do not go together.
fn unfit(raise: Raise, operator: Operator, shapes: [&[i64]; 2], reflected: bool) -> Raise {
    let text = raise.message();
    if raise.as_fatal().is_some() || !raise.is(Kind::RuntimeError) {
        return raise;
    }
    let [left, right] = if reflected { [shapes[1], shapes[0]] } else { shapes };
    if operator == Operator::MatMul
        && let (Some(inner), Some(outer)) = (left.last(), right.get(right.len().saturating_sub(2)))
    {
        return Raise::value_error(format!(
            "matmul: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature (n?,k),(k,m?)->(n?,m?) \
             (size {outer} is different from {inner})"
        ));
    }
    match text.contains("must match the size of tensor") {
        true => Raise::value_error(format!(
            "operands could not be broadcast together with shapes {} {} ",
            shape_text(left),
            shape_text(right)
        )),
        false => raise,
    }
}

/// Returns the number with the fewest digits that a type rounds to a number of its own.
fn shortest(number: f64, dtype: DType) -> f64 {
    match dtype {
        DType::Float32 => (number as f32).to_string().parse().unwrap_or(number),
        DType::Float16 => (0..9)
            .filter_map(|digits| format!("{number:.digits$e}").parse::<f64>().ok())
            .find(|short| half::f16::from_f64(*short).to_f64() == number)
            .unwrap_or(number),
        _ => number,
    }
}

/// Methods of Python's floats that arrays have not.
const FLOATS: [&str; 3] = ["as_integer_ratio", "hex", "is_integer"];

const METHODS: &[&str] = &[
    "item", "tolist", "copy", "astype", "flatten", "ravel", "reshape", "mean", "sum", "std", "var", "max", "min",
    "argmax", "argmin", "all", "any", "cumsum", "prod", "squeeze", "__abs__",
];

/// Makes an array of a request's data.
#[must_use]
pub fn of_request(tensor: Tensor, scalar: bool) -> Value {
    Value::host(Array { tensor, scalar, backwards: Vec::new() })
}
