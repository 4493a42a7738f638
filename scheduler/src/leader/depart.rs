//! Workers that are gone, and jobs whose time with them is over.

use std::time::Duration;

use ids::{JobId, Token};
use store::Fault;
use store::history::What;
use store::job::Event;

use super::Leader;
use crate::crew::{Link, Phase};
use crate::metrics;
use crate::policy::Told;
use crate::sessions::Closed;
use crate::settle::Report;
use placement::Seat;

/// Why a process is not waited for any longer.
pub(super) enum Why {
    /// It ended.
    Died,
    /// It was not heard of for too long. It may run still, and what it brings later does not count.
    Silent,
    /// It said that it ends, because of these jobs if there are any.
    Goodbye(Vec<JobId>),
}

impl Why {
    fn reason(&self) -> &'static str {
        match self {
            Self::Died => "died",
            Self::Silent => "silent",
            Self::Goodbye(_) => "goodbye",
        }
    }
}

/// What is due of a job.
enum Due {
    /// It ran for longer than it may.
    TooLong(Duration),
    /// Its worker has not begun with it, or has not written its result.
    NotDone,
    /// Its worker does not let go of it.
    Kept,
}

/// Ticks between two looks at what is wished for, whether or not a watch tells of anything.
const WISHES: u64 = 20;

impl Leader {
    /// Ends what is known of a process: what it had runs again, or fails if it seems to be the cause.
    pub(super) async fn depart(&mut self, seat: Seat, why: &Why) {
        let Some(member) = self.crew.remove(seat) else { return };
        self.view.remove(seat);
        self.roster.leave(&member.worker).await;
        let what = match why {
            Why::Died => What::WorkerDied,
            Why::Goodbye(culprits) if !culprits.is_empty() => What::WorkerDied,
            Why::Goodbye(_) => What::WorkerLeft,
            Why::Silent => What::WorkerSilent,
        };
        self.ledger.happened(self.settler.clock.unix_millis(), what(member.worker.clone()));
        if let Some(outbox) = member.outbox() {
            outbox.close();
        }
        metrics::DEPARTED.with(&[why.reason()]).one();
        let alone = member.jobs.len() == 1;
        for (job, assigned) in member.jobs {
            // What it took is not known: it stays as it was taken to be.
            self.queue.leave(&assigned.tenant, assigned.charge, assigned.charge.cost);
            let told = match why {
                Why::Died => Told::Died { alone },
                Why::Goodbye(culprits) if culprits.contains(&job) => Told::Died { alone: true },
                Why::Goodbye(_) | Why::Silent => Told::Lost,
            };
            self.reports.push(Report::of(job, assigned.token, told));
        }
        self.worker_changed(member.models.into_keys());
    }

    /// Looks at everything that waits for time to pass.
    pub(super) async fn tick(&mut self) {
        self.pace.step();
        self.ticks += 1;
        // A watch may have missed something.
        self.wished |= self.ticks.is_multiple_of(WISHES);
        self.hosted.change();
        self.show_nodes().await;
        let running = self.crew.iter().map(|(_, member)| member.jobs.len()).sum();
        self.ledger.look(self.settler.clock.unix_millis(), &self.queue, running);
        self.reports.append(&mut self.unsettled);
        self.look_for_unread().await;
        let now = self.pace.passed();
        while let Some(live) = self.bounds.expired(now) {
            self.reports.push(Report::of(live.id, live.token(), Told::Happened(Event::Expired)));
        }
        if now >= self.orphans_until {
            let orphans = std::mem::take(&mut self.orphans);
            self.reports.extend(orphans.into_iter().map(|(job, it)| Report::of(job, it.token, Told::Lost)));
            for worker in std::mem::take(&mut self.awaited) {
                self.roster.leave(&worker).await;
            }
            self.settle_doubts();
        }
        let mut due: Vec<(Seat, JobId, Token, Due)> = Vec::new();
        for (seat, member) in self.crew.iter_mut() {
            // Who cannot be reached is not late: it ends its jobs by itself, and tells when it is back.
            if member.outbox().is_none() {
                continue;
            }
            for (job, assigned) in &mut member.jobs {
                if assigned.deadline.take_if(|deadline| *deadline <= now).is_some() {
                    let what = match assigned.phase {
                        Phase::Given | Phase::Writing => Due::NotDone,
                        Phase::Running => Due::TooLong(assigned.run_time),
                        Phase::Leaving => Due::Kept,
                    };
                    due.push((seat, *job, assigned.token, what));
                }
            }
        }
        let mut gone: Vec<(Seat, Why)> = Vec::new();
        for (seat, job, token, due) in due {
            match due {
                Due::TooLong(limit) => {
                    let text = format!("the job ran for longer than its limit of {} s", limit.as_secs_f64());
                    let event = Event::Failed { fault: Fault::Limit, text, meta: String::new() };
                    self.reports.push(Report::of(job, token, Told::Happened(event)));
                }
                // It runs again once this worker has let go of it.
                Due::NotDone => self.let_go(job, false),
                Due::Kept => {
                    tracing::warn!(%job, "a worker does not let go of a job, and is given up");
                    gone.push((seat, Why::Silent));
                }
            }
        }
        let away = self.crew.iter().filter_map(|(seat, member)| match member.link {
            Link::Away { until, closed } if until <= now => Some((seat, closed)),
            _ => None,
        });
        let away: Vec<_> = away.collect();
        for (seat, closed) in away {
            // The system closes the connections of a process that died, which a cut line does not.
            let why = if closed == Closed::Left { Why::Died } else { Why::Silent };
            gone.push((seat, why));
        }
        for (seat, why) in gone {
            self.depart(seat, &why).await;
        }
        self.show();
    }
}
