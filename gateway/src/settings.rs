//! What an operator can set about the gateway.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The gateway's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Connections open at once, websockets apart; more wait to be accepted. Default 8,192.
    pub connections: usize,
    /// How long a connection may wait for a request, and a request's head take to arrive. Default 30 seconds.
    pub head_patience: Duration,
    /// Bytes of one request's body. Default 65 MiB.
    pub body_bytes: usize,
    /// Requests whose bodies are read or decoded at once; more wait. Default 16.
    pub submissions: usize,
    /// How long a request may wait to be read before it is refused. Default 30 seconds.
    pub submission_patience: Duration,
    /// How long a body may take to arrive. Default 2 minutes.
    pub body_patience: Duration,
    /// Bytes of a result that travels inside the last websocket frame; a larger one is given as a link. Default 256 MiB.
    pub inline_result_bytes: u64,
    /// Bytes of results that websockets hold in memory at once; more wait. Default 1 GiB.
    pub inline_memory_bytes: u64,
    /// How long a link to a result is valid. Default 1 hour.
    pub link_lifetime: Duration,
    /// What links begin with, for example `https://vitrine.example.org`. Default: the address that the client used.
    pub public_url: Option<String>,
    /// Websockets open at once. Default 4,096.
    pub sockets: usize,
    /// How long a websocket may stay open without a request of its own, with a valid key. Default 1 minute.
    pub socket_idle: Duration,
    /// How long a client may take to accept more of an answer. A websocket's has for a frame, besides, a second for
    /// each 256 KiB. Default 30 seconds.
    pub socket_patience: Duration,
    /// What one job may use.
    pub limits: program::Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 8192,
            head_patience: Duration::from_secs(30),
            body_bytes: 65 << 20,
            submissions: 16,
            submission_patience: Duration::from_secs(30),
            body_patience: Duration::from_secs(120),
            inline_result_bytes: 256 << 20,
            inline_memory_bytes: 1 << 30,
            link_lifetime: Duration::from_secs(3600),
            public_url: None,
            sockets: 4096,
            socket_idle: Duration::from_secs(60),
            socket_patience: Duration::from_secs(30),
            limits: program::Limits::default(),
        }
    }
}
