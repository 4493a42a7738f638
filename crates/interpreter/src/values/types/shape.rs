//! Where the characters of a string are: they have different widths, so that finding one is a walk, which long strings remember.

use std::rc::Rc;

use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{ledger, string};
use crate::values::value::Value;

/// Shorter ones are looked through each time.
const LONG: usize = 1024;
/// Characters between two places that are remembered.
const STRIDE: usize = 256;

/// How many characters a string has, and where they are.
#[derive(Clone)]
pub struct Shape {
    length: usize,
    places: Places,
}

#[derive(Clone)]
enum Places {
    /// Every character is a byte.
    Bytes,
    /// Not remembered.
    Unknown,
    /// The byte of every character whose position is a multiple of the stride.
    Marked(Rc<[usize]>),
}

impl Shape {
    /// Looks through a string; a long one is looked through once.
    ///
    /// # Errors
    /// Fuel or memory is spent.
    pub fn of(machine: &Machine, text: &Rc<str>) -> Result<Self, Raise> {
        if text.len() < LONG {
            let places = if text.is_ascii() { Places::Bytes } else { Places::Unknown };
            return Ok(Self { length: string::length(text), places });
        }
        ledger::shape(machine, text)
    }

    /// Looks through a long string.
    pub(crate) fn read(text: &str) -> Self {
        if text.is_ascii() {
            return Self { length: text.len(), places: Places::Bytes };
        }
        let marks: Rc<[usize]> = text.char_indices().step_by(STRIDE).map(|(byte, _)| byte).collect();
        let last = marks.last().copied().unwrap_or(0);
        let rest = text.get(last..).map_or(0, |rest| rest.chars().count());
        Self { length: marks.len().saturating_sub(1) * STRIDE + rest, places: Places::Marked(marks) }
    }

    /// Returns the bytes that remembering this takes.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.places {
            Places::Marked(marks) => (marks.len() * size_of::<usize>()) as u64 + 64,
            Places::Bytes | Places::Unknown => 64,
        }
    }

    /// Returns how many characters there are.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Returns the bytes as characters, where each is one.
    pub fn as_bytes<'a>(&self, text: &'a str) -> Option<&'a [u8]> {
        matches!(self.places, Places::Bytes).then_some(text.as_bytes())
    }

    /// Returns the byte at which a character begins, or the length of the text where there is none.
    pub fn byte(&self, text: &str, position: usize) -> usize {
        let walk = |from: usize, characters: usize| {
            let rest = text.get(from..).unwrap_or_default();
            rest.char_indices().nth(characters).map_or(text.len(), |(byte, _)| from + byte)
        };
        match &self.places {
            Places::Bytes => position.min(text.len()),
            Places::Unknown => walk(0, position),
            Places::Marked(marks) => match marks.get(position / STRIDE) {
                Some(mark) => walk(*mark, position % STRIDE),
                None => text.len(),
            },
        }
    }

    /// Returns the characters from one position up to another.
    pub fn part<'a>(&self, text: &'a str, start: usize, stop: usize) -> &'a str {
        if start >= stop {
            return "";
        }
        text.get(self.byte(text, start)..self.byte(text, stop)).unwrap_or_default()
    }

    /// Returns the character at a position.
    pub fn character(&self, text: &str, position: usize) -> Option<Value> {
        let rest = text.get(self.byte(text, position)..)?;
        let width = rest.chars().next()?.len_utf8();
        rest.get(..width).map(Value::from)
    }

    /// Returns how many characters come before a byte.
    pub fn position(&self, text: &str, byte: usize) -> usize {
        let from = match &self.places {
            Places::Bytes => return byte,
            Places::Unknown => 0,
            Places::Marked(marks) => marks.partition_point(|mark| *mark <= byte).saturating_sub(1),
        };
        let start = self.byte(text, from * STRIDE);
        from * STRIDE + text.get(start..byte).map_or(0, |between| between.chars().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_a_walk_finds() {
        let texts = [
            "a".repeat(3000),
            "é".repeat(3000),
            "aé€😀".repeat(700),
            "a".repeat(2000) + "😀",
            "é".repeat(STRIDE),
            "é".repeat(STRIDE * 2 + 1),
            String::new(),
        ];
        for text in texts {
            let shape = Shape::read(&text);
            let starts: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
            assert_eq!(shape.length(), starts.len());
            for (position, byte) in starts.iter().copied().enumerate() {
                assert_eq!(shape.byte(&text, position), byte, "{position}");
                assert_eq!(shape.position(&text, byte), position, "{byte}");
            }
            assert_eq!(shape.byte(&text, starts.len()), text.len());
            assert_eq!(shape.position(&text, text.len()), starts.len());
        }
    }
}
