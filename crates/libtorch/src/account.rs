//! Who pays for the memory that libtorch gives out on a thread.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ffi::{self, Reserved};
use crate::foreign;

/// Whoever pays for a thread's allocations.
pub trait Pays: Any {
    /// Returns where what is freed later is counted, on whichever thread that happens.
    fn account(&self) -> &Arc<Account>;

    /// Answers a wish for memory. What is granted is counted as freed by the account one day.
    fn reserve(&self, bytes: usize) -> Reserved;

    /// Lets others have the thread, if it may, between two pieces of something long.
    fn rest(&self) {}

    fn as_any(&self) -> &dyn Any;
}

/// Bytes that libtorch has freed of somebody's, and that nobody has taken note of yet.
#[derive(Default)]
pub struct Account {
    freed: AtomicU64,
}

impl Account {
    /// Returns the bytes that were freed.
    #[must_use]
    pub fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }

    /// Takes note of the bytes that were freed.
    #[must_use]
    pub fn take(&self) -> u64 {
        self.freed.swap(0, Ordering::Relaxed)
    }
}

/// While it lives, somebody else pays on this thread than before.
#[must_use]
pub struct Paying {
    before: Option<Rc<dyn Pays>>,
}

/// Has somebody pay.
pub fn paying(payer: Rc<dyn Pays>) -> Paying {
    Paying { before: install(Some(payer)) }
}

/// Has nobody pay: what follows is the server's own.
pub fn unpaid() -> Paying {
    Paying { before: install(None) }
}

impl Drop for Paying {
    fn drop(&mut self) {
        drop(install(self.before.take()));
    }
}

/// Lets others than the payer have this thread for a while, where it may. Nothing that others reach may be borrowed.
pub fn rest() {
    if let Some(payer) = PAYER.with_borrow(Clone::clone) {
        payer.rest();
    }
}

thread_local! {
    static PAYER: RefCell<Option<Rc<dyn Pays>>> = const { RefCell::new(None) };
}

/// Sets who pays, and returns who did.
pub fn install(payer: Option<Rc<dyn Pays>>) -> Option<Rc<dyn Pays>> {
    let account = payer.as_ref().map_or(std::ptr::null(), |payer| Arc::as_ptr(payer.account()));
    let before = PAYER.replace(payer);
    let (reserve, release) = match account.is_null() {
        true => (None, None),
        false => (Some(reserve as ffi::Reserve), Some(release as ffi::Release)),
    };
    // SAFETY: the account lives in PAYER until the next call of this function replaces it.
    unsafe { ffi::vt_set_account(account.cast_mut().cast(), reserve, release) };
    before
}

/// Looks at who pays.
pub fn with_payer<T>(look: impl FnOnce(Option<&dyn Pays>) -> T) -> T {
    PAYER.with_borrow(|payer| look(payer.as_deref()))
}

/// Asks the thread's payer. A granted reservation keeps the account alive until [`release`].
extern "C" fn reserve(_: *mut c_void, bytes: usize) -> Reserved {
    foreign::called(Reserved::No, || {
        with_payer(|payer| {
            let Some(payer) = payer else { return Reserved::No };
            let answer = payer.reserve(bytes);
            if answer == Reserved::Yes {
                let _kept = Arc::into_raw(Arc::clone(payer.account()));
            }
            answer
        })
    })
}

extern "C" fn release(account: *mut c_void, bytes: usize) {
    foreign::ended(|| {
        // SAFETY: the pointer comes from `Arc::into_raw` in `reserve`, once for each granted reservation.
        let account = unsafe { Arc::from_raw(account.cast_const().cast::<Account>()) };
        account.freed.fetch_add(bytes as u64, Ordering::Relaxed);
    });
}
