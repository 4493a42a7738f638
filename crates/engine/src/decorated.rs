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
        if decoration.library.is_some() {
            return Ok(made);
        }
        match made.as_ref().map(sent_as) {
            Some(Sent::As(text)) if *text == *name => return Ok(made),
            Some(Sent::InPlaceOf(text)) if *text == *name => return Ok(made),
            // What holds this one was sent with the text of another, and nothing says so there.
            Some(Sent::InPlaceOf(text)) => {
                return Err(Raise::name_error(format!(
                    "one of its decorators keeps functools.wraps around {text}(), which has it not"
                )));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The function whose text a client sends for what a decorator made.
enum Sent {
    /// Its own.
    As(Rc<str>),
    /// That of what `functools.wraps` says that it wraps.
    InPlaceOf(Rc<str>),
    /// None: it is no function with a text.
    Otherwise,
}

fn sent_as(made: &Value) -> Sent {
    let Value::Function(made) = made else { return Sent::Otherwise };
    let mut innermost = Rc::clone(made);
    while let Some(Value::Function(wrapped)) = innermost.own("__wrapped__") {
        innermost = wrapped;
    }
    let text = Rc::clone(&innermost.code().name);
    match Rc::ptr_eq(&innermost, made) {
        true => Sent::As(text),
        false => Sent::InPlaceOf(text),
    }
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
