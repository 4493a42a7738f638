//! Bytes that come piece by piece: a few are held in memory, and more lie in a file without a name, which is gone when
//! nobody has it open, also where this process is killed.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::task::spawn_blocking;

/// Bytes that are held in memory before they are written to the file.
pub const HELD: usize = 1 << 20;

/// What has come so far.
pub struct Spool {
    held: Vec<u8>,
    disk: Disk,
}

/// Where what is more than a few bytes lies.
struct Disk {
    folder: PathBuf,
    file: Option<File>,
    /// Why a piece could not be written: who writes through others may not hear of it.
    failure: Option<io::Error>,
}

impl Spool {
    /// Begins with nothing. Where there will be a file, it is in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { held: Vec::new(), disk: Disk { folder: folder.to_owned(), file: None, failure: None } }
    }

    /// Takes a piece in. What is to be written is written beside the runtime.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(piece);
        if self.held.len() < HELD {
            return Ok(());
        }
        let mut all = std::mem::replace(self, Self::new(&self.disk.folder));
        let written = spawn_blocking(move || (all.flush(), all)).await.map_err(io::Error::other)?;
        *self = written.1;
        written.0
    }

    /// As [`Spool::finish`], beside the runtime where there is a file.
    ///
    /// # Errors
    /// As [`Spool::finish`].
    pub async fn end(self) -> io::Result<Bytes> {
        match self.disk.file {
            None => self.finish(),
            Some(_) => spawn_blocking(|| self.finish()).await.map_err(io::Error::other)?,
        }
    }

    /// Returns all of it. What lies in a file is mapped, and takes no memory that the system could not have back.
    ///
    /// # Errors
    /// When it cannot be written or mapped.
    pub fn finish(mut self) -> io::Result<Bytes> {
        if let Some(failure) = self.disk.failure {
            return Err(failure);
        }
        if self.disk.file.is_none() {
            return Ok(self.held.into());
        }
        self.flush()?;
        self.disk.map()
    }
}

impl Write for Spool {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() >= HELD {
            self.flush()?;
            self.disk.append(piece)?;
            return Ok(piece.len());
        }
        self.held.extend_from_slice(piece);
        if self.held.len() >= HELD {
            self.flush()?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.append(&self.held)?;
        self.held.clear();
        Ok(())
    }
}

impl Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.write(bytes);
        if let Err(error) = &written {
            self.failure.get_or_insert_with(|| error.kind().into());
        }
        written
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder)?,
        };
        file.write_all(bytes)?;
        self.file = Some(file);
        Ok(())
    }

    #[expect(unsafe_code, reason = "a file can only be mapped so")]
    fn map(&self) -> io::Result<Bytes> {
        let Some(file) = &self.file else { return Ok(Bytes::new()) };
        // SAFETY: the file has no name and its only handle is dropped here, so that nobody can change or shorten it.
        let mapped = unsafe { memmap2::Mmap::map(file)? };
        Ok(Bytes::from_owner(mapped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of which no two pieces are alike.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| (at * at / 251) as u8).collect()
    }

    #[tokio::test]
    async fn few_bytes_stay_in_memory_and_many_come_back_from_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, HELD - 1, HELD, HELD + 1, 5 * HELD + 7] {
            let all = bytes(count);
            let mut awaited = Spool::new(folder.path());
            for piece in all.chunks(300_001) {
                awaited.add(piece).await.unwrap();
                assert!(awaited.held.len() < HELD);
            }
            let mut written = Spool::new(folder.path());
            for piece in
                all.chunks(2 * HELD + 1).flat_map(|chunk| [&chunk[..chunk.len() / 3], &chunk[chunk.len() / 3..]])
            {
                written.write_all(piece).unwrap();
                assert!(written.held.len() < HELD);
            }
            assert_eq!((awaited.disk.file.is_some(), written.disk.file.is_some()), (count >= HELD, count >= HELD));
            assert!(awaited.finish().unwrap() == all && written.finish().unwrap() == all, "{count} bytes");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_an_error() {
        let mut spool = Spool::new(Path::new("/no/such/folder"));
        spool.add(&bytes(100)).await.unwrap();
        assert_eq!(spool.add(&bytes(HELD)).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
