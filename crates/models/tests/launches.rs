//! How many kernels a GPU launches for a layer of a decode step, where nobody looks inside: counted on what stands for one,
//! of which `crates/torch/mock/mock.cpp` says how far that goes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::any::Any;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use engine::{Arithmetic, Entered, Inputs, Interrupt, Layout, Observer, Packed, Segment, Site, Tree, Wants};
use models::cuda::Search;
use models::{DType, Device, Transformer};
use tch::{Kind, Tensor};

/// One model of each family, and the most launches of a layer: of one user's step in float32, of three users' together, and
/// of one user's in bfloat16.
const FAMILIES: [(&str, [usize; 3]); 16] = [
    ("gpt2", [11, 15, 18]),
    ("llama", [14, 19, 16]),
    ("qwen2", [14, 19, 16]),
    ("qwen3", [19, 26, 23]),
    ("mistral", [14, 19, 16]),
    ("gemma2", [34, 83, 44]),
    ("gemma3_text", [21, 28, 33]),
    ("gemma3", [21, 28, 33]),
    ("phi3", [14, 19, 16]),
    ("gpt_neox", [13, 17, 13]),
    ("gptj", [31, 82, 41]),
    ("olmo2", [19, 26, 19]),
    ("olmo3", [19, 26, 19]),
    ("mixtral", [42, 51, 47]),
    ("qwen3_moe", [47, 58, 57]),
    ("gpt_oss", [70, 136, 72]),
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

/// Wants the same of every module, and notes what was launched between layers.
#[derive(Default)]
struct Layers {
    wants: Wants,
    launches: Vec<Vec<String>>,
}

impl Observer<torch::Tensor> for Layers {
    fn wants(&self, _: Site, _: engine::SegmentIndex) -> Wants {
        self.wants
    }

    fn enter(
        &mut self,
        _: Site,
        inputs: Inputs<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Entered<torch::Tensor>, Interrupt> {
        Ok(Entered { inputs, skipped: None })
    }

    fn exit(
        &mut self,
        _: Site,
        output: Tree<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Tree<Packed<torch::Tensor>>, Interrupt> {
        Ok(output)
    }

    fn between_layers(&mut self) -> Result<(), Interrupt> {
        if !mock::is_real() {
            self.launches.push(mock::launches());
        }
        Ok(())
    }
}

const NOBODY: Wants = Wants { input: false, output: false, inside: false, operations: false };

/// Takes a few steps with prompts together, and returns what the last layer of the last step launched, and all logits.
fn steps(model: &Transformer, lengths: &[usize], wants: Wants) -> (Vec<String>, Vec<Vec<f32>>) {
    let caches: Vec<Box<dyn Any>> = lengths.iter().map(|_| model.new_cache()).collect();
    let (mut layers, mut logits) = (Layers { wants, ..Layers::default() }, Vec::new());
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
        let Ok(forwarded) = model.forward(&mut segments, &mut layers) else { panic!("the pass failed") };
        let Tree::Record { fields, .. } = forwarded.output else { panic!("no record") };
        let Some((_, Tree::Leaf(Packed::Parts(parts)))) = fields.into_iter().next() else { panic!("no logits") };
        let numbers = |part: torch::Tensor| part.tch().flatten(0, -1).to_kind(Kind::Float).to_device(tch::Device::Cpu);
        logits.extend(parts.into_iter().map(|part| Vec::try_from(numbers(part)).unwrap()));
    }
    (layers.launches.pop().unwrap_or_default(), logits)
}

/// Launches are listed for the process: one test at a time has any.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn load(family: &str, dtype: DType, device: Device) -> Transformer {
    *models::load(&FOLDER.join(family), Some(dtype), device, &mut |_, _| {}).unwrap()
}

#[test]
fn who_looks_inside_shows_in_nobodys_bits() {
    let (_turn, device) = (turn(), *DEVICE);
    for (family, _) in FAMILIES {
        for dtype in [DType::Float32, DType::BFloat16] {
            let model = load(family, dtype, device);
            for lengths in [[5].as_slice(), &[5, 9, 2]] {
                let (_, unseen) = steps(&model, lengths, NOBODY);
                let looking =
                    [Wants { output: true, inside: true, ..NOBODY }, Wants { input: true, inside: true, ..NOBODY }];
                for wants in looking {
                    let (_, seen) = steps(&model, lengths, wants);
                    assert_eq!(unseen, seen, "{family}, {dtype:?}, {lengths:?}, {wants:?}");
                }
                if dtype == DType::Float32 {
                    let (_, expected) = steps(&load(family, dtype, Device::CPU), lengths, NOBODY);
                    let all = unseen.iter().flatten().zip(expected.iter().flatten());
                    let far = all.map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
                    assert!(far < 1e-4, "{family}, {lengths:?}: {far} beside what the CPU gives");
                }
            }
        }
    }
}

#[test]
fn a_layer_of_a_decode_step_takes_few_launches() {
    let (_turn, device) = (turn(), *DEVICE);
    if mock::is_real() {
        return;
    }
    let mut over = Vec::new();
    for (family, most) in FAMILIES {
        let model = load(family, DType::Float32, device);
        let found = [
            steps(&model, &[5], NOBODY).0,
            steps(&model, &[5, 9, 2], NOBODY).0,
            steps(&load(family, DType::BFloat16, device), &[5], NOBODY).0,
        ];
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
