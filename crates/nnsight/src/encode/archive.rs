//! The zip that `torch.load` reads: uncompressed entries, with 64-bit sizes where they are needed.

use std::io::{self, Write};

/// Sizes and offsets from here on are written in a zip64 field.
const ZIP64: u64 = u32::MAX as u64;
/// Entries from here on are counted in a zip64 record.
const ZIP64_ENTRIES: usize = u16::MAX as usize;
/// 1 January 1980, the first day that zip knows.
const DATE: u16 = 0x21;

/// A `torch.save` archive under way. Holds references only; nothing is copied until it is written.
pub(crate) struct Archive<'b> {
    entries: Vec<Entry<'b>>,
    storages: usize,
}

struct Entry<'b> {
    name: String,
    /// The entry's bytes, in pieces.
    parts: Vec<&'b [u8]>,
}

impl<'b> Archive<'b> {
    /// Begins with the pickle, given in pieces.
    pub(crate) fn new(pickle: Vec<&'b [u8]>) -> Self {
        let entry = |name: &str, parts| Entry { name: format!("archive/{name}"), parts };
        let entries = vec![
            entry("data.pkl", pickle),
            entry("byteorder", vec![b"little".as_slice()]),
            entry("version", vec![b"3\n".as_slice()]),
        ];
        Self { entries, storages: 0 }
    }

    /// Adds a tensor's bytes under the next number.
    pub(crate) fn add_storage(&mut self, bytes: &'b [u8]) {
        self.entries.push(Entry { name: format!("archive/data/{}", self.storages), parts: vec![bytes] });
        self.storages += 1;
    }

    /// Returns how many bytes [`Self::write`] will write.
    pub(crate) fn length(&self) -> u64 {
        let (mut at, mut directory) = (0, 0);
        for entry in &self.entries {
            let name = entry.name.len() as u64;
            directory += 46 + name + 4 * u64::from(entry.central_extra(at) > 0) + 8 * entry.central_extra(at);
            at += 30 + name + if entry.large() { 20 } else { 0 } + entry.length();
        }
        let zip64 = if self.needs_zip64(at, directory) { 56 + 20 } else { 0 };
        at + directory + zip64 + 22
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut directory = Vec::new();
        let mut at = 0_u64;
        for entry in &self.entries {
            let length = entry.length();
            let crc = entry.crc();
            let size = clip(length);
            let mut extra = Vec::new();
            if entry.large() {
                extra.extend(1_u16.to_le_bytes());
                extra.extend(16_u16.to_le_bytes());
                extra.extend(length.to_le_bytes());
                extra.extend(length.to_le_bytes());
            }
            let mut header = Vec::with_capacity(64);
            header.extend(b"PK\x03\x04");
            header.extend(common(crc, size, &entry.name, extra.len()));
            header.extend(entry.name.as_bytes());
            header.extend(&extra);
            out.write_all(&header)?;
            for part in &entry.parts {
                out.write_all(part)?;
            }

            let mut extra = Vec::new();
            let wide = entry.central_extra(at);
            if wide > 0 {
                extra.extend(1_u16.to_le_bytes());
                extra.extend((8 * wide as u16).to_le_bytes());
                if entry.large() {
                    extra.extend(length.to_le_bytes());
                    extra.extend(length.to_le_bytes());
                }
                if at >= ZIP64 {
                    extra.extend(at.to_le_bytes());
                }
            }
            directory.extend(b"PK\x01\x02");
            directory.extend(45_u16.to_le_bytes());
            directory.extend(common(crc, size, &entry.name, extra.len()));
            // No comment; first disk; no attributes.
            directory.extend([0; 10]);
            directory.extend(clip(at).to_le_bytes());
            directory.extend(entry.name.as_bytes());
            directory.extend(&extra);
            at += header.len() as u64 + length;
        }
        out.write_all(&directory)?;
        out.write_all(&self.end(at, directory.len() as u64))
    }

    /// Returns the records that close the archive.
    fn end(&self, start: u64, length: u64) -> Vec<u8> {
        let mut end = Vec::with_capacity(98);
        let count = self.entries.len() as u64;
        if self.needs_zip64(start, length) {
            end.extend(b"PK\x06\x06");
            end.extend(44_u64.to_le_bytes());
            end.extend(45_u16.to_le_bytes());
            end.extend(45_u16.to_le_bytes());
            end.extend([0; 8]);
            [count, count, length, start].iter().for_each(|field| end.extend(field.to_le_bytes()));
            end.extend(b"PK\x06\x07");
            end.extend([0; 4]);
            end.extend((start + length).to_le_bytes());
            end.extend(1_u32.to_le_bytes());
        }
        let short = u16::try_from(count).unwrap_or(u16::MAX);
        end.extend(b"PK\x05\x06");
        end.extend([0; 4]);
        end.extend(short.to_le_bytes());
        end.extend(short.to_le_bytes());
        end.extend(clip(length).to_le_bytes());
        end.extend(clip(start).to_le_bytes());
        end.extend([0; 2]);
        end
    }

    fn needs_zip64(&self, start: u64, length: u64) -> bool {
        start >= ZIP64 || length >= ZIP64 || self.entries.len() >= ZIP64_ENTRIES
    }
}

impl Entry<'_> {
    fn length(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    fn large(&self) -> bool {
        self.length() >= ZIP64
    }

    /// Returns how many 64-bit fields the directory needs for an entry that starts at this offset.
    fn central_extra(&self, at: u64) -> u64 {
        2 * u64::from(self.large()) + u64::from(at >= ZIP64)
    }

    fn crc(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        self.parts.iter().for_each(|part| hasher.update(part));
        hasher.finalize()
    }
}

/// Returns the fields that an entry's two headers share, from the version needed to the extra field's length.
fn common(crc: u32, size: u32, name: &str, extra: usize) -> Vec<u8> {
    let mut fields = Vec::with_capacity(26);
    // Version 4.5; no flags; stored; midnight.
    [45, 0, 0, 0, DATE].iter().for_each(|field: &u16| fields.extend(field.to_le_bytes()));
    [crc, size, size].iter().for_each(|field| fields.extend(field.to_le_bytes()));
    [name.len() as u16, extra as u16].iter().for_each(|field| fields.extend(field.to_le_bytes()));
    fields
}

/// Returns a size as a 32-bit field, which is all ones where the zip64 field has it.
fn clip(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts bytes and keeps none.
    struct Count(u64);

    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(archive: &Archive<'_>) -> u64 {
        let mut count = Count(0);
        archive.write(&mut count).unwrap();
        count.0
    }

    #[test]
    fn the_length_is_known_beforehand() {
        let mut archive = Archive::new(vec![b"abc", b"", b"de"]);
        archive.add_storage(&[1, 2, 3]);
        archive.add_storage(&[]);
        assert_eq!(written(&archive), archive.length());
        let mut bytes = Vec::new();
        archive.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, archive.length());
    }

    #[test]
    fn sizes_and_counts_beyond_32_and_16_bits_are_written_wide() {
        // One entry of 5 GiB in pieces of the same 64 MiB, and one after it.
        let piece = vec![0; 64 << 20];
        let large = Archive {
            entries: vec![
                Entry { name: "archive/data.pkl".into(), parts: vec![&piece; 80] },
                Entry { name: "archive/version".into(), parts: vec![b"3\n"] },
            ],
            storages: 0,
        };
        assert_eq!(written(&large), large.length());
        let mut many = Archive::new(vec![b"."]);
        (0..70_000).for_each(|_| many.add_storage(b"x"));
        assert_eq!(written(&many), many.length());
        let mut bytes = Vec::new();
        many.write(&mut bytes).unwrap();
        assert!(bytes.windows(4).any(|window| window == b"PK\x06\x06"));
    }
}
