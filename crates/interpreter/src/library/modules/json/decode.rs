//! `json.loads`.

use std::rc::Rc;

use crate::evaluation::{coroutine, operators};
use crate::library::methods::int;
use crate::values::class::Class;
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::key::Key;
use crate::values::types::{self, Dict, List, ledger};
use crate::values::value::Value;

/// Functions that make values of what is read, where a program gives some.
struct Hooks {
    object: Option<Value>,
    pairs: Option<Value>,
    float: Option<Value>,
    int: Option<Value>,
    constant: Option<Value>,
}

/// Parses a text, or bytes in UTF-8.
pub fn loads(machine: &Machine, error: &Rc<Class>, args: Args) -> HostResult {
    let mut given = args.between("loads", 6, 6)?.into_iter();
    let text = given.next().unwrap_or(Value::None);
    let mut hook = || given.next().filter(|hook| !matches!(hook, Value::None));
    let hooks = Hooks { object: hook(), pairs: hook(), float: hook(), int: hook(), constant: hook() };
    let text = match operators::plain(&text) {
        Value::Str(text) => text,
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into(),
        other => {
            let name = types::type_name(&other);
            return Err(Raise::type_error(format!("the JSON object must be str, bytes or bytearray, not {name}")));
        }
    };
    machine.charge_fuel(text.len() as u64 / 16)?;
    let mut parser = Parser { machine, error, hooks: &hooks, text: &text, at: 0 };
    parser.space();
    let value = parser.value()?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.fail("Extra data", parser.at));
    }
    Ok(value.into())
}

struct Parser<'a> {
    machine: &'a Machine,
    error: &'a Rc<Class>,
    hooks: &'a Hooks,
    text: &'a str,
    /// Byte of the text that is next.
    at: usize,
}

impl Parser<'_> {
    fn fail(&self, message: &str, at: usize) -> Raise {
        let before = self.text.get(..at).unwrap_or(self.text);
        let (line, position) = (before.matches('\n').count() + 1, before.chars().count());
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        let text = format!("{message}: line {line} column {column} (char {position})");
        let raise = Raise::of_class(self.error, vec![Value::from(text)]);
        if let Some(instance) = raise.instance() {
            instance.set("msg", Value::from(message));
            instance.set("doc", Value::from(self.text));
            for (name, number) in [("pos", position), ("lineno", line), ("colno", column)] {
                instance.set(name, Value::Int(number as i64));
            }
        }
        raise
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value, Raise> {
        self.machine.charge_fuel(1)?;
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                let text = self.string()?;
                ledger::text(self.machine, text)
            }
            Some(b'{') => {
                let machine = self.machine;
                machine.recurse(|| self.object())
            }
            Some(b'[') => {
                let machine = self.machine;
                machine.recurse(|| self.array())
            }
            _ => self.atom(),
        }
    }

    fn atom(&mut self) -> Result<Value, Raise> {
        let rest = &self.text[self.at..];
        for (word, value) in [
            ("null", Value::None),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return match (&self.hooks.constant, &value) {
                    (Some(hook), Value::Float(_)) => self.made(hook, Value::from(word)),
                    _ => Ok(value),
                };
            }
        }
        let (length, is_float) = number(rest.as_bytes());
        let text = &rest[..length];
        if text.is_empty() {
            return Err(self.fail("Expecting value", self.at));
        }
        self.at += length;
        let hook = if is_float { &self.hooks.float } else { &self.hooks.int };
        if let Some(hook) = hook {
            return self.made(hook, Value::from(text));
        }
        if is_float {
            return text.parse().map(Value::Float).map_err(|_| self.fail("Expecting value", self.at));
        }
        match text.parse() {
            Ok(small) => Ok(Value::Int(small)),
            Err(_) => match int::construct(self.machine, Args::of([Value::from(text)]))? {
                Outcome::Ready(number) => Ok(number),
                _ => Err(self.fail("Expecting value", self.at)),
            },
        }
    }

    fn array(&mut self) -> Result<Value, Raise> {
        self.at += 1;
        let items = List::new(Vec::new());
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(Rc::new(items)));
        }
        loop {
            let item = self.value()?;
            items.push(self.machine, item)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(Rc::new(items)));
                }
                _ => return Err(self.fail("Expecting ',' delimiter", self.at)),
            }
            self.space();
        }
    }

    /// Returns what a program's function makes of something.
    fn made(&self, hook: &Value, read: Value) -> Result<Value, Raise> {
        coroutine::finish(self.machine, self.machine.call_now(hook, Args::of([read]))?)
    }

    fn object(&mut self) -> Result<Value, Raise> {
        let (dict, pairs) = self.pairs()?;
        match (&self.hooks.pairs, &self.hooks.object) {
            (Some(hook), _) => self.made(hook, Value::List(Rc::new(pairs))),
            (None, Some(hook)) => self.made(hook, Value::Dict(Rc::new(dict))),
            (None, None) => Ok(Value::Dict(Rc::new(dict))),
        }
    }

    /// Reads an object, and for who asks for them its pairs, equal names among them.
    fn pairs(&mut self) -> Result<(Dict, List), Raise> {
        self.at += 1;
        let (dict, pairs) = (Dict::new(), List::new(Vec::new()));
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok((dict, pairs));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.fail("Expecting property name enclosed in double quotes", self.at));
            }
            self.at += 1;
            let name: Rc<str> = self.string()?.into();
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.fail("Expecting ':' delimiter", self.at));
            }
            self.at += 1;
            self.space();
            let value = self.value()?;
            match &self.hooks.pairs {
                Some(_) => pairs.push(self.machine, Value::tuple(vec![Value::Str(name), value]))?,
                None => {
                    dict.insert(self.machine, Key::Str(Rc::clone(&name)), Value::Str(name), value)?;
                }
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok((dict, pairs));
                }
                _ => return Err(self.fail("Expecting ',' delimiter", self.at)),
            }
            self.space();
        }
    }

    /// Reads a string after its opening quote.
    fn string(&mut self) -> Result<String, Raise> {
        let begin = self.at - 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest.find(|char: char| matches!(char, '"' | '\\') || (char as u32) < 0x20) else {
                return Err(self.fail("Unterminated string starting at", begin));
            };
            text.push_str(&rest[..stop]);
            self.at += stop + 1;
            match rest.as_bytes()[stop] {
                b'"' => return Ok(text),
                b'\\' => text.push(self.escape(begin)?),
                _ => return Err(self.fail("Invalid control character at", self.at - 1)),
            }
        }
    }

    fn escape(&mut self, begin: usize) -> Result<char, Raise> {
        let at = self.at;
        let Some(letter) = self.text[at..].chars().next() else {
            return Err(self.fail("Unterminated string starting at", begin));
        };
        self.at += letter.len_utf8();
        Ok(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.hex(at)?;
                let mut code = first;
                if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
                    let back = self.at;
                    self.at += 2;
                    let second = self.hex(back + 1)?;
                    if (0xdc00..0xe000).contains(&second) {
                        code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    } else {
                        self.at = back;
                    }
                }
                // Half a pair is no character of a Rust string.
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.fail("Invalid \\escape", at - 1)),
        })
    }

    fn hex(&mut self, at: usize) -> Result<u32, Raise> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return Err(self.fail("Invalid \\uXXXX escape", at));
        };
        self.at += 4;
        Ok(code)
    }
}

/// Returns how many bytes a number takes, and whether it is a float.
fn number(text: &[u8]) -> (usize, bool) {
    let digits = |from: usize| text[from.min(text.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(text.first() == Some(&b'-'));
    let whole = if text.get(sign) == Some(&b'0') { 1 } else { digits(sign) };
    if whole == 0 {
        return (0, false);
    }
    let mut end = sign + whole;
    let mut is_float = false;
    if text.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
        is_float = true;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let signed = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        if digits(signed) > 0 {
            end = signed + digits(signed);
            is_float = true;
        }
    }
    (end, is_float)
}
