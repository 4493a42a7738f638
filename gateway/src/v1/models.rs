//! Models: what is hosted and where it is, for everybody; and for operators to host, to change and to evict.

use std::path::PathBuf;
use std::sync::Arc;

use auth::{Principal, Scope};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use ids::ModelKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{Booking, ModelRecord, ModelState, NodeRecord, Specification};

use super::{read, time, windows};
use crate::authenticate::{Onlooker, Operator};
use crate::trail::acted;
use crate::{Error, Gateway, unix_millis};

/// What a model is to be.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewModel")]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// The folder, as workers and gateways find it.
    pub folder: PathBuf,
    pub dtype: Option<String>,
    pub device: Option<String>,
    /// How many processes of one machine hold each replica. Default: one.
    pub ranks: Option<u32>,
    /// `stream` leaves layers where they are kept, and brings them to the device when a pass comes to them. Default: `resident`.
    pub residency: Option<String>,
    #[serde(default)]
    pub replicas: Replicas,
    #[serde(default)]
    pub pinned: bool,
    /// Whether it is loaded in the times for which it is booked, and at no other time.
    #[serde(default)]
    pub windows_only: bool,
}

/// How many replicas there are to be. Without `max`, as many as there is room for that nobody else needs.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replicas {
    #[serde(default)]
    pub min: u32,
    pub max: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ModelChange")]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub replicas: Option<Replicas>,
    pub pinned: Option<bool>,
    pub windows_only: Option<bool>,
}

/// All hosted models.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Models")]
pub struct List {
    models: Vec<Shown>,
}

/// A hosted model: what it is to be, how it is, and where.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Model")]
pub struct Shown {
    name: String,
    /// `waiting`, `cold`, `warm`, `loading`, `ready` or `failed`. One that is warm is on no device, and its weights are in the
    /// memory of a node that has a GPU for it.
    state: &'static str,
    /// Of loading, from 0 to 1.
    progress: Option<f32>,
    /// Why it failed.
    why: Option<String>,
    /// Where its files lie, which is for those who put them there: null for who does not operate.
    folder: Option<PathBuf>,
    dtype: Option<String>,
    device: Option<String>,
    ranks: u32,
    /// `stream` where layers are brought to the device when a pass comes to them; null, or `resident`, where they are there.
    residency: Option<String>,
    replicas: ReplicasShown,
    pinned: bool,
    windows_only: bool,
    /// Whether the settings of the scheduler name it.
    configured: bool,
    /// What it takes on its device; null before a worker has looked.
    memory_bytes: Option<u64>,
    load_time_s: Option<f64>,
    /// How long it took to load where its weights were in memory; null where they never were.
    warm_load_time_s: Option<f64>,
    /// Nodes where it is warm.
    warm_nodes: u32,
    /// The times for which it is booked, the next one first.
    windows: Vec<windows::Shown>,
    wait: Option<WaitShown>,
    nodes: Vec<NodeShown>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ModelReplicas")]
struct ReplicasShown {
    min: u32,
    max: Option<u32>,
    ready: u32,
}

/// Why jobs wait for a model.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ModelWait")]
struct WaitShown {
    why: String,
    /// When it is likely to be ready, where that can be said.
    expected_at: Option<String>,
}

/// A node that has the model.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ModelNode")]
struct NodeShown {
    node: String,
    /// `loading`, `ready`, `retiring`, `unloading`, `failed` or `warm`; `rank` where another one leads it.
    stage: String,
    device: Option<String>,
    memory_bytes: Option<u64>,
    jobs: u32,
}

/// `GET /v1/models`: all of them, in the order of their names.
pub async fn list(State(gateway): State<Arc<Gateway>>, Onlooker(principal): Onlooker) -> Result<Json<List>, Error> {
    Ok(Json(List { models: all(&gateway).await?.iter().map(|model| model.shown(&principal)).collect() }))
}

/// `GET /v1/models/{name}`. A name has a slash, which is `%2F` in a path.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    Onlooker(principal): Onlooker,
    Path(name): Path<String>,
) -> Result<Json<Shown>, Error> {
    Ok(Json(find(&gateway, &name).await?.shown(&principal)))
}

/// `PUT /v1/models/{name}`: hosts a model, or changes what it is. It takes jobs at once; they wait until it is loaded.
pub async fn deploy(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let (hosted, what) = host(&gateway, &principal, &name, read(&gateway, body).await?).await?;
    let status = if hosted == Hosted::Anew { StatusCode::CREATED } else { StatusCode::OK };
    Ok(acted(what, (status, Json(find(&gateway, &name).await?.shown(&principal)))))
}

/// `PATCH /v1/models/{name}` with `replicas`, `pinned`, `windows_only` or several of them.
pub async fn change(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let what = alter(&gateway, &principal, &name, &read(&gateway, body).await?).await?;
    Ok(acted(what, Json(find(&gateway, &name).await?.shown(&principal))))
}

/// `DELETE /v1/models/{name}`: hosts it no longer. What runs ends; what waits is refused.
pub async fn evict(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let (found, what) = end(&gateway, &principal, &name).await?;
    Ok(acted(what, Json(found.shown(&principal))))
}

/// Whether a model that is hosted was so before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosted {
    Anew,
    Before,
}

/// Hosts a model, or changes what it is. Returns what was done, in words.
///
/// # Errors
/// [`Error::Unfit`] for what no model can be, and for a folder that is none.
pub async fn host(
    gateway: &Gateway,
    principal: &Principal,
    name: &str,
    deploy: Deploy,
) -> Result<(Hosted, String), Error> {
    let Deploy { folder, dtype, device, ranks, residency, replicas, pinned, windows_only } = deploy;
    let wanted = Specification {
        dtype,
        device,
        ranks: ranks.unwrap_or(1),
        residency,
        replicas_min: least(replicas, pinned),
        replicas_max: replicas.max,
        pinned,
        windows_only,
        changed_at: unix_millis(),
        ..Specification::new(key(name)?, folder)
    };
    wanted.check().map_err(Error::Unfit)?;
    check_folder(&wanted)?;
    let models = gateway.models.stored();
    let specifications = models.specifications();
    let before = specifications.get(&wanted.key).await?;
    let configured = |before: Option<Specification>| before.is_some_and(|before| before.configured);
    let make = |before| Some(Specification { configured: configured(before), ..wanted.clone() });
    specifications.change(&wanted.key, make).await?;
    let (dtype, device, ranks) = (wanted.dtype.clone(), wanted.device.clone(), wanted.ranks);
    let record =
        ModelRecord { dtype, device, ranks, ..ModelRecord::waiting(wanted.key.clone(), wanted.folder.clone()) };
    models.announce(&record).await?;
    let what = format!("{} hosted {} of {}", principal.key, wanted.key, wanted.folder.display());
    Ok((if before.is_some() { Hosted::Before } else { Hosted::Anew }, what))
}

/// Changes how many replicas a model has, and whether it ever leaves. Returns what was done, in words.
///
/// # Errors
/// [`Error::NoSuchModel`]; [`Error::Unfit`] for numbers that cannot be.
pub async fn alter(gateway: &Gateway, principal: &Principal, name: &str, change: &Change) -> Result<String, Error> {
    let after = |before: &Specification| {
        let pinned = change.pinned.unwrap_or(before.pinned);
        let same = Replicas { min: before.replicas_min, max: before.replicas_max };
        let replicas = change.replicas.unwrap_or(same);
        let replicas_min = least(replicas, pinned);
        let windows_only = change.windows_only.unwrap_or(before.windows_only);
        let changed_at = unix_millis();
        Specification { replicas_min, replicas_max: replicas.max, pinned, windows_only, changed_at, ..before.clone() }
    };
    let before = find(gateway, name).await?.specification;
    after(&before).check().map_err(Error::Unfit)?;
    let change = |before: Option<Specification>| before.map(|before| after(&before));
    let now = gateway.models.stored().specifications().change(&before.key, change).await?;
    let Specification { key, replicas_min, replicas_max, pinned, windows_only, .. } =
        now.ok_or_else(|| Error::NoSuchModel(name.to_owned()))?;
    let most = replicas_max.map_or("any number of".to_owned(), |most| most.to_string());
    let pinned = if pinned { ", pinned" } else { "" };
    let windows = if windows_only { ", in its windows only" } else { "" };
    Ok(format!("{} gave {key} {replicas_min} to {most} replicas{pinned}{windows}", principal.key))
}

/// Hosts a model no longer. Returns what was done, in words.
///
/// # Errors
/// [`Error::NoSuchModel`].
pub async fn end(gateway: &Gateway, principal: &Principal, name: &str) -> Result<(Model, String), Error> {
    let found = find(gateway, name).await?;
    let models = gateway.models.stored();
    models.specifications().remove(&found.specification.key).await?;
    models.bookings().remove(|booking| booking.model == found.specification.key).await?;
    let what = format!("{} hosts {} no longer", principal.key, found.specification.key);
    Ok((found, what))
}

/// A hosted model: what it is to be, how it is, and where.
pub struct Model {
    specification: Specification,
    /// `None` where no scheduler has seen it.
    record: Option<ModelRecord>,
    nodes: Vec<NodeRecord>,
    bookings: Vec<Booking>,
}

async fn all(gateway: &Gateway) -> Result<Vec<Model>, Error> {
    let models = gateway.models.stored();
    let (store, nodes, bookings) = (models.specifications(), models.nodes(), models.bookings());
    let (specifications, records, nodes, bookings) =
        tokio::try_join!(store.list(), models.list(), nodes.list(), bookings.list())?;
    let mut all = Vec::with_capacity(specifications.len());
    for specification in specifications {
        let record = records.iter().find(|record| record.key == specification.key).cloned();
        let has = |node: &&NodeRecord| node.models().any(|replica| replica.model == specification.key);
        let nodes = nodes.iter().filter(has).cloned().collect();
        let bookings = bookings.iter().filter(|booking| booking.model == specification.key).cloned().collect();
        all.push(Model { specification, record, nodes, bookings });
    }
    Ok(all)
}

/// Returns the hosted model of a name.
///
/// # Errors
/// [`Error::NoSuchModel`]; [`Error::Unfit`] for what is no model's name.
pub async fn find(gateway: &Gateway, name: &str) -> Result<Model, Error> {
    let key = key(name)?;
    let found = all(gateway).await?.into_iter().find(|model| model.specification.key == key);
    found.ok_or_else(|| Error::NoSuchModel(name.to_owned()))
}

impl Model {
    /// Returns its name.
    pub fn key(&self) -> &ModelKey {
        &self.specification.key
    }

    fn shown(&self, principal: &Principal) -> Shown {
        let Self { specification, record, nodes, bookings } = self;
        let unseen = ModelRecord::waiting(specification.key.clone(), specification.folder.clone());
        let record = record.as_ref().unwrap_or(&unseen);
        let (progress, why) = match &record.state {
            ModelState::Loading { fraction } => (Some(*fraction), None),
            ModelState::Failed(why) => (None, Some(why.clone())),
            ModelState::Waiting | ModelState::Cold | ModelState::Ready => (None, None),
        };
        let here = |node: &NodeRecord| -> Vec<NodeShown> {
            let its = node.models().filter(|replica| replica.model == specification.key);
            let replica = |replica: store::ReplicaRecord| NodeShown {
                node: node.name.to_string(),
                stage: replica.stage,
                device: Some(replica.device).filter(|device| !device.is_empty()),
                memory_bytes: amount(replica.bytes),
                jobs: replica.jobs,
            };
            its.map(replica).collect()
        };
        Shown {
            name: specification.key.to_string(),
            state: record.state_name(),
            progress,
            why,
            folder: principal.may(Scope::Operate).then(|| specification.folder.clone()),
            dtype: specification.dtype.clone(),
            device: specification.device.clone(),
            ranks: specification.ranks,
            residency: specification.residency.clone(),
            replicas: ReplicasShown {
                min: specification.replicas_min,
                max: specification.replicas_max,
                ready: record.replicas,
            },
            pinned: specification.pinned,
            windows_only: specification.windows_only,
            configured: specification.configured,
            memory_bytes: amount(record.bytes),
            load_time_s: Some(record.load_time.as_secs_f64()).filter(|seconds| *seconds > 0.0),
            warm_load_time_s: Some(record.warm_time.as_secs_f64()).filter(|seconds| *seconds > 0.0),
            warm_nodes: record.warm,
            windows: windows::Shown::of(bookings, &specification.key, principal),
            wait: record.wait.as_ref().map(|wait| WaitShown {
                why: wait.why.clone(),
                expected_at: wait.expected_at.map(|at| time(at / 1000)),
            }),
            nodes: nodes.iter().flat_map(here).collect(),
        }
    }
}

/// A model that is never to leave has to be there.
fn least(replicas: Replicas, pinned: bool) -> u32 {
    replicas.min.max(u32::from(pinned))
}

fn amount(bytes: u64) -> Option<u64> {
    Some(bytes).filter(|bytes| *bytes > 0)
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
