//! `json`.

mod decode;
mod encode;

use crate::library::modules::written::Written;
use crate::library::modules::{Members, class};
use crate::values::class::Class;
use crate::values::exceptions;
use crate::values::machine::Machine;
use crate::values::raise::{Kind, Raise};
use crate::values::value::Value;
use std::rc::Rc;

pub const JSON: Written = Written { text: include_str!("../python/json.py"), natives };

fn natives(_: &Machine) -> Result<Members, Raise> {
    let value_error = Value::Class(exceptions::class(Kind::ValueError));
    let error: Rc<Class> = class("JSONDecodeError", "json.decoder", vec![value_error], &[], &[])?;
    let raised = Rc::clone(&error);
    Ok(vec![
        ("JSONDecodeError", Value::Class(error)),
        ("_dumps", Value::native("dumps", encode::dumps)),
        ("_loads", Value::native("loads", move |machine, args| decode::loads(machine, &raised, args))),
    ])
}
