//! What a function accepts it obeys, or refuses by name: no argument is bound and then left alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

/// Bindings of a call's arguments, such as `let [data, key] = args.bind(…)`, with their file and line.
fn bindings(folder: &Path, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            bindings(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(pattern) = line.trim().strip_prefix("let [").and_then(|rest| rest.split_once(']')) else {
                continue;
            };
            let next = lines.get(number + 1).copied().unwrap_or_default();
            if [pattern.1, next].iter().any(|part| part.contains(".bind(") || part.contains("args")) {
                found.push((format!("{}:{}", path.display(), number + 1), pattern.0.to_owned()));
            }
        }
    }
}

#[test]
fn every_argument_that_is_bound_is_used() {
    let mut found = Vec::new();
    bindings(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 40, "{} bindings were found", found.len());
    for (place, pattern) in found {
        for name in pattern.split(',').map(str::trim) {
            assert!(!name.starts_with('_') && name != "..", "{place}: [{pattern}] leaves an argument alone");
        }
    }
}
