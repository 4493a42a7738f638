//! What a certificate says that the library which verifies it tells nobody: when it ends.

use time::{Date, Month, OffsetDateTime, Time};

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// Of the version, which old certificates do not tell.
const VERSION: u8 = 0xa0;

/// An element: its tag, what it holds, and what is behind it.
type Element<'a> = (u8, &'a [u8], &'a [u8]);

/// Returns the end of a certificate's validity (RFC 5280, 4.1); `None` of what is no certificate.
pub(crate) fn not_after(certificate: &[u8]) -> Option<OffsetDateTime> {
    let mut rest = sequence(sequence(certificate)?.0)?.0;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // The serial number, the algorithm and the issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, _, end) = element(sequence(rest)?.0)?;
    let (tag, text, _) = element(end)?;
    moment(tag, std::str::from_utf8(text).ok()?.strip_suffix('Z')?)
}

fn sequence(der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, ..)| *tag == SEQUENCE).map(|(_, held, rest)| (held, rest))
}

/// Takes the first element.
fn element(der: &[u8]) -> Option<Element<'_>> {
    let (&[tag, first], mut rest) = der.split_first_chunk()?;
    let length = match usize::from(first) {
        short @ 0..0x80 => short,
        long => {
            let (bytes, behind) = rest.split_at_checked(long - 0x80).filter(|(bytes, _)| bytes.len() <= 4)?;
            rest = behind;
            bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte))
        }
    };
    let (held, rest) = rest.split_at_checked(length)?;
    Some((tag, held, rest))
}

/// Reads `YYMMDDhhmmss`, or the same with four digits of the year.
fn moment(tag: u8, text: &str) -> Option<OffsetDateTime> {
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = year.parse::<i32>().ok()?;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let two = |at: usize| rest.get(2 * at..2 * at + 2)?.parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(two(0)?).ok()?, two(1)?).ok()?;
    let time = Time::from_hms(two(2)?, two(3)?, two(4)?).ok()?;
    (rest.len() == 10).then(|| date.with_time(time).assume_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_both_of_their_forms() {
        let read = |tag, text| moment(tag, text).map(OffsetDateTime::unix_timestamp);
        assert_eq!(read(UTC_TIME, "700101000001"), Some(1));
        assert_eq!(read(UTC_TIME, "491231235959"), Some(2_524_607_999));
        assert_eq!(read(GENERALIZED_TIME, "20500101000000"), Some(2_524_608_000));
        for text in ["7001010000", "70010100000", "701301000001", "70010100000x", "７"] {
            assert_eq!(read(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(read(SEQUENCE, "700101000001"), None);
    }

    #[test]
    fn what_is_cut_off_is_no_certificate() {
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let whole = made.cert.der();
        assert!(not_after(whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None);
        }
        assert_eq!(element(&[SEQUENCE, 0x88, 1, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(element(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
