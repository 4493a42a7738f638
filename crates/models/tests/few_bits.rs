//! Models whose matrices are in few bits, in the engine: whatever a program does with one is what it does with the numbers that
//! its codes stand for.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use engine::conformance::{Outcome, Subject, check, near, tensor};
use engine::{Engine, Interleaver};
use kernels::{Quantized, Scheme};
use models::{DType, Device, Transformer, testing};
use program::{Datum, Function};
use tch::{Kind, Tensor};

/// Names of the test models, what their layers are called, a matrix of a layer's, and how it is kept.
const MODELS: [(&str, &str, &str, DType); 4] = [
    ("tiny-gpt2", "model.transformer.h", "c_proj", DType::Int8),
    ("tiny-gpt2", "model.transformer.h", "c_proj", DType::Nf4),
    ("tiny-llama", "model.model.layers", "down_proj", DType::Nf4),
    ("tiny-qwen3-moe", "model.model.layers", "experts", DType::Int8),
];

/// Largest difference between two float32 elements: of sums that are added in another order.
const TOLERANCE: f32 = 2e-4;

/// Programs that look at weights, edit, fork, and walk back. `MATRIX` is a module of a layer's.
const PROGRAMS: [&str; 14] = [
    "out = HEAD.output.save()",
    "LAYERS[0].output[:, 1] *= 2\nLAYERS[1].mlp.output[:] += 1\nout = HEAD.output.save()",
    "hidden = [layer.mlp.output.save() for layer in LAYERS]\nout = tracer.result.logits.save()",
    "LAYERS[0].skip(LAYERS[0].input * 3)\nout = HEAD.output.save()",
    "h = LAYERS[0].output\nloss = HEAD.output[:, -1].logsumexp(-1).sum()\nwith loss.backward():\n    g = h.grad.clone().save()",
    "a = LAYERS[1].mlp.output\nloss = HEAD.output[0, -1, 3] - HEAD.output[0, -1, 5]\nwith loss.backward():\n    g = a.grad.clone().save()",
    "h = LAYERS[-1].mlp.input\nloss = HEAD.output.float().pow(2).mean()\ng, = torch.autograd.grad(loss, h, create_graph=True)\ngg, = torch.autograd.grad(g.pow(2).sum(), h)\nfirst = g.detach().clone().save()\nsecond = gg.clone().save()",
    "fed = LAYERS[1].mlp(LAYERS[0].output.clone()).save()\nlens = HEAD(LAYERS[0].output)[:, -1].save()",
    "x = HEAD.output[:, -1]\nx[:] = 7\nHEAD.output[:, 0] = 3\nout = tracer.result.logits.save()",
    "r = tracer.result\nkeys = r.past_key_values.layers[1].keys.save()\nout = r.logits.save()",
    "for text in ['The tower', 'The tower of Paris']:\n    with tracer.invoke(text):\n        LAYERS[1].output[:, -1] *= 2\n        last = HEAD.output[:, -1].save()",
    "w = LAYERS[0].mlp.MATRIX.clone().save()\ndtype = nnsight.save(str(LAYERS[0].mlp.MATRIX.dtype))\ngrad = nnsight.save(LAYERS[0].mlp.MATRIX.requires_grad)",
    "w = LAYERS[1].mlp.MATRIX\nsum = w.sum().save()\nrows = (w.flatten(0, -2)[:3] @ w.flatten(0, -2)[0]).save()",
    "try:\n    LAYERS[0].mlp.MATRIX[:] = 0\nexcept RuntimeError as error:\n    why = nnsight.save(str(error))\nout = HEAD.output[:, -1].save()",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32").join(name)
}

/// Writes the model of what the codes stand for, as floats.
fn plain(name: &str, scheme: Scheme) -> tempfile::TempDir {
    let (from, to) = (folder(name), tempfile::tempdir().unwrap());
    for entry in std::fs::read_dir(&from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let turned = name == "tiny-gpt2";
    let stand_for = |matrix: &Tensor| -> Tensor {
        let matrix = if turned { matrix.tr().contiguous() } else { matrix.shallow_clone() };
        let [outputs, inputs] = <[i64; 2]>::try_from(matrix.size()).unwrap();
        let coded =
            scheme.quantize([outputs, inputs], tch::Device::Cpu, |first, count| matrix.f_narrow(0, first, count));
        let rows = Quantized::new(vec![coded.unwrap()], Kind::Float).unwrap().rows(0, outputs).unwrap();
        if turned { rows.tr().contiguous() } else { rows }
    };
    let weights = testing::weights(&from).unwrap().into_iter().map(|(name, tensor)| {
        let of_layer = [".h.", ".layers."].iter().any(|layers| name.contains(layers)) && !name.contains("mlp.gate.");
        let own = match tensor.dim() {
            2 if of_layer => stand_for(&tensor),
            3 if of_layer => {
                let each: Vec<Tensor> = tensor.unbind(0).iter().map(stand_for).collect();
                Tensor::stack(&each, 0)
            }
            _ => tensor,
        };
        (name, own)
    });
    Tensor::write_safetensors(&weights.collect::<Vec<_>>(), to.path().join("model.safetensors")).unwrap();
    to
}

fn engine(model: Transformer) -> Box<dyn Engine> {
    Box::new(Interleaver::new(model).with_slice(std::time::Duration::MAX))
}

fn load(folder: &Path, dtype: DType) -> Transformer {
    *models::load(folder, Some(dtype), Device::CPU, &mut |_, _| {}).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs all programs at once, and then a generation.
fn outcomes(layers: &str, matrix: &str, model: &dyn Fn() -> Transformer) -> Vec<Outcome> {
    let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(model()) };
    let job = |source: &&str| {
        let weight = if matrix == "experts" { "experts.down_proj".into() } else { format!("{matrix}.weight") };
        let source = format!("import torch\n{}", source.replace("MATRIX", &weight));
        let text = if source.contains("invoke") { "" } else { "Hello there, world" };
        subject.job(text, Function::Call, &source, &[])
    };
    let generation = subject.job(
        "Hello there",
        Function::Generate,
        "first = HEAD.output[:, -1].clone().save()\nout = tracer.result.save()",
        &[("max_new_tokens", 4)],
    );
    subject.outcomes(PROGRAMS.iter().map(job).chain([generation]).collect())
}

fn same(found: &Outcome, expected: &Outcome, context: &str) {
    let saved =
        |outcome: &Outcome| outcome.end.clone().unwrap_or_else(|failure| panic!("{context}: {}", failure.message));
    let (found, expected) = (saved(found), saved(expected));
    let plain = |saved: &program::Saved| -> Vec<String> {
        let own = saved.names.iter().map(|(name, at)| match saved.heap.get(*at) {
            Some(Datum::Str(text)) => format!("{name} = {text}"),
            Some(Datum::Bool(flag)) => format!("{name} = {flag}"),
            _ => name.to_string(),
        });
        own.collect()
    };
    assert_eq!(plain(&found), plain(&expected), "{context}");
    near(&found, &expected, TOLERANCE, context);
}

#[test]
fn whatever_a_program_does_is_what_it_does_with_what_the_codes_stand_for() {
    for (name, layers, matrix, dtype) in MODELS {
        let plain = plain(name, dtype.scheme().unwrap());
        let expected = outcomes(layers, matrix, &|| load(plain.path(), DType::Float32));
        let found = outcomes(layers, matrix, &|| load(&folder(name), dtype));
        let apart = outcomes(layers, matrix, &|| testing::apart(&folder(name), dtype, 2));
        for (index, expected) in expected.iter().enumerate() {
            let source = PROGRAMS.get(index).unwrap_or(&"a generation");
            same(&found[index], expected, &format!("{name} in {dtype}: {source}"));
            same(&apart[index], expected, &format!("{name} in {dtype} on two ranks: {source}"));
        }
        let why = found[PROGRAMS.len() - 1].end.as_ref().unwrap();
        assert_eq!(why.names.iter().filter(|(name, _)| &**name == "why").count(), 1, "a weight is read-only");
        let _ = tensor(why, "out");
    }
}

#[test]
fn models_in_few_bits_keep_the_engines_contract() {
    for (name, layers, _, dtype) in [MODELS[0], MODELS[2]] {
        check(&Subject { layers, head: "model.lm_head", engine: &|| engine(load(&folder(name), dtype)) });
    }
}
