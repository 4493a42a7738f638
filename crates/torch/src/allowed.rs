//! The list of what users' code may call.

use std::collections::HashMap;
use std::sync::OnceLock;

use interpreter::raise::Raise;

/// `operators.txt` and `refusals.txt`, read once.
struct List {
    /// Sections by name: Python names to operators.
    sections: HashMap<&'static str, HashMap<&'static str, &'static str>>,
    /// Names that are refused: to the reason.
    refusals: HashMap<&'static str, HashMap<&'static str, &'static str>>,
}

fn list() -> &'static List {
    static LIST: OnceLock<List> = OnceLock::new();
    LIST.get_or_init(|| {
        let mut sections: HashMap<_, HashMap<_, _>> = HashMap::new();
        let mut refusals: HashMap<_, HashMap<_, _>> = HashMap::new();
        let mut section = "";
        for line in include_str!("operators.txt").lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(name) => section = name,
                None => {
                    for entry in line.split_whitespace() {
                        let (name, operator) = entry.split_once(':').unwrap_or((entry, entry));
                        sections.entry(section).or_default().insert(name, operator);
                    }
                }
            }
        }
        for line in include_str!("refusals.txt").lines().filter(|line| !line.starts_with('#')) {
            match (line.strip_prefix('[').and_then(|line| line.strip_suffix(']')), line.split_once(": ")) {
                (Some(name), _) => section = name,
                (None, Some((reason, names))) => {
                    let names = names.split_whitespace().map(|name| (name, reason));
                    refusals.entry(section).or_default().extend(names);
                }
                (None, None) => {}
            }
        }
        List { sections, refusals }
    })
}

/// Returns the operator behind a function of a module.
#[must_use]
pub fn function(module: &str, name: &str) -> Option<&'static str> {
    list().sections.get(module)?.get(name).copied()
}

/// Returns the operator behind a method of tensors.
#[must_use]
pub fn method(name: &str) -> Option<&'static str> {
    function("torch.Tensor", name)
}

/// Says whether PyTorch's tensors have a method or attribute that this server refuses.
#[must_use]
pub fn is_refused_method(name: &str) -> bool {
    reason("torch.Tensor", name).is_some()
}

/// Returns why a public name of PyTorch's is refused.
#[must_use]
pub fn reason(owner: &str, name: &str) -> Option<&'static str> {
    list().refusals.get(owner)?.get(name).copied()
}

/// The error of using a name of PyTorch's that is not on the list.
#[must_use]
pub fn refused(owner: &str, name: &str) -> Raise {
    let reason = reason(owner, name).map(|reason| format!(": {reason}")).unwrap_or_default();
    Raise::attribute_error(format!("{owner}.{name} is not supported by this server{reason}"))
}

/// Returns every name of a section with its operator.
#[cfg(test)]
fn section(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    list().sections.get(name).into_iter().flatten().map(|(known, operator)| (*known, *operator))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Kind, Operators};

    const MODULES: [&str; 6] =
        ["torch.Tensor", "torch", "torch.nn.functional", "torch.linalg", "torch.special", "torch.fft"];

    #[test]
    fn every_listed_name_has_an_operator() {
        for module in MODULES {
            assert!(section(module).count() > 0, "{module} lists nothing");
            for (name, operator) in section(module) {
                assert!(Operators::all().get(operator).is_some(), "{module}.{name}: no operator {operator}");
            }
        }
    }

    #[test]
    fn every_listed_method_takes_its_tensor() {
        for (name, operator) in section("torch.Tensor") {
            let overloads = Operators::all().get(operator).unwrap_or_default();
            let takes_self = |p: &crate::schema::Parameter| &*p.name == "self" && p.kind == Kind::Tensor;
            assert!(overloads.iter().any(|overload| overload.parameters.iter().any(takes_self)), "{name}");
        }
    }

    #[test]
    fn nothing_is_listed_that_aliases_beyond_a_view_or_touches_files() {
        let never =
            ["as_strided", "set_", "resize", "from_file", "data_ptr", "storage", "empty", "save", "load", "_out"];
        for module in MODULES {
            for (name, operator) in section(module) {
                let found = never.iter().find(|never| operator.contains(**never) && !operator.contains("masked"));
                assert_eq!(found, None, "{module}.{name}");
            }
        }
    }

    #[test]
    fn no_name_is_both_allowed_and_refused() {
        for (module, names) in &list().refusals {
            for name in names.keys() {
                assert!(function(module, name).is_none(), "{module}.{name}");
            }
        }
    }
}
