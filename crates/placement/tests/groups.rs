//! Where models go whose ranks several processes hold: on one node, or over several, and all ranks or none.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::ModelKey;
use placement::{Arrangement, Cluster, Model, Move, Node, Replica, Seat, Stage, Why, Work, arrange};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn key(number: usize) -> ModelKey {
    ModelKey::new(format!("o/model-{number}"), None)
}

/// A node of devices with so many bytes each, which holds ranks of others' models.
fn node(devices: &[(&str, u64)]) -> Node {
    let devices = devices.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
    Node { devices, holds_ranks: true, ..Node::default() }
}

fn group(bytes: u64, ranks: usize) -> Model {
    let work = Work { time: SECOND, since: Some(Duration::ZERO) };
    Model { bytes: Some(bytes), ranks, load_time: SECOND, work, ..Model::default() }
}

fn cluster(nodes: Vec<Node>, models: Vec<Model>) -> Cluster {
    let models = models.into_iter().enumerate().map(|(number, model)| (key(number), model)).collect();
    Cluster { nodes: (1..).zip(nodes).collect(), models, time: 0 }
}

/// The places of the first model that is loaded.
fn places(arrangement: &Arrangement) -> Vec<(Seat, String)> {
    let of = |each: &Move| match each {
        Move::Load { seat, device, beside, .. } => {
            Some([&[(*seat, device.clone().unwrap_or_default())], beside.as_slice()].concat())
        }
        _ => None,
    };
    arrangement.moves.iter().find_map(of).unwrap_or_default()
}

fn at(places: &[(Seat, &str)]) -> Vec<(Seat, String)> {
    places.iter().map(|(seat, device)| (*seat, (*device).to_owned())).collect()
}

#[test]
fn ranks_are_on_one_node_where_its_devices_suffice_and_over_several_otherwise() {
    let gpus = |count: usize| node(&[("cuda:0", 10), ("cuda:1", 10), ("cuda:2", 10), ("cuda:3", 10)][..count]);
    let chosen = |nodes: Vec<Node>, model: Model| places(&arrange(&cluster(nodes, vec![model]), SECOND));
    assert_eq!(chosen(vec![gpus(1), gpus(2)], group(8, 2)), at(&[(2, "cuda:0"), (2, "cuda:1")]));
    assert_eq!(chosen(vec![gpus(1), gpus(1)], group(8, 2)), at(&[(1, "cuda:0"), (2, "cuda:0")]));
    // Over as few as will do.
    let four = at(&[(2, "cuda:0"), (2, "cuda:1"), (3, "cuda:0"), (3, "cuda:1")]);
    assert_eq!(chosen(vec![gpus(1), gpus(2), gpus(2)], group(8, 4)), four);
    // One node's CPU has all of a model, and each of several a part of it.
    let cpu = |bytes| node(&[("cpu", bytes)]);
    assert_eq!(chosen(vec![cpu(7), cpu(10)], group(10, 2)), at(&[(2, "cpu")]));
    assert_eq!(chosen(vec![cpu(7), cpu(5)], group(10, 2)), at(&[(1, "cpu"), (2, "cpu")]));
    // A GPU that the model asks for is its first one's.
    let asked = Model { device: Some("cuda:1".into()), ..group(8, 2) };
    assert_eq!(chosen(vec![gpus(4)], asked), at(&[(1, "cuda:1"), (1, "cuda:2")]));
}

#[test]
fn all_ranks_have_a_place_or_none_has_and_it_is_said_what_is_missing() {
    let alone = Node { holds_ranks: false, ..node(&[("cpu", 6)]) };
    let arranged = arrange(&cluster(vec![node(&[("cpu", 6)]), alone, node(&[("cpu", 4)])], vec![group(10, 2)]), SECOND);
    assert_eq!(arranged.moves, []);
    assert_eq!(arranged.waits[&key(0)].why, Why::TooFew { ranks: 2, bytes: 5, there: 1 });
    let cordoned = Node { cordoned: true, ..node(&[("cpu", 6)]) };
    let away = Node { away: true, ..node(&[("cpu", 6)]) };
    for closed in [cordoned, away] {
        assert_eq!(arrange(&cluster(vec![node(&[("cpu", 6)]), closed], vec![group(10, 2)]), SECOND).moves, []);
    }
}

/// A replica that has been ready for long.
fn ready(device: &str, bytes: u64, beside: &[(Seat, &str)]) -> Replica {
    let (stage, since) = (Stage::Ready, Duration::ZERO);
    Replica { stage, device: Some(device.into()), bytes, beside: at(beside), jobs: 0, since, used: since, stale: false }
}

#[test]
fn a_group_leaves_as_one_for_a_node_that_is_drained_and_for_who_needs_what_one_rank_has() {
    let late = 1000 * SECOND;
    let idle = |model: Model| Model { work: Work::default(), ..model };
    let mut cluster =
        cluster(vec![node(&[("cpu", 6)]), node(&[("cpu", 6)])], vec![idle(group(10, 2)), idle(group(3, 1))]);
    let first = cluster.nodes.get_mut(&1).expect("it is there");
    first.replicas.insert(key(0), ready("cpu", 5, &[(2, "cpu")]));
    assert_eq!(arrange(&cluster, late).moves, [], "what a rank has is not free");
    let gone = [Move::Unload { model: key(0), seat: 1 }];
    let mut drained = cluster.clone();
    drained.nodes.get_mut(&2).expect("it is there").draining = true;
    assert_eq!(arrange(&drained, late).moves, gone);
    // Only the second node may have what is waited for.
    let waited = cluster.models.get_mut(&key(1)).expect("it is hosted");
    waited.work = Work { time: SECOND, since: Some(SECOND) };
    waited.avoid = BTreeSet::from([1]);
    assert_eq!(arrange(&cluster, late).moves, gone);
}

/// What all replicas take, by node and device.
fn taken(cluster: &Cluster) -> BTreeMap<(Seat, String), u64> {
    let mut taken = BTreeMap::new();
    for (seat, node) in &cluster.nodes {
        for replica in node.replicas.values() {
            let own = replica.device.clone().map(|device| (*seat, device));
            for place in own.into_iter().chain(replica.beside.iter().cloned()) {
                *taken.entry(place).or_default() += replica.bytes;
            }
        }
    }
    taken
}

/// Does what was chosen, at once, and looks whether it could be.
fn apply(cluster: &mut Cluster, moves: Vec<Move>, now: Duration) {
    for each in moves {
        match each {
            Move::Load { model, seat, device, beside, bytes, .. } => {
                let wanted = &cluster.models[&model];
                let places: BTreeSet<_> =
                    beside.iter().cloned().chain(device.clone().map(|device| (seat, device))).collect();
                let over_several = beside.iter().any(|(other, _)| *other != seat);
                assert!(places.len() == wanted.ranks.max(1), "{places:?} for {wanted:?}");
                for (place, _) in &places {
                    let node = &cluster.nodes[place];
                    assert!(!node.draining && !node.cordoned && (node.holds_ranks || !over_several));
                }
                if over_several {
                    let could = |node: &Node| {
                        let large = |name: &String| node.devices.get(name).is_some_and(|all| *all >= bytes);
                        !node.draining
                            && (0..8).any(|first| (first..first + wanted.ranks).all(|at| large(&format!("cuda:{at}"))))
                    };
                    assert!(!cluster.nodes.values().any(could), "{model} could be on one node");
                }
                let replica = Replica { beside, ..ready(&device.expect("nodes say what they have"), bytes, &[]) };
                let node = cluster.nodes.get_mut(&seat).expect("it is there");
                node.replicas.insert(model, Replica { since: now, used: now, ..replica });
            }
            Move::Unload { model, seat } => {
                assert!(cluster.nodes.get_mut(&seat).expect("it is there").replicas.remove(&model).is_some());
            }
            Move::Retire { .. } | Move::Cool { .. } => panic!("nobody has jobs, and nothing is kept"),
        }
    }
    for ((seat, device), bytes) in taken(cluster) {
        assert!(bytes <= cluster.nodes[&seat].devices[&device], "{bytes} bytes on {device} of node {seat}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_holds_and_every_model_that_can_be_placed_is_whoever_else_is_there_and_whatever_node_is_lost(
        gpus in prop::collection::vec(prop::collection::vec(4_u64..12, 1..4), 2..6),
        holds in prop::collection::vec(any::<bool>(), 6),
        models in prop::collection::vec((1_u64..8, 1_usize..6), 1..6),
        asked in prop::collection::vec((0_usize..6, 0_usize..12), 1..12),
    ) {
        let names = ["cuda:0", "cuda:1", "cuda:2"];
        let nodes = gpus.iter().zip(&holds).map(|(gpus, holds_ranks)| {
            let devices: Vec<(&str, u64)> = names.into_iter().zip(gpus.iter().copied()).collect();
            Node { holds_ranks: *holds_ranks, ..node(&devices) }
        });
        let idle = |(bytes, ranks): &(u64, usize)| Model { work: Work::default(), ..group(*bytes, *ranks) };
        let mut cluster = cluster(nodes.collect(), models.iter().map(idle).collect());
        let mut now = Duration::ZERO;
        for (model, happens) in asked {
            let model = key(model % models.len());
            match (happens, cluster.nodes.len()) {
                // With a node, all replicas are gone that had a rank there.
                (0..2, 2..) => {
                    let lost = *cluster.nodes.keys().nth(happens).expect("there are two");
                    cluster.nodes.remove(&lost);
                    for node in cluster.nodes.values_mut() {
                        node.replicas.retain(|_, replica| replica.beside.iter().all(|(seat, _)| *seat != lost));
                    }
                }
                (2, _) => cluster.nodes.values_mut().next().expect("there is one").draining = true,
                (3, _) => cluster.nodes.values_mut().for_each(|node| node.draining = false),
                _ => {}
            }
            let wanted = cluster.models.get_mut(&model).expect("it is hosted");
            (wanted.work, wanted.demand) = (Work { time: SECOND, since: Some(now) }, 1.0);
            let mut why = None;
            for _ in 0..20 {
                now += 10 * SECOND;
                let arranged = arrange(&cluster, now);
                why = arranged.waits.get(&model).map(|wait| wait.why.clone());
                apply(&mut cluster, arranged.moves, now);
                let drained = cluster.nodes.iter().filter(|(_, node)| node.draining);
                for (seat, node) in drained {
                    prop_assert!(node.replicas.is_empty());
                    let has = |replica: &Replica| replica.beside.iter().any(|(other, _)| other == seat);
                    prop_assert!(!cluster.nodes.values().flat_map(|node| node.replicas.values()).any(has));
                }
            }
            let there = cluster.nodes.values().any(|node| node.replicas.contains_key(&model));
            let said = matches!(why, Some(Why::TooLarge { .. } | Why::TooFew { .. } | Why::Nobody));
            prop_assert!(there || said, "{model} waits for {why:?} in {cluster:?}");
            let wanted = cluster.models.get_mut(&model).expect("it is hosted");
            (wanted.work, wanted.demand) = (Work::default(), 0.0);
        }
    }
}
