//! Models of a running server: shown, hosted, changed and evicted.

use std::path::absolute;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::windows;
use crate::hosted::Hosted;
use crate::remote::Server;
use crate::{progress, table};

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct Named {
    /// The model, as REPO_ID or REPO_ID@REVISION.
    #[arg(value_name = "MODEL")]
    pub name: String,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Args)]
pub struct Deploy {
    /// The model and the folder that has its config.json, tokenizer and safetensors, as workers and gateways find it. For a
    /// model that is hosted already, its name is enough: what is not given stays.
    #[arg(
        value_name = "REPO_ID=FOLDER[,dtype=float32|bfloat16|int8|nf4][,device=cpu|cuda|cuda:N][,ranks=N][,residency=stream]"
    )]
    model: String,
    /// Keep so many replicas loaded, each on a worker of its own. Without it, a model takes whatever room nobody else needs.
    #[arg(long, value_name = "COUNT")]
    replicas: Option<u32>,
    /// Load up to so many replicas while there is work for them [default: as many as are kept].
    #[arg(long, value_name = "COUNT")]
    max_replicas: Option<u32>,
    /// Never unload it for the sake of another model; `--pinned=false` ends that.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false")]
    pinned: Option<bool>,
    /// Load it in the times for which it is booked and at no other time, which `vitrine model window add` books;
    /// `--windows-only=false` ends that.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false")]
    windows_only: Option<bool>,
    #[command(flatten)]
    server: Server,
}

/// `vitrine model list`.
///
/// # Errors
/// A sentence that says what failed.
pub async fn list(list: &List) -> Result<ExitCode> {
    let answer = list.server.ask(Method::GET, &["models"], None).await?;
    if list.server.json {
        table::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let models = table::list(&answer, "models");
    let rows: Vec<Vec<String>> = models.iter().map(row).collect();
    table::rows(HEADS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// The columns of a list of models.
pub const HEADS: &[&str] = &["model", "state", "replicas", "memory", "waits"];

/// Returns a model's row in a list.
pub fn row(model: &Value) -> Vec<String> {
    let replicas = &model["replicas"];
    let wanted = match (replicas["min"].as_u64(), replicas["max"].as_u64()) {
        (_, None) => "wherever there is room".into(),
        (Some(min), Some(max)) if min == max => format!("of {max}"),
        (min, Some(max)) => format!("of {} to {max}", min.unwrap_or(0)),
    };
    let pinned = if model["pinned"] == true { ", pinned" } else { "" };
    let windows = if model["windows_only"] == true { ", in its windows only" } else { "" };
    vec![
        table::text(&model["name"]),
        state(model),
        format!("{} {wanted}{pinned}{windows}", replicas["ready"]),
        table::bytes(&model["memory_bytes"]),
        waits(model),
    ]
}

fn state(model: &Value) -> String {
    match model["progress"].as_f64() {
        Some(fraction) => format!("loading {:.0} %", fraction * 100.0),
        None => table::text(&model["state"]),
    }
}

fn waits(model: &Value) -> String {
    match (model["wait"]["why"].as_str(), model["why"].as_str()) {
        (Some(why), _) => match model["wait"]["expected_at"].as_str() {
            Some(at) => format!("{why}; expected at {at}"),
            None => why.to_owned(),
        },
        (None, Some(why)) => why.to_owned(),
        (None, None) => "-".into(),
    }
}

/// `vitrine model show`.
///
/// # Errors
/// A sentence that says what failed.
pub async fn show(named: &Named) -> Result<ExitCode> {
    let model = named.server.ask(Method::GET, &["models", &named.name], None).await?;
    tell(&model, named.server.json)?;
    Ok(ExitCode::SUCCESS)
}

/// `vitrine model deploy`.
///
/// # Errors
/// A sentence that says what failed.
pub async fn deploy(deploy: &Deploy) -> Result<ExitCode> {
    if deploy.replicas.is_none() && deploy.max_replicas == Some(0) {
        bail!("--max-replicas must be at least 1; `vitrine model evict` ends that a model is hosted");
    }
    // One that stands alone is kept at nothing, and loaded while there is work.
    let min = deploy.replicas.unwrap_or(0);
    if deploy.max_replicas.is_some_and(|max| max < min) {
        bail!("--max-replicas must not be less than --replicas, which is {min}");
    }
    let limited = deploy.replicas.is_some() || deploy.max_replicas.is_some();
    let replicas = limited.then(|| json!({ "min": min, "max": deploy.max_replicas.unwrap_or(min) }));
    let server = &deploy.server;
    let model = match deploy.model.contains('=') {
        true => {
            let Hosted { key, folder, dtype, device, ranks, residency } =
                deploy.model.parse::<Hosted>().map_err(|why| anyhow!("cannot read {:?}: {why}", deploy.model))?;
            let folder = absolute(&folder).with_context(|| format!("cannot find {}", folder.display()))?;
            let mut body =
                json!({ "folder": folder, "dtype": dtype, "device": device, "ranks": ranks, "residency": residency });
            if let Some(replicas) = replicas {
                body["replicas"] = replicas;
            }
            body["pinned"] = deploy.pinned.unwrap_or(false).into();
            body["windows_only"] = deploy.windows_only.unwrap_or(false).into();
            server.ask(Method::PUT, &["models", &key.to_string()], Some(&body)).await?
        }
        false => {
            let mut body = json!({});
            if let Some(replicas) = replicas {
                body["replicas"] = replicas;
            }
            if let Some(pinned) = deploy.pinned {
                body["pinned"] = pinned.into();
            }
            if let Some(windows_only) = deploy.windows_only {
                body["windows_only"] = windows_only.into();
            }
            if body == json!({}) {
                bail!(
                    "nothing was said about {}: name its folder as REPO_ID=FOLDER, or what is to change",
                    deploy.model
                );
            }
            server.ask(Method::PATCH, &["models", &deploy.model], Some(&body)).await?
        }
    };
    if server.json {
        table::json(&model)?;
    } else {
        let name = table::text(&model["name"]);
        progress::line(&format!(
            "{name} is hosted: jobs for it are taken, and `vitrine model show {name}` says how far it is"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// `vitrine model evict`.
///
/// # Errors
/// A sentence that says what failed.
pub async fn evict(named: &Named) -> Result<ExitCode> {
    let model = named.server.ask(Method::DELETE, &["models", &named.name], None).await?;
    if named.server.json {
        table::json(&model)?;
        return Ok(ExitCode::SUCCESS);
    }
    progress::line(&format!("{} is hosted no longer: what runs ends, and what waits for it is refused", named.name));
    if model["configured"] == true {
        progress::line(
            "the server's settings name it, so it comes back at the scheduler's next start unless you take it out there",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(model: &Value, json: bool) -> Result<()> {
    if json {
        return table::json(model);
    }
    let row = row(model);
    let [_, state, replicas, memory, waits] = row.as_slice() else { bail!("a model's row is short") };
    let seconds = |name: &str| model[name].as_f64().map_or("-".into(), |seconds| format!("{seconds:.1} s"));
    table::fields(&[
        ("model", table::text(&model["name"])),
        ("state", state.clone()),
        ("waits", waits.clone()),
        ("replicas", replicas.clone()),
        ("memory", memory.clone()),
        ("load time", seconds("load_time_s")),
        ("warm load time", seconds("warm_load_time_s")),
        ("dtype", table::text(&model["dtype"])),
        ("device", table::text(&model["device"])),
        ("ranks", table::text(&model["ranks"])),
        ("residency", table::text(&model["residency"])),
        ("folder", table::text(&model["folder"])),
    ])?;
    let windows = table::list(model, "windows");
    if !windows.is_empty() {
        windows::rows(windows)?;
    }
    let nodes = table::list(model, "nodes");
    if nodes.is_empty() {
        return Ok(());
    }
    let row = |node: &Value| {
        let mut cells: Vec<String> =
            ["node", "stage", "device", "jobs"].map(|field| table::text(&node[field])).to_vec();
        cells.push(table::bytes(&node["memory_bytes"]));
        cells
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    table::rows(&["node", "stage", "device", "jobs", "memory"], &rows)
}
