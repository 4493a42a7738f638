//! How everything is just now: read once for all who look within a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ids::{JobId, ModelKey, TenantId};
use store::history::{Crew, CrewMember, Minute};
use store::{Live, ModelRecord, ModelState, State};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::units::span;
use crate::{Error, Gateway, unix_millis};

/// How long what was read is shown.
const FRESH: Duration = Duration::from_millis(900);
/// Silence of the scheduler after which nobody leads, as far as one can see. It tells every 5 seconds.
const SILENCE: u64 = 30_000;
/// A wait that somebody should know of.
const LONG: u64 = 10 * 60_000;
/// Minutes in which a fault of the server's counts as one of now.
const RECENT: u64 = 10;

/// What was read last.
pub type Shared = Mutex<Option<(Instant, Arc<Now>)>>;

/// How everything is.
pub struct Now {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub live: Vec<Live>,
    pub models: Vec<ModelRecord>,
    /// As the scheduler told it, and only while it tells.
    pub crew: Option<Crew>,
    /// The last ones.
    pub minutes: BTreeMap<u64, Minute>,
}

/// Those who wait or run of one tenant for one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub waiting: u64,
    pub running: u64,
    /// When the one that waits longest was accepted; none waits where it is `None`.
    pub oldest: Option<u64>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub broken: bool,
    pub sentence: String,
    /// Where one sees more of it.
    pub path: &'static str,
}

impl Trouble {
    pub fn level(&self) -> &'static str {
        if self.broken { "broken" } else { "degraded" }
    }

    pub fn mark(&self) -> &'static str {
        if self.broken { "✕" } else { "▲" }
    }
}

impl Now {
    /// Returns how everything is, or was less than a second ago.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn of(gateway: &Gateway) -> Result<Arc<Self>, Error> {
        let mut shared = gateway.now.lock().await;
        if let Some((at, now)) = &*shared
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(now));
        }
        let at = unix_millis();
        let crew = gateway.history.crew().await?.filter(|crew| at.saturating_sub(crew.told_at) < SILENCE);
        let now = Arc::new(Self {
            at,
            live: gateway.jobs.live().await?.jobs,
            models: gateway.models.list().await?,
            crew,
            minutes: gateway.history.since((at / 60_000).saturating_sub(RECENT)).await?,
        });
        *shared = Some((Instant::now(), Arc::clone(&now)));
        Ok(now)
    }

    /// Returns who waits and runs, by tenant and model; who waits longest comes first.
    pub fn lines(&self) -> Vec<((TenantId, ModelKey), Line)> {
        let mut lines: BTreeMap<(TenantId, ModelKey), Line> = BTreeMap::new();
        for job in &self.live {
            let line = lines.entry((job.tenant.clone(), job.model.clone())).or_default();
            if job.state == State::Queued {
                line.waiting += 1;
                line.oldest = Some(line.oldest.map_or(job.accepted_at, |oldest| oldest.min(job.accepted_at)));
            } else {
                line.running += 1;
            }
        }
        let mut lines: Vec<_> = lines.into_iter().collect();
        lines.sort_by_key(|(_, line)| line.oldest.unwrap_or(u64::MAX));
        lines
    }

    /// Returns how many jobs wait, and how many have a worker.
    pub fn counts(&self) -> (usize, usize) {
        let waiting = self.live.iter().filter(|job| job.state == State::Queued).count();
        (waiting, self.live.len() - waiting)
    }

    pub fn workers(&self) -> &[CrewMember] {
        self.crew.as_ref().map_or(&[], |crew| &crew.members)
    }

    /// Says why a job for a model waits.
    pub fn why(&self, model: &ModelKey) -> String {
        if self.crew.is_none() {
            return "no scheduler leads".into();
        }
        let Some(record) = self.models.iter().find(|record| record.key == *model) else {
            return "the model is hosted no longer".into();
        };
        match &record.state {
            ModelState::Waiting => "no worker has the model".into(),
            ModelState::Loading { fraction } => format!("the model is loading, {:.0} %", fraction * 100.0),
            ModelState::Failed(_) => "the model cannot be loaded".into(),
            ModelState::Ready => {
                let ready = |worker: &&CrewMember| {
                    !worker.away && worker.models.iter().any(|(key, state)| key == model && *state == ModelState::Ready)
                };
                let (mut slots, mut free) = (0, 0);
                for worker in self.workers().iter().filter(ready) {
                    slots += worker.slots;
                    free += worker.slots.saturating_sub(worker.jobs);
                }
                match (slots, free) {
                    (0, _) => "the workers that have the model cannot be reached".into(),
                    (_, 0) => format!("no room: all {slots} places are taken"),
                    _ => "it is about to be given out".into(),
                }
            }
        }
    }

    /// Returns how many jobs come before one that waits, about: tenants take turns, and each one's oldest comes first.
    pub fn before(&self, job: JobId, tenant: &TenantId, model: &ModelKey) -> Ahead {
        let mut lengths: BTreeMap<&TenantId, u64> = BTreeMap::new();
        let mut own = 0;
        for other in self.live.iter().filter(|other| other.state == State::Queued && other.model == *model) {
            if other.tenant == *tenant {
                own += u64::from(other.id < job);
            } else {
                *lengths.entry(&other.tenant).or_default() += 1;
            }
        }
        Ahead { own, others: lengths.values().map(|length| (*length).min(own + 1)).sum() }
    }

    /// Returns the worst of what is wrong.
    pub fn trouble(&self) -> Option<Trouble> {
        let broken = |sentence: String, path| Some(Trouble { broken: true, sentence, path });
        let degraded = |sentence: String, path| Some(Trouble { broken: false, sentence, path });
        if self.crew.is_none() {
            let sentence = "No scheduler was heard of for 30 s: jobs are accepted and kept, and none is given out.";
            return broken(sentence.into(), "/admin/workers");
        }
        if let Some((key, why)) = self.models.iter().find_map(|record| match &record.state {
            ModelState::Failed(why) => Some((&record.key, why)),
            _ => None,
        }) {
            return broken(format!("The model {key} cannot be loaded: {why}."), "/admin/models");
        }
        if self.workers().iter().all(|worker| worker.away) {
            return broken("No worker is connected: jobs wait until one comes.".into(), "/admin/workers");
        }
        let faults: u64 =
            self.minutes.values().flat_map(|minute| minute.tallies.values()).map(|tally| tally.failed_server).sum();
        if faults > 0 {
            let jobs = if faults == 1 { "1 job".into() } else { format!("{faults} jobs") };
            let sentence = format!("{jobs} failed in the last {RECENT} minutes by the server's fault.");
            return degraded(sentence, "/admin/jobs?state=failed");
        }
        if let Some(worker) = self.workers().iter().find(|worker| worker.away) {
            let sentence = format!("The worker {} lost its connection; what it has goes on.", worker.worker);
            return degraded(sentence, "/admin/workers");
        }
        let longest = self.lines().into_iter().find_map(|(line, of)| Some((line, self.at.saturating_sub(of.oldest?))));
        if let Some(((tenant, model), waited)) = longest.filter(|(_, waited)| *waited > LONG) {
            let why = self.why(&model);
            return degraded(format!("A job of {tenant} has waited for {}: {why}.", span(waited)), "/admin");
        }
        None
    }
}

/// Jobs that come before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Of the same tenant.
    pub own: u64,
    /// Of others, whose turns come between.
    pub others: u64,
}

#[cfg(test)]
mod tests {
    use ids::WorkerId;

    use super::*;

    fn live(tenant: &str, state: State, accepted_at: u64) -> Live {
        Live {
            id: JobId::new(),
            tenant: TenantId::new(tenant),
            model: ModelKey::new("o/n", None),
            state,
            attempt: 0,
            epoch: 0,
            deaths: 0,
            worker: None,
            accepted_at,
            dispatched_at: 0,
            started_at: 0,
            submission_key: None,
            revision: 0,
        }
    }

    fn now(live: Vec<Live>, state: ModelState, jobs: u64) -> Now {
        let key = ModelKey::new("o/n", None);
        let model =
            ModelRecord { key: key.clone(), folder: "/m".into(), dtype: None, state: state.clone(), device: None };
        let member = CrewMember { worker: WorkerId::new("w"), slots: 2, jobs, away: false, models: vec![(key, state)] };
        let crew = Some(Crew { told_at: 1_000_000, epoch: 1, members: vec![member] });
        Now { at: 1_000_000, live, models: vec![model], crew, minutes: BTreeMap::new() }
    }

    #[test]
    fn lines_show_who_waits_longest_first_and_why() {
        let jobs = vec![
            live("ada", State::Running, 10),
            live("ada", State::Queued, 500_000),
            live("bob", State::Queued, 400_000),
            live("bob", State::Queued, 600_000),
            live("eve", State::Dispatched, 5),
        ];
        let shown = now(jobs, ModelState::Ready, 2);
        let lines = shown.lines();
        let told: Vec<_> = lines
            .iter()
            .map(|((tenant, _), line)| (tenant.as_str(), line.waiting, line.running, line.oldest))
            .collect();
        assert_eq!(told, [("bob", 2, 0, Some(400_000)), ("ada", 1, 1, Some(500_000)), ("eve", 0, 1, None)]);
        assert_eq!(shown.counts(), (3, 2));
        assert_eq!(shown.why(&ModelKey::new("o/n", None)), "no room: all 2 places are taken");
        let loading = now(vec![], ModelState::Loading { fraction: 0.43 }, 0);
        assert_eq!(loading.why(&ModelKey::new("o/n", None)), "the model is loading, 43 %");
    }

    #[test]
    fn tenants_take_turns_so_what_comes_before_a_job_is_bounded_by_its_own_place() {
        let mut jobs: Vec<Live> = (0..50).map(|_| live("flood", State::Queued, 1)).collect();
        let own: Vec<Live> = (0..3).map(|_| live("ada", State::Queued, 2)).collect();
        jobs.extend(own.iter().cloned());
        let shown = now(jobs, ModelState::Ready, 2);
        let ahead = |job: &Live| shown.before(job.id, &job.tenant, &job.model);
        assert_eq!(ahead(&own[0]), Ahead { own: 0, others: 1 });
        assert_eq!(ahead(&own[2]), Ahead { own: 2, others: 3 });
    }

    #[test]
    fn the_worst_that_is_wrong_is_told() {
        let mut shown = now(vec![live("ada", State::Queued, 1)], ModelState::Ready, 0);
        let told = |shown: &Now| shown.trouble().map(|trouble| (trouble.broken, trouble.sentence));
        assert!(told(&shown).unwrap().1.starts_with("A job of ada has waited for 16.7 min"));
        shown.live.clear();
        assert_eq!(told(&shown), None);
        let mut minute = Minute::default();
        minute.waits(&TenantId::new("ada"), &ModelKey::new("o/n", None), 0);
        minute.tallies.values_mut().for_each(|tally| tally.failed_server = 2);
        shown.minutes.insert(1, minute);
        assert_eq!(
            told(&shown).unwrap(),
            (false, "2 jobs failed in the last 10 minutes by the server's fault.".into())
        );
        shown.crew.as_mut().unwrap().members[0].away = true;
        assert!(told(&shown).unwrap().1.starts_with("No worker is connected"));
        shown.models[0].state = ModelState::Failed("no file".into());
        assert_eq!(told(&shown).unwrap(), (true, "The model o/n cannot be loaded: no file.".into()));
        shown.crew = None;
        assert!(told(&shown).unwrap().1.starts_with("No scheduler"));
    }
}
