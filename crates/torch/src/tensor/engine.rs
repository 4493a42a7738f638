//! Tensors as the engine handles them.

use interpreter::raise::Raise;
use interpreter::{Machine, Value};
use program::TensorData;

use super::Tensor;
use crate::dispatch::{self, Argument};

impl engine::Tensor for Tensor {
    fn of_data(data: &TensorData) -> Result<Self, Raise> {
        Self::of_data(data)
    }

    /// What was computed is cut from its graph; only a leaf still requires grad.
    fn to_data(&self) -> Result<TensorData, Raise> {
        let data = self.to_data()?;
        Ok(TensorData { requires_grad: data.requires_grad && self.facts().is_leaf, ..data })
    }

    fn to_value(&self, _: &Machine) -> Value {
        self.value()
    }

    fn of_value(value: &Value) -> Option<Self> {
        Self::of(value)
    }

    fn shape(&self) -> Vec<i64> {
        self.sizes()
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
}
