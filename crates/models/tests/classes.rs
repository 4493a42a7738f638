//! What the bits of a job's numbers depend on: its shape class, and with `reproducible` and `exclusive` nothing of others.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;

use engine::conformance::{self, Outcome, Subject, owned};
use engine::{Engine, Interleaver, Job, Settings};
use fastrand::Rng;
use models::testing::{GPT2, LLAMA, kept};
use models::{DType, Device};
use program::{Batching, Function};

const INT8: Subject<'_> = Subject { engine: &|| few_bits("tiny-llama", DType::Int8), ..LLAMA };
const NF4: Subject<'_> = Subject { engine: &|| few_bits("tiny-gpt2", DType::Nf4), ..GPT2 };

const MODELS: [&Subject<'_>; 4] = [&GPT2, &LLAMA, &INT8, &NF4];

fn few_bits(name: &str, dtype: DType) -> Box<dyn Engine> {
    Box::new(Interleaver::over(kept(name, dtype, Device::CPU), Settings::default()))
}

/// What the job under test does: it reads at several depths, writes, and unembeds.
const BLOCK: &str = "
import torch
early = LAYERS[0].output.clone().save()
LAYERS[1].output[:, -1] *= 1.25
mid = LAYERS[2].mlp.output.save()
late = LAYERS[3].output.save()
logits = HEAD.output[:, -1].save()
lens = HEAD(late).save()
";

const GENERATION: &str = "
steps = nnsight.save([])
for step in tracer.iter[:6]:
    LAYERS[1].output[:, -1] += 0.5
    steps.append(LAYERS[2].output.clone())
ids = tracer.result.save()
";

/// What neighbours do, and how often each word of their prompts comes: from one token to some hundred.
const NEIGHBOURS: [&str; 6] = [
    "x = HEAD.output.save()",
    "LAYERS[0].output[:] = float('nan')\nx = HEAD.output.save()",
    "LAYERS[0].output[:] = float('inf')\nx = HEAD.output[:, -1].save()",
    "LAYERS[1].output[:] = 1e-42\nx = LAYERS[3].output.save()",
    "LAYERS[0].output[:] = 3e38\nx = HEAD.output.save()",
    "x = LAYERS[1].output.save()",
];

/// Makes neighbours: how many there are and how long, by the one generator, and what they do, by the other.
fn crowd(sizes: &mut Rng, dice: &mut Rng, subject: &Subject<'_>, batching: Batching) -> Vec<Job> {
    let count = 1 + sizes.usize(..7);
    let one = |place: usize| {
        let words = [1, 3, 9, 30][sizes.usize(..4)];
        let text = format!("Number{}", " tower".repeat(words));
        let block = NEIGHBOURS[dice.usize(..NEIGHBOURS.len())];
        let (function, kwargs): (_, &[(&str, i64)]) =
            if sizes.usize(..3) == 0 { (Function::Generate, &[("max_new_tokens", 4)]) } else { (Function::Call, &[]) };
        batched(owned(subject.job(&text, function, block, kwargs), &format!("neighbour {place}")), batching)
    };
    (0..count).map(one).collect()
}

fn batched(mut job: Job, batching: Batching) -> Job {
    job.program.env.batching = Some(batching);
    job
}

/// Runs the job among others, at a place of its own, and returns how it ended.
fn among(subject: &Subject<'_>, job: Job, mut others: Vec<Job>, place: usize) -> Outcome {
    let place = place.min(others.len());
    others.insert(place, job);
    subject.outcomes(others).swap_remove(place)
}

fn bits(outcome: &Outcome) -> Vec<Vec<u8>> {
    let saved = outcome.end.as_ref().unwrap_or_else(|failure| panic!("{}", failure.message));
    conformance::flat(saved).into_iter().map(|data| data.bytes.to_vec()).collect()
}

fn under_test(subject: &Subject<'_>, generating: bool) -> Job {
    let (function, block, kwargs): (_, _, &[(&str, i64)]) = if generating {
        (Function::Generate, GENERATION, &[("max_new_tokens", 6)])
    } else {
        (Function::Call, BLOCK, &[])
    };
    owned(subject.job("The tower of Paris", function, block, kwargs), "tested")
}

#[test]
fn i2_equal_classes_give_equal_bits_whatever_the_neighbours_hold() {
    let mut dice = Rng::with_seed(20_261_126);
    println!("seed {}", dice.get_seed());
    for subject in MODELS {
        for generating in [false, true] {
            let mut by_class: HashMap<String, (usize, Vec<Vec<u8>>)> = HashMap::new();
            for round in 0..40 {
                // The same sizes four times, so that classes come again.
                let mut sizes = Rng::with_seed(round / 4);
                let others = crowd(&mut sizes, &mut dice, subject, Batching::Shared);
                let found = among(subject, under_test(subject, generating), others, dice.usize(..8));
                let class = found.usage.shapes.to_string();
                assert!(!class.ends_with('?'), "this processor has kernels that treat all rows alike");
                let (times, expected) = by_class.entry(class.clone()).or_insert_with(|| (0, bits(&found)));
                assert!(*expected == bits(&found), "round {round}: {class}");
                *times += 1;
            }
            println!("{} classes", by_class.len());
            assert!(by_class.values().any(|(times, _)| *times > 2), "some class comes again");
        }
    }
}

#[test]
fn n1_rows_of_one_length_have_the_bits_that_each_has_alone() {
    for subject in MODELS {
        for generating in [false, true] {
            let tested = || batched(under_test(subject, generating), Batching::Reproducible);
            let alone = bits(&among(subject, tested(), Vec::new(), 0));
            let edits = "r = tracer.result\nr.past_key_values.layers[0].keys[:] = float('nan')\nx = r.logits.save()";
            let skips = "LAYERS[1].skip(LAYERS[1].input)\nx = HEAD.output.save()";
            for place in 0..9 {
                let neighbour = |(place, block): (usize, &&str)| {
                    let job = subject.job("The tower of Paris", Function::Call, block, &[]);
                    batched(owned(job, &format!("neighbour {place}")), Batching::Reproducible)
                };
                let others = NEIGHBOURS.iter().chain(&[edits, skips]).enumerate().map(neighbour).collect();
                let found = among(subject, tested(), others, place);
                assert!(alone == bits(&found), "at place {place} in {}, generating {generating}", subject.layers);
            }
        }
    }
}

#[test]
fn n1_a_reproducible_jobs_bits_depend_on_nobody() {
    let mut dice = Rng::with_seed(77);
    println!("seed {}", dice.get_seed());
    for subject in MODELS {
        for generating in [false, true] {
            let tested = || batched(under_test(subject, generating), Batching::Reproducible);
            let alone = among(subject, tested(), Vec::new(), 0);
            let class = alone.usage.shapes.to_string();
            let mut shared = false;
            for round in 0..20 {
                let mut others = crowd(&mut dice.fork(), &mut dice, subject, Batching::Reproducible);
                others.extend(crowd(&mut dice.fork(), &mut dice, subject, Batching::Shared));
                let found = among(subject, tested(), others, dice.usize(..8));
                shared |= found.usage.shared > found.usage.forwards;
                let other: Vec<usize> = bits(&found)
                    .iter()
                    .zip(bits(&alone))
                    .enumerate()
                    .filter(|(_, (one, two))| *one != two)
                    .map(|(place, _)| place)
                    .collect();
                assert_eq!(
                    other, [0; 0],
                    "values with other bits: round {round} of {}, generating {generating}",
                    subject.layers
                );
                assert_eq!(found.usage.shapes.to_string(), class);
            }
            assert!(shared, "reproducible jobs share passes with each other");
        }
    }
}

#[test]
fn an_exclusive_job_has_its_passes_to_itself() {
    for subject in MODELS {
        let tested = || batched(under_test(subject, false), Batching::Exclusive);
        let alone = among(subject, tested(), Vec::new(), 0);
        let others = || (0..3).map(|_| under_test(subject, false)).collect();
        let found = among(subject, tested(), others(), 1);
        assert_eq!(found.usage.shared, found.usage.forwards);
        assert!(found.usage.shapes.is_empty(), "its shapes are its own");
        assert!(bits(&found) == bits(&alone));
    }
}

#[test]
fn a_module_called_by_itself_gives_the_bits_that_it_gave_in_the_pass() {
    let block = "own = HEAD.output.save()\n";
    let called = "hidden = NORM.output\nagain = HEAD(hidden).save()\nown = HEAD.output.save()\n";
    for subject in MODELS {
        let norm = if subject.layers == LLAMA.layers { "model.model.norm" } else { "model.transformer.ln_f" };
        let source = called.replace("NORM", norm);
        let others = || (0..4).map(|_| owned(subject.job("The tower", Function::Call, block, &[]), "other")).collect();
        for batching in [Batching::Shared, Batching::Reproducible, Batching::Exclusive] {
            let tested = batched(subject.job("The tower of Paris", Function::Call, &source, &[]), batching);
            let found = bits(&among(subject, tested, others(), 2));
            assert!(found[0] == found[1], "{batching:?}");
        }
    }
}
