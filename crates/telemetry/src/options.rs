//! What an operator can say of all this, on the command line of every program and in the environment.

use clap::{Args, ValueEnum};

/// How the log looks and how much it says, and where traces go.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to log: a level, or a filter such as `info,gateway=debug`.
    #[arg(long, global = true, env = LOG, default_value = "warn", value_name = "FILTER")]
    pub(crate) log: String,
    /// Lines for people, or one JSON object a line.
    #[arg(long, global = true, env = LOG_FORMAT, default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: Format,
    /// Where to send traces: the address of an OpenTelemetry collector that takes OTLP over gRPC, for example
    /// `http://127.0.0.1:4317`. Without it there are none.
    #[arg(long, global = true, env = OTLP_ENDPOINT, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Which part of all jobs to trace, from 0 to 1. A request that is part of a trace is traced in any case.
    #[arg(long, global = true, env = TRACE_SAMPLE, default_value_t = 0.1, value_name = "PART")]
    pub(crate) trace_sample: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

const LOG: &str = "VITRINE_LOG";
const LOG_FORMAT: &str = "VITRINE_LOG_FORMAT";
const OTLP_ENDPOINT: &str = "VITRINE_OTLP_ENDPOINT";
const TRACE_SAMPLE: &str = "VITRINE_TRACE_SAMPLE";

impl Options {
    /// Returns the variables of the environment that tell a child the same.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let format = match self.log_format {
            Format::Text => "text",
            Format::Json => "json",
        };
        let mut variables = vec![
            (LOG, self.log.clone()),
            (LOG_FORMAT, format.to_owned()),
            (TRACE_SAMPLE, self.trace_sample.to_string()),
        ];
        variables.extend(self.otlp_endpoint.clone().map(|endpoint| (OTLP_ENDPOINT, endpoint)));
        variables
    }
}
