//! What tenants get of each other's leavings, in simulated time. `--nocapture` prints the figures.

use std::time::Duration;

use ids::{ModelKey, TenantId};
use placement::simulation::{Done, Fleet, Job};
use placement::{Class, Model};

const SECOND: Duration = Duration::from_secs(1);

fn key() -> ModelKey {
    ModelKey::new("o/n", None)
}

fn job(tenant: &str, takes: Duration) -> Job {
    Job { tenant: TenantId::new(tenant), model: key(), class: Class::Normal, takes }
}

/// One node with so many places, on which the model is ready.
fn fleet(slots: usize) -> Fleet {
    let mut fleet = Fleet::default();
    fleet.node(slots, 1);
    fleet.host(key(), Model { bytes: Some(1), load_time: SECOND, ..Model::default() });
    fleet
}

fn of<'a>(fleet: &'a Fleet, tenant: &'a str) -> impl Iterator<Item = &'a Done> {
    fleet.done.iter().filter(move |done| done.job.tenant.as_str() == tenant)
}

/// The 99th percentile of the time from coming to ending.
fn p99(fleet: &Fleet, tenant: &str) -> f64 {
    let mut times: Vec<Duration> = of(fleet, tenant).map(|done| done.ended - done.came).collect();
    times.sort();
    times[times.len() * 99 / 100].as_secs_f64()
}

#[test]
fn who_comes_with_little_waits_no_longer_beside_a_flood_than_alone() {
    let quiet = |fleet: &mut Fleet| {
        (0..200).for_each(|number| fleet.comes((100 + 7 * number) * SECOND, job("quiet", 2 * SECOND)));
    };
    let mut alone = fleet(32);
    quiet(&mut alone);
    alone.run(100_000 * SECOND);
    let mut beside = fleet(32);
    // Ten thousand jobs of half a minute, all at once.
    (0..10_000).for_each(|_| beside.comes(10 * SECOND, job("flood", 30 * SECOND)));
    // It was here before: who was never seen is not waited for.
    beside.comes(5 * SECOND, job("quiet", 2 * SECOND));
    quiet(&mut beside);
    beside.run(100_000 * SECOND);
    let (before, after) = (p99(&alone, "quiet"), p99(&beside, "quiet"));
    println!("p99 of the quiet one: alone {before} s, beside the flood {after} s, {:.2} times", after / before);
    assert!(after <= 2.0 * before, "{before} s alone, {after} s beside a flood");
}

#[test]
fn ten_tenants_get_the_same_device_time_however_large_their_jobs_are() {
    let mut fleet = fleet(16);
    let names: Vec<String> = (0..10).map(|number| format!("tenant-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        // From half a second to four minutes, and as many as keep it waiting for all of the time.
        let takes = (SECOND / 2).mul_f64(2.0_f64.powi(number as i32));
        let takes = takes.min(240 * SECOND);
        let count = (20_000.0 / takes.as_secs_f64()) as u32;
        (0..count).for_each(|_| fleet.comes(2 * SECOND, job(name, takes)));
    }
    let end = 5_000 * SECOND;
    fleet.run(end);
    // What runs at the end counts as far as it has come.
    let had: Vec<f64> =
        names.iter().map(|name| of(&fleet, name).map(|done| done.job.takes.as_secs_f64()).sum()).collect();
    let (sum, squares): (f64, f64) = (had.iter().sum(), had.iter().map(|had| had * had).sum());
    let jain = sum * sum / (had.len() as f64 * squares);
    println!("device seconds of ten tenants: {had:?}; Jain's index {jain:.4}");
    assert!(jain >= 0.95, "Jain's index is {jain}");
}

#[test]
fn tenants_of_different_classes_get_the_floors_of_those_while_all_have_work() {
    let mut fleet = fleet(16);
    let classes = Class::ALL.map(|class| (class, class.name()));
    for (class, name) in classes {
        // As many for each as would keep all places busy for the whole time.
        (0..8_000).for_each(|_| fleet.comes(2 * SECOND, Job { class, ..job(name, SECOND) }));
    }
    // One more that is as urgent as another shares what their class has.
    (0..8_000).for_each(|_| fleet.comes(2 * SECOND, job("normal too", SECOND)));
    // Less than what is low waits before it moves up.
    fleet.run(500 * SECOND);
    let all = fleet.done.len() as f64;
    let shares = ["high", "normal", "normal too", "low"].map(|tenant| of(&fleet, tenant).count() as f64 / all);
    println!("of {all} jobs, classes high, normal, normal and low had {shares:.3?}");
    for (share, floor) in shares.into_iter().zip([0.6, 0.15, 0.15, 0.1]) {
        assert!((share - floor).abs() < 0.02, "{share} where the floor is {floor}");
    }
}

#[test]
fn classes_have_their_floors_where_places_become_free_one_at_a_time() {
    let mut fleet = fleet(8);
    // One that has all places at first, whose jobs end one after the other.
    (0..8).for_each(|number| fleet.comes(2 * SECOND, job("first", (10 + number) * SECOND)));
    let mut random = fastrand::Rng::with_seed(7);
    for (class, name) in [(Class::Low, "low"), (Class::High, "high")] {
        for _ in 0..800 {
            let takes = SECOND.mul_f64(random.f64() + 0.5);
            fleet.comes(3 * SECOND, Job { class, ..job(name, takes) });
        }
    }
    // Less than what is low waits before it moves up.
    fleet.run(100 * SECOND);
    let [high, low] = ["high", "low"].map(|name| of(&fleet, name).map(|it| it.job.takes.as_secs_f64()).sum::<f64>());
    println!("device seconds of the classes high and low: {high:.0} and {low:.0}");
    let (share, floors) = (high / (high + low), 6.0 / 7.0);
    assert!((share - floors).abs() < 0.04, "{share} where the floors are {floors}");
}

#[test]
fn classes_have_their_floors_of_what_was_measured_where_nobody_could_predict_it() {
    let mut fleet = fleet(8);
    // Each job comes from somebody else, so that all are taken to be like the average of those before.
    for (class, takes, count) in [(Class::High, SECOND, 1_000), (Class::Low, 6 * SECOND, 100)] {
        for number in 0..count {
            fleet.comes(2 * SECOND, Job { class, ..job(&format!("{}-{number}", class.name()), takes) });
        }
    }
    // Less than what is low waits before it moves up.
    fleet.run(120 * SECOND);
    let had = |name: &str| {
        let own = fleet.done.iter().filter(|done| done.job.tenant.as_str().starts_with(name));
        own.map(|done| done.job.takes.as_secs_f64()).sum::<f64>()
    };
    let (high, low) = (had("high"), had("low"));
    println!("device seconds of short jobs of the class high and long ones of the class low: {high:.0} and {low:.0}");
    let (share, floors) = (high / (high + low), 6.0 / 7.0);
    assert!((share - floors).abs() < 0.04, "{share} where the floors are {floors}");
}

#[test]
fn short_jobs_do_not_wait_for_a_long_one() {
    let mut fleet = fleet(8);
    fleet.comes(2 * SECOND, job("long", 3_600 * SECOND));
    (0..32).for_each(|_| fleet.comes(3 * SECOND, job("short", SECOND)));
    fleet.run(100_000 * SECOND);
    let last = of(&fleet, "short").map(|done| done.ended - done.came).max().expect("they ended");
    println!("32 jobs of a second beside one of an hour, with 8 places: the last ended after {last:?}");
    // Six at a time: one place has the long one, and one is kept for others.
    assert!(last <= 6 * SECOND, "the last of the short ones ended after {last:?}");
}
