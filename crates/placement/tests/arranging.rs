//! What models do over time: random clusters, models and jobs, in simulated time.

use std::time::Duration;

use ids::{ModelKey, TenantId};
use placement::simulation::{Fleet, Job};
use placement::{Class, DAY, Model, Move, RESIDENCE, Replicas, Stage, Window, book};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn key(number: usize) -> ModelKey {
    ModelKey::new(format!("o/model-{number}"), None)
}

fn model(bytes: u64) -> Model {
    Model { bytes: Some(bytes), load_time: 2 * SECOND, ..Model::default() }
}

fn job(tenant: usize, model: usize, takes: Duration) -> Job {
    Job { tenant: TenantId::new(format!("tenant-{tenant}")), model: key(model), class: Class::Normal, takes }
}

fn fleet(nodes: &[u64], models: &[Model]) -> Fleet {
    let mut fleet = Fleet::recording();
    for bytes in nodes {
        fleet.node(4, *bytes);
    }
    for (number, model) in models.iter().enumerate() {
        fleet.host(key(number), model.clone());
    }
    fleet
}

fn ready(fleet: &Fleet) -> Vec<Vec<usize>> {
    let on = |node: &placement::Node| {
        let ready = (0..8).filter(|number| node.replicas.get(&key(*number)).is_some_and(|it| it.stage == Stage::Ready));
        ready.collect()
    };
    fleet.cluster.nodes.values().map(on).collect()
}

#[test]
fn where_there_is_room_for_everything_all_is_loaded_everywhere_at_once() {
    let mut fleet = fleet(&[10, 10], &[model(3), model(3), model(4)]);
    fleet.comes(100 * SECOND, job(0, 0, SECOND));
    fleet.run(2 * SECOND);
    assert_eq!(ready(&fleet), [[0, 1, 2], [0, 1, 2]]);
    fleet.run(1_000 * SECOND);
    assert_eq!((fleet.loads, fleet.unloads, fleet.done.len()), (6, 0, 1));
}

#[test]
fn who_nobody_asks_for_leaves_at_once_for_one_that_is_waited_for() {
    let mut fleet = fleet(&[2], &[model(1), model(1), model(1)]);
    fleet.comes(3 * SECOND, job(0, 0, SECOND));
    fleet.comes(5 * SECOND, job(0, 2, SECOND));
    fleet.run(1_000 * SECOND);
    assert_eq!(ready(&fleet), [[0, 2]], "1 had nothing to do");
    assert!(fleet.done.last().expect("it ended").ended < 12 * SECOND, "{:?}", fleet.done);
}

#[test]
fn two_that_are_asked_for_all_the_time_take_turns_that_are_long_enough() {
    let mut fleet = fleet(&[1], &[model(1), model(1)]);
    for second in 0..600 {
        fleet.comes(second * SECOND, job(0, second as usize % 2, SECOND / 10));
    }
    fleet.run(10_000 * SECOND);
    assert_eq!(fleet.open(), 0);
    let most = 600 / RESIDENCE.as_secs() as usize + 2;
    assert!((10..most).contains(&fleet.loads), "{} loads", fleet.loads);
    let longest = fleet.done.iter().map(|done| done.began - done.came).max().expect("jobs ended");
    assert!(longest < 30 * SECOND, "one waited {longest:?}");
}

#[test]
fn one_that_is_never_idle_makes_room_all_the_same() {
    let mut fleet = fleet(&[1], &[model(1), model(1)]);
    // Jobs of a minute, of which there is always one.
    (0..40).for_each(|number| fleet.comes(number * 30 * SECOND, job(0, 0, 60 * SECOND)));
    fleet.comes(100 * SECOND, job(1, 1, SECOND));
    fleet.run(100_000 * SECOND);
    let quiet = fleet.done.iter().find(|done| done.job.model == key(1)).expect("it was served");
    assert!(quiet.began - quiet.came < 90 * SECOND, "it waited {:?}", quiet.began - quiet.came);
    assert_eq!(fleet.open(), 0);
}

#[test]
fn replicas_come_with_work_and_go_when_there_is_none() {
    let limited = Model { replicas: Replicas { min: 1, max: Some(3) }, ..model(1) };
    let mut fleet = fleet(&[1, 1, 1, 1], &[limited]);
    (0..200).for_each(|_| fleet.comes(10 * SECOND, job(0, 0, 10 * SECOND)));
    fleet.comes(20 * SECOND, job(0, 0, SECOND));
    fleet.run(5 * SECOND);
    assert_eq!(ready(&fleet).iter().flatten().count(), 1, "the least");
    fleet.run(60 * SECOND);
    assert_eq!(ready(&fleet).iter().flatten().count(), 3, "the most");
    fleet.comes(5_000 * SECOND, job(0, 0, SECOND));
    fleet.run(6_000 * SECOND);
    assert_eq!(ready(&fleet).iter().flatten().count(), 1, "the least again");
}

#[test]
fn a_node_that_is_drained_is_empty_when_its_jobs_have_ended_and_its_models_are_elsewhere() {
    let limited = Model { replicas: Replicas { min: 1, max: Some(1) }, ..model(1) };
    let mut fleet = fleet(&[1, 1], &[limited]);
    (0..4).for_each(|_| fleet.comes(3 * SECOND, job(0, 0, 20 * SECOND)));
    fleet.comes(10_000 * SECOND, job(0, 0, SECOND));
    fleet.run(4 * SECOND);
    assert_eq!(ready(&fleet), [vec![0], vec![]]);
    fleet.cluster.nodes.get_mut(&1).expect("it is there").draining = true;
    fleet.run(10 * SECOND);
    assert_eq!(fleet.done.len(), 0, "what runs goes on");
    fleet.run(30 * SECOND);
    assert_eq!((ready(&fleet), fleet.done.len()), (vec![vec![], vec![0]], 4));
}

/// Two models that have room for one of them, both asked for all the time, on a node that keeps so many bytes of weights.
fn in_turns(host: u64) -> Fleet {
    let slow = || Model { load_time: 60 * SECOND, warm_time: 2 * SECOND, kept_bytes: Some(1), ..model(1) };
    let mut fleet = Fleet::recording();
    fleet.node_that_keeps(4, 1, host);
    (0..2).for_each(|number| fleet.host(key(number), slow()));
    for second in 0..1200 {
        fleet.comes(second * SECOND, job(0, second as usize % 2, SECOND / 10));
    }
    fleet.run(20_000 * SECOND);
    assert_eq!(fleet.open(), 0);
    fleet
}

#[test]
fn what_is_kept_in_memory_comes_back_sooner_and_is_made_to_leave_sooner() {
    // Once each has been read from its files.
    let later = |fleet: &Fleet| fleet.done.iter().filter(|done| done.came > 300 * SECOND).cloned().collect::<Vec<_>>();
    let longest = |fleet: &Fleet| later(fleet).iter().map(|done| done.began - done.came).max().expect("jobs ended");
    let (cold, warm) = (in_turns(0), in_turns(2));
    assert_eq!((cold.warm_loads, warm.warm_loads), (0, warm.loads - 2), "each was read from its files once");
    assert!(warm.loads > 4 * cold.loads, "turns are shorter: {} and {} loads", warm.loads, cold.loads);
    // A turn of the other, and the loads of both.
    assert!(longest(&warm) < 30 * SECOND, "one waited {:?}", longest(&warm));
    assert!(longest(&cold) > 240 * SECOND, "one waited {:?}", longest(&cold));
}

#[test]
fn a_model_goes_where_it_is_warm_and_of_what_is_kept_the_least_useful_goes() {
    let large = || Model { load_time: 60 * SECOND, warm_time: 2 * SECOND, kept_bytes: Some(1), ..model(1) };
    let limited = || Model { replicas: Replicas { min: 0, max: Some(1) }, ..large() };
    let mut fleet = Fleet::recording();
    // The second one has more room on its device, where models would go to otherwise.
    fleet.node_that_keeps(4, 1, 2);
    fleet.node_that_keeps(4, 2, 0);
    (0..4).for_each(|number| fleet.host(key(number), limited()));
    // 0 is on the first at last, since the other's room is taken, and leaves for want of work.
    for (at, number) in [(1, 1), (1, 2), (1, 0)] {
        fleet.comes(at * SECOND, job(0, number, 30 * SECOND));
    }
    fleet.comes(10_000 * SECOND, job(0, 3, SECOND));
    fleet.run(1_500 * SECOND);
    let warm = |fleet: &Fleet| -> Vec<usize> {
        (0..4).filter(|number| fleet.cluster.nodes[&1].kept.get(&key(*number)).is_some_and(|kept| kept.ready)).collect()
    };
    assert_eq!((ready(&fleet).concat(), warm(&fleet).len()), (vec![], 1), "{:?}", fleet.cluster.nodes);
    let kept = warm(&fleet)[0];
    fleet.comes(2_000 * SECOND, job(0, kept, SECOND));
    fleet.run(2_003 * SECOND);
    assert_eq!(ready(&fleet), [vec![kept], vec![]], "where it is warm, within its two seconds");
    // Hosted no longer, it is kept no longer.
    fleet.cluster.models.remove(&key(kept));
    fleet.comes(3_000 * SECOND, job(0, (kept + 1) % 3, SECOND));
    fleet.run(3_100 * SECOND);
    assert!(!warm(&fleet).contains(&kept));
}

fn window(from: u64, to: u64) -> Window {
    Window { from: from * 1000, to: to * 1000, daily: false, replicas: 1, tenant: None }
}

#[test]
fn a_booked_model_is_there_when_its_window_opens_and_one_for_windows_only_is_there_at_no_other_time() {
    let booked = Model { windows: vec![window(1_000, 2_000)], windows_only: true, ..model(1) };
    let mut fleet = fleet(&[1], &[model(1), booked]);
    // The other one is never idle, and has the only place.
    (0..100).for_each(|number| fleet.comes(number * 30 * SECOND, job(0, 0, 25 * SECOND)));
    fleet.comes(500 * SECOND, job(1, 1, SECOND));
    fleet.comes(DAY as u32 / 1000 * SECOND, job(0, 0, SECOND));
    fleet.run(900 * SECOND);
    assert_eq!(ready(&fleet), [[0]], "nobody makes room for a model whose time has not come");
    for at in [1_000, 1_500, 1_999] {
        fleet.run(at * SECOND);
        assert_eq!(ready(&fleet), [[1]], "at {at} s");
    }
    fleet.run(2_040 * SECOND);
    assert_eq!(ready(&fleet), [[0]]);
    let early = fleet.done.iter().find(|done| done.job.model == key(1)).expect("it was served in the window");
    assert!(early.began < 1_005 * SECOND, "{early:?}");
}

#[test]
fn room_for_several_replicas_is_made_on_as_many_nodes_at_once() {
    let booked =
        Model { windows: vec![Window { replicas: 2, ..window(1_000, 2_000) }], windows_only: true, ..model(1) };
    // Whoever leaves has the room of two.
    let mut fleet = fleet(&[2, 2], &[model(2), booked]);
    fleet.comes(DAY as u32 / 1000 * SECOND, job(0, 0, SECOND));
    fleet.run(990 * SECOND);
    let left: Vec<Duration> =
        fleet.moves.iter().flatten().filter_map(|(at, it)| matches!(it, Move::Unload { .. }).then_some(*at)).collect();
    assert_eq!(left.len(), 2, "{:?}", fleet.moves);
    assert_eq!(left[0], left[1]);
    assert_eq!(ready(&fleet), [[1], [1]]);
}

#[test]
fn one_that_is_being_loaded_does_not_stand_in_for_one_that_is_booked() {
    // When the first leaves the small node, the second has room for a third replica there, and another still waits for room.
    let loads = |bytes, seconds| Model { load_time: seconds * SECOND, ..model(bytes) };
    let first = Model { windows: vec![window(363, 776)], windows_only: true, ..loads(6, 1) };
    let second = Model { windows: vec![Window { replicas: 2, ..window(441, 1_093) }], ..loads(5, 5) };
    let mut fleet = fleet(&[6, 10, 10], &[first, second, loads(7, 1), loads(1, 1), loads(1, 1)]);
    let asked = [(0, 3), (1, 1), (404, 2), (4_000, 0)];
    asked.iter().for_each(|(at, model)| fleet.comes(*at * SECOND, job(0, *model, Duration::ZERO)));
    for now in 441..1_093 {
        fleet.run(now * SECOND);
        let there = ready(&fleet).into_iter().filter(|models| models.contains(&1)).count();
        assert!(there >= 2, "{there} replicas at {now}: {:?}", fleet.moves);
    }
}

#[test]
fn a_daily_window_comes_again_and_in_it_one_tenants_jobs_alone_run() {
    let tenant = Some(TenantId::new("tenant-1"));
    let daily = Window { daily: true, tenant, replicas: 2, ..window(1_000, 2_000) };
    let booked = Model { windows: vec![daily], ..model(1) };
    let mut fleet = fleet(&[1, 1, 1], &[Model { replicas: Replicas { min: 0, max: Some(1) }, ..booked }]);
    for day in 0..3 {
        let day = day * DAY as u32 / 1000;
        (0..30).for_each(|number| fleet.comes((day + 900 + number * 40) * SECOND, job(number as usize % 3, 0, SECOND)));
    }
    fleet.comes(4 * DAY as u32 / 1000 * SECOND, job(0, 0, SECOND));
    for day in 0..3 {
        let day = day * DAY as u32 / 1000;
        fleet.run((day + 1_000) * SECOND);
        assert_eq!(ready(&fleet).concat().len(), 2, "two replicas on day {day}");
        fleet.run((day + 80_000) * SECOND);
        assert_eq!(ready(&fleet).concat().len(), 0, "it leaves for want of work");
    }
    assert_eq!(fleet.done.len(), 90);
    let day = DAY / 1000;
    let inside = |done: &&placement::simulation::Done| (1_000..2_000).contains(&(done.began.as_secs() % day));
    let whose = |done: &placement::simulation::Done| done.job.tenant.as_str() == "tenant-1";
    assert!(fleet.done.iter().filter(inside).count() > 10);
    assert!(fleet.done.iter().filter(inside).all(whose), "{:?}", fleet.done);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever is booked and comes: what was taken is had from its beginning to its end, nobody else's jobs run in it, and
    /// a model that is for its windows only is nowhere at other times.
    #[test]
    fn what_can_be_booked_is_had(
        nodes in proptest::collection::vec(4u64..12, 1..5),
        models in proptest::collection::vec((1u64..8, any::<bool>(), 1u64..15), 2..7),
        windows in proptest::collection::vec((0usize..7, 60u64..2_000, 20u64..900, 1usize..3, 0usize..4), 1..8),
        jobs in proptest::collection::vec((0u64..3_000, 0usize..3, 0usize..7, 0u64..15_000), 0..80),
    ) {
        let models = models.into_iter().map(|(bytes, windows_only, load)| {
            let load_time = Duration::from_secs(load);
            Model { bytes: Some(bytes), load_time, windows_only, ..Model::default() }
        });
        let mut fleet = fleet(&nodes, &models.collect::<Vec<_>>());
        let count = fleet.cluster.models.len();
        for (model, from, length, replicas, tenant) in windows {
            let key = key(model % count);
            let tenant = (tenant < 3).then(|| TenantId::new(format!("tenant-{tenant}")));
            let new = Window { replicas, tenant, ..window(from, from + length) };
            if book(&fleet.cluster, &key, &new).is_ok() {
                fleet.cluster.models.get_mut(&key).unwrap().windows.push(new);
            }
        }
        for (at, tenant, model, takes) in jobs {
            fleet.comes(Duration::from_secs(at), job(tenant, model % count, Duration::from_millis(takes)));
        }
        fleet.comes(4_000 * SECOND, job(0, 0, SECOND));
        for now in 1..3_100 {
            fleet.run(now * SECOND);
            let at = u64::from(now);
            for (key, model) in &fleet.cluster.models {
                let its = fleet.cluster.nodes.values().filter_map(|node| node.replicas.get(key));
                let there = its.clone().filter(|it| it.stage == Stage::Ready).count();
                let open = |window: &&Window| (window.from / 1000..window.to / 1000).contains(&at);
                for window in model.windows.iter().filter(open) {
                    prop_assert!(there >= window.replicas, "{} of {:?} at {}", there, window, at);
                }
                let before = |window: &Window| (window.from..window.to + 30_000).contains(&(at * 1000 + model.lead()));
                if model.windows_only && !model.windows.iter().any(|it| before(it) || open(&it)) {
                    let late = |window: &Window| (window.to / 1000..window.to / 1000 + 30).contains(&at);
                    prop_assert!(its.count() == 0 || model.windows.iter().any(late), "{key} is there at {at}");
                }
            }
        }
        for done in &fleet.done {
            for window in &fleet.cluster.models[&done.job.model].windows {
                let began = u64::try_from(done.began.as_millis()).unwrap();
                // What is given out at the very instant is decided on before the clock is looked at again.
                let inside = (window.from + 5_000..window.to).contains(&began);
                prop_assert!(!inside || window.tenant.as_ref().is_none_or(|it| *it == done.job.tenant), "{:?}", done);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, no device has more than it holds, nobody leaves who has jobs, is pinned or among the least that are
    /// kept, each job is served in the end, and the same happens again.
    #[test]
    fn memory_holds_and_everybody_is_served(
        nodes in proptest::collection::vec(6u64..14, 1..5),
        models in proptest::collection::vec((1u64..7, 0usize..3, any::<bool>(), 1u64..20), 1..8),
        jobs in proptest::collection::vec((0u64..300, 0usize..3, 0usize..8, 0u64..40_000), 0..60),
        host in 0u64..12,
    ) {
        let mut kept = 0;
        let models: Vec<Model> = models.into_iter().map(|(bytes, kind, pinned, load)| {
            // What is kept for good leaves room for the largest of the others.
            let pinned = pinned && kept == 0 && bytes < 3 && nodes[0] >= 10;
            kept += usize::from(pinned);
            let replicas = match (kind, pinned) {
                (_, true) => Replicas { min: 1, max: Some(1) },
                (0, _) => Replicas::default(),
                (1, _) => Replicas { min: 0, max: Some(1) },
                _ => Replicas { min: 0, max: Some(2) },
            };
            let (load_time, warm_time) = (Duration::from_secs(load), Duration::from_secs(load) / 4);
            let kept_bytes = (bytes != 5).then_some(bytes.min(6));
            Model { bytes: Some(bytes.min(6)), load_time, warm_time, kept_bytes, replicas, pinned, ..Model::default() }
        }).collect();
        let run = || {
            let mut fleet = fleet(&nodes, &models);
            fleet.cluster.nodes.values_mut().for_each(|node| node.host = host);
            for (at, tenant, model, takes) in &jobs {
                let model = model % models.len();
                fleet.comes(Duration::from_secs(*at), job(*tenant, model, Duration::from_millis(*takes)));
            }
            let mut now = Duration::ZERO;
            while now < 20_000 * SECOND {
                now += SECOND / 2;
                let before = fleet.cluster.clone();
                fleet.run(now);
                for (seat, node) in &fleet.cluster.nodes {
                    let taken: u64 = node.replicas.values().map(|replica| replica.bytes).sum();
                    assert!(taken <= node.devices["cuda:0"], "node {seat} has {taken} bytes of models");
                    let kept: u64 = node.kept.values().map(|kept| kept.bytes).sum();
                    assert!(kept <= host, "node {seat} keeps {kept} bytes of weights");
                    for (key, replica) in &before.nodes[seat].replicas {
                        let after = node.replicas.get(key).map(|it| it.stage);
                        if replica.stage == Stage::Ready && matches!(after, None | Some(Stage::Unloading)) {
                            assert!(!fleet.cluster.models[key].pinned, "a pinned model left");
                        }
                        let gone = after.is_none_or(|stage| stage == Stage::Unloading);
                        assert!(!gone || node.replicas.get(key).is_none_or(|it| it.jobs == 0), "it left with jobs");
                    }
                }
                if fleet.open() == 0 && now > 301 * SECOND {
                    break;
                }
            }
            assert_eq!(fleet.open(), 0, "jobs wait for ever: {:?}", fleet.cluster);
            assert_eq!(fleet.done.len(), jobs.len());
            (fleet.moves, fleet.done.iter().map(|done| (done.came, done.began, done.ended)).collect::<Vec<_>>())
        };
        let (first, again) = (run(), run());
        prop_assert_eq!(&first, &again, "the same happens again");
        let loads = first.0.iter().flatten().filter(|(_, it)| matches!(it, Move::Load { .. })).count();
        prop_assert!(loads <= 300, "{} loads for {} jobs", loads, jobs.len());
    }
}
