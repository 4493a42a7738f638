//! The real models in the engine: the engine's contract, and rows that compute only what they change.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use engine::Event;
use engine::conformance::{self, Outcome, Subject, check, tensor};
use program::{Function, TensorData};

#[path = "shared/engine.rs"]
mod shared;
use shared::engine;

/// Names of the test models, and what their layers and head are called.
const MODELS: [(&str, &str); 4] = [
    ("tiny-gpt2", "model.transformer.h"),
    ("tiny-llama", "model.model.layers"),
    ("tiny-gemma3", "model.model.layers"),
    ("tiny-qwen3-moe", "model.model.layers"),
];

#[test]
fn real_models_keep_the_engines_contract() {
    for (name, layers) in MODELS {
        check(&Subject { layers, head: "model.lm_head", engine: &|| engine(name) });
    }
}

/// Blocks that read and change a row in every way that matters to what is kept of it.
const BLOCKS: [&str; 29] = [
    "out = HEAD.output.save()",
    "LAYERS[1].output[:, 2] = 0.5\nout = HEAD.output.save()",
    "LAYERS[0].output[:, 0] += 1\nout = HEAD.output.save()",
    "LAYERS[-1].output[:, -1] *= 2\nout = HEAD.output.save()",
    "x = LAYERS[0].output\nLAYERS[0].output = x * 2\nout = LAYERS[1].output.save()",
    "LAYERS[0].output[:, 3] = 1\na = LAYERS[1].MLP.output.save()\nout = HEAD.output.save()",
    "LAYERS[0].MLP.output[:, 1] = 0\nmid = LAYERS[1].output.save()\nout = HEAD.output.save()",
    "LAYERS[1].input[:, 2] = 3\nout = HEAD.output.save()",
    "LAYERS[0].output[:, 2] = 0.1\nLAYERS[1].output[:, 1] = 0.2\nout = HEAD.output.save()",
    "a = LAYERS[0].output.save()\nb = LAYERS[1].output.save()\nout = tracer.result.logits.save()",
    "LAYERS[0].output[:, 3] = 2\nr = tracer.result\nkeys = r.past_key_values.layers[1].keys.save()\nold = r.past_key_values.layers[0].values.save()\nout = r.logits.save()",
    "LAYERS[0].skip(LAYERS[0].input * 3)\nout = HEAD.output.save()",
    "LAYERS[1].output[:, 2] = float('nan')\nout = LAYERS[1].output[:, :2].save()",
    "x = LAYERS[0].MLP.output\nmid = LAYERS[0].output.save()\nx[:, 1] = 9\nout = HEAD.output.save()",
    "LAYERS[1].skip(LAYERS[1].input * 2)\nr = tracer.result\nkeys = [layer.keys for layer in r.past_key_values.layers]\nnone = torch.tensor([float(one is None) for one in keys]).save()\nlast = keys[3].save()\nout = r.logits.save()",
    "LAYERS[0].output[:, 2] = 3\nLAYERS[2].ATTN.skip((LAYERS[2].ATTN.input, None))\nr = tracer.result\nkeys = [layer.keys for layer in r.past_key_values.layers]\nnone = torch.tensor([float(one is None) for one in keys]).save()\nout = r.logits.save()",
    "LAYERS[2].MLP.skip(LAYERS[2].MLP.input)\nkeys = [layer.keys for layer in tracer.result.past_key_values.layers]\nout = torch.stack(keys).save()",
    // Attention hides later positions by multiplying them by zero, which these survive: they reach earlier ones.
    "LAYERS[1].output[:, 2] = float('nan')\nmid = LAYERS[2].output.save()\nout = HEAD.output.save()",
    "LAYERS[0].output[:, 3] = float('inf')\nout = HEAD.output.save()",
    "LAYERS[1].MLP.output[:, 1] = float('nan')\nout = tracer.result.logits.save()",
    "x = LAYERS[0].output\ny = LAYERS[1].input\nx[:, 2] = float('nan')\nmid = LAYERS[1].output.save()\nout = HEAD.output.save()",
    "LAYERS[0].output[:, 2] = 3e38\nmid = LAYERS[1].output.save()\nout = HEAD.output.save()",
    "LAYERS[0].output[:, 1] = 0.5\nLAYERS[1].output[:, 3] = float('nan')\nout = HEAD.output.save()",
    "l = HEAD.output[0, -1]\nout = (l * 2).save()",
    "x = HEAD.output[:, -1]\nx[:] = 7\nHEAD.output[:, 0] = 3\nout = tracer.result.logits.save()",
    "HEAD.output[:, -1] = 0\nout = tracer.result.logits.save()",
    "a = HEAD.output[0, -1].save()\nHEAD.output = HEAD.output * 2\nout = tracer.result.logits.save()",
    "out = HEAD.output[..., -1, :].save()\nshape = HEAD.output.shape[1]\nall = HEAD.output[:, :shape].save()",
    "out = (HEAD.output[0, -1, 5] - HEAD.output[0, -1][3] + HEAD.output[:, 1:3, [1, 2]].sum()).save()",
];

#[test]
fn logits_are_the_same_wherever_they_are_computed() {
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let block = "some = HEAD.output[:, 1:3]\nlast = HEAD.output[0, -1]\none = HEAD.output[0, 2, 7]\nall = HEAD.output.clone()\n\
                     ok = nnsight.save([(all[:, 1:3] - some).abs().max().item() < 1e-4, (all[0, -1] - last).abs().max().item() < 1e-4, \
                     abs((all[0, 2, 7] - one).item()) < 1e-4, tuple(some.shape)[1] == 2, tuple(one.shape) == ()])\n\
                     wrong = HEAD.output[0, 99]";
        let sound = block.replace("\nwrong = HEAD.output[0, 99]", "");
        let outcomes = subject.outcomes(vec![
            subject.job("Hello there, world", Function::Call, &sound, &[]),
            subject.job("Hello", Function::Call, &sound, &[]),
            subject.job("Hello", Function::Call, block, &[]),
        ]);
        for outcome in outcomes.iter().take(2) {
            let saved = outcome.end.as_ref().unwrap();
            let program::Datum::List(items) = saved.heap.get(saved.names[0].1).unwrap() else { panic!("no list") };
            assert!(items.iter().all(|item| saved.heap.get(*item) == Some(&program::Datum::Bool(true))), "{saved:?}");
        }
        let failure = outcomes[2].end.as_ref().unwrap_err();
        assert!(failure.message.contains("IndexError"), "{}", failure.message);
    }
}

/// Blocks that look at operations of forwards around layers and of functions inside of them, and change them. BASE is the base
/// model.
const SOURCES: [&str; 9] = [
    "x = LAYERS[1].output.save()\nout = HEAD.output.save()",
    "LAYERS[1].output[:, 2] = 0.5\nout = HEAD.output.save()",
    "a = BASE.source.inputs_embeds_0.output.save()\nBASE.source.inputs_embeds_0.output = a * 0.5\nout = HEAD.output.save()",
    "first = BASE.source.ROUND.output.save()\nb = LAYERS[1].ATTN.source.CALL.output[0].save()\nout = HEAD.output.save()",
    "for _ in tracer.iter[0:2]:\n    x = BASE.source.BOUND.output\n    x[:, 1] *= 0.5\n    out = x.save()",
    "h = model.source.hidden_states_1.output.save()\nh[:, -1] = 2\nout = model.output.logits.save()",
    "l = model.source.logits_0.output[:, -1].save()\nout = model.source.logits_0.output.save()",
    "BASE.source.ROUND.skip(BASE.source.ROUND.input * 2)\nout = HEAD.output.save()",
    "x = LAYERS[0].source.hidden_states_1.output\nx[:, 1] = 3\nout = HEAD.output.save()",
];

#[test]
fn operations_in_shared_passes_give_what_they_give_alone() {
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let gpt2 = name == "tiny-gpt2";
        let (base, attention) = if gpt2 { ("model.transformer", "attn") } else { ("model.model", "self_attn") };
        let (round, bound) = if gpt2 { ("block_0", "hidden_states_3") } else { ("decoder_layer_0", "hidden_states_1") };
        let job = |(index, block): (usize, &&str)| {
            let names = [
                ("BASE", base),
                ("ATTN", attention),
                ("ROUND", round),
                ("BOUND", bound),
                ("CALL", "attention_interface_1"),
            ];
            let block = names.iter().fold((*block).to_owned(), |block, (name, own)| block.replace(name, own));
            // Of several lengths, some of them twice.
            let text = ["Hello there, world", "Hello", "A longer text than those of others here"][index % 3];
            subject.job(text, Function::Call, &block, &[])
        };
        let all = || SOURCES.iter().enumerate().chain(SOURCES.iter().enumerate().take(3)).map(job);
        let alone: Vec<Outcome> = all().flat_map(|job| subject.outcomes(vec![job])).collect();
        let together = subject.outcomes(all().collect());
        for ((index, alone), together) in alone.iter().enumerate().zip(&together) {
            same(alone, together, SOURCES[index % SOURCES.len()]);
        }
        let usage = &together[0].usage;
        assert!(usage.shared > usage.forwards, "{name}: nobody shared a pass");
    }
}

/// Blocks that look at no operation, of calls of several forms: with padding or without, with positions or without, steps of
/// generations.
const CALLS: [(Function, &str); 5] = [
    (Function::Call, "with tracer.invoke(['Hello', 'A longer text than the other']):\n    out = HEAD.output.save()"),
    (
        Function::Call,
        "with tracer.invoke([[5, 6, 7]]):\n    LAYERS[1].output[:, 1] = 0.5\n    out = HEAD.output.save()",
    ),
    (
        Function::Call,
        "with tracer.invoke({'input_ids': [[5, 6, 7]], 'position_ids': [[4, 5, 9]]}):\n    out = HEAD.output.save()",
    ),
    (
        Function::Generate,
        "with tracer.invoke(['Hello', 'A longer text than the other']):\n    out = list().save()\n    for _ in tracer.iter[:4]:\n        \
         out.append(HEAD.output)",
    ),
    (
        Function::Generate,
        "with tracer.invoke('Hello there'):\n    out = list().save()\n    for _ in tracer.iter[:4]:\n        out.append(HEAD.output)",
    ),
];

/// Blocks that look at operations inside of layers.
const LOOKERS: [(Function, &str); 2] = [
    (
        Function::Call,
        "with tracer.invoke('Hello'):\n    a = LAYERS[0].source.hidden_states_1.output.save()\n    out = HEAD.output.save()",
    ),
    (
        Function::Generate,
        "with tracer.invoke('Hello'):\n    out = list().save()\n    for _ in tracer.iter[:4]:\n        \
         out.append(LAYERS[0].source.hidden_states_1.output)",
    ),
];

#[test]
fn calls_of_every_form_give_what_they_give_alone_beside_who_looks_at_operations() {
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let job = |(function, block): &(Function, &str)| {
            let kwargs: &[(&str, i64)] = if *function == Function::Generate { &[("max_new_tokens", 4)] } else { &[] };
            subject.job("", *function, block, kwargs)
        };
        let alone = |block| subject.outcomes(vec![job(block)]).remove(0);
        let (calls, lookers) = (CALLS.each_ref().map(alone), LOOKERS.each_ref().map(alone));
        for (looker, alone_looker) in LOOKERS.iter().zip(&lookers) {
            for (call, alone_call) in CALLS.iter().zip(&calls) {
                // Who comes first leads a pass.
                for [first, second] in [[looker, call], [call, looker]] {
                    let mut together = subject.outcomes(vec![job(first), job(second)]);
                    if first == call {
                        together.reverse();
                    }
                    for ((found, alone), (_, block)) in
                        together.iter().zip([alone_looker, alone_call]).zip([looker, call])
                    {
                        conformance::near(found.end.as_ref().unwrap(), alone.end.as_ref().unwrap(), 1e-4, block);
                    }
                }
            }
        }
        // Who looks shares passes with who looks at a call of the same form; what others compute takes no steps for that.
        for (other, shared) in [(&LOOKERS[0], [2, 2]), (&CALLS[1], [1, 1])] {
            let pair = subject.outcomes(vec![job(&LOOKERS[0]), job(other)]);
            assert_eq!(
                pair.iter().map(|outcome| outcome.usage.shared).collect::<Vec<_>>(),
                shared,
                "{name}: {}",
                other.1
            );
        }
    }
}

#[test]
fn rows_that_come_again_give_what_they_give_alone() {
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let attention = if name == "tiny-gpt2" { "attn" } else { "self_attn" };
        let job = |block: &str| {
            let block = format!("import torch\n{}", block.replace("MLP", "mlp").replace("ATTN", attention));
            subject.job("Hello there, world", Function::Call, &block, &[])
        };
        let alone: Vec<Outcome> = BLOCKS.iter().flat_map(|block| subject.outcomes(vec![job(block)])).collect();
        assert!(alone.iter().all(|outcome| outcome.usage.forks == 0), "a row that is new has nothing to fork from");
        // All at once, so that each finds the others' row kept.
        let together = subject.outcomes(BLOCKS.iter().map(|block| job(block)).collect());
        assert_eq!((together[0].usage.layers_run, together[0].usage.layers_skipped), (0, 4), "nobody changed that row");
        assert_eq!(together[1].usage.layers_run, 2, "it was changed after the second layer");
        for ((block, alone), together) in BLOCKS.iter().zip(&alone).zip(&together) {
            assert!(together.usage.forks > 0, "{block}");
            let layers = |outcome: &Outcome| outcome.usage.layers_run + outcome.usage.layers_skipped;
            // Blocks that wrote to what the pass had gone on from with a copy had to run again by themselves.
            let forwards = together.usage.forwards / alone.usage.forwards;
            assert_eq!(layers(together), layers(alone) * forwards, "{block}");
            assert!(together.usage.layers_run <= alone.usage.layers_run * forwards, "{block}");
            same(alone, together, block);
        }
    }
}

#[test]
fn a_row_that_comes_again_by_itself_skips_what_it_skipped_before() {
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let block = "LAYERS[1].skip(LAYERS[1].input)\na = LAYERS[2].output.save()\nout = HEAD.output.save()";
        let mut engine = engine(name);
        let mut found = Vec::new();
        for _ in 0..3 {
            engine.submit(subject.job("Hello there, world", Function::Call, block, &[]));
            while !engine.idle() {
                for event in engine.step() {
                    if let Event::Finished(_, saved, usage) = event {
                        found.push((saved, usage.forks));
                    }
                }
            }
        }
        assert_eq!(found.iter().map(|(_, forks)| *forks).collect::<Vec<_>>(), [0, 1, 1]);
        for (saved, _) in &found {
            for value in ["a", "out"] {
                near(&tensor(&found[0].0, value), &tensor(saved, value), value);
            }
        }
    }
}

#[test]
fn invokes_of_one_row_give_what_they_give_alone() {
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let invokes = "for position in range(4):\n    with tracer.invoke('Hello there, world'):\n        LAYERS[1].output[:, position] = 0.5\n        outs.append(HEAD.output.clone())";
        let source = format!("outs = nnsight.save([])\n{invokes}");
        let outcome = subject.outcomes(vec![subject.job("", Function::Call, &source, &[])]).remove(0);
        assert_eq!(outcome.usage.forks, 4);
        let saved = outcome.end.unwrap();
        let program::Datum::List(items) = saved.heap.get(saved.names[0].1).unwrap().clone() else { panic!("no list") };
        for (position, item) in items.into_iter().enumerate() {
            let together = &saved.heap.tensor(item).unwrap();
            let block = format!("LAYERS[1].output[:, {position}] = 0.5\nout = HEAD.output.save()");
            let alone =
                subject.outcomes(vec![subject.job("Hello there, world", Function::Call, &block, &[])]).remove(0);
            near(&tensor(&alone.end.unwrap(), "out"), together, &block);
        }
    }
}

#[test]
fn generations_from_a_prompt_that_comes_again_give_what_they_give_alone() {
    let plain = "steps = nnsight.save([])\nfor step in tracer.iter[:5]:\n    steps.append(LAYERS[2].output.clone())\nids = tracer.result.save()";
    let steered = plain.replace("    steps.append", "    LAYERS[1].output[:, -1] += 0.5\n    steps.append");
    let first = plain.replace("for step", "LAYERS[0].output[:, 1] = 0.25\nfor step");
    let skipped = plain.replace("for step", "LAYERS[1].skip(LAYERS[1].input)\nfor step");
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let job = |block: &str| subject.job("Hello there, world", Function::Generate, block, &[("max_new_tokens", 5)]);
        let trace = || subject.job("Hello there, world", Function::Call, "out = HEAD.output.save()", &[]);
        let blocks = [plain, &steered, &first, &skipped, plain];
        let alone: Vec<Outcome> = blocks.iter().map(|block| subject.outcomes(vec![job(block)]).remove(0)).collect();
        let mut jobs: Vec<_> = blocks.iter().map(|block| job(block)).collect();
        jobs.push(trace());
        let together = subject.outcomes(jobs);
        for ((block, alone), together) in blocks.iter().zip(&alone).zip(&together) {
            assert_eq!(together.usage.forks, 1, "{block}");
            let (alone, together) = (alone.end.as_ref().unwrap(), together.end.as_ref().unwrap());
            assert_eq!(tensor(alone, "ids"), tensor(together, "ids"), "{block}");
            let (alone, together) = (engine::conformance::flat(alone), engine::conformance::flat(together));
            assert!(alone.len() == 6 && together.len() == 6, "{block}");
            alone.iter().zip(&together).for_each(|(alone, together)| near(alone, together, block));
        }
        let logits = |outcome: &Outcome| tensor(outcome.end.as_ref().unwrap(), "out");
        near(&logits(&subject.outcomes(vec![trace()])[0]), &logits(&together[5]), "the trace among them");
    }
}

#[test]
fn a_batch_that_no_pass_has_room_for_is_refused_with_its_size_and_the_limit() {
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let small = |source: &str| {
            let mut job = subject.session_job(source);
            job.limits.tensor_bytes = 1 << 20;
            job
        };
        let read = "with model.trace(['Hello there'] * 500):\n    x = LAYERS[0].output.save()";
        let caught = "size = 500\nwhile True:\n    try:\n        with model.trace(['Hello there'] * size):\n            x = LAYERS[0].output.save()\n        break\n    except RuntimeError as error:\n        why = nnsight.save(type(error).__name__)\n        size //= 4\nrows = nnsight.save(size)";
        let grown = "with model.generate(['Hello'] * 40, max_new_tokens=50):\n    x = tracer.result.save()";
        let outcomes = subject.outcomes(vec![
            small(read),
            subject.job("Hello", Function::Call, "x = HEAD.output.save()", &[]),
            small(caught),
            small(grown),
        ]);
        let message = |outcome: &Outcome| outcome.end.as_ref().unwrap_err().message.clone();
        let refusal = message(&outcomes[0]);
        let expected = "torch.OutOfMemoryError: a forward pass over 500 rows of ";
        assert!(refusal.contains(expected) && refusal.contains("line 1"), "{refusal}");
        assert!(refusal.contains("where a job may have 1.0 MiB: send fewer rows"), "{refusal}");
        assert!(outcomes[1].end.is_ok());
        let saved = outcomes[2].end.as_ref().unwrap_or_else(|failure| panic!("{}", failure.message));
        assert_eq!(engine::conformance::names(saved), ["rows", "size", "why", "x"]);
        let grown = message(&outcomes[3]);
        assert!(grown.contains("a forward pass over 40 rows of ") && grown.contains(", grown to 5"), "{grown}");
    }
}

fn same(alone: &Outcome, together: &Outcome, block: &str) {
    let (alone, together) = match (&alone.end, &together.end) {
        (Ok(alone), Ok(together)) => (alone, together),
        (Err(alone), Err(together)) => return assert_eq!(alone.message, together.message, "{block}"),
        (alone, together) => panic!("{block}: {alone:?} and {together:?}"),
    };
    let names = engine::conformance::names(alone);
    assert_eq!(names, engine::conformance::names(together), "{block}");
    for name in names {
        near(&tensor(alone, &name), &tensor(together, &name), &format!("{name} of {block}"));
    }
}

fn near(left: &TensorData, right: &TensorData, context: &str) {
    assert_eq!(left.shape, right.shape, "{context}");
    let floats = |data: &TensorData| -> Vec<f32> {
        data.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    for (left, right) in floats(left).into_iter().zip(floats(right)) {
        assert!(
            (left - right).abs() <= 1e-4 * right.abs().max(1.0) || (left.is_nan() && right.is_nan()),
            "{context}: {left} {right}"
        );
    }
}

#[test]
fn a_sequence_that_was_lengthened_is_given_the_length_of_the_input_where_hugging_face_does() {
    let shape = |outcome: &Outcome, name: &str| tensor(outcome.end.as_ref().unwrap(), name).shape;
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let job = |block: &str| subject.job("Hello there, world", Function::Call, block, &[]);
        let plain = "out = HEAD.output.save()";
        let with = |new: &str| {
            job(&format!(
                "import torch\nx = LAYERS[-1].output\nLAYERS[-1].output = {new}\n{plain}\nlast = tracer.result.logits.save()"
            ))
        };
        let length = shape(&subject.outcomes(vec![job(plain)])[0], "out")[1];
        for company in [0, 2] {
            let mut jobs = vec![with("torch.cat([x, x], 1)"), with("torch.cat([x, x[:, :1]], 1)")];
            jobs.extend((0..company).map(|_| job(plain)));
            let outcomes = subject.outcomes(jobs);
            if name == "tiny-gpt2" {
                assert_eq!(shape(&outcomes[0], "out")[..2], [2, length], "{company}");
                assert_eq!(shape(&outcomes[0], "last")[..2], [2, length], "{company}");
                let failure = outcomes[1].end.as_ref().unwrap_err();
                assert!(failure.message.contains("is invalid for input of size"), "{}", failure.message);
            } else {
                assert_eq!(shape(&outcomes[0], "out")[..2], [1, 2 * length], "{company}");
                assert_eq!(shape(&outcomes[1], "out")[..2], [1, length + 1], "{company}");
            }
        }
    }
}

/// Blocks, whether their `out` would require grad, and why.
const REQUIRING: [(&str, bool); 27] = [
    ("out = LAYERS[1].output.save()", true),
    ("out = LAYERS[1].input.save()", true),
    ("out = LAYERS[0].mlp.output[0, -1].save()", true),
    ("out = HEAD.output.save()", true),
    ("out = HEAD.output[:, -1].softmax(-1).save()", true),
    ("out = HEAD.output[0, -1, 3].save()", true),
    ("out = tracer.result.logits.save()", true),
    ("out = (LAYERS[0].output * 2 + 1).mean().save()", true),
    ("out = torch.zeros(3)\nout[0] = LAYERS[0].output.sum()\nout = out.save()", true),
    ("LAYERS[0].output[:] = 0\nout = LAYERS[0].output.save()", true),
    ("LAYERS[0].output = LAYERS[0].output * 2\nout = LAYERS[1].input.save()", true),
    ("out = LAYERS[0].output.detach().save()", false),
    ("out = LAYERS[0].output.argmax(-1).save()", false),
    ("out = (LAYERS[0].output > 0).save()", false),
    ("out = torch.zeros_like(LAYERS[0].output).save()", false),
    ("out = (LAYERS[0].output.detach() * 2).save()", false),
    ("with torch.no_grad():\n    out = (LAYERS[0].output * 2).save()", false),
    ("@torch.no_grad()\ndef f(h):\n    return h * 2\nout = f(LAYERS[0].output).save()", false),
    ("out = torch.ones(2, 3).softmax(-1).save()", false),
    ("LAYERS[0].output = torch.zeros_like(LAYERS[0].output)\nout = LAYERS[1].input.save()", false),
    ("out = model.inputs[1]['input_ids'].save()", false),
    ("h = LAYERS[0].output\nout = (h.norm() + h.var() + torch.where(h > 0, h, 0.0).quantile(0.5)).save()", true),
    ("out = HEAD(LAYERS[1].output).save()", true),
    ("with torch.no_grad():\n    out = HEAD(LAYERS[1].output).save()", false),
    ("out = LAYERS[0].mlp(torch.ones_like(LAYERS[0].input)).save()", true),
    ("out = (HEAD.weight[0] * 2).save()", true),
    ("out = HEAD.weight.detach()[0].save()", false),
];

#[test]
fn what_comes_of_parameters_is_sent_back_as_requiring_grad() {
    for (name, layers) in MODELS {
        let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name) };
        let requires = |outcome: &Outcome| tensor(outcome.end.as_ref().unwrap(), "out").requires_grad;
        let source = |block: &str| format!("import torch\n{block}");
        let jobs = |function: Function| {
            let job = |(block, _): &(&str, bool)| subject.job("Hello there, world", function, &source(block), &[]);
            REQUIRING.iter().map(job).collect::<Vec<_>>()
        };
        let alone = jobs(Function::Call).into_iter().map(|job| subject.outcomes(vec![job]).remove(0));
        for outcomes in [alone.collect(), subject.outcomes(jobs(Function::Call))] {
            for ((block, expected), outcome) in REQUIRING.iter().zip(&outcomes) {
                assert_eq!(requires(outcome), *expected, "{name}: {block}");
            }
        }
        // Hugging Face's generate() records nothing.
        let generated = subject.job("Hello", Function::Generate, &source(REQUIRING[0].0), &[]);
        assert!(!requires(&subject.outcomes(vec![generated])[0]));
        let session = "import torch\nwith torch.no_grad():\n    with model.trace('Hello'):\n        out = LAYERS[0].output.save()";
        assert!(!requires(&subject.outcomes(vec![subject.session_job(session)])[0]));
    }
}
