//! How everything is just now: read once for all who look within a second.

use std::collections::BTreeMap;
use std::sync::{self, Arc};
use std::time::Duration;

use ids::{Class, JobId, ModelKey, TenantId, WorkerId};
use store::history::{Minute, What};
use store::{
    Booking, CertificateEnd, CertificateHolder, JobProgress, JobRecord, Live, ModelRecord, ModelState, Specification,
    State,
};
use tls::expiry::{SOON, URGENT};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::units::span;
use crate::v1::nodes::{self, Node};
use crate::v1::queue::{Line, lines};
use crate::{Error, Gateway, metrics, unix_millis};

/// How long what was read is shown.
const FRESH: Duration = Duration::from_millis(900);
/// Silence of the scheduler after which nobody leads, as far as one can see. It tells every 5 seconds.
const SILENCE: u64 = 30_000;
/// A wait that somebody should know of.
const LONG: u64 = 10 * 60_000;
/// How long a disk counts as full that was: whoever asks again finds out.
const FULL: Duration = Duration::from_secs(60);
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
    /// What they are to be.
    pub specifications: Vec<Specification>,
    /// For what times they are booked.
    pub bookings: Vec<Booking>,
    /// Whether a scheduler leads.
    pub led: bool,
    /// How long jobs may wait, in milliseconds, where a scheduler has told.
    pub queue_time: Option<u64>,
    nodes: Vec<Node>,
    /// The last ones.
    pub minutes: BTreeMap<u64, Minute>,
    /// A tenant who has as many jobs as one may, and how many.
    flood: Option<(TenantId, u64)>,
    /// Whether this process lately found no room to keep something.
    full: bool,
    /// Those of gateways, schedulers and workers.
    pub certificates: Vec<Certificate>,
}

/// A certificate that a role uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is, as a sentence begins with them.
    pub holder: String,
    pub end: CertificateEnd,
}

/// When there was no room last, by the counts of such errors.
#[derive(Default)]
pub struct Room(sync::Mutex<(u64, Option<Instant>)>);

impl Room {
    /// Takes in how often there was none so far, and returns whether that was lately.
    pub fn look(&self, counted: u64) -> bool {
        let mut last = self.0.lock().unwrap_or_else(sync::PoisonError::into_inner);
        if counted > last.0 {
            *last = (counted, Some(Instant::now()));
        }
        last.1.is_some_and(|at| at.elapsed() < FULL)
    }
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
        let pulse = gateway.history.pulse().await?;
        let nodes = nodes::all(gateway).await?;
        let holders = gateway.models.stored().certificates().list().await?;
        let now = Arc::new(Self {
            at,
            live: gateway.jobs.live().await?.jobs,
            models: gateway.models.list().await?,
            specifications: gateway.models.stored().specifications().list().await?,
            bookings: gateway.models.stored().bookings().list().await?,
            queue_time: pulse.as_ref().map(|pulse| pulse.queue_time).filter(|time| *time > 0),
            led: pulse.is_some_and(|pulse| at.saturating_sub(pulse.at) < SILENCE),
            certificates: certificates(&holders, &nodes),
            nodes,
            minutes: gateway.history.since((at / 60_000).saturating_sub(RECENT)).await?,
            flood: gateway.backlog.full(),
            full: gateway.room.look(metrics::no_space()),
        });
        *shared = Some((Instant::now(), Arc::clone(&now)));
        Ok(now)
    }

    /// Returns who waits and runs, by tenant and model; who waits longest comes first.
    pub fn lines(&self) -> Vec<((TenantId, ModelKey), Line)> {
        lines(&self.live)
    }

    /// Returns how many jobs wait, and how many have a worker.
    pub fn counts(&self) -> (usize, usize) {
        let waiting = self.live.iter().filter(|job| job.state == State::Queued).count();
        (waiting, self.live.len() - waiting)
    }

    /// Returns the workers, as long as somebody knows how they are.
    pub fn workers(&self) -> &[Node] {
        if self.led { &self.nodes } else { &[] }
    }

    /// Returns how many jobs a worker has.
    pub fn busy(&self, worker: &WorkerId) -> usize {
        self.live.iter().filter(|job| job.worker.as_ref() == Some(worker)).count()
    }

    /// Says why a job for a model waits.
    pub fn why(&self, model: &ModelKey) -> String {
        if !self.led {
            return "no scheduler leads".into();
        }
        let Some(record) = self.models.iter().find(|record| record.key == *model) else {
            return "the model is hosted no longer".into();
        };
        let why = match (&record.state, &record.wait) {
            (ModelState::Loading { fraction }, _) => format!("the model is loading, {:.0} %", fraction * 100.0),
            (ModelState::Failed(_), _) => return "the model cannot be loaded".into(),
            (ModelState::Ready, _) => return self.room(model),
            (_, Some(wait)) => format!("the model is not loaded: {}", wait.why),
            (ModelState::Waiting, None) => "no worker has the model".into(),
            (ModelState::Cold, None) => "the model is about to be loaded".into(),
        };
        match self.expected(record) {
            Some(left) => format!("{why}; ready in about {}", span(left)),
            None => why,
        }
    }

    /// Returns after how many milliseconds a model is likely to be ready, where that can be said.
    pub fn expected(&self, record: &ModelRecord) -> Option<u64> {
        let at = record.wait.as_ref()?.expected_at?;
        Some(at.saturating_sub(self.at)).filter(|left| *left > 0)
    }

    /// Says what a job waits for whose model is loaded.
    fn room(&self, model: &ModelKey) -> String {
        let ready = |worker: &&Node| {
            let replicas = worker.record.iter().flat_map(|record| &record.replicas);
            worker.connected()
                && replicas.into_iter().any(|replica| replica.model == *model && replica.stage == "ready")
        };
        let (mut slots, mut free) = (0, 0);
        for worker in self.workers().iter().filter(ready).filter(|worker| worker.cordon.is_none()) {
            let its = worker.record.as_ref().map_or(0, |record| record.slots as usize);
            slots += its;
            free += its.saturating_sub(self.busy(&worker.name));
        }
        match (slots, free) {
            (0, _) => "the workers that have the model cannot be reached, or are cordoned".into(),
            (_, 0) => format!("no room: all {slots} places are taken"),
            _ => "it is about to be given out".into(),
        }
    }

    /// Returns how many jobs come before one that waits, about: tenants take turns, each one's oldest comes first, and classes
    /// have as many as their floors give them.
    pub fn before(&self, job: JobId, tenant: &TenantId, model: &ModelKey, class: Class) -> Ahead {
        let mut lengths: BTreeMap<&TenantId, u64> = BTreeMap::new();
        let mut classes: BTreeMap<Class, u64> = BTreeMap::new();
        let mut own = 0;
        for other in self.live.iter().filter(|other| other.state == State::Queued && other.model == *model) {
            if other.class != class {
                *classes.entry(other.class).or_default() += 1;
            } else if other.tenant == *tenant {
                own += u64::from(other.id < job);
            } else {
                *lengths.entry(&other.tenant).or_default() += 1;
            }
        }
        let others: u64 = lengths.values().map(|length| (*length).min(own + 1)).sum();
        let turns = own + 1 + others;
        let meanwhile = |other: Class| turns * u64::from(other.floor()) / u64::from(class.floor());
        let urgent: u64 = classes.into_iter().map(|(other, length)| length.min(meanwhile(other))).sum();
        Ahead { own, others: others + urgent }
    }

    /// Returns how far a job is in the model, where its worker has told.
    pub fn progress(&self, job: &JobRecord) -> Option<JobProgress> {
        let worker = self.workers().iter().find(|node| Some(&node.name) == job.worker.as_ref())?;
        worker.record.as_ref()?.progress.iter().find(|progress| progress.job == job.id).copied()
    }

    /// Returns a worker that died lately, how often, and whether it is there again; one that is not before others.
    fn died(&self) -> Option<(&WorkerId, u64, bool)> {
        let mut died: BTreeMap<&WorkerId, u64> = BTreeMap::new();
        for happening in self.minutes.values().flat_map(|minute| &minute.happenings) {
            if let What::WorkerDied(worker) | What::WorkerSilent(worker) = &happening.what {
                *died.entry(worker).or_default() += 1;
            }
        }
        let back = |worker: &WorkerId| self.workers().iter().any(|node| node.name == *worker && node.connected());
        let found = died.into_iter().map(|(worker, times)| (worker, times, back(worker)));
        found.max_by_key(|(_, times, back)| (!back, *times))
    }

    /// Says which certificate ends soon, or has ended, and whether that is urgent.
    fn ending(&self) -> Option<Trouble> {
        let Certificate { holder, end } = self.certificates.iter().min_by_key(|certificate| certificate.end.at)?;
        let left = u64::try_from(end.at).unwrap_or(0).checked_sub(self.at / 1000).map(Duration::from_secs);
        let [soon, urgent] = [SOON, URGENT].map(|ending| left.unwrap_or_default() < ending);
        let when = match left {
            Some(left) => format!("ends in {}", span(left.as_secs() * 1000)),
            None => "has ended".to_owned(),
        };
        let sentence = format!("{holder}'s certificate for {} {when}.", end.certificate.replace('_', " "));
        soon.then_some(Trouble { broken: urgent, sentence, path: "/admin/workers#certificates" })
    }

    /// Returns the worst of what is wrong.
    pub fn trouble(&self) -> Option<Trouble> {
        let broken = |sentence: String, path| Some(Trouble { broken: true, sentence, path });
        let degraded = |sentence: String, path| Some(Trouble { broken: false, sentence, path });
        if self.full {
            let sentence = "A disk is full, of the store or of a folder for uploads: requests that need room are refused, and nothing \
                            new is kept.";
            return broken(sentence.into(), "/admin/jobs");
        }
        if !self.led {
            let sentence = "No scheduler was heard of for 30 s: jobs are accepted and kept, and none is given out.";
            return broken(sentence.into(), "/admin/workers");
        }
        if let Some((key, why)) = self.models.iter().find_map(|record| match &record.state {
            ModelState::Failed(why) => Some((&record.key, why)),
            _ => None,
        }) {
            return broken(format!("The model {key} cannot be loaded: {why}."), "/admin/models");
        }
        let happened = self.minutes.values().rev().flat_map(|minute| minute.happenings.iter().rev());
        let spoilt = happened.map(|happening| &happening.what).find_map(|what| match what {
            What::Drifted(worker, model) => Some((worker, model, "gave other numbers than it gave before")),
            What::Corrupted(worker, model) => Some((worker, model, "had weights that have changed in memory")),
            _ => None,
        });
        if let Some((worker, model, what)) = spoilt {
            let sentence = format!(
                "{model} on the worker {worker} {what}, in the last {RECENT} minutes, and is loaded again: results of its jobs \
                 before that may be wrong."
            );
            return broken(sentence, "/admin/workers");
        }
        if !self.workers().iter().any(Node::connected) {
            return broken("No worker is connected: jobs wait until one comes.".into(), "/admin/workers");
        }
        if let Some(ending) = self.ending().filter(|trouble| trouble.broken) {
            return Some(ending);
        }
        let faults: u64 =
            self.minutes.values().flat_map(|minute| minute.tallies.values()).map(|tally| tally.failed_server).sum();
        if faults > 0 {
            let jobs = if faults == 1 { "1 job".into() } else { format!("{faults} jobs") };
            let sentence = format!("{jobs} failed in the last {RECENT} minutes by the server's fault.");
            return degraded(sentence, "/admin/jobs?state=failed");
        }
        if let Some(worker) = self.workers().iter().find(|worker| worker.record.is_some() && !worker.connected()) {
            let sentence = format!("The worker {} lost its connection; what it has goes on.", worker.name);
            return degraded(sentence, "/admin/workers");
        }
        if let Some((worker, times, back)) = self.died() {
            let how = if times == 1 { "died".to_owned() } else { format!("died {times} times") };
            let now = if back { "is there again" } else { "has not come back" };
            let sentence =
                format!("The worker {worker} {how} in the last {RECENT} minutes, and {now}: what it had runs again.");
            return degraded(sentence, "/admin/workers");
        }
        if let Some(ending) = self.ending() {
            return Some(ending);
        }
        if let Some((tenant, jobs)) = &self.flood {
            let sentence = format!(
                "{tenant} has {jobs} jobs that have not ended, as many as a tenant may: whatever more it sends is refused."
            );
            return degraded(sentence, "/admin/tenants");
        }
        let longest = self.lines().into_iter().find_map(|(line, of)| Some((line, self.at.saturating_sub(of.oldest?))));
        if let Some(((tenant, model), waited)) = longest.filter(|(_, waited)| *waited > LONG) {
            let why = self.why(&model);
            return degraded(format!("A job of {tenant} has waited for {}: {why}.", span(waited)), "/admin");
        }
        None
    }
}

/// Returns what certificates are used: by gateways and schedulers, and by the workers that are there.
fn certificates(holders: &[CertificateHolder], nodes: &[Node]) -> Vec<Certificate> {
    let holders = holders.iter().map(|holder| (format!("The {} {}", holder.role, holder.name), &holder.certificates));
    let records = nodes.iter().filter_map(|node| node.record.as_ref());
    let workers = records.map(|node| (format!("The worker {}", node.name), &node.certificates));
    let one = |(holder, ends): (String, &Vec<CertificateEnd>)| -> Vec<Certificate> {
        ends.iter().map(|end| Certificate { holder: holder.clone(), end: end.clone() }).collect()
    };
    holders.chain(workers).flat_map(one).collect()
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
    use store::{ModelWait, NodeRecord, ReplicaRecord};

    use super::super::workers;
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
            worker: (state != State::Queued).then(|| WorkerId::new("w")),
            accepted_at,
            dispatched_at: 0,
            started_at: 0,
            submission_key: None,
            at_once: 0,
            class: Class::default(),
            revision: 0,
        }
    }

    fn held(holder: &str, certificate: &str, left: i64) -> Certificate {
        Certificate { holder: holder.into(), end: (certificate, 1000 + left).into() }
    }

    fn now(live: Vec<Live>, state: ModelState) -> Now {
        let key = ModelKey::new("o/n", None);
        let stage = if state == ModelState::Ready { "ready" } else { "loading" }.to_owned();
        let replica = ReplicaRecord { model: key.clone(), stage, device: "cpu".into(), bytes: 7, jobs: 0, loaded: 0 };
        let record = NodeRecord {
            name: WorkerId::new("w"),
            version: "0.1.0".into(),
            connected: true,
            slots: 2,
            jobs: 0,
            devices: vec![("cpu".into(), 80)],
            replicas: vec![replica],
            warm_bytes: 0,
            kept: vec![],
            rank_address: String::new(),
            memory: vec![],
            progress: vec![],
            certificates: vec![],
        };
        Now {
            at: 1_000_000,
            live,
            models: vec![ModelRecord { state, ..ModelRecord::waiting(key.clone(), "/m".into()) }],
            specifications: vec![Specification::new(key, "/m".into())],
            bookings: Vec::new(),
            led: true,
            queue_time: None,
            nodes: vec![Node { name: record.name.clone(), record: Some(record), cordon: None }],
            minutes: BTreeMap::new(),
            flood: None,
            full: false,
            certificates: Vec::new(),
        }
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
        let shown = now(jobs, ModelState::Ready);
        let lines = shown.lines();
        let told: Vec<_> = lines
            .iter()
            .map(|((tenant, _), line)| (tenant.as_str(), line.waiting, line.running, line.oldest))
            .collect();
        assert_eq!(told, [("bob", 2, 0, Some(400_000)), ("ada", 1, 1, Some(500_000)), ("eve", 0, 1, None)]);
        assert_eq!(shown.counts(), (3, 2));
        assert_eq!(shown.why(&ModelKey::new("o/n", None)), "no room: all 2 places are taken");
        let model = ModelKey::new("o/n", None);
        let mut shown = now(vec![], ModelState::Loading { fraction: 0.43 });
        assert_eq!(shown.why(&model), "the model is loading, 43 %");
        shown.models[0].state = ModelState::Cold;
        shown.models[0].wait = Some(ModelWait { why: "others have the room".into(), expected_at: Some(1_012_000) });
        assert_eq!(shown.why(&model), "the model is not loaded: others have the room; ready in about 12.0 s");
    }

    #[test]
    fn tenants_take_turns_so_what_comes_before_a_job_is_bounded_by_its_own_place() {
        let mut jobs: Vec<Live> = (0..50).map(|_| live("flood", State::Queued, 1)).collect();
        let own: Vec<Live> = (0..3).map(|_| live("ada", State::Queued, 2)).collect();
        jobs.extend(own.iter().cloned());
        let shown = now(jobs, ModelState::Ready);
        let ahead = |job: &Live| shown.before(job.id, &job.tenant, &job.model, job.class);
        assert_eq!(ahead(&own[0]), Ahead { own: 0, others: 1 });
        assert_eq!(ahead(&own[2]), Ahead { own: 2, others: 3 });
    }

    #[test]
    fn of_other_classes_as_many_come_before_a_job_as_their_floors_give_them_turns() {
        let of = |tenant: &str, class| Live { class, ..live(tenant, State::Queued, 1) };
        let (low, high) = (of("patient", Class::Low), of("urgent", Class::High));
        let mut jobs: Vec<Live> = (0..50).map(|_| of("flood", Class::Normal)).collect();
        jobs.extend([low.clone(), high.clone()]);
        let shown = now(jobs, ModelState::Ready);
        let ahead = |job: &Live| shown.before(job.id, &job.tenant, &job.model, job.class);
        // Three normal ones for one that is low, and the only urgent one.
        assert_eq!(ahead(&low), Ahead { own: 0, others: 4 });
        assert_eq!(ahead(&high), Ahead { own: 0, others: 0 });
    }

    #[test]
    fn the_worst_that_is_wrong_is_told() {
        let mut shown = now(vec![live("ada", State::Queued, 1)], ModelState::Ready);
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
        shown.minutes.clear();
        shown.flood = Some((TenantId::new("ada"), 100));
        assert!(told(&shown).unwrap().1.starts_with("ada has 100 jobs that have not ended, as many as a tenant may"));
        let mut minute = Minute::default();
        minute.happened(60_000, What::WorkerDied(WorkerId::new("w")));
        minute.happened(61_000, What::WorkerDied(WorkerId::new("w")));
        minute.happened(61_000, What::WorkerCame(WorkerId::new("w")));
        shown.minutes.insert(1, minute);
        assert!(
            told(&shown).unwrap().1.starts_with("The worker w died 2 times in the last 10 minutes, and is there again")
        );
        let mut gone = Minute::default();
        gone.happened(90_000, What::WorkerSilent(WorkerId::new("x")));
        shown.minutes.insert(2, gone);
        assert!(told(&shown).unwrap().1.starts_with("The worker x died in the last 10 minutes, and has not come back"));
        shown.minutes.clear();
        for (left, broken, says) in
            [(13 * 86_400, false, "ends in 13.0 d."), (86_400, true, "ends in 1.00 d."), (-1, true, "has ended.")]
        {
            shown.certificates =
                vec![held("The gateway g", "peer", 15 * 86_400), held("The worker w", "peer_authority", left)];
            assert_eq!(
                told(&shown).unwrap(),
                (broken, format!("The worker w's certificate for peer authority {says}"))
            );
        }
        let page = workers::body(&shown).into_string();
        let rows: Vec<_> = page.split("<tr>").filter(|row| row.contains("data-name=\"Ends\"")).collect();
        assert!(rows.len() == 2 && rows[0].contains("The worker w") && rows[0].contains("has ended"), "{rows:?}");
        shown.certificates = vec![held("The scheduler s", "peer", 15 * 86_400)];
        assert!(told(&shown).unwrap().1.starts_with("ada has 100 jobs"));
        shown.full = true;
        assert!(matches!(told(&shown), Some((true, sentence)) if sentence.starts_with("A disk is full")));
        shown.full = false;
        shown.nodes[0].record.as_mut().unwrap().connected = false;
        assert!(told(&shown).unwrap().1.starts_with("No worker is connected"));
        let drifted = What::Drifted(WorkerId::new("w"), ModelKey::new("o/n", None));
        shown.minutes.entry(1).or_default().happened(60_000, drifted);
        assert!(told(&shown).unwrap().1.starts_with("o/n on the worker w gave other numbers"));
        let changed = What::Corrupted(WorkerId::new("w"), ModelKey::new("o/n", None));
        shown.minutes.entry(2).or_default().happened(120_000, changed);
        assert!(told(&shown).unwrap().1.starts_with("o/n on the worker w had weights that have changed in memory"));
        shown.models[0].state = ModelState::Failed("no file".into());
        assert_eq!(told(&shown).unwrap(), (true, "The model o/n cannot be loaded: no file.".into()));
        shown.led = false;
        assert!(told(&shown).unwrap().1.starts_with("No scheduler"));
    }
}
