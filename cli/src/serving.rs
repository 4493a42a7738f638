//! What every process that serves does alike.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gateway::{Gateway, Settings};
use health::Health;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::{CertificateEnd, Certificates, MetadataStore};
use telemetry::metrics::Registry;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::listen::Listen;

/// How long open connections may hold up the end, once nothing else does.
pub const LINGER: Duration = Duration::from_secs(2);

/// How often the gateway says whether it takes jobs.
const READY: Duration = Duration::from_secs(1);

/// Stack of each thread, enough for parsing whatever a request may hold; what is not touched takes no memory.
pub const STACK_BYTES: usize = 32 << 20;

/// Runs a process's work to its end.
///
/// # Errors
/// Those of the work, or when there are no threads to be had.
pub fn run(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let code = runtime.block_on(work);
    // Blocking tasks that still run hold nothing that a crash would lose.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// Returns how many threads serve sockets. One serves thousands of small requests a second; more would, for as many,
/// wake each other up and take cores from the model.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / 4).clamp(1, 8)
}

/// Answers probes and shows metrics, where there is an address for them.
///
/// # Errors
/// A sentence that names the address.
pub fn answer_probes(health: &Health, metrics: Registry, address: Option<SocketAddr>) -> Result<()> {
    health.show(metrics);
    if let Some(address) = address {
        let served = health.serve(address).with_context(|| format!("cannot answer probes on {address}"))?;
        tracing::info!(address = %served, "probes are answered");
    }
    Ok(())
}

/// Returns a gateway's settings, within what this process may open.
pub fn within_limits(settings: &Settings, listen: &Listen) -> Settings {
    let mut settings = settings.clone();
    settings.https |= listen.tls.is_some();
    let files = open_files();
    // At each of two ports.
    settings.connections = settings.connections.min(files / 3);
    settings.sockets = settings.sockets.min(files / 4);
    // A share stays a share.
    settings.sockets_per_tenant = settings.sockets_per_tenant.min((settings.sockets / 4).max(1));
    settings.sockets_keyless = settings.sockets_keyless.min((files / 16).max(1));
    settings
}

/// Returns how many files this process may have open, as many as the system lets it choose.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let raised = setrlimit(Resource::Nofile, most).is_ok();
    // Without a limit there is no number.
    let open = if raised { limit.maximum } else { limit.current };
    open.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// Says again and again whether jobs are taken.
pub async fn tell_ready(gateway: Arc<Gateway>, health: Health) {
    loop {
        health.ready(gateway.ready().await.map_err(|error| error.to_string()));
        sleep(READY).await;
    }
}

/// Keeps it written, for administrators to see, when the certificates end that this process uses.
pub async fn tell_certificates(store: Arc<dyn MetadataStore>, role: &'static str, name: String) -> Infallible {
    let in_use = || tls::expiry::in_use().into_iter().map(CertificateEnd::from).collect();
    Certificates::new(store).keep(role, &name, in_use).await
}

/// Says why a gateway is no longer there that nobody stopped.
pub fn broken(ended: Result<Result<(), gateway::Error>, JoinError>) -> anyhow::Error {
    let error = match ended {
        Ok(Ok(())) => anyhow::anyhow!("it ended by itself"),
        Ok(Err(gateway::Error::Internal(source))) => anyhow::anyhow!(source),
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    error.context("the gateway failed, which is a fault of this program; jobs that were accepted are kept")
}

/// Ends a gateway: clients that wait for a result get it, if it is there, before their connections end.
pub async fn close(gateway: &Gateway, stop: CancellationToken, server: JoinHandle<Result<(), gateway::Error>>) {
    if timeout(LINGER, gateway.close()).await.is_err() {
        tracing::warn!("some clients did not read their last status");
    }
    stop.cancel();
    match timeout(LINGER, server).await {
        Ok(Ok(Ok(()))) => {}
        Ok(ended) => tracing::warn!(error = %broken(ended), "the server ended badly"),
        Err(_) => tracing::debug!("connections were still open at the end"),
    }
}

/// Writes a line to stdout, at once even into a pipe.
///
/// # Errors
/// When stdout is closed.
pub fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to stdout")
}
