//! The session's protocol as a model that is checked in every order of events: tokens, reattachment and election.
//!
//! One job, two workers, one scheduler with a store of its own or two that are elected. Connections break, processes
//! die, and who leads does not know at once that it leads no longer. What is shown: the job ends exactly once, nothing
//! of an old epoch is committed, and an attempt runs beside another only after the first one's window has passed.

use stateright::{Checker, Model, Property};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Token {
    epoch: u8,
    attempt: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Queued,
    /// With the worker of this name.
    Out(usize),
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Record {
    stage: Stage,
    /// That of the last time it was given out.
    token: Token,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ToWorker {
    /// Whether what the hello named is to be kept.
    Welcome {
        epoch: u8,
        keep: bool,
    },
    Assign(Token),
    Settled(Token),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum FromWorker {
    Hello { instance: u8, held: Option<Token> },
    Ended(Token),
}

/// A connection. What it has not delivered is lost with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Link {
    scheduler: usize,
    /// Whether the scheduler has heard the hello: before, it sends on the connection that it knows.
    greeted: bool,
    to_worker: Vec<ToWorker>,
    from_worker: Vec<FromWorker>,
}

/// What a worker's process has of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    token: Token,
    ended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Worker {
    instance: u8,
    /// The highest epoch that it was welcomed under.
    epoch: u8,
    held: Option<Held>,
    link: Option<Link>,
}

/// What a scheduler believes of a worker's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Known {
    instance: Option<u8>,
    attached: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Scheduler {
    /// Zero while it does not lead.
    epoch: u8,
    /// Its own copy of the record: it decides without reading.
    copy: Record,
    known: [Known; 2],
    /// The process that has the current attempt. `None` while that was given out by an earlier scheduler and nobody came
    /// back with it.
    holder: Option<(usize, u8)>,
    /// The workers that may have a job of which a crash undid that it was given out.
    awaited: [bool; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cluster {
    leader: u8,
    record: Record,
    /// What a crash of the store's only process leaves of the record.
    synced: Record,
    /// The workers that may have the job, which is written durably.
    roster: [bool; 2],
    schedulers: Vec<Scheduler>,
    workers: [Worker; 2],
    /// Faults that may still come.
    cuts: u8,
    deaths: u8,
    crashes: u8,
    usurpations: u8,
    /// What happened, for the properties.
    ends: u8,
    stale_commits: u8,
    hasty_reruns: u8,
    windows: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Elect(usize),
    Resign(usize),
    Crash(usize),
    Dial(usize, usize),
    Cut(usize),
    /// The scheduler sees that a connection is gone.
    Notice(usize, usize),
    Hear(usize),
    Obey(usize),
    Dispatch(usize, usize),
    Finish(usize),
    Die(usize),
    /// The supervisor of a worker tells that a process of it ended.
    Told(usize, usize),
    Window(usize, usize),
    /// Nobody came back with what an earlier scheduler gave out.
    OrphansWindow(usize),
    /// Some who may have it did not come.
    RosterWindow(usize),
}

/// Why the job is given out again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Window,
    /// The process is gone, or has shown that it does not have it.
    Proof,
}

#[derive(Clone, Copy)]
struct Protocol {
    schedulers: usize,
    /// Whether that a job was given out may be undone by a crash.
    relaxed: bool,
    cuts: u8,
    deaths: u8,
    crashes: u8,
    usurpations: u8,
}

impl Cluster {
    fn elected(&self) -> bool {
        self.schedulers.iter().any(|scheduler| scheduler.epoch > 0 && scheduler.epoch == self.leader)
    }

    /// Writes the record, if the scheduler leads still and its copy is the newest.
    fn commit(&mut self, at: usize, record: Record, durable: bool) -> bool {
        let scheduler = &mut self.schedulers[at];
        if self.leader != scheduler.epoch || self.record != scheduler.copy {
            self.step_down(at);
            return false;
        }
        self.stale_commits += u8::from(record.token.epoch > self.leader);
        self.ends += u8::from(record.stage == Stage::Ended);
        scheduler.copy = record;
        self.record = record;
        if durable {
            self.synced = record;
        }
        true
    }

    /// Says whether some worker has the job, under whichever token.
    fn anybody_has_it(&self) -> bool {
        let comes = |link: &Link| link.to_worker.iter().any(|message| matches!(message, ToWorker::Assign(_)));
        self.workers.iter().any(|worker| worker.held.is_some() || worker.link.as_ref().is_some_and(comes))
    }

    fn requeue(&mut self, at: usize, why: Why) {
        let token = self.schedulers[at].copy.token;
        let runs = |worker: &Worker| worker.held.is_some_and(|held| held.token == token);
        let comes = |worker: &Worker| {
            let mut messages = worker.link.iter().flat_map(|link| &link.to_worker);
            messages.any(|message| *message == ToWorker::Assign(token))
        };
        let hasty = why == Why::Proof && self.workers.iter().any(|worker| runs(worker) || comes(worker));
        let queued = Record { stage: Stage::Queued, ..self.schedulers[at].copy };
        if self.commit(at, queued, true) {
            self.hasty_reruns += u8::from(hasty);
            self.windows += u8::from(why == Why::Window);
            self.schedulers[at].holder = None;
        }
    }

    /// A process that had a name is gone.
    fn bury(&mut self, at: usize, name: usize, why: Why) {
        self.roster[name] = false;
        let scheduler = &mut self.schedulers[at];
        let buried = std::mem::take(&mut scheduler.known[name]).instance;
        if scheduler.holder.is_some() && scheduler.holder == buried.map(|instance| (name, instance)) {
            self.requeue(at, why);
        }
    }

    fn step_down(&mut self, at: usize) {
        self.schedulers[at].epoch = 0;
        self.schedulers[at].known = Default::default();
        self.schedulers[at].awaited = [false; 2];
        self.schedulers[at].holder = None;
        for worker in &mut self.workers {
            worker.link.take_if(|link| link.scheduler == at);
        }
    }

    fn send(&mut self, at: usize, name: usize, message: ToWorker) {
        // A connection that broke takes the message with it.
        if let Some(link) = self.workers[name].link.as_mut().filter(|link| link.scheduler == at && link.greeted) {
            link.to_worker.push(message);
        }
    }

    fn hello(&mut self, at: usize, name: usize, instance: u8, held: Option<Token>) {
        let known = self.schedulers[at].known[name];
        if known.instance.is_some_and(|known| known != instance) {
            if known.attached {
                // The name is taken until its connection is seen to end.
                self.workers[name].link = None;
                return;
            }
            self.bury(at, name, Why::Proof);
        }
        if self.schedulers[at].epoch == 0 {
            return;
        }
        self.roster[name] = true;
        self.schedulers[at].known[name] = Known { instance: Some(instance), attached: true };
        if let Some(link) = &mut self.workers[name].link {
            link.greeted = true;
        }
        let Record { stage, token } = self.schedulers[at].copy;
        let current = held == Some(token);
        let mut keep = false;
        match stage {
            Stage::Out(_) if current => {
                keep = true;
                self.schedulers[at].holder = Some((name, instance));
            }
            // It was given out to this name, which has shown that it has it no longer, or never got it.
            Stage::Out(out) if out == name && self.schedulers[at].holder.is_none_or(|(holder, _)| holder == name) => {
                self.requeue(at, Why::Proof);
            }
            // A crash undid that it was given out.
            Stage::Queued => {
                if let Some(held) = held.filter(|held| held.attempt == token.attempt + 1 && held.epoch < self.leader) {
                    keep = self.commit(at, Record { stage: Stage::Out(name), token: held }, false);
                    self.schedulers[at].holder = keep.then_some((name, instance));
                }
            }
            Stage::Out(_) | Stage::Ended => {}
        }
        self.schedulers[at].awaited[name] = false;
        let epoch = self.schedulers[at].epoch;
        self.send(at, name, ToWorker::Welcome { epoch, keep });
    }

    fn ended(&mut self, at: usize, name: usize, token: Token) {
        let copy = self.schedulers[at].copy;
        if matches!(copy.stage, Stage::Out(_)) && copy.token == token {
            if !self.commit(at, Record { stage: Stage::Ended, token }, true) {
                return;
            }
            self.schedulers[at].holder = None;
        }
        self.send(at, name, ToWorker::Settled(token));
    }

    fn obey(&mut self, name: usize, message: ToWorker) {
        let worker = &mut self.workers[name];
        match message {
            ToWorker::Welcome { epoch, .. } if epoch < worker.epoch => worker.link = None,
            ToWorker::Welcome { epoch, keep } => {
                worker.epoch = epoch;
                worker.held = worker.held.filter(|_| keep);
                if let (Some(link), Some(Held { token, ended: true })) = (&mut worker.link, worker.held) {
                    link.from_worker.push(FromWorker::Ended(token));
                }
            }
            ToWorker::Assign(token) if token.epoch < worker.epoch => {}
            ToWorker::Assign(token) => worker.held = Some(Held { token, ended: false }),
            ToWorker::Settled(token) => worker.held = worker.held.filter(|held| held.token != token),
        }
    }
}

impl Model for Protocol {
    type State = Cluster;
    type Action = Step;

    fn init_states(&self) -> Vec<Cluster> {
        let record = Record { stage: Stage::Queued, token: Token { epoch: 0, attempt: 0 } };
        let (known, awaited) = Default::default();
        let scheduler = Scheduler { epoch: 0, copy: record, known, holder: None, awaited };
        let worker = Worker { instance: 1, epoch: 0, held: None, link: None };
        vec![Cluster {
            leader: 0,
            record,
            synced: record,
            roster: [false; 2],
            schedulers: vec![scheduler; self.schedulers],
            workers: [worker.clone(), worker],
            cuts: self.cuts,
            deaths: self.deaths,
            crashes: self.crashes,
            usurpations: self.usurpations,
            ends: 0,
            stale_commits: 0,
            hasty_reruns: 0,
            windows: 0,
        }]
    }

    fn actions(&self, cluster: &Cluster, steps: &mut Vec<Step>) {
        for (at, scheduler) in cluster.schedulers.iter().enumerate() {
            if scheduler.epoch == 0 {
                if !cluster.elected() || cluster.usurpations > 0 {
                    steps.push(Step::Elect(at));
                }
                continue;
            }
            if scheduler.epoch != cluster.leader {
                steps.push(Step::Resign(at));
            }
            if cluster.crashes > 0 {
                steps.push(Step::Crash(at));
            }
            if matches!(scheduler.copy.stage, Stage::Out(_)) && scheduler.holder.is_none() {
                steps.push(Step::OrphansWindow(at));
            }
            if scheduler.copy.stage == Stage::Queued && scheduler.awaited != [false; 2] {
                steps.push(Step::RosterWindow(at));
            }
            for (name, (known, worker)) in scheduler.known.iter().zip(&cluster.workers).enumerate() {
                let here = worker.link.as_ref().is_some_and(|link| link.scheduler == at);
                match known {
                    Known { attached: true, .. } if !here => steps.push(Step::Notice(at, name)),
                    Known { attached: true, .. }
                        if scheduler.copy.stage == Stage::Queued && scheduler.awaited == [false; 2] =>
                    {
                        steps.push(Step::Dispatch(at, name));
                    }
                    Known { attached: false, instance: Some(_) } => steps.push(Step::Window(at, name)),
                    Known { .. } => {}
                }
                if known.instance.is_some_and(|instance| instance != worker.instance) {
                    steps.push(Step::Told(at, name));
                }
            }
        }
        for (name, worker) in cluster.workers.iter().enumerate() {
            match &worker.link {
                None => {
                    let leads = |scheduler: &Scheduler| scheduler.epoch > 0;
                    let all = cluster.schedulers.iter().enumerate().filter(|(_, scheduler)| leads(scheduler));
                    steps.extend(all.map(|(at, _)| Step::Dial(name, at)));
                }
                Some(link) => {
                    if cluster.cuts > 0 {
                        steps.push(Step::Cut(name));
                    }
                    if !link.from_worker.is_empty() {
                        steps.push(Step::Hear(name));
                    }
                    if !link.to_worker.is_empty() {
                        steps.push(Step::Obey(name));
                    }
                }
            }
            if worker.held.is_some_and(|held| !held.ended) {
                steps.push(Step::Finish(name));
            }
            if cluster.deaths > 0 {
                steps.push(Step::Die(name));
            }
        }
    }

    fn next_state(&self, before: &Cluster, step: Step) -> Option<Cluster> {
        let mut next = before.clone();
        match step {
            Step::Elect(at) => {
                next.usurpations -= u8::from(before.elected());
                next.leader += 1;
                let (epoch, copy) = (next.leader, next.record);
                let (known, awaited) = (Default::default(), next.roster);
                next.schedulers[at] = Scheduler { epoch, copy, known, holder: None, awaited };
            }
            Step::Resign(at) => next.step_down(at),
            Step::Crash(at) => {
                next.crashes -= 1;
                next.step_down(at);
                if self.relaxed {
                    next.record = next.synced;
                }
            }
            Step::Dial(name, at) => {
                let worker = &mut next.workers[name];
                let hello = FromWorker::Hello { instance: worker.instance, held: worker.held.map(|held| held.token) };
                worker.link =
                    Some(Link { scheduler: at, greeted: false, to_worker: Vec::new(), from_worker: vec![hello] });
            }
            Step::Cut(name) => {
                next.cuts -= 1;
                next.workers[name].link = None;
            }
            Step::Notice(at, name) => next.schedulers[at].known[name].attached = false,
            Step::Hear(name) => {
                let link = next.workers[name].link.as_mut()?;
                let (at, message) = (link.scheduler, link.from_worker.remove(0));
                match message {
                    FromWorker::Hello { instance, held } => next.hello(at, name, instance, held),
                    FromWorker::Ended(token) => next.ended(at, name, token),
                }
            }
            Step::Obey(name) => {
                let message = next.workers[name].link.as_mut()?.to_worker.remove(0);
                next.obey(name, message);
            }
            Step::Dispatch(at, name) => {
                let scheduler = &next.schedulers[at];
                let (instance, attempt) = (scheduler.known[name].instance?, scheduler.copy.token.attempt + 1);
                let token = Token { epoch: scheduler.epoch, attempt };
                let hasty = before.windows == 0 && before.anybody_has_it();
                if next.commit(at, Record { stage: Stage::Out(name), token }, !self.relaxed) {
                    next.hasty_reruns += u8::from(hasty);
                    next.schedulers[at].holder = Some((name, instance));
                    next.send(at, name, ToWorker::Assign(token));
                }
            }
            Step::Finish(name) => {
                let worker = &mut next.workers[name];
                let held = worker.held.as_mut()?;
                held.ended = true;
                if let Some(link) = &mut worker.link
                    // Before its hello was answered it tells nothing else.
                    && worker.epoch > 0
                {
                    link.from_worker.push(FromWorker::Ended(held.token));
                }
            }
            Step::Die(name) => {
                next.deaths -= 1;
                let instance = next.workers[name].instance + 1;
                next.workers[name] = Worker { instance, epoch: 0, held: None, link: None };
            }
            Step::Told(at, name) => next.bury(at, name, Why::Proof),
            Step::Window(at, name) => next.bury(at, name, Why::Window),
            Step::OrphansWindow(at) => next.requeue(at, Why::Window),
            Step::RosterWindow(at) => {
                next.schedulers[at].awaited = [false; 2];
                next.windows += 1;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a job ends at most once", |_, cluster: &Cluster| cluster.ends <= 1),
            Property::always("nothing of an old epoch is committed", |_, cluster: &Cluster| {
                cluster.stale_commits == 0 && cluster.record.token.epoch <= cluster.leader
            }),
            Property::always("nothing runs twice without proof or patience", |_, cluster: &Cluster| {
                cluster.hasty_reruns == 0
            }),
            Property::always("what ended stays ended", |_, cluster: &Cluster| {
                cluster.ends == u8::from(cluster.record.stage == Stage::Ended)
            }),
            Property::eventually("the job ends", |_, cluster: &Cluster| cluster.record.stage == Stage::Ended),
            Property::sometimes("what an earlier scheduler gave out ends as it was", |_, cluster: &Cluster| {
                cluster.record.stage == Stage::Ended
                    && cluster.record.token == Token { epoch: 1, attempt: 1 }
                    && cluster.leader > 1
            }),
            Property::sometimes("what is lost runs again", |_, cluster: &Cluster| {
                cluster.record.stage == Stage::Ended && cluster.record.token.attempt > 1
            }),
        ]
    }
}

fn check(protocol: Protocol) {
    let checker = protocol.checker().threads(1).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 1_000, "hardly anything was looked at");
}

#[test]
fn one_scheduler_that_crashes_and_forgets_what_was_not_synced() {
    check(Protocol { schedulers: 1, relaxed: true, cuts: 1, deaths: 1, crashes: 1, usurpations: 0 });
}

#[test]
fn two_schedulers_of_which_one_does_not_know_that_it_leads_no_longer() {
    let elected = Protocol { schedulers: 2, relaxed: false, cuts: 0, deaths: 0, crashes: 0, usurpations: 1 };
    check(Protocol { cuts: 1, ..elected });
    check(Protocol { deaths: 1, ..elected });
}
