//! Keys in the store of a cluster, without a gateway.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use auth::{Grant, KeyRecord, Keys, Scope, Secret, ServerSecret};
use clap::Args;
use config::Given;
use ids::{KeyId, TenantId};
use program::Batching;

use crate::role::gateway::Config;
use crate::{progress, serving};

#[derive(Args)]
pub struct Add {
    /// The settings are those of the cluster's gateways.
    #[command(flatten)]
    given: Given,
    /// Whose key it is: jobs and results are shared within a tenant, and with nobody else.
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// What the key permits. May be repeated [default: submit and read-own].
    #[arg(long = "scope", value_name = "submit|read-own|operate|admin|audit")]
    scopes: Vec<Scope>,
    /// How its jobs share forward passes, where a request does not say.
    #[arg(long, default_value = "shared", value_name = "shared|reproducible|exclusive")]
    batching: Batching,
    /// A key that somebody else made: any text that fits an HTTP header.
    #[arg(long, env = "VITRINE_NEW_KEY", hide_env_values = true, value_name = "TEXT")]
    key: Option<String>,
}

/// Makes a key in the store.
///
/// # Errors
/// A sentence that says what failed.
pub async fn add(add: &Add) -> Result<ExitCode> {
    let keys = open(&add.given).await?;
    let scopes = if add.scopes.is_empty() { &Scope::DEFAULT } else { add.scopes.as_slice() };
    let grant = Grant { batching: add.batching, ..Grant::new(TenantId::new(add.tenant.as_str()), scopes) };
    let key = match &add.key {
        Some(text) => Secret::new(text),
        None => Keys::make()?,
    };
    let id = keys.register(&key, grant).await?.id;
    progress::line(&format!("added the key {id} of {}", add.tenant));
    serving::say(key.reveal())?;
    Ok(ExitCode::SUCCESS)
}

/// Returns all keys of the store.
///
/// # Errors
/// A sentence that says what failed.
pub async fn list(given: &Given) -> Result<Vec<KeyRecord>> {
    let mut records = open(given).await?.list().await?;
    records.sort_by(|left, right| (&left.tenant, &left.id).cmp(&(&right.tenant, &right.id)));
    Ok(records)
}

/// Ends a key of the store.
///
/// # Errors
/// A sentence that says what failed.
pub async fn revoke(given: &Given, id: &str) -> Result<()> {
    if open(given).await?.revoke(&KeyId::new(id)).await? {
        return Ok(());
    }
    bail!("there is no key {id}; `vitrine key list` shows those that there are")
}

async fn open(given: &Given) -> Result<Keys> {
    let config: Config = given.load(Vec::new())?;
    config.check()?;
    let (store, _) = config.store.open().await?;
    let secret = ServerSecret::load(store.as_ref()).await.context("cannot read the cluster's secret")?;
    Ok(Keys::new(Arc::clone(&store), &secret))
}
