//! What jobs of different tenants that share a forward pass can learn of each other, and do to each other: nothing.
//!
//! Tests are named by the rows of the threat table that they show: S1 (reading rows) to S16 (weights).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "isolation/cancelled.rs"]
mod cancelled;
#[path = "isolation/lanes.rs"]
mod lanes;
#[path = "isolation/long.rs"]
mod long;
#[path = "isolation/shares.rs"]
mod shares;
#[path = "isolation/swaps.rs"]
mod swaps;
#[path = "isolation/tags.rs"]
mod tags;
#[path = "isolation/views.rs"]
mod views;

use engine::conformance::{self, Outcome, Subject, owned, tensor};
use engine::{Event, Fault, Job};
use fastrand::Rng;
use program::{Datum, Function, Saved, TensorData};

#[path = "shared/engine.rs"]
mod shared;
use shared::engine;

const GPT2: Subject<'_> = Subject { engine: &|| engine("tiny-gpt2"), ..models::testing::GPT2 };
const LLAMA: Subject<'_> = Subject { engine: &|| engine("tiny-llama"), ..models::testing::LLAMA };

const WINDOWS: Subject<'_> = Subject { engine: &|| engine("tiny-gemma3"), ..models::testing::WINDOWS };
const EXPERTS: Subject<'_> = Subject { engine: &|| engine("tiny-qwen3-moe"), ..models::testing::EXPERTS };

/// On what stands for a GPU the two that differ most: what the others add is not the device's.
const MODELS: &[&Subject<'_>] = if shared::ON_GPU { &[&GPT2, &EXPERTS] } else { &[&GPT2, &LLAMA, &WINDOWS, &EXPERTS] };
/// The folders of [`MODELS`].
const NAMES: &[&str] = if shared::ON_GPU {
    &["tiny-gpt2", "tiny-qwen3-moe"]
} else {
    &["tiny-gpt2", "tiny-llama", "tiny-gemma3", "tiny-qwen3-moe"]
};

/// What GPT-2 and the others call differently.
fn named(subject: &Subject<'_>, source: &str) -> String {
    let names = if subject.layers == LLAMA.layers {
        [
            ("ATTN", "self_attn"),
            ("FIRST", "input_layernorm"),
            ("EMBED", "model.model.embed_tokens"),
            ("NORM", "model.model.norm"),
        ]
    } else {
        [("ATTN", "attn"), ("FIRST", "ln_1"), ("EMBED", "model.transformer.wte"), ("NORM", "model.transformer.ln_f")]
    };
    names.iter().fold(format!("import torch\n{source}"), |source, (name, own)| source.replace(name, own))
}

/// A job of a tenant that traces one text.
fn job(subject: &Subject<'_>, tenant: &str, text: &str, source: &str) -> Job {
    owned(subject.job(text, Function::Call, &named(subject, source), &[]), tenant)
}

fn generation(subject: &Subject<'_>, tenant: &str, text: &str, source: &str, kwargs: &[(&str, i64)]) -> Job {
    owned(subject.job(text, Function::Generate, &named(subject, source), kwargs), tenant)
}

fn saved(outcome: &Outcome) -> &Saved {
    outcome.end.as_ref().unwrap_or_else(|failure| panic!("{}", failure.message))
}

fn floats(data: &TensorData) -> Vec<f32> {
    data.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Checks that two results agree: names, shapes and types exactly, floats to 1e-4 of the tensor's largest.
fn assert_near(found: &Outcome, expected: &Outcome, context: &str) {
    assert_eq!(found.printed, expected.printed, "{context}");
    let (found, expected) = match (&found.end, &expected.end) {
        (Ok(found), Ok(expected)) => (found, expected),
        (Err(found), Err(expected)) => return assert_eq!(found.message, expected.message, "{context}"),
        (found, expected) => panic!("{context}: {found:?} where alone it is {expected:?}"),
    };
    assert_eq!(conformance::names(found), conformance::names(expected), "{context}");
    let (found, expected) = (conformance::flat(found), conformance::flat(expected));
    assert_eq!(found.len(), expected.len(), "{context}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((&found.shape, found.dtype), (&expected.shape, expected.dtype), "{context}");
        if found.dtype != program::DType::Float32 {
            assert_eq!(found.bytes, expected.bytes, "{context}");
            continue;
        }
        let expected = floats(expected);
        let largest =
            expected.iter().filter(|number| number.is_finite()).fold(1.0, |most: f32, number| most.max(number.abs()));
        for (found, expected) in floats(found).into_iter().zip(expected) {
            let near = (found - expected).abs() <= 1e-4 * largest;
            assert!(
                near || found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                "{context}: {found} where alone it is {expected}"
            );
        }
    }
}

/// Runs jobs together, and checks that each gives what it gives alone.
fn assert_each_as_alone(subject: &Subject<'_>, jobs: &dyn Fn() -> Vec<Job>, context: &str) -> Vec<Outcome> {
    let together = subject.outcomes(jobs());
    for (place, found) in together.iter().enumerate() {
        let own = jobs().swap_remove(place);
        let expected = subject.outcomes(vec![own]).remove(0);
        assert_near(found, &expected, &format!("{context}, job {place}"));
    }
    together
}

/// A prompt of some words.
fn prompt(dice: &mut Rng) -> String {
    const WORDS: [&str; 8] = ["The", " tower", " of", " Paris", " is", " old", " and", " tall"];
    let length = 1 + dice.usize(..9);
    (0..length).map(|_| WORDS[dice.usize(..WORDS.len())]).collect()
}

/// Ways to write `TAG`, in the order in which the sites come.
const WRITES: [&str; 24] = [
    "EMBED.output[:] = TAG",
    "LAYERS[0].input[:, -1] = TAG",
    "x = LAYERS[0].input\nLAYERS[0].input = torch.full_like(x, TAG)",
    "x = LAYERS[0].FIRST.output\nx[...] = TAG",
    "LAYERS[0].ATTN.output[0][:] = TAG",
    "a = LAYERS[0].ATTN.output\nLAYERS[0].ATTN.output = (torch.full_like(a[0], TAG), a[1])",
    "LAYERS[0].mlp.input[:, 0] = TAG",
    "LAYERS[0].mlp.output.fill_(TAG)",
    "LAYERS[0].mlp.output.view(-1)[:7] = TAG",
    "LAYERS[0].output.transpose(1, 2)[:, 3] = TAG",
    "LAYERS[0].output.mT[:, :2].fill_(TAG)",
    "LAYERS[0].output.flatten(0, 1)[-1] = TAG",
    "x = LAYERS[0].output\nx.index_put_((torch.tensor([0]), torch.tensor([-1])), torch.tensor(TAG))",
    "x = LAYERS[0].output\nx.copy_(torch.full_like(x, TAG))",
    "LAYERS[0].output += TAG",
    "x = LAYERS[0].output\nx += TAG",
    "LAYERS[0].output = LAYERS[0].output * 0 + TAG",
    "LAYERS[0].output[:, :, ::2] = TAG",
    "x = LAYERS[0].output\nx[x == x] = TAG",
    "torch.relu_(LAYERS[0].output).add_(TAG)",
    "x = LAYERS[0].output\nx.data.expand(1, *x.shape)[0].squeeze(0).unflatten(-1, (2, -1)).fill_(TAG)",
    "LAYERS[1].skip(LAYERS[1].input * 0 + TAG)",
    "NORM.output[:] = TAG",
    "x = HEAD.output\nx[:, -1] = TAG",
];

/// What of each is saved then.
const READS: &str = "
if LATE < 1:
    mid = LAYERS[1].input.clone().save()
    attended = LAYERS[1].ATTN.output[0].clone().save()
    neurons = LAYERS[1].mlp.output.clone().save()
if LATE < 2:
    whole = LAYERS[2].output.clone().save()
    view = LAYERS[3].output.save()
if LATE < 3:
    normed = NORM.output.save()
last = HEAD.output[:, -1].save()
logits = HEAD.output.save()
print(last.abs().max().item() > 1e30, logits.shape)
result = tracer.result
keys = result.past_key_values.layers[1].keys.save()
record = result.logits.save()";

#[test]
fn s1_s2_no_tag_of_another_job_shows_anywhere_and_each_gives_what_it_gives_alone() {
    let mut dice = Rng::with_seed(20_261_123);
    println!("seed {}", dice.get_seed());
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        for round in 0..3 {
            let crowd: Vec<(String, String, f32)> = (0..10)
                .map(|place| {
                    // Large enough to be told from what the model computes, and exact in float32.
                    let tag = 1_048_576.0 + 4096.0 * place as f32;
                    let which = dice.usize(..WRITES.len());
                    let late = match which {
                        0..=20 => 0,
                        21 => 1,
                        22 => 2,
                        _ => 3,
                    };
                    let source = format!("{}{READS}", WRITES[which]).replace("LATE", &late.to_string());
                    (prompt(&mut dice), source.replace("TAG", &format!("{tag:?}")), tag)
                })
                .collect();
            let jobs = || -> Vec<Job> {
                let one = |(place, (text, source, _)): (usize, &(String, String, f32))| {
                    job(subject, &format!("tenant {place}"), text, source)
                };
                crowd.iter().enumerate().map(one).collect()
            };
            let outcomes = assert_each_as_alone(subject, &jobs, &format!("round {round} of {}: {crowd:#?}", name));
            for (place, outcome) in outcomes.iter().enumerate() {
                for (other, (_, _, tag)) in crowd.iter().enumerate().filter(|(other, _)| *other != place) {
                    let seen = conformance::flat(saved(outcome)).iter().any(|data| floats(data).contains(tag));
                    assert!(!seen, "job {place} sees the tag of job {other}: {crowd:#?}");
                }
                let (_, source, tag) = &crowd[place];
                let own = conformance::flat(saved(outcome)).iter().any(|data| floats(data).contains(tag));
                assert!(own || !source.contains("x[:, -1] ="), "the own tag shows");
            }
        }
    }
}

#[test]
fn s2_every_kind_of_write_works_as_alone_in_company_of_every_other() {
    for &subject in MODELS {
        let jobs = || -> Vec<Job> {
            let one = |(place, write): (usize, &&str)| {
                let late = match place {
                    0..=20 => "0",
                    21 => "1",
                    22 => "2",
                    _ => "3",
                };
                let source = format!("{write}{READS}").replace("TAG", "1048576.0").replace("LATE", late);
                job(subject, &format!("tenant {place}"), if place % 2 == 0 { "The tower of" } else { "Hello" }, &source)
            };
            WRITES.iter().enumerate().map(one).collect()
        };
        assert_each_as_alone(subject, &jobs, "writes");
    }
}

#[test]
fn s2_a_value_of_another_shape_or_type_is_its_own_jobs_affair() {
    let odd = [
        "x = LAYERS[0].output\nLAYERS[0].output = torch.cat([x, x], 1)\nout = HEAD.output.save()",
        "LAYERS[0].output = LAYERS[0].output[:, :1]\nout = HEAD.output.save()",
        "LAYERS[0].output = LAYERS[0].output[..., :5]\nout = HEAD.output.save()",
        "LAYERS[0].output = LAYERS[0].output[0]\nout = HEAD.output.save()",
        "x = LAYERS[0].output\nLAYERS[0].output = x.double()\nout = LAYERS[1].input.save()",
        "x = LAYERS[0].output\nLAYERS[0].output = x.to(torch.complex64)\nout = LAYERS[1].input.save()",
        "LAYERS[0].output = (LAYERS[0].output,)\nout = HEAD.output.save()",
        "LAYERS[0].output = None\nout = HEAD.output.save()",
        "LAYERS[0].output = torch.zeros(0)\nout = LAYERS[1].input.save()",
        "x = LAYERS[0].input\nLAYERS[0].skip(torch.cat([x, x], 1))\nout = LAYERS[1].input.save()",
        "x = LAYERS[0].input\nLAYERS[0].input = x[:, :1]\nout = LAYERS[1].input.save()",
        "LAYERS[0].mlp.output = LAYERS[0].mlp.output[:, :1]\nout = LAYERS[1].input.save()",
        "x = HEAD.output\nHEAD.output = x[:, :1]\nout = tracer.result.logits.save()",
    ];
    let good = [
        "x = LAYERS[0].output\nLAYERS[0].output = x * 2\nout = LAYERS[1].input.save()",
        "x = LAYERS[0].input\nLAYERS[0].skip(x * 2)\nout = LAYERS[1].input.save()",
        "out = LAYERS[1].input.save()\nlogits = HEAD.output.save()",
        "LAYERS[0].output[:, -1] = 3\nout = LAYERS[1].input.save()\nlogits = HEAD.output.save()",
    ];
    for &subject in MODELS {
        for odd in odd {
            for good in good {
                let jobs = || {
                    vec![
                        job(subject, "first", "The tower of Paris", good),
                        job(subject, "odd", "Hello there", odd),
                        job(subject, "last", "The tower is tall", good),
                        job(subject, "last of all", "Helix", good),
                    ]
                };
                assert_each_as_alone(subject, &jobs, &format!("{odd}\nbeside\n{good}"));
            }
        }
    }
}

/// A block that looks at some sites, in the order in which they come, and does something to each.
fn random_block(dice: &mut Rng) -> String {
    const SITES: [&str; 7] = [
        "LAYERS[AT].input",
        "LAYERS[AT].FIRST.output",
        "LAYERS[AT].ATTN.output[0]",
        "LAYERS[AT].mlp.input",
        "LAYERS[AT].mlp.output",
        "LAYERS[AT].output",
        "LAYERS[AT].output",
    ];
    const DEEDS: [&str; 10] = [
        "x",
        "x[:, POSITION] += 2",
        "x[:, -1] = x[:, 0] * 3",
        "x.mul_(1.5)",
        "SITE = x * 2",
        "SITE = torch.roll(x, 1, -1)",
        "x.view(-1)[::3] = 1",
        "kept.append(x.clone())",
        "kept.append(x)",
        "x[:] = kept[-1] if kept and kept[-1].shape == x.shape else x",
    ];
    let mut lines = vec!["kept = nnsight.save([])".to_owned()];
    for layer in 0..4 {
        for (place, site) in SITES.iter().enumerate() {
            if dice.usize(..6) > 0 {
                continue;
            }
            let site = site.replace("AT]", &format!("{layer}]"));
            let deeds = if place == 2 { [0, 1, 2, 3, 6, 7, 8, 9][dice.usize(..8)] } else { dice.usize(..DEEDS.len()) };
            let deed = DEEDS[deeds].replace("SITE", &site).replace("POSITION", &dice.usize(..2).to_string());
            lines.push(format!("x = {site}\n{deed}"));
        }
    }
    let end = [
        "out = HEAD.output.save()",
        "out = HEAD.output[:, -1].save()",
        "out = tracer.result.logits.save()",
        "tracer.stop()",
        "out = NORM.output.clone().save()",
    ];
    lines.push(end[dice.usize(..end.len())].to_owned());
    lines.join("\n")
}

#[test]
fn s1_s5_random_programs_give_what_they_give_alone_and_from_rows_that_are_kept() {
    let mut dice = Rng::with_seed(71);
    println!("seed {}", dice.get_seed());
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        for round in 0..8 {
            let crowd: Vec<(String, String)> = (0..8)
                .map(|place| {
                    let text = if place % 2 == 0 { "The tower of Paris".to_owned() } else { prompt(&mut dice) };
                    (text, random_block(&mut dice))
                })
                .collect();
            let jobs = || -> Vec<Job> {
                let one = |(place, (text, source)): (usize, &(String, String))| {
                    job(subject, &format!("tenant {}", place % 3), text, source)
                };
                crowd.iter().enumerate().map(one).collect()
            };
            assert_each_as_alone(subject, &jobs, &format!("round {round} of {}: {crowd:#?}", name));
        }
    }
}

#[test]
fn s2_a_write_shows_in_what_was_seen_before_the_pass_went_on_with_a_copy_of_a_copy() {
    // The first's and the last's rows come again, and are computed whole from the last layer on; the second assigns a
    // value between. So what the third sees at the end of one layer is copied twice before the next.
    let blocks = [
        ("a", "The tower of Paris", "LAYERS[1].output[:, 1] = 1\nx = LAYERS[3].FIRST.output\ntracer.stop()"),
        ("b", "The tower of Paris", "x = LAYERS[2].output\nLAYERS[2].output = x * 2\nout = HEAD.output.save()"),
        (
            "c",
            "The old tower",
            "kept = LAYERS[2].output.save()\nx = LAYERS[3].input\nx.view(-1)[::3] = 1\nout = HEAD.output.save()",
        ),
        (
            "a",
            "The tower of Paris",
            "x = LAYERS[2].mlp.input\nx = LAYERS[3].ATTN.output[0]\nx += 1\nout = HEAD.output.save()",
        ),
    ];
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        let jobs = || blocks.map(|(tenant, text, source)| job(subject, tenant, text, source)).into();
        assert_each_as_alone(subject, &jobs, name);
    }
}

#[test]
fn s1_steps_of_generation_and_traces_of_sessions_see_their_own_rows_only() {
    let steps = "seen = nnsight.save([])\nfor step in tracer.iter[:3]:\n    x = LAYERS[1].output\n    seen.append(x.clone())\n    LAYERS[2].output[:] = TAG\n    seen.append(HEAD.output[:, -1])\nids = tracer.result.save()";
    let session = "found = nnsight.save([])\nfor turn in range(3):\n    with model.trace('The tower of'):\n        LAYERS[turn].output[:, -1] = TAG\n        found.append(HEAD.output[0, -1])";
    for &subject in MODELS {
        let jobs = || -> Vec<Job> {
            let tag = |source: &str, tag: f32| named(subject, &source.replace("TAG", &format!("{tag:?}")));
            vec![
                generation(subject, "a", "The tower", &tag(steps, 1_048_576.0), &[("max_new_tokens", 3)]),
                job(subject, "b", "The tower of", &tag("LAYERS[1].output += TAG\nx = HEAD.output.save()", 2_097_152.0)),
                owned(subject.session_job(&tag(session, 3_145_728.0)), "c"),
                generation(subject, "d", "Helix of Paris", &tag(steps, 4_194_304.0), &[("max_new_tokens", 3)]),
                owned(subject.session_job(&tag(session, 5_242_880.0)), "e"),
                generation(
                    subject,
                    "f",
                    "Hello",
                    &tag(
                        "for step in tracer.iter[1:2]:\n    LAYERS[1].output += TAG\nids = tracer.result.save()",
                        6_291_456.0,
                    ),
                    &[("max_new_tokens", 4)],
                ),
            ]
        };
        assert_each_as_alone(subject, &jobs, "generation and sessions");
    }
}

#[test]
fn s2_what_a_job_skips_leaves_nothing_of_it_behind() {
    let source = "for step in tracer.iter[:1]:\n    LAYERS[1].skip(LAYERS[1].input)\nids = tracer.result.save()";
    let other = "for step in tracer.iter[:3]:\n    x = HEAD.output\nids = tracer.result.save()";
    for &subject in MODELS {
        let jobs = || {
            vec![
                generation(subject, "a", "The tower of Paris", source, &[("max_new_tokens", 4)]),
                generation(subject, "b", "Hello", other, &[("max_new_tokens", 4)]),
                job(
                    subject,
                    "c",
                    "The old tower",
                    "LAYERS[2].ATTN.skip((LAYERS[2].ATTN.input, None))\nkeys = tracer.result.past_key_values.layers[2].keys\nprint(keys is None)",
                ),
                job(subject, "d", "The old tower", "keys = tracer.result.past_key_values.layers[2].keys.save()"),
            ]
        };
        assert_each_as_alone(subject, &jobs, "skips");
    }
}

#[test]
fn s3_axes_of_one_size_are_told_apart() {
    // Four rows of four tokens, on a model of four heads and four layers, with attention weights `[4, 4, 4, 4]`.
    let block = "own.append(LAYERS[1].ATTN.output[1].clone())\n        LAYERS[2].input[:, 1] = PLACE + 0.5\n        own.append(LAYERS[3].output.clone())\n        own.append(HEAD.output[:, 2])";
    let texts: Vec<String> = (0..4).map(|row| format!("[[{row}, {}, 7, {}]]", row + 20, 90 - row)).collect();
    for &subject in MODELS {
        let eager = |job: Job| {
            let mut job = job;
            job.program.env.attn_implementation = Some("eager".into());
            job
        };
        let invoke = |text: &str, place: usize| {
            let block = block.replace("own", "outs[PLACE]").replace("PLACE", &place.to_string());
            format!("    with tracer.invoke(torch.tensor({text})):\n        {block}\n")
        };
        let all: String = texts.iter().enumerate().map(|(place, text)| invoke(text, place)).collect();
        let source =
            |invokes: &str| named(subject, &format!("outs = nnsight.save([[], [], [], []])\nif True:\n{invokes}"));
        let jobs = |tenant: &str| owned(eager(subject.job("", Function::Call, &source(&all), &[])), tenant);
        // The same again for another tenant, and somebody without attention weights.
        let sdpa = job(subject, "c", "The tower is", "print(LAYERS[1].ATTN.output[1] is None)");
        let together = subject.outcomes(vec![jobs("a"), sdpa, jobs("b")]);
        assert_eq!(together[1].printed, ["True"]);
        for outcome in [&together[0], &together[2]] {
            let found = conformance::flat(saved(outcome));
            assert_eq!(found.len(), 12);
            for (place, text) in texts.iter().enumerate() {
                let own = source(&invoke(text, place));
                let alone = subject.outcomes(vec![eager(subject.job("", Function::Call, &own, &[]))]).remove(0);
                let alone = conformance::flat(saved(&alone));
                assert_eq!(alone[0].shape, [1, 4, 4, 4], "the test needs rows, heads and positions of one number");
                for (found, alone) in found[3 * place..3 * place + 3].iter().zip(&alone) {
                    assert_eq!(found.shape, alone.shape);
                    let near =
                        floats(found).iter().zip(floats(alone)).all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(1.0));
                    assert!(near, "row {place}");
                }
            }
        }
    }
}

#[test]
fn s4_bits_do_not_depend_on_what_neighbours_compute() {
    let good = "a = LAYERS[0].ATTN.output[0].clone().save()\nb = LAYERS[2].output.clone().save()\nlast = HEAD.output[:, -1].save()\nout = HEAD.output.save()\nkeys = tracer.result.past_key_values.layers[3].values.save()";
    let values = ["0.0", "1.0", "float('nan')", "float('inf')", "-float('inf')", "3e38", "1e-45"];
    for &subject in MODELS {
        let projection = if subject.layers == LLAMA.layers { "k_proj" } else { "c_attn" };
        let run = |value: &str| {
            let write = |site: &str| format!("{site}[:] = {value}\nout = HEAD.output.save()");
            let jobs = vec![
                job(subject, "n", "The tower of Paris", &write(&format!("LAYERS[0].ATTN.{projection}.output"))),
                job(subject, "good", "The old tower", good),
                job(subject, "m", "Hello", &write("LAYERS[1].mlp.output")),
                job(
                    subject,
                    "o",
                    "tall and tall",
                    &format!("LAYERS[0].output[:, 0] = {value}\nHEAD.output[:] = {value}\nout = HEAD.output.save()"),
                ),
                job(subject, "p", "Helix", &write("EMBED.output")),
                generation(subject, "q", "The", "ids = tracer.result.save()", &[("max_new_tokens", 2)]),
            ];
            let outcomes = subject.outcomes(jobs);
            let own = saved(&outcomes[1]);
            ["a", "b", "last", "out", "keys"].map(|name| tensor(own, name).bytes)
        };
        let expected = run(values[0]);
        for value in &values[1..] {
            assert!(run(value) == expected, "bits differ beside {value} in {}", subject.layers);
        }
    }
}

#[test]
fn s7_edits_stay_in_their_job_and_nothing_kept_crosses_tenants() {
    let read = "mid = LAYERS[2].output.clone().save()\nout = HEAD.output.save()\nkeys = tracer.result.past_key_values.layers[1].keys.save()";
    let edit = format!("LAYERS[0].output[:, 1] = 1048576.0\n{read}");
    let text = "The tower of Paris is tall";
    for &subject in MODELS {
        let expected = subject.outcomes(vec![job(subject, "a", text, read)]).remove(0);
        let edited = subject.outcomes(vec![job(subject, "a", text, &edit)]).remove(0);
        let mut engine = (subject.engine)();
        let mut run = |jobs: Vec<Job>| conformance::outcomes(engine.as_mut(), jobs);
        assert_eq!(run(vec![job(subject, "a", text, &edit)])[0].usage.forks, 0);
        let again =
            run(vec![job(subject, "a", text, &edit), job(subject, "b", text, read), job(subject, "a", text, read)]);
        assert_eq!(
            again.iter().map(|outcome| outcome.usage.forks).collect::<Vec<_>>(),
            [1, 0, 1],
            "rows are kept by tenant"
        );
        for (found, expected) in again.iter().zip([&edited, &expected, &expected]) {
            assert_near(found, expected, "the same tokens");
        }
        // Whoever comes later gets what was computed of unedited rows; a new tenant computes it.
        let later =
            run(vec![job(subject, "c", text, read), job(subject, "a", text, read), job(subject, "b", text, &edit)]);
        assert_eq!(later.iter().map(|outcome| outcome.usage.forks).collect::<Vec<_>>(), [0, 1, 1]);
        for (found, expected) in later.iter().zip([&expected, &expected, &edited]) {
            assert_near(found, expected, "later");
        }
        // What a job writes to all that it can see of a kept row stays its own.
        let vandal = "LAYERS[0].output.zero_()\nLAYERS[3].output.fill_(7)\nr = tracer.result\nfor layer in range(4):\n    r.past_key_values.layers[layer].keys.zero_()\n    r.past_key_values.layers[layer].values.zero_()\nr.logits.zero_()";
        let _ = run(vec![
            job(subject, "a", text, vandal),
            job(subject, "a", text, "r = tracer.result.past_key_values.layers[2].keys.zero_()"),
        ]);
        assert_near(&run(vec![job(subject, "a", text, read)])[0], &expected, "after a vandal");
    }
}

#[test]
fn s9_what_fails_in_one_job_fails_there_only() {
    let good = "LAYERS[1].output[:, -1] *= 2\nout = HEAD.output.save()";
    let bad = [
        "LAYERS[0].output[0, 10 ** 6]",
        "x = LAYERS[0].output[:, torch.tensor([99])]",
        "torch.nn.functional.embedding(torch.tensor([10 ** 9]), LAYERS[0].output[0])",
        "x = LAYERS[0].output.gather(1, torch.full((1, 1, 1), 1 << 40))",
        "x = LAYERS[0].output.index_select(0, torch.tensor([-5]))",
        "x = LAYERS[0].output.new_ones(1 << 40)",
        "x = LAYERS[0].output.expand(1 << 20, -1, -1).clone().repeat(1 << 20, 1, 1)",
        "x = torch.zeros(1 << 62, 1 << 62)",
        "x = LAYERS[0].output @ torch.ones(3, 3)",
        "torch.linalg.inv(LAYERS[0].output[0, :1].T @ LAYERS[0].output[0, :1] * 0)",
        "LAYERS[0].output = LAYERS[0].output[..., :5]\nx = HEAD.output",
        "LAYERS[0].ATTN.output = 5\nx = HEAD.output",
        "x = LAYERS[0].output.view(-1).scatter_(0, torch.tensor([1 << 50]), 1.0)",
        "x = torch.bincount(torch.tensor([1 << 40]))",
        "x = torch.arange(1 << 50)",
        "x = torch.multinomial(torch.tensor([-1.0, 2.0]), 1)",
        "x = torch.one_hot if False else torch.nn.functional.one_hot(torch.tensor([1 << 45]))",
        "raise SystemExit(1)",
        "raise KeyboardInterrupt()",
        "x = 'a' * (1 << 60)",
        "x = 10 ** (10 ** 9)",
    ];
    for &subject in MODELS {
        let expected = subject.outcomes(vec![job(subject, "good", "The tower of", good)]).remove(0);
        let mut engine = (subject.engine)();
        for bad in bad {
            let jobs = vec![
                job(subject, "bad", "Hello there", bad),
                job(subject, "good", "The tower of", good),
                job(subject, "bad", "Hello there", bad),
            ];
            let outcomes = conformance::outcomes(engine.as_mut(), jobs);
            assert_near(&outcomes[1], &expected, bad);
            for outcome in [&outcomes[0], &outcomes[2]] {
                let failure = outcome.end.as_ref().err().unwrap_or_else(|| panic!("{bad} does not fail"));
                assert!(matches!(failure.fault, Fault::User | Fault::Limit), "{bad}: {failure:?}");
                assert!(
                    failure.message.contains("Error")
                        || failure.message.contains("Exit")
                        || failure.message.contains("Interrupt"),
                    "{bad}: {}",
                    failure.message
                );
            }
        }
    }
}

#[test]
fn s10_results_hold_no_memory_of_others() {
    let pattern = "for size in SIZES:\n    x = [torch.full((size,), 1048576.0) for _ in range(8)]\n    x = None\nLAYERS[0].output[:] = 1048576.0\nout = HEAD.output.save()";
    let scans = [
        "torch.empty(size)",
        "torch.empty(2, size // 2)",
        "torch.empty_like(torch.ones(size))",
        "torch.ones(1).new_empty(size)",
        "torch.empty_strided((size,), (1,))",
        "torch.Tensor(size)",
        "torch.FloatTensor(size)",
        "torch.empty_permuted((2, size // 2), (1, 0))",
        "torch.ones(1).new(size)",
        "torch.ones(1).resize_(size)",
        "torch.from_numpy(np.empty(size, dtype=np.float32))",
        "torch.from_numpy(np.empty_like(np.ones(size, dtype=np.float32)))",
        "torch.nn.Parameter(torch.empty(size)).data",
        "torch.nn.Linear(1, size, bias=False).weight.detach() * 0",
        "torch.ones(size).new_empty_strided((size,), (1,))",
        "torch.empty_quantized(torch.ones(1), [size])",
        "torch.ones(size // 2).set_(torch.ones(1))",
        "torch.ones(1).storage().resize_(size)",
    ];
    let scan = |expression: &str| {
        format!(
            "import numpy as np\nx = LAYERS[0].output\nfor size in SIZES:\n    for _ in range(8):\n        try:\n            found = {expression}\n        except (AttributeError, TypeError, NotImplementedError, RuntimeError) as error:\n            assert 'server' in str(error) or 'meta' in str(error), str(error)\n            continue\n        assert found.abs().sum().item() == 0, size"
        )
    };
    let sizes = "[16, 512, 4 * 64, 40000, 1000000]";
    let jobs: Vec<Job> = scans
        .iter()
        .enumerate()
        .flat_map(|(place, expression)| {
            let writer = job(&GPT2, &format!("writer {place}"), "The tower of Paris", &pattern.replace("SIZES", sizes));
            let reader =
                job(&GPT2, &format!("reader {place}"), "Hello there", &scan(expression).replace("SIZES", sizes));
            [writer, reader]
        })
        .collect();
    for (place, outcome) in GPT2.outcomes(jobs).iter().enumerate() {
        assert!(outcome.end.is_ok(), "{}: {:?}", scans[place / 2], outcome.end.as_ref().err());
    }
}

#[test]
fn s11_gradients_of_a_job_do_not_depend_on_traces_and_generation_beside_it() {
    let gradient = "h = LAYERS[1].output\nloss = HEAD.output[:, -1].logsumexp(-1).sum()\nwith loss.backward():\n    g = h.grad.clone().save()";
    for &subject in MODELS {
        let jobs = || {
            vec![
                job(subject, "a", "The tower of Paris", gradient),
                job(subject, "b", "The tower of Paris", "LAYERS[1].output *= 3\nout = HEAD.output.save()"),
                job(subject, "c", "Hello", gradient),
                generation(subject, "d", "The old", "ids = tracer.result.save()", &[("max_new_tokens", 3)]),
            ]
        };
        for outcome in assert_each_as_alone(subject, &jobs, "gradients") {
            saved(&outcome);
        }
    }
}

#[test]
fn s12_random_numbers_are_a_jobs_own() {
    let seeded = "torch.manual_seed(0)\na = torch.randn(3).save()\nx = LAYERS[0].output\nb = torch.randn(3).save()\nx = LAYERS[2].output\nc = torch.zeros(3).uniform_().save()";
    let unseeded =
        "a = torch.randn(3).save()\nx = LAYERS[1].output\nb = torch.rand(2, 2).save()\nc = torch.randperm(9).save()";
    for &subject in MODELS {
        let sample = |tenant: &str, text: &str| {
            let source = "with model.generate('TEXT', max_new_tokens=6, do_sample=True) as tracer:\n    x = LAYERS[0].output\n    ids = tracer.result.save()";
            owned(subject.session_job(&source.replace("TEXT", text)), tenant)
        };
        let jobs = || {
            vec![
                job(subject, "a", "The tower", seeded),
                job(subject, "b", "Hello there, world", unseeded),
                sample("c", "The tower of"),
                job(subject, "d", "Helix", unseeded),
                job(subject, "e", "The", seeded),
                sample("f", "Paris is"),
                sample("c", "The tower of"),
            ]
        };
        let outcomes = assert_each_as_alone(subject, &jobs, "random numbers");
        assert_near(&outcomes[6], &outcomes[2], "the same generation twice");
        assert_eq!(tensor(saved(&outcomes[0]), "a"), tensor(saved(&outcomes[4]), "a"), "one seed, one sequence");
        let first = |place: usize| tensor(saved(&outcomes[place]), "ids");
        assert!(first(2).shape[1] > 6, "the prompt and what was sampled");
    }
}

#[test]
fn s13_equal_names_are_different_values_in_different_jobs() {
    let jobs = || -> Vec<Job> {
        (0..12)
            .map(|place| {
                let source = format!("x = LAYERS[0].output\nout = torch.full((3,), {place}.0).save()\nname = nnsight.save('job {place}')\nrows = nnsight.save([{place}])\nprint('line of', {place})");
                job(&GPT2, &format!("tenant {}", place % 3), "The tower", &source)
            })
            .collect()
    };
    for (place, outcome) in GPT2.outcomes(jobs()).iter().enumerate() {
        let saved = saved(outcome);
        assert_eq!(conformance::names(saved), ["name", "out", "rows"]);
        assert_eq!(floats(&tensor(saved, "out")), [place as f32; 3]);
        assert_eq!(outcome.printed, [format!("line of {place}")]);
        let at = saved.names.iter().find(|(name, _)| name == "name").unwrap().1;
        assert_eq!(saved.heap.get(at), Some(&Datum::Str(format!("job {place}"))));
    }
}

#[test]
fn s15_a_job_of_very_many_invokes_does_not_starve_another() {
    let many = "for _ in range(2000):\n    with tracer.invoke('The tower of Paris is tall and old'):\n        x = LAYERS[3].output";
    let session =
        "for _ in range(40):\n    with model.trace('The tower of Paris'):\n        print(LAYERS[0].output.shape[1])";
    for greedy in [GPT2.job("", Function::Call, many, &[]), GPT2.session_job(session)] {
        let mut engine = (GPT2.engine)();
        engine.submit(owned(greedy, "greedy"));
        let small = job(&GPT2, "small", "Hello", "out = HEAD.output.save()");
        let id = small.id;
        engine.submit(small);
        let steps = (1..=3).find(|_| {
            let done = |event: &Event| matches!(event, Event::Finished(job, ..) if *job == id);
            engine.step().iter().any(done)
        });
        assert!(steps.is_some(), "three passes were not enough for one row");
    }
}

/// Writes to every weight in every way that a program can spell, and reads what came of it.
const VANDALS: [&str; 44] = [
    "w += 1",
    "w[0] = 5",
    "w[...] = 5",
    "w.data[0] = 5",
    "w.data = w * 2",
    "w.T[0] = 5",
    "w.T.fill_(5)",
    "w.mT.zero_()",
    "w.view(-1)[3] = 5",
    "w.flatten()[3] = 5",
    "w.reshape(-1).fill_(5)",
    "w[1:3].mul_(2)",
    "w.detach().zero_()",
    "w.requires_grad_(False).zero_()",
    "w.requires_grad_(True)",
    "w.requires_grad = True",
    "w.grad = torch.ones_like(w)",
    "w.copy_(w * 2)",
    "w.index_put_((torch.tensor([0]),), torch.tensor(5.0))",
    "w.index_fill_(0, torch.tensor([0]), 5)",
    "w.masked_fill_(w == w, 5)",
    "w.scatter_(0, torch.zeros_like(w, dtype=torch.int64), 5.0)",
    "torch.relu_(w)",
    "torch.nn.functional.relu_(w)",
    "torch.nn.functional.relu(w, inplace=True)",
    "torch.nn.functional.dropout(w, 0.5, True, True)",
    "torch.nn.functional.normalize(w, out=w)",
    "torch.add(w, 1, out=w)",
    "torch.zero_(w)",
    "torch.nn.init.zeros_(w)",
    "torch.nn.init.normal_(w)",
    "w.expand(2, *w.shape).fill_(5)",
    "w.unbind()[0].fill_(5)",
    "w.chunk(2)[0].fill_(5)",
    "list(w)[0].fill_(5)",
    "torch.nn.Parameter(w).data.fill_(5)",
    "w.numpy()[0] = 5",
    "torch.from_numpy(w.numpy()).fill_(5)",
    "torch.as_tensor(w).fill_(5)",
    "w.diagonal().fill_(5) if w.dim() == 2 else w.fill_(5)",
    "m.weight = torch.nn.Parameter(w * 0)",
    "setattr(m, 'weight', torch.zeros_like(w))",
    "m.weight.data = w * 0",
    "LAYERS[0].output = w[:1, None].expand_as(LAYERS[0].output).contiguous().fill_(3) if False else w.sum()",
];

#[test]
fn s2_s16_no_program_changes_a_weight() {
    let modules = |subject: &Subject<'_>, name: &str| -> Vec<&'static str> {
        if subject.layers == LLAMA.layers {
            vec![
                "model.model.embed_tokens",
                "LAYERS[0].self_attn.q_proj",
                "LAYERS[1].self_attn.o_proj",
                if name == "tiny-qwen3-moe" { "LAYERS[2].mlp.gate" } else { "LAYERS[2].mlp.gate_proj" },
                "LAYERS[3].input_layernorm",
                "model.model.norm",
                "HEAD",
            ]
        } else {
            vec![
                "model.transformer.wte",
                "model.transformer.wpe",
                "LAYERS[0].attn.c_attn",
                "LAYERS[1].attn.c_proj",
                "LAYERS[2].mlp.c_fc",
                "LAYERS[3].ln_1",
                "model.transformer.ln_f",
                "HEAD",
            ]
        }
    };
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        let all = modules(subject, name);
        let reads: String = all.iter().enumerate().map(|(place, module)| format!("w{place} = {module}.weight.clone().save()\nif getattr({module}, 'bias', None) is not None:\n    b{place} = {module}.bias.clone().save()\n")).collect();
        let digest = || job(subject, "digest", "The tower of Paris", &format!("{reads}out = HEAD.output.save()"));
        let mut engine = (subject.engine)();
        let before = conformance::outcomes(engine.as_mut(), vec![digest()]).remove(0);
        let before = conformance::flat(saved(&before));
        assert!(before.len() > all.len());
        let mut refused = 0;
        let attempts: Vec<Job> = all
            .iter()
            .flat_map(|module| {
                let own = move |vandal: &&str| {
                    let bias = format!(
                        "m = {module}\nw = m.bias if 'ln' in '{module}' else m.weight\n{vandal}\nx = HEAD.output[0, -1]"
                    );
                    job(subject, "vandal", "Hello", &bias)
                };
                VANDALS.iter().map(own)
            })
            .collect();
        for outcome in conformance::outcomes(engine.as_mut(), attempts) {
            if let Err(failure) = outcome.end {
                refused += 1;
                assert_eq!(failure.fault, Fault::User, "{}", failure.message);
            }
        }
        assert!(refused > all.len() * 25, "most attempts are refused, and {refused} were");
        let after = conformance::outcomes(engine.as_mut(), vec![digest()]).remove(0);
        let after = conformance::flat(saved(&after));
        for (place, (before, after)) in before.iter().zip(&after).enumerate() {
            assert_eq!(before.shape, after.shape, "{place}");
            assert!(before.bytes == after.bytes, "value {place} of the digest changed");
        }
    }
}
