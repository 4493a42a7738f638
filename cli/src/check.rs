//! `vitrine check` and `vitrine explain`: what a script's requests would do, before any of it runs.

mod looping;
mod script;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use explain::Explanation;
use serde_json::{Value, json};

use crate::remote::{Refusal, Server};
use crate::{progress, serving, table};

/// What the commands do, for their help.
pub const ABOUT: &str = "\
Says what a script's request would do, what it would cost and what is wrong with it, before any of it runs; `explain` says \
besides what depends on what.

The script is run by this machine's Python, with the nnsight client that is installed there, against a stand-in for the server \
that listens on this machine alone: whatever server the script names, its requests go there. What it submits is sent to the \
server's /v1/check, where nothing of it runs and nothing is kept. The script is told so, as an error of its job, and ends there \
unless it catches that. What it does itself until then, it does. Of a script that waits for its results, its first request is \
looked at.

Ends with 1 where a request would be refused.";

/// One of the commands.
#[derive(Args)]
pub struct Check {
    /// The script that sends it.
    #[arg(value_name = "SCRIPT.py")]
    script: PathBuf,
    /// What the script is given.
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
    /// The Python that runs it, with nnsight.
    #[arg(long, default_value = "python", value_name = "PROGRAM")]
    python: PathBuf,
    /// Draw what depends on what, and how far each pass goes, into this file: the first request.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Runs `vitrine check`, or `vitrine explain` where `graph` is wanted.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(check: &Check, graph: bool) -> Result<ExitCode> {
    serving::run(look(check, graph))
}

async fn look(check: &Check, graph: bool) -> Result<ExitCode> {
    let requests = script::requests(&check.python, &check.script, &check.arguments, &check.server).await?;
    let mut told: Vec<Result<Explanation, Refusal>> = Vec::new();
    for request in requests {
        told.push(match request {
            Ok(answer) => Ok(serde_json::from_value(answer).context("the server answers with something else")?),
            Err(refusal) => Err(refusal),
        });
    }
    if told.is_empty() {
        bail!(
            "{} sent no request: a trace is sent where it is opened with remote=True, and this script opened none until its \
             end",
            check.script.display()
        );
    }
    let text = std::fs::read_to_string(&check.script).unwrap_or_default();
    looping::warn(&mut told, &text);
    if let Some(file) = &check.svg {
        match told.iter().flatten().next() {
            Some(first) => {
                std::fs::write(file, explain::svg(first))
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
            None => progress::line("nothing is drawn, for the server would refuse the request"),
        }
    }
    if check.server.json {
        let requests: Vec<Value> = told.iter().map(shown).collect::<Result<_>>()?;
        table::json(&json!({ "requests": requests }))?;
    } else {
        let mut out = std::io::stdout().lock();
        for (at, request) in told.iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            match request {
                Ok(request) => write!(out, "{}", explain::text(request, graph))?,
                Err(refusal) => writeln!(out, "the request would be refused: {refusal}")?,
            }
        }
    }
    Ok(if told.iter().all(Result::is_ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown(request: &Result<Explanation, Refusal>) -> Result<Value> {
    Ok(match request {
        Ok(request) => serde_json::to_value(request)?,
        Err(refusal) => json!({ "refused": format!("{refusal}") }),
    })
}
