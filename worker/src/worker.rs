//! The worker's life: what it has, and one session after another.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use engine::{Event, Fault, Job, Pool, Usage};
use failpoints::Point;
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{InstanceId, JobId, ModelKey, TenantId, Token};
use program::{Limits, Saved};
use proto::v1;
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Told;
use store::{DeviceMemory, messages};
use telemetry::trace::{self, Step, Trace};
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, Sleep};
use tokio_util::sync::CancellationToken;

use crate::held::{Held, Phase, Running};
use crate::hosted::{Host, Hosted};
use crate::metrics;
use crate::model::{self, Finding, Load, Loader, NoShelf, Order, PRINTED_BYTES, Report, Shelf, State, job_of};
use crate::payload::{Payload, Unread};
use crate::results::{Destination, Results};
use crate::session::{self, Dial, Grpc, NotOpened, Session};
use crate::wire;

/// The worker's settings.
#[derive(Clone)]
pub struct Config {
    /// Where schedulers listen, for example `http://127.0.0.1:7000`. One of them leads.
    pub schedulers: Vec<String>,
    /// What they ask for.
    pub token: String,
    /// The certificate to show them, and whose word on theirs is taken. Without it, schedulers are dialled in plain text.
    pub tls: Option<tls::Files>,
    /// Names this worker among others.
    pub worker_id: String,
    /// Names this process. By default a name that no other has.
    pub instance: InstanceId,
    /// Jobs that it takes at once. Default 32.
    pub slots: u32,
    /// How long a job may keep the model after it was told to stop; then the process cannot be trusted. Default 30 s.
    pub let_go: Duration,
    /// What jobs hold together.
    pub memory: Pool,
    /// Bytes that models may take, by device. Where there are none, whatever is asked of it is tried.
    pub devices: Vec<(String, u64)>,
    /// The weights that it keeps of models that leave its GPUs. Default: none.
    pub shelf: Arc<dyn Shelf>,
    /// Where it holds ranks of other workers' models, as they dial it; empty where it holds none.
    pub rank_address: String,
    /// Bytes of saved values that are encoded at once; a larger result has the room for itself. Default 1 GiB.
    pub result_bytes: u64,
    /// Makes the worker say goodbye and end.
    pub leave: CancellationToken,
    /// Shows whether a scheduler has let it in.
    pub session: watch::Sender<bool>,
    /// What lies in its devices' memory, for people to look at.
    pub measured: watch::Sender<Vec<DeviceMemory>>,
    /// The model whose ranks were lost, and whether one did not answer in time, where that makes it leave.
    pub ranks_lost: Arc<OnceLock<(ModelKey, bool)>>,
}

impl Config {
    /// Settings with their defaults.
    #[must_use]
    pub fn new(schedulers: Vec<String>, token: String, worker_id: String) -> Self {
        Self {
            schedulers,
            token,
            tls: None,
            worker_id,
            instance: InstanceId::unique(),
            slots: 32,
            let_go: Duration::from_secs(30),
            memory: Pool::default(),
            devices: Vec::new(),
            shelf: Arc::new(NoShelf),
            rank_address: String::new(),
            result_bytes: 1 << 30,
            leave: CancellationToken::new(),
            session: watch::Sender::new(false),
            measured: watch::Sender::default(),
            ranks_lost: Arc::default(),
        }
    }
}

/// Why a worker ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no scheduler was named")]
    NoScheduler,
    #[error("the scheduler refuses this worker: {0}")]
    Unwelcome(String),
    #[error("job {0} does not let go of the model")]
    Stuck(JobId),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The waits before dialling again, from the first to the longest, while that follows on itself; chance makes one up to
/// twice as long.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The longest wait where schedulers are there and none leads: that takes a lease's five seconds, and what no worker is
/// there to run waits for longer.
const ELECTION: Duration = Duration::from_millis(500);

/// A session that lasted so long was a good one: the next wait is short again.
const STEADY: Duration = Duration::from_secs(10);

/// Between looks at deadlines, and at most between signs of life.
const BEAT: Duration = Duration::from_millis(500);

/// How long a job runs before the scheduler is told that it does. Of one that ends sooner its end is told alone.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs a worker over TCP, with a thread for each model, until it has to end.
///
/// # Errors
/// When dialling again, or running on, would be no use.
pub async fn run(config: Config, loader: Loader) -> Result<(), Error> {
    let host: Host = Arc::new(move |load, reports| model::start(load, Arc::clone(&loader), reports));
    let dial = Arc::new(Grpc { tls: config.tls.clone() });
    run_over(config, dial, host).await
}

/// Runs a worker over a network and models of the caller's choice.
///
/// # Errors
/// When dialling again, or running on, would be no use.
pub async fn run_over(config: Config, dial: Arc<dyn Dial>, host: Host) -> Result<(), Error> {
    if config.schedulers.is_empty() {
        return Err(Error::NoScheduler);
    }
    let (reporter, reports) = mpsc::channel(256);
    let worker = Worker {
        results: Results::new(config.result_bytes),
        dial,
        hosted: Hosted::new(host, reporter),
        held: Held::default(),
        tasks: JoinSet::new(),
        inline_bytes: 0,
        epoch: 0,
        connection: Connection::Waiting(Box::pin(tokio::time::sleep(Duration::ZERO))),
        opened: Instant::now(),
        waits: waits(),
        scheduler: 0,
        dials: 0,
        outgoing: VecDeque::new(),
        measured: v1::Measured::default(),
        config,
    };
    worker.run(reports).await
}

struct Worker {
    config: Config,
    dial: Arc<dyn Dial>,
    hosted: Hosted,
    held: Held,
    /// Reading of programs and writing of results.
    tasks: JoinSet<Done>,
    results: Results,
    /// Bytes of a result that travel with the news of its end, as the latest welcome said.
    inline_bytes: usize,
    /// The highest epoch that this process was welcomed under.
    epoch: u64,
    connection: Connection,
    opened: Instant,
    waits: ExponentialBackoff,
    /// Which of the schedulers is dialled.
    scheduler: usize,
    dials: u64,
    /// What is to be told.
    outgoing: VecDeque<v1::FromWorker>,
    /// How it is, as this session's scheduler was told.
    measured: v1::Measured,
}

/// The way to the scheduler.
enum Connection {
    /// Before it dials again.
    Waiting(Pin<Box<Sleep>>),
    Dialling(BoxFuture<'static, Result<(Session, v1::Welcome), NotOpened>>),
    Open(Box<Session>),
}

/// What came of the connection.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
enum Came {
    Waited,
    Opened(Result<(Session, v1::Welcome), NotOpened>),
    Told(Result<Told, String>),
}

impl Connection {
    /// Waits for what comes next.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Came {
        match self {
            Self::Waiting(sleep) => {
                sleep.await;
                Came::Waited
            }
            Self::Dialling(dialling) => Came::Opened(dialling.await),
            Self::Open(session) => Came::Told(session.next().await),
        }
    }
}

/// What a task beside the worker made.
enum Done {
    /// A program was read.
    Read { job: JobId, token: Token, program: Result<Box<Job>, Unread> },
    /// A result was written, or not: the message that tells of it.
    Written { job: JobId, token: Token, message: Box<v1::FromWorker> },
}

impl Worker {
    async fn run(mut self, mut reports: Receiver<Report>) -> Result<(), Error> {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(PAUSE);
        let mut looking = false;
        loop {
            let untold = self.held.running.values().any(|running| running.phase == Phase::Submitted && !running.told);
            if untold && !looking {
                looks.reset();
            }
            looking = untold;
            let full = self.flush();
            // Each branch is cancel-safe: all of them receive from something that keeps what it has.
            tokio::select! {
                biased;
                // A flood of anything must not keep these back.
                _ = beats.tick() => self.beat().await?,
                () = self.config.leave.cancelled() => {
                    self.say_goodbye(&[]).await;
                    return Ok(());
                }
                _ = looks.tick(), if looking => self.tell_started(),
                came = self.connection.next() => self.came(came).await?,
                Some(done) = self.tasks.join_next() => self.done(done).await,
                Some(report) = reports.recv() => self.report(report)?,
                // There is room again.
                () = room(full) => {}
            }
        }
    }

    /// Sends what is to be told, as far as there is room. Returns where to wait for more.
    fn flush(&mut self) -> Option<mpsc::Sender<v1::FromWorker>> {
        let Connection::Open(session) = &mut self.connection else { return None };
        while let Some(message) = self.outgoing.pop_front() {
            let ends = matches!(message.message, Some(Message::Finished(_) | Message::Failed(_)));
            if let Err(message) = session.send(message) {
                self.outgoing.push_front(*message);
                return Some(session.outbox.clone());
            }
            if ends {
                failpoints::pass(Point::EndTold);
            }
        }
        None
    }

    async fn came(&mut self, came: Came) -> Result<(), Error> {
        match came {
            Came::Waited => self.begin_to_dial(),
            Came::Opened(Ok((session, welcome))) => {
                if let Err(why) = self.welcome(session, welcome).await {
                    self.not_opened(&why, Duration::MAX);
                }
            }
            Came::Opened(Err(NotOpened::Never(error))) => return Err(error),
            Came::Opened(Err(NotOpened::NotNow(why))) => self.not_opened(&why, Duration::MAX),
            Came::Opened(Err(NotOpened::Refused(why))) => {
                tracing::warn!(scheduler = self.address(), why, "the scheduler lets this worker not in");
                self.not_opened(&why, Duration::MAX);
            }
            Came::Opened(Err(NotOpened::NotLeader(address))) => self.not_leader(&address),
            Came::Told(Ok(message)) => self.told(message).await?,
            Came::Told(Err(why)) => self.closed(&why),
        }
        Ok(())
    }

    fn begin_to_dial(&mut self) {
        self.dials += 1;
        self.held.forget_next();
        let hello = v1::WorkerHello {
            worker_id: self.config.worker_id.clone(),
            token: self.config.token.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            slots: self.config.slots,
            instance: self.config.instance.to_string(),
            dial: self.dials,
            holds: self.held.list(),
            epoch: self.epoch,
            devices: self.config.devices.iter().map(device).collect(),
            models: self.models(),
            warm_bytes: self.config.shelf.limit(),
            rank_address: self.config.rank_address.clone(),
        };
        let (dial, address) = (Arc::clone(&self.dial), self.address().to_owned());
        self.connection =
            Connection::Dialling(Box::pin(async move { session::open(dial.as_ref(), &address, hello).await }));
    }

    /// Returns how each model is that it has, or whose weights it keeps.
    fn models(&self) -> Vec<v1::ModelState> {
        let kept: BTreeMap<ModelKey, u64> = self.config.shelf.kept().into_iter().collect();
        let has = |(load, state): (&Load, &State)| {
            let kept = kept.get(&load.key).copied().unwrap_or(0);
            let told = wire::model_state(&load.key, state, load.device.as_deref(), kept);
            v1::ModelState { rank_hosts: wire::rank_hosts(&load.rank_hosts), ..told }
        };
        let warm = kept.iter().filter(|(key, _)| self.hosted.state(key).is_none());
        let warm = warm.map(|(key, bytes)| wire::model_state(key, &State::Unloaded, None, *bytes));
        self.hosted.states().map(has).chain(warm).collect()
    }

    /// Tells how a model is.
    fn tell_model(&mut self, key: &ModelKey, state: &State) {
        let kept = self.config.shelf.kept().into_iter().find(|(kept, _)| kept == key).map_or(0, |(_, bytes)| bytes);
        self.outgoing.push_back(wire::told_model(key, state, None, kept));
    }

    fn address(&self) -> &str {
        self.config.schedulers.get(self.scheduler).map_or("", String::as_str)
    }

    fn not_opened(&mut self, why: &str, longest: Duration) {
        let wait = self.waits.next().unwrap_or(WAITS.1).min(longest);
        tracing::info!(scheduler = self.address(), why, again_in = ?wait, "there is no session with the scheduler");
        self.scheduler = (self.scheduler + 1) % self.config.schedulers.len();
        self.connection = Connection::Waiting(Box::pin(tokio::time::sleep(wait)));
    }

    fn not_leader(&mut self, address: &str) {
        self.not_opened("it does not lead", ELECTION);
        // Only a scheduler that was named is told the token.
        if let Some(named) = self.config.schedulers.iter().position(|named| named == address) {
            self.scheduler = named;
        }
    }

    /// Begins a session: what is not wanted any more is let go, and what was not told yet is told.
    async fn welcome(&mut self, session: Session, welcome: v1::Welcome) -> Result<(), String> {
        if session.epoch < self.epoch {
            return Err("a scheduler that began later was met before".into());
        }
        self.inline_bytes = usize::try_from(welcome.inline_bytes).unwrap_or(usize::MAX);
        self.epoch = session.epoch;
        self.opened = Instant::now();
        let kept: Vec<(JobId, Token)> = welcome.keep.iter().filter_map(wire::given).collect();
        for (job, token) in welcome.drop.iter().filter_map(wire::given) {
            self.held.settle(job, token);
            if self.held.current(job, token).is_some() {
                self.stop(job, false).await;
            }
        }
        self.outgoing.retain(|message| about(message).is_some_and(|about| kept.contains(&about)));
        self.outgoing.extend(self.held.ends().cloned());
        let models = self.models();
        self.outgoing.extend(models.into_iter().map(|state| wire::from_worker(Message::ModelState(state))));
        self.connection = Connection::Open(Box::new(session));
        self.measured = v1::Measured::default();
        self.config.session.send_replace(true);
        Ok(())
    }

    /// Goes on without a session. What may not have been taken in is told again on the next one.
    fn closed(&mut self, why: &str) {
        tracing::warn!(why, running = self.held.running.len(), "the session with the scheduler ended");
        self.config.session.send_replace(false);
        if self.opened.elapsed() >= STEADY {
            self.waits = waits();
        }
        let wait = self.waits.next().unwrap_or(WAITS.1);
        let waiting = Connection::Waiting(Box::pin(tokio::time::sleep(wait)));
        if let Connection::Open(session) = std::mem::replace(&mut self.connection, waiting) {
            let later = std::mem::take(&mut self.outgoing);
            self.outgoing = session.unheard().chain(later.into_iter().filter(session::progress)).collect();
        }
    }

    /// Does what the scheduler says.
    async fn told(&mut self, message: Told) -> Result<(), Error> {
        match message {
            Told::Welcome(_) | Told::Heartbeat(_) | Told::NotLeader(_) => {}
            Told::LoadModel(load) => {
                let Some(load) = wire::load(load) else {
                    self.closed("a model without a name was ordered");
                    return Ok(());
                };
                let key = load.key.clone();
                let state = self.hosted.load(load)?;
                metrics::model(&key, &state);
                self.tell_model(&key, &state);
            }
            Told::UnloadModel(v1::UnloadModel { model }) => {
                if let Some(key) = model.map(messages::read_model)
                    && self.hosted.unload(&key)
                {
                    metrics::model(&key, &State::Unloaded);
                    self.tell_model(&key, &State::Unloaded);
                }
            }
            Told::CoolModel(v1::CoolModel { model }) => {
                if let Some(key) = model.map(messages::read_model) {
                    self.config.shelf.cool(&key);
                    metrics::kept(&key, 0);
                    let state = self.hosted.state(&key).cloned().unwrap_or(State::Unloaded);
                    self.tell_model(&key, &state);
                }
            }
            Told::Assign(assign) => self.assigned(assign).await,
            Told::Cancel(v1::Cancel { job_id, attempt, out_of_time, epoch }) => {
                let given = v1::Given { job_id, attempt, epoch };
                if let Some((job, token)) = wire::given(&given)
                    && let Some(running) = self.held.current(job, token)
                {
                    if running.stopping.is_none() {
                        self.stop(job, out_of_time).await;
                    }
                } else if let Some((job, token)) = wire::given(&given)
                    && self.held.let_go_of_next(job, token)
                {
                    self.outgoing.push_back(wire::let_go(job, token));
                }
            }
            Told::Settled(v1::Settled { job_id, attempt, epoch }) => {
                failpoints::pass(Point::SettledHeard);
                if let Some((job, token)) = wire::given(&v1::Given { job_id, attempt, epoch }) {
                    self.held.settle(job, token);
                }
            }
        }
        Ok(())
    }

    async fn assigned(&mut self, assign: v1::Assign) {
        let token = Token { epoch: assign.epoch, attempt: assign.attempt };
        let Ok(job) = assign.job_id.parse::<JobId>() else { return self.closed("a job without an id was assigned") };
        failpoints::pass(Point::AssignmentHeard);
        if let Some(running) = self.held.running.get_mut(&job) {
            // It is given out again while an older attempt is on its way out.
            if running.token != token {
                running.next = Some(assign);
                self.stop(job, false).await;
            }
            return;
        }
        self.held.supersede(job);
        self.begin(job, token, assign);
    }

    fn begin(&mut self, job: JobId, token: Token, assign: v1::Assign) {
        let limits = assign.limits.as_ref().map_or_else(Limits::default, messages::read_limits);
        let model = assign.model.map(messages::read_model);
        let tenant = TenantId::new(assign.tenant);
        let running = Running {
            token,
            model: model.clone().unwrap_or_else(|| ModelKey::new("", None)),
            tenant: tenant.clone(),
            stop: Arc::default(),
            compress: assign.compress,
            result: Destination::read(&assign.result_path, assign.result_grant, self.inline_bytes),
            run_time: limits.run_time,
            begun: Arc::default(),
            progress: Arc::default(),
            stopping: None,
            phase: Phase::Reading,
            task: None,
            told: false,
            ran_told: false,
            memory: None,
            logs: 0,
            next: None,
            trace: Trace::parse(&assign.traceparent),
            run: None,
        };
        let (stop, trace, progress) = (Arc::clone(&running.stop), running.trace, Arc::clone(&running.progress));
        let payload = Payload::read(assign.payload, assign.payload_grant);
        let task = self.tasks.spawn(async move {
            let reading = trace.map(|trace| trace.step("read"));
            let read = async {
                let program = payload?.program(&limits).await?;
                trace::end(reading);
                Ok(Box::new(Job { id: job, tenant, program, limits, stop, trace: None, progress }))
            };
            let program = std::panic::AssertUnwindSafe(read).catch_unwind().await;
            let program = program.unwrap_or_else(|_| Err(Unread::Unfit("reading the job's program failed".into())));
            Done::Read { job, token, program }
        });
        self.held.running.insert(job, Running { task: Some(task), ..running });
    }

    async fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            // Panics are caught within tasks; of a job that was stopped nothing is wanted.
            Err(error) if error.is_cancelled() => {}
            Err(error) => tracing::error!(%error, "a task failed"),
            Ok(Done::Written { job, token, message }) => self.end(job, token, *message),
            Ok(Done::Read { job, token, program }) => {
                if self.held.current(job, token).is_none() {
                    return;
                }
                match program {
                    Ok(program) => self.submit(token, program).await,
                    Err(Unread::Unfit(text)) => {
                        self.end(job, token, wire::failed(job, token, Fault::Server, &text, &Usage::default()));
                    }
                    // Another worker may reach it.
                    Err(Unread::Unreached(error)) => {
                        tracing::warn!(%job, %error, "a job's program cannot be read from here; the job is let go");
                        self.end(job, token, wire::let_go(job, token));
                    }
                }
            }
        }
    }

    /// Gives a job to its engine. Where that cannot be, it is let go, for another worker may.
    async fn submit(&mut self, token: Token, mut program: Box<Job>) {
        let job = program.id;
        let Some(running) = self.held.running.get_mut(&job) else { return };
        running.memory = Some(self.config.memory.note(program.program.heap.bytes()));
        running.run = running.trace.map(|trace| trace.step("run"));
        program.trace = running.run.as_ref().map(Step::trace);
        let sent = match self.hosted.orders(&running.model) {
            Some(orders) => orders.send(Order::Submit(program, Arc::clone(&running.begun))).await.is_ok(),
            None => false,
        };
        if sent {
            running.phase = Phase::Submitted;
        } else {
            self.end(job, token, wire::let_go(job, token));
        }
    }

    /// Makes a job stop at its next layer. Its end will be reported by the engine; where no engine has it, it ends at once: an
    /// object store that is away must not keep its place.
    async fn stop(&mut self, job: JobId, out_of_time: bool) {
        let Some(running) = self.held.running.get_mut(&job) else { return };
        if running.phase != Phase::Submitted {
            let token = running.token;
            if let Some(task) = running.task.take() {
                task.abort();
            }
            return self.end(job, token, wire::let_go(job, token));
        }
        running.stop.store(if out_of_time { OUT_OF_TIME } else { CANCELLED }, Ordering::Relaxed);
        running.stopping = Instant::now().checked_add(self.config.let_go);
        if let Some(orders) = self.hosted.orders(&running.model) {
            // It wakes the thread. One that has ended has no job to cancel, and one whose orders wait is awake.
            let _ = orders.try_send(Order::Cancel(job));
        }
    }

    /// Notes and tells the end of a job.
    fn end(&mut self, job: JobId, token: Token, message: v1::FromWorker) {
        if self.held.current(job, token).is_none() {
            return;
        }
        self.outgoing.push_back(message.clone());
        if let Some(next) = self.held.end(job, token, message) {
            let token = Token { epoch: next.epoch, attempt: next.attempt };
            self.held.supersede(job);
            self.begin(job, token, next);
        }
    }

    /// Takes in what a model's thread told.
    fn report(&mut self, report: Report) -> Result<(), Error> {
        match report {
            Report::Model(key, state) => {
                metrics::model(&key, &state);
                if matches!(state, State::Failed(_) | State::Unloaded) {
                    self.abandon(&key);
                }
                if let Some(state) = self.hosted.note(&key, state)? {
                    self.tell_model(&key, &state);
                }
            }
            Report::Jobs(events) => events.into_iter().for_each(|event| self.event(event)),
            Report::Found(key, finding) => {
                match &finding {
                    Finding::Numbers(why) => {
                        tracing::error!(model = %key, why, "the model gives other numbers than it gave")
                    }
                    Finding::Weights(why) => {
                        tracing::error!(model = %key, why, "the model's weights in memory have changed");
                    }
                }
                self.outgoing.push_back(wire::found(&key, finding));
            }
        }
        Ok(())
    }

    /// Lets the jobs go that a model's thread has left behind.
    fn abandon(&mut self, key: &ModelKey) {
        let running = self.held.running.iter().filter(|(_, it)| it.phase == Phase::Submitted && it.model == *key);
        let left: Vec<(JobId, Token)> = running.map(|(job, running)| (*job, running.token)).collect();
        for (job, token) in left {
            self.end(job, token, wire::let_go(job, token));
        }
    }

    fn event(&mut self, event: Event) {
        let job = job_of(&event);
        let Some(running) = self.held.running.get_mut(&job) else { return };
        let token = running.token;
        match event {
            // What begins is seen by its cell.
            Event::Started(_) => {}
            Event::Printed(_, text) => {
                // What a job prints comes after the news that it runs.
                if !std::mem::replace(&mut running.told, true) {
                    self.outgoing.push_back(wire::started(job, token));
                }
                // A line can be longer than stores and messages take.
                for piece in store::pieces(&text, PRINTED_BYTES) {
                    self.outgoing.push_back(wire::log(job, token, running.logs, piece.to_owned()));
                    running.logs += 1;
                }
            }
            Event::Failed(_, failure, usage) => {
                running.ran(job, Some(failure.fault), &usage);
                if failure.fault == Fault::Crowded {
                    tracing::info!(%job, "other jobs hold the memory that a job needs; it is let go");
                }
                self.end(job, token, wire::failed(job, token, failure.fault, &failure.message, &usage));
            }
            Event::Finished(_, saved, usage) => self.finish(job, saved, usage),
        }
    }

    /// Encodes and keeps a result beside everything else, so that a large one holds nobody up.
    fn finish(&mut self, job: JobId, saved: Saved, usage: Usage) {
        let Some(running) = self.held.running.get_mut(&job) else { return };
        running.phase = Phase::Writing;
        running.ran(job, None, &usage);
        // Others are not to take its room before it is written.
        running.memory = Some(self.config.memory.note(saved.heap.bytes()));
        let (token, compress, destination) = (running.token, running.compress, running.result.clone());
        let results = self.results.clone();
        let written_in = metrics::RESULTS.with(&[&running.model.to_string()]);
        let writing = running.trace.map(|trace| trace.step("result"));
        let task = self.tasks.spawn(async move {
            let began = Instant::now();
            let server = |text: &str| (Fault::Server, text.to_owned());
            let write = async {
                let destination = destination.map_err(|why| server(&why))?;
                results.write(&destination, compress, saved).await
            };
            let written = std::panic::AssertUnwindSafe(write).catch_unwind().await;
            written_in.time(began.elapsed());
            trace::end(writing);
            let message = match written.unwrap_or_else(|_| Err(server("writing the job's result failed"))) {
                Ok(blob) => wire::finished(job, token, &blob, &usage),
                Err((fault, text)) => wire::failed(job, token, fault, &text, &usage),
            };
            Done::Written { job, token, message: Box::new(message) }
        });
        running.task = Some(task);
    }

    /// Tells of the jobs whose results are still being written, a beat after they have run or later.
    fn tell_ran(&mut self) {
        for (job, running) in &mut self.held.running {
            if running.phase == Phase::Writing && !std::mem::replace(&mut running.ran_told, true) {
                if !std::mem::replace(&mut running.told, true) {
                    self.outgoing.push_back(wire::started(*job, running.token));
                }
                self.outgoing.push_back(wire::ran(*job, running.token));
            }
        }
    }

    /// Tells of the jobs that have begun and were not told of.
    fn tell_started(&mut self) {
        for (job, running) in &mut self.held.running {
            if running.begun.get().is_some() && !std::mem::replace(&mut running.told, true) {
                self.outgoing.push_back(wire::started(*job, running.token));
            }
        }
    }

    /// Tells how it is, where that has changed and nothing waits to be told that matters more.
    fn tell_measured(&mut self) {
        if !matches!(self.connection, Connection::Open(_)) || !self.outgoing.is_empty() {
            return;
        }
        let memory = self.config.measured.borrow().iter().map(wire::memory).collect();
        let far = self.held.running.iter().filter_map(|(job, running)| running.whereabouts(*job));
        let jobs = far.map(|progress| messages::progress(&progress)).collect();
        let ends = tls::expiry::in_use().into_iter();
        let certificates = ends.map(|end| messages::certificate(&end.into())).collect();
        let measured = v1::Measured { memory, jobs, certificates };
        if self.measured != measured {
            self.outgoing.push_back(wire::from_worker(Message::Measured(measured.clone())));
            self.measured = measured;
        }
    }

    async fn beat(&mut self) -> Result<(), Error> {
        if let Connection::Open(session) = &mut self.connection
            && let Err(why) = session.beat(BEAT)
        {
            self.closed(&why);
        }
        self.tell_measured();
        metrics::jobs(self.held.running.values());
        self.tell_ran();
        self.hosted.again()?;
        let running = self.held.running.iter();
        let late: Vec<JobId> = running.filter(|(_, running)| running.late()).map(|(job, _)| *job).collect();
        for job in late {
            if self.held.running.get(&job).is_some_and(|running| running.stopping.is_some()) {
                self.say_goodbye(&[job]).await;
                return Err(Error::Stuck(job));
            }
            self.stop(job, true).await;
        }
        Ok(())
    }

    /// Tells the scheduler that this process ends, and because of which jobs, so that it waits for nothing and suspects
    /// nobody else.
    async fn say_goodbye(&mut self, culprits: &[JobId]) {
        let culprits = culprits.iter().map(ToString::to_string).collect();
        let lost = |(model, timeout): &(ModelKey, bool)| v1::RanksLost {
            model: Some(messages::model(model)),
            timeout: *timeout,
        };
        let ranks_lost = self.config.ranks_lost.get().map(lost);
        self.outgoing.push_back(wire::from_worker(Message::Goodbye(v1::Goodbye { culprits, ranks_lost })));
        let said = async {
            loop {
                let full = self.flush();
                let Connection::Open(session) = &mut self.connection else { return };
                tokio::select! {
                    // The scheduler ends the session when it has heard it.
                    ended = session.next() => {
                        if ended.is_err() {
                            return;
                        }
                    }
                    () = room(full) => {}
                }
            }
        };
        // Who is not heard in time is missed soon enough.
        let _ = tokio::time::timeout(GOODBYE, said).await;
    }
}

/// As in [`engine::Job::stop`].
const CANCELLED: u8 = 1;
const OUT_OF_TIME: u8 = 2;

fn device((name, bytes): &(String, u64)) -> v1::Device {
    v1::Device { name: name.clone(), model_bytes: *bytes }
}

fn waits() -> ExponentialBackoff {
    let waits = ExponentialBuilder::default().with_min_delay(WAITS.0).with_max_delay(WAITS.1);
    waits.with_jitter().without_max_times().build()
}

/// Waits until there is room for a message, where there was none; for ever, where nothing is to be sent.
async fn room(full: Option<mpsc::Sender<v1::FromWorker>>) {
    if let Some(outbox) = full
        && outbox.reserve().await.is_ok()
    {
        return;
    }
    // Where nobody takes anything any more, the session's other half ends, too, or is silent.
    std::future::pending().await
}

/// Returns which time of which job's being given out a message of progress is about.
fn about(message: &v1::FromWorker) -> Option<(JobId, Token)> {
    match message.message.as_ref()? {
        Message::Started(v1::Started { job_id, attempt, epoch })
        | Message::Ran(v1::Ran { job_id, attempt, epoch })
        | Message::Log(v1::Log { job_id, attempt, epoch, .. }) => {
            Some((job_id.parse().ok()?, Token { epoch: *epoch, attempt: *attempt }))
        }
        _ => None,
    }
}
