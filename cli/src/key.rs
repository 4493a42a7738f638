//! The keys of a cluster's users.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use auth::{Grant, Keys, Scope, Secret, ServerSecret};
use clap::{Args, Subcommand, ValueEnum};
use config::Given;
use ids::TenantId;
use program::Batching;

use crate::role::gateway::Config;
use crate::{progress, serving};

#[derive(Subcommand)]
pub enum Command {
    /// Make a key, or take one that somebody else made, and print it. It is shown only this once.
    Add(Box<Add>),
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
    let Command::Add(add) = command;
    let config: Config = add.given.load(Vec::new())?;
    config.check()?;
    serving::run(self::add(add, config))
}

async fn add(add: &Add, config: Config) -> Result<ExitCode> {
    let keys = open(&config).await?;
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

async fn open(config: &Config) -> Result<Keys> {
    let store = config.store.open().await?;
    let secret = ServerSecret::load(store.as_ref()).await.context("cannot read the cluster's secret")?;
    Ok(Keys::new(Arc::clone(&store), &secret))
}
