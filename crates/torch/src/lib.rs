//! PyTorch for users' blocks, without Python: tensors, their methods, and the modules that code imports.
//!
//! Operators are looked up in libtorch's own dispatcher and called through their schemas; which of them users may
//! call is one list, `operators.txt`. Weights are shown read-only, every allocation is charged to the job that makes
//! it, and no memory is shown that nobody has written.

mod adjacent;
mod allowed;
mod array;
mod aside;
pub mod autograd;
mod away;
mod backward;
mod binding;
mod bounds;
mod cost;
mod create;
mod data;
mod deferred;
mod dispatch;
mod dtype;
pub mod effects;
mod elements;
mod embedding;
mod function;
mod generator;
mod gpu;
mod handle;
mod hook;
mod job;
mod learned;
mod modes;
mod modules;
mod named;
mod python;
mod raising;
mod schema;
mod signatures;
mod size;
mod tensor;
mod together;

pub use aside::Aside;
pub use data::{named_result, value_data};
pub use deferred::Deferred;
pub use dtype::Device;
pub use embedding::embedding;
pub use generator::Generator;
pub use job::{Job, Paying};
pub use libtorch::prepare;
pub use modules::{global, import, instance};
pub use schema::{Kind, Operators};
pub use tensor::{Head, Tensor};

/// CUDA: how it is found and loaded, and whether a GPU answers.
pub mod cuda {
    pub use libtorch::cuda::{Cuda, Missing, Search, memory, release_memory};

    pub use crate::gpu::check;
}

/// Shows sizes to Python, as `torch.Size`.
#[must_use]
pub fn size_value(sizes: &[i64]) -> interpreter::Value {
    size::Size::value(sizes)
}

/// Shows a tensor's element type to Python, as `torch.dtype`.
#[must_use]
pub fn dtype_value(tensor: &Tensor) -> interpreter::Value {
    dtype::value(tensor.dtype())
}
