//! Reads a checkpoint's tensors.
//!
//! Read, not mapped: a file that shrinks under a mapping kills the process, and nothing is kept in the form it has
//! on disk anyway.

use std::borrow::Cow;
use std::collections::HashSet;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::Path;

use kernels::{Coded, Scheme};
use rustix::fs::{Advice, fadvise};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{Checkpoint, Found};
use crate::dtype::Precision;
use crate::error::LoadError;
use crate::family::Root;
use crate::matrix::Block;
use crate::quantization::Stored;
use crate::reading::{self, Place};
use crate::shelf::{self, Keeping};

/// Bytes behind a tensor that the system is asked to read while it is looked after.
const AHEAD: u64 = 256 << 20;

/// Numbers that may have been read and be gone before what they took is given back.
const GONE: u64 = 4 << 20;

/// A part of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Which of the tensors that lie in it one after another, if it is not the whole.
    pub index: Option<i64>,
    /// A dimension of what is meant, and which of its places.
    pub dim: usize,
    pub range: Range<i64>,
}

/// Reads tensors by name.
pub struct Weights {
    checkpoint: Checkpoint,
    /// Where they may be in memory, and are kept.
    keeping: Option<Keeping>,
    kind: Kind,
    device: Device,
    /// What becomes of the matrices of layers, and how the files have them.
    scheme: Option<Scheme>,
    stored: Option<Stored>,
    read: HashSet<String>,
    /// What `progress` has, by name and index: some tensors are read in pieces.
    counted: HashSet<(String, Option<i64>)>,
    gone: u64,
    /// What is read is soon gone.
    passing: bool,
    /// Bytes on disk read so far, and those of all tensors.
    progress: (u64, u64),
}

impl Weights {
    /// Opens a model folder's weight files. Tensors are given as `kind`, on a device.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open(folder: &Path, kind: Kind, device: torch::Device) -> Result<Self, LoadError> {
        let checkpoint = Checkpoint::open(folder)?;
        let progress = (0, checkpoint.bytes());
        let (scheme, stored) = (None, None);
        Ok(Self {
            checkpoint,
            keeping: None,
            kind,
            device: device.into(),
            scheme,
            stored,
            read: HashSet::new(),
            counted: HashSet::new(),
            gone: 0,
            passing: false,
            progress,
        })
    }

    /// The same of a model that is kept as it is asked to be.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_as(folder: &Path, precision: Precision, device: torch::Device) -> Result<Self, LoadError> {
        let weights = Self::open(folder, precision.kind(), device)?;
        Ok(Self { scheme: precision.scheme(), stored: precision.stored, ..weights })
    }

    /// Returns how the matrices of layers are to be brought into few bits, if they are.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// Whether matrices are kept in few bits, some at least.
    #[must_use]
    pub fn in_few_bits(&self) -> bool {
        self.scheme.is_some() || self.stored.is_some()
    }

    /// Returns the type that tensors are given as.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// Reads rows of a tensor that the files have in few bits; `None` where they do not.
    ///
    /// # Errors
    /// As [`Stored::load`].
    pub fn coded(&mut self, block: &Block, rows: &Range<i64>) -> Result<Option<Coded>, LoadError> {
        match self.stored {
            Some(stored) if self.is_coded(block) => stored.load(self, block, rows, self.kind).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns whether the files have a tensor in few bits.
    #[must_use]
    pub fn is_coded(&self, block: &Block) -> bool {
        self.stored.is_some_and(|stored| !stored.parts(&self.checkpoint, &block.name).is_empty())
    }

    /// Leaves a tensor, and what belongs to it, to another rank.
    pub fn leave(&mut self, block: &Block) {
        let parts = self.stored.map(|stored| stored.parts(&self.checkpoint, &block.name)).unwrap_or_default();
        for name in parts.iter().chain([&block.name]) {
            let name = self.own_name(name).into_owned();
            self.read.insert(name);
        }
    }

    /// Takes note of numbers that were read and are gone again: what lay between what stays is given back to the system now and
    /// then, or it would add up to more than that.
    pub fn tidy(&mut self, numbers: i64) {
        self.gone += numbers.unsigned_abs();
        if self.gone >= GONE {
            self.gone = 0;
            libtorch::cuda::release_memory(false);
        }
    }

    /// Makes the error for a tensor that cannot be used.
    #[must_use]
    pub fn refused(&self, name: &str, reason: impl Into<String>) -> LoadError {
        let tensor = self.own_name(name).into_owned();
        match self.checkpoint.any(name) {
            Ok(found) => LoadError::NotServed { file: found.path.to_path_buf(), tensor, reason: reason.into() },
            Err(missing) => missing,
        }
    }

    /// Returns the type that a tensor has in its file.
    #[must_use]
    pub fn kind_of(&self, name: &str) -> Option<Kind> {
        self.checkpoint.any(name).ok().map(|found| found.entry.kind)
    }

    /// Reads a whole tensor as its file has it; one of float8 as bytes.
    ///
    /// # Errors
    /// When it is missing, or its file ends before it does.
    pub fn raw(&mut self, name: &str) -> Result<Tensor, LoadError> {
        let Found { entry, path, file } = self.checkpoint.any(name)?;
        let name = self.checkpoint.own_name(name).into_owned();
        let kind = if entry.kind == Kind::Float8e4m3fn { Kind::Uint8 } else { entry.kind };
        let place = Place { start: entry.start, run: entry.bytes, stride: 0 };
        let fill = |memory: &mut [u8]| {
            let read = reading::read(file, place, (kind, kind), memory);
            read.map_err(|error| LoadError::tensor(path, &name, error.to_string()))
        };
        let tensor = libtorch::filled(&entry.shape, kind, fill)?;
        let bytes = entry.bytes as u64;
        if self.read.insert(name) {
            self.progress.0 += bytes;
        }
        Ok(tensor.f_to_device(self.device)?)
    }

    /// Returns what the files are now: equal ones give the same numbers.
    pub(crate) fn source(&self) -> Option<shelf::Source> {
        shelf::Source::of(self.kind, self.checkpoint.files())
    }

    /// Takes what is kept in memory from there, and has what is read be kept.
    pub fn keep(&mut self, mut keeping: Keeping) {
        keeping.begin(self.kind, self.checkpoint.files());
        self.keeping = Some(keeping);
    }

    /// Returns whether all that was asked for was in memory, so that no number was read.
    #[must_use]
    pub fn were_kept(&self) -> bool {
        self.keeping.as_ref().is_some_and(Keeping::was_warm)
    }

    /// As [`Checkpoint::adapt`].
    pub fn adapt(&mut self, root: &Root) {
        self.checkpoint.adapt(root);
    }

    /// Says whether what is read from now on is made into something else and gone, so that its memory can serve for the next. What
    /// is to be kept as it was read never is.
    pub fn pass_on(&mut self, passing: bool) {
        self.passing = passing && self.keeping.is_none();
    }

    /// Returns the bytes on disk read so far, and those of all tensors.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        self.progress
    }

    /// Returns the names and shapes of all tensors.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<i64>)> {
        self.checkpoint.shapes().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect()
    }

    /// Checks that everything that the files have was read, but for what says nothing about the model.
    ///
    /// # Errors
    /// [`LoadError::NotServed`] naming a tensor that would be left out.
    pub fn finish(&mut self, tied_head: bool) -> Result<(), LoadError> {
        let unread = self.checkpoint.unread(|name| self.read.contains(name), tied_head);
        let Some((first, file)) = unread.first() else {
            if let Some(keeping) = &mut self.keeping {
                keeping.end();
            }
            return Ok(());
        };
        Err(LoadError::unread(file, first, unread.len() - 1))
    }

    /// Returns whether there is a tensor.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.checkpoint.has(name)
    }

    /// Reads a tensor, which must have this shape.
    ///
    /// # Errors
    /// When it is missing, has another shape, or its file ends before it does.
    pub fn read(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, LoadError> {
        let range = 0..shape.first().copied().unwrap_or(1);
        self.read_slice(name, shape, &Slice { index: None, dim: 0, range })
    }

    /// Reads a part of a tensor, which must have this shape, and nothing else of it.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn read_slice(&mut self, name: &str, shape: &[i64], slice: &Slice) -> Result<Tensor, LoadError> {
        let Found { entry, path, file } = self.checkpoint.find(name, shape)?;
        let name = &*self.checkpoint.own_name(name);
        let own = match slice.index {
            Some(_) => shape.get(1..).unwrap_or_default(),
            None => shape,
        };
        let bytes = |numbers: &[i64]| {
            numbers.iter().map(|size| size.unsigned_abs()).product::<u64>() * entry.kind.elt_size_in_bytes() as u64
        };
        let outside = || LoadError::tensor(path, name, format!("it has no part {slice:?}"));
        let key = (name.to_owned(), Some(slice.clone()));
        let inner = bytes(own.get(slice.dim + 1..).unwrap_or_default());
        let length = own.get(slice.dim).copied().unwrap_or(1);
        let many = 0..shape.first().copied().unwrap_or(0);
        let sound = 0 <= slice.range.start && slice.range.start <= slice.range.end && slice.range.end <= length;
        if !sound || slice.index.is_some_and(|index| !many.contains(&index)) {
            return Err(outside());
        }
        let skipped = slice.index.unwrap_or(0).unsigned_abs() * bytes(own);
        let count = slice.range.end - slice.range.start;
        let place = Place {
            start: entry.start + skipped + slice.range.start.unsigned_abs() * inner,
            run: usize::try_from(count.unsigned_abs() * inner).map_err(|_| outside())?,
            stride: length.unsigned_abs() * inner,
        };
        let mut size = own.to_vec();
        if let Some(cut) = size.get_mut(slice.dim) {
            *cut = count;
        }
        let fill = |memory: &mut [u8]| {
            let read = reading::read(file, place, (entry.kind, self.kind), memory);
            read.map_err(|error| LoadError::tensor(path, name, error.to_string()))
        };
        if let Some(kept) = self.keeping.as_mut().and_then(|keeping| keeping.find(&key)) {
            self.progress.0 += bytes(own);
            self.read.insert(key.0);
            return Ok(kept.f_to_device(self.device)?);
        }
        let tensor = {
            let _passing = self.passing.then(libtorch::passing);
            libtorch::filled(&size, self.kind, fill)?
        };
        if let Some(keeping) = &mut self.keeping {
            keeping.note(key, &tensor);
        }
        let end = entry.start + skipped + bytes(own);
        // Whatever comes of it, reading goes on without.
        let _ = fadvise(file, end, NonZeroU64::new(AHEAD), Advice::WillNeed);
        // What this rank leaves out, another one reads.
        if self.counted.insert((name.to_owned(), slice.index)) {
            self.progress.0 += bytes(own);
        }
        self.read.insert(name.to_owned());
        Ok(tensor.f_to_device(self.device)?)
    }

    /// Returns a tensor's name as the files have it.
    #[must_use]
    pub fn own_name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        self.checkpoint.own_name(name)
    }
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
        let count = (1 << 20) + 3;
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
        let mut weights = open(&file(&format!("{{{head}}}"), &[0; 6])).unwrap();
        assert!(weights.finish(true).is_ok() && weights.finish(false).is_err());
    }

    #[test]
    fn what_is_kept_is_given_without_its_file_being_read_while_that_is_the_same() {
        use crate::shelf::{Keeping, Shelf};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        fs::write(&path, file(TWO, &[0x80, 0x3f, 0x00, 0xc0])).unwrap();
        let load = |shelf: &Shelf, kept: bool, kind: Kind| {
            let mut weights = Weights::open(folder.path(), kind, torch::Device::CPU).unwrap();
            weights.keep(Keeping::new(shelf, "o/n", kept));
            let tensor = weights.read("a", &[2]).unwrap().to_kind(Kind::Float);
            assert_eq!(weights.progress(), (4, 4));
            weights.finish(false).unwrap();
            (Vec::<f32>::try_from(tensor).unwrap(), weights.were_kept())
        };
        let shelf = Shelf::new(8);
        assert_eq!(load(&shelf, false, Kind::Float), (vec![1.0, -2.0], false));
        assert_eq!((shelf.kept(), shelf.taken()), (vec![], 0), "nobody asked for that");
        assert_eq!(load(&shelf, true, Kind::Float), (vec![1.0, -2.0], false));
        assert_eq!((shelf.kept(), shelf.taken()), (vec![("o/n".into(), 8)], 8));
        for kept in [true, false] {
            assert_eq!(load(&shelf, kept, Kind::Float), (vec![1.0, -2.0], true), "kept already");
        }
        // In another type, and of other files, it is other weights.
        assert_eq!(load(&shelf, true, Kind::BFloat16), (vec![1.0, -2.0], false));
        assert_eq!(shelf.kept(), [("o/n".into(), 4)]);
        let new = folder.path().join("new");
        fs::write(&new, file(TWO, &[0x00, 0xc0, 0x80, 0x3f])).unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(load(&shelf, true, Kind::BFloat16), (vec![-2.0, 1.0], false));
        assert_eq!(load(&shelf, true, Kind::BFloat16), (vec![-2.0, 1.0], true));
        shelf.remove("o/n");
        assert_eq!((shelf.kept(), shelf.taken()), (vec![], 0));
        // What does not fit is not kept, nor a part of it.
        let small = Shelf::new(7);
        assert_eq!(load(&small, true, Kind::Float), (vec![-2.0, 1.0], false));
        assert_eq!((small.kept(), small.taken()), (vec![], 0));
        // A load that came to nothing leaves nothing.
        let mut weights = Weights::open(folder.path(), Kind::Float, torch::Device::CPU).unwrap();
        weights.keep(Keeping::new(&shelf, "o/n", true));
        drop(weights.read("a", &[2]).unwrap());
        assert_eq!(shelf.taken(), 8);
        drop(weights);
        assert_eq!((shelf.kept(), shelf.taken()), (vec![], 0));
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
