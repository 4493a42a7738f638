//! Which models are hosted, and where they are: has it decided, tells workers, and shows what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use ids::{ModelKey, TenantId, WorkerId};
use placement::{Cluster, Demand, Hosting, Kept, Move, Node, Seat, Stage, Wait, Why, Window, Work, arrange};
use proto::v1;
use proto::v1::model_state::State as Told;
use store::{Bookings, Cordon, Error, ModelRecord, ModelState, ModelWait, Models, NodeRecord, Nodes, ReplicaRecord};
use store::{Specification, Specifications, percent};

use super::Leader;
use crate::config::HostedModel;
use crate::crew::{Member, Replica, ReplicaState, spans};
use crate::metrics;
use crate::sessions::{SessionId, ToldModel};
use crate::wire;

/// What is known of hosted models and of where they may be.
pub struct Hosted {
    models: Models,
    specifications: Specifications,
    bookings: Bookings,
    nodes: Nodes,
    all: BTreeMap<ModelKey, Known>,
    cordons: BTreeMap<WorkerId, Cordon>,
    /// Where models could not be loaded: how often in a row, and until when another place is tried first.
    failures: BTreeMap<(ModelKey, WorkerId), (u32, Duration)>,
    /// Nodes as the store has them, and since when.
    shown: BTreeMap<WorkerId, (Option<NodeRecord>, Duration)>,
    /// Whether models have to be looked at.
    changed: bool,
    /// Models whose states have to be worked out again.
    touched: BTreeSet<ModelKey>,
}

/// A hosted model.
struct Known {
    specification: Specification,
    /// What it takes on its device, once a worker has said so.
    bytes: Option<u64>,
    load_time: Duration,
    /// How long it took to load from weights that were kept, and what those take, once a worker has said so.
    warm_time: Option<Duration>,
    kept_bytes: Option<u64>,
    windows: Vec<Window>,
    demand: Demand,
    /// Since when jobs have waited for it.
    since: Option<Duration>,
    /// Whether it is ready nowhere.
    cold: bool,
    wait: Option<(Why, Option<Duration>)>,
    /// As the store has it.
    shown: Option<ModelRecord>,
    /// What a worker told of its modules, and whether that is in the store.
    outline: Option<Bytes>,
    outline_shown: bool,
}

/// How long a model is taken to load that never was.
const LOAD_TIME: Duration = Duration::from_secs(10);

/// What part of that it is taken to load in from weights that are kept, before it ever was.
const WARM_PART: u32 = 4;

/// The waits before a model is tried again where it failed, from the first to the longest.
const AVOIDED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// How far the time at which a model is expected has to move to be told again.
const MOVED: Duration = Duration::from_secs(5);

/// How often the jobs of a node are shown: of few nodes more often than of many, of which so many are in the shorter of the times.
const SHOWN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
const NODES: u32 = 200;

/// How often what a node measured and how far its jobs are is shown where nothing else changes: of ten nodes, and of more so often
/// that all together are two writes a second.
const MEASURED: Duration = Duration::from_secs(5);
const MEASURED_BY_EACH: Duration = Duration::from_millis(500);

impl Hosted {
    pub fn new(models: Models, specifications: Specifications, nodes: Nodes) -> Self {
        Self {
            bookings: models.bookings(),
            models,
            specifications,
            nodes,
            all: BTreeMap::new(),
            cordons: BTreeMap::new(),
            failures: BTreeMap::new(),
            shown: BTreeMap::new(),
            changed: true,
            touched: BTreeSet::new(),
        }
    }

    /// Reads what is to be hosted, what the settings name among it, and returns what tells of changes.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn recover(&mut self, configured: &[HostedModel], now: u64) -> Result<BoxStream<'static, ()>, Error> {
        let wishes = futures::stream::select(self.specifications.watch().await?, self.nodes.watch_cordons().await?);
        let wishes = futures::stream::select(wishes, self.bookings.watch().await?);
        for model in configured {
            let wanted = |before: Option<Specification>| {
                let HostedModel { key, folder, dtype, device, ranks, residency } = model.clone();
                let kept = before.clone().unwrap_or_else(|| Specification::new(key, folder.clone()));
                let after = Specification { folder, dtype, device, ranks, residency, configured: true, ..kept };
                (before.as_ref() != Some(&after)).then_some(Specification { changed_at: now, ..after })
            };
            self.specifications.change(&model.key, wanted).await?;
        }
        for specification in self.specifications.list().await? {
            if specification.configured && !configured.iter().any(|model| model.key == specification.key) {
                self.specifications.remove(&specification.key).await?;
            }
        }
        for node in self.nodes.list().await? {
            self.shown.insert(node.name.clone(), (Some(node), Duration::ZERO));
        }
        Ok(wishes.map(|_| ()).boxed())
    }

    /// Has models looked at before the next decision.
    pub fn change(&mut self) {
        self.changed = true;
    }

    /// Returns whether a model is hosted and ready nowhere.
    pub fn is_cold(&self, key: &ModelKey) -> bool {
        self.all.get(key).is_some_and(|known| known.cold)
    }

    /// Returns the hosted models.
    pub fn keys(&self) -> impl Iterator<Item = &ModelKey> {
        self.all.keys()
    }

    /// Notes that a job for a model was given out.
    pub fn demanded(&mut self, key: &ModelKey, cost: Duration, now: Duration) {
        if let Some(known) = self.all.get_mut(key) {
            known.demand.add(cost, now);
        }
    }

    /// Returns whether a worker is given nothing new.
    pub fn is_cordoned(&self, worker: &WorkerId) -> bool {
        self.cordons.contains_key(worker)
    }

    /// Notes that a model could not be loaded by a worker. Elsewhere is tried first for a while.
    fn avoid(&mut self, key: &ModelKey, worker: &WorkerId, now: Duration) {
        let (count, until) = self.failures.entry((key.clone(), worker.clone())).or_default();
        *count += 1;
        *until = now + (AVOIDED.0 * 2_u32.saturating_pow(*count - 1)).min(AVOIDED.1);
    }
}

impl Leader {
    /// Takes in what is wished for: models, and nodes that are to be left alone.
    pub(super) async fn look_at_wishes(&mut self) -> Result<(), Error> {
        let specifications = self.hosted.specifications.list().await?;
        let bookings = self.hosted.bookings.list().await?;
        let cordons = self.hosted.nodes.cordons().await?;
        if self.hosted.cordons != cordons {
            self.hosted.cordons = cordons;
            let seats: Vec<Seat> = self.crew.iter().map(|(seat, _)| seat).collect();
            for seat in seats {
                if let Some(member) = self.crew.get_mut(seat) {
                    member.cordoned = self.hosted.is_cordoned(&member.worker);
                }
                self.refresh(seat);
            }
            self.hosted.change();
        }
        let wanted: BTreeSet<&ModelKey> = specifications.iter().map(|specification| &specification.key).collect();
        let gone: Vec<ModelKey> = self.hosted.all.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in gone {
            // First: where that fails, it is looked for again, or gateways would take jobs for it.
            self.hosted.models.remove(&key).await?;
            self.hosted.all.remove(&key);
            self.view.withdraw(&key);
            self.queue.forget(&key);
            self.hosted.failures.retain(|(model, _), _| *model != key);
            self.hosted.change();
        }
        for specification in specifications {
            self.host(specification).await?;
        }
        for (key, known) in &mut self.hosted.all {
            let its = bookings.iter().filter(|booking| booking.model == *key);
            let windows: Vec<Window> = its.map(|booking| booking.window.clone()).collect();
            if known.windows != windows {
                known.windows = windows;
                self.hosted.changed = true;
            }
        }
        Ok(())
    }

    /// Removes what is shown of models that are hosted no longer, since a time in which nobody led.
    pub(super) async fn forget_unhosted(&mut self) -> Result<(), Error> {
        for record in self.hosted.models.list().await? {
            if !self.hosted.all.contains_key(&record.key) {
                self.hosted.models.remove(&record.key).await?;
            }
        }
        Ok(())
    }

    async fn host(&mut self, specification: Specification) -> Result<(), Error> {
        let key = specification.key.clone();
        if specification.ranks > 1 {
            metrics::ranks(&key);
        }
        if let Some(known) = self.hosted.all.get_mut(&key) {
            if known.specification == specification {
                return Ok(());
            }
            if !known.specification.loads_as(&specification) {
                known.bytes = None;
                (known.outline, known.outline_shown) = (None, false);
                (known.warm_time, known.kept_bytes) = (None, None);
                self.hosted.failures.retain(|(model, _), _| *model != key);
                for (_, member) in self.crew.iter_mut() {
                    // Weights of other files are of no use.
                    if member.kept.remove(&key).is_some()
                        && let Some(outbox) = member.outbox()
                    {
                        outbox.send(wire::cool_model(&key));
                    }
                    if let Some(replica) = member.models.get_mut(&key) {
                        replica.stale = true;
                    }
                }
            }
            if let Some(known) = self.hosted.all.get_mut(&key) {
                known.specification = specification;
            }
        } else {
            // What an earlier scheduler found out.
            let before = self.hosted.models.get(&key).await.ok().flatten();
            // What a streamed one takes depends on that, which records do not have.
            let same = !specification.is_streamed()
                && before.as_ref().is_some_and(|it| {
                    (&it.folder, &it.dtype, &it.device, it.ranks)
                        == (&specification.folder, &specification.dtype, &specification.device, specification.ranks)
                });
            let bytes = before.as_ref().filter(|it| same && it.bytes > 0).map(|it| it.bytes);
            let kept_bytes = before.as_ref().filter(|it| same && it.kept_bytes > 0).map(|it| it.kept_bytes);
            let warm_time = before.as_ref().map(|it| it.warm_time).filter(|time| same && !time.is_zero());
            let load_time = before.map(|it| it.load_time).filter(|time| !time.is_zero()).unwrap_or(LOAD_TIME);
            let known = Known {
                specification,
                bytes,
                load_time,
                warm_time,
                kept_bytes,
                windows: Vec::new(),
                demand: Demand::default(),
                since: None,
                cold: true,
                wait: None,
                shown: None,
                outline: None,
                outline_shown: false,
            };
            self.hosted.all.insert(key.clone(), known);
            self.view.host(key.clone(), Hosting::Served);
        }
        self.hosted.change();
        self.refresh_model(&key).await;
        Ok(())
    }

    /// Takes in how a model is on a worker.
    pub(super) async fn hear_model(&mut self, session: SessionId, told: ToldModel) {
        let Some(seat) = self.crew.of_session(session) else { return };
        let key = told.key.clone();
        self.note_model(seat, told);
        self.refresh(seat);
        self.refresh_model(&key).await;
        self.hosted.change();
    }

    /// Notes how a model is on a worker.
    pub(super) fn note_model(&mut self, seat: Seat, told: ToldModel) {
        let now = self.pace.passed();
        let ToldModel { key, state, hopeless, bytes, device, outline, kept, warm, beside } = told;
        let Some(member) = self.crew.get_mut(seat) else { return };
        let worker = member.worker.clone();
        match (kept, &state) {
            // What is being read is there when all of it is.
            (0, Told::Loading(_)) => {}
            (0, _) => drop(member.kept.remove(&key)),
            (bytes, _) => drop(member.kept.insert(key.clone(), Kept { bytes, ready: true })),
        }
        let before = member.models.get(&key).cloned();
        // Who says nothing of its other ranks has them where they were to be.
        let beside = match &before {
            Some(before) if beside.is_empty() => before.beside.clone(),
            _ => beside,
        };
        let over_several = spans(&worker, &beside);
        let known = self.hosted.all.get_mut(&key);
        let known_bytes = known.as_ref().and_then(|known| known.bytes);
        if let Some(known) = known {
            // What it takes where all of it is on one node: several have parts of it.
            if bytes > 0 && !over_several {
                known.bytes = Some(bytes);
            }
            if kept > 0 {
                known.kept_bytes = Some(kept);
            }
            // That of one replica will do: others differ in how long they took.
            if !outline.is_empty() && known.outline.is_none() {
                known.outline = Some(outline);
            }
        }
        let stage = before.as_ref().map(|replica| &replica.state);
        let state = match (state, stage) {
            (Told::Unloaded(_), _) => {
                member.models.remove(&key);
                return;
            }
            (Told::NoRoom(_), _) => {
                member.models.remove(&key);
                // It was taken to fit, and does not.
                if known_bytes == Some(bytes) || bytes == 0 || over_several {
                    self.hosted.avoid(&key, &worker, now);
                }
                return;
            }
            // It was told before it heard that the model is to go.
            (Told::Loading(_) | Told::Ready(_), Some(ReplicaState::Unloading)) => return,
            (Told::Ready(_), Some(ReplicaState::Retiring)) => return,
            (Told::Loading(fraction), _) => ReplicaState::Loading(fraction),
            (Told::Ready(_), _) => ReplicaState::Ready,
            (Told::Failed(why), _) => ReplicaState::Failed { why, hopeless },
        };
        let same = before
            .as_ref()
            .is_some_and(|before| std::mem::discriminant(&before.state) == std::mem::discriminant(&state));
        let since = before.as_ref().filter(|_| same).map_or(now, |before| before.since);
        match (&state, before.as_ref().map(|before| &before.state)) {
            (ReplicaState::Ready, Some(ReplicaState::Loading(_))) => {
                let began = before.as_ref().map_or(now, |before| before.since);
                if let Some(known) = self.hosted.all.get_mut(&key) {
                    let took = now.saturating_sub(began).max(Duration::from_millis(10));
                    if warm {
                        known.warm_time = Some(took);
                    } else {
                        known.load_time = took;
                    }
                }
                self.hosted.failures.remove(&(key.clone(), worker));
            }
            (ReplicaState::Failed { .. }, _) => self.hosted.avoid(&key, &worker, now),
            _ => {}
        }
        let known_bytes = self.hosted.all.get(&key).and_then(|known| known.bytes);
        let Some(member) = self.crew.get_mut(seat) else { return };
        let replica = Replica {
            state,
            device: device.or_else(|| before.as_ref().and_then(|before| before.device.clone())),
            bytes: match &before {
                _ if bytes > 0 => bytes,
                Some(before) if over_several => before.bytes,
                _ => known_bytes.unwrap_or(0),
            },
            beside,
            since,
            used: before.as_ref().map_or(now, |before| before.used),
            stale: before.is_some_and(|before| before.stale),
        };
        member.models.insert(key, replica);
    }

    /// Tells a worker that came back again what it has loaded: where that is specified otherwise by now, it loads anew.
    pub(super) fn confirm_models(&self, seat: Seat) {
        let Some(member) = self.crew.get(seat) else { return };
        let Some(outbox) = member.outbox() else { return };
        for (key, replica) in &member.models {
            if let Some(known) = self.hosted.all.get(key) {
                // As it was ordered, so that what is there stays.
                let wanted = known.specification.device.as_deref().map(placement::device_name);
                let device = match wanted {
                    None => replica.device.clone(),
                    Some(name) => member.devices.contains_key(name).then(|| name.to_owned()),
                };
                // Of one whose other ranks are not all back yet, nothing can be said. What it keeps it has said.
                if let Some(hosts) = self.rank_hosts(&member.worker, &replica.beside) {
                    outbox.send(wire::load_model(&known.specification, device, false, hosts));
                }
            }
        }
    }

    /// Decides where models are, if anything changed that this depends on, and has it done.
    pub(super) async fn arrange(&mut self) {
        if self.draining || !std::mem::take(&mut self.hosted.changed) {
            return;
        }
        let now = self.pace.passed();
        let reserved = self.reserve();
        let cluster = self.cluster();
        let arrangement = arrange(&cluster, now);
        // Who comes back may have it all already.
        let waits_for_others = !self.awaited.is_empty();
        let mut touched = std::mem::take(&mut self.hosted.touched);
        touched.extend(reserved);
        for each in arrangement.moves {
            if let Move::Load { model, .. } = &each
                && waits_for_others
                && cluster.models.get(model).is_some_and(|it| it.replicas.max.is_some())
            {
                continue;
            }
            metrics::placed(&each);
            match each {
                Move::Load { model, seat, device, keep, beside, bytes } => {
                    self.load(seat, &model, device, keep, &beside, bytes);
                    touched.insert(model);
                }
                Move::Cool { model, seat } => {
                    if let Some(member) = self.crew.get_mut(seat) {
                        member.kept.remove(&model);
                        if let Some(outbox) = member.outbox() {
                            tracing::info!(%model, seat, "a model's weights are kept no longer");
                            outbox.send(wire::cool_model(&model));
                        }
                    }
                    touched.insert(model);
                }
                Move::Retire { model, seat } => {
                    self.set_state(seat, &model, ReplicaState::Retiring);
                    touched.insert(model);
                }
                Move::Unload { model, seat } => {
                    self.set_state(seat, &model, ReplicaState::Unloading);
                    if let Some(outbox) = self.crew.get(seat).and_then(Member::outbox) {
                        tracing::info!(%model, seat, "a model is unloaded");
                        outbox.send(wire::unload_model(&model));
                    }
                    touched.insert(model);
                }
            }
        }
        touched.extend(self.note_waits(arrangement.waits));
        for key in touched {
            self.refresh_model(&key).await;
        }
    }

    /// Has jobs of one tenant alone be given out for the models that are booked for it. Returns those of which that is new.
    fn reserve(&mut self) -> Vec<ModelKey> {
        let time = self.settler.clock.unix_millis();
        let mut changed = Vec::new();
        for (key, known) in &self.hosted.all {
            if known.windows.is_empty() && self.view.reserved(key).is_none() {
                continue;
            }
            let reserved = known.reserved(time);
            let new = self.view.reserve(key, reserved.as_ref().map(|(tenant, _)| tenant));
            if new || known.shown.as_ref().is_some_and(|shown| shown.reservation != reserved) {
                changed.push(key.clone());
            }
        }
        changed
    }

    /// Returns where the ranks of a model are that others hold than its own worker; `None` where one of them is not known.
    fn rank_hosts(&self, worker: &WorkerId, beside: &[(WorkerId, String)]) -> Option<Vec<v1::RankHost>> {
        if !spans(worker, beside) {
            return Some(Vec::new());
        }
        let host = |(name, device): &(WorkerId, String)| {
            let member = self.crew.get(self.crew.named(name)?)?;
            let address = Some(member.rank_address.clone()).filter(|address| !address.is_empty())?;
            Some(v1::RankHost { worker: name.to_string(), address, device: device.clone() })
        };
        beside.iter().map(host).collect()
    }

    fn load(
        &mut self,
        seat: Seat,
        key: &ModelKey,
        device: Option<String>,
        keep: bool,
        beside: &[(Seat, String)],
        bytes: u64,
    ) {
        let now = self.pace.passed();
        let Some(known) = self.hosted.all.get(key) else { return };
        let named = |(seat, device): &(Seat, String)| Some((self.crew.get(*seat)?.worker.clone(), device.clone()));
        let Some(beside) = beside.iter().map(named).collect::<Option<Vec<_>>>() else { return };
        let Some(hosts) = self.crew.get(seat).and_then(|member| self.rank_hosts(&member.worker, &beside)) else {
            return;
        };
        let Some(member) = self.crew.get_mut(seat) else { return };
        let replica = Replica {
            state: ReplicaState::Loading(0.0),
            device: device.clone().or_else(|| known.specification.device.clone()),
            bytes,
            beside,
            since: now,
            used: now,
            stale: false,
        };
        member.models.insert(key.clone(), replica);
        if keep {
            let bytes = known.kept_bytes.or(known.bytes).unwrap_or(0);
            member.kept.entry(key.clone()).or_insert(Kept { bytes, ready: false });
        }
        if let Some(outbox) = member.outbox() {
            let ranks: Vec<&str> = hosts.iter().map(|host| host.worker.as_str()).collect();
            tracing::info!(model = %key, worker = %member.worker, ?ranks, keep, "a model is loaded");
            outbox.send(wire::load_model(&known.specification, device, keep, hosts));
        }
        self.refresh(seat);
    }

    fn set_state(&mut self, seat: Seat, key: &ModelKey, state: ReplicaState) {
        let now = self.pace.passed();
        if let Some(replica) = self.crew.get_mut(seat).and_then(|member| member.models.get_mut(key)) {
            (replica.state, replica.since) = (state, now);
        }
        self.refresh(seat);
    }

    /// Notes why models are waited for. Returns those of which there is something new to tell.
    fn note_waits(&mut self, waits: BTreeMap<ModelKey, Wait>) -> Vec<ModelKey> {
        let now = self.pace.passed();
        let mut told = Vec::new();
        for (key, known) in &mut self.hosted.all {
            let wait = waits.get(key).map(|wait| {
                let began = || {
                    let its = self.crew.iter().filter_map(|(_, member)| member.models.get(key));
                    its.filter(|it| matches!(it.state, ReplicaState::Loading(_))).map(|it| it.since).min()
                };
                let from = if wait.why == Why::Loading { began().unwrap_or(now) } else { now };
                (wait.why.clone(), wait.about.map(|about| from + about).filter(|at| *at > now))
            });
            let same = match (&wait, &known.wait) {
                (None, None) => true,
                (Some((why, at)), Some((before, told))) => {
                    let near = match (at, told) {
                        (Some(at), Some(told)) => at.abs_diff(*told) < MOVED,
                        (at, told) => at == told,
                    };
                    why == before && near
                }
                _ => false,
            };
            if !same {
                known.wait = wait;
                told.push(key.clone());
            }
        }
        told
    }

    /// Returns the cluster as far as models depend on it.
    fn cluster(&mut self) -> Cluster {
        let now = self.pace.passed();
        self.hosted.failures.retain(|_, (_, until)| *until + AVOIDED.1 > now);
        let mut cluster = Cluster { time: self.settler.clock.unix_millis(), ..Cluster::default() };
        for (seat, member) in self.crew.iter() {
            let mut jobs: BTreeMap<&ModelKey, usize> = BTreeMap::new();
            for assigned in member.jobs.values() {
                *jobs.entry(&assigned.model).or_default() += 1;
            }
            let replica = |(key, replica): (&ModelKey, &Replica)| {
                // Its worker tries again by itself, but with those who were there: after a while, others may do.
                let failed = matches!(replica.state, ReplicaState::Failed { hopeless: false, .. });
                let tried = self.hosted.failures.get(&(key.clone(), member.worker.clone()));
                let over = failed && replica.spans(&member.worker) && tried.is_none_or(|(_, until)| *until <= now);
                let replica = placement::Replica {
                    stage: stage(&replica.state),
                    device: replica.device.clone(),
                    bytes: replica.bytes,
                    beside: replica
                        .beside
                        .iter()
                        .filter_map(|(worker, device)| Some((self.crew.named(worker)?, device.clone())))
                        .collect(),
                    jobs: jobs.get(key).copied().unwrap_or(0),
                    since: replica.since,
                    used: replica.used,
                    stale: replica.stale || over,
                };
                (key.clone(), replica)
            };
            let cordon = self.hosted.cordons.get(&member.worker);
            let node = Node {
                devices: member.devices.clone(),
                replicas: member.models.iter().map(replica).collect(),
                host: member.host,
                kept: member.kept.clone(),
                holds_ranks: !member.rank_address.is_empty(),
                cordoned: cordon.is_some(),
                draining: cordon.is_some_and(|cordon| cordon.drain),
                away: member.outbox().is_none(),
            };
            cluster.nodes.insert(seat, node);
        }
        let mut avoided: BTreeMap<&ModelKey, BTreeSet<Seat>> = BTreeMap::new();
        for ((key, worker), (_, until)) in &self.hosted.failures {
            if *until > now
                && let Some(seat) = self.crew.named(worker)
            {
                avoided.entry(key).or_default().insert(seat);
            }
        }
        for (key, known) in &mut self.hosted.all {
            // Who may not have it at the moment does not make it come.
            let work = match self.view.reserved(key) {
                Some(tenant) => self.queue.work_of(key, tenant),
                None => self.queue.lines().contains_key(key).then(|| self.queue.work(key)),
            };
            known.since = work.map(|_| known.since.unwrap_or(now));
            let model = placement::Model {
                bytes: known.bytes,
                warm_time: known.warm_time.unwrap_or(known.load_time / WARM_PART),
                // Where nobody knows, its worker finds out.
                kept_bytes: known.may_be_kept().then(|| known.kept_bytes.or(known.bytes).unwrap_or(0)),
                work: Work { time: work.unwrap_or_default(), since: known.since },
                demand: known.demand.seconds(now),
                avoid: avoided.remove(key).unwrap_or_default(),
                ..known.booked()
            };
            cluster.models.insert(key.clone(), model);
        }
        cluster
    }

    /// Works a model's state out from all workers, the best of them, and publishes it.
    pub(super) async fn refresh_model(&mut self, key: &ModelKey) {
        let Some(known) = self.hosted.all.get_mut(key) else { return };
        let rank = |replica: &Replica| match &replica.state {
            ReplicaState::Ready => (4, 0.0),
            ReplicaState::Loading(fraction) => (3, *fraction),
            ReplicaState::Retiring => (2, 1.0),
            ReplicaState::Unloading => (2, 0.0),
            ReplicaState::Failed { hopeless, .. } => (i32::from(!hopeless), 0.0),
        };
        let replicas = || self.crew.iter().filter_map(|(_, member)| member.models.get(key));
        let best =
            replicas().max_by(|left, right| rank(left).partial_cmp(&rank(right)).unwrap_or(std::cmp::Ordering::Equal));
        let (state, hosting) = match best.map(|replica| &replica.state) {
            // Nobody is there who could have it, or all are busy with others.
            None if self.crew.iter().next().is_none() => (ModelState::Waiting, Hosting::Served),
            None | Some(ReplicaState::Retiring | ReplicaState::Unloading) => (ModelState::Cold, Hosting::Served),
            Some(ReplicaState::Ready) => (ModelState::Ready, Hosting::Served),
            Some(ReplicaState::Loading(fraction)) => (ModelState::Loading { fraction: *fraction }, Hosting::Served),
            Some(ReplicaState::Failed { why, hopeless }) => {
                let hosting = if *hopeless { Hosting::Hopeless(why.clone()) } else { Hosting::Served };
                (ModelState::Failed(why.clone()), hosting)
            }
        };
        known.cold = state != ModelState::Ready;
        if let Some(outline) = known.outline.as_ref().filter(|_| !known.outline_shown) {
            match self.hosted.models.put_outline(key, outline.clone()).await {
                Ok(()) => known.outline_shown = true,
                Err(error) => tracing::warn!(model = %key, %error, "a model's outline is not shown"),
            }
        }
        let ready = replicas().filter(|replica| replica.state == ReplicaState::Ready).count();
        let unix_now = self.settler.clock.unix_millis();
        let now = self.pace.passed();
        let wait = known.wait.as_ref().filter(|_| known.cold).map(|(why, at)| ModelWait {
            why: why_text(why),
            expected_at: at.map(|at| unix_now + u64::try_from(at.saturating_sub(now).as_millis()).unwrap_or(0)),
        });
        // What is expected stays as it was told, while it is the same.
        let wait = match (wait, known.shown.as_ref().and_then(|shown| shown.wait.clone())) {
            (Some(wait), Some(before)) if wait.why == before.why && near(wait.expected_at, before.expected_at) => {
                Some(before)
            }
            (wait, _) => wait,
        };
        let warm = self.crew.iter().filter(|(_, member)| member.warm().any(|warm| warm == key)).count();
        let reservation = known.reserved(unix_now);
        let specification = &known.specification;
        let record = ModelRecord {
            dtype: specification.dtype.clone(),
            device: specification.device.clone(),
            ranks: specification.ranks,
            state,
            bytes: known.bytes.unwrap_or(0),
            load_time: if known.load_time == LOAD_TIME { Duration::ZERO } else { known.load_time },
            replicas: u32::try_from(ready).unwrap_or(u32::MAX),
            wait,
            warm: u32::try_from(warm).unwrap_or(u32::MAX),
            warm_time: known.warm_time.unwrap_or_default(),
            kept_bytes: known.kept_bytes.unwrap_or(0),
            reservation,
            ..ModelRecord::waiting(key.clone(), specification.folder.clone())
        };
        self.view.host(key.clone(), hosting);
        if known.shown.as_ref() == Some(&record) {
            return;
        }
        match self.hosted.models.put(&record).await {
            Ok(()) => known.shown = Some(record),
            Err(error) => tracing::warn!(model = %key, %error, "a model's state is not shown"),
        }
    }

    /// Has the states of a worker's models worked out again when it comes or goes, and where they are; of all, where it is
    /// the only one. That is done once it is decided what is to be loaded: until then it would be told that nothing is.
    pub(super) fn worker_changed(&mut self, its: impl IntoIterator<Item = ModelKey>) {
        self.hosted.touched.extend(its);
        if self.crew.iter().nth(1).is_none() {
            self.hosted.touched.extend(self.hosted.all.keys().cloned());
        }
        self.hosted.change();
    }

    /// Returns which ranks workers hold of models that others serve, or that they serve on another of their devices.
    fn parts(&self) -> BTreeMap<WorkerId, Vec<ReplicaRecord>> {
        let mut parts: BTreeMap<WorkerId, Vec<ReplicaRecord>> = BTreeMap::new();
        for (key, replica) in self.crew.iter().flat_map(|(_, member)| &member.models) {
            if matches!(replica.state, ReplicaState::Failed { .. }) {
                continue;
            }
            for (worker, device) in &replica.beside {
                let (model, device) = (key.clone(), device.clone());
                let part =
                    ReplicaRecord { model, stage: "rank".into(), device, bytes: replica.bytes, jobs: 0, loaded: 0 };
                parts.entry(worker.clone()).or_default().push(part);
            }
        }
        parts
    }

    /// Shows how workers are, where that changed.
    pub(super) async fn show_nodes(&mut self) {
        let now = self.pace.passed();
        let mut changed = Vec::new();
        let mut parts = self.parts();
        let count = u32::try_from(self.crew.iter().count()).unwrap_or(u32::MAX);
        let shown = (SHOWN.0 * count / NODES).clamp(SHOWN.0, SHOWN.1);
        let measured = MEASURED.max(MEASURED_BY_EACH * count);
        for (_, member) in self.crew.iter() {
            let node = node_record(member, parts.remove(&member.worker).unwrap_or_default());
            let due = match self.hosted.shown.get(&member.worker) {
                Some((Some(before), at)) => {
                    // What changes all the time does not count.
                    let steady = |node: &NodeRecord| {
                        let (memory, progress) = Default::default();
                        NodeRecord { memory, progress, ..node.clone() }
                    };
                    let (was, is) = (steady(before), steady(&node));
                    let lasting = |node: &NodeRecord| NodeRecord { jobs: 0, replicas: Vec::new(), ..node.clone() };
                    let first = before.memory.is_empty() && !node.memory.is_empty();
                    let other = first || lasting(&was) != lasting(&is);
                    let stages = |node: &NodeRecord| -> Vec<(ModelKey, String, u64)> {
                        node.replicas.iter().map(|it| (it.model.clone(), it.stage.clone(), it.bytes)).collect()
                    };
                    let due = |every: Duration| *at + every <= now;
                    let moved = was != is && due(shown) || *before != node && due(measured);
                    other || stages(&was) != stages(&is) || moved
                }
                _ => true,
            };
            if due {
                changed.push(node);
            }
        }
        let here = |worker: &WorkerId| self.crew.named(worker).is_some() || self.awaited.contains(worker);
        let gone: Vec<WorkerId> = self.hosted.shown.keys().filter(|worker| !here(worker)).cloned().collect();
        match self.hosted.nodes.note(&changed, &gone).await {
            Ok(()) => {
                gone.iter().for_each(|worker| drop(self.hosted.shown.remove(worker)));
                for node in changed {
                    self.hosted.shown.insert(node.name.clone(), (Some(node), now));
                }
            }
            Err(error) => tracing::debug!(%error, "how workers are is not shown"),
        }
    }
}

impl Known {
    /// Returns what was wished for of it, as decisions see it.
    fn booked(&self) -> placement::Model {
        placement::Model { load_time: self.load_time, windows: self.windows.clone(), ..self.specification.wished() }
    }

    /// Returns whose jobs alone are given out for it at a time of day, and until when.
    fn reserved(&self, time: u64) -> Option<(TenantId, u64)> {
        self.booked().reserved(time).map(|(tenant, until)| (tenant.clone(), until))
    }

    /// Says whether its weights can be kept in memory: they go to a GPU, all of them, and are read by one process.
    fn may_be_kept(&self) -> bool {
        let on_cpu = self.specification.device.as_deref() == Some("cpu");
        !on_cpu && self.specification.ranks <= 1 && !self.specification.is_streamed()
    }
}

fn stage(state: &ReplicaState) -> Stage {
    match state {
        ReplicaState::Loading(_) => Stage::Loading,
        ReplicaState::Ready => Stage::Ready,
        ReplicaState::Retiring => Stage::Retiring,
        ReplicaState::Unloading => Stage::Unloading,
        ReplicaState::Failed { .. } => Stage::Failed,
    }
}

fn near(one: Option<u64>, other: Option<u64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => u128::from(one.abs_diff(other)) < MOVED.as_millis(),
        (one, other) => one == other,
    }
}

/// Writes why a model is waited for, as a clause about it.
fn why_text(why: &Why) -> String {
    match why {
        Why::Loading => "it is being loaded".into(),
        Why::Room => "other models have the room that it needs, and one of them is to make place for it".into(),
        Why::Nobody => "no worker is there at the moment that may have it".into(),
        Why::Closed(Some(_)) => "it is there in the times for which it is booked, and the next has yet to begin".into(),
        Why::Closed(None) => "it is there only in times for which it is booked, and it is booked for none".into(),
        Why::TooFew { ranks, bytes, there } => format!(
            "it takes {ranks} ranks of {} MB each, which no worker has room for, and {there} devices of workers that hold ranks \
             of others' models have so much for one, which only the operator can mend",
            bytes.div_ceil(1_000_000)
        ),
        Why::TooLarge { bytes, most } => format!(
            "it takes {} MB, and no worker has more than {} MB for models, which only the operator can mend",
            bytes.div_ceil(1_000_000),
            most / 1_000_000
        ),
    }
}

fn node_record(member: &Member, parts: Vec<ReplicaRecord>) -> NodeRecord {
    let jobs = |key: &ModelKey| member.jobs.values().filter(|assigned| assigned.model == *key).count();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let replica = |(key, replica): (&ModelKey, &Replica)| ReplicaRecord {
        model: key.clone(),
        stage: match &replica.state {
            ReplicaState::Loading(_) => "loading",
            ReplicaState::Ready => "ready",
            ReplicaState::Retiring => "retiring",
            ReplicaState::Unloading => "unloading",
            ReplicaState::Failed { .. } => "failed",
        }
        .into(),
        device: replica.device.clone().unwrap_or_default(),
        bytes: replica.bytes,
        jobs: count(jobs(key)),
        loaded: match &replica.state {
            ReplicaState::Loading(part) => percent(*part),
            _ => 0,
        },
    };
    NodeRecord {
        name: member.worker.clone(),
        version: member.version.clone(),
        connected: member.outbox().is_some(),
        slots: count(member.slots),
        jobs: count(member.jobs.len()),
        devices: member.devices.iter().map(|(name, bytes)| (name.clone(), *bytes)).collect(),
        replicas: member.models.iter().map(replica).chain(parts).collect(),
        rank_address: member.rank_address.clone(),
        memory: member.memory.clone(),
        progress: member.progress.clone(),
        certificates: member.certificates.clone(),
        warm_bytes: member.host,
        kept: member.kept.iter().filter(|(_, kept)| kept.ready).map(|(key, kept)| (key.clone(), kept.bytes)).collect(),
    }
}
