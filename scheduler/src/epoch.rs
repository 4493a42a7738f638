//! The number of a scheduler's start, which none before had.

use store::{Error, MetadataStore, ROOT, Txn, TxnOutcome};

/// Counts this start, durably. Whatever it gives out carries the number, and a worker that has seen a higher one refuses
/// it.
///
/// # Errors
/// Failures of the store.
pub async fn begin(store: &dyn MetadataStore) -> Result<u64, Error> {
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
        let epoch = last + 1;
        if let TxnOutcome::Committed(_) = store.txn(txn.put(&key, epoch.to_string())).await? {
            return Ok(epoch);
        }
        // Another one began at this moment, and is the earlier of the two.
    }
}
