//! The keys of a cluster's users.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use auth::{Grant, Keys, Scope, Secret, ServerSecret};
use clap::{Args, Subcommand, ValueEnum};
use config::Given;
use ids::{KeyId, TenantId};
use program::Batching;

use crate::role::gateway::Config;
use crate::{progress, serving};

#[derive(Subcommand)]
pub enum Command {
    /// Make a key, or take one that somebody else made, and print it. It is shown only this once.
    Add(Box<Add>),
    /// Show all keys: whose each is and what it permits. What a key is made of is nowhere to be seen.
    List(Box<List>),
    /// End a key. Within 5 seconds it is worth nothing at any gateway.
    Revoke(Box<Revoke>),
}

#[derive(Args)]
pub struct List {
    /// The settings are those of the cluster's gateways.
    #[command(flatten)]
    given: Given,
}

#[derive(Args)]
pub struct Revoke {
    /// The settings are those of the cluster's gateways.
    #[command(flatten)]
    given: Given,
    /// The public part of the key, as `vitrine key list` shows it: of `vitrine_ID_…` it is the ID.
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Args)]
pub struct Add {
    /// The settings are those of the cluster's gateways.
    #[command(flatten)]
    given: Given,
    /// Whose key it is: jobs and results are shared within a tenant, and with nobody else.
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// What the key permits. May be repeated [default: submit and read-own].
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Permission>,
    /// How its jobs share forward passes, where a request does not say.
    #[arg(long, default_value = "shared", value_name = "shared|reproducible|exclusive")]
    batching: Batching,
    /// A key that somebody else made: any text that fits an HTTP header.
    #[arg(long, env = "VITRINE_NEW_KEY", hide_env_values = true, value_name = "TEXT")]
    key: Option<String>,
}

/// What a key permits, as it is typed.
#[derive(Clone, Copy, ValueEnum)]
enum Permission {
    /// Submit jobs.
    Submit,
    /// Follow, read and cancel jobs of the key's own tenant.
    ReadOwn,
    /// Look at and cancel the jobs of all tenants.
    Operate,
    /// Everything.
    Admin,
}

impl From<Permission> for Scope {
    fn from(permission: Permission) -> Self {
        match permission {
            Permission::Submit => Self::Submit,
            Permission::ReadOwn => Self::ReadOwn,
            Permission::Operate => Self::Operate,
            Permission::Admin => Self::Admin,
        }
    }
}

/// Runs a `vitrine key` command.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Add(add) => serving::run(self::add(add)),
        Command::List(list) => serving::run(self::list(&list.given)),
        Command::Revoke(revoke) => serving::run(self::revoke(&revoke.given, &revoke.id)),
    }
}

async fn add(add: &Add) -> Result<ExitCode> {
    let keys = open(&add.given).await?;
    let scopes: Vec<Scope> = match add.scopes.as_slice() {
        [] => vec![Scope::Submit, Scope::ReadOwn],
        scopes => scopes.iter().copied().map(Scope::from).collect(),
    };
    let grant = Grant { batching: add.batching, ..Grant::new(TenantId::new(add.tenant.as_str()), &scopes) };
    let key = match &add.key {
        Some(text) => Secret::new(text),
        None => Keys::make()?,
    };
    let id = keys.register(&key, grant).await?;
    progress::line(&format!("added the key {id} of {}", add.tenant));
    serving::say(key.reveal())?;
    Ok(ExitCode::SUCCESS)
}

async fn list(given: &Given) -> Result<ExitCode> {
    let mut records = open(given).await?.list().await?;
    records.sort_by(|left, right| (&left.tenant, &left.id).cmp(&(&right.tenant, &right.id)));
    for record in records {
        let scopes: Vec<&str> = record.scopes.iter().map(|scope| name(*scope)).collect();
        serving::say(&format!("{}  {}  {}", record.id, record.tenant, scopes.join(",")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(given: &Given, id: &str) -> Result<ExitCode> {
    if open(given).await?.revoke(&KeyId::new(id)).await? {
        progress::line(&format!("the key {id} is worth nothing any more"));
        return Ok(ExitCode::SUCCESS);
    }
    bail!("there is no key {id}; `vitrine key list` shows those that there are")
}

/// Returns what a permission is called where it is typed.
fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Submit => "submit",
        Scope::ReadOwn => "read-own",
        Scope::Operate => "operate",
        Scope::Admin => "admin",
    }
}

async fn open(given: &Given) -> Result<Keys> {
    let config: Config = given.load(Vec::new())?;
    config.check()?;
    let store = config.store.open().await?;
    let secret = ServerSecret::load(store.as_ref()).await.context("cannot read the cluster's secret")?;
    Ok(Keys::new(Arc::clone(&store), &secret))
}
