//! Who is served next, and by whom. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ids::{JobId, ModelKey, TenantId};
use store::JobRecord;

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
    /// Whether it may share a worker: a job that was on a worker that died may be the cause.
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
    pub fn push(&mut self, record: &JobRecord, queue_millis: u64) {
        let waiting = Waiting {
            attempt: record.attempt,
            alone: record.deaths > 0,
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
