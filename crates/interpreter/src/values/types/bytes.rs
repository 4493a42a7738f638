//! Bytes in bytes.

/// Finds bytes in bytes.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    memchr::memmem::find(bytes, wanted)
}
