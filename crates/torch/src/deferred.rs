//! What blocks of many jobs wait for at one moment, and get computed as one.

use interpreter::Value;
use interpreter::raise::Raise;

use crate::autograd::Asked;
use crate::tensor::Logits;
use crate::together;

/// What a block waits for.
pub enum Deferred {
    Logits(Logits),
    Gradients(Asked),
}

impl Deferred {
    /// Computes what several blocks wait for. The answers are in their order.
    #[must_use]
    pub fn resolve(all: Vec<Self>) -> Vec<Result<Value, Raise>> {
        let (mut logits, mut walks) = (Vec::new(), Vec::new());
        let mut of_logits = Vec::with_capacity(all.len());
        for one in all {
            of_logits.push(matches!(one, Self::Logits(_)));
            match one {
                Self::Logits(one) => logits.push(one),
                Self::Gradients(one) => walks.push(one),
            }
        }
        let (mut logits, mut walks) = (Logits::resolve(logits).into_iter(), together::walk(walks).into_iter());
        let missing = || Err(Raise::runtime_error("what a block waits for did not come"));
        let next = |of_logits| if of_logits { logits.next() } else { walks.next() };
        of_logits.into_iter().map(next).map(|answer| answer.unwrap_or_else(missing)).collect()
    }
}
