//! The place at which this process ends.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Point;

/// Names the place, and at which passing of it the process ends: `assignment-committed:3`.
const VARIABLE: &str = "VITRINE_FAILPOINT";

static ARMED: OnceLock<Armed> = OnceLock::new();

struct Armed {
    point: Point,
    /// Passings before that one.
    left: AtomicU64,
}

pub fn arm() -> Result<(), String> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(()) };
    let armed = parse(&text).ok_or_else(|| {
        format!("{VARIABLE} is {text:?}, and must be the name of a failpoint and a number from 1, such as accepted:1")
    })?;
    // Who arms twice keeps what was first.
    let _ = ARMED.set(armed);
    Ok(())
}

pub fn pass(point: Point) {
    let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
    // Whoever takes the last passing ends the process; it may be any of several threads.
    if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        // Nobody is left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "failpoint {} ends this process", point.name());
        std::process::abort();
    }
}

fn parse(text: &str) -> Option<Armed> {
    let (name, passing) = text.split_once(':')?;
    let left = passing.parse().ok().filter(|passing| *passing > 0)?;
    let point = Point::ALL.into_iter().find(|point| point.name() == name)?;
    Some(Armed { point, left: AtomicU64::new(left) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_place_that_there_is_and_a_number_from_one_arm_a_process() {
        let armed = parse("accepted:3").unwrap();
        assert_eq!((armed.point, armed.left.into_inner()), (Point::Accepted, 3));
        for bad in ["", "accepted", "accepted:", "accepted:0", "accepted:-1", "acepted:1", "accepted:1:1"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
