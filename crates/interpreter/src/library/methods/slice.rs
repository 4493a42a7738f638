//! Methods of `slice`.

use crate::evaluation::operators;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{MethodFn, Type, wrong_receiver};
use crate::values::value::Value;

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[("indices", indices)];

fn indices(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let Value::Slice(slice) = receiver else { return Err(wrong_receiver("indices", Type::Slice, receiver)) };
    let length = operators::index_fitting(machine, &args.one("slice.indices")?)?;
    let length = usize::try_from(length).map_err(|_| Raise::value_error("length should not be negative"))?;
    let span = operators::span(machine, slice, length)?;
    Ok(Value::tuple(vec![span.start.into(), span.stop.into(), span.step.into()]).into())
}
