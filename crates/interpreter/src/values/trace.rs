//! Traceback objects: where an exception has been, as programs see it.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use crate::values::host::{HostObject, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::{Entry, Raise};
use crate::values::traceback;
use crate::values::value::Value;

/// A `traceback`: the frames that an exception went through, from one on.
pub struct Trace {
    entries: Rc<[Entry]>,
    at: usize,
}

impl Trace {
    /// Returns `exception.__traceback__`: `None` before it was raised.
    pub fn of(exception: &Value) -> Value {
        let entries = Raise::from_value(exception).map(|raise| raise.entries()).unwrap_or_default();
        Self::from(entries.into(), 0)
    }

    fn from(entries: Rc<[Entry]>, at: usize) -> Value {
        if at < entries.len() { Value::host(Self { entries, at }) } else { Value::None }
    }

    /// Returns the first frame.
    pub fn first(&self) -> Option<&Entry> {
        self.entries.get(self.at)
    }

    /// Returns the lines that CPython prints of it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        traceback::frames(self.entries.get(self.at..).unwrap_or_default(), &mut text);
        text
    }
}

impl HostObject for Trace {
    fn type_name(&self) -> Cow<'static, str> {
        "traceback".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        let Some(entry) = self.entries.get(self.at) else { return Ok(Outcome::NotImplemented) };
        Ok(match name {
            "tb_lineno" => Value::Int(i64::from(entry.span.line)).into(),
            "tb_next" => Self::from(Rc::clone(&self.entries), self.at + 1).into(),
            "tb_frame" => Value::host(Left(entry.clone(), "frame")).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn is_callable(&self) -> bool {
        false
    }
}

/// A frame that an exception has left, or its code, by its type's name.
struct Left(Entry, &'static str);

impl HostObject for Left {
    fn type_name(&self) -> Cow<'static, str> {
        self.1.into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        let Self(Entry { code, .. }, kind) = &*self;
        Ok(match (*kind, name) {
            ("frame", "f_code") => Value::host(Self(self.0.clone(), "code")).into(),
            ("code", "co_name" | "co_qualname") => Value::Str(Rc::clone(&code.name)).into(),
            ("code", "co_filename") => Value::Str(Rc::clone(&code.text.filename)).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn is_callable(&self) -> bool {
        false
    }
}
