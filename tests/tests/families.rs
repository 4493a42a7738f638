//! A random model of each family: what the real client gets of the server is what local nnsight gives, also where several
//! processes hold the weights.

use std::path::Path;

use tests::{Data, python};

/// Hosts a model of each family, in so many pieces as `ranks` says for its place among them, and compares all of it.
fn compare(folder: &str, ranks: impl Fn(usize) -> usize) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let names = python("families.py").arguments(&["make", &folder.display().to_string()]).succeed();
    let hosted: Vec<String> = names
        .split_whitespace()
        .enumerate()
        .map(|(at, name)| format!("family/{name}={},dtype=float32,ranks={}", folder.join(name).display(), ranks(at)))
        .collect();
    let arguments: Vec<&str> = hosted.iter().flat_map(|model| ["--model", model]).collect();
    let data = Data::default();
    let server = data.up().key().one_thread().arguments(&arguments).start();
    server.client("families.py").arguments(&["compare", &folder.display().to_string()]).succeed();
}

#[test]
fn every_family_gives_what_local_nnsight_gives() {
    compare("families", |_| 1);
}

#[test]
fn every_family_in_two_to_four_pieces_gives_what_local_nnsight_gives() {
    compare("families-in-pieces", |at| 2 + at % 3);
}

#[test]
fn the_names_of_operations_are_what_the_pinned_transformers_has() {
    python("../../tools/source_names.py").arguments(&["--check"]).succeed();
}
