//! The programs of `examples/`, through the real client on a real model: each finds what its page says.

use tests::{Data, smollm2};

#[test]
fn every_program_of_the_gallery_finds_what_its_page_says() {
    let data = Data::default();
    let model = format!("HuggingFaceTB/SmolLM2-135M-Instruct={}", smollm2().display());
    let server = data.up().key().arguments(&["--model", &model]).start();
    server.client("gallery.py").succeed();
}
