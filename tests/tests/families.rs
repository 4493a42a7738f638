//! A random model of each family: what the real client gets of the server is what local nnsight gives, also where several
//! processes hold the weights.

use std::path::Path;
use std::sync::LazyLock;

use tests::{Data, python};

/// Where the models lie, and their names.
static MADE: LazyLock<(String, Vec<String>)> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("families").display().to_string();
    let names = python("families.py").arguments(&["make", &folder]).succeed();
    (folder, names.split_whitespace().map(str::to_owned).collect())
});

/// Hosts a model of every other family, beginning with the first or the second, whole and in two to four pieces, and compares
/// all of both.
fn compare(first: usize) {
    let (folder, names) = &*MADE;
    let (ranks, names): (Vec<usize>, Vec<&str>) =
        names.iter().enumerate().map(|(at, name)| (2 + at % 3, name.as_str())).skip(first).step_by(2).unzip();
    assert!(names.len() >= 8, "{names:?}");
    let hosted = |owner, name, ranks| format!("{owner}/{name}={folder}/{name},dtype=float32,ranks={ranks}");
    let hosted =
        names.iter().zip(ranks).flat_map(|(name, ranks)| [hosted("family", name, 1), hosted("pieces", name, ranks)]);
    let hosted: Vec<String> = hosted.flat_map(|model| ["--model".to_owned(), model]).collect();
    let hosted: Vec<&str> = hosted.iter().map(String::as_str).collect();
    let data = Data::default();
    let server = data.up().key().one_thread().arguments(&hosted).start();
    let compared = ["compare", folder, "family", "pieces"];
    server.client("families.py").arguments(&compared).env("FAMILIES", names.join(" ")).succeed();
}

#[test]
fn half_of_the_families_give_what_local_nnsight_gives() {
    compare(0);
}

#[test]
fn the_other_half_of_them_give_what_local_nnsight_gives() {
    compare(1);
}

#[test]
fn the_names_of_operations_are_what_the_pinned_transformers_has() {
    python("../../tools/source_names.py").arguments(&["--check"]).succeed();
}
