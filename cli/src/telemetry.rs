//! Log lines, to stderr.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::filter::LevelFilter;

/// How the log looks and how much it says.
#[derive(Args)]
pub struct Options {
    /// What to log: a level, or a filter such as `info,gateway=debug`.
    #[arg(long, global = true, env = "VITRINE_LOG", default_value = "warn", value_name = "FILTER")]
    log: String,
    /// Lines for people, or one JSON object a line.
    #[arg(long, global = true, env = "VITRINE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    log_format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Libraries whose finer lines hold what users send and are sent, which no log may.
const TALKATIVE: [&str; 2] = ["tungstenite", "tokio_tungstenite"];

/// Sends the program's log lines to stderr from now on.
pub fn start(options: &Options) {
    let mut filter = EnvFilter::builder().parse_lossy(&options.log);
    for library in TALKATIVE {
        // It comes last and is the most exact, so that it counts whatever was asked for.
        if let Ok(quiet) = format!("{library}={}", LevelFilter::INFO).parse::<Directive>() {
            filter = filter.add_directive(quiet);
        }
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    match options.log_format {
        Format::Text => lines.init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
}
