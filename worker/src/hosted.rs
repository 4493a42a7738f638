//! The models of a worker, each with its thread.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use ids::ModelKey;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use crate::model::{Load, Order, Report, State};

/// Starts what serves a model, and returns the way to it. What it has to tell, it reports.
pub type Host = Arc<dyn Fn(Load, Sender<Report>) -> io::Result<Sender<Order>> + Send + Sync>;

/// The models.
pub struct Hosted {
    host: Host,
    reports: Sender<Report>,
    models: HashMap<ModelKey, Model>,
}

struct Model {
    load: Load,
    /// `None` for one that is to go: its thread ends when what it was given has come to its end.
    orders: Option<Sender<Order>>,
    state: State,
    /// The waits before it is tried again.
    waits: ExponentialBackoff,
    /// When it is tried again, after it could not be loaded.
    again: Option<Instant>,
    /// What is to be loaded when it has gone.
    next: Option<Load>,
}

impl Hosted {
    pub fn new(host: Host, reports: Sender<Report>) -> Self {
        Self { host, reports, models: HashMap::new() }
    }

    /// Begins to load a model, unless the very same is there. Returns how far it is. One of the same name has to go first.
    pub fn load(&mut self, load: Load) -> io::Result<State> {
        match self.models.get_mut(&load.key) {
            Some(model) if model.orders.is_some() && model.load.loads_as(&load) => Ok(model.state.clone()),
            Some(model) if !model.has_ended() => {
                model.orders = None;
                model.next = Some(load);
                Ok(State::Loading(0.0))
            }
            _ => self.start(load),
        }
    }

    /// Lets go of a model. Returns whether it is gone already; else that is noted later.
    pub fn unload(&mut self, key: &ModelKey) -> bool {
        let Some(model) = self.models.get_mut(key) else { return true };
        if model.has_ended() {
            self.models.remove(key);
            return true;
        }
        model.orders = None;
        model.next = None;
        false
    }

    /// Notes how far a model is, and returns what is to be told of that. What could not be loaded is tried again after a
    /// while, unless it is hopeless, or there is no room for it.
    pub fn note(&mut self, key: &ModelKey, state: State) -> io::Result<Option<State>> {
        let Some(model) = self.models.get_mut(key) else { return Ok(None) };
        if model.orders.is_none() {
            // Whatever it says of itself, it goes.
            if !matches!(state, State::Unloaded | State::Failed(_)) {
                return Ok(None);
            }
            let next = model.next.take();
            self.models.remove(key);
            return next.map_or(Ok(State::Unloaded), |load| self.start(load)).map(Some);
        }
        match &state {
            State::Ready(_) => model.waits = waits(),
            State::Failed(failed) if failed.no_room.is_some() => {
                tracing::info!(model = %key, why = failed.why, "the model is not loaded");
                self.models.remove(key);
                return Ok(Some(state));
            }
            State::Failed(failed) if !failed.hopeless => {
                let wait = model.waits.next().unwrap_or(LONGEST_WAIT);
                model.again = Instant::now().checked_add(wait);
                tracing::warn!(model = %key, why = failed.why, again_in = ?wait, "the model is to be loaded again");
            }
            State::Loading(_) | State::Failed(_) => {}
            // Nobody asked for that: its thread ends when nobody gives it orders.
            State::Unloaded => return Ok(None),
        }
        model.state = state.clone();
        Ok(Some(state))
    }

    /// Begins again with the models whose time has come.
    pub fn again(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for model in self.models.values_mut() {
            if model.again.take_if(|again| *again <= now).is_some() {
                model.orders = Some((self.host)(model.load.clone(), self.reports.clone())?);
            }
        }
        Ok(())
    }

    /// Returns the way to a model, if it is here to stay and its thread lives.
    pub fn orders(&self, key: &ModelKey) -> Option<&Sender<Order>> {
        self.models.get(key).and_then(|model| model.orders.as_ref()).filter(|orders| !orders.is_closed())
    }

    /// Returns how far a model is that is here to stay.
    pub fn state(&self, key: &ModelKey) -> Option<&State> {
        self.models.get(key).filter(|model| model.orders.is_some()).map(|model| &model.state)
    }

    /// Returns how far each model is that is here to stay, and as what it was asked for.
    pub fn states(&self) -> impl Iterator<Item = (&Load, &State)> {
        let stay = self.models.values().filter(|model| model.orders.is_some());
        stay.map(|model| (&model.load, &model.state))
    }

    fn start(&mut self, load: Load) -> io::Result<State> {
        let orders = Some((self.host)(load.clone(), self.reports.clone())?);
        let (key, state) = (load.key.clone(), State::Loading(0.0));
        let model = Model { load, orders, state: state.clone(), waits: waits(), again: None, next: None };
        self.models.insert(key, model);
        Ok(state)
    }
}

impl Model {
    /// Returns whether its thread has ended since it could not be loaded, and none is to be noted.
    fn has_ended(&self) -> bool {
        self.orders.is_some() && matches!(self.state, State::Failed(_)) && (self.again.is_some() || self.is_hopeless())
    }

    fn is_hopeless(&self) -> bool {
        matches!(&self.state, State::Failed(failed) if failed.hopeless)
    }
}

const LONGEST_WAIT: Duration = Duration::from_secs(60);

fn waits() -> ExponentialBackoff {
    let waits = ExponentialBuilder::default().with_min_delay(Duration::from_secs(1)).with_max_delay(LONGEST_WAIT);
    waits.with_jitter().without_max_times().build()
}
