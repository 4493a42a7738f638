//! Whether NCCL, and devices, do what they were given to do.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::nccl::library::Communicator;
use crate::nccl::{Mark, OnLoss};
use crate::{Alarm, Lost, Patience};

/// What a communicator is called through, and a thread that looks after it.
pub struct Watch {
    /// Gone once the group is lost: whatever was under way is then as good as not done.
    communicator: Mutex<Option<Communicator>>,
    version: String,
    alarm: Alarm,
    on_loss: OnLoss,
    expected: Mutex<Expected>,
    changed: Condvar,
}

#[derive(Default)]
struct Expected {
    /// A call that has not come back.
    call: Option<Wait>,
    /// What the stream was given to do, in order.
    posted: VecDeque<Posted>,
    ended: bool,
}

struct Posted {
    begun: Box<dyn Mark>,
    done: Box<dyn Mark>,
    wait: Wait,
}

/// How long a rank has been waited for. Only what this process was awake for counts.
struct Wait {
    rank: usize,
    patience: Patience,
    /// Whether the thread has seen it: time before is not its.
    seen: bool,
    waited: Duration,
}

/// How often the thread looks while something is under way, and while nothing is.
const SOON: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_millis(500);

/// How long a caller of NCCL looks again and again before it sleeps, and how long it sleeps then.
const BRIEF: Duration = Duration::from_micros(200);

impl Watch {
    pub fn start(communicator: Communicator, alarm: Alarm, on_loss: OnLoss) -> io::Result<Arc<Self>> {
        let version = communicator.version().to_owned();
        let (communicator, expected) = (Mutex::new(Some(communicator)), Mutex::default());
        let watch = Arc::new(Self { communicator, version, alarm, on_loss, expected, changed: Condvar::new() });
        let own = Arc::clone(&watch);
        std::thread::Builder::new().name("nccl".into()).spawn(move || own.run())?;
        Ok(watch)
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Asks NCCL for something that is about a rank, and waits until it has taken that in.
    pub fn call(
        &self,
        rank: usize,
        patience: Patience,
        ask: &dyn Fn(&Communicator) -> Result<(), String>,
    ) -> Result<(), Lost> {
        self.expected().call = Some(Wait::new(rank, patience));
        let (mut asked, begun) = (false, Instant::now());
        let done = loop {
            if let Some(ended) = self.alarm.ended() {
                // What was asked for goes on with its memory until here, and whoever asked may let go of that now.
                *self.communicator.lock().unwrap_or_else(PoisonError::into_inner) = None;
                break Err(ended);
            }
            let state = match &*self.communicator.lock().unwrap_or_else(PoisonError::into_inner) {
                None => break Err(self.alarm.ended().unwrap_or(Lost::Broken(rank))),
                Some(communicator) if asked => communicator.state(),
                Some(communicator) => ask(communicator).and_then(|()| communicator.state()),
            };
            asked = true;
            match state {
                Ok(true) => break Ok(()),
                // It is between two threads of one process and takes some microseconds, but for the first time.
                Ok(false) if begun.elapsed() < BRIEF => std::thread::yield_now(),
                Ok(false) => std::thread::sleep(BRIEF),
                Err(why) => break Err(self.lose(&Lost::Ended(why))),
            }
        };
        self.expected().call = None;
        done
    }

    /// Has the thread look after what the stream was given to do between two marks.
    pub fn expect(&self, rank: usize, patience: Patience, begun: Box<dyn Mark>, done: Box<dyn Mark>) {
        // The thread need not be woken: it looks often enough.
        self.expected().posted.push_back(Posted { begun, done, wait: Wait::new(rank, patience) });
    }

    /// Gives the group up: first whoever has to know is told, then nobody is held by it any more. What lies where something
    /// was to be received is no result.
    pub fn lose(&self, why: &Lost) -> Lost {
        (self.on_loss)(why);
        let why = why.to_string();
        self.alarm.abort(&why);
        self.let_go();
        self.alarm.ended().unwrap_or(Lost::Ended(why))
    }

    /// Ends the thread, and what is under way.
    pub fn end(&self) {
        self.expected().ended = true;
        self.changed.notify_one();
        self.let_go();
    }

    /// Ends what is under way, unless a call has not come back: then only the process's end does. Whoever comes for the
    /// communicator meanwhile waits, and finds that nothing is under way any more.
    fn let_go(&self) {
        match self.communicator.try_lock() {
            Ok(mut communicator) => *communicator = None,
            Err(TryLockError::Poisoned(poisoned)) => *poisoned.into_inner() = None,
            Err(TryLockError::WouldBlock) => {}
        }
    }

    fn run(&self) {
        loop {
            let tick = {
                let expected = self.expected();
                let tick = if expected.call.is_some() || !expected.posted.is_empty() { SOON } else { IDLE };
                let (expected, slept) =
                    self.changed.wait_timeout(expected, tick).unwrap_or_else(PoisonError::into_inner);
                if expected.ended {
                    return;
                }
                // What just came is looked at later.
                if slept.timed_out() { tick } else { Duration::ZERO }
            };
            if let Some(why) = self.look(tick) {
                self.lose(&why);
            }
            if self.alarm.ended().is_some() {
                // Who is inside a call has found that out when it comes out of it.
                self.let_go();
                if self.communicator.try_lock().is_ok_and(|communicator| communicator.is_none()) {
                    return;
                }
            }
        }
    }

    /// Looks at how far things have come since the last time. Returns why the group is lost, if it is.
    fn look(&self, passed: Duration) -> Option<Lost> {
        let mut expected = self.expected();
        if let Some(call) = &mut expected.call
            && call.is_over(passed)
        {
            return Some(call.silent());
        }
        while let Some(first) = expected.posted.front_mut() {
            match first.done.reached() {
                Ok(true) => drop(expected.posted.pop_front()),
                Err(why) => return Some(Lost::Ended(why)),
                Ok(false) => match first.begun.reached() {
                    Ok(true) if first.wait.is_over(passed) => return Some(first.wait.silent()),
                    Ok(_) => break,
                    Err(why) => return Some(Lost::Ended(why)),
                },
            }
        }
        drop(expected);
        // Whoever has it asks for its state, too.
        let communicator = self.communicator.try_lock().ok()?;
        communicator.as_ref().and_then(|communicator| communicator.state().err()).map(Lost::Ended)
    }

    fn expected(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    fn new(rank: usize, patience: Patience) -> Self {
        Self { rank, patience, seen: false, waited: Duration::ZERO }
    }

    fn is_over(&mut self, passed: Duration) -> bool {
        if std::mem::replace(&mut self.seen, true) {
            self.waited += passed;
        }
        self.patience.is_some_and(|patience| self.waited >= patience)
    }

    fn silent(&self) -> Lost {
        Lost::Silent { rank: self.rank, seconds: self.waited.as_secs() }
    }
}

/// Waits until a communicator that begins has done so.
pub fn settle(communicator: &Communicator, longest: Duration, alarm: &Alarm) -> Result<(), String> {
    const STEP: Duration = Duration::from_millis(1);
    let mut waited = Duration::ZERO;
    while !communicator.state()? {
        if let Some(ended) = alarm.ended() {
            return Err(ended.to_string());
        }
        if waited >= longest {
            return Err(format!("NCCL has not made a communicator within {} s", waited.as_secs()));
        }
        std::thread::sleep(STEP);
        waited += STEP;
    }
    Ok(())
}
