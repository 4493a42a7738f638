//! What the thread holds for the job whose code runs on it.

use interpreter::{Machine, Value};
use program::{Batching, Function};

/// Who pays for memory, whether gradients are recorded, and what a model hears of a job's code: all that changes hands when
/// another job's code goes on.
pub trait JobContext: 'static {
    /// What the thread holds for the code that runs on it: who pays for memory, whether gradients are recorded.
    type Aside;

    /// Prepares a job before its code runs: what it makes comes to where the model computes; its operations record what
    /// gradients need, or do not; what the bits of modules that it calls itself may depend on; and whether it runs alone,
    /// where nothing may be left out that only others gain by.
    fn begin(&self, machine: &Machine, recording: bool, batching: Batching, alone: bool);

    /// Returns whether something was left out of what the job computed that it would have needed: it has to run again,
    /// alone.
    fn regrets(&self, _machine: &Machine) -> bool {
        false
    }

    /// Returns whether a job's operations record what gradients need where its code stands now.
    fn recording(&self, machine: &Machine) -> bool;

    /// Hears of a trace that the job's code opens where it stands now.
    fn opens(&self, _machine: &Machine, _function: Function) {}

    /// Hears of a value that a block of the job puts in the place of one of the model's.
    fn takes(&self, _machine: &Machine, _value: &Value) {}

    /// Hears of a value of the model's that a block of the job is given, where that block's code stands: the model has computed it
    /// since the block began to wait.
    fn gives(&self, _machine: &Machine, _value: &Value) {}

    /// Takes what the thread holds for the code that runs, which is about to make way for other code.
    fn put_aside(&self) -> Self::Aside;

    /// Gives the thread what it held when code was left that is about to go on.
    fn bring_back(&self, aside: Self::Aside);
}
