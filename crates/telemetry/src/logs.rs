//! Log lines, to stderr: for people, or one JSON object a line.

mod json;

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::options::{Format, Options};

/// Libraries whose finer lines hold what users send and are sent, which no log may.
const TALKATIVE: [&str; 2] = ["tungstenite", "tokio_tungstenite"];

/// Which process speaks, once that is known.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// `gateway`, `scheduler`, `worker` or `up`.
    pub role: &'static str,
    /// Its name among those of its role.
    pub replica: String,
}

pub(crate) static SPEAKER: OnceLock<Speaker> = OnceLock::new();

/// Sends the program's log lines to stderr from now on.
pub(crate) fn start(options: &Options) {
    let mut filter = EnvFilter::builder().parse_lossy(&options.log);
    for library in TALKATIVE {
        // It comes last and is the most exact, so that it counts whatever was asked for.
        if let Ok(quiet) = format!("{library}={}", LevelFilter::INFO).parse::<Directive>() {
            filter = filter.add_directive(quiet);
        }
    }
    let registry = tracing_subscriber::registry();
    match options.log_format {
        Format::Text => {
            let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
            registry.with(lines.with_filter(filter)).init();
        }
        Format::Json => registry.with(json::Lines::new(std::io::stderr).with_filter(filter)).init(),
    }
}
