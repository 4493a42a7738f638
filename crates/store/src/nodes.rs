//! Workers as their scheduler sees them, and which of them are to be given nothing new.

use std::collections::BTreeMap;
use std::sync::Arc;

use ids::{JobId, ModelKey, WorkerId};
use proto::{Message, stored, v1};

use crate::ROOT;
use crate::certificates::CertificateEnd;
use crate::error::Error;
use crate::messages;
use crate::metadata::{Entry, MetadataStore, Watch};
use crate::stored::{decode, unreadable};
use crate::txn::Txn;

/// The nodes of a metadata store.
#[derive(Clone)]
pub struct Nodes {
    store: Arc<dyn MetadataStore>,
}

/// A worker, as its scheduler saw it a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    pub name: WorkerId,
    /// Of its program.
    pub version: String,
    /// Whether it can be reached.
    pub connected: bool,
    /// Jobs that it takes at once.
    pub slots: u32,
    /// Jobs that it has.
    pub jobs: u32,
    /// Bytes for models, by device.
    pub devices: Vec<(String, u64)>,
    pub replicas: Vec<ReplicaRecord>,
    /// Bytes of its memory for weights that are kept, and the models whose are, with what those take.
    pub warm_bytes: u64,
    pub kept: Vec<(ModelKey, u64)>,
    /// Where it holds ranks of models that others serve; empty where it holds none.
    pub rank_address: String,
    /// What it measured of its devices' memory, and how far the jobs are that it has run for a while.
    pub memory: Vec<DeviceMemory>,
    pub progress: Vec<JobProgress>,
    /// The certificates that it uses.
    pub certificates: Vec<CertificateEnd>,
}

/// What lies in the memory of a device, by what it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMemory {
    pub device: String,
    /// Kinds, each with its bytes, in the order in which they are told.
    pub kinds: Vec<(String, u64)>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobProgress {
    pub job: JobId,
    /// Forward passes that are done.
    pub passes: u64,
    /// The layer that the pass under way is at, counted from 1; 0 between passes.
    pub layer: u32,
    /// Layers that the model has.
    pub layers: u32,
}

impl NodeRecord {
    /// Lists the models that it has: those on devices, and those that are warm.
    pub fn models(&self) -> impl Iterator<Item = ReplicaRecord> {
        let on_device = |key: &ModelKey| self.replicas.iter().any(|replica| replica.model == *key);
        let warm = self.kept.iter().filter(move |(key, _)| !on_device(key)).map(|(key, bytes)| ReplicaRecord {
            model: key.clone(),
            stage: "warm".into(),
            device: "memory".into(),
            bytes: *bytes,
            jobs: 0,
            loaded: 0,
        });
        self.replicas.iter().cloned().chain(warm)
    }
}

/// A model on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaRecord {
    pub model: ModelKey,
    /// `loading`, `ready`, `retiring`, `unloading` or `failed`; `rank` of one that another node, or another of its devices, leads.
    pub stage: String,
    pub device: String,
    pub bytes: u64,
    pub jobs: u32,
    /// How much of it is loaded while it is loading, in percent.
    pub loaded: u8,
}

/// That a worker is given nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cordon {
    /// Whether what it has is to leave, too.
    pub drain: bool,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
}

impl Nodes {
    /// Views the nodes of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// Returns all nodes that are known, in the order of their names. One that this version cannot read is left out.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self) -> Result<Vec<NodeRecord>, Error> {
        let entries = self.store.list(&path("")).await?;
        let readable = |entry| read(entry).inspect_err(|error| tracing::warn!(%error, "skipped")).ok();
        Ok(entries.iter().filter_map(readable).collect())
    }

    /// Writes some, and forgets others. A crash may undo it: whoever comes next writes it again.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn note(&self, seen: &[NodeRecord], gone: &[WorkerId]) -> Result<(), Error> {
        let put = seen.iter().map(|node| Txn::default().put(path(node.name.as_str()), write(node)).relaxed());
        let delete = gone.iter().map(|name| Txn::default().delete(path(name.as_str())).relaxed());
        let txns: Vec<Txn> = put.chain(delete).collect();
        if txns.is_empty() { Ok(()) } else { self.store.commit(txns).await.map(|_| ()) }
    }

    /// Returns which workers are given nothing new, those that are not here too.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn cordons(&self) -> Result<BTreeMap<WorkerId, Cordon>, Error> {
        let prefix = cordon("");
        let mut cordons = BTreeMap::new();
        for entry in self.store.list(&prefix).await? {
            let stored::Cordon { drain, since } = decode::<stored::Cordon>(&entry)?;
            cordons.insert(WorkerId::new(entry.key.strip_prefix(&prefix).unwrap_or_default()), Cordon { drain, since });
        }
        Ok(cordons)
    }

    /// Has a worker be given nothing new, or ends that.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn set_cordon(&self, name: &WorkerId, wanted: Option<Cordon>) -> Result<(), Error> {
        let path = cordon(name.as_str());
        match wanted {
            Some(Cordon { drain, since }) => {
                self.store.put(&path, stored::Cordon { drain, since }.encode_to_vec().into()).await
            }
            None => self.store.delete(&path).await,
        }
    }

    /// Watches for changes of [`Nodes::cordons`]: on each event, list again.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn watch_cordons(&self) -> Result<Watch, Error> {
        self.store.watch(&cordon(""), None).await
    }
}

fn path(name: &str) -> String {
    format!("{ROOT}nodes/{name}")
}

fn cordon(name: &str) -> String {
    format!("{ROOT}cordons/{name}")
}

fn write(node: &NodeRecord) -> Vec<u8> {
    let device = |(name, bytes): &(String, u64)| v1::Device { name: name.clone(), model_bytes: *bytes };
    let replica = |replica: &ReplicaRecord| stored::Replica {
        model: Some(messages::model(&replica.model)),
        stage: replica.stage.clone(),
        device: replica.device.clone(),
        bytes: replica.bytes,
        jobs: replica.jobs,
        loaded: f32::from(replica.loaded) / 100.0,
    };
    let kept = |(model, bytes): &(ModelKey, u64)| stored::Kept { model: Some(messages::model(model)), bytes: *bytes };
    let message = stored::Node {
        name: node.name.to_string(),
        slots: node.slots,
        devices: node.devices.iter().map(device).collect(),
        replicas: node.replicas.iter().map(replica).collect(),
        jobs: node.jobs,
        connected: node.connected,
        version: node.version.clone(),
        warm_bytes: node.warm_bytes,
        kept: node.kept.iter().map(kept).collect(),
        rank_address: node.rank_address.clone(),
        memory: node.memory.iter().map(messages::memory).collect(),
        progress: node.progress.iter().map(messages::progress).collect(),
        certificates: node.certificates.iter().map(messages::certificate).collect(),
    };
    message.encode_to_vec()
}

fn read(entry: &Entry) -> Result<NodeRecord, Error> {
    let message = decode::<stored::Node>(entry)?;
    let replica = |replica: stored::Replica| {
        Ok(ReplicaRecord {
            model: messages::read_model(replica.model.ok_or_else(|| unreadable(entry, "a replica names no model"))?),
            stage: replica.stage,
            device: replica.device,
            bytes: replica.bytes,
            jobs: replica.jobs,
            loaded: percent(replica.loaded),
        })
    };
    Ok(NodeRecord {
        name: WorkerId::new(message.name),
        version: message.version,
        connected: message.connected,
        slots: message.slots,
        jobs: message.jobs,
        devices: message.devices.into_iter().map(|device| (device.name, device.model_bytes)).collect(),
        replicas: message.replicas.into_iter().map(replica).collect::<Result<_, Error>>()?,
        warm_bytes: message.warm_bytes,
        kept: message
            .kept
            .into_iter()
            .filter_map(|kept| Some((messages::read_model(kept.model?), kept.bytes)))
            .collect(),
        rank_address: message.rank_address,
        memory: message.memory.into_iter().map(messages::read_memory).collect(),
        progress: message.progress.iter().filter_map(messages::read_progress).collect(),
        certificates: message.certificates.into_iter().map(messages::read_certificate).collect(),
    })
}

/// Writes a part of a whole, from 0 to 1, in percent.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 100")]
pub fn percent(part: f32) -> u8 {
    (part.clamp(0.0, 1.0) * 100.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn nodes_and_cordons_come_back_as_they_were_written() {
        let nodes = Nodes::new(Arc::new(MemoryStore::new(1)));
        let node = NodeRecord {
            name: WorkerId::new("gpu-1"),
            version: "0.1.0".into(),
            connected: true,
            slots: 32,
            jobs: 3,
            devices: vec![("cuda:0".into(), 80), ("cpu".into(), 7)],
            replicas: vec![ReplicaRecord {
                model: ModelKey::new("o/n", None),
                stage: "ready".into(),
                device: "cuda:0".into(),
                bytes: 5,
                jobs: 3,
                loaded: 0,
            }],
            warm_bytes: 9,
            kept: vec![(ModelKey::new("o/n", None), 5), (ModelKey::new("o/m", None), 4)],
            rank_address: "10.0.0.1:7100".into(),
            memory: vec![DeviceMemory {
                device: "cuda:0".into(),
                kinds: vec![("weights".into(), 5), ("free".into(), 75)],
            }],
            progress: vec![JobProgress { job: JobId::new(), passes: 7, layer: 3, layers: 30 }],
            certificates: vec![("peer", 1_800_000_000).into()],
        };
        let stages: Vec<_> = node.models().map(|it| (it.model.to_string(), it.stage)).collect();
        assert_eq!(stages, [("o/n".into(), "ready".into()), ("o/m".into(), "warm".into())]);
        let other = NodeRecord { name: WorkerId::new("gpu-2"), devices: vec![], replicas: vec![], ..node.clone() };
        nodes.note(&[node.clone(), other.clone()], &[]).await.unwrap();
        assert_eq!(nodes.list().await.unwrap(), [node.clone(), other.clone()]);
        nodes.note(&[], &[other.name]).await.unwrap();
        assert_eq!(nodes.list().await.unwrap(), std::slice::from_ref(&node));
        let cordon = Cordon { drain: true, since: 4 };
        nodes.set_cordon(&node.name, Some(cordon)).await.unwrap();
        assert_eq!(nodes.cordons().await.unwrap(), [(node.name.clone(), cordon)].into());
        nodes.set_cordon(&node.name, None).await.unwrap();
        assert_eq!(nodes.cordons().await.unwrap(), BTreeMap::new());
    }
}
