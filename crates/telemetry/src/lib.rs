//! What a process tells of itself: metrics, log lines and traces.
//!
//! None of them ever has what a user sends or is sent, or a key: metrics by their closed labels, log lines by the filter of
//! [`logs`], spans by the few attributes that they are given.

mod logs;
pub mod metrics;
mod options;
pub mod trace;

use std::sync::OnceLock;

pub use options::Options;

static OPTIONS: OnceLock<Options> = OnceLock::new();

/// Sends log lines to stderr from now on. Called once, when the program begins.
pub fn start(options: &Options) {
    logs::start(options);
    // Nobody else sets them.
    let _ = OPTIONS.set(options.clone());
}

/// Says which process this is, which every line and every span has from now on, and sends traces where they are asked for.
/// They are sent to their end when what is returned is dropped.
#[must_use]
pub fn identify(role: &'static str, replica: &str) -> Option<trace::Exporting> {
    let _ = logs::SPEAKER.set(logs::Speaker { role, replica: replica.to_owned() });
    let options = OPTIONS.get()?;
    let endpoint = options.otlp_endpoint.as_deref()?;
    match trace::export(endpoint, options.trace_sample, role, replica) {
        Ok(exporting) => Some(exporting),
        Err(why) => {
            tracing::error!(endpoint, why, "there are no traces");
            None
        }
    }
}

/// Returns the variables of the environment that have a child tell as much as this process does.
#[must_use]
pub fn environment() -> Vec<(&'static str, String)> {
    OPTIONS.get().map(Options::environment).unwrap_or_default()
}
