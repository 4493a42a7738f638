//! Functions with source, and functions bound to their first argument.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

use program::SyntaxError;
use program::ir::Code;
use program::lower::Heading;

use crate::values::attributes::Attributes;
use crate::values::effect::Effect;
use crate::values::frame::{Frame, Globals, syntax_error};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::{Dict, trash};
use crate::values::value::Value;

/// A function or lambda and the frame it was defined in.
pub struct Function {
    code: Rc<Code>,
    surroundings: RefCell<Option<Rc<Frame>>>,
    defaults: RefCell<Defaults>,
    attributes: Attributes,
    /// What it was told of itself: its name, its text, where it is from.
    described: Attributes,
    effect: Cell<Effect>,
    _charge: Charge,
}

/// What a `def` or `lambda` that came as source says. Any number of functions can be made from it.
#[derive(Clone)]
pub struct Definition {
    name: Rc<str>,
    /// The module around it, which has nothing else, and its own code.
    lowered: Result<(Rc<Code>, Rc<Code>), Rc<SyntaxError>>,
    heading: Rc<Heading>,
}

impl Definition {
    /// Reads source that stands at `line` of `filename`. What cannot be read makes functions that say so when called.
    #[must_use]
    pub fn read(machine: &Machine, source: &str, name: &str, filename: &str, line: u32) -> Self {
        let (lowered, heading) = match program::lower::function(source, name, filename, line, machine.limits()) {
            Ok((root, code, heading)) => (Ok((root, code)), heading),
            Err(error) => (Err(Rc::new(error)), Heading::default()),
        };
        Self { name: name.into(), lowered, heading: Rc::new(heading) }
    }

    /// Returns what stands around the body, of which the functions that are made here have nothing.
    #[must_use]
    pub fn heading(&self) -> &Rc<Heading> {
        &self.heading
    }

    /// Makes a function, as [`Function::from_source`] does.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn function(&self, machine: &Machine, defaults: Defaults, globals: Globals) -> Result<Value, Raise> {
        let (root, code) = match &self.lowered {
            Ok((root, code)) => (Rc::clone(root), Rc::clone(code)),
            Err(error) => {
                let error = Rc::clone(error);
                return Ok(Value::native(&*self.name, move |_, _| Err(syntax_error(&error))));
            }
        };
        let surroundings = Frame::around(machine, root, globals)?;
        Ok(Value::Function(Rc::new(Function::new(machine, code, surroundings, defaults)?)))
    }
}

/// Bytes charged for a function object.
const FUNCTION: u64 = 256;

/// Attributes that every function has, and that are none of its `__dict__`.
const DESCRIBING: [&str; 7] =
    ["__annotations__", "__defaults__", "__doc__", "__kwdefaults__", "__module__", "__name__", "__qualname__"];

/// Values of parameters that a call leaves out.
#[derive(Clone, Default)]
pub struct Defaults {
    /// Of the last positional parameters.
    pub positional: Vec<Value>,
    /// Of keyword-only parameters.
    pub keyword: Vec<(Rc<str>, Value)>,
}

impl Function {
    /// Closes code over the frame it was defined in.
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn new(
        machine: &Machine,
        code: Rc<Code>,
        surroundings: Rc<Frame>,
        defaults: Defaults,
    ) -> Result<Self, Raise> {
        let charge = Charge::default();
        charge.cover(machine, FUNCTION)?;
        Ok(Self {
            code,
            surroundings: RefCell::new(Some(surroundings)),
            defaults: RefCell::new(defaults),
            attributes: Attributes::default(),
            described: Attributes::default(),
            effect: Cell::new(Effect::Anything),
            _charge: charge,
        })
    }

    /// Makes a function from the source of its `def` or `lambda`, which stands at `line` of `filename`.
    /// Decorators in the source are not applied. `globals` may be filled later, so that functions can know each other.
    ///
    /// Source that does not parse, holds no such function, or needs what the evaluator lacks makes a function that
    /// raises `SyntaxError` when called: programs bring along much that they never call.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn from_source(
        machine: &Machine,
        source: &str,
        name: &str,
        filename: &str,
        line: u32,
        defaults: Defaults,
        globals: Globals,
    ) -> Result<Value, Raise> {
        Definition::read(machine, source, name, filename, line).function(machine, defaults, globals)
    }

    /// Says what calling it does.
    pub fn declare(&self, effect: Effect) {
        self.effect.set(effect);
    }

    /// Returns what calling it does, as far as its maker has said: the text of a program's own says more.
    pub fn effect(&self) -> Effect {
        self.effect.get()
    }

    pub fn code(&self) -> &Rc<Code> {
        &self.code
    }

    /// Returns `__name__`.
    pub fn name(&self) -> Rc<str> {
        match self.own("__name__") {
            Some(Value::Str(name)) => name,
            _ => Rc::clone(&self.code.name),
        }
    }

    pub fn defaults(&self) -> Defaults {
        self.defaults.borrow().clone()
    }

    pub(crate) fn borrow_defaults(&self) -> Ref<'_, Defaults> {
        self.defaults.borrow()
    }

    /// Returns the frame that it was defined in; `None` after the machine's teardown.
    pub fn surroundings(&self) -> Option<Rc<Frame>> {
        self.surroundings.borrow().clone()
    }

    /// Lets go of everything and returns what was held.
    pub(crate) fn clear(&self) -> Vec<Value> {
        let surroundings = self.surroundings.borrow_mut().take();
        drop(surroundings);
        let defaults = std::mem::take(&mut *self.defaults.borrow_mut());
        let attributes = self.attributes.take().into_iter().chain(self.described.take());
        let keyword = defaults.keyword.into_iter().map(|(_, value)| value);
        defaults.positional.into_iter().chain(keyword).chain(attributes).collect()
    }

    /// Returns an attribute set on the function object.
    pub fn own(&self, name: &str) -> Option<Value> {
        self.described.get(name).or_else(|| self.attributes.get(name))
    }

    /// Sets an attribute on the function object.
    pub fn set(&self, name: impl Into<Rc<str>>, value: Value) {
        let name = name.into();
        match DESCRIBING.contains(&&*name) {
            true => self.described.set(name, value),
            false => self.attributes.set(name, value),
        }
    }

    /// Returns the attributes set on the function object, but for those that describe it.
    pub fn attributes(&self) -> Vec<(Rc<str>, Value)> {
        self.attributes.entries()
    }

    /// Returns the dict that holds them from now on.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn dict(&self, machine: &Machine) -> Result<Rc<Dict>, Raise> {
        self.attributes.show(machine)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let defaults = std::mem::take(self.defaults.get_mut());
        trash::bury(defaults.positional.into_iter().chain(defaults.keyword.into_iter().map(|(_, value)| value)));
    }
}

/// A function bound to its first argument.
pub struct Method {
    pub function: Value,
    pub receiver: Value,
}

impl Drop for Method {
    fn drop(&mut self) {
        let function = std::mem::replace(&mut self.function, Value::None);
        trash::bury([function, std::mem::replace(&mut self.receiver, Value::None)]);
    }
}
