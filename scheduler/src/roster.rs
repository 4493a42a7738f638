//! The names of the workers that may have jobs, for the next scheduler.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ids::WorkerId;
use store::{Error, MetadataStore, ROOT, Txn};

/// The workers that were let in and are not known to be gone.
///
/// That a job was given out is written relaxed, so a crash may undo it: the job is queued again, while somebody runs it.
/// That a worker is there who may is durable before anything is given to it. The next scheduler gives out what it finds
/// in the queue only when all of these have come back, or had the time to.
pub struct Roster {
    store: Arc<dyn MetadataStore>,
    names: BTreeSet<WorkerId>,
}

impl Roster {
    /// Reads what an earlier scheduler wrote.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn load(store: Arc<dyn MetadataStore>) -> Result<Self, Error> {
        let entries = store.list(&key("")).await?;
        let names = entries.iter().filter_map(|entry| entry.key.strip_prefix(&key(""))).map(WorkerId::new).collect();
        Ok(Self { store, names })
    }

    /// Returns whether somebody may have what is found in the queue: not where the store forgets nothing.
    pub fn has_doubts(&self) -> bool {
        self.store.limits().forgets_relaxed
    }

    pub fn names(&self) -> &BTreeSet<WorkerId> {
        &self.names
    }

    /// Notes a worker. Nothing may be given to it before this has returned.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn enter(&mut self, worker: &WorkerId) -> Result<(), Error> {
        if !self.names.contains(worker) {
            self.store.put(&key(worker.as_str()), Bytes::new()).await?;
            self.names.insert(worker.clone());
        }
        Ok(())
    }

    /// Notes that a worker is waited for no longer.
    pub async fn leave(&mut self, worker: &WorkerId) {
        if self.names.remove(worker)
            && let Err(error) = self.store.txn(Txn::default().delete(key(worker.as_str())).relaxed()).await
        {
            // The next scheduler waits for it in vain, which costs time and nothing else.
            tracing::debug!(%worker, %error, "a worker that is gone stays on the roster");
        }
    }
}

fn key(worker: &str) -> String {
    format!("{ROOT}scheduler/workers/{worker}")
}
