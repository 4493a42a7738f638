//! `with loss.backward():`, a block beside a backward pass, which reads and replaces gradients on their way.
//!
//! The block runs until it asks for a tensor's `.grad`; then libtorch walks the graph, and the hook of that tensor
//! lets the block go on. All on one thread and one stack: the block's coroutine is resumed from inside the walk.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use interpreter::raise::{Kind, Raise};
use interpreter::{Args, Block, Capture, Coroutine, HostObject, HostResult, Machine, Outcome, Request, Step, Value};

use crate::autograd::{self, Registered};
use crate::deferred::Deferred;
use crate::dispatch;
use crate::hook;
use crate::job::Job;
use crate::tensor::Tensor;

/// What `loss.backward(…)` gives to a `with` statement.
pub(crate) struct Backward {
    tensor: Tensor,
    args: Args,
}

impl Backward {
    pub(crate) fn value(tensor: Tensor, args: Args) -> Value {
        Value::host(Self { tensor, args })
    }
}

impl HostObject for Backward {
    fn type_name(&self) -> Cow<'static, str> {
        "BackwardTracer".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn capture(self: Rc<Self>, machine: &Machine, body: Block) -> Result<Capture, Raise> {
        let machine = machine.clone();
        let target = Value::Host(self.clone());
        let run = async move { run(&machine, &self.tensor, &self.args, body).await };
        Ok(Capture::Takes { target, outcome: Outcome::Later(Box::pin(run)) })
    }
}

async fn run(machine: &Machine, tensor: &Tensor, args: &Args, body: Block) -> Result<Value, Raise> {
    if !tensor.requires_grad() {
        return Err(Raise::new(
            Kind::NotImplementedError,
            "This tensor does not require grad, so a backward session cannot produce gradients: nothing the block \
             reads can ever receive one. The forward ran without gradient tracking (e.g. under torch.no_grad()), or \
             the tensor was created without requires_grad=True.",
        ));
    }
    let walk = Rc::new(Walk {
        machine: machine.clone(),
        block: RefCell::new(Coroutine::of_block(machine, body)),
        waits: RefCell::default(),
        hooks: RefCell::default(),
        raised: RefCell::default(),
    });
    let _watching = Watching(Rc::clone(&walk));
    walk.run(tensor, args).await.map(|()| Value::None)
}

/// Has a walk see gradients until it is dropped: hooks hold the walk, which holds their tensors.
struct Watching(Rc<Walk>);

impl Drop for Watching {
    fn drop(&mut self) {
        for (_, hook) in self.0.hooks.take() {
            // Where libtorch knows it no more, the tensor is gone.
            let _ = hook.remove();
        }
    }
}

/// One backward pass and the block beside it.
pub(crate) struct Walk {
    machine: Machine,
    block: RefCell<Coroutine>,
    waits: RefCell<Option<Waits>>,
    /// The tensors whose gradients the block has asked for.
    hooks: RefCell<Vec<(Tensor, Registered)>>,
    /// What the block raised while libtorch was walking.
    raised: RefCell<Option<Raise>>,
}

/// What the block waits for.
enum Waits {
    Gradient(Wish),
    /// Something that no backward pass produces.
    Else,
}

/// `tensor.grad`, or with a value, `tensor.grad = value`.
struct Wish {
    tensor: Tensor,
    value: Option<Value>,
}

impl Wish {
    /// Returns the tensor in the graph: the whole batch, of whose rows the block sees some.
    fn root(&self) -> &Tensor {
        self.tensor.batch().map_or(&self.tensor, |(batch, ..)| batch)
    }

    /// Answers from the gradient of the root, and puts a replacement in its place.
    fn answer(self, machine: &Machine, gradient: &mut Tensor, replaced: &mut bool) -> Result<Value, Raise> {
        let rows = self.tensor.batch().map(|&(_, start, length)| (start, length));
        let Some(value) = self.value else {
            return Ok(match rows {
                Some((start, length)) => gradient.rows(start, length)?.value(),
                None => gradient.value(),
            });
        };
        let Some(new) = Tensor::of(&value) else {
            let name = crate::python::type_name(&value);
            return Err(Raise::type_error(format!("a gradient can only be replaced by a Tensor, not {name}")));
        };
        *gradient = match rows {
            None => new,
            Some((start, length)) => {
                let whole = dispatch::tensor(machine, "clone", "", &[(&*gradient).into()])?;
                dispatch::tensor(machine, "copy_", "", &[whole.rows(start, length)?.into(), new.into()])?;
                whole
            }
        };
        *replaced = true;
        Ok(Value::None)
    }
}

impl Walk {
    /// Asks for a gradient on behalf of the block, or to replace one.
    pub(crate) fn ask(self: &Rc<Self>, tensor: &Tensor, value: Option<Value>) -> HostResult {
        let wish = Wish { tensor: tensor.clone(), value };
        self.watch(wish.root())?;
        Ok(Outcome::Wait(Request::new(wish)))
    }

    /// Has the block told when the tensor's gradient comes.
    fn watch(self: &Rc<Self>, tensor: &Tensor) -> Result<(), Raise> {
        if self.hooks.borrow().iter().any(|(known, _)| known.is_same(tensor)) {
            return Ok(());
        }
        if tensor.is_read_only() {
            return Err(autograd::no_weight_gradients());
        }
        if !tensor.requires_grad() {
            return Err(Raise::runtime_error("cannot register a hook on a tensor that doesn't require gradient"));
        }
        let (walk, watched) = (Rc::clone(self), tensor.clone());
        let hook = tensor.on_gradient(Box::new(move |gradient| {
            // The walk may be others' as well: it goes on, and the block hears no more of it.
            walk.serve(&watched, gradient).unwrap_or_else(|raise| {
                walk.raised.borrow_mut().get_or_insert(raise);
                None
            })
        }))?;
        self.hooks.borrow_mut().push((tensor.clone(), hook));
        Ok(())
    }

    async fn run(self: &Rc<Self>, tensor: &Tensor, args: &Args) -> Result<(), Raise> {
        self.resume(None)?;
        let walked = match autograd::called(&self.machine, tensor, args) {
            Ok(outcome) => self.machine.settle(outcome).await,
            Err(raise) => Err(raise),
        };
        if let Some(raise) = self.raised.take() {
            return Err(raise);
        }
        walked?;
        match self.waits.take() {
            None => Ok(()),
            Some(waits) => self.resume(Some(Err(out_of_order(&waits)))),
        }
    }

    /// Lets the block have a gradient that has come, as long as it asks for it. Returns what replaces it.
    fn serve(self: &Rc<Self>, root: &Tensor, gradient: Tensor) -> Result<Option<Tensor>, Raise> {
        let before = gradient.clone();
        let (mut gradient, mut replaced) = (gradient, false);
        while let Some(wish) = self.wish_for(root) {
            // What is wrong with a replacement is raised at the user's line.
            let answer = wish.answer(&self.machine, &mut gradient, &mut replaced);
            self.resume(Some(answer))?;
        }
        if !replaced {
            return Ok(None);
        }
        hook::fits("hook", &before, &gradient).map(|()| Some(gradient))
    }

    fn wish_for(&self, root: &Tensor) -> Option<Wish> {
        let mut waits = self.waits.borrow_mut();
        match waits.take() {
            Some(Waits::Gradient(wish)) if wish.root().is_same(root) => Some(wish),
            other => {
                *waits = other;
                None
            }
        }
    }

    /// Runs the block until it waits again or ends. It waits for nothing while it runs, so that a pass which the
    /// block begins itself finds nobody to tell.
    fn resume(self: &Rc<Self>, answer: Option<Result<Value, Raise>>) -> Result<(), Raise> {
        let job = Job::of(&self.machine);
        let outer = job.set_backward_block(Some(Rc::clone(self)));
        let resumed = self.machine.recurse(|| self.resume_block(answer));
        job.set_backward_block(outer);
        resumed
    }

    fn resume_block(&self, answer: Option<Result<Value, Raise>>) -> Result<(), Raise> {
        let mut answer = answer;
        loop {
            let request = match self.block.borrow_mut().resume(answer.take()) {
                Step::Done(result) => return result.map(drop),
                Step::Waiting(request) => request.0,
            };
            let waits = match request.downcast::<Wish>().map_err(|request| request.downcast::<Deferred>()) {
                Ok(wish) => Waits::Gradient(*wish),
                Err(Ok(deferred)) => {
                    answer = Deferred::resolve(vec![*deferred]).pop();
                    continue;
                }
                Err(Err(_)) => Waits::Else,
            };
            *self.waits.borrow_mut() = Some(waits);
            return Ok(());
        }
    }
}

fn out_of_order(waits: &Waits) -> Raise {
    let text = match waits {
        Waits::Gradient(wish) => {
            let shape = &wish.tensor.sizes();
            format!(
                "the `.grad` of a tensor of shape {shape:?} was requested but the backward pass already ran past it, or \
                 never reaches it: gradients come in the reverse order of the forward pass"
            )
        }
        Waits::Else => "only `.grad` can be read inside a backward block: the model already ran past everything \
                        else, so read it before"
            .into(),
    };
    Raise::named("nnsight.intervention.interleaver.OutOfOrderError", Kind::Exception, text)
}
