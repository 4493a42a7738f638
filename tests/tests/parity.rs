//! The real model thread behind the real client: results are those of local nnsight, and a bad block fails alone.

use tests::{Data, smollm2};

#[test]
fn remote_results_are_those_of_local_nnsight() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    server.client("parity.py").succeed();
}

#[test]
fn gradients_are_those_of_local_nnsight() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    server.client("gradients.py").succeed();
}

#[test]
fn i4_a_block_that_wants_too_much_fails_alone() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    let worker = server.children();
    let said = server.client("hostile.py").succeed();
    println!("{said}");
    assert_eq!(server.children(), worker, "the worker lives on");
}

#[test]
fn smollm2_keeps_the_country_until_layer_21_and_looks_back() {
    let data = Data::default();
    let model = format!("HuggingFaceTB/SmolLM2-135M-Instruct={}", smollm2().display());
    let server = data.up().key().arguments(&["--model", &model]).start();
    server.client("smollm2.py").succeed();
}
