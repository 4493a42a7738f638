//! Files of tensors in the format of the `safetensors` library: a header in JSON, then numbers.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};
use tch::Kind;

use crate::checkpoint::Entry;
use crate::error::LoadError;

/// Largest header that is read: a model of 100,000 tensors needs a tenth.
const HEADER_BYTES: u64 = 100 << 20;

/// Reads where the tensors of the file of a number lie, and checks that all of them lie inside it.
pub fn entries(path: &Path, file: &mut File, index: usize) -> Result<Vec<(String, Entry)>, LoadError> {
    let corrupt = |reason: &str| LoadError::corrupt(path, reason);
    let size = file.metadata().map_err(LoadError::io(path))?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| corrupt("it is too short for a safetensors header"))?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_BYTES || length > size.saturating_sub(8) {
        return Err(corrupt("its header is longer than the file"));
    }
    let mut text = vec![0; usize::try_from(length).map_err(|_| corrupt("its header is too long"))?];
    file.read_exact(&mut text).map_err(|_| corrupt("its header is cut off"))?;
    let object: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|error| corrupt(&format!("its header is no JSON: {error}")))?;
    let start = 8 + length;
    let tensors = object.into_iter().filter(|(name, _)| name != "__metadata__");
    tensors
        .map(|(name, value)| match entry(&value, index, start, size) {
            Ok(entry) => Ok((name, entry)),
            Err(reason) => Err(LoadError::tensor(path, &name, reason)),
        })
        .collect()
}

fn entry(value: &Value, file: usize, start: u64, size: u64) -> Result<Entry, String> {
    let name = value.get("dtype").and_then(Value::as_str).ok_or("it has no dtype")?;
    let (name, kind, element) = match name {
        "F32" => ("F32", Kind::Float, 4),
        "F16" => ("F16", Kind::Half, 2),
        "BF16" => ("BF16", Kind::BFloat16, 2),
        "F64" => ("F64", Kind::Double, 8),
        // Codes of few bits, and what nothing reads: older GPT-2 files carry their causal masks as buffers.
        "F8_E4M3" => ("F8_E4M3", Kind::Float8e4m3fn, 1),
        "U8" => ("U8", Kind::Uint8, 1),
        "I8" => ("I8", Kind::Int8, 1),
        "BOOL" => ("BOOL", Kind::Bool, 1),
        "I64" => ("I64", Kind::Int64, 8),
        "I32" => ("I32", Kind::Int, 4),
        other => return Err(format!("its dtype {other} is not supported; F32, BF16 and F16 are")),
    };
    let integers = |key: &str| -> Option<Vec<u64>> {
        value.get(key)?.as_array()?.iter().map(Value::as_u64).collect::<Option<_>>()
    };
    let shape = integers("shape").ok_or("it has no shape")?;
    let offsets = integers("data_offsets").ok_or("it has no data_offsets")?;
    let &[begin, end] = offsets.as_slice() else { return Err("its data_offsets are not two numbers".into()) };
    let elements = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
    let bytes = elements.and_then(|elements| elements.checked_mul(element)).ok_or("its shape is too large")?;
    if end.checked_sub(begin) != Some(bytes) {
        return Err(format!("its data_offsets {begin} to {end} do not fit its shape {shape:?} and dtype {name}"));
    }
    if start.checked_add(end).is_none_or(|end| end > size) {
        return Err(format!(
            "the file is truncated: the tensor ends at byte {}, the file at {size}",
            start.saturating_add(end)
        ));
    }
    Ok(Entry {
        file,
        name,
        kind,
        shape: shape
            .into_iter()
            .map(|size| i64::try_from(size).map_err(|_| "its shape is too large"))
            .collect::<Result<_, _>>()?,
        start: start + begin,
        bytes: usize::try_from(bytes).map_err(|_| "it is too large for this machine")?,
    })
}
