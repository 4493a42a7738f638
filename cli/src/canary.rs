//! `vitrine canary`: a small program for each model, sent again and again from outside, as any client sends one.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use futures::future::join_all;
use gateway::metrics;
use health::Health;
use reqwest::Method;
use serde_json::{Value, json};
use telemetry::metrics::Registry;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use crate::remote::{Refusal, Server};
use crate::signals::Signals;
use crate::{progress, serving, table};

/// Sends a small program to each model that is ready, as any client does, and says what came of it.
#[derive(Args)]
pub struct Canary {
    /// Ask this model alone. May be repeated. Without it, each that is ready just now: none is loaded for this.
    #[arg(long = "model", value_name = "REPO_ID")]
    models: Vec<String>,
    /// Time from one round to the next. 0s makes one round, and ends with 1 where something did not come back.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = humantime::parse_duration)]
    every: Duration,
    /// How long a result may take, waiting included.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Where to answer probes and show metrics, for example 127.0.0.1:8100. Without it nowhere.
    #[arg(long, value_name = "ADDRESS")]
    health: Option<SocketAddr>,
    #[command(flatten)]
    server: Server,
}

/// What the program asks of a model: a module that every family has under its own name.
const SOURCE: &str = "token = model.lm_head.output[0, -1].argmax().save()\n";
const PROMPT: &str = "The canary sings in the mine as long as the air is good.";
const FILE: &str = "canary.py";

/// What stands for a model where nobody says which there are.
const NOBODY: &str = "none";

/// How often it says that it is well.
const READY: Duration = Duration::from_secs(1);

/// How often it is looked whether a job has ended.
const LOOK: Duration = Duration::from_millis(200);

/// How long it is tried to end a job that nobody waits for any more.
const LEAVE: Duration = Duration::from_secs(5);

/// What came of a run.
struct Run {
    model: String,
    outcome: &'static str,
    /// Of one that did not complete, why.
    why: Option<String>,
    time: Duration,
}

/// Makes one round, or rounds until it is stopped.
///
/// # Errors
/// A sentence where it cannot begin, or where stdout is closed.
pub fn run(canary: &Canary) -> Result<ExitCode> {
    serving::run(async {
        if canary.every.is_zero() {
            let runs = round(canary).await;
            let well = runs.iter().all(|run| run.why.is_none());
            tell(canary, &runs)?;
            return Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let health = Health::default();
        let _exporting = telemetry::identify("canary", canary.server.address());
        serving::answer_probes(&health, Registry::new("canary", &[metrics::OUTSIDE]), canary.health)?;
        prepare(NOBODY);
        health.started();
        let told = health.clone();
        tokio::spawn(async move {
            loop {
                told.ready(Ok(()));
                sleep(READY).await;
            }
        });
        let mut rounds = interval(canary.every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signals = Signals::new()?;
        loop {
            let next = async {
                rounds.tick().await;
                round(canary).await
            };
            tokio::select! {
                () = signals.asked() => return Ok(ExitCode::SUCCESS),
                runs = next => tell(canary, &runs)?,
            }
        }
    })
}

/// Asks each model once, all at the same time: however many do not answer, a round takes no longer than one.
async fn round(canary: &Canary) -> Vec<Run> {
    let models = match asked(canary).await {
        Ok(models) => models,
        // Nobody knows what there is: that is as wrong as if none answered.
        Err(error) => {
            let (outcome, why) = unheard(&error);
            return vec![counted(Run { model: NOBODY.to_owned(), outcome, why: Some(why), time: Duration::ZERO })];
        }
    };
    join_all(models.into_iter().map(|model| sing(canary, model))).await
}

async fn sing(canary: &Canary, model: String) -> Run {
    prepare(&model);
    let began = Instant::now();
    let (outcome, why) = match asks(canary, &model).await {
        Ok(()) => ("completed", None),
        Err((outcome, why)) => (outcome, Some(why)),
    };
    counted(Run { model, outcome, why, time: began.elapsed() })
}

/// Returns which models are asked.
async fn asked(canary: &Canary) -> Result<Vec<String>> {
    if !canary.models.is_empty() {
        return Ok(canary.models.clone());
    }
    let answer = canary.server.ask(Method::GET, &["models"], None).await?;
    let ready = table::list(&answer, "models").iter().filter(|model| model["state"] == "ready");
    Ok(ready.filter_map(|model| model["name"].as_str().map(str::to_owned)).collect())
}

/// Why a run came to nothing: as it is counted, and in words.
type Nothing = (&'static str, String);

/// Asks a model, as long as patience lasts. Whoever waits for nobody is ended.
async fn asks(canary: &Canary, model: &str) -> Result<(), Nothing> {
    let (server, until) = (&canary.server, Instant::now() + canary.patience);
    let late = || ("late", format!("no result within {}", humantime::format_duration(canary.patience)));
    let job = timeout_at(until, send(server, model)).await.unwrap_or_else(|_| Err(late()))?;
    match timeout_at(until, answer(server, &job)).await {
        Ok(answered) => answered,
        Err(_) => {
            // It may have ended this instant; and where nobody answers, the limits of its tenant end it.
            let _ = timeout(LEAVE, server.ask(Method::DELETE, &["jobs", &job], None)).await;
            Err(late())
        }
    }
}

/// Sends the program to a model. Returns the job.
async fn send(server: &Server, model: &str) -> Result<String, Nothing> {
    let (repo_id, revision) = model.split_once('@').map_or((model, None), |(name, revision)| (name, Some(revision)));
    let key = json!({ "repo_id": repo_id, "revision": revision });
    let fields =
        json!({ "model_key": format!("vitrine.Canary:{key}"), "session_id": "", "compress": false, "env": {} });
    server
        .submit(&fields.to_string(), &nnsight::encode_trace(FILE, SOURCE, PROMPT))
        .await
        .map_err(|error| unheard(&error))
}

/// Waits for a job's result.
async fn answer(server: &Server, job: &str) -> Result<(), Nothing> {
    let failed = |why: &str| ("failed", format!("the job {job}: {why}"));
    loop {
        let shown = server.ask(Method::GET, &["jobs", job], None).await.map_err(|error| unheard(&error))?;
        match shown["state"].as_str() {
            Some("completed") => break,
            Some("failed" | "cancelled" | "expired") => {
                return Err(failed(
                    shown["failure"]["text"].as_str().unwrap_or("it ended, and is said to have failed by nobody"),
                ));
            }
            Some(_) => sleep(LOOK).await,
            None => return Err(failed("the server says what is no state")),
        }
    }
    let result = server.fetch(&["jobs", job, "result"], "*/*").await.map_err(|error| unheard(&error))?;
    match result.bytes().await {
        Ok(bytes) if bytes.is_empty() => Err(failed("it completed, and its result is empty")),
        Ok(_) => Ok(()),
        Err(error) => Err(("unreached", format!("{:#}", server.lost(&error)))),
    }
}

/// Tells a server that says no from one that is not there.
fn unheard(error: &anyhow::Error) -> Nothing {
    (if error.is::<Refusal>() { "refused" } else { "unreached" }, format!("{error:#}"))
}

/// Begins to count: what has not happened is told as nothing, so that the first time is seen.
fn prepare(model: &str) {
    for outcome in ["completed", "refused", "failed", "late", "unreached"] {
        metrics::OUTSIDE_RUNS.with(&[model, outcome]);
    }
}

fn counted(run: Run) -> Run {
    metrics::OUTSIDE_RUNS.with(&[&run.model, run.outcome]).one();
    if run.why.is_none() {
        metrics::OUTSIDE_TIME.with(&[&run.model]).time(run.time);
    }
    run
}

fn tell(canary: &Canary, runs: &[Run]) -> Result<()> {
    if canary.server.json {
        let one = |run: &Run| json!({ "model": run.model, "outcome": run.outcome, "why": run.why, "seconds": run.time.as_secs_f64() });
        return table::json(&json!({ "runs": runs.iter().map(one).collect::<Vec<Value>>() }));
    }
    if runs.is_empty() {
        progress::line("no model is ready just now, so none was asked");
    }
    for Run { model, outcome, why, time } in runs {
        let time = time.as_secs_f64();
        match why {
            None => serving::say(&format!("ok   {model} in {time:.2} s"))?,
            Some(why) => serving::say(&format!("fix  {model} {outcome} after {time:.2} s: {why}"))?,
        }
    }
    Ok(())
}
