//! Chooses which models are loaded where, and which leave.
//!
//! Room goes by urgency: first to models that are booked; then to those that somebody waits for and nobody has, the longest
//! wait before the others; then to those with fewer replicas than they are to keep; then to those whose work takes long; and
//! what is left to models that take any room there is. All but the last may make others leave. What they are to have is
//! *claimed* from then on, so that nobody else takes room which somebody was made to leave.
//!
//! Who leaves is the replica of least value: what was asked of its model lately, times how long that takes to load again,
//! which is little where its weights are kept in the machine's memory ([`host`]).
//! Two rules keep models from chasing each other. One that is asked for stays for [`RESIDENCE`], or four times as long as
//! it takes to load again where that is longer: then no more than a fifth of a node's time goes into loading. And for the sake of
//! more replicas only what is worth half as much leaves. That nobody waits for ever follows from the first: whoever is
//! ready has stayed long enough one day, is given no more jobs for the sake of who waits, and leaves when its last has
//! ended.

mod host;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::ModelKey;

use crate::cluster::{Cluster, Model, Node, Replica, Replicas, Stage, device_name};
use crate::view::Seat;

/// How long a model that is asked for stays, at least, before another takes its place.
pub const RESIDENCE: Duration = Duration::from_secs(10);

/// How long a replica beyond the least stays that has nothing to do, where replicas are limited.
pub const IDLE: Duration = Duration::from_secs(600);

/// Device time that waits for each replica, beyond which another one is worth loading.
const BACKLOG: Duration = Duration::from_secs(30);

/// Demand below which a model is taken to be asked for no longer: a second of work, seven half-lives ago.
const FADED: f64 = 0.01;

/// What is to be done about a model on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    Load {
        model: ModelKey,
        seat: Seat,
        /// Where to put it; `None` where its node has not said what it has.
        device: Option<String>,
        /// Whether its node is to keep its weights in memory, so that it comes back sooner.
        keep: bool,
    },
    /// Gives it no more jobs. It is unloaded when it has none.
    Retire { model: ModelKey, seat: Seat },
    /// It has no jobs.
    Unload { model: ModelKey, seat: Seat },
    /// Its node is to keep its weights in memory no longer.
    Cool { model: ModelKey, seat: Seat },
}

/// Why a model that is wanted is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is being loaded.
    Loading,
    /// Another one has to leave first.
    Room,
    /// No worker is there that may have it.
    Nobody,
    /// It takes more than any worker has for models.
    TooLarge { bytes: u64, most: u64 },
    /// It is there for its windows only, and the next begins at this time, in milliseconds since 1970, if there is one.
    Closed(Option<u64>),
}

/// How a model that is wanted is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub why: Why,
    /// How long it may take until it is ready, where that can be said.
    pub about: Option<Duration>,
}

/// What was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrangement {
    pub moves: Vec<Move>,
    /// Of models that somebody waits for and that are ready nowhere.
    pub waits: BTreeMap<ModelKey, Wait>,
}

/// Chooses which models are loaded and unloaded now: same cluster and instant, same moves.
#[must_use]
pub fn arrange(cluster: &Cluster, now: Duration) -> Arrangement {
    let mut plan = Plan::new(cluster, now);
    plan.let_leave();
    plan.bring();
    Arrangement { moves: plan.moves, waits: plan.waits }
}

/// Memory of one device.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Bytes that nobody has or has claimed. Less than nothing where what is claimed has yet to become free.
    free: i128,
    /// Bytes of those who leave.
    leaving: i128,
}

/// How urgently a model is wanted on one more node; the least is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// It is booked from this time on, in milliseconds since 1970.
    Booked(u64),
    /// Somebody waits for it since then, and nobody has it.
    Waited(Duration),
    BelowMin,
    /// More work waits than its replicas do soon; so many milliseconds of it for each.
    Backlog(Reverse<u128>),
}

/// Where a model can be put: whether it failed there lately, whether it is not warm there, what is free, and where that is. The
/// least is the best.
type Place<'a> = (bool, bool, Reverse<i128>, Seat, Option<&'a str>);

struct Plan<'a> {
    cluster: &'a Cluster,
    now: Duration,
    /// How many replicas models are to have now, and from when on they are booked that are.
    wanted: BTreeMap<&'a ModelKey, (Replicas, Option<u64>)>,
    /// Bytes of machines' memory that nobody has.
    hosts: BTreeMap<Seat, i128>,
    /// What is to be kept no longer.
    cooling: BTreeSet<(Seat, &'a ModelKey)>,
    rooms: BTreeMap<(Seat, &'a str), Room>,
    /// Replicas that are ready, or will be, and stay.
    holders: BTreeMap<&'a ModelKey, usize>,
    replicas: BTreeMap<&'a ModelKey, Vec<(Seat, &'a Replica)>>,
    /// What these moves bring, and what they have leave.
    coming: BTreeSet<(Seat, &'a ModelKey)>,
    going: BTreeSet<(Seat, &'a ModelKey)>,
    moves: Vec<Move>,
    waits: BTreeMap<ModelKey, Wait>,
}

impl<'a> Plan<'a> {
    fn new(cluster: &'a Cluster, now: Duration) -> Self {
        let mut plan = Self {
            cluster,
            now,
            wanted: cluster.models.iter().map(|(key, model)| (key, model.wanted(cluster.time))).collect(),
            hosts: BTreeMap::new(),
            cooling: BTreeSet::new(),
            rooms: BTreeMap::new(),
            holders: BTreeMap::new(),
            replicas: BTreeMap::new(),
            coming: BTreeSet::new(),
            going: BTreeSet::new(),
            moves: Vec::new(),
            waits: BTreeMap::new(),
        };
        for (&seat, node) in &cluster.nodes {
            if node.host > 0 {
                let kept: u64 = node.kept.values().map(|kept| kept.bytes).sum();
                plan.hosts.insert(seat, i128::from(node.host) - i128::from(kept));
            }
            for (device, bytes) in &node.devices {
                plan.rooms.insert((seat, device), Room { free: i128::from(*bytes), leaving: 0 });
            }
            for (key, replica) in &node.replicas {
                plan.replicas.entry(key).or_default().push((seat, replica));
                let bytes = i128::from(replica.bytes);
                let room = replica.device.as_deref().and_then(|device| plan.rooms.get_mut(&(seat, device)));
                if let Some(room) = room.filter(|_| replica.stage != Stage::Failed) {
                    room.free -= bytes;
                    if matches!(replica.stage, Stage::Retiring | Stage::Unloading) {
                        room.leaving += bytes;
                    }
                }
                if matches!(replica.stage, Stage::Loading | Stage::Ready) && node.is_open() {
                    *plan.holders.entry(key).or_default() += 1;
                }
            }
        }
        plan
    }

    /// Has those leave who are not wanted where they are, whoever wants their room.
    fn let_leave(&mut self) {
        let cluster = self.cluster;
        self.cool_unhosted();
        for (&seat, node) in &cluster.nodes {
            for (key, replica) in &node.replicas {
                let unwanted = match cluster.models.get(key) {
                    None => true,
                    Some(_) => replica.stale || node.draining || replica.stage == Stage::Retiring,
                };
                // Elsewhere first: where it failed, it is asked for no longer once another has it.
                let elsewhere = replica.stage == Stage::Failed
                    && self.held(key) >= self.replicas_of(key).max.unwrap_or(usize::MAX).min(self.cluster.nodes.len());
                if unwanted || elsewhere {
                    self.leave(seat, key, replica);
                }
            }
        }
        for (key, model) in &cluster.models {
            let Replicas { min, max: Some(max) } = self.replicas_of(key) else { continue };
            let least = min.max(usize::from(model.work.since.is_some()));
            let stays = |(seat, replica): &(Seat, &Replica)| {
                replica.stage == Stage::Ready && !self.going.contains(&(*seat, key))
            };
            let mut replicas: Vec<(Seat, &Replica)> = self.replicas(key).filter(stays).collect();
            // Those without work first, and of them who has been so the longest.
            replicas.sort_by_key(|(seat, replica)| (replica.jobs, replica.used, Reverse(*seat)));
            for (seat, replica) in replicas {
                let idle = replica.jobs == 0 && replica.used.max(replica.since) + IDLE <= self.now && !model.pinned;
                if self.held(key) > max || (idle && self.held(key) > least) {
                    self.leave(seat, key, replica);
                }
            }
        }
    }

    /// Has those come who are wanted.
    fn bring(&mut self) {
        let cluster = self.cluster;
        let mut wanted: Vec<(Urgency, &ModelKey, &Model)> = Vec::new();
        for (key, model) in &cluster.models {
            let held = self.held(key);
            let (replicas, booked) = self.wanted.get(key).copied().unwrap_or_default();
            if replicas.max == Some(0) {
                continue;
            }
            let urgency = match (model.work.since, model.work.time) {
                _ if held < replicas.min && booked.is_some() => booked.map(Urgency::Booked),
                (Some(since), _) if held == 0 => Some(Urgency::Waited(since)),
                _ if held < replicas.min => Some(Urgency::BelowMin),
                (Some(_), time) if self.could_use_another(key, model, held, time) => {
                    Some(Urgency::Backlog(Reverse(time.as_millis() / held.max(1) as u128)))
                }
                _ => None,
            };
            wanted.extend(urgency.map(|urgency| (urgency, key, model)));
        }
        wanted.sort_by_key(|(urgency, key, _)| (*urgency, *key));
        for (urgency, key, model) in wanted {
            let kept = matches!(urgency, Urgency::Booked(_) | Urgency::BelowMin);
            let missing = if kept { self.replicas_of(key).min - self.held(key) } else { 1 };
            for _ in 0..missing {
                if !self.find_room(urgency, key, model) {
                    break;
                }
            }
        }
        self.fill();
        self.tell_waits();
    }

    fn could_use_another(&self, key: &ModelKey, model: &Model, held: usize, time: Duration) -> bool {
        let most = self.replicas_of(key).max.unwrap_or(usize::MAX).min(self.cluster.nodes.len());
        let loading = self.replicas(key).any(|(_, replica)| replica.stage == Stage::Loading);
        held < most
            && !loading
            && time > BACKLOG.max(model.load_time).saturating_mul(u32::try_from(held).unwrap_or(u32::MAX))
    }

    /// Loads a model where there is room, or claims the room of those who leave, or makes some leave. Where its weights are
    /// kept in memory is better than where they are not. Returns whether there is a place for it now.
    fn find_room(&mut self, urgency: Urgency, key: &'a ModelKey, model: &'a Model) -> bool {
        let need = i128::from(model.bytes.unwrap_or(0));
        let mut places: Vec<Place<'a>> = Vec::new();
        for (&seat, node) in &self.cluster.nodes {
            for device in self.devices(seat, node, key, model) {
                let free =
                    device.and_then(|device| self.rooms.get(&(seat, device))).map_or(i128::MAX, |room| room.free);
                let warm = node.kept.get(key).is_some_and(|kept| kept.ready);
                places.push((model.avoid.contains(&seat), !warm, Reverse(free), seat, device));
            }
        }
        places.sort();
        let fits = places.iter().find(|(avoid, _, Reverse(free), ..)| *free >= need && !avoid);
        if let Some(&(.., seat, device)) = fits {
            self.load(seat, device, key, need);
            return true;
        }
        // What somebody leaves is as good, and where it failed lately is better than nowhere once there is no other.
        let soon = places.iter().find(|(avoid, _, Reverse(free), seat, device)| {
            let leaving = device.and_then(|device| self.rooms.get(&(*seat, device))).map_or(0, |room| room.leaving);
            leaving > 0 && free.saturating_add(leaving) >= need && !avoid
        });
        if let Some(&(.., seat, device)) = soon {
            self.claim(seat, device, key, need);
            return true;
        }
        let costs = places.iter().filter(|(avoid, ..)| !avoid).filter_map(|&(_, _, Reverse(free), seat, device)| {
            let (value, who) = self.victims(urgency, key, model, (seat, device?), free)?;
            // What waits for it waits for as long as it takes to load there.
            Some((value + self.value((seat, key), model), seat, device, who))
        });
        if let Some((_, seat, device, who)) = costs.min_by(|left, right| left.0.total_cmp(&right.0)) {
            for victim in who {
                if let Some(replica) = self.replica(seat, victim) {
                    self.leave(seat, victim, replica);
                }
            }
            self.claim(seat, device, key, need);
            return true;
        }
        false
    }

    /// Chooses who leaves a device for a model: those of least value that make enough room. Returns what they are worth.
    fn victims(
        &self,
        urgency: Urgency,
        key: &ModelKey,
        model: &Model,
        (seat, device): (Seat, &str),
        free: i128,
    ) -> Option<(f64, Vec<&'a ModelKey>)> {
        let need = i128::from(model.bytes?);
        let leaving = self.rooms.get(&(seat, device)).map_or(0, |room| room.leaving);
        let node = self.cluster.nodes.get(&seat).filter(|node| !node.away)?;
        let mut able: Vec<(f64, &'a ModelKey, &Replica)> = Vec::new();
        for (other, replica) in &node.replicas {
            let Some(its) = self.cluster.models.get(other).filter(|_| other != key) else { continue };
            if replica.device.as_deref() == Some(device) && self.may_leave(urgency, (seat, other), its, replica) {
                able.push((self.value((seat, other), its), other, replica));
            }
        }
        // Nobody is interrupted where somebody idle does.
        able.sort_by(|left, right| {
            (left.2.jobs > 0).cmp(&(right.2.jobs > 0)).then(left.0.total_cmp(&right.0)).then(left.1.cmp(right.1))
        });
        let (mut room, mut value, mut chosen) = (free.saturating_add(leaving), 0.0, Vec::new());
        for (worth, other, replica) in able {
            if room >= need {
                break;
            }
            room += i128::from(replica.bytes);
            // Jobs that run are waited for: another node without them is better.
            value += worth + if replica.jobs > 0 { 1e12 } else { 0.0 };
            chosen.push((other, i128::from(replica.bytes)));
        }
        if room < need {
            return None;
        }
        // Who was taken before a larger one made it needless stays.
        chosen.retain(|(_, bytes)| {
            let needless = room - bytes >= need;
            if needless {
                room -= bytes;
            }
            !needless
        });
        let gain = self.value((seat, key), model);
        let worth_it = !matches!(urgency, Urgency::Backlog(_)) || value * 2.0 < gain;
        worth_it.then(|| (value, chosen.into_iter().map(|(other, _)| other).collect()))
    }

    /// Says whether a replica may leave for the sake of another model.
    fn may_leave(&self, urgency: Urgency, (seat, key): (Seat, &ModelKey), model: &Model, replica: &Replica) -> bool {
        if replica.stage != Stage::Ready || model.pinned || self.going.contains(&(seat, key)) {
            return false;
        }
        if self.held(key) <= self.replicas_of(key).min {
            return false;
        }
        let asked_for = model.demand > FADED || model.work.since.is_some() || replica.jobs > 0;
        let residence = self.residence((seat, key), model);
        let stayed = self.now.saturating_sub(replica.since) >= residence;
        match urgency {
            // It was told in time to end what it does.
            Urgency::Booked(_) => true,
            Urgency::Waited(since) => {
                // With jobs only for somebody who has waited for as long as it had to stay.
                let patient = self.now.saturating_sub(since) >= residence;
                (stayed || !asked_for) && (replica.jobs == 0 || patient)
            }
            Urgency::BelowMin | Urgency::Backlog(_) => replica.jobs == 0 && (stayed || !asked_for),
        }
    }

    /// Returns what one more, or one less, replica of a model is worth on a node.
    fn value(&self, (seat, key): (Seat, &ModelKey), model: &Model) -> f64 {
        let seconds = model.demand + model.work.time.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a count of nodes")]
        let held = self.held(key).max(1) as f64;
        seconds * self.load_time((seat, key), model).as_secs_f64().max(0.001) / held
    }

    /// Returns how long a model that is asked for stays at least.
    fn residence(&self, place: (Seat, &ModelKey), model: &Model) -> Duration {
        RESIDENCE.max(self.load_time(place, model) * 4)
    }

    fn replicas_of(&self, key: &ModelKey) -> Replicas {
        self.wanted.get(key).map(|(replicas, _)| *replicas).unwrap_or_default()
    }

    /// Loads models that take any room wherever there is some: first where they are warm, and those on the fewest nodes first.
    fn fill(&mut self) {
        let cluster = self.cluster;
        for warm in [true, false] {
            let mut models: Vec<(usize, &ModelKey, &Model)> = cluster
                .models
                .iter()
                .filter_map(|(key, model)| {
                    let open = self.replicas_of(key).max.is_none() && self.held(key) < cluster.nodes.len();
                    open.then(|| (self.held(key), key, model))
                })
                .collect();
            models.sort_by_key(|(held, key, _)| (*held, *key));
            let mut most = self.most_free();
            for (_, key, model) in models {
                let need = i128::from(model.bytes.unwrap_or(0));
                if need > most && cluster.nodes.values().all(|node| !node.devices.is_empty()) {
                    continue;
                }
                for (&seat, node) in &cluster.nodes {
                    if !warm || node.kept.get(key).is_some_and(|kept| kept.ready) {
                        self.fill_node((seat, node), (key, model), need);
                    }
                }
                most = self.most_free();
            }
        }
    }

    /// Loads a model on a node that has room for it.
    fn fill_node(&mut self, (seat, node): (Seat, &'a Node), (key, model): (&'a ModelKey, &'a Model), need: i128) {
        let mut devices = self.devices(seat, node, key, model);
        devices.sort_by_key(|device| device.and_then(|device| self.rooms.get(&(seat, device))).map(|room| -room.free));
        let free = |device: &str| self.rooms.get(&(seat, device)).is_some_and(|room| room.free >= need);
        let fits = devices.into_iter().find(|device| device.is_none_or(free));
        if let Some(device) = fits.filter(|_| !model.avoid.contains(&seat)) {
            self.load(seat, device, key, need);
        }
    }

    fn most_free(&self) -> i128 {
        self.rooms.values().map(|room| room.free).max().unwrap_or(i128::MAX)
    }

    /// Lists the devices of a node that may have one more model: none where it may have none, and `None` where the node
    /// decides.
    fn devices(&self, seat: Seat, node: &'a Node, key: &ModelKey, model: &'a Model) -> Vec<Option<&'a str>> {
        if !node.is_open() || node.away || node.replicas.contains_key(key) || self.coming.contains(&(seat, key)) {
            return Vec::new();
        }
        let Some(wanted) = model.device.as_deref().map(device_name) else {
            let gpus: Vec<_> = node.devices.keys().filter(|name| name.starts_with("cuda")).collect();
            let names = if gpus.is_empty() { node.devices.keys().collect() } else { gpus };
            return if names.is_empty() {
                vec![None]
            } else {
                names.into_iter().map(|name| Some(name.as_str())).collect()
            };
        };
        match node.devices.get_key_value(wanted) {
            Some((name, _)) => vec![Some(name)],
            // A worker that did not say may have it, and where nobody has it, one of them says so best.
            None if node.devices.is_empty()
                || !self.cluster.nodes.values().any(|it| it.devices.contains_key(wanted)) =>
            {
                vec![None]
            }
            None => Vec::new(),
        }
    }

    fn load(&mut self, seat: Seat, device: Option<&'a str>, key: &'a ModelKey, need: i128) {
        let keep = self.keep(seat, device, key);
        self.moves.push(Move::Load { model: key.clone(), seat, device: device.map(str::to_owned), keep });
        self.coming.insert((seat, key));
        self.claim(seat, device, key, need);
    }

    fn claim(&mut self, seat: Seat, device: Option<&'a str>, key: &'a ModelKey, need: i128) {
        if let Some(room) = device.and_then(|device| self.rooms.get_mut(&(seat, device))) {
            room.free -= need;
        }
        *self.holders.entry(key).or_default() += 1;
    }

    fn leave(&mut self, seat: Seat, key: &'a ModelKey, replica: &'a Replica) {
        let waits = replica.stage == Stage::Retiring && replica.jobs > 0;
        let away = self.cluster.nodes.get(&seat).is_none_or(|node| node.away);
        if away || replica.stage == Stage::Unloading || waits || !self.going.insert((seat, key)) {
            return;
        }
        let model = key.clone();
        self.moves.push(match replica.jobs {
            0 => Move::Unload { model, seat },
            _ => Move::Retire { model, seat },
        });
        if matches!(replica.stage, Stage::Loading | Stage::Ready) {
            let counted = self.cluster.nodes.get(&seat).is_some_and(Node::is_open);
            if let Some(held) = self.holders.get_mut(key).filter(|_| counted) {
                *held -= 1;
            }
            let device = replica.device.as_deref();
            if let Some(room) = device.and_then(|device| self.rooms.get_mut(&(seat, device))) {
                room.leaving += i128::from(replica.bytes);
            }
        }
    }

    fn tell_waits(&mut self) {
        for (key, model) in &self.cluster.models {
            let at = |stage: Stage| {
                let open = |seat: &Seat| self.cluster.nodes.get(seat).is_some_and(Node::is_open);
                self.replicas(key).any(|(seat, replica)| replica.stage == stage && open(&seat))
            };
            if model.work.since.is_none() || at(Stage::Ready) {
                continue;
            }
            let loading =
                self.replicas(key).filter(|(_, replica)| replica.stage == Stage::Loading).map(|(seat, _)| seat);
            let open = |seat: &Seat| self.cluster.nodes.get(seat).is_some_and(Node::is_open);
            let coming = self.coming.iter().filter(|(_, coming)| *coming == key).map(|(seat, _)| *seat);
            let loading = loading.filter(open).chain(coming).map(|seat| self.load_time((seat, key), model)).min();
            let wait = if let Some(about) = loading {
                Wait { why: Why::Loading, about: Some(about) }
            } else if self.replicas_of(key).max == Some(0) {
                let opens = model.opens(self.cluster.time);
                let left = opens.map(|opens| Duration::from_millis(opens.saturating_sub(self.cluster.time)));
                Wait { why: Why::Closed(opens), about: left }
            } else {
                self.wait_of(key, model)
            };
            self.waits.insert(key.clone(), wait);
        }
    }

    fn wait_of(&self, key: &ModelKey, model: &Model) -> Wait {
        let open = self.cluster.nodes.iter().filter(|(_, node)| node.is_open());
        let mut most = 0;
        let mut soonest: Option<Duration> = None;
        for (&seat, node) in open {
            if node.devices.is_empty() {
                return Wait { why: Why::Room, about: None };
            }
            let fitting = self.devices(seat, node, key, model);
            most = node.devices.values().copied().max().unwrap_or(0).max(most);
            let able = fitting
                .iter()
                .flatten()
                .any(|device| node.devices.get(*device).is_some_and(|bytes| *bytes >= model.bytes.unwrap_or(0)));
            if !able && !node.replicas.contains_key(key) {
                continue;
            }
            // Whoever has to stay longest of those here; what runs then may take longer.
            let stays = node.replicas.iter().filter_map(|(other, replica)| {
                let its = self.cluster.models.get(other)?;
                let left = (replica.since + self.residence((seat, other), its)).saturating_sub(self.now);
                (!its.pinned).then_some(if replica.stage == Stage::Ready { left } else { Duration::ZERO })
            });
            let stays = stays.min().unwrap_or(Duration::ZERO);
            let ready = stays + self.load_time((seat, key), model);
            soonest = Some(soonest.map_or(ready, |before| before.min(ready)));
        }
        match soonest {
            Some(ready) => Wait { why: Why::Room, about: Some(ready) },
            None if most > 0 => Wait { why: Why::TooLarge { bytes: model.bytes.unwrap_or(0), most }, about: None },
            None => Wait { why: Why::Nobody, about: None },
        }
    }

    fn held(&self, key: &ModelKey) -> usize {
        self.holders.get(key).copied().unwrap_or(0)
    }

    fn replica(&self, seat: Seat, key: &ModelKey) -> Option<&'a Replica> {
        self.cluster.nodes.get(&seat)?.replicas.get(key)
    }

    fn replicas(&self, key: &ModelKey) -> impl Iterator<Item = (Seat, &'a Replica)> {
        self.replicas.get(key).into_iter().flatten().copied()
    }
}

impl Node {
    /// Returns whether what is here may be given jobs, and more may be put here.
    fn is_open(&self) -> bool {
        !self.cordoned && !self.draining
    }
}
