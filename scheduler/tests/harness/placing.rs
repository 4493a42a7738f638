//! Which models a worker is told to load and to let go of.

use ids::{ModelKey, WorkerId};
use proto::v1::model_state::State as Loaded;
use proto::v1::to_worker::Message as Told;
use proto::v1::{self, from_worker::Message};
use scheduler::HostedModel;
use store::{Cordon, ModelRecord, ModelState, Specification, State};

use super::play::{Cluster, Process, Worker};

/// The model that jobs of these tests are for, and another.
const TINY: &str = "test/tiny";
const OTHER: &str = "test/other";

fn hosted(name: &str) -> HostedModel {
    let (key, folder) = (ModelKey::new(name, None), format!("/models/{name}").into());
    HostedModel { key, folder, dtype: None, device: None, ranks: 1 }
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
