//! Decides which worker runs which job, and sees every job to exactly one end.
//!
//! State is committed first and acted on then, so a crash between the two leaves work to do again, never work
//! forgotten. Whoever reports on a job names its token; reports under an old one are refused.
//!
//! A session is not a life: when a connection ends, what runs goes on. A job is given out again only when the process
//! that had it is known to be gone, has shown that it does not have it, or has not come back for long enough.

mod clock;
mod config;
mod crew;
mod epoch;
mod handle;
mod history;
mod known;
mod leader;
pub mod metrics;
mod office;
mod policy;
mod roster;
mod sessions;
mod settle;
mod sweep;
mod wire;

pub use clock::{Clock, SystemClock};
pub use config::{Config, HostedModel};
pub use handle::{Departures, Error, Handle, plaintext, run, start};
pub use office::{Candidate, Door, Ended};
pub use sessions::{Inbox, Replies, Role, Sessions};
