//! Code with a stack of its own, which can stop in the middle and go on later, on one thread.

use std::cell::Cell;
use std::ptr::NonNull;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Stack of a fiber: as much as a model's thread has, for the same parsing and dropping. What is not touched takes no
/// memory.
const STACK_BYTES: usize = 64 << 20;

/// Stack for what only begins a fiber, or switches to or from one; unwinding begins there, too.
const SWITCH_BYTES: usize = 256 << 10;

/// A computation that stops where it calls [`pause`]. Dropped before its end, it is unwound.
pub struct Fiber(Option<Coroutine<(), (), ()>>);

impl Fiber {
    /// Makes a fiber that has not begun.
    ///
    /// # Errors
    /// When there is no room for a stack.
    pub fn new(body: impl FnOnce() + 'static) -> std::io::Result<Self> {
        let stack = DefaultStack::new(SWITCH_BYTES)?;
        Ok(Self(Some(Coroutine::with_stack(stack, move |yielder, ()| {
            RUNNING.set(Some(NonNull::from(yielder)));
            let _nobody = Leave(None);
            // On a stack that `stacker` knows the end of.
            stacker::grow(STACK_BYTES, body);
        }))))
    }

    /// Goes on until the next pause, or to the end. Returns whether there is more.
    ///
    /// # Panics
    /// When the fiber does.
    pub fn go_on(&mut self) -> bool {
        let Some(coroutine) = &mut self.0 else { return false };
        let _around = Leave(RUNNING.take());
        let paused = matches!(switch(|| coroutine.resume(())), CoroutineResult::Yield(()));
        if !paused {
            self.0 = None;
        }
        paused
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if let Some(coroutine) = self.0.take() {
            let _around = Leave(RUNNING.take());
            switch(|| drop(coroutine));
        }
    }
}

/// Stops the fiber that calls this, until it is told to go on. Returns whether it was: elsewhere, and while a panic
/// unwinds, this does nothing.
///
/// No foreign frame may be between the fiber's beginning and here.
pub fn pause() -> bool {
    if std::thread::panicking() {
        return false;
    }
    let Some(yielder) = RUNNING.take() else { return false };
    // SAFETY: the closure of `Fiber::new` that was lent the yielder has not ended, and it is its code that calls. For
    // the pointer is in RUNNING only while that closure runs: it is put there as it begins, taken out here before another
    // runs and put back once this one goes on, set aside by `go_on` and `drop` while another fiber runs inside this one,
    // and removed when the closure returns or unwinds.
    #[expect(unsafe_code, reason = "the yielder is lent to a closure, and the code that pauses is far below it")]
    let lent = unsafe { yielder.as_ref() };
    switch(|| lent.suspend(()));
    RUNNING.set(Some(yielder));
    true
}

thread_local! {
    /// How to stop the fiber whose code runs on this thread.
    static RUNNING: Cell<Option<NonNull<Yielder<(), ()>>>> = const { Cell::new(None) };
}

/// Sets who runs, when dropped.
struct Leave(Option<NonNull<Yielder<(), ()>>>);

impl Drop for Leave {
    fn drop(&mut self) {
        RUNNING.set(self.0);
    }
}

/// Runs code during which the thread's stack is changed for another. `stacker` keeps the end of the current one by
/// thread, and puts it back when what it was given to run is done: so either side finds its own again.
fn switch<R>(code: impl FnOnce() -> R) -> R {
    stacker::grow(SWITCH_BYTES, code)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    use super::*;

    fn talker(name: &'static str, heard: &Rc<RefCell<Vec<String>>>) -> Fiber {
        let heard = Rc::clone(heard);
        Fiber::new(move || {
            for turn in 0..3 {
                heard.borrow_mut().push(format!("{name}{turn}"));
                pause();
            }
        })
        .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn fibers_stop_and_go_on_in_any_order() {
        let heard = Rc::default();
        let (mut a, mut b) = (talker("a", &heard), talker("b", &heard));
        assert!(a.go_on() && b.go_on() && b.go_on() && a.go_on() && a.go_on() && b.go_on());
        assert!(!a.go_on() && !b.go_on() && !a.go_on());
        assert_eq!(*heard.borrow(), ["a0", "b0", "b1", "a1", "a2", "b2"]);
        assert!(!pause(), "nothing pauses outside of a fiber");
    }

    #[test]
    fn a_fiber_inside_another_pauses_itself_only() {
        let heard: Rc<RefCell<Vec<String>>> = Rc::default();
        let inner = Rc::clone(&heard);
        let mut outer = Fiber::new(move || {
            let mut inside = talker("inside", &inner);
            while inside.go_on() {
                inner.borrow_mut().push("outside".into());
                pause();
            }
        })
        .unwrap_or_else(|error| panic!("{error}"));
        while outer.go_on() {}
        assert_eq!(*heard.borrow(), ["inside0", "outside", "inside1", "outside", "inside2", "outside"]);
    }

    #[test]
    fn a_fiber_that_is_dropped_drops_what_it_holds_and_does_not_pause_again() {
        struct Told(Rc<Cell<u32>>);
        impl Drop for Told {
            fn drop(&mut self) {
                assert!(!pause());
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = Rc::new(Cell::new(0));
        for turns in 0..3 {
            let held = Told(Rc::clone(&dropped));
            let mut fiber = Fiber::new(move || {
                let _held = held;
                while pause() {}
            })
            .unwrap_or_else(|error| panic!("{error}"));
            for _ in 0..turns {
                assert!(fiber.go_on());
            }
            drop(fiber);
            assert_eq!(dropped.get(), turns + 1);
        }
    }

    #[test]
    fn a_panic_reaches_whoever_let_the_fiber_go_on() {
        let mut fiber = Fiber::new(|| {
            pause();
            std::panic::resume_unwind(Box::new("over"));
        })
        .unwrap_or_else(|error| panic!("{error}"));
        assert!(fiber.go_on());
        let panic = catch_unwind(AssertUnwindSafe(|| fiber.go_on())).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"over"));
        assert!(!pause());
    }

    #[test]
    fn each_side_knows_how_much_stack_it_has_left() {
        fn deep(levels: usize) -> usize {
            let room = std::hint::black_box([levels; 512]);
            if levels == 0 { 0 } else { stacker::maybe_grow(64 << 10, 1 << 20, || deep(levels - 1)) + room.len() / 512 }
        }
        let before = stacker::remaining_stack();
        let mut fiber = Fiber::new(|| {
            let own = stacker::remaining_stack();
            assert!(own.is_some_and(|own| own > STACK_BYTES / 2 && own <= STACK_BYTES));
            pause();
            assert_eq!(stacker::remaining_stack(), own);
            assert_eq!(deep(100_000), 100_000);
            pause();
        })
        .unwrap_or_else(|error| panic!("{error}"));
        while fiber.go_on() {
            assert_eq!(stacker::remaining_stack(), before);
            assert_eq!(deep(20_000), 20_000);
        }
        assert_eq!(stacker::remaining_stack(), before);
    }
}
