//! The file in which the newest writes become durable: one write and one sync for a group of them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::metadata::Revision;

/// Bytes after which what the journal holds ought to be taken over elsewhere. The file has them from the start: writing
/// over what is there already needs no change of the file's own record, which a sync would have to write besides.
pub const ROOM: u64 = 4 << 20;

/// Bytes before each entry: its length, its checksum and its revision.
const HEAD: usize = 16;

/// Entries in the order in which they were appended, since the generation began. The next generation writes over them
/// from the start; which one is current is remembered elsewhere.
pub struct Journal {
    file: File,
    end: u64,
    /// The checksum of the last entry. Each is computed over the one before it, so that what an earlier generation or a
    /// failed write left behind the end is no entry.
    chain: u32,
}

/// What was appended as one, and the revision at which that was done.
pub struct Entry {
    pub revision: Revision,
    pub bytes: Vec<u8>,
}

impl Journal {
    /// Opens the journal, making it when there is none, and returns the current generation's entries. An entry that a
    /// crash cut short, and was never acknowledged, is not among them.
    ///
    /// # Errors
    /// When there is no room, or the file cannot be read.
    pub fn open(path: &Path, generation: u64) -> io::Result<(Self, Vec<Entry>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let length = file.metadata()?.len();
        if length < ROOM {
            let missing = usize::try_from(ROOM - length).unwrap_or(0);
            file.write_all_at(&vec![0; missing], length)?;
            file.sync_all()?;
            if let Some(folder) = path.parent() {
                File::open(folder)?.sync_all()?;
            }
        }
        let mut journal = Self { file, end: 0, chain: 0 };
        journal.begin(generation);
        let mut entries = Vec::new();
        while let Some(entry) = journal.read(length)? {
            entries.push(entry);
        }
        Ok((journal, entries))
    }

    /// Appends an entry. When this returns, a crash does not undo it; when it fails, it was not appended.
    ///
    /// # Errors
    /// When there is no room, or the disk fails.
    pub fn append(&mut self, revision: Revision, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let checksum = self.checksum(length, revision, payload);
        let mut bytes = Vec::with_capacity(HEAD + payload.len());
        bytes.extend(length.to_le_bytes());
        bytes.extend(checksum.to_le_bytes());
        bytes.extend(revision.to_le_bytes());
        bytes.extend(payload);
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.pass(checksum, bytes.len());
        Ok(())
    }

    /// Returns how many bytes the entries take.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Forgets all entries, once whoever remembers the generation has durably set the next.
    pub fn begin(&mut self, generation: u64) {
        self.end = 0;
        self.chain = crc32fast::hash(&generation.to_le_bytes());
    }

    /// Reads the entry at the end, if there is one, and passes it.
    fn read(&mut self, length: u64) -> io::Result<Option<Entry>> {
        let head_end = self.end + HEAD as u64;
        if head_end > length {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        self.file.read_exact_at(&mut head, self.end)?;
        let [a, b, c, d, e, f, g, h, revision @ ..] = head;
        let (size, checksum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let revision = Revision::from_le_bytes(revision);
        if u64::from(size) > length - head_end {
            return Ok(None);
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, head_end)?;
        if checksum != self.checksum(size, revision, &bytes) {
            return Ok(None);
        }
        self.pass(checksum, HEAD + bytes.len());
        Ok(Some(Entry { revision, bytes }))
    }

    fn pass(&mut self, checksum: u32, bytes: usize) {
        self.chain = checksum;
        self.end += bytes as u64;
    }

    fn checksum(&self, length: u32, revision: Revision, payload: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.chain.to_le_bytes());
        hasher.update(&length.to_le_bytes());
        hasher.update(&revision.to_le_bytes());
        hasher.update(payload);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopened(path: &Path, generation: u64) -> (Journal, Vec<(Revision, Vec<u8>)>) {
        let (journal, entries) = Journal::open(path, generation).unwrap();
        (journal, entries.into_iter().map(|entry| (entry.revision, entry.bytes)).collect())
    }

    #[test]
    fn what_was_appended_is_there_until_the_next_generation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, entries) = reopened(&path, 7);
        assert_eq!(entries, []);
        journal.append(1, b"one").unwrap();
        journal.append(2, b"").unwrap();
        drop(journal);
        let (mut journal, entries) = reopened(&path, 7);
        assert_eq!(entries, [(1, b"one".to_vec()), (2, Vec::new())]);
        journal.append(3, b"three").unwrap();
        let expected = [(1, b"one".to_vec()), (2, Vec::new()), (3, b"three".to_vec())];
        assert_eq!(reopened(&path, 7).1, expected);

        journal.begin(8);
        journal.append(4, b"four").unwrap();
        assert_eq!(reopened(&path, 8).1, [(4, b"four".to_vec())]);
        assert_eq!(reopened(&path, 9).1, []);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), ROOM, "it takes no more than it has");
    }

    #[test]
    fn an_entry_that_is_cut_short_anywhere_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = reopened(&path, 0);
        // A longer entry lay there before.
        journal.append(1, &[9; 200]).unwrap();
        journal.begin(1);
        journal.append(2, b"whole").unwrap();
        let start = journal.len();
        let before = std::fs::read(&path).unwrap();
        journal.append(3, b"cut short").unwrap();
        let after = std::fs::read(&path).unwrap();
        let (start, end) = (usize::try_from(start).unwrap(), usize::try_from(journal.len()).unwrap());
        for cut in start..end {
            let torn = [&after[..cut], &before[cut..]].concat();
            std::fs::write(&path, torn).unwrap();
            let (mut journal, entries) = reopened(&path, 1);
            assert_eq!(entries, [(2, b"whole".to_vec())], "cut at {cut}");
            journal.append(4, b"next").unwrap();
            assert_eq!(reopened(&path, 1).1, [(2, b"whole".to_vec()), (4, b"next".to_vec())], "cut at {cut}");
        }
    }
}
