//! A checkpoint's tensors, by name: `model.safetensors`, or several such files under an index; where there are none,
//! `pytorch_model.bin`, or several of those.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tch::Kind;

use crate::archive;
use crate::config::read_object;
use crate::error::LoadError;
use crate::family::Root;
use crate::safetensors;

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

/// Where the tensors of a model folder lie, and what they are: none of their numbers has been read.
pub struct Checkpoint {
    files: Vec<(PathBuf, File)>,
    entries: HashMap<String, Entry>,
    /// What is blamed for a tensor that no file has.
    root: PathBuf,
    /// What names that are asked for begin with, and what the files have there.
    renamed: Vec<(String, String)>,
    /// What names of tensors begin with that are not for what is served.
    absent: Vec<String>,
}

/// Where a tensor lies.
pub struct Entry {
    pub file: usize,
    /// The element type as the file has it, and as PyTorch does.
    pub name: &'static str,
    pub kind: Kind,
    pub shape: Vec<i64>,
    pub start: u64,
    pub bytes: usize,
}

/// Reads what tensors the file of a number has, and where they lie.
type Entries = fn(&Path, &mut File, usize) -> Result<Vec<(String, Entry)>, LoadError>;

/// A tensor that was found.
pub struct Found<'a> {
    pub entry: &'a Entry,
    pub path: &'a Path,
    pub file: &'a File,
}

impl Checkpoint {
    /// Opens a model folder's weight files and reads their headers.
    ///
    /// # Errors
    /// When a file is missing, truncated or corrupt, or a tensor has a type that no model here computes with.
    pub fn open(folder: &Path) -> Result<Self, LoadError> {
        let ways: [(&str, Entries); 2] =
            [("model.safetensors", safetensors::entries), ("pytorch_model.bin", archive::entries)];
        let found = ways.into_iter().find_map(|(name, entries)| {
            let (single, index) = (folder.join(name), folder.join(format!("{name}.index.json")));
            match (single.is_file(), index.is_file()) {
                (true, _) => Some((Ok(vec![single.clone()]), single, entries)),
                (false, true) => Some((shards(folder, &index), index, entries)),
                (false, false) => None,
            }
        });
        let Some((paths, root, read)) = found else { return Err(LoadError::NoWeights(folder.to_path_buf())) };
        let (mut files, mut entries) = (Vec::new(), HashMap::new());
        for path in paths? {
            let mut file = File::open(&path).map_err(LoadError::io(&path))?;
            for (name, entry) in read(&path, &mut file, files.len())? {
                if entries.insert(name.clone(), entry).is_some() {
                    return Err(LoadError::tensor(&path, &name, "another file has it too"));
                }
            }
            files.push((path, file));
        }
        Ok(Self { files, entries, root, renamed: Vec::new(), absent: Vec::new() })
    }

    /// Returns the files.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &File)> {
        self.files.iter().map(|(path, file)| (path.as_path(), file))
    }

    /// Finds out how the files name a model's tensors. Those of the base model without its head leave its name out.
    pub fn adapt(&mut self, root: &Root) {
        let present = |prefix: &str| self.entries.keys().any(|name| name.starts_with(prefix));
        // Files may leave out the first part of a path.
        let short = |path: &str| format!("{}.", path.split_once('.').map_or(path, |(_, rest)| rest));
        self.absent = root.absent.iter().flat_map(|one| [short(&one.path), format!("{}.", one.path)]).collect();
        let base = format!("{}.", root.base_path());
        let Some(around) = &root.around else {
            self.renamed = if present(&base) { Vec::new() } else { vec![(base, String::new())] };
            return;
        };
        if !present(&base) {
            let own = |(new, old): &(&str, &str)| ((*new).to_owned(), (*old).to_owned());
            self.renamed = around.older_names.iter().map(own).collect();
        }
    }

    /// Returns a tensor's name as the files have it.
    pub fn own_name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        for (new, old) in &self.renamed {
            match name.strip_prefix(new.as_str()) {
                Some(rest) if old.is_empty() => return rest.into(),
                Some(rest) => return format!("{old}{rest}").into(),
                None => {}
            }
        }
        name.into()
    }

    /// Returns whether there is a tensor.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(&*self.own_name(name))
    }

    /// Finds a weight, which must have this shape.
    ///
    /// # Errors
    /// When it is missing, has another shape, or is no weight as a model here has them.
    pub fn find(&self, name: &str, shape: &[i64]) -> Result<Found<'_>, LoadError> {
        let Found { entry, path, file } = self.any(name)?;
        let name = &*self.own_name(name);
        if !matches!(entry.kind, Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double) {
            let reason = format!(
                "is {}, but a weight has to be F32, BF16 or F16: quantization_config may allow others for the matrices of \
                 layers, never for tables of words, heads, routers and norms",
                entry.name
            );
            return Err(LoadError::NotServed { file: path.to_path_buf(), tensor: name.into(), reason });
        }
        if entry.shape != shape {
            let (file, tensor) = (path.to_path_buf(), name.to_owned());
            return Err(LoadError::Shape { file, tensor, found: entry.shape.clone(), expected: shape.to_vec() });
        }
        Ok(Found { entry, path, file })
    }

    /// Returns a tensor, whatever it is.
    ///
    /// # Errors
    /// When it is missing.
    pub fn any(&self, name: &str) -> Result<Found<'_>, LoadError> {
        let name = &*self.own_name(name);
        let found = self.entries.get(name).and_then(|entry| {
            let (path, file) = self.files.get(entry.file)?;
            Some(Found { entry, path, file })
        });
        found.ok_or_else(|| LoadError::Missing { file: self.root.clone(), tensor: name.into() })
    }

    /// Returns the names and shapes of all tensors.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.shape.as_slice()))
    }

    /// Returns the bytes on disk of all tensors.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.bytes as u64).sum()
    }

    /// Returns the tensors that nobody read and that say something about the model, with the files that have them: scales of
    /// quantized weights, for example, or adapters. `read` takes names as the files have them.
    pub fn unread(&self, read: impl Fn(&str) -> bool, tied_head: bool) -> Vec<(&str, &Path)> {
        let heads = ["lm_head.weight", "embed_out.weight"];
        let of_no_account = |name: &str| {
            let buffer = BUFFERS.iter().any(|buffer| name.ends_with(buffer));
            let absent = self.absent.iter().any(|absent| name.starts_with(absent));
            absent || buffer || tied_head && heads.iter().any(|head| name.ends_with(head))
        };
        let unread = self.entries.iter().filter(|(name, _)| !read(name) && !of_no_account(name));
        let file = |entry: &Entry| self.files.get(entry.file).map_or(self.root.as_path(), |(path, _)| path);
        let mut unread: Vec<(&str, &Path)> = unread.map(|(name, entry)| (name.as_str(), file(entry))).collect();
        unread.sort_unstable();
        unread
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
