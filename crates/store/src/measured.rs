//! A metadata store that counts what is asked of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;

use crate::error::Error;
use crate::lease::Lease;
use crate::metadata::{Entry, Event, Limits, MetadataStore, Page, Range, Revision, Watch};
use crate::metrics;
use crate::txn::{Op, Txn, TxnOutcome};

/// Counts, and passes on.
pub struct Measured {
    store: Arc<dyn MetadataStore>,
}

impl Measured {
    /// Has what is asked of a store counted.
    #[must_use]
    pub fn over(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl MetadataStore for Measured {
    fn limits(&self) -> Limits {
        self.store.limits()
    }

    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error> {
        let entries = measured("read", self.store.read(keys)).await?;
        count_read(entries.iter().flatten());
        Ok(entries)
    }

    async fn range(&self, range: Range) -> Result<Page, Error> {
        let page = measured("range", self.store.range(range)).await?;
        count_read(&page.entries);
        Ok(page)
    }

    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        let written: usize = txns.iter().flat_map(|txn| &txn.ops).map(bytes).sum();
        let outcomes = measured("commit", self.store.commit(txns)).await?;
        metrics::BYTES.with(&["written"]).add(written as u64);
        for outcome in &outcomes {
            let outcome = if outcome.committed().is_some() { "committed" } else { "conflict" };
            metrics::TRANSACTIONS.with(&[outcome]).one();
        }
        Ok(outcomes)
    }

    async fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
        let watch = self.store.watch(prefix, after).await?;
        let count = |event: &Event| {
            if matches!(event, Event::Resync) {
                metrics::RESYNCS.count();
            }
        };
        Ok(watch.inspect(count).boxed())
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        measured("lease", self.store.lease(ttl)).await
    }
}

async fn measured<T>(kind: &str, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let began = Instant::now();
    let answered = asked.await;
    metrics::REQUESTS.with(&[kind]).time(began.elapsed());
    if let Err(error) = &answered {
        metrics::ERRORS.with(&[reason(error)]).one();
    }
    answered
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::Unavailable { maybe_done: true, .. } => "unknown",
        Error::Unavailable { maybe_done: false, .. } => "unavailable",
        Error::NoSpace { .. } => "no_space",
        _ => "other",
    }
}

fn count_read<'a>(entries: impl IntoIterator<Item = &'a Entry>) {
    let bytes: usize = entries.into_iter().map(|entry| entry.value.len()).sum();
    metrics::BYTES.with(&["read"]).add(bytes as u64);
}

fn bytes(op: &Op) -> usize {
    match op {
        Op::Put { value, .. } => value.len(),
        Op::Delete(_) | Op::DeletePrefix(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[tokio::test]
    async fn a_store_that_is_measured_keeps_the_contract() {
        let number = std::sync::atomic::AtomicU64::new(0);
        crate::testing::run_conformance(|| async {
            let seed = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Measured::over(Arc::new(MemoryStore::new(seed)))
        })
        .await;
    }
}
