//! `warnings`: what a program, and what it calls, warns about is told to whoever sent it, as lines that are printed.

use std::rc::Rc;

use crate::evaluation::coroutine;
use crate::library::modules::written::Written;
use crate::library::modules::{kept, told};
use crate::values::class::Class;
use crate::values::host::Args;
use crate::values::machine::Machine;
use crate::values::raise::{Entry, Raise};
use crate::values::value::Value;

pub const WARNINGS: Written = Written { text: include_str!("../python/warnings.py"), natives: |_| Ok(told::natives()) };

/// Warns a program of something that it does, at a place in it, by the filters that it has set.
///
/// # Errors
/// What the program has a warning raise, and when steps or memory are spent.
pub fn warn(machine: &Machine, class: &Rc<Class>, message: &str, at: Option<&Entry>) -> Result<(), Raise> {
    let explicit = kept(machine, "warnings", "_explicit")?;
    let [filename, line, text, _] = at.map_or_else(told::outermost, told::parts);
    let (message, class) = (Value::from(message), Value::Class(Rc::clone(class)));
    let args = Args::of([message, class, filename, line, text, Value::from("__main__")]);
    coroutine::finish(machine, machine.call_now(&explicit, args)?).map(drop)
}
