//! `print`, `str`, `format`, `chr`, `ord`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::evaluation::operators::{self, later};
use crate::library::builtins::bytearray;
use crate::library::methods::bytes;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::shape::Shape;
use crate::values::types::{string, type_name};
use crate::values::value::Value;

/// Where `print` writes to while `contextlib.redirect_stdout` is entered, the innermost last.
type Redirected = RefCell<Vec<Value>>;

/// Redirects what is printed to an object, or ends that for `None`.
///
/// # Errors
/// More than one argument.
pub fn redirect(machine: &Machine, args: Args) -> HostResult {
    let to = args.one("_redirect")?;
    let redirected = machine.extension::<Redirected>().unwrap_or_default();
    machine.set_extension(Rc::<Redirected>::clone(&redirected));
    match to {
        Value::None => drop(redirected.borrow_mut().pop()),
        to => redirected.borrow_mut().push(to),
    }
    Ok(Value::None.into())
}

pub fn print(machine: &Machine, mut args: Args) -> HostResult {
    let mut option = |name: &str, default: &str| match args.take_keyword(name) {
        None | Some(Value::None) => Ok(default.to_owned()),
        Some(Value::Str(text)) => Ok(text.to_string()),
        Some(other) => {
            let kind = type_name(&other);
            Err(Raise::type_error(format!("{name} must be None or a string, not {kind}")))
        }
    };
    let (separator, end) = (option("sep", " ")?, option("end", "\n")?);
    let flush = args.take_keyword("flush");
    let file = args.take_keyword("file").filter(|file| !matches!(file, Value::None));
    args.no_more_keywords("print")?;
    let machine = machine.clone();
    later(async move {
        let _held = args.held();
        for (position, value) in args.positional.iter().enumerate() {
            if position > 0 {
                write(&machine, file.as_ref(), &separator).await?;
            }
            match value {
                Value::Str(text) => write(&machine, file.as_ref(), text).await?,
                value => {
                    let text = crate::evaluation::format::str(&machine, value).await?;
                    write(&machine, file.as_ref(), &text).await?;
                }
            }
        }
        write(&machine, file.as_ref(), &end).await?;
        if let (Some(file), Some(flush)) = (&file, &flush)
            && operators::truth(&machine, flush).await?
        {
            let flush = machine.get_attribute(file, "flush").await?;
            machine.call(&flush, Args::default()).await?;
        }
        Ok(Value::None)
    })
}

/// Writes a piece of what is printed: to an object of the program's where it names one, else to whoever sent the program.
async fn write(machine: &Machine, file: Option<&Value>, text: &str) -> Result<(), Raise> {
    let instead = machine.extension::<Redirected>().and_then(|redirected| redirected.borrow().last().cloned());
    let Some(file) = file.cloned().or(instead) else { return machine.print(text) };
    let file = &file;
    let write = machine.get_attribute(file, "write").await?;
    machine.call(&write, Args::of([Value::from(text)])).await.map(drop)
}

/// `str(…)`.
///
/// # Errors
/// What `__str__` raises.
pub fn construct(machine: &Machine, args: Args) -> HostResult {
    let [object, encoding, errors] = args.bind("str", ["object", "encoding", "errors"], 0)?;
    let Some(object) = object else { return Ok(Value::from("").into()) };
    if encoding.is_none() && errors.is_none() {
        return crate::evaluation::format::str_outcome(machine, &object);
    }
    if let Some(wrong) = encoding.as_ref().filter(|encoding| encoding.as_str().is_none()) {
        let name = type_name(wrong);
        return Err(Raise::type_error(format!("str() argument 'encoding' must be str, not {name}")));
    }
    let object = match bytearray::bytes_of(machine, &object) {
        Some(bytes) => Value::Bytes(bytes?),
        None => object,
    };
    match operators::plain(&object) {
        Value::Bytes(data) => Ok(bytes::decode(machine, &data, encoding.as_ref(), errors.as_ref())?.into()),
        Value::Str(_) => Err(Raise::type_error("decoding str is not supported")),
        other => {
            let name = type_name(&other);
            Err(Raise::type_error(format!("decoding to str: need a bytes-like object, {name} found")))
        }
    }
}

pub fn format(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("format", 1, 2)?;
    let spec = match args.get(1) {
        None => "",
        Some(Value::Str(spec)) => spec,
        Some(other) => {
            let name = type_name(other);
            return Err(Raise::type_error(format!("format() argument 2 must be str, not {name}")));
        }
    };
    crate::evaluation::format::charged(machine, crate::evaluation::format::format(machine, &args[0], spec))
}

pub fn chr(machine: &Machine, args: Args) -> HostResult {
    let code = operators::index_fitting(machine, &args.one("chr")?)?;
    match u32::try_from(code).ok().filter(|code| *code < 0x11_0000) {
        Some(code) => match char::from_u32(code) {
            Some(char) => Ok(Value::from(char.to_string()).into()),
            None => Err(Raise::value_error("surrogates are not supported by this server")),
        },
        None => Err(Raise::value_error("chr() arg not in range(0x110000)")),
    }
}

pub fn ord(machine: &Machine, args: Args) -> HostResult {
    match operators::plain(&args.one("ord")?) {
        Value::Str(text) => match string::single(&text) {
            Some(char) => Ok(Value::Int(i64::from(char as u32)).into()),
            None => {
                let length = Shape::of(machine, &text)?.length();
                Err(Raise::type_error(format!("ord() expected a character, but string of length {length} found")))
            }
        },
        Value::Bytes(bytes) if bytes.len() == 1 => Ok(Value::Int(i64::from(bytes[0])).into()),
        other => {
            let name = type_name(&other);
            Err(Raise::type_error(format!("ord() expected string of length 1, but {name} found")))
        }
    }
}
