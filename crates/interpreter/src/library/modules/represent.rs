//! `repr` of objects that show their parts by name.

use std::cell::RefCell;
use std::rc::Rc;

use crate::evaluation::format;
use crate::values::host::{HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::suspension::Nested;
use crate::values::types::ledger;
use crate::values::value::{Identity, Value};

/// Objects whose `repr` is being written.
#[derive(Default)]
struct Open(RefCell<Vec<Identity>>);

/// Writes `name(part, key=part)`, or `recursive` for an object that is being written already.
pub(super) fn represent(
    machine: &Machine,
    object: Value,
    name: String,
    parts: Vec<(Option<Rc<str>>, Value)>,
    recursive: String,
) -> HostResult {
    let open = machine.extension::<Open>().unwrap_or_else(|| {
        let open = Rc::new(Open::default());
        machine.set_extension(open.clone());
        open
    });
    let identity = object.identity();
    if open.0.borrow().contains(&identity) {
        return Ok(Value::from(recursive).into());
    }
    let handle = machine.clone();
    Ok(Outcome::Later(Box::pin(Nested::new(machine.clone(), async move {
        open.0.borrow_mut().push(identity);
        let mut texts = Vec::with_capacity(parts.len());
        for (key, value) in &parts {
            match format::repr(&handle, value).await {
                Ok(text) => texts.push(match key {
                    Some(key) => format!("{key}={text}"),
                    None => text,
                }),
                Err(raise) => {
                    close(&open, identity);
                    return Err(raise);
                }
            }
        }
        close(&open, identity);
        drop(object);
        ledger::text(&handle, format!("{name}({})", texts.join(", ")))
    }))))
}

fn close(open: &Open, identity: Identity) {
    let mut open = open.0.borrow_mut();
    if let Some(at) = open.iter().rposition(|other| *other == identity) {
        open.remove(at);
    }
}
