//! What the builtin types' methods do to their objects.

use crate::values::effect::Effect;
use crate::values::types::Type;

/// Returns what using a method does; `None` where the type has no such method.
#[must_use]
pub fn effect(kind: Type, name: &str) -> Option<Effect> {
    if !super::of(kind).any(|(known, _)| *known == name) {
        return kind.base().and_then(|base| effect(base, name));
    }
    let (looking, changing): (&[&str], &[&str]) = match kind {
        // Their values never change.
        Type::Int
        | Type::Float
        | Type::Complex
        | Type::Str
        | Type::Bytes
        | Type::Tuple
        | Type::FrozenSet
        | Type::Range
        | Type::Slice => return Some(Effect::Looks),
        Type::List => {
            (&["copy", "count", "index"], &["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"])
        }
        Type::Dict => {
            (&["copy", "get", "items", "keys", "values"], &["clear", "pop", "popitem", "setdefault", "update"])
        }
        Type::OrderedDict => (&[], &["move_to_end", "popitem"]),
        Type::Counter => (&["elements", "most_common", "total"], &["subtract", "update"]),
        Type::Set => (
            &[
                "copy",
                "difference",
                "intersection",
                "isdisjoint",
                "issubset",
                "issuperset",
                "symmetric_difference",
                "union",
            ],
            &[
                "add",
                "clear",
                "difference_update",
                "discard",
                "intersection_update",
                "pop",
                "remove",
                "symmetric_difference_update",
                "update",
            ],
        ),
        _ => (&[], &[]),
    };
    Some(match name {
        name if looking.contains(&name) => Effect::Looks,
        name if changing.contains(&name) => Effect::Changes,
        _ => Effect::Anything,
    })
}

/// Returns what a method of builtin values does, whichever type they have; `None` where none has it.
#[must_use]
pub fn any_effect(name: &str) -> Option<Effect> {
    Type::ALL.iter().filter_map(|kind| effect(*kind, name)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_is_named_is_one() {
        let all = |name: &str| Type::ALL.iter().any(|kind| super::super::of(*kind).any(|(known, _)| *known == name));
        for name in ["append", "move_to_end", "most_common", "subtract", "symmetric_difference_update", "setdefault"] {
            assert!(all(name), "{name}");
        }
    }

    #[test]
    fn what_changes_in_one_type_changes_where_the_type_is_not_known() {
        assert_eq!(any_effect("append"), Some(Effect::Changes));
        assert_eq!(any_effect("pop"), Some(Effect::Changes));
        assert_eq!(any_effect("copy"), Some(Effect::Looks));
        assert_eq!(any_effect("upper"), Some(Effect::Looks));
        assert_eq!(any_effect("view"), None);
        assert_eq!(effect(Type::Counter, "pop"), Some(Effect::Changes));
        assert_eq!(effect(Type::Counter, "get"), Some(Effect::Looks));
    }
}
