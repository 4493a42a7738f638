//! What the objects of a job take of its memory.
//!
//! Making an object charges it: its constructor asks who pays on this thread, so that nobody has to remember to. What is
//! made in a job's name passes its limit by one object at most, and ends the job at its next step; whoever makes something
//! large asks [`crate::values::machine::Machine::charge_memory`] before.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::ledger::Ledger;

/// Counts bytes of Python objects alive, for one job.
pub struct Meter {
    used: Cell<u64>,
    limit: u64,
    /// More was made than the limit allows.
    overdrawn: Cell<bool>,
    /// Fuel at which the machine looks at what ends the job: at once, where the limit is passed.
    pub(crate) look_at: Cell<u64>,
    pub(crate) ledger: RefCell<Ledger>,
}

impl Meter {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            used: Cell::new(0),
            limit,
            overdrawn: Cell::new(false),
            look_at: Cell::new(0),
            ledger: RefCell::default(),
        }
    }

    /// Counts bytes where they fit; says whether they do.
    pub(crate) fn charge(&self, bytes: u64) -> bool {
        let used = self.used.get().saturating_add(bytes);
        let fits = used <= self.limit;
        if fits {
            self.used.set(used);
        }
        fits
    }

    /// Counts bytes of what is there already.
    pub(crate) fn overdraw(&self, bytes: u64) {
        let used = self.used.get().saturating_add(bytes);
        self.used.set(used);
        if used > self.limit {
            self.overdrawn.set(true);
            self.look_at.set(0);
        }
    }

    /// Takes back bytes.
    pub fn release(&self, bytes: u64) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }

    /// Gives back what is no longer alive.
    pub(crate) fn settle(&self) {
        self.ledger.borrow_mut().sweep(self);
    }

    /// Returns the bytes counted now.
    pub(crate) fn used(&self) -> u64 {
        self.used.get()
    }

    pub(crate) fn is_overdrawn(&self) -> bool {
        self.overdrawn.get()
    }
}

thread_local! {
    /// Who pays for what is made on this thread; `None` for what belongs to no job.
    static PAYER: RefCell<Option<Rc<Meter>>> = const { RefCell::new(None) };
}

/// Has a job, or nobody, pay for what is made on this thread until it is dropped.
pub struct Paying(Option<Rc<Meter>>);

impl Paying {
    pub(crate) fn begin(payer: Option<Rc<Meter>>) -> Self {
        Self(PAYER.with_borrow_mut(|current| std::mem::replace(current, payer)))
    }
}

impl Drop for Paying {
    fn drop(&mut self) {
        let before = self.0.take();
        let ended = PAYER.try_with(|current| std::mem::replace(&mut *current.borrow_mut(), before));
        drop(ended);
    }
}

/// Makes what all jobs of a thread share, which none of them pays for.
pub fn shared<T>(make: impl FnOnce() -> T) -> T {
    let _nobody = Paying::begin(None);
    make()
}

/// Returns who pays on this thread.
pub(crate) fn payer() -> Option<Rc<Meter>> {
    PAYER.with_borrow(Clone::clone)
}

/// Bytes charged to a job for one object; given back when that is dropped.
#[derive(Default)]
pub struct Charge {
    /// The counter alone, not the machine: an object must not keep its machine alive.
    meter: OnceCell<Rc<Meter>>,
    bytes: Cell<u64>,
}

impl Charge {
    /// Charges an object of this size to whoever pays on this thread.
    pub fn of(bytes: u64) -> Self {
        let charge = Self::default();
        charge.note(bytes);
        charge
    }

    /// Sees to it that `bytes` are charged, with some slack so that growing one by one rarely comes here.
    ///
    /// # Errors
    /// The machine's memory is spent.
    pub fn cover(&self, machine: &Machine, bytes: u64) -> Result<(), Raise> {
        let charged = self.bytes.get();
        if bytes > charged {
            let wanted = Self::wanted(charged, bytes);
            machine.charge_memory(wanted - charged)?;
            self.bytes.set(wanted);
            self.meter.get_or_init(|| machine.meter());
        } else {
            self.shrink(bytes);
        }
        Ok(())
    }

    /// Charges so much more.
    ///
    /// # Errors
    /// As of [`Charge::cover`].
    pub(crate) fn add(&self, machine: &Machine, bytes: u64) -> Result<(), Raise> {
        self.cover(machine, self.bytes.get() + bytes)
    }

    /// The same for an object that has grown already: whoever pays for it hears of it with the job's next step.
    pub fn note(&self, bytes: u64) {
        let charged = self.bytes.get();
        if bytes <= charged {
            self.shrink(bytes);
            return;
        }
        if self.meter.get().is_none()
            && let Some(payer) = payer()
        {
            self.meter.get_or_init(|| payer);
        }
        if let Some(meter) = self.meter.get() {
            let wanted = Self::wanted(charged, bytes);
            meter.overdraw(wanted - charged);
            self.bytes.set(wanted);
        }
    }

    fn wanted(charged: u64, bytes: u64) -> u64 {
        if charged == 0 { bytes } else { bytes.max(charged + charged / 8) }
    }

    fn shrink(&self, bytes: u64) {
        let charged = self.bytes.get();
        if bytes < charged / 4
            && let Some(meter) = self.meter.get()
        {
            meter.release(charged - bytes);
            self.bytes.set(bytes);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(meter) = self.meter.get() {
            meter.release(self.bytes.get());
        }
    }
}
