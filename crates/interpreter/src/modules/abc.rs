//! `abc`: what marks abstract classes. Nothing here keeps one from being instantiated.

use crate::machine::Machine;
use crate::modules::{Members, class, functions};
use crate::raise::Raise;
use crate::types::Type;
use crate::value::Value;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let mut members = functions(&[
        ("abstractmethod", |_, args| Ok(args.one("abstractmethod")?.into())),
        ("abstractclassmethod", |machine, args| crate::types::construct(machine, Type::ClassMethod, args)),
        ("abstractproperty", |machine, args| crate::types::construct(machine, Type::Property, args)),
        ("abstractstaticmethod", |machine, args| crate::types::construct(machine, Type::StaticMethod, args)),
    ]);
    members.push(("ABC", Value::Class(class("ABC", "abc", vec![], &[], &[])?)));
    members.push(("ABCMeta", Value::Type(Type::Type)));
    Ok(members)
}
