//! Whatever neighbours are made of, and wherever a job's rows lie, a pass of one size gives a job the same bits.

use engine::Job;
use engine::conformance::{self, Outcome, Subject, owned};
use fastrand::Rng;
use models::DType;
use models::testing::LLAMA;
use program::Function;

use super::shared::engine_of;
use super::tags::assert_same_bits;
use super::{MODELS, NAMES, floats, generation, job, named, saved};

/// Reads what there is to read, in the order in which it comes. Kernels might read on behind the narrow rows.
const READS: &str = "import torch
before = LAYERS[0].input.clone().save()
attended = LAYERS[0].ATTN.output[0].clone().save()
neurons = LAYERS[1].mlp.output.clone().save()
narrow = LAYERS[1].mlp.output.view(-1, 16)
product = (narrow @ torch.ones(16, 3, dtype=narrow.dtype)).save()
middle = LAYERS[2].output.clone().save()
normed = NORM.output.clone().save()
last = HEAD.output[:, -1].save()
logits = HEAD.output.save()
keys = tracer.result.past_key_values.layers[3].keys.save()
values = tracer.result.past_key_values.layers[1].values.save()";

/// What neighbours put where.
const VALUES: [&str; 9] =
    ["0.0", "1.0", "-1e30", "float('nan')", "float('inf')", "-float('inf')", "3e38", "1e-45", "torch.randn(1)"];
const SITES: [&str; 8] = [
    "EMBED.output",
    "LAYERS[0].input",
    "LAYERS[0].ATTN.PROJECTION.output",
    "LAYERS[1].ATTN.output[0]",
    "LAYERS[1].mlp.output",
    "LAYERS[2].output",
    "NORM.output",
    "HEAD.output",
];

/// A job of a row of random tokens, which looks at the logits, and does harm on the way.
fn neighbour(subject: &Subject<'_>, dice: &mut Rng, place: usize, tokens: usize) -> Job {
    let ids: Vec<String> = (0..tokens).map(|_| (2 + dice.usize(..500)).to_string()).collect();
    let masked = if dice.usize(..6) == 0 {
        format!(", attention_mask=torch.zeros(1, {tokens}, dtype=torch.int64)")
    } else {
        String::new()
    };
    let harm = match dice.usize(..5) {
        0 => String::new(),
        _ => {
            let (site, value) = (SITES[dice.usize(..SITES.len())], VALUES[dice.usize(..VALUES.len())]);
            let part = ["[:]", "[:, -1]", "[..., ::3]"][dice.usize(..3)];
            format!("x = {site}\n    x{part} = {value}\n    ")
        }
    };
    let projection = if subject.layers == LLAMA.layers { "k_proj" } else { "c_attn" };
    let source = format!(
        "with tracer.invoke(torch.tensor([[{}]]){masked}):\n    {harm}logits = HEAD.output.save()",
        ids.join(", ")
    );
    let source = named(subject, &source).replace("PROJECTION", projection);
    owned(subject.job("", Function::Call, &source, &[]), &format!("neighbour {place}"))
}

/// Runs a job at a place among neighbours of so many tokens each.
fn among(subject: &Subject<'_>, own: &dyn Fn() -> Job, place: usize, lengths: &[usize], dice: &mut Rng) -> Outcome {
    let mut jobs: Vec<Job> =
        lengths.iter().enumerate().map(|(place, &tokens)| neighbour(subject, dice, place, tokens)).collect();
    jobs.insert(place, own());
    let outcomes = subject.outcomes(jobs);
    for outcome in &outcomes {
        assert!(outcome.end.is_ok(), "{:?}", outcome.end);
        assert_eq!(
            outcome.usage.shared / outcome.usage.forwards.max(1),
            1 + lengths.len() as u64,
            "all share the pass"
        );
    }
    outcomes.into_iter().nth(place).unwrap()
}

#[test]
fn i2_s4_no_bit_depends_on_what_neighbours_hold_how_long_they_are_and_where_a_row_lies() {
    let mut dice = Rng::with_seed(20_261_129);
    println!("seed {}", dice.get_seed());
    // Equal numbers of tokens, in rows of one token to the longest that a model takes.
    let few: [&[usize]; 4] = [&[3, 7, 1, 12, 5], &[28], &[14, 14], &[1; 28]];
    let odd: [&[usize]; 3] = [&[3, 7, 1, 12, 4], &[27], &[1; 27]];
    let many: [&[usize]; 3] = [&[250], &[125, 125], &[50; 5]];
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        // Many processors are slow at bfloat16.
        for (dtype, rounds) in [(DType::Float32, 24), (DType::BFloat16, 5)] {
            let engine = || engine_of(name, dtype);
            let subject = &Subject { engine: &engine, ..*subject };
            let own = || job(subject, "own", "The old tower", READS);
            for sizes in [&few[..], &odd[..], &many[..]] {
                let expected = among(subject, &own, 0, sizes[0], &mut dice);
                for round in 0..rounds {
                    let lengths = sizes[dice.usize(..sizes.len())];
                    let place = dice.usize(..lengths.len() + 1);
                    let found = among(subject, &own, place, lengths, &mut dice);
                    let context = format!("round {round} of {}, at {place} of {lengths:?}", subject.layers);
                    assert_same_bits(&found, &expected, &context);
                }
            }
        }
    }
}

#[test]
fn i2_s4_s12_generated_tokens_and_samples_do_not_depend_on_neighbours() {
    let mut dice = Rng::with_seed(20_261_130);
    println!("seed {}", dice.get_seed());
    let sample = "with model.generate('The old tower', max_new_tokens=5, do_sample=True) as tracer:
    steps = nnsight.save([])
    for step in tracer.iter[:5]:
        steps.append(LAYERS[1].output.clone())
        steps.append(HEAD.output[:, -1])
    ids = tracer.result.save()
drawn = torch.rand(3).save()";
    let harm =
        "for step in tracer.iter[:5]:\n    x = SITE\n    x[:] = VALUE\n    torch.rand(5)\nids = tracer.result.save()";
    for &subject in MODELS {
        let mut run = |place: usize| {
            let sites = ["LAYERS[0].output", "LAYERS[2].mlp.output", "LAYERS[3].input"];
            let mut jobs: Vec<Job> = ["Hello there", "The", "Paris is tall and old"]
                .iter()
                .map(|text| {
                    let source = harm
                        .replace("SITE", sites[dice.usize(..3)])
                        .replace("VALUE", VALUES[dice.usize(..VALUES.len())]);
                    // No end token ends a row early, so that every pass is of one size.
                    let kwargs = [("max_new_tokens", 5), ("min_new_tokens", 5)];
                    generation(subject, "neighbour", text, &source, &kwargs)
                })
                .collect();
            jobs.insert(place, owned(subject.session_job(&named(subject, sample)), "own"));
            subject.outcomes(jobs).swap_remove(place)
        };
        let expected = run(0);
        assert!(expected.usage.shared > expected.usage.forwards, "the passes are shared");
        for round in 0..12 {
            let found = run(round % 4);
            assert_same_bits(&found, &expected, &format!("round {round} of {}", subject.layers));
        }
    }
}

#[test]
fn n2_passes_of_any_size_give_numbers_within_the_published_tolerance() {
    // Read as float32, which holds every bfloat16.
    let reads = "state = LAYERS[3].output.float().save()\nlogits = HEAD.output.float().save()";
    let mut dice = Rng::with_seed(20_261_131);
    println!("seed {}", dice.get_seed());
    for (subject, name) in MODELS.iter().copied().zip(NAMES.iter().copied()) {
        let more: &[usize] = &[2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 24, 32, 50, 250];
        for (dtype, tolerance, more) in [(DType::Float32, 1e-4, more), (DType::BFloat16, 2e-2, &[])] {
            let engine = || engine_of(name, dtype);
            let subject = &Subject { engine: &engine, ..*subject };
            let own = || job(subject, "own", "The old tower", reads);
            let values = |outcome: &Outcome| conformance::flat(saved(outcome));
            let alone = values(&subject.outcomes(vec![own()])[0]);
            let (mut worst, mut sizes, mut results) = (0.0_f32, 0, vec![alone.clone()]);
            for tokens in [1, 5, 11, 16, 100].iter().chain(more) {
                for rows in [1, 8] {
                    let found = values(&among(subject, &own, 0, &vec![*tokens; rows], &mut dice));
                    sizes += 1;
                    if !results.contains(&found) {
                        results.push(found.clone());
                    }
                    for (found, alone) in found.iter().zip(&alone) {
                        let (found, alone) = (floats(found), floats(alone));
                        let largest = alone.iter().fold(0.0, |most: f32, number| most.max(number.abs()));
                        let difference = found.iter().zip(&alone).map(|(found, alone)| (found - alone).abs());
                        worst = difference.fold(worst, |worst, difference| worst.max(difference / largest));
                    }
                }
            }
            println!(
                "{} in {dtype:?}: {} results from {sizes} sizes, by up to {worst:.1e} of the largest number apart",
                subject.layers,
                results.len()
            );
            assert!(worst <= tolerance, "{worst} of the largest number");
        }
    }
}
