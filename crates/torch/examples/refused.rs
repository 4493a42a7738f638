//! Prints `crates/explain/src/refused.txt`.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/refused/table.rs"]
mod table;

#[expect(clippy::print_stdout, reason = "the table is its output")]
fn main() {
    print!("{}", table::table());
}
