//! The loop that owns the view of the cluster: takes news in, decides, commits, acts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use ids::{JobId, ModelKey, TenantId, WorkerId};
use proto::v1::model_state::State as Loaded;
use proto::v1::{self, to_worker};
use store::job::Event;
use store::{Blob, Error, Fault, JobRecord, Line, Live, ModelRecord, ModelState, Models, State, Work};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, HostedModel};
use crate::decide::{Action, Hosting, Queue, SessionId, View, Worker, decide};
use crate::policy::Told;
use crate::sessions::{End, News, Outbox};
use crate::settle::{Report, Settled, Settler, now};
use crate::wire;

/// How often deadlines are looked at and failed commits tried again. Nothing else waits for it.
const TICK: Duration = Duration::from_millis(500);

/// News that are taken in before anything is done about them.
const TOGETHER: usize = 256;

/// How long a worker may keep a job that has ended before its session is.
const LET_GO: Duration = Duration::from_secs(60);

/// Everything that the scheduler knows beyond the store, all of which a restart can do without.
pub struct Leader {
    config: Arc<Config>,
    settler: Settler,
    models: Models,
    view: View,
    queue: Queue,
    sessions: BTreeMap<SessionId, Session>,
    /// Starts and lines that are to be written next, together, before anything else is.
    starts: Vec<Report>,
    lines: Vec<Line>,
    /// What is to be settled next, together.
    reports: Vec<Report>,
    /// What the store did not take.
    unsettled: Vec<Report>,
    /// Who waits for the workers to be done. While there is one, nothing is given out.
    drained: Vec<oneshot::Sender<()>>,
    draining: bool,
}

/// A worker's session.
struct Session {
    worker: WorkerId,
    outbox: Outbox,
    jobs: BTreeMap<JobId, Assigned>,
    models: BTreeMap<ModelKey, ModelState>,
}

/// A job that a worker has.
struct Assigned {
    attempt: u32,
    tenant: TenantId,
    alone: bool,
    run_time: Duration,
    deadline: Option<Instant>,
    /// Whether it has ended and the worker was told to let go of it.
    ended: bool,
}

impl Leader {
    pub fn new(config: Config, settler: Settler, models: Models) -> Self {
        Self {
            config: Arc::new(config),
            settler,
            models,
            view: View::default(),
            queue: Queue::default(),
            sessions: BTreeMap::new(),
            starts: Vec::new(),
            lines: Vec::new(),
            reports: Vec::new(),
            unsettled: Vec::new(),
            drained: Vec::new(),
            draining: false,
        }
    }

    /// Takes up what an earlier scheduler left: no session of its time is alive, so what was with workers waits again.
    pub async fn recover(&mut self) -> Result<BoxStream<'static, Work>, Error> {
        for record in self.models.list().await? {
            if !self.config.models.iter().any(|hosted| hosted.key == record.key) {
                self.models.remove(&record.key).await?;
            }
        }
        for hosted in Arc::clone(&self.config).models.iter() {
            self.view.models.insert(hosted.key.clone(), Hosting::Served);
            self.models.put(&model_record(hosted, ModelState::Waiting)).await?;
        }
        let work = self.settler.jobs.work().await?;
        for live in self.settler.jobs.live().await?.jobs {
            if live.state == State::Queued {
                self.enqueue(&live);
            } else {
                self.settle(live.id, live.attempt, Event::Requeued { worker_died: false }).await;
            }
        }
        for job in self.settler.jobs.cancels().await? {
            self.cancel(job).await;
        }
        Ok(work)
    }

    /// Runs until `stop`.
    pub async fn run(
        mut self,
        mut work: BoxStream<'static, Work>,
        mut news: mpsc::Receiver<News>,
        mut drains: mpsc::Receiver<oneshot::Sender<()>>,
        stop: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            // Each branch is cancel-safe. Stopping comes first: sessions that end then are not deaths.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(news) = news.recv() => self.hear(news).await,
                Some(work) = work.next() => self.look(work).await,
                Some(done) = drains.recv() => {
                    self.draining = true;
                    self.drained.push(done);
                }
                _ = ticks.tick() => self.tick().await,
            }
            // What has come meanwhile is decided on together, and its ends are made durable by one commit.
            for _ in 0..TOGETHER {
                if let Ok(news) = news.try_recv() {
                    self.hear(news).await;
                } else if let Some(Some(work)) = work.next().now_or_never() {
                    self.look(work).await;
                } else {
                    break;
                }
            }
            // First what needs no sync of its own: who has become free gets more to do.
            self.write_progress().await;
            self.act().await;
            if self.settle_reports().await {
                self.act().await;
            }
            self.tell_drained();
        }
    }

    /// Decides, commits the decisions together, and carries out those that were committed.
    async fn act(&mut self) {
        if self.draining {
            return;
        }
        let actions = decide(&self.view, &self.queue, now());
        if actions.is_empty() {
            return;
        }
        let reports: Vec<Report> = actions.iter().map(|action| self.report(action)).collect();
        let settled = self.settler.settle(&reports).await;
        for (action, settled) in actions.iter().zip(settled) {
            match settled {
                Settled::Done(record) => {
                    self.queue.remove(action.job());
                    if let Action::Dispatch { session, alone, .. } = action {
                        self.dispatched(*session, *alone, &record);
                    }
                }
                Settled::Refused => drop(self.queue.remove(action.job())),
                // It stays in the queue, to be decided again.
                Settled::Later => {}
            }
        }
    }

    fn report(&self, action: &Action) -> Report {
        let (job, attempt, event) = match action {
            Action::Dispatch { job, attempt, session, .. } => {
                let worker = self.sessions.get(session).map_or_else(|| WorkerId::new(""), |it| it.worker.clone());
                (job, attempt, Event::Dispatched { worker })
            }
            Action::Expire { job, attempt } => (job, attempt, Event::Expired),
            Action::Refuse { job, attempt, text } => {
                let event = Event::Failed { fault: Fault::Server, text: text.clone(), meta: String::new() };
                (job, attempt, event)
            }
        };
        Report { job: *job, attempt: *attempt, told: Told::Happened(event) }
    }

    /// Commits that jobs have started, and what they printed.
    async fn write_progress(&mut self) {
        let starts = std::mem::take(&mut self.starts);
        let settled = self.settler.settle(&starts).await.into_iter().zip(starts);
        self.unsettled.extend(settled.filter(|(settled, _)| matches!(settled, Settled::Later)).map(|(_, start)| start));
        let lines = std::mem::take(&mut self.lines);
        if let Err(error) = self.settler.jobs.append_log(&lines).await {
            // A lost line is better than a lost job.
            tracing::warn!(lines = lines.len(), %error, "lines of logs were lost");
        }
    }

    /// Commits what was told. Returns whether some jobs are to run again.
    async fn settle_reports(&mut self) -> bool {
        let reports = std::mem::take(&mut self.reports);
        let mut again = false;
        for (settled, report) in self.settler.settle(&reports).await.into_iter().zip(reports) {
            match settled {
                Settled::Done(record) => {
                    again |= record.state == State::Queued;
                    self.enqueue(&record.live(0));
                }
                Settled::Refused => {}
                Settled::Later => self.unsettled.push(report),
            }
        }
        again
    }

    fn tell_drained(&mut self) {
        if self.sessions.values().all(|session| session.jobs.is_empty()) {
            for done in self.drained.drain(..) {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }

    fn dispatched(&mut self, id: SessionId, alone: bool, record: &JobRecord) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        self.queue.serve(&record.tenant);
        *self.view.running.entry(record.tenant.clone()).or_default() += 1;
        let assigned = Assigned {
            attempt: record.attempt,
            tenant: record.tenant.clone(),
            alone,
            run_time: record.limits.run_time,
            deadline: None,
            ended: false,
        };
        session.jobs.insert(record.id, assigned);
        session.outbox.send(wire::assign(record));
        self.refresh_worker(id);
    }

    /// Takes in what a session told.
    async fn hear(&mut self, news: News) {
        match news {
            News::Opened { session, worker, slots, outbox } => {
                tracing::info!(session, %worker, slots, "worker session opened");
                for other in self.sessions.values().filter(|other| other.worker == worker) {
                    other.outbox.close();
                }
                for hosted in &self.config.models {
                    outbox.send(wire::load_model(hosted));
                }
                let models = BTreeMap::new();
                self.sessions.insert(session, Session { worker, outbox, jobs: BTreeMap::new(), models });
                self.view.workers.insert(session, Worker { slots, ..Worker::default() });
            }
            News::Model { session, key, state } => {
                let state = match state {
                    Loaded::Loading(fraction) => ModelState::Loading { fraction },
                    Loaded::Ready(_) => ModelState::Ready,
                    Loaded::Failed(why) => ModelState::Failed(why),
                };
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.models.insert(key.clone(), state);
                }
                self.refresh_worker(session);
                self.refresh_model(&key).await;
            }
            News::Started { session, job, attempt } => {
                let grace = self.config.grace;
                let Some(assigned) = self.assigned(session, job, attempt) else { return };
                assigned.deadline = Instant::now().checked_add(assigned.run_time + grace);
                self.starts.push(Report { job, attempt, told: Told::Happened(Event::Started) });
            }
            News::Log { session, job, attempt, number, text } => match self.assigned(session, job, attempt) {
                Some(_) => self.lines.push(Line { job, attempt, number, text }),
                None => tracing::debug!(%job, attempt, "log line refused"),
            },
            News::Ended { session, job, attempt, end } => {
                if self.release(session, job, attempt) {
                    self.reports.push(Report { job, attempt, told: Told::Ended(end) });
                } else if let End::Finished { result: Some(result), .. } = end
                    && !self.to_be_settled(&result)
                {
                    self.settler.drop_result(job, &result).await;
                }
            }
            News::Closed { session } => self.bury(session).await,
        }
    }

    /// Looks at a job in the store.
    async fn look(&mut self, work: Work) {
        match work {
            Work::Accepted(job) => match self.settler.jobs.find(job).await {
                Ok(Some((record, revision))) => self.enqueue(&record.live(revision)),
                Ok(None) => {}
                Err(error) => tracing::error!(%job, %error, "cannot read an accepted job"),
            },
            Work::Cancel(job) => self.cancel(job).await,
            Work::Recheck => match self.settler.jobs.live().await {
                Ok(live) => {
                    live.jobs.iter().for_each(|job| self.enqueue(job));
                    for job in self.settler.jobs.cancels().await.unwrap_or_default() {
                        self.cancel(job).await;
                    }
                }
                Err(error) => tracing::error!(%error, "cannot list the queued jobs"),
            },
        }
    }

    async fn cancel(&mut self, job: JobId) {
        let attempt = match self.settler.jobs.find(job).await {
            Ok(Some((record, _))) => record.attempt,
            Ok(None) => 0,
            Err(error) => return tracing::error!(%job, %error, "cannot read a job that is to be cancelled"),
        };
        match self.settle(job, attempt, Event::Cancelled).await {
            Settled::Done(_) => {
                self.queue.remove(job);
                self.let_go(job, false);
            }
            Settled::Refused => {
                if let Err(error) = self.settler.jobs.drop_cancel(job).await {
                    tracing::warn!(%job, %error, "a request to cancel stays");
                }
            }
            Settled::Later => {}
        }
    }

    /// Tells whoever has a job that it has ended. Who does not let go in time is cut off.
    fn let_go(&mut self, job: JobId, out_of_time: bool) {
        for session in self.sessions.values_mut() {
            let Some(assigned) = session.jobs.get_mut(&job) else { continue };
            assigned.ended = true;
            assigned.deadline = Instant::now().checked_add(LET_GO);
            let cancel = v1::Cancel { job_id: job.to_string(), attempt: assigned.attempt, out_of_time };
            session.outbox.send(wire::to_worker(to_worker::Message::Cancel(cancel)));
        }
    }

    async fn tick(&mut self) {
        self.reports.append(&mut self.unsettled);
        let now = Instant::now();
        let mut late = Vec::new();
        for session in self.sessions.values() {
            for (job, assigned) in &session.jobs {
                if assigned.deadline.is_some_and(|deadline| deadline <= now) {
                    if assigned.ended {
                        tracing::warn!(worker = %session.worker, %job, "the worker does not let go of a job");
                        session.outbox.close();
                    } else {
                        late.push((*job, assigned.attempt, assigned.run_time));
                    }
                }
            }
        }
        for (job, attempt, run_time) in late {
            let text = format!("the job ran for longer than its limit of {} s", run_time.as_secs_f64());
            self.settle(job, attempt, Event::Failed { fault: Fault::Limit, text, meta: String::new() }).await;
            self.let_go(job, true);
        }
    }

    /// Commits an event, now or at a later tick.
    async fn settle(&mut self, job: JobId, attempt: u32, event: Event) -> Settled {
        self.write_progress().await;
        let report = Report { job, attempt, told: Told::Happened(event) };
        let settled = self.settler.settle(std::slice::from_ref(&report)).await.pop().unwrap_or(Settled::Refused);
        match &settled {
            Settled::Done(record) => self.enqueue(&record.live(0)),
            Settled::Refused => {}
            Settled::Later => self.unsettled.push(report),
        }
        settled
    }

    /// Puts a job into the queue, if that is its state.
    fn enqueue(&mut self, live: &Live) {
        if live.state == State::Queued {
            self.queue.push(live, u64::try_from(self.config.queue_time.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// Ends a session: what the worker had is run again, or fails if it seems to be the cause.
    async fn bury(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.view.workers.remove(&id);
        for (job, assigned) in session.jobs {
            leave(&mut self.view.running, &assigned.tenant);
            self.reports.push(Report { job, attempt: assigned.attempt, told: Told::WorkerDied });
        }
        for key in session.models.into_keys() {
            self.refresh_model(&key).await;
        }
    }

    /// Returns what a session has, if its attempt is the current one and has not ended over its head.
    fn assigned(&mut self, session: SessionId, job: JobId, attempt: u32) -> Option<&mut Assigned> {
        let assigned = self.sessions.get_mut(&session)?.jobs.get_mut(&job)?;
        (assigned.attempt == attempt && !assigned.ended).then_some(assigned)
    }

    /// Returns whether a result that is told again is one that has yet to be committed.
    fn to_be_settled(&self, again: &Blob) -> bool {
        self.reports.iter().chain(&self.unsettled).any(|report| match &report.told {
            Told::Ended(End::Finished { result: Some(result), .. }) => result == again,
            _ => false,
        })
    }

    /// Notes that a worker has a job no longer. Returns whether it had it, under this attempt.
    fn release(&mut self, id: SessionId, job: JobId, attempt: u32) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if session.jobs.get(&job).is_none_or(|assigned| assigned.attempt != attempt) {
            return false;
        }
        if let Some(assigned) = session.jobs.remove(&job) {
            leave(&mut self.view.running, &assigned.tenant);
        }
        self.refresh_worker(id);
        true
    }

    fn refresh_worker(&mut self, id: SessionId) {
        let (Some(session), Some(worker)) = (self.sessions.get(&id), self.view.workers.get_mut(&id)) else { return };
        worker.busy = session.jobs.len();
        worker.alone = session.jobs.values().any(|assigned| assigned.alone);
        let ready = session.models.iter().filter(|(_, state)| **state == ModelState::Ready);
        worker.ready = ready.map(|(key, _)| key.clone()).collect();
    }

    /// Works a model's state out from all sessions, the best of them, and publishes it.
    async fn refresh_model(&mut self, key: &ModelKey) {
        let Some(hosted) = self.config.models.iter().find(|hosted| hosted.key == *key) else { return };
        let rank = |state: &ModelState| match state {
            ModelState::Ready => (3, 0.0),
            ModelState::Loading { fraction } => (2, *fraction),
            ModelState::Failed(_) => (1, 0.0),
            ModelState::Waiting => (0, 0.0),
        };
        let states = self.sessions.values().filter_map(|session| session.models.get(key));
        let best =
            states.max_by(|left, right| rank(left).partial_cmp(&rank(right)).unwrap_or(std::cmp::Ordering::Equal));
        let state = best.cloned().unwrap_or(ModelState::Waiting);
        let hosting = match &state {
            ModelState::Failed(why) => Hosting::Failed(why.clone()),
            _ => Hosting::Served,
        };
        self.view.models.insert(key.clone(), hosting);
        if let Err(error) = self.models.put(&model_record(hosted, state)).await {
            tracing::warn!(model = %key, %error, "a model's state is not shown");
        }
    }
}

fn leave(running: &mut BTreeMap<TenantId, usize>, tenant: &TenantId) {
    if let Some(count) = running.get_mut(tenant) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            running.remove(tenant);
        }
    }
}

fn model_record(hosted: &HostedModel, state: ModelState) -> ModelRecord {
    let HostedModel { key, folder, dtype, device } = hosted.clone();
    ModelRecord { key, folder, dtype, state, device }
}
