//! Nodes: the workers, as the scheduler sees them, and which of them are given nothing new.

use std::sync::Arc;

use auth::Principal;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use ids::WorkerId;
use schemars::JsonSchema;
use serde::Serialize;
use store::{Cordon, NodeRecord};

use super::time;
use crate::authenticate::{Onlooker, Operator};
use crate::trail::acted;
use crate::{Error, Gateway, unix_millis};

/// The workers that are there, and those that are cordoned and are not.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Nodes")]
pub struct List {
    nodes: Vec<Shown>,
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
    models: Vec<ReplicaShown>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NodeDevice")]
struct DeviceShown {
    name: String,
    /// What models may take there.
    model_bytes: u64,
    /// What they take.
    used_bytes: u64,
}

/// A model that it has.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NodeModel")]
struct ReplicaShown {
    model: String,
    /// `loading`, `ready`, `retiring`, `unloading` or `failed`.
    stage: String,
    device: String,
    memory_bytes: u64,
    jobs: u32,
}

/// `GET /v1/nodes`: all that are there, in the order of their names, and those that are cordoned and are not.
pub async fn list(State(gateway): State<Arc<Gateway>>, _: Onlooker) -> Result<Json<List>, Error> {
    Ok(Json(List { nodes: all(&gateway).await?.iter().map(shown).collect() }))
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
    set(&gateway, &principal, &name, Some(Cordon { drain: false, since: unix_millis() }), "gave the node nothing new").await
}

/// `POST /v1/nodes/{node}/drain`: nor does it keep what it has.
pub async fn drain(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    set(&gateway, &principal, &name, Some(Cordon { drain: true, since: unix_millis() }), "emptied the node").await
}

/// `POST /v1/nodes/{node}/uncordon`: it takes part again.
pub async fn uncordon(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    set(&gateway, &principal, &name, None, "let the node take part again").await
}

async fn set(
    gateway: &Gateway,
    principal: &Principal,
    name: &str,
    wanted: Option<Cordon>,
    what: &str,
) -> Result<Response, Error> {
    let (node, ..) = find(gateway, name).await?;
    gateway.models.stored().nodes().set_cordon(&node, wanted).await?;
    let what = format!("{} {what} {node}", principal.key);
    Ok(acted(what, Json(shown(&find(gateway, name).await.unwrap_or((node, None, wanted))))))
}

/// A node's name, how it is if it is there, and whether it is given nothing new.
type Node = (WorkerId, Option<NodeRecord>, Option<Cordon>);

async fn all(gateway: &Gateway) -> Result<Vec<Node>, Error> {
    let nodes = gateway.models.stored().nodes();
    let (there, mut cordons) = tokio::try_join!(nodes.list(), nodes.cordons())?;
    let there = there.into_iter().map(|node| (node.name.clone(), cordons.remove(&node.name), node));
    let mut all: Vec<Node> = there.map(|(name, cordon, node)| (name, Some(node), cordon)).collect();
    all.extend(cordons.into_iter().map(|(name, cordon)| (name, None, Some(cordon))));
    all.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(all)
}

async fn find(gateway: &Gateway, name: &str) -> Result<Node, Error> {
    let found = all(gateway).await?.into_iter().find(|(node, ..)| node.as_str() == name);
    found.ok_or_else(|| Error::NoSuchNode(name.to_owned()))
}

fn shown((name, node, cordon): &Node) -> Shown {
    let idle = node.as_ref().is_none_or(|node| node.jobs == 0 && node.replicas.is_empty());
    let state = match (node, cordon) {
        (_, Some(Cordon { drain: true, .. })) if idle => "drained",
        (_, Some(Cordon { drain: true, .. })) => "draining",
        (_, Some(_)) => "cordoned",
        (Some(node), None) if node.connected => "ready",
        _ => "away",
    };
    let device = |(device, bytes): &(String, u64)| {
        let its = node.iter().flat_map(|node| &node.replicas).filter(|replica| replica.device == *device);
        DeviceShown { name: device.clone(), model_bytes: *bytes, used_bytes: its.map(|replica| replica.bytes).sum() }
    };
    let replica = |replica: &store::ReplicaRecord| ReplicaShown {
        model: replica.model.to_string(),
        stage: replica.stage.clone(),
        device: replica.device.clone(),
        memory_bytes: replica.bytes,
        jobs: replica.jobs,
    };
    Shown {
        name: name.to_string(),
        state,
        connected: node.as_ref().is_some_and(|node| node.connected),
        version: node.as_ref().map(|node| node.version.clone()),
        slots: node.as_ref().map(|node| node.slots),
        jobs: node.as_ref().map(|node| node.jobs),
        cordoned_since: cordon.map(|cordon| time(cordon.since / 1000)),
        devices: node.iter().flat_map(|node| &node.devices).map(device).collect(),
        models: node.iter().flat_map(|node| &node.replicas).map(replica).collect(),
    }
}
