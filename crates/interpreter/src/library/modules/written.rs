//! Modules written in Python, and functions that these write.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use program::ir::Code;

use super::{Found, Make, Members, named};
use crate::evaluation::coroutine::{Coroutine, Step};
use crate::values::frame::{Frame, syntax_error};
use crate::values::host::{Args, Block, HostResult};
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

/// Makes a module of a text that needs nothing of Rust's.
#[must_use]
pub const fn alone(text: &'static str) -> Written {
    Written { text, natives: |_| Ok(Vec::new()) }
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
        complete(machine, Frame::of_root(machine, self.code(name)?, named((self.natives)(machine)?), module)?)
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

/// Runs a text that waits for nothing, and returns its variables.
fn complete(machine: &Machine, block: Block) -> Result<Rc<Frame>, Raise> {
    let frame = Rc::clone(&block.frame);
    match Coroutine::of_block(machine, block).resume(None) {
        Step::Done(result) => result.map(|_| frame),
        Step::Waiting(_) => Err(Raise::runtime_error("the library waits where it is made")),
    }
}

/// Bytes charged for the code of a written function, for each of its text.
const CODE: u64 = 48;

/// Makes `_write`, which texts know: `_write(owner, text, known)` gives the function that a text defines, as one of `owner`'s.
/// It finds what `known` has, and builtins.
pub(super) fn writer() -> Members {
    let write = |machine: &Machine, args: Args| -> HostResult {
        let [Value::Str(owner), Value::Str(text), Value::Dict(known)] = &args.between("_write", 3, 3)?[..] else {
            return Err(Raise::type_error("_write() takes two texts and a dict"));
        };
        machine.charge_fuel(text.len() as u64)?;
        let code = program::lower::written(owner, text).map_err(|error| syntax_error(&error))?;
        let known = known.entries().into_iter().filter_map(|(name, value)| Some((Rc::from(name.as_str()?), value)));
        let block = Frame::of_root(machine, code, [], known)?;
        block.frame.cover_code(CODE * text.len() as u64)?;
        let frame = complete(machine, block)?;
        let function = frame.names().into_iter().next();
        let Some((name, function)) = function else { return Err(Raise::value_error("a text without a function")) };
        // They would hold each other.
        drop(frame.remove(&name));
        Ok(function.into())
    };
    vec![("_write", Value::native("_write", write))]
}
