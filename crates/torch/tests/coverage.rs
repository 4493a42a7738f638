//! `docs/coverage.md` says what a block finds of the libraries' public names, and nothing of PyTorch's is merely absent.

mod common;
#[path = "coverage/page.rs"]
mod page;

use std::process::Command;

#[test]
fn the_page_on_coverage_is_what_blocks_find() {
    let areas = page::areas();
    let written = include_str!("../../../docs/coverage.md");
    assert!(
        page::page(&areas) == written,
        "docs/coverage.md is out of date: cargo run -p torch --example coverage > docs/coverage.md"
    );
    for area in areas.iter().filter(|area| area.module.starts_with("torch")) {
        assert!(area.missing.is_empty(), "{}: neither found nor refused: {:?}", area.module, area.missing);
    }
    for area in &areas {
        assert!(area.percent() >= 95.0 || area.module.starts_with("numpy"), "{}: {:.1} %", area.module, area.percent());
    }
}

#[test]
fn the_names_are_those_of_the_installed_libraries() {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/torch_names.py");
    let run = Command::new(common::python()).arg(tool).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(
        String::from_utf8_lossy(&run.stdout) == include_str!("coverage/names.txt"),
        "names.txt is out of date: .venv/bin/python tools/torch_names.py > crates/torch/tests/coverage/names.txt"
    );
}
