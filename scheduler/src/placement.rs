//! Who is served next and by whom, and what follows when something was told of a job.
//!
//! Pure: nothing here knows a store's calls, a connection or the time of day. Instants are durations since the scheduler
//! started, as [`crate::clock::Pace`] counts them.

mod decide;
mod policy;
mod queue;
mod view;

pub use decide::{Action, decide};
pub use policy::{End, Told, result_place};
pub use queue::{Queue, Waiting};
pub use view::{Hosting, Seat, View, Worker};
