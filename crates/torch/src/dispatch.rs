//! Calls operators through libtorch's dispatcher.
//!
//! Performance-critical: one call here per operation of a user's block.

use std::ffi::{CStr, c_void};
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Kind as Exception, Machine};

use crate::adjacent;
use crate::bounds;
use crate::cost;
use crate::dtype::Device;
use crate::ffi::{self, Datum};
use crate::generator::Generator;
use crate::job::{Job, Paying};
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

/// What the shim said about a failed call.
pub struct Failure(ffi::Error);

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
pub fn call(machine: &Machine, operator: &Operator, arguments: &[Argument]) -> Result<Vec<Output>, Raise> {
    refuse_writes(operator, arguments)?;
    let steps = cost::steps(operator, arguments);
    machine.charge_fuel(steps)?;
    if steps >= cost::LONG {
        machine.look_soon();
    }
    let job = Job::of(machine);
    let paying = Paying::new(machine, &job);
    let lent = match operator.random {
        true if !arguments.iter().any(|argument| matches!(argument, Argument::Generator(_))) => {
            Some(job.generator(device_of(arguments).unwrap_or(job.device()))?)
        }
        _ => None,
    };
    let placed = placed(&job, operator, arguments)?;
    let arguments = placed.as_deref().unwrap_or(arguments);
    let run = || {
        if job.device().is_cuda() {
            bounds::check(operator, arguments)?;
        }
        let copied = adjacent::copied(operator, arguments, job.gradients())?;
        raw(operator, copied.as_deref().unwrap_or(arguments), job.gradients(), lent.as_deref())
    };
    paying.settle(run())
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
    single(name, raw(operator, arguments, true, None)?)
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

/// Calls an operator with arguments that nothing is wrong with.
pub(crate) fn raw(
    operator: &Operator,
    arguments: &[Argument],
    gradients: bool,
    lent: Option<&Generator>,
) -> Result<Vec<Output>, Raise> {
    let mut lists = Lists::default();
    let mut data: Vec<Datum> = Vec::with_capacity(operator.parameters.len());
    for argument in arguments {
        data.push(lists.datum(argument));
    }
    data.resize(operator.parameters.len().max(data.len()), Datum::of(ffi::DEFAULT));
    for (datum, parameter) in data.iter_mut().zip(&operator.parameters) {
        if datum.tag == ffi::INT && parameter.kind == Kind::Float {
            (datum.tag, datum.real) = (ffi::FLOAT, datum.integer as f64);
        }
    }
    let mut failure = Failure::none();
    let (mut results, mut count) = (std::ptr::null_mut::<Datum>(), 0_usize);
    let lent = lent.map_or(std::ptr::null_mut(), Generator::as_ptr);
    // SAFETY: the data point into `arguments` and `lists`, which outlive the call; the out-pointers are locals.
    let done = unsafe {
        ffi::vt_call(
            operator.handle,
            data.as_ptr(),
            data.len(),
            gradients,
            lent,
            &raw mut results,
            &raw mut count,
            failure.out(),
        )
    };
    if !done {
        return Err(failure.raise());
    }
    let inputs: Vec<&Tensor> = arguments.iter().flat_map(tensors_of).collect();
    // SAFETY: the call succeeded, so `results` points at `count` values.
    let values = unsafe { std::slice::from_raw_parts(results, count) };
    let outputs = values.iter().map(|value| output(value, &inputs)).collect();
    // SAFETY: the array is ours, and its contents have been taken over.
    unsafe { ffi::vt_free(results.cast()) };
    Ok(outputs)
}

fn tensors_of(argument: &Argument) -> Vec<&Tensor> {
    match argument {
        Argument::Tensor(tensor) => vec![tensor],
        Argument::Tensors(tensors) => tensors.iter().collect(),
        Argument::OptionalTensors(tensors) => tensors.iter().flatten().collect(),
        _ => Vec::new(),
    }
}

fn output(datum: &Datum, inputs: &[&Tensor]) -> Output {
    match datum.tag {
        ffi::TENSOR => {
            adopt(datum.data.cast_mut()).map_or(Output::None, |tensor| Output::Tensor(known(tensor, inputs)))
        }
        ffi::TENSORS => {
            let handles: Vec<*mut c_void> = taken(datum);
            Output::Tensors(handles.into_iter().filter_map(adopt).map(|tensor| known(tensor, inputs)).collect())
        }
        ffi::INT => Output::Number(Number::Int(datum.integer)),
        ffi::FLOAT => Output::Number(Number::Float(datum.real)),
        ffi::BOOL => Output::Number(Number::Bool(datum.integer != 0)),
        ffi::COMPLEX => Output::Number(Number::Complex(datum.real, datum.imaginary)),
        ffi::INTS => Output::Ints(taken(datum)),
        ffi::STRING => Output::Str(String::from_utf8_lossy(&taken::<u8>(datum)).into_owned()),
        _ => Output::None,
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
pub fn known(tensor: tch::Tensor, inputs: &[&Tensor]) -> Tensor {
    let made = Tensor::new(tensor);
    if let Some(same) = inputs.iter().find(|input| input.is_same(&made)) {
        return (*same).clone();
    }
    let mut guards = inputs.iter().filter(|input| input.is_read_only());
    match guards.any(|input| input.storage() == made.storage()) {
        true => made.read_only(),
        false => made,
    }
}

/// Takes over a tensor that the shim made.
pub fn adopt(tensor: *mut c_void) -> Option<tch::Tensor> {
    if tensor.is_null() {
        return None;
    }
    // SAFETY: the shim hands out `at::Tensor`s made by `new`, which is what tch owns.
    Some(unsafe { tch::Tensor::from_ptr(tensor.cast()) })
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
            Self::Float(real) => Datum { real, ..Datum::of(ffi::FLOAT) },
            Self::Bool(flag) => Datum { integer: i64::from(flag), ..Datum::of(ffi::BOOL) },
            Self::Complex(real, imaginary) => Datum { real, imaginary, ..Datum::of(ffi::COMPLEX) },
        }
    }
}

impl Failure {
    /// Nothing has failed yet.
    pub fn none() -> Self {
        Self(ffi::Error { kind: 0, text: std::ptr::null_mut() })
    }

    /// Where the shim writes.
    pub fn out(&mut self) -> *mut ffi::Error {
        &raw mut self.0
    }

    /// Says whether something failed.
    pub fn is_set(&self) -> bool {
        !self.0.text.is_null()
    }

    /// Makes the exception that PyTorch raises.
    pub fn raise(self) -> Raise {
        let text = if self.0.text.is_null() {
            String::from("libtorch gave no reason")
        } else {
            // SAFETY: a non-null text is NUL-terminated.
            unsafe { CStr::from_ptr(self.0.text) }.to_string_lossy().into_owned()
        };
        match self.0.kind {
            1 => Raise::index_error(text),
            2 => Raise::value_error(text),
            3 => Raise::type_error(text),
            4 => Raise::new(Exception::NotImplementedError, text),
            5 => Raise::named("torch._C._LinAlgError", Exception::RuntimeError, text),
            6 => Raise::named("torch.OutOfMemoryError", Exception::RuntimeError, text),
            _ => Raise::runtime_error(text),
        }
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        // SAFETY: the text is malloc'ed by the shim, or null.
        unsafe { ffi::vt_free(self.0.text.cast()) };
    }
}
