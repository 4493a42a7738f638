//! The cluster, as far as it matters where models are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::ModelKey;

use crate::view::Seat;
use crate::windows::Window;

/// Nodes and hosted models.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub nodes: BTreeMap<Seat, Node>,
    pub models: BTreeMap<ModelKey, Model>,
    /// What time it is, in milliseconds since 1970, as whoever asks has it: windows are told by that.
    pub time: u64,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Bytes that models may take on each device, as its worker measured them. Where there are none, it did not say, and
    /// whatever is asked of it is tried.
    pub devices: BTreeMap<String, u64>,
    pub replicas: BTreeMap<ModelKey, Replica>,
    /// Bytes of its machine's memory in which weights are kept that go to a GPU; none where it keeps nothing.
    pub host: u64,
    /// What is kept there, of models that are on a device and of those that have left it.
    pub kept: BTreeMap<ModelKey, Kept>,
    /// Whether it holds ranks of models that other nodes lead.
    pub holds_ranks: bool,
    /// Whether nothing new may be put here.
    pub cordoned: bool,
    /// Whether what is here is to leave.
    pub draining: bool,
    /// Whether it cannot be told anything at the moment: it is taken to have what it had.
    pub away: bool,
}

/// A model on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    pub stage: Stage,
    /// Where it is, if that is known.
    pub device: Option<String>,
    /// What it takes there.
    pub bytes: u64,
    /// The nodes and devices that hold its other ranks, of which each takes as much.
    pub beside: Vec<(Seat, String)>,
    /// Jobs that its node has for it.
    pub jobs: usize,
    /// When it became ready.
    pub since: Duration,
    /// When it last had a job.
    pub used: Duration,
    /// Whether its model was specified otherwise when it was loaded.
    pub stale: bool,
}

/// The weights of a model in a machine's memory, as its devices take them. A model that is on no device of a node that has
/// them is *warm* there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub bytes: u64,
    /// Whether they are all there, and not only to be kept by who is loading.
    pub ready: bool,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Loading,
    Ready,
    /// It is given no more jobs, and leaves when it has none.
    Retiring,
    Unloading,
    /// It could not be loaded. Its worker tries again, for as long as it is asked to have it.
    Failed,
}

/// A hosted model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// `cpu`, `cuda` or `cuda:N`; `None` is for whoever places it.
    pub device: Option<String>,
    /// How many processes hold a replica, each on a device of its own, or all on one CPU.
    pub ranks: usize,
    pub replicas: Replicas,
    /// Whether it never leaves for another.
    pub pinned: bool,
    /// What it takes on its device. `None` where no worker has looked yet.
    pub bytes: Option<u64>,
    /// How long it takes to load from its files.
    pub load_time: Duration,
    /// How long it takes to load where its weights are kept in memory.
    pub warm_time: Duration,
    /// Bytes of a machine's memory that its weights take there. `None` where they cannot be kept.
    pub kept_bytes: Option<u64>,
    pub windows: Vec<Window>,
    /// Whether it is loaded in its windows and at no other time.
    pub windows_only: bool,
    pub work: Work,
    /// The device time that was asked of it lately, in seconds.
    pub demand: f64,
    /// Nodes where it failed a short while ago.
    pub avoid: BTreeSet<Seat>,
}

/// Returns what a device is called among those of a node: the first GPU has a number, too.
#[must_use]
pub fn device_name(asked: &str) -> &str {
    if asked == "cuda" { "cuda:0" } else { asked }
}

/// How many replicas a model has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// So many are kept loaded.
    pub min: usize,
    /// No more than these are, and those beyond the least only while there is work for them. `None` is as many as there is
    /// room for that nobody else needs.
    pub max: Option<usize>,
}

/// What waits for a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The device time that it is likely to take.
    pub time: Duration,
    /// Since when something has waited.
    pub since: Option<Duration>,
}

/// What was asked of a model lately: device time that fades, half of it in [`Demand::HALF_LIFE`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    seconds: f64,
    at: Duration,
}

impl Demand {
    pub const HALF_LIFE: Duration = Duration::from_secs(600);

    pub fn add(&mut self, time: Duration, now: Duration) {
        *self = Self { seconds: self.seconds(now) + time.as_secs_f64(), at: now };
    }

    #[must_use]
    pub fn seconds(&self, now: Duration) -> f64 {
        let halves = now.saturating_sub(self.at).as_secs_f64() / Self::HALF_LIFE.as_secs_f64();
        self.seconds * (-halves).exp2()
    }
}
