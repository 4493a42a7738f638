//! Who is served next, and by whom. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ids::{JobId, ModelKey, TenantId};
use store::Live;

/// Names one session of a worker; a worker that comes back has another.
pub type SessionId = u64;

/// The cluster, as far as decisions depend on it.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub workers: BTreeMap<SessionId, Worker>,
    pub models: BTreeMap<ModelKey, Hosting>,
    /// Jobs now with workers, by tenant.
    pub running: BTreeMap<TenantId, usize>,
}

/// One worker.
#[derive(Clone, Debug, Default)]
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

/// Whether a model can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosting {
    /// By whichever workers have it ready, now or later.
    Served,
    /// By nobody, and why.
    Failed(String),
}

/// The jobs that wait: one line for each tenant and model, oldest first in each.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    lines: BTreeMap<(TenantId, ModelKey), BTreeMap<JobId, Waiting>>,
    /// The turn at which each tenant was last served.
    served: BTreeMap<TenantId, u64>,
    turn: u64,
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub attempt: u32,
    /// Whether it wants a worker for itself: a job that comes back may be what ended its last attempt, so the next
    /// one must not take others with it.
    pub alone: bool,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at: u64,
}

const TENANTS_REMEMBERED: usize = 4096;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Dispatch {
        job: JobId,
        attempt: u32,
        session: SessionId,
        alone: bool,
    },
    Expire {
        job: JobId,
        attempt: u32,
    },
    /// No worker will ever run it.
    Refuse {
        job: JobId,
        attempt: u32,
        text: String,
    },
}

impl Action {
    /// Returns the job that it is about.
    pub fn job(&self) -> JobId {
        match self {
            Self::Dispatch { job, .. } | Self::Expire { job, .. } | Self::Refuse { job, .. } => *job,
        }
    }
}

impl Queue {
    /// Adds a queued job; it keeps the place that its age gives it, also when it comes back.
    pub fn push(&mut self, record: &Live, queue_millis: u64) {
        let waiting = Waiting {
            attempt: record.attempt,
            alone: record.attempt > 0,
            expires_at: record.accepted_at.saturating_add(queue_millis),
        };
        self.lines.entry((record.tenant.clone(), record.model.clone())).or_default().insert(record.id, waiting);
    }

    /// Takes a job out, if it waits.
    pub fn remove(&mut self, job: JobId) -> Option<Waiting> {
        let mut found = None;
        self.lines.retain(|_, line| {
            found = found.take().or_else(|| line.remove(&job));
            !line.is_empty()
        });
        found
    }

    /// Notes that a tenant had its turn. It is remembered also while the tenant has nothing waiting: who comes with
    /// one job at a time must not overtake who has many.
    pub fn serve(&mut self, tenant: &TenantId) {
        self.turn += 1;
        self.served.insert(tenant.clone(), self.turn);
        if self.served.len() > TENANTS_REMEMBERED {
            let longest_ago = self.served.iter().min_by_key(|(_, turn)| **turn).map(|(tenant, _)| tenant.clone());
            self.served.remove(&longest_ago.unwrap_or_else(|| tenant.clone()));
        }
    }
}

/// Chooses what to do next. Pure: same view, queue and instant, same actions.
///
/// Turns go to the tenant with the fewest jobs running; among equals to the one served longest ago, then to the
/// oldest job. A job that wants no company gets a worker that is idle; until there is one, its turn holds the
/// worker with the least to do, so that a steady flow of others cannot starve it.
pub fn decide(view: &View, queue: &Queue, now: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut workers = view.workers.clone();
    let mut held: BTreeSet<SessionId> = BTreeSet::new();
    let mut running = view.running.clone();
    let mut served = queue.served.clone();
    let mut turn = queue.turn;

    let mut lines = BTreeMap::new();
    for (name @ (_, model), line) in &queue.lines {
        let failed = match view.models.get(model) {
            Some(Hosting::Served) => None,
            Some(Hosting::Failed(why)) => Some(format!("the model {model} cannot be served: {why}")),
            None => Some(format!("the model {model} is not hosted here any longer")),
        };
        let mut rest = line.iter().peekable();
        if let Some(text) = failed {
            actions.extend(rest.map(|(&job, waiting)| Action::Refuse {
                job,
                attempt: waiting.attempt,
                text: text.clone(),
            }));
            continue;
        }
        while let Some((&job, waiting)) = rest.next_if(|(_, waiting)| waiting.expires_at <= now) {
            actions.push(Action::Expire { job, attempt: waiting.attempt });
        }
        if rest.peek().is_some() {
            lines.insert(name, rest);
        }
    }

    loop {
        let next = lines
            .iter_mut()
            .filter_map(|(name, line)| {
                let (tenant, _) = name;
                let (job, _) = line.peek()?;
                let count = running.get(tenant).copied().unwrap_or(0);
                Some(((count, served.get(tenant).copied().unwrap_or(0), **job), *name))
            })
            .min();
        let Some((_, name)) = next else { return actions };
        let (tenant, model) = name;
        let Some((&job, waiting)) = lines.get_mut(name).and_then(Iterator::next) else { return actions };

        let able = workers.iter_mut().filter(|(session, worker)| {
            !held.contains(session) && !worker.alone && worker.busy < worker.slots && worker.ready.contains(model)
        });
        match able.min_by_key(|(session, worker)| (worker.busy, **session)) {
            Some((&session, worker)) if !waiting.alone || worker.busy == 0 => {
                worker.busy += 1;
                worker.alone = waiting.alone;
                *running.entry(tenant.clone()).or_default() += 1;
                turn += 1;
                served.insert(tenant.clone(), turn);
                actions.push(Action::Dispatch { job, attempt: waiting.attempt, session, alone: waiting.alone });
            }
            Some((&session, _)) => {
                held.insert(session);
                lines.remove(name);
            }
            // Nobody can take this line's oldest job, so nobody can take the next one.
            None => {
                lines.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(number: u8) -> TenantId {
        TenantId::new(format!("tenant {number}"))
    }

    fn model(number: u8) -> ModelKey {
        ModelKey::new(format!("model {number}"), None)
    }

    fn add(queue: &mut Queue, owner: u8, wants: u8, alone: bool) -> JobId {
        let job = JobId::new();
        let waiting = Waiting { attempt: u32::from(alone), alone, expires_at: 100 };
        queue.lines.entry((tenant(owner), model(wants))).or_default().insert(job, waiting);
        job
    }

    fn worker(slots: usize, busy: usize, ready: &[u8]) -> Worker {
        Worker { slots, busy, alone: false, ready: ready.iter().map(|&number| model(number)).collect() }
    }

    fn view(workers: Vec<Worker>) -> View {
        let models = (0..4).map(|number| (model(number), Hosting::Served)).collect();
        View { workers: (1..).zip(workers).collect(), models, running: BTreeMap::new() }
    }

    fn dispatched(actions: &[Action]) -> Vec<(JobId, SessionId)> {
        let pair = |action: &Action| match action {
            Action::Dispatch { job, session, .. } => Some((*job, *session)),
            _ => None,
        };
        actions.iter().filter_map(pair).collect()
    }

    #[test]
    fn who_has_fewest_running_is_next_then_who_waited_longest_for_a_turn() {
        let mut queue = Queue::default();
        let (a, b, c) = (add(&mut queue, 0, 0, false), add(&mut queue, 1, 0, false), add(&mut queue, 2, 0, false));
        queue.serve(&tenant(1));
        let mut view = view(vec![worker(3, 0, &[0])]);
        view.running.insert(tenant(0), 1);
        assert_eq!(dispatched(&decide(&view, &queue, 0)), [(c, 1), (b, 1), (a, 1)]);
    }

    #[test]
    fn jobs_go_to_the_least_busy_worker_that_has_their_model() {
        let mut queue = Queue::default();
        let (zero, one) = (add(&mut queue, 0, 0, false), add(&mut queue, 0, 1, false));
        let nobody = add(&mut queue, 1, 2, false);
        let view = view(vec![worker(4, 2, &[0, 1]), worker(4, 1, &[0])]);
        let placed = dispatched(&decide(&view, &queue, 0));
        assert_eq!(placed, [(zero, 2), (one, 1)]);
        assert!(!placed.iter().any(|(job, _)| *job == nobody));
    }

    #[test]
    fn a_job_that_wants_no_company_holds_the_worker_until_it_is_idle() {
        let mut queue = Queue::default();
        let alone = add(&mut queue, 0, 0, true);
        let other = add(&mut queue, 1, 0, false);
        let busy = view(vec![worker(4, 1, &[0])]);
        assert_eq!(decide(&busy, &queue, 0), []);
        let idle = view(vec![worker(4, 0, &[0])]);
        assert_eq!(dispatched(&decide(&idle, &queue, 0)), [(alone, 1)]);
        queue.remove(alone);
        let mut taken = worker(4, 1, &[0]);
        taken.alone = true;
        assert_eq!(decide(&view(vec![taken]), &queue, 0), []);
        assert_eq!(dispatched(&decide(&busy, &queue, 0)), [(other, 1)]);
    }

    #[test]
    fn what_can_never_run_is_refused_and_what_waited_too_long_expires() {
        let mut queue = Queue::default();
        let (broken, gone, late) =
            (add(&mut queue, 0, 0, false), add(&mut queue, 0, 9, false), add(&mut queue, 0, 1, false));
        let mut view = view(vec![worker(4, 0, &[1])]);
        view.models.insert(model(0), Hosting::Failed("no config.json".into()));
        let refuse = |job, text: &str| Action::Refuse { job, attempt: 0, text: text.into() };
        let expected = [
            refuse(broken, "the model model 0 cannot be served: no config.json"),
            Action::Expire { job: late, attempt: 0 },
            refuse(gone, "the model model 9 is not hosted here any longer"),
        ];
        assert_eq!(decide(&view, &queue, 100), expected);
    }

    proptest! {
        /// No worker is overfilled, no job is given out twice or to a worker without its model, and nothing that
        /// could be given out is left.
        #[test]
        fn decisions_fit_the_cluster(
            workers in proptest::collection::vec((1usize..4, 0usize..4, 0u8..3), 0..4),
            wants in proptest::collection::vec((0u8..4, 0u8..3, any::<bool>()), 0..30),
        ) {
            let workers: Vec<Worker> =
                workers.into_iter().map(|(slots, busy, ready)| worker(slots, busy.min(slots), &[ready])).collect();
            let view = view(workers);
            let mut queue = Queue::default();
            let mut jobs = BTreeMap::new();
            for (owner, wanted, alone) in wants {
                jobs.insert(add(&mut queue, owner, wanted, alone), (wanted, alone));
            }
            let actions = decide(&view, &queue, 0);
            prop_assert_eq!(&actions, &decide(&view, &queue, 0));
            let mut after = view.workers.clone();
            for (job, session) in dispatched(&actions) {
                let (wanted, alone) = jobs.remove(&job).expect("given out once");
                let worker = after.get_mut(&session).unwrap();
                prop_assert!(worker.ready.contains(&model(wanted)));
                prop_assert!(!worker.alone && (!alone || worker.busy == 0));
                worker.busy += 1;
                worker.alone = alone;
                prop_assert!(worker.busy <= worker.slots);
            }
            let idle_for = |wanted: u8| after.values().any(|worker| worker.busy == 0 && worker.ready.contains(&model(wanted)));
            for (wanted, _) in jobs.values() {
                prop_assert!(!idle_for(*wanted), "a worker idles while a job waits for its model");
            }
        }
    }
}
