//! Type objects of what has no class of its own.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use crate::values::host::{HostObject, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

/// A type object that has a name and nothing else.
pub struct Opaque {
    name: Cow<'static, str>,
}

impl Opaque {
    /// Returns the type of this name, with its module before it if that is known: `re.Pattern`. There is one of each
    /// name, so that `is` can compare them; the names are the server's own, and few.
    pub fn named(name: impl Into<Cow<'static, str>>) -> Value {
        thread_local! {
            static KNOWN: RefCell<Vec<Rc<Opaque>>> = const { RefCell::new(Vec::new()) };
        }
        let name = name.into();
        KNOWN.with_borrow_mut(|known| {
            if let Some(known) = known.iter().find(|known| known.name == name) {
                return Value::Host(Rc::clone(known) as Rc<dyn HostObject>);
            }
            let made = Rc::new(Self { name });
            known.push(Rc::clone(&made));
            Value::Host(made)
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl HostObject for Opaque {
    fn type_name(&self) -> Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "__name__" | "__qualname__" => Ok(Value::from(self.name.rsplit('.').next().unwrap_or_default()).into()),
            "__module__" => Ok(Value::from(self.name.rsplit_once('.').map_or("builtins", |(module, _)| module)).into()),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<class '{}'>", self.name)))
    }
}
