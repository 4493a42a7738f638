//! Memory of what is read, made into something else, and gone: one block serves all of it, one after another.

use crate::ffi;

/// While it lives, large blocks that this thread allocates are taken to be gone soon.
#[must_use]
pub struct Passing(());

/// Begins to allocate what is soon gone.
pub fn passing() -> Passing {
    // SAFETY: the function sets a flag of the thread.
    unsafe { ffi::vt_set_passing(true) };
    Passing(())
}

impl Drop for Passing {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { ffi::vt_set_passing(false) };
    }
}

/// What is kept of the memory of what is gone, given back to the system in the end.
#[must_use]
pub struct Spare(());

/// Begins to keep memory of what is gone.
pub fn spare() -> Spare {
    Spare(())
}

impl Drop for Spare {
    fn drop(&mut self) {
        // SAFETY: what is kept belongs to nobody.
        unsafe { ffi::vt_drop_spare() };
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn what_is_soon_gone_lies_where_what_went_before_it_lay() {
        crate::prepare();
        let _spare = spare();
        let large = |numbers: i64| {
            let _passing = passing();
            Tensor::ones([numbers], (Kind::Float, Device::Cpu))
        };
        let first = large(3 << 20);
        let place = first.data_ptr();
        drop(first);
        let (second, third) = (large(2 << 20), large(2 << 20));
        assert_eq!(second.data_ptr(), place);
        assert_ne!(third.data_ptr(), place);
        let after = Tensor::ones([2 << 20], (Kind::Float, Device::Cpu));
        let sums = [&second, &third, &after].map(|one| f64::try_from(one.sum(Kind::Double)).unwrap());
        assert_eq!(sums, [f64::from(2 << 20); 3]);
        drop(second);
        // What stays is never put there.
        assert_ne!(Tensor::ones([2 << 20], (Kind::Float, Device::Cpu)).data_ptr(), place);
    }
}
