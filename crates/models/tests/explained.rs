//! What is told of a program before it runs is what happens when it runs.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use engine::conformance::{Outcome, Subject};
use explain::answer::{Certainty, Explanation, Kind};
use explain::{Outline, Question};
use models::testing;
use program::{Datum, Function, Limits, Saved};

#[path = "shared/engine.rs"]
mod shared;
use shared::engine;

/// Names of test models, and what their layers and attention are called.
const MODELS: [(&str, &str, &str); 3] = [
    ("tiny-gpt2", "model.transformer.h", "attn"),
    ("tiny-llama", "model.model.layers", "self_attn"),
    ("tiny-qwen3-moe", "model.model.layers", "self_attn"),
];

/// Blocks of one trace.
const BLOCKS: [&str; 22] = [
    "out = LAYERS[0].output.save()",
    "out = LAYERS[0].input.save()\nafter = LAYERS[1].output.save()",
    "out = LAYERS[-1].MLP.output.save()",
    "out = LAYERS[1].ATTN.output[0].save()",
    "out = HEAD.output.save()",
    "out = HEAD.output[:, -1].save()",
    "out = HEAD.output[0, -1].softmax(-1).argmax(-1).save()",
    "out = tracer.result.logits.save()",
    "out = model.output.logits[:, :2].save()",
    "all = [layer.output for layer in LAYERS]\nout = nnsight.save(all)",
    "out = nnsight.save([])\nfor layer in LAYERS[1:3]:\n    out.append(layer.output[:, -1])",
    "out = nnsight.save([])\nfor i in range(2):\n    for part in ['MLP', 'output']:\n        if part == 'output':\n            out.append(LAYERS[i].output.mean(dim=1))",
    "LAYERS[1].output[:, 2] = 0.5\nout = LAYERS[2].output.clone().save()",
    "x = LAYERS[0].output\nLAYERS[0].output = x * 2\nout = LAYERS[1].output.sum(dim=-1, keepdim=True).save()",
    "LAYERS[0].skip(LAYERS[0].input)\nout = LAYERS[1].output.save()",
    "h = LAYERS[1].output\nif h.sum() > -1e30:\n    out = h[0].save()\nelse:\n    other = h.save()",
    "h = LAYERS[1].output\nwhile h.abs().sum() > 0:\n    h = h * 0\nout = h.save()",
    "def last(layer, at=-1):\n    return layer.output[:, at]\nout = torch.stack([last(layer) for layer in LAYERS]).save()",
    "out = torch.cat([LAYERS[0].output, LAYERS[1].output], dim=-1).unsqueeze(0).transpose(0, 1).save()",
    "pair = {'first': LAYERS[0].output, 'last': LAYERS[-1].output}\nout = [value for value in pair.values()]\nout = nnsight.save(out)",
    "out = HEAD(LAYERS[0].output).save()",
    "out = (LAYERS[0].output[:, None] + LAYERS[1].output[..., :1]).float().save()",
];

fn told(job: &engine::Job, outline: &Outline, tokens: i64) -> Explanation {
    let limits = Limits::default();
    let checked = program::check(job.program.clone(), &limits).unwrap_or_else(|error| panic!("{error}"));
    let question = Question { outline: Some(outline), limits: &limits, tokens: &|_| Some(tokens), queue: None };
    explain::explain(&checked, &question)
}

/// Writes a value as an explanation does.
fn written(saved: &Saved, at: program::Ref) -> Option<String> {
    match saved.heap.get(at)? {
        Datum::Tensor(data) => Some(format!("{} {:?}", data.dtype.name(), data.shape)),
        Datum::List(items) | Datum::Tuple(items) if items.len() > 4 => None,
        Datum::List(items) | Datum::Tuple(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| written(saved, *item)).collect();
            Some(format!("({})", items?.join(", ")))
        }
        _ => None,
    }
}

#[test]
fn what_is_told_is_what_happens() {
    let (mut shapes, mut sure) = (0, 0);
    for (name, layers, attention) in MODELS {
        let outline =
            engine::outline::of(&testing::load_as(name, models::DType::Float32, models::Device::CPU)).unwrap();
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        for block in BLOCKS {
            let block = format!(
                "import torch\n{}",
                block.replace("'MLP'", "'mlp'").replace("MLP", "mlp").replace("ATTN", attention)
            );
            let job = subject.job("Hello there, world", Function::Call, &block, &[]);
            let Outcome { end, usage, .. } = subject.outcomes(vec![job.clone()]).remove(0);
            let saved = end.unwrap_or_else(|failure| panic!("{name}: {block}\n{}", failure.message));
            let told = told(&job, &outline, i64::try_from(usage.tokens).unwrap());
            let [trace] = told.traces.as_slice() else { panic!("{block}: {told:#?}") };
            if trace.stops == Certainty::Certain {
                sure += 1;
                assert_eq!(trace.layers, Some(usage.layers_run), "{name}: {block}\n{told:#?}");
            }
            assert!(told.complete, "{block}");
            for (saved_name, at) in &saved.names {
                let found = told.saved.iter().find(|it| it.name == *saved_name);
                let found = found.unwrap_or_else(|| panic!("{name}: {block}: {saved_name} came back\n{told:#?}"));
                let shape = written(&saved, *at);
                if !found.shape.is_empty() && !found.shape.contains(" of ") {
                    shapes += 1;
                    assert_eq!(Some(&found.shape), shape.as_ref(), "{name}: {block}\n{told:#?}");
                }
                let Some(bytes) = found.bytes else { continue };
                let Some(Datum::Tensor(data)) = saved.heap.get(*at) else { continue };
                assert_eq!(bytes, data.bytes.len() as u64, "{name}: {block}\n{told:#?}");
            }
            for missing in told.saved.iter().filter(|it| it.certainty == Certainty::Certain) {
                let back = saved.names.iter().any(|(name, _)| *name == missing.name);
                assert!(back, "{name}: {block}: {} did not come back\n{told:#?}", missing.name);
            }
            let wrong = told.warnings.iter().find(|it| matches!(it.kind, Kind::Late | Kind::NeverRun));
            assert_eq!(wrong, None, "{name}: {block} ran well");
        }
    }
    println!("{shapes} shapes, {sure} ends of passes");
    // Of what is in the table, nearly all can be known.
    assert!(shapes >= 60 && sure >= 60, "{shapes} shapes, {sure} ends of passes");
}

#[test]
fn what_is_certain_to_fail_fails_at_the_line_that_is_told() {
    for (name, layers, _) in MODELS {
        let outline =
            engine::outline::of(&testing::load_as(name, models::DType::Float32, models::Device::CPU)).unwrap();
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        for (block, line) in [
            ("a = LAYERS[1].output.save()\nb = LAYERS[0].output.save()", 2),
            ("a = LAYERS[1].output\nb = 1\nLAYERS[1].input = a", 3),
            ("a = HEAD.output.save()\nfor layer in LAYERS:\n    b = layer.output.save()", 3),
            ("a = LAYERS.output.save()", 1),
            ("a = HEAD.input.save()\nLAYERS[0].skip(a)", 2),
        ] {
            let job = subject.job("Hello", Function::Call, block, &[]);
            let failure = subject.outcomes(vec![job.clone()]).remove(0).end.expect_err(block);
            assert!(failure.message.contains("OutOfOrderError"), "{name}: {block}\n{}", failure.message);
            assert!(failure.message.contains(&format!("line {line},")), "{name}: {block}\n{}", failure.message);
            let told = told(&job, &outline, 3);
            let warned = told.warnings.iter().find(|it| matches!(it.kind, Kind::Late | Kind::NeverRun));
            let warned = warned.unwrap_or_else(|| panic!("{name}: {block}: nothing is told\n{told:#?}"));
            assert_eq!((warned.line, warned.certainty), (line, Certainty::Certain), "{name}: {block}");
        }
    }
}
