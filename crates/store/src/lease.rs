//! Leases: what lasts only while somebody keeps it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::Error;

/// Names a lease in the store that granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease that is being kept. Dropping it gives it back, and its entries go.
///
/// It is renewed after three tenths of its time. Where two thirds have passed since the last renewal that is known to
/// have counted was asked for, it is given up, while the store still has it: who watches [`Lease::lost`] stops before
/// another can begin. The clock is monotonic, and wrong only by how much faster the store's runs.
pub struct Lease {
    id: LeaseId,
    kept: Arc<Kept>,
    stop: DropGuard,
    keeper: JoinHandle<()>,
}

struct Kept {
    lost: CancellationToken,
    until: Mutex<Instant>,
}

/// How an implementation renews one of its leases.
#[async_trait]
pub(crate) trait Renewal: Send + Sync + 'static {
    /// Renews it. `false` when there is no such lease any more.
    async fn renew(&self) -> Result<bool, Error>;

    /// Ends it, as far as that is possible.
    async fn revoke(&self);
}

impl Lease {
    /// Keeps a lease that was granted after `asked`.
    pub(crate) fn keep(id: LeaseId, ttl: Duration, asked: Instant, renewal: impl Renewal) -> Self {
        let stop = CancellationToken::new();
        let kept = Arc::new(Kept { lost: CancellationToken::new(), until: Mutex::new(asked + ttl * 2 / 3) });
        let keeper = tokio::spawn(keep(Arc::clone(&kept), ttl, asked, stop.clone(), renewal));
        Self { id, kept, stop: stop.drop_guard(), keeper }
    }

    /// Returns the name to put entries under.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Returns what is cancelled when the lease is lost.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.kept.lost.clone()
    }

    /// Says by the clock whether the lease is still to be relied on, also where nothing else has run meanwhile.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.kept.lost.is_cancelled() && Instant::now() < self.kept.until()
    }

    /// Gives the lease back, and waits until that is done or given up.
    pub async fn revoke(self) {
        drop(self.stop);
        // The keeper does not panic, and nobody else ends it.
        let _ = self.keeper.await;
    }
}

impl Kept {
    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

async fn keep(kept: Arc<Kept>, ttl: Duration, asked: Instant, stop: CancellationToken, renewal: impl Renewal) {
    let pause = ttl * 3 / 10;
    let mut next = asked + pause;
    loop {
        let until = kept.until();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = sleep_until(next.min(until)) => {}
        }
        let asked = Instant::now();
        let renewed = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // One that is not answered soon is asked again, perhaps of another member.
            renewed = timeout_at(until.min(asked + pause / 2), renewal.renew()) => renewed,
        };
        match renewed {
            Ok(Ok(true)) => {
                kept.extend(asked + ttl * 2 / 3);
                next = asked + pause;
            }
            Ok(Err(_)) | Err(_) if Instant::now() < until => next = Instant::now() + pause / 6,
            // It is gone, or so nearly that nobody may rely on it.
            Ok(Ok(false) | Err(_)) | Err(_) => break,
        }
    }
    kept.lost.cancel();
    renewal.revoke().await;
}
