//! A checkpoint's tensors: `model.safetensors`, or several such files under an index.
//!
//! Read, not mapped: a file that shrinks under a mapping kills the process, and nothing is kept in the form it has
//! on disk anyway.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};

use crate::config::read_object;
use crate::error::LoadError;

/// Largest header that is read: a model of 100,000 tensors needs a tenth.
const HEADER_BYTES: u64 = 100 << 20;

/// Bytes that are read at a time: whole numbers of every type.
const BUFFER_BYTES: usize = 4 << 20;

/// Ends of the names of buffers that older files carry: GPT-2's causal masks, and the frequencies of rotary positions.
/// They follow from the configuration.
const BUFFERS: [&str; 6] = [
    ".attn.bias",
    ".attn.masked_bias",
    ".rotary_emb.inv_freq",
    ".attention.bias",
    ".attention.masked_bias",
    ".attn.embed_positions",
];

/// Finds and reads tensors by name.
pub struct Weights {
    buffer: Vec<u8>,
    files: Vec<(PathBuf, File)>,
    entries: HashMap<String, Entry>,
    /// What is blamed for a tensor that no file has.
    root: PathBuf,
    kind: Kind,
    device: Device,
    left_out: String,
    read: HashSet<String>,
    read_bytes: u64,
    total_bytes: u64,
}

/// Where a tensor lies.
struct Entry {
    file: usize,
    /// The element type as the file has it, and as PyTorch does.
    name: &'static str,
    kind: Kind,
    shape: Vec<i64>,
    start: u64,
    bytes: usize,
}

impl Weights {
    /// Opens a model folder's weight files and reads their headers. Tensors are given as `kind`, on a device.
    ///
    /// # Errors
    /// When a file is missing, truncated or corrupt, or a tensor has a type that no model here computes with.
    pub fn open(folder: &Path, kind: Kind, device: torch::Device) -> Result<Self, LoadError> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        let (paths, root) = if single.is_file() {
            (vec![single.clone()], single)
        } else if index.is_file() {
            (shards(folder, &index)?, index)
        } else {
            return Err(LoadError::NoWeights(folder.to_path_buf()));
        };
        let mut weights = Self {
            buffer: Vec::new(),
            files: Vec::new(),
            entries: HashMap::new(),
            root,
            kind,
            device: device.into(),
            left_out: String::new(),
            read: HashSet::new(),
            read_bytes: 0,
            total_bytes: 0,
        };
        for path in paths {
            let mut file = File::open(&path).map_err(LoadError::io(&path))?;
            let at = weights.files.len();
            for (name, entry) in header(&path, &mut file, at)? {
                weights.total_bytes += entry.bytes as u64;
                if weights.entries.insert(name.clone(), entry).is_some() {
                    return Err(LoadError::tensor(&path, &name, "another file has it too"));
                }
            }
            weights.files.push((path, file));
        }
        Ok(weights)
    }

    /// Leaves a prefix out of the names asked for, unless a tensor's name begins with it.
    pub fn strip_unless_present(&mut self, prefix: &str) {
        let present = self.entries.keys().any(|name| name.starts_with(prefix));
        self.left_out = if present { "" } else { prefix }.into();
    }

    /// Returns the bytes on disk read so far, and those of all tensors.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.read_bytes, self.total_bytes)
    }

    /// Returns whether there is a tensor.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name.strip_prefix(self.left_out.as_str()).unwrap_or(name))
    }

    /// Returns the names and shapes of all tensors.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<i64>)> {
        self.entries.iter().map(|(name, entry)| (name.clone(), entry.shape.clone())).collect()
    }

    /// Checks that everything that the files have was read, but for what says nothing about the model.
    ///
    /// # Errors
    /// [`LoadError::NotServed`] naming a tensor that would be left out, as scales of quantized weights or adapters are.
    pub fn finish(&self, tied_head: bool) -> Result<(), LoadError> {
        let mut unread: Vec<&String> = self.entries.keys().filter(|name| !self.read.contains(*name)).collect();
        unread.retain(|name| {
            let buffer = BUFFERS.iter().any(|buffer| name.ends_with(buffer));
            !(buffer || tied_head && ["lm_head.weight", "embed_out.weight"].iter().any(|head| name.ends_with(head)))
        });
        unread.sort_unstable();
        let Some(first) = unread.first() else { return Ok(()) };
        let file = self.entries.get(*first).and_then(|entry| self.files.get(entry.file));
        let file = file.map_or(&self.root, |(path, _)| path).clone();
        let reason = format!(
            "is not a part of this model as it is served{}: without it, other numbers would come out",
            match unread.len() {
                1 => String::new(),
                more => format!(", nor are {} others", more - 1),
            }
        );
        Err(LoadError::NotServed { file, tensor: (*first).clone(), reason })
    }

    /// Reads a tensor, which must have this shape.
    ///
    /// # Errors
    /// When it is missing, has another shape, or its file ends before it does.
    pub fn read(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, LoadError> {
        let name = name.strip_prefix(self.left_out.as_str()).unwrap_or(name);
        let Some(entry) = self.entries.get(name) else {
            return Err(LoadError::Missing { file: self.root.clone(), tensor: name.into() });
        };
        let Some((path, file)) = self.files.get_mut(entry.file) else {
            return Err(LoadError::Missing { file: self.root.clone(), tensor: name.into() });
        };
        if !matches!(entry.kind, Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double) {
            let reason = format!(
                "is {}, but a weight has to be F32, BF16 or F16: quantized checkpoints are not served",
                entry.name
            );
            return Err(LoadError::NotServed { file: path.clone(), tensor: name.into(), reason });
        }
        if entry.shape != shape {
            let (file, tensor) = (path.clone(), name.to_owned());
            return Err(LoadError::Shape { file, tensor, found: entry.shape.clone(), expected: shape.to_vec() });
        }
        file.seek(SeekFrom::Start(entry.start)).map_err(LoadError::io(path))?;
        self.buffer.resize(BUFFER_BYTES, 0);
        // Piece by piece, while each is in the processor's caches: a tensor as it is on disk never lies in memory as a whole.
        let count: i64 = shape.iter().product();
        let tensor = Tensor::f_empty([count], (self.kind, self.device))?;
        let (mut rest, mut at) = (entry.bytes, 0);
        while rest > 0 {
            let length = rest.min(BUFFER_BYTES);
            let piece = self.buffer.get_mut(..length).unwrap_or_default();
            file.read_exact(piece).map_err(|error| LoadError::tensor(path, name, error.to_string()))?;
            let numbers = i64::try_from(length / entry.kind.elt_size_in_bytes().max(1)).unwrap_or(0);
            let piece = Tensor::f_from_data_size(piece, &[numbers], entry.kind)?;
            tensor.f_narrow(0, at, numbers)?.f_copy_(&piece)?;
            (rest, at) = (rest - length, at + numbers);
        }
        self.read_bytes += entry.bytes as u64;
        self.read.insert(name.to_owned());
        Ok(tensor.f_view(shape)?)
    }
}

/// Lists the files that an index names, each once.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let wrong = |reason: &str| LoadError::Json { file: index.to_path_buf(), reason: reason.into() };
    let object = read_object(index)?;
    let map = object.get("weight_map").and_then(Value::as_object).ok_or_else(|| wrong("has no weight_map"))?;
    let mut names: Vec<&str> = map.values().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let plain = Path::new(name).file_name().is_some_and(|file| file == name);
            if plain { Ok(folder.join(name)) } else { Err(wrong("names a file outside its folder")) }
        })
        .collect()
}

/// Reads where a file's tensors lie, and checks that all of them lie inside it.
fn header(path: &Path, file: &mut File, index: usize) -> Result<Vec<(String, Entry)>, LoadError> {
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
        // Nothing reads these: older GPT-2 files carry their causal masks as buffers.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Makes a safetensors file from a header and data.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn open(bytes: &[u8]) -> Result<Weights, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        Weights::open(folder.path(), Kind::Float, torch::Device::CPU)
    }

    const TWO: &str = r#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}}"#;

    #[test]
    fn tensors_are_read_in_the_wanted_type() {
        let mut weights = open(&file(TWO, &[0x80, 0x3f, 0x00, 0xc0])).unwrap();
        let tensor = weights.read("a", &[2]).unwrap();
        assert_eq!(Vec::<f32>::try_from(tensor).unwrap(), [1.0, -2.0]);
        assert_eq!(weights.progress(), (4, 4));
    }

    #[test]
    fn a_tensor_of_many_pieces_is_read_in_order_and_converted() {
        let count = 2 * BUFFER_BYTES / 2 + 3;
        let header = format!(
            r#"{{"a":{{"dtype":"BF16","shape":[1,{count}],"data_offsets":[0,{}]}},"b":{{"dtype":"F32","shape":[],"data_offsets":[{0},{}]}}}}"#,
            2 * count,
            2 * count + 4
        );
        // Whole numbers below 256, which bfloat16 has exactly.
        let number = |at: usize| (at * 7 % 251) as f32;
        let mut data: Vec<u8> =
            (0..count).flat_map(|at| (number(at).to_bits() >> 16).to_le_bytes()[..2].to_vec()).collect();
        data.extend(2.5_f32.to_le_bytes());
        let mut weights = open(&file(&header, &data)).unwrap();
        let tensor = weights.read("a", &[1, i64::try_from(count).unwrap()]).unwrap();
        let found = Vec::<f32>::try_from(tensor.view([-1])).unwrap();
        assert!(found.iter().enumerate().all(|(at, found)| *found == number(at)));
        assert_eq!(Vec::<f32>::try_from(weights.read("b", &[]).unwrap().view([-1])).unwrap(), [2.5]);
        assert_eq!(weights.progress(), (2 * count as u64 + 4, 2 * count as u64 + 4));
    }

    #[test]
    fn damage_is_named_with_file_and_tensor() {
        let check = |bytes: &[u8], expected: &str| {
            let error = open(bytes).err().unwrap().to_string();
            assert!(error.contains("model.safetensors") && error.contains(expected), "{error}");
        };
        check(b"", "too short");
        check(&[0xff; 32], "longer than the file");
        check(&file("{]", &[]), "no JSON");
        check(&file(TWO, &[0, 0]), "tensor a: the file is truncated");
        check(&file(r#"{"a":{"dtype":"BF16","shape":[3],"data_offsets":[0,4]}}"#, &[0; 4]), "do not fit its shape");
        check(&file(r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,4]}}"#, &[0; 4]), "dtype F4 is not supported");
        let huge = r#"{"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,4]}}"#;
        check(&file(huge, &[0; 4]), "too large");
    }

    #[test]
    fn a_tensor_of_another_shape_or_none_is_an_error() {
        let mut weights = open(&file(TWO, &[0; 4])).unwrap();
        let error = weights.read("a", &[3]).unwrap_err().to_string();
        assert!(error.contains("tensor a has shape [2], but config.json asks for [3]"), "{error}");
        let error = weights.read("b", &[3]).unwrap_err().to_string();
        assert!(error.ends_with("model.safetensors has no tensor b"), "{error}");
    }

    #[test]
    fn what_would_be_left_out_or_misread_is_refused() {
        let tensor = |name: &str, dtype: &str, at: u64| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":[2],"data_offsets":[{at},{}]}}"#, at + 2)
        };
        let (quantized, scale) = (tensor("q.weight", "I8", 0), tensor("q.weight_scale", "U8", 2));
        let masks = tensor("h.0.attn.bias", "BOOL", 4);
        let mut weights = open(&file(&format!("{{{quantized},{scale},{masks}}}"), &[0; 6])).unwrap();
        let error = weights.read("q.weight", &[2]).unwrap_err().to_string();
        assert!(error.contains("tensor q.weight is I8, but a weight has to be F32, BF16 or F16"), "{error}");
        let error = weights.finish(false).unwrap_err().to_string();
        assert!(
            error.contains("tensor q.weight is not a part of this model as it is served, nor are 1 others"),
            "{error}"
        );
        assert!(open(&file(&format!("{{{masks}}}"), &[0; 6])).unwrap().finish(false).is_ok());
        let head = tensor("lm_head.weight", "U8", 0);
        let weights = open(&file(&format!("{{{head}}}"), &[0; 6])).unwrap();
        assert!(weights.finish(true).is_ok() && weights.finish(false).is_err());
    }

    #[test]
    fn an_index_names_its_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one.safetensors"), file(TWO, &[0; 4])).unwrap();
        let index = folder.path().join("model.safetensors.index.json");
        fs::write(&index, r#"{"weight_map": {"a": "one.safetensors"}}"#).unwrap();
        assert!(Weights::open(folder.path(), Kind::Float, torch::Device::CPU).unwrap().read("a", &[2]).is_ok());
        fs::write(&index, r#"{"weight_map": {"a": "../one.safetensors"}}"#).unwrap();
        assert!(Weights::open(folder.path(), Kind::Float, torch::Device::CPU).is_err());
        fs::write(&index, r#"{"weight_map": {"a": "two.safetensors"}}"#).unwrap();
        assert!(
            Weights::open(folder.path(), Kind::Float, torch::Device::CPU)
                .err()
                .unwrap()
                .to_string()
                .contains("two.safetensors")
        );
    }
}
