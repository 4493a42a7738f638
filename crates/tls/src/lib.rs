//! TLS from files: who this is, whom it trusts, and which role the other end has.
//!
//! A role stands in a certificate as the name `{role}.vitrine.internal`. Between the parts of a cluster both ends show
//! one; the public side of a gateway asks nobody for theirs. Files that change are read again without a restart.

mod blocking;
mod certificates;
mod client;
mod der;
pub mod dev;
mod error;
pub mod expiry;
mod files;
mod incoming;
pub mod metrics;
mod role;
mod server;

pub use blocking::Blocking;
pub use certificates::Certificates;
pub use client::Client;
pub use error::Error;
pub use expiry::Purpose;
pub use files::Files;
pub use role::Role;
pub use server::Server;
