//! The jobs that wait, in the order in which they are to be served.
//!
//! Tenants have turns by the device time that they have had: the one with the least is next. A job is charged what it is
//! likely to take when it is given out, and what it really took when it ends, to its tenant and to its class, so that neither
//! one's share depends on how it cuts its work into jobs. Who comes with nothing here begins beside whoever has had the least of those who have, and where
//! nobody has, beside whoever had the most: nobody saves up turns, and nobody pays for time in which there was nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ids::{Class, JobId, ModelKey, TenantId, Token};

use crate::class::above;
use crate::predictions::Predictions;

/// The jobs that wait: for each model and class one line for each tenant, oldest first, and the lines by whose turn it is.
/// Instants are durations since the scheduler started.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    now: Duration,
    models: BTreeMap<ModelKey, Lines>,
    jobs: HashMap<JobId, Place>,
    /// Every job that waits or rests, by when it expires.
    expiries: BTreeSet<(Duration, JobId)>,
    /// Jobs that came back and are not to be given out before an instant.
    resting: BTreeSet<(Duration, JobId)>,
    /// Jobs that wait, by when they move up a class.
    aging: BTreeSet<(Duration, JobId)>,
    /// What a tenant has lines for.
    wants: BTreeMap<TenantId, BTreeSet<(ModelKey, Class)>>,
    tenants: BTreeMap<TenantId, Account>,
    /// The tenants with something here or with workers, by what they have had.
    active: BTreeSet<(Duration, TenantId)>,
    /// The most that any of the tenants has had who have nothing here.
    left: Duration,
    /// The tenants by when something of theirs came or ended last.
    recent: BTreeSet<(Duration, TenantId)>,
    /// What each class has had, in parts of its floor, and how many lines it has.
    classes: [(Duration, usize); Class::ALL.len()],
    /// Jobs that are with workers.
    running: usize,
    predictions: Predictions,
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of its last attempt.
    pub token: Token,
    pub class: Class,
    /// Whether it wants a worker for itself: one that may have ended its last worker must not take others with it.
    pub alone: bool,
    /// When it expires.
    pub expires_at: Duration,
}

/// The lines of one model, by class.
#[derive(Clone, Debug, Default)]
pub struct Lines(pub [Lane; Class::ALL.len()]);

/// The lines of one model and class.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    pub by_tenant: BTreeMap<TenantId, BTreeMap<JobId, Waiting>>,
    /// One for each line; the least is next.
    pub ranks: BTreeSet<Rank>,
}

/// Says when a line has its turn: that of the tenant who has had the least comes first; among equals that of the oldest job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub used: Duration,
    pub oldest: JobId,
    pub tenant: TenantId,
}

/// What a tenant has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Device time, as it is charged.
    pub used: Duration,
    /// Jobs now with workers.
    pub running: usize,
}

/// What a job was given out for, until it is known what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The class in which it had its turn.
    pub class: Class,
    /// The device time that it is likely to take.
    pub cost: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    share: Share,
    /// When something of it came or ended last.
    seen: Duration,
}

/// Where a job is.
#[derive(Clone, Debug)]
struct Place {
    model: ModelKey,
    tenant: TenantId,
    class: Class,
    expires_at: Duration,
    /// When it moves up a class, if it waits and there is one.
    ages_at: Option<Duration>,
    /// What will wait, and from when on, while it rests.
    resting: Option<(Duration, Waiting)>,
}

/// How long a job waits before it moves up a class.
pub const AGES: Duration = Duration::from_secs(600);

/// Tenants that are remembered, with jobs or without.
const TENANTS_REMEMBERED: usize = 4096;

/// How long room is kept for others after one was here. As long as there is only one tenant, it may have all there is.
const COMPANY: Duration = Duration::from_secs(600);

impl Queue {
    /// Adds a job that is to be given out from `from` on; it keeps the place that its age gives it, also when it comes
    /// back.
    pub fn push(&mut self, job: JobId, tenant: &TenantId, model: &ModelKey, waiting: Waiting, from: Option<Duration>) {
        self.remove(job);
        self.see(tenant);
        let mut place = Place {
            model: model.clone(),
            tenant: tenant.clone(),
            class: waiting.class,
            expires_at: waiting.expires_at,
            ages_at: None,
            resting: None,
        };
        self.expiries.insert((waiting.expires_at, job));
        match from {
            Some(from) => {
                self.resting.insert((from, job));
                place.resting = Some((from, waiting));
                self.jobs.insert(job, place);
            }
            None => {
                self.jobs.insert(job, place);
                self.line_up(job, waiting);
            }
        }
    }

    /// Goes on to an instant: lets those wait whose rest is over, and those move up who have waited for long.
    pub fn wake(&mut self, now: Duration) {
        self.now = now;
        while let Some((from, job)) = self.resting.first().copied().filter(|(from, _)| *from <= now) {
            self.resting.remove(&(from, job));
            if let Some((_, waiting)) = self.jobs.get_mut(&job).and_then(|place| place.resting.take()) {
                self.line_up(job, waiting);
            }
        }
        while let Some((_, job)) = self.aging.first().copied().filter(|(at, _)| *at <= now) {
            let Some(mut waiting) = self.step_out(job) else { continue };
            waiting.class = above(waiting.class).unwrap_or(waiting.class);
            self.line_up(job, waiting);
        }
    }

    /// Takes a job out. Returns whether it was there.
    pub fn remove(&mut self, job: JobId) -> bool {
        self.step_out(job);
        let Some(Place { tenant, expires_at, resting, .. }) = self.jobs.remove(&job) else { return false };
        self.expiries.remove(&(expires_at, job));
        if let Some((from, _)) = resting {
            self.resting.remove(&(from, job));
        }
        self.note_activity(&tenant);
        true
    }

    /// Notes that a job was given out for a charge. It is remembered also while its tenant has nothing else here: who comes
    /// with one job at a time must not overtake who has many.
    pub fn serve(&mut self, tenant: &TenantId, charge: Charge) {
        let Charge { class, cost } = charge;
        if let Some((had, _)) = self.classes.get_mut(class.index()) {
            *had += cost / class.floor();
        }
        self.running += 1;
        self.change(tenant, |share| {
            share.running += 1;
            share.used += cost;
        });
        if self.tenants.len() > TENANTS_REMEMBERED {
            let idle = self
                .tenants
                .iter()
                .filter(|(tenant, account)| account.share.running == 0 && !self.wants.contains_key(tenant));
            // Who has had little begins as anybody does who comes.
            let least = idle.min_by_key(|(_, account)| account.share.used).map(|(tenant, _)| tenant.clone());
            if let Some(account) = least.as_ref().and_then(|tenant| self.tenants.remove(tenant)) {
                self.recent.retain(|(_, tenant)| Some(tenant) != least.as_ref());
                debug_assert_eq!(account.share.running, 0, "it is idle");
            }
        }
    }

    /// Notes that a tenant has one more job with a worker, without a turn: one that came back with its worker.
    pub fn adopt(&mut self, tenant: &TenantId) {
        self.running += 1;
        self.change(tenant, |share| share.running += 1);
    }

    /// Notes that a tenant has one job less with a worker. `charge` is what it was given out for, and `took` what it took.
    pub fn leave(&mut self, tenant: &TenantId, charge: Charge, took: Duration) {
        let Charge { class, cost } = charge;
        if let Some((had, _)) = self.classes.get_mut(class.index()) {
            *had = (*had + took / class.floor()).saturating_sub(cost / class.floor());
        }
        self.running = self.running.saturating_sub(1);
        self.see(tenant);
        self.change(tenant, |share| {
            share.running = share.running.saturating_sub(1);
            share.used = (share.used + took).saturating_sub(cost);
        });
    }

    /// Learns how long jobs of a tenant have a device.
    pub fn learn(&mut self, model: &ModelKey, tenant: &TenantId, took: Duration) {
        self.predictions.learn(model, tenant, took);
    }

    /// Forgets what is known of a model's jobs.
    pub fn forget(&mut self, model: &ModelKey) {
        self.predictions.forget(model);
    }

    /// Returns the device time that a tenant's next job on a model is likely to take.
    #[must_use]
    pub fn cost(&self, model: &ModelKey, tenant: &TenantId) -> Duration {
        self.predictions.of(model, tenant)
    }

    /// Returns the device time that the jobs which wait for a model are likely to take.
    #[must_use]
    pub fn work(&self, model: &ModelKey) -> Duration {
        let lines = self.models.get(model).into_iter().flat_map(|lines| &lines.0).flat_map(|lane| &lane.by_tenant);
        let jobs = |line: &BTreeMap<JobId, Waiting>| u32::try_from(line.len()).unwrap_or(u32::MAX);
        lines.map(|(tenant, line)| self.cost(model, tenant).saturating_mul(jobs(line))).sum()
    }

    /// Returns the same of one tenant's jobs; `None` where none of them waits.
    #[must_use]
    pub fn work_of(&self, model: &ModelKey, tenant: &TenantId) -> Option<Duration> {
        let lines = self.models.get(model).into_iter().flat_map(|lines| &lines.0);
        let jobs: usize = lines.filter_map(|lane| lane.by_tenant.get(tenant)).map(BTreeMap::len).sum();
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        (jobs > 0).then(|| self.cost(model, tenant).saturating_mul(jobs))
    }

    /// Returns the lines of each model that some job waits for.
    #[must_use]
    pub fn lines(&self) -> &BTreeMap<ModelKey, Lines> {
        &self.models
    }

    /// Returns what a job waits with; `None` also while it rests.
    #[must_use]
    pub fn waiting(&self, job: JobId) -> Option<&Waiting> {
        let place = self.jobs.get(&job)?;
        self.models.get(&place.model)?.lane(place.class)?.by_tenant.get(&place.tenant)?.get(&job)
    }

    /// Returns the jobs whose time is over, with their tokens.
    pub fn expired(&self, now: Duration) -> impl Iterator<Item = (JobId, Token)> {
        self.expiries.range(..=(now, JobId::MAX)).filter_map(|(_, job)| {
            let resting = self.jobs.get(job).and_then(|place| place.resting.as_ref()).map(|(_, waiting)| waiting);
            resting.or_else(|| self.waiting(*job)).map(|waiting| (*job, waiting.token))
        })
    }

    #[must_use]
    pub fn share(&self, tenant: &TenantId) -> Share {
        self.tenants.get(tenant).map(|account| account.share).unwrap_or_default()
    }

    /// Returns what a class has had, in parts of its floor.
    #[must_use]
    pub fn had(&self, class: Class) -> Duration {
        self.classes.get(class.index()).map_or(Duration::ZERO, |(had, _)| *had)
    }

    /// Returns how many jobs are with workers.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// Returns how many jobs wait or rest.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Returns whether others than a tenant have been here lately.
    #[must_use]
    pub fn has_company(&self, tenant: &TenantId) -> bool {
        let other = self.recent.iter().rev().find(|(_, other)| other != tenant);
        other.is_some_and(|(seen, _)| *seen + COMPANY >= self.now)
    }

    /// Takes a job out of its line. Returns what it waited with.
    fn step_out(&mut self, job: JobId) -> Option<Waiting> {
        let place = self.jobs.get_mut(&job)?;
        let (model, tenant, class) = (place.model.clone(), place.tenant.clone(), place.class);
        if let Some(at) = place.ages_at.take() {
            self.aging.remove(&(at, job));
        }
        self.unrank(&model, class, &tenant);
        let lane = self.models.get_mut(&model).and_then(|lines| lines.0.get_mut(class.index()));
        let waiting = lane.and_then(|lane| {
            let line = lane.by_tenant.get_mut(&tenant)?;
            let waiting = line.remove(&job);
            if line.is_empty() {
                lane.by_tenant.remove(&tenant);
                if let Some((_, lines)) = self.classes.get_mut(class.index()) {
                    *lines -= 1;
                }
                if let Some(wants) = self.wants.get_mut(&tenant) {
                    wants.remove(&(model.clone(), class));
                    if wants.is_empty() {
                        self.wants.remove(&tenant);
                    }
                }
            }
            waiting
        });
        if self.models.get(&model).is_some_and(|lines| lines.0.iter().all(|lane| lane.by_tenant.is_empty())) {
            self.models.remove(&model);
        }
        self.rank(&model, class, &tenant);
        waiting
    }

    fn line_up(&mut self, job: JobId, waiting: Waiting) {
        let class = waiting.class;
        let Some(place) = self.jobs.get_mut(&job) else { return };
        place.class = class;
        place.ages_at = above(class).map(|_| self.now + AGES);
        if let Some(at) = place.ages_at {
            self.aging.insert((at, job));
        }
        let (model, tenant) = (place.model.clone(), place.tenant.clone());
        self.catch_up(&tenant, class);
        self.unrank(&model, class, &tenant);
        let lines = self.models.entry(model.clone()).or_default();
        if let Some(lane) = lines.0.get_mut(class.index()) {
            let line = lane.by_tenant.entry(tenant.clone()).or_default();
            if line.is_empty()
                && let Some((_, lines)) = self.classes.get_mut(class.index())
            {
                *lines += 1;
            }
            line.insert(job, waiting);
        }
        self.wants.entry(tenant.clone()).or_default().insert((model.clone(), class));
        self.rank(&model, class, &tenant);
        self.note_activity(&tenant);
    }

    /// Has a tenant, and a class, that had nothing here begin where the others are.
    fn catch_up(&mut self, tenant: &TenantId, class: Class) {
        let active = |share: Share| self.active.contains(&(share.used, tenant.clone()));
        if !active(self.share(tenant)) {
            let least = self.active.first().map_or(self.left, |(used, _)| *used);
            self.tenants.entry(tenant.clone()).or_default().share.used = self.share(tenant).used.max(least);
        }
        let others = self.classes.iter().filter(|(_, lines)| *lines > 0).map(|(had, _)| *had);
        let least = others.min().or(self.classes.iter().map(|(had, _)| *had).max());
        if let Some(least) = least
            && let Some((had, 0)) = self.classes.get_mut(class.index())
        {
            *had = (*had).max(least);
        }
    }

    /// Notes that something of a tenant came, or ended.
    fn see(&mut self, tenant: &TenantId) {
        let account = self.tenants.entry(tenant.clone()).or_default();
        self.recent.remove(&(account.seen, tenant.clone()));
        account.seen = self.now;
        self.recent.insert((account.seen, tenant.clone()));
    }

    /// Notes whether a tenant has anything here.
    fn note_activity(&mut self, tenant: &TenantId) {
        let share = self.share(tenant);
        let entry = (share.used, tenant.clone());
        if share.running > 0 || self.wants.contains_key(tenant) {
            self.active.insert(entry);
        } else {
            self.active.remove(&entry);
            self.left = self.left.max(share.used);
        }
    }

    /// Changes a tenant's share, and with it the ranks of all its lines.
    fn change(&mut self, tenant: &TenantId, change: impl FnOnce(&mut Share)) {
        let lines: Vec<(ModelKey, Class)> = self.wants.get(tenant).into_iter().flatten().cloned().collect();
        lines.iter().for_each(|(model, class)| self.unrank(model, *class, tenant));
        self.active.remove(&(self.share(tenant).used, tenant.clone()));
        change(&mut self.tenants.entry(tenant.clone()).or_default().share);
        lines.iter().for_each(|(model, class)| self.rank(model, *class, tenant));
        self.note_activity(tenant);
    }

    fn unrank(&mut self, model: &ModelKey, class: Class, tenant: &TenantId) {
        if let Some(rank) = self.rank_of(model, class, tenant)
            && let Some(lane) = self.models.get_mut(model).and_then(|lines| lines.0.get_mut(class.index()))
        {
            lane.ranks.remove(&rank);
        }
    }

    fn rank(&mut self, model: &ModelKey, class: Class, tenant: &TenantId) {
        if let Some(rank) = self.rank_of(model, class, tenant)
            && let Some(lane) = self.models.get_mut(model).and_then(|lines| lines.0.get_mut(class.index()))
        {
            lane.ranks.insert(rank);
        }
    }

    fn rank_of(&self, model: &ModelKey, class: Class, tenant: &TenantId) -> Option<Rank> {
        let (oldest, _) = self.models.get(model)?.lane(class)?.by_tenant.get(tenant)?.first_key_value()?;
        Some(Rank { used: self.share(tenant).used, oldest: *oldest, tenant: tenant.clone() })
    }
}

impl Lines {
    #[must_use]
    pub fn lane(&self, class: Class) -> Option<&Lane> {
        self.0.get(class.index())
    }

    /// Returns all jobs in them.
    pub fn jobs(&self) -> impl Iterator<Item = (&TenantId, &JobId, &Waiting)> {
        let lines = self.0.iter().flat_map(|lane| &lane.by_tenant);
        lines.flat_map(|(tenant, line)| line.iter().map(move |(job, waiting)| (tenant, job, waiting)))
    }
}
