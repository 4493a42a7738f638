//! Weights that are kept in memory as GPUs take them: what was read of a model's files, in the type that it computes in, so that
//! a model which left its device comes back without a file being read or a number converted.
//!
//! What is kept is what was read, and not what comes back from a device. It is used only while the files are the very ones
//! that it was read from.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tch::{Kind, Tensor};

use crate::weights::Slice;

/// A bounded part of this process's memory, with the weights of models by their names. Clones share it.
#[derive(Clone)]
pub struct Shelf {
    limit: u64,
    shelved: Arc<Mutex<Shelved>>,
}

#[derive(Default)]
struct Shelved {
    /// Bytes of all that is kept, also of what is being read.
    taken: u64,
    models: BTreeMap<String, Kept>,
}

struct Kept {
    source: Source,
    tensors: Tensors,
    bytes: u64,
}

type Tensors = HashMap<(String, Option<Slice>), Tensor>;

/// Where weights were read from: two that are equal give the same numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    kind: Kind,
    files: Vec<(PathBuf, Stamp)>,
}

impl Source {
    /// Returns what some files are now; `None` where the system does not say.
    pub fn of<'a>(kind: Kind, files: impl Iterator<Item = (&'a Path, &'a File)>) -> Option<Self> {
        let stamp = |file: &File| {
            let about = file.metadata().ok()?;
            let (written, changed) = ((about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()));
            Some((about.dev(), about.ino(), about.len(), written, changed))
        };
        let files: Option<Vec<_>> = files.map(|(path, file)| Some((path.to_owned(), stamp(file)?))).collect();
        files.map(|files| Self { kind, files })
    }
}

/// Tells a file's contents from those that it had before: its device, number, length, and when it was last written and last
/// changed in any way.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl Shelf {
    /// Makes one for so many bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit, shelved: Arc::default() }
    }

    /// Returns how many bytes there may be.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns how many bytes are taken, also by what is being read.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// Returns the models whose weights are kept, and what those take in bytes.
    #[must_use]
    pub fn kept(&self) -> Vec<(String, u64)> {
        self.lock().models.iter().map(|(name, kept)| (name.clone(), kept.bytes)).collect()
    }

    /// Keeps a model's weights no longer. Who loads from them at the moment has what it needs.
    pub fn remove(&self, name: &str) {
        let mut shelved = self.lock();
        if let Some(kept) = shelved.models.remove(name) {
            shelved.taken -= kept.bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelved> {
        self.shelved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The weights of one model while it is loaded: taken from the shelf where they are there, and kept for it where they are to
/// be.
pub struct Keeping {
    shelf: Shelf,
    name: String,
    source: Option<Source>,
    /// What was read, for the shelf; `None` where nothing is to be kept, or there is no room for all.
    read: Option<(Tensors, u64)>,
    /// Whether all that was asked for was there.
    warm: bool,
}

impl Keeping {
    /// Begins to load a model of a name. Its weights are put on the shelf if they are to be `kept` and there is room.
    #[must_use]
    pub fn new(shelf: &Shelf, name: &str, kept: bool) -> Self {
        let read = kept.then(|| (HashMap::new(), 0));
        Self { shelf: shelf.clone(), name: name.to_owned(), source: None, read, warm: false }
    }

    /// Returns whether all that was asked for was there.
    pub(crate) fn was_warm(&self) -> bool {
        self.warm
    }

    /// Learns what files are read. What is kept of others, under the same name, is of no use.
    pub(crate) fn begin<'a>(&mut self, kind: Kind, files: impl Iterator<Item = (&'a Path, &'a File)>) {
        self.source = Source::of(kind, files);
        let same = self.shelf.lock().models.get(&self.name).map(|kept| Some(&kept.source) == self.source.as_ref());
        if same == Some(false) {
            self.shelf.remove(&self.name);
        }
        self.warm = same == Some(true);
        if self.warm || self.source.is_none() {
            self.read = None;
        }
    }

    /// Returns a tensor, or a part of one, that is kept.
    pub(crate) fn find(&mut self, key: &(String, Option<Slice>)) -> Option<Tensor> {
        let shelved = self.shelf.lock();
        let kept = shelved.models.get(&self.name).filter(|kept| Some(&kept.source) == self.source.as_ref());
        let found = kept.and_then(|kept| kept.tensors.get(key)).map(Tensor::shallow_clone);
        drop(shelved);
        self.warm &= found.is_some();
        found
    }

    /// Notes what was read, in this process's memory.
    pub(crate) fn note(&mut self, key: (String, Option<Slice>), tensor: &Tensor) {
        let bytes = (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
        let Some((tensors, taken)) = &mut self.read else { return };
        let mut shelved = self.shelf.lock();
        if shelved.taken + bytes > self.shelf.limit {
            // A part of a model is of no use.
            shelved.taken -= *taken;
            self.read = None;
            return;
        }
        shelved.taken += bytes;
        *taken += bytes;
        if let Some(before) = tensors.insert(key, tensor.shallow_clone()) {
            let bytes = (before.numel() * before.kind().elt_size_in_bytes()) as u64;
            shelved.taken -= bytes;
            *taken -= bytes;
        }
    }

    /// Puts what was read on the shelf: all of it was.
    pub(crate) fn end(&mut self) {
        let (Some((tensors, bytes)), Some(source)) = (self.read.take(), self.source.clone()) else { return };
        let mut shelved = self.shelf.lock();
        if let Some(before) = shelved.models.insert(self.name.clone(), Kept { source, tensors, bytes }) {
            shelved.taken -= before.bytes;
        }
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some((_, taken)) = self.read.take() {
            self.shelf.lock().taken -= taken;
        }
    }
}
