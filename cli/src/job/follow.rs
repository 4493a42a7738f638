//! `vitrine job logs --follow`: what a job prints, as it prints it, until it has ended.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Response;
use serde_json::Value;
use tokio::time::sleep;

use crate::remote::Server;
use crate::{progress, table};

/// How long to wait before a stream that ended early is asked for again, and how often in a row that may be in vain.
const PAUSE: Duration = Duration::from_secs(1);
const IN_VAIN: u32 = 30;

/// One event of a stream, as far as it was read.
#[derive(Default)]
struct Event {
    id: String,
    kind: String,
    data: String,
}

/// Prints what a job prints. Says at the end how it ended.
///
/// # Errors
/// A sentence: also where the job did not complete.
pub async fn follow(server: &Server, id: &str) -> Result<()> {
    let (mut last, mut vain) = (None::<String>, 0);
    loop {
        // A gateway that stops ends its streams; another goes on.
        let asked = server.events(&["jobs", id, "events"], last.as_deref()).await;
        let heard = match asked {
            Ok(answer) => read(server, answer, &mut last).await,
            Err(error) if last.is_none() || vain >= IN_VAIN => return Err(error),
            Err(_) => Ok((None, 0)),
        };
        match heard {
            Ok((Some(end), _)) => return ended(id, &end),
            Ok((None, 0)) => vain += 1,
            Ok((None, _)) => vain = 0,
            Err(error) => return Err(error),
        }
        if vain > IN_VAIN {
            bail!("the server tells nothing more of the job {id}; `vitrine job show {id}` says how far it is");
        }
        sleep(PAUSE).await;
    }
}

fn ended(id: &str, job: &Value) -> Result<()> {
    let state = table::text(&job["state"]);
    match state.as_str() {
        "completed" => {
            progress::line(&format!("the job {id} is completed"));
            Ok(())
        }
        _ => bail!("the job {id} is {state}; `vitrine job show {id}` says more"),
    }
}

/// Reads a stream to its end. Returns the job where it has ended, and how many events there were.
async fn read(server: &Server, mut answer: Response, last: &mut Option<String>) -> Result<(Option<Value>, u32)> {
    let (mut buffer, mut event, mut events) = (Vec::new(), Event::default(), 0);
    loop {
        let piece = match answer.chunk().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok((None, events)),
            Err(error) => {
                progress::line(&format!("{:#}; trying again", server.lost(&error)));
                return Ok((None, events));
            }
        };
        buffer.extend_from_slice(&piece);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            if !event.take(String::from_utf8_lossy(&line).trim_end()) {
                continue;
            }
            let Event { id, kind, data } = std::mem::take(&mut event);
            if kind.is_empty() {
                continue;
            }
            events += 1;
            let data: Value = serde_json::from_str(&data).context("the server tells something that is no event")?;
            if kind == "log" {
                let mut out = std::io::stdout().lock();
                let written = writeln!(out, "{}", data["text"].as_str().unwrap_or_default());
                written.and_then(|()| out.flush()).context("cannot write to stdout")?;
            } else if !data["ended_at"].is_null() {
                return Ok((Some(data), events));
            }
            *last = Some(id);
        }
    }
}

impl Event {
    /// Takes in a line. Returns whether the event is whole.
    fn take(&mut self, line: &str) -> bool {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {}
        }
        line.is_empty()
    }
}
