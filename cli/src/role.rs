//! The roles of a cluster, each a process.

pub mod gateway;
pub mod scheduler;
