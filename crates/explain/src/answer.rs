//! What is told of a program before it runs: as JSON, and what texts and drawings are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a program would do. Nothing of it has run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// `REPO_ID` or `REPO_ID@REVISION`.
    pub model: String,
    /// The user's file.
    pub file: String,
    /// Whether the order and the shapes of the model's modules were known. They are from when it was first loaded.
    pub model_known: bool,
    /// Whether all of the program was looked at. Of a longer one, nothing is called unused.
    pub complete: bool,
    /// Whether it is a session, whose traces are one request.
    pub session: bool,
    /// The traces, in the order in which they are opened.
    pub traces: Vec<Trace>,
    /// What the program does, by the places in its text, and what each place needs.
    pub nodes: Vec<Node>,
    /// What comes back.
    pub saved: Vec<Saved>,
    pub cost: Cost,
    /// Null where nobody was asked for it.
    pub queue: Option<Queue>,
    pub warnings: Vec<Warning>,
}

/// Whether something is so whatever the values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// It depends on values, on code that is not looked into, or on what is not known of the model.
    #[default]
    Perhaps,
    Certain,
}

/// What a trace calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Calls {
    Forward,
    Generate,
    Pipe,
}

/// One `with model.trace(…)`, each time that it is opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    pub line: u32,
    pub calls: Calls,
    /// Whether it is opened at all.
    pub certainty: Certainty,
    /// What it is given, one for each block.
    pub inputs: Vec<Input>,
    /// Tokens of its longest row; null where that is not known.
    pub length: Option<i64>,
    /// Forward passes: one, or at most so many when tokens are generated. Null where that is not known.
    pub passes: Option<u64>,
    /// Reads and writes by the order in which a pass comes to them; what has no known place comes last.
    pub accesses: Vec<Access>,
    /// How many more there are that are not listed.
    pub accesses_left_out: u64,
    /// The last thing that the trace waits for; null where it waits for nothing or that is not known.
    pub stops_after: Option<String>,
    /// Decoder layers that a pass computes at most; null where that is not known.
    pub layers: Option<u64>,
    /// Decoder layers that the model has; null where that is not known.
    pub layers_in_all: Option<u64>,
    /// Whether the pass is sure to end there.
    pub stops: Certainty,
}

/// What one block of a trace is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Input {
    pub line: u32,
    /// Null where that is not known.
    pub rows: Option<i64>,
    /// Tokens of its longest row.
    pub tokens: Option<i64>,
    /// It has no rows of its own: it sees those of all other blocks.
    pub of_all: bool,
    /// The line of an earlier input that is the same: its rows are computed once, up to what one of the two changes, if
    /// there is room to keep them.
    pub same_as: Option<u32>,
}

/// One moment of a pass that the program reads or changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Access {
    /// The site by nnsight's name: `model.layers.3.output`.
    pub site: String,
    pub does: Does,
    pub line: u32,
    /// By its number in `nodes`.
    pub node: u32,
    /// By its number in `inputs`, where the trace has several.
    pub input: u32,
    /// Which step of a generation; null for a forward pass, and for an unknown one.
    pub step: Option<i64>,
    /// The place in a pass; null where that is not known.
    pub order: Option<u32>,
    /// Its shape and element type, as far as they are known.
    pub shape: String,
    pub certainty: Certainty,
}

/// What a program does at a place of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Does {
    /// Waits for a value of the model.
    Reads,
    /// Puts another in its place, or writes to it.
    Writes,
    /// Leaves a module out.
    Skips,
    /// Runs a module of the model on values of its own.
    Calls,
    Computes,
    Prints,
    /// Has a value sent back.
    Saves,
}

impl Does {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Skips => "skips",
            Self::Calls => "calls",
            Self::Computes => "computes",
            Self::Prints => "prints",
            Self::Saves => "saves",
        }
    }
}

/// A place of the program's text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    pub does: Does,
    pub line: u32,
    /// The user's file, where it is another than the block's.
    pub file: Option<String>,
    /// The line's text.
    pub text: String,
    /// Sites that it reads or changes: the first, and how many in all where there are several.
    pub site: Option<String>,
    pub sites: u64,
    /// How often it is done, at least once; a lower bound where `certainty` is perhaps.
    pub times: u64,
    /// What comes of it; empty where nothing is known.
    pub shape: String,
    /// The nodes, by their numbers, whose results it uses.
    pub needs: Vec<u32>,
    pub certainty: Certainty,
    /// Nothing that is saved, printed or changed depends on it, whatever the values are.
    pub unused: bool,
}

/// A name that comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Saved {
    pub name: String,
    /// Where it is saved.
    pub line: u32,
    pub shape: String,
    /// Null where that is not known.
    pub bytes: Option<u64>,
    pub certainty: Certainty,
}

/// What it is likely to cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Bytes of saved values whose sizes are known.
    pub saved_bytes: u64,
    /// Whether that is all: otherwise more come back.
    pub saved_bytes_known: bool,
    /// Seconds of the model's device for forward passes, by passes that were timed when it was loaded; the program's own
    /// operations come on top. Null where nothing was timed, or the passes are not known.
    pub device_seconds: Option<f64>,
    /// Bytes of tensors that are held at one time, at least: those that are saved.
    pub tensor_bytes: u64,
    /// The most that the server gives one job.
    pub tensor_bytes_limit: u64,
}

/// What is before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    /// Jobs for this model that have not ended. Turns go to whoever had the least device time, so that not all of them come
    /// first.
    pub model: u64,
    /// The caller's own of them.
    pub own: u64,
    /// Why the model itself is to be waited for.
    pub waits_for: Option<String>,
}

/// Something that can be done better, or will fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    pub kind: Kind,
    pub line: u32,
    /// A sentence.
    pub text: String,
    pub certainty: Certainty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A read of what the pass has gone past.
    Late,
    /// A site that no pass comes to.
    NeverRun,
    /// Much is sent back of which little may be wanted.
    MuchSaved,
    /// More than one result or one job may have.
    TooMuch,
    /// Something is computed for nothing.
    Unused,
    /// A write that nothing reads afterwards.
    WithoutEffect,
    /// Nothing comes back.
    NothingSaved,
    /// Several requests that one session could make.
    Loop,
    /// Something that this server does not have.
    Refused,
}
