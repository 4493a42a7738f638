//! What registering a hook returns: it ends the registration, when asked to or at the end of a `with`.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Machine, Outcome, Value};

use crate::python;

/// `torch.utils.hooks.RemovableHandle`.
pub(crate) struct RemovableHandle {
    /// The registration's number, where it has one that programs may see.
    id: Option<i64>,
    /// Ends it. Gone when it has.
    end: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl RemovableHandle {
    pub fn new(id: Option<i64>, end: impl FnOnce() + 'static) -> Self {
        Self { id, end: RefCell::new(Some(Box::new(end))) }
    }

    fn remove(&self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

impl HostObject for RemovableHandle {
    fn type_name(&self) -> Cow<'static, str> {
        "RemovableHandle".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        Ok(match (name, self.id) {
            ("id", Some(id)) => Value::Int(id).into(),
            ("remove", _) => python::method(self, name).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn call_method(self: Rc<Self>, _: &Machine, name: &str, args: &Args) -> HostResult {
        if name != "remove" {
            return Ok(Outcome::NotImplemented);
        }
        args.none("RemovableHandle.remove")?;
        self.remove();
        Ok(Value::None.into())
    }

    fn enter(self: Rc<Self>, _: &Machine) -> HostResult {
        Ok(Value::Host(self).into())
    }

    fn exit(self: Rc<Self>, _: &Machine, _: Option<&Raise>) -> HostResult {
        self.remove();
        Ok(Value::Bool(false).into())
    }
}
