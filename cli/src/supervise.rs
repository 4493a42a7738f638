//! Keeps one worker process alive.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use ids::InstanceId;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::environment;

/// How to start a worker.
pub struct Worker {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Told through the environment: arguments can be read by everybody on the machine.
    pub token: String,
    /// Where it answers probes and shows its metrics.
    pub health: Option<SocketAddr>,
    /// Counts how often it died.
    pub deaths: watch::Sender<u32>,
    /// Told of each process that died.
    pub died: mpsc::UnboundedSender<InstanceId>,
}

/// The name of the one worker here. A process under it shows that the one before is gone.
const NAME: &str = "local";
/// The waits before a restart, from the first to the longest, while restarts follow one another.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// A worker that lived this long starts from the first wait again.
const STEADY: Duration = Duration::from_secs(60);
/// How long a worker may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the worker's program: it lies beside this one.
///
/// # Errors
/// A sentence when it does not.
pub fn find_worker() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let program = own.with_file_name("vitrine-worker");
    if !program.is_file() {
        bail!("{} is missing; it belongs beside this program (`make build` makes both)", program.display());
    }
    Ok(program)
}

impl Worker {
    /// Runs the worker, again whenever it dies, until `stop`. Then ends it, at once if `kill` comes.
    ///
    /// # Errors
    /// When the program cannot be started at all.
    pub async fn supervise(&self, stop: CancellationToken, kill: CancellationToken) -> Result<()> {
        let mut waits = waits();
        while !stop.is_cancelled() {
            let (started, instance) = (Instant::now(), InstanceId::unique());
            let mut child = self.start(&instance)?;
            // Waiting would close the pipe, by whose end the worker knows that this process is gone.
            let _lifeline = child.stdin.take();
            // Cancel safe: the child stays with us, and a token stays cancelled.
            tokio::select! {
                status = child.wait() => {
                    let status = status.context("cannot wait for the worker")?;
                    if started.elapsed() > STEADY {
                        waits = self::waits();
                    }
                    tracing::warn!(%status, "the worker died");
                    self.deaths.send_modify(|deaths| *deaths += 1);
                    // Nobody listens when everything stops.
                    let _ = self.died.send(instance);
                }
                () = stop.cancelled() => return end(child, kill).await,
            }
            let wait = waits.next().unwrap_or(BACKOFF.1);
            tracing::info!(restart_in = ?wait, "the worker is to be started again");
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    fn start(&self, instance: &InstanceId) -> Result<Child> {
        let mut command = Command::new(&self.program);
        if std::env::var_os("OMP_WAIT_POLICY").is_none() {
            // libtorch's idle threads would spin on the cores that the gateway and the model's own thread need:
            // measured on a busy machine, the 95th percentile of a tiny request fell from 217 ms to 19 ms.
            command.env("OMP_WAIT_POLICY", "passive");
        }
        for name in environment::secrets().chain(environment::own()?) {
            command.env_remove(name);
        }
        // After the above: the address of this process is not the worker's.
        command.envs(self.health.map(|address| ("VITRINE_HEALTH", address.to_string())));
        command.envs(telemetry::environment());
        command
            .args(&self.arguments)
            .args(["--name", NAME, "--instance", instance.as_str()])
            .env("VITRINE_WORKER_TOKEN", &self.token)
            // The worker ends when this pipe does, so that it does not outlive a killed parent.
            .stdin(Stdio::piped())
            // Lines of the worker never mix with what scripts read from our stdout.
            .stdout(std::io::stderr())
            // Ctrl-C on a terminal is for this process alone, which drains before it ends the worker.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }
}

fn waits() -> ExponentialBackoff {
    let waits = ExponentialBuilder::default().with_min_delay(BACKOFF.0).with_max_delay(BACKOFF.1);
    waits.with_jitter().without_max_times().build()
}

async fn end(mut child: Child, kill: CancellationToken) -> Result<()> {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
        // It may have ended this instant, which is as well.
        let _ = kill_process(pid, Signal::TERM);
    }
    let ended = async {
        tokio::select! {
            ended = timeout(PATIENCE, child.wait()) => ended.is_ok(),
            () = kill.cancelled() => false,
        }
    };
    if !ended.await {
        child.kill().await.context("cannot end the worker")?;
    }
    Ok(())
}

/// Runs the worker's program once for a task of its own, its lines passed through, and returns how it ended.
///
/// # Errors
/// When it cannot be started.
pub fn run_once(program: &Path, arguments: &[&std::ffi::OsStr], stdout: impl Into<Stdio>) -> Result<ExitStatus> {
    std::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(stdout)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))
}
