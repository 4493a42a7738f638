//! `bytes`.

use std::rc::Rc;

use crate::evaluation::attribute;
use crate::evaluation::operators::{self, with_items};
use crate::library::builtins::bytearray;
use crate::library::methods;
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::bytes::find;
use crate::values::types::{self, List, MethodFn, Type, ledger, sequence};
use crate::values::value::Value;

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[
    ("center", |machine, receiver, args| padded(machine, receiver, args, "center")),
    ("count", |machine, receiver, args| search(machine, receiver, args, "count")),
    ("decode", |machine, receiver, args| {
        let bytes = of(receiver, "decode")?;
        let [encoding, errors] = args.bind("decode", ["encoding", "errors"], 0)?;
        Ok(decode(machine, &bytes, encoding.as_ref(), errors.as_ref())?.into())
    }),
    ("endswith", |machine, receiver, args| affix(machine, receiver, args, "endswith")),
    ("find", |machine, receiver, args| search(machine, receiver, args, "find")),
    ("hex", hex),
    ("index", |machine, receiver, args| search(machine, receiver, args, "index")),
    ("join", join),
    ("ljust", |machine, receiver, args| padded(machine, receiver, args, "ljust")),
    ("lower", |machine, receiver, args| {
        args.none("bytes.lower")?;
        let bytes = of(receiver, "lower")?;
        ledger::reserve(machine, 2 * bytes.len() as u64)?;
        Ok(ledger::bytes(machine, bytes.to_ascii_lowercase())?.into())
    }),
    ("lstrip", |machine, receiver, args| strip(machine, receiver, args, "lstrip")),
    ("replace", replace),
    ("rjust", |machine, receiver, args| padded(machine, receiver, args, "rjust")),
    ("rfind", |machine, receiver, args| search(machine, receiver, args, "rfind")),
    ("rindex", |machine, receiver, args| search(machine, receiver, args, "rindex")),
    ("rstrip", |machine, receiver, args| strip(machine, receiver, args, "rstrip")),
    ("split", split),
    ("startswith", |machine, receiver, args| affix(machine, receiver, args, "startswith")),
    ("strip", |machine, receiver, args| strip(machine, receiver, args, "strip")),
    ("splitlines", splitlines),
    ("translate", |machine, receiver, args| {
        let [table, delete] = args.bind("translate", ["table", "delete"], 1)?;
        let bytes = of(receiver, "translate")?;
        let table = match table {
            None | Some(Value::None) => None,
            Some(table) => Some(like(machine, &table)?),
        };
        if table.as_ref().is_some_and(|table| table.len() != 256) {
            return Err(Raise::value_error("translation table must be 256 characters long"));
        }
        let delete = delete.map(|delete| like(machine, &delete)).transpose()?.unwrap_or_default();
        let mut gone = [false; 256];
        delete.iter().for_each(|byte| gone[usize::from(*byte)] = true);
        ledger::reserve(machine, 2 * bytes.len() as u64)?;
        ledger::scanned(machine, (bytes.len() + delete.len()) as u64)?;
        let kept = bytes.iter().filter(|byte| !gone[usize::from(**byte)]);
        let made = kept.map(|byte| table.as_ref().map_or(*byte, |table| table[usize::from(*byte)]));
        Ok(ledger::bytes(machine, made.collect())?.into())
    }),
    ("upper", |machine, receiver, args| {
        args.none("bytes.upper")?;
        let bytes = of(receiver, "upper")?;
        ledger::reserve(machine, 2 * bytes.len() as u64)?;
        Ok(ledger::bytes(machine, bytes.to_ascii_uppercase())?.into())
    }),
];

/// Methods that do with bytes what those of `str` do with letters, ASCII's being the only ones.
macro_rules! textual {
    ($($name:literal)*) => {
        &[$(($name, |machine, receiver, args| textual(machine, receiver, args, $name))),*]
    };
}

pub const TEXTUAL: &[(&str, MethodFn)] = textual![
    "capitalize" "isalnum" "isalpha" "isascii" "isdigit" "islower" "isspace" "istitle" "isupper" "partition" "removeprefix"
    "removesuffix" "rpartition" "rsplit" "swapcase" "title" "zfill"
];

/// Calls a method of `str`. Bytes that are no ASCII stand as letters of nobody's, which have no case and are no digits.
fn textual(machine: &Machine, receiver: &Value, args: Args, name: &'static str) -> HostResult {
    const OTHER: u32 = 0xe000;
    let bytes = of(receiver, name)?;
    // Letter by letter, there and back, in one piece.
    machine.charge_operation(name, 2 * bytes.len() as u64)?;
    let text = |bytes: &[u8]| -> Result<Value, Raise> {
        ledger::reserve(machine, 8 * bytes.len() as u64)?;
        ledger::scanned(machine, bytes.len() as u64)?;
        let letter = |byte: &u8| match byte.is_ascii() {
            true => char::from(*byte),
            false => char::from_u32(OTHER + u32::from(*byte)).unwrap_or_default(),
        };
        ledger::text(machine, bytes.iter().map(letter).collect::<String>())
    };
    let argument = |value: Value| match value {
        number @ (Value::Int(_) | Value::Bool(_) | Value::None) => Ok(number),
        value => text(&like(machine, &value)?),
    };
    let positional = args.positional.into_iter().map(argument).collect::<Result<_, _>>()?;
    let keyword = args.keyword.into_iter().map(|(name, value)| Ok((name, argument(value)?)));
    let keyword = keyword.collect::<Result<_, Raise>>()?;
    let called = methods::call_method(machine, &text(&bytes)?, name, Args { positional, keyword });
    let back = |value: &Value| -> Result<Value, Raise> {
        let Value::Str(text) = value else { return Ok(value.clone()) };
        ledger::reserve(machine, text.len() as u64)?;
        ledger::scanned(machine, text.len() as u64)?;
        ledger::bytes(machine, text.chars().map(|letter| (u32::from(letter) & 0xff) as u8).collect())
    };
    Ok(match called {
        Some(Ok(Outcome::Ready(Value::Tuple(parts)))) => {
            Value::tuple(parts.iter().map(back).collect::<Result<_, _>>()?).into()
        }
        Some(Ok(Outcome::Ready(Value::List(parts)))) => {
            let parts = parts.to_vec();
            Value::list(parts.iter().map(back).collect::<Result<_, _>>()?).into()
        }
        Some(Ok(Outcome::Ready(value))) => back(&value)?.into(),
        Some(other) => return other,
        None => Outcome::NotImplemented,
    })
}

/// `bytes.center(…)`, `bytes.ljust(…)` and `bytes.rjust(…)`.
fn padded(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let bytes = of(receiver, name)?;
    let args = args.between(name, 1, 2)?;
    let width = usize::try_from(operators::index_fitting(machine, &args[0])?).unwrap_or(0);
    let fill = match args.get(1).map(|fill| like(machine, fill)).transpose()?.as_deref() {
        None => b' ',
        Some([fill]) => *fill,
        Some(_) => return Err(Raise::type_error(format!("{name}() argument 2 must be a byte string of length 1"))),
    };
    let missing = width.saturating_sub(bytes.len());
    let before = match name {
        "ljust" => 0,
        "rjust" => missing,
        // The odd one stands where CPython puts it.
        _ => missing / 2 + (missing & width & 1),
    };
    ledger::reserve(machine, 2 * width.max(bytes.len()) as u64)?;
    let mut made = vec![fill; before];
    made.extend_from_slice(&bytes);
    made.resize(bytes.len() + missing, fill);
    Ok(ledger::bytes(machine, made)?.into())
}

fn splitlines(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let bytes = of(receiver, "splitlines")?;
    let [keep] = args.bind("splitlines", ["keepends"], 0)?;
    let keep = keep.map_or(Ok(false), |keep| operators::truth_sync(machine, &keep))?;
    let parts = List::new(Vec::new());
    let mut rest: &[u8] = &bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let next = match rest.get(end..) {
            Some([b'\r', b'\n', ..]) => end + 2,
            Some([_, ..]) => end + 1,
            _ => end,
        };
        machine.charge_fuel(1)?;
        ledger::scanned(machine, next as u64)?;
        let part = &rest[..if keep { next } else { end }];
        ledger::reserve(machine, 2 * part.len() as u64)?;
        parts.push(machine, ledger::bytes(machine, part.to_vec())?)?;
        rest = &rest[next..];
    }
    Ok(Value::List(Rc::new(parts)).into())
}

/// Encodings that this server knows.
pub enum Codec {
    Utf8,
    Ascii,
    Latin1,
}

/// Finds an encoding by name.
///
/// # Errors
/// `LookupError` for others.
pub fn codec(name: &str) -> Result<Codec, Raise> {
    match name.to_ascii_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" | "u8" => Ok(Codec::Utf8),
        "ascii" | "us-ascii" => Ok(Codec::Ascii),
        "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" => Ok(Codec::Latin1),
        _ => Err(Raise::new(Kind::LookupError, format!("unknown encoding: {name}"))),
    }
}

/// `bytes.decode(…)` and `str(bytes, …)`.
///
/// # Errors
/// `UnicodeDecodeError`, `LookupError`.
pub fn decode(
    machine: &Machine,
    bytes: &[u8],
    encoding: Option<&Value>,
    errors: Option<&Value>,
) -> Result<Value, Raise> {
    let codec = codec(encoding.and_then(Value::as_str).unwrap_or("utf-8"))?;
    let errors = errors.and_then(Value::as_str).unwrap_or("strict");
    // Every byte that is replaced takes three.
    let growth = if errors == "replace" { 4 } else { 2 };
    ledger::reserve(machine, bytes.len() as u64 * growth)?;
    ledger::scanned(machine, bytes.len() as u64)?;
    let text: String = match codec {
        Codec::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        Codec::Ascii => match bytes.iter().position(|byte| !byte.is_ascii()) {
            Some(position) if errors == "strict" => {
                return Err(undecodable("ascii", bytes[position], position, "ordinal not in range(128)"));
            }
            _ => {
                let known = |byte: &u8| match byte.is_ascii() {
                    true => Some(char::from(*byte)),
                    false => (errors == "replace").then_some('\u{fffd}'),
                };
                bytes.iter().filter_map(known).collect()
            }
        },
        Codec::Utf8 => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) if errors == "replace" => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) if errors == "ignore" => bytes.utf8_chunks().map(|chunk| chunk.valid()).collect(),
            Err(error) => {
                let position = error.valid_up_to();
                let byte = bytes.get(position).copied().unwrap_or_default();
                let why = match error.error_len() {
                    None => "unexpected end of data",
                    Some(_) if matches!(byte, 0x80..=0xc1 | 0xf5..=0xff) => "invalid start byte",
                    Some(_) => "invalid continuation byte",
                };
                return Err(undecodable("utf-8", byte, position, why));
            }
        },
    };
    ledger::text(machine, text)
}

fn undecodable(codec: &str, byte: u8, position: usize, why: &str) -> Raise {
    Raise::new(
        Kind::UnicodeDecodeError,
        format!("'{codec}' codec can't decode byte 0x{byte:02x} in position {position}: {why}"),
    )
}

/// `bytes(…)`, or the same for another type of bytes.
///
/// # Errors
/// As CPython.
pub fn construct(machine: &Machine, args: Args, name: &'static str) -> HostResult {
    let [source, encoding, errors] = args.bind(name, ["source", "encoding", "errors"], 0)?;
    if let Some(bytes) = source.as_ref().and_then(|source| bytearray::bytes_of(machine, source)) {
        return Ok(Value::Bytes(bytes?).into());
    }
    let own =
        source.as_ref().filter(|_| name == "bytes").and_then(|source| attribute::special(machine, source, "__bytes__"));
    if let Some(own) = own {
        let machine = machine.clone();
        return operators::later(async move {
            match machine.call(&own, Args::default()).await? {
                bytes @ Value::Bytes(_) => Ok(bytes),
                other => {
                    let kind = types::type_name(&other);
                    Err(Raise::type_error(format!("__bytes__ returned non-bytes (type {kind})")))
                }
            }
        });
    }
    match source.as_ref().map(operators::plain) {
        None => Ok(Value::Bytes(Rc::from([])).into()),
        Some(Value::Str(text)) => match encoding {
            None => Err(Raise::type_error("string argument without an encoding")),
            Some(encoding) => methods::call_method(
                machine,
                &Value::Str(text),
                "encode",
                Args { positional: [Some(encoding), errors].into_iter().flatten().collect(), keyword: vec![] },
            )
            .unwrap_or_else(|| Ok(Value::None.into())),
        },
        Some(bytes @ Value::Bytes(_)) => Ok(bytes.into()),
        Some(Value::Int(count)) => {
            let count = usize::try_from(count).map_err(|_| Raise::value_error("negative count"))?;
            ledger::reserve(machine, (count as u64).saturating_mul(2))?;
            Ok(ledger::bytes(machine, vec![0; count])?.into())
        }
        Some(iterable) if operators::is_iterable(&iterable) => with_items(machine, iterable, move |machine, items| {
            let mut bytes = Vec::with_capacity(items.len());
            for item in &items {
                let byte = u8::try_from(operators::index_fitting(machine, item)?);
                bytes.push(byte.map_err(|_| {
                    let what = if name == "bytes" { "bytes" } else { "byte" };
                    Raise::value_error(format!("{what} must be in range(0, 256)"))
                })?);
            }
            Ok(ledger::bytes(machine, bytes)?.into())
        }),
        Some(other) => {
            let kind = types::type_name(&other);
            Err(Raise::type_error(format!("cannot convert '{kind}' object to {name}")))
        }
    }
}

/// `bytes.maketrans(from, to)`.
///
/// # Errors
/// `ValueError` for arguments of different lengths.
pub fn maketrans(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("maketrans", 2, 2)?;
    let (from, to) = (like(machine, &args[0])?, like(machine, &args[1])?);
    if from.len() != to.len() {
        return Err(Raise::value_error("maketrans arguments must have same length"));
    }
    ledger::scanned(machine, from.len() as u64)?;
    let mut table: Vec<u8> = (0..=255).collect();
    from.iter().zip(to.iter()).for_each(|(from, to)| table[usize::from(*from)] = *to);
    Ok(ledger::bytes(machine, table)?.into())
}

/// `bytes.fromhex(text)`.
///
/// # Errors
/// `ValueError`.
pub fn fromhex(machine: &Machine, args: Args) -> HostResult {
    let text = args.one("bytes.fromhex")?;
    let Some(text) = text.as_str() else {
        let name = types::type_name(&text);
        return Err(Raise::type_error(format!("fromhex() argument must be str, not {name}")));
    };
    machine.charge_fuel(text.len() as u64 / 8)?;
    ledger::reserve(machine, text.len() as u64)?;
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut chars = text.chars().enumerate().filter(|(_, char)| !char.is_ascii_whitespace());
    while let Some((position, high)) = chars.next() {
        let invalid =
            |at| Raise::value_error(format!("non-hexadecimal number found in fromhex() arg at position {at}"));
        let high = high.to_digit(16).ok_or_else(|| invalid(position))?;
        let (low_at, low) = chars.next().ok_or_else(|| invalid(position + 1))?;
        let low = low.to_digit(16).ok_or_else(|| invalid(low_at))?;
        bytes.push((high * 16 + low) as u8);
    }
    Ok(ledger::bytes(machine, bytes)?.into())
}

fn search(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let bytes = of(receiver, name)?;
    let args = args.between(name, 1, 3)?;
    let wanted = match &args[0] {
        Value::Int(byte) => match u8::try_from(*byte) {
            Ok(byte) => Rc::from([byte]),
            Err(_) => return Err(Raise::value_error("byte must be in range(0, 256)")),
        },
        Value::Bool(truth) => Rc::from([u8::from(*truth)]),
        Value::Big(_) => return Err(Raise::value_error("byte must be in range(0, 256)")),
        value => match like(machine, value) {
            Err(raise) if raise.is(Kind::TypeError) => {
                let name = types::type_name(value);
                return Err(Raise::type_error(format!(
                    "argument should be integer or bytes-like object, not '{name}'"
                )));
            }
            wanted => wanted?,
        },
    };
    let bound = |position: usize, default: usize| match args.get(position) {
        None | Some(Value::None) => Ok(default),
        Some(value) => Ok(sequence::clamp(operators::index_clamped(machine, value)?, bytes.len())),
    };
    let (start, stop) = (bound(1, 0)?, bound(2, bytes.len())?);
    // Nothing is found past the end, not even no bytes.
    let past = match args.get(1) {
        None | Some(Value::None) => false,
        Some(value) => operators::index_clamped(machine, value)? > bytes.len() as i64,
    };
    if past || start > stop {
        return match name {
            "count" => Ok(Value::Int(0).into()),
            "index" | "rindex" => Err(Raise::value_error("subsection not found")),
            _ => Ok(Value::Int(-1).into()),
        };
    }
    let area = bytes.get(start..stop).unwrap_or_default();
    ledger::scanned(machine, 2 * (area.len() + wanted.len()) as u64)?;
    if name == "count" {
        let found = match wanted.is_empty() {
            true => area.len() + 1,
            false => memchr::memmem::find_iter(area, &*wanted).count(),
        };
        return Ok(Value::Int(found as i64).into());
    }
    let found =
        if matches!(name, "rfind" | "rindex") { memchr::memmem::rfind(area, &wanted) } else { find(area, &wanted) };
    match found {
        Some(position) => Ok(Value::Int((start + position) as i64).into()),
        None if matches!(name, "index" | "rindex") => Err(Raise::value_error("subsection not found")),
        None => Ok(Value::Int(-1).into()),
    }
}

fn affix(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let bytes = of(receiver, name)?;
    let affix = args.one(&format!("bytes.{name}"))?;
    let affixes = match &affix {
        Value::Tuple(affixes) => affixes.to_vec(),
        _ => vec![affix],
    };
    for affix in &affixes {
        let affix = like(machine, affix)?;
        machine.charge_fuel(1)?;
        ledger::copied(machine, affix.len() as u64)?;
        if if name == "startswith" { bytes.starts_with(&affix) } else { bytes.ends_with(&affix) } {
            return Ok(Value::Bool(true).into());
        }
    }
    Ok(Value::Bool(false).into())
}

fn hex(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let [separator, group] = args.bind("hex", ["sep", "bytes_per_sep"], 0)?;
    let bytes = of(receiver, "hex")?;
    ledger::reserve(machine, bytes.len() as u64 * 6)?;
    ledger::scanned(machine, bytes.len() as u64 * 2)?;
    let separator = match &separator {
        None => None,
        Some(Value::Str(text)) if text.len() == 1 => text.chars().next(),
        Some(Value::Bytes(bytes)) if bytes.len() == 1 => bytes.first().copied().map(char::from),
        Some(Value::Str(_) | Value::Bytes(_)) => return Err(Raise::value_error("sep must be length 1.")),
        Some(_) => return Err(Raise::type_error("sep must be str or bytes.")),
    };
    let group = group.map_or(Ok(1), |group| operators::index_fitting(machine, &group))?;
    let width = usize::try_from(group.unsigned_abs()).unwrap_or(usize::MAX);
    // Groups are counted from the end, or from the beginning where their size is below zero.
    let starts = |at: usize| {
        let place = if group < 0 { at } else { bytes.len() - at };
        at > 0 && width > 0 && place.is_multiple_of(width)
    };
    let digit = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap_or('0');
    let text: String = bytes
        .iter()
        .enumerate()
        .flat_map(|(at, byte)| separator.filter(|_| starts(at)).into_iter().chain([digit(byte >> 4), digit(byte & 15)]))
        .collect();
    Ok(ledger::text(machine, text)?.into())
}

fn join(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let separator = of(receiver, "join")?;
    with_items(machine, args.one("bytes.join")?, move |machine, items| {
        let part =
            |(position, item): (usize, &Value)| match (&operators::plain(item), bytearray::bytes_of(machine, item)) {
                (Value::Bytes(part), _) => Ok(Rc::clone(part)),
                (_, Some(part)) => part,
                _ => {
                    let name = types::type_name(item);
                    Err(Raise::type_error(format!(
                        "sequence item {position}: expected a bytes-like object, {name} found"
                    )))
                }
            };
        let parts = items.iter().enumerate().map(part).collect::<Result<Vec<_>, _>>()?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let total = total.saturating_add(separator.len().saturating_mul(items.len()));
        machine.charge_fuel(items.len() as u64)?;
        ledger::reserve(machine, (total as u64).saturating_mul(2))?;
        let mut joined = Vec::with_capacity(total);
        for (position, part) in parts.iter().enumerate() {
            if position > 0 {
                joined.extend_from_slice(&separator);
            }
            joined.extend_from_slice(part);
        }
        Ok(ledger::bytes(machine, joined)?.into())
    })
}

fn strip(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let bytes = of(receiver, name)?;
    let chars = match args.between(name, 0, 1)?.pop() {
        None | Some(Value::None) => Rc::from(*b" \t\n\r\x0b\x0c"),
        Some(chars) => like(machine, &chars)?,
    };
    let mut strips = [false; 256];
    for byte in chars.iter() {
        strips[usize::from(*byte)] = true;
    }
    ledger::scanned(machine, (bytes.len() + chars.len()) as u64)?;
    ledger::reserve(machine, 2 * bytes.len() as u64)?;
    let outside = |byte: &u8| !strips[usize::from(*byte)];
    let start = if name == "rstrip" { 0 } else { bytes.iter().position(outside).unwrap_or(bytes.len()) };
    let stop = if name == "lstrip" { bytes.len() } else { bytes.iter().rposition(outside).map_or(start, |at| at + 1) };
    Ok(ledger::bytes(machine, bytes[start..stop.max(start)].to_vec())?.into())
}

fn replace(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let bytes = of(receiver, "replace")?;
    let args = args.between("replace", 2, 3)?;
    let (old, new) = (like(machine, &args[0])?, like(machine, &args[1])?);
    let most = args.get(2).map_or(Ok(-1), |most| operators::index_clamped(machine, most))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    machine.charge_fuel(bytes.len() as u64 / 16)?;
    let found = if old.is_empty() { bytes.len() + 1 } else { memchr::memmem::find_iter(&bytes, &*old).count() };
    let found = found.min(most);
    let size = (found as u64).saturating_mul(new.len() as u64).saturating_add(bytes.len() as u64);
    ledger::reserve(machine, size.saturating_mul(2))?;
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest: &[u8] = &bytes;
    for turn in 0..found {
        // Nothing is found before each byte, and at the end.
        let position = if old.is_empty() { usize::from(turn > 0) } else { find(rest, &old).unwrap_or(rest.len()) };
        result.extend_from_slice(&rest[..position]);
        result.extend_from_slice(&new);
        rest = &rest[(position + old.len()).min(rest.len())..];
    }
    result.extend_from_slice(rest);
    Ok(ledger::bytes(machine, result)?.into())
}

fn split(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let bytes = of(receiver, "split")?;
    let [separator, most] = args.bind("split", ["sep", "maxsplit"], 0)?;
    let most = most.map_or(Ok(-1), |most| operators::index_fitting(machine, &most))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    machine.charge_fuel(bytes.len() as u64 / 16)?;
    let parts = List::new(Vec::new());
    // Each part is charged as it is found: there may be as many as bytes.
    let add = |part: &[u8]| -> Result<(), Raise> {
        machine.charge_fuel(1)?;
        ledger::reserve(machine, 2 * part.len() as u64)?;
        parts.push(machine, ledger::bytes(machine, part.to_vec())?)
    };
    match separator {
        None | Some(Value::None) => {
            let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
            let mut rest: &[u8] = &bytes;
            while let Some(start) = rest.iter().position(|byte| !is_space(byte)) {
                rest = &rest[start..];
                let end = if parts.len() < most { rest.iter().position(is_space) } else { None };
                let end = end.unwrap_or(rest.len());
                add(&rest[..end])?;
                rest = &rest[end..];
            }
        }
        Some(separator) => {
            let separator = like(machine, &separator)?;
            if separator.is_empty() {
                return Err(Raise::value_error("empty separator"));
            }
            let mut rest: &[u8] = &bytes;
            while parts.len() < most
                && let Some(position) = find(rest, &separator)
            {
                add(&rest[..position])?;
                rest = &rest[position + separator.len()..];
            }
            add(rest)?;
        }
    }
    Ok(Value::List(Rc::new(parts)).into())
}

fn like(machine: &Machine, value: &Value) -> Result<Rc<[u8]>, Raise> {
    if let Some(bytes) = bytearray::bytes_of(machine, value) {
        return bytes;
    }
    match operators::plain(value) {
        Value::Bytes(bytes) => Ok(bytes),
        other => {
            let name = types::type_name(&other);
            Err(Raise::type_error(format!("a bytes-like object is required, not '{name}'")))
        }
    }
}

fn of(receiver: &Value, method: &str) -> Result<Rc<[u8]>, Raise> {
    match operators::plain(receiver) {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(types::wrong_receiver(method, Type::Bytes, receiver)),
    }
}
