//! Both model families on a GPU, or on what stands for one: `crates/torch/mock/mock.cpp` says what it shows.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use engine::conformance::{self, Outcome, Subject, check};
use engine::{Engine, Interleaver};
use models::cuda::{Cuda, Search};
use models::testing::{self, GPT2, LLAMA};
use models::{Device, cuda};
use program::{DType, Function, TensorData};

static CUDA: LazyLock<Cuda> = LazyLock::new(|| {
    let search = Search { folder: Some(mock::folder().into()), ..Search::default() };
    search.load().unwrap_or_else(|missing| panic!("{missing}"))
});

/// On the second of two, so that nothing can do by naming the first.
fn engine(name: &str) -> Box<dyn Engine> {
    assert_eq!(CUDA.devices, 2);
    Box::new(Interleaver::new(testing::load_to(name, Device::cuda(1))))
}

const ON_GPU: [Subject<'_>; 2] =
    [Subject { engine: &|| engine("tiny-gpt2"), ..GPT2 }, Subject { engine: &|| engine("tiny-llama"), ..LLAMA }];

#[test]
fn a_model_on_a_gpu_keeps_the_engines_contract() {
    ON_GPU.iter().for_each(check);
    assert_eq!(cuda::check(Device::cuda(1)), Ok(()));
}
