//! `time`: one coarse clock, and the time of day at which it began.

use std::time::Duration;

use crate::library::modules::Members;
use crate::library::modules::written::Written;
use crate::values::host::Outcome;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

pub const TIME: Written = Written { text: include_str!("../python/time.py"), natives };

/// Ticks of the clock in a second: coarse, so that nobody learns from it what others do.
const TICKS: f64 = 100.0;

fn natives(_: &Machine) -> Result<Members, Raise> {
    let clock = Value::native("_clock", |machine, args| {
        args.none("_clock")?;
        Ok(ticks(machine.environment().clock().unwrap_or_default()))
    });
    let began = Value::native("_began", |machine, args| {
        args.none("_began")?;
        Ok(ticks(machine.environment().began().unwrap_or_default()))
    });
    Ok(vec![("_clock", clock), ("_began", began)])
}

/// Makes the seconds of a time, as exactly as the clock goes.
fn ticks(time: Duration) -> Outcome {
    Value::Float((time.as_secs_f64() * TICKS).floor() / TICKS).into()
}
