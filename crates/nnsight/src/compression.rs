//! zstd frames: bounded when read, and with their content's size when written.
//!
//! Performance-critical. Small frames, as most are, go through what a thread keeps for that ([`program::frame`]).

use std::io::{self, Read};

use program::frame;
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

use crate::encode::archive::Archive;
use crate::error::DecodeError;

/// Largest window that a frame may ask for, as a power of two: 8 MiB, which is zstd's own advice to decoders.
const WINDOW_LOG_MAX: u32 = 23;
/// zstd's fastest level that still finds repeats; activations hardly compress.
const LEVEL: i32 = -1;
/// Bytes of content up to which a frame is small.
const SMALL: u64 = 1 << 20;
/// Bytes of a piece of content.
const PIECE: usize = 128 << 10;

/// Returns how many bytes a frame says that it holds.
pub(crate) fn announced(frame: &[u8]) -> Option<u64> {
    get_frame_content_size(frame).ok().flatten()
}

/// Decompresses one frame, and no more than the limit.
///
/// # Errors
/// [`DecodeError::TooLarge`], and [`DecodeError::Zstd`] for bytes that are not one frame.
pub(crate) fn decompress(blob: &[u8], limit: u64) -> Result<Vec<u8>, DecodeError> {
    match announced(blob) {
        Some(size) if size <= SMALL.min(limit) && find_frame_compressed_size(blob) == Ok(blob.len()) => {
            frame::decompress(blob, size as usize).map_err(|error| DecodeError::Zstd(error.to_string()))
        }
        _ => {
            let mut bytes = Vec::new();
            decompress_to(blob, limit, |piece| {
                bytes.extend_from_slice(piece);
                Ok::<_, DecodeError>(())
            })?;
            Ok(bytes)
        }
    }
}

/// Decompresses one frame, and no more than the limit, and gives its content away piece by piece.
///
/// # Errors
/// [`DecodeError::TooLarge`], and [`DecodeError::Zstd`] for bytes that are not one frame; what `take` fails with.
pub fn decompress_to<E: From<DecodeError>>(
    blob: &[u8],
    limit: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |error: io::Error| DecodeError::Zstd(error.to_string());
    let mut left = limit;
    if announced(blob).is_some_and(|size| size > limit) {
        return Err(DecodeError::TooLarge { limit, compressed: true }.into());
    }
    let mut decoder = zstd::Decoder::with_buffer(blob).map_err(failed)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(failed)?;
    let mut buffer = vec![0; PIECE];
    loop {
        let read = decoder.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64).ok_or(DecodeError::TooLarge { limit, compressed: true })?;
        take(buffer.get(..read).unwrap_or_default())?;
    }
    if !decoder.finish().is_empty() {
        return Err(DecodeError::Zstd("there are bytes after the frame".into()).into());
    }
    Ok(())
}

/// Compresses an archive into one frame.
///
/// # Errors
/// Those of zstd.
pub(crate) fn compress(archive: &Archive<'_>) -> io::Result<Vec<u8>> {
    let length = archive.length();
    if length <= SMALL {
        let mut content = Vec::with_capacity(length as usize);
        archive.write(&mut content)?;
        return frame::compress(&content, LEVEL);
    }
    let mut frame = zstd::Encoder::new(Vec::new(), LEVEL)?;
    frame.set_pledged_src_size(Some(length))?;
    frame.include_contentsize(true)?;
    archive.write(&mut frame)?;
    frame.finish()
}
