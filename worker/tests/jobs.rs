//! The worker under the real scheduler, with an engine that does what a job's source says.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use harness::obedient::{model, obedient, program, queued, saved};
use harness::played::{Play, cancelled, elsewhere, finished, inline};
use ids::{JobId, TenantId};
use program::Limits;
use proto::v1::from_worker::Message as FromWorker;
use proto::v1::{HeldState, to_worker::Message as ToWorker};
use scheduler::{Config, HostedModel};
use store::{Accepted, Blob, Change, Fault, JobRecord, Jobs, MetadataStore, Objects, Outcome, RedbStore, State};

mod harness {
    pub mod obedient;
    pub mod played;
}

struct Cluster {
    jobs: Jobs,
    objects: Objects,
    scheduler: scheduler::Handle,
    worker: tokio::task::JoinHandle<Result<(), worker::Error>>,
    loads: Arc<AtomicU32>,
    /// Whether loading fails.
    broken: Arc<AtomicBool>,
    leave: tokio_util::sync::CancellationToken,
    store: Arc<dyn MetadataStore>,
    _folder: tempfile::TempDir,
}

fn settings() -> Config {
    let model = HostedModel {
        key: model(),
        folder: "/models/tiny".into(),
        dtype: None,
        device: None,
        ranks: 1,
        residency: None,
    };
    Config { token: "token".into(), models: vec![model], ..Config::default() }
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn MetadataStore> = Arc::new(RedbStore::open(folder.path().join("state.redb")).unwrap());
        let objects = Objects::local(folder.path().join("objects")).unwrap();
        let scheduler = scheduler::run(settings(), Arc::clone(&store), objects.clone()).await.unwrap();
        let (loads, broken) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let address = format!("http://{}", scheduler.address());
        let config = worker::Config::new(vec![address], "token".into(), "w1".into());
        let leave = config.leave.clone();
        let worker = tokio::spawn(worker::run(config, obedient(&loads, &broken)));
        let jobs = Jobs::new(Arc::clone(&store));
        Self { jobs, objects, scheduler, worker, loads, broken, leave, store, _folder: folder }
    }

    /// Starts another worker.
    fn join(&self, name: &str) -> tokio::task::JoinHandle<Result<(), worker::Error>> {
        let address = format!("http://{}", self.scheduler.address());
        let config = worker::Config::new(vec![address], "token".into(), name.into());
        tokio::spawn(worker::run(config, obedient(&self.loads, &self.broken)))
    }

    /// Waits until so many loads were begun.
    async fn loaded(&self, enough: impl Fn(u32) -> bool) {
        let loaded = async {
            while !enough(self.loads.load(Ordering::Relaxed)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), loaded).await.expect("it was not loaded so often");
    }

    /// Waits until a job runs.
    async fn running(&self, job: JobId) {
        let mut follow = self.jobs.follow(job, store::Position::default()).await.unwrap();
        let running = async {
            while let Some(change) = follow.next().await.unwrap() {
                if matches!(change, Change::Record(record) if record.state == State::Running) {
                    return;
                }
            }
            panic!("the job ended");
        };
        tokio::time::timeout(Duration::from_secs(60), running).await.expect("the job did not begin");
    }

    async fn submit(&self, words: &str, limits: Limits) -> JobId {
        let record = queued(&self.objects, words, limits).await;
        let id = record.id;
        assert_eq!(self.jobs.accept(&record).await.unwrap(), Accepted::New);
        id
    }

    async fn end(&self, job: JobId) -> (JobRecord, Vec<String>) {
        let mut follow = self.jobs.follow(job, store::Position::default()).await.unwrap();
        let mut logs = Vec::new();
        let mut last = None;
        let changes = async {
            while let Some(change) = follow.next().await.unwrap() {
                match change {
                    Change::Log { text, .. } => logs.push(text),
                    Change::Record(record) => last = Some(*record),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), changes).await.expect("the job did not end");
        (last.unwrap(), logs)
    }

    async fn run(&self, words: &str) -> (JobRecord, Vec<String>) {
        let job = self.submit(words, Limits::default()).await;
        self.end(job).await
    }
}

fn failure(record: &JobRecord) -> (Fault, &str) {
    match &record.outcome {
        Some(Outcome::Failure { fault, text }) => (*fault, text),
        other => panic!("not a failure: {other:?}"),
    }
}

#[tokio::test]
async fn b6_a_job_that_others_leave_no_memory_comes_again_and_nobody_is_blamed() {
    let cluster = Cluster::start().await;
    let (record, _) = cluster.run("crowded").await;
    assert_eq!((record.state, record.attempt, record.deaths), (State::Completed, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_results_lie_in_the_record_and_large_ones_in_an_object() {
    let cluster = Cluster::start().await;
    for bytes in [0, 200_000] {
        let (record, _) = cluster.run(&format!("save {bytes}")).await;
        let Some(Outcome::Result(blob)) = &record.outcome else { panic!("{:?}", record.outcome) };
        assert_eq!(matches!(blob, Blob::Object(_)), bytes > 0);
        let expected = nnsight::encode_saved(&saved(bytes), false).unwrap();
        assert_eq!(cluster.objects.load(blob).await.unwrap(), expected);
        let meta: serde_json::Value = serde_json::from_str(&record.meta).unwrap();
        assert_eq!(meta["tokens"], 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_flood_of_lines_arrives_whole_and_in_few_pieces() {
    let cluster = Cluster::start().await;
    let (record, logs) = cluster.run("print 20000").await;
    assert_eq!(record.state, State::Completed);
    assert!(logs.len() < 10, "{} messages", logs.len());
    let expected: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
    assert_eq!(logs.join("\n"), expected.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn b14_a_line_that_is_longer_than_what_stores_and_messages_take_arrives_in_pieces() {
    let cluster = Cluster::start().await;
    let (record, logs) = cluster.run("line 10000000").await;
    assert_eq!((record.state, record.attempt), (State::Completed, 1));
    assert!(logs.iter().all(|piece| piece.len() <= 64 << 10));
    assert_eq!(logs.concat(), "x".repeat(10_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn j9_what_a_program_raises_is_told_once() {
    let cluster = Cluster::start().await;
    let (record, _) = cluster.run("raise").await;
    assert_eq!((failure(&record), record.attempt), ((Fault::User, "Traceback …\nValueError: no"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_panic_fails_its_job_and_the_next_one_runs() {
    let cluster = Cluster::start().await;
    let (record, _) = cluster.run("panic").await;
    let text = "the server failed while it ran this job: an index was out of range";
    assert_eq!((failure(&record), record.attempt), ((Fault::Server, text), 3));
    assert_eq!(cluster.run("save 1").await.0.state, State::Completed);
    assert_eq!(cluster.loads.load(Ordering::Relaxed), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn j5_an_endless_job_is_out_of_time_and_disturbs_nobody() {
    let cluster = Cluster::start().await;
    let limits = Limits { run_time: Duration::from_millis(300), ..Limits::default() };
    let endless = cluster.submit("endless", limits).await;
    assert_eq!(cluster.run("save 1").await.0.state, State::Completed);
    let (record, _) = cluster.end(endless).await;
    assert_eq!(failure(&record), (Fault::Limit, "the job ran out of time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn j5_a_job_that_never_comes_back_to_the_engine_is_out_of_time_too() {
    let cluster = Cluster::start().await;
    let limits = Limits { run_time: Duration::from_millis(300), ..Limits::default() };
    let job = cluster.submit("spin", limits).await;
    let (record, _) = cluster.end(job).await;
    assert_eq!(failure(&record), (Fault::Limit, "the job ran out of time"));
    assert!(record.started_at > 0, "it was never told that the job runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn j6_a_cancelled_job_leaves_the_engine() {
    let cluster = Cluster::start().await;
    let job = cluster.submit("endless", Limits::default()).await;
    let mut follow = cluster.jobs.follow(job, store::Position::default()).await.unwrap();
    while let Some(Change::Record(record)) = follow.next().await.unwrap() {
        if record.state == State::Running {
            cluster.jobs.cancel(&record.tenant, job).await.unwrap();
        }
    }
    assert_eq!(cluster.end(job).await.0.state, State::Cancelled);
    // Draining waits until the worker has let go.
    assert!(cluster.scheduler.drain(Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_starts_again_finds_what_runs_and_the_models_loaded() {
    let mut cluster = Cluster::start().await;
    let endless = cluster.submit("endless", Limits::default()).await;
    cluster.running(endless).await;
    let address = cluster.scheduler.address();
    assert_eq!(cluster.run("save 1").await.0.state, State::Completed);
    let epoch = cluster.scheduler.epoch();
    cluster.scheduler.stop().await;
    let config = Config { listen: address, ..settings() };
    let store = Arc::clone(&cluster.store);
    cluster.scheduler = scheduler::run(config, store, cluster.objects.clone()).await.unwrap();
    assert_eq!(cluster.run("save 1").await.0.state, State::Completed);
    // It runs still, in the same attempt, and is stopped where it is.
    cluster.jobs.cancel(&TenantId::new("lab"), endless).await.unwrap();
    let (record, _) = cluster.end(endless).await;
    assert_eq!((record.state, record.attempt, record.epoch), (State::Cancelled, 1, epoch));
    assert!(cluster.scheduler.drain(Duration::from_secs(20)).await);
    assert_eq!(cluster.loads.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_a_model_that_cannot_be_loaded_again_is_tried_until_it_can() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.run("save 1").await.0.state, State::Completed);
    // The engine panics, and its model is not there any more when it is to be loaded again.
    cluster.broken.store(true, Ordering::Relaxed);
    let panics = cluster.submit("panic", Limits::default()).await;
    cluster.loaded(|loads| loads >= 3).await;
    let waits = cluster.submit("save 1", Limits::default()).await;
    cluster.broken.store(false, Ordering::Relaxed);
    assert_eq!(cluster.end(waits).await.0.state, State::Completed);
    let (record, _) = cluster.end(panics).await;
    assert_eq!(failure(&record).0, Fault::Server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_to_leave_says_so_and_its_jobs_run_elsewhere_at_once() {
    let cluster = Cluster::start().await;
    let job = cluster.submit("endless", Limits::default()).await;
    cluster.running(job).await;
    let other = cluster.join("w2");
    cluster.leave.cancel();
    // Its window would be longer than a test waits.
    let (record, _) = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let (record, _) = cluster.jobs.find(job).await.unwrap().unwrap();
            if record.attempt == 2 && record.state == State::Running {
                cluster.jobs.cancel(&TenantId::new("lab"), job).await.unwrap();
                return cluster.end(job).await;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it was waited for");
    assert_eq!((record.state, record.deaths), (State::Cancelled, 0));
    cluster.worker.await.unwrap().unwrap();
    other.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_the_token_ends_and_says_why() {
    let cluster = Cluster::start().await;
    let address = format!("http://{}", cluster.scheduler.address());
    let config = worker::Config::new(vec![address], "another".into(), "w2".into());
    let error = worker::run(config, obedient(&cluster.loads, &cluster.broken)).await.unwrap_err().to_string();
    assert_eq!(error, "the scheduler refuses this worker: the worker's token is not this cluster's");
    assert!(!cluster.worker.is_finished());
}

/// Returns a link to an object store that takes what is asked of it and says nothing.
fn silent() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, format!("http://{address}/object"))
}

#[tokio::test]
async fn j6_a_job_whose_objects_cannot_be_reached_is_let_go_at_once() {
    let mut play = Play::start();
    let (_listener, link) = silent();
    let (mut session, _) = play.welcome().await;
    let reports = play.load(&mut session).await;
    // One whose program is still being read.
    let reading = JobId::new();
    session.assign(reading, 1, elsewhere(reading), &link).await;
    session.cancel(reading, 1).await;
    assert_eq!(session.let_go(reading).await, 1);
    // One whose result is still being written: that is told, once, and is no time that it ran.
    let writing = JobId::new();
    session.assign(writing, 1, inline(program("save").encode().unwrap()), &link).await;
    assert_eq!(play.begins().await.id, writing);
    reports.send(finished(writing, 100_000)).await.unwrap();
    while !matches!(session.next().await, FromWorker::Ran(ran) if ran.job_id == writing.to_string()) {}
    drop(session);
    let (mut session, holds) = play.welcome().await;
    let state = holds.iter().find(|held| held.job_id == writing.to_string()).map(proto::v1::Held::state);
    assert_eq!(state, Some(HeldState::Writing));
    session.cancel(writing, 1).await;
    loop {
        match session.next().await {
            // What the session before had not taken in, and what every hello is followed by.
            FromWorker::Started(_) | FromWorker::Ran(_) | FromWorker::ModelState(_) => {}
            FromWorker::Failed(failed) if failed.job_id == reading.to_string() => {}
            FromWorker::Failed(failed) => break assert_eq!(failed.job_id, writing.to_string()),
            other => panic!("it is not let go: {other:?}"),
        }
    }
}

#[tokio::test]
async fn j6_an_attempt_that_waits_for_an_older_one_to_leave_can_be_cancelled_and_is_gone_with_its_session() {
    let mut play = Play::start();
    let (_listener, link) = silent();
    let (mut session, _) = play.welcome().await;
    let reports = play.load(&mut session).await;
    let job = JobId::new();
    let run = || inline(program("run").encode().unwrap());
    session.assign(job, 1, run(), &link).await;
    assert_eq!(play.begins().await.id, job);
    // Given out again, it waits for the first to leave, is cancelled, and never begins.
    session.assign(job, 2, run(), &link).await;
    assert!(matches!(play.orders.recv().await, Some(worker::Order::Cancel(it)) if it == job));
    session.cancel(job, 2).await;
    loop {
        match session.next().await {
            FromWorker::Started(_) => {}
            FromWorker::Failed(failed) => break assert_eq!(failed.attempt, 2),
            other => panic!("it is not let go: {other:?}"),
        }
    }
    // So it is with what the next hello does not name.
    session.assign(job, 3, run(), &link).await;
    session.tell(ToWorker::Heartbeat(Default::default())).await;
    let other = JobId::new();
    session.assign(other, 1, run(), &link).await;
    assert_eq!(play.begins().await.id, other);
    drop(session);
    let (mut session, holds) = play.welcome().await;
    assert_eq!(holds.iter().filter(|held| held.job_id == job.to_string()).map(|held| held.attempt).max(), Some(1));
    reports.send(cancelled(job)).await.unwrap();
    loop {
        match session.next().await {
            FromWorker::Started(_) | FromWorker::ModelState(_) => {}
            FromWorker::Failed(failed) => break assert_eq!(failed.attempt, 1),
            other => panic!("it is not let go: {other:?}"),
        }
    }
    let last = JobId::new();
    session.assign(last, 1, run(), &link).await;
    assert_eq!(play.begins().await.id, last, "the third attempt begins, of which nobody knows");
}
