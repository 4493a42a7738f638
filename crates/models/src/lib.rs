//! Language models: their arithmetic in libtorch, their weights, their tokenizers.
//!
//! [`load`] reads a Hugging Face folder; the result is an [`engine::Model`] whose modules have Hugging Face's names,
//! structure and call signatures.

mod adapter;
mod alone;
mod archive;
mod assembly;
mod attention;
mod attention_function;
mod balance;
mod builder;
mod cache;
mod call;
mod chat;
mod check;
mod checkpoint;
mod config;
mod course;
mod decoder;
mod digest;
mod dtype;
mod embedding;
mod error;
mod experts;
mod families;
mod family;
mod feed_forward;
mod flags;
mod forward;
mod fused;
mod generation;
pub mod gguf;
pub mod import;
mod joint;
mod layer;
mod leaves;
mod library;
mod matrix;
mod modules;
mod nn;
mod norm;
#[cfg(test)]
mod page;
mod parameters;
mod pass;
mod quantization;
mod reading;
mod residency;
mod room;
mod rope;
mod rotary;
mod safetensors;
mod self_attention;
mod settings;
mod shelf;
mod source;
#[cfg(test)]
mod source_names;
mod spans;
mod steps;
pub mod testing;
mod tokenizer;
mod tokens;
mod transformer;
mod weights;

pub use cache::Cache;
pub use check::{InFewBits, Needs, OnStreaming, Report, check, needs};
pub use config::Config;
pub use digest::digest;
pub use dtype::DType;
pub use error::LoadError;
pub use matrix::{follow, share_cores};
pub use residency::{Price, Streamed};
pub use shelf::{Keeping, Shelf};
pub use torch::{Device, cuda};
pub use transformer::{Transformer, load, load_apart, load_keeping, load_streamed};
