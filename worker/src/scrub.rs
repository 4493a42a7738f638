//! When a model's weights are compared with what was loaded: while nobody computes with them, a slice at a time.

use std::time::{Duration, Instant};

use ids::ModelKey;
use kernels::Look;

use crate::metrics;

/// Compares the next slice of a model's weights, in about a millisecond. What it cannot do it says in a sentence.
pub type Scrub = Box<dyn FnMut() -> Result<Look, String>>;

/// How often slices are looked at.
pub struct Pace {
    model: String,
    scrub: Scrub,
    due: Instant,
}

/// How much longer it rests than it looked, so that it takes a fiftieth of a core; how long at least, and how long when a round
/// is over.
const REST: u32 = 50;
const SHORTEST: Duration = Duration::from_millis(20);
const ROUND: Duration = Duration::from_secs(60);

impl Pace {
    pub fn new(model: &ModelKey, scrub: Scrub) -> Self {
        metrics::scrub(model);
        Self { model: model.to_string(), scrub, due: Instant::now() }
    }

    /// Returns when the next slice may be looked at.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Looks at a slice, and returns how it is not what it was.
    pub fn look(&mut self) -> Option<String> {
        let began = Instant::now();
        let look = (self.scrub)();
        let took = began.elapsed();
        let (rest, outcome) = match &look {
            Ok(Look::Same) => ((took * REST).max(SHORTEST), None),
            Ok(Look::Whole) => (ROUND, Some("same")),
            Ok(Look::Changed(_)) => (ROUND, Some("changed")),
            Err(why) => {
                tracing::warn!(model = self.model, why, "weights could not be compared with what was loaded");
                (ROUND, None)
            }
        };
        if let Some(outcome) = outcome {
            metrics::SCRUBS.with(&[&self.model, outcome]).one();
        }
        self.due = Instant::now() + rest;
        match look {
            Ok(Look::Changed(why)) => Some(why),
            _ => None,
        }
    }
}
