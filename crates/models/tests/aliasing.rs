//! What a block writes to something it has seen reaches the model where the model still uses that memory.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use engine::conformance::{self, Outcome, Subject};
use program::{Function, TensorData};

#[path = "shared/engine.rs"]
mod shared;
use shared::engine;

const GPT2: Subject<'_> = Subject { engine: &|| engine("tiny-gpt2"), ..models::testing::GPT2 };
const LLAMA: Subject<'_> = Subject { engine: &|| engine("tiny-llama"), ..models::testing::LLAMA };

fn tensors(outcome: &Outcome) -> Vec<TensorData> {
    conformance::flat(outcome.end.as_ref().unwrap_or_else(|failure| panic!("{}", failure.message)))
}

fn floats(data: &TensorData) -> Vec<f32> {
    data.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn near(found: &Outcome, expected: &Outcome, context: &str) {
    let (found, expected) = (tensors(found), tensors(expected));
    assert_eq!(found.len(), expected.len(), "{context}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.shape, expected.shape, "{context}");
        for (found, expected) in floats(found).into_iter().zip(floats(expected)) {
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{context}: {found} is not {expected}");
        }
    }
}

/// Checks that two blocks do the same, alone, beside others, and where rows come again.
fn same(block: &str, plain: &str) {
    for subject in [&GPT2, &LLAMA] {
        let names = if subject.layers == LLAMA.layers {
            ("self_attn", "model.model.norm")
        } else {
            ("attn", "model.transformer.ln_f")
        };
        let job = |text: &str, block: &str| {
            subject.job(
                text,
                Function::Call,
                &format!("import torch\n{block}").replace("ATTN", names.0).replace("NORM", names.1),
                &[],
            )
        };
        let text = "Hello there, world";
        let expected = subject.outcomes(vec![job(text, plain)]).remove(0);
        let alone = subject.outcomes(vec![job(text, block)]).remove(0);
        near(&alone, &expected, &format!("{block}\nalone"));
        let again =
            subject.outcomes(vec![job(text, "x = HEAD.output[0, -1].save()"), job(text, block), job(text, plain)]);
        assert!(again[1].usage.forks > 0 || block.contains("wte"));
        near(&again[1], &expected, &format!("{block}\nwhere the row comes again"));
        near(&again[2], &expected, &format!("{plain}\nwhere the row comes again"));
        let neighbour = "x = LAYERS[0].output\nLAYERS[0].output = x * 2\ny = LAYERS[1].ATTN.output\nLAYERS[1].ATTN.output = (y[0] * 2, y[1])\nout = HEAD.output.save()";
        let beside =
            subject.outcomes(vec![job("Helix", neighbour), job(text, block), job("a", "x = LAYERS[0].output.save()")]);
        near(&beside[1], &expected, &format!("{block}\nbeside others"));
    }
}

#[test]
fn logits_are_one_tensor_however_they_are_read() {
    same(
        "x = HEAD.output[:, -1]\nx[:] = 7\nout = HEAD.output[:, -1].save()",
        "HEAD.output[:, -1] = 7\nout = HEAD.output[:, -1].save()",
    );
    same(
        "x = HEAD.output[:, -1]\nx += 7\nout = HEAD.output[0, -1, 3].save()",
        "HEAD.output[:, -1] += 7\nout = HEAD.output[0, -1, 3].save()",
    );
    same(
        "x = HEAD.output[:, 1:3]\nx.zero_()\nout = HEAD.output[:, -3:].save()",
        "HEAD.output[:, 1:3] = 0\nout = HEAD.output[:, -3:].save()",
    );
    same(
        "x = HEAD.output[:, -1]\ns = HEAD.output.sum()\nx[:] = 7\nout = HEAD.output.save()",
        "HEAD.output[:, -1] = 7\nout = HEAD.output.save()",
    );
    same(
        "x = HEAD.output[:, -1]\nHEAD.output[:] = 3\nout = x.clone().save()",
        "HEAD.output[:] = 3\nout = HEAD.output[:, -1].save()",
    );
    same(
        "x = HEAD.output[:, -1]\ny = HEAD.output[:, -1]\nx[:] = 7\nout = y.clone().save()",
        "HEAD.output[:, -1] = 7\nout = HEAD.output[:, -1].save()",
    );
    same(
        "x = HEAD.output[0, -1, 2:5]\nx[:] = 7\nout = HEAD.output[0, -1, :8].save()",
        "HEAD.output[0, -1, 2:5] = 7\nout = HEAD.output[0, -1, :8].save()",
    );
    same(
        "x = HEAD.output[0, -1]\nx[3] = 7\nl = tracer.result.logits\nout = l[0, -1].save()",
        "HEAD.output[0, -1, 3] = 7\nout = tracer.result.logits[0, -1].save()",
    );
}

#[test]
fn what_was_seen_before_is_the_models_while_it_uses_it() {
    same(
        "h = LAYERS[0].output\ni = LAYERS[1].input\nh[:, 2] = 5\nout = HEAD.output.save()",
        "LAYERS[1].input[:, 2] = 5\nout = HEAD.output.save()",
    );
    same(
        "h = LAYERS[0].output\ni = LAYERS[1].input\nh[:] = 5\nout = LAYERS[1].output.save()",
        "LAYERS[0].output[:] = 5\nout = LAYERS[1].output.save()",
    );
    same(
        "h = LAYERS[0].output\nh[:, 2] = 4\ni = LAYERS[1].input\nh[:, 1] = 5\nout = HEAD.output.save()",
        "LAYERS[0].output[:, 2] = 4\nLAYERS[1].input[:, 1] = 5\nout = HEAD.output.save()",
    );
}

#[test]
fn what_is_written_later_shows_in_what_was_seen_before() {
    same(
        "h = LAYERS[2].output\ni = LAYERS[3].input\ni[:, 2] = 5\nout = h.clone().save()\nx = HEAD.output.save()",
        "LAYERS[2].output[:, 2] = 5\nout = LAYERS[3].input.clone().save()\nx = HEAD.output.save()",
    );
}

#[test]
fn what_was_seen_before_and_is_used_no_more_is_the_blocks_own() {
    same("n = NORM.output\nl = HEAD.output\nn[:] = 0\nout = l[:, -1].save()", "out = HEAD.output[:, -1].save()");
    same(
        "h = LAYERS[0].output\nm = LAYERS[1].mlp.output\nx = LAYERS[2].output\nh[:] = 0\nm[:] = 0\nout = HEAD.output.save()",
        "out = HEAD.output.save()",
    );
    same("i = LAYERS[1].input\nx = LAYERS[2].output\ni[:] = 0\nout = HEAD.output.save()", "out = HEAD.output.save()");
}

#[test]
fn another_form_given_in_place_is_what_the_model_goes_on_with_whoever_else_is_there() {
    let blocks = [
        "x = LAYERS[1].output\nx.swapaxes_(1, 2)\nout = HEAD.output.save()",
        "x = LAYERS[1].output\nx.transpose_(0, 1)\nout = HEAD.output.save()",
        "x = LAYERS[1].output\nx.unsqueeze_(0)\nout = HEAD.output.save()",
        "x = LAYERS[1].mlp.input\nx.squeeze_(0)\nout = HEAD.output.save()",
        // And back again.
        "x = LAYERS[1].output\nx.transpose_(0, 1)\nx.transpose_(0, 1)\nout = HEAD.output.save()",
        // Nothing of it reaches the model.
        "x = LAYERS[1].output.view(-1)\nx.unsqueeze_(0)\nout = HEAD.output.save()",
    ];
    let mut failed = 0;
    for subject in [&GPT2, &LLAMA] {
        for block in blocks {
            let job = |text: &str, block: &str| subject.job(text, Function::Call, block, &[]);
            let alone = subject.outcomes(vec![job("Hello there, world", block)]).remove(0);
            let neighbour = job("a", "x = LAYERS[2].output.save()");
            let beside = subject.outcomes(vec![job("Hello there, world", block), neighbour]);
            match (&alone.end, &beside[0].end) {
                (Ok(_), Ok(_)) => near(&beside[0], &alone, block),
                (Err(alone), Err(beside)) => assert_eq!(beside.message, alone.message, "{block}"),
                (alone, beside) => panic!("{block}\nalone: {alone:?}\nbeside others: {beside:?}"),
            }
            assert!(beside[1].end.is_ok());
            failed += usize::from(alone.end.is_err());
        }
    }
    assert!(failed >= 2, "{failed}");
}
