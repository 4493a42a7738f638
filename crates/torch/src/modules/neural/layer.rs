//! Layers: `torch.nn.Linear` and its like, by the table in `layers.txt`.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::OnceLock;

use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Machine, Outcome, Value};
use program::DType;

use super::base;
use crate::dispatch::{self, Argument};
use crate::dtype;
use crate::modules::Construct;
use crate::signatures::{Signature, literal};
use crate::tensor::Tensor;

/// A layer: a class of the table and its attributes.
pub struct Layer {
    class: &'static Signature,
    attributes: RefCell<Vec<(Box<str>, Value)>>,
}

fn table() -> &'static HashMap<&'static str, Signature> {
    static TABLE: OnceLock<HashMap<&'static str, Signature>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let lines = include_str!("layers.txt").lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(Signature::parse).map(|signature| (signature.name(), signature)).collect()
    })
}

/// Finds a layer's constructor.
pub fn constructor(name: &str) -> Option<Construct> {
    let class = table().get(name)?;
    Some(Rc::new(move |machine, args| Layer::construct(machine, class, &args)))
}

/// Rebuilds a layer from its attributes.
pub fn of_state(name: &str, attributes: Vec<(Box<str>, Value)>) -> Option<Value> {
    let class = table().get(name)?;
    Some(Value::host(Layer { class, attributes: RefCell::new(attributes) }))
}

impl Layer {
    fn construct(machine: &Machine, class: &'static Signature, args: &Args) -> HostResult {
        let bound = class.bind(args)?;
        let attributes = bound.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let layer = Self { class, attributes: RefCell::new(attributes) };
        if let Some(Value::Int(size)) = layer.get("normalized_shape") {
            layer.set("normalized_shape", Value::tuple(vec![Value::Int(size)]));
        }
        layer.set("training", Value::Bool(true));
        layer.initialize(machine)?;
        Ok(Value::host(layer).into())
    }

    /// Returns an attribute.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.attributes.borrow().iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone())
    }

    /// Sets an attribute.
    pub fn set(&self, name: &str, value: Value) {
        let mut attributes = self.attributes.borrow_mut();
        match attributes.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, slot)) => *slot = value,
            None => attributes.push((name.into(), value)),
        }
    }

    /// Returns the tensors inside.
    pub fn members(&self) -> Vec<(String, Value)> {
        let attributes = self.attributes.borrow();
        let tensors = attributes.iter().filter(|(_, value)| Tensor::of(value).is_some());
        tensors.map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    fn int(&self, name: &str) -> i64 {
        self.get(name).as_ref().and_then(Value::as_int).unwrap_or(0)
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    /// Makes the weights, as `reset_parameters` of each class does.
    fn initialize(&self, machine: &Machine) -> Result<(), Raise> {
        let sizes = |value: Option<Value>| match value {
            Some(Value::Int(size)) => vec![size],
            Some(value) => {
                crate::python::sequence(&value).unwrap_or_default().iter().filter_map(Value::as_int).collect()
            }
            None => Vec::new(),
        };
        match self.class.name() {
            "Linear" => {
                let (inputs, outputs) = (self.int("in_features"), self.int("out_features"));
                self.uniform(machine, &[outputs, inputs], inputs, outputs)?;
            }
            "Bilinear" => {
                let (left, right, outputs) =
                    (self.int("in1_features"), self.int("in2_features"), self.int("out_features"));
                self.uniform(machine, &[outputs, left, right], left, outputs)?;
            }
            name @ ("Conv1d" | "Conv2d") => {
                let (inputs, outputs) = (self.int("in_channels") / self.int("groups").max(1), self.int("out_channels"));
                let mut kernel = sizes(self.get("kernel_size"));
                if name == "Conv2d" && kernel.len() == 1 {
                    kernel = vec![kernel[0]; 2];
                }
                let fan = inputs * kernel.iter().product::<i64>();
                let shape: Vec<i64> = [outputs, inputs].into_iter().chain(kernel).collect();
                self.uniform(machine, &shape, fan, outputs)?;
            }
            "Embedding" => {
                let shape = vec![self.int("num_embeddings"), self.int("embedding_dim")];
                let weight = dispatch::tensor(machine, "zeros", "", &[Argument::Ints(shape)])?;
                let weight = dispatch::tensor(machine, "normal_", "", &[weight.into()])?;
                self.parameter("weight", weight)?;
            }
            "LayerNorm" | "RMSNorm" if self.flag("elementwise_affine") => {
                let shape = sizes(self.get("normalized_shape"));
                let bias = self.class.name() == "LayerNorm" && self.flag("bias");
                self.affine(machine, &shape, bias)?;
            }
            "LayerNorm" | "RMSNorm" => self.affine(machine, &[], false)?,
            "GroupNorm" => self.affine(machine, &[self.int("num_channels")], true)?,
            "BatchNorm1d" | "BatchNorm2d" => {
                let shape = vec![self.int("num_features")];
                self.affine(machine, &shape, true)?;
                for (name, operator) in [("running_mean", "zeros"), ("running_var", "ones")] {
                    self.set(name, dispatch::tensor(machine, operator, "", &[Argument::Ints(shape.clone())])?.value());
                }
            }
            "PReLU" => {
                let (count, init) = (self.int("num_parameters"), self.get("init"));
                let init = init.as_ref().and_then(crate::python::float).unwrap_or(0.25);
                self.parameter(
                    "weight",
                    dispatch::tensor(machine, "full", "", &[Argument::Ints(vec![count]), init.into()])?,
                )?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Weights uniform within a bound of the fan-in, as `kaiming_uniform_(a=√5)`, and biases alike.
    fn uniform(&self, machine: &Machine, shape: &[i64], fan: i64, outputs: i64) -> Result<(), Raise> {
        // PyTorch computes the bound from a gain of √(2 / (1 + 5)) in this order, which decides the last bit.
        let gain = (2.0_f64 / (1.0 + 5.0_f64.sqrt().powi(2))).sqrt();
        let standard = gain / (fan.max(1) as f64).sqrt();
        let weights =
            if self.class.name() == "Bilinear" { 1.0 / (fan.max(1) as f64).sqrt() } else { 3.0_f64.sqrt() * standard };
        let biases = 1.0 / (fan.max(1) as f64).sqrt();
        let draw = |shape: Vec<i64>, bound: f64| {
            let zeros = dispatch::tensor(machine, "zeros", "", &[Argument::Ints(shape)])?;
            dispatch::tensor(machine, "uniform_", "", &[zeros.into(), (-bound).into(), bound.into()])
        };
        self.parameter("weight", draw(shape.to_vec(), weights)?)?;
        match self.flag("bias") {
            true => self.parameter("bias", draw(vec![outputs], biases)?),
            false => {
                self.set("bias", Value::None);
                Ok(())
            }
        }
    }

    /// A scale of ones and, where wanted, a shift of zeros. Without a shape there is neither.
    fn affine(&self, machine: &Machine, shape: &[i64], bias: bool) -> Result<(), Raise> {
        self.set("weight", Value::None);
        self.set("bias", Value::None);
        if !shape.is_empty() {
            self.parameter("weight", dispatch::tensor(machine, "ones", "", &[Argument::Ints(shape.to_vec())])?)?;
        }
        if bias {
            self.parameter("bias", dispatch::tensor(machine, "zeros", "", &[Argument::Ints(shape.to_vec())])?)?;
        }
        Ok(())
    }

    fn parameter(&self, name: &str, tensor: Tensor) -> Result<(), Raise> {
        let wanted = self.get("dtype").as_ref().and_then(dtype::of_value).unwrap_or(DType::Float32);
        let tensor = match tensor.dtype() == wanted {
            true => tensor,
            false => dispatch::call_unpaid("to", "dtype", &[tensor.into(), i64::from(dtype::code(wanted)).into()])?,
        };
        let parameter = tensor.parameter();
        parameter.set_requires_grad(true)?;
        // Parameters follow one another in the order in which they were made, whatever the constructor's arguments.
        self.attributes.borrow_mut().retain(|(known, _)| **known != *name);
        self.set(name, parameter.value());
        Ok(())
    }

    /// Computes the layer: the table's function of the inputs and the attributes.
    fn forward(&self, machine: &Machine, args: &Args) -> HostResult {
        let name = self.class.name();
        let mut inputs = args.positional.clone();
        inputs.extend(args.keyword.iter().map(|(_, value)| value.clone()));
        let mut used = 0;
        let mut passed = Args::default();
        for argument in self.class.arguments() {
            let value = match argument.source {
                "input" | "input2" | "input3" => {
                    let place = used;
                    used += 1;
                    inputs.get(place).cloned().ok_or_else(|| {
                        Raise::type_error(format!("{name}.forward() missing 1 required positional argument: 'input'"))
                    })?
                }
                source => self.get(source).unwrap_or_else(|| match self.class.has_parameter(source) {
                    true => Value::None,
                    false => literal(source),
                }),
            };
            // Weights that a layer does not have are None.
            let value = match (argument.source, value) {
                ("weight" | "bias" | "running_mean" | "running_var", Value::Str(_)) => Value::None,
                (_, value) => value,
            };
            match argument.keyword {
                None => passed.positional.push(value),
                Some(keyword) => passed.keyword.push((keyword.into(), value)),
            }
        }
        if inputs.len() > used {
            let (takes, given) = (used + 1, inputs.len() + 1);
            return Err(Raise::type_error(format!(
                "{name}.forward() takes {takes} positional arguments but {given} were given"
            )));
        }
        crate::modules::call_function(machine, "torch.nn.functional", self.class.operator(), &passed)
    }
}

impl HostObject for Layer {
    fn type_name(&self) -> Cow<'static, str> {
        self.class.name().into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        if let Some(value) = self.get(name) {
            return Ok(value.into());
        }
        if name == "forward" {
            return Ok(Value::native("forward", move |machine, args| self.forward(machine, &args)).into());
        }
        Ok(base::method(machine, &Value::Host(self), name).map_or(Outcome::NotImplemented, Outcome::Ready))
    }

    fn set_attribute(self: Rc<Self>, _: &Machine, name: &str, value: Value) -> HostResult {
        self.set(name, value);
        Ok(Value::None.into())
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        self.forward(machine, &args)
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        let shown: &[&str] = match self.class.name() {
            "Linear" => &["in_features", "out_features", "bias"],
            "Dropout" => &["p", "inplace"],
            "GELU" => &["approximate"],
            "Softmax" => &["dim"],
            _ => &[],
        };
        let parts: Vec<String> = shown
            .iter()
            .filter_map(|name| {
                let text = match self.get(name)? {
                    value if *name == "bias" => {
                        String::from(if matches!(value, Value::None | Value::Bool(false)) { "False" } else { "True" })
                    }
                    value => interpreter::format::repr_now(&value)?,
                };
                Some(format!("{name}={text}"))
            })
            .collect();
        Ok(Some(format!("{}({})", self.class.name(), parts.join(", "))))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "torch.nn.Module" || class.strip_prefix("torch.nn.") == Some(self.class.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::has_function;

    #[test]
    fn every_class_computes_a_known_function() {
        let lines = include_str!("layers.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        assert_eq!(lines.count(), table().len());
        for (name, class) in table() {
            assert!(has_function("torch.nn.functional", class.operator()), "{name}: {}", class.operator());
        }
    }
}
