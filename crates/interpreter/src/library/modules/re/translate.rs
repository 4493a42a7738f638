//! Python's syntax of patterns, written as that of the `regex` crate.

use crate::library::modules::re::ASCII;
use crate::values::raise::Raise;

/// Why a pattern cannot be used.
pub enum Refused {
    /// What `re.error` says, and the position in the pattern.
    Syntax(String, Option<usize>),
    Raise(Raise),
}

impl From<Raise> for Refused {
    fn from(raise: Raise) -> Self {
        Self::Raise(raise)
    }
}

/// A translated pattern.
pub struct Translated {
    pub text: String,
    /// How many states a matcher has for it, about.
    pub weight: u64,
}

/// Translates a pattern.
///
/// # Errors
/// What is no pattern, or needs time that is not linear in the text.
pub fn translate(pattern: &str, flags: i64) -> Result<Translated, Refused> {
    let ascii = flags & ASCII != 0 || pattern.starts_with("(?a");
    let mut translator = Translator { chars: pattern.chars().collect(), at: 0, out: String::new(), ascii, weight: 1 };
    translator.pattern()?;
    let weight = translator.weight.saturating_mul(translator.chars.len() as u64 + 1);
    Ok(Translated { text: translator.out, weight })
}

struct Translator {
    chars: Vec<char>,
    at: usize,
    out: String,
    ascii: bool,
    weight: u64,
}

fn refuse(message: impl Into<String>, at: usize) -> Refused {
    Refused::Syntax(message.into(), Some(at))
}

impl Translator {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, char)| self.peek(ahead) == Some(char))
    }

    fn pattern(&mut self) -> Result<(), Refused> {
        while let Some(char) = self.peek(0) {
            match char {
                '\\' => {
                    let escape = self.escape(false)?;
                    self.out.push_str(&escape);
                }
                '[' => self.class()?,
                '(' => self.group()?,
                '{' => self.repetition()?,
                '*' | '+' | '?' => {
                    self.out.push(char);
                    self.at += 1;
                    self.after_quantifier()?;
                }
                char => {
                    self.out.push(char);
                    self.at += 1;
                }
            }
        }
        Ok(())
    }

    /// Takes the `?` of a lazy quantifier; refuses possessive ones.
    fn after_quantifier(&mut self) -> Result<(), Refused> {
        match self.peek(0) {
            Some('?') => {
                self.out.push('?');
                self.at += 1;
                Ok(())
            }
            Some('+') => Err(refuse("possessive quantifiers are not supported by this server", self.at)),
            Some('*') => Err(refuse("multiple repeat", self.at)),
            _ => Ok(()),
        }
    }

    fn repetition(&mut self) -> Result<(), Refused> {
        let inside: String = self.chars[self.at + 1..].iter().take_while(|char| **char != '}').collect();
        let closed = self.peek(inside.chars().count() + 1) == Some('}');
        let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
        let digits = |text: &str| text.chars().all(|char| char.is_ascii_digit());
        if !closed || inside.is_empty() || !digits(least) || !digits(most) {
            // As in CPython, a brace that begins no quantifier is a brace.
            self.out.push_str("\\{");
            self.at += 1;
            return Ok(());
        }
        let least = if least.is_empty() { "0" } else { least };
        let times = most.parse::<u64>().ok().max(least.parse().ok()).unwrap_or(1);
        self.weight = self.weight.saturating_mul(times.max(1));
        let comma = if inside.contains(',') { "," } else { "" };
        let most = if comma.is_empty() { "" } else { most };
        self.out.push_str(&format!("{{{least}{comma}{most}}}"));
        self.at += inside.chars().count() + 2;
        self.after_quantifier()
    }

    fn group(&mut self) -> Result<(), Refused> {
        let at = self.at;
        if !self.starts_with("(?") {
            self.out.push('(');
            self.at += 1;
            return Ok(());
        }
        if self.starts_with("(?#") {
            let Some(length) = self.chars[at..].iter().position(|char| *char == ')') else {
                return Err(refuse("missing ), unterminated comment", at));
            };
            self.at += length + 1;
            return Ok(());
        }
        for (begin, what) in [
            ("(?=", "look-ahead"),
            ("(?!", "look-ahead"),
            ("(?<=", "look-behind"),
            ("(?<!", "look-behind"),
            ("(?P=", "a back-reference"),
            ("(?(", "a conditional group"),
            ("(?>", "an atomic group"),
        ] {
            if self.starts_with(begin) {
                return Err(refuse(format!("{what} is not supported by this server"), at));
            }
        }
        if self.starts_with("(?P<") || self.starts_with("(?:") {
            let length = if self.peek(2) == Some(':') { 3 } else { 4 };
            self.out.extend(&self.chars[at..at + length]);
            self.at += length;
            return Ok(());
        }
        // Inline flags.
        let flags: String =
            self.chars[at + 2..].iter().take_while(|char| char.is_ascii_alphabetic() || **char == '-').collect();
        let end = self.peek(2 + flags.chars().count());
        if !matches!(end, Some(')' | ':')) || !flags.chars().all(|flag| "aimsuxL-".contains(flag)) {
            let next = self.peek(2).map_or_else(String::new, String::from);
            return Err(refuse(format!("unknown extension ?{next}"), at + 1));
        }
        let kept: String = flags.chars().filter(|flag| "imsx-".contains(*flag)).collect();
        let kept = kept.trim_end_matches('-');
        self.at += 3 + flags.chars().count();
        match (end, kept) {
            (Some(')'), "") => {}
            (Some(')'), kept) => self.out.push_str(&format!("(?{kept})")),
            (_, kept) => self.out.push_str(&format!("(?{kept}:")),
        }
        Ok(())
    }

    /// Translates an escape, in a class or outside.
    fn escape(&mut self, in_class: bool) -> Result<String, Refused> {
        let at = self.at;
        let Some(char) = self.peek(1) else { return Err(refuse("bad escape (end of pattern)", at)) };
        self.at += 2;
        Ok(match char {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' if self.ascii => {
                let members = match char.to_ascii_lowercase() {
                    'd' => "0-9",
                    's' => " \\t\\n\\r\\x0b\\x0c",
                    _ => "0-9A-Za-z_",
                };
                let negated = if char.is_ascii_uppercase() { "^" } else { "" };
                format!("[{negated}{members}]")
            }
            // Python counts the four separators of information as space.
            's' => "[\\s\\x1c-\\x1f]".to_owned(),
            'S' => "[^\\s\\x1c-\\x1f]".to_owned(),
            'd' | 'D' | 'w' | 'W' => format!("\\{char}"),
            'b' if in_class => "\\x08".to_owned(),
            'A' | 'b' | 'B' if !in_class => format!("\\{char}"),
            'Z' if !in_class => "\\z".to_owned(),
            'a' | 'f' | 'n' | 'r' | 't' | 'v' => format!("\\{char}"),
            'x' => self.code(at, 2)?,
            'u' => self.code(at, 4)?,
            'U' => self.code(at, 8)?,
            '0'..='9' => {
                let more: String =
                    self.chars[self.at..].iter().take(2).take_while(|char| ('0'..='7').contains(*char)).collect();
                if char != '0' && !in_class && !(more.len() == 2 && char < '4') {
                    return Err(refuse("a back-reference is not supported by this server", at));
                }
                self.at += more.len();
                let code = u32::from_str_radix(&format!("{char}{more}"), 8).unwrap_or(0);
                format!("\\x{{{code:x}}}")
            }
            char if char.is_ascii_alphabetic() => return Err(refuse(format!("bad escape \\{char}"), at)),
            char => literal(char),
        })
    }

    fn code(&mut self, at: usize, length: usize) -> Result<String, Refused> {
        let digits: String =
            self.chars[self.at..].iter().take(length).take_while(|char| char.is_ascii_hexdigit()).collect();
        if digits.len() < length {
            let whole: String = self.chars[at..self.at].iter().collect();
            return Err(refuse(format!("incomplete escape {whole}{digits}"), at));
        }
        self.at += length;
        Ok(format!("\\x{{{digits}}}"))
    }

    fn class(&mut self) -> Result<(), Refused> {
        let begin = self.at;
        self.at += 1;
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.out.push('^');
            self.at += 1;
        }
        let mut first = true;
        loop {
            match self.peek(0) {
                None => return Err(refuse("unterminated character set", begin)),
                Some(']') if !first => {
                    self.at += 1;
                    self.out.push(']');
                    return Ok(());
                }
                Some(_) => {}
            }
            first = false;
            let (low, single) = self.member()?;
            self.out.push_str(&low);
            if self.peek(0) == Some('-') && self.peek(1).is_some_and(|next| next != ']') {
                let at = self.at;
                self.at += 1;
                let (high, other) = self.member()?;
                if !single || !other {
                    return Err(refuse(format!("bad character range {low}-{high}"), at));
                }
                self.out.push('-');
                self.out.push_str(&high);
            }
        }
    }

    /// Translates one member of a class; false for those that stand for many characters.
    fn member(&mut self) -> Result<(String, bool), Refused> {
        match self.peek(0) {
            Some('\\') => {
                let kind = self.peek(1);
                let single = !matches!(kind, Some('d' | 'D' | 's' | 'S' | 'w' | 'W'));
                Ok((self.escape(true)?, single))
            }
            Some(char) => {
                self.at += 1;
                Ok((literal(char), true))
            }
            None => Err(refuse("unterminated character set", self.at)),
        }
    }
}

/// Writes a character that stands for itself, wherever it stands.
fn literal(char: char) -> String {
    if char.is_ascii_punctuation() || char.is_ascii_whitespace() {
        return format!("\\x{{{:x}}}", char as u32);
    }
    char.to_string()
}
