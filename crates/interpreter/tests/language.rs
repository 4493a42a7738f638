//! Programs of the language itself give what CPython 3.11 gives: the same output, then the same traceback.

mod common;

use common::Oracle;

#[test]
fn programs_print_and_fail_as_in_cpython() {
    let programs: Vec<(String, String)> = include_str!("language.py")
        .split("#### ")
        .filter_map(|part| part.split_once('\n'))
        .map(|(title, source)| (title.to_owned(), source.to_owned()))
        .collect();
    Oracle::check(&programs);
}
