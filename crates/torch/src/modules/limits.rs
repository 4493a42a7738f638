//! `torch.finfo` and `torch.iinfo`.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{HostObject, HostResult, Machine, Outcome, Value};
use program::DType;

use crate::python;

/// Facts of an element type, by name.
pub struct Limits {
    pub class: &'static str,
    pub dtype: DType,
    pub fields: Vec<(&'static str, Value)>,
}

impl HostObject for Limits {
    fn type_name(&self) -> Cow<'static, str> {
        format!("torch.{}", self.class).into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        if name == "dtype" {
            return Ok(Value::from(self.dtype.name()).into());
        }
        let field = self.fields.iter().find(|(known, _)| *known == name);
        Ok(field.map_or(Outcome::NotImplemented, |(_, value)| value.clone().into()))
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        let fields = self.fields.iter().filter(|(name, _)| *name != "bits").map(|(name, value)| {
            let text = match value {
                Value::Float(_) => python::format(machine, value, "g")?,
                // PyTorch writes whole numbers as floats, too.
                Value::Int(number) => python::format(machine, &Value::Float(*number as f64), "g")?,
                Value::Big(_) => python::format(machine, &Value::Float(u64::MAX as f64), "g")?,
                _ => String::new(),
            };
            Ok(format!("{name}={text}"))
        });
        let fields: Vec<String> = fields.collect::<Result<_, Raise>>()?;
        Ok(Some(format!("{}({}, dtype={})", self.class, fields.join(", "), self.dtype.name())))
    }

    fn is_instance(&self, class: &str) -> bool {
        class.strip_prefix("torch.") == Some(self.class)
    }
}
