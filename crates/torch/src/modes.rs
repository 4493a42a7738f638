//! What PyTorch keeps for each thread and users' code can set: whether gradients are recorded, and autocast. Here each
//! coroutine has its own, as each invoke has a thread with the client.

use std::cell::Cell;
use std::rc::Rc;

use libtorch::ffi;
use program::DType;

use crate::dtype;

/// The modes of whichever coroutine of a job runs. Each begins as a thread does: gradients are recorded, nothing is cast.
pub struct Modes(Rc<Cell<u64>>);

/// What `torch.autocast` sets for a kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autocast {
    pub enabled: bool,
    /// The type that the listed operators compute in.
    pub dtype: DType,
}

/// Which devices' operators are cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Cpu,
    Cuda,
}

const UNRECORDED: u64 = 1;
const INFERENCE: u64 = 2;

impl Kind {
    /// Where a kind's byte is among the switches: the type's code and one, zero for the default, and [`ENABLED`].
    const fn shift(self) -> u32 {
        match self {
            Self::Cpu => 8,
            Self::Cuda => 16,
        }
    }

    const fn default_dtype(self) -> DType {
        match self {
            Self::Cpu => DType::BFloat16,
            Self::Cuda => DType::Float16,
        }
    }
}

const ENABLED: u64 = 0x80;
const DTYPE: u64 = 0x7f;

impl Modes {
    pub fn new(switches: Rc<Cell<u64>>) -> Self {
        Self(switches)
    }

    fn flag(&self, bit: u64) -> bool {
        self.0.get() & bit != 0
    }

    fn set_flag(&self, bit: u64, on: bool) -> bool {
        let before = self.flag(bit);
        self.0.set(if on { self.0.get() | bit } else { self.0.get() & !bit });
        before
    }

    /// Returns whether operations record what gradients need.
    pub fn gradients(&self) -> bool {
        !self.flag(UNRECORDED)
    }

    /// Sets it, and returns what was set before.
    pub fn set_gradients(&self, on: bool) -> bool {
        !self.set_flag(UNRECORDED, !on)
    }

    /// Returns whether `torch.inference_mode()` is entered.
    pub fn inference(&self) -> bool {
        self.flag(INFERENCE)
    }

    /// Sets it, and returns what was set before.
    pub fn set_inference(&self, on: bool) -> bool {
        self.set_flag(INFERENCE, on)
    }

    pub fn autocast(&self, kind: Kind) -> Autocast {
        let byte = self.0.get() >> kind.shift();
        let code = i32::try_from(byte & DTYPE).unwrap_or(0);
        let dtype = if code == 0 { None } else { dtype::of_code(code - 1) };
        Autocast { enabled: byte & ENABLED != 0, dtype: dtype.unwrap_or(kind.default_dtype()) }
    }

    /// Sets it, and returns what was set before.
    pub fn set_autocast(&self, kind: Kind, autocast: Autocast) -> Autocast {
        let before = self.autocast(kind);
        let code = u64::try_from(dtype::code(autocast.dtype) + 1).unwrap_or(0) & DTYPE;
        let byte = code | if autocast.enabled { ENABLED } else { 0 };
        self.0.set(self.0.get() & !(0xff << kind.shift()) | byte << kind.shift());
        before
    }

    /// Returns whether anything is cast.
    pub fn casts(&self) -> bool {
        self.flag(ENABLED << Kind::Cpu.shift() | ENABLED << Kind::Cuda.shift())
    }

    /// Returns the modes as an operator is called under them.
    pub fn mode(&self, gradients: bool) -> ffi::Mode {
        let cast = |kind| match self.autocast(kind) {
            Autocast { enabled: true, dtype } => i8::try_from(dtype::code(dtype)).unwrap_or(ffi::NO_CAST),
            _ => ffi::NO_CAST,
        };
        match self.casts() {
            true => ffi::Mode { gradients, cpu_cast: cast(Kind::Cpu), gpu_cast: cast(Kind::Cuda) },
            false => ffi::Mode::plain(gradients),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_is_set_and_put_back_by_itself() {
        let modes = Modes::new(Rc::default());
        assert!(modes.gradients() && !modes.inference() && !modes.casts());
        assert_eq!(modes.autocast(Kind::Cpu), Autocast { enabled: false, dtype: DType::BFloat16 });
        let half = Autocast { enabled: true, dtype: DType::Float16 };
        let before = modes.set_autocast(Kind::Cpu, half);
        assert!(modes.set_gradients(false) && !modes.set_inference(true));
        assert_eq!((modes.autocast(Kind::Cpu), modes.autocast(Kind::Cuda).enabled), (half, false));
        assert_eq!(modes.mode(false), ffi::Mode { gradients: false, cpu_cast: 5, gpu_cast: ffi::NO_CAST });
        modes.set_autocast(Kind::Cpu, before);
        assert!(!modes.casts() && !modes.gradients() && modes.inference());
        assert_eq!(modes.mode(true), ffi::Mode::plain(true));
    }
}
