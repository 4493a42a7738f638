//! Jobs that have the thread to themselves, a slice at a time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ids::{JobId, TenantId};

use crate::contract::{Event, Failure, Fault, Usage};
use crate::fiber::Fiber;
use crate::interleaver::{Active, Together};
use crate::location::Order;
use crate::model::Model;
use crate::turn::Turn;

/// Jobs that have a lane at once. Each has a stack, which bounds them; further ones wait.
const LANES: usize = 64;

/// Of these, what one tenant may have: whoever comes next finds room.
const OF_ONE_TENANT: usize = LANES / 4;

/// The lanes of an engine.
pub struct Lanes<M: Model> {
    running: VecDeque<Lane<M>>,
    waiting: VecDeque<Active<M>>,
    /// Tenants of those that run and had the thread before, the one first for whom that is longest ago.
    turns: VecDeque<TenantId>,
}

impl<M: Model> Default for Lanes<M> {
    fn default() -> Self {
        Self { running: VecDeque::new(), waiting: VecDeque::new(), turns: VecDeque::new() }
    }
}

impl<M: Model> Lanes<M> {
    /// Takes a job that begins from its beginning.
    pub fn push(&mut self, active: Active<M>) {
        self.waiting.push_back(active);
    }

    /// Returns how many jobs there are.
    pub fn len(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// Returns the flag that stops a job.
    pub fn stop_flag(&self, job: JobId) -> Option<&AtomicU8> {
        let running = self.running.iter().find(|lane| lane.job == job).map(|lane| &*lane.stop);
        running.or_else(|| self.waiting.iter().find(|active| active.id() == job).map(|active| &**active.stop()))
    }

    /// Gives one lane the thread, until its slice is over or its pass is done. Tenants take turns, and so do the lanes of
    /// each; one that has to stop goes first.
    pub fn step(&mut self, model: &Rc<M>, order: &Rc<Order>, events: &mut Vec<Event>) {
        self.open(model, order, events);
        let stopped = self.running.iter().position(|lane| lane.stop.load(Ordering::Relaxed) != 0);
        let Some(mut lane) = self.running.remove(stopped.unwrap_or_else(|| self.next())) else { return };
        let (tenant, more) = (lane.tenant.clone(), lane.go_on());
        events.append(&mut lane.events.borrow_mut());
        if more {
            self.running.push_back(lane);
        }
        self.turns.retain(|other| *other != tenant);
        if self.running_of(&tenant) > 0 {
            self.turns.push_back(tenant);
        }
    }

    /// Returns the lane whose turn it is: of the tenant who had the thread longest ago, or never yet.
    fn next(&self) -> usize {
        let since = |lane: &Lane<M>| self.turns.iter().position(|tenant| *tenant == lane.tenant).map_or(0, |at| at + 1);
        self.running.iter().enumerate().min_by_key(|(_, lane)| since(lane)).map_or(0, |(at, _)| at)
    }

    fn running_of(&self, tenant: &TenantId) -> usize {
        self.running.iter().filter(|lane| lane.tenant == *tenant).count()
    }

    /// Opens lanes for those that wait, as far as there is room; who must not begin any more needs none.
    fn open(&mut self, model: &Rc<M>, order: &Rc<Order>, events: &mut Vec<Event>) {
        for active in std::mem::take(&mut self.waiting) {
            if let Some(code) = Some(active.stop().load(Ordering::Relaxed)).filter(|code| *code != 0) {
                active.stopped(code, events);
            } else if self.running.len() < LANES && self.running_of(active.tenant()) < OF_ONE_TENANT {
                let job = active.id();
                match Lane::new(active, model, order) {
                    Ok(lane) => self.running.push_back(lane),
                    Err(error) => {
                        let message = format!("there is no stack to run the job on: {error}");
                        events.push(Event::Failed(job, Failure { fault: Fault::Server, message }, Usage::default()));
                    }
                }
            } else {
                self.waiting.push_back(active);
            }
        }
    }
}

/// One job in a fiber.
struct Lane<M: Model> {
    job: JobId,
    tenant: TenantId,
    stop: Arc<AtomicU8>,
    model: Rc<M>,
    /// What happened, until it is told.
    events: Rc<RefCell<Vec<Event>>>,
    fiber: Option<Fiber>,
    /// What the thread held for the lane when it was paused.
    aside: Option<M::Aside>,
}

impl<M: Model> Lane<M> {
    fn new(mut active: Active<M>, model: &Rc<M>, order: &Rc<Order>) -> std::io::Result<Self> {
        let (job, tenant, stop) = (active.id(), active.tenant().clone(), Arc::clone(active.stop()));
        let events = Rc::new(RefCell::new(Vec::new()));
        let turn = Rc::new(Turn::in_lane());
        active.take_turns(&turn);
        let (happened, own, order) = (Rc::clone(&events), Rc::clone(model), Rc::clone(order));
        let body = move || {
            let mut alone = Together::alone(own, order, active);
            loop {
                let mut found = Vec::new();
                alone.step(&mut found);
                happened.borrow_mut().append(&mut found);
                if alone.is_empty() {
                    return;
                }
                turn.rest();
            }
        };
        let fiber = Fiber::new(body)?;
        Ok(Self { job, tenant, stop, model: Rc::clone(model), events, fiber: Some(fiber), aside: None })
    }

    /// Lets the job have the thread for a slice. Returns whether there is more to do.
    fn go_on(&mut self) -> bool {
        let _outside = self.enter();
        let more = self.fiber.as_mut().is_some_and(Fiber::go_on);
        self.aside = more.then(|| self.model.put_aside());
        more
    }

    /// Gives the thread what it held for the lane, until what is returned is dropped.
    fn enter(&mut self) -> Outside<M> {
        let outside = Outside::leave(&self.model);
        if let Some(own) = self.aside.take() {
            self.model.bring_back(own);
        }
        outside
    }
}

impl<M: Model> Drop for Lane<M> {
    fn drop(&mut self) {
        // It unwinds where it stands, so guards find what they left.
        let _outside = self.enter();
        self.fiber = None;
    }
}

/// What the thread held outside of a lane: it comes back when this is dropped.
struct Outside<M: Model> {
    model: Rc<M>,
    aside: Option<M::Aside>,
}

impl<M: Model> Outside<M> {
    fn leave(model: &Rc<M>) -> Self {
        Self { model: Rc::clone(model), aside: Some(model.put_aside()) }
    }
}

impl<M: Model> Drop for Outside<M> {
    fn drop(&mut self) {
        if let Some(aside) = self.aside.take() {
            self.model.bring_back(aside);
        }
    }
}
