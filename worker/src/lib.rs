//! A worker: holds models, runs jobs on them, and reports to the scheduler, which it dials.
//!
//! Each model has a thread of its own, which owns the engine; nothing of a job's but plain data leaves that thread.
//! The session and the results are asynchronous tasks beside it. What runs outlives every session.

mod canary;
mod held;
mod hosted;
pub mod metrics;
mod model;
mod patience;
mod payload;
mod results;
mod scrub;
mod session;
mod wire;
mod worker;

pub use hosted::Host;
pub use model::{Finding, Load, Loaded, Loader, NoShelf, NotLoaded, Order, Place, RankHost, Report, Shelf, State};
pub use scrub::Scrub;
pub use session::{Dial, Dialled};
pub use worker::{Config, Error, run, run_over};
