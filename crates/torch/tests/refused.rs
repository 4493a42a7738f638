//! What is refused before a program runs is what a block is told that asks for it.

mod common;
#[path = "refused/table.rs"]
mod table;

#[test]
fn the_table_of_what_is_refused_says_what_blocks_are_told() {
    let written = include_str!("../../explain/src/refused.txt");
    assert!(
        table::table() == written,
        "refused.txt is out of date: cargo run -p torch --example refused > crates/explain/src/refused.txt"
    );
}
