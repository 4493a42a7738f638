//! How many tokens a text has, by a model's own tokenizer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokenizers::Tokenizer;

/// Tokenizers that are kept: a large one takes some ten MiB.
const KEPT: usize = 4;
/// Bytes of text that are counted; a longer one's tokens are not.
const LONGEST: usize = 64 << 10;

/// The tokenizers that were asked for last, by their files and when these were written.
#[derive(Default)]
pub struct Tokenizers(Mutex<Vec<Kept>>);

struct Kept {
    file: PathBuf,
    written: SystemTime,
    /// `None` for one that cannot be read.
    tokenizer: Option<Arc<Tokenizer>>,
}

impl Tokenizers {
    /// Counts the tokens of a text, special ones included. `None` where the folder has no tokenizer that can be read, and for
    /// long texts.
    pub fn count(&self, folder: &Path, text: &str) -> Option<i64> {
        if text.len() > LONGEST {
            return None;
        }
        let encoding = self.of(folder)?.encode_fast(text, true).ok()?;
        i64::try_from(encoding.len()).ok()
    }

    /// Returns a folder's tokenizer. Reading it takes a while, in which whoever else asks waits.
    fn of(&self, folder: &Path) -> Option<Arc<Tokenizer>> {
        let file = folder.join("tokenizer.json");
        let written = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|it| it.file == file && it.written == written) {
            let found = kept.remove(at);
            let tokenizer = found.tokenizer.clone();
            kept.push(found);
            return tokenizer;
        }
        // Each text is counted as it is: rows are padded and cut by those who say so.
        let tokenizer = Tokenizer::from_file(&file).ok().and_then(|mut tokenizer| {
            tokenizer.with_padding(None);
            tokenizer.with_truncation(None).ok()?;
            Some(Arc::new(tokenizer))
        });
        kept.retain(|it| it.file != file);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(Kept { file, written, tokenizer: tokenizer.clone() });
        tokenizer
    }
}
