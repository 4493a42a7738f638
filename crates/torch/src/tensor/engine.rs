//! Tensors as the engine handles them.
use interpreter::raise::Raise;
use interpreter::{Machine, Value};
use program::TensorData;
use tch::{Kind, TchError};

use super::Tensor;
use crate::deferred::Deferred;
use crate::dispatch::{self, Argument};
use crate::job::Job;

impl engine::Tensor for Tensor {
    type Deferred = Deferred;

    fn resolve(deferred: Vec<Deferred>) -> Vec<Result<Value, Raise>> {
        Deferred::resolve(deferred)
    }

    fn pending(&self) -> bool {
        self.pending().is_some()
    }

    fn of_data(data: &TensorData) -> Result<Self, Raise> {
        Self::of_data(data)
    }

    /// What was computed is cut from its graph, and requires grad as a leaf does.
    fn to_data(&self) -> Result<TensorData, Raise> {
        if let Some(unembedding) = self.pending() {
            let numbers = unembedding.numbers().map_err(|error| Raise::runtime_error(error.to_string()))?;
            return Self::new(numbers).to_data();
        }
        self.to_data()
    }

    fn would_require_grad(&self, machine: &Machine) -> bool {
        self.is_learned() && Job::of(machine).learns()
    }

    fn to_value(&self, _: &Machine) -> Value {
        self.value()
    }

    fn of_value(value: &Value) -> Option<Self> {
        Self::of(value)
    }

    fn dtype(&self) -> Option<program::DType> {
        Some(self.dtype())
    }

    fn shape(&self) -> Vec<i64> {
        self.sizes()
    }

    fn form(&self) -> engine::Form {
        (self.sizes(), self.strides())
    }

    fn memory(&self) -> usize {
        self.storage()
    }

    fn offset(&self) -> i64 {
        self.facts().storage_offset
    }

    fn strided(&self, shape: &[i64], strides: &[i64], offset: i64) -> Result<Self, Raise> {
        let arguments = [self.into(), shape.to_vec().into(), strides.to_vec().into(), offset.into()];
        dispatch::call_unpaid("as_strided", "", &arguments)
    }

    fn leaf(self, requires_grad: bool, parameter: bool) -> Result<Self, Raise> {
        if requires_grad {
            self.set_requires_grad(true)?;
        }
        Ok(if parameter { self.parameter() } else { self })
    }

    fn is_parameter(&self) -> bool {
        self.is_parameter()
    }

    fn same_kind(&self, other: &Self) -> bool {
        self.dtype() == other.dtype() && self.device() == other.device()
    }

    fn rows(&self, start: i64, length: i64) -> Result<Self, Raise> {
        self.rows(start, length)
    }

    fn join(parts: &[Self]) -> Result<Self, Raise> {
        dispatch::call_unpaid("cat", "", &[Argument::Tensors(parts.to_vec()), Argument::from(0)])
    }

    fn view(&self, shape: &[i64]) -> Result<Self, Raise> {
        dispatch::call_unpaid("view", "", &[self.into(), shape.to_vec().into()])
    }

    fn last_position(&self) -> Result<Self, Raise> {
        dispatch::call_unpaid("select", "int", &[self.into(), Argument::from(1), Argument::from(-1)])
    }

    fn duplicate(&self) -> Result<Self, Raise> {
        dispatch::call_unpaid("clone", "", &[self.into()])
    }

    fn writes(&self) -> Option<i64> {
        self.pending().is_none().then(|| libtorch::writes(self.tch()))
    }

    fn first_differences(&self, other: &Self) -> Result<Vec<i64>, Raise> {
        let (own, sizes) = (self.tch(), self.sizes());
        let rows = sizes.first().copied().unwrap_or(1);
        let length = sizes.get(1).copied().unwrap_or(1);
        if sizes != other.sizes() || own.kind() != other.tch().kind() {
            return Ok(vec![0; usize::try_from(rows).unwrap_or(0)]);
        }
        // As integers of the same width: NaN equals itself, and zero is not minus zero.
        let bits = match own.kind() {
            Kind::Float => Kind::Int,
            Kind::Double => Kind::Int64,
            Kind::Half | Kind::BFloat16 => Kind::Int16,
            other => other,
        };
        let differing = || -> Result<Vec<bool>, TchError> {
            let (own, other) = (own.f_detach()?.f_view_dtype(bits)?, other.tch().f_detach()?.f_view_dtype(bits)?);
            let differing = own.f_ne_tensor(&other)?.f_reshape([rows, length, -1])?;
            Vec::try_from(differing.f_any_dim(-1, false)?.f_flatten(0, -1)?)
        };
        let differing = differing().map_err(|error| Raise::runtime_error(error.to_string()))?;
        let first = |row: &[bool]| row.iter().position(|&differs| differs).and_then(|at| i64::try_from(at).ok());
        let row = usize::try_from(length).unwrap_or(0).max(1);
        Ok(differing.chunks(row).map(|row| first(row).unwrap_or(length)).collect())
    }
}
