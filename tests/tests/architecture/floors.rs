//! The floors inside crates that ARCHITECTURE.md promises, read from the paths in their sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A crate's folders, from the lowest up.
const INTERPRETER: [&str; 3] = ["values", "evaluation", "library"];

#[test]
fn the_interpreters_floors_know_only_those_below() {
    let source = Source::read("crates/interpreter/src");
    for (name, size) in source.cycles() {
        println!("{size} files of {name} know each other in a circle");
    }
    assert_eq!(source.climbs(&INTERPRETER), Vec::<String>::new());
}

#[test]
fn a_path_that_climbs_is_found_however_it_is_written() {
    let source = Source::of(&[
        ("low.rs", "pub mod thing;\npub struct Low;"),
        ("low/thing.rs", "use super::super::high::up; use crate::{high::{self, over}, low::Low};"),
        ("low/other.rs", "fn f() { crate::high::up() } // crate::high::in_a_comment\nconst T: &str = \"crate::high\";"),
        ("low/roof.rs", "use crate::Root; #[cfg(test)]\nmod tests { use crate::high::up; }"),
        ("high.rs", "use crate::low::Low;\nimpl Low { fn more(&self) {} }\nimpl Clone for Low {}"),
    ]);
    assert_eq!(
        source.climbs(&["low", "high"]),
        [
            "high.rs adds methods to Low, which is in {\"low\"}",
            "low/other.rs knows crate::high",
            "low/roof.rs knows crate::Root",
            "low/thing.rs knows crate::high",
        ]
    );
    let one: BTreeMap<_, _> = source.cycles().into_iter().collect();
    assert!(one.is_empty(), "{one:?}");
}

/// The files of a crate, without comments, texts and tests, by their paths.
struct Source(BTreeMap<PathBuf, String>);

impl Source {
    /// Reads a folder of the repository.
    fn read(folder: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let (mut files, mut open) = (BTreeMap::new(), vec![root.clone()]);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder is read") {
                let path = entry.expect("an entry is read").path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).expect("a file is read");
                    let name = path.strip_prefix(&root).expect("the file is in the folder").to_owned();
                    files.insert(name, code(&text));
                }
            }
        }
        assert!(!files.is_empty(), "{folder} has no sources: this check has lost its object");
        Self(files)
    }

    fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(name, text)| (PathBuf::from(name), code(text))).collect())
    }

    /// Lists what knows more than its floor may. Files that are in no floor, the crate's root among them, put the floors
    /// together and may know all; no floor may know them.
    fn climbs(&self, floors: &[&str]) -> Vec<String> {
        let height = |name: &str| floors.iter().position(|floor| *floor == name);
        let mut owners: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (file, text) in &self.0 {
            if let Some(floor) = floor_of(file, floors) {
                for name in defined(text) {
                    owners.entry(name).or_default().insert(floor);
                }
            }
        }
        let mut found = BTreeSet::new();
        for (file, text) in &self.0 {
            let Some(own) = floor_of(file, floors) else { continue };
            for path in paths(file, text) {
                let first = path.first().map_or("", String::as_str);
                if height(first).is_none_or(|other| height(own).is_some_and(|own| other > own)) {
                    found.insert(format!("{} knows crate::{first}", file.display()));
                }
            }
            // A method that a higher floor adds could be called from below without a path.
            for name in extended(text) {
                match owners.get(name) {
                    Some(others) if !others.contains(own) => {
                        found.insert(format!("{} adds methods to {name}, which is in {others:?}", file.display()));
                    }
                    _ => {}
                }
            }
        }
        found.into_iter().collect()
    }

    /// Finds the circles in which files know each other: a file of each, and how many there are.
    fn cycles(&self) -> Vec<(String, usize)> {
        let module = |file: &Path| -> Vec<String> {
            let parts = file.with_extension("");
            let parts: Vec<String> = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if parts == ["lib"] { Vec::new() } else { parts }
        };
        let modules: BTreeSet<Vec<String>> = self.0.keys().map(|file| module(file)).collect();
        let known =
            |path: &[String]| (0..=path.len()).rev().map(|end| path[..end].to_vec()).find(|it| modules.contains(it));
        let edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = self
            .0
            .iter()
            .map(|(file, text)| (module(file), paths(file, text).iter().filter_map(|path| known(path)).collect()))
            .collect();
        let reach = |from: &Vec<String>| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(next) = open.pop() {
                for other in edges.get(&next).into_iter().flatten() {
                    if seen.insert(other.clone()) {
                        open.push(other.clone());
                    }
                }
            }
            seen
        };
        let all: BTreeMap<_, _> = edges.keys().map(|module| (module.clone(), reach(module))).collect();
        let mut circles: BTreeMap<String, usize> = BTreeMap::new();
        for (module, reached) in &all {
            let circle: Vec<_> =
                reached.iter().filter(|other| all.get(*other).is_some_and(|back| back.contains(module))).collect();
            if circle.len() > 1 {
                circles.insert(circle[0].join("/"), circle.len());
            }
        }
        circles.into_iter().collect()
    }
}

/// Returns the floor that a file is in: `values.rs`, and all in `values/`.
fn floor_of<'a>(file: &Path, floors: &[&'a str]) -> Option<&'a str> {
    let first = file.iter().next()?.to_string_lossy();
    let first = first.strip_suffix(".rs").unwrap_or(&first);
    floors.iter().copied().find(|floor| *floor == first)
}

/// Lists the paths of a file that lead to the crate's root, from there on.
fn paths(file: &Path, text: &str) -> Vec<Vec<String>> {
    let depth = file.iter().count() - usize::from(file == Path::new("lib.rs"));
    let own: Vec<String> = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::").chain(text.match_indices("super::")) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|char| char.is_alphanumeric() || char == '_' || char == ':') {
            continue;
        }
        let mut rest = &text[at..];
        let mut base = match rest.strip_prefix("crate::") {
            Some(after) => {
                rest = after;
                Vec::new()
            }
            None => {
                let mut up = 0;
                while let Some(after) = rest.strip_prefix("super::") {
                    rest = after;
                    up += 1;
                }
                own[..depth.saturating_sub(up)].to_vec()
            }
        };
        branches(rest, &mut base, &mut found);
    }
    found
}

/// Follows a path from where a text begins through all branches of its braces.
fn branches<'a>(mut text: &'a str, base: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        while !rest.trim_start().is_empty() {
            if let Some(after) = rest.trim_start().strip_prefix('}') {
                return after;
            }
            rest = branches(rest, &mut base.clone(), found);
            // What follows may be an `as`.
            rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        return rest;
    }
    let end = text.find(|char: char| !(char.is_alphanumeric() || char == '_')).unwrap_or(text.len());
    if end > 0 && &text[..end] != "self" {
        base.push(text[..end].to_owned());
    }
    match text[end..].strip_prefix("::") {
        Some(after) => branches(after, base, found),
        None => {
            found.push(base.clone());
            &text[end..]
        }
    }
}

/// Lists the types that a file defines.
fn defined(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) "));
    lines.filter_map(|line| word(line.strip_prefix("struct ").or_else(|| line.strip_prefix("enum "))?)).collect()
}

/// Lists the types that a file adds methods to, other than by a trait.
fn extended(text: &str) -> Vec<&str> {
    text.match_indices("impl")
        // Elsewhere in a line it is a type.
        .filter(|(at, _)| text[..*at].rsplit('\n').next().is_none_or(|line| line.trim().is_empty()))
        .filter_map(|(at, _)| {
            let mut rest = text[at..].strip_prefix("impl")?;
            if rest.starts_with('<') {
                rest = &rest[rest.find('>')? + 1..];
            }
            let head = rest.get(..rest.find('{')?)?;
            if head.contains(" for ") || !rest.starts_with(' ') {
                None
            } else {
                word(head.rsplit("::").next()?.trim_start())
            }
        })
        .collect()
}

fn word(text: &str) -> Option<&str> {
    let end = text.find(|char: char| !(char.is_alphanumeric() || char == '_')).unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

/// Returns a text without comments, the insides of texts and the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|after| after.len() - after.trim_start_matches('#').len());
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw.filter(|hashes| rest[1 + hashes..].starts_with('"') && !ends_in_word(&kept)) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|char| {
                let ends = char == '"' && !escaped;
                escaped = char == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") || rest.starts_with("'\\''") {
            4
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        kept.push(' ');
        rest = &rest[skipped..];
    }
    kept
}

fn ends_in_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(|char| char.is_alphanumeric() || char == '_')
}
