//! Calls operators through libtorch's dispatcher.
//!
//! Performance-critical: one call here per operation of a user's block.

use std::ffi::c_void;
use std::rc::Rc;

use interpreter::Machine;
use interpreter::raise::Raise;
use libtorch::ffi::{self, Datum, Mode};
use libtorch::{Failure, Problem, adopt};

use crate::adjacent;
use crate::away;
use crate::bounds;
use crate::cost::{self, Work};
use crate::dtype::Device;
use crate::generator::{self, Generator};
use crate::job::{Job, Paying};
use crate::raising::Raising;
use crate::schema::{Kind, Operator, Operators};
use crate::tensor::Tensor;

/// One argument of an operator.
#[derive(Clone)]
pub enum Argument {
    /// The schema's own default.
    Default,
    None,
    Tensor(Tensor),
    Number(Number),
    /// A Python number where a tensor is expected; it does not take part in dtype promotion.
    Wrapped(Number),
    Str(Rc<str>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
    Tensors(Vec<Tensor>),
    OptionalTensors(Vec<Option<Tensor>>),
    Device(Device),
    Generator(Rc<Generator>),
}

/// A Python number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    /// An integer beyond the signed ones.
    Unsigned(u64),
    Float(f64),
    Bool(bool),
    Complex(f64, f64),
}

/// One result of an operator.
#[derive(Clone)]
pub enum Output {
    None,
    Tensor(Tensor),
    Tensors(Vec<Tensor>),
    Number(Number),
    Ints(Vec<i64>),
    Str(String),
}

impl From<Tensor> for Argument {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<&Tensor> for Argument {
    fn from(tensor: &Tensor) -> Self {
        Self::Tensor(tensor.clone())
    }
}

impl From<i64> for Argument {
    fn from(number: i64) -> Self {
        Self::Number(Number::Int(number))
    }
}

impl From<f64> for Argument {
    fn from(number: f64) -> Self {
        Self::Number(Number::Float(number))
    }
}

impl From<bool> for Argument {
    fn from(flag: bool) -> Self {
        Self::Number(Number::Bool(flag))
    }
}

impl From<Vec<i64>> for Argument {
    fn from(list: Vec<i64>) -> Self {
        Self::Ints(list)
    }
}

/// Calls an operator for a job: the job pays for the memory, lends its random numbers, and its grad mode holds.
/// A result that is one of the arguments' tensors is that very object; one that shares a weight's memory is
/// read-only like it.
///
/// # Errors
/// The exception that PyTorch raises, with its text; `RuntimeError` for writing to a read-only tensor; the
/// machine's own when memory is spent.
pub fn call(machine: &Machine, operator: &'static Operator, arguments: &[Argument]) -> Result<Vec<Output>, Raise> {
    refuse_writes(operator, arguments)?;
    if operator.trusts {
        bounds::check_everywhere(operator, arguments)?;
    }
    let job = Job::of(machine);
    let work = cost::of(operator, arguments);
    let drawing = match operator.random && !arguments.iter().any(|argument| matches!(argument, Argument::Generator(_)))
    {
        true => Some(job.generator(device_of(arguments).unwrap_or(job.device()))?),
        false => None,
    };
    let placed = placed(&job, operator, arguments)?;
    let arguments = placed.as_deref().unwrap_or(arguments);
    // Where the operator does not take a generator, the process's own one is lent to the job.
    let (given, lent) = match drawing.map(|generator| drawn(operator, arguments, &generator).ok_or(generator)) {
        Some(Ok(given)) => (Some(given), None),
        Some(Err(generator)) => (None, Some(generator)),
        None => (None, None),
    };
    let (operator, arguments) = given.as_ref().map_or((operator, arguments), |(twin, given)| (*twin, given.as_slice()));
    let is_long = away::is_long(work) && lent.is_none() && !is_on_gpu(&job, arguments);
    if is_long && away::may_wait(machine, &operator.name, work)? {
        let copied = job.pay(machine, Work::default(), || adjacent::copied(operator, arguments, job.gradients()))?;
        let arguments = copied.as_deref().unwrap_or(arguments);
        let task = Owned::new(operator, arguments);
        let (handle, mode) = (operator.handle, job.mode());
        let sent = away::run(machine, &job, move || invoke(handle, task.data(), mode, None))?;
        let learns = operator.passes_on && job.modes().gradients();
        return job.pay(machine, Work::default(), || Ok(shown(sent.map_err(Problem::raise)?, arguments, learns)));
    }
    let work = if is_long { Work::default() } else { work };
    job.pay(machine, work, || {
        if job.device().is_cuda() {
            bounds::check(operator, arguments)?;
        }
        let copied = adjacent::copied(operator, arguments, job.gradients())?;
        let arguments = copied.as_deref().unwrap_or(arguments);
        raw(operator, arguments, job.mode(), lent.as_deref(), job.modes().gradients())
    })
}

/// Gives an operator that draws random numbers a job's generator, in the overload that takes one; `None` where there is
/// none.
fn drawn(
    operator: &'static Operator,
    arguments: &[Argument],
    generator: &Rc<Generator>,
) -> Option<(&'static Operator, Vec<Argument>)> {
    let takes =
        |operator: &Operator| operator.parameters.iter().position(|parameter| parameter.kind == Kind::Generator);
    let mut given = arguments.to_vec();
    given.resize(operator.parameters.len().max(given.len()), Argument::Default);
    if let Some(at) = takes(operator) {
        *given.get_mut(at)? = Argument::Generator(Rc::clone(generator));
        return Some((operator, given));
    }
    let twin = Operators::all().get(&operator.name)?.get(operator.twin?)?;
    given.insert(takes(twin)?, Argument::Generator(Rc::clone(generator)));
    Some((twin, given))
}

/// Whether an operation is a GPU's, which does not keep the thread.
fn is_on_gpu(job: &Job, arguments: &[Argument]) -> bool {
    job.device().is_cuda() && device_of(arguments).unwrap_or(job.device()).is_cuda()
}

/// Replaces the device in an operator's arguments by the one that the job means: that of its model where it names
/// none for new tensors. `None` where nothing is to be replaced.
fn placed(job: &Job, operator: &Operator, arguments: &[Argument]) -> Result<Option<Vec<Argument>>, Raise> {
    let Some(at) = operator.parameters.iter().position(|parameter| parameter.kind == Kind::Device) else {
        return Ok(None);
    };
    let device = match arguments.get(at) {
        Some(Argument::Device(device)) => *device,
        _ if arguments.iter().any(|argument| !tensors_of(argument).is_empty()) => return Ok(None),
        _ => job.device(),
    };
    let mut placed = arguments.to_vec();
    placed.resize(placed.len().max(at + 1), Argument::Default);
    if let Some(slot) = placed.get_mut(at) {
        *slot = Argument::Device(job.resolve(device)?);
    }
    Ok(Some(placed))
}

/// Calls an operator by name for the server itself: no job pays. Gradients flow where the arguments require them.
///
/// # Errors
/// The exception that PyTorch raises.
pub fn call_unpaid(name: &str, overload: &str, arguments: &[Argument]) -> Result<Tensor, Raise> {
    let operator = lookup(name, overload)?;
    refuse_writes(operator, arguments)?;
    let _nobody = Paying::nobody();
    single(name, raw(operator, arguments, Mode::plain(true), None, true)?)
}

/// Calls an operator that returns one tensor. Trailing arguments may be left out where the schema has defaults.
///
/// # Errors
/// As [`call`]; `RuntimeError` for an operator that does not exist or returns something else.
pub fn tensor(machine: &Machine, name: &str, overload: &str, arguments: &[Argument]) -> Result<Tensor, Raise> {
    single(name, call(machine, lookup(name, overload)?, arguments)?)
}

/// Finds an overload.
///
/// # Errors
/// `RuntimeError` when libtorch has none.
pub fn lookup(name: &str, overload: &str) -> Result<&'static Operator, Raise> {
    Operators::all()
        .overload(name, overload)
        .ok_or_else(|| Raise::runtime_error(format!("libtorch has no operator aten::{name}.{overload}")))
}

pub(crate) fn single(name: &str, outputs: Vec<Output>) -> Result<Tensor, Raise> {
    match outputs.into_iter().next() {
        Some(Output::Tensor(tensor)) => Ok(tensor),
        _ => Err(Raise::runtime_error(format!("aten::{name} did not return a tensor"))),
    }
}

/// Refuses to write to weights, by an operator's own account or, for normalisation with running statistics, in spite
/// of it: their schemas do not say that training updates them.
fn refuse_writes(operator: &Operator, arguments: &[Argument]) -> Result<(), Raise> {
    let hidden = writes_unsaid(&operator.name);
    for (parameter, argument) in operator.parameters.iter().zip(arguments) {
        let written = parameter.written || hidden && parameter.name.starts_with("running_");
        let read_only = match argument {
            Argument::Tensor(tensor) => tensor.is_read_only(),
            Argument::Tensors(tensors) => tensors.iter().any(Tensor::is_read_only),
            _ => false,
        };
        if written && read_only {
            return Err(read_only_error());
        }
    }
    Ok(())
}

/// Says whether an operator updates running statistics, which its schema does not say.
pub fn writes_unsaid(operator: &str) -> bool {
    matches!(operator, "batch_norm" | "instance_norm" | "_batch_norm_impl_index" | "cudnn_batch_norm")
}

/// The error of every attempt to change a weight.
pub fn read_only_error() -> Raise {
    Raise::runtime_error(
        "the served model's weights are read-only: this in-place operation would change a weight, or a view of one, \
         for everybody. Work on a copy: call clone() first",
    )
}

fn device_of(arguments: &[Argument]) -> Option<Device> {
    arguments.iter().find_map(|argument| match argument {
        Argument::Tensor(tensor) => Some(tensor.device()),
        Argument::Device(device) => Some(*device),
        _ => None,
    })
}

/// Calls an operator with arguments that nothing is wrong with. Where it `learns`, what comes of parameters says so.
pub(crate) fn raw(
    operator: &Operator,
    arguments: &[Argument],
    mode: Mode,
    lent: Option<&Generator>,
    learns: bool,
) -> Result<Vec<Output>, Raise> {
    let mut lists = Lists::default();
    let data = described(operator, arguments, |argument| lists.datum(argument));
    let sent = invoke(operator.handle, &data, mode, lent).map_err(Problem::raise)?;
    Ok(shown(sent, arguments, learns && operator.passes_on))
}

/// Describes an operator's arguments, those that are left out included.
fn described(operator: &Operator, arguments: &[Argument], describe: impl FnMut(&Argument) -> Datum) -> Vec<Datum> {
    let mut data: Vec<Datum> = Vec::with_capacity(operator.parameters.len());
    data.extend(arguments.iter().map(describe));
    data.resize(operator.parameters.len().max(data.len()), Datum::of(ffi::DEFAULT));
    for (datum, parameter) in data.iter_mut().zip(&operator.parameters) {
        if datum.tag == ffi::INT && parameter.kind == Kind::Float {
            (datum.tag, datum.real) = (ffi::FLOAT, datum.integer as f64);
        }
    }
    data
}

/// One result of an operator, as it comes from the shim, on whichever thread.
enum Sent {
    None,
    Tensor(tch::Tensor),
    Tensors(Vec<tch::Tensor>),
    Number(Number),
    Ints(Vec<i64>),
    Str(String),
}

/// Calls an operator. What the data point at must outlive the call.
fn invoke(handle: usize, data: &[Datum], mode: Mode, lent: Option<&Generator>) -> Result<Vec<Sent>, Problem> {
    let mut failure = Failure::none();
    let (mut results, mut count) = (std::ptr::null_mut::<Datum>(), 0_usize);
    let lent = lent.map_or(std::ptr::null_mut(), Generator::as_ptr);
    // SAFETY: the data point at what outlives the call; the out-pointers are locals.
    let done = unsafe {
        ffi::vt_call(handle, data.as_ptr(), data.len(), mode, lent, &raw mut results, &raw mut count, failure.out())
    };
    if !done {
        return Err(failure.problem());
    }
    // SAFETY: the call succeeded, so `results` points at `count` values.
    let values = unsafe { std::slice::from_raw_parts(results, count) };
    let sent = values.iter().map(sent).collect();
    // SAFETY: the array is ours, and its contents have been taken over.
    unsafe { ffi::vt_free(results.cast()) };
    Ok(sent)
}

fn sent(datum: &Datum) -> Sent {
    match datum.tag {
        ffi::TENSOR => adopt(datum.data.cast_mut()).map_or(Sent::None, Sent::Tensor),
        ffi::TENSORS => Sent::Tensors(taken::<*mut c_void>(datum).into_iter().filter_map(adopt).collect()),
        ffi::INT => Sent::Number(Number::Int(datum.integer)),
        ffi::FLOAT => Sent::Number(Number::Float(datum.real)),
        ffi::BOOL => Sent::Number(Number::Bool(datum.integer != 0)),
        ffi::COMPLEX => Sent::Number(Number::Complex(datum.real, datum.imaginary)),
        ffi::INTS => Sent::Ints(taken(datum)),
        ffi::STRING => Sent::Str(String::from_utf8_lossy(&taken::<u8>(datum)).into_owned()),
        _ => Sent::None,
    }
}

/// Makes objects of results.
fn shown(sent: Vec<Sent>, arguments: &[Argument], learns: bool) -> Vec<Output> {
    let inputs = Inputs::of(arguments.iter().flat_map(tensors_of), learns);
    let output = |sent| match sent {
        Sent::None => Output::None,
        Sent::Tensor(tensor) => Output::Tensor(inputs.shown(tensor)),
        Sent::Tensors(tensors) => Output::Tensors(tensors.into_iter().map(|tensor| inputs.shown(tensor)).collect()),
        Sent::Number(number) => Output::Number(number),
        Sent::Ints(ints) => Output::Ints(ints),
        Sent::Str(text) => Output::Str(text),
    };
    sent.into_iter().map(output).collect()
}

/// An operator's arguments for another thread: handles and copies of its own, so that nothing of the job's is touched there.
pub(crate) struct Owned {
    data: Vec<Datum>,
    _tensors: Vec<tch::Tensor>,
    _generators: Vec<generator::Handle>,
    _texts: Vec<Box<[u8]>>,
    _ints: Vec<Box<[i64]>>,
    _floats: Vec<Box<[f64]>>,
    _lists: Lists,
}

// SAFETY: the data point at what the other fields own, which is plain memory and handles that libtorch counts atomically.
unsafe impl Send for Owned {}

impl Owned {
    fn new(operator: &Operator, arguments: &[Argument]) -> Self {
        let mut own = Self::empty();
        own.data = described(operator, arguments, |argument| own.describe(argument));
        own
    }

    pub fn empty() -> Self {
        Self {
            data: Vec::new(),
            _tensors: Vec::new(),
            _generators: Vec::new(),
            _texts: Vec::new(),
            _ints: Vec::new(),
            _floats: Vec::new(),
            _lists: Lists::default(),
        }
    }

    pub fn data(&self) -> &[Datum] {
        &self.data
    }

    /// Adds an argument as it is.
    pub fn push(&mut self, datum: Datum) {
        self.data.push(datum);
    }

    /// Takes a copy of an argument, and describes it.
    pub fn describe(&mut self, argument: &Argument) -> Datum {
        let list = |tag, data: *const c_void, length| Datum { data, length, ..Datum::of(tag) };
        match argument {
            Argument::Tensor(tensor) => Datum { data: self.tensor(tensor), ..Datum::of(ffi::TENSOR) },
            Argument::Tensors(tensors) => {
                let pointers = tensors.iter().map(|tensor| self.tensor(tensor)).collect();
                self._lists.tensors(ffi::TENSORS, pointers)
            }
            Argument::OptionalTensors(tensors) => {
                let pointers =
                    tensors.iter().map(|one| one.as_ref().map_or(std::ptr::null(), |one| self.tensor(one))).collect();
                self._lists.tensors(ffi::OPTIONAL_TENSORS, pointers)
            }
            Argument::Str(text) => {
                let text: Box<[u8]> = text.as_bytes().into();
                let datum = list(ffi::STRING, text.as_ptr().cast(), text.len());
                self._texts.push(text);
                datum
            }
            Argument::Ints(ints) => self.ints(ints),
            Argument::Floats(floats) => {
                let floats: Box<[f64]> = floats.as_slice().into();
                let datum = list(ffi::FLOATS, floats.as_ptr().cast(), floats.len());
                self._floats.push(floats);
                datum
            }
            Argument::Generator(generator) => {
                let handle = generator.handle();
                let datum = Datum { data: handle.as_ptr(), ..Datum::of(ffi::GENERATOR) };
                self._generators.push(handle);
                datum
            }
            Argument::Default
            | Argument::None
            | Argument::Number(_)
            | Argument::Wrapped(_)
            | Argument::Bools(_)
            | Argument::Device(_) => self._lists.datum(argument),
        }
    }

    pub fn ints(&mut self, ints: &[i64]) -> Datum {
        let ints: Box<[i64]> = ints.into();
        let datum = Datum { data: ints.as_ptr().cast(), length: ints.len(), ..Datum::of(ffi::INTS) };
        self._ints.push(ints);
        datum
    }

    pub fn tensor(&mut self, tensor: &Tensor) -> *const c_void {
        let handle = tensor.handle();
        let pointer = handle.as_ptr().cast::<c_void>();
        self._tensors.push(handle);
        pointer
    }
}

fn tensors_of(argument: &Argument) -> Vec<&Tensor> {
    match argument {
        Argument::Tensor(tensor) => vec![tensor],
        Argument::Tensors(tensors) => tensors.iter().collect(),
        Argument::OptionalTensors(tensors) => tensors.iter().flatten().collect(),
        _ => Vec::new(),
    }
}

/// Copies a result's array and frees it.
fn taken<T: Copy>(datum: &Datum) -> Vec<T> {
    // SAFETY: a list's `data` points at `length` values of the type that its tag says.
    let list = unsafe { std::slice::from_raw_parts(datum.data.cast::<T>(), datum.length) }.to_vec();
    // SAFETY: the array is ours and was copied.
    unsafe { ffi::vt_free(datum.data.cast_mut()) };
    list
}

/// Finds the object that a result already has, or makes one that is as read-only as what it looks at.
/// Where it `learns`, it comes of parameters as that does.
pub fn known(tensor: tch::Tensor, input: &Tensor, learns: bool) -> Tensor {
    Inputs::of([input], learns).shown(tensor)
}

/// The tensors that an operator was given, in an order in which one of many is found soon.
struct Inputs<'a> {
    objects: Vec<(usize, &'a Tensor)>,
    /// Memory of weights.
    guarded: Vec<usize>,
    /// What is made of them comes of parameters.
    learned: bool,
}

impl<'a> Inputs<'a> {
    fn of(tensors: impl IntoIterator<Item = &'a Tensor>, learns: bool) -> Self {
        let mut objects: Vec<_> = tensors.into_iter().map(|tensor| (tensor.object(), tensor)).collect();
        // One tensor may be there as several objects of Python's; the first stands for it.
        objects.sort_by_key(|(object, tensor)| (*object, !tensor.is_learned()));
        objects.dedup_by_key(|(object, _)| *object);
        let guarded = objects.iter().filter(|(_, tensor)| tensor.is_read_only());
        let mut guarded: Vec<_> = guarded.map(|(_, tensor)| tensor.storage()).collect();
        guarded.sort_unstable();
        let learned = learns && objects.iter().any(|(_, tensor)| tensor.is_learned() || tensor.requires_grad());
        Self { objects, guarded, learned }
    }

    fn shown(&self, tensor: tch::Tensor) -> Tensor {
        let made = Tensor::new(tensor);
        if let Ok(at) = self.objects.binary_search_by_key(&made.object(), |(object, _)| *object)
            && let Some((_, same)) = self.objects.get(at)
        {
            if self.learned {
                same.set_learned(true);
            }
            return (*same).clone();
        }
        if self.learned {
            made.set_learned(true);
        }
        match !self.guarded.is_empty() && self.guarded.binary_search(&made.storage()).is_ok() {
            true => made.read_only(),
            false => made,
        }
    }
}

/// Keeps the arrays that data point into.
#[derive(Default)]
pub struct Lists {
    pointers: Vec<Vec<*const c_void>>,
    flags: Vec<Vec<i64>>,
}

impl Lists {
    /// Describes an argument. The result is good as long as the argument and `self` are.
    pub fn datum(&mut self, argument: &Argument) -> Datum {
        let list = |tag, data: *const c_void, length| Datum { data, length, ..Datum::of(tag) };
        match argument {
            Argument::Default => Datum::of(ffi::DEFAULT),
            Argument::None => Datum::of(ffi::NONE),
            Argument::Tensor(tensor) => Datum { data: tensor.as_ptr(), ..Datum::of(ffi::TENSOR) },
            Argument::Number(number) => number.datum(),
            Argument::Wrapped(number) => {
                let datum = number.datum();
                Datum { tag: ffi::WRAPPED, kind: datum.tag, ..datum }
            }
            Argument::Str(text) => list(ffi::STRING, text.as_ptr().cast(), text.len()),
            Argument::Ints(ints) => list(ffi::INTS, ints.as_ptr().cast(), ints.len()),
            Argument::Floats(floats) => list(ffi::FLOATS, floats.as_ptr().cast(), floats.len()),
            Argument::Bools(bools) => {
                self.flags.push(bools.iter().map(|&flag| i64::from(flag)).collect());
                self.flags
                    .last()
                    .map_or(Datum::of(ffi::NONE), |kept| list(ffi::BOOLS, kept.as_ptr().cast(), kept.len()))
            }
            Argument::Tensors(tensors) => self.tensors(ffi::TENSORS, tensors.iter().map(Tensor::as_ptr).collect()),
            Argument::OptionalTensors(tensors) => {
                let pointers =
                    tensors.iter().map(|one| one.as_ref().map_or(std::ptr::null(), Tensor::as_ptr)).collect();
                self.tensors(ffi::OPTIONAL_TENSORS, pointers)
            }
            Argument::Device(device) => {
                Datum { kind: device.kind, integer: i64::from(device.index), ..Datum::of(ffi::DEVICE) }
            }
            Argument::Generator(generator) => Datum { data: generator.as_ptr(), ..Datum::of(ffi::GENERATOR) },
        }
    }

    fn tensors(&mut self, tag: i32, pointers: Vec<*const c_void>) -> Datum {
        let datum = Datum { data: pointers.as_ptr().cast(), length: pointers.len(), ..Datum::of(tag) };
        self.pointers.push(pointers);
        datum
    }
}

impl Number {
    /// Describes the number.
    #[must_use]
    pub fn datum(self) -> Datum {
        match self {
            Self::Int(integer) => Datum { integer, ..Datum::of(ffi::INT) },
            Self::Unsigned(integer) => Datum { integer: integer.cast_signed(), ..Datum::of(ffi::UNSIGNED) },
            Self::Float(real) => Datum { real, ..Datum::of(ffi::FLOAT) },
            Self::Bool(flag) => Datum { integer: i64::from(flag), ..Datum::of(ffi::BOOL) },
            Self::Complex(real, imaginary) => Datum { real, imaginary, ..Datum::of(ffi::COMPLEX) },
        }
    }
}
