//! B6: a worker is not ended by what its jobs need together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::{Data, memory};

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
