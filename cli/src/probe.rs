//! `vitrine probe`: whether a process is well, where nothing else is there to ask it, as in a container.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use reqwest::{Client, Url};

use crate::serving;

/// How long a process may take to answer; what takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct Probe {
    /// What to ask: where a role's `health` listens, with /startupz, /readyz or /livez.
    #[arg(default_value = "http://127.0.0.1:8100/readyz")]
    url: Url,
}

/// Ends well if the process says that it is well.
///
/// # Errors
/// What it says otherwise, or why nothing was heard of it.
pub fn run(probe: &Probe) -> Result<ExitCode> {
    serving::run(async { ask(probe.url.clone()).await.map(|()| ExitCode::SUCCESS) })
}

async fn ask(url: Url) -> Result<()> {
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().context("cannot set up HTTP")?;
    let answer = client.get(url.clone()).send().await;
    let answer = answer.map_err(reqwest::Error::without_url).with_context(|| format!("nothing answers at {url}"))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let (status, said) = (answer.status(), answer.text().await.unwrap_or_default());
    bail!("{url} answers {status}: {}", said.trim());
}

#[cfg(test)]
mod tests {
    use health::Health;

    use super::*;

    #[tokio::test]
    async fn what_a_process_says_of_itself_is_how_a_probe_ends() {
        let health = Health::default();
        let address = health.serve("127.0.0.1:0".parse().unwrap()).unwrap();
        let probe = |path: &str| ask(format!("http://{address}{path}").parse().unwrap());
        probe("/livez").await.unwrap();
        let refused = probe("/readyz").await.unwrap_err().to_string();
        assert!(refused.ends_with("503 Service Unavailable: it has not come up yet"), "{refused}");
        health.ready(Ok(()));
        probe("/readyz").await.unwrap();
    }

    #[tokio::test]
    async fn who_is_not_there_is_not_well() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = ask(format!("http://{free}/livez").parse().unwrap()).await.unwrap_err();
        assert!(refused.to_string().starts_with(&format!("nothing answers at http://{free}/livez")), "{refused}");
    }
}
