//! A scheduler over a store of its own, and workers that do what a test says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ids::{JobId, KeyId, ModelKey, TenantId};
use program::Limits;
use proto::v1;
use proto::v1::from_worker::Message as FromWorker;
use proto::v1::to_worker::Message as ToWorker;
use proto::v1::worker_sessions_client::WorkerSessionsClient;
use scheduler::{Config, Handle, HostedModel};
use store::{
    Accepted, Blob, Change, JobRecord, Jobs, MetadataStore, ModelRecord, ModelState, Models, ObjectRef, Objects,
    RedbStore, State,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

const TOKEN: &str = "the token";
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Cluster {
    pub jobs: Jobs,
    pub models: Models,
    pub objects: Objects,
    store: Arc<dyn MetadataStore>,
    handle: Option<Handle>,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn MetadataStore> = Arc::new(RedbStore::open(folder.path().join("state.redb")).unwrap());
        let objects = Objects::local(folder.path().join("objects")).unwrap();
        let (jobs, models) = (Jobs::new(Arc::clone(&store)), Models::new(Arc::clone(&store)));
        let mut cluster = Self { jobs, models, objects, store, handle: None, _folder: folder };
        cluster.restart(|_| {}).await;
        cluster
    }

    /// Stops the scheduler, if one runs, and starts one with other settings on the same store.
    pub async fn restart(&mut self, set: impl FnOnce(&mut Config)) {
        if let Some(handle) = self.handle.take() {
            handle.stop().await;
        }
        let model = HostedModel {
            key: model(),
            folder: "/models/tiny".into(),
            dtype: Some("float32".into()),
            device: Some("cuda:1".into()),
        };
        let mut config = Config {
            token: TOKEN.into(),
            models: vec![model],
            heartbeat: Duration::from_millis(200),
            grace: Duration::from_millis(50),
            ..Config::default()
        };
        set(&mut config);
        self.handle = Some(scheduler::run(config, Arc::clone(&self.store), self.objects.clone()).await.unwrap());
    }

    pub fn handle(&self) -> &Handle {
        self.handle.as_ref().unwrap()
    }

    pub async fn submit(&self, tenant: &str) -> JobId {
        self.submit_limited(tenant, Duration::from_secs(600)).await
    }

    pub async fn submit_limited(&self, tenant: &str, run_time: Duration) -> JobId {
        let record = JobRecord {
            limits: Limits { run_time, ..Limits::default() },
            ..JobRecord::queued(
                JobId::new(),
                TenantId::new(tenant),
                KeyId::new("key"),
                model(),
                Blob::Inline(Bytes::from_static(b"program")),
                now(),
            )
        };
        assert_eq!(self.jobs.accept(&record).await.unwrap(), Accepted::New);
        record.id
    }

    /// Waits for a job's end.
    pub async fn end(&self, job: JobId) -> JobRecord {
        self.record(job, |record| record.state.terminal()).await
    }

    pub async fn wait_for(&self, job: JobId, state: State) {
        self.record(job, |record| record.state == state).await;
    }

    async fn record(&self, job: JobId, accept: impl Fn(&JobRecord) -> bool) -> JobRecord {
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
                tokio_stream::StreamExt::next(&mut watch).await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the model did not get there")
    }

    /// Opens a session as a worker that has the model.
    pub async fn worker(&self, id: &str, slots: u32) -> Worker {
        self.dial(id, slots, v1::model_state::State::Ready(true)).await
    }

    /// Opens a session as a worker that cannot load the model.
    pub async fn worker_without_model(&self, id: &str, why: &str) -> Worker {
        self.dial(id, 1, v1::model_state::State::Failed(why.into())).await
    }

    async fn dial(&self, id: &str, slots: u32, state: v1::model_state::State) -> Worker {
        let (inbox, outbox) = self.open(id, TOKEN, slots).await.unwrap();
        let mut worker = Worker { inbox, outbox: outbox.clone(), beating: None };
        let ToWorker::Welcome(welcome) = worker.next().await else { panic!("no welcome") };
        worker.beating = Some(tokio::spawn(async move {
            let mut beats = tokio::time::interval(Duration::from_millis(welcome.heartbeat_milliseconds.into()));
            loop {
                beats.tick().await;
                let beat = FromWorker::Heartbeat(v1::Heartbeat {});
                if outbox.send(v1::FromWorker { message: Some(beat) }).await.is_err() {
                    return;
                }
            }
        }));
        let ToWorker::LoadModel(load) = worker.next().await else { panic!("no model to load") };
        assert_eq!((load.folder.as_str(), load.dtype.as_deref()), ("/models/tiny", Some("float32")));
        assert_eq!(load.device.as_deref(), Some("cuda:1"));
        worker.tell(FromWorker::ModelState(v1::ModelState { model: load.model, state: Some(state) })).await;
        worker
    }

    /// Opens a session with a token of the test's choice.
    pub async fn knock(&self, token: &str) -> Result<(), Status> {
        self.open("w", token, 1).await.map(drop)
    }

    async fn open(
        &self,
        id: &str,
        token: &str,
        slots: u32,
    ) -> Result<(Streaming<v1::ToWorker>, mpsc::Sender<v1::FromWorker>), Status> {
        let address = format!("http://{}", self.handle().address());
        let mut client = WorkerSessionsClient::connect(address).await.unwrap();
        let (outbox, messages) = mpsc::channel(64);
        let hello = v1::WorkerHello { worker_id: id.into(), token: token.into(), version: "0".into(), slots };
        outbox.send(v1::FromWorker { message: Some(FromWorker::Hello(hello)) }).await.unwrap();
        let inbox = client.open(ReceiverStream::new(messages)).await?.into_inner();
        Ok((inbox, outbox))
    }
}

/// A worker's end of a session. Dropping it is its death.
pub struct Worker {
    inbox: Streaming<v1::ToWorker>,
    outbox: mpsc::Sender<v1::FromWorker>,
    beating: Option<tokio::task::JoinHandle<()>>,
}

impl Worker {
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

    /// Says whether nothing comes for a while.
    pub async fn quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.next()).await.is_err()
    }

    pub async fn started(&self, assign: &v1::Assign) {
        let (job_id, attempt) = (assign.job_id.clone(), assign.attempt);
        self.tell(FromWorker::Started(v1::Started { job_id, attempt })).await;
    }

    pub async fn log(&self, assign: &v1::Assign, number: u32, text: &str) {
        let (job_id, attempt, text) = (assign.job_id.clone(), assign.attempt, text.to_owned());
        self.tell(FromWorker::Log(v1::Log { job_id, attempt, number, text })).await;
    }

    pub async fn finish(&self, assign: &v1::Assign, bytes: &[u8]) {
        self.finish_with(assign, Self::inline(bytes)).await;
    }

    pub async fn finish_with(&self, assign: &v1::Assign, result: v1::Blob) {
        let (job_id, attempt) = (assign.job_id.clone(), assign.attempt);
        let usage = r#"{"tokens": 7}"#.to_owned();
        self.tell(FromWorker::Finished(v1::Finished { job_id, attempt, result: Some(result), usage })).await;
    }

    pub async fn fail(&self, assign: &v1::Assign, fault: v1::Fault, text: &str) {
        let (job_id, attempt) = (assign.job_id.clone(), assign.attempt);
        let failed = v1::Failed { job_id, attempt, fault: fault.into(), text: text.into(), usage: String::new() };
        self.tell(FromWorker::Failed(failed)).await;
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

    async fn next(&mut self) -> ToWorker {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.inbox.message()).await.expect("nothing came");
            match message.unwrap().and_then(|message| message.message) {
                Some(ToWorker::Heartbeat(_)) => {}
                Some(message) => return message,
                None => panic!("the scheduler ended the session"),
            }
        }
    }

    async fn tell(&self, message: FromWorker) {
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

fn model() -> ModelKey {
    ModelKey::new("test/tiny", None)
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}
