//! What one growing container has been charged for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::machine::{Machine, Meter};
use crate::raise::Raise;

/// Bytes charged to a job for one container; given back when it is dropped.
#[derive(Default)]
pub struct Charge {
    /// The counter alone, not the machine: a container must not keep its machine alive.
    meter: RefCell<Option<Rc<Meter>>>,
    bytes: Cell<u64>,
}

impl Charge {
    /// Sees to it that `bytes` are charged, with some slack so that growing one by one rarely comes here.
    ///
    /// # Errors
    /// The machine's memory is spent.
    pub fn cover(&self, machine: &Machine, bytes: u64) -> Result<(), Raise> {
        let charged = self.bytes.get();
        if bytes > charged {
            let wanted = if charged == 0 { bytes } else { bytes.max(charged + charged / 8) };
            machine.charge_memory(wanted - charged)?;
            self.bytes.set(wanted);
            if self.meter.borrow().is_none() {
                *self.meter.borrow_mut() = Some(machine.meter());
            }
        } else if bytes < charged / 4 {
            machine.release_memory(charged - bytes);
            self.bytes.set(bytes);
        }
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(meter) = self.meter.get_mut() {
            meter.release(self.bytes.get());
        }
    }
}
