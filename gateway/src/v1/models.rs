//! Models: what is hosted and where it is, for everybody; and for operators to host, to change and to evict.

use std::path::PathBuf;
use std::sync::Arc;

use auth::{Principal, Scope};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use ids::ModelKey;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{ModelRecord, ModelState, NodeRecord, Specification};

use super::{read, time};
use crate::authenticate::{Onlooker, Operator};
use crate::trail::Act;
use crate::{Error, Gateway, unix_millis};

/// What a model is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deploy {
    /// The folder, as workers and gateways find it.
    folder: PathBuf,
    dtype: Option<String>,
    device: Option<String>,
    #[serde(default)]
    replicas: Replicas,
    #[serde(default)]
    pinned: bool,
}

/// How many replicas there are to be. Without `max`, as many as there is room for that nobody else needs.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replicas {
    #[serde(default)]
    min: u32,
    max: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    replicas: Option<Replicas>,
    pinned: Option<bool>,
}

/// `GET /v1/models`: all of them, in the order of their names.
pub async fn list(State(gateway): State<Arc<Gateway>>, Onlooker(principal): Onlooker) -> Result<Json<Value>, Error> {
    let models: Vec<Value> = all(&gateway).await?.iter().map(|model| model.shown(&principal)).collect();
    Ok(Json(json!({ "models": models })))
}

/// `GET /v1/models/{name}`. A name has a slash, which is `%2F` in a path.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    Onlooker(principal): Onlooker,
    Path(name): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(find(&gateway, &name).await?.shown(&principal)))
}

/// `PUT /v1/models/{name}`: hosts a model, or changes what it is. It takes jobs at once; they wait until it is loaded.
pub async fn deploy(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
    body: Body,
) -> Result<(StatusCode, Extension<Act>, Json<Value>), Error> {
    let Deploy { folder, dtype, device, replicas, pinned } = read(&gateway, body).await?;
    let wanted = Specification {
        dtype,
        device,
        replicas_min: least(replicas, pinned),
        replicas_max: replicas.max,
        pinned,
        changed_at: unix_millis(),
        ..Specification::new(key(&name)?, folder)
    };
    wanted.check().map_err(Error::Unfit)?;
    check_folder(&wanted)?;
    let models = gateway.models.stored();
    let specifications = models.specifications();
    let before = specifications.get(&wanted.key).await?;
    let configured = |before: Option<Specification>| before.is_some_and(|before| before.configured);
    let make = |before| Some(Specification { configured: configured(before), ..wanted.clone() });
    specifications.change(&wanted.key, make).await?;
    let (dtype, device) = (wanted.dtype.clone(), wanted.device.clone());
    let record = ModelRecord { dtype, device, ..ModelRecord::waiting(wanted.key.clone(), wanted.folder.clone()) };
    models.announce(&record).await?;
    let act = Act(format!("hosted {} of {}", wanted.key, wanted.folder.display()));
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Extension(act), Json(find(&gateway, &name).await?.shown(&principal))))
}

/// `PATCH /v1/models/{name}` with `replicas`, `pinned` or both.
pub async fn change(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
    body: Body,
) -> Result<(Extension<Act>, Json<Value>), Error> {
    let Change { replicas, pinned } = read(&gateway, body).await?;
    let after = |before: &Specification| {
        let pinned = pinned.unwrap_or(before.pinned);
        let same = Replicas { min: before.replicas_min, max: before.replicas_max };
        let replicas = replicas.unwrap_or(same);
        let replicas_min = least(replicas, pinned);
        let changed_at = unix_millis();
        Specification { replicas_min, replicas_max: replicas.max, pinned, changed_at, ..before.clone() }
    };
    let before = find(&gateway, &name).await?.specification;
    after(&before).check().map_err(Error::Unfit)?;
    let change = |before: Option<Specification>| before.map(|before| after(&before));
    gateway.models.stored().specifications().change(&before.key, change).await?;
    let now = find(&gateway, &name).await?;
    let Specification { key, replicas_min, replicas_max, pinned, .. } = &now.specification;
    let most = replicas_max.map_or("any number of".to_owned(), |most| most.to_string());
    let act = Act(format!("gave {key} {replicas_min} to {most} replicas{}", if *pinned { ", pinned" } else { "" }));
    Ok((Extension(act), Json(now.shown(&principal))))
}

/// `DELETE /v1/models/{name}`: hosts it no longer. What runs ends; what waits is refused.
pub async fn evict(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
) -> Result<(Extension<Act>, Json<Value>), Error> {
    let found = find(&gateway, &name).await?;
    gateway.models.stored().specifications().remove(&found.specification.key).await?;
    let act = Act(format!("hosted {} no longer", found.specification.key));
    Ok((Extension(act), Json(found.shown(&principal))))
}

/// A hosted model: what it is to be, how it is, and where.
struct Model {
    specification: Specification,
    /// `None` where no scheduler has seen it.
    record: Option<ModelRecord>,
    nodes: Vec<NodeRecord>,
}

async fn all(gateway: &Gateway) -> Result<Vec<Model>, Error> {
    let models = gateway.models.stored();
    let (store, nodes) = (models.specifications(), models.nodes());
    let (specifications, records, nodes) = tokio::try_join!(store.list(), models.list(), nodes.list())?;
    let mut all = Vec::with_capacity(specifications.len());
    for specification in specifications {
        let record = records.iter().find(|record| record.key == specification.key).cloned();
        let has = |node: &&NodeRecord| node.replicas.iter().any(|replica| replica.model == specification.key);
        let nodes = nodes.iter().filter(has).cloned().collect();
        all.push(Model { specification, record, nodes });
    }
    Ok(all)
}

async fn find(gateway: &Gateway, name: &str) -> Result<Model, Error> {
    let key = key(name)?;
    let found = all(gateway).await?.into_iter().find(|model| model.specification.key == key);
    found.ok_or_else(|| Error::NoSuchModel(name.to_owned()))
}

impl Model {
    fn shown(&self, principal: &Principal) -> Value {
        let Self { specification, record, nodes } = self;
        let unseen = ModelRecord::waiting(specification.key.clone(), specification.folder.clone());
        let record = record.as_ref().unwrap_or(&unseen);
        let (state, progress, why) = match &record.state {
            ModelState::Waiting => ("waiting", None, None),
            ModelState::Cold => ("cold", None, None),
            ModelState::Loading { fraction } => ("loading", Some(fraction), None),
            ModelState::Ready => ("ready", None, None),
            ModelState::Failed(why) => ("failed", None, Some(why)),
        };
        let here = |node: &NodeRecord| -> Vec<Value> {
            let its = node.replicas.iter().filter(|replica| replica.model == specification.key);
            let replica = |replica: &store::ReplicaRecord| {
                json!({
                    "node": node.name, "stage": replica.stage, "device": name(&replica.device),
                    "memory_bytes": amount(replica.bytes), "jobs": replica.jobs,
                })
            };
            its.map(replica).collect()
        };
        json!({
            "name": specification.key.to_string(),
            "state": state,
            "progress": progress,
            "why": why,
            // Where files lie is for those who put them there.
            "folder": principal.may(Scope::Operate).then_some(&specification.folder),
            "dtype": specification.dtype,
            "device": specification.device,
            "replicas": {
                "min": specification.replicas_min, "max": specification.replicas_max, "ready": record.replicas,
            },
            "pinned": specification.pinned,
            "configured": specification.configured,
            "memory_bytes": amount(record.bytes),
            "load_time_s": Some(record.load_time.as_secs_f64()).filter(|seconds| *seconds > 0.0),
            "wait": record.wait.as_ref().map(|wait| json!({
                "why": wait.why, "expected_at": wait.expected_at.map(|at| time(at / 1000)),
            })),
            "nodes": nodes.iter().flat_map(here).collect::<Vec<Value>>(),
        })
    }
}

/// A model that is never to leave has to be there.
fn least(replicas: Replicas, pinned: bool) -> u32 {
    replicas.min.max(u32::from(pinned))
}

fn amount(bytes: u64) -> Option<u64> {
    Some(bytes).filter(|bytes| *bytes > 0)
}

fn name(device: &str) -> Option<&str> {
    Some(device).filter(|device| !device.is_empty())
}

fn key(name: &str) -> Result<ModelKey, Error> {
    let (repo_id, revision) = match name.split_once('@') {
        Some((repo_id, revision)) => (repo_id, Some(revision.to_owned())),
        None => (name, None),
    };
    let plain = |text: &str| {
        (1..=200).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
    };
    if !plain(repo_id) || !revision.as_deref().is_none_or(plain) {
        return Err(Error::Unfit(format!("{name:?} is no model's name, which is REPO_ID or REPO_ID@REVISION")));
    }
    Ok(ModelKey::new(repo_id, revision))
}

/// Looks whether the folder is there, as this gateway sees it: clients build their models of what lies in it.
fn check_folder(wanted: &Specification) -> Result<(), Error> {
    let folder = wanted.folder.display();
    if !wanted.folder.is_absolute() {
        return Err(Error::Unfit(format!(
            "the folder {folder} must be absolute, since workers and gateways look for it under the same name"
        )));
    }
    if !wanted.folder.join("config.json").is_file() {
        return Err(Error::Unfit(format!(
            "the folder {folder} has no config.json here; it must hold what the Hugging Face Hub has for the model, and be \
             at the same place on every worker and gateway"
        )));
    }
    Ok(())
}
