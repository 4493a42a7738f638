//! The seam between the evaluator and everything that is not Python.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::values::class::Class;
use crate::values::effect::{Effect, Use};
use crate::values::frame::Frame;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::Made;
use crate::values::value::Value;

/// How an operation on a host object ends, or a Python exception.
pub type HostResult = Result<Outcome, Raise>;

/// How an operation on a host object ends.
pub enum Outcome {
    /// With a value, at once.
    Ready(Value),
    /// Not before whoever drives the coroutine has answered this request.
    Wait(Request),
    /// After host code that itself awaits: it may call back into Python or suspend.
    Later(LocalBoxFuture<'static, Result<Value, Raise>>),
    /// Not at all: the evaluator tries the other operand, then raises `TypeError`.
    NotImplemented,
}

impl From<Value> for Outcome {
    fn from(value: Value) -> Self {
        Self::Ready(value)
    }
}

/// A question that a suspended coroutine asks of its driver, in the driver's own type.
pub struct Request(pub Box<dyn Any>);

impl Request {
    /// Wraps a driver's own request.
    pub fn new(request: impl Any) -> Self {
        Self(Box::new(request))
    }
}

/// Arguments of a call.
#[derive(Clone, Default)]
pub struct Args {
    pub positional: Vec<Value>,
    pub keyword: Vec<(Rc<str>, Value)>,
}

/// Operators with two operands, or one for the last three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    Add,
    Sub,
    Mul,
    MatMul,
    Div,
    FloorDiv,
    Mod,
    Pow,
    LeftShift,
    RightShift,
    BitAnd,
    BitOr,
    BitXor,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Negative,
    Positive,
    Invert,
}

/// What a `with` statement does with a host object.
pub enum Capture {
    /// The host runs the body itself; the evaluator awaits the outcome and goes on after the statement.
    /// The `as` target is bound to `target` before.
    Takes { target: Value, outcome: Outcome },
    /// The evaluator runs the body between `enter` and `exit`.
    Inline(Block),
}

/// Python iteration over a host object, one element a step.
pub trait Iteration {
    /// Returns the next element, or `None` at the end.
    ///
    /// # Errors
    /// A Python exception that iterating raises.
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise>;

    /// Returns what makes another that goes on as this one, where `repr` says that: `count(3)`.
    fn made(&self) -> Option<Made> {
        None
    }
}

/// The body of a `with` statement and the frame it runs in.
#[derive(Clone)]
pub struct Block {
    pub code: Rc<program::ir::Body>,
    pub frame: Rc<Frame>,
}

impl Block {
    /// Runs the body here and now, as part of the code that runs already.
    pub fn run(&self, machine: &Machine) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        machine.language().run(machine, self)
    }
}

/// An object of the outside, as Python sees it. Every method has Python's own default.
#[expect(unused_variables, reason = "defaults ignore their arguments, whose names are documentation")]
pub trait HostObject: Any {
    /// Returns the name of the type, as in error messages: `Tensor`.
    fn type_name(&self) -> Cow<'static, str>;

    /// Returns `self` for downcasting.
    fn as_any(&self) -> &dyn Any;

    /// Returns what identifies the memory that the object shows: equal for all views of one memory.
    fn memory(&self) -> Option<usize> {
        None
    }

    /// Says what using a name of the object does, before anything is used: of an attribute, of a method, and of
    /// `__call__`, `__setitem__` and `append`, which are what they say.
    fn effect(&self, machine: &Machine, name: &str, usage: Use<'_>) -> Effect {
        Effect::Anything
    }

    /// Returns what the object holds under a name for good, reading which runs nothing: a module's function, a part of a
    /// model.
    fn member(self: Rc<Self>, machine: &Machine, name: &str) -> Option<Value> {
        None
    }

    /// Returns the other objects that code can get at by way of this one; `None` where that is not known, or looking may
    /// run a user's code or use something up.
    fn holds(&self) -> Option<Vec<Value>> {
        None
    }

    /// Returns the other objects that calling this one looks at, which may be fewer than those that code can get at by way
    /// of it; `None` where that is not known.
    fn looked_at_by_calls(&self) -> Option<Vec<Value>> {
        self.holds()
    }

    /// Reads an attribute. `NotImplemented` means that there is none.
    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// Writes an attribute. `NotImplemented` means that it cannot be set.
    fn set_attribute(self: Rc<Self>, machine: &Machine, name: &str, value: Value) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// Calls a method without making a bound one first. `NotImplemented` sends the evaluator to `get_attribute`.
    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// Calls a method as the context expression of a `with` statement, which offers its body to what this returns.
    fn open_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        self.call_method(machine, name, args)
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    fn set_item(self: Rc<Self>, machine: &Machine, key: &Value, value: Value) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    fn delete_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// Computes `self ⋄ other`, or `other ⋄ self` where `reflected`. Comparisons come here too.
    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// Computes `self ⋄= other` and returns what the target is bound to. `NotImplemented` falls back to `binary`.
    fn in_place(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    fn unary(self: Rc<Self>, machine: &Machine, operator: Operator) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// `element in self`; `NotImplemented` falls back to iterating.
    fn contains(self: Rc<Self>, machine: &Machine, element: &Value) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// `bool(self)`; the default asks `length`, then says true.
    fn truth(&self, machine: &Machine) -> Result<Option<bool>, Raise> {
        Ok(None)
    }

    fn length(&self, machine: &Machine) -> Result<Option<usize>, Raise> {
        Ok(None)
    }

    fn iterate(self: Rc<Self>, machine: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        Ok(None)
    }

    /// `int(self)`, and `self` as an index where `exact`.
    fn integer(&self, machine: &Machine, exact: bool) -> Result<Option<Value>, Raise> {
        Ok(None)
    }

    /// `float(self)`.
    fn float(&self, machine: &Machine) -> Result<Option<f64>, Raise> {
        Ok(None)
    }

    /// `hash(self)`; the default is identity. `Err` for unhashable objects.
    fn hash(&self, machine: &Machine) -> Result<Option<i64>, Raise> {
        Ok(None)
    }

    /// Returns the value of Python's that this equals, and is found by in dicts and sets.
    fn number(&self) -> Option<Value> {
        None
    }

    /// Says whether `callable(self)` is true.
    fn is_callable(&self) -> bool {
        true
    }

    /// `repr(self)`; the default is `<type object>`.
    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        Ok(None)
    }

    /// `repr(self)` of a container: what stands before, between commas, and after. Asked where `repr` gave nothing.
    fn repr_parts(&self, machine: &Machine) -> Result<Option<(String, Vec<Value>, String)>, Raise> {
        Ok(None)
    }

    /// `str(self)`; the default is `format(self, "")`.
    fn str(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        self.format(machine, "")
    }

    /// `format(self, spec)`; the default is `str(self)` for an empty spec.
    fn format(&self, machine: &Machine, spec: &str) -> Result<Option<String>, Raise> {
        Ok(None)
    }

    /// Python's type objects to which `isinstance(self, …)` answers true, by name: `torch.Tensor`.
    fn is_instance(&self, class: &str) -> bool {
        false
    }

    /// `type(self)`; the default is a type object that only has a name.
    fn class(&self) -> Option<Value> {
        None
    }

    /// The program's own class that the object is of, which derives from the host's. What it has comes before what the
    /// object answers itself.
    fn derived(&self) -> Option<Rc<Class>> {
        None
    }

    /// Returns what the program set on the object itself; asked where there is such a class.
    fn own(&self, name: &str) -> Option<Value> {
        None
    }

    /// The qualified name, for an object that stands for a class: `torch.Tensor`. `isinstance` passes it on.
    fn class_name(&self) -> Option<Cow<'static, str>> {
        None
    }

    /// Classes above the one that the object stands for, by name: `issubclass(np.float32, np.floating)`.
    fn is_below(&self, class: &str) -> bool {
        false
    }

    /// What to write instead of a program's class that derives from the class that the object stands for, where there can be
    /// none.
    fn instead_of_deriving(&self) -> Option<&'static str> {
        None
    }

    /// Says whether `divmod` takes the object where `//` and `%` do.
    fn has_divmod(&self) -> bool {
        true
    }

    /// Called first by a `with` statement whose context expression gave this object.
    fn capture(self: Rc<Self>, machine: &Machine, body: Block) -> Result<Capture, Raise> {
        Ok(Capture::Inline(body))
    }

    /// `__enter__`; `NotImplemented` means that this is no context manager.
    fn enter(self: Rc<Self>, machine: &Machine) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// `__exit__`; a true value swallows the exception.
    fn exit(self: Rc<Self>, machine: &Machine, raised: Option<&Raise>) -> HostResult {
        Ok(Outcome::Ready(Value::Bool(false)))
    }

    /// Runs `__init__` of this object as the base class of a program's class.
    fn initialize_instance(self: Rc<Self>, machine: &Machine, instance: &Value, args: Args) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// Calls an instance of a program's class that derives from this object and has no `__call__` of its own.
    fn call_instance(self: Rc<Self>, machine: &Machine, instance: &Value, args: Args) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// Reads an attribute that neither the instance nor its program's classes have. `NotImplemented`: there is none.
    fn instance_attribute(self: Rc<Self>, machine: &Machine, instance: &Value, name: &str) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// Writes an attribute of an instance. `NotImplemented` lets the evaluator store it in the instance.
    fn set_instance_attribute(
        self: Rc<Self>,
        machine: &Machine,
        instance: &Value,
        name: &str,
        value: &Value,
    ) -> HostResult {
        Ok(Outcome::NotImplemented)
    }

    /// Unbinds an attribute that an instance does not have itself. `NotImplemented`: there is none.
    fn delete_instance_attribute(self: Rc<Self>, machine: &Machine, instance: &Value, name: &str) -> HostResult {
        Ok(Outcome::NotImplemented)
    }
}
