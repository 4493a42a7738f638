//! Sleeping until another process has done something, by a word of memory that both see.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

/// What a rank sleeps at. It lies in memory that all ranks share, and is all zeros at first.
#[repr(C)]
pub struct Bell {
    rung: AtomicU32,
    asleep: AtomicU32,
}

impl Bell {
    /// Wakes who sleeps here. Called after whatever they wait for was done.
    pub fn ring(&self) {
        // Either this sees that they sleep, or they see what was done.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.rung.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the word is alive and aligned; waking reads and writes none of this process's memory.
        unsafe { libc::syscall(libc::SYS_futex, self.rung.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }

    /// Sleeps until somebody rings, unless there is no need any more, for less than a second and so long at most. Returns
    /// whether it slept for so long.
    pub fn sleep_unless(&self, done: impl Fn() -> bool, longest: Duration) -> bool {
        let seen = self.rung.load(Ordering::SeqCst);
        self.asleep.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let late = !done() && self.wait(seen, longest);
        self.asleep.store(0, Ordering::SeqCst);
        late
    }

    fn wait(&self, seen: u32, longest: Duration) -> bool {
        let limit = libc::timespec { tv_sec: 0, tv_nsec: longest.subsec_nanos().into() };
        // SAFETY: the word and the limit are alive and aligned, and the kernel only reads them. The word may be another
        // process's too, which a futex that is not private allows.
        let slept = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.rung.as_ptr(),
                libc::FUTEX_WAIT,
                seen,
                &raw const limit,
                std::ptr::null::<u32>(),
                0,
            )
        };
        slept == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT)
    }
}
