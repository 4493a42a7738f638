//! The request itself.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};
use std::str::FromStr;

use ids::ModelKey;
use serde::{Deserialize, Serialize};

use crate::datum::{Heap, Ref};
use crate::error::Unreadable;
use crate::frame::{self, Frames};

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
    /// Encodes the program as it lies in a store and travels from gateway to worker ([`frame`]).
    ///
    /// # Errors
    /// When a length does not fit the encoding.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        frame::pack(postcard::to_stdvec(self).map_err(io::Error::other)?)
    }

    /// As [`Program::encode`], piece by piece, to wherever there is room for it.
    ///
    /// # Errors
    /// As [`Program::encode`]; when it cannot be written.
    pub fn encode_to(&self, place: &mut impl Write) -> io::Result<()> {
        postcard::to_io(self, Frames::new(place)).map_err(io::Error::other)?.finish()
    }

    /// Decodes what [`Program::encode`] wrote, if it holds no more bytes than the limit.
    ///
    /// # Errors
    /// When the bytes are something else, or hold more, which is found out before memory is taken for them.
    pub fn decode(stored: &[u8], limit: u64) -> Result<Self, Unreadable> {
        Ok(postcard::from_bytes(&frame::open(stored, limit)?)?)
    }
}

/// How the hosted model must be set up for this request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Env {
    /// `eager` or `sdpa`; `None` leaves the model's own choice.
    pub attn_implementation: Option<String>,
    /// Repository of a PEFT adapter.
    pub peft: Option<String>,
    /// `None` leaves the choice to whoever made the key.
    pub batching: Option<Batching>,
}

/// Whom a job shares forward passes with, and so what the bits of its numbers may depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Batching {
    /// With whoever is there. Kernels, and with them the last bits, depend on how many tokens all have together.
    #[default]
    Shared,
    /// With others who ask for the same. The bits depend on nobody else.
    Reproducible,
    /// With nobody. Shapes are those that the job has by itself.
    Exclusive,
}

impl Batching {
    pub const ALL: [Self; 3] = [Self::Shared, Self::Reproducible, Self::Exclusive];

    /// As users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Reproducible => "reproducible",
            Self::Exclusive => "exclusive",
        }
    }
}

impl Display for Batching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Batching {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|batching| batching.name() == name);
        found.ok_or_else(|| format!("batching is shared, reproducible or exclusive, not {name:?}"))
    }
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
