//! What the builtin types' methods do to their objects.

use crate::values::effect::Effect;
use crate::values::types::Type;

impl Type {
    /// Returns what using a method does; `None` where the type has no such method.
    #[must_use]
    pub fn effect(self, name: &str) -> Option<Effect> {
        if !self.methods().any(|(known, _)| *known == name) {
            return self.base().and_then(|base| base.effect(name));
        }
        let (looking, changing): (&[&str], &[&str]) = match self {
            // Their values never change.
            Self::Int
            | Self::Float
            | Self::Complex
            | Self::Str
            | Self::Bytes
            | Self::Tuple
            | Self::FrozenSet
            | Self::Range
            | Self::Slice => return Some(Effect::Looks),
            Self::List => (
                &["copy", "count", "index"],
                &["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"],
            ),
            Self::Dict => {
                (&["copy", "get", "items", "keys", "values"], &["clear", "pop", "popitem", "setdefault", "update"])
            }
            Self::OrderedDict => (&[], &["move_to_end", "popitem"]),
            Self::Counter => (&["elements", "most_common", "total"], &["subtract", "update"]),
            Self::Set => (
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

    /// Returns what calling the type does: making a value of others, most often.
    #[must_use]
    pub fn effect_of_call(self) -> Effect {
        match self {
            Self::Bool
            | Self::Int
            | Self::Float
            | Self::Complex
            | Self::Str
            | Self::Bytes
            | Self::List
            | Self::Tuple
            | Self::Dict
            | Self::OrderedDict
            | Self::DefaultDict
            | Self::Counter
            | Self::Set
            | Self::FrozenSet
            | Self::Range
            | Self::Slice
            | Self::Enumerate
            | Self::Zip
            | Self::Map
            | Self::Filter
            | Self::Reversed => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    /// Returns whether calling the type makes a new object, which only its elements share with what it is made of.
    #[must_use]
    pub fn makes_containers(self) -> bool {
        matches!(
            self,
            Self::List
                | Self::Dict
                | Self::OrderedDict
                | Self::DefaultDict
                | Self::Counter
                | Self::Set
                | Self::Enumerate
                | Self::Zip
                | Self::Map
                | Self::Filter
                | Self::Reversed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_is_named_is_one() {
        let all = |name: &str| Type::ALL.iter().any(|kind| kind.methods().any(|(known, _)| *known == name));
        for name in ["append", "move_to_end", "most_common", "subtract", "symmetric_difference_update", "setdefault"] {
            assert!(all(name), "{name}");
        }
    }

    #[test]
    fn what_changes_in_one_type_changes_where_the_type_is_not_known() {
        assert_eq!(Effect::of_builtins("append"), Some(Effect::Changes));
        assert_eq!(Effect::of_builtins("pop"), Some(Effect::Changes));
        assert_eq!(Effect::of_builtins("copy"), Some(Effect::Looks));
        assert_eq!(Effect::of_builtins("upper"), Some(Effect::Looks));
        assert_eq!(Effect::of_builtins("view"), None);
        assert_eq!(Type::Counter.effect("pop"), Some(Effect::Changes));
        assert_eq!(Type::Counter.effect("get"), Some(Effect::Looks));
    }
}
