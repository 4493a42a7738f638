//! Nodes: the workers, as the scheduler sees them, and which of them are given nothing new.

use std::collections::BTreeMap;
use std::sync::Arc;

use auth::Principal;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use ids::WorkerId;
use schemars::JsonSchema;
use serde::Serialize;
use store::{CertificateEnd, CertificateHolder, Cordon, NodeRecord};

use super::time;
use crate::authenticate::{Onlooker, Operator};
use crate::trail::acted;
use crate::{Error, Gateway, unix_millis};

/// The workers that are there, those that are cordoned and are not, and whose certificates end when.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Nodes")]
pub struct List {
    nodes: Vec<Shown>,
    /// Gateways and schedulers that use certificates.
    roles: Vec<RoleShown>,
}

/// A gateway or a scheduler, and when its certificates end.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Role")]
struct RoleShown {
    /// `gateway` or `scheduler`.
    role: String,
    name: String,
    /// When the certificates end that it uses, by what they are for.
    certificates: BTreeMap<String, String>,
}

/// A worker, as the scheduler sees it. What is null is not known, since it is not there.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Node")]
pub struct Shown {
    name: String,
    /// `ready`, `away`, `cordoned`, `draining` or `drained`.
    state: &'static str,
    connected: bool,
    version: Option<String>,
    slots: Option<u32>,
    jobs: Option<u32>,
    cordoned_since: Option<String>,
    devices: Vec<DeviceShown>,
    /// Bytes of its memory in which weights of models are kept that leave a GPU, and those that they take; 0 where it keeps
    /// none.
    warm_bytes: u64,
    warm_used_bytes: u64,
    /// Where it holds ranks of models that other nodes serve; null where it holds none.
    rank_address: Option<String>,
    /// When the certificates end that it uses, by what they are for.
    certificates: BTreeMap<String, String>,
    models: Vec<ReplicaShown>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NodeDevice")]
struct DeviceShown {
    name: String,
    /// What models may take there.
    model_bytes: u64,
    /// What they take, as their files say.
    used_bytes: u64,
    /// What lies in its memory, by what it is for, in bytes, as measured within a hundredth; empty where it was not.
    memory: BTreeMap<String, u64>,
}

/// A model that it has.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NodeModel")]
struct ReplicaShown {
    model: String,
    /// `loading`, `ready`, `retiring`, `unloading`, `failed` or `warm`; `rank` of a part that another device leads, mostly
    /// another node's.
    stage: String,
    device: String,
    memory_bytes: u64,
    jobs: u32,
}

/// `GET /v1/nodes`: all that are there, in the order of their names, those that are cordoned and are not, and whose certificates
/// end when.
pub async fn list(State(gateway): State<Arc<Gateway>>, _: Onlooker) -> Result<Json<List>, Error> {
    let holders = gateway.models.stored().certificates().list().await?.into_iter();
    let roles = holders.map(|CertificateHolder { role, name, certificates }| RoleShown {
        role,
        name,
        certificates: ends(&certificates),
    });
    Ok(Json(List { nodes: all(&gateway).await?.iter().map(shown).collect(), roles: roles.collect() }))
}

/// `GET /v1/nodes/{name}`.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Onlooker,
    Path(name): Path<String>,
) -> Result<Json<Shown>, Error> {
    Ok(Json(shown(&find(&gateway, &name).await?)))
}

/// `POST /v1/nodes/{node}/cordon`: it is given nothing new.
pub async fn cordon(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    set(&gateway, &principal, &name, Act::Cordon).await
}

/// `POST /v1/nodes/{node}/drain`: nor does it keep what it has.
pub async fn drain(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    set(&gateway, &principal, &name, Act::Drain).await
}

/// `POST /v1/nodes/{node}/uncordon`: it takes part again.
pub async fn uncordon(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    set(&gateway, &principal, &name, Act::Uncordon).await
}

async fn set(gateway: &Gateway, principal: &Principal, name: &str, act: Act) -> Result<Response, Error> {
    let (node, what) = alter(gateway, principal, name, act).await?;
    Ok(acted(what, Json(shown(&find(gateway, name).await.unwrap_or(node)))))
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is given nothing new.
    Cordon,
    /// Nor does it keep what it has.
    Drain,
    /// It takes part again.
    Uncordon,
}

impl Act {
    /// Reads what it is called in a path.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "cordon" => Some(Self::Cordon),
            "drain" => Some(Self::Drain),
            "uncordon" => Some(Self::Uncordon),
            _ => None,
        }
    }
}

/// Does something to a node. Returns it as it is then, if nothing else happens, and what was done, in words.
///
/// # Errors
/// [`Error::NoSuchNode`].
pub async fn alter(gateway: &Gateway, principal: &Principal, name: &str, act: Act) -> Result<(Node, String), Error> {
    let node = find(gateway, name).await?;
    let since = unix_millis();
    let (cordon, what) = match act {
        Act::Cordon => (Some(Cordon { drain: false, since }), "gave the node nothing new"),
        Act::Drain => (Some(Cordon { drain: true, since }), "emptied the node"),
        Act::Uncordon => (None, "let the node take part again"),
    };
    gateway.models.stored().nodes().set_cordon(&node.name, cordon).await?;
    let what = format!("{} {what} {}", principal.key, node.name);
    Ok((Node { record: None, cordon, ..node }, what))
}

/// A worker, as the scheduler sees it, and whether it is given nothing new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: WorkerId,
    /// `None` for one that is not there.
    pub record: Option<NodeRecord>,
    pub cordon: Option<Cordon>,
}

impl Node {
    /// Says how it is: `ready`, `away`, `cordoned`, `draining` or `drained`.
    pub fn state(&self) -> &'static str {
        let idle = self.record.as_ref().is_none_or(|node| node.jobs == 0 && node.replicas.is_empty());
        match self.cordon {
            Some(Cordon { drain: true, .. }) if idle => "drained",
            Some(Cordon { drain: true, .. }) => "draining",
            Some(_) => "cordoned",
            None if self.connected() => "ready",
            None => "away",
        }
    }

    /// Says whether it can be reached.
    pub fn connected(&self) -> bool {
        self.record.as_ref().is_some_and(|node| node.connected)
    }

    /// Returns what lies in a device's memory, by what it is for.
    fn memory(&self, device: &str) -> BTreeMap<String, u64> {
        let told = self.record.iter().flat_map(|node| &node.memory).filter(|memory| memory.device == device);
        told.flat_map(|memory| memory.kinds.iter().cloned()).collect()
    }

    /// Returns its devices, each with the bytes that models may take there, and those that they take.
    pub fn devices(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.record.iter().flat_map(|node| {
            node.devices.iter().map(|(name, bytes)| {
                let its = node.replicas.iter().filter(|replica| replica.device == *name);
                (name.as_str(), *bytes, its.map(|replica| replica.bytes).sum())
            })
        })
    }
}

/// Returns all nodes that are there, and those that are cordoned and are not, in the order of their names.
///
/// # Errors
/// Failures of the store.
pub async fn all(gateway: &Gateway) -> Result<Vec<Node>, Error> {
    let nodes = gateway.models.stored().nodes();
    let (there, mut cordons) = tokio::try_join!(nodes.list(), nodes.cordons())?;
    let there = there.into_iter();
    let there =
        there.map(|node| Node { name: node.name.clone(), cordon: cordons.remove(&node.name), record: Some(node) });
    let mut all: Vec<Node> = there.collect();
    all.extend(cordons.into_iter().map(|(name, cordon)| Node { name, record: None, cordon: Some(cordon) }));
    all.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(all)
}

async fn find(gateway: &Gateway, name: &str) -> Result<Node, Error> {
    let found = all(gateway).await?.into_iter().find(|node| node.name.as_str() == name);
    found.ok_or_else(|| Error::NoSuchNode(name.to_owned()))
}

/// Shows when certificates end, by what they are for.
fn ends(certificates: &[CertificateEnd]) -> BTreeMap<String, String> {
    let end = |end: &CertificateEnd| (end.certificate.clone(), time(u64::try_from(end.at).unwrap_or(0)));
    certificates.iter().map(end).collect()
}

fn shown(node: &Node) -> Shown {
    let Node { name, record, cordon } = node;
    let device = |(name, model_bytes, used_bytes): (&str, u64, u64)| DeviceShown {
        name: name.to_owned(),
        model_bytes,
        used_bytes,
        memory: node.memory(name),
    };
    let replica = |replica: store::ReplicaRecord| ReplicaShown {
        model: replica.model.to_string(),
        stage: replica.stage,
        device: replica.device,
        memory_bytes: replica.bytes,
        jobs: replica.jobs,
    };
    Shown {
        name: name.to_string(),
        state: node.state(),
        connected: node.connected(),
        version: record.as_ref().map(|node| node.version.clone()),
        slots: record.as_ref().map(|node| node.slots),
        jobs: record.as_ref().map(|node| node.jobs),
        cordoned_since: cordon.map(|cordon| time(cordon.since / 1000)),
        devices: node.devices().map(device).collect(),
        warm_bytes: record.as_ref().map_or(0, |node| node.warm_bytes),
        warm_used_bytes: record.iter().flat_map(|node| &node.kept).map(|(_, bytes)| bytes).sum(),
        rank_address: record.as_ref().map(|node| node.rank_address.clone()).filter(|address| !address.is_empty()),
        certificates: record.as_ref().map(|node| ends(&node.certificates)).unwrap_or_default(),
        models: record.iter().flat_map(NodeRecord::models).map(replica).collect(),
    }
}
