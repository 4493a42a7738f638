//! A writer that is killed loses nothing that it acknowledged.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ids::{JobId, KeyId, ModelKey, TenantId};
use store::{Accepted, Blob, JobRecord, Jobs, RedbStore, State};

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
