//! The request itself.

use ids::ModelKey;
use serde::{Deserialize, Serialize};

use crate::datum::{Heap, Ref};

/// One request, decoded from whichever client sent it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub model: ModelKey,
    pub env: Env,
    pub entry: Entry,
    /// Paths below the root of the modules that the client's copy of the model has, as far as it sent them. One that
    /// the hosted model lacks was attached by the user.
    pub modules: Vec<String>,
    /// The traced block. Lines before the block are blank, so that line numbers are those of the user's file.
    pub source: Source,
    pub heap: Heap,
    /// Names that the block reads from its surroundings: the innermost scope's, then the module's.
    pub locals: Vec<(String, Ref)>,
    pub globals: Vec<(String, Ref)>,
}

impl Program {
    /// Encodes the program as it travels from gateway to worker.
    ///
    /// # Errors
    /// When a length does not fit the encoding.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(self)
    }

    /// Decodes what [`Program::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

/// How the hosted model must be set up for this request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Env {
    /// `eager` or `sdpa`; `None` leaves the model's own choice.
    pub attn_implementation: Option<String>,
    /// Repository of a PEFT adapter.
    pub peft: Option<String>,
}

/// What the block is attached to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// `with model.session():` the block opens its own traces.
    Session,
    /// `with model.trace(…)`, `model.generate(…)` and their like.
    Trace { function: Function, envoy: Ref, args: Vec<Ref>, kwargs: Vec<(String, Ref)> },
}

/// What a trace calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// The model's (or the envoy's) forward pass.
    Call,
    Generate,
    /// The task's pipeline.
    Pipe,
}

/// A piece of Python text and where the user has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub text: String,
    pub filename: String,
    /// The function around the block (`<module>` at top level), as tracebacks name it.
    pub function: String,
}

/// What a finished job returns: names bound to values that the block saved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub heap: Heap,
    pub names: Vec<(String, Ref)>,
}
