//! A metadata store in memory whose disk a test can fail, and whose machine it can crash.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use store::{Compare, Durability, Entry, Error, Event, MetadataStore, Op, Revision, Txn, TxnOutcome, Watch};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    revision: Revision,
    entries: BTreeMap<String, (Bytes, Revision)>,
    /// What a crash leaves.
    synced: BTreeMap<String, (Bytes, Revision)>,
    watches: Vec<(String, mpsc::UnboundedSender<Event>)>,
    faults: Vec<Fault>,
}

/// What happens to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written.
    Refused,
    /// It is written, and nobody is told.
    Unheard,
}

impl Memory {
    /// Lets the next commits fail.
    pub fn fail(&self, faults: &[Fault]) {
        self.lock().faults.extend(faults.iter().rev());
    }

    /// Undoes what was not synced. Whoever watched hears no more.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.entries = state.synced.clone();
        state.watches.clear();
        state.faults.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, txn: &Txn) -> TxnOutcome {
        let holds = txn.compares.iter().all(|compare| match compare {
            Compare::Absent(key) => !self.entries.contains_key(key),
            Compare::Unchanged(key, revision) => self.entries.get(key).is_some_and(|(_, now)| now == revision),
        });
        if !holds {
            return TxnOutcome::Conflict;
        }
        self.revision += 1;
        let revision = self.revision;
        for op in &txn.ops {
            let event = match op.clone() {
                Op::Put(key, value) => {
                    self.entries.insert(key.clone(), (value.clone(), revision));
                    Event::Put(Entry { key, value, revision })
                }
                Op::Delete(key) => {
                    if self.entries.remove(&key).is_none() {
                        continue;
                    }
                    Event::Delete { key, revision }
                }
            };
            self.watches
                .retain(|(prefix, watch)| !event.key().starts_with(prefix) || watch.send(event.clone()).is_ok());
        }
        if txn.durability == Durability::Durable {
            self.synced = self.entries.clone();
        }
        TxnOutcome::Committed(revision)
    }
}

#[async_trait::async_trait]
impl MetadataStore for Memory {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let state = self.lock();
        let entry = state.entries.get(key).cloned();
        Ok(entry.map(|(value, revision)| Entry { key: key.to_owned(), value, revision }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let state = self.lock();
        let under = state.entries.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let entry = |(key, (value, revision)): (&String, &(Bytes, Revision))| Entry {
            key: key.clone(),
            value: value.clone(),
            revision: *revision,
        };
        Ok(under.map(entry).collect())
    }

    async fn txns(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        if txns.is_empty() {
            return Ok(Vec::new());
        }
        let mut state = self.lock();
        let fault = state.faults.pop();
        if fault == Some(Fault::Refused) {
            return Err(Error::Closed);
        }
        let outcomes = txns.iter().map(|txn| state.apply(txn)).collect();
        if fault == Some(Fault::Unheard) { Err(Error::Closed) } else { Ok(outcomes) }
    }

    async fn watch(&self, prefix: &str) -> Result<Watch, Error> {
        let (sender, events) = mpsc::unbounded_channel();
        self.lock().watches.push((prefix.to_owned(), sender));
        Ok(UnboundedReceiverStream::new(events).boxed())
    }
}
