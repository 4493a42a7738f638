//! The module `nnsight` and those below it, as far as blocks use them.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::modules::warnings;
use interpreter::raise::Raise;
use interpreter::{Class, Effect, HostObject, HostResult, Kind, Machine, Use, Value};

use crate::environment::unsupported;
use crate::envoy::EnvoyClass;
use crate::job::JobState;
use crate::model::Model;
use crate::python;

/// `import nnsight`.
pub struct Nnsight<M: Model> {
    job: Rc<JobState<M>>,
}

impl<M: Model> Nnsight<M> {
    /// Makes the module for a job.
    pub fn new(job: Rc<JobState<M>>) -> Self {
        Self { job }
    }

    /// Returns a member of the module.
    pub fn member(job: &Rc<JobState<M>>, name: &str) -> Option<Value> {
        let job = Rc::clone(job);
        match name {
            "save" => Some(Value::native("save", move |_machine, args| {
                let given = args.positional.len();
                if given > 2 {
                    return Err(Raise::type_error(format!(
                        "save() takes from 1 to 2 positional arguments but {given} were given"
                    )));
                }
                let value = python::parameter(&args, 0, "value")
                    .ok_or_else(|| Raise::type_error("save() missing 1 required positional argument: 'value'"))?;
                job.save(&value);
                Ok(value.into())
            })),
            "__version__" => Some(Value::from("0.8.1")),
            "OutOfOrderError" => Some(Value::Class(out_of_order_class())),
            "NNsightDeprecationWarning" => Some(Value::Class(deprecation_class())),
            name => EnvoyClass::named(name),
        }
    }
}

/// The class of what is raised for a place that the run has passed, or never reached.
fn out_of_order_class() -> Rc<Class> {
    interpreter::exceptions::host_class(OUT_OF_ORDER, Kind::Exception)
}

/// The class of warnings of what nnsight will not have any more.
fn deprecation_class() -> Rc<Class> {
    interpreter::exceptions::host_class("nnsight.NNsightDeprecationWarning", Kind::FutureWarning)
}

/// Warns of what nnsight will not have any more, where the program uses it.
///
/// # Errors
/// What the program has that raise.
pub fn deprecated(machine: &Machine, message: &str) -> Result<(), Raise> {
    warnings::warn(machine, &deprecation_class(), message, machine.place(0).as_ref())
}

/// The name of that class, with its module.
pub const OUT_OF_ORDER: &str = "nnsight.intervention.interleaver.OutOfOrderError";

impl<M: Model> HostObject for Nnsight<M> {
    fn type_name(&self) -> Cow<'static, str> {
        "module".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _machine: &Machine, name: &str, _usage: Use<'_>) -> Effect {
        if name == "save" { Effect::Looks } else { Effect::Anything }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _machine: &Machine, name: &str) -> HostResult {
        Self::member(&self.job, name).map(Into::into).ok_or_else(|| unsupported("nnsight", name))
    }
}
