//! What a job's Python finds around it: importable modules, `.save()`, printing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use interpreter::raise::{Fatal, Raise};
use interpreter::{Effect, Machine, Use, Value};

use crate::job::{self, JobState};
use crate::model::Model;
use crate::nnsight::Nnsight;
use crate::{envoy, output, tokenizer, tracer};

/// The surroundings of one job.
pub struct Environment<M: Model> {
    job: Rc<JobState<M>>,
    printed: Rc<RefCell<Vec<String>>>,
    /// Steps that the job's turn knows of.
    told: Cell<u64>,
}

impl<M: Model> Environment<M> {
    /// Makes the surroundings of a job whose printed lines go to `printed`.
    pub fn new(job: Rc<JobState<M>>, printed: Rc<RefCell<Vec<String>>>) -> Self {
        Self { job, printed, told: Cell::new(0) }
    }
}

impl<M: Model> interpreter::Environment for Environment<M> {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        match module {
            module if module == "nnsight" || module.starts_with("nnsight.") => {
                Some(Value::Host(Rc::new(Nnsight::new(Rc::clone(&self.job)))))
            }
            _ => self.job.model.import(machine, module),
        }
    }

    fn attribute(&self, _machine: &Machine, object: &Value, name: &str) -> Option<Value> {
        (name == "save").then(|| job::save_method(Rc::clone(&self.job), object))
    }

    fn effect(&self, machine: &Machine, name: &str, usage: Use<'_>) -> Option<Effect> {
        let objects = [
            (name == "save").then_some(Effect::Looks),
            envoy::effect(self.job.model.schema(), name, usage),
            output::effect(name, usage),
            tokenizer::effect(name, usage),
            tracer::effect(name, usage),
            self.job.model.effect(machine, name, usage),
        ];
        objects.into_iter().flatten().max()
    }

    fn print(&self, line: &str) {
        self.printed.borrow_mut().push(line.to_owned());
    }

    fn pace(&self, machine: &Machine) -> Result<(), Fatal> {
        let used = machine.fuel_used();
        let steps = used.saturating_sub(self.told.replace(used));
        self.job.turn.pace(steps, machine.is_held())
    }

    fn clock(&self) -> Option<Duration> {
        Some(self.job.turn.clock())
    }

    fn began(&self) -> Option<Duration> {
        self.job.turn.began().duration_since(SystemTime::UNIX_EPOCH).ok()
    }

    fn lasts(&self, _: &Machine) -> Result<bool, Fatal> {
        self.job.turn.lasts()
    }

    fn rest(&self) {
        self.job.turn.rest();
    }

    fn rest_until(&self, until: &Rc<dyn Fn() -> bool>) {
        self.job.turn.rest_until(until);
    }
}

/// Makes the error for an importable name that this server does not have.
pub fn unsupported(module: &str, name: &str) -> Raise {
    Raise::attribute_error(format!("{module}.{name} is not supported by this server"))
}
