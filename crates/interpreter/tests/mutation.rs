//! Programs that were cut and spliced at random end in a value or an error, never in a panic.

mod common;

use common::run;
use program::Limits;

/// A small generator of numbers; the seed is in the test, so that every failure can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or_default()
    }
}

/// Cuts a text into names, numbers, spaces and single other characters.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let wordy = |letter: char| letter.is_alphanumeric() || letter == '_';
        let end = match wordy(first) {
            true => rest.find(|letter: char| !wordy(letter)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        tokens.push(token);
        rest = after;
    }
    tokens
}

#[test]
fn spliced_programs_never_panic() {
    let programs: Vec<&str> = include_str!("language.py")
        .split("#### ")
        .filter_map(|part| part.split_once('\n'))
        .map(|(_, text)| text)
        .collect();
    let all: Vec<&str> = programs.iter().flat_map(|text| tokens(text)).collect();
    let limits = Limits { fuel: 20_000, memory_bytes: 4 << 20, call_depth: 100, ..Limits::default() };
    let mut random = Random(0x5EED_1234_ABCD);
    for _ in 0..1500 {
        let mut text = tokens(programs[random.below(programs.len())]);
        for _ in 0..1 + random.below(3) {
            if text.is_empty() {
                break;
            }
            let at = random.below(text.len());
            match random.below(3) {
                0 => drop(text.splice(at..(at + 1 + random.below(3)).min(text.len()), [])),
                1 => text.insert(at, all[random.below(all.len())]),
                _ => text[at] = all[random.below(all.len())],
            }
        }
        let text = text.concat();
        if let Err(raise) = run(&text, &limits).1 {
            assert!(!raise.traceback_text().is_empty(), "{text}");
        }
    }
}
