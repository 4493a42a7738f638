//! J1, J2, J3: what was accepted ends, and ends once, whatever dies meanwhile.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use failpoints::Point;
use rustix::process::Signal;
use tests::{Conversation, Data, KEY, Server, Up, http};

/// Waits for a file that the worker makes.
fn until(exists: &std::path::Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !exists.exists() {
        assert!(Instant::now() < deadline, "{} never came", exists.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn up(data: &Data) -> Server {
    data.up().key().tiny_models().canned().start()
}

fn submit(client: &mut Conversation, directive: &str) -> String {
    client.say(&format!("submit canned:{directive}"));
    client.expect("job ")
}

fn result(client: &mut Conversation, job: &str) -> String {
    client.say(&format!("poll {job}"));
    client.expect("result ")
}

#[test]
fn j1_a_killed_server_loses_no_accepted_job_and_no_result() {
    let data = Data::default();
    let server = up(&data);
    let mut client = server.client("poll.py").start();
    client.expect("here");

    let finished = submit(&mut client, "print before");
    assert_eq!(result(&mut client, &finished), r#"{"answer": 42, "attempt": 1}"#);
    let (marked, gate) = (data.path("marked"), data.path("gate"));
    let failed = submit(&mut client, "fail ValueError: as told");
    let running = submit(&mut client, &format!("mark {}\", \"canned:wait {}", marked.display(), gate.display()));
    let queued: Vec<String> = (0..12).map(|_| submit(&mut client, &format!("wait {}", gate.display()))).collect();
    until(&marked);
    server.kill();

    let server = up(&data);
    client.say(&format!("host {}", server.url));
    client.expect("host");
    assert_eq!(result(&mut client, &finished), r#"{"answer": 42, "attempt": 1}"#, "a result outlives its server");
    client.say(&format!("poll {failed}"));
    assert_eq!(client.expect("error "), "ValueError: as told");
    fs::write(&gate, "").unwrap();
    for job in queued.iter().chain([&running]) {
        assert!(result(&mut client, job).starts_with(r#"{"answer": 42"#));
    }
    client.finish();
}

#[test]
fn j3_a_job_whose_worker_dies_runs_again() {
    let data = Data::default();
    let server = up(&data);
    let mut client = server.client("poll.py").start();
    client.expect("here");
    let job = submit(&mut client, &format!("die {}", data.path("died").display()));
    assert_eq!(result(&mut client, &job), r#"{"answer": 42, "attempt": 2}"#);
    client.finish();
}

#[test]
fn a7_what_a_killed_server_had_running_runs_again_together() {
    let data = Data::default();
    let server = up(&data);
    let mut client = server.client("poll.py").start();
    client.expect("here");
    let gate = data.path("gate");
    // A mark says which attempt makes it: the first ones are taken away before the second begins.
    let marks: Vec<_> = (0..8).map(|number| data.path(&format!("mark {number}"))).collect();
    let directive = |mark: &std::path::Path| format!("mark {}\", \"canned:wait {}", mark.display(), gate.display());
    let jobs: Vec<String> = marks.iter().map(|mark| submit(&mut client, &directive(mark))).collect();
    marks.iter().for_each(|mark| until(mark));
    server.kill();
    marks.iter().for_each(|mark| fs::remove_file(mark).unwrap());
    let server = up(&data);
    // All of them, though none may end yet.
    marks.iter().for_each(|mark| until(mark));
    client.say(&format!("host {}", server.url));
    client.expect("host");
    fs::write(&gate, "").unwrap();
    for job in &jobs {
        assert!(result(&mut client, job).starts_with(r#"{"answer": 42"#));
    }
    client.finish();
}

#[test]
fn a8_a_server_that_is_stopped_for_a_while_twice_harms_no_job() {
    let data = Data::default();
    let server = up(&data);
    let mut client = server.client("poll.py").start();
    client.expect("here");
    let (marked, gate) = (data.path("marked"), data.path("gate"));
    let job = submit(&mut client, &format!("mark {}\", \"canned:wait {}", marked.display(), gate.display()));
    until(&marked);
    let worker = server.children();
    for _ in 0..2 {
        // For longer than either side of a session bears silence.
        server.signal(rustix::process::Signal::STOP);
        std::thread::sleep(Duration::from_secs(9));
        server.signal(rustix::process::Signal::CONT);
        // It answers again.
        let began = Instant::now();
        while http::get(&server.url, "/healthz").status != 200 {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
    }
    fs::write(&gate, "").unwrap();
    assert_eq!(result(&mut client, &job), r#"{"answer": 42, "attempt": 1}"#);
    assert_eq!(server.children(), worker, "it is another worker");
    client.finish();
}

#[test]
fn a_worker_killed_from_outside_is_replaced() {
    let data = Data::default();
    let server = up(&data);
    let mut client = server.client("poll.py").start();
    client.expect("here");
    let gate = data.path("gate");
    let job = submit(&mut client, &format!("wait {}", gate.display()));
    for worker in server.children() {
        rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
    }
    fs::write(&gate, "").unwrap();
    assert!(result(&mut client, &job).starts_with(r#"{"answer": 42"#));
    client.finish();
}

#[test]
fn stopping_waits_for_running_jobs_and_takes_no_new_ones() {
    let data = Data::default();
    let server = up(&data);
    let mut client = server.client("poll.py").start();
    client.expect("here");
    let gate = data.path("gate");
    let running = data.path("running");
    let job = submit(&mut client, &format!("mark {}\", \"canned:wait {}", running.display(), gate.display()));
    until(&running);
    server.signal(rustix::process::Signal::TERM);
    let refused = loop {
        let answer = http::get(&server.url, "/readyz");
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 503);
    assert!(refused.detail().contains("stopping"), "{}", refused.detail());
    fs::write(&gate, "").unwrap();
    assert!(server.wait(), "a drained server ends well");

    let server = up(&data);
    client.say(&format!("host {}", server.url));
    client.expect("host");
    assert_eq!(result(&mut client, &job), r#"{"answer": 42, "attempt": 1}"#, "it was not run again");
    client.finish();
}

#[test]
fn a_client_that_waits_gets_its_result_from_a_stopping_server() {
    let data = Data::default();
    let server = up(&data);
    let mut client = server.client("poll.py").start();
    client.expect("here");
    let (running, gate) = (data.path("running"), data.path("gate"));
    client.say(&format!("block canned:mark {}\", \"canned:wait {}", running.display(), gate.display()));
    until(&running);
    server.signal(rustix::process::Signal::INT);
    fs::write(&gate, "").unwrap();
    assert_eq!(client.expect("answer "), "42");
    assert!(server.wait());
}

#[test]
fn a_client_that_waits_is_told_where_its_job_went() {
    let data = Data::default();
    let server = up(&data);
    let mut client = server.client("poll.py").start();
    client.expect("here");
    let (running, gate) = (data.path("running"), data.path("gate"));
    client.say(&format!("block canned:mark {}\", \"canned:wait {}", running.display(), gate.display()));
    until(&running);
    // The second signal does not wait for the job.
    server.signal(rustix::process::Signal::TERM);
    let deadline = Instant::now() + Duration::from_secs(60);
    while http::get(&server.url, "/readyz").status == 200 {
        assert!(Instant::now() < deadline, "it is ready, though it was told to stop");
    }
    server.signal(rustix::process::Signal::TERM);
    let told = client.expect("error ");
    assert!(told.contains("The job is kept and runs when the server is back"), "{told}");
    let job = told.split('"').nth(1).unwrap().to_owned();
    server.wait();
    let server = up(&data);
    client.say(&format!("host {}", server.url));
    client.expect("host");
    fs::write(&gate, "").unwrap();
    assert!(result(&mut client, &job).starts_with(r#"{"answer": 42"#));
    client.finish();
}

/// Sweeps what has ended, whenever that was.
fn sweeping(data: &Data) -> Up {
    let mut up = data.up().key().tiny_models().canned();
    up.command.env("VITRINE_SCHEDULER__RESULT_TIME", "0s");
    up
}

/// Runs a server that sweeps until it ends at a failpoint, which must be soon.
fn ends_at(data: &Data, point: Point) {
    let mut up = sweeping(data);
    let said = data.path("said");
    up.command.env("VITRINE_FAILPOINT", format!("{}:1", point.name()));
    up.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&said).unwrap());
    let mut server = up.command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = server.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            server.kill().unwrap();
            panic!("it did not come to {}", point.name());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let said = fs::read_to_string(said).unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{said}");
    assert!(said.contains(&format!("failpoint {} ends this process", point.name())), "{said}");
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[test]
fn j7_a_sweep_that_is_cut_off_is_ended_by_the_next_and_forgets_nothing_else() {
    for point in [Point::ObjectsRemoved, Point::RecordsRemoved] {
        let data = Data::default();
        let server = up(&data);
        let mut client = server.client("poll.py").start();
        client.expect("here");
        let jobs: Vec<String> = (0..2).map(|_| submit(&mut client, "noise 100000")).collect();
        jobs.iter().for_each(|job| assert!(result(&mut client, job).starts_with(r#"{"answer": 42"#)));
        let objects = data.path("data").join("objects");
        assert_eq!(files(&objects), 2);
        server.kill();

        ends_at(&data, point);
        assert_eq!(files(&objects), 1, "the first one's are gone");
        let server = sweeping(&data).start();
        let deadline = Instant::now() + Duration::from_secs(60);
        while jobs.iter().any(|job| http::get(&server.url, &format!("/response/{job}")).status != 404) {
            assert!(Instant::now() < deadline, "a job is not forgotten");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(files(&objects), 0);
        client.finish();
    }
}

/// Posts a recorded request without waiting for its end; `None` when the server was not there to accept it.
fn post(url: &str, payload: &[u8]) -> Option<String> {
    let model = serde_json::json!({ "repo_id": "ndif-test/tiny-gpt2", "revision": null, "task": "text-generation" });
    let key = format!("nnsight.modeling.transformers.TransformersModel:{model}");
    let fields = serde_json::json!({ "model_key": key, "session_id": "", "compress": false, "env": {} });
    let (header, body) = http::form(&[("data", fields.to_string().as_bytes()), ("blob", payload)]);
    let answer = http::try_ask(url, "POST", "/request", &[&header, &format!("ndif-api-key: {KEY}")], &body)?;
    (answer.status == 200).then(|| answer.json()["id"].as_str().unwrap().to_owned())
}

#[test]
fn j1_kills_at_random_moments_lose_nothing_that_was_acknowledged() {
    const ROUNDS: u64 = 8;
    let data = Data::default();
    let server = up(&data);
    let file = data.path("payload");
    server.client("payload.py").env("PAYLOAD", &file).succeed();
    let payload = fs::read(&file).unwrap();
    let mut accepted: Vec<String> = Vec::new();
    let mut running = Some(server);
    // A fixed spread of moments rather than a random one: what differs from run to run is the machine.
    for round in 0..ROUNDS {
        let server = running.take().unwrap_or_else(|| up(&data));
        let url = server.url.clone();
        let posts = std::thread::spawn({
            let payload = payload.clone();
            move || std::iter::from_fn(|| post(&url, &payload)).collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(37 + round * 71));
        server.kill();
        accepted.extend(posts.join().unwrap());
    }
    assert!(accepted.len() > 20, "only {} jobs were accepted, too few to show anything", accepted.len());
    let server = up(&data);
    for job in &accepted {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = http::get(&server.url, &format!("/response/{job}"));
            assert_eq!(answer.status, 200, "job {job} is lost");
            if answer.json()["status"] == "COMPLETED" {
                let link = answer.json()["data"].as_str().unwrap().strip_prefix(&server.url).unwrap().to_owned();
                assert_eq!(http::get(&server.url, &link).status, 200, "the result of {job} is lost");
                break;
            }
            assert!(Instant::now() < deadline, "job {job} does not end: {}", answer.json());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
