//! The methods of the builtin types.

pub mod bytes;
pub mod counter;
pub mod dict;
mod effects;
pub mod float;
pub mod int;
pub mod object;
pub mod set;
pub(crate) mod special;
pub mod string;
