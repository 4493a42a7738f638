//! `repr(array)` and `str(array)`, as NumPy prints them with its default options.

use interpreter::raise::Raise;
use interpreter::{Machine, Value};
use program::DType;

use super::{ELEMENT, shortest};
use crate::elements;
use crate::tensor::{self, Tensor};

/// NumPy's defaults.
const LINE_WIDTH: usize = 75;
const THRESHOLD: u64 = 1000;
const PRECISION: usize = 8;

/// Returns what `str` shows of an array with dimensions.
///
/// # Errors
/// What reading the elements raises.
pub fn text(machine: &Machine, array: &Tensor) -> Result<String, Raise> {
    contents(machine, array, " ", 0, LINE_WIDTH)
}

/// Returns what `repr` shows of an array.
///
/// # Errors
/// What reading the elements raises.
pub fn repr(machine: &Machine, array: &Tensor) -> Result<String, Raise> {
    let prefix = "array(";
    let contents = contents(machine, array, ", ", prefix.len(), LINE_WIDTH - 1)?;
    let (sizes, dtype, elements) = (array.sizes(), array.dtype(), array.elements());
    let mut extras = Vec::new();
    if (elements == 0 && sizes.as_slice() != [0]) || elements > THRESHOLD {
        let all: Vec<String> = sizes.iter().map(i64::to_string).collect();
        extras.push(format!("shape=({}{})", all.join(", "), if all.len() == 1 { "," } else { "" }));
    }
    if elements == 0 || !matches!(dtype, DType::Bool | DType::Int64 | DType::Float64 | DType::Complex128) {
        extras.push(format!("dtype={}", dtype.name()));
    }
    if extras.is_empty() {
        return Ok(format!("{prefix}{contents})"));
    }
    let (text, extras) = (format!("{prefix}{contents},"), format!("{})", extras.join(", ")));
    let last_line = text.len() - text.rfind('\n').map_or(0, |at| at + 1);
    let spacer = match last_line + extras.len() + 1 > LINE_WIDTH {
        true => format!("\n{}", " ".repeat(prefix.len())),
        false => " ".into(),
    };
    Ok(format!("{text}{spacer}{extras}"))
}

fn contents(
    machine: &Machine,
    array: &Tensor,
    separator: &'static str,
    indent: usize,
    width: usize,
) -> Result<String, Raise> {
    if array.elements() == 0 {
        return Ok("[]".into());
    }
    let (shown, cut) = tensor::corners(machine, array, array.elements() > THRESHOLD)?;
    machine.charge_fuel(shown.elements())?;
    // Its elements, each as a number and as text.
    let room = shown.elements().saturating_mul(ELEMENT);
    machine.charge_memory(room)?;
    machine.release_memory(room);
    let words = words(&elements::decode(&shown.to_data()?), shown.dtype(), shown.sizes().is_empty());
    let page = Page { separator, cut, sizes: shown.sizes() };
    Ok(page.nested(&mut words.into_iter(), 0, &" ".repeat(indent + 1), width))
}

/// Writes all elements so that columns line up.
fn words(values: &[Value], dtype: DType, alone: bool) -> Vec<String> {
    let part = |first: bool| -> Vec<f64> {
        let part = |value: &Value| match value {
            Value::Float(number) => *number,
            Value::Complex(real, imaginary) => {
                if first {
                    *real
                } else {
                    *imaginary
                }
            }
            _ => 0.0,
        };
        values.iter().map(part).collect()
    };
    match values.first() {
        Some(Value::Float(_)) => {
            let numbers = part(true);
            let form = Form::of(&numbers, dtype, false);
            numbers.iter().map(|number| form.write(*number)).collect()
        }
        Some(Value::Complex(..)) => {
            let dtype = if dtype == DType::Complex128 { DType::Float64 } else { DType::Float32 };
            let (real, imaginary) = (part(true), part(false));
            let forms = (Form::of(&real, dtype, false), Form::of(&imaginary, dtype, true));
            let write = |(real, imaginary): (&f64, &f64)| {
                let imaginary = forms.1.write(*imaginary);
                let digits = imaginary.trim_end();
                format!("{}{digits}j{}", forms.0.write(*real), &imaginary[digits.len()..])
            };
            real.iter().zip(&imaginary).map(write).collect()
        }
        Some(Value::Bool(_)) => {
            let write = |value: &Value| match value {
                Value::Bool(true) if alone => "True",
                Value::Bool(true) => " True",
                _ => "False",
            };
            values.iter().map(|value| write(value).to_owned()).collect()
        }
        _ => {
            let plain: Vec<String> =
                values.iter().map(|value| interpreter::format::repr_now(value).unwrap_or_default()).collect();
            let width = plain.iter().map(String::len).max().unwrap_or(0);
            plain.into_iter().map(|text| format!("{text:>width$}")).collect()
        }
    }
}

/// How the floats of an array are written.
struct Form {
    dtype: DType,
    /// A sign stands before what is not negative, too.
    signed: bool,
    /// With an exponent, of so many digits at least, and so many digits after the point.
    scientific: Option<(usize, usize)>,
    /// Characters before the point, and behind it.
    left: usize,
    right: usize,
}

impl Form {
    fn of(numbers: &[f64], dtype: DType, signed: bool) -> Self {
        let finite: Vec<f64> = numbers.iter().copied().filter(|number| number.is_finite()).collect();
        let mut form = Self { dtype, signed, scientific: None, left: 0, right: 0 };
        if needs_exponents(&finite, dtype) {
            let parts: Vec<(String, String, i32)> = finite.iter().map(|number| form.exponential(*number)).collect();
            let digits = parts.iter().map(|(_, fraction, _)| fraction.len()).max().unwrap_or(0);
            let exponent = parts.iter().map(|(.., exponent)| format!("{:02}", exponent.abs()).len()).max().unwrap_or(2);
            form.scientific = Some((exponent, digits));
            form.left = parts.iter().map(|(whole, ..)| whole.len()).max().unwrap_or(0);
            form.right = exponent + 2 + digits;
        } else {
            let parts: Vec<(String, String)> = finite.iter().map(|number| form.positional(*number)).collect();
            form.left = parts.iter().map(|(whole, _)| whole.len()).max().unwrap_or(0);
            form.right = parts.iter().map(|(_, fraction)| fraction.len()).max().unwrap_or(0);
        }
        if finite.len() < numbers.len() {
            let negative = signed || numbers.contains(&f64::NEG_INFINITY);
            let others = 3 + usize::from(negative);
            form.left = form.left.max(2_usize.saturating_sub(form.right)).max(others.saturating_sub(form.right + 1));
        }
        form
    }

    fn write(&self, number: f64) -> String {
        let (left, right) = (self.left, self.right);
        if !number.is_finite() {
            let sign = match (number == f64::NEG_INFINITY, self.signed) {
                (true, _) => "-",
                (false, true) => "+",
                (false, false) => "",
            };
            let text = format!("{sign}{}", if number.is_nan() { "nan" } else { "inf" });
            return format!("{text:>width$}", width = left + right + 1);
        }
        match self.scientific {
            Some((exponent_digits, digits)) => {
                let text = format!("{number:.digits$e}");
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
                let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
                format!("{:>left$}.{fraction}e{sign}{exponent:0>exponent_digits$}", self.with_sign(whole))
            }
            None => {
                let (whole, fraction) = self.positional(number);
                format!("{whole:>left$}.{fraction:<right$}")
            }
        }
    }

    /// Returns what stands before the point and behind it: as few digits as tell the number from others of its type, and
    /// not more than NumPy's precision.
    fn positional(&self, number: f64) -> (String, String) {
        let short = shortest(number, self.dtype).to_string();
        let (whole, fraction) = short.split_once('.').unwrap_or((&short, ""));
        if fraction.len() <= PRECISION {
            return (self.with_sign(whole), fraction.to_owned());
        }
        let rounded = format!("{number:.PRECISION$}");
        let (whole, fraction) = rounded.split_once('.').unwrap_or((&rounded, ""));
        (self.with_sign(whole), fraction.trim_end_matches('0').to_owned())
    }

    /// The same of a number with an exponent, which comes third.
    fn exponential(&self, number: f64) -> (String, String, i32) {
        let split = |text: &str| {
            let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
            let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let fraction = fraction.trim_end_matches('0').to_owned();
            (self.with_sign(whole), fraction, exponent.parse().unwrap_or(0))
        };
        let short = split(&format!("{:e}", shortest(number, self.dtype)));
        if short.1.len() <= PRECISION { short } else { split(&format!("{number:.PRECISION$e}")) }
    }

    fn with_sign(&self, whole: &str) -> String {
        if self.signed && !whole.starts_with('-') { format!("+{whole}") } else { whole.to_owned() }
    }
}

/// Says whether an array's numbers are too large, too small or too far apart to be written without exponents. NumPy
/// compares them in their own type.
fn needs_exponents(finite: &[f64], dtype: DType) -> bool {
    let sizes = || finite.iter().map(|number| number.abs()).filter(|number| *number > 0.0);
    let (Some(most), Some(least)) = (sizes().reduce(f64::max), sizes().reduce(f64::min)) else { return false };
    let (limit, small, ratio) = match dtype {
        DType::Float16 => {
            let half = half::f16::from_f64;
            (1e3, half(1e-4).to_f64(), (half(most) / half(least)).to_f64())
        }
        DType::Float32 => (1e6, f64::from(1e-4_f32), f64::from(most as f32 / least as f32)),
        _ => (1e8, 1e-4, most / least),
    };
    most >= limit || least < small || ratio > 1000.0
}

/// Where elements stand.
struct Page {
    separator: &'static str,
    /// Of which dimensions only the ends are shown.
    cut: Vec<bool>,
    sizes: Vec<i64>,
}

impl Page {
    fn nested(&self, words: &mut impl Iterator<Item = String>, axis: usize, hanging: &str, width: usize) -> String {
        let Some(&size) = self.sizes.get(axis) else { return words.next().unwrap_or_default() };
        let cut = self.cut.get(axis).copied().unwrap_or(false);
        let mut text = String::new();
        if axis + 1 == self.sizes.len() {
            let mut line = hanging.to_owned();
            let mut extend = |line: &mut String, word: &str| {
                if line.len() + word.len() > width - 1 && line.len() > hanging.len() {
                    text.push_str(line.trim_end());
                    text.push('\n');
                    hanging.clone_into(line);
                }
                line.push_str(word);
            };
            for at in 0..size {
                if at > 0 {
                    line.push_str(self.separator);
                }
                if cut && at == tensor::EDGE_ITEMS {
                    extend(&mut line, "...");
                    line.push_str(self.separator);
                }
                extend(&mut line, &words.next().unwrap_or_default());
            }
            text.push_str(&line);
        } else {
            let between = format!("{}{}", self.separator.trim_end(), "\n".repeat(self.sizes.len() - axis - 1));
            let deeper = format!("{hanging} ");
            for at in 0..size {
                if at > 0 {
                    text.push_str(&between);
                }
                if cut && at == tensor::EDGE_ITEMS {
                    text.push_str(&format!("{hanging}...{between}"));
                }
                text.push_str(hanging);
                text.push_str(&self.nested(words, axis + 1, &deeper, width.saturating_sub(1)));
            }
        }
        format!("[{}]", text.get(hanging.len()..).unwrap_or_default())
    }
}
