//! `repr(tensor)`, as PyTorch prints it with its default options.

use interpreter::raise::Raise;
use interpreter::{Machine, Value};
use program::DType;

use super::Tensor;
use crate::dispatch::{self, Argument};
use crate::{dtype, elements};

/// PyTorch's defaults.
const LINE_WIDTH: usize = 80;
pub const EDGE_ITEMS: i64 = 3;
const THRESHOLD: u64 = 1000;

/// Returns the text of a tensor.
///
/// # Errors
/// What reading the elements raises.
pub fn repr(machine: &Machine, tensor: &Tensor) -> Result<String, Raise> {
    let prefix = "tensor(";
    let dtype = tensor.dtype();
    let sizes = tensor.sizes();
    let mut suffixes = Vec::new();
    if tensor.device().kind != 0 {
        suffixes.push(format!("device='{}'", tensor.device()));
    }
    let contents = if tensor.elements() == 0 {
        if sizes.len() != 1 {
            let sizes: Vec<String> = sizes.iter().map(i64::to_string).collect();
            suffixes.push(format!("size=({})", sizes.join(", ")));
        }
        if dtype != DType::Float32 {
            suffixes.push(format!("dtype=torch.{}", dtype.name()));
        }
        String::from("[]")
    } else {
        if !matches!(dtype, DType::Float32 | DType::Complex64 | DType::Int64 | DType::Bool) {
            suffixes.push(format!("dtype=torch.{}", dtype.name()));
        }
        contents(machine, tensor, prefix.len())?
    };
    match tensor.grad_fn() {
        Some(name) => suffixes.push(format!("grad_fn=<{name}>")),
        None if tensor.requires_grad() => suffixes.push(String::from("requires_grad=True")),
        None => {}
    }
    let text = with_suffixes(format!("{prefix}{contents}"), &suffixes, prefix.len());
    Ok(if tensor.is_parameter() { format!("Parameter containing:\n{text}") } else { text })
}

fn with_suffixes(mut text: String, suffixes: &[String], indent: usize) -> String {
    let mut last_line = text.rfind('\n').map_or(text.len() + 2, |at| text.len() - at + 1);
    for suffix in suffixes {
        if last_line + suffix.len() + 2 > LINE_WIDTH {
            text.push_str(",\n");
            text.push_str(&" ".repeat(indent));
            last_line = indent + suffix.len();
        } else {
            text.push_str(", ");
            last_line += suffix.len() + 2;
        }
        text.push_str(suffix);
    }
    text.push(')');
    text
}

fn contents(machine: &Machine, tensor: &Tensor, indent: usize) -> Result<String, Raise> {
    let (mut shown, cut) = corners(machine, tensor, tensor.elements() > THRESHOLD)?;
    let wider = match tensor.dtype() {
        DType::Float8E4M3Fn | DType::Float8E5M2 => Some(DType::Float16),
        DType::Complex32 => Some(DType::Complex64),
        _ => None,
    };
    if let Some(wider) = wider {
        let code = Argument::from(i64::from(dtype::code(wider)));
        shown = dispatch::tensor(machine, "to", "dtype", &[Argument::from(shown), code])?;
    }
    machine.charge_fuel(shown.elements())?;
    let values = elements::decode(&shown.to_data()?);
    let sizes = shown.sizes();
    let printed = Printed::new(&values, &cut, &sizes);
    let mut values = values.iter();
    Ok(printed.nested(&mut values, 0, indent))
}

/// Returns what is shown of a tensor, only the corners where it is to be a summary, and which dimensions that cuts.
///
/// # Errors
/// Memory is spent.
pub fn corners(machine: &Machine, tensor: &Tensor, summarize: bool) -> Result<(Tensor, Vec<bool>), Raise> {
    let mut shown = dispatch::tensor(machine, "detach", "", &[tensor.into()])?;
    let mut cut = vec![false; tensor.sizes().len()];
    if summarize {
        for (dim, size) in tensor.sizes().into_iter().enumerate() {
            if size > 2 * EDGE_ITEMS {
                shown = edges(machine, &shown, dim as i64, size)?;
                cut[dim] = true;
            }
        }
    }
    Ok((shown, cut))
}

/// Keeps the first and last few entries of a dimension.
fn edges(machine: &Machine, tensor: &Tensor, dim: i64, size: i64) -> Result<Tensor, Raise> {
    let part = |start: i64| {
        dispatch::tensor(machine, "narrow", "", &[tensor.into(), dim.into(), start.into(), EDGE_ITEMS.into()])
    };
    let parts = Argument::Tensors(vec![part(0)?, part(size - EDGE_ITEMS)?]);
    dispatch::tensor(machine, "cat", "", &[parts, dim.into()])
}

/// A tensor's layout on the page.
struct Printed<'a> {
    formatter: Formatter,
    /// For complex numbers, that of the imaginary parts.
    imaginary: Option<Formatter>,
    cut: &'a [bool],
    sizes: &'a [i64],
}

impl<'a> Printed<'a> {
    fn new(values: &[Value], cut: &'a [bool], sizes: &'a [i64]) -> Self {
        let part = |first: bool| {
            let parts: Vec<f64> = values
                .iter()
                .filter_map(|value| match value {
                    Value::Complex(real, imaginary) => Some(if first { *real } else { *imaginary }),
                    _ => None,
                })
                .collect();
            Formatter::of_floats(&parts)
        };
        let (formatter, imaginary) = match values.first() {
            Some(Value::Complex(..)) => (part(true), Some(part(false))),
            Some(Value::Float(_)) => {
                let floats: Vec<f64> = values
                    .iter()
                    .filter_map(|v| if let Value::Float(float) = v { Some(*float) } else { None })
                    .collect();
                (Formatter::of_floats(&floats), None)
            }
            _ => (Formatter::of_others(values), None),
        };
        Self { formatter, imaginary, cut, sizes }
    }

    fn nested<'v>(&self, values: &mut impl Iterator<Item = &'v Value>, dim: usize, indent: usize) -> String {
        let Some(&size) = self.sizes.get(dim) else {
            return values.next().map(|value| self.element(value)).unwrap_or_default();
        };
        if dim + 1 == self.sizes.len() {
            return self.vector(values, size, self.cut[dim], indent);
        }
        let mut parts = Vec::new();
        for at in 0..size {
            if self.cut[dim] && at == EDGE_ITEMS {
                parts.push(String::from("..."));
            }
            parts.push(self.nested(values, dim + 1, indent + 1));
        }
        let between = format!(",{}{}", "\n".repeat(self.sizes.len() - dim - 1), " ".repeat(indent + 1));
        format!("[{}]", parts.join(&between))
    }

    fn vector<'v>(&self, values: &mut impl Iterator<Item = &'v Value>, size: i64, cut: bool, indent: usize) -> String {
        let element = self.formatter.width + 2 + self.imaginary.as_ref().map_or(0, |formatter| formatter.width + 1);
        let per_line = (LINE_WIDTH.saturating_sub(indent) / element).max(1);
        let mut items = Vec::new();
        for at in 0..size {
            if cut && at == EDGE_ITEMS {
                items.push(String::from(" ..."));
            }
            items.extend(values.next().map(|value| self.element(value)));
        }
        let lines: Vec<String> = items.chunks(per_line).map(|line| line.join(", ")).collect();
        format!("[{}]", lines.join(&format!(",\n{}", " ".repeat(indent + 1))))
    }

    fn element(&self, value: &Value) -> String {
        match (value, &self.imaginary) {
            (Value::Complex(real, imaginary), Some(formatter)) => {
                let real = self.formatter.float(*real);
                let imaginary = format!("{}j", formatter.float(*imaginary));
                let imaginary = imaginary.trim_start();
                let plus = if imaginary.starts_with(['+', '-']) { "" } else { "+" };
                format!("{real}{plus}{imaginary}")
            }
            (Value::Float(number), _) => self.formatter.float(*number),
            (value, _) => self.formatter.padded(plain(value)),
        }
    }
}

/// How numbers are written so that columns line up.
struct Formatter {
    integers: bool,
    scientific: bool,
    width: usize,
}

impl Formatter {
    fn of_others(values: &[Value]) -> Self {
        let width = values.iter().map(|value| plain(value).len()).max().unwrap_or(1);
        Self { integers: true, scientific: false, width }
    }

    fn of_floats(values: &[f64]) -> Self {
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite() && *value != 0.0).collect();
        if finite.is_empty() {
            return Self { integers: true, scientific: false, width: 1 };
        }
        let least = finite.iter().map(|value| value.abs()).fold(f64::INFINITY, f64::min);
        let most = finite.iter().map(|value| value.abs()).fold(0.0, f64::max);
        let integers = finite.iter().all(|value| *value == value.ceil());
        let scientific = most / least > 1000.0 || most > 1.0e8 || least < 1.0e-4;
        let mut formatter = Self { integers, scientific, width: 1 };
        formatter.width = finite.iter().map(|value| formatter.number(*value).len()).max().unwrap_or(1).max(1);
        formatter
    }

    fn number(&self, value: f64) -> String {
        if value.is_nan() {
            return String::from("nan");
        }
        if value.is_infinite() {
            return String::from(if value > 0.0 { "inf" } else { "-inf" });
        }
        match (self.scientific, self.integers) {
            (true, _) => scientific(value),
            (false, true) => format!("{value:.0}."),
            (false, false) => format!("{value:.4}"),
        }
    }

    fn float(&self, value: f64) -> String {
        self.padded(self.number(value))
    }

    fn padded(&self, text: String) -> String {
        format!("{text:>width$}", width = self.width)
    }
}

/// Writes `1.5000e-05`: four digits, and an exponent of at least two.
fn scientific(value: f64) -> String {
    let text = format!("{value:.4e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn plain(value: &Value) -> String {
    match value {
        Value::Bool(true) => String::from("True"),
        Value::Bool(false) => String::from("False"),
        Value::Int(number) => number.to_string(),
        Value::Big(number) => number.to_string(),
        _ => String::new(),
    }
}
