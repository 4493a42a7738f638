//! Programs of the language itself give what CPython 3.11 gives: the same output, then the same traceback.

mod common;

use common::{Oracle, programs};

#[test]
fn programs_print_and_fail_as_in_cpython() {
    Oracle::check(&programs(include_str!("language.py")));
}

#[test]
fn programs_of_classes_and_order_print_and_fail_as_in_cpython() {
    Oracle::check(&programs(include_str!("classes.py")));
}
