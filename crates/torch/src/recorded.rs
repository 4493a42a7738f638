//! Products with weights whose gradients are recorded: of what is multiplied only, for weights have none.

use std::ffi::c_void;
use std::rc::Rc;

use tch::{TchError, Tensor};

use crate::dispatch::{self, Failure};
use crate::ffi;
use crate::kernels::{Kernels, Rows};
use crate::weight::Weight;

/// What a backward pass needs of a product.
pub struct Recorded {
    pub kernels: Rc<Kernels>,
    pub weight: Rc<Weight>,
    pub rows: Rows,
}

impl Recorded {
    /// Returns a computed product as what came of its input.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn attach(self, input: &Tensor, product: &Tensor) -> Result<Tensor, TchError> {
        let context = Box::into_raw(Box::new(self)).cast::<c_void>();
        let mut failure = Failure::none();
        // SAFETY: both tensors are alive; the shim owns the context from here on and ends it with `forget`.
        let made = unsafe {
            ffi::vt_record_product(
                input.as_ptr().cast(),
                product.as_ptr().cast(),
                context,
                multiply,
                forget,
                failure.out(),
            )
        };
        dispatch::adopt(made).ok_or_else(|| TchError::Torch(failure.raise().message().to_string()))
    }

    fn gradient(&self, gradient: &Tensor, recorded: bool) -> Result<Tensor, TchError> {
        if recorded {
            return gradient.f_matmul(self.weight.dense()?);
        }
        let (product, _) = self.kernels.linear(gradient, self.weight.transposed()?, None, self.rows)?;
        Ok(product)
    }
}

/// Computes the gradient of what was multiplied from that of the product; null when it cannot.
extern "C" fn multiply(context: *const c_void, gradient: *const c_void, recorded: bool) -> *mut c_void {
    // SAFETY: the context is the box of `attach`, alive until `forget`; a pass stays on the thread it began on.
    let product = unsafe { &*context.cast::<Recorded>() };
    // SAFETY: the gradient is alive during the call; the copy is another owner.
    let copy = unsafe { ffi::vt_clone_handle(gradient) };
    let Some(gradient) = dispatch::adopt(copy) else { return std::ptr::null_mut() };
    match product.gradient(&gradient, recorded) {
        // SAFETY: the tensor is alive; the shim takes over the copy.
        Ok(made) => unsafe { ffi::vt_clone_handle(made.as_ptr().cast()) },
        Err(_) => std::ptr::null_mut(),
    }
}

extern "C" fn forget(context: *mut c_void) {
    // SAFETY: the shim calls this once, with the box of `attach`.
    drop(unsafe { Box::from_raw(context.cast::<Recorded>()) });
}
