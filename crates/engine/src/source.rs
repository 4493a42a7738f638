//! `model.….source`: the operations of a module's forward, and of functions that it calls, under the names that nnsight gives
//! them.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, HostObject, HostResult, Iteration, Machine, Outcome, Use, Value};

use crate::ask::{Ask, View};
use crate::job::JobState;
use crate::location::Location;
use crate::model::{Model, Site};
use crate::python;

/// The operations of one forward, or of a function.
pub struct Source<M: Model> {
    job: Rc<JobState<M>>,
    of: Site,
    path: String,
}

/// One of them.
struct Operation<M: Model> {
    job: Rc<JobState<M>>,
    site: Site,
    name: &'static str,
    path: String,
}

impl<M: Model> Source<M> {
    /// Shows the operations of a module.
    ///
    /// # Errors
    /// `AttributeError` for a module whose forward is not known step by step.
    pub fn open(job: &Rc<JobState<M>>, module: Site, path: &str) -> Result<Value, Raise> {
        let schema = job.model.schema();
        if schema.operations_of(module, job.attention).next().is_none() {
            let class = schema.module(module).map_or("", |module| &module.class);
            return Err(Raise::attribute_error(format!(
                "`{path}.source` is not supported by this server: it does not know the forward of {class} step by step. What it \
                 returns is `{path}.output`"
            )));
        }
        Ok(Self::of(job, module, path))
    }

    fn of(job: &Rc<JobState<M>>, of: Site, path: &str) -> Value {
        let path = format!("{path}.source");
        Value::Host(Rc::new(Self { job: Rc::clone(job), of, path }))
    }

    fn all(&self) -> Vec<(Site, &'static str)> {
        self.job.model.schema().operations_of(self.of, self.job.attention).collect()
    }

    fn operation(&self, (site, name): (Site, &'static str)) -> Value {
        let path = format!("{}.{name}", self.path);
        Value::Host(Rc::new(Operation { job: Rc::clone(&self.job), site, name, path }))
    }
}

impl<M: Model> HostObject for Source<M> {
    fn type_name(&self) -> Cow<'static, str> {
        "Source".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn effect(&self, _: &Machine, _: &str, usage: Use<'_>) -> Effect {
        if let Use::Store = usage { Effect::Anything } else { Effect::Looks }
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        let all = self.all();
        if name == "names" {
            return Ok(Value::tuple(all.into_iter().map(|(_, name)| name.into()).collect()).into());
        }
        if let Some(found) = all.iter().find(|(_, own)| *own == name) {
            return Ok(self.operation(*found).into());
        }
        let available: Vec<&str> = all.into_iter().map(|(_, name)| name).collect();
        let available = available.join(", ");
        Err(Raise::attribute_error(format!("'{}' has no operation '{name}'; available: {available}", self.path)))
    }

    fn iterate(self: Rc<Self>, _: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        Ok(Some(python::iterate_all(self.all().into_iter().map(|operation| self.operation(operation)).collect())))
    }

    fn truth(&self, _: &Machine) -> Result<Option<bool>, Raise> {
        Ok(Some(true))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        let names: Vec<&str> = self.all().into_iter().map(|(_, name)| name).collect();
        Ok(Some(format!("{}:\n  {}", self.path, names.join("\n  "))))
    }
}

impl<M: Model> Operation<M> {
    fn no_source(&self) -> Raise {
        let schema = self.job.model.schema();
        Raise::attribute_error(match schema.operation(self.site).and_then(|operation| operation.calls) {
            Some(_) => format!(
                "'{}' calls a submodule; call `.source` on that submodule directly instead of drilling into the call",
                self.name
            ),
            None => format!(
                "`{0}.source` is not supported by this server: it does not know what is called there step by step. What comes of \
                 the call is `{0}.output`",
                self.path
            ),
        })
    }
}

impl<M: Model> HostObject for Operation<M> {
    fn type_name(&self) -> Cow<'static, str> {
        "SourceEnvoy".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match (name, usage) {
            (_, Use::Store) | ("skip", _) => Effect::Changes,
            _ => Effect::Looks,
        }
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "output" => self.job.read(Location::Output(self.site), View::Whole),
            "input" => self.job.read(Location::Input(self.site), View::FirstArgument),
            "inputs" => self.job.read(Location::Input(self.site), View::Whole),
            "name" => Ok(Value::from(self.name).into()),
            "path" => Ok(Value::string(self.path.clone()).into()),
            "source" => {
                let inside = self.job.model.schema().operations_of(self.site, self.job.attention).next();
                match inside {
                    Some(_) => Ok(Source::of(&self.job, self.site, &self.path).into()),
                    None => Err(self.no_source()),
                }
            }
            "skip" => {
                Ok(Value::native("skip", move |machine, args| Rc::clone(&self).call_method(machine, "skip", &args))
                    .into())
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn set_attribute(self: Rc<Self>, _: &Machine, name: &str, value: Value) -> HostResult {
        match name {
            "output" => self.job.write(Location::Output(self.site), value),
            "inputs" => self.job.write(Location::Input(self.site), value),
            "input" => {
                let location = Location::Input(self.site);
                self.job.ask(location, Ask::WriteFirst(location, value))
            }
            _ => Err(Raise::attribute_error(format!("`{}.{name}` cannot be set", self.path))),
        }
    }

    fn call_method(self: Rc<Self>, _: &Machine, name: &str, args: &Args) -> HostResult {
        if name != "skip" {
            return Ok(Outcome::NotImplemented);
        }
        let value = python::parameter(args, 0, "replacement")
            .ok_or_else(|| Raise::type_error("skip() missing 1 required positional argument: 'replacement'"))?;
        let location = Location::Skip(self.site);
        self.job.ask(location, Ask::Skip(location, value))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<SourceEnvoy {}>", self.path)))
    }
}
