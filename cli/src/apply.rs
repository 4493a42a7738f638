//! `vitrine apply`: makes models, tenants, quotas and keys what a file says. What the file does not name is left alone.

mod models;
mod windows;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use ids::Class;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::remote::Server;
use crate::{serving, table};

#[derive(Args)]
pub struct Apply {
    /// A TOML file such as this one, of which all but the names may be left out, and the folder of a model that is hosted:
    ///
    ///   [[model]]
    ///   name = "openai-community/gpt2"
    ///   folder = "/models/gpt2"                 # also dtype, device, ranks, residency
    ///   replicas = { min = 1, max = 4 }
    ///   pinned = true                           # also windows_only
    ///   windows = [{ from = 2026-12-01T22:00:00Z, to = 2026-12-02T04:00:00Z, daily = true, replicas = 2, tenant = "lab-b" }]
    ///
    ///   [[tenant]]
    ///   name = "lab-b"                          # made if it is not there; also suspended
    ///   models = ["openai-community/*"]
    ///   class = "normal"
    ///   quota = { queued_jobs = 100, device_seconds_per_day = 3600 }
    ///
    ///   [[key]]
    ///   id = "e87edf3755e0"                     # `vitrine key create` makes keys
    ///   role = "researcher"                     # or scopes; also models, class, quota
    ///   project = "probes"
    ///   note = "the notebook"
    #[arg(value_name = "FILE", verbatim_doc_comment)]
    file: PathBuf,
    /// Say what would be changed, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: Server,
}

/// What a file may declare.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    #[serde(default)]
    model: Vec<models::Model>,
    #[serde(default)]
    tenant: Vec<Tenant>,
    #[serde(default)]
    key: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tenant {
    name: String,
    suspended: Option<bool>,
    models: Option<Vec<String>>,
    class: Option<Urgency>,
    quota: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    id: String,
    scopes: Option<Vec<String>>,
    role: Option<Role>,
    project: Option<String>,
    note: Option<String>,
    models: Option<Vec<String>>,
    class: Option<Urgency>,
    quota: Option<Map<String, Value>>,
}

/// A class as it is written in a file.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Urgency(Class);

impl TryFrom<String> for Urgency {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse().map(Self)
    }
}

/// A role as it is written in a file.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Role(auth::Role);

impl TryFrom<String> for Role {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse().map(Self)
    }
}

/// One request that makes a part of what there is what it should be.
struct Step {
    /// What changes, for people.
    what: String,
    method: Method,
    path: Vec<String>,
    /// `None` where there is nothing to say.
    body: Option<Value>,
}

/// Makes things what a file says.
///
/// # Errors
/// A sentence that says what failed, and what had been done by then.
pub fn run(apply: &Apply) -> Result<ExitCode> {
    let named = || format!("cannot read {}", apply.file.display());
    let text = std::fs::read_to_string(&apply.file).with_context(named)?;
    let declared: Declared = toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        anyhow!("{} is not as it should be: line {line}: {}", apply.file.display(), error.message())
    })?;
    serving::run(async {
        let steps = plan(&apply.server, &declared).await?;
        let mut done = Vec::new();
        for Step { what, method, path, body } in &steps {
            if !apply.dry_run {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let asked = apply.server.ask(method.clone(), &path, body.as_ref()).await;
                asked
                    .with_context(|| format!("{what}: not done, and {} of {} changes are", done.len(), steps.len()))?;
            }
            if !apply.server.json {
                serving::say(&format!("{}{what}", if apply.dry_run { "would change " } else { "changed " }))?;
            }
            done.push(what);
        }
        if apply.server.json {
            table::json(&json!({ "changes": done, "dry_run": apply.dry_run }))?;
        } else if steps.is_empty() {
            serving::say("nothing to change: all is as the file says")?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Compares what there is with what is declared.
async fn plan(server: &Server, declared: &Declared) -> Result<Vec<Step>> {
    // Who may host models need not be who may look at tenants: what the file does not name is not asked for.
    let mut there = Vec::new();
    let named = [("models", declared.model.len()), ("tenants", declared.tenant.len()), ("keys", declared.key.len())];
    for (name, many) in named {
        there.push(if many > 0 { server.ask(Method::GET, &[name], None).await? } else { Value::Null });
    }
    let [models, tenants, keys] = &there[..] else { return Ok(Vec::new()) };
    let mut steps = Vec::new();
    for model in &declared.model {
        let found = table::list(models, "models").iter().find(|there| there["name"] == model.name.as_str());
        steps.extend(model.step(found)?);
    }
    for tenant in &declared.tenant {
        let found = table::list(tenants, "tenants").iter().find(|there| there["name"] == tenant.name.as_str());
        let there = found.cloned().unwrap_or(Value::Null);
        let path = || vec!["tenants".to_owned(), tenant.name.clone()];
        if there.is_null() {
            let what = format!("tenant {}: made", tenant.name);
            steps.push(Step {
                what,
                method: Method::POST,
                path: path()[..1].to_vec(),
                body: Some(json!({ "name": tenant.name })),
            });
        }
        let mut wanted = Map::new();
        let mut now = Map::new();
        if let Some(suspended) = tenant.suspended {
            wanted.insert("suspended".into(), suspended.into());
            now.insert("suspended".into(), (!there["suspended_at"].is_null()).into());
        }
        if let Some(models) = &tenant.models {
            wanted.insert("models".into(), json!(models));
            now.insert("models".into(), there["models"].clone());
        }
        if let Some(Urgency(class)) = tenant.class {
            wanted.insert("class".into(), class.name().into());
            // One that is made is normal.
            let before = there["class"].as_str().unwrap_or(Class::default().name());
            now.insert("class".into(), before.into());
        }
        steps.extend(changed(&format!("tenant {}", tenant.name), &now, wanted, path()));
        steps.extend(quota(&format!("tenant {}", tenant.name), &there, tenant.quota.as_ref(), path()));
    }
    // A tenant whom they are for may have been made a moment ago.
    for model in &declared.model {
        let found = table::list(models, "models").iter().find(|there| there["name"] == model.name.as_str());
        steps.extend(model.bookings(found)?);
    }
    for key in &declared.key {
        let there = table::list(keys, "keys").iter().find(|there| there["id"] == key.id.as_str());
        let there = there.with_context(|| format!("there is no key {:?}; `vitrine key create` makes keys", key.id))?;
        let path = || vec!["keys".to_owned(), key.id.clone()];
        let scopes = key.role.as_ref().map(|Role(role)| role.scopes().iter().map(|scope| scope.name().to_owned()));
        let scopes = key.scopes.clone().or(scopes.map(Iterator::collect));
        let given = [
            ("scopes", scopes.map(Value::from)),
            ("project", key.project.clone().map(Value::from)),
            ("note", key.note.clone().map(Value::from)),
            ("models", key.models.clone().map(Value::from)),
            ("class", key.class.map(|Urgency(class)| class.name().into())),
        ];
        let wanted = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        steps.extend(changed(&format!("key {}", key.id), there.as_object().unwrap_or(&Map::new()), wanted, path()));
        steps.extend(quota(&format!("key {}", key.id), there, key.quota.as_ref(), path()));
    }
    Ok(steps)
}

/// Returns the request that makes some fields what is wanted, if they are not.
fn changed(whose: &str, there: &Map<String, Value>, wanted: Map<String, Value>, path: Vec<String>) -> Option<Step> {
    let other: Map<String, Value> =
        wanted.into_iter().filter(|(name, value)| there.get(name).unwrap_or(&Value::Null) != value).collect();
    if other.is_empty() {
        return None;
    }
    let shown = |(name, value): (&String, &Value)| {
        format!("{name} {} -> {}", table::text(there.get(name).unwrap_or(&Value::Null)), table::text(value))
    };
    let what = format!("{whose}: {}", other.iter().map(shown).collect::<Vec<_>>().join(", "));
    Some(Step { what, method: Method::PATCH, path, body: Some(Value::Object(other)) })
}

/// Returns the request that makes a quota what is wanted, if it is not: what the file leaves out of it is not bounded.
fn quota(whose: &str, there: &Value, wanted: Option<&Map<String, Value>>, path: Vec<String>) -> Option<Step> {
    let wanted = wanted?;
    let now = there["quota"].as_object().cloned().unwrap_or_default();
    let names = now.keys().chain(wanted.keys().filter(|name| !now.contains_key(*name)));
    let null = Value::Null;
    let differ = names.filter_map(|name| {
        let (before, after) = (now.get(name).unwrap_or(&null), wanted.get(name).unwrap_or(&null));
        (before != after).then(|| format!("{name} {} -> {}", table::text(before), table::text(after)))
    });
    let differ: Vec<String> = differ.collect();
    if differ.is_empty() {
        return None;
    }
    let what = format!("{whose}: quota: {}", differ.join(", "));
    let path = path.into_iter().chain(["quota".to_owned()]).collect();
    Some(Step { what, method: Method::PUT, path, body: Some(Value::Object(wanted.clone())) })
}
