//! What every [`Engine`] must do, as a test that each implementation runs.
//!
//! The programs are written for a model with decoder layers and a head; a [`Subject`] says what these are called. Its
//! tokenizer makes equally many tokens of `Hello` and `Helix`.

#![expect(clippy::panic, clippy::expect_used, reason = "a failed check is a failed test")]

use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use ids::{JobId, ModelKey, TenantId};
use program::datum::Envoy;
use program::{DType, Datum, Entry, Env, Function, Heap, Limits, Program, Saved, Source, TensorData};

use crate::contract::{Engine, Event, Failure, Fault, Job, Usage};

/// An implementation under test.
pub struct Subject<'a> {
    /// Python expressions for the list of decoder layers and the head: `model.layers`, `model.head`.
    pub layers: &'a str,
    pub head: &'a str,
    pub engine: &'a dyn Fn() -> Box<dyn Engine>,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub printed: Vec<String>,
    pub end: Result<Saved, Failure>,
    pub usage: Usage,
}

/// Checks everything.
pub fn check(subject: &Subject<'_>) {
    saves_what_flows(subject);
    edits_reach_later_layers(subject);
    invokes_see_their_rows(subject);
    barriers_order_blocks(subject);
    generation_visits_every_step(subject);
    sessions_pass_values_on(subject);
    traces_that_nobody_needs_yet_run_together(subject);
    traces_that_somebody_could_tell_apart_run_in_turn(subject);
    what_runs_late_fails_where_it_stands(subject);
    errors_carry_the_users_line(subject);
    attached_modules_are_named(subject);
    skips_and_stops(subject);
    limits_hold(subject);
    neighbours_change_nothing(subject);
    a_failing_job_disturbs_nobody(subject);
    cancelling_ends_a_job(subject);
    long_code_makes_way(subject);
    who_waits_outside_is_heard_of(subject);
    many_that_take_long_all_finish(subject);
    tenants_take_turns_with_what_takes_long(subject);
    what_makes_way_ends_as_it_would_alone(subject);
    an_engine_can_be_dropped_with_jobs_half_way(subject);
}

fn saves_what_flows(subject: &Subject<'_>) {
    let outcome =
        subject.trace("Hello", "h = LAYERS[1].output.save()\nprint('seen', tuple(h.shape)[0])\nn = nnsight.save(3)");
    let saved = outcome.end.as_ref().expect("the program is sound");
    assert_eq!(names(saved), ["h", "n"]);
    let h = tensor(saved, "h");
    assert_eq!(h.shape.first(), Some(&1));
    assert_eq!(outcome.printed, ["seen 1"]);
    assert!(outcome.usage.forwards == 1 && outcome.usage.tokens > 0 && outcome.usage.fuel > 0);
}

fn edits_reach_later_layers(subject: &Subject<'_>) {
    let plain = subject.trace("Hello", "out = LAYERS[-1].output.clone().save()");
    let in_place = subject.trace("Hello", "LAYERS[0].output[:] = 0\nout = LAYERS[-1].output.clone().save()");
    let assigned = subject
        .trace("Hello", "x = LAYERS[0].output\nLAYERS[0].output = x * 0\nout = LAYERS[-1].output.clone().save()");
    let out = |outcome: &Outcome| tensor(outcome.end.as_ref().expect("the program is sound"), "out");
    assert_eq!(out(&in_place), out(&assigned));
    assert_ne!(out(&plain), out(&assigned));
    // Assigning replaces what the model goes on with, not what was read before.
    let kept =
        subject.trace("Hello", "x = LAYERS[0].output.save()\nLAYERS[0].output = x * 0\ny = LAYERS[0].output.save()");
    let kept = kept.end.expect("the program is sound");
    assert_ne!(tensor(&kept, "x"), tensor(&kept, "y"));
}

fn invokes_see_their_rows(subject: &Subject<'_>) {
    let alone = subject.trace("Hello", "h = LAYERS[1].output.save()");
    let together = subject.invokes(
        "rows = nnsight.save([])\nfor text in ['Hello', 'Helix']:\n    with tracer.invoke(text):\n        rows.append(text)\n        h = LAYERS[1].output.save()\nwith tracer.invoke():\n    all_rows = LAYERS[1].output.save()",
    );
    let saved = together.end.expect("the program is sound");
    assert_eq!(tensor(&saved, "all_rows").shape.first(), Some(&2));
    assert_eq!(tensor(&saved, "h").shape.first(), Some(&1));
    assert_eq!(texts(&saved, "rows"), ["Hello", "Helix"]);
    assert_eq!(tensor(&alone.end.expect("the program is sound"), "h").shape.first(), Some(&1));
}

fn barriers_order_blocks(subject: &Subject<'_>) {
    let patched = "clean = LAYERS[1].output.clone()\n        barrier()";
    let source = format!(
        "barrier = tracer.barrier(2)\nif True:\n    with tracer.invoke('Hello'):\n        {patched}\n    with tracer.invoke('Helix'):\n        barrier()\n        LAYERS[1].output = clean\n        out = LAYERS[-1].output.clone().save()"
    );
    let alone = subject.trace("Hello", "out = LAYERS[-1].output.clone().save()");
    let saved = subject.invokes(&source).end.expect("the barrier orders the blocks");
    let _ = (tensor(&saved, "out"), alone);
    let unordered = "with tracer.invoke('Hello'):\n    clean = LAYERS[1].output.clone()\nwith tracer.invoke('Helix'):\n    LAYERS[0].output = clean";
    let failure = subject.invokes(unordered).end.expect_err("the right side is evaluated before the block waits");
    assert!(failure.message.contains("NameError: name 'clean' is not defined"), "{}", failure.message);
    let lonely = "barrier = tracer.barrier(3)\nwith tracer.invoke('Hello'):\n    barrier()\nwith tracer.invoke('Helix'):\n    barrier()";
    let failure = subject.invokes(lonely).end.expect_err("nobody releases the barrier");
    assert!(failure.message.contains("A barrier was never reached"), "{}", failure.message);
}

fn generation_visits_every_step(subject: &Subject<'_>) {
    let source = "steps = nnsight.save([])\nfor step in tracer.iter[:3]:\n    h = LAYERS[0].output\n    steps.append((step, tuple(h.shape)[1]))\nids = tracer.result.save()";
    let saved =
        subject.run("Hello", Function::Generate, source, &[("max_new_tokens", 3)]).end.expect("the program is sound");
    let ids = tensor(&saved, "ids");
    let prompt = ids.shape.get(1).copied().expect("ids are two-dimensional") - 3;
    assert!(prompt > 0, "the prompt comes before the new tokens");
    let open = "count = nnsight.save([])\nfor step in tracer.all():\n    LAYERS[0].output\n    count.append('step')\nnever = nnsight.save(1)";
    let saved = subject
        .run("Hello", Function::Generate, open, &[("max_new_tokens", 3)])
        .end
        .expect("an open loop ends with the run");
    assert_eq!(texts(&saved, "count").len(), 3);
    assert!(!names(&saved).contains(&"never".to_owned()), "statements after an open loop do not run");
    let pinned = "for step in tracer.iter[2]:\n    last = tracer.iter and LAYERS[1].output.save()";
    let saved =
        subject.run("Hello", Function::Generate, pinned, &[("max_new_tokens", 4)]).end.expect("the step exists");
    assert_eq!(tensor(&saved, "last").shape.get(1), Some(&1));
}

fn sessions_pass_values_on(subject: &Subject<'_>) {
    let source = "with model.trace('Hello'):\n    clean = LAYERS[1].output.clone()\nfound = nnsight.save([])\nfor layer in range(2):\n    with model.trace('Helix'):\n        LAYERS[layer].output = clean * 1\n        found.append(layer)\n        out = LAYERS[-1].output.clone().save()\nprint('done')";
    let outcome = subject.session(source);
    assert_eq!(outcome.printed, ["done"]);
    assert_eq!(outcome.usage.forwards, 3);
    assert_eq!(names(&outcome.end.expect("the program is sound")), ["found", "out"]);
    let failure = subject.session("LAYERS[1].output").end.expect_err("nothing runs outside a trace");
    assert!(failure.message.contains("outside of interleaving"), "{}", failure.message);
}

/// A loop of traces as a researcher writes it. `GUARD` may stand around it.
const SWEEP: &str = "rows = nnsight.save([])
table = nnsight.save({})
with model.trace('Hello'):
    clean = LAYERS[0].output.clone()
GUARD:
    for layer in range(2):
        row = []
        for scale in range(3):
            with model.trace('Helix'):
                LAYERS[layer].output[:] = clean * scale
                seen = HEAD.output.clone()
                row.append(seen)
                table[layer, scale] = seen.shape[1]
        rows.append(row)
last = nnsight.save(seen)";

fn traces_that_nobody_needs_yet_run_together(subject: &Subject<'_>) {
    let (late, passes) = subject.passes(&SWEEP.replace("GUARD", "if True"));
    let (in_turn, more) = subject.passes(&SWEEP.replace("GUARD", "try").replace("last", "finally:\n    pass\nlast"));
    assert_eq!(passes, 2, "one pass for the first trace, one for all others");
    assert_eq!(more, 7, "what a `try` guards has happened when it ends");
    let (late, in_turn) = (late.end.expect("the program is sound"), in_turn.end.expect("the program is sound"));
    assert_eq!(names(&late), names(&in_turn));
    let (late, in_turn) = (flat(&late), flat(&in_turn));
    assert_eq!(late.len(), in_turn.len());
    assert!(late.iter().zip(&in_turn).all(|(a, b)| close(a, b)));
}

fn traces_that_somebody_could_tell_apart_run_in_turn(subject: &Subject<'_>) {
    let bodies = [
        // Each uses what the one before left.
        ("total = 0", "h = LAYERS[0].output\n        total = total + 1", "print(total)"),
        ("seen = []", "h = LAYERS[0].output\n        seen.append(len(seen))", "print(len(seen))"),
        ("x = 1", "h = LAYERS[0].output\n        print('in')", "x = 2"),
    ];
    for (before, body, after) in bodies {
        let source =
            format!("{before}\nfor turn in range(3):\n    with model.trace('Hello'):\n        {body}\n    {after}");
        let outcome = subject.session(&source);
        assert!(outcome.end.is_ok(), "{:?}", outcome.end);
        let expected =
            if body.contains("print") { ["in"; 3].map(String::from) } else { [1, 2, 3].map(|n| n.to_string()) };
        assert_eq!(outcome.printed, expected, "{source}");
    }
    // A list that is looked at outside has what the traces before have put there.
    let source = "found = []\nfor turn in range(3):\n    with model.trace('Hello'):\n        found.append(LAYERS[0].output.shape[0])\n    if len(found) == 2:\n        break\nprint(found)";
    assert_eq!(subject.session(source).printed, ["[1, 1]"]);
}

fn what_runs_late_fails_where_it_stands(subject: &Subject<'_>) {
    let source = "done = []\nfor index in [0, 999, 0]:\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        done.append(h[index])\nprint('never')";
    let outcome = subject.session(source);
    assert!(outcome.printed.is_empty());
    let failure = outcome.end.expect_err("the index is out of range");
    assert!(failure.message.contains("line 5"), "{}", failure.message);
    assert!(failure.message.contains("IndexError: "), "{}", failure.message);
    let caught = "done = []\nfor index in [0, 999, 0]:\n    try:\n        with model.trace('Hello'):\n            h = LAYERS[0].output\n            done.append(h[index])\n    except IndexError:\n        print('caught at', len(done))\nprint(len(done))";
    assert_eq!(subject.session(caught).printed, ["caught at 1", "2"]);
}

fn errors_carry_the_users_line(subject: &Subject<'_>) {
    let failure =
        subject.trace("Hello", "x = 1\n\nbad = LAYERS[0].output[999]").end.expect_err("the index is out of range");
    assert_eq!(failure.fault, Fault::User);
    assert!(
        failure.message.starts_with("Traceback (most recent call last):\n  File \"experiment.py\", line 3"),
        "{}",
        failure.message
    );
    assert!(failure.message.contains("IndexError: "), "{}", failure.message);
    let failure = subject.trace("Hello", "LAYERS[1].output\nLAYERS[0].output").end.expect_err("the order is wrong");
    assert!(failure.message.contains("OutOfOrderError: '"), "{}", failure.message);
    assert!(failure.message.contains("was requested but the model already ran past it"), "{}", failure.message);
    let failure = subject.trace("Hello", "(").end.expect_err("the source does not parse");
    assert!(failure.message.contains("SyntaxError"), "{}", failure.message);
    let failure = subject.trace("Hello", "model.nothing_of_that_name").end.expect_err("there is no such module");
    assert!(failure.message.contains("AttributeError: "), "{}", failure.message);
}

fn attached_modules_are_named(subject: &Subject<'_>) {
    let mut job = subject.job("Hello", Function::Call, "out = HEAD.output.save()", &[]);
    job.program.modules.push("layers.1.probe".into());
    let failure = subject.only(job).end.expect_err("the model has no such module");
    let last = failure.message.lines().last().unwrap_or_default();
    assert!(last.contains("UnknownPersistentIdError: Module:model.layers.1.probe: "), "{}", failure.message);
}

fn skips_and_stops(subject: &Subject<'_>) {
    let source = "layer = LAYERS[1]\nbefore = layer.input.clone().save()\nlayer.skip(layer.input)\nafter = layer.output.clone().save()";
    let failure = subject.trace("Hello", source).end;
    // The input is served before the gate, and only once.
    let saved = match failure {
        Ok(saved) => saved,
        Err(_) => subject
            .trace("Hello", "layer = LAYERS[1]\nbefore = layer.input\nlayer.skip(before)\nafter = layer.output.clone().save()\nbefore = before.clone().save()")
            .end
            .expect("a layer can be skipped"),
    };
    assert_eq!(tensor(&saved, "before"), tensor(&saved, "after"));
    let outcome = subject.trace("Hello", "h = LAYERS[0].output.save()\ntracer.stop()\nnever = nnsight.save(1)");
    assert_eq!(names(&outcome.end.expect("stopping is no error")), ["h"]);
    assert!(outcome.usage.layers_skipped > 0, "layers after the stop are not computed");
    let early = subject.trace("Hello", "h = LAYERS[0].output.save()");
    assert!(early.usage.layers_skipped > 0, "nobody waits for later layers");
}

fn limits_hold(subject: &Subject<'_>) {
    let failure = subject.trace("Hello", "while True:\n    pass").end.expect_err("the loop never ends");
    assert_eq!(failure.fault, Fault::Limit);
    let failure = subject
        .trace("Hello", "x = []\nwhile True:\n    x.append('a' * 100000 + str(len(x)))")
        .end
        .expect_err("memory is bounded");
    assert_eq!(failure.fault, Fault::Limit, "{}", failure.message);
    let failure = subject.trace("Hello", "def f():\n    return f()\nf()").end.expect_err("recursion is bounded");
    assert!(failure.message.contains("RecursionError"), "{}", failure.message);
    let failure = subject
        .trace("Hello", "try:\n    while True:\n        pass\nexcept BaseException:\n    x = nnsight.save(1)")
        .end;
    assert_eq!(failure.expect_err("limits cannot be caught").fault, Fault::Limit);
}

fn neighbours_change_nothing(subject: &Subject<'_>) {
    let source = "h = LAYERS[1].output.save()\nout = HEAD.output.save()";
    let job = |text: &str, source: &str| subject.job(text, Function::Call, source, &[]);
    let alone = subject.outcomes(vec![job("Hello", source)]);
    let crowd = subject.outcomes(vec![
        job("other text", "LAYERS[0].output[:] = float('nan')\nx = HEAD.output.save()"),
        job("Hello", source),
        job("something much longer than the rest", "LAYERS[-1].output[:] = 1e30\nx = HEAD.output.save()"),
        // Generation unembeds the last position only; that is its own affair.
        subject.job("Hello", Function::Generate, "ids = tracer.result.save()", &[("max_new_tokens", 2)]),
    ]);
    let of = |outcome: &Outcome| outcome.end.as_ref().expect("the program is sound").clone();
    let (alone, crowded) = (of(alone.first().expect("one job")), of(crowd.get(1).expect("four jobs")));
    for name in ["h", "out"] {
        let (left, right) = (tensor(&alone, name), tensor(&crowded, name));
        assert_eq!(left.shape, right.shape);
        assert!(close(&left, &right), "{name} differs when others share the batch");
    }
}

fn a_failing_job_disturbs_nobody(subject: &Subject<'_>) {
    let good = "h = LAYERS[-1].output.save()";
    let outcomes = subject.outcomes(vec![
        subject.job("Hello", Function::Call, "LAYERS[1].output\n1 / 0", &[]),
        subject.job("Hello", Function::Call, good, &[]),
        subject.job("Hello", Function::Call, "LAYERS[0].output = 'text'", &[]),
    ]);
    let ends: Vec<_> = outcomes.iter().map(|outcome| outcome.end.is_ok()).collect();
    assert_eq!(ends, [false, true, false]);
    let failure = outcomes.first().and_then(|outcome| outcome.end.as_ref().err()).expect("it divides by zero");
    assert!(failure.message.ends_with("ZeroDivisionError: division by zero"), "{}", failure.message);
}

fn cancelling_ends_a_job(subject: &Subject<'_>) {
    let mut engine = (subject.engine)();
    let job = subject.job(
        "Hello",
        Function::Generate,
        "for step in tracer.all():\n    LAYERS[0].output",
        &[("max_new_tokens", 1000)],
    );
    let id = job.id;
    engine.submit(job);
    let first = engine.step();
    assert!(matches!(first.first(), Some(Event::Started(started)) if *started == id));
    engine.cancel(id);
    let events = engine.step();
    assert!(
        matches!(events.last(), Some(Event::Failed(failed, failure, _)) if *failed == id && failure.fault == Fault::Cancelled),
        "{events:?}"
    );
    assert!(engine.idle());
}

/// Code of more steps than four slices have, and of less than a job may take.
const LONG: &str = "n = 0\nfor i in range(50):\n    n += sum(range(25_000))";

/// Programs that take long in a block, in a session between its traces, and in several blocks of a generation's steps.
fn long_jobs(subject: &Subject<'_>) -> Vec<Job> {
    let block =
        format!("print('begun')\nh = LAYERS[0].output\n{LONG}\nprint(n)\nout = HEAD.output.save()\nn = n.save()");
    let session = format!(
        "print('begun')\nwith model.trace('Hello'):\n    h = LAYERS[0].output.save()\n{LONG}\nprint(n)\nwith model.trace('Helix'):\n    out = HEAD.output.save()\nprint('done')"
    );
    let steps = "for step in tracer.iter[:]:\n    h = LAYERS[0].output\n    print(sum(range(400_000)))\nids = tracer.result.save()";
    let jobs = vec![
        subject.job("Hello", Function::Call, &block, &[]),
        subject.session_job(&session),
        subject.job("Hello", Function::Generate, steps, &[("max_new_tokens", 4)]),
    ];
    let exclusive = |job: &Job| {
        let mut job = Job { id: JobId::new(), ..job.clone() };
        job.program.env.batching = Some(program::Batching::Exclusive);
        job
    };
    let own: Vec<Job> = jobs.iter().map(exclusive).collect();
    jobs.into_iter().chain(own).map(lengthy).collect()
}

fn lengthy(job: Job) -> Job {
    Job { limits: Limits { fuel: 20_000_000, ..job.limits.clone() }, ..job }
}

/// Counts the steps until a job has ended, and notes what happens.
fn steps_until_done(engine: &mut dyn Engine, job: JobId, events: &mut Vec<Event>) -> usize {
    let ends = |event: &Event| matches!(event, Event::Finished(ended, ..) | Event::Failed(ended, ..) if *ended == job);
    (1..=1000)
        .find(|_| {
            let happened = engine.step();
            let done = happened.iter().any(ends);
            events.extend(happened);
            done
        })
        .expect("the job ends")
}

fn has_ended(job: JobId, events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Finished(ended, ..) | Event::Failed(ended, ..) if *ended == job))
}

fn long_code_makes_way(subject: &Subject<'_>) {
    let short = || subject.job("Helix", Function::Call, "h = LAYERS[1].output.save()\nout = HEAD.output.save()", &[]);
    let quiet = subject.only(short()).end.expect("the program is sound");
    for (place, long) in long_jobs(subject).into_iter().enumerate() {
        let alone = subject.only(long.clone());
        let expected = alone.end.expect("the program is sound");
        let mut engine = (subject.engine)();
        let (id, beside, mut events) = (long.id, short(), Vec::new());
        let ids = [beside.id, JobId::new(), JobId::new()];
        engine.submit(long);
        engine.submit(beside);
        for (turn, job) in ids.into_iter().enumerate() {
            if turn > 0 {
                engine.submit(Job { id: job, ..short() });
            }
            let steps = steps_until_done(engine.as_mut(), job, &mut events);
            assert!(steps == 1, "beside program {place}, a short one takes {steps} steps");
        }
        assert!(!has_ended(id, &events), "program {place} takes longer than three short ones");
        while !engine.idle() {
            events.extend(engine.step());
        }
        let found = outcome_of(id, &events);
        assert_eq!(found.printed, alone.printed, "program {place} prints what it does alone");
        assert_same(&found.end.expect("the program is sound"), &expected);
        for job in ids {
            let found = outcome_of(job, &events).end.expect("the program is sound");
            for name in ["h", "out"] {
                assert!(close(&tensor(&found, name), &tensor(&quiet, name)), "{name} beside program {place}");
            }
        }
    }
}

fn who_waits_outside_is_heard_of(subject: &Subject<'_>) {
    for waits in [false, true] {
        let mut engine = (subject.engine)();
        engine.attend(std::rc::Rc::new(move || waits));
        let long = long_jobs(subject).swap_remove(0);
        let (id, mut events) = (long.id, Vec::new());
        engine.submit(long);
        let steps = steps_until_done(engine.as_mut(), id, &mut events);
        assert!(if waits { steps > 3 } else { steps == 1 }, "{steps} steps where somebody waits: {waits}");
        assert_eq!(outcome_of(id, &events).printed.len(), 2);
    }
}

fn many_that_take_long_all_finish(subject: &Subject<'_>) {
    let source = "h = LAYERS[0].output\nprint(sum(range(280_000)))\nout = HEAD.output.save()";
    let long = || subject.job("Hello", Function::Call, source, &[]);
    let alone = subject.only(long()).end.expect("the program is sound");
    let began = std::time::Instant::now();
    let outcomes = subject.outcomes((0..20).map(|_| long()).collect());
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.usage.seconds).sum();
    assert!(seconds <= began.elapsed().as_secs_f64(), "no second is charged to two jobs, though all took turns");
    for outcome in outcomes {
        assert_eq!(outcome.printed, ["39199860000"]);
        assert_same(&outcome.end.expect("the program is sound"), &alone);
    }
}

fn tenants_take_turns_with_what_takes_long(subject: &Subject<'_>) {
    let long = || long_jobs(subject).swap_remove(0);
    let mut engine = (subject.engine)();
    for _ in 0..70 {
        engine.submit(owned(Job { id: JobId::new(), ..long() }, "the one with many"));
    }
    let one = owned(long(), "the one with one");
    let (id, mut events) = (one.id, Vec::new());
    engine.submit(one);
    steps_until_done(engine.as_mut(), id, &mut events);
    assert!(outcome_of(id, &events).end.is_ok());
    let ended = events.iter().filter(|event| matches!(event, Event::Finished(..) | Event::Failed(..))).count();
    assert_eq!(ended, 1, "a tenant's only job waits for none of another's seventy");
}

fn what_makes_way_ends_as_it_would_alone(subject: &Subject<'_>) {
    let job = |source: &str| lengthy(subject.job("Hello", Function::Call, &source.replace("LONG", LONG), &[]));
    let begin = |engine: &mut dyn Engine, long: Job| -> JobId {
        let id = long.id;
        let mut events = Vec::new();
        engine.submit(long);
        engine.submit(subject.job("Hello", Function::Call, "out = HEAD.output.save()", &[]));
        for _ in 0..2 {
            events.extend(engine.step());
        }
        assert!(!has_ended(id, &events) && !engine.idle(), "it takes longer than two slices");
        id
    };
    // Where it fails, its traceback is that of the run that counts.
    let failing = job("print('begun')\nh = LAYERS[0].output\nLONG\nbad = h[999]");
    let alone = subject.only(failing.clone()).end.expect_err("the index is out of range");
    assert!(alone.message.contains("line 6") && alone.message.contains("IndexError: "), "{}", alone.message);
    let outcomes = subject.outcomes(vec![failing, job("out = HEAD.output.save()")]);
    let failure = outcomes.first().and_then(|outcome| outcome.end.as_ref().err()).expect("the index is out of range");
    assert_eq!(*failure, alone);
    // It cannot notice, nor prevent it.
    let guarded = "h = LAYERS[0].output\ntries = 0\ntry:\n    tries += 1\n    LONG\nexcept BaseException:\n    print('caught')\nfinally:\n    print('finally')\nprint(tries, n)";
    let guarded = guarded.replace("LONG", &LONG.replace('\n', "\n    "));
    let outcomes = subject.outcomes(vec![job(&guarded), job("out = HEAD.output.save()")]);
    assert_eq!(
        outcomes.first().map(|outcome| outcome.printed.clone()),
        Some(vec!["finally".into(), "1 15624375000".into()])
    );
    // Limits hold.
    for endless in ["while True:\n    pass", "h = LAYERS[0].output\nwhile True:\n    pass"] {
        let mut endless = job(endless);
        endless.limits.fuel = 4_000_000;
        let outcomes = subject.outcomes(vec![endless, job("out = HEAD.output.save()")]);
        let failure = outcomes.first().and_then(|outcome| outcome.end.as_ref().err()).expect("the loop never ends");
        assert_eq!(failure.fault, Fault::Limit);
        assert!(failure.message.contains("more steps than"), "{}", failure.message);
        assert!(outcomes.get(1).is_some_and(|outcome| outcome.end.is_ok()));
    }
    // It can be cancelled, and runs out of time, in the middle.
    for (code, fault) in [(1, Fault::Cancelled), (2, Fault::Limit)] {
        let mut engine = (subject.engine)();
        let mut long = job("h = LAYERS[0].output\nwhile True:\n    pass");
        let stop = Arc::new(AtomicU8::new(0));
        long.stop = Arc::clone(&stop);
        let id = begin(engine.as_mut(), long);
        if code == 1 {
            engine.cancel(id);
        } else {
            stop.store(code, std::sync::atomic::Ordering::Relaxed);
        }
        let events = engine.step();
        assert!(
            matches!(events.last(), Some(Event::Failed(failed, failure, _)) if *failed == id && failure.fault == fault),
            "{events:?}"
        );
        assert!(engine.idle());
    }
}

fn an_engine_can_be_dropped_with_jobs_half_way(subject: &Subject<'_>) {
    for place in 0..long_jobs(subject).len() {
        let mut engine = (subject.engine)();
        engine.attend(std::rc::Rc::new(|| true));
        engine.submit(long_jobs(subject).swap_remove(place));
        engine.submit(subject.job("Hello", Function::Call, "out = HEAD.output.save()", &[]));
        for _ in 0..3 {
            engine.step();
        }
        assert!(!engine.idle());
        drop(engine);
    }
}

/// Checks that two results are equal, to the bit.
fn assert_same(found: &Saved, expected: &Saved) {
    assert_eq!(names(found), names(expected));
    for name in names(found) {
        assert_eq!(datum(found, &name), datum(expected, &name), "{name}");
    }
}

impl Subject<'_> {
    fn source(&self, text: &str) -> String {
        text.replace("LAYERS", self.layers).replace("HEAD", self.head)
    }

    /// Makes a job that traces one text.
    #[must_use]
    pub fn job(&self, text: &str, function: Function, source: &str, kwargs: &[(&str, i64)]) -> Job {
        let mut heap = Heap::default();
        let args = if text.is_empty() { Vec::new() } else { vec![heap.push(Datum::Str(text.into()))] };
        let kwargs =
            kwargs.iter().map(|(name, value)| ((*name).to_owned(), heap.push(Datum::Int((*value).into())))).collect();
        let envoy = heap.push(Datum::Envoy(Envoy::default()));
        job(heap, Entry::Trace { function, envoy, args, kwargs }, envoy, self.source(source))
    }

    fn trace(&self, text: &str, source: &str) -> Outcome {
        self.run(text, Function::Call, source, &[])
    }

    fn invokes(&self, source: &str) -> Outcome {
        self.run("", Function::Call, source, &[])
    }

    fn session(&self, source: &str) -> Outcome {
        self.only(self.session_job(source))
    }

    /// Makes a job that runs a session.
    #[must_use]
    pub fn session_job(&self, source: &str) -> Job {
        let mut heap = Heap::default();
        let envoy = heap.push(Datum::Envoy(Envoy::default()));
        job(heap, Entry::Session, envoy, self.source(source))
    }

    /// Runs a session alone, and counts the forward passes it took.
    fn passes(&self, source: &str) -> (Outcome, usize) {
        let job = self.session_job(source);
        let id = job.id;
        let mut engine = (self.engine)();
        engine.submit(job);
        let (mut events, mut passes) = (Vec::new(), 0);
        while !engine.idle() {
            events.extend(engine.step());
            passes += 1;
        }
        (outcome_of(id, &events), passes)
    }

    fn run(&self, text: &str, function: Function, source: &str, kwargs: &[(&str, i64)]) -> Outcome {
        self.only(self.job(text, function, source, kwargs))
    }

    fn only(&self, job: Job) -> Outcome {
        self.outcomes(vec![job]).pop().expect("one job has one outcome")
    }

    /// Runs jobs together and returns their outcomes in the order given.
    #[must_use]
    pub fn outcomes(&self, jobs: Vec<Job>) -> Vec<Outcome> {
        outcomes((self.engine)().as_mut(), jobs)
    }
}

/// Runs jobs together on an engine until it is idle, and returns their outcomes in the order given.
#[must_use]
pub fn outcomes(engine: &mut dyn Engine, jobs: Vec<Job>) -> Vec<Outcome> {
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    for job in jobs {
        engine.submit(job);
    }
    let mut events = Vec::new();
    while !engine.idle() {
        events.extend(engine.step());
    }
    ids.into_iter().map(|id| outcome_of(id, &events)).collect()
}

/// Collects what happened to a job.
#[must_use]
pub fn outcome_of(id: JobId, events: &[Event]) -> Outcome {
    let mut printed = Vec::new();
    let mut started = 0;
    let mut end = None;
    for event in events {
        match event {
            Event::Started(job) if *job == id => started += 1,
            Event::Printed(job, line) if *job == id => {
                assert!(started == 1 && end.is_none(), "a line comes between the start and the end");
                printed.push(line.clone());
            }
            Event::Finished(job, saved, usage) if *job == id => {
                assert!(end.replace((Ok(saved.clone()), *usage)).is_none(), "a job ends once");
            }
            Event::Failed(job, failure, usage) if *job == id => {
                assert!(end.replace((Err(failure.clone()), *usage)).is_none(), "a job ends once");
            }
            _ => {}
        }
    }
    assert_eq!(started, 1, "a job starts once");
    let (end, usage) = end.unwrap_or_else(|| panic!("job {id} never ended"));
    Outcome { printed, end, usage }
}

fn job(mut heap: Heap, entry: Entry, model: program::Ref, text: String) -> Job {
    let tracer = heap.push(Datum::Tracer);
    let nnsight = heap.push(Datum::Module("nnsight".into()));
    let locals = vec![("model".to_owned(), model), ("tracer".to_owned(), tracer), ("nnsight".to_owned(), nnsight)];
    let source = Source { text, filename: "experiment.py".into(), function: "<module>".into() };
    let model = ModelKey::new("test/model", None);
    Job {
        id: JobId::new(),
        tenant: TenantId::new("tester"),
        program: Program {
            model,
            env: Env::default(),
            entry,
            modules: vec![String::new(), "generator.streamer".into()],
            source,
            heap,
            locals,
            globals: Vec::new(),
        },
        limits: Limits { fuel: 2_000_000, memory_bytes: 16 << 20, ..Limits::default() },
        stop: Arc::new(AtomicU8::new(0)),
        trace: None,
        progress: Arc::default(),
    }
}

/// Makes a job another tenant's.
#[must_use]
pub fn owned(job: Job, tenant: &str) -> Job {
    Job { tenant: TenantId::new(tenant), ..job }
}

/// Returns the saved names, sorted.
#[must_use]
pub fn names(saved: &Saved) -> Vec<String> {
    let mut names: Vec<_> = saved.names.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}

/// Returns a saved tensor.
#[must_use]
pub fn tensor(saved: &Saved, name: &str) -> TensorData {
    let at = saved.names.iter().find(|(other, _)| other == name).map(|(_, at)| *at);
    let found = at.and_then(|at| saved.heap.tensor(at));
    found.unwrap_or_else(|| panic!("{name} is no tensor but {:?}", datum(saved, name)))
}

/// Returns all tensors of a result, in order.
#[must_use]
pub fn flat(saved: &Saved) -> Vec<TensorData> {
    let mut open: Vec<_> = saved.names.iter().map(|(_, at)| *at).collect();
    let mut found = Vec::new();
    while let Some(at) = open.pop() {
        match saved.heap.get(at) {
            Some(Datum::List(items)) => open.extend(items.iter().rev()),
            _ => found.extend(saved.heap.tensor(at)),
        }
    }
    found
}

/// Compares all tensors of two results: float32 to `tolerance` of the expected number, or of 1 where that is less, and others bit
/// by bit.
///
/// # Panics
/// Where they differ.
pub fn near(found: &Saved, expected: &Saved, tolerance: f32, context: &str) {
    let (found, expected) = (flat(found), flat(expected));
    assert_eq!(found.len(), expected.len(), "{context}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((&found.shape, found.dtype), (&expected.shape, expected.dtype), "{context}");
        if found.dtype != DType::Float32 {
            assert_eq!(found.bytes, expected.bytes, "{context}");
            continue;
        }
        let numbers = |data: &TensorData| {
            data.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<_>>()
        };
        for (found, expected) in numbers(found).into_iter().zip(numbers(expected)) {
            assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{context}: {found} {expected}");
        }
    }
}

fn texts(saved: &Saved, name: &str) -> Vec<String> {
    let Datum::List(items) = datum(saved, name) else { panic!("{name} is no list") };
    let text = |at| match saved.heap.get(at) {
        Some(Datum::Str(text)) => text.clone(),
        other => panic!("{name} holds {other:?}"),
    };
    items.iter().map(|at| text(*at)).collect()
}

fn datum<'a>(saved: &'a Saved, name: &str) -> &'a Datum {
    let at = saved.names.iter().find(|(other, _)| other == name).map(|(_, at)| *at);
    at.and_then(|at| saved.heap.get(at)).unwrap_or_else(|| panic!("{name} was not returned"))
}

/// Returns whether floats agree to 1e-4 and everything else exactly.
fn close(left: &TensorData, right: &TensorData) -> bool {
    let floats = |data: &TensorData| -> Vec<f64> {
        match data.dtype {
            program::DType::Float32 => {
                data.bytes.as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
            }
            program::DType::Float64 => {
                data.bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
            }
            _ => Vec::new(),
        }
    };
    let (a, b) = (floats(left), floats(right));
    if a.is_empty() { left == right } else { a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(1.0)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Who shares a pass does not depend on how quick the machine is.
    fn engine() -> Box<dyn Engine> {
        Box::new(crate::fake::engine().with_slice(Duration::MAX))
    }

    #[test]
    fn the_fake_engine_keeps_the_contract() {
        check(&Subject { layers: "model.layers", head: "model.head", engine: &engine });
    }
}
