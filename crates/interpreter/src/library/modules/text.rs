//! `string`.

use crate::library::modules::{Members, functions};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::ledger;
use crate::values::value::Value;

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const SPACE: &str = " \t\n\r\x0b\x0c";

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let mut members = functions(&[("capwords", |machine, args| {
        let [text, separator] = args.bind("capwords", ["s", "sep"], 1)?;
        let text = text.unwrap_or(Value::None);
        let Some(text) = text.as_str() else { return Err(Raise::type_error("capwords() needs a str")) };
        let capitalize = |word: &str| {
            let mut chars = word.chars();
            chars.next().map_or_else(String::new, |first| {
                first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect()
            })
        };
        machine.charge_fuel(text.len() as u64 / 16)?;
        let words: String = match separator.as_ref().and_then(Value::as_str) {
            Some("") => return Err(Raise::value_error("empty separator")),
            Some(separator) => text.split(separator).map(capitalize).collect::<Vec<_>>().join(separator),
            None => text.split_whitespace().map(capitalize).collect::<Vec<_>>().join(" "),
        };
        Ok(ledger::text(machine, words)?.into())
    })]);
    for (name, text) in [
        ("ascii_letters", format!("{LOWER}{UPPER}")),
        ("ascii_lowercase", LOWER.to_owned()),
        ("ascii_uppercase", UPPER.to_owned()),
        ("digits", DIGITS.to_owned()),
        ("hexdigits", format!("{DIGITS}abcdefABCDEF")),
        ("octdigits", "01234567".to_owned()),
        ("printable", format!("{DIGITS}{LOWER}{UPPER}{PUNCTUATION}{SPACE}")),
        ("punctuation", PUNCTUATION.to_owned()),
        ("whitespace", SPACE.to_owned()),
    ] {
        members.push((name, Value::from(text)));
    }
    Ok(members)
}
