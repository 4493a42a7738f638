//! Python exceptions on their way up, and what ends a job for good.

use std::fmt;
use std::rc::Rc;

use program::ir::{Code, Span};

use crate::values::class::{Class, ExceptionState, Instance};
pub use crate::values::exceptions::Kind;
use crate::values::machine::Machine;
use crate::values::value::Value;
use crate::values::{exceptions, traceback};

/// Something raised: a Python exception, or the end of the job.
#[derive(Clone)]
pub struct Raise(Inner);

#[derive(Clone)]
enum Inner {
    Exception(Rc<Instance>),
    Fatal(Box<(Fatal, Vec<Entry>)>),
}

/// Ends a job; no `except`, `finally` or `__exit__` sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fatal {
    /// More interpreter steps than the limit.
    Fuel,
    /// Longer than the limit.
    Time,
    /// More bytes of Python objects than the limit.
    Memory,
    /// More bytes of tensors than the limit.
    Tensors,
    /// More text printed than the limit.
    Output,
    Cancelled,
    /// The host needs nothing more of the program, as after `tracer.stop()`: not an error.
    Stopped,
    /// The host begins the program again where it is in nobody's way: not an error.
    Apart,
    /// Other programs hold the memory that it needs, which it can have when some of them have ended: not an error.
    Crowded,
}

impl Fatal {
    fn type_name(self) -> &'static str {
        match self {
            Self::Fuel | Self::Time => "TimeoutError",
            Self::Memory | Self::Tensors => "MemoryError",
            Self::Output => "OSError",
            Self::Cancelled | Self::Stopped | Self::Apart | Self::Crowded => "InterruptedError",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Fuel => "the program took more steps than this server allows",
            Self::Time => "the program ran longer than this server allows",
            Self::Memory => "the program needs more memory than this server allows",
            Self::Tensors => "the program needs more memory for tensors than this server allows",
            Self::Output => "the program printed more than this server allows",
            Self::Cancelled => "the program was cancelled",
            Self::Stopped => "the program was stopped",
            Self::Apart => "the program begins again",
            Self::Crowded => "other programs hold the memory that the program needs",
        }
    }
}

/// One line of a traceback.
#[derive(Clone)]
pub struct Entry {
    pub code: Rc<Code>,
    pub span: Span,
}

impl Raise {
    /// Makes an exception of a builtin class.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self::with_args(kind, vec![Value::from(message.into())])
    }

    /// Makes an exception of a builtin class with these `args`.
    pub fn with_args(kind: Kind, args: Vec<Value>) -> Self {
        Self::of_class(&exceptions::class(kind), args)
    }

    /// Makes an exception of any exception class, without running its `__init__`.
    pub fn of_class(class: &Rc<Class>, args: Vec<Value>) -> Self {
        let instance = Instance::new(class);
        if let Some(state) = instance.exception() {
            state.borrow_mut().args = args;
        }
        Self(Inner::Exception(instance))
    }

    /// Makes a host's exception, of a class that is known by its module and name, below `kind`.
    pub fn named(path: &'static str, kind: Kind, message: impl Into<String>) -> Self {
        Self::of_class(&exceptions::host_class(path, kind), vec![Value::from(message.into())])
    }

    /// Makes the end of the job.
    pub fn fatal(fatal: Fatal) -> Self {
        Self(Inner::Fatal(Box::new((fatal, Vec::new()))))
    }

    pub fn type_error(message: impl Into<String>) -> Self {
        Self::new(Kind::TypeError, message)
    }

    pub fn value_error(message: impl Into<String>) -> Self {
        Self::new(Kind::ValueError, message)
    }

    pub fn name_error(message: impl Into<String>) -> Self {
        Self::new(Kind::NameError, message)
    }

    pub fn attribute_error(message: impl Into<String>) -> Self {
        Self::new(Kind::AttributeError, message)
    }

    pub fn index_error(message: impl Into<String>) -> Self {
        Self::new(Kind::IndexError, message)
    }

    pub fn key_error(key: Value) -> Self {
        Self::with_args(Kind::KeyError, vec![key])
    }

    pub fn runtime_error(message: impl Into<String>) -> Self {
        Self::new(Kind::RuntimeError, message)
    }

    pub fn stop_iteration() -> Self {
        Self::with_args(Kind::StopIteration, Vec::new())
    }

    /// Wraps an exception object, as `raise` does; `None` if the value is no exception.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Instance(instance) if instance.exception().is_some() => {
                Some(Self(Inner::Exception(Rc::clone(instance))))
            }
            _ => None,
        }
    }

    /// Returns the exception object, or `None` for a fatal one.
    pub fn value(&self) -> Option<Value> {
        self.instance().map(|instance| Value::Instance(Rc::clone(instance)))
    }

    /// Returns the nearest builtin class, or `None` for a fatal one.
    pub fn kind(&self) -> Option<Kind> {
        self.instance()?.class().exception_kind()
    }

    /// Says whether `except kind` would catch this.
    pub fn is(&self, kind: Kind) -> bool {
        self.instance().is_some_and(|instance| instance.class().is_subclass(&exceptions::class(kind)))
    }

    /// Returns why the job ends, for a fatal one.
    pub fn as_fatal(&self) -> Option<Fatal> {
        match &self.0 {
            Inner::Fatal(fatal) => Some(fatal.0),
            Inner::Exception(_) => None,
        }
    }

    /// Returns `args` of the exception.
    pub fn args(&self) -> Vec<Value> {
        self.state().map(|state| state.borrow().args.clone()).unwrap_or_default()
    }

    /// Returns the name as tracebacks print it, with its module unless that is `builtins` or `__main__`.
    pub fn type_name(&self) -> String {
        match &self.0 {
            Inner::Fatal(fatal) => fatal.0.type_name().to_owned(),
            Inner::Exception(instance) => printed_name(instance),
        }
    }

    /// Returns `str(exception)`.
    pub fn message(&self) -> String {
        match &self.0 {
            Inner::Fatal(fatal) => fatal.0.message().to_owned(),
            Inner::Exception(instance) => message(instance),
        }
    }

    /// Returns the lines of the traceback, outermost first.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = match &self.0 {
            Inner::Fatal(fatal) => fatal.1.clone(),
            Inner::Exception(instance) => {
                instance.exception().map(|state| state.borrow().traceback.clone()).unwrap_or_default()
            }
        };
        entries.reverse();
        entries
    }

    /// Returns the text that CPython prints for an exception that nobody caught, chained ones included.
    pub fn traceback_text(&self) -> String {
        traceback::text(self)
    }

    /// Adds the frame that this passes through, unless that is one of the library's.
    pub(crate) fn pass(&mut self, code: &Rc<Code>, span: Span) {
        if code.text.hidden {
            return;
        }
        let entry = Entry { code: Rc::clone(code), span };
        match &mut self.0 {
            Inner::Fatal(fatal) => fatal.1.push(entry),
            Inner::Exception(instance) => {
                if let Some(state) = instance.exception() {
                    state.borrow_mut().traceback.push(entry);
                }
            }
        }
    }

    pub(crate) fn has_traceback(&self) -> bool {
        match &self.0 {
            Inner::Fatal(fatal) => !fatal.1.is_empty(),
            Inner::Exception(instance) => {
                instance.exception().is_some_and(|state| !state.borrow().traceback.is_empty())
            }
        }
    }

    pub(crate) fn has_context(&self) -> bool {
        self.state().is_some_and(|state| state.borrow().context.is_some())
    }

    /// Notes which exception was being handled when this one was raised.
    pub(crate) fn set_context(&self, machine: &Machine, context: &Value) {
        let (Some(state), Some(instance)) = (self.state(), self.instance()) else { return };
        // An exception that nobody else holds is in no chain yet.
        let fresh = Rc::strong_count(instance) == 1;
        let own = Value::Instance(Rc::clone(instance));
        if own.is(context) {
            return;
        }
        // As in CPython, a chain that leads back here is cut where it does.
        let mut link = if fresh { Value::None } else { context.clone() };
        while let Value::Instance(instance) = &link {
            // Spent fuel ends the program at its next step; the walk itself has an end.
            if machine.charge_fuel(1).is_err() {
                break;
            }
            let Some(next) = instance.exception().and_then(|state| state.borrow().context.clone()) else { break };
            if next.is(&own) {
                if let Some(state) = instance.exception() {
                    state.borrow_mut().context = None;
                }
                break;
            }
            link = next;
        }
        state.borrow_mut().context = Some(context.clone());
    }

    pub(crate) fn instance(&self) -> Option<&Rc<Instance>> {
        match &self.0 {
            Inner::Exception(instance) => Some(instance),
            Inner::Fatal(_) => None,
        }
    }

    fn state(&self) -> Option<&std::cell::RefCell<ExceptionState>> {
        self.instance()?.exception()
    }
}

impl fmt::Debug for Raise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.type_name(), self.message())
    }
}

impl fmt::Display for Raise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.type_name(), self.message())
    }
}

fn printed_name(instance: &Instance) -> String {
    let class = instance.class();
    match class.module() {
        "builtins" | "__main__" => class.qualified_name().to_string(),
        module => format!("{module}.{}", class.qualified_name()),
    }
}

/// Returns the text of an exception, as far as it is known without running code.
pub(crate) fn message(instance: &Instance) -> String {
    let Some(state) = instance.exception() else { return String::new() };
    let state = state.borrow();
    match (&state.text, state.args.as_slice()) {
        (Some(text), _) => text.to_string(),
        (None, [Value::Str(text)]) => text.to_string(),
        (None, [Value::Int(number)]) => number.to_string(),
        (None, _) => String::new(),
    }
}
