//! The loop that owns the view of the cluster: takes news in, decides, commits, acts.

mod attach;
mod bounds;
mod depart;
mod gauges;
mod models;
mod recover;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::BackoffBuilder;
use failpoints::Point;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use ids::{JobId, Token, WorkerId};
use store::history::What;
use store::job::Event;
use store::{Fault, JobRecord, Line, Live, MetadataStore, Models, Nodes, Specifications, State, Work};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::Pace;
use crate::config::Config;
use crate::crew::{Assigned, Crew, Phase, ReplicaState};
use crate::history::Ledger;
use crate::metrics;
use crate::policy::{self, End, Told};
use crate::roster::Roster;
use crate::sessions::{News, SessionId};
use crate::settle::{Report, Settled, Settler};
use crate::wire;
use models::Hosted;
use placement::{Action, Charge, Queue, Seat, View, Waiting, decide};

use bounds::Bounds;

/// How often deadlines are looked at and failed commits tried again. Nothing else waits for it.
const TICK: Duration = Duration::from_millis(500);

/// News that are taken in before anything is done about them, and decisions that are committed together.
const TOGETHER: usize = 256;

/// How long a worker may keep a job that it was told to let go. By then it should have ended itself.
const LET_GO: Duration = Duration::from_secs(60);

/// How long a worker may try to write a result when the job has run.
const AFTERWARDS: Duration = Duration::from_secs(3600);
const LONGEST_GRANT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The time that a job has to wait still, at least, when a scheduler finds it that did not see it come: clocks may
/// differ, and nobody could run it while there was no scheduler. So has one that comes back from a worker: while it was
/// there, it did not wait.
const WAITS_AT_LEAST: Duration = Duration::from_secs(600);

/// Everything that the scheduler knows beyond the store, all of which a restart can do without.
pub struct Leader {
    config: Arc<Config>,
    settler: Settler,
    hosted: Hosted,
    roster: Roster,
    /// What people are shown.
    ledger: Ledger,
    epoch: u64,
    pace: Pace,
    view: View,
    queue: Queue,
    bounds: Bounds,
    crew: Crew,
    /// Jobs that an earlier scheduler gave out and nobody has come back with, and until when somebody may.
    orphans: BTreeMap<JobId, Orphan>,
    orphans_until: Duration,
    /// Jobs that were found in the queue and may be out all the same, since a crash may have undone that they were given
    /// out, and the workers that may have them.
    unsure: BTreeMap<JobId, Live>,
    awaited: BTreeSet<WorkerId>,
    /// When each job that was seen to come expires.
    expiries: BTreeMap<JobId, Duration>,
    /// Jobs that were with a process when it died, beside others.
    suspects: BTreeSet<JobId>,
    /// Starts and lines that are to be written next, together, before anything else is.
    starts: Vec<Report>,
    lines: Vec<Line>,
    /// What is to be settled next, together.
    reports: Vec<Report>,
    /// What the store did not take.
    unsettled: Vec<Report>,
    /// Jobs that the store did not give when they were to be read, and whether it did not list them.
    unread: BTreeSet<JobId>,
    unlisted: bool,
    /// Who waits for the workers to be done. While there is one, nothing is given out.
    drained: Vec<oneshot::Sender<()>>,
    draining: bool,
    /// Whether somebody wished for other models, or for nodes to be left alone.
    wished: bool,
    /// Counts the looks at what waits for time to pass.
    ticks: u64,
}

/// What the store tells of.
pub struct Watches {
    pub work: BoxStream<'static, Work>,
    /// That models or nodes are to be otherwise.
    pub wishes: BoxStream<'static, ()>,
}

/// A job that an earlier scheduler gave out.
struct Orphan {
    token: Token,
    worker: Option<WorkerId>,
}

impl Leader {
    pub fn new(
        config: Config,
        settler: Settler,
        store: Arc<dyn MetadataStore>,
        roster: Roster,
        ledger: Ledger,
        epoch: u64,
    ) -> Self {
        let specifications = Specifications::new(Arc::clone(&store));
        let hosted = Hosted::new(Models::new(Arc::clone(&store)), specifications, Nodes::new(store));
        Self {
            orphans_until: config.reattach,
            config: Arc::new(config),
            settler,
            hosted,
            roster,
            ledger,
            epoch,
            pace: Pace::start(),
            view: View::default(),
            queue: Queue::default(),
            bounds: Bounds::default(),
            crew: Crew::default(),
            orphans: BTreeMap::new(),
            unsure: BTreeMap::new(),
            awaited: BTreeSet::new(),
            expiries: BTreeMap::new(),
            suspects: BTreeSet::new(),
            starts: Vec::new(),
            lines: Vec::new(),
            reports: Vec::new(),
            unsettled: Vec::new(),
            unread: BTreeSet::new(),
            unlisted: false,
            drained: Vec::new(),
            draining: false,
            wished: false,
            ticks: 0,
        }
    }

    /// Runs until `stop`.
    pub async fn run(
        mut self,
        Watches { mut work, mut wishes }: Watches,
        mut news: mpsc::Receiver<News>,
        mut drains: mpsc::Receiver<oneshot::Sender<()>>,
        stop: CancellationToken,
    ) {
        let _leads = metrics::LEADER.hold(&[]);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut more = false;
        loop {
            // Each branch is cancel-safe. Stopping comes first: sessions that end then are not heard.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(news) = news.recv() => self.hear(news).await,
                Some(work) = work.next() => self.look(work).await,
                Some(done) = drains.recv() => {
                    self.draining = true;
                    self.drained.push(done);
                }
                Some(()) = wishes.next() => self.wished = true,
                _ = ticks.tick() => self.tick().await,
                () = std::future::ready(()), if more => {}
            }
            self.pace.step();
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
            if std::mem::take(&mut self.wished)
                && let Err(error) = self.look_at_wishes().await
            {
                tracing::error!(%error, "cannot read which models are to be hosted; trying again");
            }
            self.arrange().await;
            // First what needs no sync of its own: who has become free gets more to do.
            self.write_progress().await;
            more = self.act().await;
            if self.settle_reports().await {
                more = self.act().await;
            }
            self.tell_drained();
        }
    }

    /// Decides, commits the decisions together, and carries out those that were committed. Returns whether there is more
    /// to be done than was: news come between.
    async fn act(&mut self) -> bool {
        if self.draining {
            return false;
        }
        self.queue.wake(self.pace.passed());
        let began = Instant::now();
        let actions = decide(&self.view, &self.queue, self.pace.passed(), TOGETHER);
        metrics::DECISIONS.with(&[]).time(began.elapsed());
        if actions.is_empty() {
            return false;
        }
        failpoints::pass(Point::Decided);
        let more = actions.len() == TOGETHER;
        let mut done = false;
        let reports: Vec<Report> = actions.iter().map(|action| self.report(action)).collect();
        let settled = self.settler.settle(&reports).await;
        for (action, settled) in actions.iter().zip(settled) {
            match settled {
                Settled::Done(record) => {
                    done = true;
                    self.queue.remove(action.job());
                    match action {
                        Action::Dispatch { seat, alone, charge, .. } => {
                            steps::decided(&record, began);
                            self.queue.serve(&record.tenant, *charge);
                            self.dispatched(*seat, *alone, *charge, &record).await;
                        }
                        Action::Expire { .. } | Action::Refuse { .. } => {
                            self.ledger.ended(&record);
                            self.forget(record.id);
                        }
                    }
                }
                // It is not as the queue has it: something was written of which the answer was lost, perhaps.
                Settled::Refused => {
                    self.queue.remove(action.job());
                    self.look_again(action.job()).await;
                }
                // It stays in the queue, to be decided again.
                Settled::Later => {}
            }
        }
        // Where the store takes nothing, the next tick is soon enough.
        more && done
    }

    fn report(&self, action: &Action) -> Report {
        let (job, token, event) = match action {
            Action::Dispatch { job, token, seat, .. } => {
                let worker = self.crew.get(*seat).map_or_else(|| WorkerId::new(""), |member| member.worker.clone());
                (job, token, Event::Dispatched { worker, epoch: self.epoch })
            }
            Action::Expire { job, token } => (job, token, Event::Expired),
            Action::Refuse { job, token, text } => {
                let event = Event::Failed { fault: Fault::Server, text: text.clone(), meta: String::new() };
                (job, token, event)
            }
        };
        Report::of(*job, *token, Told::Happened(event))
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

    /// Commits what was told, and does what follows. Returns whether some jobs are to run again.
    async fn settle_reports(&mut self) -> bool {
        let reports = std::mem::take(&mut self.reports);
        if reports.iter().any(|report| matches!(report.told, Told::Ended(_))) {
            failpoints::pass(Point::EndHeard);
        }
        let (mut again, mut refused) = (false, BTreeSet::new());
        let began = Instant::now();
        for (settled, report) in self.settler.settle(&reports).await.into_iter().zip(reports) {
            match settled {
                Settled::Done(record) => {
                    steps::settled(&record, began);
                    again |= record.state == State::Queued;
                    self.done(&report, &record);
                }
                Settled::Refused => {
                    if matches!(report.told, Told::Happened(Event::Cancelled))
                        && let Err(error) = self.settler.jobs.drop_cancel(report.job).await
                    {
                        tracing::warn!(job = %report.job, %error, "a request to cancel stays");
                    }
                    self.tell_settled(&report);
                    // Perhaps it was written at an earlier try, of which nobody heard: what follows from it has yet to be done.
                    refused.insert(report.job);
                }
                Settled::Later => self.unsettled.push(report),
            }
        }
        for job in refused {
            self.look_again(job).await;
            again = true;
        }
        again
    }

    /// Does what follows from a report that was committed, at once or at a later try.
    fn done(&mut self, report: &Report, record: &JobRecord) {
        if matches!(report.told, Told::Ended(_)) {
            failpoints::pass(Point::OutcomeCommitted);
        }
        self.tell_settled(report);
        if record.state == State::Queued {
            metrics::requeued(&report.told);
            self.orphans.remove(&record.id);
            if report.told.suspicious() {
                self.suspects.insert(record.id);
            }
            let from = report.told.rests().then(|| self.pace.passed() + rest(record.attempt));
            self.may_wait(record.id);
            self.enqueue(&record.live(0), from);
        } else if record.state.terminal() {
            self.ledger.ended(record);
            self.queue.remove(record.id);
            self.forget(record.id);
            let out_of_time = matches!(report.told, Told::Happened(Event::Failed { fault: Fault::Limit, .. }));
            self.let_go(record.id, out_of_time);
        }
    }

    /// Tells whoever keeps an end that it need not. It can keep it for a while.
    fn tell_settled(&self, report: &Report) {
        if let (Some(seat), Some(token)) = (report.from, report.token)
            && let Some(outbox) = self.crew.get(seat).and_then(|member| member.outbox())
        {
            outbox.send_along(wire::settled(report.job, token));
        }
    }

    /// Forgets what is only known of jobs that have not ended.
    fn forget(&mut self, job: JobId) {
        self.orphans.remove(&job);
        self.unsure.remove(&job);
        self.expiries.remove(&job);
        self.suspects.remove(&job);
        if let Some(next) = self.bounds.leave(job) {
            self.enqueue(&next, None);
        }
    }

    fn tell_drained(&mut self) {
        if self.orphans.is_empty() && self.crew.iter().all(|(_, member)| member.jobs.is_empty()) {
            for done in self.drained.drain(..) {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }

    async fn dispatched(&mut self, seat: Seat, alone: bool, charge: Charge, record: &JobRecord) {
        failpoints::pass(Point::AssignmentCommitted);
        self.ledger.given(record);
        let began = Instant::now();
        self.hosted.demanded(&record.model, charge.cost, self.pace.passed());
        let grants = match self.settler.grants(record, self.grants_last(record)).await {
            Ok(grants) => grants,
            Err(error) => {
                tracing::error!(job = %record.id, %error, "a worker cannot be given leave to read and write a job's objects");
                self.reports.push(Report::of(record.id, record.token(), Told::Withheld));
                self.queue.leave(&record.tenant, charge, Duration::ZERO);
                return;
            }
        };
        let deadline = self.pace.passed() + self.config.start_time;
        let Some(member) = self.crew.get_mut(seat) else { return };
        if let Some(replica) = member.models.get_mut(&record.model) {
            replica.used = self.pace.passed();
        }
        let assigned = Assigned {
            token: record.token(),
            tenant: record.tenant.clone(),
            model: record.model.clone(),
            charge,
            alone,
            run_time: record.limits.run_time,
            phase: Phase::Given,
            deadline: Some(deadline),
        };
        // It may have an older attempt still, which it ends before it begins with this one.
        let before = member.jobs.insert(record.id, assigned);
        if let Some(outbox) = member.outbox() {
            outbox.send(wire::assign(record, grants));
            steps::assigned(record, began);
        }
        if let Some(before) = before {
            self.queue.leave(&before.tenant, before.charge, before.charge.cost);
        }
        self.refresh(seat);
    }

    /// Returns how long a worker may need to read a job's program and to write its result.
    fn grants_last(&self, record: &JobRecord) -> Duration {
        let Config { start_time, reattach, grace, .. } = &*self.config;
        // Links of S3 last for a week at most.
        (*start_time + *reattach + *grace + AFTERWARDS).saturating_add(record.limits.run_time).min(LONGEST_GRANT)
    }

    /// Takes in what a session told.
    async fn hear(&mut self, news: News) {
        match news {
            News::Hello(hello) => self.attach(hello).await,
            News::Model { session, told } => self.hear_model(session, told).await,
            News::Drifted { session, model, why, weights } => {
                let Some(member) = self.crew.of_session(session).and_then(|seat| self.crew.get_mut(seat)) else {
                    return;
                };
                let worker = member.worker.clone();
                tracing::error!(%worker, %model, why, "a model is not what it was");
                let what = if weights { What::Corrupted(worker, model) } else { What::Drifted(worker, model) };
                self.ledger.happened(self.settler.clock.unix_millis(), what);
            }
            News::Started { session, job, token } => {
                let deadline = self.pace.passed() + self.config.grace;
                let Some(assigned) = self.assigned(session, job, token) else { return };
                if assigned.phase == Phase::Given {
                    assigned.phase = Phase::Running;
                    assigned.deadline = deadline.checked_add(assigned.run_time);
                    self.starts.push(Report::of(job, token, Told::Happened(Event::Started)));
                }
            }
            News::Ran { session, job, token } => {
                let deadline = self.pace.passed() + AFTERWARDS;
                let Some(assigned) = self.assigned(session, job, token) else { return };
                assigned.phase = Phase::Writing;
                assigned.deadline = Some(deadline);
            }
            News::Log { session, job, token, number, text } => match self.assigned(session, job, token) {
                Some(_) => self.lines.push(Line { job, attempt: token.attempt, number, text }),
                None => tracing::debug!(%job, %token, "log line refused"),
            },
            News::Ended { session, job, token, end } => self.ended(session, job, token, end).await,
            News::Measured { session, memory, progress, certificates } => {
                if let Some(member) = self.crew.of_session(session).and_then(|seat| self.crew.get_mut(seat)) {
                    (member.memory, member.progress, member.certificates) = (memory, progress, certificates);
                }
            }
            News::Goodbye { session, culprits, ranks_lost } => {
                if let Some((model, timeout)) = ranks_lost {
                    metrics::ranks_lost(&model, timeout);
                }
                if let Some(seat) = self.crew.of_session(session) {
                    self.depart(seat, &depart::Why::Goodbye(culprits)).await;
                }
            }
            News::Closed { session, closed } => {
                let until = self.pace.passed() + self.config.reattach;
                if let Some(seat) = self.crew.detach(session, closed, until) {
                    self.view.remove(seat);
                    self.hosted.change();
                }
            }
            News::Gone(instance) => {
                if let Some(seat) = self.crew.of_instance(&instance) {
                    self.depart(seat, &depart::Why::Died).await;
                }
            }
        }
    }

    async fn ended(&mut self, session: SessionId, job: JobId, token: Token, end: End) {
        let Some(seat) = self.crew.of_session(session) else { return };
        let released = self.release(seat, job, token, Some(&end));
        let report = Report { job, token: Some(token), told: Told::Ended(end), from: Some(seat) };
        if released {
            self.reports.push(report);
        } else if !self.pending(job, token) {
            // Told again, or of an attempt that does not count.
            if let Told::Ended(End::Finished { result: Some(result), .. }) = &report.told {
                self.settler.drop_result(job, result).await;
            }
            self.tell_settled(&report);
        }
    }

    /// Looks at a job in the store.
    async fn look(&mut self, work: Work) {
        match work {
            Work::Accepted(job, seen) => {
                let found = match seen {
                    Some(seen) => Ok(Some(*seen)),
                    None => self.settler.jobs.find(job).await,
                };
                match found {
                    // What was told before has been taken up, and has moved on.
                    Ok(Some((record, revision))) if self.settler.saw(&record, revision) => {
                        // One that has ended meanwhile waits for nothing.
                        if record.state == State::Queued {
                            let expires = self.pace.passed() + self.config.queue_time;
                            self.expiries.entry(job).or_insert(expires);
                        }
                        self.enqueue(&record.live(revision), None);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(%job, %error, "cannot read an accepted job; trying again");
                        self.unread.insert(job);
                    }
                }
            }
            Work::Cancel(job) => self.cancel(job),
            Work::Recheck => {
                if let Err(error) = self.recheck().await {
                    tracing::error!(%error, "cannot list the queued jobs; trying again");
                    self.unlisted = true;
                }
            }
        }
    }

    /// Looks through all jobs for what the watch may not have told.
    async fn recheck(&mut self) -> Result<(), store::Error> {
        let live = self.settler.jobs.live().await?;
        let cancels = self.settler.jobs.cancels().await?;
        live.jobs.iter().for_each(|job| self.enqueue(job, None));
        cancels.into_iter().for_each(|job| self.cancel(job));
        Ok(())
    }

    /// Reads what the store did not give when it was asked first.
    pub(super) async fn look_for_unread(&mut self) {
        if std::mem::take(&mut self.unlisted) {
            self.look(Work::Recheck).await;
        }
        for job in std::mem::take(&mut self.unread) {
            self.look_again(job).await;
        }
    }

    /// Reads again a job that is not as it was thought to be.
    async fn look_again(&mut self, job: JobId) {
        match self.settler.jobs.find(job).await {
            Ok(Some((record, revision))) if record.state == State::Queued => {
                self.orphans.remove(&job);
                self.may_wait(job);
                self.enqueue(&record.live(revision), None);
            }
            Ok(Some((record, _))) if !record.state.terminal() && !self.is_out(job, record.token()) => {
                self.reports.push(Report::of(job, record.token(), Told::Lost));
            }
            Ok(Some((record, _))) if !record.state.terminal() => {}
            Ok(_) => {
                self.queue.remove(job);
                self.forget(job);
                self.let_go(job, false);
            }
            Err(error) => {
                tracing::error!(%job, %error, "cannot read a job; trying again");
                self.unread.insert(job);
            }
        }
    }

    fn cancel(&mut self, job: JobId) {
        self.queue.remove(job);
        self.reports.push(Report { job, token: None, told: Told::Happened(Event::Cancelled), from: None });
    }

    /// Tells whoever has a job that it is to be let go.
    fn let_go(&mut self, job: JobId, out_of_time: bool) {
        let deadline = self.pace.passed() + LET_GO;
        for (_, member) in self.crew.iter_mut() {
            let Some(assigned) = member.jobs.get_mut(&job).filter(|assigned| assigned.phase != Phase::Leaving) else {
                continue;
            };
            assigned.phase = Phase::Leaving;
            assigned.deadline = Some(deadline);
            let message = wire::cancel(job, assigned.token, out_of_time);
            if let Some(outbox) = member.outbox() {
                outbox.send(message);
            }
        }
    }

    /// Puts a job into the queue, if that is its state, to be given out from an instant on.
    fn enqueue(&mut self, live: &Live, from: Option<Duration>) {
        if live.state != State::Queued || self.unsure.contains_key(&live.id) {
            return;
        }
        let expires_at = self.expires_at(live);
        if !self.bounds.admit(live, expires_at) {
            return;
        }
        if self.hosted.is_cold(&live.model) {
            self.hosted.change();
        }
        let alone = live.deaths > 0 || self.suspects.contains(&live.id);
        let waiting = Waiting { token: live.token(), class: live.class, alone, expires_at };
        self.queue.push(live.id, &live.tenant, &live.model, waiting, from);
    }

    fn expires_at(&mut self, live: &Live) -> Duration {
        let all = self.config.queue_time;
        let age = self.settler.clock.unix_millis().saturating_sub(live.accepted_at);
        let left = all.saturating_sub(Duration::from_millis(age)).max(all.min(WAITS_AT_LEAST));
        *self.expiries.entry(live.id).or_insert(self.pace.passed() + left)
    }

    /// Lets a job that came back wait for another worker, however long it was with the one before.
    fn may_wait(&mut self, job: JobId) {
        let least = self.pace.passed() + self.config.queue_time.min(WAITS_AT_LEAST);
        if let Some(expires_at) = self.expiries.get_mut(&job) {
            *expires_at = (*expires_at).max(least);
        }
    }

    /// Returns what a session's process has, if its attempt is this one and was not told to leave.
    fn assigned(&mut self, session: SessionId, job: JobId, token: Token) -> Option<&mut Assigned> {
        let seat = self.crew.of_session(session)?;
        let assigned = self.crew.get_mut(seat)?.jobs.get_mut(&job)?;
        (assigned.token == token && assigned.phase != Phase::Leaving).then_some(assigned)
    }

    /// Returns whether an end of this attempt was told and is not committed yet.
    fn pending(&self, job: JobId, token: Token) -> bool {
        self.reports.iter().chain(&self.unsettled).any(|report| report.ends(job, token))
    }

    /// Returns whether somebody has a job under a token, or may come back with it, or has told its end.
    fn is_out(&self, job: JobId, token: Token) -> bool {
        let has = |assigned: &Assigned| assigned.token == token;
        self.orphans.contains_key(&job)
            || self.pending(job, token)
            || self.crew.iter().any(|(_, member)| member.jobs.get(&job).is_some_and(has))
    }

    /// Notes that a process has a job no longer, and what it says of that. Returns whether it had it, under this token.
    fn release(&mut self, seat: Seat, job: JobId, token: Token, end: Option<&End>) -> bool {
        let now = self.pace.passed();
        let Some(member) = self.crew.get_mut(seat) else { return false };
        if member.jobs.get(&job).is_none_or(|assigned| assigned.token != token) {
            return false;
        }
        if let Some(Assigned { tenant, model, charge, .. }) = member.jobs.remove(&job) {
            if let Some(replica) = member.models.get_mut(&model) {
                replica.used = now;
                if replica.state != ReplicaState::Ready {
                    self.hosted.change();
                }
            }
            let measured = match end {
                Some(End::Finished { usage, .. } | End::Failed { usage, .. }) => Some(policy::took(usage)),
                // It runs elsewhere, and is charged there.
                Some(End::LetGo) | None => None,
            };
            self.queue.leave(&tenant, charge, measured.map_or(Duration::ZERO, |took| took.unwrap_or(charge.cost)));
            if let Some(took) = measured.flatten() {
                self.queue.learn(&model, &tenant, took);
            }
        }
        self.refresh(seat);
        true
    }

    /// Shows decisions how a worker is.
    fn refresh(&mut self, seat: Seat) {
        match self.crew.get(seat) {
            Some(member) if member.outbox().is_some() && !member.cordoned => self.view.put(seat, member.view()),
            _ => self.view.remove(seat),
        }
    }
}

/// How long a job rests after an attempt that came to nothing: longer after each, and not all for the same time.
fn rest(attempt: u32) -> Duration {
    let backoff = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(30))
        .with_jitter()
        .without_max_times();
    backoff.build().nth(attempt.saturating_sub(1) as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ids::{KeyId, ModelKey, TenantId};
    use store::{Blob, Jobs, MemoryStore, Objects};

    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn nothing_is_kept_of_a_job_that_had_ended_when_it_was_heard_of() {
        let store: Arc<dyn MetadataStore> = Arc::new(MemoryStore::new(1));
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::local(folder.path()).unwrap();
        let (settler, _) = Settler::new(Jobs::new(Arc::clone(&store)), objects, Arc::new(SystemClock));
        let roster = Roster::load(Arc::clone(&store)).await.unwrap();
        let (ledger, _) = Ledger::new(1, 1, Duration::from_secs(60));
        let mut leader = Leader::new(Config::default(), settler, store, roster, ledger, 1);
        let blob = Blob::Inline(Vec::new().into());
        let (tenant, key, model) = (TenantId::new("lab"), KeyId::new("key"), ModelKey::new("o/n", None));
        let queued = JobRecord::queued(JobId::new(), tenant, key, model, blob, 1);
        let ended = queued.after(0, &Event::Cancelled, 2).unwrap();
        leader.look(Work::Accepted(ended.id, Some(Box::new((ended.clone(), 2))))).await;
        assert!(leader.expiries.is_empty() && leader.queue.is_empty());
        leader.look(Work::Accepted(queued.id, Some(Box::new((queued, 3))))).await;
        assert_eq!((leader.expiries.len(), leader.queue.len()), (1, 1));
    }
}
