//! Numbers and times as people read them: three digits, a unit, and the exact one where it can be asked for.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};

use crate::Error;

/// Writes a time of day in milliseconds since the Unix epoch as how long ago it is, with the exact one behind it. Zero is
/// not yet.
pub fn ago(then: u64, now: u64) -> Markup {
    if then == 0 {
        return nothing();
    }
    let exact = moment(then);
    html! { time datetime=(exact) title=(exact) { (span(now.saturating_sub(then))) " ago" } }
}

/// Writes a time that is to come, in milliseconds since the Unix epoch, as how far off it is, with the exact one behind it.
pub fn until(then: u64, now: u64) -> Markup {
    let exact = moment(then);
    html! { time datetime=(exact) title=(exact) { "in " (span(then.saturating_sub(now))) } }
}

/// Writes a time in seconds since the Unix epoch, as a date.
pub fn date(seconds: u64) -> Markup {
    let exact = moment(seconds.saturating_mul(1000));
    html! { time datetime=(exact) title=(exact) { (exact.split('T').next().unwrap_or_default()) } }
}

/// Writes what is not there.
pub fn nothing() -> Markup {
    html! { span.nothing { "–" } }
}

/// Writes a length of time in milliseconds with three digits at most.
pub fn span(milliseconds: u64) -> String {
    const SECOND: u64 = 1000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match milliseconds {
        0..SECOND => format!("{milliseconds} ms"),
        SECOND..MINUTE => format!("{} s", digits(milliseconds, SECOND)),
        MINUTE..HOUR => format!("{} min", digits(milliseconds, MINUTE)),
        HOUR..DAY => format!("{} h", digits(milliseconds, HOUR)),
        _ => format!("{} d", digits(milliseconds, DAY)),
    }
}

/// Writes a number of bytes with three digits at most.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 1;
    let mut names = units.iter().peekable();
    let mut name = "B";
    while let Some(next) = names.next() {
        name = next;
        if bytes / unit < 1000 || names.peek().is_none() {
            break;
        }
        unit <<= 10;
    }
    if unit == 1 { format!("{bytes} B") } else { format!("{} {name}", digits(bytes, unit)) }
}

/// Writes how many there are, with marks between thousands.
pub fn count(number: u64) -> String {
    let text = number.to_string();
    let groups: Vec<&str> = text.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// Reads a whole number as it is typed into a form; `None` where nothing is.
///
/// # Errors
/// [`Error::Unfit`] for what is none.
pub fn number(name: &str, text: &str) -> Result<Option<u64>, Error> {
    let text = text.trim();
    let read = (!text.is_empty()).then(|| text.parse());
    read.transpose().map_err(|_| Error::Unfit(format!("{name} is {text:?}, which is no whole number")))
}

/// Writes the exact time, as RFC 3339 has it.
pub fn moment(milliseconds: u64) -> String {
    /// The last second of the year 9999.
    const LAST: u64 = 253_402_300_799;
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs((milliseconds / 1000).min(LAST))).to_string()
}

/// Writes the hour and minute of a time in milliseconds, in UTC.
pub fn clock(milliseconds: u64) -> String {
    let minutes = milliseconds / 60_000 % (24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Writes an id so that it is told from others at a glance: its end, which is random.
pub fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(8)..).unwrap_or(id)
}

/// Divides, and leaves three digits.
fn digits(number: u64, unit: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are left")]
    let value = number as f64 / unit as f64;
    match value {
        0.0..9.995 => format!("{value:.2}"),
        9.995..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let spans = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_420, "1.42 s"),
            (12_300, "12.3 s"),
            (90_000, "1.50 min"),
            (7_200_000, "2.00 h"),
            (864_000_000, "10.0 d"),
        ];
        for (milliseconds, text) in spans {
            assert_eq!(span(milliseconds), text);
        }
        for (number, text) in
            [(0, "0 B"), (999, "999 B"), (2048, "2.00 KiB"), (38 << 30, "38.0 GiB"), (5 << 50, "5120 TiB")]
        {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!((clock(0), clock(86_399_999)), ("00:00".into(), "23:59".into()));
        assert_eq!((short("0123456789ab"), short("abc")), ("456789ab", "abc"));
    }
}
