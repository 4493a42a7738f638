//! What the server computes with: a model's weights as kernels want them, and how many rows a kernel is given, so that
//! what jobs get does not depend on who else is there.
//!
//! Nothing here knows of users: neither their code nor what they pay.

pub mod attention;
pub mod number;
mod probe;
mod products;
mod recorded;
mod rows;
pub mod varlen;
mod weight;

pub use products::{BLOCK, Kernels, Products, Rows, rounded};
pub use recorded::Moment;
pub use rows::as_one;
pub use weight::{STEP, Weight, is_half, keep_copies};
