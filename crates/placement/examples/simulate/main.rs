//! A day of a large cluster, as [`placement`] decides it:
//!
//!     cargo run --release --package placement --example simulate [-- NODES MODELS JOBS [PICTURE.svg [cold|warm]]]
//!
//! Prints how long decisions took, how busy nodes were, how long jobs waited and how often models moved, and draws it: without
//! weights that are kept in memory, and with them, or one of the two alone.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "it says what it measured, or fails")]

mod day;
mod picture;

use std::time::{Duration, Instant};

use placement::Move;
use placement::simulation::{Done, Fleet};

use day::{DAY, Day, SLOTS, TENANTS};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: usize| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let [nodes, models, jobs] = [number(1_000), number(200), number(100_000)];
    let picture = arguments.next().unwrap_or_else(|| "placement.svg".into());
    let ways: &[bool] = match arguments.next().as_deref() {
        Some("cold") => &[false],
        Some("warm") => &[true],
        _ => &[false, true],
    };
    for &keeps in ways {
        let began = Instant::now();
        let mut day = Day::new([nodes, models, jobs], keeps);
        let late = Duration::from_secs(600);
        let [kept, soon] = day.run(late);
        let (ended, weights) = (day.fleet.done.len(), if keeps { "kept in memory" } else { "not kept" });
        println!(
            "{jobs} jobs on {nodes} nodes with {models} models, weights {weights}: {ended} ended, in {:.1?}",
            began.elapsed()
        );
        let (booked, refused) = (day.booked.len(), day.refused);
        println!(
            "bookings: {booked} taken, {refused} refused; {kept} had all replicas when they began, {soon} after {late:?}"
        );
        tell(&mut day.fleet, nodes);
        println!();
        if ways.last() == Some(&keeps) {
            std::fs::write(&picture, picture::draw(&series(&day.fleet, nodes))).expect("the picture can be written");
            println!("drawn in {picture}");
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
    println!("models: {} loads, {} of them from memory, {} unloads", fleet.loads, fleet.warm_loads, fleet.unloads);
    let all = waits(fleet.done.iter());
    let parts = [0.5, 0.9, 0.99].map(|part| percentile(&all, part));
    println!("waits of all jobs: median {:.1} s, p90 {:.1} s, p99 {:.1} s", parts[0], parts[1], parts[2]);
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
    let moves = || fleet.moves.iter().flatten();
    let loads = moves().filter(|(_, it)| matches!(it, Move::Load { .. })).map(|(at, _)| *at);
    let each = |times: Vec<Duration>| {
        (0..quarters).map(|it| times.iter().filter(|at| within(**at, it)).count() as f64).collect::<Vec<f64>>()
    };
    let (loads, warm) = (each(loads.collect()), each(fleet.warm_at.clone()));
    let booked = (0..quarters).map(|it| {
        let at = instant(it).as_millis() as u64;
        let open = |window: &&placement::Window| (window.from..window.to).contains(&at);
        fleet.cluster.models.values().flat_map(|model| &model.windows).filter(open).map(|it| it.replicas as f64).sum()
    });
    let booked = booked.collect();
    // Who comes for a model that is there for two hours may wait for the next day's.
    let booked_only = |done: &&Done| fleet.cluster.models.get(&done.job.model).is_some_and(|model| model.windows_only);
    let late = (0..quarters)
        .map(|it| {
            let came = fleet.done.iter().filter(|done| within(done.came, it) && !booked_only(done));
            percentile(&waits(came), 0.99)
        })
        .collect();
    let share = running.iter().map(|running| 100.0 * running / (nodes * SLOTS) as f64).collect();
    vec![
        picture::Series { name: "places in use, %", values: share },
        picture::Series { name: "jobs that wait", values: waiting },
        picture::Series { name: "p99 of the wait for models that are not booked, s", values: late },
        picture::Series { name: "models loaded in a quarter of an hour", values: loads },
        picture::Series { name: "of them from memory", values: warm },
        picture::Series { name: "replicas that are booked", values: booked },
    ]
}
