//! What modules tell whoever sent the program beside what it prints, and from where.

use std::rc::Rc;

use crate::evaluation::describe::describe;
use crate::evaluation::operators;
use crate::library::modules::{Members, functions};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::{Entry, Raise};
use crate::values::trace::Trace;
use crate::values::traceback;
use crate::values::value::Value;

/// Functions that texts know.
pub(super) fn natives() -> Members {
    functions(&[
        ("_tell", tell),
        ("_place", place),
        ("_handled", handled),
        ("_traceback", whole),
        ("_frames", frames),
        ("_line", line),
        ("_only", only),
    ])
}

/// Where [`parts`] has the text of the line.
const SHOWN: usize = 2;

/// The file, the line, its text and the name of the code there.
pub(super) fn parts(entry: &Entry) -> [Value; 4] {
    let (code, line) = (&entry.code, entry.span.line);
    let shown = code.text.line(line).map_or(Value::None, |line| Value::from(line.trim()));
    [Value::Str(Rc::clone(&code.text.filename)), Value::Int(i64::from(line)), shown, Value::Str(Rc::clone(&code.name))]
}

/// `_tell(text)` prints, wherever `print` writes to at the moment.
fn tell(machine: &Machine, args: Args) -> HostResult {
    machine.print(args.one("_tell")?.as_str().unwrap_or_default())?;
    Ok(Value::None.into())
}

/// `_place(out)` says where the program stands, as many calls out.
fn place(machine: &Machine, args: Args) -> HostResult {
    let out = args.one("_place")?.as_int().and_then(|out| usize::try_from(out).ok()).unwrap_or(usize::MAX);
    // As in Python, whose outermost caller has no file.
    let place = machine.place(out).map_or_else(outermost, |entry| parts(&entry));
    Ok(Value::tuple(place.to_vec()).into())
}

/// What [`parts`] are of nothing.
pub(super) fn outermost() -> [Value; 4] {
    [Value::from("sys"), Value::Int(1), Value::None, Value::from("<module>")]
}

/// `_handled()` returns the exception that is being handled.
fn handled(machine: &Machine, args: Args) -> HostResult {
    args.none("_handled")?;
    Ok(machine.handled().unwrap_or(Value::None).into())
}

/// `_frames(traceback)` returns what CPython prints of the frames of a traceback.
fn frames(machine: &Machine, args: Args) -> HostResult {
    let text = trace(&args.one("_frames")?)?.text();
    machine.charge_fuel(text.len() as u64 / 8)?;
    Ok(Value::from(text).into())
}

/// `_line(traceback)` returns the text of the line where its first frame stands.
fn line(_: &Machine, args: Args) -> HostResult {
    let place = trace(&args.one("_line")?)?.first().map_or_else(outermost, parts);
    Ok(place.into_iter().nth(SHOWN).unwrap_or(Value::None).into())
}

fn trace(value: &Value) -> Result<&Trace, Raise> {
    let found = match value {
        Value::Host(object) => object.as_any().downcast_ref(),
        _ => None,
    };
    found.ok_or_else(|| Raise::type_error("a traceback is wanted"))
}

/// `_only(exception)` returns what CPython prints for it behind the frames.
fn only(machine: &Machine, args: Args) -> HostResult {
    described(machine, &args.one("_only")?, traceback::last)
}

/// `_traceback(exception)` returns what CPython prints for it.
fn whole(machine: &Machine, args: Args) -> HostResult {
    described(machine, &args.one("_traceback")?, Raise::traceback_text)
}

/// Writes an exception, whose own text may be one that code of the program makes.
fn described(machine: &Machine, exception: &Value, write: fn(&Raise) -> String) -> HostResult {
    let raise = Raise::from_value(exception).ok_or_else(|| Raise::type_error("an exception is wanted"))?;
    let machine = machine.clone();
    operators::later(async move {
        describe(&machine, &raise).await;
        let text = write(&raise);
        machine.charge_fuel(text.len() as u64 / 8)?;
        Ok(Value::from(text))
    })
}
