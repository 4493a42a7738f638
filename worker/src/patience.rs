//! Trying again what may go better in a moment.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use store::Error;

/// The waits between attempts, from the first to the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Tries until it is done or fails for good, and for as long as `limit` where the store cannot be reached.
///
/// # Errors
/// Those of the last attempt.
pub async fn until_reached<T, F: Future<Output = Result<T, Error>>>(
    limit: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error> {
    let waits = ExponentialBuilder::default().with_min_delay(WAITS.0).with_max_delay(WAITS.1).with_jitter();
    for wait in waits.without_max_times().with_total_delay(Some(limit)).build() {
        match attempt().await {
            Err(error @ Error::Unavailable { .. }) => {
                tracing::warn!(%error, again_in = ?wait, "the object store does not answer");
                tokio::time::sleep(wait).await;
            }
            ended => return ended,
        }
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn away() -> Error {
        Error::Unavailable { maybe_done: true, reason: "it is away".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_reached_is_tried_again_and_what_fails_is_not() {
        let mut tries = 0;
        let reached = until_reached(Duration::from_secs(60), || {
            tries += 1;
            std::future::ready(if tries < 5 { Err(away()) } else { Ok(tries) })
        });
        assert_eq!(reached.await.unwrap(), 5);
        let mut tries = 0;
        let damaged = until_reached(Duration::from_secs(60), || {
            tries += 1;
            std::future::ready(Err::<(), _>(Error::Damaged("o".into())))
        });
        assert!(matches!(damaged.await, Err(Error::Damaged(_))));
        assert_eq!(tries, 1);
        let began = Instant::now();
        let never = until_reached(Duration::from_secs(60), || std::future::ready(Err::<(), _>(away()))).await;
        assert!(matches!(never, Err(Error::Unavailable { .. })));
        assert!((50..=60).contains(&began.elapsed().as_secs()), "it was tried for {:?}", began.elapsed());
    }
}
