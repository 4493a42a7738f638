//! Tells the files of one model from those of another without reading all of them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

/// Bytes of a file's beginning that are looked at, where headers are, and of each sample behind that.
const START: u64 = 1 << 20;
const SAMPLE: u64 = 4 << 10;

/// Samples of a file.
const SAMPLES: u64 = 64;

/// Returns the digest of a model's configuration and weight files: their names, lengths, beginnings, and samples of what is
/// behind those. Folders of one digest hold the same model, unless somebody has made a few numbers of it others on purpose.
///
/// # Errors
/// When a file is missing, or cannot be read.
pub fn digest(folder: &Path) -> Result<String, LoadError> {
    let mut digest = Sha256::new();
    let config = folder.join("config.json");
    digest.update(std::fs::read(&config).map_err(LoadError::io(&config))?);
    let checkpoint = Checkpoint::open(folder)?;
    let mut files: Vec<(&Path, &File)> = checkpoint.files().collect();
    files.sort_by_key(|(path, _)| *path);
    for (path, file) in files {
        let length = file.metadata().map_err(LoadError::io(path))?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        digest.update(format!("\n{name} {length}\n"));
        let mut look = |from: u64, bytes: u64| {
            let mut read = vec![0; usize::try_from(bytes.min(length.saturating_sub(from))).unwrap_or(0)];
            file.read_exact_at(&mut read, from).map_err(LoadError::io(path))?;
            digest.update(&read);
            Ok::<_, LoadError>(())
        };
        look(0, START)?;
        let behind = length.saturating_sub(START + SAMPLE);
        // The last of them is the file's end.
        for sample in (1..=SAMPLES).filter(|_| length > START) {
            look((START + behind / SAMPLES * sample).min(length.saturating_sub(SAMPLE)), SAMPLE)?;
        }
        look(length.saturating_sub(SAMPLE), SAMPLE)?;
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_numbers_another_length_and_another_configuration_are_told_apart() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32/tiny-llama");
        let copy = |change: &dyn Fn(&Path)| {
            let folder = tempfile::tempdir().unwrap();
            for file in std::fs::read_dir(&from).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
            }
            change(folder.path());
            digest(folder.path()).unwrap()
        };
        let weights = |folder: &Path, change: &dyn Fn(&mut Vec<u8>)| {
            let path = folder.join("model.safetensors");
            let mut bytes = std::fs::read(&path).unwrap();
            change(&mut bytes);
            std::fs::write(path, bytes).unwrap();
        };
        let same = digest(&from).unwrap();
        assert_eq!(copy(&|_| {}), same, "wherever it lies");
        let last = copy(&|folder| weights(folder, &|bytes| *bytes.last_mut().unwrap() ^= 1));
        let config = copy(&|folder| {
            let path = folder.join("config.json");
            let text = std::fs::read_to_string(&path).unwrap() + " ";
            std::fs::write(path, text).unwrap();
        });
        assert!(last != same && config != same && last != config);
        assert!(digest(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere/config.json"));
    }
}
