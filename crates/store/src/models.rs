//! The hosted models and how far each is, as gateways show them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ids::{ModelKey, TenantId};

use crate::ROOT;
use crate::bookings::Bookings;
use crate::certificates::Certificates;
use crate::error::Error;
use crate::metadata::{Entry, MetadataStore, Watch};
use crate::mirror::{Mirror, Unsure};
use crate::nodes::Nodes;
use crate::specifications::Specifications;
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
    /// How many processes hold a replica; at least 1.
    pub ranks: u32,
    /// What it takes on its device, in bytes; 0 where no worker has looked yet.
    pub bytes: u64,
    /// How long it took to load; zero where it never was.
    pub load_time: Duration,
    /// Replicas that are ready.
    pub replicas: u32,
    /// Why jobs wait for it, where some do and it is ready nowhere.
    pub wait: Option<ModelWait>,
    /// Nodes that keep its weights in memory and have it on no device.
    pub warm: u32,
    /// How long it took to load from weights that were kept; zero where it never was.
    pub warm_time: Duration,
    /// What its weights take that are kept, in bytes; 0 where they never were.
    pub kept_bytes: u64,
    /// Whose jobs alone run, and until when, in milliseconds since 1970.
    pub reservation: Option<(TenantId, u64)>,
}

/// Why a model is not ready that jobs wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelWait {
    /// A clause for the client, about the model: `it is being loaded`.
    pub why: String,
    /// When it is likely to be ready, in milliseconds since 1970, where that can be said.
    pub expected_at: Option<u64>,
}

/// How far a model is.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelState {
    /// No worker has it yet.
    Waiting,
    /// No worker has it, since others have the room or nobody has asked for it for long; it is loaded when somebody does.
    Cold,
    Loading {
        /// From 0 to 1.
        fraction: f32,
    },
    Ready,
    /// It cannot be served; the text says why.
    Failed(String),
}

impl ModelRecord {
    /// Makes the record of a model that no worker has yet.
    #[must_use]
    pub fn waiting(key: ModelKey, folder: PathBuf) -> Self {
        Self {
            key,
            folder,
            dtype: None,
            state: ModelState::Waiting,
            device: None,
            ranks: 1,
            bytes: 0,
            load_time: Duration::ZERO,
            replicas: 0,
            wait: None,
            warm: 0,
            warm_time: Duration::ZERO,
            kept_bytes: 0,
            reservation: None,
        }
    }

    /// Returns what its state is called: `waiting`, `cold`, `warm`, `loading`, `ready` or `failed`. One that is warm is on no
    /// device, and comes back from the memory of a node.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match &self.state {
            ModelState::Waiting => "waiting",
            ModelState::Cold if self.warm > 0 => "warm",
            ModelState::Cold => "cold",
            ModelState::Loading { .. } => "loading",
            ModelState::Ready => "ready",
            ModelState::Failed(_) => "failed",
        }
    }
}

impl Models {
    /// Views the models of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// Returns what they are to be.
    #[must_use]
    pub fn specifications(&self) -> Specifications {
        Specifications::new(Arc::clone(&self.store))
    }

    /// Returns what they are booked for.
    #[must_use]
    pub fn bookings(&self) -> Bookings {
        Bookings::new(Arc::clone(&self.store))
    }

    /// Returns where they are.
    #[must_use]
    pub fn nodes(&self) -> Nodes {
        Nodes::new(Arc::clone(&self.store))
    }

    /// Returns the certificates of those who serve and schedule.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        Certificates::new(Arc::clone(&self.store))
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

    /// Writes a model that no scheduler has seen, if there is none of its name: jobs for it may come at once.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn announce(&self, record: &ModelRecord) -> Result<(), Error> {
        self.store.create(&format!("{}{}", prefix(), record.key), stored::model(record).into()).await.map(|_| ())
    }

    /// Removes a model that is hosted no longer.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn remove(&self, key: &ModelKey) -> Result<(), Error> {
        let txn = Txn::default().delete(format!("{}{key}", prefix())).delete(outline(key));
        self.store.txn(txn).await.map(|_| ())
    }

    /// Returns what a worker told of a model's modules when it first had it, encoded as the worker did.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn outline(&self, key: &ModelKey) -> Result<Option<Bytes>, Error> {
        Ok(self.store.get(&outline(key)).await?.map(|entry| entry.value))
    }

    /// Writes what a worker told of a model's modules; relaxed, for it is told again whenever a worker comes.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn put_outline(&self, key: &ModelKey, encoded: Bytes) -> Result<(), Error> {
        self.store.txn(Txn::default().put(outline(key), encoded).relaxed()).await.map(|_| ())
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
    /// Returns them as the store has them.
    #[must_use]
    pub fn stored(&self) -> &Models {
        &self.models
    }

    /// Returns a model as it is shown in memory, without asking the store.
    #[must_use]
    pub fn seen(&self, key: &ModelKey) -> Option<ModelRecord> {
        let shown = self.mirror.get(&format!("{}{key}", prefix())).ok().flatten();
        shown.map(|record| ModelRecord::clone(&record))
    }

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

/// Where a model's outline is: by itself, for records of models are read and written all the time.
fn outline(key: &ModelKey) -> String {
    format!("{ROOT}outlines/{key}")
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
            dtype: Some("bfloat16".into()),
            state,
            device: Some("cuda:1".into()),
            bytes: 7,
            load_time: Duration::from_secs(3),
            replicas: 2,
            ..ModelRecord::waiting(ModelKey::new(name, None), "/m".into())
        };
        let all = [
            record("a/failed", ModelState::Failed("why".into())),
            record("b/loading", ModelState::Loading { fraction: 0.5 }),
            record("c/ready", ModelState::Ready),
            ModelRecord { dtype: None, device: None, ..record("d/waiting", ModelState::Waiting) },
            ModelRecord {
                wait: Some(ModelWait { why: "it waits".into(), expected_at: Some(9) }),
                warm: 1,
                warm_time: Duration::from_millis(5),
                kept_bytes: 6,
                reservation: Some((TenantId::new("lab"), 8)),
                ..record("e/cold", ModelState::Cold)
            },
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
