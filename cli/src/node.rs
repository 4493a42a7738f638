//! `vitrine node`: the workers of a running server.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use crate::remote::Server;
use crate::{progress, serving, table};

#[derive(Subcommand)]
pub enum Command {
    /// Show all nodes.
    List(List),
    /// Give a node no new jobs and no more models. What it has goes on.
    Cordon(Named),
    /// End what `cordon` or `drain` began.
    Uncordon(Named),
    /// Empty a node: it gets nothing new, its jobs come to their end, and its models are loaded elsewhere.
    Drain(Named),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct Named {
    /// The node, as `vitrine node list` shows it.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
}

/// Runs a `vitrine node` command.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(command: &Command) -> Result<ExitCode> {
    serving::run(async {
        match command {
            Command::List(list) => self::list(&list.server).await,
            Command::Cordon(named) => named.act("cordon", "gets nothing new; what it has goes on").await,
            Command::Uncordon(named) => named.act("uncordon", "is given jobs and models again").await,
            Command::Drain(named) => {
                named.act("drain", "is emptied: its jobs end, and its models are loaded elsewhere").await
            }
        }?;
        Ok(ExitCode::SUCCESS)
    })
}

impl Named {
    async fn act(&self, act: &str, what: &str) -> Result<()> {
        let answer = self.server.ask(Method::POST, &["nodes", &self.name, act], None).await?;
        if self.server.json {
            return table::json(&answer);
        }
        progress::line(&format!("the node {} {what}", self.name));
        Ok(())
    }
}

async fn list(server: &Server) -> Result<()> {
    let answer = server.ask(Method::GET, &["nodes"], None).await?;
    if server.json {
        return table::json(&answer);
    }
    let rows: Vec<Vec<String>> = table::list(&answer, "nodes").iter().map(row).collect();
    table::rows(HEADS, &rows)
}

/// The columns of a list of nodes.
pub const HEADS: &[&str] = &["node", "state", "jobs", "slots", "memory for models", "models"];

/// Returns a node's row in a list.
pub fn row(node: &Value) -> Vec<String> {
    let device = |device: &Value| {
        let (used, all) = (table::bytes(&device["used_bytes"]), table::bytes(&device["model_bytes"]));
        format!("{}: {used} of {all}", table::text(&device["name"]))
    };
    let mut memory: Vec<String> = table::list(node, "devices").iter().map(device).collect();
    if node["warm_bytes"].as_u64().is_some_and(|bytes| bytes > 0) {
        let (used, all) = (table::bytes(&node["warm_used_bytes"]), table::bytes(&node["warm_bytes"]));
        memory.push(format!("kept warm: {used} of {all}"));
    }
    let model = |model: &Value| match model["stage"].as_str() {
        Some("ready") | None => table::text(&model["model"]),
        Some(stage) => format!("{} ({stage})", table::text(&model["model"])),
    };
    let joined = |items: Vec<String>| if items.is_empty() { "-".into() } else { items.join(", ") };
    vec![
        table::text(&node["name"]),
        table::text(&node["state"]),
        table::text(&node["jobs"]),
        table::text(&node["slots"]),
        joined(memory),
        joined(table::list(node, "models").iter().map(model).collect()),
    ]
}
