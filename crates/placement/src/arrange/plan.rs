//! The cluster as it is looked at while it is arranged: models and nodes by number, so that a thousand nodes are gone through
//! for each of hundreds of models without a name being compared.
//!
//! Performance-critical: what is looked up for each model on each node lies here as it is needed. Numbers are places in these
//! lists, which do not change once they are made.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::time::Duration;

use ids::ModelKey;

use super::{FADED, Move, RESIDENCE, Wait};
use crate::cluster::{Cluster, Model, Node, Replica, Replicas, Stage, device_name};
use crate::view::Seat;

/// A hosted model's place among all, which are in the order of their names.
pub(super) type Number = usize;

/// A replica: its node's place among all, and its own on the node.
pub(super) type At = (usize, usize);

pub(super) struct Plan<'a> {
    pub now: Duration,
    /// As the cluster has it.
    pub time: u64,
    pub models: Vec<Hosted<'a>>,
    pub nodes: Vec<Here<'a>>,
    /// Of all nodes' devices.
    pub rooms: Vec<Room<'a>>,
    /// Where models are, come, or have claimed room.
    pub there: Grid,
    /// Where the whole of their weights is kept.
    pub warm: Grid,
    pub moves: Vec<Move>,
    pub waits: BTreeMap<ModelKey, Wait>,
}

/// A hosted model.
pub(super) struct Hosted<'a> {
    pub key: &'a ModelKey,
    pub model: &'a Model,
    /// How many replicas it is to have now, and from when on it is booked if it is.
    pub wanted: Replicas,
    pub booked: Option<u64>,
    /// Replicas that are ready, or will be, and stay.
    pub held: usize,
    /// Those of them that are ready now: what is promised is had from these alone.
    pub ready: usize,
    pub replicas: Vec<At>,
    /// Nodes that these moves bring it to.
    pub coming: Vec<usize>,
    /// A device that it asks for and that no node has, as far as nodes say what they have.
    pub nowhere: bool,
}

/// A node.
pub(super) struct Here<'a> {
    pub seat: Seat,
    pub node: &'a Node,
    /// Those of its devices, and of them those for models that ask for none.
    pub rooms: Range<usize>,
    usual: Range<usize>,
    pub residents: Vec<Resident<'a>>,
    pub kept: Vec<OnShelf<'a>>,
    /// Replicas of which it has other ranks than the leading one, and on which device.
    pub parts: Vec<(At, usize)>,
    /// Bytes of its machine's memory that nobody has; `None` where nothing is kept.
    pub shelf: Option<i128>,
    /// How long whoever may leave soonest has to stay.
    pub stays: Duration,
}

/// A replica on a node.
pub(super) struct Resident<'a> {
    pub key: &'a ModelKey,
    /// `None` of one that is hosted no longer.
    pub model: Option<Number>,
    pub replica: &'a Replica,
    pub room: Option<usize>,
    /// Where its other ranks are, and whether a node of those is to have nothing any more.
    pub beside: Vec<usize>,
    pub drains: bool,
    pub asked_for: bool,
    /// How long it stays at least if it is asked for, and whether it has.
    pub residence: Duration,
    pub stayed: bool,
    /// Whether these moves have it leave.
    pub going: bool,
}

/// Weights that are kept in a machine's memory.
pub(super) struct OnShelf<'a> {
    pub key: &'a ModelKey,
    pub model: Option<Number>,
    pub bytes: i128,
    /// Whether these moves have it kept no longer.
    pub cooling: bool,
}

/// Memory of one device.
#[derive(Clone, Copy)]
pub(super) struct Room<'a> {
    pub device: &'a str,
    /// Bytes that there are.
    pub all: i128,
    /// Bytes that nobody has or has claimed. Less than nothing where what is claimed has yet to become free.
    pub free: i128,
    /// Bytes of those who leave.
    pub leaving: i128,
    /// Bytes of those who may leave at most, by what it is for: so that a place is passed over without a look at each of them.
    pub loose: Loose,
}

/// Bytes of replicas that are ready and not pinned. Nobody comes to be one of them while the cluster is arranged.
#[derive(Clone, Copy, Default)]
pub(super) struct Loose {
    /// Of all.
    pub all: i128,
    /// Of those that have stayed for long enough, or that nobody asks for.
    pub rested: i128,
    /// Of those of them that have no jobs.
    pub idle: i128,
}

/// The numbers of models by their names.
type Numbers<'a> = HashMap<&'a ModelKey, Number, BuildHasherDefault<Hashed>>;

/// Takes names by the hashes that they have.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(5) ^ number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Yes or no for each model on each node.
pub(super) struct Grid {
    nodes: usize,
    cells: Vec<bool>,
}

impl Grid {
    fn new(models: usize, nodes: usize) -> Self {
        Self { nodes, cells: vec![false; models * nodes] }
    }

    pub fn get(&self, number: Number, node: usize) -> bool {
        self.cells[number * self.nodes + node]
    }

    pub fn set(&mut self, number: Number, node: usize) {
        self.cells[number * self.nodes + node] = true;
    }
}

impl<'a> Plan<'a> {
    pub fn new(cluster: &'a Cluster, now: Duration) -> Self {
        let hosted = |(key, model): (&'a ModelKey, &'a Model)| {
            let (wanted, booked) = model.wanted(cluster.time);
            let asked = model.device.as_deref().map(device_name);
            let nowhere = asked.is_some_and(|asked| !cluster.nodes.values().any(|it| it.devices.contains_key(asked)));
            Hosted { key, model, wanted, booked, held: 0, ready: 0, replicas: Vec::new(), coming: Vec::new(), nowhere }
        };
        let models: Vec<Hosted<'a>> = cluster.models.iter().map(hosted).collect();
        let numbers: Numbers<'_> = (0..).zip(&models).map(|(number, it)| (it.key, number)).collect();
        let grid = || Grid::new(models.len(), cluster.nodes.len());
        let mut plan = Self {
            now,
            time: cluster.time,
            there: grid(),
            warm: grid(),
            models,
            nodes: Vec::with_capacity(cluster.nodes.len()),
            rooms: Vec::with_capacity(cluster.nodes.len()),
            moves: Vec::new(),
            waits: BTreeMap::new(),
        };
        for (&seat, node) in &cluster.nodes {
            plan.enter(seat, node, &numbers);
        }
        for node in 0..plan.nodes.len() {
            for place in 0..plan.nodes[node].residents.len() {
                plan.spans((node, place));
                plan.note_loose((node, place));
            }
        }
        plan
    }

    /// Notes on its devices what would be free there if a replica left.
    fn note_loose(&mut self, at: At) {
        let resident = &self.nodes[at.0].residents[at.1];
        let replica = resident.replica;
        let pinned = resident.model.is_none_or(|number| self.models[number].model.pinned);
        if replica.stage != Stage::Ready || pinned {
            return;
        }
        let bytes = i128::from(replica.bytes);
        let rested = if resident.is_rested() { bytes } else { 0 };
        let idle = if replica.jobs == 0 { rested } else { 0 };
        for room in resident.room.into_iter().chain(resident.beside.iter().copied()) {
            let loose = &mut self.rooms[room].loose;
            *loose = Loose { all: loose.all + bytes, rested: loose.rested + rested, idle: loose.idle + idle };
        }
    }

    /// Takes in what a replica has of devices beside its own.
    fn spans(&mut self, at: At) {
        let replica = self.replica(at);
        if replica.stage == Stage::Failed {
            return;
        }
        for (seat, device) in &replica.beside {
            // Of a node that is not there, nothing is known.
            let Ok(node) = self.nodes.binary_search_by_key(seat, |here| here.seat) else { continue };
            let drains = self.nodes[node].node.draining;
            let room = self.nodes[node].rooms.clone().find(|room| self.rooms[*room].device == device);
            let resident = &mut self.nodes[at.0].residents[at.1];
            resident.drains |= drains;
            let Some(room) = room else { continue };
            resident.beside.push(room);
            self.nodes[node].parts.push((at, room));
            let bytes = i128::from(replica.bytes);
            self.rooms[room].free -= bytes;
            if matches!(replica.stage, Stage::Retiring | Stage::Unloading) {
                self.rooms[room].leaving += bytes;
            }
        }
    }

    /// Takes a node in.
    fn enter(&mut self, seat: Seat, node: &'a Node, numbers: &Numbers<'_>) {
        let (place, first) = (self.nodes.len(), self.rooms.len());
        let room = |(device, bytes): (&'a String, &u64)| {
            let all = i128::from(*bytes);
            Room { device, all, free: all, leaving: 0, loose: Loose::default() }
        };
        self.rooms.extend(node.devices.iter().map(room));
        let rooms = first..self.rooms.len();
        // They lie side by side, since they are in the order of their names.
        let gpu = |room: &usize| self.rooms[*room].device.starts_with("cuda");
        let usual = match rooms.clone().find(gpu) {
            Some(first) => first..first + rooms.clone().filter(gpu).count(),
            None => rooms.clone(),
        };
        let mut here = Here {
            seat,
            node,
            rooms,
            usual,
            residents: Vec::with_capacity(node.replicas.len()),
            kept: Vec::with_capacity(node.kept.len()),
            parts: Vec::new(),
            shelf: (node.host > 0).then(|| i128::from(node.host)),
            stays: Duration::ZERO,
        };
        for (key, kept) in &node.kept {
            let (model, bytes) = (numbers.get(key).copied(), i128::from(kept.bytes));
            here.shelf = here.shelf.map(|free| free - bytes);
            if let Some(number) = model.filter(|_| kept.ready) {
                self.warm.set(number, place);
            }
            here.kept.push(OnShelf { key, model, bytes, cooling: false });
        }
        let mut stays: Option<Duration> = None;
        for (key, replica) in &node.replicas {
            let resident = self.resides(place, key, replica, numbers.get(key).copied(), here.rooms.clone());
            if resident.model.is_some_and(|number| !self.models[number].model.pinned) {
                let left = match replica.stage {
                    Stage::Ready => (replica.since + resident.residence).saturating_sub(self.now),
                    _ => Duration::ZERO,
                };
                stays = Some(stays.map_or(left, |before| before.min(left)));
            }
            if let Some(number) = resident.model {
                self.there.set(number, place);
                let hosted = &mut self.models[number];
                hosted.replicas.push((place, here.residents.len()));
                hosted.held += usize::from(matches!(replica.stage, Stage::Loading | Stage::Ready) && node.is_open());
                hosted.ready += usize::from(replica.stage == Stage::Ready && node.is_open());
            }
            here.residents.push(resident);
        }
        here.stays = stays.unwrap_or_default();
        self.nodes.push(here);
    }

    /// Takes a replica in: what it has of its device is not free.
    fn resides(
        &mut self,
        node: usize,
        key: &'a ModelKey,
        replica: &'a Replica,
        model: Option<Number>,
        mut rooms: Range<usize>,
    ) -> Resident<'a> {
        let room = replica.device.as_deref().and_then(|name| rooms.find(|room| self.rooms[*room].device == name));
        if let Some(room) = room.filter(|_| replica.stage != Stage::Failed) {
            let (room, bytes) = (&mut self.rooms[room], i128::from(replica.bytes));
            room.free -= bytes;
            if matches!(replica.stage, Stage::Retiring | Stage::Unloading) {
                room.leaving += bytes;
            }
        }
        let its = model.map(|number| self.models[number].model);
        let residence = model.map_or(RESIDENCE, |number| RESIDENCE.max(self.load_time(node, number) * 4));
        Resident {
            key,
            model,
            replica,
            room,
            beside: Vec::new(),
            drains: false,
            asked_for: its.is_some_and(|its| its.demand > FADED || its.work.since.is_some()) || replica.jobs > 0,
            residence,
            stayed: self.now.saturating_sub(replica.since) >= residence,
            going: false,
        }
    }

    pub fn resident(&self, (node, place): At) -> &Resident<'a> {
        &self.nodes[node].residents[place]
    }

    pub fn replica(&self, at: At) -> &'a Replica {
        self.resident(at).replica
    }

    /// Returns what one more, or one less, replica of a model is worth on a node.
    pub fn value(&self, node: usize, number: Number) -> f64 {
        let Hosted { model, held, .. } = &self.models[number];
        let seconds = model.demand + model.work.time.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a count of nodes")]
        let held = (*held).max(1) as f64;
        seconds * self.load_time(node, number).as_secs_f64().max(0.001) / held
    }
}

impl Resident<'_> {
    /// Returns whether it has stayed for as long as it may, if it is asked for.
    pub fn is_rested(&self) -> bool {
        self.stayed || !self.asked_for
    }
}

impl Here<'_> {
    /// Returns which of its devices may have a model, and whether the node itself is to decide where it goes.
    pub fn rooms_for(&self, hosted: &Hosted<'_>, rooms: &[Room<'_>]) -> (Range<usize>, bool) {
        if self.rooms.is_empty() {
            return (0..0, true);
        }
        let Some(asked) = hosted.model.device.as_deref().map(device_name) else { return (self.usual.clone(), false) };
        match self.rooms.clone().find(|room| rooms[*room].device == asked) {
            Some(room) => (room..room + 1, false),
            // Where nobody has it, one of them says so best.
            None => (0..0, hosted.nowhere),
        }
    }
}

impl Node {
    /// Returns whether what is here may be given jobs, and more may be put here.
    pub(super) fn is_open(&self) -> bool {
        !self.cordoned && !self.draining
    }
}
