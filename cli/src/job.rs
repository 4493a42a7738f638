//! `vitrine job`: what waits, runs and has ended.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::remote::Server;
use crate::{progress, serving, table};

#[derive(Subcommand)]
pub enum Command {
    /// Show jobs: those that wait or run, then those that have ended, the newest first.
    List(List),
    /// Show one job.
    Show(Named),
    /// Print what a job has printed so far.
    Logs(Named),
    /// End a job at its next step.
    Cancel(Named),
}

#[derive(Args)]
pub struct List {
    /// Only those that are queued, dispatched, running, completed, failed, cancelled or expired.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those of a tenant: your own, unless your key has the scope operate.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only those of a model, as REPO_ID or REPO_ID@REVISION.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 20, value_name = "NUMBER")]
    limit: usize,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct Named {
    /// The job's id, as `vitrine job list` shows it.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    server: Server,
}

/// Runs a `vitrine job` command.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(command: &Command) -> Result<ExitCode> {
    serving::run(async {
        match command {
            Command::List(list) => self::list(list).await,
            Command::Show(named) => show(named).await,
            Command::Logs(named) => logs(named).await,
            Command::Cancel(named) => cancel(named).await,
        }?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn list(list: &List) -> Result<()> {
    let wanted = [("state", &list.state), ("tenant", &list.tenant), ("model", &list.model)];
    let mut jobs: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    // A page may be short, or empty, where few of many jobs are wanted.
    while jobs.len() < list.limit {
        let rest = (list.limit - jobs.len()).to_string();
        let mut search: Vec<(&str, &str)> = vec![("limit", &rest)];
        search.extend(wanted.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
        search.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = list.server.search(&["jobs"], &search).await?;
        jobs.extend_from_slice(table::list(&page, "jobs"));
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if list.server.json {
        return table::json(&json!({ "jobs": jobs, "next": cursor }));
    }
    let fields = ["id", "tenant", "model", "state", "accepted_at", "ended_at"];
    let row = |job: &Value| fields.iter().map(|field| table::text(&job[*field])).collect();
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    table::rows(&["id", "tenant", "model", "state", "accepted", "ended"], &rows)
}

async fn show(named: &Named) -> Result<()> {
    let job = named.server.ask(Method::GET, &["jobs", &named.id], None).await?;
    if named.server.json {
        return table::json(&job);
    }
    let names = [
        ("id", "id"),
        ("tenant", "tenant"),
        ("key", "key"),
        ("model", "model"),
        ("state", "state"),
        ("attempt", "attempt"),
        ("accepted", "accepted_at"),
        ("started", "started_at"),
        ("ended", "ended_at"),
        ("request", "request_bytes"),
        ("result", "result_bytes"),
    ];
    let mut fields = names.map(|(name, field)| (name, table::text(&job[field]))).to_vec();
    for (name, text) in &mut fields {
        if matches!(*name, "request" | "result") && text != "-" {
            text.push_str(" bytes");
        }
    }
    if let Some(fault) = job["failure"]["fault"].as_str() {
        fields.push(("fault", fault.to_owned()));
    }
    table::fields(&fields)?;
    match job["failure"]["text"].as_str() {
        Some(text) => serving::say(&format!("\n{}", text.trim_end())),
        None => Ok(()),
    }
}

async fn logs(named: &Named) -> Result<()> {
    let mut answer = named.server.text(&["jobs", &named.id, "logs"]).await?;
    if named.server.json {
        let text = answer.text().await.map_err(|error| named.server.lost(&error))?;
        return table::json(&json!({ "id": named.id, "text": text }));
    }
    let mut out = std::io::stdout().lock();
    while let Some(piece) = answer.chunk().await.map_err(|error| named.server.lost(&error))? {
        out.write_all(&piece).and_then(|()| out.flush()).context("cannot write to stdout")?;
    }
    Ok(())
}

async fn cancel(named: &Named) -> Result<()> {
    let job = named.server.ask(Method::DELETE, &["jobs", &named.id], None).await?;
    if named.server.json {
        return table::json(&job);
    }
    progress::line(&match job["ended_at"].is_null() {
        true => format!("the job {} ends at its next step; it was {}", named.id, table::text(&job["state"])),
        false => format!("the job {} had ended already: it is {}", named.id, table::text(&job["state"])),
    });
    Ok(())
}
