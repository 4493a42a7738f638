//! The hosted models and how far each is, as gateways show them.

use std::path::PathBuf;
use std::sync::Arc;

use ids::ModelKey;
use serde::{Deserialize, Serialize};

use crate::ROOT;
use crate::error::Error;
use crate::metadata::{MetadataStore, Txn, Watch};

/// The model records of a metadata store.
#[derive(Clone)]
pub struct Models {
    store: Arc<dyn MetadataStore>,
}

/// One hosted model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

    /// Returns all models, in the order of their names.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self) -> Result<Vec<ModelRecord>, Error> {
        let entries = self.store.list(&prefix()).await?;
        entries.iter().map(|entry| decode(&entry.key, &entry.value)).collect()
    }

    /// Returns one model.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn get(&self, key: &ModelKey) -> Result<Option<ModelRecord>, Error> {
        let entry = self.store.get(&format!("{}{key}", prefix())).await?;
        entry.map(|entry| decode(&entry.key, &entry.value)).transpose()
    }

    /// Writes one model; how far it is loaded only relaxed, for nothing is loaded after a crash.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn put(&self, record: &ModelRecord) -> Result<(), Error> {
        let key = format!("{}{}", prefix(), record.key);
        let value = postcard::to_stdvec(record)
            .map_err(|error| Error::Unreadable { key: key.clone(), reason: error.to_string() })?;
        let txn = Txn::default().put(key, value);
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
        self.store.watch(&prefix()).await
    }
}

fn prefix() -> String {
    format!("{ROOT}models/")
}

fn decode(key: &str, bytes: &[u8]) -> Result<ModelRecord, Error> {
    let record = || -> Result<ModelRecord, postcard::Error> {
        let ((key, folder, dtype, state), added) = postcard::take_from_bytes(bytes)?;
        // Records of earlier versions end before the device.
        let device = if added.is_empty() { None } else { postcard::from_bytes(added)? };
        Ok(ModelRecord { key, folder, dtype, state, device })
    };
    record().map_err(|error| Error::Unreadable { key: key.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_earlier_versions_are_read() {
        let record = ModelRecord {
            key: ModelKey::new("o/n", None),
            folder: "/m".into(),
            dtype: Some("bfloat16".into()),
            state: ModelState::Loading { fraction: 0.5 },
            device: Some("cuda:1".into()),
        };
        assert_eq!(decode("k", &postcard::to_stdvec(&record).unwrap()).unwrap(), record);
        let earlier = postcard::to_stdvec(&(&record.key, &record.folder, &record.dtype, &record.state)).unwrap();
        assert_eq!(decode("k", &earlier).unwrap(), ModelRecord { device: None, ..record });
        assert!(decode("k", &earlier[..3]).is_err());
    }
}
