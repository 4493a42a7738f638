//! Digits of floats.

/// `repr(float)`: the shortest digits that read back as the same number.
pub fn float_repr(number: f64) -> String {
    if let Some(special) = special(number) {
        return special;
    }
    let scientific = shortest(number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let decimals = i32::try_from(mantissa.len()).unwrap_or(0) - mantissa.find('.').map_or(1, |_| 2);
        let sign = i32::from(number.is_sign_negative());
        return fixed(number, usize::try_from((decimals - sign - exponent).max(1)).unwrap_or(1));
    }
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// Returns the shortest digits that read back as the same number, with an exponent. Of several that are as short these are
/// the nearest, and of two that are equally near, as of -0.0200824737548828125, the even one, as in CPython.
fn shortest(number: f64) -> String {
    let found = format!("{number:e}");
    let digits = found.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let rounded = format!("{number:.*e}", digits.saturating_sub(1));
    if rounded.parse() == Ok(number) { rounded } else { found }
}

/// `repr(complex)`.
pub fn complex_repr(real: f64, imaginary: f64) -> String {
    let short = |number: f64| {
        let text = float_repr(number);
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    };
    if real == 0.0 && real.is_sign_positive() {
        return format!("{}j", short(imaginary));
    }
    let sign = if imaginary.is_sign_negative() && !imaginary.is_nan() { "" } else { "+" };
    format!("({}{sign}{}j)", short(real), short(imaginary))
}

/// Writes infinities and NaN.
pub fn special(number: f64) -> Option<String> {
    if number.is_nan() {
        return Some("nan".to_owned());
    }
    number.is_infinite().then(|| if number > 0.0 { "inf".to_owned() } else { "-inf".to_owned() })
}

/// Digits after which a float's exact decimal expansion has ended.
const EXACT: usize = 1100;

/// Writes with so many decimals, `%f`.
pub fn fixed(number: f64, precision: usize) -> String {
    let zeros = precision.saturating_sub(EXACT);
    format!("{number:.*}{}", precision - zeros, "0".repeat(zeros))
}

/// Writes with an exponent, `%e`.
pub fn exponential(number: f64, precision: usize) -> String {
    let zeros = precision.saturating_sub(EXACT);
    let text = format!("{number:.*e}", precision - zeros);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{}e{sign}{:02}", "0".repeat(zeros), exponent.abs())
}

/// Writes with so many significant digits, `%g`. `keep` keeps the zeros at the end; `least` is the exponent below
/// which fixed notation goes on from 1 (`str` of a float with a precision adds `.0`, and so switches one earlier).
pub fn general(number: f64, precision: usize, keep: bool, shift: i32) -> String {
    let precision = precision.max(1);
    let rounded = exponential(number, precision - 1);
    let exponent: i32 = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let strip = |text: String| {
        if keep || !text.contains('.') {
            return text;
        }
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if exponent < -4 || i64::from(exponent) >= precision as i64 - i64::from(shift) {
        let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "+00"));
        return format!("{}e{exponent}", strip(mantissa.to_owned()));
    }
    let decimals = usize::try_from(precision as i64 - 1 - i64::from(exponent)).unwrap_or(0);
    let text = fixed(number, decimals);
    if keep && !text.contains('.') { text + "." } else { strip(text) }
}
