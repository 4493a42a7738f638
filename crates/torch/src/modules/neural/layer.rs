//! Layers: `torch.nn.Linear` and its like, by the table in `layers.txt`.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::OnceLock;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, HostObject, HostResult, Kind as Exception, Machine, Use, Value};
use program::DType;

use super::{State, base, hooks};
use crate::dispatch::{self, Argument, Number};
use crate::dtype::{self, Device};
use crate::modules::{Construct, class_named};
use crate::python;
use crate::signatures::{self, Bound, Signature, literal};
use crate::tensor::Tensor;

/// What attention multiplies its heads' outputs by: a `Linear` of another name.
const ATTENTION: &str = "NonDynamicallyQuantizableLinear";

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

/// Says whether a name is that of a layer.
pub fn is_class(name: &str) -> bool {
    table().contains_key(name)
}

/// Finds a layer's constructor.
pub fn constructor(name: &str) -> Option<Construct> {
    let class = table().get(name)?;
    Some(Rc::new(move |machine, args| Ok(Value::host(Layer::construct(machine, class, &args)?).into())))
}

/// Rebuilds a layer from what a request brings of it.
pub fn of_state(name: &str, state: State) -> Option<Value> {
    Layer::of_attributes(name, state.plain.into_iter().chain(state.members)).map(Value::host)
}

/// Arguments of a constructor that the making of weights asks for, by name.
struct Given<'a> {
    bound: &'a Bound,
    asked: RefCell<Vec<&'static str>>,
}

impl Given<'_> {
    fn get(&self, name: &'static str) -> Option<Value> {
        self.asked.borrow_mut().push(name);
        self.bound.get(name)
    }

    fn int(&self, name: &'static str) -> i64 {
        self.get(name).as_ref().and_then(Value::as_int).unwrap_or(0)
    }

    fn flag(&self, machine: &Machine, name: &'static str) -> Result<bool, Raise> {
        self.get(name).map_or(Ok(false), |value| python::truth(machine, &value))
    }

    fn sizes(&self, name: &'static str) -> Vec<i64> {
        match self.get(name) {
            Some(Value::Int(size)) => vec![size],
            Some(value) => python::sequence(&value).unwrap_or_default().iter().filter_map(Value::as_int).collect(),
            None => Vec::new(),
        }
    }

    /// A kernel's size in so many dimensions.
    fn kernel(&self, dimensions: usize) -> Vec<i64> {
        match self.sizes("kernel_size").as_slice() {
            &[size] => vec![size; dimensions],
            sizes => sizes.to_vec(),
        }
    }
}

impl Layer {
    fn construct(machine: &Machine, class: &'static Signature, args: &Args) -> Result<Self, Raise> {
        let bound = class.bind_constructor(args)?;
        let (layer, _) = Self::made(machine, class, &bound)?;
        Ok(layer)
    }

    /// Makes a layer, and tells which arguments its weights were made by.
    fn made(machine: &Machine, class: &'static Signature, bound: &Bound) -> Result<(Self, Vec<&'static str>), Raise> {
        let mut attributes = vec![("training".into(), Value::Bool(true))];
        // Where weights lie and of which type they show themselves.
        let named = class.parameters().filter(|name| !matches!(*name, "device" | "dtype" | "size_average" | "reduce"));
        attributes.extend(named.map(|name| (name.into(), bound.get(name).unwrap_or(Value::None))));
        let layer = Self { class, attributes: RefCell::new(attributes) };
        if let Some(Value::Int(size)) = layer.get("normalized_shape") {
            layer.set("normalized_shape", Value::tuple(vec![Value::Int(size)]));
        }
        if let Some(reduction) = signatures::reduced(machine, bound)? {
            layer.set("reduction", reduction);
        }
        let given = Given { bound, asked: RefCell::default() };
        layer.initialize(machine, &given)?;
        let asked = given.asked.take();
        Ok((layer, asked))
    }

    /// Makes a layer of a class of the table as its constructor does; `None` where there is no such class.
    pub fn of_class(machine: &Machine, name: &str, args: &Args) -> Option<Result<Self, Raise>> {
        table().get(name).map(|class| Self::construct(machine, class, args))
    }

    /// Makes a layer of a class of the table of what it has; `None` where there is no such class.
    pub fn of_attributes(name: &str, attributes: impl IntoIterator<Item = (Box<str>, Value)>) -> Option<Self> {
        let class = table().get(name)?;
        Some(Self { class, attributes: RefCell::new(attributes.into_iter().collect()) })
    }

    /// Makes a layer of the same class that has nothing yet.
    pub fn emptied(&self) -> Self {
        Self { class: self.class, attributes: RefCell::default() }
    }

    /// Returns all attributes.
    pub fn attributes(&self) -> Vec<(Box<str>, Value)> {
        self.attributes.borrow().clone()
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

    /// Makes the weights, as `reset_parameters` of each class does.
    fn initialize(&self, machine: &Machine, given: &Given<'_>) -> Result<(), Raise> {
        match self.class.name() {
            name if name.contains("Dropout") => {
                let p = given.get("p").unwrap_or(Value::None);
                if !python::float(&p).is_some_and(|p| (0.0..=1.0).contains(&p)) {
                    let p = interpreter::format::repr_now(&p).unwrap_or_default();
                    return Err(Raise::value_error(format!(
                        "dropout probability has to be between 0 and 1, but got {p}"
                    )));
                }
            }
            "Linear" | ATTENTION => {
                let (inputs, outputs) = (given.int("in_features"), given.int("out_features"));
                self.uniform(machine, given, &[outputs, inputs], inputs, outputs)?;
            }
            "Bilinear" => {
                let (left, right, outputs) =
                    (given.int("in1_features"), given.int("in2_features"), given.int("out_features"));
                self.uniform(machine, given, &[outputs, left, right], left, outputs)?;
            }
            name @ ("Conv1d" | "Conv2d") => {
                let groups = given.int("groups").max(1);
                let (channels, outputs) = (given.int("in_channels"), given.int("out_channels"));
                for (channels, what) in [(channels, "in_channels"), (outputs, "out_channels")] {
                    if channels % groups != 0 {
                        return Err(Raise::value_error(format!("{what} must be divisible by groups")));
                    }
                }
                let inputs = channels / groups;
                let kernel = given.kernel(if name == "Conv2d" { 2 } else { 1 });
                let fan = kernel.iter().fold(inputs, |fan, &size| fan.saturating_mul(size));
                let shape: Vec<i64> = [outputs, inputs].into_iter().chain(kernel).collect();
                self.uniform(machine, given, &shape, fan, outputs)?;
            }
            "Embedding" => self.embedding(machine, given)?,
            name @ ("LayerNorm" | "RMSNorm") => {
                let (shape, scale) = (given.sizes("normalized_shape"), given.flag(machine, "elementwise_affine")?);
                let shift = name == "LayerNorm" && given.flag(machine, "bias")?;
                self.affine(machine, given, &shape, scale, scale && shift)?;
            }
            "GroupNorm" => {
                let (groups, channels) = (given.int("num_groups"), given.int("num_channels"));
                if groups == 0 || channels % groups != 0 {
                    return Err(Raise::value_error(format!(
                        "num_channels ({channels}) must be divisible by num_groups ({groups})"
                    )));
                }
                let affine = given.flag(machine, "affine")?;
                self.affine(machine, given, &[channels], affine, affine)?;
            }
            "BatchNorm1d" | "BatchNorm2d" => {
                let (shape, affine) = ([given.int("num_features")], given.flag(machine, "affine")?);
                self.affine(machine, given, &shape, affine, affine)?;
                let tracked = given.flag(machine, "track_running_stats")?;
                for (name, number) in [("running_mean", 0.0), ("running_var", 1.0)] {
                    let buffer = if tracked { full(machine, given, &shape, number)?.value() } else { Value::None };
                    self.set(name, buffer);
                }
                let count = dispatch::tensor(machine, "zeros", "", &[Argument::Ints(Vec::new())])?;
                let count = crate::create::convert(machine, count, Some(DType::Int64), device(given)?)?;
                self.set("num_batches_tracked", if tracked { count.value() } else { Value::None });
            }
            "PReLU" => {
                let init = given.get("init").as_ref().and_then(python::float).unwrap_or(0.25);
                self.parameter("weight", full(machine, given, &[given.int("num_parameters")], init)?)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Weights uniform within a bound of the fan-in, as `kaiming_uniform_(a=√5)`, and biases alike.
    fn uniform(
        &self,
        machine: &Machine,
        given: &Given<'_>,
        shape: &[i64],
        fan: i64,
        outputs: i64,
    ) -> Result<(), Raise> {
        // PyTorch computes the bound from a gain of √(2 / (1 + 5)) in this order, which decides the last bit.
        let gain = (2.0_f64 / (1.0 + 5.0_f64.sqrt().powi(2))).sqrt();
        let standard = gain / (fan.max(1) as f64).sqrt();
        let weights =
            if self.class.name() == "Bilinear" { 1.0 / (fan.max(1) as f64).sqrt() } else { 3.0_f64.sqrt() * standard };
        let biases = 1.0 / (fan.max(1) as f64).sqrt();
        let draw = |shape: &[i64], bound: f64| {
            let zeros = full(machine, given, shape, 0.0)?;
            dispatch::tensor(machine, "uniform_", "", &[zeros.into(), (-bound).into(), bound.into()])
        };
        self.parameter("weight", draw(shape, weights)?)?;
        match given.flag(machine, "bias")? {
            true => self.parameter("bias", draw(&[outputs], biases)?),
            false => {
                self.set("bias", Value::None);
                Ok(())
            }
        }
    }

    /// Rows drawn from a normal distribution; the one that stands for padding is zero.
    fn embedding(&self, machine: &Machine, given: &Given<'_>) -> Result<(), Raise> {
        let (rows, width) = (given.int("num_embeddings"), given.int("embedding_dim"));
        let padding = match given.get("padding_idx") {
            Some(Value::Int(index)) if !(-rows..rows.max(1)).contains(&index) => {
                return Err(Raise::new(Exception::AssertionError, "Padding_idx must be within num_embeddings"));
            }
            Some(Value::Int(index)) => Some(if index < 0 { index + rows } else { index }),
            _ => None,
        };
        let weight = full(machine, given, &[rows, width], 0.0)?;
        let weight = dispatch::tensor(machine, "normal_", "", &[weight.into()])?;
        if let Some(padding) = padding {
            self.set("padding_idx", Value::Int(padding));
            let row =
                dispatch::tensor(machine, "select", "int", &[(&weight).into(), Argument::from(0), padding.into()])?;
            dispatch::tensor(machine, "zero_", "", &[row.into()])?;
        }
        self.parameter("weight", weight)
    }

    /// A scale of ones and a shift of zeros, where they are wanted.
    fn affine(
        &self,
        machine: &Machine,
        given: &Given<'_>,
        shape: &[i64],
        scale: bool,
        shift: bool,
    ) -> Result<(), Raise> {
        for (name, wanted, number) in [("weight", scale, 1.0), ("bias", shift, 0.0)] {
            match wanted {
                true => self.parameter(name, full(machine, given, shape, number)?)?,
                false => self.set(name, Value::None),
            }
        }
        Ok(())
    }

    fn parameter(&self, name: &str, tensor: Tensor) -> Result<(), Raise> {
        let parameter = tensor.parameter();
        parameter.set_requires_grad(true)?;
        // Parameters follow one another in the order in which they were made, whatever the constructor's arguments.
        self.attributes.borrow_mut().retain(|(known, _)| **known != *name);
        self.set(name, parameter.value());
        Ok(())
    }

    /// Sets what a call of a batch norm depends on besides its attributes, and counts the batch, as PyTorch's `forward`.
    fn normalized(&self, machine: &Machine, input: Option<&Value>, name: &'static str) -> Result<Normalized, Raise> {
        if let Some(input) = input.and_then(Tensor::of) {
            let dimensions = input.sizes().len();
            match name {
                "BatchNorm1d" if !(2..=3).contains(&dimensions) => {
                    return Err(Raise::value_error(format!("expected 2D or 3D input (got {dimensions}D input)")));
                }
                "BatchNorm2d" if dimensions != 4 => {
                    return Err(Raise::value_error(format!("expected 4D input (got {dimensions}D input)")));
                }
                _ => {}
            }
        }
        let flag = |name: &str| self.get(name).map_or(Ok(true), |value| python::truth(machine, &value));
        let (training, tracks) = (flag("training")?, flag("track_running_stats")?);
        let running = |name: &str| self.get(name).as_ref().and_then(Tensor::of);
        let mut momentum = python::given(self.get("momentum"));
        if training
            && tracks
            && let Some(count) = running("num_batches_tracked")
        {
            let one = Argument::Wrapped(Number::Int(1));
            dispatch::tensor(machine, "add_", "Tensor", &[(&count).into(), one])?;
            if momentum.is_none() {
                let batches = count.item()?.as_int().unwrap_or(1).max(1);
                momentum = Some(Value::Float(1.0 / batches as f64));
            }
        }
        let none = running("running_mean").is_none() && running("running_var").is_none();
        Ok(Normalized {
            by_batch: training || none,
            runs: !training || tracks,
            momentum: momentum.unwrap_or(Value::Float(0.0)),
        })
    }

    /// Computes the layer: the table's function of the inputs and the attributes.
    pub fn forward(&self, machine: &Machine, args: &Args) -> HostResult {
        let name = self.class.name();
        let mut inputs = args.positional.clone();
        inputs.extend(args.keyword.iter().map(|(_, value)| value.clone()));
        let mut used = 0;
        let mut passed = Args::default();
        let normalized = match name {
            "BatchNorm1d" | "BatchNorm2d" => Some(self.normalized(machine, inputs.first(), name)?),
            _ => None,
        };
        for argument in self.class.arguments() {
            let value = match argument.source {
                "training" if let Some(normalized) = &normalized => Value::Bool(normalized.by_batch),
                "momentum" if let Some(normalized) = &normalized => normalized.momentum.clone(),
                "running_mean" | "running_var" if normalized.as_ref().is_some_and(|one| !one.runs) => Value::None,
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
        let (module, function) = self.function();
        crate::modules::call_function(machine, module, function, &passed)
    }

    /// Returns the function that a call computes, by its module and name.
    fn function(&self) -> (&'static str, &'static str) {
        match self.class.operator().split_once('.') {
            Some(("torch", function)) => ("torch", function),
            _ => ("torch.nn.functional", self.class.operator()),
        }
    }

    /// Returns what a call does besides giving a value.
    fn effect_of_call(&self) -> Effect {
        let is = |name: &str, flag: bool| matches!(self.get(name), Some(Value::Bool(found)) if found == flag);
        let lacks = |name: &str| matches!(self.get(name), None | Some(Value::None));
        // Rows that are longer than allowed are made shorter where they lie.
        if !hooks::are_none(|name| self.get(name)) || !(lacks("inplace") || is("inplace", false)) || !lacks("max_norm")
        {
            return Effect::Anything;
        }
        let (module, function) = self.function();
        // What trains draws random numbers, or writes down what it has seen.
        match self.class.arguments().iter().any(|argument| argument.source == "training") {
            true if is("training", false) => Effect::Looks,
            true => Effect::Anything,
            false => crate::modules::effect_of(module, function),
        }
    }
}

/// What a call of a batch norm depends on besides the layer's attributes.
struct Normalized {
    /// By the batch's own statistics.
    by_batch: bool,
    /// Whether the running ones take part.
    runs: bool,
    momentum: Value,
}

/// Makes a tensor of one number, of the type and on the device that a constructor is given.
fn full(machine: &Machine, given: &Given<'_>, shape: &[i64], number: f64) -> Result<Tensor, Raise> {
    let dtype = match python::given(given.get("dtype")) {
        None => DType::Float32,
        Some(dtype) => dtype::of_value(&dtype).ok_or_else(|| {
            let name = python::type_name(&dtype);
            Raise::type_error(format!("empty(): argument 'dtype' must be torch.dtype, not {name}"))
        })?,
    };
    let device = device(given)?.map_or(Argument::None, Argument::Device);
    let code = Argument::from(i64::from(dtype::code(dtype)));
    let arguments = [Argument::Ints(shape.to_vec()), number.into(), code, Argument::None, device];
    dispatch::tensor(machine, "full", "", &arguments)
}

fn device(given: &Given<'_>) -> Result<Option<Device>, Raise> {
    python::given(given.get("device")).map_or(Ok(None), |device| Device::of_value(&device))
}

impl HostObject for Layer {
    fn type_name(&self) -> Cow<'static, str> {
        self.class.name().into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match (name, usage) {
            ("__call__", Use::Call { .. }) => self.effect_of_call(),
            _ => Effect::Anything,
        }
    }

    fn looked_at_by_calls(&self) -> Option<Vec<Value>> {
        Some(self.attributes.borrow().iter().map(|(_, value)| value.clone()).collect())
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        if let Some(value) = self.get(name) {
            return Ok(value.into());
        }
        if name == "forward" {
            return Ok(Value::native("forward", move |machine, args| self.forward(machine, &args)).into());
        }
        base::method(machine, &Value::Host(self), name)
    }

    fn set_attribute(self: Rc<Self>, _: &Machine, name: &str, value: Value) -> HostResult {
        super::refuse_assignment(self.get(name).as_ref(), name, &value)?;
        self.set(name, value);
        Ok(Value::None.into())
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        let module = Value::Host(self.clone());
        hooks::call(machine, &module, args, Rc::new(move |machine, args| self.forward(machine, &args)))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("{}({})", self.class.name(), self.extra())))
    }

    fn class(&self) -> Option<Value> {
        class_named(&format!("torch.nn.{}", self.class.name()))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "torch.nn.Module"
            || class.strip_prefix("torch.nn.") == Some(self.class.name())
            || class == "torch.nn.Linear" && self.class.name() == ATTENTION
    }
}

impl Layer {
    /// What describes the layer where it is printed.
    pub(super) fn extra(&self) -> String {
        let shown = |name: &str| match self.get(name) {
            Some(Value::Str(text)) => format!("'{text}'"),
            Some(value) => text_of(&value),
            None => "None".to_owned(),
        };
        let has = |name: &str| !matches!(self.get(name), None | Some(Value::None | Value::Bool(false)));
        let truth = |name: &str| if has(name) { "True" } else { "False" };
        let named = |names: &[&str]| {
            let parts = names.iter().map(|name| format!("{name}={}", shown(name)));
            parts.collect::<Vec<_>>().join(", ")
        };
        let with_place = |names: &[&str]| match (named(names), has("inplace")) {
            (text, false) => text,
            (text, true) if text.is_empty() => "inplace=True".to_owned(),
            (text, true) => format!("{text}, inplace=True"),
        };
        match self.class.name() {
            "Linear" | ATTENTION => format!("{}, bias={}", named(&["in_features", "out_features"]), truth("bias")),
            "Bilinear" => {
                format!("{}, bias={}", named(&["in1_features", "in2_features", "out_features"]), truth("bias"))
            }
            "Flatten" => named(&["start_dim", "end_dim"]),
            "Unflatten" => named(&["dim", "unflattened_size"]),
            "Embedding" => {
                let mut text = format!("{}, {}", shown("num_embeddings"), shown("embedding_dim"));
                for name in ["padding_idx", "max_norm"] {
                    if !matches!(self.get(name), None | Some(Value::None)) {
                        text.push_str(&format!(", {}", named(&[name])));
                    }
                }
                if !matches!(self.get("norm_type"), None | Some(Value::Float(2.0) | Value::Int(2))) {
                    text.push_str(&format!(", {}", named(&["norm_type"])));
                }
                if has("scale_grad_by_freq") {
                    text.push_str(", scale_grad_by_freq=True");
                }
                text
            }
            "LayerNorm" | "RMSNorm" => {
                let shape = match self.get("normalized_shape") {
                    Some(Value::Int(size)) => format!("({size},)"),
                    Some(Value::List(sizes)) => text_of(&Value::tuple(sizes.to_vec().into_vec())),
                    _ => shown("normalized_shape"),
                };
                format!("{shape}, eps={}, elementwise_affine={}", shown("eps"), truth("elementwise_affine"))
            }
            "GroupNorm" => format!(
                "{}, {}, eps={}, affine={}",
                shown("num_groups"),
                shown("num_channels"),
                shown("eps"),
                truth("affine")
            ),
            "BatchNorm1d" | "BatchNorm2d" => format!(
                "{}, {}, affine={}, track_running_stats={}",
                shown("num_features"),
                named(&["eps", "momentum"]),
                truth("affine"),
                truth("track_running_stats")
            ),
            "Conv1d" | "Conv2d" => {
                let count = if self.class.name() == "Conv1d" { 1 } else { 2 };
                let many = |name: &str| match self.get(name) {
                    Some(value @ Value::Int(_)) => Value::tuple(vec![value; count]),
                    Some(Value::List(sizes)) => Value::tuple(sizes.to_vec().into_vec()),
                    Some(value) => value,
                    None => Value::None,
                };
                let text = |name: &str| match many(name) {
                    Value::Str(text) => text.to_string(),
                    value => text_of(&value),
                };
                let all = |name: &str, size: i64| match many(name) {
                    Value::Tuple(sizes) => sizes.iter().all(|it| it.as_int() == Some(size)),
                    _ => false,
                };
                let mut line = format!(
                    "{}, {}, kernel_size={}, stride={}",
                    shown("in_channels"),
                    shown("out_channels"),
                    text("kernel_size"),
                    text("stride")
                );
                if !all("padding", 0) {
                    line.push_str(&format!(", padding={}", text("padding")));
                }
                if !all("dilation", 1) {
                    line.push_str(&format!(", dilation={}", text("dilation")));
                }
                if self.get("groups").and_then(|groups| groups.as_int()) != Some(1) {
                    line.push_str(&format!(", groups={}", shown("groups")));
                }
                if !has("bias") {
                    line.push_str(", bias=False");
                }
                line
            }
            "PReLU" => named(&["num_parameters"]),
            "Dropout" | "Dropout1d" | "Dropout2d" | "Dropout3d" | "AlphaDropout" => {
                format!("{}, inplace={}", named(&["p"]), truth("inplace"))
            }
            "Threshold" => with_place(&["threshold", "value"]),
            "ReLU" | "ReLU6" | "SiLU" | "Mish" | "SELU" => with_place(&[]),
            "GELU" => named(&["approximate"]),
            "Hardtanh" => with_place(&["min_val", "max_val"]),
            "Hardshrink" | "Softshrink" => shown("lambd"),
            "Softplus" => named(&["beta", "threshold"]),
            "Softmax" | "LogSoftmax" | "Softmin" | "GLU" => named(&["dim"]),
            "ELU" | "CELU" => with_place(&["alpha"]),
            "LeakyReLU" => with_place(&["negative_slope"]),
            _ => String::new(),
        }
    }
}

/// Writes a number or a tuple of some.
fn text_of(value: &Value) -> String {
    match python::sequence(value) {
        Some(items) => {
            let items: Vec<String> = items.iter().map(text_of).collect();
            format!("({}{})", items.join(", "), if items.len() == 1 { "," } else { "" })
        }
        None => interpreter::format::repr_now(value).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use interpreter::Environment;
    use program::Limits;

    use super::*;
    use crate::modules::has_function;

    struct Host;

    impl Environment for Host {}

    #[test]
    fn every_class_computes_a_known_function() {
        let lines = include_str!("layers.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        assert_eq!(lines.count(), table().len());
        for (name, class) in table() {
            let (module, function) = match class.operator().split_once('.') {
                Some((module, function)) => (module, function),
                None => ("torch.nn.functional", class.operator()),
            };
            assert!(has_function(module, function), "{name}: {function}");
        }
    }

    #[test]
    fn every_argument_of_a_constructor_is_obeyed_or_refused_by_name() {
        let machine = Machine::new(&Limits::default(), Rc::new(Host));
        for (name, class) in table() {
            // Sizes that go with each other, whatever they are of.
            let count = class.parameters().filter(|parameter| !class.has_default(parameter)).count();
            let args = Args { positional: vec![Value::Int(2); count], keyword: Vec::new() };
            let bound = class.bind(&args).unwrap_or_else(|raise| panic!("{name}: {}", raise.message()));
            let (_, asked) =
                Layer::made(&machine, class, &bound).unwrap_or_else(|raise| panic!("{name}: {}", raise.message()));
            for parameter in class.parameters() {
                let called = class.arguments().iter().any(|argument| argument.source == parameter);
                // They choose the reduction, and a layer keeps that; statistics are those of a batch where none run.
                let chosen = ["size_average", "reduce", "track_running_stats"].contains(&parameter);
                let used = called || chosen || asked.contains(&parameter);
                assert!(used != class.refuses(parameter), "{name}: what becomes of '{parameter}'?");
            }
        }
    }
}
