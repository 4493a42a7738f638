//! `contextlib`.

use crate::evaluation::operators;
use crate::library::builtins::text;
use crate::library::modules::Members;
use crate::library::modules::written::Written;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::value::Value;

pub const CONTEXTLIB: Written = Written { text: include_str!("../python/contextlib.py"), natives: |_| Ok(natives()) };

fn natives() -> Members {
    vec![("_passed", Value::native("_passed", passed)), ("_redirect", Value::native("_redirect", text::redirect))]
}

/// Counts the frames that an exception has passed, after cutting its traceback back to as many as are given.
fn passed(machine: &Machine, args: Args) -> HostResult {
    let [exception, keep] = args.bind("_passed", ["exception", "keep"], 1)?;
    let Some(Value::Instance(instance)) = exception else { return Ok(Value::Int(0).into()) };
    let Some(state) = instance.exception() else { return Ok(Value::Int(0).into()) };
    if let Some(keep) = keep {
        let keep = usize::try_from(operators::index_clamped(machine, &keep)?).unwrap_or(0);
        state.borrow_mut().traceback.truncate(keep);
    }
    let count = state.borrow().traceback.len();
    Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)).into())
}
