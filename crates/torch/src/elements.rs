//! Elements of tensors as Python numbers, and back.

use half::{bf16, f16};
use interpreter::Value;
use interpreter::raise::Raise;
use program::{DType, TensorData};

use crate::dispatch::Number;
use crate::python;

/// Returns the elements of plain data as Python numbers, row-major. Empty for the 8-bit floats and `complex32`, which
/// callers convert first.
#[must_use]
pub fn decode(data: &TensorData) -> Vec<Value> {
    let bytes = &*data.bytes;
    match data.dtype {
        DType::Float64 => each(bytes, |b| Value::from(f64::from_le_bytes(b))),
        DType::Float32 => each(bytes, |b| Value::from(f64::from(f32::from_le_bytes(b)))),
        DType::Float16 => each(bytes, |b| Value::from(f16::from_le_bytes(b).to_f64())),
        DType::BFloat16 => each(bytes, |b| Value::from(bf16::from_le_bytes(b).to_f64())),
        DType::Int64 => each(bytes, |b| Value::Int(i64::from_le_bytes(b))),
        DType::Int32 => each(bytes, |b| Value::Int(i64::from(i32::from_le_bytes(b)))),
        DType::Int16 => each(bytes, |b| Value::Int(i64::from(i16::from_le_bytes(b)))),
        DType::Int8 => each(bytes, |b| Value::Int(i64::from(i8::from_le_bytes(b)))),
        DType::UInt8 => each(bytes, |b: [u8; 1]| Value::Int(i64::from(b[0]))),
        DType::UInt16 => each(bytes, |b| Value::Int(i64::from(u16::from_le_bytes(b)))),
        DType::UInt32 => each(bytes, |b| Value::Int(i64::from(u32::from_le_bytes(b)))),
        DType::UInt64 => each(bytes, |b| python::unsigned(u64::from_le_bytes(b))),
        DType::Bool => each(bytes, |b: [u8; 1]| Value::Bool(b[0] != 0)),
        DType::Complex64 => each(bytes, |b: [u8; 8]| {
            let part = |at| f64::from(f32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]));
            Value::Complex(part(0), part(4))
        }),
        DType::Complex128 => each(bytes, |b: [u8; 16]| {
            let mut parts = [[0; 8]; 2];
            parts[0].copy_from_slice(&b[..8]);
            parts[1].copy_from_slice(&b[8..]);
            Value::Complex(f64::from_le_bytes(parts[0]), f64::from_le_bytes(parts[1]))
        }),
        DType::Complex32 | DType::Float8E4M3Fn | DType::Float8E5M2 => Vec::new(),
    }
}

fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> Value) -> Vec<Value> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}

/// Returns the type that a tensor of these numbers has where none is asked for: that of the widest kind among them.
#[must_use]
pub fn natural(numbers: &[Number]) -> DType {
    let rank = |number: &Number| match number {
        Number::Bool(_) => 0,
        Number::Int(_) | Number::Unsigned(_) => 1,
        Number::Float(_) => 2,
        Number::Complex(..) => 3,
    };
    match numbers.iter().map(rank).max() {
        Some(0) => DType::Bool,
        Some(1) => DType::Int64,
        Some(3) => DType::Complex64,
        _ => DType::Float32,
    }
}

/// Returns the least and the greatest number of an integer type.
fn range(dtype: DType) -> Option<(i128, i128)> {
    let bits = dtype.size() as u32 * 8;
    match dtype {
        DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64 => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
        // Negative numbers are taken as what their bits say, as in C.
        DType::UInt8 | DType::UInt16 | DType::UInt32 | DType::UInt64 => Some((1 - (1 << bits), (1 << bits) - 1)),
        _ => None,
    }
}

/// Writes numbers in the widest type of their kind: `float64`, `int64`, `bool` or `complex128`.
///
/// # Errors
/// `TypeError` for a complex number among reals.
pub fn encode(numbers: &[Number], kind: DType) -> Result<(DType, Vec<u8>), Raise> {
    let mut bytes = Vec::with_capacity(numbers.len() * 8);
    if let Some((least, most)) = range(kind) {
        let fits = |number: &Number| match *number {
            Number::Int(number) => least <= i128::from(number) && i128::from(number) <= most,
            Number::Unsigned(number) => i128::from(number) <= most,
            Number::Float(number) => {
                number.is_finite() && least as f64 <= number.trunc() && number.trunc() <= most as f64
            }
            Number::Bool(_) | Number::Complex(..) => true,
        };
        if !numbers.iter().all(fits) {
            if numbers.iter().any(|number| matches!(number, Number::Unsigned(_))) {
                return Err(python::no_long());
            }
            let name = kind.name();
            return Err(Raise::runtime_error(format!("value cannot be converted to type {name} without overflow")));
        }
    }
    let kind = match kind {
        DType::Bool => DType::Bool,
        DType::Complex32 | DType::Complex64 | DType::Complex128 => DType::Complex128,
        DType::Float64
        | DType::Float32
        | DType::Float16
        | DType::BFloat16
        | DType::Float8E4M3Fn
        | DType::Float8E5M2 => DType::Float64,
        DType::UInt64 => DType::UInt64,
        _ => DType::Int64,
    };
    for number in numbers {
        match (kind, *number) {
            (DType::Bool, number) => bytes.push(u8::from(number.is_true())),
            (DType::Complex128, number) => {
                let (real, imaginary) = number.complex();
                bytes.extend(real.to_le_bytes());
                bytes.extend(imaginary.to_le_bytes());
            }
            (_, Number::Complex(..)) => {
                return Err(Raise::runtime_error("value cannot be converted to type double without overflow"));
            }
            (DType::Float64, number) => bytes.extend(number.complex().0.to_le_bytes()),
            (_, Number::Int(number)) => bytes.extend(number.to_le_bytes()),
            (_, Number::Unsigned(number)) => bytes.extend(number.to_le_bytes()),
            (_, Number::Bool(flag)) => bytes.extend(i64::from(flag).to_le_bytes()),
            (_, Number::Float(number)) => bytes.extend((number as i64).to_le_bytes()),
        }
    }
    Ok((kind, bytes))
}

impl Number {
    fn is_true(self) -> bool {
        self.complex() != (0.0, 0.0)
    }

    fn complex(self) -> (f64, f64) {
        match self {
            Self::Int(number) => (number as f64, 0.0),
            Self::Unsigned(number) => (number as f64, 0.0),
            Self::Float(number) => (number, 0.0),
            Self::Bool(flag) => (f64::from(u8::from(flag)), 0.0),
            Self::Complex(real, imaginary) => (real, imaginary),
        }
    }
}
