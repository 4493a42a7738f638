//! Short ways to make and read Python values.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Machine, Value};

/// Makes a `str`.
#[must_use]
pub fn text(text: &str) -> Value {
    Value::Str(text.into())
}

/// Makes a `tuple`.
#[must_use]
pub fn tuple(items: Vec<Value>) -> Value {
    Value::Tuple(items.into())
}

/// Makes a callable of a Rust closure.
pub fn function(name: &'static str, body: impl Fn(&Machine, Args) -> HostResult + 'static) -> Value {
    Value::Host(Rc::new(Closure { name, body: Box::new(body) }))
}

struct Closure {
    name: &'static str,
    #[expect(clippy::type_complexity, reason = "written once")]
    body: Box<dyn Fn(&Machine, Args) -> HostResult>,
}

impl HostObject for Closure {
    fn type_name(&self) -> Cow<'static, str> {
        "builtin_function_or_method".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        (self.body)(machine, args)
    }

    fn repr(&self, _machine: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<built-in function {}>", self.name)))
    }
}

/// Returns an argument given by position or by name.
#[must_use]
pub fn parameter(args: &Args, position: usize, name: &str) -> Option<Value> {
    args.positional
        .get(position)
        .cloned()
        .or_else(|| args.keyword.iter().find(|(keyword, _)| &**keyword == name).map(|(_, value)| value.clone()))
}

/// Returns an integer's value.
#[must_use]
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => Some(*value),
        Value::Bool(value) => Some(i64::from(*value)),
        _ => None,
    }
}

/// Returns the host object of a type behind a value.
#[must_use]
pub fn host<T: 'static>(value: &Value) -> Option<&T> {
    match value {
        Value::Host(object) => object.as_any().downcast_ref(),
        _ => None,
    }
}

/// Writes a shape as PyTorch's messages do.
#[must_use]
pub fn shape_text(shape: &[i64]) -> String {
    let sizes: Vec<_> = shape.iter().map(i64::to_string).collect();
    format!("[{}]", sizes.join(", "))
}
