//! How many small jobs a second a whole cluster takes through, and what each costs every part: the built gateway and
//! scheduler over a member of etcd, a worker with the toy model, and clients that do as the real one, all on two cores.
//!
//!     make bench ONLY=fleet
//!
//! Reads one JSON object from standard input: `{"vitrine": PATH, "model": REPO_ID, "fields": {…}, "file": PATH, "clients": N,
//! "jobs": N}`, where fields and file are a request as the client sends it. Prints a JSON object a line. With the argument
//! `worker` it is the worker.

mod costs;
mod etcd;
mod load;
mod roles;

use std::io;

use serde_json::{Value as Json, json};

use crate::costs::Costs;
use crate::load::Load;
use crate::roles::Roles;

/// Processors that everything shares.
const CORES: usize = 2;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return roles::work();
    }
    let order: Json = serde_json::from_reader(io::stdin()).unwrap();
    let cores = share_cores();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let roles = runtime.block_on(Roles::start(&order));
    let load = Load::read(&order, &roles);
    // What is done only once is not what a job costs.
    load.run(load.jobs / 10 + load.clients);
    let (before, counted) = (Costs::of(&roles), roles.etcd_counts());
    let ran = load.run(load.jobs);
    let costs = Costs::of(&roles).since(&before);
    let jobs = load.jobs as f64;
    println!(
        "{}",
        json!({
            "what": "jobs", "clients": load.clients, "jobs": load.jobs, "cores": cores,
            "jobs_per_second": jobs / ran.wall, "cpu_ms_per_job": costs.all() * 1000.0 / jobs,
            "accepted_median_ms": ran.accepted(0.5), "accepted_p99_ms": ran.accepted(0.99),
            "ended_median_ms": ran.ended(0.5), "ended_p99_ms": ran.ended(0.99),
        })
    );
    for (part, seconds) in costs.parts() {
        println!("{}", json!({ "what": "cpu", "part": part, "ms_per_job": seconds * 1000.0 / jobs }));
    }
    let counted = roles.etcd_counts().since(&counted);
    println!(
        "{}",
        json!({
            "what": "etcd", "entries_of_its_log_per_job": counted.proposals / jobs, "syncs_per_job": counted.syncs / jobs,
            "transactions_asked_per_job": counted.transactions / jobs, "reads_asked_per_job": counted.ranges / jobs,
        })
    );
}

/// Binds this process, and what it starts, to the first processors that it may use. Returns how many those are.
fn share_cores() -> usize {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let may = sched_getaffinity(None).unwrap();
    let mut chosen = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|cpu| may.is_set(*cpu)).take(CORES).for_each(|cpu| chosen.set(cpu));
    sched_setaffinity(None, &chosen).unwrap();
    chosen.count() as usize
}
