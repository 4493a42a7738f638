//! The archive that this crate wrote around a result, taken apart again. Nothing is copied.

use std::collections::HashMap;

use crate::error::DecodeError;

const MALFORMED: DecodeError = DecodeError::Payload("it is no archive of `torch.save` as this server writes it");
const DAMAGED: DecodeError = DecodeError::Payload("it is an archive whose bytes are not those that were written");

/// Returns what each entry holds, by its name.
///
/// # Errors
/// [`DecodeError::Payload`], also where an entry's sum is not that of its bytes.
pub(super) fn entries(mut archive: &[u8]) -> Result<HashMap<&str, &[u8]>, DecodeError> {
    let mut entries = HashMap::new();
    // Each entry has its size before it, so that the directory at the end is not needed.
    while let Some(rest) = archive.strip_prefix(b"PK\x03\x04") {
        let (head, rest) = rest.split_first_chunk::<26>().ok_or(MALFORMED)?;
        let short = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let long = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (stored, crc, size) = (short(4) == 0, long(10), long(18));
        let (name, rest) = rest.split_at_checked(short(22)).ok_or(MALFORMED)?;
        let (extra, rest) = rest.split_at_checked(short(24)).ok_or(MALFORMED)?;
        let size = match size {
            u32::MAX => wide(extra).ok_or(MALFORMED)?,
            size => size.into(),
        };
        let size = usize::try_from(size).map_err(|_| MALFORMED)?;
        let (bytes, rest) = rest.split_at_checked(size).filter(|_| stored).ok_or(MALFORMED)?;
        if crc32fast::hash(bytes) != crc {
            return Err(DAMAGED);
        }
        entries.insert(std::str::from_utf8(name).map_err(|_| MALFORMED)?, bytes);
        archive = rest;
    }
    if archive.starts_with(b"PK\x01\x02") { Ok(entries) } else { Err(MALFORMED) }
}

/// Returns the size that a zip64 field has.
fn wide(extra: &[u8]) -> Option<u64> {
    let size = extra.strip_prefix(&[1, 0, 16, 0])?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*size))
}
