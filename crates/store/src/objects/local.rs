//! Objects as files that nobody else can read.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use super::RESERVE_BYTES;
use crate::error::Error;

/// Opens a folder of objects, making it when there is none and closing it to others when it is open.
pub fn open(folder: &Path) -> io::Result<Arc<dyn ObjectStore>> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        tracing::warn!(folder = %folder.display(), "the folder of objects was open to others; it is closed now");
    }
    let store = LocalFileSystem::new_with_prefix(folder).map_err(io::Error::other)?;
    Ok(Arc::new(store.with_fsync(true)))
}

/// Refuses what would leave too little free on the disk of a folder, or of where it is going to be.
pub fn check_space(place: &Path, bytes: u64) -> Result<(), Error> {
    let mut places = place.ancestors().map(|folder| (folder, rustix::fs::statvfs(folder)));
    let there = places.find(|(_, stat)| !matches!(stat, Err(rustix::io::Errno::NOENT)));
    let (there, stat) = there.unwrap_or((place, Err(rustix::io::Errno::NOENT)));
    let name = || there.display().to_string();
    let stat = stat.map_err(|error| Error::failed(name(), io::Error::from(error)))?;
    if stat.f_bavail.saturating_mul(stat.f_frsize) < bytes.saturating_add(RESERVE_BYTES) {
        return Err(Error::NoSpace { place: name() });
    }
    Ok(())
}

/// Closes a file to others. Its folder is closed already, so that nobody got there before.
pub fn hide(file: &Path) -> io::Result<()> {
    match fs::set_permissions(file, Permissions::from_mode(0o600)) {
        // Whoever was to read it was faster than this, and removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        hidden => hidden,
    }
}

/// Writes a file that appears under its name only when it is whole and synced, its folder too.
pub fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let staged = file.with_extension(format!("{:016x}", fastrand::u64(..)));
    let written = (|| {
        let mut opened = fs::File::options().write(true).create_new(true).mode(0o600).open(&staged)?;
        opened.write_all(bytes)?;
        opened.sync_all()?;
        fs::rename(&staged, file)?;
        fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // What is left of it is no object of anybody's.
        let _ = fs::remove_file(&staged);
    }
    written
}
