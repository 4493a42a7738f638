//! A day of a cluster: nodes, models, what models are booked for, and the jobs that come.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::{ModelKey, TenantId};
use placement::simulation::{Fleet, Job};
use placement::{Class, Model, Replicas, Stage, Window, book};

pub const DAY: Duration = Duration::from_secs(24 * 3600);
pub const TENANTS: usize = 50;
/// Jobs that a node runs at once.
pub const SLOTS: usize = 2;
/// Bytes of a node's GPU that are for models, and of its memory in which weights are kept.
const NODE_BYTES: u64 = 80_000_000_000;
const HOST_BYTES: u64 = 120_000_000_000;
/// Bytes of weights that a node reads in a second from its disk, and from its memory.
const READING: u64 = 1_000_000_000;
const COPYING: u64 = 20_000_000_000;
/// What loading takes beside that, the first time and from memory.
const STARTING: Duration = Duration::from_secs(5);
const WARM: Duration = Duration::from_secs(1);
/// How often models are looked at, at most.
const PAUSE: Duration = Duration::from_secs(5);
/// One of so many models is there for its windows only, two hours each day.
const BOOKED: usize = 20;

/// A day that has not begun yet, and what is booked in it: a model, how many replicas, from when to when, in seconds.
pub struct Day {
    pub fleet: Fleet,
    pub booked: Vec<(ModelKey, usize, u64, u64)>,
    pub refused: usize,
}

impl Day {
    /// Makes one of so many nodes, models and jobs, with weights kept in memory or none.
    pub fn new([nodes, models, jobs]: [usize; 3], keeps: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let mut fleet = Fleet::recording();
        fleet.pause = PAUSE;
        for _ in 0..nodes {
            fleet.node_that_keeps(SLOTS, NODE_BYTES, if keeps { HOST_BYTES } else { 0 });
        }
        for number in 0..models {
            // From 1 to 70 GB, small ones more often.
            let bytes = (1_000_000_000.0 * 70.0_f64.powf(random.f64())) as u64;
            // Every fifth is limited by its operator.
            let replicas = match number % 5 {
                4 => Replicas { min: 1, max: Some(8) },
                _ => Replicas::default(),
            };
            let model = Model {
                bytes: Some(bytes),
                kept_bytes: Some(bytes),
                load_time: STARTING + Duration::from_secs_f64(bytes as f64 / READING as f64),
                warm_time: WARM + Duration::from_secs_f64(bytes as f64 / COPYING as f64),
                replicas,
                ..Model::default()
            };
            fleet.host(key(number), model);
        }
        let (booked, refused) = book_some(&mut fleet, [nodes, models], &mut random);
        let mean = mean([nodes, jobs]);
        for _ in 0..jobs {
            let takes = Duration::from_secs_f64((-random.f64().max(1e-9).ln() * mean).clamp(0.1, mean * 6.0));
            let number = popular(&mut random, models);
            let tenant = TenantId::new(format!("tenant-{:02}", popular(&mut random, TENANTS)));
            let class = if random.u8(0..10) == 0 { Class::Low } else { Class::Normal };
            let mut at = time_of_day(&mut random);
            if let Some((.., from, to)) = booked.iter().find(|(model, ..)| *model == key(number)) {
                // Who wants what is there for two hours comes then.
                at = Duration::from_secs(random.u64(*from..*to));
            }
            fleet.comes(at, Job { tenant, model: key(number), class, takes });
        }
        Self { fleet, booked, refused }
    }

    /// Goes through it until all jobs have ended. Returns how many of the bookings had all their replicas when they began, and
    /// after at most so long: jobs that run are not interrupted for them.
    pub fn run(&mut self, late: Duration) -> [usize; 2] {
        let late = late.as_secs();
        let at: BTreeSet<u64> = self.booked.iter().flat_map(|(_, _, from, _)| [*from, from + late]).collect();
        let mut kept = [0, 0];
        for now in at {
            self.fleet.run(Duration::from_secs(now));
            for (key, replicas, from, _) in &self.booked {
                let its = self.fleet.cluster.nodes.values().filter_map(|node| node.replicas.get(key));
                let complete = its.filter(|replica| replica.stage == Stage::Ready).count() >= *replicas;
                kept[0] += usize::from(complete && *from == now);
                kept[1] += usize::from(complete && from + late == now);
            }
        }
        self.fleet.run(DAY * 3);
        kept
    }
}

/// Books some models for two hours, at times and for numbers of nodes of which not all can be had.
fn book_some(
    fleet: &mut Fleet,
    [nodes, models]: [usize; 2],
    random: &mut fastrand::Rng,
) -> (Vec<(ModelKey, usize, u64, u64)>, usize) {
    let (mut booked, mut refused) = (Vec::new(), 0);
    for number in (BOOKED - 2..models).step_by(BOOKED) {
        let (key, from) = (key(number), 3600 * random.u64(8..18));
        let (to, replicas) = (from + 7200, random.usize(1..=(nodes / 4).max(1)));
        let window = Window { from: from * 1000, to: to * 1000, daily: true, replicas, tenant: None };
        if book(&fleet.cluster, &key, &window).is_err() {
            refused += 1;
        } else if let Some(model) = fleet.cluster.models.get_mut(&key) {
            (model.replicas, model.windows_only) = (Replicas { min: 0, max: Some(replicas) }, true);
            model.windows.push(window);
            booked.push((key, replicas, from, to));
        }
    }
    (booked, refused)
}

/// Returns what a job takes on average, in seconds: work for two thirds of the nodes' time. None takes longer than six times that.
pub fn mean([nodes, jobs]: [usize; 2]) -> f64 {
    DAY.as_secs_f64() * (nodes * SLOTS) as f64 * 0.66 / jobs as f64
}

fn key(number: usize) -> ModelKey {
    ModelKey::new(format!("org/model-{number:03}"), None)
}

/// Chooses one of many, of which the first are chosen most.
fn popular(random: &mut fastrand::Rng, of: usize) -> usize {
    let place = ((of as f64 + 1.0).powf(random.f64()) - 1.0) as usize;
    place.min(of - 1)
}

/// Chooses a time, in the afternoon three times as often as at night.
fn time_of_day(random: &mut fastrand::Rng) -> Duration {
    loop {
        let part = random.f64();
        let busy = 0.5 - 0.25 * ((part * std::f64::consts::TAU).cos() + 1.0) + 0.5;
        if random.f64() < busy {
            return DAY.mul_f64(part);
        }
    }
}
