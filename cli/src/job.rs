//! `vitrine job`: what waits, runs and has ended.

mod follow;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
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
    /// Print what a job has printed so far; with --follow, what it prints until it ends.
    Logs(Logs),
    /// Fetch a job's result: the bytes that nnsight's client would read, as `torch.save` writes them; with --safetensors, as
    /// safetensors.
    Result(Fetch),
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

#[derive(Args)]
pub struct Logs {
    #[command(flatten)]
    named: Named,
    /// Go on until the job has ended.
    #[arg(long, short, conflicts_with = "json")]
    follow: bool,
}

#[derive(Args)]
pub struct Fetch {
    #[command(flatten)]
    named: Named,
    /// Where to write it [default: stdout].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// As safetensors, whose metadata has what was saved beside tensors, as JSON.
    #[arg(long)]
    safetensors: bool,
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
            Command::Logs(Logs { named, follow: true }) => follow::follow(&named.server, &named.id).await,
            Command::Logs(Logs { named, follow: false }) => logs(named).await,
            Command::Result(fetch) => result(fetch).await,
            Command::Cancel(named) => cancel(named).await,
        }?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn list(list: &List) -> Result<()> {
    let wanted = [("state", &list.state), ("tenant", &list.tenant), ("model", &list.model)];
    let wanted: Vec<(&str, &str)> =
        wanted.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let (jobs, cursor) = list.server.pages(&["jobs"], &wanted, "jobs", list.limit).await?;
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
        ("project", "project"),
        ("model", "model"),
        ("class", "class"),
        ("state", "state"),
        ("attempt", "attempt"),
        ("accepted", "accepted_at"),
        ("started", "started_at"),
        ("must start by", "must_start_by"),
        ("may run", "run_time_s"),
        ("must end by", "must_end_by"),
        ("ended", "ended_at"),
        ("request", "request_bytes"),
        ("result", "result_bytes"),
    ];
    let mut fields = names.map(|(name, field)| (name, table::text(&job[field]))).to_vec();
    for (name, text) in &mut fields {
        match *name {
            "request" | "result" if text != "-" => text.push_str(" bytes"),
            "may run" if text != "-" => text.push_str(" s"),
            _ => {}
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

async fn result(fetch: &Fetch) -> Result<()> {
    let Fetch { named, output, safetensors } = fetch;
    let kind = if *safetensors { "application/vnd.safetensors" } else { "*/*" };
    let mut answer = named.server.fetch(&["jobs", &named.id, "result"], kind).await?;
    let compressed = answer.headers().contains_key("content-encoding");
    let (mut file, aside) = match output {
        None => (None, PathBuf::new()),
        // Beside it, so that a result that is cut short replaces nothing.
        Some(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let name = path.file_name().context("--output must name a file")?.to_string_lossy().into_owned();
            let aside = folder.join(format!("{name}.part"));
            (Some(File::create(&aside).with_context(|| format!("cannot write {}", aside.display()))?), aside)
        }
    };
    let mut bytes = 0;
    while let Some(piece) = answer.chunk().await.map_err(|error| named.server.lost(&error))? {
        match &mut file {
            Some(file) => file.write_all(&piece).with_context(|| format!("cannot write {}", aside.display()))?,
            None => std::io::stdout().lock().write_all(&piece).context("cannot write to stdout")?,
        }
        bytes += piece.len();
    }
    if let Some(path) = output {
        std::fs::rename(&aside, path).with_context(|| format!("cannot write {}", path.display()))?;
        if named.server.json {
            return table::json(&json!({ "id": named.id, "bytes": bytes, "zstd": compressed, "file": path }));
        }
        let how = if compressed { ", compressed by zstd, as its client asked for" } else { "" };
        progress::line(&format!("wrote {bytes} bytes to {}{how}", path.display()));
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
