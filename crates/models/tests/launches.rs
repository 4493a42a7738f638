//! How many kernels a GPU launches for a layer of a decode step, where nobody looks inside: counted on what stands for one,
//! of which `crates/torch/mock/mock.cpp` says how far that goes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::any::Any;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use engine::{Entered, Inputs, Interrupt, Layout, Model, Observer, Packed, Segment, Site, Tree, Wants};
use models::cuda::Search;
use models::{DType, Device, Transformer};
use tch::Tensor;

/// One model of each family, and the most launches of a layer: of one user's step in float32, of three users' together, and
/// of one user's in bfloat16.
const FAMILIES: [(&str, [usize; 3]); 16] = [
    ("gpt2", [12, 16, 19]),
    ("llama", [28, 37, 28]),
    ("qwen2", [28, 37, 28]),
    ("qwen3", [38, 92, 47]),
    ("mistral", [40, 98, 47]),
    ("gemma2", [37, 89, 47]),
    ("gemma3_text", [44, 106, 61]),
    ("gemma3", [44, 106, 61]),
    ("phi3", [37, 92, 44]),
    ("gpt_neox", [24, 30, 24]),
    ("gptj", [33, 86, 43]),
    ("olmo2", [30, 39, 30]),
    ("olmo3", [42, 104, 49]),
    ("mixtral", [67, 132, 77]),
    ("qwen3_moe", [65, 122, 80]),
    ("gpt_oss", [72, 135, 74]),
];

static DEVICE: LazyLock<Device> = LazyLock::new(|| {
    let search = Search { folder: Some(mock::folder()), ..Search::default() };
    let cuda = search.load().unwrap_or_else(|missing| panic!("{missing}"));
    Device::cuda(i32::try_from(cuda.devices - 1).unwrap())
});

/// Where the models are, made once.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("launches");
    let python = std::env::var_os("VITRINE_PYTHON").map_or(root.join("../../.venv/bin/python"), PathBuf::from);
    let status = Command::new(&python).arg(root.join("tests/parity.py")).arg(&folder).arg("models").status();
    assert!(status.unwrap_or_else(|error| panic!("{}: {error}", python.display())).success());
    folder
});

/// Wants nothing, and notes what was launched between layers.
#[derive(Default)]
struct Layers(Vec<Vec<String>>);

impl Observer<torch::Tensor> for Layers {
    fn wants(&self, _: Site, _: usize) -> Wants {
        Wants::default()
    }

    fn enter(
        &mut self,
        _: Site,
        _: Inputs<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Entered<torch::Tensor>, Interrupt> {
        unreachable!("nothing is wanted")
    }

    fn exit(
        &mut self,
        _: Site,
        _: Tree<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Tree<Packed<torch::Tensor>>, Interrupt> {
        unreachable!("nothing is wanted")
    }

    fn between_layers(&mut self) -> Result<(), Interrupt> {
        self.0.push(mock::launches());
        Ok(())
    }
}

/// Generates a few tokens of some prompts together, and returns what the last layer of the last step launched.
fn last_layer(model: &Transformer, lengths: &[usize]) -> Vec<String> {
    let caches: Vec<Box<dyn Any>> = lengths.iter().map(|_| model.new_cache()).collect();
    let mut layers = Layers::default();
    for step in 0..4 {
        let segments = lengths.iter().zip(&caches).map(|(&length, cache)| {
            model.expect(&**cache, 64);
            let new = if step == 0 { length } else { 1 };
            let ids: Vec<i64> = (0..i64::try_from(new).unwrap()).map(|id| id + 5).collect();
            let ids = Tensor::from_slice(&ids).view([1, -1]);
            let cache: &models::Cache = cache.downcast_ref().unwrap();
            Segment {
                cache: Some(Box::new(cache.clone())),
                generating: true,
                flags: vec![("logits_to_keep".into(), interpreter::Value::Int(1))],
                ..Segment::new(1, i64::try_from(new).unwrap(), torch::Tensor::new(ids))
            }
        });
        let mut segments: Vec<_> = segments.collect();
        layers.0.clear();
        assert!(model.forward(&mut segments, &mut layers).is_ok());
    }
    layers.0.pop().unwrap()
}

#[test]
fn a_layer_of_a_decode_step_takes_few_launches() {
    let device = *DEVICE;
    if mock::is_real() {
        return;
    }
    let mut over = Vec::new();
    for (family, most) in FAMILIES {
        let load = |dtype| models::load(&FOLDER.join(family), Some(dtype), device, &mut |_, _| {}).unwrap();
        let model = load(DType::Float32);
        let found =
            [last_layer(&model, &[5]), last_layer(&model, &[5, 9, 2]), last_layer(&load(DType::BFloat16), &[5])];
        for (case, (found, most)) in ["float32", "float32, three users", "bfloat16"].iter().zip(found.iter().zip(most))
        {
            let waits: Vec<&String> = found.iter().filter(|line| line.contains("waits")).collect();
            println!("{family}, {case}: {} launches, {} waits", found.len(), waits.len());
            if found.len() > most {
                over.push(format!("{family}, {case}: {} launches, not {most}: {found:#?}", found.len()));
            }
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}
