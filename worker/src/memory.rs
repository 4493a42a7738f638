//! What this machine, or the container that this process is in, has to give.

use sysinfo::System;

/// Returns about how many bytes this process could still take without anybody's memory running out.
pub fn free() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    // What a container has read of files it would give back.
    let container = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    system.available_memory().min(container.unwrap_or(u64::MAX))
}

/// Returns how many bytes there are, of the machine or of the container.
pub fn all() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    let container = system.cgroup_limits().map(|limits| limits.total_memory);
    system.total_memory().min(container.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_something_and_no_more_than_the_machine_has() {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        let all: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        let free = free();
        assert!(free > 1 << 20 && free <= self::all(), "{free} bytes of {all} KiB");
        assert!(self::all() <= all << 10);
    }
}
