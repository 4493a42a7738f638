//! What one job computes costs others nothing that they notice: measured in passes and layers, on the toy model.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use engine::conformance::{Outcome, Subject, outcome_of, owned, tensor};
use engine::fake::FakeModel;
use engine::{Engine, Event, Fault, Interleaver, Job, Pool, Settings};
use ids::JobId;
use program::Function;

/// Layers of the toy model.
const LAYERS: usize = 3;

fn settings() -> Settings {
    Settings { slice: std::time::Duration::MAX, long_tokens: 8, ..Settings::default() }
}

fn engine_of(settings: Settings) -> Box<dyn Engine> {
    Box::new(Interleaver::with_settings(FakeModel::new(), settings))
}

const TOY: Subject<'_> = Subject { layers: "model.layers", head: "model.head", engine: &|| engine_of(settings()) };

/// One token a letter: ten times as many as a pass may have that gives way to nobody.
const LONG: &str = "It was the best of times, it was the worst of times, it was the age of wisdom, i";

const READS: &str = "mid = LAYERS[1].output.clone().save()\nout = HEAD.output.save()";

fn trace(text: &str, source: &str) -> Job {
    TOY.job(text, Function::Call, source, &[])
}

fn ended(id: JobId, events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Finished(job, ..) | Event::Failed(job, ..) if *job == id))
}

/// Steps until a job has ended.
fn steps(engine: &mut dyn Engine, id: JobId, events: &mut Vec<Event>) -> usize {
    for step in 1..=1000 {
        events.extend(engine.step());
        if ended(id, events) {
            return step;
        }
    }
    panic!("the job never ends");
}

fn finish(engine: &mut dyn Engine, events: &mut Vec<Event>) {
    while !engine.idle() {
        events.extend(engine.step());
    }
}

fn assert_same(found: &Outcome, expected: &Outcome, context: &str) {
    assert_eq!(found.printed, expected.printed, "{context}");
    match (&found.end, &expected.end) {
        (Ok(found), Ok(expected)) => {
            let names = engine::conformance::names(expected);
            assert_eq!(engine::conformance::names(found), names, "{context}");
            assert_eq!(engine::conformance::flat(found), engine::conformance::flat(expected), "{context}");
        }
        (found, expected) => assert_eq!(found.as_ref().err(), expected.as_ref().err(), "{context}"),
    }
}

/// Jobs whose passes take long, each in another way.
fn long_jobs() -> Vec<Job> {
    let long = |source: &str| source.replace("LONG", LONG);
    let kwargs = [("max_new_tokens", 3)];
    let steps = "seen = nnsight.save([])\nfor step in tracer.iter[:3]:\n    LAYERS[0].output = LAYERS[0].output + 1\n    seen.append(LAYERS[2].output.clone())\nids = tracer.result.save()";
    let invokes = "kept = nnsight.save([])\nfor text in ['LONG', 'Hello', 'LONG']:\n    with tracer.invoke(text):\n        h = LAYERS[0].output\n        LAYERS[0].output = h * 2\n        kept.append(LAYERS[2].output)";
    let session = "found = nnsight.save([])\nfor turn in range(6):\n    with model.trace('Hello there'):\n        LAYERS[turn % 3].output[:] = turn\n        found.append(HEAD.output)";
    let in_turn = "h = 0\nfor turn in range(2):\n    with model.trace('LONG'):\n        LAYERS[turn].output = LAYERS[turn].output + h\n        h = LAYERS[2].output.clone()\nh.save()\nprint('done')";
    vec![
        trace(LONG, READS),
        trace(
            LONG,
            "LAYERS[0].output[:] = 3\nx = LAYERS[1].input\nLAYERS[1].skip(x * 2)\nprint('seen')\nout = HEAD.output.save()",
        ),
        TOY.job(LONG, Function::Generate, steps, &kwargs),
        TOY.job("", Function::Call, &long(invokes), &[]),
        TOY.session_job(session),
        TOY.session_job(&long(in_turn)),
        trace(LONG, "h = LAYERS[1].output\nprint('begun')\nh.no_such_thing"),
    ]
}

#[test]
fn b6_a_job_that_needs_what_others_hold_can_run_when_they_have_ended() {
    let pool = Pool::new(12 << 20);
    let mut engine = engine_of(Settings { memory: pool.clone(), ..settings() });
    let mut run = |mib: usize| {
        let job = trace("Hello", &format!("kept = b'x' * ({mib} * 2**20)\nout = HEAD.output.save()"));
        let (id, mut events) = (job.id, Vec::new());
        engine.submit(job);
        finish(&mut *engine, &mut events);
        outcome_of(id, &events).end
    };
    let others = pool.note(8 << 20);
    assert_eq!(run(6).map_err(|failure| failure.fault).err(), Some(Fault::Crowded));
    drop(others);
    assert!(run(6).is_ok());
    let never = run(14).unwrap_err();
    assert_eq!(never.fault, Fault::Limit);
    assert!(never.message.contains("MemoryError"), "{}", never.message);
    assert_eq!(pool.taken(), 0);
}

#[test]
fn beside_a_long_pass_a_short_job_waits_for_one_layer_at_most() {
    let short = || owned(trace("Hi", READS), "short");
    let quiet = TOY.outcomes(vec![short()]).remove(0);
    for (place, long) in long_jobs().into_iter().enumerate() {
        let alone = TOY.outcomes(vec![long.clone()]).remove(0);
        assert_eq!(alone.end.is_err(), place == 6, "program {place}: {:?}", alone.end);
        let mut engine = (TOY.engine)();
        let (id, mut events, mut asked) = (long.id, Vec::new(), Vec::new());
        engine.submit(long);
        while !ended(id, &events) {
            let job = short();
            asked.push(job.id);
            engine.submit(job);
            assert_eq!(steps(engine.as_mut(), *asked.last().unwrap(), &mut events), 1, "beside program {place}");
        }
        finish(engine.as_mut(), &mut events);
        assert!(asked.len() >= 2, "program {place} is left between its layers");
        assert_same(&outcome_of(id, &events), &alone, &format!("program {place}"));
        for id in asked {
            assert_same(&outcome_of(id, &events), &quiet, &format!("beside program {place}"));
        }
    }
}

#[test]
fn beside_a_large_request_that_is_read_a_short_job_waits_for_a_piece_at_most() {
    let mut large =
        owned(trace("Hello", "count = nnsight.save(len(given) + given[-1][0])\nout = HEAD.output.save()"), "large");
    let heap = &mut large.program.heap;
    let lists = (0..100_000).map(|number| {
        let item = heap.push(program::Datum::Int(number.into()));
        heap.push(program::Datum::List(vec![item]))
    });
    let lists = program::Datum::List(lists.collect());
    let given = heap.push(lists);
    large.program.locals.push(("given".into(), given));
    let alone = TOY.outcomes(vec![large.clone()]).remove(0);
    assert!(alone.end.is_ok(), "{:?}", alone.end);
    let short = || owned(trace("Hi", READS), "short");
    let quiet = TOY.outcomes(vec![short()]).remove(0);
    let mut engine = (TOY.engine)();
    let (id, mut events, mut asked) = (large.id, Vec::new(), Vec::new());
    engine.submit(large.clone());
    while !ended(id, &events) {
        let job = short();
        asked.push(job.id);
        engine.submit(job);
        assert_eq!(steps(engine.as_mut(), *asked.last().unwrap(), &mut events), 1);
    }
    assert!(asked.len() > 3, "{} jobs beside it", asked.len());
    assert_same(&outcome_of(id, &events), &alone, "the large one");
    for id in asked {
        assert_same(&outcome_of(id, &events), &quiet, "beside the large one");
    }
    // It can be stopped while it is read.
    let (id, mut events) = (large.id, Vec::new());
    engine.submit(large);
    assert!(!ended(id, &engine.step()));
    engine.cancel(id);
    assert!(steps(engine.as_mut(), id, &mut events) < 4);
    assert_eq!(outcome_of(id, &events).end.unwrap_err().fault, Fault::Cancelled);
    assert!(engine.idle());
}

#[test]
fn a_long_pass_is_left_after_each_layer_and_never_more_often_by_count() {
    let long = trace(LONG, READS);
    let (id, mut events) = (long.id, Vec::new());
    let mut engine = (TOY.engine)();
    engine.submit(long);
    assert_eq!(steps(engine.as_mut(), id, &mut events), LAYERS + 1);
    let outcome = outcome_of(id, &events);
    let usage = outcome.usage;
    assert_eq!((usage.forwards, usage.layers_run, usage.tokens), (1, 0, u64::try_from(LONG.len()).unwrap()));
    // It shows the whole sequence at each site.
    let saved = outcome.end.unwrap();
    assert_eq!(tensor(&saved, "mid").shape[1], i64::try_from(LONG.len()).unwrap());
}

#[test]
fn all_long_jobs_together_give_what_each_gives_alone() {
    let jobs = long_jobs();
    let alone: Vec<_> = jobs.iter().map(|job| TOY.outcomes(vec![job.clone()]).remove(0)).collect();
    let jobs = jobs.into_iter().enumerate().map(|(at, job)| owned(job, ["a", "b"][at % 2])).collect();
    for (place, (found, alone)) in TOY.outcomes(jobs).iter().zip(&alone).enumerate() {
        assert_same(found, alone, &format!("program {place}"));
        assert_eq!(found.usage.forwards, alone.usage.forwards, "program {place} runs once");
    }
}

#[test]
fn a_job_in_a_long_pass_stops_before_its_next_layer() {
    for (code, fault) in [(1, Fault::Cancelled), (2, Fault::Limit)] {
        let mut engine = (TOY.engine)();
        let long = trace(LONG, "print('begun')\nout = HEAD.output.save()");
        let (id, stop) = (long.id, long.stop.clone());
        engine.submit(long);
        assert!(!ended(id, &engine.step()));
        if code == 1 {
            engine.cancel(id);
        } else {
            stop.store(code, std::sync::atomic::Ordering::Relaxed);
        }
        let events = engine.step();
        let failed =
            |event: &Event| matches!(event, Event::Failed(job, failure, _) if *job == id && failure.fault == fault);
        assert!(events.iter().any(failed), "{events:?}");
        assert!(engine.idle());
    }
}

#[test]
fn long_passes_that_find_no_room_wait_for_it_and_short_ones_do_not() {
    // What the toy model estimates as nothing counts as one byte.
    let narrow = || engine_of(Settings { long_bytes: 1, ..settings() });
    let mut engine = narrow();
    let long: Vec<Job> = ["a", "b", "c"].map(|tenant| owned(trace(LONG, READS), tenant)).into();
    let ids: Vec<JobId> = long.iter().map(|job| job.id).collect();
    long.into_iter().for_each(|job| engine.submit(job));
    let mut events = engine.step();
    let short = owned(trace("Hi", READS), "short");
    let id = short.id;
    engine.submit(short);
    assert_eq!(steps(engine.as_mut(), id, &mut events), 1);
    finish(engine.as_mut(), &mut events);
    let place = |id: &JobId| events.iter().position(|event| matches!(event, Event::Finished(job, ..) if job == id));
    assert!(ids.iter().map(place).collect::<Vec<_>>().is_sorted(), "one after another");
    // In lanes, too, where one that waits can be stopped.
    let mut engine = narrow();
    let alone = |tenant: &str| {
        let mut job = owned(trace(LONG, READS), tenant);
        job.program.env.batching = Some(program::Batching::Exclusive);
        job
    };
    let (first, second, third) = (alone("a"), alone("b"), alone("c"));
    let (ids, stopped) = ([first.id, third.id], second.id);
    [first, second, third].into_iter().for_each(|job| engine.submit(job));
    let mut events = Vec::new();
    (0..4).for_each(|_| events.extend(engine.step()));
    engine.cancel(stopped);
    finish(engine.as_mut(), &mut events);
    assert!(ids.iter().all(|id| outcome_of(*id, &events).end.is_ok()));
    assert_eq!(outcome_of(stopped, &events).end.unwrap_err().fault, Fault::Cancelled);
}

#[test]
fn an_engine_can_be_dropped_with_passes_half_way() {
    for long in long_jobs() {
        let mut engine = (TOY.engine)();
        engine.submit(long);
        engine.submit(trace("Hi", READS));
        engine.step();
        assert!(!engine.idle());
        drop(engine);
    }
}

/// Makes a pass fail: before the first layer, and in the middle.
const EARLY: &str = "model.embed.input[:] = 10 ** 6\nout = HEAD.output.save()";
const LATE: &str = "LAYERS[1].output[:] = float('inf')\nout = HEAD.output.save()";

#[test]
fn one_whose_pass_fails_costs_its_neighbours_no_pass_and_no_company() {
    let kwargs = [("max_new_tokens", 20)];
    let source = "seen = nnsight.save([])\nfor step in tracer.iter[:20]:\n    seen.append(LAYERS[2].output.clone())\nids = tracer.result.save()";
    let neighbours = || -> Vec<Job> {
        (0..8)
            .map(|at| owned(TOY.job(&"abcdefgh"[at..], Function::Generate, source, &kwargs), &format!("t{at}")))
            .collect()
    };
    let alone: Vec<_> = neighbours().into_iter().map(|job| TOY.outcomes(vec![job]).remove(0)).collect();
    assert!(alone.iter().all(|outcome| outcome.end.is_ok()), "{:?}", alone[0].end);
    let free = |settings: Settings| engine_of(Settings { long_tokens: 4096, ..settings });
    let mut calm = free(settings());
    let quiet = engine::conformance::outcomes(calm.as_mut(), neighbours());
    // Again and again, in the middle of what the others do.
    let mut engine = free(settings());
    let (jobs, mut events, mut bad) = (neighbours(), Vec::new(), Vec::new());
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    jobs.into_iter().for_each(|job| engine.submit(job));
    for turn in 0..5 {
        (0..2).for_each(|_| events.extend(engine.step()));
        for _ in 0..=turn % 2 {
            let job = owned(trace("Hello", EARLY), "bad");
            bad.push(job.id);
            engine.submit(job);
        }
    }
    finish(engine.as_mut(), &mut events);
    for (at, id) in ids.iter().enumerate() {
        let found = outcome_of(*id, &events);
        assert_same(&found, &alone[at], &format!("neighbour {at}"));
        let (found, quiet) = (found.usage, quiet[at].usage);
        assert_eq!((found.forwards, found.fuel), (quiet.forwards, quiet.fuel), "nothing is done twice");
        assert!(found.shared >= quiet.shared, "all of them share all passes");
    }
    for id in bad {
        let failure = outcome_of(id, &events).end.unwrap_err();
        assert!(
            failure.fault == Fault::User && failure.message.contains("IndexError: index out of range"),
            "{failure:?}"
        );
    }
}

#[test]
fn who_took_part_before_a_pass_failed_runs_again_in_company() {
    let source = "found = nnsight.save([])\nfor turn in range(12):\n    try:\n        with model.trace('Hello'):\n            h = LAYERS[0].output\n            LAYERS[0].output = h + turn\n            print(turn)\n            found.append(HEAD.output.clone())\n    finally:\n        pass";
    let neighbours = || (0..6).map(|at| owned(TOY.session_job(source), &format!("t{at}"))).collect::<Vec<_>>();
    let alone = TOY.outcomes(vec![neighbours().remove(0)]).remove(0);
    assert_eq!(alone.usage.forwards, 12, "{:?}", alone.end);
    for bad in [LATE, EARLY] {
        let jobs: Vec<Job> = neighbours().into_iter().chain([owned(trace("Hello", bad), "bad")]).collect();
        let mut engine = engine_of(Settings { long_tokens: 4096, ..settings() });
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        jobs.into_iter().for_each(|job| engine.submit(job));
        let (mut events, mut passes) = (Vec::new(), 0);
        while !engine.idle() {
            events.extend(engine.step());
            passes += 1;
        }
        // Twelve for what they do, one that fails and, by halves of seven, three times two more.
        assert!(passes <= 12 + 1 + 6 + 2, "{passes} passes beside {bad}");
        for id in &ids[..6] {
            let found = outcome_of(*id, &events);
            assert_same(&found, &alone, bad);
            assert!(found.usage.shared >= 4 * found.usage.forwards, "{:?} beside {bad}", found.usage);
        }
        assert_eq!(outcome_of(ids[6], &events).end.unwrap_err().fault, Fault::User);
    }
}

#[test]
fn several_whose_passes_fail_are_all_found() {
    for (good, bad) in [(1, 1), (5, 3), (2, 7), (0, 4)] {
        let jobs: Vec<Job> = (0..good + bad)
            .map(|at| {
                let source = if at < good { READS } else { [EARLY, LATE][at % 2] };
                owned(trace("Hello", source), &format!("t{at}"))
            })
            .collect();
        let quiet = TOY.outcomes(vec![trace("Hello", READS)]).remove(0);
        for (at, found) in TOY.outcomes(jobs).iter().enumerate() {
            if at < good {
                assert_same(found, &quiet, &format!("{at} beside {bad}"));
            } else {
                assert_eq!(found.end.as_ref().unwrap_err().fault, Fault::User, "{at} of {good} and {bad}");
            }
        }
    }
}

#[test]
fn traces_of_one_job_of_which_one_fails_are_told_apart_as_in_turn() {
    let source = "found = nnsight.save([])\nfor turn in range(5):\n    with model.trace('Hello'):\n        model.embed.input[:] = 10 ** (turn // 3 * 6)\n        print(turn)\n        found.append(HEAD.output.clone())";
    let beside = [owned(trace("Hello", READS), "other"), TOY.session_job(source)];
    let quiet = TOY.outcomes(vec![trace("Hello", READS)]).remove(0);
    let outcomes = TOY.outcomes(beside.into());
    assert_same(&outcomes[0], &quiet, "the other");
    assert_eq!(
        outcomes[1].printed,
        ["0", "1", "2", "3"],
        "{:?} what comes before the failure is done, and nothing after",
        outcomes[1].end
    );
    assert!(outcomes[1].end.as_ref().unwrap_err().message.contains("IndexError"));
}
