//! What every object that a job's blocks hold can reach.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use interpreter::raise::Raise;
use interpreter::{HostResult, Identity, Machine, Outcome, Request, Value};

use crate::adapter::Adapter;
use crate::ask::{Ask, View};
use crate::contract::Job;
use crate::forward_hooks::ForwardHooks;
use crate::location::{Location, Order};
use crate::mediator::MediatorState;
use crate::mentioned::Mentioned;
use crate::model::{Attention, Model, Site};
use crate::own::Given;
use crate::progress::Progress;
use crate::turn::Turn;

/// State of one job that its host objects share.
pub struct JobState<M: Model> {
    pub model: Rc<M>,
    pub order: Rc<Order>,
    pub attention: Attention,
    pub turn: Rc<Turn>,
    /// Whether its code may look at operations of modules' forwards.
    pub sources: bool,
    /// Whether it may look at all arguments of modules: which these are depends on how the model is called.
    pub calls: bool,
    /// As in [`crate::Job::stop`].
    stop: Arc<AtomicU8>,
    pub progress: Arc<Progress>,
    /// Values marked by `.save()`, held so that no other object can take their identity.
    saved: RefCell<HashMap<Identity, Value>>,
    /// Alternative names of modules: `(parent path, alias)` to path.
    aliases: RefCell<HashMap<(String, String), String>>,
    /// What the program gave modules of the model.
    pub given: Given,
    /// The PEFT adapter that the request asks for.
    pub adapter: OnceCell<Adapter>,
    /// Hooks that its code registered on modules of the model.
    pub hooks: ForwardHooks,
    /// The block that runs right now, if it is one that runs beside the model.
    mediator: RefCell<Option<Rc<MediatorState>>>,
    /// Whether blocks that wait for something to be computed are held until other jobs' blocks wait too.
    pub gathering: Cell<bool>,
}

impl<M: Model> JobState<M> {
    /// Makes the state of a job that has not begun.
    pub fn new(
        model: Rc<M>,
        order: Rc<Order>,
        attention: Attention,
        turn: Rc<Turn>,
        job: &Job,
        mentioned: &Mentioned,
    ) -> Self {
        Self {
            model,
            order,
            attention,
            turn,
            sources: mentioned.sources,
            calls: mentioned.calls,
            stop: Arc::clone(&job.stop),
            progress: Arc::clone(&job.progress),
            saved: RefCell::default(),
            aliases: RefCell::default(),
            given: Given::default(),
            adapter: OnceCell::new(),
            hooks: ForwardHooks::default(),
            mediator: RefCell::default(),
            gathering: Cell::new(false),
        }
    }

    /// Lets go of what the program gave modules of the model, before its machine is torn down.
    pub fn let_go(&self) {
        self.given.clear();
        self.hooks.clear();
    }

    /// Returns whether something from outside ends the job.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) != 0
    }

    /// Marks a value to be returned.
    pub fn save(&self, value: &Value) {
        self.saved.borrow_mut().insert(value.identity(), value.clone());
    }

    /// Returns whether a value is marked.
    pub fn is_saved(&self, value: &Value) -> bool {
        self.saved.borrow().contains_key(&value.identity())
    }

    /// Records an alternative name of a module.
    pub fn alias(&self, parent: &str, alias: &str, path: String) {
        self.aliases.borrow_mut().insert((parent.into(), alias.into()), path);
    }

    /// Returns the module that an alias means.
    pub fn aliased(&self, parent: &str, alias: &str) -> Option<Site> {
        let aliases = self.aliases.borrow();
        let path = aliases.get(&(parent.to_owned(), alias.to_owned()))?;
        self.model.schema().site(path)
    }

    /// Returns the error for a module of Hugging Face's that is not served, if that is what a path leads to.
    pub fn absent(&self, path: &str) -> Option<Raise> {
        let absent = self.model.schema().absent(path)?;
        let message = format!("`model.{}` is not served by this server: {}", absent.path, absent.why);
        Some(Raise::new(interpreter::Kind::NotImplementedError, message))
    }

    /// Sets which block runs, and returns which one did.
    pub fn enter_mediator(&self, mediator: Option<Rc<MediatorState>>) -> Option<Rc<MediatorState>> {
        self.mediator.replace(mediator)
    }

    /// Returns whether the running code is a block beside the model.
    pub fn interleaving(&self) -> bool {
        self.mediator.borrow().is_some()
    }

    /// Returns the running block.
    ///
    /// # Errors
    /// `ValueError` for code that does not run beside the model.
    pub fn mediator(&self, what: &str) -> Result<Rc<MediatorState>, Raise> {
        self.mediator
            .borrow()
            .clone()
            .ok_or_else(|| Raise::value_error(format!("Cannot access `{what}` outside of interleaving")))
    }

    /// Asks to read a location.
    pub fn read(&self, location: Location, view: View) -> HostResult {
        self.ask(location, Ask::Read(location, view))
    }

    /// Asks to replace what flows past a location.
    pub fn write(&self, location: Location, value: Value) -> HostResult {
        self.ask(location, Ask::Write(location, value))
    }

    /// Asks on behalf of the running block.
    pub fn ask(&self, location: Location, ask: Ask) -> HostResult {
        self.mediator(&location.name(self.model.schema()))?;
        Ok(Outcome::Wait(Request::new(ask)))
    }
}

/// Makes what `.save` is on every object: called, it marks the object and returns it.
pub fn save_method<M: Model>(job: Rc<JobState<M>>, object: &Value) -> Value {
    let object = object.clone();
    Value::native("save", move |_machine: &Machine, _args| {
        job.save(&object);
        Ok(object.clone().into())
    })
}
