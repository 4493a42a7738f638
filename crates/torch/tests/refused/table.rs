//! `crates/explain/src/refused.txt`: which names of the libraries and of standard modules a block does not find, and what it is
//! told, found out by asking for each of them in a block.

use std::fmt::Write;

use program::Limits;

use crate::common::here;

const LIBRARIES: &str = include_str!("../coverage/names.txt");
const STANDARD: &str = include_str!("names.txt");
/// Functions of Python's own that reach out of a program.
const BUILTINS: &str = "__import__ breakpoint compile eval exec exit globals help input locals open quit";

/// Asks for every name, and writes what is not found.
pub fn table() -> String {
    let mut table = String::from(
        "# What blocks do not find, and what they are told: a module or a name by its path, then a tab.\n# Made by `cargo run \
         -p torch --example refused > crates/explain/src/refused.txt`.\n",
    );
    for (module, names) in sections(STANDARD).chain(sections(LIBRARIES)) {
        table.push_str(&match module {
            "modules" => modules(&names),
            module => members(module, &names),
        });
    }
    for name in BUILTINS.split_whitespace() {
        let _ = writeln!(table, "builtins.{name}\tname '{name}' is not supported by this server");
    }
    table
}

fn sections(text: &'static str) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    text.split("\n[").skip(1).filter_map(|part| {
        let (name, rest) = part.split_once("]\n")?;
        Some((name, rest.lines().filter(|line| !line.is_empty()).collect()))
    })
}

fn ask(text: &str) -> String {
    here(text, &Limits { fuel: 1 << 40, memory_bytes: 1 << 32, ..Limits::default() })
}

fn modules(names: &[&str]) -> String {
    let mut text = String::new();
    for name in names {
        let _ = writeln!(
            text,
            "try:\n    import {name}\nexcept ImportError as error:\n    print('{name}', error, sep='\\t')"
        );
    }
    ask(&text)
}

fn members(module: &str, names: &[&str]) -> String {
    let (owner, package) = match module {
        "torch.Tensor" => ("torch.zeros(2, 2)", "torch"),
        // Arrays are made by functions that have no path of their own in a program.
        "numpy.ndarray" => return String::new(),
        module => (module, module),
    };
    ask(&format!(
        "import {package}\nowner = {owner}\nfor name in {:?}.split():\n    try:\n        getattr(owner, name)\n    except \
         AttributeError as error:\n        print('{module}.' + name, error, sep='\\t')\n    except Exception:\n        pass",
        names.join(" ")
    ))
}
