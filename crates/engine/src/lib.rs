//! Runs many users' programs over one model.
//!
//! A [`Model`] computes forward passes and shows each module's inputs and outputs to an [`Observer`];
//! the interleaver is that observer: it wakes the users' blocks that wait for a module, hands them their own
//! rows, and takes back what they changed. [`Engine`] is what a worker sees of it.

mod active;
mod adapter;
mod adapters;
pub mod arithmetic;
mod ask;
pub mod batch_encoding;
mod bell;
mod cache;
mod chat;
mod common;
pub mod conformance;
pub mod context;
pub mod contract;
mod decorated;
mod deferral;
mod edit;
pub mod encoding;
mod environment;
mod envoy;
pub mod fake;
mod fiber;
mod forward_hooks;
mod freeze;
mod generation;
mod interleaver;
mod job;
mod kept;
mod lane;
mod layouts;
mod location;
mod mediator;
mod mentioned;
pub mod metrics;
pub mod model;
pub mod namespace;
mod nnsight;
pub mod outline;
pub mod output;
mod own;
mod pacing;
mod parameters;
mod pass;
mod pipe;
pub mod progress;
pub mod prompt;
pub mod python;
mod run;
pub mod settings;
pub mod shape;
mod shared_pass;
mod shares;
mod shown;
mod source;
mod splice;
mod thaw;
mod together;
mod tokenizer;
mod trace;
mod tracer;
mod tree;
mod trunks;
mod turn;
mod written;

pub use adapter::Addition;
pub use adapters::Files;
pub use arithmetic::Arithmetic;
pub use context::JobContext;
pub use contract::{Engine, Event, Failure, Fault, Job, Usage};
pub use interleaver::Interleaver;
pub use interpreter::{Pool, Share};
pub use model::{
    AbsentSchema, Attention, Chosen, Done, Drawn, Entered, Form, Forwarded, Generated, Inputs, Interrupt, Keeps,
    Layout, Model, ModuleSchema, Observer, Only, OperationSchema, Packed, Parameter, Part, Round, Sampler, Schema,
    Segment, SegmentIndex, Site, Tensor, Tokenizer, Tree, Trunk, Wants,
};
pub use namespace::Namespace;
pub use progress::{Progress, Whereabouts};
pub use settings::Settings;
pub use shape::ShapeClass;
