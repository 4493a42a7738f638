//! How a program lies in a store and travels: as it is encoded where that is little, and else in frames of zstd, one behind
//! another. Each says how many bytes it holds, which are [`CONTENT`] at most. So whoever opens a program knows what it comes to
//! before anything is inflated, and before memory is taken for it; and no piece that is inflated at once is large.
//!
//! What is in frames is told from what is not by its first bytes: an encoded program begins with the length of a text and that
//! text, and no text begins as a frame goes on.
//!
//! Performance-critical: each thread keeps what it compresses and inflates with, since to make that costs more than to use it
//! for as little as most programs are.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Write};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

use crate::error::Unreadable;

/// Bytes that a frame holds at most.
pub const CONTENT: usize = 1 << 20;

/// Bytes up to which nothing is put into a frame: so few lie in a job's record in any store, and it would take longer to
/// compress them than to keep them.
const LITTLE: usize = 1 << 10;

/// zstd's fastest level that looks for more than what lies close by. Texts take half as many bytes; tensors hardly fewer.
const LEVEL: i32 = 1;

/// What every frame begins with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Puts what is written to it into frames, one after another, without having all of it in memory.
pub struct Frames<W> {
    place: W,
    /// What the next frame will hold.
    held: Vec<u8>,
    /// Whether a frame was written.
    begun: bool,
}

impl<W: Write> Frames<W> {
    /// Begins with nothing. What comes of it is written to `place`.
    pub fn new(place: W) -> Self {
        Self { place, held: Vec::new(), begun: false }
    }

    /// Writes what is left: as it is, where it is all that there was and a frame saves nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        if self.begun {
            return self.seal();
        }
        let all = pack(std::mem::take(&mut self.held))?;
        self.place.write_all(&all)
    }

    fn seal(&mut self) -> io::Result<()> {
        self.place.write_all(&compress(&self.held, LEVEL)?)?;
        self.held.clear();
        self.begun = true;
        Ok(())
    }
}

impl<W: Write> Write for Frames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.len() == CONTENT {
            self.seal()?;
        }
        let taken = bytes.get(..CONTENT - self.held.len()).unwrap_or(bytes);
        self.held.extend_from_slice(taken);
        Ok(taken.len())
    }

    /// Does nothing: what is held goes with what comes next.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what is stored of some bytes: themselves, or where that is less, frames.
///
/// # Errors
/// Those of zstd.
pub fn pack(content: Vec<u8>) -> io::Result<Vec<u8>> {
    if content.len() <= LITTLE {
        return Ok(content);
    }
    let mut stored = Vec::new();
    for piece in content.chunks(CONTENT) {
        stored.append(&mut compress(piece, LEVEL)?);
    }
    Ok(if stored.len() < content.len() { stored } else { content })
}

/// Returns how many bytes stored ones hold, as they say themselves. Nothing is inflated for that.
///
/// # Errors
/// When they are not whole frames that say so.
pub fn content(stored: &[u8]) -> Result<u64, Unreadable> {
    if !is_framed(stored) {
        return Ok(stored.len() as u64);
    }
    frames(stored).map(|frame| frame.map(|(_, holds)| holds as u64)).sum()
}

/// Returns what stored bytes hold, if that is no more than the limit.
///
/// # Errors
/// [`Unreadable::TooLarge`], before any memory is taken; when a frame does not hold what it says.
pub fn open(stored: &[u8], limit: u64) -> Result<Cow<'_, [u8]>, Unreadable> {
    let bytes = content(stored)?;
    let large = Unreadable::TooLarge { bytes, limit };
    let Some(bytes) = usize::try_from(bytes).ok().filter(|_| bytes <= limit) else { return Err(large) };
    if !is_framed(stored) {
        return Ok(stored.into());
    }
    let mut all = Vec::new();
    for frame in frames(stored) {
        let (frame, holds) = frame?;
        let piece = decompress(frame, holds).ok().filter(|piece| piece.len() == holds).ok_or(Unreadable::Frame)?;
        if holds == bytes {
            return Ok(piece.into());
        }
        all.reserve_exact(bytes - all.len());
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}

fn is_framed(stored: &[u8]) -> bool {
    stored.starts_with(&MAGIC)
}

/// Takes stored bytes apart: each frame, and how many bytes it says that it holds.
fn frames(stored: &[u8]) -> impl Iterator<Item = Result<(&[u8], usize), Unreadable>> {
    let mut rest = stored;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = first(rest);
        rest = next.as_ref().map_or(&[], |(_, _, rest)| *rest);
        Some(next.map(|(frame, holds, _)| (frame, holds)).ok_or(Unreadable::Frame))
    })
}

/// Returns the first frame, how many bytes it says that it holds, and what is behind it.
fn first(stored: &[u8]) -> Option<(&[u8], usize, &[u8])> {
    if !is_framed(stored) {
        return None;
    }
    let (frame, rest) = stored.split_at_checked(find_frame_compressed_size(stored).ok()?)?;
    let holds = usize::try_from(get_frame_content_size(frame).ok()??).ok()?;
    (holds <= CONTENT).then_some((frame, holds, rest))
}

/// Compresses bytes into one frame that says how many they are.
///
/// # Errors
/// Those of zstd.
pub fn compress(content: &[u8], level: i32) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(level)?),
        };
        compressor.set_compression_level(level)?;
        compressor.compress(content)
    })
}

/// Inflates one frame, which must hold no more than so many bytes.
///
/// # Errors
/// Those of zstd.
pub fn decompress(frame: &[u8], most: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(frame, most)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as programs have them: words again and again, or none that are alike.
    fn bytes(count: usize, alike: bool) -> Vec<u8> {
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..count).map(|at| if alike { b"hidden = model.layers[3].output\n"[at % 32] } else { noise() }).collect()
    }

    fn stored(all: &[u8]) -> Vec<u8> {
        let mut place = Vec::new();
        let mut frames = Frames::new(&mut place);
        all.chunks(300_001).for_each(|piece| frames.write_all(piece).unwrap());
        frames.finish().unwrap();
        place
    }

    #[test]
    fn what_is_stored_comes_back_and_takes_no_more_than_it_did() {
        for count in [0, 1, LITTLE, LITTLE + 1, 5000, CONTENT - 1, CONTENT, CONTENT + 1, 3 * CONTENT + 7] {
            for alike in [true, false] {
                let all = bytes(count, alike);
                let stored = stored(&all);
                assert_eq!(content(&stored).unwrap(), count as u64);
                assert!(*open(&stored, count as u64).unwrap() == all, "{count} bytes");
                // A frame for each MiB has a head of its own, and so has a block that cannot be compressed.
                assert!(stored.len() <= count + count / 8192, "{} of {count} bytes", stored.len());
                assert_eq!(is_framed(&stored), (count > LITTLE && alike) || count > CONTENT, "{count} bytes");
                assert_eq!(
                    frames(&stored).count(),
                    if is_framed(&stored) { count.div_ceil(CONTENT) } else { 1.min(count) }
                );
                let large = open(&stored, (count as u64).wrapping_sub(1));
                assert!(count == 0 || matches!(large, Err(Unreadable::TooLarge { .. })), "{large:?}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_says_what_is_not_so_is_refused() {
        let all = bytes(2 * CONTENT + 100, true);
        let stored = stored(&all);
        let limit = all.len() as u64;
        for cut in [4, 10, stored.len() / 2, stored.len() - 1] {
            assert!(matches!(open(&stored[..cut], limit), Err(Unreadable::Frame)), "{cut} bytes");
        }
        assert!(matches!(open(&[&stored[..], b"more"].concat(), limit), Err(Unreadable::Frame)));
        // As nnsight's clients send them: one frame of everything, which may not say how much that is.
        let large = zstd::bulk::compress(&all, 1).unwrap();
        let silent = zstd::stream::encode_all(&all[..1000], 1).unwrap();
        for frame in [large, silent] {
            assert!(matches!(content(&frame), Err(Unreadable::Frame)));
            assert!(matches!(open(&frame, limit), Err(Unreadable::Frame)));
        }
        // A head that says more, or less, than there is.
        let mut lies = compress(&bytes(60_000, true), LEVEL).unwrap();
        assert_eq!(get_frame_content_size(&lies).unwrap(), Some(60_000));
        let at = lies.windows(2).position(|pair| pair == u16::to_le_bytes((60_000 - 256u32) as u16)).unwrap();
        for says in [59_000u32, 61_000] {
            lies[at..at + 2].copy_from_slice(&((says - 256) as u16).to_le_bytes());
            assert_eq!(content(&lies).unwrap(), u64::from(says));
            assert!(matches!(open(&lies, limit), Err(Unreadable::Frame)), "{says}");
        }
    }

    #[test]
    fn few_bytes_that_hold_much_are_refused_before_they_are_inflated() {
        let zeros = vec![0; CONTENT];
        let bomb = compress(&zeros, LEVEL).unwrap().repeat(2000);
        assert!(bomb.len() < 200_000, "{} bytes", bomb.len());
        let refused = open(&bomb, 64 << 20).unwrap_err();
        assert_eq!(refused.to_string(), "it holds 2097152000 bytes, and may hold 67108864");
    }

    #[test]
    fn no_text_begins_as_a_frame_goes_on() {
        // Of a text's first byte; its length is before it.
        assert!(MAGIC[1] & 0b1100_0000 == 0b1000_0000, "it goes on with a character that has not begun");
        assert!(std::str::from_utf8(&MAGIC[1..2]).is_err());
    }
}
