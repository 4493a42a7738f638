//! What the server computes with: a model's weights as kernels want them, and how many rows a kernel is given, so that
//! what jobs get does not depend on who else is there.
//!
//! Nothing here knows of users: neither their code nor what they pay.

mod apart;
pub mod attention;
mod carried;
mod coded;
mod cut;
mod direct;
mod feed;
mod follower;
pub mod number;
mod order;
mod packed;
mod probe;
mod products;
mod quantize;
mod quantized;
mod ranks;
mod raw;
mod recorded;
mod rows;
mod scrub;
mod stream;
mod streamed;
pub mod varlen;
mod weight;

pub use apart::Apart;
pub use coded::{Coded, Coding, NF4, Scales};
pub use cut::{Along, Cut};
pub use feed::{Apply, Biased, Block};
pub use follower::{Asked, follow};
pub use order::Keep;
pub use products::{BLOCK, Kernels, Products, Rows, rounded};
pub use quantize::{BLOCK_OF_NF4, Scheme};
pub use quantized::Quantized;
pub use ranks::{NotDone, Ranks};
pub use recorded::Moment;
pub use rows::as_one;
pub use scrub::{Digests, Look, Memory, Scrub};
pub use stream::Gpu;
pub use streamed::{Residency, Source};
pub use weight::{Given, STEP, Weight, copies, is_half, keep_copies};
