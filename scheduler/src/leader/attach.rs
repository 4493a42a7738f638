//! A worker that comes, or comes back with what it has.

use std::collections::BTreeMap;
use std::time::Duration;

use failpoints::Point;
use ids::{JobId, ModelKey, WorkerId};
use proto::v1::{self, HeldState, to_worker};
use store::history::What;
use store::job::Event;
use store::{Error, JobRecord, State};
use tonic::Status;

use super::{AFTERWARDS, LET_GO, Leader, depart};
use crate::crew::{Assigned, Link, Member, Phase, Replica, ReplicaState};
use crate::policy::Told;
use crate::sessions::{Closed, Hello, Hold};
use crate::settle::{Report, Settled};
use crate::wire;
use placement::{Charge, Seat};

/// What is to become of something that a worker has.
enum Verdict {
    /// Its process is known to have it, or has told its end.
    Known,
    /// It is taken up again.
    Adopted(Box<JobRecord>),
    /// Another attempt is current, or the job has ended.
    Stale(Option<Box<JobRecord>>),
}

impl Leader {
    /// Welcomes a worker, or says why not.
    pub(super) async fn attach(&mut self, hello: Hello) {
        let Hello { session, worker, instance, dial, slots, epoch, holds, version, devices, models, host, .. } = hello;
        let Hello { rank_address, outbox, .. } = hello;
        if epoch > self.epoch {
            let text = "this worker has met a scheduler that began later than this one. Where that leads no longer, as after etcd \
                        was restored from a snapshot, start the worker again";
            return outbox.refuse(Status::failed_precondition(text));
        }
        if let Some(seat) = self.crew.named(&worker)
            && let Some(member) = self.crew.get(seat)
        {
            if member.instance != instance && member.outbox().is_some() {
                // Whoever has the name shows by every beat that it lives. It loses the name when it is silent.
                let text = format!("another worker runs under the name {worker}; give this one another name");
                return outbox.refuse(Status::already_exists(text));
            }
            if member.instance != instance {
                self.depart(seat, &depart::Why::Died).await;
            } else if dial <= member.dial {
                return outbox.refuse(Status::aborted("a later hello of this worker came before"));
            }
        }
        if let Err(error) = self.roster.enter(&worker).await {
            tracing::error!(%worker, %error, "cannot note a worker");
            return outbox.refuse(Status::unavailable("the scheduler's store does not answer"));
        }
        failpoints::pass(Point::WorkerEntered);
        let seat = self.crew.named(&worker).unwrap_or_else(|| {
            let link = Link::Away { until: self.pace.passed(), closed: Closed::Silent };
            self.ledger.happened(self.settler.clock.unix_millis(), What::WorkerCame(worker.clone()));
            let (jobs, models, devices, kept) = Default::default();
            let (worker, instance, version) = (worker.clone(), instance.clone(), version.clone());
            let cordoned = false;
            self.crew.join(Member {
                worker,
                instance,
                dial,
                slots,
                version,
                devices,
                cordoned,
                link,
                jobs,
                models,
                host,
                kept,
                rank_address: String::new(),
                memory: Vec::new(),
                progress: Vec::new(),
                certificates: Vec::new(),
            })
        });
        tracing::info!(session, %worker, slots, holds = holds.len(), "worker session opened");
        if let Some(before) = self.crew.attach(seat, session, outbox.clone()) {
            before.close();
        }
        if let Some(member) = self.crew.get_mut(seat) {
            (member.dial, member.slots, member.devices, member.version) = (dial, slots, devices, version);
            member.cordoned = self.hosted.is_cordoned(&worker);
            // It says what it keeps.
            (member.host, member.kept) = (host, BTreeMap::new());
            member.rank_address = rank_address;
            // What it does not say it has is asked of it anew, and what was to leave and is there has not heard of that.
            let said: Vec<&ModelKey> = models.iter().map(|told| &told.key).collect();
            let leaves = |replica: &Replica| matches!(replica.state, ReplicaState::Retiring | ReplicaState::Unloading);
            member.models.retain(|key, replica| said.contains(&key) && !leaves(replica));
        }
        models.into_iter().for_each(|told| self.note_model(seat, told));
        self.miss(seat, &worker, &holds);
        let mut welcome = v1::Welcome {
            inline_bytes: u32::try_from(self.settler.objects.inline_bytes()).unwrap_or(u32::MAX),
            heartbeat_milliseconds: u32::try_from(self.config.heartbeat.as_millis()).unwrap_or(u32::MAX),
            epoch: self.epoch,
            ..v1::Welcome::default()
        };
        for hold in &holds {
            let given = wire::given(hold.job, hold.token);
            match self.judge(seat, &worker, hold).await {
                Ok(Verdict::Known) => welcome.keep.push(given),
                Ok(Verdict::Adopted(record)) => {
                    self.adopt(seat, hold, &record);
                    welcome.keep.push(given);
                }
                Ok(Verdict::Stale(record)) => {
                    self.see_out(seat, hold, record.as_deref());
                    welcome.drop.push(given);
                }
                // Without the store nothing can be said of it. The worker comes again.
                Err(error) => {
                    tracing::error!(job = %hold.job, %error, "cannot read a job that a worker came back with");
                    return outbox.refuse(Status::unavailable("the scheduler's store does not answer"));
                }
            }
        }
        self.awaited.remove(&worker);
        self.settle_doubts();
        outbox.send(to_worker::Message::Welcome(welcome));
        self.confirm_models(seat);
        self.refresh(seat);
        let its: Vec<ModelKey> =
            self.crew.get(seat).into_iter().flat_map(|member| member.models.keys().cloned()).collect();
        self.worker_changed(its);
    }

    /// What a worker was given and does not have never got there, or was lost with a process of its name.
    fn miss(&mut self, seat: Seat, worker: &WorkerId, holds: &[Hold]) {
        let holds = |job: JobId, token| holds.iter().any(|hold| hold.job == job && hold.token == token);
        let jobs = self.crew.get(seat).into_iter().flat_map(|member| &member.jobs);
        let missing: Vec<_> = jobs.map(|(job, it)| (*job, it.token)).filter(|(job, it)| !holds(*job, *it)).collect();
        for (job, token) in missing {
            self.release(seat, job, token, None);
            self.reports.push(Report::of(job, token, Told::Lost));
        }
        let orphans = self.orphans.iter().filter(|(_, orphan)| orphan.worker.as_ref() == Some(worker));
        let missing = orphans.map(|(job, orphan)| (*job, orphan.token)).filter(|(job, token)| !holds(*job, *token));
        self.reports.extend(missing.map(|(job, token)| Report::of(job, token, Told::Lost)));
    }

    /// Says what is to become of something that a worker has.
    async fn judge(&mut self, seat: Seat, worker: &WorkerId, hold: &Hold) -> Result<Verdict, Error> {
        let Hold { job, token, state, .. } = *hold;
        let assigned = self.crew.get(seat).and_then(|member| member.jobs.get(&job)).filter(|it| it.token == token);
        if self.pending(job, token)
            || assigned.is_some_and(|it| it.phase != Phase::Leaving || state == HeldState::Ended)
        {
            return Ok(Verdict::Known);
        }
        let Some((record, _)) = self.settler.jobs.find(job).await? else { return Ok(Verdict::Stale(None)) };
        let stale = |record| Ok(Verdict::Stale(Some(Box::new(record))));
        let leaving = assigned.is_some();
        match record.state {
            State::Dispatched | State::Running if record.token() == token && !leaving => {
                Ok(Verdict::Adopted(Box::new(record)))
            }
            // A crash undid that it was given out, since that was written relaxed: it is written again.
            State::Queued
                if token.attempt == record.attempt + 1 && token.epoch >= record.epoch && token.epoch < self.epoch =>
            {
                let event = Event::Dispatched { worker: worker.clone(), epoch: token.epoch };
                let report = Report::of(job, record.token(), Told::Happened(event));
                match self.settler.settle(&[report]).await.pop() {
                    Some(Settled::Done(record)) => {
                        self.queue.remove(job);
                        Ok(Verdict::Adopted(record))
                    }
                    _ => stale(record),
                }
            }
            _ => stale(record),
        }
    }

    /// Takes a job up again that a worker came back with.
    fn adopt(&mut self, seat: Seat, hold: &Hold, record: &JobRecord) {
        self.orphans.remove(&hold.job);
        self.unsure.remove(&hold.job);
        self.bounds.has(&record.live(0));
        // What was not written before it came back is true no longer.
        for reports in [&mut self.unsettled, &mut self.reports] {
            reports.retain(|report| !report.misses(hold.job, hold.token));
        }
        self.queue.adopt(&record.tenant);
        let now = self.pace.passed();
        let left = record.limits.run_time.saturating_sub(hold.ran) + self.config.grace;
        let (phase, left) = match hold.state {
            HeldState::Running => (Phase::Running, left),
            HeldState::Writing => (Phase::Writing, AFTERWARDS),
            _ => (Phase::Given, self.config.start_time),
        };
        if phase != Phase::Given && record.state != State::Running {
            self.starts.push(Report::of(hold.job, hold.token, Told::Happened(Event::Started)));
        }
        let assigned = Assigned {
            token: hold.token,
            tenant: record.tenant.clone(),
            model: record.model.clone(),
            charge: Charge { class: record.class, cost: Duration::ZERO },
            alone: record.deaths > 0,
            run_time: record.limits.run_time,
            phase,
            deadline: now.checked_add(left),
        };
        let before = self.crew.get_mut(seat).and_then(|member| member.jobs.insert(hold.job, assigned));
        if let Some(before) = before {
            self.queue.leave(&before.tenant, before.charge, before.charge.cost);
        }
    }

    /// Counts something that a worker has to let go until it has done so.
    fn see_out(&mut self, seat: Seat, hold: &Hold, record: Option<&JobRecord>) {
        let deadline = Some(self.pace.passed() + LET_GO);
        let Some(member) = self.crew.get_mut(seat) else { return };
        if let Some(assigned) = member.jobs.get_mut(&hold.job) {
            assigned.deadline = deadline;
        } else if let Some(record) = record.filter(|_| hold.state != HeldState::Ended) {
            let assigned = Assigned {
                token: hold.token,
                tenant: record.tenant.clone(),
                model: record.model.clone(),
                charge: Charge { class: record.class, cost: Duration::ZERO },
                alone: false,
                run_time: record.limits.run_time,
                phase: Phase::Leaving,
                deadline,
            };
            member.jobs.insert(hold.job, assigned);
            self.queue.adopt(&record.tenant);
        }
    }
}
