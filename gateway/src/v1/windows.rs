//! Windows: the times for which models are booked.

use std::path::Path as FilePath;
use std::sync::Arc;

use auth::{Principal, Scope};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use ids::{ModelKey, TenantId};
use placement::{Clash, Cluster, MOST, Model, Node, Window, book};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{Booking, ModelRecord, NodeRecord, Specification};

use super::{models, read, read_time, tenants, time};
use crate::authenticate::Operator;
use crate::trail::acted;
use crate::{Error, Gateway, unix_millis};

/// A time for which a model is to be booked.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewWindow")]
#[serde(deny_unknown_fields)]
pub struct New {
    pub from: String,
    pub to: String,
    /// Whether it comes again every 24 hours, until it is taken back.
    #[serde(default)]
    pub daily: bool,
    /// Replicas that are kept in it. Default: one.
    pub replicas: Option<u32>,
    /// Whose jobs alone run in it. Default: everybody's.
    pub tenant: Option<String>,
}

/// A time for which a model is booked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Window")]
pub struct Shown {
    id: u64,
    /// When it begins: of a daily one, the one that is open or comes next.
    from: String,
    to: String,
    daily: bool,
    open: bool,
    replicas: u32,
    /// Whose jobs alone run in it, for that tenant and for who operates.
    tenant: Option<String>,
    /// Whether jobs of the caller wait while it is open.
    for_others: bool,
}

impl Shown {
    /// Shows those of a model that are not over, the next one first.
    pub fn of(bookings: &[Booking], key: &ModelKey, principal: &Principal) -> Vec<Self> {
        let now = unix_millis();
        let its = bookings.iter().filter(|booking| booking.model == *key);
        let mut next: Vec<_> = its.filter_map(|booking| Some((booking.window.next(now)?, booking))).collect();
        next.sort_by_key(|(next, booking)| (*next, booking.number));
        next.into_iter().map(|(_, booking)| Self::new(booking, principal, now)).collect()
    }

    fn new(booking: &Booking, principal: &Principal, now: u64) -> Self {
        let Booking { number, window, .. } = booking;
        let (from, to) = window.next(now).unwrap_or((window.from, window.to));
        let told = |tenant: &&TenantId| principal.may(Scope::Operate) || **tenant == principal.tenant;
        Self {
            id: *number,
            from: time(from / 1000),
            to: time(to / 1000),
            daily: window.daily,
            open: (from..to).contains(&now),
            replicas: u32::try_from(window.replicas).unwrap_or(u32::MAX),
            tenant: window.tenant.as_ref().filter(told).map(ToString::to_string),
            for_others: window.tenant.as_ref().is_some_and(|tenant| *tenant != principal.tenant),
        }
    }
}

/// `POST /v1/models/{name}/windows`: books a model for a time.
pub async fn add(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let new: New = read(&gateway, body).await?;
    let (shown, what) = booked(&gateway, &principal, &name, new).await?;
    Ok(acted(what, (StatusCode::CREATED, Json(shown))))
}

/// Books a model for a time. Returns that, and what was done, in words.
///
/// # Errors
/// [`Error::NoSuchModel`], [`Error::NoTenant`]; [`Error::Unfit`] for what is no time that can be booked; [`Error::Conflict`] for
/// what cannot be had beside what is booked already.
pub async fn booked(gateway: &Gateway, principal: &Principal, name: &str, new: New) -> Result<(Shown, String), Error> {
    let key = models::find(gateway, name).await?.key().clone();
    let now = unix_millis();
    let window = Window {
        from: read_time("from", &new.from)?,
        to: read_time("to", &new.to)?,
        daily: new.daily,
        replicas: new.replicas.unwrap_or(1) as usize,
        tenant: new.tenant.map(TenantId::new),
    };
    window.check(now).map_err(Error::Unfit)?;
    if let Some(tenant) = &window.tenant {
        tenants::find(gateway, tenant.as_str()).await?;
    }
    let stored = gateway.models.stored();
    let (wished, nodes, bookings) = (stored.specifications(), stored.nodes(), stored.bookings());
    let (specifications, records, nodes) = tokio::try_join!(wished.list(), stored.list(), nodes.list())?;
    let cluster = cluster(&specifications, &records, &nodes, now);
    let may = |all: &[Booking]| -> Result<(), Error> {
        let mut cluster = cluster.clone();
        for booking in all {
            if let Some(model) = cluster.models.get_mut(&booking.model) {
                model.windows.push(booking.window.clone());
            }
        }
        book(&cluster, &key, &window).map_err(|clash| Error::Conflict(refusal(&key, &clash)))
    };
    let booking = bookings.add((key.clone(), window.clone()), now, may).await?;
    let shown = Shown::new(&booking, principal, now);
    let whose = shown.tenant.as_deref().map_or_else(String::new, |tenant| format!(" for the tenant {tenant}"));
    let daily = if shown.daily { ", daily" } else { "" };
    let what = format!(
        "{} booked {key} from {} to {}{daily}{whose}: window {}",
        principal.key, shown.from, shown.to, shown.id
    );
    Ok((shown, what))
}

/// `DELETE /v1/models/{name}/windows/{window}`: takes a booking back. What runs goes on.
pub async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path((name, window)): Path<(String, String)>,
) -> Result<Response, Error> {
    let (shown, what) = taken_back(&gateway, &principal, &name, window).await?;
    Ok(acted(what, Json(shown)))
}

/// Takes a booking back. Returns it, and what was done, in words.
///
/// # Errors
/// [`Error::NoSuchModel`], [`Error::NoSuchWindow`].
pub async fn taken_back(
    gateway: &Gateway,
    principal: &Principal,
    name: &str,
    window: String,
) -> Result<(Shown, String), Error> {
    let key = models::find(gateway, name).await?.key().clone();
    let number = window.parse::<u64>().ok();
    let is_it = |booking: &Booking| booking.model == key && Some(booking.number) == number;
    let gone = gateway.models.stored().bookings().remove(is_it).await?;
    let Some(booking) = gone.first() else { return Err(Error::NoSuchWindow { model: key, window }) };
    let what = format!("{} took the window {} of {key} back", principal.key, booking.number);
    Ok((Shown::new(booking, principal, unix_millis()), what))
}

/// Returns what there is as far as bookings depend on it.
fn cluster(specifications: &[Specification], records: &[ModelRecord], nodes: &[NodeRecord], now: u64) -> Cluster {
    let model = |it: &Specification| {
        let record = records.iter().find(|record| record.key == it.key);
        let bytes = record.map(|record| record.bytes).filter(|bytes| *bytes > 0);
        let model = Model {
            // Before a worker has looked, the size of its files says about as much.
            bytes: Some(bytes.unwrap_or_else(|| weights(&it.folder))),
            load_time: record.map(|record| record.load_time).unwrap_or_default(),
            ..it.wished()
        };
        (it.key.clone(), model)
    };
    let node = |node: &NodeRecord| Node { devices: node.devices.iter().cloned().collect(), ..Node::default() };
    Cluster {
        nodes: (1..).zip(nodes.iter().map(node)).collect(),
        models: specifications.iter().map(model).collect(),
        time: now,
    }
}

/// Returns what the weights' files of a folder take; 0 where they cannot be seen.
fn weights(folder: &FilePath) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let weights = files.filter(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.ends_with(".safetensors") || (name.starts_with("pytorch_model") && name.ends_with(".bin"))
    });
    weights.filter_map(|file| Some(std::fs::metadata(file.path()).ok()?.len())).sum()
}

/// Says why something cannot be booked.
fn refusal(key: &ModelKey, clash: &Clash) -> String {
    let when = |window: &Window| {
        let whose = window.tenant.as_ref().map_or_else(String::new, |tenant| format!(" for the tenant {tenant}"));
        let daily = if window.daily { " every day" } else { "" };
        format!("from {} to {}{daily}{whose}", time(window.from / 1000), time(window.to / 1000))
    };
    match clash {
        Clash::Many => format!(
            "{key} cannot be booked: there are {MOST} windows, of all models together, which is as many as there can be; take one \
             back that is not needed, or book one daily window in the place of several"
        ),
        Clash::Tenants { other } => format!(
            "{key} is booked {} already, and in a window the jobs of one tenant run, or everybody's; choose another time, or \
             take that window back first",
            when(other)
        ),
        Clash::Room { other: (model, other), at } => format!(
            "{key} and {model}, which is booked {}, cannot both be had at {}: the nodes have not the room for both beside \
             what is always loaded, and a model takes its room from when it is loaded for its window; choose another time, \
             fewer replicas, or take that window back first",
            when(other),
            time(at / 1000)
        ),
        Clash::Never { bytes, at } => format!(
            "{key} cannot be had at {}, whatever else is booked: it takes {} MB for each replica, and there are not so many \
             nodes with that much room for models beside what is always loaded; choose fewer replicas, or add a node",
            time(at / 1000),
            bytes.div_ceil(1_000_000)
        ),
    }
}
