//! A day of a large cluster, as [`placement`] decides it:
//!
//!     cargo run --release --package placement --example simulate [-- NODES MODELS JOBS [PICTURE.svg]]
//!
//! Prints how long decisions took, how busy nodes were, how long jobs waited and how often models moved, and draws it.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "it says what it measured, or fails")]

mod picture;

use std::time::{Duration, Instant};

use ids::{ModelKey, TenantId};
use placement::simulation::{Done, Fleet, Job};
use placement::{Class, Model, Move, Replicas};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TENANTS: usize = 50;
/// Jobs that a node runs at once.
const SLOTS: usize = 2;
const NODE_BYTES: u64 = 80_000_000_000;
/// Bytes of weights that a node reads in a second.
const READING: u64 = 1_000_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: usize| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (nodes, models, jobs) = (number(1_000), number(200), number(100_000));
    let picture = arguments.next().unwrap_or_else(|| "placement.svg".into());
    let mut random = fastrand::Rng::with_seed(7);
    let mut fleet = Fleet::recording();
    for _ in 0..nodes {
        fleet.node(SLOTS, NODE_BYTES);
    }
    for model in 0..models {
        // From 1 to 70 GB, small ones more often.
        let bytes = 1_000_000_000.0 * 70.0_f64.powf(random.f64());
        let bytes = bytes as u64;
        let load_time = Duration::from_secs(5) + Duration::from_secs(bytes / READING);
        // Every fifth is limited by its operator.
        let replicas = match model % 5 {
            4 => Replicas { min: 1, max: Some(8) },
            _ => Replicas::default(),
        };
        fleet.host(key(model), Model { bytes: Some(bytes), load_time, replicas, ..Model::default() });
    }
    // Work for two thirds of the nodes' time.
    let mean = DAY.as_secs_f64() * (nodes * SLOTS) as f64 * 0.66 / jobs as f64;
    for _ in 0..jobs {
        let takes = Duration::from_secs_f64((-random.f64().max(1e-9).ln() * mean).clamp(0.1, mean * 6.0));
        let model = key(popular(&mut random, models));
        let tenant = TenantId::new(format!("tenant-{:02}", popular(&mut random, TENANTS)));
        let class = if random.u8(0..10) == 0 { Class::Low } else { Class::Normal };
        fleet.comes(time_of_day(&mut random), Job { tenant, model, class, takes });
    }
    let began = Instant::now();
    fleet.run(DAY * 3);
    println!(
        "{jobs} jobs on {nodes} nodes with {models} models, of which {} ended, in {:.1?}",
        fleet.done.len(),
        began.elapsed()
    );
    tell(&mut fleet, nodes);
    std::fs::write(&picture, picture::draw(&series(&fleet, nodes))).expect("the picture can be written");
    println!("drawn in {picture}");
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

fn tell(fleet: &mut Fleet, nodes: usize) {
    let times = |what: &str, times: &mut Vec<Duration>| {
        times.sort();
        let at =
            |part: f64| times.get((times.len() as f64 * part) as usize).or(times.last()).copied().unwrap_or_default();
        let (count, median, late, last) = (times.len(), at(0.5), at(0.99), at(1.0));
        println!("{what}: {count}, median {median:.1?}, p99 {late:.1?}, longest {last:.1?}");
    };
    times("decisions about jobs", &mut fleet.decisions);
    times("decisions about models", &mut fleet.arrangements);
    let busy: f64 = fleet.done.iter().map(|done| (done.ended - done.began).as_secs_f64()).sum();
    let last = fleet.done.iter().map(|done| done.ended).max().unwrap_or(DAY).max(DAY).as_secs_f64();
    println!("places in use: {:.0} % until the last job ended", 100.0 * busy / (last * (nodes * SLOTS) as f64));
    println!("models: {} loads, {} unloads", fleet.loads, fleet.unloads);
    println!("{:<12} {:>7} {:>13} {:>11} {:>11}", "tenant", "jobs", "device hours", "wait p50", "wait p99");
    for tenant in [0, 1, 5, 20, TENANTS - 1] {
        let name = format!("tenant-{tenant:02}");
        let own = || fleet.done.iter().filter(|done| done.job.tenant.as_str() == name);
        let hours: f64 = own().map(|done| done.job.takes.as_secs_f64() / 3600.0).sum();
        let waits = waits(own());
        let (median, late) = (percentile(&waits, 0.5), percentile(&waits, 0.99));
        println!("{name:<12} {:>7} {hours:>13.0} {median:>9.1} s {late:>9.1} s", waits.len());
    }
}

fn waits<'a>(done: impl Iterator<Item = &'a Done>) -> Vec<f64> {
    let mut waits: Vec<f64> = done.map(|done| (done.began - done.came).as_secs_f64()).collect();
    waits.sort_by(f64::total_cmp);
    waits
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    sorted.get((sorted.len() as f64 * part) as usize).or(sorted.last()).copied().unwrap_or(0.0)
}

/// What is drawn: a value for each quarter of an hour.
fn series(fleet: &Fleet, nodes: usize) -> Vec<picture::Series> {
    let quarters = 96;
    let instant = |quarter: usize| DAY * quarter as u32 / quarters as u32;
    let within = |at: Duration, quarter: usize| at >= instant(quarter) && at < instant(quarter + 1);
    let count = |is: &dyn Fn(&Done, Duration) -> bool| -> Vec<f64> {
        (0..quarters).map(|it| fleet.done.iter().filter(|done| is(done, instant(it))).count() as f64).collect()
    };
    let running = count(&|done, at| done.began <= at && done.ended > at);
    let waiting = count(&|done, at| done.came <= at && done.began > at);
    let moves = fleet.moves.iter().flatten();
    let loads: Vec<Duration> = moves.filter(|(_, it)| matches!(it, Move::Load { .. })).map(|(at, _)| *at).collect();
    let loads = (0..quarters).map(|it| loads.iter().filter(|at| within(**at, it)).count() as f64).collect();
    let late = (0..quarters)
        .map(|it| percentile(&waits(fleet.done.iter().filter(|done| within(done.came, it))), 0.99))
        .collect();
    let share = running.iter().map(|running| 100.0 * running / (nodes * SLOTS) as f64).collect();
    vec![
        picture::Series { name: "places in use, %", values: share },
        picture::Series { name: "jobs that wait", values: waiting },
        picture::Series { name: "p99 of the wait, s", values: late },
        picture::Series { name: "models loaded in a quarter of an hour", values: loads },
    ]
}
