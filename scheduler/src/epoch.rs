//! The number of a scheduler's start, which none before had.

use store::{Error, MetadataStore, ROOT, Txn, TxnOutcome};

/// Counts this start, durably. Whatever it gives out carries the number, and a worker that has seen a higher one refuses
/// it.
///
/// It is one more than that of the start before, and no less than the time of day, in seconds. Therefore it is new also where
/// the store was set back, to a snapshot of when it had counted fewer.
///
/// # Errors
/// Failures of the store.
pub async fn begin(store: &dyn MetadataStore, unix_millis: u64) -> Result<u64, Error> {
    let key = format!("{ROOT}scheduler/epoch");
    loop {
        let entry = store.get(&key).await?;
        let unreadable = |reason: String| Error::Unreadable { key: key.clone(), reason };
        let last: u64 = match &entry {
            None => 0,
            Some(entry) => std::str::from_utf8(&entry.value)
                .map_err(|error| unreadable(error.to_string()))?
                .parse()
                .map_err(|_| unreadable("it is no number".into()))?,
        };
        let txn = match entry {
            None => Txn::default().absent(&key),
            Some(entry) => Txn::default().unchanged(&key, entry.revision),
        };
        let epoch = (last + 1).max(unix_millis / 1000);
        if let TxnOutcome::Committed(_) = store.txn(txn.put(&key, epoch.to_string())).await? {
            return Ok(epoch);
        }
        // Another one began at this moment, and is the earlier of the two.
    }
}

#[cfg(test)]
mod tests {
    use store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn no_epoch_comes_twice_whatever_the_clock_says_and_whatever_the_store_forgets() {
        let store = MemoryStore::new(1);
        let mut last = 0;
        // Two starts within a second, a clock that is set back, and one that is set right again.
        for millis in [5_000, 5_900, 6_100, 2_000, 2_000, 90_000] {
            let epoch = begin(&store, millis).await.unwrap();
            assert!(epoch > last, "{epoch} came after {last}");
            last = epoch;
        }
        // What a snapshot of the first moment holds.
        let restored = MemoryStore::new(2);
        begin(&restored, 5_000).await.unwrap();
        assert!(begin(&restored, 100_000).await.unwrap() > last);
    }
}
