//! The hosted models and how far each is, as gateways show them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use ids::ModelKey;

use crate::ROOT;
use crate::error::Error;
use crate::metadata::{Entry, MetadataStore, Watch};
use crate::mirror::{Mirror, Unsure};
use crate::stored;
use crate::txn::Txn;

/// The model records of a metadata store.
#[derive(Clone)]
pub struct Models {
    store: Arc<dyn MetadataStore>,
}

/// One hosted model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRecord {
    pub key: ModelKey,
    /// The folder with `config.json`, the tokenizer and the weights.
    pub folder: PathBuf,
    /// The parameters' type in memory as Hugging Face writes it (`float32`); `None` leaves the configuration's.
    pub dtype: Option<String>,
    pub state: ModelState,
    /// Where the model computes (`cpu`, `cuda:1`); `None` leaves it to the worker.
    pub device: Option<String>,
    /// How many processes of one machine hold it, each a part of its weights; at least 1.
    pub ranks: u32,
}

/// How far a model is.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelState {
    /// No worker has it yet.
    Waiting,
    Loading {
        /// From 0 to 1.
        fraction: f32,
    },
    Ready,
    /// It cannot be served; the text says why.
    Failed(String),
}

impl Models {
    /// Views the models of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// Returns all models, in the order of their names. A record that this version cannot read is left out.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self) -> Result<Vec<ModelRecord>, Error> {
        let entries = self.store.list(&prefix()).await?;
        let readable = |entry| stored::read_model(entry).inspect_err(|error| tracing::warn!(%error, "skipped")).ok();
        Ok(entries.iter().filter_map(readable).collect())
    }

    /// Returns one model.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn get(&self, key: &ModelKey) -> Result<Option<ModelRecord>, Error> {
        let entry = self.store.get(&format!("{}{key}", prefix())).await?;
        entry.map(|entry| stored::read_model(&entry)).transpose()
    }

    /// Writes one model; how far it is loaded only relaxed, for nothing is loaded after a crash.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn put(&self, record: &ModelRecord) -> Result<(), Error> {
        let key = format!("{}{}", prefix(), record.key);
        let txn = Txn::default().put(key, stored::model(record));
        let loading = matches!(record.state, ModelState::Loading { .. });
        self.store.txn(if loading { txn.relaxed() } else { txn }).await.map(|_| ())
    }

    /// Removes a model that is hosted no longer.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn remove(&self, key: &ModelKey) -> Result<(), Error> {
        self.store.delete(&format!("{}{key}", prefix())).await
    }

    /// Returns the models as they can be kept in memory.
    #[must_use]
    pub fn shown(&self) -> ShownModels {
        let read =
            |entry: &Entry| stored::read_model(entry).inspect_err(|error| tracing::warn!(%error, "skipped")).ok();
        ShownModels { models: self.clone(), mirror: Mirror::new(Arc::clone(&self.store), &prefix(), read) }
    }

    /// Watches for changes: on each event, list again.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn watch(&self) -> Result<Watch, Error> {
        self.store.watch(&prefix(), None).await
    }
}

/// The models in memory, for who looks with every request. It may lag behind the store by a moment; where that could be
/// longer, and while nobody polls [`ShownModels::keep`], the store is asked.
#[derive(Clone)]
pub struct ShownModels {
    models: Models,
    mirror: Mirror<ModelRecord>,
}

impl ShownModels {
    /// As [`Models::list`].
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self) -> Result<Vec<ModelRecord>, Error> {
        match self.mirror.all() {
            Ok(records) => Ok(records.iter().map(|record| ModelRecord::clone(record)).collect()),
            Err(Unsure) => self.models.list().await,
        }
    }

    /// As [`Models::get`].
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn get(&self, key: &ModelKey) -> Result<Option<ModelRecord>, Error> {
        match self.mirror.get(&format!("{}{key}", prefix())) {
            Ok(record) => Ok(record.map(|record| ModelRecord::clone(&record))),
            Err(Unsure) => self.models.get(key).await,
        }
    }

    /// Keeps it as the store has it, for as long as it is polled.
    pub async fn keep(&self) -> Infallible {
        self.mirror.keep().await
    }
}

fn prefix() -> String {
    format!("{ROOT}models/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn models_come_back_as_they_were_written_and_an_unreadable_one_hides_no_other() {
        let store = Arc::new(MemoryStore::new(1));
        let models = Models::new(store.clone());
        let record = |name: &str, state| ModelRecord {
            key: ModelKey::new(name, None),
            folder: "/m".into(),
            dtype: Some("bfloat16".into()),
            state,
            device: Some("cuda:1".into()),
            ranks: 2,
        };
        let all = [
            record("a/failed", ModelState::Failed("why".into())),
            record("b/loading", ModelState::Loading { fraction: 0.5 }),
            record("c/ready", ModelState::Ready),
            ModelRecord { dtype: None, device: None, ranks: 1, ..record("d/waiting", ModelState::Waiting) },
        ];
        for record in &all {
            models.put(record).await.unwrap();
            assert_eq!(models.get(&record.key).await.unwrap().as_ref(), Some(record));
        }
        store.put(&format!("{}b/broken", prefix()), vec![0xff; 3].into()).await.unwrap();
        assert_eq!(models.list().await.unwrap(), all);
        let broken = ModelKey::new("b/broken", None);
        assert!(models.get(&broken).await.is_err());
        // In memory they are the same, whether or not somebody keeps them there.
        let shown = models.shown();
        for kept in [false, true] {
            assert_eq!(shown.list().await.unwrap(), all);
            for record in &all {
                assert_eq!(shown.get(&record.key).await.unwrap().as_ref(), Some(record));
            }
            assert_eq!(shown.get(&ModelKey::new("b/none", None)).await.unwrap(), None);
            assert!(shown.get(&broken).await.is_err());
            if !kept {
                let keeper = shown.clone();
                tokio::spawn(async move { keeper.keep().await });
                while shown.mirror.all() == Err(Unsure) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
