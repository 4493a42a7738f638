//! Programs' classes that derive from a layer: an instance keeps what the layer would, and computes as it does.

use interpreter::raise::Raise;
use interpreter::{Args, HostResult, Machine, Outcome, Value};

use super::{Layer, base};
use crate::tensor::Tensor;

/// Runs `__init__` of a layer's class for an instance of a class that derives from it.
///
/// # Errors
/// What the constructor raises.
pub fn initialize(machine: &Machine, class: &str, instance: &Value, args: &Args) -> HostResult {
    let Some(layer) = Layer::of_class(machine, class, args) else { return Ok(Outcome::NotImplemented) };
    for (name, value) in layer?.attributes() {
        if Tensor::of(&value).is_some_and(|tensor| !tensor.is_parameter()) {
            base::put(machine, instance, "_buffers", &name, value)?;
        } else {
            super::set_own(instance, &name, value);
        }
    }
    Ok(Value::None.into())
}

/// Reads an attribute that neither an instance nor its own classes have.
///
/// # Errors
/// `AttributeError` for methods that this server does not have.
pub fn attribute(machine: &Machine, class: &str, instance: &Value, name: &str) -> HostResult {
    let name = match name {
        "forward" => "forward",
        "extra_repr" => "extra_repr",
        other => return base::instance_attribute(machine, instance, other),
    };
    let (class, instance) = (class.to_owned(), instance.clone());
    let method = move |machine: &Machine, args: Args| {
        let layer = as_layer(&class, &instance)?;
        if name == "forward" {
            return layer.forward(machine, &args);
        }
        args.none(name)?;
        Ok(Value::from(layer.extra()).into())
    };
    Ok(Value::native(name, method).into())
}

/// Sees an instance as the layer that its class derives from.
fn as_layer(class: &str, instance: &Value) -> Result<Layer, Raise> {
    let Value::Instance(own) = instance else { return Err(Raise::type_error("this is no layer")) };
    let plain = own.attributes().into_iter().map(|(name, value)| (name.as_ref().into(), value));
    let registered = base::all_registered(own).map(|(name, value)| (name.into(), value));
    let layer = Layer::of_attributes(class, plain.chain(registered));
    layer.ok_or_else(|| Raise::type_error(format!("{class} is no layer")))
}
