//! The scheduler with workers that a test plays, in time that passes only when nobody has anything to do.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod harness {
    mod placing;
    pub mod play;
}

use std::time::Duration;

use harness::play::{Cluster, Process, REATTACH, Worker, given, held};
use proto::v1::{self, HeldState, model_state::State as Loaded};
use store::{Blob, Change, Fault, Faults, ModelState, Outcome, Place, State};

fn attempt(assign: &v1::Assign) -> (String, u32) {
    (assign.job_id.clone(), assign.attempt)
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_and_its_lines_come_before_its_end() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    assert_eq!(attempt(&assign), (job.to_string(), 1));
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

#[tokio::test(start_paused = true)]
async fn j1_a_job_runs_again_when_its_worker_dies() {
    let cluster = Cluster::start().await;
    let mut first = cluster.worker("w1", 4).await;
    let job = cluster.submit("lab").await;
    let assign = first.assign().await;
    first.started(&assign).await;
    cluster.wait_for(job, State::Running).await;
    drop(first);
    let mut second = cluster.worker("w2", 4).await;
    let assign = second.assign().await;
    assert_eq!(attempt(&assign), (job.to_string(), 2));
    second.finish(&assign, b"42").await;
    let record = cluster.end(job).await;
    assert_eq!((record.state, record.attempt, record.deaths), (State::Completed, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn j1_nobody_waits_for_a_process_that_was_seen_to_end() {
    let cluster = Cluster::start().await;
    let mut first = cluster.worker("w1", 1).await;
    let mut second = cluster.worker("w2", 1).await;
    let (one, two) = (cluster.submit("lab").await, cluster.submit("lab").await);
    first.assign().await;
    let running = second.assign().await;
    let began = tokio::time::Instant::now();
    cluster.handle().departures().gone(first.process.instance.clone()).await;
    second.tell_finished(&running, Worker::inline(b"")).await;
    let again = second.assign().await;
    assert_eq!(attempt(&again), (one.to_string(), 2));
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    assert_eq!(cluster.end(two).await.state, State::Completed);
    second.settled(&running).await;
    second.finish(&again, b"").await;
    let began = tokio::time::Instant::now();
    // So it is when a new process of the name says hello, once the old one's connection is gone.
    let three = cluster.submit("lab").await;
    second.assign().await;
    let died = second.cut();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut third = cluster.worker("w2", 1).await;
    assert_eq!(attempt(&third.assign().await), (three.to_string(), 2));
    assert_ne!(third.process.instance, died.instance);
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_kills_three_workers_that_it_has_alone_fails_and_says_so() {
    let cluster = Cluster::start().await;
    let job = cluster.submit("lab").await;
    for name in ["w1", "w2", "w3"] {
        let mut worker = cluster.worker(name, 4).await;
        worker.assign().await;
    }
    let record = cluster.end(job).await;
    let text = "the worker died 3 times while it ran this job, so the job is not tried again";
    assert_eq!(record.outcome, Some(Outcome::Failure { fault: Fault::Server, text: text.into() }));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_beside_others_when_their_worker_died_gets_one_for_itself_and_no_blame() {
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
        let record = cluster.end(job).await;
        assert_eq!((record.state, record.deaths), (State::Completed, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a8_a_worker_that_was_cut_off_comes_back_with_what_it_has() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 2).await;
    let (running, ended) = (cluster.submit("lab").await, cluster.submit("lab").await);
    let (first, second) = (worker.assign().await, worker.assign().await);
    worker.started(&first).await;
    // Several times, since deaths would end a job; and for nearly as long as it is waited for.
    for _ in 0..3 {
        let process = worker.cut();
        tokio::time::sleep(Duration::from_secs(40)).await;
        let holds = [held(&first, HeldState::Running), held(&second, HeldState::Ended)];
        let (back, welcome) = cluster.dial(process, &holds).await.unwrap();
        assert_eq!((welcome.keep, welcome.drop), (vec![given(&first), given(&second)], vec![]));
        worker = back;
    }
    worker.finish(&second, b"ended while away").await;
    worker.finish(&first, b"went on").await;
    for (job, bytes) in [(running, &b"went on"[..]), (ended, b"ended while away")] {
        let record = cluster.end(job).await;
        assert_eq!((record.attempt, record.deaths), (1, 0));
        assert_eq!(record.outcome, Some(Outcome::Result(Blob::Inline(bytes.into()))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_never_got_to_its_worker_is_given_out_again_when_that_is_back() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w1", 1).await;
    cluster.model_state(|state| *state == ModelState::Ready).await;
    // The connection takes the assignment with it.
    let job = cluster.submit("lab").await;
    cluster.wait_for(job, State::Dispatched).await;
    let process = worker.cut();
    let (mut worker, welcome) = cluster.dial(process, &[]).await.unwrap();
    assert_eq!((welcome.keep, welcome.drop), (vec![], vec![]));
    let assign = worker.assign().await;
    assert_eq!(attempt(&assign), (job.to_string(), 2));
    worker.finish(&assign, b"").await;
    assert_eq!(cluster.end(job).await.deaths, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_was_overtaken_changes_nothing() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let early = Process { dial: 0, ..worker.process.clone() };
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    // As of then, it had nothing.
    let status = cluster.dial(early, &[]).await.err().unwrap();
    assert_eq!(status.code(), tonic::Code::Aborted);
    worker.finish(&assign, b"").await;
    assert_eq!(cluster.end(job).await.attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn j3_a_late_result_under_an_old_attempt_is_refused() {
    let cluster = Cluster::start().await;
    let mut zombie = cluster.worker("w1", 4).await;
    let job = cluster.submit("lab").await;
    let old = zombie.assign().await;
    // Silent for too long, it is not waited for, and its job goes to another.
    zombie.fall_silent();
    let mut worker = cluster.worker("w2", 4).await;
    let new = worker.assign().await;
    assert_eq!((old.attempt, new.attempt), (1, 2));
    // When it is back, it hears that nobody wants its result; and where it tells it all the same, that is refused.
    let place = Place::parse(&old.result_path).unwrap();
    let late = cluster.objects.put(&place, vec![1; 100_000].into()).await.unwrap();
    let (mut zombie, welcome) = cluster.dial(zombie.cut(), &[held(&old, HeldState::Running)]).await.unwrap();
    assert_eq!((welcome.keep, welcome.drop), (vec![], vec![given(&old)]));
    zombie.tell_finished(&old, Worker::object(&late)).await;
    zombie.settled(&old).await;
    worker.finish(&new, b"new").await;
    let record = cluster.end(job).await;
    assert_eq!((record.attempt, record.deaths), (2, 0), "silence is no death");
    assert_eq!(record.outcome, Some(Outcome::Result(Blob::Inline(b"new"[..].into()))));
    assert!(matches!(cluster.objects.get(&late).await, Err(store::Error::NoObject(_))));
}

#[tokio::test(start_paused = true)]
async fn j3_a_result_told_twice_is_kept_once() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    let place = Place::parse(&assign.result_path).unwrap();
    let object = cluster.objects.put(&place, vec![1; 100_000].into()).await.unwrap();
    worker.tell_finished(&assign, Worker::object(&object)).await;
    worker.tell_finished(&assign, Worker::object(&object)).await;
    worker.settled(&assign).await;
    let record = cluster.end(job).await;
    // And once more, when it is long settled.
    worker.tell_finished(&assign, Worker::object(&object)).await;
    worker.settled(&assign).await;
    assert_eq!(record.outcome, Some(Outcome::Result(Blob::Object(object.clone()))));
    assert_eq!(cluster.objects.get(&object).await.unwrap().len(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn i1_a_result_that_points_at_another_job_is_not_taken() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    let mine = cluster.submit("lab").await;
    let foreign = Place::result(&ids::TenantId::new("other"), ids::JobId::new(), 1, 1);
    let object = cluster.objects.put(&foreign, vec![1; 100_000].into()).await.unwrap();
    for _ in 0..3 {
        let assign = worker.assign().await;
        worker.tell_finished(&assign, Worker::object(&object)).await;
        worker.settled(&assign).await;
    }
    let record = cluster.end(mine).await;
    assert!(matches!(record.outcome, Some(Outcome::Failure { fault: Fault::Server, .. })), "{:?}", record.outcome);
    assert_eq!(cluster.objects.get(&object).await.unwrap().len(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn j9_a_users_fault_is_told_at_once_and_a_servers_after_three_attempts() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    for (fault, told, attempts) in
        [(v1::Fault::User, Fault::User, 1), (v1::Fault::Limit, Fault::Limit, 1), (v1::Fault::Server, Fault::Server, 3)]
    {
        let job = cluster.submit("lab").await;
        for number in 1..=attempts {
            let assign = worker.assign().await;
            assert_eq!(attempt(&assign), (job.to_string(), number));
            worker.fail(&assign, fault, "line 3: why").await;
        }
        let record = cluster.end(job).await;
        assert_eq!(record.outcome, Some(Outcome::Failure { fault: told, text: "line 3: why".into() }));
    }
}

#[tokio::test(start_paused = true)]
async fn b15_a_worker_that_lets_everything_go_does_not_get_it_for_ever() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 4).await;
    let job = cluster.submit("lab").await;
    let began = tokio::time::Instant::now();
    for number in 1..=20 {
        let assign = worker.assign().await;
        assert_eq!(attempt(&assign), (job.to_string(), number));
        worker.fail(&assign, v1::Fault::Cancelled, "").await;
    }
    let Some(Outcome::Failure { fault, text }) = cluster.end(job).await.outcome else { panic!("it did not fail") };
    assert_eq!(fault, Fault::Server);
    assert!(text.contains("20 times"), "{text}");
    assert!(began.elapsed() > Duration::from_secs(120), "there is a pause between attempts: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn j1_a_scheduler_that_starts_again_reruns_nothing_that_still_runs() {
    let mut cluster = Cluster::start().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(cluster.submit("lab").await);
    }
    let waiting = jobs.pop().unwrap();
    let mut worker = cluster.worker("w1", 3).await;
    let assigned = [worker.assign().await, worker.assign().await, worker.assign().await];
    worker.started(&assigned[0]).await;
    cluster.wait_for(jobs[0], State::Running).await;
    let process = worker.cut();
    // What was given out was written relaxed, and is undone. The two that run, or have ended, are here; the third's
    // assignment was lost on its way.
    cluster.crash().await;
    assert_eq!(cluster.now(jobs[2]).await.state, State::Queued);
    cluster.restart(|_| {}).await;
    let holds = [held(&assigned[0], HeldState::Running), held(&assigned[1], HeldState::Ended)];
    let (mut worker, welcome) = cluster.dial(process, &holds).await.unwrap();
    assert!(welcome.epoch > assigned[0].epoch && welcome.drop.is_empty(), "{welcome:?}");
    assert_eq!(welcome.keep, [given(&assigned[0]), given(&assigned[1])]);
    let third = worker.assign().await;
    assert_eq!(third.job_id, jobs[2].to_string());
    assert_ne!((third.epoch, third.attempt), (assigned[2].epoch, assigned[2].attempt), "a token came again");
    for (assign, bytes) in [(&assigned[1], b"1"), (&assigned[0], b"0"), (&third, b"2")] {
        worker.finish(assign, bytes).await;
    }
    let last = worker.assign().await;
    assert_eq!(last.job_id, waiting.to_string());
    for (number, job) in jobs.into_iter().enumerate() {
        let record = cluster.end(job).await;
        let bytes = number.to_string().into_bytes();
        assert_eq!((record.attempt, record.deaths), (1, 0));
        assert_eq!(record.outcome, Some(Outcome::Result(Blob::Inline(bytes.into()))));
    }
}

#[tokio::test(start_paused = true)]
async fn a7_what_ran_when_everything_was_restarted_runs_again_together() {
    let mut cluster = Cluster::start().await;
    let mut worker = cluster.worker("local", 3).await;
    for _ in 0..3 {
        cluster.submit("lab").await;
    }
    let assigned = [worker.assign().await, worker.assign().await, worker.assign().await];
    worker.started(&assigned[0]).await;
    cluster.wait_for(assigned[0].job_id.parse().unwrap(), State::Running).await;
    cluster.restart(|_| {}).await;
    drop(worker);
    // A new process of the same name: the old one is gone, and nobody waits for it.
    let began = tokio::time::Instant::now();
    let mut worker = cluster.worker("local", 3).await;
    let again = [worker.assign().await, worker.assign().await, worker.assign().await];
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    for (first, second) in assigned.iter().zip(&again) {
        assert_eq!(attempt(second), (first.job_id.clone(), 2));
        assert!(second.epoch > first.epoch);
        worker.finish(second, b"").await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_scheduler_gave_out_runs_again_when_nobody_comes_back_with_it() {
    let mut cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    worker.started(&assign).await;
    cluster.wait_for(job, State::Running).await;
    cluster.restart(|_| {}).await;
    let began = tokio::time::Instant::now();
    let mut other = cluster.worker("w2", 1).await;
    let again = other.assign().await;
    assert_eq!(attempt(&again), (job.to_string(), 2));
    assert!(began.elapsed() >= harness::play::REATTACH, "it was not waited for: {:?}", began.elapsed());
    other.finish(&again, b"").await;
    assert_eq!(cluster.end(job).await.deaths, 0);
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_a_later_one_replaced_is_no_scheduler() {
    let cluster = Cluster::start().await;
    let process = Process { epoch: cluster.handle().epoch() + 1, ..Process::new("w1", 1) };
    let status = cluster.dial(process, &[]).await.err().unwrap();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
}

#[tokio::test(start_paused = true)]
async fn j6_a_cancelled_job_stops_wherever_it_is() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let (running, waiting) = (cluster.submit("lab").await, cluster.submit("lab").await);
    let assign = worker.assign().await;
    for job in [waiting, running] {
        cluster.cancel("lab", job).await;
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

#[tokio::test(start_paused = true)]
async fn j6_a_job_that_was_cancelled_while_its_worker_was_away_is_dropped_when_that_is_back() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    let process = worker.cut();
    cluster.cancel("lab", job).await;
    assert_eq!(cluster.end(job).await.state, State::Cancelled);
    let next = cluster.submit("lab").await;
    let (mut worker, welcome) = cluster.dial(process, &[held(&assign, HeldState::Running)]).await.unwrap();
    assert_eq!((welcome.keep, welcome.drop), (vec![], vec![given(&assign)]));
    assert!(worker.quiet().await, "its slot is taken until it has let go");
    worker.tell_failed(&assign, v1::Fault::Cancelled, "").await;
    worker.settled(&assign).await;
    assert_eq!(worker.assign().await.job_id, next.to_string());
}

#[tokio::test(start_paused = true)]
async fn b16_what_a_crash_made_queued_waits_for_the_worker_that_may_have_it() {
    for comes_back in [true, false] {
        let mut cluster = Cluster::start().await;
        let mut worker = cluster.worker("w1", 1).await;
        let job = cluster.submit("lab").await;
        let assign = worker.assign().await;
        worker.started(&assign).await;
        cluster.wait_for(job, State::Running).await;
        let process = worker.cut();
        cluster.crash().await;
        assert_eq!(cluster.now(job).await.state, State::Queued);
        cluster.restart(|_| {}).await;
        let mut other = cluster.worker("w2", 1).await;
        // What comes new cannot be with anybody.
        let new = cluster.submit("lab").await;
        let assigned = other.assign().await;
        assert_eq!(assigned.job_id, new.to_string());
        other.finish(&assigned, b"new").await;
        assert!(other.quiet().await, "it is given out while w1 may run it");
        if comes_back {
            let (_worker, welcome) = cluster.dial(process, &[held(&assign, HeldState::Running)]).await.unwrap();
            assert_eq!(welcome.keep, [given(&assign)]);
            assert!(other.quiet().await, "it is given out while w1 runs it");
        } else {
            let again = other.assign().await;
            assert_eq!((again.job_id.clone(), again.attempt), (job.to_string(), 1));
            assert_ne!(again.epoch, assign.epoch);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b3_a_job_whose_end_the_store_took_at_a_later_try_is_let_go() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 2).await;
    let (cancelled, late) = (cluster.submit("lab").await, cluster.submit_limited("lab", Duration::from_secs(1)).await);
    let first = worker.assign().await;
    let second = worker.assign().await;
    worker.started(&first).await;
    worker.started(&second).await;
    cluster.wait_for(cancelled, State::Running).await;
    cluster.wait_for(late, State::Running).await;
    cluster.cancel("lab", cancelled).await;
    cluster.store.plan(&[store::CommitFault::Refused]);
    assert_eq!(worker.cancelled().await, cancelled.to_string());
    assert_eq!(cluster.end(cancelled).await.state, State::Cancelled);
    cluster.store.plan(&[store::CommitFault::Refused]);
    assert_eq!(worker.cancelled().await, late.to_string());
    assert_eq!(cluster.end(late).await.state, State::Failed);
}

#[tokio::test(start_paused = true)]
async fn b19_a_commit_whose_answer_was_lost_loses_no_job() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    cluster.model_state(|state| *state == ModelState::Ready).await;
    let job = cluster.submit("lab").await;
    // The job is written as given out, and nobody is told so for as long as anybody asks: it was not given to anybody.
    let unheard = [store::CommitFault::Unheard];
    cluster.store.plan(&[&unheard[..], &[store::CommitFault::Refused; 40]].concat());
    let assign = worker.assign().await;
    assert_eq!(attempt(&assign), (job.to_string(), 2));
    // Its end is written, and nobody is told so: it is settled all the same, once.
    worker.tell_finished(&assign, Worker::inline(b"42")).await;
    cluster.store.plan(&[store::CommitFault::Unheard]);
    worker.settled(&assign).await;
    assert_eq!(cluster.end(job).await.outcome, Some(Outcome::Result(Blob::Inline(b"42"[..].into()))));
}

/// Has the next commit be done, and nobody hear of it for as long as anybody asks.
async fn unheard(cluster: &Cluster, tell: impl Future<Output = ()>) {
    let before = cluster.store.writes();
    cluster.store.plan(&[store::CommitFault::Unheard]);
    tell.await;
    while cluster.store.writes() == before {
        tokio::task::yield_now().await;
    }
    cluster.store.set_faults(Faults { unavailable: 1.0, ..Faults::default() });
    tokio::time::sleep(cluster.jobs.deadline() * 3).await;
    cluster.store.set_faults(Faults::default());
}

#[tokio::test(start_paused = true)]
async fn b19_what_follows_from_a_commit_that_nobody_heard_of_is_done_when_it_is_found() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 2).await;
    cluster.model_state(|state| *state == ModelState::Ready).await;
    // One that was let go waits again.
    let job = cluster.submit("lab").await;
    let first = worker.assign().await;
    unheard(&cluster, worker.tell_failed(&first, v1::Fault::Cancelled, "")).await;
    worker.settled(&first).await;
    let second = worker.assign().await;
    assert_eq!(attempt(&second), (job.to_string(), 2));
    // One that was cancelled is let go.
    cluster.cancel("lab", job).await;
    unheard(&cluster, std::future::ready(())).await;
    assert_eq!(worker.cancelled().await, job.to_string());
    worker.fail(&second, v1::Fault::Cancelled, "").await;
    // One that ended leaves its place to the next of a tenant who may have one at a time.
    let mut jobs = Vec::new();
    for _ in 0..2 {
        jobs.push(cluster.submit_as("lab", |record| record.at_once = 1).await);
    }
    let one = worker.assign().await;
    assert_eq!(one.job_id, jobs[0].to_string());
    assert!(worker.quiet().await);
    unheard(&cluster, worker.tell_finished(&one, Worker::inline(b"1"))).await;
    worker.settled(&one).await;
    let two = worker.assign().await;
    assert_eq!(two.job_id, jobs[1].to_string());
    worker.finish(&two, b"2").await;
    for job in jobs {
        assert_eq!(cluster.end(job).await.state, State::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn j5_a_result_that_takes_long_to_be_written_is_not_time_that_its_job_ran() {
    let mut cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let job = cluster.submit_limited("lab", Duration::from_secs(5)).await;
    let assign = worker.assign().await;
    worker.started(&assign).await;
    worker.ran(&assign).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    // Nor is it where the worker has come back meanwhile.
    let process = worker.cut();
    let (mut worker, welcome) = cluster.dial(process, &[held(&assign, HeldState::Writing)]).await.unwrap();
    assert_eq!(welcome.keep, [given(&assign)]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    worker.finish(&assign, b"42").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
    // Where nobody was told that it began, who leads next concludes it.
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    let process = worker.cut();
    cluster.restart(|_| {}).await;
    let (mut worker, welcome) = cluster.dial(process, &[held(&assign, HeldState::Writing)]).await.unwrap();
    assert_eq!(welcome.keep, [given(&assign)]);
    cluster.wait_for(job, State::Running).await;
    worker.finish(&assign, b"42").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn j5_a_job_that_comes_back_from_its_worker_may_wait_for_another() {
    let mut cluster = Cluster::start().await;
    cluster.restart(|config| config.queue_time = Duration::from_secs(120)).await;
    let mut worker = cluster.worker("w1", 1).await;
    let job = cluster.submit("lab").await;
    let first = worker.assign().await;
    worker.started(&first).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    drop(worker);
    tokio::time::sleep(REATTACH + Duration::from_secs(30)).await;
    let mut worker = cluster.worker("w2", 1).await;
    let second = worker.assign().await;
    assert_eq!(attempt(&second), (job.to_string(), 2));
    worker.finish(&second, b"42").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn b4_a_job_that_a_worker_takes_and_never_begins_runs_elsewhere() {
    let mut cluster = Cluster::start().await;
    cluster.restart(|config| config.start_time = Duration::from_secs(30)).await;
    let mut idler = cluster.worker("w1", 1).await;
    let job = cluster.submit("lab").await;
    let first = idler.assign().await;
    // It only beats; and, told to let go, goes on doing so.
    assert_eq!(idler.cancelled().await, job.to_string());
    let mut worker = cluster.worker("w2", 1).await;
    idler.ended().await;
    let second = worker.assign().await;
    assert_eq!(attempt(&second), (job.to_string(), 2));
    worker.finish(&second, b"").await;
    // What it has still is not wanted.
    let (_, welcome) = cluster.dial(idler.cut(), &[held(&first, HeldState::Waiting)]).await.unwrap();
    assert_eq!(welcome.drop, [given(&first)]);
}

#[tokio::test(start_paused = true)]
async fn b4_a_job_that_a_worker_gives_back_runs_again() {
    let mut cluster = Cluster::start().await;
    cluster.restart(|config| config.start_time = Duration::from_secs(30)).await;
    let mut worker = cluster.worker("w1", 1).await;
    let job = cluster.submit("lab").await;
    let first = worker.assign().await;
    assert_eq!(worker.cancelled().await, job.to_string());
    worker.fail(&first, v1::Fault::Cancelled, "").await;
    let second = worker.assign().await;
    assert_eq!(attempt(&second), (job.to_string(), 2));
    worker.finish(&second, b"").await;
    assert_eq!(cluster.end(job).await.deaths, 0);
}

#[tokio::test(start_paused = true)]
async fn j5_a_job_that_nobody_takes_expires() {
    let mut cluster = Cluster::start().await;
    cluster.restart(|config| config.queue_time = Duration::from_millis(100)).await;
    let job = cluster.submit("lab").await;
    assert_eq!(cluster.end(job).await.state, State::Expired);
}

#[tokio::test(start_paused = true)]
async fn b5_a_clock_that_is_set_ends_nobodys_wait() {
    let mut cluster = Cluster::start().await;
    let two_hours = |config: &mut scheduler::Config| config.queue_time = Duration::from_secs(2 * 3_600);
    cluster.restart(two_hours).await;
    let job = cluster.submit("lab").await;
    cluster.day.0.fetch_add(25 * 3_600_000, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(cluster.now(job).await.state, State::Queued);
    // A scheduler that starts then finds it too old, and yet lets it have a chance.
    cluster.restart(two_hours).await;
    let mut worker = cluster.worker("w1", 1).await;
    let assign = worker.assign().await;
    worker.finish(&assign, b"").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
    // It expires by the time that passes.
    drop(worker);
    let other = cluster.submit("lab").await;
    let began = tokio::time::Instant::now();
    assert_eq!(cluster.record(other, |record| record.state.terminal()).await.state, State::Expired);
    assert_eq!(began.elapsed().as_secs() / 60, 120);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_can_be_loaded_nowhere_fails_its_jobs_with_the_reason() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w1", 1).await;
    worker.model(Loaded::Failed("model_type \"bert\" is not supported".into()), true).await;
    cluster.model_state(|state| matches!(state, ModelState::Failed(_))).await;
    let job = cluster.submit("lab").await;
    let record = cluster.end(job).await;
    let text = "the model test/tiny cannot be served: model_type \"bert\" is not supported";
    assert_eq!(record.outcome, Some(Outcome::Failure { fault: Fault::Server, text: text.into() }));
}

#[tokio::test(start_paused = true)]
async fn a9_jobs_wait_for_a_model_that_one_worker_could_not_load_this_time() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    worker.model(Loaded::Failed("model.safetensors is not there".into()), false).await;
    let failed = ModelState::Failed("model.safetensors is not there".into());
    assert_eq!(cluster.model_state(|state| *state == failed).await.key.repo_id(), "test/tiny");
    let job = cluster.submit("lab").await;
    assert!(worker.quiet().await, "a job came to a worker without its model");
    assert_eq!(cluster.now(job).await.state, State::Queued);
    worker.model(Loaded::Ready(true), false).await;
    let assign = worker.assign().await;
    worker.finish(&assign, b"").await;
    assert_eq!(cluster.end(job).await.attempt, 1);
    // What one worker has, another's failure does not take away.
    let other = cluster.worker("w2", 1).await;
    other.model(Loaded::Failed("no type like that".into()), true).await;
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    worker.finish(&assign, b"").await;
    assert_eq!(cluster.end(job).await.state, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_models_state_follows_its_workers() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.model_state(|state| *state == ModelState::Waiting).await.key.repo_id(), "test/tiny");
    let worker = cluster.worker("w1", 1).await;
    cluster.model_state(|state| *state == ModelState::Ready).await;
    drop(worker);
    cluster.model_state(|state| *state == ModelState::Waiting).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_the_token_is_refused() {
    let cluster = Cluster::start().await;
    let status = cluster.hello(Process::new("w1", 1), "not the token", &[]).await.err().unwrap();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert_eq!(status.message(), "the worker's token is not this cluster's");
}

#[tokio::test(start_paused = true)]
async fn c4_a_name_is_not_taken_from_a_worker_that_lives() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 1).await;
    let job = cluster.submit("lab").await;
    let assign = worker.assign().await;
    for _ in 0..3 {
        let status = cluster.dial(Process::new("w1", 1), &[]).await.err().unwrap();
        assert_eq!(status.code(), tonic::Code::AlreadyExists);
        assert_eq!(status.message(), "another worker runs under the name w1; give this one another name");
    }
    worker.finish(&assign, b"").await;
    assert_eq!(cluster.end(job).await.attempt, 1);
    // One that is silent loses it, for then there is nobody to ask.
    worker.fall_silent();
    worker.ended().await;
    cluster.dial(Process::new("w1", 1), &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a13_a_worker_that_ends_names_the_culprit_and_the_others_are_not_suspected() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w1", 3).await;
    for _ in 0..3 {
        cluster.submit("lab").await;
    }
    let assigned = [worker.assign().await, worker.assign().await, worker.assign().await];
    worker.goodbye(&[&assigned[0]]).await;
    let mut other = cluster.worker("w2", 3).await;
    let culprit = other.assign().await;
    assert_eq!(attempt(&culprit), (assigned[0].job_id.clone(), 2));
    assert!(other.quiet().await, "somebody came beside the culprit");
    other.finish(&culprit, b"").await;
    // The others come together.
    let rest = [other.assign().await, other.assign().await];
    for (assign, before) in rest.iter().zip(&assigned[1..]) {
        assert_eq!(attempt(assign), (before.job_id.clone(), 2));
        other.finish(assign, b"").await;
    }
    let mut deaths = Vec::new();
    for assign in &assigned {
        deaths.push(cluster.end(assign.job_id.parse().unwrap()).await.deaths);
    }
    assert_eq!(deaths, [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn a_standby_says_who_leads() {
    use futures::StreamExt;
    let config = scheduler::Config { token: "t".into(), ..scheduler::Config::default() };
    let (leads, role) = tokio::sync::watch::channel(scheduler::Role::Follows(Some("http://10.0.0.2:7000".into())));
    let standby = scheduler::Sessions::standby(&config, role);
    let hello = v1::WorkerHello {
        worker_id: "w".into(),
        token: "t".into(),
        instance: "i".into(),
        ..v1::WorkerHello::default()
    };
    let hello = v1::FromWorker { message: Some(v1::from_worker::Message::Hello(hello)) };
    let ask = || standby.accept(futures::stream::iter([Ok(hello.clone())]).boxed());
    let mut answers: Vec<_> = ask().await.unwrap().collect().await;
    let not_leader = v1::NotLeader { address: "http://10.0.0.2:7000".into() };
    assert_eq!(answers.pop().unwrap().unwrap().message, Some(v1::to_worker::Message::NotLeader(not_leader)));
    leads.send_replace(scheduler::Role::Follows(None));
    let mut answers: Vec<_> = ask().await.unwrap().collect().await;
    assert_eq!(
        answers.pop().unwrap().unwrap().message,
        Some(v1::to_worker::Message::NotLeader(v1::NotLeader::default()))
    );
}
