//! Gradients of jobs that run at the same time.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use engine::conformance::{self, Outcome, Subject};
use engine::{Fault, Job};
use program::{Batching, Function, Limits};

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
    conformance::tensor(saved, "g").bytes.to_vec()
}

/// Has the job's bits depend on nobody else, whatever this processor's kernels do.
fn reproducible(mut job: Job) -> Job {
    job.program.env.batching = Some(Batching::Reproducible);
    job
}

#[test]
fn i1_gradients_of_one_job_are_the_same_bits_whoever_else_is_there() {
    let job = |text: &str, source: &str| reproducible(job(text, source));
    let alone = GPT2.outcomes(vec![job("The capital of France", GRADIENTS)]);
    let poison = GRADIENTS.replace("loss =", "LAYERS[0].output[:] *= float('nan')\nloss =");
    let crowd = GPT2.outcomes(vec![
        job("The capital of Italy", &poison),
        job("The capital of France", GRADIENTS),
        job("Once upon a time there was a small model", GRADIENTS),
        job("The capital of France", "HEAD.output[:] = float('nan')\nx = HEAD.output.save()"),
        job("The capital of France", GRADIENTS),
    ]);
    assert_eq!([0, 1, 2, 4].map(|place| crowd[place].usage.shared), [4; 4], "they share a pass");
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
fn every_way_of_asking_for_gradients_works_in_a_shared_pass() {
    let twice = "
h = LAYERS[0].output
a = HEAD.output[:, -1].logsumexp(-1).sum()
with a.backward(retain_graph=True):
    first = h.grad.clone()
with a.backward():
    second = h.grad.clone()
g = torch.stack([first, second, second - first]).save()";
    let edited = "
h = LAYERS[1].output
loss = HEAD.output[0, -1, 5]
with loss.backward():
    h.grad = h.grad * 2
g = loss.detach().save()";
    let invokes = "
gs = []
for text in ['The tower', 'The tower of Paris', 'Hello']:
    with tracer.invoke(text):
        h = LAYERS[1].output
        with HEAD.output[:, -1].logsumexp(-1).sum().backward(retain_graph=True):
            gs.append(h.grad.clone())
with tracer.invoke('Hello'):
    last = HEAD.output[0, 0, 0]
    g = torch.cat([one.flatten() for one in gs]).save()";
    // Parts of the logits first, and then their gradients as a whole.
    let whole = "
logits = HEAD.output
loss = logits[:, -1].logsumexp(-1).sum() + logits[0, 0, 3]
with loss.backward():
    g = logits.grad.clone().save()";
    let leaf = "
h = LAYERS[1].output.detach().requires_grad_()
LAYERS[1].output = h
HEAD.output[:, -1].logsumexp(-1).sum().backward()
g = h.grad.save()";
    let failing = "
h = LAYERS[0].output
with HEAD.output[:, -1].sum().backward():
    g = h.grad.clone().save()
    1 / 0";
    let job = |text: &str, source: &str| {
        let text = if source.contains("invoke") { "" } else { text };
        reproducible(job(text, &format!("import torch\n{source}")))
    };
    let sources = [GRADIENTS, twice, edited, invokes, whole, leaf, failing, GRADIENTS];
    let texts = ["The tower", "Hello there, world", "A", "", "Number three", "The tower of Paris", "Ten", "The tower"];
    let jobs = || sources.iter().zip(texts).map(|(source, text)| job(text, source)).collect::<Vec<_>>();
    let together = GPT2.outcomes(jobs());
    for (place, found) in together.iter().enumerate() {
        let alone = GPT2.outcomes(vec![jobs().swap_remove(place)]).remove(0);
        match (&found.end, &alone.end) {
            (Ok(_), Ok(_)) => assert_eq!(gradient(found), gradient(&alone), "{}", sources[place]),
            (Err(found), Err(alone)) => assert_eq!(found.message, alone.message),
            (found, alone) => panic!("{}\n{found:?}\n{alone:?}", sources[place]),
        }
        assert_eq!(found.end.is_err(), place == 6, "{:?}", found.end);
    }
    assert!(together.iter().filter(|outcome| outcome.usage.shared > outcome.usage.forwards).count() >= 6);
    // What was asked for as a whole has gradients where parts of it were used, and none elsewhere.
    let numbers: Vec<f32> =
        gradient(&together[4]).as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert!((numbers.iter().sum::<f32>() - 2.0).abs() < 1e-4 && numbers.contains(&0.0));
}

#[test]
fn i4_a_graph_that_is_too_large_ends_its_own_job() {
    let mut large = job("The capital of France", GRADIENTS);
    large.limits = Limits { tensor_bytes: 64 << 10, ..Limits::default() };
    let outcomes = GPT2.outcomes(vec![large, job("The capital of France", GRADIENTS)]);
    let failure = outcomes[0].end.as_ref().err().unwrap();
    assert_eq!(failure.fault, Fault::Limit, "{}", failure.message);
    assert!(failure.message.contains("memory for tensors"), "{}", failure.message);
    assert!(outcomes[1].end.is_ok());
}

#[test]
fn what_goes_wrong_in_a_walk_that_is_shared_is_nobody_elses() {
    let failing = GRADIENTS.replace("g = h.grad.clone().save()", "h.grad\n    1 / 0");
    let misshapen = GRADIENTS.replace("g = h.grad.clone().save()", "h.grad = torch.ones(7)");
    let greedy = GRADIENTS.replace("g = h.grad", "kept = h.grad.repeat(10**9, 1, 1)\n    g = h.grad");
    let all = || {
        let sources = [&failing, &misshapen, &greedy, GRADIENTS, GRADIENTS];
        sources.map(|source| reproducible(job("The capital of France", &format!("import torch\n{source}"))))
    };
    let alone = GPT2.outcomes(vec![reproducible(job("The capital of France", GRADIENTS))]);
    let together = GPT2.outcomes(all().into());
    let message = |at: usize| together[at].end.as_ref().map_err(|failure| failure.message.clone()).unwrap_err();
    assert!(message(0).contains("ZeroDivisionError"), "{}", message(0));
    assert!(message(1).contains("has changed the size of value"), "{}", message(1));
    assert!(message(2).contains("memory for tensors"), "{}", message(2));
    for place in [3, 4] {
        assert_eq!(gradient(&together[place]), gradient(&alone[0]));
        assert_eq!((together[place].usage.forwards, together[place].usage.shared), (1, 5), "it did not begin again");
    }
}

#[test]
fn whatever_memory_a_job_may_have_it_is_the_only_one_that_lacks_it() {
    let alone = gradient(&GPT2.outcomes(vec![reproducible(job("The capital of France", GRADIENTS))])[0]);
    let mut refused = 0;
    for step in 0..40 {
        let mut poor = reproducible(job("The capital of Italy", GRADIENTS));
        poor.limits.tensor_bytes = (64 << 10) + step * (16 << 10);
        let outcomes = GPT2.outcomes(vec![poor, reproducible(job("The capital of France", GRADIENTS))]);
        assert_eq!(gradient(&outcomes[1]), alone);
        if let Err(failure) = &outcomes[0].end {
            assert_eq!(failure.fault, Fault::Limit, "{}", failure.message);
            refused += 1;
        }
    }
    assert!((1..40).contains(&refused), "{refused} of 40 limits are too low");
}

#[test]
fn passes_of_jobs_without_gradients_are_still_shared_and_record_nothing() {
    let source = "h = LAYERS[0].output\nleaf = torch.nn.Parameter(h)\nh[:] = leaf * 2\ng = HEAD.output.save()\nshown = nnsight.save(repr(g))";
    let source = format!("import torch\n{source}");
    let outcomes = GPT2.outcomes(vec![job("The Eiffel Tower", &source), job("The capital of France", &source)]);
    for outcome in &outcomes {
        assert!(!gradient(outcome).is_empty());
        let saved = outcome.end.as_ref().unwrap();
        // It comes of parameters, and says so; there is no graph that it is the end of.
        assert!(conformance::tensor(saved, "g").requires_grad);
        let shown = saved.names.iter().find(|(name, _)| name == "shown").and_then(|(_, at)| saved.heap.get(*at));
        assert!(matches!(shown, Some(program::Datum::Str(text)) if !text.contains("grad")), "{shown:?}");
    }
}
