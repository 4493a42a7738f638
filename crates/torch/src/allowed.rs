//! The list of what users' code may call.

use std::collections::HashMap;
use std::sync::OnceLock;

use interpreter::raise::Raise;

/// `operators.txt`, read once.
struct List {
    /// Sections by name: Python names to operators.
    sections: HashMap<&'static str, HashMap<&'static str, &'static str>>,
}

fn list() -> &'static List {
    static LIST: OnceLock<List> = OnceLock::new();
    LIST.get_or_init(|| {
        let mut sections: HashMap<_, HashMap<_, _>> = HashMap::new();
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
        List { sections }
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
    function("refused torch.Tensor", name).is_some()
}

/// The error of using a name of PyTorch's that is not on the list.
#[must_use]
pub fn refused(owner: &str, name: &str) -> Raise {
    Raise::attribute_error(format!("{owner}.{name} is not supported by this server"))
}

/// Returns every name of a section with its operator.
pub fn section(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    list().sections.get(name).into_iter().flatten().map(|(known, operator)| (*known, *operator))
}
