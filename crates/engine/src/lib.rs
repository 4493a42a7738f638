//! Runs many users' programs over one model.
//!
//! A [`Model`] computes forward passes and shows each module's inputs and outputs to an [`Observer`];
//! the interleaver is that observer: it wakes the users' blocks that wait for a module, hands them their own
//! rows, and takes back what they changed. [`Engine`] is what a worker sees of it.

pub mod contract;
pub mod model;

pub use contract::{Engine, Event, Failure, Fault, Job, Usage};
pub use model::{
    Attention, Entered, Inputs, Interrupt, Layout, Model, ModuleSchema, Observer, Packed, Sampler, Schema, Segment,
    Site, Tensor, Tokenizer, Tree, Wants,
};
