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

    fn to_data(&self) -> Result<TensorData, Raise> {
        self.to_data()
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
        dispatch::call_unpaid("narrow", "", &[self.into(), Argument::from(0), start.into(), length.into()])
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
