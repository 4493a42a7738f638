//! Models whose weights ranks hold in pieces, in the engine: a program cannot tell.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::rc::Rc;

use collectives::Memory;
use engine::conformance::{Outcome, Subject, check, flat, near};
use engine::{Engine, Interleaver};
use kernels::Ranks;
use models::Device;
use program::Function;

/// Names of the test models, and what their layers are called.
const MODELS: [(&str, &str); 4] = [
    ("tiny-gpt2", "model.transformer.h"),
    ("tiny-llama", "model.model.layers"),
    ("tiny-gemma3", "model.model.layers"),
    ("tiny-qwen3-moe", "model.model.layers"),
];

/// Largest difference between two float32 elements: of sums that are added in another order.
const TOLERANCE: f32 = 2e-4;

/// Programs that look at weights, edit, and walk back in every way that meets a matrix. `EMBED` is the table of words.
const PROGRAMS: [&str; 16] = [
    "out = HEAD.output.save()",
    "one = HEAD.output[0, -1, 7].save()\nsome = HEAD.output[:, 1:3].save()\nlast = HEAD.output[0, -1].save()",
    "LAYERS[0].output[:, 1] *= 2\nLAYERS[1].MLP.output[:] += 1\nout = HEAD.output.save()",
    "hidden = [layer.MLP.output.save() for layer in LAYERS]\nout = tracer.result.logits.save()",
    "LAYERS[0].skip(LAYERS[0].input * 3)\nout = HEAD.output.save()",
    "h = LAYERS[0].output\nloss = HEAD.output[:, -1].logsumexp(-1).sum()\nwith loss.backward():\n    g = h.grad.clone().save()",
    "h = EMBED.output\na = LAYERS[1].MLP.output\nloss = (HEAD.output[0, -1, 3] - HEAD.output[0, -1, 5])\nwith loss.backward():\n    ga = a.grad.clone().save()\n    gh = h.grad.clone().save()",
    "h = LAYERS[-1].output\nloss = HEAD.output.float().pow(2).mean()\ng, = torch.autograd.grad(loss, h, create_graph=True)\ngg, = torch.autograd.grad(g.pow(2).sum(), h)\nfirst = g.detach().clone().save()\nsecond = gg.clone().save()",
    "w = HEAD.weight.clone().save()\nrows = HEAD.weight[3:7].clone().save()\ne = EMBED.weight[[0, 5, 9]].clone().save()",
    "rows = (LAYERS[0].output @ HEAD.weight.T)[0, -1].clone().save()",
    "embedded = EMBED(torch.tensor([[1, 2, 90], [0, 0, 3]])).save()\nlens = HEAD(LAYERS[0].output)[:, -1].save()",
    "fed = LAYERS[1].MLP(LAYERS[0].output.clone()).save()\nnothing = HEAD(torch.zeros(0, LAYERS[0].output.shape[-1])).save()",
    "x = HEAD.output[:, -1]\nx[:] = 7\nHEAD.output[:, 0] = 3\nout = tracer.result.logits.save()",
    "r = tracer.result\nkeys = r.past_key_values.layers[1].keys.save()\nvalues = r.past_key_values.layers[0].values.save()\nout = r.logits.save()",
    "try:\n    EMBED(torch.tensor([[10 ** 6]]))\nexcept IndexError as error:\n    why = nnsight.save(str(error))\nout = HEAD.output[:, -1].save()",
    "try:\n    HEAD(torch.zeros(2, 3))\nexcept RuntimeError as error:\n    why = nnsight.save(str(error))\nout = HEAD.output[:, -1].save()",
];

fn engine(name: &str, ranks: usize) -> Box<dyn Engine> {
    let model = match ranks {
        1 => models::testing::load(name),
        ranks => models::testing::load_apart(name, ranks),
    };
    Box::new(Interleaver::new(model).with_slice(std::time::Duration::MAX))
}

fn program(name: &str, source: &str) -> String {
    let embed = if name == "tiny-gpt2" { "model.transformer.wte" } else { "model.model.embed_tokens" };
    format!("import torch\n{}", source.replace("MLP", "mlp").replace("EMBED", embed))
}

/// Runs all programs at once, and then a generation.
fn outcomes(name: &str, layers: &str, ranks: usize) -> Vec<Outcome> {
    let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name, ranks) };
    let job = |source: &&str| subject.job("Hello there, world", Function::Call, &program(name, source), &[]);
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
    let names = |saved: &program::Saved| saved.names.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "{context}");
    for (name, at) in &found.names {
        let other = expected.names.iter().find(|(other, _)| other == name).unwrap().1;
        if let (Some(program::Datum::Str(found)), Some(program::Datum::Str(expected))) =
            (found.heap.get(*at), expected.heap.get(other))
        {
            assert_eq!(found, expected, "{context}");
        }
    }
    near(&found, &expected, TOLERANCE, context);
}

#[test]
fn whatever_a_program_looks_at_or_changes_is_what_it_is_without_ranks() {
    for (name, layers) in MODELS {
        let expected = outcomes(name, layers, 1);
        for ranks in [2, 3, 4] {
            let found = outcomes(name, layers, ranks);
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let source = PROGRAMS.get(index).unwrap_or(&"a generation");
                same(found, expected, &format!("{name} on {ranks} ranks: {source}"));
            }
        }
    }
}

#[test]
fn a_model_in_pieces_gives_the_same_bits_each_time() {
    let (name, layers) = MODELS[1];
    let bytes = |outcomes: &[Outcome]| -> Vec<Vec<u8>> {
        outcomes
            .iter()
            .flat_map(|outcome| flat(outcome.end.as_ref().unwrap()))
            .map(|data| data.bytes.to_vec())
            .collect()
    };
    assert_eq!(bytes(&outcomes(name, layers, 3)), bytes(&outcomes(name, layers, 3)));
}

#[test]
fn a_model_in_pieces_keeps_the_engines_contract() {
    let (name, layers) = MODELS[1];
    check(&Subject { layers, head: "model.lm_head", engine: &|| engine(name, 2) });
}

#[test]
fn a_matrix_with_fewer_rows_than_ranks_is_refused_in_a_sentence() {
    let mut group = Memory::threads(40).unwrap().into_iter();
    let ranks = Ranks::new(Box::new(group.next().unwrap()), Box::new(|_| {}));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32/tiny-llama");
    let followers: Vec<_> = group
        .map(|rank| {
            let folder = folder.clone();
            std::thread::spawn(move || models::follow(&folder, Device::CPU, &rank))
        })
        .collect();
    let loaded = models::load_apart(Rc::new(ranks), &folder, None, Device::CPU, &mut |_, _| {});
    let error = loaded.err().unwrap().to_string();
    assert!(error.contains("_proj.weight has ") && error.contains("rows, too few for 40 ranks"), "{error}");
    followers.into_iter().for_each(|follower| follower.join().unwrap().unwrap());
}
