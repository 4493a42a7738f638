//! Long operations, done on a thread of their own: their job waits, and others have the model's thread meanwhile.
//!
//! What the operation needs it owns, so that a job which is cancelled does not wait for its end. Kernels split their work
//! among as many threads as ever, so that they come to the same bits.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};

use interpreter::Machine;
use interpreter::raise::Raise;
use libtorch::apart::{Apart, GLANCE};
use libtorch::foreign;

use crate::cost::Work;
use crate::job::{self, Job, Paying, Purse};

/// Operations that are likely to take longer are done on a thread of their own: several times what a job has the model's
/// thread for.
const LONG: f64 = 0.1;

/// Operations that are done at once, for all jobs. Each may take all processors.
const AT_ONCE: usize = 4;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

#[must_use]
pub fn is_long(work: Work) -> bool {
    work.seconds > LONG
}

/// Charges for a long operation, and returns whether it may be done on another thread.
///
/// # Errors
/// `RuntimeError` for one that a job has no time for; fatal where fuel or
/// memory is spent, or where the job has to make way for others first.
pub fn may_wait(machine: &Machine, name: &str, work: Work) -> Result<bool, Raise> {
    job::charge(machine, work)?;
    let most = machine.limits().run_time.as_secs_f64();
    if work.reading > most {
        let seconds = work.reading;
        return Err(Raise::runtime_error(format!(
            "{name}() would take about {seconds:.0} seconds on this server, and a job has {most:.0}: use smaller inputs, or \
             save them and compute this on your own machine"
        )));
    }
    machine.lasts()
}

/// Does a task on another thread. The job pays for the memory that it takes, and waits.
///
/// # Errors
/// Fatal where the job is stopped meanwhile, or memory or fuel is spent; `RuntimeError` without a thread.
pub fn run<T: Send + 'static>(
    machine: &Machine,
    job: &Job,
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Raise> {
    let place = Place::wait(machine)?;
    let purse = Purse::new(machine, job);
    let (own, threads) = (std::sync::Arc::clone(&purse), tch::get_num_threads());
    let (tell, told) = mpsc::sync_channel(1);
    let begun = std::thread::Builder::new().name("operation".into()).spawn(move || {
        let _place = place;
        tch::set_num_threads(threads);
        // Nobody may be there any more to be told.
        let _ = tell.send(own.pay(task));
    });
    begun.map_err(no_thread)?;
    loop {
        match told.recv_timeout(GLANCE) {
            Ok(done) => {
                purse.close(machine)?;
                return Ok(done);
            }
            Err(RecvTimeoutError::Timeout) => machine.rest()?,
            Err(RecvTimeoutError::Disconnected) => return Err(lost()),
        }
    }
}

/// Does a task on another thread whose hooks, and whatever else it calls of ours, are done on this one. The job pays for the
/// memory that it takes, and waits.
///
/// # Errors
/// As of [`run`]; and a panic of what it calls goes on.
pub(crate) fn attend<T: Send + 'static>(
    machine: &Machine,
    job: &Job,
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Raise> {
    let place = Cell::new(Some(Place::wait(machine)?));
    let purse = Purse::new(machine, job);
    let (own, threads) = (std::sync::Arc::clone(&purse), tch::get_num_threads());
    let begun = Apart::begin("operation", move || {
        tch::set_num_threads(threads);
        own.pay(task)
    });
    let begun = begun.map_err(no_thread)?;
    let flow = |outcome: Result<(), Raise>| outcome.map_or_else(ControlFlow::Break, ControlFlow::Continue);
    let call = |call: &mut dyn FnMut()| {
        // The task waits meanwhile, and what it calls may want a place itself.
        place.take();
        let called = purse.lend(machine, || {
            let _paying = Paying::new(machine, job);
            call();
        });
        flow(called.and_then(|()| Place::wait(machine)).map(|own| place.set(Some(own))))
    };
    let ended = begun.attend(|| flow(machine.rest()), call);
    foreign::go_on();
    match ended {
        ControlFlow::Break(raise) => Err(raise),
        ControlFlow::Continue(None) => Err(lost()),
        ControlFlow::Continue(Some(done)) => purse.close(machine).map(|()| done),
    }
}

fn no_thread(error: std::io::Error) -> Raise {
    Raise::runtime_error(format!("there is no thread for a long operation: {error}"))
}

fn lost() -> Raise {
    Raise::runtime_error("a long operation was lost")
}

/// A place among the operations that are done at once.
struct Place;

impl Place {
    fn wait(machine: &Machine) -> Result<Self, Raise> {
        loop {
            let taken = RUNNING.fetch_add(1, Ordering::Relaxed);
            let place = Self;
            if taken < AT_ONCE {
                return Ok(place);
            }
            drop(place);
            std::thread::park_timeout(GLANCE);
            machine.rest()?;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}
