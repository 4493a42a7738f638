//! Python's pickle format, as data: reading one makes a graph of what its opcodes say, and runs nothing.

mod graph;
pub(crate) mod opcode;
mod reader;
mod writer;

pub use graph::{Graph, Id, Node, Object};
pub use reader::{Bounds, read};
pub(crate) use writer::Writer;
