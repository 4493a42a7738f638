//! The tensor as a Python object: operators, conversions, iteration.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, HostObject, HostResult, Iteration, Machine, Operator, Outcome, Use, Value};
use libtorch::ffi;

use super::{Tensor, Unembedding, attributes, index, methods, print};
use crate::backward::Backward;
use crate::binding;
use crate::dispatch::{self, Argument};
use crate::job::Price;
use crate::modules::class_named;
use crate::size::Size;
use crate::{dtype, python};

/// What a Python reference to a tensor points at.
pub struct Object {
    tensor: OnceCell<tch::Tensor>,
    /// How to compute the tensor when it is first used.
    later: Option<Unembedding>,
    /// A weight, or a view of one.
    pub(super) read_only: bool,
    /// A `torch.nn.Parameter`.
    pub(super) parameter: bool,
    /// The batch that this shows some rows of: the first, and how many.
    pub(super) rows: Option<(Tensor, i64, i64)>,
    /// Comes of a model's parameters: see [`crate::learned`].
    pub(super) learned: Cell<bool>,
    /// What it costs, apart from its elements.
    _price: Price,
}

/// The operator behind a Python operator, and its in-place form.
fn names(operator: Operator) -> (&'static str, &'static str) {
    match operator {
        Operator::Add => ("add", "add_"),
        Operator::Sub => ("sub", "sub_"),
        Operator::Mul => ("mul", "mul_"),
        Operator::MatMul => ("matmul", ""),
        Operator::Div => ("div", "div_"),
        Operator::FloorDiv => ("floor_divide", "floor_divide_"),
        Operator::Mod => ("remainder", "remainder_"),
        Operator::Pow => ("pow", "pow_"),
        Operator::LeftShift => ("__lshift__", "__ilshift__"),
        Operator::RightShift => ("__rshift__", "__irshift__"),
        Operator::BitAnd => ("bitwise_and", "bitwise_and_"),
        Operator::BitOr => ("bitwise_or", "bitwise_or_"),
        Operator::BitXor => ("bitwise_xor", "bitwise_xor_"),
        Operator::Equal => ("eq", ""),
        Operator::NotEqual => ("ne", ""),
        Operator::Less => ("lt", ""),
        Operator::LessEqual => ("le", ""),
        Operator::Greater => ("gt", ""),
        Operator::GreaterEqual => ("ge", ""),
        Operator::Negative => ("neg", ""),
        Operator::Positive => ("positive", ""),
        Operator::Invert => ("bitwise_not", ""),
    }
}

/// What `b ⋄ a` is in terms of `a`, for comparisons.
fn mirrored(operator: Operator) -> Option<Operator> {
    Some(match operator {
        Operator::Equal | Operator::NotEqual => operator,
        Operator::Less => Operator::Greater,
        Operator::LessEqual => Operator::GreaterEqual,
        Operator::Greater => Operator::Less,
        Operator::GreaterEqual => Operator::LessEqual,
        _ => return None,
    })
}

fn is_operand(value: &Value) -> bool {
    matches!(value, Value::Big(_)) || python::number(value).is_some() || Tensor::of(value).is_some()
}

impl HostObject for Object {
    fn has_divmod(&self) -> bool {
        false
    }

    fn type_name(&self) -> Cow<'static, str> {
        if self.parameter { "Parameter".into() } else { "Tensor".into() }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Effect {
        crate::effects::of_tensor(name, usage).unwrap_or(Effect::Anything)
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn is_callable(&self) -> bool {
        false
    }

    fn memory(&self) -> Option<usize> {
        self.pending().is_none().then(|| self.tensor().storage())
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        if let (Some(later), "shape") = (self.pending(), name) {
            return Ok(Size::value(&later.shape()).into());
        }
        attributes::get(machine, &Tensor(self), name)
    }

    fn set_attribute(self: Rc<Self>, machine: &Machine, name: &str, value: Value) -> HostResult {
        attributes::set(machine, &Tensor(self), name, &value)
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        methods::call(machine, &Tensor(self), name, args)
    }

    fn open_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        match name {
            "backward" => Ok(Backward::value(Tensor(self), args.clone()).into()),
            name => self.call_method(machine, name, args),
        }
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        if let Some(selected) = self.pending().and_then(|later| later.get(machine, &Tensor(Rc::clone(&self)), key)) {
            return selected;
        }
        Ok(index::get(machine, &Tensor(self), key)?.value().into())
    }

    fn set_item(self: Rc<Self>, machine: &Machine, key: &Value, value: Value) -> HostResult {
        index::set(machine, &Tensor(self), key, &value)?;
        Ok(Value::None.into())
    }

    fn delete_item(self: Rc<Self>, _: &Machine, _: &Value) -> HostResult {
        Err(Raise::type_error("Tensor does not support deleting items"))
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        let tensor = Tensor(self);
        if !is_operand(other) || operator == Operator::MatMul && Tensor::of(other).is_none() {
            return Ok(Outcome::NotImplemented);
        }
        let (operator, swap) = match (reflected, mirrored(operator)) {
            (true, Some(mirrored)) => (mirrored, false),
            (true, None) => (operator, true),
            (false, _) => (operator, false),
        };
        if !swap {
            let args = python::positional([other.clone()]);
            return binding::call(machine, names(operator).0, Some(&tensor), &args).map(Outcome::Ready);
        }
        reflected_binary(machine, operator, &tensor, other).map(Outcome::Ready)
    }

    fn in_place(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value) -> HostResult {
        let name = names(operator).1;
        let tensor = Tensor(self);
        if name.is_empty() || !is_operand(other) {
            return Ok(Outcome::NotImplemented);
        }
        binding::call(machine, name, Some(&tensor), &python::positional([other.clone()])).map(Outcome::Ready)
    }

    fn unary(self: Rc<Self>, machine: &Machine, operator: Operator) -> HostResult {
        binding::call(machine, names(operator).0, Some(&Tensor(self)), &Args::default()).map(Outcome::Ready)
    }

    fn contains(self: Rc<Self>, machine: &Machine, element: &Value) -> HostResult {
        if !is_operand(element) {
            let name = python::type_name(element);
            return Err(Raise::runtime_error(format!(
                "Tensor.__contains__ only supports Tensor or scalar, but you passed in a <class '{name}'>."
            )));
        }
        let equal = binding::call(machine, "eq", Some(&Tensor(self)), &python::positional([element.clone()]))?;
        let any = binding::call(machine, "any", Tensor::of(&equal).as_ref(), &Args::default())?;
        Ok(Value::Bool(python::truth(machine, &any)?).into())
    }

    fn truth(&self, _: &Machine) -> Result<Option<bool>, Raise> {
        let tensor = self.tensor();
        match tensor.elements() {
            1 => Ok(Some(match tensor.item()? {
                Value::Bool(flag) => flag,
                Value::Int(number) => number != 0,
                Value::Float(number) => number != 0.0,
                Value::Complex(real, imaginary) => real != 0.0 || imaginary != 0.0,
                _ => true,
            })),
            0 => Err(Raise::runtime_error("Boolean value of Tensor with no values is ambiguous")),
            _ => Err(Raise::runtime_error("Boolean value of Tensor with more than one value is ambiguous")),
        }
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        match self.tensor().sizes().first() {
            Some(&size) => Ok(usize::try_from(size).ok()),
            None => Err(Raise::type_error("len() of a 0-d tensor")),
        }
    }

    fn iterate(self: Rc<Self>, machine: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        let tensor = Tensor(self);
        if tensor.sizes().is_empty() {
            return Err(Raise::type_error("iteration over a 0-d tensor"));
        }
        let rows = tensor.unbind(machine)?.iter().map(Tensor::value).collect();
        Ok(Some(Box::new(python::Items::new(rows))))
    }

    fn integer(&self, _: &Machine, exact: bool) -> Result<Option<Value>, Raise> {
        let tensor = self.tensor();
        if exact && (dtype::is_floating(tensor.dtype()) || dtype::is_complex(tensor.dtype()) || tensor.elements() != 1)
        {
            return Err(Raise::type_error("only integer tensors of a single element can be converted to an index"));
        }
        one_element(&tensor)?;
        Ok(Some(match tensor.item()? {
            Value::Bool(flag) => Value::Int(i64::from(flag)),
            Value::Float(number) => integer_of_float(number)?,
            number => number,
        }))
    }

    fn float(&self, _: &Machine) -> Result<Option<f64>, Raise> {
        let tensor = self.tensor();
        one_element(&tensor)?;
        let item = tensor.item()?;
        python::float(&item)
            .map(Some)
            .ok_or_else(|| Raise::runtime_error("value cannot be converted to type double without overflow"))
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        print::repr(machine, &self.tensor()).map(Some)
    }

    /// Not the number that a tensor without dimensions is formatted as.
    fn str(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        self.repr(machine)
    }

    fn format(&self, machine: &Machine, spec: &str) -> Result<Option<String>, Raise> {
        let tensor = self.tensor();
        if !tensor.sizes().is_empty() {
            return match spec {
                "" => print::repr(machine, &tensor).map(Some),
                _ => Err(Raise::type_error("unsupported format string passed to Tensor.__format__")),
            };
        }
        let item = tensor.item()?;
        if self.parameter {
            return match spec {
                "" => print::repr(machine, &tensor).map(Some),
                _ => Err(Raise::type_error("unsupported format string passed to Parameter.__format__")),
            };
        }
        python::format(machine, &item, spec).map(Some)
    }

    fn class(&self) -> Option<Value> {
        class_named(if self.parameter { "torch.nn.Parameter" } else { "torch.Tensor" })
    }

    fn is_instance(&self, class: &str) -> bool {
        matches!(class, "torch.Tensor" | "torch._tensor.Tensor")
            || self.parameter && matches!(class, "torch.nn.Parameter" | "torch.nn.parameter.Parameter")
            || legacy_class(class).is_some_and(|dtype| dtype == self.tensor().dtype())
    }
}

impl Object {
    pub(super) fn new(tensor: tch::Tensor, read_only: bool, parameter: bool) -> Self {
        Self { tensor: OnceCell::from(tensor), read_only, parameter, ..Self::bare() }
    }

    /// Makes an object that whoever pays on this thread pays for.
    pub(super) fn priced(tensor: tch::Tensor, read_only: bool, parameter: bool) -> Self {
        Self { _price: Price::pay(), ..Self::new(tensor, read_only, parameter) }
    }

    fn bare() -> Self {
        let (tensor, _price) = (OnceCell::new(), Price::default());
        Self { tensor, later: None, read_only: false, parameter: false, rows: None, learned: Cell::new(false), _price }
    }

    pub(super) fn part(tensor: tch::Tensor, rows: (Tensor, i64, i64)) -> Self {
        Self { rows: Some(rows), ..Self::new(tensor, false, false) }
    }

    pub(super) fn later(unembedding: Unembedding) -> Self {
        Self { later: Some(unembedding), ..Self::bare() }
    }

    /// Returns the libtorch tensor, computed now if it has not been.
    pub(super) fn get(&self) -> &tch::Tensor {
        self.tensor.get_or_init(|| self.later.as_ref().map(Unembedding::compute).unwrap_or_default())
    }

    pub(super) fn pending(&self) -> Option<&Unembedding> {
        self.later.as_ref().filter(|_| self.tensor.get().is_none())
    }

    /// Returns a handle that shares the libtorch tensor, not the identity.
    fn tensor(&self) -> Tensor {
        Tensor(Rc::new(Self::new(self.handle(), self.read_only, self.parameter)))
    }

    /// Returns another owner of the same libtorch tensor.
    pub(super) fn handle(&self) -> tch::Tensor {
        // SAFETY: the tensor is alive.
        let copy = unsafe { ffi::vt_clone_handle(self.get().as_ptr().cast()) };
        // Without memory for sixteen bytes the process cannot go on anyway; an undefined tensor stands for it.
        libtorch::adopt(copy).unwrap_or_default()
    }
}

/// `torch.FloatTensor` and its like.
pub fn legacy_class(class: &str) -> Option<program::DType> {
    use program::DType;
    Some(match class.strip_prefix("torch.")? {
        "FloatTensor" => DType::Float32,
        "DoubleTensor" => DType::Float64,
        "HalfTensor" => DType::Float16,
        "BFloat16Tensor" => DType::BFloat16,
        "LongTensor" => DType::Int64,
        "IntTensor" => DType::Int32,
        "ShortTensor" => DType::Int16,
        "CharTensor" => DType::Int8,
        "ByteTensor" => DType::UInt8,
        "BoolTensor" => DType::Bool,
        _ => return None,
    })
}

/// `int(tensor)` and `float(tensor)` take one element.
fn one_element(tensor: &Tensor) -> Result<(), Raise> {
    match tensor.elements() {
        1 => Ok(()),
        _ => Err(Raise::value_error("only one element tensors can be converted to Python scalars")),
    }
}

fn integer_of_float(number: f64) -> Result<Value, Raise> {
    use num_traits::FromPrimitive;
    if number.is_nan() {
        return Err(Raise::value_error("cannot convert float NaN to integer"));
    }
    num_bigint::BigInt::from_f64(number)
        .map(Value::integer)
        .ok_or_else(|| Raise::new(interpreter::Kind::OverflowError, "cannot convert float infinity to integer"))
}

/// Computes `other ⋄ tensor` for a number `other`.
fn reflected_binary(machine: &Machine, operator: Operator, tensor: &Tensor, other: &Value) -> Result<Value, Raise> {
    let own = tensor.value();
    match operator {
        Operator::Add | Operator::Mul | Operator::BitAnd | Operator::BitOr | Operator::BitXor => {
            binding::call(machine, names(operator).0, Some(tensor), &python::positional([other.clone()]))
        }
        Operator::Sub => binding::call(machine, "rsub", Some(tensor), &python::positional([other.clone()])),
        // As `Tensor.__rdiv__`: the reciprocal, times the number.
        Operator::Div => {
            let reciprocal = dispatch::tensor(machine, "reciprocal", "", &[Argument::from(tensor)])?;
            binding::call(machine, "mul", Some(&reciprocal), &python::positional([other.clone()]))
        }
        Operator::Pow | Operator::Mod | Operator::FloorDiv => {
            binding::call(machine, names(operator).0, None, &python::positional([other.clone(), own]))
        }
        Operator::LeftShift => {
            binding::call(machine, "bitwise_left_shift", None, &python::positional([other.clone(), own]))
        }
        Operator::RightShift => {
            binding::call(machine, "bitwise_right_shift", None, &python::positional([other.clone(), own]))
        }
        _ => Err(Raise::type_error("unsupported operand types")),
    }
}
