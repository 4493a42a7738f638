//! What Linux says of this process, under the names that Prometheus' own libraries give it.

use std::fs;
use std::sync::OnceLock;

use super::{Gauge, SecondsCounter};

pub static RESIDENT: Gauge =
    Gauge::new("process_resident_memory_bytes", "Says how many bytes of memory the process has.", &[]);
pub static PROCESSOR: SecondsCounter = SecondsCounter::new(
    "process_cpu_seconds_total",
    "Counts the seconds of processors that the process has taken.",
    &[],
);
pub static FILES: Gauge = Gauge::new("process_open_fds", "Says how many files and sockets the process has open.", &[]);
pub static THREADS: Gauge = Gauge::new("process_threads", "Says how many threads the process has.", &[]);
pub static STARTED: Gauge =
    Gauge::new("process_start_time_seconds", "Says when the process began, in seconds since 1970.", &[]);

/// Parts of a second in which Linux tells times, on every machine that we know.
const TICKS: f64 = 100.0;
/// Bytes of a page of memory.
const PAGE: f64 = 4096.0;

/// Asks Linux. What it does not say stays as it was.
pub fn look() {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return };
    // The second field is the program's name, in brackets, and may have anything in it.
    let Some((_, rest)) = stat.rsplit_once(") ") else { return };
    let fields: Vec<f64> = rest.split(' ').map(|field| field.trim().parse().unwrap_or(0.0)).collect();
    // Numbered from 3 in proc(5).
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
    PROCESSOR.with(&[]).set((field(14) + field(15)) / TICKS);
    THREADS.set(field(20));
    RESIDENT.set(field(24) * PAGE);
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        #[expect(clippy::cast_precision_loss, reason = "there are few")]
        FILES.set(files.count() as f64);
    }
    if let Some(booted) = *BOOTED.get_or_init(booted) {
        STARTED.set(booted + field(22) / TICKS);
    }
}

/// When the machine started, which takes Linux long to tell: it counts all interrupts for it.
static BOOTED: OnceLock<Option<f64>> = OnceLock::new();

fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}
