//! `torch.Tensor`, as users' code and the engine see it.

mod attributes;
mod engine;
mod host;
mod index;
mod methods;
mod print;
mod unembedding;

use std::ffi::c_void;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Machine, Value};
use kernels::Weight;
use libtorch::{Failure, ffi};
use program::{DType, TensorData};

use crate::dispatch::{self, Argument, Output};
use crate::dtype::{self, Device};
use crate::job::{Job, Paying};
use crate::raising::Raising;
use crate::{autograd, elements, python};

pub use attributes::get as get_attribute;
pub use attributes::is_known as has_attribute;
pub use host::Object;
pub use index::{backwards, get as get_item, legacy_name, set as set_item};
pub use methods::{call as call_method, is_known as has_method, is_own as is_own_method};
pub use print::{EDGE_ITEMS, corners};
use unembedding::Unembedding;
pub use unembedding::{Head, Logits};

/// One Python tensor object. Cloning keeps identity: both are the same tensor in the same memory.
#[derive(Clone)]
pub struct Tensor(Rc<Object>);

impl Tensor {
    /// Shows a tensor with live memory: in-place operations of a user reach it.
    #[must_use]
    pub fn new(tensor: tch::Tensor) -> Self {
        Self(Rc::new(Object::priced(tensor, false, false)))
    }

    /// Shows `[rows, length, vocabulary]` logits of `[rows, length, width]` hidden states, which nobody may write to
    /// from now on. They are computed when they are used, where that is. A `recorder` is who has gradients of the states.
    #[must_use]
    pub fn unembedded(hidden: tch::Tensor, head: &Rc<Head>, recorder: Option<Rc<Job>>) -> Self {
        Self(Rc::new(Object::later(Unembedding::new(hidden, Rc::clone(head), recorder))))
    }

    /// Returns how to compute the tensor, while that has not been done.
    pub(crate) fn pending(&self) -> Option<&Unembedding> {
        self.0.pending()
    }

    /// Shows a model's matrix to a job, read-only. Where its copy is not kept, the job pays for it.
    ///
    /// # Errors
    /// When there is no memory for it, or the job has none left.
    pub fn of_weight(machine: &Machine, weight: &Weight) -> Result<Self, Raise> {
        let paying = Paying::new(machine, &Job::of(machine));
        let dense = weight.dense().map_err(|error| Raise::runtime_error(error.to_string()));
        paying.settle(dense.map(Self::weight))
    }

    /// Shows a model's weight: neither it nor any view of it can be changed.
    #[must_use]
    pub fn weight(tensor: tch::Tensor) -> Self {
        Self(Rc::new(Object::new(tensor, true, true)))
    }

    /// Makes a `torch.nn.Parameter` of a user's own tensor. It shares the tensor's memory.
    #[must_use]
    pub fn parameter(&self) -> Self {
        Self(Rc::new(Object::priced(self.0.handle(), self.0.read_only, true)))
    }

    /// Returns the same tensor, guarded against changes.
    #[must_use]
    pub fn read_only(self) -> Self {
        let guarded = Self(Rc::new(Object::new(self.0.handle(), true, self.0.parameter)));
        guarded.0.learned.set(self.is_learned());
        guarded
    }

    /// Returns the same tensor, which comes of a model's parameters.
    #[must_use]
    pub fn learned(self) -> Self {
        self.set_learned(true);
        self
    }

    /// Sets whether the tensor comes of a model's parameters; whole numbers never do.
    pub fn set_learned(&self, learned: bool) {
        let dtype = || self.dtype();
        self.0.learned.set(learned && (dtype::is_floating(dtype()) || dtype::is_complex(dtype())));
    }

    /// Has the tensor be one that was computed where nothing is recorded. A view of another stays as it is recorded.
    pub fn forget(&self) {
        self.set_learned(false);
        if self.pending().is_none() && self.requires_grad() {
            // libtorch refuses it for views.
            drop(self.handle().f_detach_());
        }
    }

    /// Says whether the tensor is known to come of a model's parameters.
    #[must_use]
    pub fn is_learned(&self) -> bool {
        self.0.learned.get()
    }

    /// Returns another owner of the libtorch tensor.
    pub(crate) fn handle(&self) -> tch::Tensor {
        self.0.handle()
    }

    /// Returns the libtorch tensor.
    pub fn tch(&self) -> &tch::Tensor {
        self.0.get()
    }

    /// Returns the Python object.
    #[must_use]
    pub fn value(&self) -> Value {
        Value::Host(self.0.clone())
    }

    /// Returns the tensor behind a Python value.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        python::host::<Object>(value).map(Self)
    }

    /// Copies plain data into a tensor with its own memory.
    ///
    /// # Errors
    /// `RuntimeError` for bytes that do not fit the shape.
    pub fn of_data(data: &TensorData) -> Result<Self, Raise> {
        if data.elements().and_then(|elements| elements.checked_mul(data.dtype.size() as u64))
            != Some(data.bytes.len() as u64)
        {
            return Err(Raise::runtime_error(format!(
                "a tensor of shape {:?} and type {} does not have {} bytes",
                data.shape,
                data.dtype.name(),
                data.bytes.len()
            )));
        }
        let tensor = Self::of_bytes(data.dtype, &data.shape, &data.bytes)?;
        if data.requires_grad {
            tensor.set_requires_grad(true)?;
        }
        Ok(tensor)
    }

    pub(crate) fn of_bytes(dtype: DType, shape: &[i64], bytes: &[u8]) -> Result<Self, Raise> {
        let mut failure = Failure::none();
        // SAFETY: the pointers and lengths describe live slices; the shim checks the sizes against each other.
        let made = unsafe {
            ffi::vt_of_bytes(
                dtype::code(dtype),
                shape.as_ptr(),
                shape.len(),
                bytes.as_ptr().cast(),
                bytes.len(),
                failure.out(),
            )
        };
        libtorch::adopt(made).map(Self::new).ok_or_else(|| failure.raise())
    }

    /// Moves the tensor to a device, by libtorch's own number. A leaf stays one. Nobody pays.
    ///
    /// # Errors
    /// When there is no room.
    pub fn to_device(self, device: Device) -> Result<Self, Raise> {
        let facts = self.facts();
        if facts.device_type == device.kind && (device == Device::CPU || facts.device_index == device.index) {
            return Ok(self);
        }
        let plain = dispatch::call_unpaid("detach", "", &[(&self).into()])?;
        let arguments = [plain.into(), Argument::None, Argument::None, Argument::Device(device)];
        let moved = dispatch::call_unpaid("to", "dtype_layout", &arguments)?;
        if facts.requires_grad {
            moved.set_requires_grad(true)?;
        }
        Ok(moved)
    }

    /// Copies the elements out, row-major.
    ///
    /// # Errors
    /// `RuntimeError` for element types that this server does not show, and when the copy fails.
    pub fn to_data(&self) -> Result<TensorData, Raise> {
        let facts = self.facts();
        let Some(dtype) = dtype::of_code(facts.dtype) else {
            return Err(Raise::runtime_error("tensors of this element type cannot be read"));
        };
        let length = usize::try_from(facts.elements * facts.element_size).unwrap_or(0);
        let mut bytes = vec![0_u8; length];
        let mut failure = Failure::none();
        // SAFETY: `bytes` has `length` bytes, which the shim checks against the tensor's.
        let done = unsafe { ffi::vt_read(self.as_ptr(), bytes.as_mut_ptr().cast(), length, failure.out()) };
        match done {
            true => {
                Ok(TensorData { dtype, shape: self.sizes(), bytes: bytes.into(), requires_grad: facts.requires_grad })
            }
            false => Err(failure.raise()),
        }
    }

    /// Returns the size of each dimension.
    #[must_use]
    pub fn sizes(&self) -> Vec<i64> {
        self.pending().map_or_else(|| self.geometry().0, Unembedding::shape)
    }

    /// Returns the step of each dimension, in elements.
    #[must_use]
    pub fn strides(&self) -> Vec<i64> {
        self.geometry().1
    }

    fn geometry(&self) -> (Vec<i64>, Vec<i64>) {
        let dimensions = usize::try_from(self.facts().dimensions).unwrap_or(0);
        let (mut sizes, mut strides) = (vec![0; dimensions], vec![0; dimensions]);
        // SAFETY: both have room for one number per dimension.
        unsafe { ffi::vt_sizes(self.as_ptr(), sizes.as_mut_ptr(), strides.as_mut_ptr()) };
        (sizes, strides)
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        if let Some(unembedding) = self.pending() {
            return unembedding.shape().iter().map(|&size| u64::try_from(size).unwrap_or(0)).product();
        }
        u64::try_from(self.facts().elements).unwrap_or(0)
    }

    /// Returns the element type; float32 for types that this server does not show.
    #[must_use]
    pub fn dtype(&self) -> DType {
        if let Some(unembedding) = self.pending() {
            return unembedding.alike().dtype();
        }
        dtype::of_code(self.facts().dtype).unwrap_or(DType::Float32)
    }

    /// Returns the device, as its job names it.
    #[must_use]
    pub fn device(&self) -> Device {
        if let Some(unembedding) = self.pending() {
            return unembedding.alike().device();
        }
        match self.facts().device_type {
            0 => Device::CPU,
            kind => Device { kind, index: 0 },
        }
    }

    #[must_use]
    pub fn is_on_gpu(&self) -> bool {
        self.device().is_cuda()
    }

    #[must_use]
    pub fn requires_grad(&self) -> bool {
        if let Some(unembedding) = self.pending() {
            return unembedding.requires_grad();
        }
        self.facts().requires_grad
    }

    /// Says whether the tensor is a weight or looks at one.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.read_only
    }

    #[must_use]
    pub fn is_parameter(&self) -> bool {
        self.0.parameter
    }

    /// Returns what names the tensor object: equal for all handles of it.
    #[must_use]
    pub fn object(&self) -> usize {
        // SAFETY: the tensor is alive.
        unsafe { ffi::vt_identity(self.as_ptr()) }.addr()
    }

    /// Says whether both are the same tensor object.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        // SAFETY: both are alive.
        unsafe { ffi::vt_is_same(self.as_ptr(), other.as_ptr()) }
    }

    /// Returns what identifies the memory: equal for all views of one allocation.
    #[must_use]
    pub fn storage(&self) -> usize {
        self.facts().storage as usize
    }

    /// Returns the only element as a Python number.
    ///
    /// # Errors
    /// `RuntimeError` for other numbers of elements.
    pub fn item(&self) -> Result<Value, Raise> {
        if self.elements() != 1 {
            let elements = self.elements();
            return Err(Raise::runtime_error(format!(
                "a Tensor with {elements} elements cannot be converted to Scalar"
            )));
        }
        let data = match self.dtype() {
            DType::Float8E4M3Fn | DType::Float8E5M2 => self.widened(DType::Float32)?.to_data()?,
            DType::Complex32 => self.widened(DType::Complex64)?.to_data()?,
            _ => self.to_data()?,
        };
        Ok(elements::decode(&data).pop().unwrap_or(Value::None))
    }

    fn widened(&self, dtype: DType) -> Result<Self, Raise> {
        dispatch::call_unpaid("to", "dtype", &[self.into(), Argument::from(i64::from(dtype::code(dtype)))])
    }

    /// Draws `count` column indices for each row of `[rows, weights]`, from the job's own random numbers.
    ///
    /// # Errors
    /// `RuntimeError` for weights that are negative, not finite, or all zero.
    pub fn multinomial(&self, machine: &Machine, count: i64) -> Result<Self, Raise> {
        dispatch::tensor(machine, "multinomial", "", &[self.into(), Argument::from(count)])
    }

    /// Returns a view with another shape.
    ///
    /// # Errors
    /// `RuntimeError` for a shape with another number of elements.
    pub fn view(&self, shape: &[i64]) -> Result<Self, Raise> {
        dispatch::call_unpaid("view", "", &[self.into(), shape.to_vec().into()])
    }

    /// Returns the rows along dim 0, as views.
    ///
    /// # Errors
    /// What the operator raises.
    pub fn unbind(&self, machine: &Machine) -> Result<Vec<Self>, Raise> {
        let outputs = dispatch::call(machine, dispatch::lookup("unbind", "int")?, &[self.into(), Argument::from(0)])?;
        match outputs.into_iter().next() {
            Some(Output::Tensors(rows)) => Ok(rows),
            _ => Err(Raise::runtime_error("unbind() did not return tensors")),
        }
    }

    /// Returns `length` entries of dim 0 as a view that remembers what it is a part of: gradients of a batch's rows are
    /// rows of the batch's gradient, since the computation goes on with the whole.
    ///
    /// # Errors
    /// What the operator raises.
    pub fn rows(&self, start: i64, length: i64) -> Result<Self, Raise> {
        if let Some(later) = self.pending() {
            let rows = later.narrow(self, start, length);
            let rows = rows.map_err(|error| Raise::runtime_error(error.to_string()))?;
            let rows = Self(Rc::new(Object::later(rows)));
            rows.0.learned.set(self.is_learned());
            return Ok(rows);
        }
        let arguments = [self.into(), Argument::from(0), start.into(), length.into()];
        let view = dispatch::call_unpaid("narrow", "", &arguments)?;
        let rows = Self(Rc::new(Object::part(view.0.handle(), (self.clone(), start, length))));
        rows.0.learned.set(self.is_learned());
        Ok(rows)
    }

    /// Returns the batch that this is a part of, and the first row and number of rows.
    pub(crate) fn batch(&self) -> Option<&(Self, i64, i64)> {
        self.0.rows.as_ref()
    }

    /// Says whether gradients are to be recorded for this tensor from now on.
    ///
    /// # Errors
    /// `RuntimeError` for integers, for tensors that were computed, and for weights.
    pub fn set_requires_grad(&self, on: bool) -> Result<(), Raise> {
        if self.is_read_only() && on {
            return Err(autograd::no_weight_gradients());
        }
        let mut failure = Failure::none();
        // SAFETY: the tensor is alive.
        let done = unsafe { ffi::vt_set_requires_grad(self.as_ptr(), on, failure.out()) };
        if done { Ok(()) } else { Err(failure.raise()) }
    }

    pub(crate) fn as_ptr(&self) -> *const c_void {
        self.0.get().as_ptr().cast()
    }

    pub(crate) fn facts(&self) -> ffi::Facts {
        let mut facts = ffi::Facts {
            dtype: 0,
            device_type: 0,
            device_index: 0,
            layout: 0,
            dimensions: 0,
            elements: 0,
            element_size: 0,
            storage_offset: 0,
            storage: std::ptr::null(),
            requires_grad: false,
            is_leaf: false,
            is_contiguous: false,
            is_conj: false,
        };
        // SAFETY: the tensor is alive, and `facts` is a local.
        unsafe { ffi::vt_facts(self.as_ptr(), &raw mut facts) };
        facts
    }
}
