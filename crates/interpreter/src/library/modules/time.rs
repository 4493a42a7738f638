//! `time`: one coarse clock.

use crate::library::modules::Members;
use crate::library::modules::written::Written;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

pub const TIME: Written = Written { text: include_str!("../python/time.py"), natives };

/// Ticks of the clock in a second: coarse, so that nobody learns from it what others do.
const TICKS: f64 = 100.0;

fn natives(_: &Machine) -> Result<Members, Raise> {
    let clock = Value::native("_clock", |machine, args| {
        args.none("_clock")?;
        let seconds = machine.environment().clock().unwrap_or_default().as_secs_f64();
        Ok(Value::Float((seconds * TICKS).floor() / TICKS).into())
    });
    Ok(vec![("_clock", clock)])
}
