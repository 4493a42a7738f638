//! C++ that takes long and calls our code meanwhile, as a walk through a graph of gradients does. It runs on a thread of its
//! own; what it calls is done on the thread that waits for it, to which all that is ours belongs.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::foreign;

/// How long the thread that waits for a task looks after that before it looks after others.
pub const GLANCE: Duration = Duration::from_millis(1);

/// A task on a thread of its own. Dropped before its end, it is waited for: what it calls from then on is refused, so that
/// it ends soon.
pub struct Apart<T> {
    calls: Receiver<Call>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Apart<T> {
    /// Begins a task.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn begin(name: &str, task: impl FnOnce() -> T + Send + 'static) -> std::io::Result<Self> {
        let (tell, calls) = mpsc::channel();
        let thread = Builder::new().name(name.into()).spawn(move || {
            HOME.set(Some(tell));
            let made = task();
            HOME.take();
            made
        })?;
        Ok(Self { calls, thread: Some(thread) })
    }

    /// Waits for the task's end, and does what it calls: `around` is given each call, to do once. In between, `rest` is called
    /// every now and then. Where one of these breaks off, or our code panics, the task is given up; for a panic this returns
    /// `None`, and [`foreign::go_on`] goes on with it.
    pub fn attend<B>(
        mut self,
        mut rest: impl FnMut() -> ControlFlow<B>,
        mut around: impl FnMut(&mut dyn FnMut()) -> ControlFlow<B>,
    ) -> ControlFlow<B, Option<T>> {
        loop {
            match self.calls.recv_timeout(GLANCE) {
                Ok(call) => {
                    let done = around(&mut || call.run());
                    call.answer(true);
                    done?;
                    if foreign::has_panicked() {
                        return ControlFlow::Continue(None);
                    }
                    rest()?;
                }
                Err(RecvTimeoutError::Timeout) => rest()?,
                Err(RecvTimeoutError::Disconnected) => return ControlFlow::Continue(self.join()),
            }
        }
    }

    fn join(&mut self) -> Option<T> {
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl<T> Drop for Apart<T> {
    fn drop(&mut self) {
        for call in &self.calls {
            // What is ours has to end here all the same.
            if call.ends {
                call.run();
            }
            call.answer(call.ends);
        }
        if let Some(thread) = self.thread.take() {
            // Nobody wants to know any more.
            drop(thread.join());
        }
    }
}

/// Runs what C++ calls, on the thread that waits for it where it has one of its own; `otherwise` where it panics, where what
/// was called before has, or where nobody waits any more.
pub fn called<T: Send>(otherwise: T, body: impl FnOnce() -> T) -> T {
    let mut body = Some(body);
    let mut made = None;
    let asked = at_home(false, &mut || {
        if let Some(body) = body.take() {
            made = foreign::called(None, || Some(body()));
        }
    });
    match (asked, body) {
        (None, Some(body)) => foreign::called(otherwise, body),
        _ => made.unwrap_or(otherwise),
    }
}

/// Ends what C++ held of ours, whatever has become of it.
pub fn ended(body: impl FnOnce()) {
    let mut body = Some(body);
    let mut end = || {
        if let Some(body) = body.take() {
            foreign::ended(body);
        }
    };
    if at_home(true, &mut end).is_none() {
        end();
    }
}

thread_local! {
    /// Who waits for what this thread does, where that is a thread of a task.
    static HOME: RefCell<Option<Sender<Call>>> = const { RefCell::new(None) };
}

/// What a task calls. It waits until it is answered.
struct Call {
    body: *mut dyn FnMut(),
    ends: bool,
    answer: Sender<bool>,
}

// SAFETY: the thread that made it waits for the answer, so that only one uses the body at a time.
unsafe impl Send for Call {}

impl Call {
    fn run(&self) {
        // SAFETY: whoever called waits for the answer, which comes later, and so its body lives.
        let body = unsafe { &mut *self.body };
        body();
    }

    fn answer(&self, done: bool) {
        // Whoever called waits.
        let _ = self.answer.send(done);
    }
}

/// Has the thread that waits do something. Returns whether it was done; `None` where this is no thread of a task.
fn at_home(ends: bool, body: &mut dyn FnMut()) -> Option<bool> {
    let home = HOME.with_borrow(Clone::clone)?;
    let (answer, answered) = mpsc::channel();
    // SAFETY: only the lifetime is lost; the body is used until the answer comes, for which this waits.
    let body = unsafe { std::mem::transmute::<&mut dyn FnMut(), &'static mut dyn FnMut()>(body) };
    let sent = home.send(Call { body, ends, answer });
    Some(sent.is_ok() && answered.recv().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::rc::Rc;
    use std::thread;

    use super::*;

    fn never() -> ControlFlow<Infallible> {
        ControlFlow::Continue(())
    }

    fn done(call: &mut dyn FnMut()) -> ControlFlow<Infallible> {
        call();
        ControlFlow::Continue(())
    }

    /// Something that may only be touched where it was made, by way of a pointer as C++ has it.
    struct Ours(*const Rc<Cell<u32>>);

    // SAFETY: it is only used in calls, which the thread that owns it does.
    unsafe impl Send for Ours {}

    impl Ours {
        fn count(&self) -> u32 {
            // SAFETY: the test that owns the counter waits for the task.
            let counter = unsafe { &*self.0 };
            counter.set(counter.get() + 1);
            counter.get()
        }
    }

    #[test]
    fn what_a_task_calls_is_done_by_who_waits_for_it() {
        let here = thread::current().id();
        let counter = Rc::new(Cell::new(0));
        let ours = Ours(&raw const counter);
        let task = Apart::begin("task", move || {
            let ours = ours;
            let where_called = called(None, || Some(thread::current().id()));
            let counts = (0..3).map(|_| called(0, || ours.count())).collect::<Vec<_>>();
            ended(|| {
                ours.count();
            });
            (where_called, thread::current().id(), counts)
        });
        let ControlFlow::Continue(Some((called, own, counts))) =
            task.unwrap_or_else(|error| panic!("{error}")).attend(never, done)
        else {
            panic!("the task was given up");
        };
        assert_eq!((called, counts, counter.get()), (Some(here), vec![1, 2, 3], 4));
        assert_ne!(own, here);
        assert_eq!(super::called(1, || 2), 2, "where no task runs it is done at once");
    }

    #[test]
    fn who_waits_rests_and_may_give_up_and_then_only_ends_are_done() {
        let counter = Rc::new(Cell::new(0));
        let ours = Ours(&raw const counter);
        let (tell, told) = mpsc::channel();
        let task = Apart::begin("task", move || {
            let ours = ours;
            assert_eq!(called(0, || ours.count()), 1);
            // Whoever waits has given up.
            let answers = (called(0, || ours.count()), called(0, || ours.count()));
            ended(|| {
                ours.count();
            });
            let _ = tell.send(answers);
        });
        let rest = || if counter.get() == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break("tired") };
        let given_up = task.unwrap_or_else(|error| panic!("{error}")).attend(rest, |call| {
            call();
            ControlFlow::Continue(())
        });
        assert_eq!(given_up, ControlFlow::Break("tired"));
        assert_eq!(told.recv(), Ok((0, 0)));
        assert_eq!(counter.get(), 2, "the first call and the end");
    }

    #[test]
    fn a_panic_in_a_call_is_gone_on_with_by_who_waits() {
        let task = Apart::begin("task", || {
            let first = called(7, || std::panic::resume_unwind(Box::new("over")));
            (first, called(7, || 1))
        });
        let ended = task.unwrap_or_else(|error| panic!("{error}")).attend(never, done);
        assert!(matches!(ended, ControlFlow::Continue(None)));
        let panic = std::panic::catch_unwind(foreign::go_on).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"over"));
    }
}
