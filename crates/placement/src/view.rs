//! The cluster, as far as decisions depend on it.

use std::collections::{BTreeMap, BTreeSet};

use ids::{ModelKey, TenantId};

/// The place that one process of a worker has in the view, for as long as it is known.
pub type Seat = u64;

/// The workers that can be reached, and the models that are hosted.
#[derive(Clone, Debug, Default)]
pub struct View {
    workers: BTreeMap<Seat, Worker>,
    models: BTreeMap<ModelKey, Hosting>,
    /// Those of the workers that can take a job, by the models that they can run, least busy first.
    room: BTreeMap<ModelKey, BTreeSet<(usize, Seat)>>,
    /// Models of which one tenant's jobs alone are given out.
    reserved: BTreeMap<ModelKey, TenantId>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    /// Jobs that it takes at once.
    pub slots: usize,
    /// Jobs that it has.
    pub busy: usize,
    /// Whether one of them wants no company.
    pub alone: bool,
    /// Models that it can run now.
    pub ready: BTreeSet<ModelKey>,
}

impl Worker {
    fn has_room(&self) -> bool {
        !self.alone && self.busy < self.slots
    }
}

/// Whether a model can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosting {
    /// By whichever workers have it ready, now or later.
    Served,
    /// By nobody, ever, and why.
    Hopeless(String),
}

impl View {
    /// Notes how a worker is.
    pub fn put(&mut self, seat: Seat, worker: Worker) {
        self.remove(seat);
        if worker.has_room() {
            for model in &worker.ready {
                self.room.entry(model.clone()).or_default().insert((worker.busy, seat));
            }
        }
        self.workers.insert(seat, worker);
    }

    /// Forgets a worker.
    pub fn remove(&mut self, seat: Seat) {
        let Some(worker) = self.workers.remove(&seat) else { return };
        for model in &worker.ready {
            if let Some(room) = self.room.get_mut(model) {
                room.remove(&(worker.busy, seat));
                if room.is_empty() {
                    self.room.remove(model);
                }
            }
        }
    }

    /// Notes whether a model can be served. One that was never noted is not hosted.
    pub fn host(&mut self, model: ModelKey, hosting: Hosting) {
        self.models.insert(model, hosting);
    }

    /// Notes that a model is hosted no longer.
    pub fn withdraw(&mut self, model: &ModelKey) {
        self.models.remove(model);
        self.reserved.remove(model);
    }

    /// Notes whose jobs alone are given out for a model; `None` is everybody's. Returns whether that is new.
    pub fn reserve(&mut self, model: &ModelKey, tenant: Option<&TenantId>) -> bool {
        if self.reserved.get(model) == tenant {
            return false;
        }
        match tenant {
            Some(tenant) => self.reserved.insert(model.clone(), tenant.clone()),
            None => self.reserved.remove(model),
        };
        true
    }

    /// Returns whose jobs alone are given out for a model, where that is so.
    #[must_use]
    pub fn reserved(&self, model: &ModelKey) -> Option<&TenantId> {
        self.reserved.get(model)
    }

    #[must_use]
    pub fn worker(&self, seat: Seat) -> Option<&Worker> {
        self.workers.get(&seat)
    }

    #[must_use]
    pub fn hosting(&self, model: &ModelKey) -> Option<&Hosting> {
        self.models.get(model)
    }

    /// Returns the workers that can take a job for a model, least busy first. `None` when there are none.
    #[must_use]
    pub fn room(&self, model: &ModelKey) -> Option<&BTreeSet<(usize, Seat)>> {
        self.room.get(model)
    }
}
