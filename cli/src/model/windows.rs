//! The times for which a model is booked.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::hosted::Named;
use crate::remote::Server;
use crate::{progress, table};

#[derive(Subcommand)]
pub enum Command {
    /// Book a model for a time. It is loaded ahead, by as long as that takes, and stays until the end. What cannot be had
    /// beside what is booked already is refused.
    Add(Add),
    /// Show for what times a model is booked.
    List(Named),
    /// Take a booking back. What runs goes on, and the model stays as long as any other.
    Remove(Remove),
}

#[derive(Args)]
pub struct Add {
    /// The model, as REPO_ID or REPO_ID@REVISION.
    #[arg(value_name = "MODEL")]
    name: String,
    /// When it begins, in UTC, such as 2026-12-01T09:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// When it ends.
    #[arg(long, value_name = "TIME")]
    to: String,
    /// At the same time of every day from then on, until it is taken back.
    #[arg(long)]
    daily: bool,
    /// Keep so many replicas in it [default: 1].
    #[arg(long, value_name = "COUNT")]
    replicas: Option<u32>,
    /// Run this tenant's jobs alone in it; those of others wait until it ends.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct Remove {
    /// The model, as REPO_ID or REPO_ID@REVISION.
    #[arg(value_name = "MODEL")]
    name: String,
    /// Which of its windows, as `vitrine model window list` counts them.
    #[arg(value_name = "WINDOW")]
    window: u64,
    #[command(flatten)]
    server: Server,
}

/// Runs a `vitrine model window` command.
///
/// # Errors
/// A sentence that says what failed.
pub async fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Add(add) => {
            let Add { name, from, to, daily, replicas, tenant, server } = add;
            let body = json!({ "from": from, "to": to, "daily": daily, "replicas": replicas, "tenant": tenant });
            let window = server.ask(Method::POST, &["models", name, "windows"], Some(&body)).await?;
            if server.json {
                table::json(&window)?;
            } else {
                let text = |field: &str| table::text(&window[field]);
                progress::line(&format!(
                    "{name} is booked from {} to {}{}: window {}",
                    text("from"),
                    text("to"),
                    if *daily { ", every day" } else { "" },
                    text("id")
                ));
            }
        }
        Command::List(Named { name, server }) => {
            let model = server.ask(Method::GET, &["models", name], None).await?;
            if server.json {
                table::json(&model["windows"])?;
            } else {
                rows(table::list(&model, "windows"))?;
            }
        }
        Command::Remove(Remove { name, window, server }) => {
            let path = ["models", name, "windows", &window.to_string()];
            let gone = server.ask(Method::DELETE, &path, None).await?;
            if server.json {
                table::json(&gone)?;
            } else {
                progress::line(&format!("{name} is not booked for the window {window} any more"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints windows as rows.
///
/// # Errors
/// When stdout is closed.
pub fn rows(windows: &[Value]) -> Result<()> {
    let row = |window: &Value| {
        let whose = match window["tenant"].as_str() {
            Some(tenant) => tenant.to_owned(),
            None if window["for_others"] == true => "another tenant".into(),
            None => "everybody".into(),
        };
        let when = match (window["open"].as_bool(), window["daily"].as_bool()) {
            (Some(true), Some(true)) => "now, and every day",
            (Some(true), _) => "now",
            (_, Some(true)) => "every day",
            _ => "once",
        };
        let text = |field: &str| table::text(&window[field]);
        vec![text("id"), text("from"), text("to"), when.into(), text("replicas"), whose]
    };
    table::rows(&["window", "from", "to", "when", "replicas", "for"], &windows.iter().map(row).collect::<Vec<_>>())
}
