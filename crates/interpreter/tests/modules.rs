//! Programs that use the standard modules give what CPython 3.11 gives: the same output, then the same traceback.

mod common;

use common::Oracle;

#[test]
fn standard_modules_behave_as_in_cpython() {
    let programs: Vec<(String, String)> = include_str!("modules.py")
        .split("#### ")
        .filter_map(|part| part.split_once('\n'))
        .map(|(title, source)| (title.to_owned(), source.to_owned()))
        .collect();
    Oracle::check(&programs);
}
