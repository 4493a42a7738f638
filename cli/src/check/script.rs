//! What a script submits.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use gateway::stand_in::{Submitted, serve};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::progress;
use crate::remote::{Refusal, Server};

/// Requests that are looked at of one script.
const MOST: usize = 100;
/// Bytes of what it writes to stderr that are kept: the end.
const KEPT: usize = 64 << 10;
/// The Python program that runs it.
const STAND_IN: &str = include_str!("stand_in.py");
/// What the script is told of each of its requests.
const LOOKED_AT: &str = "`vitrine` looked at this request and did not run it";

/// Runs a script until it ends, and has the server look at each request that it submits. Returns what the server says of each.
///
/// # Errors
/// When the script cannot be run, or the server not be asked, or the script fails before it submits anything.
pub async fn requests(
    python: &Path,
    script: &Path,
    arguments: &[String],
    server: &Server,
) -> Result<Vec<Result<Value, Refusal>>> {
    if !script.is_file() {
        bail!("there is no script {}", script.display());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on this machine")?;
    let address = listener.local_addr()?;
    let (submissions, mut submitted) = mpsc::channel(1);
    let standing_in = tokio::spawn(serve(listener, submissions));
    let stderr = std::io::stderr().as_fd().try_clone_to_owned()?;
    let mut child = Command::new(python)
        .arg("-c")
        .arg(STAND_IN)
        .arg(script)
        .args(arguments)
        .env("VITRINE_STAND_IN", format!("http://{address}"))
        // What it prints is for people; what is asked for is on stdout.
        .stdout(Stdio::from(stderr))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}: --python names the Python that has nnsight", python.display()))?;
    let mut errors = child.stderr.take().context("the script has no stderr")?;
    let reading = tokio::spawn(async move {
        let (mut all, mut piece) = (Vec::new(), vec![0; 8 << 10]);
        while let Ok(count @ 1..) = errors.read(&mut piece).await {
            all.extend_from_slice(piece.get(..count).unwrap_or_default());
            if all.len() > 2 * KEPT {
                all.drain(..all.len() - KEPT);
            }
        }
        all
    });
    let mut answers: Vec<Result<Value, Refusal>> = Vec::new();
    let status = loop {
        // Both are cancel-safe: a submission that has come is taken, and an end is found again.
        tokio::select! {
            Some(Submitted { kind, body, told }) = submitted.recv() => {
                let answer = if answers.len() < MOST {
                    Some(server.post(&["check"], &kind, body).await)
                } else {
                    None
                };
                // Where the client has gone, nobody needs to be told.
                let _ = told.send(LOOKED_AT.to_owned());
                match answer {
                    Some(Ok(answer)) => answers.push(Ok(answer)),
                    Some(Err(error)) => answers.push(Err(error.downcast::<Refusal>()?)),
                    None => {
                        progress::line(&format!("the script has more than {MOST} requests: the others are not looked at"));
                        child.start_kill()?;
                    }
                }
            }
            status = child.wait() => break status?,
        }
    };
    standing_in.abort();
    let errors = reading.await.unwrap_or_default();
    if answers.is_empty() && !status.success() {
        progress::line(&String::from_utf8_lossy(&errors));
        bail!("{} failed before it sent a request: what it says is above", script.display());
    }
    Ok(answers)
}
