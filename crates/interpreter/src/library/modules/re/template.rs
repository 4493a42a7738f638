//! What a match is replaced by.

use std::rc::Rc;

use crate::library::modules::re::error;
use crate::library::modules::re::found::Match;
use crate::library::modules::re::pattern::Pattern;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

/// A replacement with references to groups.
pub struct Template(Vec<Part>);

enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    /// Reads `\1`, `\g<name>` and escapes.
    ///
    /// # Errors
    /// `re.error` for other escapes, `IndexError` for names of no group.
    pub fn parse(machine: &Machine, pattern: &Pattern, text: &str) -> Result<Self, Raise> {
        machine.charge_fuel(text.len() as u64 / 16)?;
        let chars: Vec<char> = text.chars().collect();
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(&char) = chars.get(at) {
            at += 1;
            if char != '\\' {
                plain.push(char);
                continue;
            }
            let begin = at - 1;
            let Some(&kind) = chars.get(at) else {
                return Err(error(machine, format!("bad escape (end of pattern) at position {begin}")));
            };
            at += 1;
            let group = match kind {
                'g' => {
                    let rest = &chars[at..];
                    let end = rest.iter().position(|char| *char == '>').filter(|_| rest.first() == Some(&'<'));
                    let Some(end) = end else {
                        return Err(error(machine, format!("missing < at position {at}")));
                    };
                    let name: String = rest[1..end].iter().collect();
                    at += end + 1;
                    Some(match name.parse() {
                        Ok(number) => number,
                        Err(_) => match pattern.group_number(&name) {
                            Some(number) => number,
                            None => return Err(Raise::index_error(format!("unknown group name '{name}'"))),
                        },
                    })
                }
                '1'..='9' => {
                    let mut number = kind as usize - '0' as usize;
                    if let Some(next) = chars.get(at).and_then(|next| next.to_digit(10)) {
                        number = number * 10 + next as usize;
                        at += 1;
                    }
                    Some(number)
                }
                _ => None,
            };
            if let Some(number) = group {
                if number > pattern.groups() {
                    let at = begin + 1;
                    return Err(error(machine, format!("invalid group reference {number} at position {at}")));
                }
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Group(number));
                continue;
            }
            let char = match kind {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'v' => '\x0b',
                '0' => '\0',
                '\\' => '\\',
                kind if kind.is_ascii_alphabetic() => {
                    return Err(error(machine, format!("bad escape \\{kind} at position {begin}")));
                }
                kind => {
                    plain.push('\\');
                    kind
                }
            };
            plain.push(char);
        }
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    /// Fills in the groups of a match; groups that took no part are empty.
    pub fn expand(&self, found: &Match) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Group(number) => found.text(*number).unwrap_or_default(),
            })
            .collect()
    }
}

/// What `sub` puts in place of a match.
pub enum Replacement {
    Template(Rc<Template>),
    Function(Value),
}
