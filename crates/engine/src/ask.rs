//! What a suspended block asks of the run that drives it.

use std::rc::Rc;

use interpreter::{Block, Value};
use program::Function;

use crate::deferral::PutOff;
use crate::location::Location;
use crate::model::Site;

/// A request that leaves the interpreter while a block waits.
pub enum Ask {
    /// Read a location.
    Read(Location, View),
    /// Replace what flows past a location.
    Write(Location, Value),
    /// Replace the first argument at a module's input.
    WriteFirst(Location, Value),
    /// Leave a module's body out and use this as its output.
    Skip(Location, Value),
    /// Wait until as many blocks have arrived.
    Barrier(Rc<Barrier>),
    /// Run a trace that was opened inside a session.
    Trace(Box<TraceRequest>),
    /// Run a trace some time before somebody could tell.
    PutOff(Box<TraceRequest>, PutOff),
}

/// How a module's arguments are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Whole,
    /// `.input`: the first positional argument, else the first by keyword.
    FirstArgument,
}

/// `with model.trace(…):` and its like.
#[derive(Clone)]
pub struct TraceRequest {
    pub function: Function,
    /// The module that is traced.
    pub site: Site,
    pub args: Vec<Value>,
    pub kwargs: Vec<(Rc<str>, Value)>,
    /// What runs before the body, and sees all rows.
    pub edits: Vec<Block>,
    pub body: Block,
    pub tracer: Rc<crate::tracer::TraceState>,
    /// Whether the code around the trace records what gradients need; what its blocks switch off is their own affair.
    pub recording: bool,
}

/// A meeting point of a trace's blocks.
pub struct Barrier {
    pub count: usize,
    /// Blocks that wait here now, by their numbers in the run.
    pub waiting: std::cell::RefCell<Vec<usize>>,
}
