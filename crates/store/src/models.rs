//! The hosted models and how far each is, as gateways show them.

use std::path::PathBuf;
use std::sync::Arc;

use ids::ModelKey;

use crate::ROOT;
use crate::error::Error;
use crate::metadata::{MetadataStore, Watch};
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

    /// Watches for changes: on each event, list again.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn watch(&self) -> Result<Watch, Error> {
        self.store.watch(&prefix(), None).await
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
        };
        let all = [
            record("a/failed", ModelState::Failed("why".into())),
            record("b/loading", ModelState::Loading { fraction: 0.5 }),
            record("c/ready", ModelState::Ready),
            ModelRecord { dtype: None, device: None, ..record("d/waiting", ModelState::Waiting) },
        ];
        for record in &all {
            models.put(record).await.unwrap();
            assert_eq!(models.get(&record.key).await.unwrap().as_ref(), Some(record));
        }
        store.put(&format!("{}b/broken", prefix()), vec![0xff; 3].into()).await.unwrap();
        assert_eq!(models.list().await.unwrap(), all);
        assert!(models.get(&ModelKey::new("b/broken", None)).await.is_err());
    }
}
