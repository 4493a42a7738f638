//! Saved values as safetensors: tensors by the way to them, and what is no tensor as JSON.
//!
//! A tensor's name is that of the variable and, where it lies inside of something, the place in that: `hidden`,
//! `layers.3`, `stats.mean`. One that is taken gets `~2`. A numpy array or scalar and a parameter are tensors. One of complex
//! numbers has a last dimension of 2, as `torch.view_as_real` has it. The metadata's `values` is a JSON object of
//! all variables. What JSON has, it has: `null`, truth values, numbers, text, lists, and dicts whose keys are text. Everything
//! else is an object of one member that begins with `$`: `{"$tensor": NAME}`, `{"$tuple": [1, 2]}`.

use std::collections::HashSet;
use std::io::Write;

use num_bigint::BigInt;
use program::{DType, Datum, Heap, Ref, Saved, TensorData};
use serde_json::{Value, json};

use crate::decode::layout::{elements, give};
use crate::error::TellError;

/// How deep values may nest.
const DEPTH: u32 = 64;
/// Bytes of the JSON of values, which readers hold in memory.
const TEXT: usize = 16 << 20;
/// What the length of the header is a multiple of, so that elements lie where their type wants them.
const ALIGNMENT: usize = 8;
/// The one name that is none of a tensor.
const METADATA: &str = "__metadata__";

/// Writes saved values, with tensors of at most so many bytes.
///
/// # Errors
/// [`TellError`]: what has no such form, or `out` does not take.
pub fn write_safetensors(saved: &Saved, limit: u64, out: &mut impl Write) -> Result<(), TellError> {
    let mut telling = Telling {
        heap: &saved.heap,
        text: String::new(),
        tensors: Vec::new(),
        taken: HashSet::from([METADATA.to_owned()]),
        variable: "",
    };
    telling.variables(&saved.names)?;
    let Telling { text, mut tensors, .. } = telling;
    // The widest first: each begins where its elements may.
    tensors.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype.size()));
    let mut header = serde_json::Map::new();
    header.insert(METADATA.into(), json!({ "format": "pt", "values": text }));
    let mut end = 0_u64;
    for (name, tensor) in &tensors {
        let bytes = elements(tensor.shape)?.checked_mul(tensor.dtype.size() as u64);
        let (begin, next) = (end, bytes.and_then(|bytes| end.checked_add(bytes)));
        end = next.filter(|end| *end <= limit).ok_or(TellError::Large { limit })?;
        let (element, parts) = element(tensor.dtype);
        let shape: Vec<i64> = tensor.shape.iter().copied().chain(parts).collect();
        header.insert(name.clone(), json!({ "dtype": element, "shape": shape, "data_offsets": [begin, end] }));
    }
    let mut header = serde_json::to_vec(&header).map_err(std::io::Error::from)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, tensor) in &tensors {
        let Tensor { dtype, bytes, shape, strides, offset } = tensor;
        give(bytes, dtype.size(), *offset, shape, strides, |run| out.write_all(run).map_err(TellError::Io))?;
    }
    Ok(())
}

/// How safetensors calls a type's elements, and what is added to a shape for their parts.
fn element(dtype: DType) -> (&'static str, Option<i64>) {
    match dtype {
        DType::Float64 => ("F64", None),
        DType::Float32 => ("F32", None),
        DType::Float16 => ("F16", None),
        DType::BFloat16 => ("BF16", None),
        DType::Int64 => ("I64", None),
        DType::Int32 => ("I32", None),
        DType::Int16 => ("I16", None),
        DType::Int8 => ("I8", None),
        DType::UInt8 => ("U8", None),
        DType::UInt16 => ("U16", None),
        DType::UInt32 => ("U32", None),
        DType::UInt64 => ("U64", None),
        DType::Bool => ("BOOL", None),
        DType::Complex32 => ("F16", Some(2)),
        DType::Complex64 => ("F32", Some(2)),
        DType::Complex128 => ("F64", Some(2)),
        DType::Float8E4M3Fn => ("F8_E4M3", None),
        DType::Float8E5M2 => ("F8_E5M2", None),
    }
}

/// A tensor and where its elements are.
struct Tensor<'s> {
    dtype: DType,
    bytes: &'s [u8],
    shape: &'s [i64],
    strides: Vec<i64>,
    offset: i64,
}

impl<'s> Tensor<'s> {
    fn whole(data: &'s TensorData) -> Self {
        let (shape, strides) = (data.shape.as_slice(), TensorData::row_major(&data.shape));
        Self { dtype: data.dtype, bytes: &data.bytes, shape, strides, offset: 0 }
    }
}

struct Telling<'s> {
    heap: &'s Heap,
    /// The JSON so far.
    text: String,
    tensors: Vec<(String, Tensor<'s>)>,
    /// Names of tensors.
    taken: HashSet<String>,
    variable: &'s str,
}

impl<'s> Telling<'s> {
    fn variables(&mut self, names: &'s [(String, Ref)]) -> Result<(), TellError> {
        self.text.push('{');
        for (number, (name, value)) in names.iter().enumerate() {
            self.variable = name;
            self.comma(number);
            self.quote(name);
            self.text.push(':');
            self.value(*value, name, 0)?;
        }
        self.text.push('}');
        Ok(())
    }

    /// Writes a value, and all that is in it. `path` is the way to it.
    fn value(&mut self, at: Ref, path: &str, depth: u32) -> Result<(), TellError> {
        if depth > DEPTH {
            return Err(TellError::Deep { name: self.variable.into(), depth: DEPTH });
        }
        // Looked at with each, for a value may be met again and again.
        if self.text.len() + path.len() > TEXT {
            return Err(TellError::Long { limit: TEXT });
        }
        let Some(datum) = self.heap.get(at) else { return Err(self.unknown("a value that is missing")) };
        match datum {
            Datum::None => self.text.push_str("null"),
            Datum::Bool(value) => self.json(&json!(value)),
            Datum::Int(value) => self.integer(value),
            Datum::Float(value) => self.float(*value),
            Datum::Str(text) => self.quote(text),
            Datum::List(items) => self.items(items, path, depth)?,
            Datum::Dict(pairs) if self.plain(pairs) => self.members(pairs, path, depth)?,
            Datum::Dict(pairs) => self.marked("dict", |it| it.pairs(pairs, path, depth))?,
            Datum::Tuple(items) => self.marked("tuple", |it| it.items(items, path, depth))?,
            Datum::Set(items) => self.marked("set", |it| it.items(items, path, depth))?,
            Datum::FrozenSet(items) => self.marked("frozenset", |it| it.items(items, path, depth))?,
            Datum::Tensor(_) | Datum::View { .. } => self.tensor("tensor", at, path)?,
            Datum::Parameter { tensor, .. } => self.tensor("parameter", *tensor, path)?,
            Datum::Array { scalar: false, .. } => self.tensor("array", at, path)?,
            Datum::Array { scalar: true, .. } => self.tensor("scalar", at, path)?,
            Datum::Complex(real, imaginary) => self.marked("complex", |it| {
                it.text.push('[');
                it.float(*real);
                it.text.push(',');
                it.float(*imaginary);
                it.text.push(']');
                Ok(())
            })?,
            Datum::Bytes(bytes) => {
                if bytes.len() > TEXT / 2 {
                    return Err(TellError::Long { limit: TEXT });
                }
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                self.json(&json!({ "$bytes": digits }));
            }
            Datum::Range { start, stop, step } => self.marked("range", |it| {
                for (number, part) in [start, stop, step].into_iter().enumerate() {
                    it.text.push(if number == 0 { '[' } else { ',' });
                    it.integer(part);
                }
                it.text.push(']');
                Ok(())
            })?,
            Datum::Slice { start, stop, step } => {
                self.marked("slice", |it| it.items(&[*start, *stop, *step], path, depth))?;
            }
            Datum::Size(sizes) => self.json(&json!({ "$size": sizes })),
            Datum::DType(dtype) => self.json(&json!({ "$dtype": dtype.name() })),
            Datum::Device(name) => self.json(&json!({ "$device": name })),
            Datum::Ellipsis => self.json(&json!({ "$global": "builtins.Ellipsis" })),
            Datum::NotImplemented => self.json(&json!({ "$global": "builtins.NotImplemented" })),
            Datum::Global { module, name } => self.json(&json!({ "$global": format!("{module}.{name}") })),
            Datum::Object { class, args, state, items, pairs, .. } => {
                let Some(Datum::Global { module, name }) = self.heap.get(*class) else {
                    return Err(self.unknown("an object of a class that is unknown"));
                };
                let class = format!("{module}.{name}");
                self.marked("object", |it| {
                    it.text.push_str("{\"class\":");
                    it.quote(&class);
                    for (part, values) in [("args", args), ("items", items)] {
                        if !values.is_empty() {
                            it.part(part);
                            it.items(values, path, depth)?;
                        }
                    }
                    if !pairs.is_empty() {
                        it.part("pairs");
                        it.pairs(pairs, path, depth)?;
                    }
                    if let Some(state) = state {
                        it.part("state");
                        it.value(*state, path, depth + 1)?;
                    }
                    it.text.push('}');
                    Ok(())
                })?;
            }
            _ => return Err(self.unknown("a value that is not sent")),
        }
        Ok(())
    }

    /// Writes `{"$kind": …}`.
    fn marked(&mut self, kind: &str, inner: impl FnOnce(&mut Self) -> Result<(), TellError>) -> Result<(), TellError> {
        self.text.push_str("{\"$");
        self.text.push_str(kind);
        self.text.push_str("\":");
        inner(self)?;
        self.text.push('}');
        Ok(())
    }

    fn items(&mut self, items: &[Ref], path: &str, depth: u32) -> Result<(), TellError> {
        self.text.push('[');
        for (number, item) in items.iter().enumerate() {
            self.comma(number);
            self.value(*item, &format!("{path}.{number}"), depth + 1)?;
        }
        self.text.push(']');
        Ok(())
    }

    /// Says whether keys are text that JSON can have as it is.
    fn plain(&self, pairs: &[(Ref, Ref)]) -> bool {
        pairs.iter().all(|(key, _)| matches!(self.heap.get(*key), Some(Datum::Str(text)) if !text.starts_with('$')))
    }

    fn members(&mut self, pairs: &[(Ref, Ref)], path: &str, depth: u32) -> Result<(), TellError> {
        self.text.push('{');
        for (number, (key, value)) in pairs.iter().enumerate() {
            let Some(Datum::Str(key)) = self.heap.get(*key) else { continue };
            self.comma(number);
            self.quote(key);
            self.text.push(':');
            self.value(*value, &format!("{path}.{key}"), depth + 1)?;
        }
        self.text.push('}');
        Ok(())
    }

    fn pairs(&mut self, pairs: &[(Ref, Ref)], path: &str, depth: u32) -> Result<(), TellError> {
        self.text.push('[');
        for (number, (key, value)) in pairs.iter().enumerate() {
            self.comma(number);
            let below = match self.heap.get(*key) {
                Some(Datum::Str(key)) => format!("{path}.{key}"),
                Some(Datum::Int(key)) => format!("{path}.{key}"),
                _ => format!("{path}.{number}"),
            };
            self.text.push('[');
            self.value(*key, &below, depth + 1)?;
            self.text.push(',');
            self.value(*value, &below, depth + 1)?;
            self.text.push(']');
        }
        self.text.push(']');
        Ok(())
    }

    /// Enters a tensor under a name of its own, and writes that.
    fn tensor(&mut self, kind: &str, at: Ref, path: &str) -> Result<(), TellError> {
        let heap = self.heap;
        let tensor = match heap.get(at) {
            Some(Datum::Tensor(data) | Datum::Array { data, .. }) => Tensor::whole(data),
            Some(Datum::View { storage, shape, strides, offset, .. }) => {
                let Some(Datum::Storage(data)) = heap.get(*storage) else {
                    return Err(self.unknown("a tensor that looks into nothing"));
                };
                Tensor { shape, strides: strides.clone(), offset: *offset, ..Tensor::whole(data) }
            }
            _ => return Err(self.unknown("a tensor that is none")),
        };
        let mut name = path.to_owned();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{path}~{number}");
            number += 1;
        }
        let (_, parts) = element(tensor.dtype);
        let mut told = json!({ (format!("${kind}")): name });
        if parts.is_some() {
            told["dtype"] = tensor.dtype.name().into();
        }
        self.json(&told);
        self.tensors.push((name, tensor));
        Ok(())
    }

    fn integer(&mut self, value: &BigInt) {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(small), _) => self.json(&json!(small)),
            (_, Ok(small)) => self.json(&json!(small)),
            _ => self.json(&json!({ "$int": value.to_string() })),
        }
    }

    fn float(&mut self, value: f64) {
        if value.is_finite() {
            self.json(&json!(value));
        } else {
            self.json(&json!({ "$float": if value.is_nan() { "nan" } else if value > 0.0 { "inf" } else { "-inf" } }));
        }
    }

    fn json(&mut self, value: &Value) {
        self.text.push_str(&value.to_string());
    }

    fn quote(&mut self, text: &str) {
        self.json(&json!(text));
    }

    fn part(&mut self, name: &str) {
        self.text.push(',');
        self.quote(name);
        self.text.push(':');
    }

    fn comma(&mut self, number: usize) {
        if number > 0 {
            self.text.push(',');
        }
    }

    fn unknown(&self, what: &str) -> TellError {
        TellError::Unknown { name: self.variable.into(), what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(saved: &Saved) -> Result<(Value, Value, Vec<u8>), TellError> {
        let mut bytes = Vec::new();
        write_safetensors(saved, 1 << 20, &mut bytes)?;
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(length % ALIGNMENT, 0);
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let values = serde_json::from_str(header[METADATA]["values"].as_str().unwrap()).unwrap();
        Ok((header, values, bytes[8 + length..].to_vec()))
    }

    fn data(dtype: DType, shape: &[i64], bytes: &[u8]) -> TensorData {
        TensorData { dtype, shape: shape.to_vec(), bytes: bytes.to_vec().into(), requires_grad: false }
    }

    #[test]
    fn tensors_have_the_way_to_them_for_a_name_and_the_rest_is_json() {
        let mut heap = Heap::default();
        let byte = heap.push(Datum::Tensor(data(DType::UInt8, &[3], &[1, 2, 3])));
        let wide = heap.push(Datum::Array { data: data(DType::Int64, &[], &7_i64.to_le_bytes()), scalar: true });
        let storage = heap.push(Datum::Storage(data(DType::Int16, &[6], &[0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0])));
        let (shape, strides) = (vec![3, 2], vec![1, 3]);
        let turned = heap.push(Datum::View { storage, shape, strides, offset: 0, requires_grad: false });
        let complex = heap.push(Datum::Tensor(data(DType::Complex64, &[1], &[9; 8])));
        let (one, nan, text) =
            (heap.push(Datum::Int(1.into())), heap.push(Datum::Float(f64::NAN)), heap.push(Datum::Str("a.0".into())));
        let key = heap.push(Datum::Str("a".into()));
        let list = heap.push(Datum::List(vec![wide, one, nan]));
        let clash = heap.push(Datum::Dict(vec![(key, list), (text, byte)]));
        let odd = heap.push(Datum::Dict(vec![(one, byte), (list, text)]));
        let tuple = heap.push(Datum::Tuple(vec![complex, text]));
        let big = heap.push(Datum::Int(BigInt::from(10).pow(30)));
        let names = [("t", turned), ("d", clash), ("o", odd), ("p", tuple), ("b", big), (METADATA, byte)];
        let saved = Saved { heap, names: names.map(|(name, at)| (name.to_owned(), at)).to_vec() };
        let (header, values, bytes) = told(&saved).unwrap();
        let expected = json!({
            "t": { "$tensor": "t" },
            "d": { "a": [{ "$scalar": "d.a.0" }, 1, { "$float": "nan" }], "a.0": { "$tensor": "d.a.0~2" } },
            "o": { "$dict": [
                [1, { "$tensor": "o.1" }],
                [[{ "$scalar": "o.1.0" }, 1, { "$float": "nan" }], "a.0"],
            ] },
            "p": { "$tuple": [{ "$tensor": "p.0", "dtype": "complex64" }, "a.0"] },
            "b": { "$int": "1000000000000000000000000000000" },
            METADATA: { "$tensor": "__metadata__~2" },
        });
        assert_eq!(values, expected);
        let part = |name: &str| {
            let at = |side: usize| header[name]["data_offsets"][side].as_u64().unwrap() as usize;
            &bytes[at(0)..at(1)]
        };
        assert_eq!((part("d.a.0"), part("d.a.0~2")), (7_i64.to_le_bytes().as_slice(), [1, 2, 3].as_slice()));
        assert_eq!(part("t"), [0, 0, 3, 0, 1, 0, 4, 0, 2, 0, 5, 0]);
        assert_eq!((&header["t"]["shape"], &header["t"]["dtype"]), (&json!([3, 2]), &json!("I16")));
        assert_eq!((&header["p.0"]["shape"], &header["p.0"]["dtype"]), (&json!([1, 2]), &json!("F32")));
        for (name, tensor) in header.as_object().unwrap().iter().filter(|(name, _)| *name != METADATA) {
            let size = match tensor["dtype"].as_str().unwrap() {
                "I64" => 8,
                "F32" => 4,
                "I16" => 2,
                _ => 1,
            };
            assert_eq!(tensor["data_offsets"][0].as_u64().unwrap() % size, 0, "{name}");
        }
    }

    #[test]
    fn what_has_no_end_or_would_be_too_much_is_refused_by_name() {
        let mut heap = Heap::default();
        let circle = heap.push(Datum::None);
        heap.set(circle, Datum::List(vec![circle]));
        let mut doubled = heap.push(Datum::None);
        for _ in 0..40 {
            doubled = heap.push(Datum::List(vec![doubled, doubled]));
        }
        let storage = heap.push(Datum::Storage(data(DType::UInt8, &[1], &[1])));
        let (shape, strides) = (vec![1 << 30], vec![0]);
        let spread = heap.push(Datum::View { storage, shape, strides, offset: 0, requires_grad: false });
        for (at, words) in
            [(circle, "`x` nests deeper than 64"), (doubled, "more than 16777216 bytes"), (spread, "1048576 bytes")]
        {
            let saved = Saved { heap: heap.clone(), names: vec![("x".into(), at)] };
            let refused = told(&saved).unwrap_err().to_string();
            assert!(refused.contains(words) && refused.contains("client's own form"), "{refused}");
        }
    }
}
