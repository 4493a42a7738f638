//! Python's pickle format, as data.

mod graph;
pub(crate) mod opcode;
mod reader;
mod writer;

pub(crate) use graph::{Graph, Id, Node, Object};
pub(crate) use reader::{Bounds, read};
pub(crate) use writer::Writer;
