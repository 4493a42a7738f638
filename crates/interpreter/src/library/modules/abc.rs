//! `abc`: what marks abstract classes. Nothing here keeps one from being instantiated.

use crate::library::builtins;
use crate::library::modules::{Members, class, functions};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::Type;
use crate::values::value::Value;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let mut members = functions(&[
        ("abstractmethod", |_, args| Ok(args.one("abstractmethod")?.into())),
        ("abstractclassmethod", |machine, args| builtins::construct(machine, Type::ClassMethod, args)),
        ("abstractproperty", |machine, args| builtins::construct(machine, Type::Property, args)),
        ("abstractstaticmethod", |machine, args| builtins::construct(machine, Type::StaticMethod, args)),
    ]);
    members.push(("ABC", Value::Class(class("ABC", "abc", vec![], &[], &[])?)));
    members.push(("ABCMeta", Value::Type(Type::Type)));
    Ok(members)
}
