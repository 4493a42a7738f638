//! Methods of tensors: libtorch's through their schemas, and those that PyTorch writes in Python.

use interpreter::raise::Raise;
use interpreter::{Args, HostResult, List, Machine, Outcome, Value};
use program::DType;
use std::rc::Rc;

use super::{Tensor, index};
use crate::dispatch::{self, Argument};
use crate::dtype::{self, Device};
use crate::job::Job;
use crate::modules::functions;
use crate::size::Size;
use crate::{allowed, array, autograd, binding, create, elements, hook, python};

/// Methods that are written here. All others come from the list of allowed operators.
const OWN: &[&str] = &[
    "__getitem__",
    "__len__",
    "__setitem__",
    "backward",
    "bfloat16",
    "bool",
    "byte",
    "cdouble",
    "cfloat",
    "char",
    "cpu",
    "cuda",
    "dim",
    "dim_order",
    "double",
    "element_size",
    "float",
    "get_device",
    "half",
    "has_names",
    "int",
    "is_contiguous",
    "is_inference",
    "is_pinned",
    "is_shared",
    "item",
    "long",
    "ndimension",
    "nelement",
    "new_empty",
    "new_tensor",
    "norm",
    "numel",
    "numpy",
    "register_hook",
    "requires_grad_",
    "retain_grad",
    "short",
    "size",
    "split",
    "storage_offset",
    "stride",
    "to",
    "tolist",
    "type",
    "type_as",
    "unique",
    "unique_consecutive",
    "to_dense",
    "is_conj",
    "nonzero",
    "is_neg",
    "is_nonzero",
    "resolve_neg",
    "istft",
    "__array__",
    "pin_memory",
];

/// Says whether tensors have a method of this name.
pub fn is_known(name: &str) -> bool {
    OWN.contains(&name) || allowed::method(name).is_some()
}

/// Says whether a method is written here.
pub fn is_own(name: &str) -> bool {
    OWN.contains(&name)
}

/// Calls `tensor.name(…)`; `NotImplemented` where there is no such method.
pub fn call(machine: &Machine, tensor: &Tensor, name: &str, args: &Args) -> HostResult {
    if OWN.contains(&name) {
        return own(machine, tensor, name, args.clone());
    }
    match allowed::method(name) {
        Some(operator) => binding::call(machine, operator, Some(tensor), args).map(Outcome::Ready),
        None => Ok(Outcome::NotImplemented),
    }
}

fn own(machine: &Machine, tensor: &Tensor, name: &str, args: Args) -> HostResult {
    let facts = tensor.facts();
    let prefixed = |args: Args| {
        let mut positional = vec![tensor.value()];
        positional.extend(args.positional);
        Args { positional, keyword: args.keyword }
    };
    Ok(match name {
        "item" => {
            args.none("item")?;
            tensor.item()?
        }
        "tolist" => {
            args.none("tolist")?;
            tolist(machine, tensor)?
        }
        "size" => size(tensor, args)?,
        "stride" => {
            let [dim] = args.bind("stride", ["dim"], 0)?;
            match python::given(dim) {
                None => Value::tuple(tensor.strides().into_iter().map(Value::Int).collect()),
                Some(dim) => Value::Int(tensor.strides()[dimension(tensor, &dim, "stride")?]),
            }
        }
        "dim" | "ndimension" => Value::Int(facts.dimensions),
        "numel" | "nelement" => Value::Int(facts.elements),
        "element_size" => Value::Int(facts.element_size),
        "storage_offset" => Value::Int(facts.storage_offset),
        "get_device" => Value::Int(i64::from(tensor.device().index)),
        "is_contiguous" => {
            let [format] = args.bind("is_contiguous", ["memory_format"], 0)?;
            let format = python::given(format).and_then(|format| python::host::<dtype::Constant>(&format));
            if format.is_some_and(|format| format.name != "contiguous_format") {
                return Err(Raise::runtime_error(
                    "is_contiguous(): argument 'memory_format' is not supported by this server",
                ));
            }
            Value::Bool(facts.is_contiguous)
        }
        "is_conj" => Value::Bool(facts.is_conj),
        "has_names" | "is_pinned" | "is_shared" | "is_inference" | "is_neg" => Value::Bool(false),
        "dim_order" => {
            let strides = tensor.strides();
            let mut order: Vec<usize> = (0..strides.len()).collect();
            order.sort_by_key(|&dim| std::cmp::Reverse(strides[dim]));
            Value::tuple(order.into_iter().map(|dim| Value::Int(dim as i64)).collect())
        }
        "__len__" => return functions::length(machine, tensor),
        "__getitem__" => index::get(machine, tensor, &args.one("__getitem__")?)?.value(),
        "__setitem__" => {
            let [key, value] = args.bind("__setitem__", ["key", "value"], 2)?;
            let (key, value) = (key.unwrap_or(Value::None), value.unwrap_or(Value::None));
            index::set(machine, tensor, &key, &value)?;
            Value::None
        }
        "is_nonzero" => Value::Bool(python::truth(machine, &tensor.value())?),
        "cpu" => create::convert(machine, tensor.clone(), None, Some(Device::CPU))?.value(),
        "cuda" => {
            let [device, _waits, format] = args.bind("cuda", ["device", "non_blocking", "memory_format"], 0)?;
            if python::given(format).is_some() {
                return Err(Raise::runtime_error("cuda(): argument 'memory_format' is not supported by this server"));
            }
            let device = match python::given(device) {
                Some(device) => Device::of_value(&device)?,
                None => None,
            };
            create::convert(machine, tensor.clone(), None, Some(device.unwrap_or(Device::cuda(-1))))?.value()
        }
        "to_dense" | "resolve_neg" | "pin_memory" => tensor.value(),
        "float" | "double" | "half" | "bfloat16" | "long" | "int" | "short" | "char" | "byte" | "bool" | "cfloat"
        | "cdouble" => create::convert(machine, tensor.clone(), Some(named_dtype(name)), None)?.value(),
        "type" => return retyped(machine, tensor, args),
        "type_as" => {
            let other = args.one("type_as")?;
            let Some(other) = Tensor::of(&other) else {
                let name = python::type_name(&other);
                return Err(Raise::type_error(format!(
                    "type_as(): argument 'other' (position 1) must be Tensor, not {name}"
                )));
            };
            create::convert(machine, tensor.clone(), Some(other.dtype()), Some(other.device()))?.value()
        }
        "to" => to(machine, tensor, args)?,
        "new_tensor" => {
            let [data, dtype, device, requires_grad] =
                args.bind("new_tensor", ["data", "dtype", "device", "requires_grad"], 1)?;
            let dtype = match python::given(dtype) {
                None => tensor.dtype(),
                Some(dtype) => dtype::of_value(&dtype).ok_or_else(|| {
                    let name = python::type_name(&dtype);
                    Raise::type_error(format!("new_tensor(): argument 'dtype' must be torch.dtype, not {name}"))
                })?,
            };
            let device = match python::given(device) {
                Some(device) => Device::of_value(&device)?,
                None => Some(tensor.device()),
            };
            let made = create::of_data(machine, &data.unwrap_or(Value::None), Some(dtype), device)?;
            if matches!(requires_grad, Some(Value::Bool(true))) {
                made.set_requires_grad(true)?;
            }
            made.value()
        }
        // What nobody has written must not be seen.
        "new_empty" => return binding::call(machine, "new_zeros", Some(tensor), &args).map(Outcome::Ready),
        "requires_grad_" => {
            let [on] = args.bind("requires_grad_", ["requires_grad"], 0)?;
            tensor.set_requires_grad(!matches!(on, Some(Value::Bool(false))))?;
            tensor.value()
        }
        "retain_grad" => {
            args.none("retain_grad")?;
            Job::of(machine).empty_at_end(machine, tensor.clone())?;
            tensor.retain_grad()?;
            Value::None
        }
        "backward" => return autograd::called(machine, tensor, &args),
        "register_hook" => return hook::register(machine, tensor, args),
        "numpy" | "__array__" => array::of_tensor(machine, tensor)?,
        "nonzero" => return functions::nonzero(machine, prefixed(args)),
        "norm" => return functions::norm(machine, prefixed(args)),
        "split" => return functions::split(machine, prefixed(args)),
        "unique" => return functions::unique(machine, prefixed(args)),
        "unique_consecutive" => return functions::unique_consecutive(machine, prefixed(args)),
        "istft" => return binding::call(machine, name, None, &prefixed(args)).map(Outcome::Ready),
        _ => return Ok(Outcome::NotImplemented),
    }
    .into())
}

fn named_dtype(name: &str) -> DType {
    match name {
        "byte" => DType::UInt8,
        "char" => DType::Int8,
        name => DType::from_name(name).unwrap_or(DType::Float32),
    }
}

fn size(tensor: &Tensor, args: Args) -> Result<Value, Raise> {
    let [dim] = args.bind("size", ["dim"], 0)?;
    match python::given(dim) {
        None => Ok(Size::value(&tensor.sizes())),
        Some(dim) => Ok(Value::Int(tensor.sizes()[dimension(tensor, &dim, "size")?])),
    }
}

/// Reads a dimension's number, counted from the end where negative.
fn dimension(tensor: &Tensor, dim: &Value, function: &str) -> Result<usize, Raise> {
    let Some(dim) = dim.as_int() else {
        let name = python::type_name(dim);
        return Err(Raise::type_error(format!("{function}(): argument 'dim' must be int, not {name}")));
    };
    let dimensions = tensor.sizes().len() as i64;
    let at = if dim < 0 { dim + dimensions } else { dim };
    match usize::try_from(at) {
        Ok(at) if at < tensor.sizes().len() => Ok(at),
        _ => {
            let (low, high) = (-dimensions.max(1), dimensions.max(1) - 1);
            Err(Raise::index_error(match dimensions {
                0 => format!("Dimension specified as {dim} but tensor has no dimensions"),
                _ => format!("Dimension out of range (expected to be in range of [{low}, {high}], but got {dim})"),
            }))
        }
    }
}

/// `tensor.to(…)`: a type, a device, both, or another tensor's.
fn to(machine: &Machine, tensor: &Tensor, mut args: Args) -> Result<Value, Raise> {
    let mut wanted = (None, None);
    let named = ["device", "dtype", "other"].map(|name| args.take_keyword(name));
    let copy = args.take_keyword("copy");
    let format = args.take_keyword("memory_format");
    let waits = args.take_keyword("non_blocking");
    args.no_more_keywords("to")?;
    let flags = |value: &Value| matches!(value, Value::Bool(_));
    // By place, the first flag is `non_blocking`, unless that is named; the other is `copy`.
    let placed: Vec<&Value> = args.positional.iter().filter(|value| flags(value)).collect();
    let copy = copy.as_ref().or(placed.get(usize::from(waits.is_none())).copied());
    let copy = copy.map_or(Ok(false), |value| python::truth(machine, value))?;
    for value in args.positional.iter().filter(|value| !flags(value)).chain(named.iter().flatten()) {
        if let Some(dtype) = dtype::of_value(value) {
            wanted.0 = Some(dtype);
        } else if let Some(device) = Device::of_value(value)? {
            wanted.1 = Some(device);
        } else if let Some(other) = Tensor::of(value) {
            wanted = (Some(other.dtype()), Some(other.device()));
        } else if !matches!(value, Value::None) {
            let name = python::type_name(value);
            return Err(Raise::type_error(format!(
                "to() received an invalid combination of arguments - got ({name}), but expected one of:\n \
                 * (torch.device device = None, torch.dtype dtype = None, bool non_blocking = False, bool copy = False, \
                 *, torch.memory_format memory_format = None)\n * (torch.dtype dtype, bool non_blocking = False, bool \
                 copy = False, *, torch.memory_format memory_format = None)\n * (Tensor tensor, bool non_blocking = \
                 False, bool copy = False, *, torch.memory_format memory_format = None)\n"
            )));
        }
    }
    let converted = create::convert(machine, tensor.clone(), wanted.0, wanted.1)?;
    let converted = match python::given(format) {
        Some(format) => {
            let args = python::arguments(Vec::new(), [("memory_format", Some(format))]);
            let shown = binding::call(machine, "contiguous", Some(&converted), &args)?;
            Tensor::of(&shown).unwrap_or(converted)
        }
        None => converted,
    };
    if copy && converted.is_same(tensor) {
        return Ok(dispatch::tensor(machine, "clone", "", &[Argument::from(converted)])?.value());
    }
    Ok(converted.value())
}

/// `tensor.type()` gives the type's old name, `tensor.type(dtype)` converts.
fn retyped(machine: &Machine, tensor: &Tensor, args: Args) -> HostResult {
    let [dtype, _] = args.bind("type", ["dtype", "non_blocking"], 0)?;
    let Some(dtype) = python::given(dtype) else {
        return Ok(Value::from(index::legacy_name(tensor)).into());
    };
    let wanted = dtype::of_value(&dtype).or_else(|| super::host::legacy_class(dtype.as_str()?));
    match wanted {
        Some(wanted) => Ok(create::convert(machine, tensor.clone(), Some(wanted), None)?.value().into()),
        None => Err(Raise::type_error("dtype must be a type, str, or dtype object")),
    }
}

/// Nested lists of a tensor's elements; a 0-dim tensor gives a number.
fn tolist(machine: &Machine, tensor: &Tensor) -> Result<Value, Raise> {
    machine.charge_fuel(tensor.elements() / 4)?;
    let numbers = numbers(machine, tensor)?;
    let mut numbers = numbers.into_iter();
    nested(machine, &mut numbers, &tensor.sizes())
}

fn nested(machine: &Machine, numbers: &mut impl Iterator<Item = Value>, sizes: &[i64]) -> Result<Value, Raise> {
    let Some((&size, inner)) = sizes.split_first() else { return Ok(numbers.next().unwrap_or(Value::None)) };
    let items = (0..size).map(|_| nested(machine, numbers, inner)).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::List(Rc::new(List::charged(machine, items)?)))
}

/// Reads the elements as Python numbers, row-major.
pub fn numbers(machine: &Machine, tensor: &Tensor) -> Result<Vec<Value>, Raise> {
    let wider = match tensor.dtype() {
        DType::Float8E4M3Fn | DType::Float8E5M2 => Some(DType::Float32),
        DType::Complex32 => Some(DType::Complex64),
        _ => None,
    };
    let bytes = tensor.elements().saturating_mul(32);
    machine.charge_memory(bytes)?;
    let data = create::convert(machine, tensor.clone(), wider, None).and_then(|tensor| tensor.to_data());
    machine.release_memory(bytes);
    Ok(elements::decode(&data?))
}
