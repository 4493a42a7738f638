//! A writer that is killed, or whose disk is full, loses nothing that it acknowledged.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ids::{JobId, KeyId, ModelKey, TenantId};
use store::{Accepted, Blob, JobRecord, Jobs, MetadataStore, RedbStore, State, Txn};

/// Tells the child where its store is; without it the child has nothing to do.
const STORE: &str = "VITRINE_TEST_STORE";

#[tokio::test]
async fn j1_a_killed_writer_loses_no_accepted_job() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let mut acknowledged: Vec<JobId> = Vec::new();
    for round in 0..10u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "writer"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || -> Vec<JobId> {
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("accepted ")?.parse().ok()).collect()
        });
        // Different moments of the writer's work, its opening of the file among them.
        std::thread::sleep(Duration::from_millis(20 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(reader.join().unwrap());

        let jobs = Jobs::new(Arc::new(RedbStore::open(&path).unwrap()));
        let found = jobs.list(&[State::Queued]).await.unwrap();
        let missing = acknowledged.iter().filter(|id| !found.iter().any(|record| record.id == **id)).count();
        assert_eq!(missing, 0, "of {} acknowledged jobs, after kill {round}", acknowledged.len());
    }
    assert!(acknowledged.len() > 100, "only {} jobs were accepted in all", acknowledged.len());
}

/// Files may take no more than this, in blocks of 512 bytes. The store's grows by doubling, so the last time will fail.
const FULL: u64 = (12 << 20) / 512;

#[tokio::test]
async fn j1_a_full_disk_loses_no_accepted_job() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    // Without the trap, a file that becomes too large is deadly instead of an error.
    let script = format!("trap '' XFSZ; ulimit -f {FULL}; exec \"$0\" --ignored --exact --nocapture filler");
    let mut child = Command::new("sh");
    child.args(["-c", &script]).arg(std::env::current_exe().unwrap()).env(STORE, &path);
    let output = child.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let acknowledged: Vec<JobId> =
        text.lines().filter_map(|line| line.strip_prefix("accepted ")?.parse().ok()).collect();
    assert!(text.contains("full"), "{text}");
    assert!(acknowledged.len() > 1000, "only {} jobs were accepted in all", acknowledged.len());

    let jobs = Jobs::new(Arc::new(RedbStore::open(&path).unwrap()));
    let found = jobs.list(&[State::Queued]).await.unwrap();
    let missing = acknowledged.iter().filter(|id| !found.iter().any(|record| record.id == **id)).count();
    assert_eq!(missing, 0, "of {} acknowledged jobs", acknowledged.len());
    assert_eq!(jobs.accept(&queued()).await.unwrap(), Accepted::New, "with room again, it goes on");
}

/// Accepts jobs until there is no room, more than once, and ends as if it were killed.
#[tokio::test]
#[ignore = "it is the child of the other test"]
async fn filler() {
    let Ok(path) = std::env::var(STORE) else { return };
    let store = Arc::new(RedbStore::open(path).unwrap());
    let jobs = Jobs::new(store.clone());
    let (mut last, mut refused) = (None, 0);
    while refused < 20 {
        let record = queued();
        let relaxed = Txn::default().put("/relaxed", record.id.to_string()).relaxed();
        match store.txn(relaxed).await {
            Ok(_) => last = Some(Bytes::from(record.id.to_string())),
            Err(store::Error::NoSpace { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        match jobs.accept(&record).await {
            Ok(accepted) => {
                assert_eq!(accepted, Accepted::New);
                println!("\naccepted {}", record.id);
            }
            Err(store::Error::NoSpace { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        // A durable write that fails takes no relaxed one with it.
        let relaxed = store.get("/relaxed").await.unwrap();
        assert_eq!(relaxed.map(|entry| entry.value), last);
    }
    println!("\nfull");
    std::process::abort();
}

/// Accepts jobs from several tasks at once, and says each when it is told.
#[tokio::test]
#[ignore = "it is the child of the other test"]
async fn writer() {
    let Ok(path) = std::env::var(STORE) else { return };
    let jobs = Jobs::new(Arc::new(RedbStore::open(path).unwrap()));
    let writers = (0..8).map(|_| {
        let jobs = jobs.clone();
        tokio::spawn(async move {
            for _ in 0..1_000_000 {
                let record = queued();
                assert_eq!(jobs.accept(&record).await.unwrap(), Accepted::New);
                println!("\naccepted {}", record.id);
            }
        })
    });
    futures::future::join_all(writers).await;
}

fn queued() -> JobRecord {
    JobRecord::queued(
        JobId::new(),
        TenantId::new("lab"),
        KeyId::new("key"),
        ModelKey::new("test/tiny", None),
        Blob::Inline(Bytes::from(vec![7; 2000])),
        1,
    )
}
