//! Attributes of tensors that are no methods.

use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostResult, Machine, Method, Outcome, Value};

use super::{Tensor, methods};
use crate::binding;
use crate::dispatch::{self, Argument};
use crate::dtype;
use crate::modules::written;
use crate::python;
use crate::size::Size;
use crate::{allowed, autograd};

/// Reads an attribute; `NotImplemented` for names that tensors do not have.
pub fn get(machine: &Machine, tensor: &Tensor, name: &str) -> HostResult {
    let facts = tensor.facts();
    Ok(match name {
        "shape" => Size::value(&tensor.sizes()),
        "dtype" => dtype::value(tensor.dtype()),
        "device" => tensor.device().value(),
        "layout" => dtype::constant("strided").unwrap_or(Value::None),
        "ndim" => Value::Int(facts.dimensions),
        "itemsize" => Value::Int(facts.element_size),
        "nbytes" => Value::Int(facts.elements * facts.element_size),
        "requires_grad" => Value::Bool(facts.requires_grad),
        "is_leaf" => Value::Bool(facts.is_leaf),
        "is_cuda" => Value::Bool(facts.device_type == 1),
        "is_cpu" => Value::Bool(facts.device_type == 0),
        "is_sparse" | "is_quantized" | "is_meta" | "is_mps" | "is_nested" | "is_mkldnn" | "is_sparse_csr"
        | "is_xpu" | "is_xla" => Value::Bool(false),
        "grad" => return autograd::read(machine, tensor),
        "grad_fn" => grad_fn(tensor),
        "data" => dispatch::tensor(machine, "detach", "", &[tensor.into()])?.value(),
        "T" | "mT" | "H" | "mH" => {
            let property = ["numpy_T", "mT", "matrix_H", "mH"]
                [["T", "mT", "H", "mH"].iter().position(|it| *it == name).unwrap_or(0)];
            dispatch::tensor(machine, property, "", &[tensor.into()])?.value()
        }
        "real" if !dtype::is_complex(tensor.dtype()) => tensor.value(),
        "real" => dispatch::tensor(machine, "real", "", &[tensor.into()])?.value(),
        "imag" => dispatch::tensor(machine, "imag", "", &[tensor.into()])?.value(),
        "name" => Value::None,
        name if methods::is_known(name) => {
            let (tensor, called) = (tensor.clone(), String::from(name));
            Value::native(name, move |machine: &Machine, args: Args| methods::call(machine, &tensor, &called, &args))
        }
        name if allowed::is_refused_method(name) => return Err(allowed::refused("torch.Tensor", name)),
        name => match written::member(machine, "torch.Tensor", name)? {
            Some(function) => Value::Method(Rc::new(Method { function, receiver: tensor.value() })),
            None => return Ok(Outcome::NotImplemented),
        },
    }
    .into())
}

/// Attributes that are no methods.
const NAMES: &[&str] = &[
    "H",
    "T",
    "data",
    "device",
    "dtype",
    "grad",
    "grad_fn",
    "imag",
    "is_cpu",
    "is_cuda",
    "is_leaf",
    "is_meta",
    "is_mkldnn",
    "is_mps",
    "is_nested",
    "is_quantized",
    "is_sparse",
    "is_sparse_csr",
    "is_xla",
    "is_xpu",
    "itemsize",
    "layout",
    "mH",
    "mT",
    "name",
    "nbytes",
    "ndim",
    "real",
    "requires_grad",
    "shape",
];

/// Says whether tensors have an attribute of this name that is no method.
pub fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Writes an attribute: `requires_grad`, `grad`, or `data` by copying.
pub fn set(machine: &Machine, tensor: &Tensor, name: &str, value: &Value) -> HostResult {
    match name {
        "requires_grad" => match value {
            Value::Bool(on) => tensor.set_requires_grad(*on)?,
            _ => return Err(Raise::runtime_error("requires_grad must be a bool")),
        },
        "grad" => return autograd::write(machine, tensor, value),
        "real" | "imag" => {
            let part = get(machine, tensor, name)?;
            let Outcome::Ready(part) = part else { return Ok(Outcome::NotImplemented) };
            binding::call(machine, "copy_", Tensor::of(&part).as_ref(), &python::positional([value.clone()]))?;
        }
        "data" => {
            // Python swaps the memory behind the tensor; here the elements are copied into it, which is the same
            // for everyone who looks at this tensor, and keeps the memory where the engine looks for it.
            let Some(from) = Tensor::of(value) else {
                let name = python::type_name(value);
                return Err(Raise::type_error(format!("Variable data has to be a tensor, but got {name}")));
            };
            if from.sizes() != tensor.sizes() || from.dtype() != tensor.dtype() {
                return Err(Raise::runtime_error(
                    "assigning .data of another shape or dtype is not supported by this server",
                ));
            }
            let target = dispatch::tensor(machine, "detach", "", &[tensor.into()])?;
            dispatch::tensor(machine, "copy_", "", &[Argument::from(target), from.into()])?;
        }
        "shape" | "dtype" | "device" | "T" | "ndim" | "is_leaf" | "grad_fn" => {
            return Err(Raise::attribute_error(format!(
                "attribute '{name}' of 'torch._C.TensorBase' objects is not writable"
            )));
        }
        _ => return Ok(Outcome::NotImplemented),
    }
    Ok(Value::None.into())
}

fn grad_fn(tensor: &Tensor) -> Value {
    match tensor.grad_fn() {
        Some(name) => Value::host(crate::autograd::Node(name)),
        None => Value::None,
    }
}
