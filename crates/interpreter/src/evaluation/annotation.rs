//! What annotations mean. They are kept as texts, and evaluated when somebody asks: most name what means nothing where they
//! run, such as types of libraries that are there for a checker alone.

use std::rc::Rc;

use program::Source;
use program::ir::Text;

use crate::evaluation::coroutine::{Coroutine, Step};
use crate::values::frame::Frame;
use crate::values::function::Function;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::ledger;
use crate::values::value::Value;

/// Bytes charged for the code of an annotation, for each of its text.
const CODE: u64 = 48;

/// Returns a function's `__annotations__`, which it keeps from now on.
pub fn of_function(function: &Function) -> Value {
    if let Some(known) = function.own("__annotations__") {
        return known;
    }
    let Some(frame) = function.surroundings() else { return Value::dict(Vec::<(Rc<str>, Value)>::new()) };
    let code = function.code();
    let found = all_of(frame.machine(), &frame, &code.text, &code.parameters.annotations);
    function.set("__annotations__", found.clone());
    found
}

/// Returns `__annotations__` of what a text defines: what each means to code in a frame, or its text where that is nothing.
pub fn all_of(machine: &Machine, frame: &Rc<Frame>, text: &Text, annotations: &[(Rc<str>, Rc<str>)]) -> Value {
    let meant = |written: &Rc<str>| match text.annotations_are_texts {
        true => None,
        false => evaluated(machine, Some(frame), written).ok(),
    };
    let pairs = annotations.iter();
    Value::dict(pairs.map(|(name, text)| (Rc::clone(name), meant(text).unwrap_or_else(|| Value::Str(Rc::clone(text))))))
}

/// Evaluates a text as an expression in a frame.
///
/// # Errors
/// What that raises. It may not wait for the host.
pub fn evaluated(machine: &Machine, frame: Option<&Rc<Frame>>, text: &str) -> Result<Value, Raise> {
    const NAME: &str = "annotation";
    machine.charge_fuel(text.len() as u64)?;
    ledger::reserve(machine, CODE * text.len() as u64)?;
    let source =
        Source { text: format!("{NAME} = (\n{text}\n)"), filename: "<string>".into(), function: "<module>".into() };
    let block = Frame::root(machine, &source, Vec::new(), Vec::new())?;
    let own = Rc::clone(&block.frame);
    own.cover_code(CODE * text.len() as u64)?;
    for name in own.code().slots.iter().filter(|name| ***name != *NAME) {
        if let Some(value) = frame.and_then(|frame| frame.get(name)) {
            own.set(Rc::clone(name), value);
        }
    }
    match machine.recurse(|| Ok(Coroutine::of_block(machine, block).resume(None)))? {
        Step::Done(done) => drop(done?),
        Step::Waiting(_) => return Err(Raise::runtime_error("an annotation waits for the model")),
    };
    own.remove(NAME).ok_or_else(|| Raise::runtime_error("an annotation is no expression"))
}
