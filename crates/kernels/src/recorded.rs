//! Products with weights whose gradients are recorded: of what is multiplied only, for weights have none.

use std::ffi::c_void;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use libtorch::{Failure, account, apart, ffi};
use tch::{TchError, Tensor};

use crate::products::Products;
use crate::rows::as_one;
use crate::weight::Weight;

/// Names what was multiplied as one, so that its gradients can be, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(u64);

impl Moment {
    /// Returns a name that nothing has yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no two are alike")]
    pub fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a backward pass needs of a product.
pub struct Recorded {
    pub products: Products,
    pub weight: Rc<Weight>,
}

impl Recorded {
    /// Returns a computed product as what came of its input.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn attach(self, input: &Tensor, product: &Tensor, moment: Moment) -> Result<Tensor, TchError> {
        let context = Box::into_raw(Box::new(self)).cast::<c_void>();
        let mut failure = Failure::none();
        // SAFETY: both tensors are alive; the shim owns the context from here on and ends it with `forget`.
        let made = unsafe {
            ffi::vt_record_product(
                input.as_ptr().cast(),
                product.as_ptr().cast(),
                context,
                moment.0,
                multiply,
                forget,
                failure.out(),
            )
        };
        libtorch::adopt(made).ok_or_else(|| TchError::Torch(failure.problem().text))
    }

    fn gradient(&self, gradient: &Tensor, recorded: bool) -> Result<Tensor, TchError> {
        if recorded { gradient.f_matmul(&self.weight.dense()?) } else { self.products.gradient(gradient, &self.weight) }
    }

    /// Computes the gradients of what was multiplied as one. Those of several are views of one tensor, which nobody pays for.
    fn gradients(parts: &[(&Self, Tensor)], recorded: bool) -> Result<Vec<Tensor>, TchError> {
        let (Some((first, _)), false) = (parts.first(), recorded || parts.len() == 1) else {
            return parts.iter().map(|(part, gradient)| part.gradient(gradient, recorded)).collect();
        };
        let _unpaid = account::unpaid();
        let _unrecorded = tch::no_grad_guard();
        let own: Vec<&Tensor> = parts.iter().map(|(_, gradient)| gradient).collect();
        as_one(&own, |all| first.gradient(all, false))
    }
}

/// Computes gradients of what was multiplied from those of products of one moment.
extern "C" fn multiply(
    contexts: *const *const c_void,
    gradients: *const *const c_void,
    count: usize,
    recorded: bool,
    results: *mut *mut c_void,
) -> bool {
    // SAFETY: the array has `count` elements, which live during the call.
    let contexts = unsafe { std::slice::from_raw_parts(contexts, count) };
    // SAFETY: so has this one.
    let gradients = unsafe { std::slice::from_raw_parts(gradients, count) };
    // SAFETY: the array has `count` nulls to fill.
    let results = unsafe { std::slice::from_raw_parts_mut(results, count) };
    // A thread of its own may walk: what is ours stays where it belongs.
    apart::called(false, || {
        let (mut parts, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for ((context, gradient), place) in contexts.iter().zip(gradients).zip(results) {
            if gradient.is_null() {
                continue;
            }
            // SAFETY: the gradient is alive during the call; the copy is another owner.
            let copy = unsafe { ffi::vt_clone_handle(*gradient) };
            let Some(gradient) = libtorch::adopt(copy) else { return false };
            // SAFETY: the context is the box of `attach`, alive until `forget`, on the thread that it belongs to.
            parts.push((unsafe { &*context.cast::<Recorded>() }, gradient));
            places.push(place);
        }
        let Ok(made) = Recorded::gradients(&parts, recorded) else { return false };
        for (place, gradient) in places.into_iter().zip(made) {
            // SAFETY: the tensor is alive; the shim takes over the copy.
            *place = unsafe { ffi::vt_clone_handle(gradient.as_ptr().cast()) };
        }
        true
    })
}

extern "C" fn forget(context: *mut c_void) {
    apart::ended(|| {
        // SAFETY: the shim calls this once, with the box of `attach`.
        drop(unsafe { Box::from_raw(context.cast::<Recorded>()) });
    });
}
