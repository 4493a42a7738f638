//! What hosted models are to be, as those say who host them: gateways on somebody's behalf, and schedulers of their
//! settings. What becomes of that is in [`crate::Models`], which the scheduler writes.

use std::path::PathBuf;
use std::sync::Arc;

use ids::ModelKey;
use placement::{Model, Replicas};
use proto::{Message, stored};

use crate::ROOT;
use crate::error::Error;
use crate::messages;
use crate::metadata::{Entry, MetadataStore, Watch};
use crate::stored::{decode, unreadable};
use crate::txn::Txn;

/// The specifications of a metadata store.
#[derive(Clone)]
pub struct Specifications {
    store: Arc<dyn MetadataStore>,
}

/// What a model is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specification {
    pub key: ModelKey,
    /// The folder with `config.json`, the tokenizer and the weights, as workers and gateways find it.
    pub folder: PathBuf,
    /// The parameters' type in memory as Hugging Face writes it (`float32`); `None` leaves the configuration's.
    pub dtype: Option<String>,
    /// Where it computes (`cpu`, `cuda:1`); `None` is for whoever places it.
    pub device: Option<String>,
    /// How many processes hold a replica, each a part of its weights; at least 1. They are on one machine where that has room
    /// for all of them.
    pub ranks: u32,
    /// Where its layers are while they are not computed: `stream` leaves them where they are kept and brings them when a pass
    /// comes to them; `None` is on the device.
    pub residency: Option<String>,
    /// Replicas that are kept loaded.
    pub replicas_min: u32,
    /// Replicas that there are at most; `None` is as many as there is room for that nobody else needs.
    pub replicas_max: Option<u32>,
    /// Whether it never leaves for another model.
    pub pinned: bool,
    /// Whether it is loaded in the times for which it is booked, and at no other time.
    pub windows_only: bool,
    /// Whether the scheduler's settings name it.
    pub configured: bool,
    /// When it was last changed, in milliseconds since 1970.
    pub changed_at: u64,
}

/// Processes that may hold one model.
pub const MOST_RANKS: u32 = 64;

/// How weights can be asked to be kept.
const DTYPES: [&str; 4] = ["float32", "bfloat16", "int8", "nf4"];

impl Specification {
    /// Makes one of a model that takes what room there is.
    #[must_use]
    pub fn new(key: ModelKey, folder: PathBuf) -> Self {
        Self {
            key,
            folder,
            dtype: None,
            device: None,
            ranks: 1,
            residency: None,
            replicas_min: 0,
            replicas_max: None,
            pinned: false,
            windows_only: false,
            configured: false,
            changed_at: 0,
        }
    }

    /// Returns what is wished for, as decisions about where models are see it. Of what it takes nothing is known here.
    #[must_use]
    pub fn wished(&self) -> Model {
        Model {
            device: self.device.clone(),
            ranks: self.ranks as usize,
            replicas: Replicas { min: self.replicas_min as usize, max: self.replicas_max.map(|max| max as usize) },
            pinned: self.pinned,
            windows_only: self.windows_only,
            ..Model::default()
        }
    }

    /// Says what cannot be as it is specified.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn check(&self) -> Result<(), String> {
        if let Some(dtype) = self.dtype.as_deref().filter(|dtype| !DTYPES.contains(dtype)) {
            return Err(format!("dtype must be float32, bfloat16, int8 or nf4, not {dtype}"));
        }
        if let Some(device) = self.device.as_deref().filter(|device| !is_device(device)) {
            return Err(format!("device must be cpu, cuda or cuda:N, not {device}"));
        }
        if !(1..=MOST_RANKS).contains(&self.ranks) {
            return Err(format!("ranks must be a number from 1 to {MOST_RANKS}, not {}", self.ranks));
        }
        match self.residency.as_deref() {
            None | Some("resident") => {}
            Some("stream") if self.ranks > 1 => {
                return Err("residency=stream is for a model of one rank; leave ranks out, or residency".into());
            }
            Some("stream") if matches!(self.dtype.as_deref(), Some("int8" | "nf4")) => {
                return Err(
                    "residency=stream is for weights as numbers; leave dtype=int8 or nf4 out, or residency".into()
                );
            }
            Some("stream") => {}
            Some(other) => return Err(format!("residency must be resident or stream, not {other}")),
        }
        if self.windows_only && (self.pinned || self.replicas_min > 0) {
            return Err(
                "a model that is there for its windows only cannot be pinned, nor keep replicas outside of them; \
                        `vitrine model window add --replicas` says how many it has in one"
                    .into(),
            );
        }
        match self.replicas_max {
            Some(0) => Err("replicas must be at least 1; a model that nobody is to use is evicted".into()),
            Some(max) if max < self.replicas_min => Err(format!(
                "replicas cannot be {max} at most and {} at least; the most must not be less",
                self.replicas_min
            )),
            _ => Ok(()),
        }
    }

    /// Returns whether its layers are brought when a pass comes to them.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.residency.as_deref() == Some("stream")
    }

    /// Returns whether a model that was loaded by another one is the very same.
    #[must_use]
    pub fn loads_as(&self, other: &Self) -> bool {
        (&self.folder, &self.dtype, &self.device, self.ranks, self.is_streamed())
            == (&other.folder, &other.dtype, &other.device, other.ranks, other.is_streamed())
    }
}

impl Specifications {
    /// Views the specifications of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// Returns all of them, in the order of their models' names. One that this version cannot read is left out.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self) -> Result<Vec<Specification>, Error> {
        let entries = self.store.list(&path("")).await?;
        let readable = |entry| read(entry).inspect_err(|error| tracing::warn!(%error, "skipped")).ok();
        Ok(entries.iter().filter_map(readable).collect())
    }

    /// Returns one.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn get(&self, key: &ModelKey) -> Result<Option<Specification>, Error> {
        self.store.get(&path(&key.to_string())).await?.as_ref().map(read).transpose()
    }

    /// Changes one by what `change` makes of it, however many do that at once; `None` leaves it. Returns it as it is now,
    /// if there is one.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn change(
        &self,
        key: &ModelKey,
        change: impl Fn(Option<Specification>) -> Option<Specification> + Send + Sync,
    ) -> Result<Option<Specification>, Error> {
        let path = path(&key.to_string());
        loop {
            let found = self.store.get(&path).await?;
            let before = found.as_ref().map(read).transpose()?;
            let Some(after) = change(before.clone()) else { return Ok(before) };
            let txn = match &found {
                Some(entry) => Txn::default().unchanged(&path, entry.revision),
                None => Txn::default().absent(&path),
            };
            if self.store.txn(txn.put(&path, write(&after))).await?.committed().is_some() {
                return Ok(Some(after));
            }
        }
    }

    /// Removes one: its model is hosted no longer.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn remove(&self, key: &ModelKey) -> Result<(), Error> {
        self.store.delete(&path(&key.to_string())).await
    }

    /// Watches for changes: on each event, list again.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn watch(&self) -> Result<Watch, Error> {
        self.store.watch(&path(""), None).await
    }
}

/// Says whether a text names a device.
fn is_device(name: &str) -> bool {
    let index = |index: &str| index.parse::<u8>().is_ok();
    matches!(name, "cpu" | "cuda") || name.strip_prefix("cuda:").is_some_and(index)
}

fn path(key: &str) -> String {
    format!("{ROOT}specifications/{key}")
}

fn write(specification: &Specification) -> Vec<u8> {
    let message = stored::Specification {
        model: Some(messages::model(&specification.key)),
        folder: specification.folder.display().to_string(),
        dtype: specification.dtype.clone(),
        device: specification.device.clone(),
        replicas_min: specification.replicas_min,
        replicas_max: specification.replicas_max,
        pinned: specification.pinned,
        configured: specification.configured,
        changed_at: specification.changed_at,
        ranks: (specification.ranks > 1).then_some(specification.ranks),
        windows_only: specification.windows_only,
        residency: specification.residency.clone(),
    };
    message.encode_to_vec()
}

fn read(entry: &Entry) -> Result<Specification, Error> {
    let message = decode::<stored::Specification>(entry)?;
    Ok(Specification {
        key: messages::read_model(message.model.ok_or_else(|| unreadable(entry, "it names no model"))?),
        folder: message.folder.into(),
        dtype: message.dtype,
        device: message.device,
        replicas_min: message.replicas_min,
        replicas_max: message.replicas_max,
        pinned: message.pinned,
        configured: message.configured,
        changed_at: message.changed_at,
        ranks: message.ranks.unwrap_or(1).max(1),
        windows_only: message.windows_only,
        residency: message.residency,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn a_specification_comes_back_as_it_was_written_and_changes_are_made_of_what_there_is() {
        let specifications = Specifications::new(Arc::new(MemoryStore::new(1)));
        let key = ModelKey::new("o/n", Some("v1".into()));
        let one = Specification {
            dtype: Some("bfloat16".into()),
            device: Some("cuda:1".into()),
            ranks: 2,
            replicas_min: 1,
            replicas_max: Some(3),
            pinned: true,
            windows_only: true,
            residency: Some("resident".into()),
            changed_at: 5,
            ..Specification::new(key.clone(), "/m".into())
        };
        assert_eq!(specifications.get(&key).await.unwrap(), None);
        assert_eq!(specifications.change(&key, |before| before).await.unwrap(), None);
        specifications.change(&key, |_| Some(one.clone())).await.unwrap();
        assert_eq!(specifications.list().await.unwrap(), std::slice::from_ref(&one));
        let add =
            |before: Option<Specification>| before.map(|it| Specification { replicas_min: it.replicas_min + 1, ..it });
        let (left, right) = tokio::join!(specifications.change(&key, add), specifications.change(&key, add));
        assert!(left.is_ok() && right.is_ok());
        assert_eq!(specifications.get(&key).await.unwrap().unwrap().replicas_min, 3);
        specifications.remove(&key).await.unwrap();
        assert_eq!(specifications.list().await.unwrap(), []);
    }
}
