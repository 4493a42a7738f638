//! The thread that owns one model's engine.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::{Engine, Event, Failure, Fault, Job, Usage};
use ids::{JobId, ModelKey};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::canary::{Canary, Heard, Verdict};
use crate::metrics;
use crate::scrub::{Pace, Scrub};

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    pub key: ModelKey,
    pub folder: PathBuf,
    /// The parameters' type in memory as Hugging Face writes it; `None` leaves the configuration's.
    pub dtype: Option<String>,
    /// Where to put it: `cpu`, `cuda`, `cuda:1`; `None` is for the loader to choose.
    pub device: Option<String>,
    /// How many processes hold it, each a part of its weights; at least 1.
    pub ranks: u32,
    /// The workers that hold its other ranks, in their order; none where this machine holds them all.
    pub rank_hosts: Vec<RankHost>,
    /// Whether its layers are brought to the device when a pass comes to them.
    pub streamed: bool,
    /// Whether its weights are to be kept in memory as they are read, where they go to a GPU.
    pub keep: bool,
}

/// A worker that holds a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankHost {
    pub worker: String,
    /// Where it listens.
    pub address: String,
    pub device: String,
}

impl Load {
    /// Returns whether another one leads to the very same model.
    #[must_use]
    pub fn loads_as(&self, other: &Self) -> bool {
        (&self.key, &self.folder, &self.dtype, &self.device, self.ranks, &self.rank_hosts, self.streamed)
            == (&other.key, &other.folder, &other.dtype, &other.device, other.ranks, &other.rank_hosts, other.streamed)
    }
}

/// The weights that this process keeps in memory of models that are, or were, on its GPUs.
pub trait Shelf: Send + Sync {
    /// Returns the bytes that they may take together; 0 where none are kept.
    fn limit(&self) -> u64;
    /// Returns the models whose weights are kept, and what those take in bytes.
    fn kept(&self) -> Vec<(ModelKey, u64)>;
    /// Keeps a model's weights no longer.
    fn cool(&self, model: &ModelKey);
}

/// Where no weights are kept.
pub struct NoShelf;

impl Shelf for NoShelf {
    fn limit(&self) -> u64 {
        0
    }

    fn kept(&self) -> Vec<(ModelKey, u64)> {
        Vec::new()
    }

    fn cool(&self, _: &ModelKey) {}
}

/// Makes an engine over a model, telling how far it is from 0 to 1. It runs on the model's thread, where the engine stays.
pub type Loader = Arc<dyn Fn(&Load, &mut dyn FnMut(f32)) -> Result<Loaded, NotLoaded> + Send + Sync>;

/// A model that is loaded. Its memory is free when the engine is dropped.
pub struct Loaded {
    pub engine: Box<dyn Engine>,
    pub place: Place,
    /// What tells whether passes compute what they did, as [`Canary::new`] takes it.
    pub ends: Vec<String>,
    /// What compares its weights with what was loaded, a slice at a time.
    pub scrub: Option<Scrub>,
}

/// Where a model is, and what it takes there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// As PyTorch names it. `None` where that is not known.
    pub device: Option<String>,
    /// By the headers of its files; 0 where they were not read.
    pub bytes: u64,
    /// What programs can be told about it before they run, encoded; empty where that is not known.
    pub outline: Bytes,
    /// Whether it was loaded from weights that were kept in memory.
    pub warm: bool,
}

impl<E: Engine + 'static> From<Box<E>> for Loaded {
    fn from(engine: Box<E>) -> Self {
        Self { engine, place: Place::default(), ends: Vec::new(), scrub: None }
    }
}

/// Why a model could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLoaded {
    /// A sentence for the operator.
    pub why: String,
    /// Whether it can be loaded nowhere and never, as it was specified. What may be otherwise later, or on another
    /// machine, is not.
    pub hopeless: bool,
    /// Where it was to be put, and what it takes, if others have the memory there. Then it is not tried again unasked.
    pub no_room: Option<Place>,
}

impl From<String> for NotLoaded {
    fn from(why: String) -> Self {
        Self { why, hopeless: false, no_room: None }
    }
}

/// How far a model is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Loading(f32),
    Ready(Place),
    /// The thread has ended.
    Failed(NotLoaded),
    /// So it has, as was asked of it, and what it held is free.
    Unloaded,
}

/// What a model's thread tells.
#[derive(Debug)]
pub enum Report {
    Model(ModelKey, State),
    /// What one step brought, in order; what a job printed in it is one event.
    Jobs(Vec<Event>),
    /// The model is not what it was.
    Found(ModelKey, Finding),
}

/// How a model is not what it was, in a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It gives other numbers than it gave.
    Numbers(String),
    /// Its weights in memory are others than were loaded.
    Weights(String),
}

/// What a model's thread is told.
pub enum Order {
    /// The thread notes when the job begins: its time is running then, and the step that it begins with may take as long
    /// as the job.
    Submit(Box<Job>, Arc<OnceLock<Instant>>),
    Cancel(JobId),
}

/// The shortest time between two tellings of a load's progress.
const PROGRESS: Duration = Duration::from_millis(100);

/// How long a model that was loaded again since it drifted is served even if it drifts once more.
const AGAIN: Duration = Duration::from_secs(3600);

/// Bytes of printed text that are told at once.
pub const PRINTED_BYTES: usize = 64 << 10;

/// Stack of a model's thread, enough for parsing and for dropping whatever a program may hold; what is not touched takes
/// no memory.
const STACK_BYTES: usize = 64 << 20;

/// Starts a model's thread. It ends when the returned sender is dropped and what was submitted has come to its end.
pub fn start(load: Load, loader: Loader, reports: Sender<Report>) -> std::io::Result<Sender<Order>> {
    let (orders, inbox) = mpsc::channel(1024);
    std::thread::Builder::new()
        .name("model".into())
        .stack_size(STACK_BYTES)
        .spawn(move || ModelThread { load, loader, reports }.run(inbox))
        .map(|_| orders)
}

struct ModelThread {
    load: Load,
    loader: Loader,
    reports: Sender<Report>,
}

impl ModelThread {
    /// Serves until nobody gives orders, or the model cannot be loaded; after a panic, with the model loaded again.
    fn run(self, orders: Receiver<Order>) {
        let orders = Rc::new(RefCell::new(orders));
        let mut sings = true;
        let mut drifted: Option<Instant> = None;
        loop {
            let Loaded { mut engine, place, ends, scrub } = match self.make_engine() {
                Ok(loaded) => loaded,
                Err(failed) => {
                    tracing::error!(model = %self.load.key, why = failed.why, "the model cannot be served");
                    return self.report(Report::Model(self.load.key.clone(), State::Failed(failed)));
                }
            };
            let mut jobs = BTreeSet::new();
            let mut pace = scrub.map(|scrub| Pace::new(&self.load.key, scrub));
            // Where it drifts again so soon, that is not the memory's doing: it is told, and left to the operator.
            let patient = drifted.is_some_and(|drifted| drifted.elapsed() < AGAIN);
            let served = catch_unwind(AssertUnwindSafe(|| {
                let mut canary = if sings { self.canary(&mut *engine, &ends) } else { None };
                self.report(Report::Model(self.load.key.clone(), State::Ready(place)));
                let inbox = Rc::clone(&orders);
                engine.attend(Rc::new(move || !inbox.borrow().is_empty()));
                self.serve(&mut *engine, &orders, &mut jobs, (canary.as_mut(), patient), pace.as_mut())
            }));
            // What looks at its memory keeps that.
            drop(pace);
            let panic = match served {
                Ok(None) => {
                    drop(engine);
                    return self.report(Report::Model(self.load.key.clone(), State::Unloaded));
                }
                Ok(Some(finding)) => {
                    if matches!(finding, Finding::Numbers(_)) {
                        drifted = Some(Instant::now());
                    }
                    drop(engine);
                    self.take_out(finding, &orders, jobs);
                    continue;
                }
                Err(panic) => panic,
            };
            let why = text_of(&*panic);
            tracing::error!(model = %self.load.key, why, "the engine panicked; the model is loaded again");
            // Where no user's job was there, it is the canary that the engine cannot run.
            sings &= !jobs.is_empty();
            // What the panic left behind cannot be trusted, not even to be dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(engine)));
            let failed = |job| failed(job, format!("the server failed while it ran this job: {why}"));
            self.report(Report::Jobs(jobs.into_iter().map(failed).collect()));
        }
    }

    /// Takes the model out of service until it is loaded again. What it has of jobs is to run again, there or elsewhere: nobody
    /// knows what they would get.
    fn take_out(&self, finding: Finding, orders: &RefCell<Receiver<Order>>, mut jobs: BTreeSet<JobId>) {
        self.report(Report::Found(self.load.key.clone(), finding));
        self.report(Report::Model(self.load.key.clone(), State::Loading(0.0)));
        while let Ok(order) = orders.borrow_mut().try_recv() {
            match order {
                Order::Submit(job, _) => drop(jobs.insert(job.id)),
                Order::Cancel(job) => drop(jobs.insert(job)),
            }
        }
        let let_go = |job| {
            let failure = Failure { fault: Fault::Cancelled, message: "the model is loaded again".into() };
            Event::Failed(job, failure, Usage::default())
        };
        self.report(Report::Jobs(jobs.into_iter().map(let_go).collect()));
    }

    fn make_engine(&self) -> Result<Loaded, NotLoaded> {
        let mut told: Option<Instant> = None;
        let mut progress = |fraction: f32| {
            if told.is_none_or(|told| told.elapsed() >= PROGRESS) {
                told = Some(Instant::now());
                // Progress that nobody has time for is not worth waiting.
                let _ = self.reports.try_send(Report::Model(self.load.key.clone(), State::Loading(fraction)));
            }
        };
        progress(0.0);
        let began = Instant::now();
        let made = catch_unwind(AssertUnwindSafe(|| (self.loader)(&self.load, &mut progress)));
        let made = made.unwrap_or_else(|panic| Err(text_of(&*panic).into()));
        if made.is_ok() {
            metrics::LOADED.with(&[&self.load.key.to_string()]).time(began.elapsed());
        }
        made
    }

    /// Makes the canary of a model, and lets it run alone.
    fn canary(&self, engine: &mut dyn Engine, ends: &[String]) -> Option<Canary> {
        if ends.is_empty() {
            return None;
        }
        let mut canary = Canary::new(&self.load.key, ends);
        metrics::canary(&self.load.key);
        engine.submit(canary.job());
        while !engine.idle() {
            for event in engine.step() {
                // What it gives first differs from nothing.
                self.hear(&mut canary, &event, &mut None);
            }
        }
        Some(canary)
    }

    /// Returns whether an event is about the canary, and notes how the model has drifted.
    fn hear(&self, canary: &mut Canary, event: &Event, drift: &mut Option<String>) -> bool {
        let verdict = match canary.hear(event) {
            Heard::Others => return false,
            Heard::Own => return true,
            Heard::Ended(verdict) => verdict,
        };
        metrics::CANARY.with(&[&self.load.key.to_string(), verdict.name()]).one();
        match verdict {
            Verdict::Drifted(why) => *drift = Some(why),
            Verdict::NotRun(why) => tracing::warn!(model = %self.load.key, why, "the canary did not run"),
            Verdict::First | Verdict::Same => {}
        }
        true
    }

    /// Serves until nobody gives orders, or the model is found not to be what it was. A patient one goes on with other numbers.
    fn serve(
        &self,
        engine: &mut dyn Engine,
        orders: &RefCell<Receiver<Order>>,
        jobs: &mut BTreeSet<JobId>,
        (mut canary, patient): (Option<&mut Canary>, bool),
        mut pace: Option<&mut Pace>,
    ) -> Option<Finding> {
        loop {
            if engine.idle() || engine.waits() {
                let until = pace.as_deref().filter(|_| engine.idle()).map(Pace::due);
                match wait(&mut orders.borrow_mut(), until, !engine.idle()) {
                    Waited::Order(order) => take(engine, order, jobs),
                    Waited::Ended if engine.idle() => return None,
                    // What was submitted comes to its end.
                    Waited::Ended => std::thread::park(),
                    Waited::Woken => {}
                    Waited::Due => match pace.as_deref_mut().and_then(Pace::look) {
                        Some(why) => return Some(Finding::Weights(why)),
                        None => continue,
                    },
                }
            }
            // Nobody borrows it during a step: then the engine looks whether anything waits.
            loop {
                let Ok(order) = orders.borrow_mut().try_recv() else { break };
                take(engine, order, jobs);
            }
            if let Some(canary) = &mut canary
                && !jobs.is_empty()
                && let Some(job) = canary.step()
            {
                engine.submit(job);
            }
            let (mut events, mut drift) = (engine.step(), None);
            if let Some(canary) = &mut canary {
                events.retain(|event| !self.hear(canary, event, &mut drift));
            }
            match drift.map(Finding::Numbers) {
                // What ended beside it may be wrong, too, and runs again.
                Some(finding) if !patient => return Some(finding),
                Some(finding) => self.report(Report::Found(self.load.key.clone(), finding)),
                None => {}
            }
            events.retain(|event| !matches!(event, Event::Started(_)));
            for event in &events {
                if let Event::Finished(job, ..) | Event::Failed(job, ..) = event {
                    jobs.remove(job);
                }
            }
            if !events.is_empty() {
                self.report(Report::Jobs(join_printed(events)));
            }
        }
    }

    fn report(&self, report: Report) {
        // When nobody listens, the process is about to end.
        let _ = self.reports.blocking_send(report);
    }
}

/// What a wait for orders ends with.
enum Waited {
    Order(Order),
    /// It is time for something else.
    Due,
    /// Somebody else has woken the thread.
    Woken,
    /// Nobody gives orders any more.
    Ended,
}

/// Waits for an order, until some time if there is one; or for whoever wakes the thread.
fn wait(orders: &mut Receiver<Order>, until: Option<Instant>, for_others: bool) -> Waited {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match orders.poll_recv(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(order)) => return Waited::Order(order),
            Poll::Ready(None) => return Waited::Ended,
            Poll::Pending => {}
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(Duration::ZERO) => return Waited::Due,
            Some(left) => std::thread::park_timeout(left),
        }
        if for_others {
            // Of an order, the next look tells.
            return Waited::Woken;
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Obeys. A job begins with the next step.
fn take(engine: &mut dyn Engine, order: Order, jobs: &mut BTreeSet<JobId>) {
    match order {
        Order::Submit(job, begun) => {
            jobs.insert(job.id);
            // Nobody else sets it.
            let _ = begun.set(Instant::now());
            engine.submit(*job);
        }
        Order::Cancel(job) => engine.cancel(job),
    }
}

/// Joins what a job printed without anything of its own between, so that a flood of lines is few messages.
fn join_printed(events: Vec<Event>) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::new();
    for event in events {
        if let Event::Printed(job, line) = &event {
            let before = joined.iter_mut().rev().find(|before| job_of(before) == *job);
            if let Some(Event::Printed(_, text)) = before
                && text.len() + line.len() < PRINTED_BYTES
            {
                text.push('\n');
                text.push_str(line);
                continue;
            }
        }
        joined.push(event);
    }
    joined
}

/// Returns the job that an event is about.
pub fn job_of(event: &Event) -> JobId {
    match event {
        Event::Started(job) | Event::Printed(job, _) | Event::Finished(job, ..) | Event::Failed(job, ..) => *job,
    }
}

/// Makes the event of a job that the server failed.
pub fn failed(job: JobId, message: String) -> Event {
    Event::Failed(job, Failure { fault: Fault::Server, message }, Usage::default())
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kernels::Look;
    use telemetry::metrics::Form;

    use super::*;

    /// A model with nothing of its own about how it is loaded.
    fn plainly(name: &str) -> Load {
        Load {
            key: ModelKey::new(name, None),
            folder: PathBuf::new(),
            dtype: None,
            device: None,
            ranks: 1,
            rank_hosts: Vec::new(),
            streamed: false,
            keep: false,
        }
    }

    #[test]
    fn a_job_that_comes_while_another_computes_for_long_does_not_wait_for_its_end() {
        let (reports, mut heard) = mpsc::channel(64);
        let orders =
            start(plainly("test/model"), Arc::new(|_, _| Ok(Box::new(engine::fake::engine()).into())), reports)
                .unwrap();
        let subject =
            engine::conformance::Subject { layers: "model.layers", head: "model.head", engine: &|| unreachable!() };
        let submit = |source: &str, fuel: u64| {
            let mut job = subject.job("Hello", program::Function::Call, source, &[]);
            job.limits.fuel = fuel;
            let id = job.id;
            orders.blocking_send(Order::Submit(Box::new(job), Arc::default())).unwrap();
            id
        };
        let mut next = || loop {
            if let Report::Jobs(events) = heard.blocking_recv().unwrap() {
                break events;
            }
        };
        // Alone at first: it tells that it runs, and goes on in the same step that nobody can interrupt but who comes.
        let endless = submit("h = LAYERS[0].output\nprint('begun')\nwhile True:\n    pass", u64::MAX);
        let short = submit("out = HEAD.output.save()", 1_000_000);
        let ended = std::iter::from_fn(|| Some(next())).flatten().find(|event| matches!(event, Event::Finished(..)));
        assert_eq!(ended.as_ref().map(job_of), Some(short));
        orders.blocking_send(Order::Cancel(endless)).unwrap();
        let ended = std::iter::from_fn(|| Some(next())).flatten().find(|event| matches!(event, Event::Failed(..)));
        assert_eq!(ended.as_ref().map(job_of), Some(endless));
    }

    #[test]
    fn a_canary_runs_among_jobs_and_nobody_hears_of_it() {
        let (reports, mut heard) = mpsc::channel(64);
        let loader: Loader = Arc::new(|_, _| {
            let ends = vec!["model.layers[1].output".into()];
            Ok(Loaded { ends, ..Loaded::from(Box::new(engine::fake::engine())) })
        });
        let orders = start(plainly("test/canary"), loader, reports).unwrap();
        let subject =
            engine::conformance::Subject { layers: "model.layers", head: "model.head", engine: &|| unreachable!() };
        // Each takes a step at least.
        for _ in 0..1100 {
            let job = subject.job("Hello", program::Function::Call, "out = HEAD.output.save()", &[]);
            let id = job.id;
            orders.blocking_send(Order::Submit(Box::new(job), Arc::default())).unwrap();
            let mut ended = false;
            while !ended {
                match heard.blocking_recv().unwrap() {
                    Report::Jobs(events) => {
                        assert!(events.iter().all(|event| job_of(event) == id), "{events:?}");
                        ended = events.iter().any(|event| matches!(event, Event::Finished(..)));
                    }
                    Report::Found(key, finding) => panic!("{key}: {finding:?}"),
                    Report::Model(..) => {}
                }
            }
        }
        drop(orders);
        // Nobody speaks when the thread has ended.
        while heard.blocking_recv().is_some() {}
        let shown = telemetry::metrics::Registry::new("worker", &[metrics::METRICS]).render(Form::Prometheus);
        let series = |outcome| format!("vitrine_canary_runs_total{{model=\"test/canary\",outcome=\"{outcome}\"}} ");
        let runs = ["first", "same", "drifted", "not_run"]
            .map(|outcome| shown.lines().find_map(|line| line.strip_prefix(&series(outcome))).map(str::to_owned));
        let [first, same, drifted, not_run] = runs.map(|runs| runs.unwrap().parse::<u64>().unwrap());
        assert!(first == 1 && same >= 2 && drifted == 0 && not_run == 0, "{first} {same} {drifted} {not_run}");
    }

    #[test]
    fn weights_that_have_changed_are_found_while_nobody_computes_and_the_model_is_loaded_again() {
        let (reports, mut heard) = mpsc::channel(64);
        let loads = AtomicUsize::new(0);
        let loader: Loader = Arc::new(move |_, _| {
            // Of what is loaded first, the third slice has changed.
            let first = loads.fetch_add(1, Ordering::SeqCst) == 0;
            let mut slices = 0;
            let scrub: Scrub = Box::new(move || {
                slices += 1;
                match slices % 4 {
                    3 if first => Ok(Look::Changed("slice 2 of 4 is not what was loaded".into())),
                    0 => Ok(Look::Whole),
                    _ => Ok(Look::Same),
                }
            });
            Ok(Loaded { scrub: Some(scrub), ..Loaded::from(Box::new(engine::fake::engine())) })
        });
        let orders = start(plainly("test/scrubbed"), loader, reports).unwrap();
        let mut states = Vec::new();
        let mut found = None;
        while states.iter().filter(|ready| **ready).count() < 2 {
            match heard.blocking_recv().unwrap() {
                Report::Model(_, State::Ready(_)) => states.push(true),
                Report::Model(_, State::Loading(_)) if states.last() == Some(&true) => states.push(false),
                Report::Model(_, State::Loading(_)) => {}
                Report::Found(_, finding) => drop(found.insert(finding)),
                Report::Jobs(events) => assert!(events.is_empty(), "{events:?}"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(states, [true, false, true]);
        assert_eq!(found, Some(Finding::Weights("slice 2 of 4 is not what was loaded".into())));
        let subject =
            engine::conformance::Subject { layers: "model.layers", head: "model.head", engine: &|| unreachable!() };
        let job = subject.job("Hello", program::Function::Call, "out = HEAD.output.save()", &[]);
        orders.blocking_send(Order::Submit(Box::new(job), Arc::default())).unwrap();
        let mut finished = false;
        while !finished {
            if let Report::Jobs(events) = heard.blocking_recv().unwrap() {
                finished = events.iter().any(|event| matches!(event, Event::Finished(..)));
            }
        }
        drop(orders);
        while heard.blocking_recv().is_some() {}
        let shown = telemetry::metrics::Registry::new("worker", &[metrics::METRICS]).render(Form::Prometheus);
        let changed = "vitrine_weights_scrubs_total{model=\"test/scrubbed\",outcome=\"changed\"} 1";
        assert!(shown.lines().any(|line| line == changed), "{shown}");
    }

    /// An engine whose canary fails the second time.
    struct Drifting(Box<dyn Engine>, Option<JobId>);

    impl Engine for Drifting {
        fn submit(&mut self, job: Job) {
            if job.tenant.as_str() == "canary-2" {
                self.1 = Some(job.id);
            }
            self.0.submit(job);
        }

        fn attend(&mut self, waits: Rc<dyn Fn() -> bool>) {
            self.0.attend(waits);
        }

        fn cancel(&mut self, job: JobId) {
            self.0.cancel(job);
        }

        fn step(&mut self) -> Vec<Event> {
            let spoil = |event: Event| match event {
                Event::Finished(job, ..) if self.1 == Some(job) => failed(job, "a bit has flipped".into()),
                other => other,
            };
            self.0.step().into_iter().map(spoil).collect()
        }

        fn idle(&self) -> bool {
            self.0.idle()
        }

        fn waits(&self) -> bool {
            self.0.waits()
        }
    }

    #[test]
    fn a_model_that_drifts_is_loaded_again_once_and_what_ran_beside_it_runs_again() {
        let (reports, mut heard) = mpsc::channel(64);
        let key = ModelKey::new("test/drifts", None);
        let loader: Loader = Arc::new(|_, _| {
            let engine = Box::new(Drifting(Box::new(engine::fake::engine()), None));
            Ok(Loaded { ends: vec!["model.layers[1].output".into()], ..Loaded::from(engine) })
        });
        let orders = start(plainly("test/drifts"), loader, reports).unwrap();
        let subject =
            engine::conformance::Subject { layers: "model.layers", head: "model.head", engine: &|| unreachable!() };
        let (mut ready, mut drifts, mut let_go) = (0, 0, 0);
        // Each takes a step at least; the second time that the model drifts, it is told and goes on.
        while drifts < 2 {
            let job = subject.job("Hello", program::Function::Call, "out = HEAD.output.save()", &[]);
            orders.blocking_send(Order::Submit(Box::new(job), Arc::default())).unwrap();
            let mut ended = false;
            while !ended {
                match heard.blocking_recv().unwrap() {
                    Report::Jobs(events) => {
                        let cancelled = |event: &Event| {
                            matches!(event, Event::Failed(_, Failure { fault: Fault::Cancelled, .. }, _))
                        };
                        let_go += events.iter().filter(|event| cancelled(event)).count();
                        ended = events.iter().any(|event| cancelled(event) || matches!(event, Event::Finished(..)));
                        ended |= events.is_empty();
                    }
                    Report::Found(found, Finding::Numbers(why)) => {
                        assert_eq!((found, why.contains("a bit has flipped")), (key.clone(), true), "{why}");
                        drifts += 1;
                    }
                    Report::Found(_, other) => panic!("{other:?}"),
                    Report::Model(_, State::Ready(_)) => ready += 1,
                    Report::Model(..) => {}
                }
            }
        }
        assert!(ready == 2 && let_go <= 1, "{ready} loads, {let_go} jobs run again");
    }

    #[test]
    fn lines_of_one_job_are_joined_up_to_a_bound_and_keep_their_place() {
        let (one, two) = (JobId::new(), JobId::new());
        let printed = |job, text: &str| Event::Printed(job, text.into());
        let joined = join_printed(vec![
            Event::Started(one),
            printed(one, "a"),
            printed(two, "x"),
            printed(one, "b"),
            printed(two, &"y".repeat(PRINTED_BYTES)),
            printed(one, "c"),
            failed(one, "end".into()),
        ]);
        let texts: Vec<_> = joined
            .iter()
            .map(|event| match event {
                Event::Printed(job, text) => (*job, text.len().min(9)),
                other => (job_of(other), 0),
            })
            .collect();
        assert_eq!(texts, [(one, 0), (one, 5), (two, 1), (two, 9), (one, 0)]);
    }
}
