//! What an operator can set.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ids::ModelKey;

/// The scheduler's settings.
#[derive(Clone)]
pub struct Config {
    /// Where workers dial in. Default: a free port of the loopback interface.
    pub listen: SocketAddr,
    /// What a worker must show. Empty lets nobody in.
    pub token: String,
    /// The models that are hosted.
    pub models: Vec<HostedModel>,
    /// Time between signs of life on a session; three missed end it, but nothing that runs. Default 2 s.
    pub heartbeat: Duration,
    /// How long a worker whose connection ended may take to come back with what it has; then that runs elsewhere. It has
    /// as long after a scheduler's start. Default 45 s.
    pub reattach: Duration,
    /// How long a worker may take to begin with a job before it must give it back. Default 10 minutes.
    pub start_time: Duration,
    /// How long a job may wait before it expires. Default 24 h.
    pub queue_time: Duration,
    /// What a job gets beyond its running time before the scheduler ends it over the worker's head. Default 10 s.
    pub grace: Duration,
    /// How long the record and the result of a job stay after its end. Default 7 days.
    pub result_time: Duration,
}

/// A model, and where its files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedModel {
    pub key: ModelKey,
    pub folder: PathBuf,
    /// The parameters' type in memory (`float32`, `bfloat16`, `int8`, `nf4`); `None` leaves the configuration's.
    pub dtype: Option<String>,
    /// Where it computes (`cpu`, `cuda`, `cuda:1`); `None` leaves it to the worker.
    pub device: Option<String>,
    /// How many processes of one machine hold it, each a part of its weights; at least 1.
    pub ranks: u32,
    /// Where its layers are (`resident`, `stream`); `None` is on the device.
    pub residency: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: String::new(),
            models: Vec::new(),
            heartbeat: Duration::from_secs(2),
            reattach: Duration::from_secs(45),
            start_time: Duration::from_secs(600),
            queue_time: Duration::from_secs(24 * 3600),
            grace: Duration::from_secs(10),
            result_time: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl fmt::Debug for Config {
    /// Leaves the token out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("listen", &self.listen).field("models", &self.models).finish_non_exhaustive()
    }
}
