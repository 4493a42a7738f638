//! What jobs share is time and memory: one that spends all of its own ends alone, and what a job is told it cost says
//! nothing of others' prompts.

use engine::conformance::{self, Outcome, Subject, owned};
use engine::{Event, Fault, Job, Usage};
use fastrand::Rng;
use models::DType;
use program::Function;

use super::shared::interleaver;
use super::tags::assert_same_bits;
use super::{MODELS, NAMES, assert_near, generation, job, named, prompt, saved};

const READS: &str = "middle = LAYERS[2].output.clone().save()
logits = HEAD.output.save()
values = tracer.result.past_key_values.layers[3].values.save()";

#[test]
fn passes_of_many_jobs_are_bounded_and_those_of_one_are_not() {
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        let jobs = || (0..6).map(|place| job(subject, &format!("t{place}"), "The old tower", READS)).collect();
        let sessions = "found = nnsight.save([])\nfor turn in range(6):\n    with model.trace('The old tower'):\n        found.append(LAYERS[1].output[0, -1])";
        let free = subject.outcomes(jobs());
        // As many as two of them have.
        let tokens = 2 * i64::try_from(free[0].usage.tokens).unwrap();
        let bounded =
            Subject { engine: &|| Box::new(interleaver(name, DType::Float32).with_shared_tokens(tokens)), ..*subject };
        let found = bounded.outcomes(jobs());
        for (found, free) in found.iter().zip(&free) {
            assert_near(found, free, "a smaller pass");
            assert_eq!((free.usage.shared, found.usage.forwards, found.usage.shared), (6, 1, 2));
        }
        let session = bounded.outcomes(vec![owned(subject.session_job(&named(subject, sessions)), "s")]).remove(0);
        assert_eq!((session.usage.forwards, session.usage.shared), (6, 36), "a job's own traces share a pass");
    }
}

#[test]
fn s8_a_job_that_spends_all_of_its_memory_leaves_its_mates_their_bits() {
    // Each ends its job in the middle of a layer that all compute; `tracer.stop()` does so by itself.
    let hogs = [
        "kept = []\nwhile True:\n    kept.append(torch.ones(100000))",
        "x = torch.ones(1000)\nwhile True:\n    x = torch.cat([x, x])",
        "kept = [h.clone() for _ in range(10 ** 7)]",
        "kept = []\nwhile True:\n    kept.append(bytes(10 ** 6))",
        "text = 'a'\nwhile True:\n    text += text",
        "kept = {}\nwhile True:\n    kept[len(kept)] = [len(kept)] * 1000",
        "h.repeat(1 << 20, 1 << 20, 1)",
        "h.expand(1 << 30, -1, -1).clone()",
        "torch.einsum('abc,dbc,ebc->ade', h.expand(4000, -1, -1), h.expand(4000, -1, -1), h.expand(4000, -1, -1))",
        "torch.cartesian_prod(*[torch.arange(1000)] * 5)",
        "while True:\n    print('x' * 10000)",
        "while True:\n    pass",
        "def again():\n    return again()\nagain()",
        "out = torch.zeros(10 ** 7).save()\nraise SystemExit",
    ];
    for &subject in MODELS {
        let crowd = |end: &str| -> Vec<Job> {
            let mut hog = job(subject, "hog", "Hello there", &format!("h = LAYERS[1].output\n{end}"));
            hog.limits.tensor_bytes = 32 << 20;
            hog.limits.output_bytes = 1 << 16;
            hog.limits.fuel = 300_000;
            vec![job(subject, "a", "The old tower", READS), hog, job(subject, "b", "Paris is tall", READS)]
        };
        let calm = subject.outcomes(crowd("tracer.stop()"));
        for hog in hogs {
            let outcomes = subject.outcomes(crowd(hog));
            let failure = outcomes[1].end.as_ref().err().unwrap_or_else(|| panic!("{hog} does not fail"));
            assert!(matches!(failure.fault, Fault::Limit | Fault::User), "{hog}: {failure:?}");
            for place in [0, 2] {
                assert_same_bits(&outcomes[place], &calm[place], hog);
                assert_eq!(outcomes[place].usage.forwards, 1, "nothing had to be done again beside {hog}");
            }
        }
    }
}

#[test]
fn s8_a_result_that_is_too_large_ends_its_own_job() {
    for &subject in MODELS {
        let mut large = job(subject, "large", "Hello", "out = torch.ones(10 ** 6).save()\nx = HEAD.output");
        large.limits.saved_bytes = 1 << 20;
        let outcomes = subject.outcomes(vec![job(subject, "a", "The old tower", READS), large]);
        let failure = outcomes[1].end.as_ref().err().unwrap();
        assert!(failure.message.contains("MemoryError: the saved values exceed"), "{}", failure.message);
        assert!(outcomes[0].end.is_ok());
    }
}

/// What of a job's cost does not depend on how many others there were.
fn counts(usage: &Usage) -> [u64; 7] {
    let Usage { forwards, rows, tokens, forks, layers_run, layers_skipped, fuel, .. } = *usage;
    [forwards, rows, tokens, forks, layers_run, layers_skipped, fuel]
}

#[test]
fn s7_no_count_tells_what_another_tenant_has_asked() {
    let mut dice = Rng::with_seed(20_261_133);
    println!("seed {}", dice.get_seed());
    let blocks = [
        "out = HEAD.output.save()",
        "LAYERS[1].output[:, -1] = 2\nout = HEAD.output[:, -1].save()",
        "out = LAYERS[1].output.save()",
        "out = nnsight.save([])\nwith model.trace('TEXT'):\n    x = LAYERS[0].output\n    out.append(HEAD.output[0, -1])\nwith model.trace('TEXT'):\n    LAYERS[2].output[:, 0] = 0\n    out.append(HEAD.output[0, -1])",
    ];
    for &subject in MODELS {
        let texts: Vec<String> = (0..4).map(|_| prompt(&mut dice)).collect();
        let ask = |tenant: &str, dice: &mut Rng| -> Job {
            let (text, block) = (&texts[dice.usize(..texts.len())], dice.usize(..blocks.len()));
            match blocks[block] {
                session if session.contains("TEXT") => {
                    owned(subject.session_job(&named(subject, &session.replace("TEXT", text))), tenant)
                }
                trace => job(subject, tenant, text, trace),
            }
        };
        // What the watcher asks, one job at a time, as if nobody else were there.
        let own: Vec<Job> = (0..12).map(|_| ask("watcher", &mut dice)).collect();
        let run = |engine: &mut dyn engine::Engine, job: &Job, others: Vec<Job>| -> Outcome {
            let all = std::iter::once(Job { id: ids::JobId::new(), ..job.clone() }).chain(others).collect();
            conformance::outcomes(engine, all).swap_remove(0)
        };
        let mut engine = (subject.engine)();
        let quiet: Vec<_> = own.iter().map(|job| run(engine.as_mut(), job, Vec::new())).collect();
        assert!(quiet.iter().any(|outcome| outcome.usage.forks > 0), "the watcher's own rows come again");
        for crowd in 0..4 {
            let mut engine = (subject.engine)();
            for (place, (job, quiet)) in own.iter().zip(&quiet).enumerate() {
                let before = (0..dice.usize(..4)).map(|_| ask("other", &mut dice)).collect();
                let _ = conformance::outcomes(engine.as_mut(), before);
                let beside = (0..dice.usize(..4)).map(|_| ask("other", &mut dice)).collect();
                let found = run(engine.as_mut(), job, beside);
                let context = format!("crowd {crowd}, job {place} of {}", subject.layers);
                assert_eq!(counts(&found.usage), counts(&quiet.usage), "{context}");
                assert_near(&found, quiet, &context);
            }
        }
    }
}

/// Counts the passes until a job of one row has ended that comes after others; each job has one pass at most.
fn passes_until_done(subject: &Subject<'_>, greedy: Vec<Job>) -> usize {
    let mut engine = (subject.engine)();
    for job in greedy {
        engine.submit(job);
    }
    let small = job(subject, "small", "Hello", "out = HEAD.output.save()");
    let id = small.id;
    engine.submit(small);
    let done = |event: &Event| matches!(event, Event::Finished(job, ..) if *job == id);
    (1..=100).find(|_| engine.step().iter().any(done)).unwrap_or(usize::MAX)
}

#[test]
fn s15_jobs_that_ask_for_much_do_not_starve_one_that_asks_for_little() {
    for &subject in MODELS {
        let rows = "for _ in range(2000):\n    with tracer.invoke('The tower of Paris is tall and old'):\n        x = LAYERS[3].output";
        let invokes = || owned(subject.job("", Function::Call, &named(subject, rows), &[]), "greedy");
        let trace = |source: &str| job(subject, "greedy", "The tower", source);
        let session = |source: &str| owned(subject.session_job(&named(subject, source)), "greedy");
        let generate = |count: i64| {
            let kwargs = [("max_new_tokens", count), ("min_new_tokens", count)];
            generation(subject, "greedy", "The tower", "for step in tracer.iter[:]:\n    x = LAYERS[3].output", &kwargs)
        };
        let many = |make: &dyn Fn() -> Job, count: usize| (0..count).map(|_| make()).collect::<Vec<_>>();
        let cases: Vec<(&str, Vec<Job>, usize)> = vec![
            ("one job of 2,000 rows", vec![invokes()], 2),
            ("three such jobs", many(&invokes, 3), 4),
            ("200 jobs of one row", many(&|| trace("x = HEAD.output"), 200), 2),
            ("200 generations of 60 tokens", many(&|| generate(60), 200), 2),
            (
                "a session of 1,500 traces that wait for each other",
                vec![session(
                    "found = []\nfor turn in range(1500):\n    with model.trace('The tower of Paris is'):\n        x = LAYERS[3].output\n        found.append(x)",
                )],
                2,
            ),
            (
                "sessions of traces in turn",
                many(
                    &|| {
                        session(
                            "for turn in range(50):\n    try:\n        with model.trace('The tower'):\n            x = LAYERS[3].output\n    finally:\n        pass",
                        )
                    },
                    20,
                ),
                2,
            ),
            (
                "40 jobs that save all",
                many(&|| trace("out = [LAYERS[at].output for at in range(4)].save()\nl = HEAD.output.save()"), 40),
                2,
            ),
            (
                "gathers of a million places",
                many(
                    &|| {
                        trace(
                            "h = LAYERS[1].output\nat = torch.randint(0, 64, (1, 2, 10 ** 6))\nx = [h.gather(2, at).sum() for _ in range(3)]\ny = HEAD.output",
                        )
                    },
                    4,
                ),
                2,
            ),
            (
                "gradients, each in a pass of its own",
                many(&|| trace("h = LAYERS[1].output\nwith HEAD.output.sum().backward():\n    g = h.grad.save()"), 5),
                6,
            ),
            (
                "rows of other arguments, which share with nobody",
                (0..5)
                    .map(|_| {
                        subject.job(
                            "The tower",
                            Function::Call,
                            &named(subject, "x = HEAD.output"),
                            &[("output_hidden_states", 1)],
                        )
                    })
                    .collect(),
                3,
            ),
        ];
        for (name, greedy, most) in cases {
            let passes = passes_until_done(subject, greedy);
            println!("{name}: {passes}");
            assert!(passes <= most, "after {name}, one row waits for {passes} passes");
        }
    }
}

#[test]
fn s15_a_block_that_computes_for_long_does_not_hold_the_passes_of_others() {
    for &subject in MODELS {
        let (endless, small) =
            (job(subject, "endless", "Hello", "while True:\n    pass"), job(subject, "small", "Hello", READS));
        let ids = [endless.id, small.id];
        let mut engine = (subject.engine)();
        engine.submit(endless);
        engine.submit(small);
        let mut ended = Vec::new();
        while !engine.idle() {
            ended.extend(engine.step().into_iter().filter_map(|event| match event {
                Event::Finished(job, ..) | Event::Failed(job, ..) => Some(job),
                _ => None,
            }));
        }
        assert_eq!(ended, [ids[1], ids[0]], "the small job ends first");
    }
}

#[test]
fn i5_nothing_that_a_program_sets_outlives_it() {
    let vandal = "
import math, functools, collections, operator, itertools
def attempt(deed):
    try:
        deed()
    except Exception:
        pass
targets = [model, model.lm_head, LAYERS[0], LAYERS[0].mlp, model.config, model.tokenizer, model.generation_config, torch, torch.nn, torch.nn.functional,
           torch.Tensor, torch.nn.Linear, nnsight, math, functools, collections, collections.Counter, tracer, int, str, list, ValueError]
for target in targets:
    for name in ('weight', 'forward', 'zeros', 'relu', 'add', 'sqrt', 'reduce', 'Counter', 'pad_token', 'eos_token_id', 'padding_side', 'hidden_size',
                 'max_new_tokens', 'do_sample', 'training', 'left_behind', '__call__', '__add__', 'path'):
        attempt(lambda: setattr(target, name, 3))
attempt(lambda: model.tokenizer.add_special_tokens({'pad_token': '[X]'}))
attempt(lambda: model.tokenizer.add_tokens(['zebra']))
attempt(lambda: model.config.to_dict().update(vocab_size=3))
attempt(lambda: model.generation_config.to_dict().clear())
attempt(lambda: torch.set_default_dtype(torch.float64))
attempt(lambda: torch.set_grad_enabled(False))
attempt(lambda: torch.use_deterministic_algorithms(True))
attempt(lambda: torch.set_printoptions(precision=1))
torch.manual_seed(5)
left_behind = 3
h = LAYERS[1].output
h[:] = 1e30
l = HEAD.output
print('done')";
    let probe = "
import math, functools, collections
def of(read):
    try:
        return repr(read())
    except Exception as error:
        return type(error).__name__
targets = [model, model.lm_head, LAYERS[0], model.config, model.tokenizer, torch, torch.nn.functional, torch.Tensor, nnsight, math, functools, ValueError]
print([of(lambda: target.left_behind) for target in targets], of(lambda: left_behind))
print(model.config.vocab_size, len(LAYERS), model.tokenizer('zebra tower').input_ids, of(lambda: model.tokenizer.pad_token), of(lambda: model.tokenizer.padding_side))
print(torch.zeros(2).dtype, torch.ones(1) + 1, math.sqrt(4), functools.reduce(int.__add__ if hasattr(int, '__add__') else max, [1, 2]), collections.Counter('aa'))
print(torch.tensor([1.23456789]), torch.is_grad_enabled(), torch.rand(2))
out = HEAD.output.save()
w = model.lm_head.weight[:3].clone().save()";
    for &subject in MODELS {
        let probe = |tenant: &str| job(subject, tenant, "The old tower", probe);
        let expected = subject.outcomes(vec![probe("a")]).remove(0);
        saved(&expected);
        let mut engine = (subject.engine)();
        for round in 0..2 {
            let vandals = ["a", "b"].map(|tenant| job(subject, tenant, "Hello there", vandal));
            let crowd: Vec<Job> = vandals.into_iter().chain([probe("a"), probe("c")]).collect();
            let outcomes = conformance::outcomes(engine.as_mut(), crowd);
            for vandal in &outcomes[..2] {
                assert_eq!(vandal.printed, ["done"], "{:?}", vandal.end);
            }
            let later = conformance::outcomes(engine.as_mut(), vec![probe("a"), probe("b")]);
            for (place, found) in outcomes[2..].iter().chain(&later).enumerate() {
                assert_near(found, &expected, &format!("round {round}, probe {place} of {}", subject.layers));
            }
        }
    }
}
