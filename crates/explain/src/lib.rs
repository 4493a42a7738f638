//! What a program would do, told without running it: what of a model's passes it reads and changes, what depends on what,
//! what comes back, and what that is likely to cost.
//!
//! What is said to be certain is so whatever the values are. Everything else says that it is not.

pub mod answer;
mod explain;
pub mod form;
pub mod outline;
mod refused;
mod svg;
mod text;
mod walk;

pub use answer::Explanation;
pub use explain::{Question, explain, refusal};
pub use outline::Outline;
pub use svg::svg;
pub use text::text;
