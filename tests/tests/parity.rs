//! The real model thread behind the real client: results are those of local nnsight, and a bad block fails alone.

use tests::{Data, smollm2};

#[test]
fn remote_results_are_those_of_local_nnsight() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    let lists = [
        "reading",
        "writing",
        "invokes",
        "generation",
        "sessions",
        "programs",
        "caches",
        "edits",
        "pipes",
        "own",
        "alone",
    ];
    server.client("parity.py").arguments(&lists).succeed();
}

#[test]
fn small_programs_give_what_local_nnsight_gives() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    server.client("parity.py").arguments(&["table"]).succeed();
}

#[test]
fn programs_of_the_length_that_researchers_write_give_what_local_nnsight_gives() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    server.client("parity.py").arguments(&["research", "methods", "habits"]).succeed();
}

#[test]
fn gradients_are_those_of_local_nnsight() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    server.client("parity.py").arguments(&["gradients"]).succeed();
}

#[test]
fn tokens_are_chosen_as_local_nnsight_chooses_them() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    server.client("parity.py").arguments(&["choices"]).succeed();
}

#[test]
fn what_is_trained_in_a_session_is_what_local_nnsight_trains() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    server.client("parity.py").arguments(&["training", "arguments"]).succeed();
}

#[test]
fn a_request_or_an_address_or_a_key_says_whom_a_job_shares_passes_with() {
    for batching in ["shared", "reproducible"] {
        let data = Data::default();
        let server = data.up().key().arguments(&["--batching", batching]).tiny_models().start();
        server.client("batching.py").env("BATCHING", batching).succeed();
    }
}

#[test]
fn i4_a_block_that_wants_too_much_fails_alone() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    let worker = server.children();
    let said = server.client("hostile.py").succeed();
    let expected = "\
an_endless_loop -> TimeoutError: the program took more steps than this server allows
a_huge_list -> MemoryError: the program needs more memory than this server allows
a_huge_number -> MemoryError: the program needs more memory than this server allows
a_huge_tensor -> MemoryError: the program needs more memory for tensors than this server allows
endless_recursion -> RecursionError: maximum recursion depth exceeded
endless_printing -> OSError: the program printed more than this server allows
a_file -> NameError: name 'open' is not supported by this server
";
    assert_eq!(said, expected);
    assert_eq!(server.children(), worker, "the worker lives on");
}

#[test]
fn smollm2_keeps_the_country_until_layer_21_and_looks_back() {
    let data = Data::default();
    let model = format!("HuggingFaceTB/SmolLM2-135M-Instruct={}", smollm2().display());
    let server = data.up().key().arguments(&["--model", &model]).start();
    server.client("smollm2.py").succeed();
}

#[test]
fn operators_give_what_pytorch_gives_for_the_samples_of_its_own_tests() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    server.client("operators.py").succeed();
}

#[test]
fn adapters_add_to_the_rows_of_the_jobs_that_ask_for_them() {
    let data = Data::default();
    let copies = ["tiny-gpt2", "tiny-llama"].map(|name| {
        let folder = data.path(name);
        std::fs::create_dir(&folder).unwrap();
        for entry in std::fs::read_dir(tests::model(name)).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        folder.display().to_string()
    });
    let [gpt2, llama] = [&copies[0], &copies[1]];
    let hosted = [format!("ndif-test/tiny-gpt2={gpt2}"), format!("ndif-test/tiny-llama={llama}")];
    let server = data.up().key().arguments(&["--model", &hosted[0], "--model", &hosted[1]]).start();
    server.client("adapters.py").arguments(&[gpt2, llama]).succeed();
}
