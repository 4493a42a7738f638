//! `model.edit()`: blocks that each trace of a model, or of one module by itself, begins with.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Block, Capture, Coroutine, HostObject, HostResult, Machine, Outcome, Siblings, Value};

use crate::envoy::{Envoy, Place};
use crate::job::JobState;
use crate::model::Model;
use crate::tracer::{TraceState, Tracer};

/// The edits of one module, in their order. Each has the variables that there were when it was written.
#[derive(Default)]
pub struct Edits(RefCell<Vec<Block>>);

impl Edits {
    /// Returns all of them.
    pub fn all(&self) -> Vec<Block> {
        self.0.borrow().clone()
    }

    /// Adds one.
    pub fn push(&self, edit: Block) {
        self.0.borrow_mut().push(edit);
    }

    /// Removes all.
    pub fn clear(&self) {
        let all = self.0.take();
        drop(all);
    }
}

/// Makes an edit run once more. What it binds is its own, and gone afterwards.
///
/// # Errors
/// Memory is spent.
pub fn replay(machine: &Machine, edit: &Block) -> Result<Coroutine, Raise> {
    let frame = edit.frame.snapshot(&Rc::new(Siblings::default()))?;
    Ok(Coroutine::of_block(machine, Block { code: Rc::clone(&edit.code), frame }))
}

/// Opens `model.edit(inplace=…)`; its body arrives with the `with` statement.
///
/// # Errors
/// `TypeError` for other arguments.
pub fn open<M: Model>(job: &Rc<JobState<M>>, place: Place, edits: &Rc<Edits>, args: &Args) -> HostResult {
    let mut inplace = false;
    for (name, value) in &args.keyword {
        match (&**name, value) {
            ("inplace", Value::Bool(flag)) => inplace = *flag,
            ("backend", Value::None) => {}
            _ => return Err(Raise::type_error(format!("edit() takes inplace=True or False here, not {name}"))),
        }
    }
    if !args.positional.is_empty() {
        return Err(Raise::type_error("edit() takes no positional arguments"));
    }
    Ok(Value::Host(Rc::new(Editor { job: Rc::clone(job), place, edits: Rc::clone(edits), inplace })).into())
}

/// `model.edit(…)`, until its `with` statement hands over the body.
struct Editor<M: Model> {
    job: Rc<JobState<M>>,
    place: Place,
    edits: Rc<Edits>,
    inplace: bool,
}

impl<M: Model> HostObject for Editor<M> {
    fn type_name(&self) -> Cow<'static, str> {
        "EditingTracer".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn capture(self: Rc<Self>, _machine: &Machine, body: Block) -> Result<Capture, Raise> {
        let state = TraceState::default();
        // An edit opens no invokes.
        state.running.set(true);
        let tracer = Tracer { job: Rc::clone(&self.job), state: Rc::new(state), request: RefCell::new(None) };
        let tracer = Value::Host(Rc::new(tracer));
        let (edits, target) = if self.inplace {
            (Rc::clone(&self.edits), tracer)
        } else {
            let edits = Rc::new(Edits(RefCell::new(self.edits.all())));
            let edited = Envoy::edited(&self.job, self.place, Rc::clone(&edits));
            (edits, Value::tuple(vec![tracer, edited]))
        };
        let frame = body.frame.fork(&Rc::new(Siblings::default()));
        edits.push(Block { code: body.code, frame });
        Ok(Capture::Takes { target, outcome: Outcome::Ready(Value::None) })
    }
}
