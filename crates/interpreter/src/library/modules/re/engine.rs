//! What looks for a pattern: in time linear in the text where that is possible, else by going back, within bounds.

use std::cell::OnceCell;

use regex::{Regex, RegexBuilder};

use crate::library::modules::re::translate::{Refused, Translated};
use crate::library::modules::re::{DOT_ALL, IGNORE_CASE, MULTILINE};
use crate::values::machine::Machine;
use crate::values::raise::{Kind, Raise};
use crate::values::types::ledger;

/// Bytes that one compiled form of a pattern may take, for its program and again for its tables.
pub const PROGRAM_BYTES: usize = 256 << 10;
/// Steps that one search may take in one piece.
const MATCHING: u64 = 20_000_000;
/// Parts that look around or refer back, which each have a compiled form of their own.
pub const HARD_PARTS: usize = 32;
/// How often an attempt may go back, first and when that was not enough: each is paid for before.
const TIERS: [u64; 4] = [64, 1 << 10, 1 << 14, 1 << 20];
/// Characters that one attempt may look at, again and again, in one piece: a second or so, if it looked at all of them.
const AT_ONCE: u64 = 2_000_000_000;
/// Characters that are gone through in a step, with one state, and that are only looked at.
const A_STEP: u64 = 64;
const LOOKED_AT: u64 = 256;
/// Bytes of the stack of a matcher for each place that it may go back to.
const PLACE: u64 = 64;

/// Where a match must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Anywhere,
    Start,
    Whole,
    /// At the start, and not empty: only what goes back finds such.
    Further,
}

/// What stands after a pattern for [`Anchor::Anywhere`] and [`Anchor::Start`], [`Anchor::Whole`], and [`Anchor::Further`].
const ENDS: [&str; 3] = ["", r"\z", r"(?!\G)"];

/// Where groups are, in bytes, the whole match first.
pub type Spans = Vec<Option<(usize, usize)>>;

/// Looks in time linear in the text.
pub struct Linear {
    text: String,
    flags: i64,
    weight: u64,
    /// Finds anywhere, at the start, and at the start through to the end.
    anywhere: Regex,
    at_start: OnceCell<Option<Regex>>,
    whole: OnceCell<Option<Regex>>,
}

/// Tries at each place of the text, and goes back.
pub struct Backtracking {
    text: String,
    flags: i64,
    degree: u32,
    weight: u64,
    /// By how often it goes back, for matches of any end, of the end of the text, and that are not empty.
    tiers: [[OnceCell<fancy_regex::Regex>; ENDS.len()]; TIERS.len()],
}

impl Linear {
    pub fn new(translated: &Translated, flags: i64) -> Result<Self, Refused> {
        Ok(Self {
            anywhere: build(&translated.text, flags)?,
            at_start: OnceCell::new(),
            whole: OnceCell::new(),
            text: translated.text.clone(),
            flags,
            weight: weight(translated),
        })
    }

    /// Looks for a match from a byte on.
    ///
    /// # Errors
    /// `OverflowError` for what would take too long; fuel is spent.
    pub fn find(&self, machine: &Machine, subject: &str, from: usize, anchor: Anchor) -> Result<Option<Spans>, Raise> {
        let rest = (subject.len().saturating_sub(from)) as u64;
        machine.charge_fuel(4 + rest / 512)?;
        if rest.saturating_mul(self.weight) / A_STEP > MATCHING {
            return Err(too_long(rest));
        }
        let Some(regex) = self.regex(anchor) else {
            return Err(Raise::value_error("the pattern is too large for this server"));
        };
        let captures = match anchor {
            Anchor::Anywhere => regex.captures_at(subject, from),
            // The leftmost match from here on begins here, if any does.
            Anchor::Start if from > 0 => self
                .anywhere
                .captures_at(subject, from)
                .filter(|captures| captures.get(0).is_some_and(|whole| whole.start() == from)),
            _ => subject.get(from..).and_then(|text| regex.captures(text)),
        };
        let offset = if anchor == Anchor::Whole { from } else { 0 };
        let read = captures
            .as_ref()
            .and_then(|captures| captures.get(0))
            .map_or(rest, |whole| (whole.end() + offset - from) as u64);
        machine.charge_fuel(read.saturating_mul(self.weight) / A_STEP)?;
        Ok(captures.map(|captures| {
            captures.iter().map(|group| group.map(|group| (group.start() + offset, group.end() + offset))).collect()
        }))
    }

    fn regex(&self, anchor: Anchor) -> Option<&Regex> {
        let make = |end: &str| build(&format!(r"\A(?:{}){end}", self.text), self.flags).ok();
        match anchor {
            Anchor::Anywhere => Some(&self.anywhere),
            Anchor::Start | Anchor::Further => self.at_start.get_or_init(|| make("")).as_ref(),
            Anchor::Whole => self.whole.get_or_init(|| make(r"\z")).as_ref(),
        }
    }
}

impl Backtracking {
    pub fn new(translated: &Translated, flags: i64) -> Result<Self, Refused> {
        if translated.hard > HARD_PARTS {
            let message = format!(
                "this server takes {HARD_PARTS} parts of a pattern that look around or refer back, not {}",
                translated.hard
            );
            return Err(Refused::Syntax(message, None));
        }
        let made = Self {
            text: translated.looking_ahead(),
            flags,
            degree: translated.degree,
            weight: weight(translated),
            tiers: Default::default(),
        };
        // What the linear matcher has taken is compiled when it is needed.
        if translated.hard > 0 {
            made.tier(0, 0)?;
        }
        Ok(made)
    }

    /// Looks for a match from a byte on.
    ///
    /// # Errors
    /// `OverflowError` for what would take too long; fuel or memory is spent.
    pub fn find(&self, machine: &Machine, subject: &str, from: usize, anchor: Anchor) -> Result<Option<Spans>, Raise> {
        let rest = (subject.len().saturating_sub(from)) as u64;
        let attempt = self.characters(rest);
        let attempts = if anchor == Anchor::Anywhere { rest + 1 } else { 1 };
        let first = attempt.saturating_mul(TIERS[0]);
        if first > AT_ONCE || (attempt / 1024 + 1).saturating_mul(attempts) > MATCHING {
            return Err(too_long(rest));
        }
        ledger::reserve(machine, PLACE * attempt.min(1 << 20))?;
        let end = match anchor {
            Anchor::Anywhere | Anchor::Start => 0,
            Anchor::Whole => 1,
            Anchor::Further => 2,
        };
        let mut at = from;
        loop {
            let left = self.characters((subject.len() - at) as u64);
            machine.charge_fuel(1 + left / 1024)?;
            if let Some(spans) = self.attempt(machine, subject, at, end, left)? {
                return Ok(Some(spans));
            }
            let next = subject.get(at..).and_then(|text| text.chars().next());
            match next.filter(|_| anchor == Anchor::Anywhere) {
                Some(next) => at += next.len_utf8(),
                None => return Ok(None),
            }
        }
    }

    /// Looks for a match at a byte, going back more often where that has to be. `left` is what it looks at each time.
    fn attempt(
        &self,
        machine: &Machine,
        subject: &str,
        at: usize,
        end: usize,
        left: u64,
    ) -> Result<Option<Spans>, Raise> {
        for (tier, most) in TIERS.into_iter().enumerate() {
            let looked_at = left.saturating_mul(most);
            if looked_at > AT_ONCE {
                break;
            }
            if tier > 0 {
                machine.charge_fuel(looked_at / LOOKED_AT)?;
            }
            let regex =
                self.tier(tier, end).map_err(|_| Raise::value_error("the pattern is too large for this server"))?;
            match regex.captures_from_pos(subject, at) {
                Ok(None) => return Ok(None),
                Ok(Some(found)) => {
                    return Ok(Some(
                        (0..found.len())
                            .map(|group| found.get(group).map(|group| (group.start(), group.end())))
                            .collect(),
                    ));
                }
                // It goes back too often, or to too many places.
                Err(_) => {}
            }
        }
        Err(too_long((subject.len() - at) as u64))
    }

    /// Returns how many characters the matcher may look at until it goes back, of a text of so many.
    fn characters(&self, rest: u64) -> u64 {
        let rest = rest.max(1);
        let loops = (0..self.degree).fold(1, |product: u64, _| product.saturating_mul(rest));
        loops.saturating_mul(1 + self.weight / A_STEP)
    }

    fn tier(&self, tier: usize, end: usize) -> Result<&fancy_regex::Regex, Refused> {
        let cell = &self.tiers[tier][end];
        if let Some(regex) = cell.get() {
            return Ok(regex);
        }
        let regex = fancy_regex::RegexBuilder::new(&format!(r"\G(?:{}){}", self.text, ENDS[end]))
            .case_insensitive(self.flags & IGNORE_CASE != 0)
            .multi_line(self.flags & MULTILINE != 0)
            .dot_matches_new_line(self.flags & DOT_ALL != 0)
            .backtrack_limit(usize::try_from(TIERS[tier]).unwrap_or(usize::MAX))
            .delegate_size_limit(PROGRAM_BYTES)
            .delegate_dfa_size_limit(PROGRAM_BYTES / 8)
            .build()
            .map_err(|error| Refused::Syntax(last_line(&error.to_string()), None))?;
        Ok(cell.get_or_init(|| regex))
    }
}

/// Returns how many states a matcher has, about: what the size limit lets through has at most so many.
fn weight(translated: &Translated) -> u64 {
    translated.weight.min(PROGRAM_BYTES as u64 / 64)
}

fn too_long(rest: u64) -> Raise {
    let message =
        format!("a pattern like this takes too long on {rest} characters for this server; match parts of the text");
    Raise::new(Kind::OverflowError, message)
}

fn build(text: &str, flags: i64) -> Result<Regex, Refused> {
    RegexBuilder::new(text)
        .case_insensitive(flags & IGNORE_CASE != 0)
        .multi_line(flags & MULTILINE != 0)
        .dot_matches_new_line(flags & DOT_ALL != 0)
        .size_limit(PROGRAM_BYTES)
        .dfa_size_limit(PROGRAM_BYTES)
        .nest_limit(100)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                Refused::Syntax("the pattern is too large for this server".to_owned(), None)
            }
            error => Refused::Syntax(last_line(&error.to_string()), None),
        })
}

/// Returns the last line of a parser's picture, which says what is wrong.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
