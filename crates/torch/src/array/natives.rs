//! What the texts of `numpy` cannot do themselves: going from arrays to tensors and back, and the types of elements.

use interpreter::modules::Members;
use interpreter::raise::Raise;
use interpreter::{Args, HostResult, Machine, Value};
use program::DType;

use super::types;
use super::{Array, met, on_host, ziggurat};
use crate::dispatch::{self, Argument};
use crate::tensor::Tensor;
use crate::{create, dtype, python};

/// A function of the host.
type Native = fn(&Machine, Args) -> HostResult;

/// Makes what the texts know besides Python.
///
/// # Errors
/// None.
pub fn members(_: &Machine) -> Result<Members, Raise> {
    let natives: [(&'static str, Native); 10] = [
        // The tensor of what numpy takes for an array, on the host.
        ("_t", |machine, args| {
            let value = args.one("_t")?;
            if let Some(array) = python::host::<Array>(&value) {
                return python::ready(array.tensor(machine)?);
            }
            let made = match Tensor::of(&value) {
                Some(tensor) => tensor,
                None => {
                    // Arrays and numpy's scalars within lists keep their types.
                    let items = python::sequence(&value).unwrap_or_default();
                    let parts: Option<Vec<Tensor>> = items
                        .iter()
                        .map(|item| python::host::<Array>(item).and_then(|array| array.tensor(machine).ok()))
                        .collect();
                    match parts.filter(|parts| !parts.is_empty()) {
                        Some(parts) => {
                            let arguments = [Argument::Tensors(parts), Argument::from(0)];
                            dispatch::tensor(machine, "stack", "", &arguments)?
                        }
                        None => create::of_numbers(machine, &value, None, DType::Float64)?,
                    }
                }
            };
            python::ready(on_host(machine, made)?)
        }),
        ("_a", |machine, args| Ok(Value::host(Array::new(tensor(machine, &args.one("_a")?)?)).into())),
        ("_r", |machine, args| Ok(Array::result(tensor(machine, &args.one("_r")?)?).into())),
        // PyTorch's type of a type of numpy's.
        ("_dtype", |_, args| {
            let value = args.one("_dtype")?;
            Ok(dtype::value(match dtype::of_value(&value) {
                Some(known) => known,
                None => types::require(&value)?,
            })
            .into())
        }),
        ("_shown", |_, args| Ok(types::element_type(of(&args.one("_shown")?)?).into())),
        ("_promoted", |machine, args| {
            let [one, other] = &args.between("_promoted", 2, 2)?[..] else {
                return Err(Raise::type_error("_promoted() takes two types"));
            };
            let (one, other) = (of(one)?, of(other)?);
            Ok(dtype::value(met(machine, one, other)?).into())
        }),
        ("_is_scalar", |_, args| {
            let scalar = python::host::<Array>(&args.one("_is_scalar")?).is_some_and(|array| array.is_scalar());
            Ok(Value::Bool(scalar).into())
        }),
        ("_is_of", |_, args| {
            let [one, above] = &args.between("_is_of", 2, 2)?[..] else {
                return Err(Raise::type_error("_is_of() takes two types"));
            };
            let dtype = types::require(one)?;
            let name = match above {
                Value::Host(object) => object.class_name().map(|name| name.to_string()),
                _ => None,
            };
            let below = name.as_deref().is_some_and(|name| types::is_of(dtype, name));
            let same = types::of_value(above) == Some(dtype);
            Ok(Value::Bool(below || same).into())
        }),
        ("_Twister", |machine, args| interpreter::modules::random::twister(machine, args)),
        ("_strip", |_, args| {
            let at = args.one("_strip")?.as_int().and_then(|at| u8::try_from(at).ok());
            let Some(strip) = at.and_then(ziggurat::strip) else {
                return Err(Raise::value_error("_strip() takes a number from 0 to 255"));
            };
            Ok(Value::tuple(vec![Value::Int(strip.bound), strip.width.into(), strip.height.into()]).into())
        }),
    ];
    Ok(natives.into_iter().map(|(name, body)| (name, Value::native(name, body))).collect())
}

fn tensor(machine: &Machine, value: &Value) -> Result<Tensor, Raise> {
    match python::host::<Array>(value) {
        Some(array) => array.tensor(machine),
        None => Tensor::of(value).ok_or_else(|| Raise::type_error("an array is made of a tensor")),
    }
}

fn of(value: &Value) -> Result<DType, Raise> {
    dtype::of_value(value).map_or_else(|| types::require(value), Ok)
}
