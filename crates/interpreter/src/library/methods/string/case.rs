//! Upper, lower and title case, as Unicode and CPython have them.

/// Says whether a character has a case.
fn is_cased(char: char) -> bool {
    char.is_uppercase() || char.is_lowercase() || is_titlecase(char)
}

/// Says whether a character is of the category `Lt`: a capital and a small letter in one.
pub fn is_titlecase(char: char) -> bool {
    matches!(char, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ' | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}'
        | 'ᾼ' | 'ῌ' | 'ῼ')
}

pub fn capitalize(text: &str) -> String {
    change(text, |at, _, char, lower| if at == 0 { titlecase(char) } else { lower.to_owned() })
}

pub fn swapcase(text: &str) -> String {
    change(text, |_, _, char, lower| match char {
        char if char.is_uppercase() => lower.to_owned(),
        char if char.is_lowercase() => char.to_uppercase().collect(),
        char => char.into(),
    })
}

pub fn title(text: &str) -> String {
    change(text, |_, before, char, lower| if before.is_some_and(is_cased) { lower.to_owned() } else { titlecase(char) })
}

/// Says whether each word begins with a capital that no other follows, and there is one.
pub fn is_title(text: &str) -> bool {
    let mut found = false;
    let mut inside = false;
    for char in text.chars() {
        let capital = char.is_uppercase() || is_titlecase(char);
        let small = char.is_lowercase();
        if capital && inside || small && !inside {
            return false;
        }
        inside = capital || small;
        found |= inside;
    }
    found
}

/// Folds the case of a text: as upper case has it, in lower case, but for scripts whose upper case came first.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            'ı' | '\u{13a0}'..='\u{13f5}' => folded.push(char),
            '\u{13f8}'..='\u{13fd}' | '\u{ab70}'..='\u{abbf}' => folded.extend(char.to_uppercase()),
            'ẞ' => folded.push_str("ss"),
            char => folded.extend(char.to_uppercase().flat_map(char::to_lowercase)),
        }
    }
    folded
}

/// Puts something in the place of each character, by its position, the one before it, and its lower case in this text: a
/// sigma's depends on where in a word it stands.
fn change(text: &str, changed: impl Fn(usize, Option<char>, char, &str) -> String) -> String {
    let lowercase = text.to_lowercase();
    let mut rest = lowercase.as_str();
    let mut result = String::with_capacity(text.len());
    let mut before = None;
    for (at, char) in text.chars().enumerate() {
        let letters = char.to_lowercase().count();
        let end = rest.char_indices().nth(letters).map_or(rest.len(), |(end, _)| end);
        let (lower, next) = rest.split_at(end);
        result.push_str(&changed(at, before, char, lower));
        (rest, before) = (next, Some(char));
    }
    result
}

/// Returns what a word begins with in the place of a character.
fn titlecase(char: char) -> String {
    match char {
        // Georgian words begin with no capital: their capitals are for whole words.
        '\u{10d0}'..='\u{10fa}' | '\u{10fd}'..='\u{10ff}' => char.into(),
        'Ǆ'..='ǆ' => 'ǅ'.into(),
        'Ǉ'..='ǉ' => 'ǈ'.into(),
        'Ǌ'..='ǌ' => 'ǋ'.into(),
        'Ǳ'..='ǳ' => 'ǲ'.into(),
        // Greek vowels with an iota below.
        '\u{1f80}'..='\u{1faf}' => char::from_u32(u32::from(char) | 8).unwrap_or(char).into(),
        'ᾳ' | 'ᾼ' => 'ᾼ'.into(),
        'ῃ' | 'ῌ' => 'ῌ'.into(),
        'ῳ' | 'ῼ' => 'ῼ'.into(),
        char => {
            // The first capital stays one: `ß` is `Ss`.
            let mut begun = false;
            let mut title = String::new();
            for upper in char.to_uppercase() {
                match upper {
                    'Ι' if begun => title.push('\u{345}'),
                    upper if begun => title.extend(upper.to_lowercase()),
                    upper => title.push(upper),
                }
                begun |= upper.is_uppercase();
            }
            title
        }
    }
}
