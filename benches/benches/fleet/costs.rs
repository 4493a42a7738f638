//! The processor's time that each part has used.

use std::collections::BTreeMap;
use std::fs;

use crate::roles::Roles;

/// Seconds by part.
pub struct Costs(BTreeMap<&'static str, f64>);

impl Costs {
    /// Reads what has been used so far.
    pub fn of(roles: &Roles) -> Self {
        let own = ("load generator", std::process::id());
        Self(roles.processes().into_iter().chain([own]).map(|(part, process)| (part, seconds(process))).collect())
    }

    /// Returns what was used since.
    pub fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().map(|(part, seconds)| (*part, seconds - before.0[part])).collect())
    }

    pub fn all(&self) -> f64 {
        self.0.values().sum()
    }

    pub fn parts(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter().map(|(part, seconds)| (*part, *seconds))
    }
}

/// Returns the processor's time of a process and all its threads.
fn seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Behind the name, which may hold anything, `utime` and `stime` are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
