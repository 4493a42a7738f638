//! B6: a worker is not ended by what its jobs need together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::{Data, KEY, http, memory, ports};

/// What jobs may hold together, and what each of several needs; in MiB.
const MEMORY: u64 = 500;
const EACH: u64 = 200;
const JOBS: u64 = 6;

#[test]
fn b6_jobs_that_need_more_memory_than_there_is_run_one_after_another() {
    let data = Data::default();
    let mut up = data.up().key().tiny_models().one_thread();
    up.command.env("VITRINE_MEMORY", format!("{MEMORY}M"));
    let server = up.start();
    let worker = server.children();
    let before = memory(worker[0], "RssAnon");
    let done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut most = before;
            while !done.load(Ordering::Relaxed) {
                most = most.max(memory(worker[0], "RssAnon"));
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let client = server.client("memory.py").env("JOBS", JOBS.to_string()).env("MIB", EACH.to_string());
        let client = client.env("NEVER", (MEMORY + 100).to_string());
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.succeed()));
        done.store(true, Ordering::Relaxed);
        let most = looking.join().unwrap();
        assert!(said.is_ok(), "the client failed");
        most
    });
    assert_eq!(server.children(), worker, "the worker lives on");
    let more = most - before;
    println!("{JOBS} jobs of {EACH} MiB took {more} MiB at most");
    // A pass has some of its own.
    assert!((EACH..MEMORY + 100).contains(&more), "{more} MiB");
}

/// What a worker says that its jobs hold, in bytes.
fn held(worker: &str) -> f64 {
    let text = http::get(&format!("http://{worker}"), "/metrics").body;
    let text = String::from_utf8(text).unwrap();
    let series = "vitrine_worker_memory_bytes{kind=\"jobs\"} ";
    text.lines().find_map(|line| line.strip_prefix(series)).map_or(0.0, |value| value.parse().unwrap())
}

fn until(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

#[test]
fn a_generation_that_is_cancelled_gives_its_memory_back_and_a_neighbours_values_stay_the_same() {
    let data = Data::default();
    let [worker] = ports::free();
    let health = format!("worker_health={worker}");
    let server = data.up().key().tiny_models().one_thread().arguments(&["--set", &health]).start();
    let mut client = server.client("cancelled.py").start();
    let job = client.expect("job ");
    let most = f64::from(40 << 20);
    until("much memory", || held(&worker) > most);
    client.say("go");
    client.expect("submitted");
    let before = held(&worker);
    let key = format!("ndif-api-key: {KEY}");
    let deleted = http::ask(&server.url, "DELETE", &format!("/request/{job}"), &[&key], b"");
    assert_eq!(deleted.status, 202);
    // The worker says every second what its jobs hold.
    let took = until("the memory", || held(&worker) < most / 4.0);
    println!("{before} bytes were held, and {} {took:?} after it was cancelled", held(&worker));
    client.expect("same");
    client.finish();
    until("all of the memory", || held(&worker) == 0.0);
}
