//! `torch.autograd.Function`: a function of the program's own, whose gradients another of its functions computes.
//!
//! What it is in Python is `modules/python/autograd.py`. As hooks are, the other one is called from inside libtorch's walk.

use std::ffi::{CString, c_void};

use interpreter::raise::Raise;
use interpreter::{Args, HostResult, Machine, Value};
use libtorch::{Failure, apart, ffi};

use crate::hook;
use crate::job::{Job, Paying};
use crate::python;
use crate::raising::Raising;
use crate::tensor::Tensor;

/// Who computes the gradients of what a function was given.
struct Differentiated {
    machine: Machine,
    backward: Value,
}

/// `_record(name, inputs, outputs, backward, zeros, saves)`: returns outputs as what came of the inputs. `backward` is called
/// with a gradient for each output, or `None`, which is zeros where that is wanted, and returns one for each input. Where
/// something is saved for it, that is for one walk only unless the graph is kept.
///
/// # Errors
/// `TypeError` for other arguments; memory is spent.
pub(crate) fn record(machine: &Machine, args: Args) -> HostResult {
    let [Value::Str(name), inputs, outputs, backward, Value::Bool(zeros), Value::Bool(saves)] =
        &args.between("_record", 6, 6)?[..]
    else {
        return Err(Raise::type_error("_record() takes a name, two lists of tensors, a function and two flags"));
    };
    let tensors = |value: &Value| python::sequence(value).unwrap_or_default().iter().filter_map(Tensor::of).collect();
    let (inputs, outputs): (Vec<Tensor>, Vec<Tensor>) = (tensors(inputs), tensors(outputs));
    let pointers = |tensors: &[Tensor]| tensors.iter().map(Tensor::as_ptr).collect::<Vec<_>>();
    let (given, made) = (pointers(&inputs), pointers(&outputs));
    let name = CString::new(&**name).map_err(|_| Raise::value_error("a name of a class has no null character"))?;
    let context = Box::new(Differentiated { machine: machine.clone(), backward: backward.clone() });
    let mut results = vec![std::ptr::null_mut(); outputs.len()];
    let mut failure = Failure::none();
    let paying = Paying::new(machine, &Job::of(machine));
    // SAFETY: the arrays have as many live tensors as their counts say, and `results` as many places as there are outputs; the
    // shim owns the context from here on and ends it with `forget`, also on failure.
    let done = unsafe {
        ffi::vt_record_function(
            given.as_ptr(),
            given.len(),
            made.as_ptr(),
            made.len(),
            name.as_ptr(),
            *zeros,
            *saves,
            Box::into_raw(context).cast::<c_void>(),
            differentiate,
            forget,
            results.as_mut_ptr(),
            failure.out(),
        )
    };
    let recorded = results.into_iter().filter_map(libtorch::adopt).map(|output| Tensor::new(output).value()).collect();
    paying.settle(if done { Ok(Value::list(recorded).into()) } else { Err(failure.raise()) })
}

impl Differentiated {
    fn gradients(&self, given: Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>, Raise> {
        let value = |gradient: Option<Tensor>| gradient.map_or(Value::None, |gradient| gradient.value());
        let given: Vec<Value> = given.into_iter().map(value).collect();
        let found = hook::during_walk(&self.machine, &self.backward, python::positional(given))?;
        Ok(python::sequence(&found).unwrap_or_default().iter().map(Tensor::of).collect())
    }
}

extern "C" fn differentiate(
    context: *const c_void,
    gradients: *const *const c_void,
    count: usize,
    results: *mut *mut c_void,
    wanted: usize,
) -> bool {
    // SAFETY: the array has `count` elements, which live during the call, or are null.
    let gradients = unsafe { std::slice::from_raw_parts(gradients, count) };
    // SAFETY: this one has `wanted` nulls to fill.
    let results = unsafe { std::slice::from_raw_parts_mut(results, wanted) };
    apart::called(false, || {
        // SAFETY: the context is the box of `record`, alive until `forget`, on the thread that it belongs to.
        let own = unsafe { &*context.cast::<Differentiated>() };
        let job = Job::of(&own.machine);
        if job.hooks_failed() {
            return false;
        }
        // SAFETY: a gradient is alive during the call; the copy is another owner.
        let copy = |gradient: &*const c_void| unsafe { ffi::vt_clone_handle(*gradient) };
        let given = gradients.iter().map(|gradient| match gradient.is_null() {
            true => None,
            false => libtorch::adopt(copy(gradient)).map(Tensor::new),
        });
        match own.gradients(given.collect()) {
            Ok(found) => {
                for (place, gradient) in results.iter_mut().zip(found) {
                    if let Some(gradient) = gradient {
                        // SAFETY: the tensor is alive; the shim takes over the copy.
                        *place = unsafe { ffi::vt_clone_handle(gradient.as_ptr()) };
                    }
                }
                true
            }
            Err(raise) => {
                job.fail_hooks(raise);
                false
            }
        }
    })
}

extern "C" fn forget(context: *mut c_void) {
    apart::ended(|| {
        // SAFETY: the shim calls this once, with the box of `record`.
        drop(unsafe { Box::from_raw(context.cast::<Differentiated>()) });
    });
}
