//! Who is served next, by whom, and which models are where.
//!
//! Pure: nothing here knows a store, a connection or the time of day. Instants are durations since the scheduler
//! started. Two functions decide, and whoever calls them acts:
//!
//! - [`decide`] chooses what becomes of jobs, from a [`View`] of who has room and the [`Queue`] of who waits. It is called
//!   with every job, and looks only at models that have both room and work.
//! - [`arrange`] chooses which models are loaded and unloaded, from the whole [`Cluster`]. It is called when something
//!   changed that it depends on, and now and then.

mod arrange;
mod class;
mod cluster;
mod decide;
mod predictions;
mod queue;
pub mod simulation;
mod view;
mod windows;

pub use arrange::{Arrangement, IDLE, Move, RESIDENCE, Wait, Why, arrange};
pub use cluster::{Cluster, Demand, Kept, Model, Node, Replica, Replicas, Stage, Work, device_name};
pub use decide::{Action, decide};
pub use ids::Class;
pub use predictions::Predictions;
pub use queue::{AGES, Charge, Queue, Share, Waiting};
pub use view::{Hosting, Seat, View, Worker};
pub use windows::{CLEARING, Clash, DAY, MOST, Window, book};
