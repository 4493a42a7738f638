//! `vitrine status`: a server at a glance, worst first.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::model::hosted_rows;
use crate::remote::Server;
use crate::{node, serving, table};

#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    server: Server,
}

/// Jobs that wait, as far as they are counted.
const COUNTED: usize = 1000;

/// Runs `vitrine status`.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(status: &Status) -> Result<ExitCode> {
    serving::run(async {
        let server = &status.server;
        let models = server.ask(Method::GET, &["models"], None).await?;
        let nodes = server.ask(Method::GET, &["nodes"], None).await?;
        let limit = COUNTED.to_string();
        let queued = server.search(&["jobs"], &[("state", "queued"), ("limit", &limit)]).await?;
        let roles = table::list(&nodes, "roles");
        let (models, nodes) = (table::list(&models, "models"), table::list(&nodes, "nodes"));
        let waiting = table::list(&queued, "jobs").len();
        let troubles = troubles(models, nodes, roles);
        if server.json {
            let answer = json!({
                "well": troubles.is_empty(), "troubles": troubles, "models": models, "nodes": nodes,
                "roles": roles, "queued_jobs": waiting, "queued_jobs_counted_to": COUNTED,
            });
            table::json(&answer)?;
        } else {
            tell(models, nodes, waiting, &troubles)?;
        }
        Ok(if troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn tell(models: &[Value], nodes: &[Value], waiting: usize, troubles: &[String]) -> Result<()> {
    for trouble in troubles {
        serving::say(&format!("! {trouble}"))?;
    }
    if troubles.is_empty() {
        serving::say("all is well")?;
    }
    let running: u64 = nodes.iter().filter_map(|node| node["jobs"].as_u64()).sum();
    let slots: u64 =
        nodes.iter().filter(|node| node["state"] == "ready").filter_map(|node| node["slots"].as_u64()).sum();
    let counted = if waiting >= COUNTED { format!("{COUNTED} or more") } else { waiting.to_string() };
    serving::say(&format!("jobs: {counted} wait that you may see, {running} of {slots} places are taken"))?;
    serving::say("")?;
    table::rows(node::HEADS, &nodes.iter().map(node::row).collect::<Vec<_>>())?;
    serving::say("")?;
    hosted_rows(models)
}

/// Says what is wrong, each thing in a sentence.
pub fn troubles(models: &[Value], nodes: &[Value], roles: &[Value]) -> Vec<String> {
    let mut troubles = Vec::new();
    if !nodes.iter().any(|node| node["connected"] == true) {
        troubles.push("no worker is connected, so that no job can run".into());
    }
    for node in nodes.iter().filter(|node| node["state"] == "away") {
        troubles.push(format!("the node {} cannot be reached", table::text(&node["name"])));
    }
    for model in models {
        let name = table::text(&model["name"]);
        if let Some(why) = model["why"].as_str() {
            troubles.push(format!("the model {name} cannot be loaded: {why}"));
        }
        let open = table::list(model, "windows").iter().filter(|window| window["open"] == true);
        let booked = open.filter_map(|window| window["replicas"].as_u64()).max();
        if booked > model["replicas"]["ready"].as_u64() {
            let (ready, booked) = (&model["replicas"]["ready"], booked.unwrap_or(0));
            troubles.push(format!("the model {name} has {ready} of the {booked} replicas that are booked now"));
        }
        let short = model["replicas"]["min"].as_u64() > model["replicas"]["ready"].as_u64();
        if short && model["why"].is_null() {
            let replicas = &model["replicas"];
            troubles.push(format!(
                "the model {name} has {} of the {} replicas that are kept",
                replicas["ready"], replicas["min"]
            ));
        }
    }
    troubles.extend(
        roles.iter().flat_map(|it| ending(&format!("{} {}", table::text(&it["role"]), table::text(&it["name"])), it)),
    );
    troubles.extend(nodes.iter().flat_map(|it| ending(&format!("worker {}", table::text(&it["name"])), it)));
    troubles
}

/// Says which certificates of a role end soon, or have.
fn ending(holder: &str, shown: &Value) -> Vec<String> {
    let soon = |end: &str| {
        let end = humantime::parse_rfc3339(end).ok();
        end.is_some_and(|end| end.duration_since(SystemTime::now()).unwrap_or_default() < tls::expiry::SOON)
    };
    let ends = shown["certificates"].as_object().into_iter().flatten();
    let ends = ends.filter_map(|(purpose, end)| Some((purpose.replace('_', " "), end.as_str()?)));
    ends.filter(|(_, end)| soon(end))
        .map(|(purpose, end)| format!("the certificate of the {holder} for {purpose} ends at {end}: renew it"))
        .collect()
}
