//! Language models: their arithmetic in libtorch, their weights, their tokenizers.
//!
//! [`load`] reads a Hugging Face folder; the result is an [`engine::Model`] whose modules have Hugging Face's names,
//! structure and call signatures.

mod attention;
mod builder;
mod cache;
mod config;
mod course;
mod decoder;
mod error;
mod generation;
pub mod gguf;
mod gpt2;
mod llama;
mod modules;
mod nn;
mod pass;
mod runs;
mod settings;
pub mod smollm2;
pub mod testing;
mod tokenizer;
mod tokens;
mod transformer;
mod weights;

pub use cache::Cache;
pub use config::{Config, SUPPORTED};
pub use error::LoadError;
pub use torch::{Device, cuda};
pub use transformer::{DType, Transformer, load};
