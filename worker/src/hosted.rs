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
    orders: Sender<Order>,
    state: State,
    /// The waits before it is tried again.
    waits: ExponentialBackoff,
    /// When it is tried again, after it could not be loaded.
    again: Option<Instant>,
}

impl Hosted {
    pub fn new(host: Host, reports: Sender<Report>) -> Self {
        Self { host, reports, models: HashMap::new() }
    }

    /// Begins to load a model, unless the very same is there. Returns how far it is.
    pub fn load(&mut self, load: Load) -> io::Result<State> {
        if let Some(model) = self.models.get(&load.key).filter(|model| model.load == load) {
            return Ok(model.state.clone());
        }
        let orders = (self.host)(load.clone(), self.reports.clone())?;
        let (key, state) = (load.key.clone(), State::Loading(0.0));
        self.models.insert(key, Model { load, orders, state: state.clone(), waits: waits(), again: None });
        Ok(state)
    }

    /// Notes how far a model is. What could not be loaded is tried again after a while, unless it is hopeless.
    pub fn note(&mut self, key: &ModelKey, state: State) {
        let Some(model) = self.models.get_mut(key) else { return };
        match &state {
            State::Ready => model.waits = waits(),
            State::Failed(failed) if !failed.hopeless => {
                let wait = model.waits.next().unwrap_or(LONGEST_WAIT);
                model.again = Instant::now().checked_add(wait);
                tracing::warn!(model = %key, why = failed.why, again_in = ?wait, "the model is to be loaded again");
            }
            State::Loading(_) | State::Failed(_) => {}
        }
        model.state = state;
    }

    /// Begins again with the models whose time has come.
    pub fn again(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for model in self.models.values_mut() {
            if model.again.take_if(|again| *again <= now).is_some() {
                model.orders = (self.host)(model.load.clone(), self.reports.clone())?;
            }
        }
        Ok(())
    }

    /// Returns the way to a model, if it is here and its thread lives.
    pub fn orders(&self, key: &ModelKey) -> Option<&Sender<Order>> {
        self.models.get(key).map(|model| &model.orders).filter(|orders| !orders.is_closed())
    }

    /// Returns how far each model is.
    pub fn states(&self) -> impl Iterator<Item = (&ModelKey, &State)> {
        self.models.iter().map(|(key, model)| (key, &model.state))
    }
}

const LONGEST_WAIT: Duration = Duration::from_secs(60);

fn waits() -> ExponentialBackoff {
    let waits = ExponentialBuilder::default().with_min_delay(Duration::from_secs(1)).with_max_delay(LONGEST_WAIT);
    waits.with_jitter().without_max_times().build()
}
