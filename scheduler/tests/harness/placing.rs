//! Which models a worker is told to load and to let go of.

use std::sync::atomic::Ordering;

use ids::{ModelKey, TenantId, WorkerId};
use placement::Window;
use proto::v1::model_state::State as Loaded;
use proto::v1::to_worker::Message as Told;
use proto::v1::{self, from_worker::Message};
use scheduler::{Clock, HostedModel};
use store::{Cordon, Error, ModelRecord, ModelState, Specification, State};

use super::play::{Cluster, Process, Worker};

/// The model that jobs of these tests are for, and another.
const TINY: &str = "test/tiny";
const OTHER: &str = "test/other";

fn hosted(name: &str) -> HostedModel {
    let (key, folder) = (ModelKey::new(name, None), format!("/models/{name}").into());
    HostedModel { key, folder, dtype: None, device: None, ranks: 1, residency: None }
}

/// A cluster that hosts both, and a process with room for one.
async fn crowded() -> (Cluster, Worker) {
    let mut cluster = Cluster::start().await;
    cluster.restart(|config| config.models = vec![hosted(OTHER), hosted(TINY)]).await;
    let device = v1::Device { name: "cpu".into(), model_bytes: 100 };
    let process = Process { devices: vec![device], ..Process::new("w1", 4) };
    let (worker, _) = cluster.hello(process, "the token", &[]).await.unwrap();
    (cluster, worker)
}

async fn load(worker: &mut Worker) -> v1::LoadModel {
    match worker.next().await {
        Told::LoadModel(load) => load,
        other => panic!("not a model to load: {other:?}"),
    }
}

fn name(model: &Option<v1::Model>) -> &str {
    &model.as_ref().unwrap().repo_id
}

async fn tell(worker: &Worker, model: &str, state: Loaded) {
    let bytes = if matches!(state, Loaded::Ready(_) | Loaded::NoRoom(_)) { 60 } else { 0 };
    let model = Some(v1::Model { repo_id: model.into(), revision: None });
    let state = v1::ModelState { model, state: Some(state), bytes, device: "cpu".into(), ..v1::ModelState::default() };
    worker.tell(Message::ModelState(state)).await;
}

async fn shown(cluster: &Cluster, name: &str, accept: impl Fn(&ModelRecord) -> bool) -> ModelRecord {
    loop {
        let found = cluster.models.get(&ModelKey::new(name, None)).await.unwrap();
        if let Some(record) = found.filter(|record| accept(record)) {
            return record;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_waited_for_takes_the_place_of_one_that_nobody_asks_for() {
    let (cluster, mut worker) = crowded().await;
    // Nobody knows how large they are.
    let first = [load(&mut worker).await, load(&mut worker).await];
    assert_eq!(
        first.each_ref().map(|load| (name(&load.model), load.device.as_deref())),
        [(OTHER, Some("cpu")), (TINY, Some("cpu"))]
    );
    tell(&worker, OTHER, Loaded::Ready(true)).await;
    tell(&worker, TINY, Loaded::NoRoom(true)).await;
    let cold = shown(&cluster, TINY, |record| record.state == ModelState::Cold).await;
    assert_eq!((cold.bytes, cold.replicas, cold.wait), (60, 0, None));

    let job = cluster.submit("lab").await;
    let Told::UnloadModel(unload) = worker.next().await else { panic!("nobody is to leave") };
    assert_eq!(name(&unload.model), OTHER);
    let waited = shown(&cluster, TINY, |record| record.wait.is_some()).await.wait.unwrap();
    assert!(waited.why.contains("other models have the room") && waited.expected_at.is_some(), "{waited:?}");
    tell(&worker, OTHER, Loaded::Unloaded(true)).await;
    assert_eq!(name(&load(&mut worker).await.model), TINY);
    shown(&cluster, TINY, |record| record.wait.as_ref().is_some_and(|wait| wait.why == "it is being loaded")).await;
    tell(&worker, TINY, Loaded::Ready(true)).await;
    let assign = worker.assign().await;
    worker.finish(&assign, b"42").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
    let hot = shown(&cluster, TINY, |record| record.state == ModelState::Ready).await;
    assert_eq!((hot.replicas, hot.wait), (1, None));
    assert_eq!(shown(&cluster, OTHER, |record| record.state == ModelState::Cold).await.replicas, 0);
}

/// A process with room for one of both models on its GPU, and for the weights of so many bytes in its memory.
async fn keeping(warm_bytes: u64) -> (Cluster, Worker) {
    let mut cluster = Cluster::start().await;
    cluster.restart(|config| config.models = vec![hosted(OTHER), hosted(TINY)]).await;
    let device = v1::Device { name: "cuda:0".into(), model_bytes: 100 };
    let process = Process { devices: vec![device], warm_bytes, ..Process::new("w1", 4) };
    let (worker, _) = cluster.hello(process, "the token", &[]).await.unwrap();
    (cluster, worker)
}

fn kept(model: &str, state: Loaded, kept_bytes: u64) -> v1::ModelState {
    let model = Some(v1::Model { repo_id: model.into(), revision: None });
    let (state, device) = (Some(state), "cuda:0".into());
    v1::ModelState { model, state, bytes: 60, device, kept_bytes, ..v1::ModelState::default() }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_leaves_a_gpu_is_warm_where_its_weights_are_kept_and_makes_room_for_those_that_are_worth_more() {
    let (mut cluster, mut worker) = keeping(100).await;
    for _ in 0..2 {
        assert!(load(&mut worker).await.keep, "whether there is room for its weights the worker finds out");
    }
    worker.tell(Message::ModelState(kept(OTHER, Loaded::Ready(true), 50))).await;
    worker.tell(Message::ModelState(kept(TINY, Loaded::NoRoom(true), 0))).await;
    let hot = shown(&cluster, OTHER, |record| record.state == ModelState::Ready).await;
    assert_eq!((hot.kept_bytes, hot.warm, hot.state_name()), (50, 0, "ready"));
    let job = cluster.submit("lab").await;
    let Told::UnloadModel(_) = worker.next().await else { panic!("nobody is to leave") };
    worker.tell(Message::ModelState(kept(OTHER, Loaded::Unloaded(true), 50))).await;
    // Its weights and those that come have no room beside each other, and nobody asked for it.
    let Told::CoolModel(cool) = worker.next().await else { panic!("nothing makes room in memory") };
    assert_eq!(name(&cool.model), OTHER);
    let loads = load(&mut worker).await;
    assert_eq!((name(&loads.model), loads.keep), (TINY, true));
    worker.tell(Message::ModelState(kept(TINY, Loaded::Ready(true), 60))).await;
    let assign = worker.assign().await;
    worker.finish(&assign, b"42").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
    let cold = shown(&cluster, OTHER, |record| record.state == ModelState::Cold).await;
    assert_eq!((cold.warm, cold.state_name()), (0, "cold"));

    // A scheduler that begins knows what is warm by what the worker says.
    let mut process = worker.cut();
    cluster.restart(|config| config.models = vec![hosted(OTHER), hosted(TINY)]).await;
    process.models = vec![kept(TINY, Loaded::Unloaded(true), 60), kept(OTHER, Loaded::Ready(true), 0)];
    let (mut worker, _) = cluster.hello(process, "the token", &[]).await.unwrap();
    let warm = shown(&cluster, TINY, |record| record.warm == 1).await;
    assert_eq!((warm.state_name(), warm.warm_time.is_zero()), ("warm", true));
    let job = cluster.submit("lab").await;
    let Told::LoadModel(_) = worker.next().await else { panic!("it is confirmed what it has") };
    let Told::UnloadModel(_) = worker.next().await else { panic!("nobody is to leave") };
    worker.tell(Message::ModelState(kept(OTHER, Loaded::Unloaded(true), 0))).await;
    let loads = load(&mut worker).await;
    assert_eq!((name(&loads.model), loads.keep), (TINY, true));
    let ready = v1::ModelState { warm: true, ..kept(TINY, Loaded::Ready(true), 60) };
    worker.tell(Message::ModelState(ready)).await;
    let assign = worker.assign().await;
    worker.finish(&assign, b"42").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
    let hot = shown(&cluster, TINY, |record| record.state == ModelState::Ready && !record.warm_time.is_zero()).await;
    assert!(hot.load_time > std::time::Duration::ZERO, "that of its files is told beside it: {hot:?}");
    let node = &cluster.models.nodes().list().await.unwrap()[0];
    assert_eq!((node.warm_bytes, node.kept.as_slice()), (100, [(ModelKey::new(TINY, None), 60)].as_slice()));
}

#[tokio::test(start_paused = true)]
async fn a_model_for_windows_only_is_loaded_when_one_is_near_and_one_tenants_jobs_alone_run_in_it() {
    let mut cluster = Cluster::start().await;
    cluster.restart(|config| config.models = Vec::new()).await;
    let (mut worker, welcome) = cluster.hello(Process::new("w1", 4), "the token", &[]).await.unwrap();
    worker.beat(&welcome);
    let key = ModelKey::new(TINY, None);
    let wanted = Specification { windows_only: true, ..Specification::new(key.clone(), "/one".into()) };
    cluster.models.specifications().change(&key, |_| Some(wanted.clone())).await.unwrap();
    shown(&cluster, TINY, |_| true).await;
    let (theirs, own) = (cluster.submit("others").await, cluster.submit("lab").await);
    let wait = shown(&cluster, TINY, |record| record.wait.is_some()).await.wait.unwrap();
    assert_eq!((wait.why.contains("it is booked for none"), wait.expected_at), (true, None), "{wait:?}");
    assert!(worker.quiet().await, "it is not loaded");

    let bookings = cluster.models.bookings();
    let (now, hour) = (cluster.day.unix_millis(), 3_600_000);
    let window =
        Window { from: now + hour, to: now + 2 * hour, daily: false, replicas: 1, tenant: Some(TenantId::new("lab")) };
    let may = |_: &[store::Booking]| Ok::<(), Error>(());
    let lab = bookings.add((key.clone(), window.clone()), now, may).await.unwrap();
    let wait = shown(&cluster, TINY, |it| it.wait.as_ref().is_some_and(|wait| wait.expected_at.is_some())).await.wait;
    let wait = wait.unwrap();
    assert!(wait.why.contains("the next has yet to begin"), "{wait:?}");
    assert!(wait.expected_at.unwrap().abs_diff(window.from) < 60_000, "{wait:?} at {now}");
    assert!(worker.quiet().await, "nor is it for a window that is far");

    // As long as loading is taken to take, and half a minute for who has the room.
    cluster.day.0.store(window.from - 20_000, Ordering::Relaxed);
    load(&mut worker).await;
    tell(&worker, TINY, Loaded::Ready(true)).await;
    let assign = worker.assign().await;
    assert_eq!(assign.job_id, own.to_string(), "theirs came before, and waits");
    worker.finish(&assign, b"42").await;
    assert_eq!(cluster.end(own).await.state, State::Completed);
    let reserved = shown(&cluster, TINY, |record| record.reservation.is_some()).await.reservation;
    assert_eq!(reserved, Some((TenantId::new("lab"), window.to)));
    cluster.day.0.store(window.to - 1, Ordering::Relaxed);
    assert!(worker.quiet().await, "theirs waits still");

    // When it is everybody's, it is theirs too; and when it is over, the model leaves.
    let all = Window { tenant: None, ..window.clone() };
    bookings.add((key.clone(), all), now, may).await.unwrap();
    bookings.remove(|it| it.number == lab.number).await.unwrap();
    let assign = worker.assign().await;
    assert_eq!(assign.job_id, theirs.to_string());
    worker.finish(&assign, b"42").await;
    assert_eq!(cluster.end(theirs).await.state, State::Completed);
    cluster.day.0.store(window.to, Ordering::Relaxed);
    let Told::UnloadModel(_) = worker.next().await else { panic!("it is to go") };
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_has_is_known_again_when_a_scheduler_starts() {
    let (mut cluster, mut worker) = crowded().await;
    load(&mut worker).await;
    load(&mut worker).await;
    tell(&worker, OTHER, Loaded::NoRoom(true)).await;
    tell(&worker, TINY, Loaded::Ready(true)).await;
    shown(&cluster, TINY, |record| record.state == ModelState::Ready).await;
    let process = worker.cut();
    cluster.restart(|config| config.models = vec![hosted(OTHER), hosted(TINY)]).await;
    // It says nothing of its models, as one that has just begun.
    let (mut worker, _) = cluster.hello(process, "the token", &[]).await.unwrap();
    let again = load(&mut worker).await;
    assert_eq!(name(&again.model), OTHER, "the size of both is known, and only one fits");
    let more = tokio::time::timeout(std::time::Duration::from_secs(1), worker.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_model_is_hosted_changed_and_hosted_no_longer_while_the_scheduler_runs() {
    let mut cluster = Cluster::start().await;
    cluster.restart(|config| config.models = Vec::new()).await;
    let (mut worker, _) = cluster.hello(Process::new("w1", 4), "the token", &[]).await.unwrap();
    let key = ModelKey::new(TINY, None);
    let specifications = cluster.models.specifications();
    let wanted =
        Specification { replicas_min: 1, replicas_max: Some(1), ..Specification::new(key.clone(), "/one".into()) };
    specifications.change(&key, |_| Some(wanted.clone())).await.unwrap();
    assert_eq!(load(&mut worker).await.folder, "/one");
    tell(&worker, TINY, Loaded::Ready(true)).await;
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    // Another folder is another model: it is loaded anew once nothing runs on it.
    let moved = Specification { folder: "/two".into(), ..wanted };
    specifications.change(&key, |_| Some(moved.clone())).await.unwrap();
    worker.finish(&assign, b"42").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
    let Told::UnloadModel(_) = worker.next().await else { panic!("it is to go") };
    tell(&worker, TINY, Loaded::Unloaded(true)).await;
    assert_eq!(load(&mut worker).await.folder, "/two");
    tell(&worker, TINY, Loaded::Ready(true)).await;
    specifications.remove(&key).await.unwrap();
    let Told::UnloadModel(_) = worker.next().await else { panic!("it is to go") };
    let refused = cluster.end(cluster.submit("lab").await).await;
    assert_eq!(refused.state, State::Failed);
    assert_eq!(cluster.models.list().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cordoned_gets_nothing_and_one_that_is_drained_keeps_nothing() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    let nodes = cluster.models.nodes();
    let name = WorkerId::new("w1");
    let running = cluster.submit("lab").await;
    let assign = worker.assign().await;
    nodes.set_cordon(&name, Some(Cordon { drain: false, since: 1 })).await.unwrap();
    shown(&cluster, TINY, |_| true).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let waiting = cluster.submit("lab").await;
    assert!(worker.quiet().await, "it gets nothing");
    nodes.set_cordon(&name, Some(Cordon { drain: true, since: 1 })).await.unwrap();
    worker.finish(&assign, b"42").await;
    assert_eq!(cluster.end(running).await.state, State::Completed);
    let Told::UnloadModel(_) = worker.next().await else { panic!("its model is to go") };
    tell(&worker, TINY, Loaded::Unloaded(true)).await;
    assert!(worker.quiet().await);
    let shown = nodes.list().await.unwrap();
    assert_eq!((shown[0].name.as_str(), shown[0].jobs, shown[0].replicas.len()), ("w1", 0, 0));
    nodes.set_cordon(&name, None).await.unwrap();
    load(&mut worker).await;
    tell(&worker, TINY, Loaded::Ready(true)).await;
    let assign = worker.assign().await;
    assert_eq!(assign.job_id, waiting.to_string());
    worker.finish(&assign, b"42").await;
}

/// Has the cluster keep one replica of the model, and no more.
async fn keep_one(cluster: &Cluster) {
    let key = ModelKey::new(TINY, None);
    let one = |before: Option<Specification>| {
        before.map(|before| Specification { replicas_min: 1, replicas_max: Some(1), ..before })
    };
    cluster.models.specifications().change(&key, one).await.unwrap();
}

async fn process(cluster: &Cluster, name: &str) -> Worker {
    cluster.hello(Process::new(name, 4), "the token", &[]).await.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_while_it_loads_a_model_costs_nothing_but_time() {
    let cluster = Cluster::start().await;
    keep_one(&cluster).await;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let mut first = process(&cluster, "w1").await;
    load(&mut first).await;
    tell(&first, TINY, Loaded::Loading(0.5)).await;
    let job = cluster.submit("lab").await;
    let mut second = process(&cluster, "w2").await;
    let instance = first.process.instance.clone();
    drop(first);
    cluster.handle().departures().gone(instance).await;
    load(&mut second).await;
    tell(&second, TINY, Loaded::Ready(true)).await;
    let assign = second.assign().await;
    second.finish(&assign, b"42").await;
    let record = cluster.end(job).await;
    assert_eq!((record.state, record.attempt, record.deaths), (State::Completed, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn where_a_model_failed_to_load_another_worker_is_tried_first() {
    let cluster = Cluster::start().await;
    keep_one(&cluster).await;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let mut first = process(&cluster, "w1").await;
    load(&mut first).await;
    let mut second = process(&cluster, "w2").await;
    tell(&first, TINY, Loaded::Failed("the disk is away".into())).await;
    load(&mut second).await;
    tell(&second, TINY, Loaded::Ready(true)).await;
    let Told::UnloadModel(_) = first.next().await else { panic!("it is not asked for any longer") };
    let job = cluster.submit("lab").await;
    let assign = second.assign().await;
    second.finish(&assign, b"42").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn ranks_that_no_worker_has_room_for_are_ordered_from_one_with_the_places_of_the_others_and_leave_as_one() {
    let mut cluster = Cluster::start().await;
    let hosts = |config: &mut scheduler::Config| config.models = vec![HostedModel { ranks: 2, ..hosted(TINY) }];
    cluster.restart(hosts).await;
    let process = |name: &str, address: &str| {
        let device = v1::Device { name: "cpu".into(), model_bytes: 40 };
        Process { devices: vec![device], rank_address: address.into(), ..Process::new(name, 4) }
    };
    let (mut first, _) = cluster.hello(process("w1", "10.0.0.1:7100"), "the token", &[]).await.unwrap();
    // Nobody knows how large it is.
    assert_eq!(load(&mut first).await.rank_hosts, []);
    tell(&first, TINY, Loaded::NoRoom(true)).await;
    let job = cluster.submit("lab").await;
    let waited = shown(&cluster, TINY, |record| record.wait.is_some()).await.wait.unwrap();
    assert!(
        waited.why.starts_with("it takes 2 ranks of 1 MB each") && waited.why.contains("and 1 devices"),
        "{waited:?}"
    );

    let (second, _) = cluster.hello(process("w2", "10.0.0.2:7100"), "the token", &[]).await.unwrap();
    let order = load(&mut first).await;
    let place = v1::RankHost { worker: "w2".into(), address: "10.0.0.2:7100".into(), device: "cpu".into() };
    assert_eq!((order.ranks, order.rank_hosts.as_slice()), (Some(2), [place.clone()].as_slice()));
    let model = Some(v1::Model { repo_id: TINY.into(), revision: None });
    let part = v1::ModelState { model, bytes: 30, device: "cpu".into(), ..v1::ModelState::default() };
    let ready = v1::ModelState { state: Some(Loaded::Ready(true)), ..part };
    first.tell(Message::ModelState(ready.clone())).await;
    let assign = first.assign().await;
    first.finish(&assign, b"42").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
    let hot = shown(&cluster, TINY, |record| record.state == ModelState::Ready).await;
    assert_eq!((hot.bytes, hot.ranks, hot.replicas), (60, 2, 1), "what it takes on one node stays known");
    let stages = |nodes: Vec<store::NodeRecord>| -> Vec<(String, String, u64)> {
        let its =
            nodes.into_iter().flat_map(|node| node.replicas.into_iter().map(move |it| (node.name.to_string(), it)));
        its.map(|(node, it)| (node, it.stage, it.bytes)).collect()
    };
    let expected = [("w1", "ready"), ("w2", "rank")].map(|(node, stage)| (node.to_owned(), stage.to_owned(), 30));
    while stages(cluster.models.nodes().list().await.unwrap()) != expected {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    // The next scheduler knows by the workers who holds what, and leaves it as it is.
    let (mut one, other) = (first.cut(), second.cut());
    cluster.restart(hosts).await;
    let told = v1::RankHost { address: String::new(), ..place };
    one.models = vec![v1::ModelState { rank_hosts: vec![told], ..ready }];
    let (_second, _) = cluster.hello(other, "the token", &[]).await.unwrap();
    let (mut first, _) = cluster.hello(one, "the token", &[]).await.unwrap();
    assert_eq!(load(&mut first).await.rank_hosts, order.rank_hosts, "it is confirmed");
    let cordon = Some(Cordon { drain: true, since: 0 });
    cluster.models.nodes().set_cordon(&WorkerId::new("w2"), cordon).await.unwrap();
    let Told::UnloadModel(unload) = first.next().await else { panic!("a node of the group is drained") };
    assert_eq!(name(&unload.model), TINY);
}
