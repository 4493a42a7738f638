//! Loads a model once, for `benches/compare/load.py`: says in a line of JSON how many seconds that took, how many of all cores'
//! time in the program and in the system, how many bytes of memory the process has then, and how many it had at most.
//!
//!     load FOLDER DTYPE       DTYPE is `float32` or `bfloat16`; on the CPU

use std::path::Path;
use std::time::Instant;

use serde_json::json;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (Some(folder), Some(dtype)) = (arguments.next(), arguments.next()) else { panic!("load FOLDER DTYPE") };
    let dtype = dtype.parse().unwrap_or_else(|error| panic!("{error}"));
    torch::prepare();
    let (before, begun, [user, system]) = (memory("VmRSS"), Instant::now(), times());
    let model = models::load(Path::new(&folder), Some(dtype), models::Device::CPU, &mut |_, _| {});
    let (model, seconds) = (model.unwrap_or_else(|error| panic!("{error}")), begun.elapsed().as_secs_f64());
    let [user, system] = [(0, user), (1, system)].map(|(at, before)| times()[at] - before);
    let (kept, peak) = (memory("VmRSS") - before, memory("VmHWM") - before);
    println!(
        "{}",
        json!({"seconds": seconds, "user": user, "system": system, "kept": kept, "peak": peak, "parameters": model.parameters()})
    );
}

/// Seconds of CPU time of this process so far, in itself and in the system.
fn times() -> [f64; 2] {
    let all = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = all.rsplit(')').next().unwrap();
    // In hundredths of a second, on every Linux.
    let ticks = |at: usize| after.split_whitespace().nth(at).unwrap().parse::<f64>().unwrap() / 100.0;
    [ticks(11), ticks(12)]
}

/// Bytes of this process's memory, as Linux tells them.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}
