//! Models on a GPU: found, loaded to, and lost. On a library that stands for CUDA, which the worker loads as it loads the
//! real one; `crates/torch/mock/mock.cpp` says what it shows.

use rustix::process::{Signal, kill_process};
use tests::{Data, Up, children, model};

/// Hosts a random model, with options.
fn host(up: Up, options: &str) -> Up {
    up.arguments(&["--model", &format!("ndif-test/tiny-gpt2={},dtype=float32{options}", model("tiny-gpt2").display())])
}

fn gpus(up: Up) -> Up {
    up.arguments(&["--torch-lib", mock::folder().to_str().unwrap()])
}

#[test]
fn remote_results_on_a_gpu_are_those_of_local_nnsight() {
    let data = Data::default();
    let server = gpus(data.up()).key().tiny_models().start();
    let lists = ["reading", "writing", "invokes", "generation", "sessions", "programs", "gradients"];
    server.client("parity.py").arguments(&lists).succeed();
}

#[test]
fn i4_a_block_that_wants_too_much_of_a_gpu_fails_alone() {
    let data = Data::default();
    let server = gpus(data.up()).key().tiny_models().start();
    let worker = server.children();
    let said = server.client("hostile.py").succeed();
    let expected = "a_huge_tensor -> MemoryError: the program needs more memory for tensors than this server allows";
    assert!(said.lines().any(|line| line == expected), "{said}");
    assert_eq!(server.children(), worker, "the worker lives on");
}

#[test]
fn a_device_that_is_not_there_is_named_with_what_was_looked_for() {
    let data = Data::default();
    let two = host(gpus(data.up()), ",device=cuda:2").refused();
    assert!(
        two.contains("cannot load model ndif-test/tiny-gpt2: the device cuda:2 is not there: the driver shows 2"),
        "{two}"
    );
    let none = host(data.up(), ",device=cuda:99").refused();
    assert!(none.contains("cannot load model ndif-test/tiny-gpt2: the device cuda:99 is not there: "), "{none}");
    let folder = data.path("empty");
    std::fs::create_dir(&folder).unwrap();
    let empty = host(data.up(), "").arguments(&["--torch-lib", folder.to_str().unwrap()]).refused();
    let expected =
        format!("no libtorch_cuda.so of torch 2.11.0 is in {}; install torch==2.11.0 with pip", folder.display());
    assert!(empty.contains(&expected), "{empty}");
}

#[test]
fn ranks_on_gpus_send_each_other_tensors_by_nccl_and_one_that_is_killed_costs_no_job() {
    if mock::is_real() {
        return;
    }
    let (data, folder) = (Data::default(), model("tiny-llama"));
    let hosted = |name: &str, options: &str| format!("{name}/tiny-llama={},dtype=float32{options}", folder.display());
    let (whole, pieces, log) = (hosted("whole", ""), hosted("pieces", ",ranks=2"), data.path("log"));
    let up = gpus(data.up()).key().arguments(&["--model", &whole, "--model", &pieces]).traced_to(&log);
    let server = up.start();
    let compare = || server.client("sharding.py").arguments(&["compare", "tiny-llama"]).succeed();
    assert!(compare().contains("same tiny-llama"));
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("ranks send each other tensors by NCCL"), "{said}");
    let worker = server.children();
    kill_process(children(worker[0])[0], Signal::KILL).unwrap();
    assert!(compare().contains("same tiny-llama"));
    assert_ne!(server.children(), worker, "the worker has ended with its rank");
}

#[test]
fn s9_a_lost_gpu_costs_its_job_and_nobody_elses() {
    let data = Data::default();
    let mut up = host(gpus(data.up()), "").key();
    // No block can lose a GPU that is known of, so that one operator has to be made to.
    up.command.env("MOCK_ASSERTS", "aten::special_airy_ai");
    let server = up.start();
    server.client("lost.py").succeed();
}
