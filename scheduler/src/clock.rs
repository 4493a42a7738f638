//! What time it is: of day, and since the start.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time of day, which is for records, and for windows, which people give as times of day. Nothing else that happens
/// within a process waits for it, since it may jump: that is what [`Pace`] is for.
pub trait Clock: Send + Sync + 'static {
    /// Returns the milliseconds since the Unix epoch.
    fn unix_millis(&self) -> u64;
}

/// The clock of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Counts the time in which this process ran, by the monotonic clock.
///
/// A process that was stopped, or whose machine slept, has heard nobody meanwhile; nobody is late for that.
pub struct Pace {
    last: Instant,
    passed: Duration,
}

/// The longest time between two steps that counts as such.
const STRIDE: Duration = Duration::from_secs(1);

impl Pace {
    pub fn start() -> Self {
        Self { last: Instant::now(), passed: Duration::ZERO }
    }

    /// Goes on to the present. To be called several times a second.
    pub fn step(&mut self) {
        let now = Instant::now();
        self.passed += now.saturating_duration_since(self.last).min(STRIDE);
        self.last = now;
    }

    /// Returns the time that had passed at the last step.
    pub fn passed(&self) -> Duration {
        self.passed
    }
}

/// A clock of day that does not jump ahead: where the system's did, it goes on at the pace that it had.
pub struct Steady {
    clock: Arc<dyn Clock>,
    began: (u64, Instant),
}

impl Steady {
    pub fn start(clock: Arc<dyn Clock>) -> Self {
        let began = (clock.unix_millis(), Instant::now());
        Self { clock, began }
    }

    pub fn unix_millis(&self) -> u64 {
        let (then, began) = self.began;
        let passed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.clock.unix_millis().min(then.saturating_add(passed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Set(AtomicU64);

    impl Clock for Set {
        fn unix_millis(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn b5_a_clock_that_is_set_ahead_makes_nothing_old() {
        let set = Arc::new(Set(AtomicU64::new(1_000)));
        let steady = Steady::start(Arc::clone(&set) as Arc<dyn Clock>);
        tokio::time::advance(Duration::from_secs(5)).await;
        set.0.store(8 * 24 * 3_600_000, Ordering::Relaxed);
        assert_eq!(steady.unix_millis(), 6_000);
        set.0.store(500, Ordering::Relaxed);
        assert_eq!(steady.unix_millis(), 500, "one that is set back makes nothing old either");
    }

    #[tokio::test(start_paused = true)]
    async fn a8_time_in_which_the_process_was_stopped_does_not_count() {
        let mut pace = Pace::start();
        for _ in 0..4 {
            tokio::time::advance(Duration::from_millis(500)).await;
            pace.step();
        }
        tokio::time::advance(Duration::from_secs(3_600)).await;
        pace.step();
        assert_eq!(pace.passed(), Duration::from_secs(3));
    }
}
