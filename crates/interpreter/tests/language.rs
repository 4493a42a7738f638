//! Programs of the language itself give what CPython 3.11 gives: the same output, then the same traceback.

mod common;

use common::Oracle;

#[test]
fn programs_print_and_fail_as_in_cpython() {
    Oracle::check(&programs(include_str!("language.py")));
}

#[test]
fn programs_of_classes_and_order_print_and_fail_as_in_cpython() {
    Oracle::check(&programs(include_str!("classes.py")));
}

fn programs(text: &str) -> Vec<(String, String)> {
    let parts = text.split("#### ").filter_map(|part| part.split_once('\n'));
    parts.map(|(title, source)| (title.to_owned(), source.to_owned())).collect()
}
