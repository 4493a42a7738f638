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
    change(text, |result, before, char, lower| match before {
        None => titlecase(result, char),
        Some(_) => result.push_str(lower),
    })
}

pub fn swapcase(text: &str) -> String {
    change(text, |result, _, char, lower| match char {
        char if char.is_uppercase() => result.push_str(lower),
        char if char.is_lowercase() => result.extend(char.to_uppercase()),
        char => result.push(char),
    })
}

pub fn title(text: &str) -> String {
    change(text, |result, before, char, lower| match before {
        Some(before) if is_cased(before) => result.push_str(lower),
        _ => titlecase(result, char),
    })
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

/// Has something put in the place of each character, by the one before it, and its lower case in this text: a sigma's depends
/// on where in a word it stands.
fn change(text: &str, put: impl Fn(&mut String, Option<char>, char, &str)) -> String {
    let lowercase = text.to_lowercase();
    let mut rest = lowercase.as_str();
    let mut result = String::with_capacity(text.len());
    let mut before = None;
    for char in text.chars() {
        let letters = char.to_lowercase().count();
        let end = rest.char_indices().nth(letters).map_or(rest.len(), |(end, _)| end);
        let (lower, next) = rest.split_at(end);
        put(&mut result, before, char, lower);
        (rest, before) = (next, Some(char));
    }
    result
}

/// Puts what a word begins with in the place of a character.
fn titlecase(title: &mut String, char: char) {
    match char {
        // Georgian words begin with no capital: their capitals are for whole words.
        '\u{10d0}'..='\u{10fa}' | '\u{10fd}'..='\u{10ff}' => title.push(char),
        'Ǆ'..='ǆ' => title.push('ǅ'),
        'Ǉ'..='ǉ' => title.push('ǈ'),
        'Ǌ'..='ǌ' => title.push('ǋ'),
        'Ǳ'..='ǳ' => title.push('ǲ'),
        // Greek vowels with an iota below.
        '\u{1f80}'..='\u{1faf}' => title.push(char::from_u32(u32::from(char) | 8).unwrap_or(char)),
        'ᾳ' | 'ᾼ' => title.push('ᾼ'),
        'ῃ' | 'ῌ' => title.push('ῌ'),
        'ῳ' | 'ῼ' => title.push('ῼ'),
        char => {
            // The first capital stays one: `ß` is `Ss`.
            let mut begun = false;
            for upper in char.to_uppercase() {
                match upper {
                    'Ι' if begun => title.push('\u{345}'),
                    upper if begun => title.extend(upper.to_lowercase()),
                    upper => title.push(upper),
                }
                begun |= upper.is_uppercase();
            }
        }
    }
}
