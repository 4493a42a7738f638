//! Decides which worker runs which job, and sees every job to exactly one end.
//!
//! State is committed first and acted on then, so a crash between the two leaves work to do again, never work
//! forgotten. Whoever reports on a job names its attempt; reports under an old one are refused.

mod config;
mod decide;
mod handle;
mod leader;
mod policy;
mod sessions;
mod settle;
mod sweep;
mod wire;

pub use config::{Config, HostedModel};
pub use handle::{Error, Handle, run};
