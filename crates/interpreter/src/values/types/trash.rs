//! Frees nested values one after another instead of one inside another, so that no nest is too deep for the stack.

use std::any::Any;
use std::cell::RefCell;

use crate::values::value::Value;

thread_local! {
    /// What to free once the outermost drop on this thread is done; `None` while nothing is being freed.
    static QUEUE: RefCell<Option<Vec<Box<dyn Any>>>> = const { RefCell::new(None) };
}

/// Frees values. Every type that holds values calls this when dropped, with all of them.
pub fn bury(values: impl IntoIterator<Item = Value>) {
    for value in values {
        if holds_values(&value) {
            bury_object(Box::new(value));
        }
    }
}

/// Frees an object that may hold values without saying which.
pub fn bury_object(object: Box<dyn Any>) {
    let mut object = Some(object);
    let outermost = QUEUE.try_with(|queue| {
        let mut queue = queue.borrow_mut();
        let outermost = queue.is_none();
        if !outermost {
            queue.get_or_insert_default().extend(object.take());
        } else {
            *queue = Some(Vec::new());
        }
        outermost
    });
    if !matches!(outermost, Ok(true)) {
        return;
    }
    drop(object);
    // The borrow must end before the object is dropped: its own drop comes back here.
    while let Ok(Some(next)) = QUEUE.try_with(|queue| queue.borrow_mut().as_mut().and_then(Vec::pop)) {
        drop(next);
    }
    // An error means that the thread is ending, and the queue with it.
    let _ = QUEUE.try_with(|queue| queue.borrow_mut().take());
}

/// Says whether dropping this value may drop others.
fn holds_values(value: &Value) -> bool {
    !value.is_scalar() && !matches!(value, Value::Type(_))
}
