//! `vitrine key`: the keys of a server's users.

mod stored;

use std::process::ExitCode;

use anyhow::Result;
use auth::{KeyRecord, Role, Scope};
use clap::{Args, Subcommand};
use config::Given;
use ids::Class;
use program::Batching;
use reqwest::Method;
use serde_json::{Value, json};

use crate::remote::Server;
use crate::{progress, serving, table};

#[derive(Subcommand)]
pub enum Command {
    /// Make a key at a running server, and print it. It is shown only this once.
    ///
    /// Your own key must have the scope admin, and the tenant must be there: `vitrine tenant create` makes it. Who signed in by
    /// `vitrine login --oidc` makes keys for themselves, which permit no more than they may, and end.
    Create(Create),
    /// Make a key in the store of a cluster, which needs no gateway: for the first one. It is shown only this once.
    ///
    /// The settings are those of the cluster's gateways. Where a server runs, `vitrine key create` asks that.
    Add(Box<stored::Add>),
    /// Show all keys: whose each is and what it permits. What a key is made of is nowhere to be seen.
    ///
    /// It asks the server at --host or, where --config or --set is given instead, reads the cluster's store.
    List(Box<List>),
    /// End a key. Within 5 seconds it is worth nothing at any gateway.
    ///
    /// It asks the server at --host or, where --config or --set is given instead, writes to the cluster's store.
    Revoke(Box<Revoke>),
    /// Make the successor of a key, which is as it is, and have the old one end after a while. It is shown only this once.
    Rotate(Rotate),
}

#[derive(Args)]
pub struct Create {
    /// Whose key it is: jobs and results are shared within a tenant, and with nobody else [default: your own].
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// What the key permits. May be repeated [default: submit and read-own; of one for yourself after `vitrine login --oidc`,
    /// what you may].
    #[arg(long = "scope", value_name = "submit|read-own|operate|admin|audit")]
    scopes: Vec<Scope>,
    /// What the key permits, by a name for scopes.
    #[arg(long, value_name = "researcher|operator|administrator|auditor", conflicts_with = "scopes")]
    role: Option<Role>,
    /// What `vitrine usage` shows its jobs under.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// A model that it may use, as REPO_ID, REPO_ID@REVISION or OWNER/*. May be repeated [default: all of its tenant's].
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// After how long it ends, for example 30d or 12h [default: never].
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
    /// What it is for, to find it in the list.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How its jobs share forward passes, where a request does not say.
    #[arg(long, default_value = "shared", value_name = "shared|reproducible|exclusive")]
    batching: Batching,
    /// How urgent its jobs are, which is not more than its tenant's [default: as its tenant's].
    #[arg(long, value_name = "high|normal|low")]
    class: Option<Class>,
    /// How long a job goes on whose blocking client is gone, for example 30s [default: to its end].
    #[arg(long, value_name = "TIME")]
    cancel_when_gone: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct List {
    /// Only those of a tenant.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    #[command(flatten)]
    at: At,
}

#[derive(Args)]
pub struct Revoke {
    /// The public part of the key, as `vitrine key list` shows it: of `vitrine_ID_…` it is the ID.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    at: At,
}

#[derive(Args)]
pub struct Rotate {
    /// The public part of the key, as `vitrine key list` shows it.
    #[arg(value_name = "ID")]
    id: String,
    /// How long both are valid.
    #[arg(long, default_value = "24h", value_name = "TIME")]
    overlap: String,
    #[command(flatten)]
    server: Server,
}

/// Where the keys are: at a server, or in a store.
#[derive(Args)]
struct At {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    given: Given,
}

impl At {
    fn store(&self) -> Option<&Given> {
        (!self.server.named() && self.given.anything()).then_some(&self.given)
    }
}

/// Runs a `vitrine key` command.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Create(create) => serving::run(self::create(create)),
        Command::Add(add) => serving::run(stored::add(add)),
        Command::List(list) => serving::run(self::list(list)),
        Command::Revoke(revoke) => serving::run(self::revoke(revoke)),
        Command::Rotate(rotate) => serving::run(self::rotate(rotate)),
    }
}

async fn create(create: &Create) -> Result<ExitCode> {
    let mut body = json!({ "batching": create.batching.to_string() });
    if let Some(tenant) = &create.tenant {
        body["tenant"] = tenant.as_str().into();
    }
    if !create.scopes.is_empty() {
        body["scopes"] = create.scopes.iter().map(|scope| scope.name()).collect();
    }
    if let Some(role) = create.role {
        body["role"] = role.name().into();
    }
    if let Some(project) = &create.project {
        body["project"] = project.as_str().into();
    }
    if !create.models.is_empty() {
        body["models"] = create.models.as_slice().into();
    }
    if let Some(class) = create.class {
        body["class"] = class.name().into();
    }
    if let Some(time) = &create.cancel_when_gone {
        body["cancel_when_gone"] = time.as_str().into();
    }
    if let Some(time) = &create.expires_in {
        body["expires_in"] = time.as_str().into();
    }
    if let Some(note) = &create.note {
        body["note"] = note.as_str().into();
    }
    let answer = create.server.ask(Method::POST, &["keys"], Some(&body)).await?;
    if create.server.json {
        return table::json(&answer).map(|()| ExitCode::SUCCESS);
    }
    let end = answer["expires_at"].as_str().map(|end| format!(", which ends at {end}")).unwrap_or_default();
    progress::line(&format!(
        "made the key {} of {}{end}; it is shown only this once",
        table::text(&answer["id"]),
        table::text(&answer["tenant"])
    ));
    serving::say(&table::text(&answer["key"]))?;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(rotate: &Rotate) -> Result<ExitCode> {
    let body = json!({ "overlap": rotate.overlap });
    let answer = rotate.server.ask(Method::POST, &["keys", &rotate.id, "rotate"], Some(&body)).await?;
    if rotate.server.json {
        return table::json(&answer).map(|()| ExitCode::SUCCESS);
    }
    progress::line(&format!(
        "made the key {} in place of {}, which ends at {}; it is shown only this once",
        table::text(&answer["id"]),
        rotate.id,
        table::text(&answer["replaces"]["expires_at"])
    ));
    serving::say(&table::text(&answer["key"]))?;
    Ok(ExitCode::SUCCESS)
}

async fn list(list: &List) -> Result<ExitCode> {
    let keys: Vec<Value> = match list.at.store() {
        Some(given) => {
            let mut records = stored::list(given).await?;
            records.retain(|record| list.tenant.as_ref().is_none_or(|tenant| tenant == record.tenant.as_str()));
            records.iter().map(shown).collect()
        }
        None => {
            let wanted: Vec<(&str, &str)> = list.tenant.iter().map(|tenant| ("tenant", tenant.as_str())).collect();
            table::list(&list.at.server.search(&["keys"], &wanted).await?, "keys").to_vec()
        }
    };
    if list.at.server.json {
        return table::json(&json!({ "keys": keys })).map(|()| ExitCode::SUCCESS);
    }
    let fields = ["id", "tenant", "scopes", "project", "expires_at", "cancel_when_gone", "note"];
    let row = |key: &Value| fields.iter().map(|field| table::text(&key[*field])).collect();
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    table::rows(&["id", "tenant", "scopes", "project", "expires", "client gone", "note"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

async fn revoke(revoke: &Revoke) -> Result<ExitCode> {
    match revoke.at.store() {
        Some(given) => stored::revoke(given, &revoke.id).await?,
        None => drop(revoke.at.server.ask(Method::DELETE, &["keys", &revoke.id], None).await?),
    }
    if revoke.at.server.json {
        table::json(&json!({ "id": revoke.id, "revoked": true }))?;
    } else {
        progress::line(&format!("the key {} is worth nothing any more", revoke.id));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a key of the store as a server shows it.
fn shown(record: &KeyRecord) -> Value {
    let time = |seconds: u64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        humantime::format_rfc3339_seconds(time).to_string()
    };
    json!({
        "id": record.id,
        "tenant": record.tenant,
        "scopes": record.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>(),
        "batching": record.batching.to_string(),
        "created_at": time(record.created_at),
        "expires_at": record.expires_at.map(time),
        "note": record.note,
        "project": record.project,
        "models": record.terms.models,
        "class": record.terms.class.map(Class::name),
        "cancel_when_gone": record.terms.cancel_when_gone.map(|seconds| {
            humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
        }),
        "quota": record.terms.quota,
        "owner": record.owner,
    })
}
