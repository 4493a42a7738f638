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
    assert!(found.len() > 30, "{} bindings were found", found.len());
    for (place, pattern) in found {
        for name in pattern.split(',').map(str::trim) {
            assert!(!name.starts_with('_') && name != "..", "{place}: [{pattern}] leaves an argument alone");
        }
    }
}

/// What can change nothing here: one thread needs no lock, and nothing is emitted by what emits nothing.
const MEANS_NOTHING: [(&str, &str); 14] = [
    // `usedforsecurity` is for builds of Python that refuse weak algorithms to those who say so.
    ("hashlib.py", "md5"),
    ("hashlib.py", "sha1"),
    ("hashlib.py", "sha224"),
    ("hashlib.py", "sha256"),
    ("hashlib.py", "sha384"),
    ("hashlib.py", "sha512"),
    ("hashlib.py", "new"),
    // `_one_shot` asks for another implementation of the same.
    ("json.py", "iterencode"),
    // What subclasses do something in.
    ("string.py", "check_unused_args"),
    ("logging.py", "captureWarnings"),
    ("logging.py", "emit"),
    ("tqdm.py", "refresh"),
    ("tqdm.py", "clear"),
    ("tqdm.py", "write"),
];

/// Functions that programs call of the modules written in Python, with their parameters and what lies in them.
fn functions(text: &str) -> Vec<(String, Vec<String>, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some((name, _)) = line.trim().strip_prefix("def ").and_then(|rest| rest.split_once('(')) else { continue };
        if name.starts_with('_') {
            continue;
        }
        let inside = |other: &&&str| other.trim().is_empty() || depth(other) > depth(line);
        let rest: Vec<&str> = lines[number + 1..].iter().take_while(inside).copied().collect();
        let whole = format!("{line}\n{}", rest.join("\n"));
        let (head, body) = whole.split_once("):\n").unwrap();
        let parameters = head.split_once('(').unwrap().1.split(',');
        let parameters =
            parameters.map(|one| one.split('=').next().unwrap().trim().trim_matches(['*', ')']).to_owned());
        let parameters = parameters.filter(|one| !["", "/", "self", "cls"].contains(&&**one));
        // A tuple that is a default was taken apart, too.
        let parameters = parameters.filter(|one| !one.starts_with(|char: char| char.is_ascii_digit())).collect();
        found.push((name.to_owned(), parameters, body.to_owned()));
    }
    found
}

/// Arguments of NumPy's that change no value: how arrays lie in memory, what lets another algorithm come to the same, what only
/// allows something, and what other libraries take.
const CHANGES_NO_VALUE: [&str; 15] = [
    "assume_unique",
    "casting",
    "check_valid",
    "copy",
    "device",
    "hermitian",
    "kind",
    "kth",
    "legacy",
    "like",
    "overwrite_input",
    "sorted",
    "subok",
    "tol",
    "weights of histogram_bin_edges",
];

/// Functions that make arrays in any order, which only their strides would tell, or that put equal elements in any.
const LIES_IN_ANY_ORDER: [&str; 11] = [
    "argpartition",
    "asanyarray",
    "asarray_chkfinite",
    "copy",
    "empty",
    "eye",
    "full",
    "full_like",
    "ones_like",
    "partition",
    "zeros_like",
];

#[test]
fn every_argument_of_numpys_functions_is_used_or_changes_no_value() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../torch/src/modules/python");
    let (mut count, mut idle) = (0, Vec::new());
    for file in ["numpy.py", "ndarray.py", "numpy_random.py", "linalg.py"] {
        for (function, parameters, body) in functions(&std::fs::read_to_string(folder.join(file)).unwrap()) {
            count += parameters.len();
            for name in parameters {
                let used = body.split(|char: char| !char.is_alphanumeric() && char != '_').any(|word| word == name);
                let known = CHANGES_NO_VALUE.contains(&&*name)
                    || CHANGES_NO_VALUE.contains(&&*format!("{name} of {function}"))
                    || name == "order" && LIES_IN_ANY_ORDER.contains(&&*function);
                if !used && !known && !body.trim_start().starts_with("raise ") {
                    idle.push(format!("{file}: {function} leaves {name} alone"));
                }
            }
        }
    }
    assert!(idle.is_empty(), "{}", idle.join("\n"));
    assert!(count > 500, "{count} parameters were found");
}

#[test]
fn every_argument_of_what_is_written_in_python_is_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/library/python");
    let (mut count, mut idle) = (0, Vec::new());
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let file = path.file_name().unwrap().to_str().unwrap();
        for (function, parameters, body) in functions(&std::fs::read_to_string(&path).unwrap()) {
            // Subclasses do what it is asked.
            if body.trim_start().starts_with("raise NotImplementedError(")
                || MEANS_NOTHING.contains(&(file, &*function))
            {
                continue;
            }
            count += parameters.len();
            for name in parameters {
                let used = body.split(|char: char| !char.is_alphanumeric() && char != '_').any(|word| word == name);
                if !used {
                    idle.push(format!("{file}: {function} leaves {name} alone"));
                }
            }
        }
    }
    assert!(idle.is_empty(), "{}", idle.join("\n"));
    assert!(count > 100, "{count} parameters were found");
}
