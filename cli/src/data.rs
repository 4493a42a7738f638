//! The data folder: one server's, and nobody else's to read.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use rustix::fs::Mode;
use store::{Measured, MetadataStore, Objects, RedbStore};

/// Opens what the server remembers. The data folder belongs to one server at a time.
///
/// From here on, files that this process or its children make are for this user's eyes: they hold people's work, and the
/// secret that signs links to it.
///
/// # Errors
/// A sentence that says what to do.
pub fn open(data: &Path) -> Result<(Arc<dyn MetadataStore>, Objects)> {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    fs::create_dir_all(data).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => anyhow!("no space left on the disk that holds {}", data.display()),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            anyhow!("the data folder {} is a file; name a folder with --data", data.display())
        }
        _ => anyhow!("cannot make the data folder {}: {error}", data.display()),
    })?;
    // Workers get this path from another working directory, perhaps.
    let data = data.canonicalize().with_context(|| format!("cannot open the data folder {}", data.display()))?;
    match narrow(&data) {
        Ok(0) => {}
        Ok(changed) => tracing::warn!(
            changed,
            folder = %data.display(),
            "others could read what is in the data folder; now only this user can"
        ),
        Err(error) => {
            tracing::warn!(%error, folder = %data.display(), "others may be able to read what is in the data folder");
        }
    }
    let store = RedbStore::open(data.join("metadata.redb")).map_err(|error| match error {
        store::Error::InUse(_) => anyhow!(
            "another vitrine is using the data folder {}; stop it, or give this one another folder with --data",
            data.display()
        ),
        error => anyhow!(error).context(format!("cannot open the data folder {}", data.display())),
    })?;
    let objects = Objects::local(data.join("objects"))?;
    objects.check_space(0)?;
    Ok((Arc::new(Measured::over(Arc::new(store))), objects))
}

/// Takes from others what they may do with a folder and all that is in it. Returns how many entries that changed.
///
/// A folder that is narrow already is taken to be so to its depth. One that other users write to, as `/tmp`, or that
/// another user owns, is left as it is, and only what this user has directly in it is narrowed.
fn narrow(folder: &Path) -> io::Result<usize> {
    let me = rustix::process::geteuid().as_raw();
    let meta = fs::symlink_metadata(folder)?;
    if meta.mode() & 0o077 == 0 {
        return Ok(0);
    }
    let shared = meta.uid() != me || meta.mode() & 0o1000 != 0;
    let mut changed = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(&inner)? {
            let path = entry?.path();
            // Links lead to what is not ours to change.
            let meta = fs::symlink_metadata(&path)?;
            let own = shared && inner == folder && !OWN.iter().any(|name| path.ends_with(name));
            if meta.is_symlink() || meta.uid() != me || own {
                continue;
            }
            if meta.is_dir() {
                open.push(path.clone());
            }
            changed += usize::from(take(&path, meta.mode())?);
        }
    }
    if !shared {
        changed += usize::from(take(folder, meta.mode())?);
    }
    Ok(changed)
}

/// What a server makes in its data folder.
const OWN: [&str; 3] = ["metadata.redb", "objects", "models"];

fn take(path: &Path, mode: u32) -> io::Result<bool> {
    if mode & 0o077 == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(mode & 0o700)).map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn make(folder: &Path, mode: u32) {
        fs::create_dir_all(folder.join("objects/payloads")).unwrap();
        for (name, mode) in [("metadata.redb", 0o644), ("objects/payloads/1", 0o640), ("other", 0o644)] {
            fs::write(folder.join(name), "").unwrap();
            fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
        }
        for name in ["objects", "objects/payloads"] {
            fs::set_permissions(folder.join(name), Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_could_read_they_no_longer_can() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(outside.path(), Permissions::from_mode(0o644)).unwrap();
        let at = |name: &str| folder.path().join(name);
        make(folder.path(), 0o755);
        std::os::unix::fs::symlink(outside.path(), at("link")).unwrap();
        assert_eq!(narrow(folder.path()).unwrap(), 6);
        assert_eq!([".", "objects", "objects/payloads"].map(|name| mode(&at(name))), [0o700; 3]);
        assert_eq!(["metadata.redb", "objects/payloads/1", "other"].map(|name| mode(&at(name))), [0o600; 3]);
        assert_eq!(mode(outside.path()), 0o644);
        assert_eq!(narrow(folder.path()).unwrap(), 0);
    }

    #[test]
    fn a_folder_that_is_everybodys_stays_everybodys() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), 0o1777);
        assert_eq!(narrow(folder.path()).unwrap(), 4);
        assert_eq!(mode(folder.path()), 0o1777);
        assert_eq!(
            ["metadata.redb", "objects", "other"].map(|name| mode(&folder.path().join(name))),
            [0o600, 0o700, 0o644]
        );
    }
}
