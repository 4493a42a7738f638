//! `json`.

mod decode;
mod encode;

use crate::class::Class;
use crate::exceptions;
use crate::machine::Machine;
use crate::modules::{Members, class};
use crate::raise::{Kind, Raise};
use crate::value::Value;
use std::rc::Rc;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let value_error = Value::Class(exceptions::class(Kind::ValueError));
    let error: Rc<Class> = class("JSONDecodeError", "json.decoder", vec![value_error], &[], &[])?;
    let raised = Rc::clone(&error);
    Ok(vec![
        ("JSONDecodeError", Value::Class(error)),
        ("dumps", Value::native("dumps", encode::dumps)),
        ("loads", Value::native("loads", move |machine, args| decode::loads(machine, &raised, args))),
    ])
}
