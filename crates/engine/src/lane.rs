//! What has a stack of its own, and the thread a slice at a time: jobs that run by themselves, and passes that take long.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use ids::{JobId, TenantId};

use crate::active::Active;
use crate::common::Common;
use crate::contract::{Event, Failure, Fault, Usage};
use crate::fiber::Fiber;
use crate::model::Model;
use crate::together::{Back, Party, Together};
use crate::turn::Turn;

/// The lanes of an engine.
pub struct Lanes<M: Model> {
    common: Rc<Common<M>>,
    running: Vec<Lane<M>>,
    waiting: VecDeque<Active<M>>,
    /// How long each tenant that has lanes has had the thread for them.
    used: HashMap<TenantId, Duration>,
}

impl<M: Model> Lanes<M> {
    /// Makes an engine's lanes.
    pub fn new(common: &Rc<Common<M>>) -> Self {
        Self { common: Rc::clone(common), running: Vec::new(), waiting: VecDeque::new(), used: HashMap::new() }
    }

    /// Takes a job that begins from its beginning.
    pub fn push(&mut self, active: Active<M>) {
        self.waiting.push_back(active);
    }

    /// Takes a job for something that takes long.
    pub fn add(&mut self, party: Party<M>, events: &mut Vec<Event>) {
        if let Some(lane) = self.lane_for(party, events) {
            self.begin(lane);
        }
    }

    /// Takes a job for something that may take long, and gives it a slice at once. Returns the job if it is done then.
    pub fn try_at_once(&mut self, party: Party<M>, events: &mut Vec<Event>) -> Option<Back<M>> {
        let mut lane = self.lane_for(party, events)?;
        let more = lane.go_on();
        events.append(&mut lane.events.borrow_mut());
        if more {
            self.begin(lane);
            return None;
        }
        lane.back.take().pop()
    }

    fn lane_for(&self, party: Party<M>, events: &mut Vec<Event>) -> Option<Lane<M>> {
        let member = party.jobs().next().map(Member::of)?;
        let back = Rc::new(RefCell::new(Vec::new()));
        let returned = Rc::clone(&back);
        let happened = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&happened);
        let body = move || {
            let jobs = party.run(&told);
            returned.borrow_mut().extend(jobs);
        };
        Lane::new(&self.common, member, body, (back, happened), events)
    }

    /// Returns how many jobs there are.
    pub fn len(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// Returns the flag that stops a job.
    pub fn stop_flag(&self, job: JobId) -> Option<&AtomicU8> {
        let running = self.running.iter().map(|lane| &lane.member).find(|member| member.job == job);
        let waiting = || self.waiting.iter().find(|active| active.job.id == job).map(|active| &*active.job.stop);
        running.map(|member| &*member.stop).or_else(waiting)
    }

    /// Returns whether all that there is waits for other threads: they wake this one.
    pub fn all_wait(&self) -> bool {
        let waits = |lane: &Lane<M>| !lane.is_ready() && !lane.is_stopped();
        let begins = |active: &Active<M>| active.is_stopped() || self.has_room(&active.job.tenant);
        !self.running.is_empty() && self.running.iter().all(waits) && !self.waiting.iter().any(begins)
    }

    /// Returns whether a job has to stop.
    pub fn any_stopped(&self) -> bool {
        self.running.iter().any(Lane::is_stopped) || self.waiting.iter().any(Active::is_stopped)
    }

    /// Gives one lane the thread, until its slice is over or its pass, or a layer of a long one, is done. Of those that have
    /// something to do, those go first who had it shortest: of tenants, and then of the lanes of one; but before all, one that has
    /// to stop. Returns jobs that are done with what took long.
    pub fn step(&mut self, events: &mut Vec<Event>) -> Vec<Back<M>> {
        self.open(events);
        let stopped = self.running.iter().position(Lane::is_stopped);
        let Some(at) = stopped.or_else(|| self.next()) else { return Vec::new() };
        // It keeps its place among those that were opened.
        let Some(lane) = self.running.get_mut(at) else { return Vec::new() };
        let began = Instant::now();
        let more = lane.go_on();
        let took = began.elapsed();
        lane.used += took;
        events.append(&mut lane.events.borrow_mut());
        let tenant = lane.member.tenant.clone();
        let back = if more { Vec::new() } else { self.running.remove(at).back.take() };
        if self.running_of(&tenant) > 0 {
            *self.used.entry(tenant).or_default() += took;
        } else {
            self.used.remove(&tenant);
        }
        back
    }

    fn next(&self) -> Option<usize> {
        let used = |lane: &Lane<M>| (self.used.get(&lane.member.tenant).copied().unwrap_or_default(), lane.used);
        let ready = self.running.iter().enumerate().filter(|(_, lane)| lane.is_ready());
        ready.min_by_key(|(_, lane)| used(lane)).map(|(at, _)| at)
    }

    fn running_of(&self, tenant: &TenantId) -> usize {
        self.running.iter().filter(|lane| lane.member.tenant == *tenant).count()
    }

    fn has_room(&self, tenant: &TenantId) -> bool {
        let most = self.common.settings.lanes;
        self.running.len() < most && self.running_of(tenant) < (most / 4).max(1)
    }

    /// Opens lanes for those that wait, as far as there is room; who must not begin any more needs none.
    fn open(&mut self, events: &mut Vec<Event>) {
        for active in std::mem::take(&mut self.waiting) {
            if let Some(code) = Some(active.job.stop.load(Ordering::Relaxed)).filter(|code| *code != 0) {
                active.stopped(code, events);
            } else if self.has_room(&active.job.tenant) {
                self.open_for(active, events);
            } else {
                self.waiting.push_back(active);
            }
        }
    }

    fn open_for(&mut self, mut active: Active<M>, events: &mut Vec<Event>) {
        let member = Member::of(&active);
        let turn = Rc::new(Turn::in_lane());
        active.take_turns(&turn);
        let happened = Rc::new(RefCell::new(Vec::new()));
        let (told, common) = (Rc::clone(&happened), Rc::clone(&self.common));
        let body = move || {
            let mut alone = Together::alone(&common, active);
            // Nothing of it goes elsewhere.
            let mut none = Lanes::new(&common);
            loop {
                let mut found = Vec::new();
                alone.step(&mut none, &mut found);
                told.borrow_mut().append(&mut found);
                if alone.active.is_empty() {
                    return;
                }
                turn.rest();
            }
        };
        if let Some(lane) = Lane::new(&self.common, member, body, (Rc::default(), happened), events) {
            self.begin(lane);
        }
    }

    /// Has something have a lane, for a job that there is not.
    #[cfg(test)]
    pub fn run(&mut self, job: JobId, body: impl FnOnce(&Turn, &AtomicU8) + 'static) {
        let member = Member { job, tenant: TenantId::new("lab"), stop: Arc::default() };
        let stop = Arc::clone(&member.stop);
        let body = move || body(&Turn::in_lane(), &stop);
        let lane = Lane::new(&self.common, member, body, (Rc::default(), Rc::default()), &mut Vec::new());
        lane.into_iter().for_each(|lane| self.begin(lane));
    }

    /// Has a lane take turns. Whoever comes next counts as having had as much as the others: it neither keeps them waiting
    /// nor waits for them.
    fn begin(&mut self, mut lane: Lane<M>) {
        let tenant = &lane.member.tenant;
        let own = self.running.iter().filter(|other| other.member.tenant == *tenant);
        lane.used = own.map(|other| other.used).min().unwrap_or_default();
        if !self.used.contains_key(tenant) {
            let least = self.used.values().min().copied().unwrap_or_default();
            self.used.insert(tenant.clone(), least);
        }
        self.running.push(lane);
    }
}

/// A job in a lane.
struct Member {
    job: JobId,
    tenant: TenantId,
    stop: Arc<AtomicU8>,
}

impl Member {
    fn of<M: Model>(active: &Active<M>) -> Self {
        Self { job: active.job.id, tenant: active.job.tenant.clone(), stop: Arc::clone(&active.job.stop) }
    }
}

/// A fiber, for a whole job or for something that takes long of one.
struct Lane<M: Model> {
    member: Member,
    model: Rc<M>,
    /// What happened, until it is told.
    events: Rc<RefCell<Vec<Event>>>,
    /// The job, once it is done with what took long.
    back: Rc<RefCell<Vec<Back<M>>>>,
    used: Duration,
    fiber: Option<Fiber>,
    /// What the thread held for the lane when it was paused.
    aside: Option<M::Aside>,
}

/// What a lane's body leaves for whoever runs the lane.
type Shared<T> = Rc<RefCell<Vec<T>>>;

impl<M: Model> Lane<M> {
    fn new(
        common: &Common<M>,
        member: Member,
        body: impl FnOnce() + 'static,
        (back, happened): (Shared<Back<M>>, Shared<Event>),
        events: &mut Vec<Event>,
    ) -> Option<Self> {
        match Fiber::new(body) {
            Ok(fiber) => {
                let (model, fiber) = (Rc::clone(&common.model), Some(fiber));
                Some(Self { member, model, events: happened, back, used: Duration::ZERO, fiber, aside: None })
            }
            Err(error) => {
                let message = format!("there is no stack to run the job on: {error}");
                events.push(Event::Failed(member.job, Failure { fault: Fault::Server, message }, Usage::default()));
                None
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.member.stop.load(Ordering::Relaxed) != 0
    }

    /// Returns whether it has something to do.
    fn is_ready(&self) -> bool {
        self.fiber.as_ref().is_none_or(Fiber::is_ready)
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
