//! A random model of each family: what the real client gets of the server is what local nnsight gives.

use std::path::Path;

use tests::{Data, python};

#[test]
fn every_family_gives_what_local_nnsight_gives() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("families");
    let names = python("families.py").arguments(&["make", &folder.display().to_string()]).succeed();
    let hosted: Vec<String> = names
        .split_whitespace()
        .map(|name| format!("family/{name}={},dtype=float32", folder.join(name).display()))
        .collect();
    let arguments: Vec<&str> = hosted.iter().flat_map(|model| ["--model", model]).collect();
    let data = Data::default();
    let server = data.up().key().arguments(&arguments).start();
    server.client("families.py").arguments(&["compare", &folder.display().to_string()]).succeed();
}

#[test]
fn the_names_of_operations_are_what_the_pinned_transformers_has() {
    python("../../tools/source_names.py").arguments(&["--check"]).succeed();
}
