//! A scheduler over a store in memory, and workers that do what a test says. Time is the test's: it passes only when
//! nobody has anything to do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use ids::{InstanceId, JobId, KeyId, ModelKey, TenantId};
use program::Limits;
use proto::v1;
use proto::v1::from_worker::Message as FromWorker;
use proto::v1::to_worker::Message as ToWorker;
use scheduler::{Clock, Config, Handle, HostedModel, Replies};
use store::{
    Accepted, Blob, Change, JobRecord, Jobs, MemoryStore, MetadataStore, ModelRecord, ModelState, Models, ObjectRef,
    Objects, State,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

const TOKEN: &str = "the token";
const PATIENCE: Duration = Duration::from_secs(48 * 3_600);
/// How long the scheduler waits for a worker whose connection ended.
pub const REATTACH: Duration = Duration::from_secs(45);

/// The time of day, which a test may set.
pub struct Day(pub AtomicU64);

impl Clock for Day {
    fn unix_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub struct Cluster {
    pub jobs: Jobs,
    pub models: Models,
    pub objects: Objects,
    pub store: Arc<MemoryStore>,
    pub day: Arc<Day>,
    handle: Option<Handle>,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = Arc::new(MemoryStore::new(1));
        let store: Arc<dyn MetadataStore> = Arc::clone(&memory) as Arc<dyn MetadataStore>;
        let objects = Objects::local(folder.path().join("objects")).unwrap();
        let (jobs, models) = (Jobs::new(Arc::clone(&store)), Models::new(store));
        let day = Arc::new(Day(AtomicU64::new(1_800_000_000_000)));
        let mut cluster = Self { jobs, models, objects, store: memory, day, handle: None, _folder: folder };
        cluster.restart(|_| {}).await;
        cluster
    }

    /// Stops the scheduler, if one runs, and starts one with other settings on the same store.
    pub async fn restart(&mut self, set: impl FnOnce(&mut Config)) {
        self.stop().await;
        let model = HostedModel {
            key: model(),
            folder: "/models/tiny".into(),
            dtype: Some("float32".into()),
            device: Some("cuda:1".into()),
            ranks: 2,
            residency: None,
        };
        let mut config = Config { token: TOKEN.into(), models: vec![model], reattach: REATTACH, ..Config::default() };
        set(&mut config);
        let store = Arc::clone(&self.store) as Arc<dyn MetadataStore>;
        let day = Arc::clone(&self.day) as Arc<dyn Clock>;
        self.handle = Some(scheduler::start(config, store, self.objects.clone(), day).await.unwrap());
    }

    /// Stops the scheduler.
    pub async fn stop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.stop().await;
        }
    }

    /// Ends the scheduler as a crash does, which undoes what was not synced.
    pub async fn crash(&mut self) {
        self.stop().await;
        self.store.crash();
    }

    pub fn handle(&self) -> &Handle {
        self.handle.as_ref().unwrap()
    }

    pub async fn submit(&self, tenant: &str) -> JobId {
        self.submit_limited(tenant, Duration::from_secs(600)).await
    }

    pub async fn submit_limited(&self, tenant: &str, run_time: Duration) -> JobId {
        self.submit_as(tenant, |record| record.limits = Limits { run_time, ..Limits::default() }).await
    }

    pub async fn submit_as(&self, tenant: &str, set: impl FnOnce(&mut JobRecord)) -> JobId {
        let mut record = JobRecord::queued(
            JobId::new(),
            TenantId::new(tenant),
            KeyId::new("key"),
            model(),
            Blob::Inline(Bytes::from_static(b"program")),
            self.day.unix_millis(),
        );
        set(&mut record);
        assert_eq!(self.jobs.accept(&record).await.unwrap(), Accepted::New);
        record.id
    }

    pub async fn cancel(&self, tenant: &str, job: JobId) {
        self.jobs.cancel(&TenantId::new(tenant), job).await.unwrap();
    }

    /// Waits for a job's end.
    pub async fn end(&self, job: JobId) -> JobRecord {
        self.record(job, |record| record.state.terminal()).await
    }

    pub async fn wait_for(&self, job: JobId, state: State) {
        self.record(job, |record| record.state == state).await;
    }

    /// Returns a job's record as it is now.
    pub async fn now(&self, job: JobId) -> JobRecord {
        self.jobs.find(job).await.unwrap().unwrap().0
    }

    pub async fn record(&self, job: JobId, accept: impl Fn(&JobRecord) -> bool) -> JobRecord {
        let mut follow = self.jobs.follow(job, store::Position::default()).await.unwrap();
        let found = async {
            loop {
                match follow.next().await.unwrap() {
                    Some(Change::Record(record)) if accept(&record) => return *record,
                    Some(_) => {}
                    None => panic!("the job ended otherwise"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the job did not get there")
    }

    /// Waits until the model's state is as wanted.
    pub async fn model_state(&self, accept: impl Fn(&ModelState) -> bool) -> ModelRecord {
        let mut watch = self.models.watch().await.unwrap();
        let found = async {
            loop {
                let records = self.models.list().await.unwrap();
                if let Some(record) = records.into_iter().find(|record| accept(&record.state)) {
                    return record;
                }
                watch.next().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the model did not get there")
    }

    /// Opens a session as a new process of a worker that has the model.
    pub async fn worker(&self, id: &str, slots: u32) -> Worker {
        self.dial(Process::new(id, slots), &[]).await.unwrap().0
    }

    /// Opens a session as a process that has something, or had a session before.
    ///
    /// # Errors
    /// When the scheduler refuses.
    pub async fn dial(&self, process: Process, holds: &[v1::Held]) -> Result<(Worker, v1::Welcome), Status> {
        let (mut worker, welcome) = self.hello(process, TOKEN, holds).await?;
        worker.beat(&welcome);
        let ToWorker::LoadModel(load) = worker.next().await else { panic!("no model to load") };
        assert_eq!((load.folder.as_str(), load.dtype.as_deref()), ("/models/tiny", Some("float32")));
        assert_eq!(load.device.as_deref(), Some("cuda:1"));
        worker.model(v1::model_state::State::Ready(true), false).await;
        Ok((worker, welcome))
    }

    /// Says hello with a token of the test's choice.
    ///
    /// # Errors
    /// When the scheduler refuses.
    pub async fn hello(
        &self,
        mut process: Process,
        token: &str,
        holds: &[v1::Held],
    ) -> Result<(Worker, v1::Welcome), Status> {
        process.dial += 1;
        let (outbox, messages) = mpsc::channel(64);
        let hello = v1::WorkerHello {
            worker_id: process.id.clone(),
            token: token.into(),
            version: "0".into(),
            slots: process.slots,
            instance: process.instance.to_string(),
            dial: process.dial,
            holds: holds.to_vec(),
            epoch: process.epoch,
            devices: process.devices.clone(),
            warm_bytes: process.warm_bytes,
            models: process.models.clone(),
            rank_address: process.rank_address.clone(),
        };
        outbox.send(v1::FromWorker { message: Some(FromWorker::Hello(hello)) }).await.unwrap();
        let sessions = self.handle().sessions();
        let inbox = sessions.accept(ReceiverStream::new(messages).map(Ok).boxed()).await?;
        let mut worker = Worker { process, inbox, outbox, beating: None, put_back: VecDeque::new() };
        let ToWorker::Welcome(welcome) = worker.message().await? else { panic!("no welcome") };
        worker.process.epoch = welcome.epoch;
        Ok((worker, welcome))
    }
}

/// A process of a worker, connected or not.
#[derive(Clone)]
pub struct Process {
    pub id: String,
    /// What models may take.
    pub devices: Vec<v1::Device>,
    /// What weights may take that are kept in memory, and the models that it says it has.
    pub warm_bytes: u64,
    pub models: Vec<v1::ModelState>,
    /// Where it holds ranks of others' models.
    pub rank_address: String,
    pub slots: u32,
    pub instance: InstanceId,
    pub dial: u64,
    pub epoch: u64,
}

impl Process {
    pub fn new(id: &str, slots: u32) -> Self {
        let (devices, models, instance) = (Vec::new(), Vec::new(), InstanceId::unique());
        let rank_address = String::new();
        Self { id: id.to_owned(), devices, warm_bytes: 0, models, rank_address, slots, instance, dial: 0, epoch: 0 }
    }
}

/// A worker's end of a session. Dropping it closes the connection.
pub struct Worker {
    pub process: Process,
    inbox: Replies,
    outbox: mpsc::Sender<v1::FromWorker>,
    beating: Option<tokio::task::JoinHandle<()>>,
    /// Read already.
    put_back: VecDeque<ToWorker>,
}

impl Worker {
    /// Closes the connection and returns the process, which lives.
    pub fn cut(self) -> Process {
        self.process.clone()
    }

    /// Shows again and again that it lives.
    pub fn beat(&mut self, welcome: &v1::Welcome) {
        let between = Duration::from_millis(welcome.heartbeat_milliseconds.into());
        let outbox = self.outbox.clone();
        self.beating = Some(tokio::spawn(async move {
            let mut beats = tokio::time::interval(between);
            loop {
                beats.tick().await;
                let beat = FromWorker::Heartbeat(v1::Heartbeat::default());
                if outbox.send(v1::FromWorker { message: Some(beat) }).await.is_err() {
                    return;
                }
            }
        }));
    }

    /// Waits for the next job.
    pub async fn assign(&mut self) -> v1::Assign {
        match self.next().await {
            ToWorker::Assign(assign) => assign,
            other => panic!("not an assignment: {other:?}"),
        }
    }

    /// Waits until a job is to be let go, and returns which.
    pub async fn cancelled(&mut self) -> String {
        match self.next().await {
            ToWorker::Cancel(cancel) => cancel.job_id,
            other => panic!("not a cancellation: {other:?}"),
        }
    }

    /// Waits until the end of a job is settled. The slot is free before, so the next job may come first.
    pub async fn settled(&mut self, assign: &v1::Assign) {
        let mut before = Vec::new();
        loop {
            match self.next().await {
                ToWorker::Settled(v1::Settled { job_id, attempt, epoch }) => {
                    assert_eq!((job_id, attempt, epoch), (assign.job_id.clone(), assign.attempt, assign.epoch));
                    break;
                }
                other @ (ToWorker::Assign(_) | ToWorker::LoadModel(_) | ToWorker::UnloadModel(_)) => before.push(other),
                other => panic!("not settled: {other:?}"),
            }
        }
        self.put_back.extend(before);
    }

    /// Says whether nothing comes, whatever time passes in which nobody has anything to do.
    pub async fn quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(20), self.next()).await.is_err()
    }

    pub async fn started(&self, assign: &v1::Assign) {
        let (job_id, attempt, epoch) = (assign.job_id.clone(), assign.attempt, assign.epoch);
        self.tell(FromWorker::Started(v1::Started { job_id, attempt, epoch })).await;
    }

    pub async fn ran(&self, assign: &v1::Assign) {
        let (job_id, attempt, epoch) = (assign.job_id.clone(), assign.attempt, assign.epoch);
        self.tell(FromWorker::Ran(v1::Ran { job_id, attempt, epoch })).await;
    }

    pub async fn log(&self, assign: &v1::Assign, number: u32, text: &str) {
        let (job_id, attempt, epoch, text) = (assign.job_id.clone(), assign.attempt, assign.epoch, text.to_owned());
        self.tell(FromWorker::Log(v1::Log { job_id, attempt, number, text, epoch })).await;
    }

    /// Tells that a job finished, and waits until that is settled.
    pub async fn finish(&mut self, assign: &v1::Assign, bytes: &[u8]) {
        self.tell_finished(assign, Self::inline(bytes)).await;
        self.settled(assign).await;
    }

    pub async fn tell_finished(&self, assign: &v1::Assign, result: v1::Blob) {
        let (job_id, attempt, epoch) = (assign.job_id.clone(), assign.attempt, assign.epoch);
        let usage = r#"{"tokens": 7}"#.to_owned();
        self.tell(FromWorker::Finished(v1::Finished { job_id, attempt, result: Some(result), usage, epoch })).await;
    }

    /// Tells that a job failed, and waits until that is settled.
    pub async fn fail(&mut self, assign: &v1::Assign, fault: v1::Fault, text: &str) {
        self.tell_failed(assign, fault, text).await;
        self.settled(assign).await;
    }

    pub async fn tell_failed(&self, assign: &v1::Assign, fault: v1::Fault, text: &str) {
        let (job_id, attempt, epoch) = (assign.job_id.clone(), assign.attempt, assign.epoch);
        let (fault, text, usage) = (fault.into(), text.into(), String::new());
        self.tell(FromWorker::Failed(v1::Failed { job_id, attempt, fault, text, usage, epoch })).await;
    }

    /// Tells how the model is.
    pub async fn model(&self, state: v1::model_state::State, hopeless: bool) {
        let model = Some(v1::Model { repo_id: model().repo_id().to_owned(), revision: None });
        self.tell(FromWorker::ModelState(v1::ModelState {
            model,
            state: Some(state),
            hopeless,
            ..v1::ModelState::default()
        }))
        .await;
    }

    pub async fn goodbye(&self, culprits: &[&v1::Assign]) {
        let culprits = culprits.iter().map(|assign| assign.job_id.clone()).collect();
        self.tell(FromWorker::Goodbye(v1::Goodbye { culprits, ranks_lost: None })).await;
    }

    /// Keeps the connection open and says nothing any more.
    pub fn fall_silent(&mut self) {
        self.beating.take().unwrap().abort();
    }

    pub fn inline(bytes: &[u8]) -> v1::Blob {
        v1::Blob { blob: Some(v1::blob::Blob::Inline(Bytes::copy_from_slice(bytes))) }
    }

    pub fn object(object: &ObjectRef) -> v1::Blob {
        let ObjectRef { path, digest, bytes } = object.clone();
        v1::Blob { blob: Some(v1::blob::Blob::Object(v1::Object { path, digest: digest.to_vec().into(), bytes })) }
    }

    pub async fn next(&mut self) -> ToWorker {
        let message = tokio::time::timeout(PATIENCE, self.message()).await.expect("nothing came");
        message.expect("the scheduler ended the session")
    }

    async fn message(&mut self) -> Result<ToWorker, Status> {
        if let Some(message) = self.put_back.pop_front() {
            return Ok(message);
        }
        loop {
            match self.inbox.next().await.transpose()?.and_then(|message| message.message) {
                Some(ToWorker::Heartbeat(_)) => {}
                Some(message) => return Ok(message),
                None => return Err(Status::cancelled("it ended")),
            }
        }
    }

    /// Waits until the scheduler ends the session.
    pub async fn ended(&mut self) {
        let ended = async { while self.message().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("the session did not end");
    }

    pub async fn tell(&self, message: FromWorker) {
        self.outbox.send(v1::FromWorker { message: Some(message) }).await.unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(beating) = &self.beating {
            beating.abort();
        }
    }
}

/// Says that a process has a job.
pub fn held(assign: &v1::Assign, state: v1::HeldState) -> v1::Held {
    let (job_id, attempt, epoch) = (assign.job_id.clone(), assign.attempt, assign.epoch);
    v1::Held { job_id, attempt, epoch, state: state.into(), ran_milliseconds: 0 }
}

/// Names what a process was given.
pub fn given(assign: &v1::Assign) -> v1::Given {
    v1::Given { job_id: assign.job_id.clone(), attempt: assign.attempt, epoch: assign.epoch }
}

fn model() -> ModelKey {
    ModelKey::new("test/tiny", None)
}
