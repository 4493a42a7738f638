//! Prints `docs/coverage.md`.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/coverage/page.rs"]
mod page;

#[expect(clippy::print_stdout, reason = "the page is its output")]
fn main() {
    print!("{}", page::page(&page::areas()));
}
