//! `str`.

use std::rc::Rc;
use std::sync::LazyLock;

use regex::Regex;

use crate::evaluation::format;
use crate::evaluation::operators::{self, with_items};
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::dict::Dict;
use crate::values::types::key::Key;
use crate::values::types::string::{length, single};
use crate::values::types::{self, List, MethodFn, Type, ledger, sequence};
use crate::values::value::Value;

mod case;
mod search;

pub use crate::values::types::shape::Shape;

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[
    ("capitalize", |machine, receiver, args| map(machine, receiver, args, "capitalize", case::capitalize)),
    ("casefold", |machine, receiver, args| map(machine, receiver, args, "casefold", case::folded)),
    ("center", |machine, receiver, args| pad(machine, receiver, args, "center")),
    ("count", search::count),
    ("encode", encode),
    ("endswith", |machine, receiver, args| search::affix(machine, receiver, args, "endswith")),
    ("expandtabs", expandtabs),
    ("find", |machine, receiver, args| search::find(machine, receiver, args, "find")),
    ("format", format::format_method),
    ("format_map", format::format_map),
    ("index", |machine, receiver, args| search::find(machine, receiver, args, "index")),
    ("isalnum", |machine, receiver, args| every(machine, receiver, args, "isalnum", &ALPHANUMERIC)),
    ("isalpha", |machine, receiver, args| every(machine, receiver, args, "isalpha", &ALPHABETIC)),
    ("isascii", |machine, receiver, args| {
        args.none("str.isascii")?;
        let text = of(receiver, "isascii")?;
        ledger::copied(machine, text.len() as u64)?;
        Ok(Value::Bool(text.is_ascii()).into())
    }),
    ("isdecimal", |machine, receiver, args| every(machine, receiver, args, "isdecimal", &DECIMAL)),
    ("isdigit", |machine, receiver, args| all(machine, receiver, args, "isdigit", digit)),
    ("isidentifier", isidentifier),
    ("islower", |machine, receiver, args| {
        cased(machine, receiver, args, "islower", char::is_lowercase, |other| {
            other.is_uppercase() || case::is_titlecase(other)
        })
    }),
    ("isnumeric", |machine, receiver, args| all(machine, receiver, args, "isnumeric", char::is_numeric)),
    ("isprintable", |machine, receiver, args| {
        let empty = of(receiver, "isprintable")?.is_empty();
        let printable = all(machine, receiver, args, "isprintable", format::is_printable)?;
        Ok(if empty { Value::Bool(true).into() } else { printable })
    }),
    ("isspace", |machine, receiver, args| all(machine, receiver, args, "isspace", is_space)),
    ("istitle", istitle),
    ("isupper", |machine, receiver, args| {
        cased(machine, receiver, args, "isupper", char::is_uppercase, |other| {
            other.is_lowercase() || case::is_titlecase(other)
        })
    }),
    ("join", join),
    ("ljust", |machine, receiver, args| pad(machine, receiver, args, "ljust")),
    ("lower", |machine, receiver, args| map(machine, receiver, args, "lower", str::to_lowercase)),
    ("lstrip", |machine, receiver, args| strip(machine, receiver, args, "lstrip")),
    ("partition", |machine, receiver, args| partition(machine, receiver, args, "partition")),
    ("removeprefix", |machine, receiver, args| remove(machine, receiver, args, "removeprefix")),
    ("removesuffix", |machine, receiver, args| remove(machine, receiver, args, "removesuffix")),
    ("replace", replace),
    ("rfind", |machine, receiver, args| search::find(machine, receiver, args, "rfind")),
    ("rindex", |machine, receiver, args| search::find(machine, receiver, args, "rindex")),
    ("rjust", |machine, receiver, args| pad(machine, receiver, args, "rjust")),
    ("rpartition", |machine, receiver, args| partition(machine, receiver, args, "rpartition")),
    ("rsplit", |machine, receiver, args| split(machine, receiver, args, "rsplit")),
    ("rstrip", |machine, receiver, args| strip(machine, receiver, args, "rstrip")),
    ("split", |machine, receiver, args| split(machine, receiver, args, "split")),
    ("splitlines", splitlines),
    ("startswith", |machine, receiver, args| search::affix(machine, receiver, args, "startswith")),
    ("strip", |machine, receiver, args| strip(machine, receiver, args, "strip")),
    ("swapcase", |machine, receiver, args| map(machine, receiver, args, "swapcase", case::swapcase)),
    ("title", |machine, receiver, args| map(machine, receiver, args, "title", case::title)),
    ("translate", translate),
    ("upper", |machine, receiver, args| map(machine, receiver, args, "upper", str::to_uppercase)),
    ("zfill", zfill),
];

/// Bytes of a piece of text that is looked through before the next look at who else waits.
const PIECE: usize = 64 << 10;

/// Hands out a text in pieces, each paid for before it is looked through.
pub fn pieces<'a>(machine: &'a Machine, text: &'a str) -> impl Iterator<Item = Result<&'a str, Raise>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, next) = rest.split_at(rest.floor_char_boundary(PIECE));
        rest = next;
        (!piece.is_empty()).then(|| ledger::scanned(machine, piece.len() as u64).map(|()| piece))
    })
}

/// Says whether Python counts a character as white space.
pub fn is_space(char: char) -> bool {
    char.is_whitespace() || matches!(char, '\x1c'..='\x1f')
}

/// `str.maketrans(x[, y[, z]])`.
///
/// # Errors
/// As CPython.
pub fn maketrans(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("maketrans", 1, 3)?;
    for argument in &args {
        let entries = match argument {
            Value::Str(text) => text.len(),
            Value::Dict(dict) => dict.len(),
            _ => 0,
        };
        machine.charge_fuel(entries as u64)?;
        sequence::affordable(machine, 4 * entries)?;
    }
    let ordinal = |char: char| Value::Int(i64::from(char as u32));
    let mut pairs = Vec::new();
    match &args[..] {
        [Value::Dict(dict)] => {
            for (key, value) in dict.entries() {
                let key = match &key {
                    Value::Str(text) => match single(text) {
                        Some(char) => ordinal(char),
                        None => {
                            return Err(Raise::value_error("string keys in translate table must be of length 1"));
                        }
                    },
                    _ => key,
                };
                pairs.push((key, value));
            }
        }
        [Value::Str(from), Value::Str(to), rest @ ..] => {
            if length(from) != length(to) {
                return Err(Raise::value_error("the first two maketrans arguments must have equal length"));
            }
            pairs.extend(from.chars().zip(to.chars()).map(|(from, to)| (ordinal(from), ordinal(to))));
            if let [Value::Str(removed)] = rest {
                pairs.extend(removed.chars().map(|char| (ordinal(char), Value::None)));
            }
        }
        _ => return Err(Raise::type_error("if you give only one argument to maketrans it must be a dict")),
    }
    Ok(Value::Dict(Rc::new(Dict::from_pairs(machine, pairs)?)).into())
}

fn map(machine: &Machine, receiver: &Value, args: Args, name: &str, change: fn(&str) -> String) -> HostResult {
    args.none(&format!("str.{name}"))?;
    let text = of(receiver, name)?;
    // What comes of it, and beside that what it is in lower case.
    ledger::reserve(machine, 2 * text.len() as u64)?;
    let mut changed = String::with_capacity(text.len());
    // What a character becomes depends on those beside it: letters are not parted from their words.
    if text.len() <= PIECE || name != "upper" {
        ledger::scanned(machine, 2 * text.len() as u64)?;
        changed.push_str(&change(&text));
    } else {
        for piece in pieces(machine, &text) {
            changed.push_str(&change(piece?));
        }
    }
    Ok(ledger::text(machine, changed)?.into())
}

fn decimal(char: char) -> bool {
    // Superscripts, fractions and Roman numerals are numeric but no decimal digits.
    char.is_ascii_digit()
        || matches!(char as u32, 0x660..=0x669 | 0x6f0..=0x6f9 | 0x7c0..=0x7c9 | 0x966..=0x96f | 0x9e6..=0x9ef
            | 0xa66..=0xa6f | 0xae6..=0xaef | 0xb66..=0xb6f | 0xbe6..=0xbef | 0xc66..=0xc6f | 0xce6..=0xcef
            | 0xd66..=0xd6f | 0xe50..=0xe59 | 0xed0..=0xed9 | 0xf20..=0xf29 | 0xff10..=0xff19)
}

fn digit(char: char) -> bool {
    decimal(char) || matches!(char as u32, 0xb2 | 0xb3 | 0xb9 | 0x2070 | 0x2074..=0x2079 | 0x2080..=0x2089)
}

/// Texts of letters, of letters and numerals, of digits, and what names begin and go on with: by Unicode's categories, as Python has them.
static ALPHABETIC: LazyLock<Option<Regex>> = LazyLock::new(|| whole(r"\p{L}+"));
static ALPHANUMERIC: LazyLock<Option<Regex>> = LazyLock::new(|| whole(r"[\p{L}\p{N}]+"));
static DECIMAL: LazyLock<Option<Regex>> = LazyLock::new(|| whole(r"\p{Nd}+"));
static CONTINUED: LazyLock<Option<Regex>> = LazyLock::new(|| whole(r"\p{XID_Continue}+"));
static IDENTIFIER: LazyLock<Option<Regex>> = LazyLock::new(|| whole(r"[\p{XID_Start}_]"));

/// Compiles a pattern for a whole text. These all compile: a test uses each.
fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!(r"\A(?:{pattern})\z")).ok()
}

fn every(machine: &Machine, receiver: &Value, args: Args, name: &str, texts: &LazyLock<Option<Regex>>) -> HostResult {
    args.none(&format!("str.{name}"))?;
    let text = of(receiver, name)?;
    for piece in pieces(machine, &text) {
        let piece = piece?;
        if !texts.as_ref().is_some_and(|texts| texts.is_match(piece)) {
            return Ok(Value::Bool(false).into());
        }
    }
    Ok(Value::Bool(!text.is_empty()).into())
}

fn all(machine: &Machine, receiver: &Value, args: Args, name: &str, test: fn(char) -> bool) -> HostResult {
    args.none(&format!("str.{name}"))?;
    let text = of(receiver, name)?;
    for piece in pieces(machine, &text) {
        if !piece?.chars().all(test) {
            return Ok(Value::Bool(false).into());
        }
    }
    Ok(Value::Bool(!text.is_empty()).into())
}

fn cased(
    machine: &Machine,
    receiver: &Value,
    args: Args,
    name: &str,
    wanted: fn(char) -> bool,
    other: fn(char) -> bool,
) -> HostResult {
    args.none(&format!("str.{name}"))?;
    let text = of(receiver, name)?;
    let mut found = false;
    for piece in pieces(machine, &text) {
        for char in piece?.chars() {
            if other(char) {
                return Ok(Value::Bool(false).into());
            }
            found |= wanted(char);
        }
    }
    Ok(Value::Bool(found).into())
}

fn isidentifier(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let starts = of(receiver, "isidentifier")?
        .chars()
        .next()
        .is_some_and(|first| IDENTIFIER.as_ref().is_some_and(|names| names.is_match(first.encode_utf8(&mut [0; 4]))));
    let rest = every(machine, receiver, args, "isidentifier", &CONTINUED)?;
    Ok(if starts { rest } else { Value::Bool(false).into() })
}

fn istitle(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("str.istitle")?;
    let text = of(receiver, "istitle")?;
    ledger::scanned(machine, 2 * text.len() as u64)?;
    Ok(Value::Bool(case::is_title(&text)).into())
}

fn encode(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let text = of(receiver, "encode")?;
    let [encoding, errors] = args.bind("encode", ["encoding", "errors"], 0)?;
    let encoding = encoding.as_ref().and_then(Value::as_str).unwrap_or("utf-8");
    let errors = errors.as_ref().and_then(Value::as_str).unwrap_or("strict").to_owned();
    ledger::reserve(machine, text.len() as u64)?;
    ledger::scanned(machine, text.len() as u64)?;
    let limit = match super::bytes::codec(encoding)? {
        super::bytes::Codec::Utf8 => return Ok(ledger::bytes(machine, text.as_bytes().to_vec())?.into()),
        super::bytes::Codec::Ascii => 0x80,
        super::bytes::Codec::Latin1 => 0x100,
    };
    let mut bytes = Vec::with_capacity(text.len());
    for (position, char) in text.chars().enumerate() {
        match (u8::try_from(char as u32), errors.as_str()) {
            (Ok(byte), _) if u32::from(byte) < limit => bytes.push(byte),
            (_, "ignore") => {}
            (_, "replace") => bytes.push(b'?'),
            (_, "xmlcharrefreplace") => bytes.extend(format!("&#{};", char as u32).into_bytes()),
            (_, "backslashreplace") => bytes.extend(match char as u32 {
                code @ ..=0xff => format!("\\x{code:02x}").into_bytes(),
                code @ ..=0xffff => format!("\\u{code:04x}").into_bytes(),
                code => format!("\\U{code:08x}").into_bytes(),
            }),
            _ => {
                let name = if limit == 0x80 { "ascii" } else { "latin-1" };
                let escaped = format::escape(char);
                return Err(Raise::new(
                    Kind::UnicodeEncodeError,
                    format!(
                        "'{name}' codec can't encode character '{escaped}' in position {position}: \
                         ordinal not in range({limit})"
                    ),
                ));
            }
        }
    }
    Ok(ledger::bytes(machine, bytes)?.into())
}

fn expandtabs(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let text = of(receiver, "expandtabs")?;
    let [size] = args.bind("expandtabs", ["tabsize"], 0)?;
    let size = size.map_or(Ok(8), |size| operators::index_fitting(machine, &size))?;
    let size = usize::try_from(size).unwrap_or(0);
    ledger::scanned(machine, 2 * text.len() as u64)?;
    let tabs = text.matches('\t').count() as u64;
    ledger::reserve(machine, (text.len() as u64).saturating_add(tabs.saturating_mul(size as u64)))?;
    let mut result = String::with_capacity(text.len());
    let mut column = 0;
    for char in text.chars() {
        match char {
            '\t' => {
                let width = if size == 0 { 0 } else { size - column % size };
                result.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            _ => {
                column = if matches!(char, '\n' | '\r') { 0 } else { column + 1 };
                result.push(char);
            }
        }
    }
    Ok(ledger::text(machine, result)?.into())
}

fn join(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let separator = of(receiver, "join")?;
    let iterable = args.one("str.join")?;
    if !operators::is_iterable(&iterable) {
        return Err(Raise::type_error("can only join an iterable"));
    }
    with_items(machine, iterable, move |machine, items| {
        let mut total = 0u64;
        let mut parts = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            let Value::Str(part) = operators::plain(item) else {
                let name = types::type_name(item);
                return Err(Raise::type_error(format!(
                    "sequence item {position}: expected str instance, {name} found"
                )));
            };
            total += (part.len() + separator.len()) as u64;
            parts.push(part);
        }
        machine.charge_fuel(parts.len() as u64 / 2)?;
        ledger::reserve(machine, total)?;
        Ok(ledger::text(machine, parts.join(&*separator))?.into())
    })
}

fn pad(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let text = of(receiver, name)?;
    let args = args.between(name, 1, 2)?;
    let width = operators::index_fitting(machine, &args[0])?;
    let fill = match args.get(1) {
        None => ' ',
        Some(Value::Str(fill)) => match single(fill) {
            Some(fill) => fill,
            None => return Err(Raise::type_error("The fill character must be exactly one character long")),
        },
        Some(other) => {
            let name = types::type_name(other);
            return Err(Raise::type_error(format!("The fill character must be a unicode character, not {name}")));
        }
    };
    let characters = Shape::of(machine, &text)?.length();
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(characters);
    ledger::reserve(machine, (missing as u64).saturating_mul(8).saturating_add(text.len() as u64))?;
    ledger::scanned(machine, missing as u64)?;
    let width = missing + characters;
    let left = match name {
        "ljust" => 0,
        "rjust" => missing,
        // CPython puts the odd one left when the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    let fill = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    Ok(ledger::text(machine, format!("{}{text}{}", fill(left), fill(missing - left)))?.into())
}

fn strip(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let text = of(receiver, name)?;
    let chars = match args.between(name, 0, 1)?.pop() {
        None | Some(Value::None) => None,
        Some(Value::Str(chars)) => Some(chars),
        Some(_) => return Err(Raise::type_error(format!("{name} arg must be None or str"))),
    };
    // Each character that is stripped is looked for among those to strip.
    let many = chars.as_ref().map_or(1, |chars| chars.len() as u64 / 16 + 1);
    ledger::scanned(machine, (text.len() as u64).saturating_mul(many))?;
    let inside = |char: char| match &chars {
        Some(chars) => chars.contains(char),
        None => is_space(char),
    };
    let stripped = match name {
        "lstrip" => text.trim_start_matches(inside),
        "rstrip" => text.trim_end_matches(inside),
        _ => text.trim_matches(inside),
    };
    if stripped.len() == text.len() {
        return Ok(Value::Str(text).into());
    }
    Ok(ledger::text(machine, stripped)?.into())
}

fn partition(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let text = of(receiver, name)?;
    let separator = args.one(&format!("str.{name}"))?;
    let Some(separator) = separator.as_str() else {
        let name = types::type_name(&separator);
        return Err(Raise::type_error(format!("must be str, not {name}")));
    };
    if separator.is_empty() {
        return Err(Raise::value_error("empty separator"));
    }
    ledger::scanned(machine, text.len() as u64)?;
    let found = if name == "partition" { text.split_once(separator) } else { text.rsplit_once(separator) };
    let parts = match found {
        Some((before, after)) => [before, separator, after],
        None if name == "partition" => [&*text, "", ""],
        None => ["", "", &*text],
    };
    let parts = parts.into_iter().map(|part| ledger::text(machine, part)).collect::<Result<_, _>>()?;
    Ok(Value::tuple(parts).into())
}

fn remove(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let text = of(receiver, name)?;
    let affix = args.one(&format!("str.{name}"))?;
    let Some(affix) = affix.as_str() else {
        let kind = types::type_name(&affix);
        return Err(Raise::type_error(format!("{name}() argument must be str, not {kind}")));
    };
    ledger::copied(machine, affix.len() as u64)?;
    let rest = if name == "removeprefix" { text.strip_prefix(affix) } else { text.strip_suffix(affix) };
    match rest {
        Some(rest) => Ok(ledger::text(machine, rest)?.into()),
        None => Ok(Value::Str(text).into()),
    }
}

fn replace(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let text = of(receiver, "replace")?;
    let args = args.between("replace", 2, 3)?;
    let argument = |position: usize| match operators::plain(&args[position]) {
        Value::Str(text) => Ok(text),
        other => {
            let name = types::type_name(&other);
            Err(Raise::type_error(format!("replace() argument {} must be str, not {name}", position + 1)))
        }
    };
    let (old, new) = (argument(0)?, argument(1)?);
    let most = match args.get(2) {
        Some(count) => operators::index_fitting(machine, count)?,
        None => -1,
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    machine.charge_fuel(text.len() as u64 / 16)?;
    ledger::scanned(machine, 2 * text.len() as u64)?;
    let found = if old.is_empty() { length(&text) + 1 } else { text.matches(&*old).count() };
    let growth = (found.min(most) as u64).saturating_mul(new.len() as u64);
    let size = (text.len() as u64).saturating_add(growth);
    ledger::reserve(machine, size)?;
    machine.charge_fuel(size / 16)?;
    Ok(ledger::text(machine, text.replacen(&*old, &new, most))?.into())
}

fn split(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let text = of(receiver, name)?;
    let [separator, most] = args.bind(name, ["sep", "maxsplit"], 0)?;
    let most = most.map_or(Ok(-1), |most| operators::index_fitting(machine, &most))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    ledger::scanned(machine, text.len() as u64)?;
    let limit = most.saturating_add(1);
    let parts = List::new(Vec::new());
    // Each part is charged as it is found: there may be as many as characters.
    let add = |part: &str| -> Result<(), Raise> {
        machine.charge_fuel(1)?;
        parts.push(machine, ledger::text(machine, part)?)
    };
    match &separator {
        None | Some(Value::None) => words(&text, most, name == "split").try_for_each(add)?,
        Some(Value::Str(separator)) if separator.is_empty() => return Err(Raise::value_error("empty separator")),
        Some(Value::Str(separator)) if name == "split" => text.splitn(limit, &**separator).try_for_each(add)?,
        Some(Value::Str(separator)) => text.rsplitn(limit, &**separator).try_for_each(add)?,
        Some(other) => {
            let name = types::type_name(other);
            return Err(Raise::type_error(format!("must be str or None, not {name}")));
        }
    }
    if name == "rsplit" {
        parts.reverse();
    }
    Ok(Value::List(Rc::new(parts)).into())
}

/// Splits at white space, at most so often; from the end, last word first, unless `forward`.
fn words(text: &str, most: usize, forward: bool) -> impl Iterator<Item = &str> {
    let mut rest = if forward { text.trim_start_matches(is_space) } else { text.trim_end_matches(is_space) };
    let mut found = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        found += 1;
        if found > most {
            return Some(std::mem::take(&mut rest));
        }
        if forward {
            let (word, after) = rest.split_at(rest.find(is_space).unwrap_or(rest.len()));
            rest = after.trim_start_matches(is_space);
            return Some(word);
        }
        let space = rest.rfind(is_space);
        let start = space.map_or(0, |space| space + rest[space..].chars().next().map_or(1, char::len_utf8));
        let (before, word) = rest.split_at(start);
        rest = before.trim_end_matches(is_space);
        Some(word)
    })
}

fn splitlines(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let text = of(receiver, "splitlines")?;
    let [keep] = args.bind("splitlines", ["keepends"], 0)?;
    let keep = keep.map_or(Ok(false), |keep| operators::truth_sync(machine, &keep))?;
    ledger::scanned(machine, text.len() as u64)?;
    let ends = |char: char| {
        matches!(char, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    let parts = List::new(Vec::new());
    let mut rest: &str = &text;
    while !rest.is_empty() {
        machine.charge_fuel(1)?;
        let end = rest.find(ends).unwrap_or(rest.len());
        let width =
            if rest[end..].starts_with("\r\n") { 2 } else { rest[end..].chars().next().map_or(0, char::len_utf8) };
        parts.push(machine, ledger::text(machine, &rest[..if keep { end + width } else { end }])?)?;
        rest = &rest[end + width..];
    }
    Ok(Value::List(Rc::new(parts)).into())
}

fn translate(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let text = of(receiver, "translate")?;
    let table = args.one("str.translate")?;
    let Value::Dict(table) = operators::plain(&table) else {
        return Err(Raise::type_error("translate() needs a dict on this server"));
    };
    ledger::reserve(machine, text.len() as u64)?;
    let mut result = String::with_capacity(text.len());
    for char in text.chars() {
        machine.charge_fuel(1)?;
        match table.get(&Key::Int(i64::from(char as u32))) {
            None => result.push(char),
            Some(Value::None) => {}
            Some(Value::Str(new)) => {
                if result.capacity() - result.len() < new.len() {
                    ledger::reserve(machine, 2 * (result.len() + new.len()) as u64)?;
                }
                ledger::copied(machine, new.len() as u64)?;
                result.push_str(&new);
            }
            Some(Value::Int(code)) => match u32::try_from(code).ok().and_then(char::from_u32) {
                Some(char) => result.push(char),
                None => return Err(Raise::value_error("character mapping must be in range(0x110000)")),
            },
            Some(_) => return Err(Raise::type_error("character mapping must return integer, None or str")),
        }
    }
    Ok(ledger::text(machine, result)?.into())
}

fn zfill(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let text = of(receiver, "zfill")?;
    let width = operators::index_fitting(machine, &args.one("str.zfill")?)?;
    let characters = Shape::of(machine, &text)?.length();
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(characters);
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(rest) => text.split_at(text.len() - rest.len()),
        None => ("", &*text),
    };
    ledger::reserve(machine, (missing as u64).saturating_mul(2).saturating_add(text.len() as u64))?;
    Ok(ledger::text(machine, format!("{sign}{}{digits}", "0".repeat(missing)))?.into())
}

fn of(receiver: &Value, method: &str) -> Result<Rc<str>, Raise> {
    match operators::plain(receiver) {
        Value::Str(text) => Ok(text),
        _ => Err(types::wrong_receiver(method, Type::Str, receiver)),
    }
}
