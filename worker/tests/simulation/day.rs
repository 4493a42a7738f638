//! The time of day, in time that passes only when nobody has anything to do.

use scheduler::Clock;
use tokio::time::Instant;

pub struct Day(pub Instant);

impl Clock for Day {
    fn unix_millis(&self) -> u64 {
        1_800_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}
