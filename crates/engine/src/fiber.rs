//! Code with a stack of its own, which can stop in the middle and go on later, on one thread.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Stack of a fiber: as much as a model's thread has, for the same parsing and dropping. What is not touched takes no
/// memory.
const STACK_BYTES: usize = 64 << 20;

/// Stack for what only begins a fiber, or switches to or from one; unwinding begins there, too.
const SWITCH_BYTES: usize = 256 << 10;

/// What a fiber waits for that stops; `None` for nothing.
type Until = Option<Rc<dyn Fn() -> bool>>;

/// A computation that stops where it calls [`pause`]. Dropped before its end, it is unwound.
pub struct Fiber {
    coroutine: Option<Coroutine<(), Until, ()>>,
    until: Until,
}

impl Fiber {
    /// Makes a fiber that has not begun.
    ///
    /// # Errors
    /// When there is no room for a stack.
    pub fn new(body: impl FnOnce() + 'static) -> std::io::Result<Self> {
        let stack = DefaultStack::new(SWITCH_BYTES)?;
        let coroutine = Coroutine::with_stack(stack, move |yielder, ()| {
            RUNNING.set(Some(NonNull::from(yielder)));
            let _nobody = Leave(None);
            // On a stack that `stacker` knows the end of.
            stacker::grow(STACK_BYTES, body);
        });
        Ok(Self { coroutine: Some(coroutine), until: None })
    }

    /// Returns whether it can go on: it has not stopped for something that is yet to be.
    pub fn is_ready(&self) -> bool {
        self.until.as_ref().is_none_or(|until| until())
    }

    /// Goes on until the next pause, or to the end. Returns whether there is more.
    ///
    /// # Panics
    /// When the fiber does.
    pub fn go_on(&mut self) -> bool {
        let Some(coroutine) = &mut self.coroutine else { return false };
        let _around = Leave(RUNNING.take());
        self.until = None;
        match switch(|| coroutine.resume(())) {
            CoroutineResult::Yield(until) => {
                self.until = until;
                true
            }
            CoroutineResult::Return(()) => {
                self.coroutine = None;
                false
            }
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if let Some(coroutine) = self.coroutine.take() {
            let _around = Leave(RUNNING.take());
            switch(|| drop(coroutine));
        }
    }
}

/// Stops the fiber that calls this, until it is told to go on, which need not be before something is so. Returns whether it was
/// stopped: elsewhere, and while a panic unwinds, this does nothing.
///
/// No foreign frame may be between the fiber's beginning and here.
pub fn pause(until: Option<&Rc<dyn Fn() -> bool>>) -> bool {
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
    switch(|| lent.suspend(until.cloned()));
    RUNNING.set(Some(yielder));
    true
}

thread_local! {
    /// How to stop the fiber whose code runs on this thread.
    static RUNNING: Cell<Option<NonNull<Yielder<(), Until>>>> = const { Cell::new(None) };
}

/// Sets who runs, when dropped.
struct Leave(Option<NonNull<Yielder<(), Until>>>);

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
                pause(None);
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
        assert!(!pause(None), "nothing pauses outside of a fiber");
    }

    #[test]
    fn a_fiber_that_waits_is_ready_when_that_is_so() {
        let so = Rc::new(Cell::new(false));
        let until: Rc<dyn Fn() -> bool> = {
            let so = Rc::clone(&so);
            Rc::new(move || so.get())
        };
        let mut fiber = Fiber::new(move || {
            pause(Some(&until));
            pause(None);
        })
        .unwrap_or_else(|error| panic!("{error}"));
        assert!(fiber.is_ready() && fiber.go_on() && !fiber.is_ready());
        so.set(true);
        assert!(fiber.is_ready() && fiber.go_on());
        so.set(false);
        assert!(fiber.is_ready() && !fiber.go_on(), "it waits for nothing any more");
    }

    #[test]
    fn a_fiber_inside_another_pauses_itself_only() {
        let heard: Rc<RefCell<Vec<String>>> = Rc::default();
        let inner = Rc::clone(&heard);
        let mut outer = Fiber::new(move || {
            let mut inside = talker("inside", &inner);
            while inside.go_on() {
                inner.borrow_mut().push("outside".into());
                pause(None);
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
                assert!(!pause(None));
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = Rc::new(Cell::new(0));
        for turns in 0..3 {
            let held = Told(Rc::clone(&dropped));
            let mut fiber = Fiber::new(move || {
                let _held = held;
                while pause(None) {}
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
            pause(None);
            std::panic::resume_unwind(Box::new("over"));
        })
        .unwrap_or_else(|error| panic!("{error}"));
        assert!(fiber.go_on());
        let panic = catch_unwind(AssertUnwindSafe(|| fiber.go_on())).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"over"));
        assert!(!pause(None));
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
            pause(None);
            assert_eq!(stacker::remaining_stack(), own);
            assert_eq!(deep(100_000), 100_000);
            pause(None);
        })
        .unwrap_or_else(|error| panic!("{error}"));
        while fiber.go_on() {
            assert_eq!(stacker::remaining_stack(), before);
            assert_eq!(deep(20_000), 20_000);
        }
        assert_eq!(stacker::remaining_stack(), before);
    }
}
