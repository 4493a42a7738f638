//! What models do over time: random clusters, models and jobs, in simulated time.

use std::time::Duration;

use ids::{ModelKey, TenantId};
use placement::simulation::{Fleet, Job};
use placement::{Class, Model, Move, RESIDENCE, Replicas, Stage};
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, no device has more than it holds, nobody leaves who has jobs, is pinned or among the least that are
    /// kept, each job is served in the end, and the same happens again.
    #[test]
    fn memory_holds_and_everybody_is_served(
        nodes in proptest::collection::vec(6u64..14, 1..5),
        models in proptest::collection::vec((1u64..7, 0usize..3, any::<bool>(), 1u64..20), 1..8),
        jobs in proptest::collection::vec((0u64..300, 0usize..3, 0usize..8, 0u64..40_000), 0..60),
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
            Model { bytes: Some(bytes.min(6)), load_time: Duration::from_secs(load), replicas, pinned, ..Model::default() }
        }).collect();
        let run = || {
            let mut fleet = fleet(&nodes, &models);
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
