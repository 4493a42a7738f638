//! `torch.Generator`: a stream of random numbers, PyTorch's own.

use std::any::Any;
use std::borrow::Cow;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Machine, Outcome, Value};
use libtorch::{Failure, ffi};

use crate::dtype::Device;
use crate::job::Job;
use crate::python;
use crate::raising::Raising;
use crate::tensor::Tensor;

/// A generator of one device; Mersenne Twister on CPUs, so that a seed gives the numbers it gives in Python.
pub struct Generator {
    generator: NonNull<c_void>,
    device: Device,
}

impl Generator {
    /// Makes a generator.
    ///
    /// # Errors
    /// `RuntimeError` for a device that the job does not have.
    pub fn new(job: &Job, device: Device, seed: u64) -> Result<Self, Raise> {
        let Device { kind, index } = job.resolve(device)?;
        let mut failure = Failure::none();
        // SAFETY: plain arguments; the shim answers with an owned generator or null.
        let made = unsafe { ffi::vt_generator(kind, index, seed, failure.out()) };
        NonNull::new(made).map(|generator| Self { generator, device }).ok_or_else(|| failure.raise())
    }

    /// Rebuilds a generator that a request brings: `Generator(device)` with `(seed, offset, state)`. Like its tensors,
    /// it comes to the model's device; where that is of another kind, the seed still tells what to draw.
    ///
    /// # Errors
    /// `RuntimeError` for a state that is none.
    pub fn rebuild(machine: &Machine, device: &Value, state: Option<&Value>) -> Result<Value, Raise> {
        let job = Job::of(machine);
        let same = Device::of_value(device)?.unwrap_or(Device::CPU).kind == job.device().kind;
        let parts = state.and_then(python::sequence).unwrap_or_default();
        let generator = Self::new(&job, job.device(), python::seed(parts.first().or(Some(&Value::Int(0))))?)?;
        if let Some(state) = parts.last().and_then(Tensor::of).filter(|_| same) {
            generator.set_state(&state)?;
        }
        Ok(Value::host(generator))
    }

    /// Starts again from a seed.
    ///
    /// # Errors
    /// `RuntimeError` when libtorch refuses.
    pub fn seed(&self, seed: u64) -> Result<(), Raise> {
        let mut failure = Failure::none();
        // SAFETY: the generator is alive as long as `self`.
        let done = unsafe { ffi::vt_generator_seed(self.generator.as_ptr(), seed, failure.out()) };
        if done { Ok(()) } else { Err(failure.raise()) }
    }

    /// Returns the seed that it started from.
    #[must_use]
    pub fn initial_seed(&self) -> u64 {
        // SAFETY: the generator is alive as long as `self`.
        unsafe { ffi::vt_generator_initial_seed(self.generator.as_ptr()) }
    }

    /// Returns the state as a uint8 tensor.
    ///
    /// # Errors
    /// `RuntimeError` when libtorch refuses.
    pub fn state(&self) -> Result<Tensor, Raise> {
        let mut failure = Failure::none();
        // SAFETY: the generator is alive as long as `self`.
        let state = unsafe { ffi::vt_generator_state(self.generator.as_ptr(), failure.out()) };
        libtorch::adopt(state).map(Tensor::new).ok_or_else(|| failure.raise())
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// `RuntimeError` for a tensor that is no state.
    pub fn set_state(&self, state: &Tensor) -> Result<(), Raise> {
        let mut failure = Failure::none();
        // SAFETY: both are alive during the call.
        let done = unsafe { ffi::vt_generator_set_state(self.generator.as_ptr(), state.as_ptr(), failure.out()) };
        if done { Ok(()) } else { Err(failure.raise()) }
    }

    /// Returns another handle on the same generator.
    pub(crate) fn handle(&self) -> Handle {
        // SAFETY: the generator is alive.
        Handle(unsafe { ffi::vt_generator_handle(self.generator.as_ptr()) })
    }

    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.generator.as_ptr()
    }
}

/// A handle on a generator, for another thread.
pub(crate) struct Handle(*mut c_void);

impl Handle {
    pub fn as_ptr(&self) -> *const c_void {
        self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours; deleting none is nothing.
        unsafe { ffi::vt_generator_free(self.0) };
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // SAFETY: the generator is ours, and nobody uses it after this.
        unsafe { ffi::vt_generator_free(self.generator.as_ptr()) };
    }
}

impl HostObject for Generator {
    fn type_name(&self) -> Cow<'static, str> {
        "Generator".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "device" => Ok(self.device.value().into()),
            "manual_seed" | "initial_seed" | "get_state" | "set_state" | "seed" => {
                Ok(python::method(self, name).into())
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn call_method(self: Rc<Self>, _: &Machine, name: &str, args: &Args) -> HostResult {
        let args = args.clone();
        match name {
            "manual_seed" => {
                let [seed] = args.bind("manual_seed", ["seed"], 1)?;
                self.seed(python::seed(seed.as_ref())?)?;
                Ok(Value::Host(self).into())
            }
            "initial_seed" | "seed" => {
                args.none(name)?;
                Ok(python::unsigned(self.initial_seed()).into())
            }
            "get_state" => {
                args.none(name)?;
                Ok(self.state()?.value().into())
            }
            "set_state" => {
                let state = args.one("set_state")?;
                let state = Tensor::of(&state).ok_or_else(|| {
                    Raise::type_error(format!("expected a torch.ByteTensor, but got {}", python::type_name(&state)))
                })?;
                self.set_state(&state)?;
                Ok(Value::None.into())
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<torch._C.Generator device={}>", self.device)))
    }

    fn is_instance(&self, class: &str) -> bool {
        matches!(class, "torch.Generator" | "torch._C.Generator")
    }
}
