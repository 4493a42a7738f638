//! `str` and `repr` of exceptions, by the program's own code where there is some.

use std::rc::Rc;

use crate::evaluation::{attribute, format};
use crate::values::class::Instance;
use crate::values::exceptions::Kind;
use crate::values::host::Args;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::traceback::MAX_LINKS;
use crate::values::value::Value;

/// Computes the text of this exception and of those it is chained to, which may run users' `__str__`.
pub(crate) async fn describe(machine: &Machine, raise: &Raise) {
    let mut next = raise.value();
    let mut links = 0;
    while let Some(Value::Instance(instance)) = next.take() {
        links += 1;
        let Some(state) = instance.exception() else { return };
        if state.borrow().text.is_some() || links > MAX_LINKS {
            return;
        }
        let text = text_of(machine, &instance).await;
        let mut state = state.borrow_mut();
        state.text = Some(text);
        next = state.cause.clone().or_else(|| state.context.clone());
    }
}

/// Returns `str(exception)`, by the program's own `__str__` where there is one.
async fn text_of(machine: &Machine, instance: &Rc<Instance>) -> Rc<str> {
    let object = Value::Instance(Rc::clone(instance));
    let described = match attribute::special(machine, &object, "__str__") {
        Some(method) => match machine.call(&method, Args::default()).await {
            Ok(Value::Str(text)) => Ok(text),
            Ok(_) => Err(()),
            Err(_) => Err(()),
        },
        None => plain_text(machine, instance).await.map(Rc::from).map_err(|_| ()),
    };
    described.unwrap_or_else(|()| "<exception str() failed>".into())
}

/// Returns `BaseException.__str__(exception)`.
pub(crate) async fn plain_text(machine: &Machine, instance: &Rc<Instance>) -> Result<String, Raise> {
    let Some(state) = instance.exception() else { return Ok(String::new()) };
    let args = state.borrow().args.clone();
    match args.as_slice() {
        [] => Ok(String::new()),
        [one] if instance.class().exception_kind() == Some(Kind::KeyError) => {
            Ok(format::repr(machine, one).await?.to_string())
        }
        [Value::Str(text)] => Ok(text.to_string()),
        [one] => Ok(format::str(machine, one).await?.to_string()),
        _ => Ok(format::repr(machine, &Value::tuple(args)).await?.to_string()),
    }
}

/// Returns `BaseException.__repr__(exception)`.
pub(crate) async fn plain_repr(machine: &Machine, instance: &Rc<Instance>) -> Result<String, Raise> {
    let args = instance.exception().map(|state| state.borrow().args.clone()).unwrap_or_default();
    let name = instance.class().name();
    match args.as_slice() {
        [one] => Ok(format!("{name}({})", format::repr(machine, one).await?)),
        _ => Ok(format!("{name}{}", format::repr(machine, &Value::tuple(args)).await?)),
    }
}
