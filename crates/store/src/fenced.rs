//! A store in which only the leader writes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Error;
use crate::lease::Lease;
use crate::metadata::{Entry, Limits, MetadataStore, Page, Range, Revision, Watch};
use crate::txn::{Compare, Txn, TxnOutcome};

/// A [`MetadataStore`] whose every transaction requires that the election is as it was when this process won it. Who has
/// been deposed without knowing is told by [`Error::Deposed`], and nothing of theirs is written.
#[derive(Clone)]
pub struct Fenced {
    store: Arc<dyn MetadataStore>,
    fence: Compare,
}

impl Fenced {
    /// Adds `fence` to whatever is written to `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>, fence: Compare) -> Self {
        Self { store, fence }
    }
}

#[async_trait]
impl MetadataStore for Fenced {
    fn limits(&self) -> Limits {
        let limits = self.store.limits();
        // A comparison of its own takes part in each transaction.
        Limits { txn_ops: limits.txn_ops - 1, txn_bytes: limits.txn_bytes - self.fence.key().len(), ..limits }
    }

    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error> {
        self.store.read(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, Error> {
        self.store.range(range).await
    }

    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        let fenced = txns.into_iter().map(|txn| txn.when(self.fence.clone())).collect();
        let mut outcomes = self.store.commit(fenced).await?;
        for outcome in &mut outcomes {
            if let TxnOutcome::Conflict(compared) = outcome {
                let election = compared.pop().flatten();
                if !self.fence.holds(election.map(|entry| entry.revision)) {
                    return Err(Error::Deposed);
                }
            }
        }
        Ok(outcomes)
    }

    async fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
        self.store.watch(prefix, after).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        self.store.lease(ttl).await
    }
}
