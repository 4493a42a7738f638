//! What a job held that is cancelled: it is given back with the step that ends it, by the account that jobs share, and who
//! shared its passes gives what it gives alone.

use std::time::Duration;

use engine::conformance::{Subject, outcome_of};
use engine::{Engine, Event, Fault, Interleaver, Pool, Settings};
use models::{DType, Transformer};

use super::shared::interleaver_with;
use super::{GPT2, LLAMA, assert_near, generation};

/// Bytes that the long one takes with each token.
const EACH: u64 = 1 << 18;
const STEPS: u64 = 20;

const LONG: &str =
    "held = []\nfor step in tracer.all():\n    held.append(torch.ones(2 ** 16))\n    h = LAYERS[0].output";
const NEIGHBOUR: &str =
    "outs = nnsight.save([])\nfor step in tracer.all():\n    outs.append(HEAD.output[0, -1].clone())";

fn engine(name: &str) -> (Interleaver<Transformer>, Pool) {
    let memory = Pool::default();
    let settings = Settings { memory: memory.clone(), ..Settings::default() };
    (interleaver_with(name, DType::Float32, settings).with_slice(Duration::MAX), memory)
}

#[test]
fn a_long_generation_that_is_cancelled_gives_its_memory_back_with_its_last_step_and_a_neighbour_notices_nothing() {
    for (subject, name) in [(&GPT2, "tiny-gpt2"), (&LLAMA, "tiny-llama")] {
        check(subject, name);
    }
}

fn check(subject: &Subject<'_>, name: &str) {
    let neighbour = || generation(subject, "neighbour", "The old tower", NEIGHBOUR, &[("max_new_tokens", 60)]);
    // Alone, and what it holds then at most.
    let (mut alone, memory) = engine(name);
    let job = neighbour();
    let id = job.id;
    alone.submit(job);
    let (mut events, mut most) = (Vec::new(), 0);
    while !alone.idle() {
        events.extend(alone.step());
        most = most.max(memory.taken());
    }
    let expected = outcome_of(id, &events);
    assert_eq!(memory.taken(), 0, "{name}: nothing is held by nobody");

    let (mut engine, memory) = engine(name);
    let (job, long) = (neighbour(), generation(subject, "long", "Paris is", LONG, &[("max_new_tokens", 900)]));
    let (id, cancelled) = (job.id, long.id);
    engine.submit(long);
    engine.submit(job);
    let mut events = Vec::new();
    for _ in 0..STEPS {
        events.extend(engine.step());
    }
    let held = memory.taken();
    assert!(held > most + STEPS / 2 * EACH, "{name}: {held} bytes are held, of which the neighbour's are {most}");
    engine.cancel(cancelled);
    events.extend(engine.step());
    let left = memory.taken();
    assert!(left <= most, "{name}: {left} bytes are held still, and the neighbour holds {most} at most");
    let end = |event: &Event| matches!(event, Event::Failed(job, failure, _) if *job == cancelled && failure.fault == Fault::Cancelled);
    assert!(events.iter().any(end), "{name}: it ended with that step");
    assert!(!engine.idle(), "{name}: the neighbour runs");
    while !engine.idle() {
        events.extend(engine.step());
    }
    assert_near(&outcome_of(id, &events), &expected, name);
    assert_eq!(memory.taken(), 0, "{name}");
}
