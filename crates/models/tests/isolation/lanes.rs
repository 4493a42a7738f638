//! What a job in a lane has of the thread is put aside with it: neither it nor those that run meanwhile see the other's.

use engine::conformance::{self, Outcome, Subject, owned};
use engine::{Event, Job};
use models::DType;

use super::shared::interleaver;
use super::tags::assert_same_bits;
use super::{MODELS, NAMES, job, named, saved};

/// Takes several slices.
const LONG: &str = "for turn in range(50):\n    n += sum(range(25_000))";

fn long(subject: &Subject<'_>, source: &str) -> Job {
    let mut long = job(subject, "long", "The old tower", &lengthen(source));
    long.limits.fuel = 50_000_000;
    long
}

fn lengthen(source: &str) -> String {
    let indented = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let spaces = &line[..indent];
        if line.trim() == "LONG" {
            format!("{spaces}{}", LONG.replace('\n', &format!("\n{spaces}")))
        } else {
            line.into()
        }
    };
    format!("n = 0\n{}", source.lines().map(indented).collect::<Vec<_>>().join("\n"))
}

/// Runs long jobs together, and a short one after another beside them, at each stop that they make. Returns what became
/// of the long ones, and of the short ones.
fn beside(subject: &Subject<'_>, long: &[Job], short: &dyn Fn() -> Job) -> (Vec<Outcome>, Vec<Outcome>) {
    let mut engine = (subject.engine)();
    let ids: Vec<_> = long.iter().map(|job| job.id).collect();
    long.iter().for_each(|job| engine.submit(job.clone()));
    let ends = |event: &Event| match event {
        Event::Finished(job, ..) | Event::Failed(job, ..) => Some(*job),
        _ => None,
    };
    let (mut events, mut asked) = (Vec::new(), Vec::new());
    while ids.iter().any(|id| !events.iter().filter_map(ends).any(|ended| ended == *id)) {
        let job = short();
        asked.push(job.id);
        engine.submit(job);
        events.extend(engine.step());
    }
    while !engine.idle() {
        events.extend(engine.step());
    }
    let of = |ids: &[ids::JobId]| ids.iter().map(|id| conformance::outcome_of(*id, &events)).collect();
    (of(&ids), of(&asked))
}

/// Checks that long jobs and short ones give what each gives alone, and that there were several of the short ones.
fn assert_all_as_alone(subject: &Subject<'_>, long: &[Job], short: &dyn Fn() -> Job, context: &str) {
    let alone: Vec<_> = long.iter().map(|job| subject.outcomes(vec![job.clone()]).remove(0)).collect();
    let quiet = subject.outcomes(vec![short()]).remove(0);
    for outcome in alone.iter().chain([&quiet]) {
        saved(outcome);
    }
    let (long, short) = beside(subject, long, short);
    for (found, alone) in long.iter().zip(&alone) {
        assert_eq!(found.printed, alone.printed, "{context}");
        assert_same_bits(found, alone, context);
    }
    assert!(short.len() > 3, "{context}: {} short jobs", short.len());
    for found in &short {
        assert_eq!(found.printed, quiet.printed, "{context}, beside it");
        super::assert_near(found, &quiet, context);
    }
}

#[test]
fn s11_whether_gradients_are_recorded_is_each_jobs_own() {
    // Only a program that mentions them has its passes recorded: to ask in so many words is to mention them.
    let plain = "h = LAYERS[1].output\nLONG\nprint(h[0, 0, :2])\nx = (h * 2).save()\nout = HEAD.output.save()";
    let recording = "h = LAYERS[1].output\nLONG\nprint(torch.is_grad_enabled(), h.requires_grad)\nwith torch.no_grad():\n    LONG\n    y = h * 2\n    print(torch.is_grad_enabled(), y.requires_grad)\nz = h * 2\nprint(z.requires_grad)\nwith HEAD.output.sum().backward():\n    g = h.grad\n    LONG\n    k = g.clone().save()\nLONG";
    let asks = "h = LAYERS[1].output\nprint(h[0, 0, :2], getattr(h, 'requires' + '_' + 'grad'), getattr(torch, 'is_' + 'grad' + '_enabled')())\nx = (h * 2).save()";
    let derives = "h = LAYERS[1].output\nprint(h.requires_grad)\nwith HEAD.output.sum().backward():\n    g = h.grad.clone().save()";
    for &subject in MODELS {
        let both = [long(subject, plain), long(subject, recording)];
        for short in [derives, asks] {
            assert_all_as_alone(subject, &both, &|| job(subject, "short", "Hello", short), short);
        }
    }
}

#[test]
fn s8_each_job_pays_for_its_own_tensors() {
    // Each makes, between its slices, more than the other may have left.
    let source = "h = LAYERS[1].output\na = torch.ones(2 << 20)\nLONG\nb = torch.ones(2 << 20)\nLONG\ndel a\nc = torch.ones(1 << 20)\nprint(float((b.sum() + c.sum()).item()))\nwith HEAD.output.sum().backward():\n    g = h.grad.clone().save()";
    let greedy = "h = LAYERS[1].output\nLONG\na = []\nwhile True:\n    a.append(torch.ones(1 << 20))";
    let short = "h = LAYERS[1].output\na = torch.ones(4 << 20)\nprint(float(a.sum().item()))\nout = HEAD.output.save()";
    let limited = |job: Job| {
        let mut job = job;
        job.limits.tensor_bytes = 24 << 20;
        job
    };
    for &subject in MODELS {
        let fair = [limited(long(subject, source)), limited(long(subject, source))];
        assert_all_as_alone(subject, &fair, &|| limited(job(subject, "short", "Hello", short)), "fair");
        let crowd = [limited(long(subject, greedy)), limited(long(subject, source))];
        let (found, short) = beside(subject, &crowd, &|| limited(job(subject, "short", "Hello", short)));
        let failure = found[0].end.as_ref().err().unwrap();
        assert!(failure.message.contains("MemoryError: "), "{}", failure.message);
        assert!(found[1..].iter().chain(&short).all(|outcome| outcome.end.is_ok()));
    }
}

#[test]
fn s12_random_numbers_are_drawn_as_alone() {
    let source = "torch.manual_seed(3)\na = torch.rand(4).save()\nh = LAYERS[0].output\nLONG\nb = torch.randn(4).save()\nout = HEAD.output\nLONG\nc = torch.nn.functional.dropout(h, 0.5).save()";
    let short = "torch.manual_seed(5)\nh = LAYERS[0].output\na = torch.rand(4).save()";
    let sampled = "with model.generate('The old', max_new_tokens=5, do_sample=True) as tracer:\n    for step in tracer.iter[:5]:\n        h = LAYERS[0].output\n        n = sum(range(400_000))\n    ids = tracer.result.save()\na = torch.rand(3).save()";
    for &subject in MODELS {
        let mut sampling = owned(subject.session_job(&named(subject, sampled)), "long");
        sampling.limits.fuel = 20_000_000;
        assert_all_as_alone(subject, &[long(subject, source), sampling], &|| job(subject, "s", "Hi", short), "random");
    }
}

#[test]
fn s15_slow_operations_of_few_steps_are_interrupted() {
    // No processor sorts as many numbers in two slices, and no program of these has as many steps as one.
    let source = "h = LAYERS[0].output\nx = torch.rand(1 << 20, device='cpu')\nfor turn in range(12):\n    x = x.sort(descending=turn % 2 == 0)[0]\nn = x[0].clone().save()";
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        let subject = &Subject { engine: &|| Box::new(interleaver(name, DType::Float32)), ..*subject };
        let long = long(subject, source);
        assert_all_as_alone(subject, &[long], &|| job(subject, "s", "Hi", "out = HEAD.output.save()"), "sorting");
    }
}

#[test]
fn s15_traces_of_a_session_that_takes_long_still_share_passes() {
    let source = "n = 0\nfor turn in range(50):\n    n += sum(range(25_000))\nfound = nnsight.save([])\nfor turn in range(40):\n    with model.trace('The tower'):\n        found.append(LAYERS[1].output[0, -1])";
    for &subject in MODELS {
        let mut session = owned(subject.session_job(&named(subject, source)), "long");
        session.limits.fuel = 20_000_000;
        let (long, _) = beside(subject, &[session], &|| job(subject, "s", "Hi", "out = HEAD.output.save()"));
        saved(&long[0]);
        let usage = &long[0].usage;
        assert!(usage.forwards == 40 && usage.shared >= 40 * 40, "each of 40 traces was in one pass with all others");
    }
}

#[test]
fn a_lane_that_is_dropped_half_way_leaves_the_thread_as_it_was() {
    let recording = "h = LAYERS[1].output\nwith torch.no_grad():\n    a = torch.ones(1 << 20)\n    LONG\nwith HEAD.output.sum().backward():\n    g = h.grad.save()";
    let plain = "h = LAYERS[1].output\nLONG\nout = HEAD.output.save()";
    let derives = "h = LAYERS[1].output\nprint(h.requires_grad, torch.is_grad_enabled())\nwith HEAD.output.sum().backward():\n    g = h.grad.clone().save()";
    for &subject in MODELS {
        let short = || job(subject, "short", "Hello", derives);
        let expected = subject.outcomes(vec![short()]).remove(0);
        let mut engine = (subject.engine)();
        for source in [recording, plain, recording] {
            engine.submit(long(subject, source));
        }
        for _ in 0..4 {
            engine.step();
        }
        assert!(!engine.idle());
        drop(engine);
        let found = subject.outcomes(vec![short()]).remove(0);
        assert_eq!(found.printed, expected.printed);
        assert_same_bits(&found, &expected, "after lanes were dropped");
    }
}
