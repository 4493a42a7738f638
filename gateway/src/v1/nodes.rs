//! Nodes: the workers, as the scheduler sees them, and which of them are given nothing new.

use std::sync::Arc;

use axum::{Extension, Json};
use axum::extract::{Path, State};
use ids::WorkerId;
use serde_json::{Value, json};
use store::{Cordon, NodeRecord};

use super::time;
use crate::authenticate::{Onlooker, Operator};
use crate::trail::Act;
use crate::{Error, Gateway, unix_millis};

/// `GET /v1/nodes`: all that are there, in the order of their names, and those that are cordoned and are not.
pub async fn list(State(gateway): State<Arc<Gateway>>, _: Onlooker) -> Result<Json<Value>, Error> {
    let nodes: Vec<Value> = all(&gateway).await?.iter().map(shown).collect();
    Ok(Json(json!({ "nodes": nodes })))
}

/// `GET /v1/nodes/{name}`.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Onlooker,
    Path(name): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(shown(&find(&gateway, &name).await?)))
}

/// `POST /v1/nodes/{node}/cordon`: it is given nothing new.
pub async fn cordon(
    State(gateway): State<Arc<Gateway>>,
    Operator(_): Operator,
    Path(name): Path<String>,
) -> Result<Changed, Error> {
    set(&gateway, &name, Some(Cordon { drain: false, since: unix_millis() }), "gave the node nothing new").await
}

/// `POST /v1/nodes/{node}/drain`: nor does it keep what it has.
pub async fn drain(
    State(gateway): State<Arc<Gateway>>,
    Operator(_): Operator,
    Path(name): Path<String>,
) -> Result<Changed, Error> {
    set(&gateway, &name, Some(Cordon { drain: true, since: unix_millis() }), "emptied the node").await
}

/// `POST /v1/nodes/{node}/uncordon`: it takes part again.
pub async fn uncordon(
    State(gateway): State<Arc<Gateway>>,
    Operator(_): Operator,
    Path(name): Path<String>,
) -> Result<Changed, Error> {
    set(&gateway, &name, None, "let the node take part again").await
}

/// What was done, for the audit trail, and the node as it is then.
type Changed = (Extension<Act>, Json<Value>);

async fn set(gateway: &Gateway, name: &str, wanted: Option<Cordon>, what: &str) -> Result<Changed, Error> {
    let (node, ..) = find(gateway, name).await?;
    gateway.models.stored().nodes().set_cordon(&node, wanted).await?;
    let act = Act(format!("{what} {node}"));
    Ok((Extension(act), Json(shown(&find(gateway, name).await.unwrap_or((node, None, wanted))))))
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

fn shown((name, node, cordon): &Node) -> Value {
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
        let used: u64 = its.map(|replica| replica.bytes).sum();
        json!({ "name": device, "model_bytes": bytes, "used_bytes": used })
    };
    let replica = |replica: &store::ReplicaRecord| {
        json!({
            "model": replica.model.to_string(), "stage": replica.stage, "device": replica.device,
            "memory_bytes": replica.bytes, "jobs": replica.jobs,
        })
    };
    json!({
        "name": name,
        "state": state,
        "connected": node.as_ref().is_some_and(|node| node.connected),
        "version": node.as_ref().map(|node| &node.version),
        "slots": node.as_ref().map(|node| node.slots),
        "jobs": node.as_ref().map(|node| node.jobs),
        "cordoned_since": cordon.map(|cordon| time(cordon.since / 1000)),
        "devices": node.iter().flat_map(|node| &node.devices).map(device).collect::<Vec<Value>>(),
        "models": node.iter().flat_map(|node| &node.replicas).map(replica).collect::<Vec<Value>>(),
    })
}
