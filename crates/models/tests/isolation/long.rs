//! Passes that take long are left between their layers, and passes that fail are told apart: neither shows in what a job
//! computes, nor in how often its neighbours do.

use std::time::Duration;

use engine::conformance::{self, Outcome, Subject, owned};
use engine::{Engine, Event, Fault, Interleaver, Job, Settings};
use ids::JobId;
use models::DType;
use program::{Batching, Function};

use super::shared::{interleaver, interleaver_with};
use super::tags::assert_same_bits;
use super::{MODELS, NAMES, generation, job, named, saved};

fn settings(long_tokens: i64) -> Settings {
    Settings { slice: Duration::MAX, long_tokens, ..Settings::default() }
}

fn engine_of(name: &str, dtype: DType, settings: Settings) -> Box<dyn Engine> {
    Box::new(interleaver_with(name, dtype, settings))
}

/// A prompt of some dozens of tokens.
const PROMPT: &str =
    "The old tower of Paris is tall and the tall tower is old and of Paris, and the tower is the tall one";

/// Jobs whose passes take long, each in another way.
fn long_jobs(subject: &Subject<'_>) -> Vec<Job> {
    let reads = "mid = LAYERS[2].output.clone().save()\nlogits = HEAD.output.save()\nkeys = tracer.result.past_key_values.layers[1].keys.save()";
    let writes = "LAYERS[0].output[:, 3] *= 2\nx = LAYERS[1].mlp.output\nLAYERS[1].mlp.output = x * 0.5\nLAYERS[2].ATTN.output[0][:, -1] = 1\nout = HEAD.output[:, -1].save()";
    let derives = "h = LAYERS[1].output\nwith HEAD.output[0, -1].max().backward():\n    g = h.grad.clone().save()";
    let steps = "seen = nnsight.save([])\nfor step in tracer.iter[:4]:\n    LAYERS[1].output[:, -1] += 0.5\n    seen.append(LAYERS[3].output.clone())\nids = tracer.result.save()";
    let invokes = "kept = nnsight.save([])\nfor turn in range(4):\n    with tracer.invoke('PROMPT'):\n        h = LAYERS[turn].output\n        LAYERS[turn].output = h * 2\n        kept.append(LAYERS[3].output[:, -1])";
    // The same rows come again: they are computed once, and kept.
    let sweep = "kept = nnsight.save([])\nfor turn in range(8):\n    with model.trace('PROMPT'):\n        LAYERS[turn % 4].output[:, turn] = 0\n        kept.append(HEAD.output[0, -1])\nfor turn in range(8):\n    with model.trace('PROMPT'):\n        LAYERS[turn % 4].output[:, -1] += turn\n        kept.append(HEAD.output[0, -1])\n    print(kept[-1].shape[0])";
    let text = |source: &str| named(subject, &source.replace("PROMPT", PROMPT));
    vec![
        job(subject, "long", PROMPT, reads),
        job(subject, "long", PROMPT, writes),
        job(subject, "long", PROMPT, derives),
        job(subject, "long", PROMPT, "h = LAYERS[1].output\nLAYERS[2].skip(h)\nprint(h.shape)\nh.no_such_thing"),
        generation(subject, "long", PROMPT, steps, &[("max_new_tokens", 4)]),
        owned(subject.job("", Function::Call, &text(invokes), &[]), "long"),
        owned(subject.session_job(&text(sweep)), "long"),
    ]
}

/// Runs a job with a short one beside it at each stop that it makes. Returns what became of both kinds.
fn beside(engine: &mut dyn Engine, long: Job, short: &dyn Fn() -> Job) -> (Outcome, Vec<Outcome>) {
    let (id, mut events, mut asked) = (long.id, Vec::new(), Vec::new());
    let ended = |id: JobId, events: &[Event]| {
        events.iter().any(|event| matches!(event, Event::Finished(job, ..) | Event::Failed(job, ..) if *job == id))
    };
    engine.submit(long);
    while !ended(id, &events) {
        let job = short();
        let own = job.id;
        asked.push(own);
        engine.submit(job);
        events.extend(engine.step());
        assert!(ended(own, &events), "a short pass waits for no more than a layer");
    }
    while !engine.idle() {
        events.extend(engine.step());
    }
    let short = asked.into_iter().map(|id| conformance::outcome_of(id, &events)).collect();
    (conformance::outcome_of(id, &events), short)
}

#[test]
fn a_long_pass_that_is_left_between_its_layers_has_the_bits_of_one_that_is_not() {
    let ways: [(DType, &[Batching]); 2] = [
        (DType::Float32, &[Batching::Shared, Batching::Reproducible, Batching::Exclusive]),
        (DType::BFloat16, &[Batching::Reproducible]),
    ];
    for (dtype, batchings) in ways {
        for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
            for &batching in batchings {
                let batched = |job: Job| {
                    let mut job = job;
                    job.program.env.batching = Some(batching);
                    job
                };
                // It has a pass in company, and where it can, in that of the long one's short passes.
                let short = || {
                    let source = "h = LAYERS[1].output\nLAYERS[2].output[:] = 7\nout = HEAD.output.save()";
                    let mut job = owned(job(subject, "short", "Hi", source), "short");
                    job.program.env.batching = Some(batching).filter(|batching| *batching != Batching::Exclusive);
                    job
                };
                let mut whole = engine_of(name, dtype, settings(4096));
                let quiet = conformance::outcomes(whole.as_mut(), vec![short()]).remove(0);
                for (place, long) in long_jobs(subject).into_iter().map(batched).enumerate() {
                    let context = format!("program {place} of {name}, {dtype:?}, {batching:?}");
                    let mut whole = engine_of(name, dtype, settings(4096));
                    let again = Job { id: JobId::new(), ..long.clone() };
                    let alone = conformance::outcomes(whole.as_mut(), vec![again]).remove(0);
                    assert_eq!(alone.end.is_err(), place == 3, "{context}: {:?}", alone.end);
                    let mut engine = engine_of(name, dtype, settings(16));
                    let (found, short) = beside(engine.as_mut(), long, &short);
                    // Steps of a generation share passes with the short jobs, whose kernels are others where that may be.
                    if batching != Batching::Shared || found.usage.shapes == alone.usage.shapes {
                        assert_same_bits(&found, &alone, &context);
                    } else if dtype == DType::Float32 {
                        super::assert_near(&found, &alone, &context);
                    }
                    assert_eq!(found.usage.forwards, alone.usage.forwards, "{context}");
                    assert_eq!(found.usage.forks, alone.usage.forks, "{context}");
                    assert!(short.len() >= 3, "{context}: {} stops", short.len());
                    for short in short {
                        if batching != Batching::Shared || short.usage.shapes == quiet.usage.shapes {
                            assert_same_bits(&short, &quiet, &format!("beside {context}"));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_long_pass_is_left_inside_a_layer_that_takes_long() {
    // Every piece of a layer takes longer than no time at all.
    let settings = Settings { slice: Duration::ZERO, ..settings(16) };
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        let mut engine = engine_of(name, DType::Float32, settings.clone());
        let long = job(subject, "long", PROMPT, "out = HEAD.output.save()");
        engine.submit(long.clone());
        let (mut events, mut stops) = (Vec::new(), 0);
        while !engine.idle() {
            events.extend(engine.step());
            stops += 1;
        }
        let found = conformance::outcome_of(long.id, &events);
        let mut whole = Interleaver::with_slice(interleaver(name, DType::Float32), Duration::MAX);
        let alone = conformance::outcomes(&mut whole, vec![Job { id: JobId::new(), ..long }]).remove(0);
        assert_same_bits(&found, &alone, name);
        // Attention, and what is before and behind it, in each of four layers.
        assert!(stops > 4 * 3, "{stops} stops");
    }
}

#[test]
fn a_job_whose_pass_fails_costs_its_neighbours_no_pass() {
    let steps = "seen = nnsight.save([])\nfor step in tracer.iter[:12]:\n    seen.append(LAYERS[2].output.clone())\nids = tracer.result.save()";
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        let neighbours = || -> Vec<Job> {
            let one = |at: usize| {
                let kwargs = [("max_new_tokens", 12), ("min_new_tokens", 12)];
                generation(subject, &format!("t{at}"), &PROMPT[..20 + at], steps, &kwargs)
            };
            (0..6).map(one).collect()
        };
        let mut calm = engine_of(name, DType::Float32, settings(4096));
        let quiet = conformance::outcomes(calm.as_mut(), neighbours());
        let bad = [
            "EMBED.input[:] = 10 ** 6\nout = HEAD.output.save()",
            "x = EMBED.input\nEMBED.input = torch.full_like(x, -5)\nout = HEAD.output.save()",
        ];
        let mut engine = engine_of(name, DType::Float32, settings(4096));
        let (jobs, mut events, mut blamed) = (neighbours(), Vec::new(), Vec::new());
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        jobs.into_iter().for_each(|job| engine.submit(job));
        for turn in 0..6 {
            let job = job(subject, "bad", "Hello", bad[turn % 2]);
            blamed.push(job.id);
            engine.submit(job);
            (0..2).for_each(|_| events.extend(engine.step()));
        }
        while !engine.idle() {
            events.extend(engine.step());
        }
        for (at, (id, quiet)) in ids.iter().zip(&quiet).enumerate() {
            let found = conformance::outcome_of(*id, &events);
            saved(&found);
            super::assert_near(&found, quiet, &format!("neighbour {at} of {name}"));
            assert_eq!((found.usage.forwards, found.usage.fuel), (quiet.usage.forwards, quiet.usage.fuel));
            assert!(found.usage.shared >= quiet.usage.shared - 6, "they go on together: {:?}", found.usage);
        }
        for id in blamed {
            let failure = conformance::outcome_of(id, &events).end.unwrap_err();
            assert!(failure.fault == Fault::User && failure.message.contains("IndexError"), "{failure:?}");
        }
    }
}
