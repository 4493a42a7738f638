//! Modules written in Python.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use program::ir::Code;

use super::{Found, Make, named};
use crate::evaluation::coroutine::{Coroutine, Step};
use crate::values::frame::{Frame, syntax_error};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

/// The text of a module. It says in `__all__` what programs find in it, and in `__sent__` what requests name besides; its
/// other names are its own.
#[derive(Clone, Copy)]
pub struct Written {
    pub text: &'static str,
    /// Makes what the text finds under names that it does not bind: what it cannot do itself.
    pub natives: Make,
}

thread_local! {
    /// Texts that were lowered before. Code is shared by all machines of a thread.
    static LOWERED: RefCell<HashMap<&'static str, Rc<Code>>> = RefCell::default();
}

impl Written {
    /// Runs the text on a machine, and returns its variables.
    ///
    /// # Errors
    /// Fuel or memory is spent, or calls are too deep.
    pub fn run(&self, machine: &Machine, name: &'static str) -> Result<Rc<Frame>, Raise> {
        let module = [(Rc::from("__name__"), Value::from(name))];
        let block = Frame::of_root(machine, self.code(name)?, named((self.natives)(machine)?), module)?;
        let frame = Rc::clone(&block.frame);
        match Coroutine::of_block(machine, block).resume(None) {
            Step::Done(result) => result.map(|_| frame),
            Step::Waiting(_) => Err(Raise::runtime_error(format!("the module {name} waits where it is made"))),
        }
    }

    /// Returns what a program finds in the module, builtins that it names among that.
    pub fn public(machine: &Machine, variables: &Frame) -> Found {
        let Some(Value::Tuple(names)) = variables.get("__all__") else { return Vec::new() };
        let named = names.iter().filter_map(Value::as_str);
        let value = |name| variables.get(name).or_else(|| machine.language().builtin(name));
        named.filter_map(|name| Some((Rc::from(name), value(name)?))).collect()
    }

    /// Returns what requests may name in the module, though programs do not find it.
    pub fn sent(variables: &Frame, name: &str) -> Option<Value> {
        let Some(Value::Tuple(names)) = variables.get("__sent__") else { return None };
        names.iter().find(|known| known.as_str() == Some(name)).and_then(|_| variables.get(name))
    }

    fn code(&self, name: &'static str) -> Result<Rc<Code>, Raise> {
        if let Some(code) = LOWERED.with_borrow(|lowered| lowered.get(name).cloned()) {
            return Ok(code);
        }
        let code = program::lower::library(name, self.text).map_err(|error| syntax_error(&error))?;
        LOWERED.with_borrow_mut(|lowered| lowered.insert(name, Rc::clone(&code)));
        Ok(code)
    }
}
