//! Python's syntax of patterns, written as that of the `regex` and `fancy-regex` crates.

use crate::library::modules::re::measure::{Group, Measure};
use crate::library::modules::re::{ASCII, DOT_ALL, IGNORE_CASE, MULTILINE, UNICODE, VERBOSE};
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
    /// What looks around and refers back, and so takes a matcher that backtracks: how much of it there is.
    pub hard: usize,
    /// How many loops lie inside one another, of those that may go through the whole text.
    pub degree: u32,
    /// Names of groups, with their numbers, and how many groups there are.
    pub names: Vec<(String, usize)>,
    pub groups: usize,
    /// Where it may match nothing, it may do so before it tries to match something.
    pub idles: bool,
    /// Where the text has a `$` that also matches before a last end of line, which takes a look-ahead to say.
    ends: Vec<usize>,
    /// Flags that hold everywhere, those that the pattern itself sets among them.
    pub flags: i64,
}

impl Translated {
    /// Returns whether the pattern means something else by its text where a subject ends with an end of line.
    pub fn looks_at_end(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Returns the text for a matcher that can look ahead.
    pub fn looking_ahead(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        let mut last = 0;
        for end in &self.ends {
            text.push_str(self.text.get(last..*end).unwrap_or_default());
            text.push_str(r"(?=\n?\z)");
            last = end + 1;
        }
        text + self.text.get(last..).unwrap_or_default()
    }
}

/// Translates a pattern.
///
/// # Errors
/// What is no pattern, or is not supported.
pub fn translate(pattern: &str, flags: i64) -> Result<Translated, Refused> {
    let mut translator = Translator {
        chars: pattern.chars().collect(),
        at: 0,
        out: String::new(),
        ascii: flags & ASCII != 0,
        multiline: flags & MULTILINE != 0,
        verbose: flags & VERBOSE != 0,
        weight: 1,
        hard: 0,
        chooses: false,
        repeated: false,
        ends: Vec::new(),
        open: Vec::new(),
        flags,
        begun: 0,
        measure: Measure::default(),
    };
    translator.pattern()?;
    if let Some((begin, _)) = translator.open.last() {
        return Err(refuse("missing ), unterminated subpattern", *begin));
    }
    let weight = translator.weight.saturating_mul(translator.chars.len() as u64 + 1);
    let (degree, may_be_empty) = translator.measure.whole();
    Ok(Translated {
        text: translator.out,
        weight,
        hard: translator.hard,
        degree,
        groups: translator.measure.groups(),
        names: translator.measure.into_names(),
        idles: translator.chooses && may_be_empty,
        ends: translator.ends,
        flags: translator.flags,
    })
}

struct Translator {
    chars: Vec<char>,
    at: usize,
    out: String,
    ascii: bool,
    multiline: bool,
    verbose: bool,
    weight: u64,
    hard: usize,
    /// There are branches, or quantifiers that take little.
    chooses: bool,
    /// The last part is a quantifier.
    repeated: bool,
    ends: Vec<usize>,
    /// Where groups begin that have not ended, the innermost last, with the flags that hold again behind them.
    open: Vec<(usize, Scope)>,
    /// Flags that hold everywhere.
    flags: i64,
    /// Where the pattern begins, behind such flags of its own.
    begun: usize,
    measure: Measure,
}

/// Letters of flags in patterns.
const FLAG_LETTERS: [(char, i64); 6] =
    [('a', ASCII), ('i', IGNORE_CASE), ('m', MULTILINE), ('s', DOT_ALL), ('u', UNICODE), ('x', VERBOSE)];

/// Flags that say how the text of a pattern is read.
type Scope = (bool, bool, bool);

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
            let repeated = std::mem::take(&mut self.repeated);
            match char {
                '\\' => match self.back_reference()? {
                    Some(group) => self.refer_to(group)?,
                    None => {
                        let bound = matches!(self.peek(1), Some('A' | 'b' | 'B' | 'Z'));
                        let escape = self.escape(false)?;
                        self.out.push_str(&escape);
                        self.measure.atom(u64::from(!bound));
                    }
                },
                '[' => {
                    self.class()?;
                    self.measure.atom(1);
                }
                '(' => {
                    let (begin, depth) = (self.at, self.measure.depth());
                    let outside = (self.ascii, self.multiline, self.verbose);
                    self.group()?;
                    if self.measure.depth() > depth {
                        self.open.push((begin, outside));
                    }
                }
                ')' if self.open.is_empty() => return Err(refuse("unbalanced parenthesis", self.at)),
                '{' => self.repetition(repeated)?,
                '*' | '+' | '?' if repeated => return Err(refuse("multiple repeat", self.at)),
                '*' | '+' | '?' => {
                    self.out.push(char);
                    self.at += 1;
                    self.measure.repeat(u64::from(char == '+'), if char == '?' { Some(1) } else { None });
                    self.after_quantifier()?;
                }
                char if self.verbose && char.is_whitespace() => self.at += 1,
                '#' if self.verbose => {
                    let rest = self.chars.get(self.at..).unwrap_or_default();
                    self.at += rest.iter().position(|char| *char == '\n').unwrap_or(rest.len());
                }
                char => {
                    match char {
                        ')' if !self.measure.close() => {
                            return Err(Refused::Syntax("look-behind requires fixed-width pattern".to_owned(), None));
                        }
                        ')' => {
                            if let Some((_, outside)) = self.open.pop() {
                                (self.ascii, self.multiline, self.verbose) = outside;
                            }
                        }
                        '|' => {
                            self.chooses = true;
                            if !self.measure.branch() {
                                return Err(refuse("conditional backref with more than two branches", self.at + 1));
                            }
                        }
                        '$' => {
                            if !self.multiline {
                                self.ends.push(self.out.len());
                            }
                            self.measure.atom(0);
                        }
                        char => self.measure.atom(u64::from(char != '^')),
                    }
                    self.out.push(char);
                    self.at += 1;
                }
            }
        }
        Ok(())
    }

    /// Takes what makes a quantifier lazy or possessive.
    fn after_quantifier(&mut self) -> Result<(), Refused> {
        self.repeated = true;
        match self.peek(0) {
            Some(char @ ('?' | '+')) => {
                self.hard += usize::from(char == '+');
                self.chooses |= char == '?';
                self.out.push(char);
                self.at += 1;
                Ok(())
            }
            Some('*') => Err(refuse("multiple repeat", self.at)),
            _ => Ok(()),
        }
    }

    /// Takes the number of `\\1`; `None` for every other escape.
    fn back_reference(&mut self) -> Result<Option<usize>, Refused> {
        let digit = |ahead| self.peek(ahead).filter(char::is_ascii_digit);
        let Some(first) = digit(1).filter(|first| *first != '0') else { return Ok(None) };
        let octal = |char: char| ('0'..='7').contains(&char);
        let number = match (digit(2), digit(3)) {
            // Three octal digits are a character.
            (Some(second), Some(third)) if octal(first) && octal(second) && octal(third) => return Ok(None),
            (Some(second), _) => format!("{first}{second}"),
            (None, _) => first.to_string(),
        };
        let group = number.parse().unwrap_or(usize::MAX);
        if !self.measure.has(group) {
            return Err(refuse(format!("invalid group reference {group}"), self.at + 1));
        }
        self.at += 1 + number.len();
        Ok(Some(group))
    }

    /// Writes a reference to a group that was numbered before.
    fn refer_to(&mut self, group: usize) -> Result<(), Refused> {
        if !self.measure.refer(group) {
            return Err(refuse("cannot refer to an open group", self.at));
        }
        self.hard += 1;
        // Apart from digits that may follow.
        self.out.push_str(&format!("(?:\\{group})"));
        Ok(())
    }

    /// Finds the group that stands between the current position and `end`, by its name or its number.
    fn named(&self, end: char) -> Result<(usize, usize), Refused> {
        let name: String = self.chars[self.at..].iter().take_while(|char| **char != end).collect();
        let length = name.chars().count();
        if self.peek(length) != Some(end) {
            return Err(refuse(format!("missing {end}, unterminated name"), self.at));
        }
        let group = match name.parse::<usize>() {
            Ok(number) if end == ')' && self.measure.has(number) => Some(number),
            Ok(number) => return Err(refuse(format!("invalid group reference {number}"), self.at)),
            Err(_) => self.measure.named(&name),
        };
        match group {
            Some(group) => Ok((group, length + 1)),
            None => Err(refuse(format!("unknown group name '{name}'"), self.at)),
        }
    }

    fn repetition(&mut self, repeated: bool) -> Result<(), Refused> {
        let inside: String = self.chars[self.at + 1..].iter().take_while(|char| **char != '}').collect();
        let closed = self.peek(inside.chars().count() + 1) == Some('}');
        let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
        let digits = |text: &str| text.chars().all(|char| char.is_ascii_digit());
        if !closed || inside.is_empty() || !digits(least) || !digits(most) {
            // As in CPython, a brace that begins no quantifier is a brace.
            self.out.push_str("\\{");
            self.measure.atom(1);
            self.at += 1;
            return Ok(());
        }
        if repeated {
            return Err(refuse("multiple repeat", self.at));
        }
        let least = if least.is_empty() { "0" } else { least };
        let times = most.parse::<u64>().ok().max(least.parse().ok()).unwrap_or(1);
        let open = inside.ends_with(',');
        self.measure.repeat(least.parse().unwrap_or(0), if open { None } else { Some(times) });
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
            self.measure.open(Group::Numbered);
            return Ok(());
        }
        if self.starts_with("(?#") {
            let Some(length) = self.chars[at..].iter().position(|char| *char == ')') else {
                return Err(refuse("missing ), unterminated comment", at));
            };
            self.at += length + 1;
            return Ok(());
        }
        for (begin, group) in [
            ("(?=", Group::Ahead),
            ("(?!", Group::Ahead),
            ("(?<=", Group::Behind),
            ("(?<!", Group::Behind),
            ("(?>", Group::Plain),
            ("(?:", Group::Plain),
        ] {
            if self.starts_with(begin) {
                self.hard += usize::from(begin != "(?:");
                self.out.push_str(begin);
                self.at += begin.len();
                self.measure.open(group);
                return Ok(());
            }
        }
        if self.starts_with("(?P=") {
            self.at += 4;
            let (group, length) = self.named(')')?;
            self.at += length;
            return self.refer_to(group);
        }
        if self.starts_with("(?(") {
            self.at += 3;
            let (group, length) = self.named(')')?;
            self.at += length;
            self.hard += 1;
            self.out.push_str(&format!("(?({group})"));
            self.measure.open(Group::Conditional);
            return Ok(());
        }
        if self.starts_with("(?P<") {
            let name: String = self.chars[at + 4..].iter().take_while(|char| **char != '>').collect();
            self.at += 4;
            let letter = |char: char| char == '_' || char.is_alphabetic();
            let length = name.chars().count();
            if self.peek(length) != Some('>') {
                return Err(refuse("missing >, unterminated name", self.at));
            }
            if name.is_empty() {
                return Err(refuse("missing group name", self.at));
            }
            if !name.starts_with(letter) || !name.chars().all(|char| letter(char) || char.is_numeric()) {
                return Err(refuse(format!("bad character in group name '{name}'"), self.at));
            }
            if let Some(known) = self.measure.named(&name) {
                let number = self.measure.groups() + 1;
                let message = format!("redefinition of group name '{name}' as group {number}; was group {known}");
                return Err(refuse(message, self.at));
            }
            self.at += length + 1;
            // The matchers know groups by their numbers.
            self.out.push('(');
            self.measure.open(Group::Numbered);
            self.measure.name(&name);
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
        let kept: String = flags.chars().filter(|flag| "ims-".contains(*flag)).collect();
        let kept = kept.trim_end_matches('-');
        self.at += 3 + flags.chars().count();
        let (on, off) = flags.split_once('-').unwrap_or((&flags, ""));
        // The position behind the flag that is wrong.
        let wrong = |message: &str, flag: usize| refuse(format!("bad inline flags: {message}"), at + 3 + flag);
        if let Some(flag) = on.find('L') {
            return Err(wrong("cannot use 'L' flag with a str pattern", flag));
        } else if let (Some(ascii), Some(unicode)) = (on.find('a'), on.find('u')) {
            return Err(wrong("flags 'a', 'u' and 'L' are incompatible", ascii.max(unicode)));
        } else if let Some(flag) = off.find(['a', 'u', 'L']) {
            return Err(wrong("cannot turn off flags 'a', 'u' and 'L'", on.len() + 1 + flag));
        } else if let Some(flag) = off.find(|flag| on.contains(flag)) {
            return Err(wrong("flag turned on and off", on.len() + 1 + flag));
        }
        if end == Some(')') {
            let before = self.chars.get(self.begun..at).unwrap_or_default();
            if !before.iter().all(|char| char.is_whitespace()) || !self.open.is_empty() {
                return Err(refuse("global flags not at the start of the expression", at));
            }
            self.begun = self.at;
            for (letter, flag) in FLAG_LETTERS {
                self.flags |= if on.contains(letter) { flag } else { 0 };
            }
        }
        self.ascii = (self.ascii || on.contains('a')) && !on.contains('u');
        self.multiline = (self.multiline || on.contains('m')) && !off.contains('m');
        self.verbose = (self.verbose || on.contains('x')) && !off.contains('x');
        match (end, kept) {
            (Some(')'), "") => {}
            (Some(')'), kept) => self.out.push_str(&format!("(?{kept})")),
            (_, kept) => {
                self.out.push_str(&format!("(?{kept}:"));
                self.measure.open(Group::Plain);
            }
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
            'b' | 'B' if !in_class && self.ascii => {
                // The matchers know bounds of words of all languages: of ASCII's, a letter stands on one side alone.
                self.hard += 4;
                let (behind, ahead) = ("[0-9A-Za-z_]", "[0-9A-Za-z_]");
                match char {
                    'b' => format!("(?:(?<={behind})(?!{ahead})|(?<!{behind})(?={ahead}))"),
                    _ => format!("(?:(?<={behind})(?={ahead})|(?<!{behind})(?!{ahead}))"),
                }
            }
            'A' | 'b' | 'B' if !in_class => format!("\\{char}"),
            'Z' if !in_class => "\\z".to_owned(),
            'a' | 'f' | 'n' | 'r' | 't' | 'v' => format!("\\{char}"),
            'x' => self.code(at, 2)?,
            'u' => self.code(at, 4)?,
            'U' => self.code(at, 8)?,
            '0'..='9' => {
                let more: String =
                    self.chars[self.at..].iter().take(2).take_while(|char| ('0'..='7').contains(*char)).collect();
                if char != '0' && !in_class && char >= '4' {
                    return Err(refuse(format!("octal escape value \\{char}{more} outside of range 0-0o377"), at));
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
