//! The jobs that wait, in the order in which they are to be served.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ids::{JobId, ModelKey, TenantId, Token};

/// The jobs that wait: one line for each model and tenant, oldest first in each, and the lines of a model by whose turn
/// it is. Instants are durations since the scheduler started.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    lines: BTreeMap<ModelKey, Lines>,
    jobs: HashMap<JobId, Place>,
    /// Every job that waits or rests, by when it expires.
    expiries: BTreeSet<(Duration, JobId)>,
    /// Jobs that came back and are not to be given out before an instant.
    resting: BTreeSet<(Duration, JobId)>,
    /// The models that a tenant has a line for.
    wants: BTreeMap<TenantId, BTreeSet<ModelKey>>,
    shares: BTreeMap<TenantId, Share>,
    turn: u64,
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of its last attempt.
    pub token: Token,
    /// Whether it wants a worker for itself: one that may have ended its last worker must not take others with it.
    pub alone: bool,
    /// When it expires.
    pub expires_at: Duration,
}

/// The lines of one model.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    pub by_tenant: BTreeMap<TenantId, BTreeMap<JobId, Waiting>>,
    /// One for each line; the least is next.
    pub ranks: BTreeSet<Rank>,
}

/// Says when a line has its turn: that of the tenant with the fewest jobs running comes first; among equals of the one
/// served longest ago; then that of the oldest job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub share: Share,
    pub oldest: JobId,
    pub tenant: TenantId,
}

/// What a tenant has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Jobs now with workers.
    pub running: usize,
    /// The turn at which it was last served.
    pub served: u64,
}

/// Where a job is.
#[derive(Clone, Debug)]
struct Place {
    model: ModelKey,
    tenant: TenantId,
    expires_at: Duration,
    /// What will wait, and from when on, while it rests.
    resting: Option<(Duration, Waiting)>,
}

/// Tenants whose last turn is remembered, with jobs or without.
const TENANTS_REMEMBERED: usize = 4096;

impl Queue {
    /// Adds a job that is to be given out from `from` on; it keeps the place that its age gives it, also when it comes
    /// back.
    pub fn push(&mut self, job: JobId, tenant: &TenantId, model: &ModelKey, waiting: Waiting, from: Option<Duration>) {
        self.remove(job);
        let mut place =
            Place { model: model.clone(), tenant: tenant.clone(), expires_at: waiting.expires_at, resting: None };
        self.expiries.insert((waiting.expires_at, job));
        match from {
            Some(from) => {
                self.resting.insert((from, job));
                place.resting = Some((from, waiting));
            }
            None => self.line_up(job, tenant, model, waiting),
        }
        self.jobs.insert(job, place);
    }

    /// Lets those wait whose rest is over.
    pub fn wake(&mut self, now: Duration) {
        while let Some((from, job)) = self.resting.first().copied().filter(|(from, _)| *from <= now) {
            self.resting.remove(&(from, job));
            let Some(place) = self.jobs.get_mut(&job) else { continue };
            let (tenant, model) = (place.tenant.clone(), place.model.clone());
            if let Some((_, waiting)) = place.resting.take() {
                self.line_up(job, &tenant, &model, waiting);
            }
        }
    }

    /// Takes a job out. Returns whether it was there.
    pub fn remove(&mut self, job: JobId) -> bool {
        let Some(Place { model, tenant, expires_at, resting }) = self.jobs.remove(&job) else { return false };
        self.expiries.remove(&(expires_at, job));
        if let Some((from, _)) = resting {
            self.resting.remove(&(from, job));
            return true;
        }
        self.unrank(&model, &tenant);
        if let Some(lines) = self.lines.get_mut(&model)
            && let Some(line) = lines.by_tenant.get_mut(&tenant)
        {
            line.remove(&job);
            if line.is_empty() {
                lines.by_tenant.remove(&tenant);
                if lines.by_tenant.is_empty() {
                    self.lines.remove(&model);
                }
                if let Some(wants) = self.wants.get_mut(&tenant) {
                    wants.remove(&model);
                    if wants.is_empty() {
                        self.wants.remove(&tenant);
                    }
                }
            }
        }
        self.rank(&model, &tenant);
        true
    }

    /// Notes that a tenant had its turn. It is remembered also while the tenant has nothing waiting: who comes with
    /// one job at a time must not overtake who has many.
    pub fn serve(&mut self, tenant: &TenantId) {
        self.turn += 1;
        let turn = self.turn;
        self.change(tenant, |share| {
            share.running += 1;
            share.served = turn;
        });
        if self.shares.len() > TENANTS_REMEMBERED {
            let idle =
                self.shares.iter().filter(|(tenant, share)| share.running == 0 && !self.wants.contains_key(tenant));
            let longest_ago = idle.min_by_key(|(_, share)| share.served).map(|(tenant, _)| tenant.clone());
            if let Some(tenant) = longest_ago {
                self.shares.remove(&tenant);
            }
        }
    }

    /// Notes that a tenant has one more job with a worker, without a turn: one that came back with its worker.
    pub fn adopt(&mut self, tenant: &TenantId) {
        self.change(tenant, |share| share.running += 1);
    }

    /// Notes that a tenant has one job less with a worker.
    pub fn leave(&mut self, tenant: &TenantId) {
        self.change(tenant, |share| share.running = share.running.saturating_sub(1));
    }

    /// Returns the lines of each model that some job waits for.
    pub fn lines(&self) -> &BTreeMap<ModelKey, Lines> {
        &self.lines
    }

    /// Returns what a job waits with; `None` also while it rests.
    pub fn waiting(&self, job: JobId) -> Option<&Waiting> {
        let place = self.jobs.get(&job)?;
        self.lines.get(&place.model)?.by_tenant.get(&place.tenant)?.get(&job)
    }

    /// Returns the jobs whose time is over, with their tokens.
    pub fn expired(&self, now: Duration) -> impl Iterator<Item = (JobId, Token)> {
        self.expiries.range(..=(now, JobId::MAX)).filter_map(|(_, job)| {
            let resting = self.jobs.get(job).and_then(|place| place.resting.as_ref()).map(|(_, waiting)| waiting);
            resting.or_else(|| self.waiting(*job)).map(|waiting| (*job, waiting.token))
        })
    }

    pub fn share(&self, tenant: &TenantId) -> Share {
        self.shares.get(tenant).copied().unwrap_or_default()
    }

    /// Returns the turn of whoever was served last.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    fn line_up(&mut self, job: JobId, tenant: &TenantId, model: &ModelKey, waiting: Waiting) {
        self.unrank(model, tenant);
        let lines = self.lines.entry(model.clone()).or_default();
        lines.by_tenant.entry(tenant.clone()).or_default().insert(job, waiting);
        self.wants.entry(tenant.clone()).or_default().insert(model.clone());
        self.rank(model, tenant);
    }

    /// Changes a tenant's share, and with it the ranks of all its lines.
    fn change(&mut self, tenant: &TenantId, change: impl FnOnce(&mut Share)) {
        let models: Vec<ModelKey> = self.wants.get(tenant).into_iter().flatten().cloned().collect();
        models.iter().for_each(|model| self.unrank(model, tenant));
        change(self.shares.entry(tenant.clone()).or_default());
        models.iter().for_each(|model| self.rank(model, tenant));
    }

    fn unrank(&mut self, model: &ModelKey, tenant: &TenantId) {
        if let Some(rank) = self.rank_of(model, tenant)
            && let Some(lines) = self.lines.get_mut(model)
        {
            lines.ranks.remove(&rank);
        }
    }

    fn rank(&mut self, model: &ModelKey, tenant: &TenantId) {
        if let Some(rank) = self.rank_of(model, tenant)
            && let Some(lines) = self.lines.get_mut(model)
        {
            lines.ranks.insert(rank);
        }
    }

    fn rank_of(&self, model: &ModelKey, tenant: &TenantId) -> Option<Rank> {
        let (oldest, _) = self.lines.get(model)?.by_tenant.get(tenant)?.first_key_value()?;
        Some(Rank { share: self.share(tenant), oldest: *oldest, tenant: tenant.clone() })
    }
}
