//! What deciding costs where there is much to decide, and how soon a new leader gives out its first job where many wait.
//!
//!     make bench ONLY=leader        or: cargo bench --package benches --bench leader [-- QUEUED]
//!
//! Prints a JSON object a line. Jobs wait in a store in memory and in a member of etcd, which `make setup-tests` installs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use ids::{JobId, KeyId, ModelKey, TenantId, Token, WorkerId};
use placement::{Class, Hosting, Queue, View, Waiting, Worker, decide};
use proto::v1::{self, from_worker::Message, to_worker::Message as Told};
use scheduler::{Config, HostedModel, SystemClock};
use serde_json::json;
use store::testing::etcd::Cluster;
use store::{Accepted, Blob, EtcdStore, JobRecord, Jobs, MemoryStore, MetadataStore, Objects};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const WORKERS: usize = 1_000;
const TENANTS: usize = 1_000;
const SLOTS: usize = 32;

fn main() {
    let queued = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    for (what, busy) in [("one free slot a worker", SLOTS - 1), ("every slot free", 0), ("no slot free", SLOTS)] {
        deciding(queued, what, busy);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        taking_over("memory", Arc::new(MemoryStore::durable(1)), queued).await;
        let etcd = Cluster::start(1).await;
        let store = EtcdStore::connect(etcd.options()).await.unwrap();
        taking_over("etcd", Arc::new(store), queued).await;
    });
}

fn model() -> ModelKey {
    ModelKey::new("bench/model", None)
}

fn tenant(number: usize) -> TenantId {
    TenantId::new(format!("tenant-{number}"))
}

/// Measures one round of decisions.
fn deciding(queued: usize, what: &str, busy: usize) {
    let (mut view, mut queue) = (View::default(), Queue::default());
    view.host(model(), Hosting::Served);
    for seat in 0..WORKERS {
        let ready = [model()].into();
        view.put(seat as u64, Worker { slots: SLOTS, busy, alone: false, ready });
    }
    for number in 0..queued {
        let waiting = Waiting {
            token: Token { epoch: 1, attempt: 0 },
            class: Class::Normal,
            alone: false,
            expires_at: Duration::from_secs(86_400),
        };
        queue.push(JobId::new(), &tenant(number % TENANTS), &model(), waiting, None);
    }
    let mut times: Vec<f64> = Vec::new();
    let mut actions = 0;
    for _ in 0..20 {
        let began = Instant::now();
        actions = decide(&view, &queue, Duration::from_secs(1), 256).len();
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{}",
        json!({
            "what": "decide", "case": what, "workers": WORKERS, "tenants": TENANTS, "queued": queued,
            "actions": actions, "median_ms": times[times.len() / 2], "slowest_ms": times[times.len() - 1],
        })
    );
}

/// Measures the time from the beginning of a scheduler's term to its first job's being with a worker.
async fn taking_over(name: &str, store: Arc<dyn MetadataStore>, queued: usize) {
    let jobs = Jobs::new(Arc::clone(&store));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let accepting = futures::stream::iter(0..queued).for_each_concurrent(64, |number| {
        let jobs = jobs.clone();
        let payload = Blob::Inline(vec![0; 300].into());
        let record =
            JobRecord::queued(JobId::new(), tenant(number % TENANTS), KeyId::new("key"), model(), payload, now);
        async move { assert_eq!(jobs.accept(&record).await.unwrap(), Accepted::New) }
    });
    accepting.await;
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::local(folder.path()).unwrap();
    let hosted =
        HostedModel { key: model(), folder: "/model".into(), dtype: None, device: None, ranks: 1, residency: None };
    let config = Config { token: "token".into(), models: vec![hosted], ..Config::default() };
    let began = Instant::now();
    let handle = scheduler::start(config, store, objects, Arc::new(SystemClock)).await.unwrap();
    let recovered = began.elapsed();
    let worker = WorkerId::new("w1");
    let (outbox, messages) = mpsc::channel(64);
    let hello = v1::WorkerHello {
        worker_id: worker.to_string(),
        token: "token".into(),
        slots: 1,
        instance: "i1".into(),
        dial: 1,
        ..v1::WorkerHello::default()
    };
    let say = |message| v1::FromWorker { message: Some(message) };
    outbox.send(say(Message::Hello(hello))).await.unwrap();
    let inbox = ReceiverStream::new(messages).map(Ok).boxed();
    let mut replies = handle.sessions().accept(inbox).await.unwrap();
    while let Some(reply) = replies.next().await {
        match reply.unwrap().message {
            Some(Told::LoadModel(load)) => {
                let state = Some(v1::model_state::State::Ready(true));
                let state = v1::ModelState { model: load.model, state, ..v1::ModelState::default() };
                outbox.send(say(Message::ModelState(state))).await.unwrap();
            }
            Some(Told::Assign(_)) => break,
            _ => {}
        }
    }
    println!(
        "{}",
        json!({
            "what": "take over", "store": name, "queued": queued,
            "recovered_ms": recovered.as_secs_f64() * 1000.0, "first_job_ms": began.elapsed().as_secs_f64() * 1000.0,
        })
    );
    handle.stop().await;
}
