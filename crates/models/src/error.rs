//! Why a model cannot be loaded or imported.

use std::io;
use std::path::{Path, PathBuf};

/// Each variant names the file at fault, and the tensor or key in it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0} has no config.json: a model folder holds what Hugging Face's save_pretrained writes")]
    NoConfig(PathBuf),
    #[error("{0} has no weights: neither model.safetensors nor pytorch_model.bin, nor an index of several of either")]
    NoWeights(PathBuf),
    #[error("{file}: {source}")]
    Io { file: PathBuf, source: io::Error },
    /// The reason is what the file does or is.
    #[error("{file} {reason}")]
    Json { file: PathBuf, reason: String },
    #[error("{file}: model_type {model_type:?} is not supported; supported are {}", supported.join(", "))]
    Unsupported { file: PathBuf, model_type: String, supported: Vec<&'static str> },
    #[error("{file}: {key}: {reason}")]
    Config { file: PathBuf, key: String, reason: String },
    #[error("dtype {0:?} is not supported: weights are kept as float32, bfloat16, int8 or nf4")]
    DType(String),
    #[error("{file} is corrupt: {reason}")]
    Corrupt { file: PathBuf, reason: String },
    #[error("{file} is corrupt at tensor {tensor}: {reason}")]
    Tensor { file: PathBuf, tensor: String, reason: String },
    /// The tensor is fine, and would be left out or misread.
    #[error("{file}: tensor {tensor} {reason}")]
    NotServed { file: PathBuf, tensor: String, reason: String },
    #[error("{file} cannot be imported: {reason}")]
    Gguf { file: PathBuf, reason: String },
    #[error("{file} has no tensor {tensor}")]
    Missing { file: PathBuf, tensor: String },
    #[error("{file}: tensor {tensor} has shape {found:?}, but config.json asks for {expected:?}")]
    Shape { file: PathBuf, tensor: String, found: Vec<i64>, expected: Vec<i64> },
    #[error("{file} is no tokenizer that can be read: {reason}")]
    Tokenizer { file: PathBuf, reason: String },
    /// A mistake of this crate's.
    #[error("the family's table names a module {0} that it does not declare")]
    Table(String),
    #[error(
        "tensor {tensor} has {rows} rows, too few for {ranks} ranks: each needs one of every matrix; ask for fewer ranks"
    )]
    Ranks { tensor: String, rows: i64, ranks: usize },
    #[error(
        "{0}: residency=stream is for weights as numbers, and these are kept in few bits; leave one of the two out"
    )]
    Residency(PathBuf),
    /// What another rank of the model says, or that it is gone.
    #[error(transparent)]
    Rank(#[from] kernels::NotDone),
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl LoadError {
    pub(crate) fn io(file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Io { file, source }
    }

    pub(crate) fn corrupt(file: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_path_buf(), reason: reason.into() }
    }

    pub(crate) fn tensor(file: &Path, tensor: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { file: file.to_path_buf(), tensor: tensor.into(), reason: reason.into() }
    }

    /// Makes the error for a tensor that nobody would read, and so many others.
    pub(crate) fn unread(file: &Path, tensor: &str, others: usize) -> Self {
        let others = match others {
            0 => String::new(),
            more => format!(", nor are {more} others"),
        };
        let reason =
            format!("is not a part of this model as it is served{others}: without it, other numbers would come out");
        Self::NotServed { file: file.to_path_buf(), tensor: tensor.into(), reason }
    }
}
