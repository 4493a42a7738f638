//! Our code that C++ calls. A panic in it must not get there, which would end the process: it is kept until the C++ that
//! called has returned, and goes on from there, to whoever looks after jobs that panic.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

thread_local! {
    static PANIC: RefCell<Option<Box<dyn Any + Send>>> = const { RefCell::new(None) };
}

/// Runs what C++ calls; `otherwise` where it panics, or where what was called before has.
pub fn called<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    if has_panicked() {
        return otherwise;
    }
    // What is left half done belongs to the job, which ends.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(panic) => {
            PANIC.set(Some(panic));
            otherwise
        }
    }
}

/// Ends what C++ held of ours, whatever was kept before.
pub fn ended(body: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
        PANIC.with_borrow_mut(|kept| {
            kept.get_or_insert(panic);
        });
    }
}

/// Says whether a panic is kept.
pub(crate) fn has_panicked() -> bool {
    PANIC.with_borrow(Option::is_some)
}

/// Goes on with a panic, if one was kept: to be called when C++ has returned.
pub fn go_on() {
    if let Some(panic) = PANIC.take() {
        resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_waits_until_the_foreign_code_has_returned() {
        assert_eq!(called(0, || 1), 1);
        assert_eq!(called(0, || std::panic::resume_unwind(Box::new("over"))), 0);
        assert_eq!(called(0, || 1), 0, "nothing more is run");
        let panic = catch_unwind(go_on).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"over"));
        go_on();
        assert_eq!(called(0, || 1), 1);
    }
}
