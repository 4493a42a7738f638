//! `vitrine quota`: how much a tenant or a key may take.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::remote::Server;
use crate::{progress, serving, table};

#[derive(Subcommand)]
pub enum Command {
    /// Show a quota and what is used of it: your tenant's, where no other is named.
    Show(Show),
    /// Set a quota: what no flag names stays as it is, and `none` takes a bound away.
    Set(Set),
}

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    of: Of,
    /// Seconds that its jobs may compute on one day, which begins at 00:00 UTC.
    #[arg(long, value_name = "NUMBER|none")]
    device_seconds_per_day: Option<Bound>,
    /// Jobs of the tenant that may be with workers at once. More wait.
    #[arg(long, value_name = "NUMBER|none")]
    running_jobs: Option<Bound>,
    /// Jobs that may wait or run at once. More are refused.
    #[arg(long, value_name = "NUMBER|none")]
    queued_jobs: Option<Bound>,
    /// Bytes of the programs of jobs that wait or run, and of results and programs that are kept.
    #[arg(long, value_name = "NUMBER|none")]
    stored_bytes: Option<Bound>,
    /// Requests of any kind, at each gateway.
    #[arg(long, value_name = "NUMBER|none")]
    requests_per_second: Option<Bound>,
    #[command(flatten)]
    server: Server,
}

/// Whose quota is meant.
#[derive(Args)]
struct Of {
    /// The tenant's name.
    #[arg(value_name = "TENANT")]
    tenant: Option<String>,
    /// A key's, by its id, in place of a tenant's.
    #[arg(long, value_name = "ID", conflicts_with = "tenant")]
    key_id: Option<String>,
}

/// A bound, or none.
#[derive(Clone, Copy)]
struct Bound(Option<u64>);

impl std::str::FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            number => {
                number.parse().map(|number| Self(Some(number))).map_err(|_| "it is a whole number, or none".into())
            }
        }
    }
}

impl Of {
    fn path(&self) -> Option<[&str; 3]> {
        match (&self.tenant, &self.key_id) {
            (_, Some(id)) => Some(["keys", id, "quota"]),
            (Some(name), None) => Some(["tenants", name, "quota"]),
            (None, None) => None,
        }
    }

    fn name(&self) -> String {
        match (&self.tenant, &self.key_id) {
            (_, Some(id)) => format!("the key {id}"),
            (Some(name), None) => format!("the tenant {name}"),
            (None, None) => "your tenant".into(),
        }
    }
}

/// Runs a `vitrine quota` command.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(command: &Command) -> Result<ExitCode> {
    serving::run(async {
        match command {
            Command::Show(show) => self::show(show).await,
            Command::Set(set) => self::set(set).await,
        }?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn show(show: &Show) -> Result<()> {
    let answer = match show.of.path() {
        Some(path) => show.server.ask(Method::GET, &path, None).await?,
        // Everybody may see their own.
        None => {
            let whoami = show.server.ask(Method::GET, &["whoami"], None).await?;
            json!({ "quota": whoami["quota"], "used": whoami["used"] })
        }
    };
    if show.server.json {
        return table::json(&answer);
    }
    let rows: Vec<Vec<String>> = lines(&answer).into_iter().map(Vec::from).collect();
    table::rows(&["quota", "bound", "used"], &rows)
}

/// Returns a quota's lines for people: what is bounded, by how much, and what is used.
pub fn lines(answer: &Value) -> Vec<[String; 3]> {
    let (quota, used) = (&answer["quota"], &answer["used"]);
    let number = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"));
    let seconds = match used.is_null() {
        true => "-".into(),
        false => format!(
            "{} and {} kept for jobs that wait or run",
            number(&used["device_seconds_today"]),
            number(&used["device_seconds_reserved"])
        ),
    };
    let line = |name: &str, used: String| [name.replace('_', " "), table::text(&quota[name]), used];
    vec![
        line("device_seconds_per_day", seconds),
        line("running_jobs", "-".into()),
        line("queued_jobs", table::text(&used["queued_jobs"])),
        line("stored_bytes", table::text(&used["stored_bytes"])),
        line("requests_per_second", "-".into()),
    ]
}

async fn set(set: &Set) -> Result<()> {
    let Some(path) = set.of.path() else {
        bail!("name the tenant whose quota is to be set, or a key with --key-id");
    };
    let given = [
        ("device_seconds_per_day", set.device_seconds_per_day),
        ("running_jobs", set.running_jobs),
        ("queued_jobs", set.queued_jobs),
        ("stored_bytes", set.stored_bytes),
        ("requests_per_second", set.requests_per_second),
    ];
    if given.iter().all(|(_, bound)| bound.is_none()) {
        bail!("nothing is to be set: give a bound, for example --queued-jobs 100; --help shows all");
    }
    let mut quota = set.server.ask(Method::GET, &path, None).await?["quota"].take();
    for (name, bound) in given {
        if let Some(Bound(bound)) = bound {
            quota[name] = bound.into();
        }
    }
    let answer = set.server.ask(Method::PUT, &path, Some(&quota)).await?;
    if set.server.json {
        return table::json(&answer);
    }
    progress::line(&format!("the quota of {} is set; it counts within 5 seconds at every gateway", set.of.name()));
    Ok(())
}
