//! The scheduler with workers that a test plays, over real gRPC on loopback.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod harness {
    pub mod play;
}

use std::time::Duration;

use harness::play::{Cluster, Worker};
use proto::v1;
use store::{Blob, Change, Fault, ModelState, Outcome, Place, State};

#[tokio::test]
async fn a_job_runs_and_its_lines_come_before_its_end() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    assert_eq!((assign.job_id.as_str(), assign.attempt), (job.to_string().as_str(), 1));
    assert_eq!(assign.payload, Some(Worker::inline(b"program")));
    worker.started(&assign).await;
    for number in 0..3 {
        worker.log(&assign, number, &format!("line {number}")).await;
    }
    worker.finish(&assign, b"42").await;

    let mut follow = cluster.jobs.follow(job, store::Position::default()).await.unwrap();
    let mut lines = Vec::new();
    let mut last = None;
    while let Some(change) = follow.next().await.unwrap() {
        match change {
            Change::Log { text, .. } => lines.push(text),
            Change::Record(record) => last = Some(record),
        }
    }
    // Those that are written together are one entry.
    assert_eq!(lines.join("\n"), "line 0\nline 1\nline 2");
    let record = last.unwrap();
    assert_eq!(record.state, State::Completed);
    assert_eq!(record.outcome, Some(Outcome::Result(Blob::Inline(b"42"[..].into()))));
    let meta: serde_json::Value = serde_json::from_str(&record.meta).unwrap();
    assert_eq!(meta["tokens"], 7);
    assert_eq!(meta["attempt"], 1);
    assert!(meta["queue_time_s"].as_f64().unwrap() >= 0.0);
}

#[tokio::test]
async fn j1_a_job_runs_again_when_its_worker_dies() {
    let cluster = Cluster::start().await;
    let mut first = cluster.worker("w1", 4).await;
    let job = cluster.submit("lab").await;
    let assign = first.assign().await;
    first.started(&assign).await;
    drop(first);
    let mut second = cluster.worker("w2", 4).await;
    let assign = second.assign().await;
    assert_eq!((assign.job_id.clone(), assign.attempt), (job.to_string(), 2));
    second.finish(&assign, b"42").await;
    let record = cluster.end(job).await;
    assert_eq!((record.state, record.attempt, record.deaths), (State::Completed, 2, 1));
}

#[tokio::test]
async fn a_job_that_kills_two_workers_fails_and_says_so() {
    let cluster = Cluster::start().await;
    let job = cluster.submit("lab").await;
    for name in ["w1", "w2"] {
        let mut worker = cluster.worker(name, 4).await;
        worker.assign().await;
    }
    let record = cluster.end(job).await;
    let text = "the worker died 2 times while it ran this job, so the job is not tried again";
    assert_eq!(record.outcome, Some(Outcome::Failure { fault: Fault::Server, text: text.into() }));
}

#[tokio::test]
async fn a_job_that_comes_back_gets_a_worker_for_itself() {
    let cluster = Cluster::start().await;
    let mut first = cluster.worker("w1", 2).await;
    let (suspect, bystander) = (cluster.submit("lab").await, cluster.submit("lab").await);
    first.assign().await;
    first.assign().await;
    drop(first);
    let mut second = cluster.worker("w2", 2).await;
    for job in [suspect, bystander] {
        let assign = second.assign().await;
        assert_eq!(assign.job_id, job.to_string());
        assert!(second.quiet().await, "a second job came while the first wanted to be alone");
        second.finish(&assign, b"42").await;
        assert_eq!(cluster.end(job).await.state, State::Completed);
    }
}

#[tokio::test]
async fn j3_a_late_result_under_an_old_attempt_is_refused() {
    let cluster = Cluster::start().await;
    let mut zombie = cluster.worker("w1", 4).await;
    let job = cluster.submit("lab").await;
    let old = zombie.assign().await;
    // Silent for too long, it is taken for dead, and its job goes to another.
    zombie.fall_silent();
    let mut worker = cluster.worker("w2", 4).await;
    let new = worker.assign().await;
    assert_eq!((old.attempt, new.attempt), (1, 2));
    // Whoever tells it, and wherever its bytes lie: it is refused, and its object goes.
    let place = Place::parse(&old.result_path).unwrap();
    let late = cluster.objects.put(&place, vec![1; 100_000].into()).await.unwrap();
    worker.finish_with(&old, Worker::object(&late)).await;
    worker.finish(&new, b"new").await;
    let record = cluster.end(job).await;
    assert_eq!(record.outcome, Some(Outcome::Result(Blob::Inline(b"new"[..].into()))));
    assert!(matches!(cluster.objects.get(&late).await, Err(store::Error::NoObject(_))));
}

#[tokio::test]
async fn j3_a_result_told_twice_is_kept_once() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    let place = Place::parse(&assign.result_path).unwrap();
    let object = cluster.objects.put(&place, vec![1; 100_000].into()).await.unwrap();
    worker.finish_with(&assign, Worker::object(&object)).await;
    worker.finish_with(&assign, Worker::object(&object)).await;
    let record = cluster.end(job).await;
    // A job that comes after it shows that the second telling was dealt with.
    let next = cluster.submit("lab").await;
    let assign = worker.assign().await;
    worker.finish(&assign, b"").await;
    cluster.end(next).await;
    assert_eq!(record.outcome, Some(Outcome::Result(Blob::Object(object.clone()))));
    assert_eq!(cluster.objects.get(&object).await.unwrap().len(), 100_000);
}

#[tokio::test]
async fn i1_a_result_that_points_at_another_job_is_not_taken() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    let mine = cluster.submit("lab").await;
    let foreign = Place::result(&ids::TenantId::new("other"), ids::JobId::new(), 1, 1);
    let object = cluster.objects.put(&foreign, vec![1; 100_000].into()).await.unwrap();
    for _ in 0..3 {
        let assign = worker.assign().await;
        worker.finish_with(&assign, Worker::object(&object)).await;
    }
    let record = cluster.end(mine).await;
    assert!(matches!(record.outcome, Some(Outcome::Failure { fault: Fault::Server, .. })), "{:?}", record.outcome);
    assert_eq!(cluster.objects.get(&object).await.unwrap().len(), 100_000);
}

#[tokio::test]
async fn j9_a_users_fault_is_told_at_once_and_a_servers_after_three_attempts() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    for (fault, told, attempts) in
        [(v1::Fault::User, Fault::User, 1), (v1::Fault::Limit, Fault::Limit, 1), (v1::Fault::Server, Fault::Server, 3)]
    {
        let job = cluster.submit("lab").await;
        for attempt in 1..=attempts {
            let assign = worker.assign().await;
            assert_eq!((assign.job_id.clone(), assign.attempt), (job.to_string(), attempt));
            worker.fail(&assign, fault, "line 3: why").await;
        }
        let record = cluster.end(job).await;
        assert_eq!(record.outcome, Some(Outcome::Failure { fault: told, text: "line 3: why".into() }));
    }
}

#[tokio::test]
async fn j8_tenants_take_turns() {
    let cluster = Cluster::start().await;
    let mut crowd = Vec::new();
    for _ in 0..6 {
        crowd.push(cluster.submit("crowd").await);
    }
    let (one, two) = (cluster.submit("single").await, cluster.submit("single").await);
    let mut worker = cluster.worker("w1", 1).await;
    let mut order: Vec<ids::JobId> = Vec::new();
    for _ in 0..8 {
        let assign = worker.assign().await;
        order.push(assign.job_id.parse().unwrap());
        worker.finish(&assign, b"").await;
    }
    assert_eq!(order, [crowd[0], one, crowd[1], two, crowd[2], crowd[3], crowd[4], crowd[5]]);
}

#[tokio::test]
async fn a_worker_gets_no_more_jobs_than_it_takes_at_once() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 2).await;
    for _ in 0..3 {
        cluster.submit("lab").await;
    }
    let first = worker.assign().await;
    worker.assign().await;
    assert!(worker.quiet().await, "a third job came to a worker with two slots");
    worker.finish(&first, b"").await;
    worker.assign().await;
}

#[tokio::test]
async fn j1_a_scheduler_that_starts_again_takes_everything_up() {
    let mut cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let (running, waiting) = (cluster.submit("lab").await, cluster.submit("lab").await);
    let assign = worker.assign().await;
    worker.started(&assign).await;
    cluster.wait_for(running, State::Running).await;
    cluster.restart(|_| {}).await;
    let mut worker = cluster.worker("w1", 1).await;
    for (job, attempt) in [(running, 2), (waiting, 1)] {
        let assign = worker.assign().await;
        assert_eq!((assign.job_id.clone(), assign.attempt), (job.to_string(), attempt));
        worker.finish(&assign, b"42").await;
        let record = cluster.end(job).await;
        assert_eq!((record.state, record.deaths), (State::Completed, 0));
    }
}

#[tokio::test]
async fn j6_a_cancelled_job_stops_wherever_it_is() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let (running, waiting) = (cluster.submit("lab").await, cluster.submit("lab").await);
    let assign = worker.assign().await;
    let tenant = ids::TenantId::new("lab");
    for job in [waiting, running] {
        cluster.jobs.cancel(&tenant, job).await.unwrap();
        assert_eq!(cluster.end(job).await.state, State::Cancelled);
    }
    assert_eq!(worker.cancelled().await, running.to_string());
    // A result that was on its way comes too late, and the slot is free again.
    worker.finish(&assign, b"late").await;
    let next = cluster.submit("lab").await;
    let assign = worker.assign().await;
    assert_eq!(assign.job_id, next.to_string());
    assert_eq!(cluster.end(running).await.state, State::Cancelled);
    assert_eq!(cluster.jobs.cancels().await.unwrap(), []);
}

#[tokio::test]
async fn j5_a_job_that_runs_too_long_ends_over_its_workers_head() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let job = cluster.submit_limited("lab", Duration::from_millis(50)).await;
    let assign = worker.assign().await;
    worker.started(&assign).await;
    let record = cluster.end(job).await;
    let text = "the job ran for longer than its limit of 0.05 s";
    assert_eq!(record.outcome, Some(Outcome::Failure { fault: Fault::Limit, text: text.into() }));
    assert_eq!(worker.cancelled().await, job.to_string());
}

#[tokio::test]
async fn j5_a_job_that_nobody_takes_expires() {
    let mut cluster = Cluster::start().await;
    cluster.restart(|config| config.queue_time = Duration::from_millis(100)).await;
    let job = cluster.submit("lab").await;
    assert_eq!(cluster.end(job).await.state, State::Expired);
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_fails_its_jobs_with_the_reason() {
    let cluster = Cluster::start().await;
    let job = cluster.submit("lab").await;
    let _worker = cluster.worker_without_model("w1", "model.safetensors is truncated").await;
    let record = cluster.end(job).await;
    let text = "the model test/tiny cannot be served: model.safetensors is truncated";
    assert_eq!(record.outcome, Some(Outcome::Failure { fault: Fault::Server, text: text.into() }));
    let models = cluster.models.list().await.unwrap();
    assert_eq!(models[0].state, ModelState::Failed("model.safetensors is truncated".into()));
}

#[tokio::test]
async fn a_models_state_follows_its_workers() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.model_state(|state| *state == ModelState::Waiting).await.key.repo_id(), "test/tiny");
    let worker = cluster.worker("w1", 1).await;
    cluster.model_state(|state| *state == ModelState::Ready).await;
    drop(worker);
    cluster.model_state(|state| *state == ModelState::Waiting).await;
}

#[tokio::test]
async fn a_worker_without_the_token_is_refused() {
    let cluster = Cluster::start().await;
    let status = cluster.knock("not the token").await.err().unwrap();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert_eq!(status.message(), "the worker's token is not this cluster's");
}

#[tokio::test]
async fn draining_lets_what_runs_finish_and_begins_nothing() {
    let mut cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let (running, waiting) = (cluster.submit("lab").await, cluster.submit("lab").await);
    let assign = worker.assign().await;
    assert!(!cluster.handle().drain(Duration::from_millis(50)).await, "a job still runs");
    worker.finish(&assign, b"").await;
    assert!(cluster.handle().drain(Duration::from_secs(10)).await);
    assert_eq!(cluster.end(running).await.state, State::Completed);
    assert!(worker.quiet().await, "a job was given out while draining");
    cluster.restart(|_| {}).await;
    let mut worker = cluster.worker("w1", 1).await;
    assert_eq!(worker.assign().await.job_id, waiting.to_string());
}
