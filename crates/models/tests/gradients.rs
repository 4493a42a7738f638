//! Gradients of jobs that run at the same time.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use engine::conformance::{self, Outcome, Subject};
use engine::{Fault, Job};
use program::{Function, Limits};

#[path = "shared/engine.rs"]
mod shared;
use shared::engine;

const GPT2: Subject<'_> = Subject { engine: &|| engine("tiny-gpt2"), ..models::testing::GPT2 };

/// Saves the gradient of the first layer's output, and what a second walk of the graph raises.
const GRADIENTS: &str = "
h = LAYERS[0].output
loss = HEAD.output[:, -1].logsumexp(-1).sum()
with loss.backward():
    g = h.grad.clone().save()
try:
    loss.backward()
except RuntimeError as error:
    again = nnsight.save(str(error))";

fn job(text: &str, source: &str) -> Job {
    GPT2.job(text, Function::Call, source, &[])
}

fn gradient(outcome: &Outcome) -> Vec<u8> {
    let saved = outcome.end.as_ref().unwrap_or_else(|failure| panic!("{}", failure.message));
    conformance::tensor(saved, "g").bytes
}

#[test]
fn i1_gradients_of_one_job_are_the_same_bits_whoever_else_is_there() {
    let alone = GPT2.outcomes(vec![job("The capital of France", GRADIENTS)]);
    let poison = GRADIENTS.replace("loss =", "LAYERS[0].output[:] *= float('nan')\nloss =");
    let crowd = GPT2.outcomes(vec![
        job("The capital of Italy", &poison),
        job("The capital of France", GRADIENTS),
        job("Once upon a time there was a small model", GRADIENTS),
        job("The capital of France", "HEAD.output[:] = float('nan')\nx = HEAD.output.save()"),
        job("The capital of France", GRADIENTS),
    ]);
    let expected = gradient(&alone[0]);
    assert_eq!([&crowd[1], &crowd[4]].map(gradient), [expected.clone(), expected.clone()]);
    assert_ne!(gradient(&crowd[2]).len(), expected.len());
    let poisoned = gradient(&crowd[0]);
    assert!(poisoned.as_chunks::<4>().0.iter().any(|bytes| f32::from_le_bytes(*bytes).is_nan()));
}

#[test]
fn i1_no_job_frees_the_graph_of_another() {
    let outcomes = GPT2.outcomes(vec![
        job("The Eiffel Tower", GRADIENTS),
        job("The Eiffel Tower", GRADIENTS),
        job("The Eiffel Tower", GRADIENTS),
    ]);
    for outcome in outcomes {
        let saved = outcome.end.unwrap_or_else(|failure| panic!("{}", failure.message));
        assert_eq!(conformance::names(&saved), ["again", "g"]);
    }
}

#[test]
fn i4_a_graph_that_is_too_large_ends_its_own_job() {
    let mut large = job("The capital of France", GRADIENTS);
    large.limits = Limits { tensor_bytes: 4096, ..Limits::default() };
    let outcomes = GPT2.outcomes(vec![large, job("The capital of France", GRADIENTS)]);
    let failure = outcomes[0].end.as_ref().err().unwrap();
    assert_eq!(failure.fault, Fault::Limit, "{}", failure.message);
    assert!(failure.message.contains("memory for tensors"), "{}", failure.message);
    assert!(outcomes[1].end.is_ok());
}

#[test]
fn passes_of_jobs_without_gradients_are_still_shared_and_record_nothing() {
    let source = "h = LAYERS[0].output\nleaf = torch.nn.Parameter(h)\nh[:] = leaf * 2\ng = HEAD.output.save()";
    let source = format!("import torch\n{source}");
    let outcomes = GPT2.outcomes(vec![job("The Eiffel Tower", &source), job("The capital of France", &source)]);
    for outcome in &outcomes {
        assert!(!gradient(outcome).is_empty());
        assert!(!conformance::tensor(outcome.end.as_ref().unwrap(), "g").requires_grad);
    }
}
