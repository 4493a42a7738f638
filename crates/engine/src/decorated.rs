//! Functions that were decorated before they were sent, decorated again.

use std::cell::RefCell;
use std::rc::Rc;

use interpreter::frame::{Frame, Globals};
use interpreter::raise::Raise;
use interpreter::{Coroutine, Machine, Step, Value};
use program::Source;
use program::decorated::Decoration;

/// Defines a function again, with its defaults and the decorators that made what was sent: all of them, but for those around
/// one whose result would have been sent as something else, as a function without `functools.wraps` is. `None` where that
/// leaves none.
///
/// # Errors
/// What a decorator raises.
pub fn decorate(
    machine: &Machine,
    text: &str,
    (name, filename, line): (&str, &str, u32),
    decoration: &Decoration<'_>,
    globals: &[(Rc<str>, Value)],
) -> Result<Option<Value>, Raise> {
    let above = "\n".repeat(usize::try_from(line.saturating_sub(1)).unwrap_or(0));
    for outermost in 0..decoration.decorators.len() {
        let text = format!("{above}{}", decoration.text(text, outermost));
        let filename = format!("[{name}:{line}] {filename}");
        let source = Source { text, filename, function: "<module>".into() };
        let block = Frame::root(machine, &source, Vec::new(), globals.to_vec())?;
        let frame = Rc::clone(&block.frame);
        match Coroutine::of_block(machine, block).resume(None) {
            Step::Done(Ok(_)) => {}
            Step::Done(Err(raise)) => return Err(raise),
            Step::Waiting(_) => return Err(Raise::runtime_error("a decorator cannot wait for the model")),
        }
        let made = frame.get(name);
        if decoration.library.is_some() || made.as_ref().is_some_and(|made| is_sent_as(made, name)) {
            return Ok(made);
        }
    }
    Ok(None)
}

/// Says whether a client would send what a decorator made as the text of the function that it was given.
fn is_sent_as(made: &Value, name: &str) -> bool {
    let Value::Function(made) = made else { return false };
    let mut innermost = Rc::clone(made);
    while let Some(wrapped) = innermost.own("__wrapped__") {
        match wrapped {
            Value::Function(wrapped) => innermost = wrapped,
            _ => return true,
        }
    }
    *innermost.code().name == *name
}

/// Stands for a function whose decorators are still to be applied, among what these and the function itself refer to.
pub struct Coming(Rc<RefCell<Option<Value>>>);

impl Coming {
    /// Makes one, and the function that calls what is to come.
    pub fn new(name: &str) -> (Self, Value) {
        let made = Rc::new(RefCell::new(None));
        let inside = Rc::clone(&made);
        let stand_in = Value::native(name, move |machine, args| {
            let made: Option<Value> = inside.borrow().clone();
            match made {
                Some(made) => interpreter::operators::call(machine, &made, args),
                None => Err(Raise::runtime_error("a function is called before its decorators are applied")),
            }
        });
        (Self(made), stand_in)
    }

    pub fn is(self, made: &Value) {
        let before = self.0.borrow_mut().replace(made.clone());
        drop(before);
    }
}

/// Makes a function that nobody can call, for what its decorators made of it is not known.
pub fn unknown(name: &str, says: String) -> Value {
    Value::native(name, move |_, _| Err(Raise::name_error(says.clone())))
}

/// Returns variables as they are now.
pub fn current(variables: &Globals) -> Vec<(Rc<str>, Value)> {
    variables.borrow().iter().map(|(name, value)| (Rc::clone(name), value.clone())).collect()
}
