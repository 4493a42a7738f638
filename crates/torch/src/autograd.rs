//! Gradients: `tensor.backward(…)`, `tensor.grad` and `torch.autograd`. See [`crate::backward`] for the block form.

use std::any::Any;
use std::borrow::Cow;
use std::ffi::{CStr, c_void};
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Machine, Outcome, Request, Value};
use libtorch::{Failure, Problem, apart, ffi, foreign};

use crate::away;
use crate::cost::PRODUCTS_PER_SECOND;
use crate::deferred::Deferred;
use crate::dispatch::{self, Argument};
use crate::dtype;
use crate::hook;
use crate::job::{Job, Paying};
use crate::python;
use crate::raising::Raising;
use crate::tensor::Tensor;

/// Sees a gradient on its way; a returned tensor, of the same size and type, replaces it.
pub(crate) type Hook = Box<dyn Fn(Tensor) -> Option<Tensor>>;

/// Backward passes that hooks may begin inside one another. Beyond sixty libtorch goes on with another thread, where
/// hooks must not run.
pub(crate) const NESTED: usize = 16;

/// How a graph is walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub retain_graph: bool,
    pub create_graph: bool,
    pub allow_unused: bool,
}

/// A registered hook.
pub(crate) struct Registered {
    tensor: Tensor,
    handle: u32,
}

impl Registered {
    /// Ends the registration.
    ///
    /// # Errors
    /// `RuntimeError` when libtorch no longer knows the hook.
    pub fn remove(&self) -> Result<(), Raise> {
        let mut failure = Failure::none();
        // SAFETY: the tensor is alive.
        let done = unsafe { ffi::vt_remove_hook(self.tensor.as_ptr(), self.handle, failure.out()) };
        if done { Ok(()) } else { Err(failure.raise()) }
    }
}

/// A backward pass that a job asks for.
pub struct Asked {
    pub(crate) machine: Machine,
    pub(crate) outputs: Vec<Tensor>,
    /// The gradient that each output begins with.
    pub(crate) seeds: Vec<Option<Tensor>>,
    /// What gradients are wanted of, where not of all leaves.
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) options: Options,
    pub(crate) aim: Aim,
}

/// What is to become of gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// They are added to `.grad` of the leaves.
    Accumulate,
    /// They are returned; those of inputs that take no part as zeros, or else as `None`.
    Return { zeros: bool },
}

impl Asked {
    /// Walks, and raises what a hook of the job's raised meanwhile.
    fn outcome(self) -> HostResult {
        let machine = self.machine.clone();
        hook::settle(&machine, self.ask())
    }

    /// Has the job wait until others have asked as well, where it shares passes.
    fn ask(self) -> HostResult {
        let job = Job::of(&self.machine);
        if job.casts() {
            return Err(Raise::runtime_error(
                "a backward pass inside torch.autocast is not supported by this server: leave the `with` block before, as \
                 PyTorch recommends",
            ));
        }
        let long = is_long(&self.outputs, self.options);
        // What takes long others do not wait for.
        if job.has_company() && !job.is_walking() && !long {
            return Ok(Outcome::Wait(Request::new(Deferred::Gradients(self))));
        }
        self.walk(long).map(Outcome::from)
    }

    /// Walks the graph, by itself: on a thread of its own, where that takes `long` and may be.
    ///
    /// # Errors
    /// `RuntimeError` for outputs without a graph, for a graph walked twice, and for unused inputs unless allowed.
    pub(crate) fn walk(self, long: bool) -> Result<Value, Raise> {
        let found = self.gradients(long)?;
        let Aim::Return { zeros } = self.aim else { return Ok(Value::None) };
        let mut values = Vec::with_capacity(found.len());
        for (gradient, input) in found.into_iter().zip(&self.inputs) {
            values.push(match gradient {
                Some(gradient) => gradient.value(),
                None if zeros => dispatch::tensor(&self.machine, "zeros_like", "", &[input.into()])?.value(),
                None => Value::None,
            });
        }
        Ok(Value::tuple(values))
    }

    fn gradients(&self, long: bool) -> Result<Vec<Option<Tensor>>, Raise> {
        let Self { machine, outputs, seeds, inputs, options, aim } = self;
        let job = Job::of(machine);
        let accumulate = *aim == Aim::Accumulate;
        if accumulate && options.create_graph {
            let roots: Vec<_> = outputs.iter().map(Tensor::as_ptr).collect();
            leaves(&roots)?.into_iter().try_for_each(|leaf| job.empty_at_end(machine, leaf))?;
        }
        let handle = |tensor: &Tensor| tensor.tch().shallow_clone();
        let walk = Walk {
            outputs: outputs.iter().map(handle).collect(),
            seeds: seeds.iter().map(|seed| seed.as_ref().map(handle)).collect(),
            inputs: inputs.iter().map(handle).collect(),
            accumulate,
            options: *options,
        };
        let _walking = job.walk(!options.create_graph, NESTED)?;
        let found = if long && machine.lasts()? {
            away::attend(machine, &job, move || walk.run())?.map_err(Raising::raise)?
        } else {
            let paying = Paying::new(machine, &job);
            // A `with loss.backward():` block runs inside libtorch's walk, which keeps by thread how deep and where it is.
            let _held = machine.hold();
            let found = walk.run();
            foreign::go_on();
            paying.settle(found.map_err(Raising::raise))?
        };
        let paying = Paying::new(machine, &job);
        paying.settle(Ok(found.into_iter().map(|gradient| gradient.map(Tensor::new)).collect()))
    }
}

/// A walk through a graph, with handles of its own, so that any thread can do it.
struct Walk {
    outputs: Vec<tch::Tensor>,
    seeds: Vec<Option<tch::Tensor>>,
    inputs: Vec<tch::Tensor>,
    accumulate: bool,
    options: Options,
}

impl Walk {
    /// Returns the gradients of the inputs, where these are not accumulated.
    fn run(&self) -> Result<Vec<Option<tch::Tensor>>, Problem> {
        let pointer = |tensor: &tch::Tensor| tensor.as_ptr().cast::<c_void>();
        let roots: Vec<_> = self.outputs.iter().map(pointer).collect();
        let wanted: Vec<_> = self.inputs.iter().map(pointer).collect();
        let given = self.seeds.iter().map(|seed| seed.as_ref().map_or(std::ptr::null(), pointer));
        let given: Vec<_> = given.chain(std::iter::repeat(std::ptr::null())).take(roots.len()).collect();
        let mut failure = Failure::none();
        let mut results: *mut *mut c_void = std::ptr::null_mut();
        // SAFETY: every array has as many live tensors, or nulls, as its count says; the out-pointers are locals.
        let done = unsafe {
            ffi::vt_gradients(
                roots.as_ptr(),
                given.as_ptr(),
                roots.len(),
                wanted.as_ptr(),
                wanted.len(),
                self.accumulate,
                self.options.retain_graph,
                self.options.create_graph,
                self.options.allow_unused,
                &raw mut results,
                failure.out(),
            )
        };
        if !done {
            return Err(failure.problem());
        }
        if results.is_null() {
            return Ok(Vec::new());
        }
        // SAFETY: without an error there is one result for each input.
        let handles = unsafe { std::slice::from_raw_parts(results, wanted.len()) }.to_vec();
        // SAFETY: the array is ours and was copied.
        unsafe { ffi::vt_free(results.cast()) };
        Ok(handles.into_iter().map(libtorch::adopt).collect())
    }
}

/// Walks that are likely to take longer, in seconds, leave the model's thread to others.
const LONG: f64 = 1.0;

/// Says whether a walk takes so long that others should not wait for it. One that is recorded has to stay with its graph:
/// libtorch counts, by thread, which of its nodes came first. A GPU computes by itself.
fn is_long(outputs: &[Tensor], options: Options) -> bool {
    if options.create_graph || outputs.iter().any(Tensor::is_on_gpu) {
        return false;
    }
    let roots: Vec<_> = outputs.iter().map(Tensor::as_ptr).collect();
    // SAFETY: the roots are alive.
    let multiplications = unsafe { ffi::vt_graph_work(roots.as_ptr(), roots.len()) };
    multiplications > LONG * PRODUCTS_PER_SECOND
}

/// Returns the leaves that outputs were computed from.
fn leaves(roots: &[*const c_void]) -> Result<Vec<Tensor>, Raise> {
    let mut failure = Failure::none();
    let (mut results, mut count) = (std::ptr::null_mut::<*mut c_void>(), 0_usize);
    // SAFETY: the roots are alive; the out-pointers are locals.
    let done = unsafe { ffi::vt_leaves(roots.as_ptr(), roots.len(), &raw mut results, &raw mut count, failure.out()) };
    if !done {
        return Err(failure.raise());
    }
    // SAFETY: without an error `results` points at `count` tensors.
    let handles = unsafe { std::slice::from_raw_parts(results, count) }.to_vec();
    // SAFETY: the array is ours and was copied.
    unsafe { ffi::vt_free(results.cast()) };
    Ok(handles.into_iter().filter_map(libtorch::adopt).map(Tensor::new).collect())
}

impl Tensor {
    /// Returns the accumulated gradient.
    ///
    /// # Errors
    /// `RuntimeError` when libtorch refuses.
    pub fn grad(&self) -> Result<Option<Self>, Raise> {
        let mut failure = Failure::none();
        // SAFETY: the tensor is alive.
        let found = unsafe { ffi::vt_grad(self.as_ptr(), failure.out()) };
        match (found.is_null(), failure.is_set()) {
            (true, true) => Err(failure.raise()),
            _ => Ok(libtorch::adopt(found).map(Self::new)),
        }
    }

    /// Replaces or removes the accumulated gradient.
    ///
    /// # Errors
    /// `RuntimeError` when libtorch refuses.
    pub fn set_grad(&self, gradient: Option<&Self>) -> Result<(), Raise> {
        let gradient = gradient.map_or(std::ptr::null(), Self::as_ptr);
        let mut failure = Failure::none();
        // SAFETY: both are alive, or null stands for none.
        let done = unsafe { ffi::vt_set_grad(self.as_ptr(), gradient, failure.out()) };
        if done { Ok(()) } else { Err(failure.raise()) }
    }

    /// Keeps the gradient of a computed tensor in `.grad`.
    ///
    /// # Errors
    /// `RuntimeError` for a tensor that requires none.
    pub fn retain_grad(&self) -> Result<(), Raise> {
        let mut failure = Failure::none();
        // SAFETY: the tensor is alive.
        let done = unsafe { ffi::vt_retain_grad(self.as_ptr(), failure.out()) };
        if done { Ok(()) } else { Err(failure.raise()) }
    }

    /// Calls `hook` with the gradient that reaches this tensor in each later backward pass, on the thread that
    /// runs the pass, before the gradients of what the tensor was computed from.
    ///
    /// # Errors
    /// `RuntimeError` for a tensor that requires no gradient.
    pub(crate) fn on_gradient(&self, hook: Hook) -> Result<Registered, Raise> {
        let context = Box::into_raw(Box::new(hook)).cast::<c_void>();
        let (mut failure, mut handle) = (Failure::none(), 0);
        // SAFETY: the shim owns the context from here on and ends it with `forget`, also on failure.
        let done =
            unsafe { ffi::vt_register_hook(self.as_ptr(), seen, context, forget, &raw mut handle, failure.out()) };
        if done { Ok(Registered { tensor: self.clone(), handle }) } else { Err(failure.raise()) }
    }
}

extern "C" fn seen(context: *mut c_void, gradient: *const c_void, replaced: *mut *mut c_void) {
    apart::called((), || {
        // SAFETY: the context is the box of `on_gradient`, alive until `forget`, on the thread that it belongs to.
        let hook = unsafe { &*context.cast::<Hook>() };
        // SAFETY: the gradient is alive during the call; the copy is another owner.
        let copy = unsafe { ffi::vt_clone_handle(gradient) };
        let Some(gradient) = libtorch::adopt(copy) else { return };
        if let Some(replacement) = hook(Tensor::new(gradient)) {
            // SAFETY: the tensor is alive; the shim takes over the copy.
            let owned = unsafe { ffi::vt_clone_handle(replacement.as_ptr()) };
            // SAFETY: the shim's local is there during the call.
            unsafe { *replaced = owned };
        }
    });
}

extern "C" fn forget(context: *mut c_void) {
    apart::ended(|| {
        // SAFETY: the shim calls this once, with the box of `on_gradient`.
        drop(unsafe { Box::from_raw(context.cast::<Hook>()) });
    });
}

/// What `tensor.grad_fn` shows: the name of the function that computed the tensor.
pub struct Node(pub String);

impl HostObject for Node {
    fn type_name(&self) -> Cow<'static, str> {
        self.0.clone().into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        let name_of = |node: &Self| Value::from(node.0.as_str());
        Ok(match name {
            "name" => Value::native("name", move |_, args| {
                args.none("name")?;
                Ok(name_of(&self).into())
            })
            .into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<{} object>", self.0)))
    }
}

/// Reads `tensor.grad`: inside a `with loss.backward():` block the gradient that is to come, else what has accumulated.
pub(crate) fn read(machine: &Machine, tensor: &Tensor) -> HostResult {
    if let Some(walk) = Job::of(machine).backward_block() {
        return walk.ask(tensor, None);
    }
    Ok(tensor.grad()?.map_or(Value::None, |gradient| gradient.value()).into())
}

/// Writes `tensor.grad`: inside a `with loss.backward():` block it replaces the gradient that is to come.
pub(crate) fn write(machine: &Machine, tensor: &Tensor, value: &Value) -> HostResult {
    if let Some(walk) = Job::of(machine).backward_block() {
        return walk.ask(tensor, Some(value.clone()));
    }
    if tensor.is_read_only() {
        return Err(dispatch::read_only_error());
    }
    match (value, Tensor::of(value)) {
        (Value::None, _) => tensor.set_grad(None)?,
        (_, Some(gradient)) if gradient.sizes() == tensor.sizes() && gradient.dtype() == tensor.dtype() => {
            if gradient.requires_grad() {
                Job::of(machine).empty_at_end(machine, tensor.clone())?;
            }
            tensor.set_grad(Some(&gradient))?;
        }
        (_, Some(_)) => {
            return Err(Raise::runtime_error("assigned grad has data of a different size or type than its tensor"));
        }
        (value, None) => {
            let name = python::type_name(value);
            return Err(Raise::type_error(format!(
                "assigned grad expected to be a Tensor or None but got grad of type {name}"
            )));
        }
    }
    Ok(Value::None.into())
}

/// Calls `tensor.backward(gradient=None, retain_graph=None, create_graph=False, inputs=None)`.
pub(crate) fn called(machine: &Machine, tensor: &Tensor, args: &Args) -> HostResult {
    let parameters = ["gradient", "retain_graph", "create_graph", "inputs"];
    let [gradient, retain, create, inputs] = args.clone().bind("backward", parameters, 0)?;
    backward(machine, vec![tensor.clone()], gradient, [retain, create], inputs)
}

/// Calls `torch.autograd.backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None)`.
pub(crate) fn backward_called(machine: &Machine, args: Args) -> HostResult {
    let parameters = ["tensors", "grad_tensors", "retain_graph", "create_graph", "grad_variables", "inputs"];
    let [tensors, seeds, retain, create, old_seeds, inputs] = args.bind("backward", parameters, 1)?;
    let seeds = match (python::given(seeds), python::given(old_seeds)) {
        (Some(_), Some(_)) => {
            return Err(Raise::runtime_error(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only use \
                 `grad_tensors`.",
            ));
        }
        (seeds, old) => seeds.or(old),
    };
    let outputs = tensors_of(&tensors.unwrap_or(Value::None), not_an_output)?;
    backward(machine, outputs, seeds, [retain, create], inputs)
}

fn backward(
    machine: &Machine,
    outputs: Vec<Tensor>,
    seeds: Option<Value>,
    [retain, create]: [Option<Value>; 2],
    inputs: Option<Value>,
) -> HostResult {
    let create_graph = flag(machine, create, false)?;
    let retain_graph = flag(machine, python::given(retain), create_graph)?;
    let inputs = match python::given(inputs) {
        None => Vec::new(),
        Some(value) => {
            let inputs = tensors_of(&value, not_an_input)?;
            if inputs.is_empty() {
                return Err(Raise::runtime_error("`inputs` argument to `backward()` cannot be empty."));
            }
            inputs
        }
    };
    let seeds = seeds_of(machine, &outputs, seeds)?;
    let options = Options { retain_graph, create_graph, allow_unused: false };
    Asked { machine: machine.clone(), outputs, seeds, inputs, options, aim: Aim::Accumulate }.outcome()
}

/// Calls `torch.autograd.grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False,
/// allow_unused=None)`.
pub(crate) fn grad_called(machine: &Machine, args: Args) -> HostResult {
    let parameters = [
        "outputs",
        "inputs",
        "grad_outputs",
        "retain_graph",
        "create_graph",
        // Without effect in PyTorch, too.
        "only_inputs",
        "allow_unused",
        "is_grads_batched",
        "materialize_grads",
    ];
    let [outputs, inputs, seeds, retain, create, _, unused, batched, materialize] = args.bind("grad", parameters, 2)?;
    let batched = flag(machine, batched, false)?;
    let zeros = flag(machine, materialize, false)?;
    let unused = python::given(unused).map(|unused| flag(machine, Some(unused), false)).transpose()?;
    if zeros && unused == Some(false) {
        return Err(Raise::value_error(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.",
        ));
    }
    let outputs = tensors_of(&outputs.unwrap_or(Value::None), not_an_output)?;
    let inputs = tensors_of(&inputs.unwrap_or(Value::None), not_an_input)?;
    let create_graph = flag(machine, create, false)?;
    let retain_graph = flag(machine, python::given(retain), create_graph)?;
    let options = Options { retain_graph, create_graph, allow_unused: unused.unwrap_or(zeros) };
    let aim = Aim::Return { zeros };
    if batched {
        let seeds = batches_of(&outputs, seeds)?;
        return each_of_batch(
            Asked { machine: machine.clone(), outputs, seeds: Vec::new(), inputs, options, aim },
            seeds,
        );
    }
    let seeds = seeds_of(machine, &outputs, seeds)?;
    Asked { machine: machine.clone(), outputs, seeds, inputs, options, aim }.outcome()
}

/// Returns the gradients that outputs begin with, many of each, one behind another.
fn batches_of(outputs: &[Tensor], given: Option<Value>) -> Result<Vec<Tensor>, Raise> {
    let seeds = tensors_of(&given.unwrap_or(Value::None), |other| {
        let name = python::type_name(other);
        Raise::type_error(format!("gradients can be either Tensors or None, but got {name}"))
    })?;
    if seeds.len() != outputs.len() {
        let (tensors, gradients) = (outputs.len(), seeds.len());
        return Err(Raise::runtime_error(format!("got {tensors} tensors and {gradients} gradients")));
    }
    let count = seeds.first().and_then(|seed| seed.sizes().first().copied());
    for (at, (output, seed)) in outputs.iter().zip(&seeds).enumerate() {
        let (own, given) = (output.sizes(), seed.sizes());
        if given.first().copied() != count || given.get(1..) != Some(own.as_slice()) {
            return Err(Raise::runtime_error(format!(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension. The \
                 sizes of the remaining dimensions are expected to match the shape of corresponding output, but a mismatch \
                 was detected: grad_output[{at}] has a shape of torch.Size({given:?}) and output[{at}] has a shape of \
                 torch.Size({own:?}). If you only want some tensors in `grad_output` to be considered batched, consider using \
                 vmap."
            )));
        }
    }
    Ok(seeds)
}

/// Walks a graph once for each element of a batch, and stacks what comes of it.
fn each_of_batch(asked: Asked, seeds: Vec<Tensor>) -> HostResult {
    let count = seeds.first().and_then(|seed| seed.sizes().first().copied()).unwrap_or(0);
    if count == 0 {
        return Err(Raise::value_error("an empty batch of gradients is not supported by this server"));
    }
    Ok(Outcome::Later(Box::pin(async move {
        let Asked { machine, outputs, inputs, options, aim, .. } = asked;
        let mut found: Vec<Vec<Value>> = inputs.iter().map(|_| Vec::new()).collect();
        for at in 0..count {
            let own = |seed: &Tensor| dispatch::tensor(&machine, "select", "int", &[seed.into(), 0.into(), at.into()]);
            let walk = Asked {
                machine: machine.clone(),
                outputs: outputs.clone(),
                seeds: seeds.iter().map(|seed| own(seed).map(Some)).collect::<Result<_, _>>()?,
                inputs: inputs.clone(),
                // Of those before the last, none is the end of the graph.
                options: Options { retain_graph: options.retain_graph || at + 1 < count, ..options },
                aim,
            };
            let gradients = machine.settle(walk.outcome()?).await?;
            for (all, one) in found.iter_mut().zip(python::sequence(&gradients).unwrap_or_default()) {
                all.push(one);
            }
        }
        let stacked = found.into_iter().map(|all| {
            // What takes no part in one takes part in none.
            match all.iter().map(Tensor::of).collect::<Option<Vec<_>>>() {
                Some(all) => Ok(dispatch::tensor(&machine, "stack", "", &[Argument::Tensors(all), 0.into()])?.value()),
                None => Ok(Value::None),
            }
        });
        stacked.collect::<Result<_, Raise>>().map(Value::tuple)
    })))
}

fn flag(machine: &Machine, value: Option<Value>, default: bool) -> Result<bool, Raise> {
    value.map_or(Ok(default), |value| python::truth(machine, &value))
}

/// Returns the gradient that each output begins with, as PyTorch's `_make_grads`: the one given for it, which has its
/// shape, else its implicit one.
fn seeds_of(machine: &Machine, outputs: &[Tensor], given: Option<Value>) -> Result<Vec<Option<Tensor>>, Raise> {
    let given = match python::given(given) {
        None => vec![Value::None; outputs.len()],
        Some(given) => match Tensor::of(&given) {
            Some(_) => vec![given],
            None => items_of(&given)?,
        },
    };
    let mut seeds = Vec::with_capacity(outputs.len());
    for (at, (output, given)) in outputs.iter().zip(&given).enumerate() {
        seeds.push(match (given, Tensor::of(given)) {
            (_, Some(seed)) => Some(fitting(output, seed, at)?),
            (Value::None, None) => implicit_seed(machine, output)?,
            (other, None) => {
                let name = python::type_name(other);
                return Err(Raise::type_error(format!("gradients can be either Tensors or None, but got {name}")));
            }
        });
    }
    if given.len() != outputs.len() {
        let (tensors, gradients) = (outputs.len(), seeds.len());
        return Err(Raise::runtime_error(format!("got {tensors} tensors and {gradients} gradients")));
    }
    Ok(seeds)
}

fn fitting(output: &Tensor, seed: Tensor, at: usize) -> Result<Tensor, Raise> {
    let shape = |tensor: &Tensor| format!("torch.Size({:?})", tensor.sizes());
    if output.sizes() != seed.sizes() {
        let (given, own) = (shape(&seed), shape(output));
        return Err(Raise::runtime_error(format!(
            "Mismatch in shape: grad_output[{at}] has a shape of {given} and output[{at}] has a shape of {own}."
        )));
    }
    if dtype::is_complex(output.dtype()) != dtype::is_complex(seed.dtype()) {
        let (given, own) = (seed.dtype().name(), output.dtype().name());
        return Err(Raise::runtime_error(format!(
            "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: \
             grad_output[{at}] has a dtype of torch.{given} and output[{at}] has a dtype of torch.{own}."
        )));
    }
    Ok(seed)
}

fn items_of(value: &Value) -> Result<Vec<Value>, Raise> {
    match (python::sequence(value), value) {
        (Some(items), _) => Ok(items),
        (None, Value::Str(text)) => Ok(text.chars().map(|char| Value::from(char.to_string().as_str())).collect()),
        (None, other) => Err(Raise::type_error(format!("'{}' object is not iterable", python::type_name(other)))),
    }
}

fn tensors_of(value: &Value, wrong: fn(&Value) -> Raise) -> Result<Vec<Tensor>, Raise> {
    match Tensor::of(value) {
        Some(tensor) => Ok(vec![tensor]),
        None => items_of(value)?.iter().map(|item| Tensor::of(item).ok_or_else(|| wrong(item))).collect(),
    }
}

fn not_an_output(item: &Value) -> Raise {
    Raise::type_error(format!("'{}' object has no attribute 'requires_grad'", python::type_name(item)))
}

fn not_an_input(item: &Value) -> Raise {
    let name = python::type_name(item);
    Raise::runtime_error(format!("all inputs have to be Tensors or GradientEdges, but got {name}"))
}

/// The error of every attempt to get a weight's gradient.
pub(crate) fn no_weight_gradients() -> Raise {
    Raise::runtime_error("gradients of the served model's weights are not available: a weight cannot require grad")
}

/// Returns the gradient of a scalar output with respect to itself.
fn implicit_seed(machine: &Machine, output: &Tensor) -> Result<Option<Tensor>, Raise> {
    if !output.requires_grad() {
        // libtorch says what is wrong.
        return Ok(None);
    }
    if output.elements() != 1 {
        return Err(Raise::runtime_error("grad can be implicitly created only for scalar outputs"));
    }
    if !dtype::is_floating(output.dtype()) {
        return Err(Raise::runtime_error(format!(
            "grad can be implicitly created only for real scalar outputs but got torch.{}",
            output.dtype().name()
        )));
    }
    dispatch::tensor(machine, "ones_like", "", &[output.into()]).map(Some)
}

impl Tensor {
    /// Returns the name of the function that computed the tensor; `None` where no gradient is recorded.
    #[must_use]
    pub fn grad_fn(&self) -> Option<String> {
        // SAFETY: the tensor is alive.
        let name = unsafe { ffi::vt_grad_fn(self.as_ptr()) };
        if name.is_null() {
            return None;
        }
        // SAFETY: a non-null name is NUL-terminated.
        let text = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        // SAFETY: the name is ours to free.
        unsafe { ffi::vt_free(name.cast()) };
        Some(text)
    }
}
