//! Two schedulers, of which one leads, and a worker that dials whichever does, over TLS.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod harness {
    pub mod obedient;
}

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use harness::obedient::{model, obedient, queued};
use ids::{JobId, TenantId};
use program::Limits;
use scheduler::{Candidate, Config, Ended, HostedModel, Role, SystemClock};
use store::{Accepted, Change, Faults, JobRecord, Jobs, MemoryStore, MetadataStore, Nodes, Objects, Position, State};
use tls::dev::Authority;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long anything may take before the test fails. Elections take some 5 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// A scheduler that may lead, with a way of its own to the store.
struct Standing {
    address: String,
    store: MemoryStore,
    role: watch::Receiver<Role>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Ended>>,
}

impl Standing {
    async fn start(authority: &Authority, folder: &Path, store: MemoryStore) -> Self {
        let files = authority.write(folder, tls::Role::Scheduler, &[]).unwrap();
        let server = tls::Server::mutual(files, b"h2", &[tls::Role::Worker]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let hosted = HostedModel {
            key: model(),
            folder: "/models/tiny".into(),
            dtype: None,
            device: None,
            ranks: 1,
            residency: None,
        };
        let config = Config { token: "token".into(), models: vec![hosted], ..Config::default() };
        let objects = Objects::local(folder.join("objects")).unwrap();
        let candidate = Candidate {
            config,
            store: Arc::new(store.clone()),
            objects,
            clock: Arc::new(SystemClock),
            address: address.clone(),
        };
        let (told, role) = watch::channel(Role::Follows(None));
        let stop = CancellationToken::new();
        let task = tokio::spawn(candidate.serve(server.incoming(listener), told, stop.clone()));
        Self { address, store, role, stop, task }
    }

    async fn becomes(&mut self, role: &Role) {
        let become_it = self.role.wait_for(|now| now == role);
        timeout(PATIENCE, become_it).await.unwrap_or_else(|_| panic!("it does not become {role:?}")).unwrap();
    }
}

struct Lab {
    jobs: Jobs,
    objects: Objects,
}

impl Lab {
    async fn submit(&self, words: &str) -> JobId {
        let record = queued(&self.objects, words, Limits::default()).await;
        assert_eq!(self.jobs.accept(&record).await.unwrap(), Accepted::New);
        record.id
    }

    async fn until(&self, job: JobId, wanted: impl Fn(&JobRecord) -> bool) -> JobRecord {
        let mut follow = self.jobs.follow(job, Position::default()).await.unwrap();
        let changes = async {
            while let Some(change) = follow.next().await.unwrap() {
                if let Change::Record(record) = change
                    && wanted(&record)
                {
                    return *record;
                }
            }
            panic!("the job ended otherwise");
        };
        timeout(PATIENCE, changes).await.expect("nothing came of the job")
    }

    async fn completes(&self, words: &str) -> JobRecord {
        let job = self.submit(words).await;
        self.until(job, |record| record.state == State::Completed).await
    }
}

/// Waits until people can see when the worker's certificates end.
async fn certificates_are_told(store: &MemoryStore) {
    let nodes = Nodes::new(Arc::new(store.clone()));
    let mut changes = store.watch("", None).await.unwrap();
    loop {
        let worker = nodes.list().await.unwrap().into_iter().flat_map(|node| node.certificates);
        let worker: Vec<String> = worker.map(|end| end.certificate).collect();
        if worker == ["peer", "peer_authority"] {
            return;
        }
        changes.next().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_whoever_leads_what_runs_goes_on_and_what_waits_is_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let store = MemoryStore::new(1);
    let lab = Lab {
        jobs: Jobs::new(Arc::new(store.on_another_way(9))),
        objects: Objects::local(folder.path().join("objects")).unwrap(),
    };
    let mut first = Standing::start(&authority, folder.path(), store.on_another_way(2)).await;
    first.becomes(&Role::Leads).await;
    let mut second = Standing::start(&authority, folder.path(), store.on_another_way(3)).await;
    second.becomes(&Role::Follows(Some(first.address.clone()))).await;

    // The worker dials who does not lead, and is told who does.
    let addresses = vec![second.address.clone(), first.address.clone()];
    let files = authority.write(folder.path(), tls::Role::Worker, &[]).unwrap();
    let config = worker::Config { tls: Some(files), ..worker::Config::new(addresses, "token".into(), "w1".into()) };
    let worker = tokio::spawn(worker::run(config, obedient(&Arc::default(), &Arc::default())));
    let before = lab.completes("save 200000").await;
    let endless = lab.submit("endless").await;
    let runs = lab.until(endless, |record| record.state == State::Running).await;
    assert_eq!((runs.attempt, runs.epoch), (1, before.epoch));
    timeout(PATIENCE, certificates_are_told(&store.on_another_way(9))).await.expect("they are not told");

    // Cut off from the store, the leader steps down, and the other takes over what runs.
    first.store.set_faults(Faults { unavailable: 1.0, ..Faults::default() });
    second.becomes(&Role::Leads).await;
    let after = lab.completes("save 1").await;
    assert!(after.epoch > before.epoch);
    first.store.set_faults(Faults::default());
    first.becomes(&Role::Follows(Some(second.address.clone()))).await;

    // Stopped, it gives the office up, and the first leads again.
    second.stop.cancel();
    timeout(PATIENCE, second.task).await.expect("it does not stop").unwrap().unwrap();
    first.becomes(&Role::Leads).await;
    let last = lab.completes("print 3").await;
    assert!(last.epoch > after.epoch);

    // All the time it ran, in its first attempt.
    lab.jobs.cancel(&TenantId::new("lab"), endless).await.unwrap();
    let cancelled = lab.until(endless, |record| record.state == State::Cancelled).await;
    assert_eq!((cancelled.attempt, cancelled.epoch), (1, runs.epoch));
    worker.abort();
    first.stop.cancel();
    timeout(PATIENCE, first.task).await.expect("it does not stop").unwrap().unwrap();
}
