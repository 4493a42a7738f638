//! Bytes that one rank writes and others read, in memory that they share.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number on a line of a processor's cache by itself: who writes it disturbs nobody who reads another.
#[repr(C, align(128))]
pub struct Count(AtomicU64);

impl Count {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Release);
    }
}

/// The bytes of a ring, which begins again where it ends. Counts of what was written and read grow for ever.
#[derive(Clone, Copy)]
pub struct Ring {
    start: *mut u8,
    capacity: u64,
}

impl Ring {
    /// # Safety
    /// The memory has as many bytes and lives for as long as the ring is used. Whoever uses it writes only what lies before
    /// all readers' counts, and reads only what lies behind the writer's, in their order.
    pub unsafe fn new(start: *mut u8, capacity: u64) -> Self {
        Self { start, capacity }
    }

    /// Returns how many bytes can be written before the ring ends or what somebody has not read yet begins; `None` where the
    /// counts cannot be.
    pub fn room(&self, written: u64, read: u64) -> Option<u64> {
        let unread = written.checked_sub(read).filter(|unread| *unread <= self.capacity)?;
        Some((self.capacity - unread).min(self.capacity - written % self.capacity))
    }

    /// Returns how many bytes can be read before the ring ends or what was written does; `None` where the counts cannot be.
    pub fn unread(&self, written: u64, read: u64) -> Option<u64> {
        let unread = written.checked_sub(read).filter(|unread| *unread <= self.capacity)?;
        Some(unread.min(self.capacity - read % self.capacity))
    }

    /// Writes bytes behind so many; there has to be room.
    pub fn write(&self, written: u64, bytes: &[u8]) {
        let at = self.place(written, bytes.len());
        // SAFETY: the place has so many bytes, which nobody reads before the count says that they are there.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
    }

    /// Reads bytes behind so many; they have to be there.
    pub fn read(&self, read: u64, bytes: &mut [u8]) {
        let at = self.place(read, bytes.len());
        // SAFETY: the place has so many bytes, which nobody writes to before the count says that they were read.
        unsafe { std::ptr::copy_nonoverlapping(at, bytes.as_mut_ptr(), bytes.len()) };
    }

    fn place(&self, count: u64, length: usize) -> *mut u8 {
        let at = count % self.capacity;
        debug_assert!(at + length as u64 <= self.capacity);
        // SAFETY: it lies inside the ring.
        unsafe { self.start.add(at as usize) }
    }
}
