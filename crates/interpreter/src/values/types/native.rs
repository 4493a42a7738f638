//! Callables written in Rust.

use std::cell::Cell;
use std::rc::Rc;

use crate::values::effect::Effect;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::types::charge::Charge;
use crate::values::types::trash;
use crate::values::value::Value;

/// A method of a builtin type: the receiver, then the other arguments.
pub type MethodFn = fn(&Machine, &Value, Args) -> HostResult;

/// A callable written in Rust.
pub struct Native {
    name: Rc<str>,
    receiver: Value,
    body: Body,
    _charge: Charge,
    effect: Cell<Effect>,
    made: Option<Box<Made>>,
}

/// What an object was made by, where its `repr` says so: `operator.itemgetter(1)`.
pub struct Made {
    pub class: &'static str,
    pub args: Rc<[Value]>,
    pub keywords: Vec<(Rc<str>, Value)>,
}

/// Bytes charged for a callable and what it holds.
const NATIVE: u64 = 192;

type Closure = dyn Fn(&Machine, Args) -> HostResult;

enum Body {
    Function(Box<Closure>),
    Method(MethodFn),
}

impl Native {
    /// Wraps a function.
    pub fn function(name: impl Into<Rc<str>>, body: impl Fn(&Machine, Args) -> HostResult + 'static) -> Self {
        Self {
            name: name.into(),
            receiver: Value::None,
            body: Body::Function(Box::new(body)),
            _charge: Charge::of(NATIVE),
            effect: Cell::new(Effect::Anything),
            made: None,
        }
    }

    /// Says what made it. Whoever does pays for that.
    #[must_use]
    pub fn made_by(mut self, made: Made) -> Self {
        self.made = Some(Box::new(made));
        self
    }

    /// Returns what made it, where its `repr` says so.
    pub fn made(&self) -> Option<&Made> {
        self.made.as_deref()
    }

    /// Binds a method of a builtin type to its receiver.
    pub fn bound(name: impl Into<Rc<str>>, receiver: Value, body: MethodFn) -> Self {
        let effect = Cell::new(Effect::Anything);
        Self { name: name.into(), receiver, body: Body::Method(body), effect, _charge: Charge::of(NATIVE), made: None }
    }

    /// Returns the name, as `__name__` does.
    pub fn name(&self) -> &Rc<str> {
        &self.name
    }

    /// Says what calling it does.
    pub fn declare(&self, effect: Effect) {
        self.effect.set(effect);
    }

    /// Returns what calling it does, as far as its maker has said.
    pub fn effect(&self) -> Effect {
        self.effect.get()
    }

    /// Returns the object that a bound method is bound to.
    pub fn receiver(&self) -> Option<&Value> {
        matches!(self.body, Body::Method(_)).then_some(&self.receiver)
    }

    /// Calls it. The outcome is never `NotImplemented`.
    ///
    /// # Errors
    /// What the callable raises.
    pub fn call(&self, machine: &Machine, args: Args) -> HostResult {
        match &self.body {
            Body::Function(body) => body(machine, args),
            Body::Method(body) => body(machine, &self.receiver, args),
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        trash::bury([std::mem::replace(&mut self.receiver, Value::None)]);
        if let Body::Function(body) = std::mem::replace(&mut self.body, Body::Method(|_, _, _| Ok(Value::None.into())))
        {
            trash::bury_object(Box::new(body));
        }
        if let Some(made) = self.made.take() {
            trash::bury_object(made);
        }
    }
}
