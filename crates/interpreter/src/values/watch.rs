//! A host that hears where a program has come to, and may have something done first.

use std::any::Any;
use std::rc::Rc;

use program::ir::{Expr, Statement, Target};

use crate::values::frame::Frame;
use crate::values::host::Request;

/// Hears what a program is about to do, see [`Machine::watch`](crate::values::machine::Machine::watch).
pub trait Watch {
    /// Is told what comes next in a frame. A request is put to the driver before it does; what that raises is raised
    /// here. `opened` is what [`Watch::open`] gave for the loop that a turn belongs to.
    fn before(&self, frame: &Rc<Frame>, part: Part<'_>, opened: Option<&dyn Any>) -> Option<Request>;

    /// Is told that a statement with a body begins in a frame. What this returns is dropped when it ends.
    fn open(&self, frame: &Rc<Frame>, compound: Compound<'_>) -> Option<Box<dyn Any>>;
}

/// What comes next.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// A statement: its own parts, bodies apart, which are told of by themselves.
    Statement(&'a Statement),
    /// The test of a `while`, the second time and later.
    Test,
    /// The next turn of a `for`: an element is taken and bound to the target.
    Turn(&'a Target),
}

/// What has a body.
#[derive(Clone, Copy)]
pub enum Compound<'a> {
    /// `try`, and `with` where the object runs something at its end: what stands in the body has happened by then.
    Guard,
    /// `for`, with what it goes through, which is yet to be evaluated.
    Loop(&'a Expr),
}
