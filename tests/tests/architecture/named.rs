//! Tests that pages name as `path/of/file.rs::name`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// File and name of each test that a page names between backticks.
fn named(page: &str) -> BTreeSet<(&str, &str)> {
    page.split('`').filter_map(|word| word.split_once("::")).filter(|(file, _)| file.ends_with(".rs")).collect()
}

#[test]
fn every_test_that_a_page_names_exists() {
    let mut missing = Vec::new();
    for page in ["SECURITY.md", "TRACK_RECORD.md"] {
        let text = fs::read_to_string(Path::new(ROOT).join(page)).expect("the page can be read");
        let tests = named(&text);
        assert!(tests.len() > 30, "{page} names {} tests", tests.len());
        for (file, name) in tests {
            let source = fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default();
            if !source.contains(&format!("fn {name}(")) {
                missing.push(format!("{page} names {file}::{name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
