//! Programs made at random of all operators that users may call: none shows what other jobs have, or had, and what
//! others have changes no bit.

use engine::conformance::{self, Outcome, Subject};
use engine::{Fault, Job};
use fastrand::Rng;
use program::{DType, Saved, TensorData};

use super::{MODELS, job, prompt, saved};

/// The lists of what may be called, by module.
const OPERATORS: &str = include_str!("../../../torch/src/operators.txt");

/// How a function of each listed module is called on `V`, with further arguments for `, ARGS`.
const CALLS: [(&str, &str); 6] = [
    ("torch.Tensor", "V.NAME(ARGS)"),
    ("torch", "torch.NAME(V, ARGS)"),
    ("torch.nn.functional", "torch.nn.functional.NAME(V, ARGS)"),
    ("torch.linalg", "torch.linalg.NAME(V, ARGS)"),
    ("torch.special", "torch.special.NAME(V, ARGS)"),
    ("torch.fft", "torch.fft.NAME(V, ARGS)"),
];

/// Arguments after the first, of which each operator takes some: `W` has `V`'s shape, `I` holds places, `M` truth values.
const ARGUMENTS: [&str; 26] = [
    "",
    "W",
    "0",
    "1",
    "-1",
    "2.5",
    "0, 1",
    "1, -1",
    "-1, 0, 2",
    "W, W",
    "0, I",
    "-1, I",
    "1, I, W",
    "-1, I, W",
    "0, torch.tensor([0]), W",
    "1, torch.tensor([-1, 0]), 3.5",
    "M",
    "M, 1.5",
    "M, W",
    "W.mT",
    "W.shape",
    "(-1,)",
    "2, -1",
    "(torch.tensor([0]), torch.tensor([-1])), torch.tensor(4.0)",
    "8, -1, 3",
    "W.shape[-1:]",
];

/// Ahead of every program: it fills memory with its job's tag, frees it, and keeps what operators give.
const BEFORE: &str = "kept = nnsight.save([])
done = nnsight.save([])
for size in (1, 7, 64, 320, 512, 1024, 4096, 40000, 300000):
    for _ in range(3):
        filled = torch.full((size,), TAG)
        filled = None
def keep(name, found):
    if isinstance(found, torch.Tensor):
        kept.append(found.detach().flatten()[:2000].clone())
        done.append(name)
    elif isinstance(found, (tuple, list)):
        for one in found:
            keep(name, one)
def attempt(name, calls):
    for call in calls:
        try:
            found = call()
        except (TypeError, RuntimeError, ValueError, IndexError, NotImplementedError, AttributeError):
            continue
        keep(name, found)
        return
";

/// A job's program, and what it marks its own numbers with.
#[derive(Clone, Debug)]
struct Marked {
    text: String,
    source: String,
    tag: f32,
}

impl Marked {
    fn random(dice: &mut Rng, operators: &[(&str, String)]) -> Self {
        let mut source = BEFORE.to_owned();
        let sites = [
            ("EMBED.output", 8),
            ("LAYERS[0].output", 14),
            ("LAYERS[1].ATTN.output[0]", 10),
            ("LAYERS[2].mlp.output", 14),
            ("LAYERS[3].input", 10),
            ("HEAD.output", 8),
        ];
        for (site, count) in sites {
            source += &format!(
                "V = {site}\nV[..., ::3] = TAG\nkeep('site', V)\nW = V * 1\nI = torch.zeros_like(V, dtype=torch.int64)\nM = V > 0\n"
            );
            for _ in 0..count {
                let (module, name) = &operators[dice.usize(..operators.len())];
                let call = CALLS.iter().find(|(known, _)| known == module).unwrap().1.replace("NAME", name);
                let mut calls = Vec::new();
                for _ in 0..6 {
                    let arguments = ARGUMENTS[dice.usize(..ARGUMENTS.len())];
                    calls.push(format!("lambda: {}", call.replace("ARGS", arguments).replace(", )", ")")));
                }
                source += &format!("attempt('{module}.{name}', [{}])\n", calls.join(", "));
            }
        }
        source +=
            "keep('logits', tracer.result.logits)\nkeep('values', tracer.result.past_key_values.layers[2].values)";
        let mut marked = Self { text: prompt(dice), source, tag: 0.0 };
        marked.mark(dice);
        marked
    }

    /// Takes a tag with many digits, which no arithmetic makes by chance, and which float32 holds exactly.
    fn mark(&mut self, dice: &mut Rng) {
        self.tag = 1_048_576.0 + dice.usize(..1 << 20) as f32 + 0.125 * (1 + 2 * dice.usize(..4)) as f32;
    }

    fn job(&self, subject: &Subject<'_>, place: usize) -> Job {
        job(subject, &format!("tenant {place}"), &self.text, &self.source.replace("TAG", &format!("{:?}", self.tag)))
    }
}

#[test]
fn s1_s10_random_programs_show_no_tag_of_others_and_no_bit_depends_on_one() {
    let mut dice = Rng::with_seed(20_261_127);
    println!("seed {}", dice.get_seed());
    let operators = operators();
    let mut done: Vec<String> = Vec::new();
    for &subject in MODELS {
        let mut engine = (subject.engine)();
        for round in 0..6 {
            let mut crowd: Vec<Marked> = (0..6).map(|_| Marked::random(&mut dice, &operators)).collect();
            let mut run = |crowd: &[Marked]| {
                let jobs = crowd.iter().enumerate().map(|(place, marked)| marked.job(subject, place)).collect();
                let outcomes = conformance::outcomes(engine.as_mut(), jobs);
                for (place, outcome) in outcomes.iter().enumerate() {
                    check(place, outcome, crowd, &format!("round {round} of {}", subject.layers));
                }
                outcomes
            };
            // Once, that rows are kept by now: how much of them is computed is the same from here on.
            run(&crowd);
            let first = run(&crowd);
            let again: Vec<bool> = first.iter().zip(&run(&crowd)).map(|(one, two)| one.end == two.end).collect();
            crowd.iter_mut().step_by(2).for_each(|marked| marked.mark(&mut dice));
            let second = run(&crowd);
            for (place, (first, second)) in first.iter().zip(&second).enumerate().skip(1).step_by(2) {
                // A few operators of a real GPU give other bits each time, whoever is there.
                if env!("CARGO_CRATE_NAME") == "on_gpu" && mock::is_real() && !again[place] {
                    continue;
                }
                let context = format!("round {round} of {}, job {place}: {:?}", subject.layers, names(first));
                assert_same_bits(first, second, &context);
            }
            done.extend(first.iter().flat_map(names));
        }
    }
    done.sort();
    done.dedup();
    println!("{} of {} operators gave something", done.len(), operators.len());
    assert!(done.len() > 400, "too few operators took part: {}", done.len());
}

/// Checks that a job shows its own tag and nobody else's, in no number and in no bytes of its result.
fn check(place: usize, outcome: &Outcome, crowd: &[Marked], context: &str) {
    let result = match &outcome.end {
        Ok(result) => result,
        // It may have asked for too much; what it was told is all that it gets.
        Err(failure) => {
            assert!(matches!(failure.fault, Fault::User | Fault::Limit), "{context}: {failure:?}");
            return assert!(!crowd.iter().any(|other| failure.message.contains(&other.tag.to_string())), "{context}");
        }
    };
    let numbers: Vec<f64> = conformance::flat(result).iter().flat_map(numbers).collect();
    assert!(numbers.contains(&f64::from(crowd[place].tag)), "{context}: job {place} does not see its own tag");
    let bytes = nnsight::encode_saved(result, false).unwrap();
    for (other, marked) in crowd.iter().enumerate().filter(|(other, _)| *other != place) {
        let tag = f64::from(marked.tag);
        let seen = numbers.iter().any(|number| *number == tag || *number == tag.trunc());
        assert!(!seen, "{context}: job {place} sees the tag {tag} of job {other}\n{}", crowd[place].source);
        let twice = [marked.tag.to_le_bytes(), marked.tag.to_le_bytes()].concat();
        for pattern in [twice, tag.to_le_bytes().to_vec()] {
            let found = bytes.windows(8).any(|window| window == pattern);
            assert!(!found, "{context}: the result of job {place} holds bytes of job {other}");
        }
    }
}

/// Checks that two outcomes are the same to the last bit.
pub fn assert_same_bits(one: &Outcome, two: &Outcome, context: &str) {
    let context = &format!("{context}, {} and {}", one.usage.shapes, two.usage.shapes);
    assert_eq!(one.printed, two.printed, "{context}");
    match (&one.end, &two.end) {
        (Ok(one), Ok(two)) => {
            assert_eq!(conformance::names(one), conformance::names(two), "{context}");
            let (one, two) = (conformance::flat(one), conformance::flat(two));
            assert_eq!(one.len(), two.len(), "{context}");
            let about = |data: &TensorData| (data.dtype, data.shape.clone());
            let mut other = Vec::new();
            for (place, (one, two)) in one.iter().zip(&two).enumerate() {
                assert_eq!(about(one), about(two), "value {place}: {context}");
                let first = one.bytes.iter().zip(&two.bytes).position(|(one, two)| one != two);
                other.extend(first.map(|byte| (place, about(one), byte)));
            }
            assert!(other.is_empty(), "values have other bits from a byte on: {other:?}; {context}");
        }
        (Err(one), Err(two)) => assert_eq!(one, two, "{context}"),
        (one, two) => panic!("{context}: {one:?} and {two:?}"),
    }
}

/// Returns what may be called, by module and name.
fn operators() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut module = "";
    for line in OPERATORS.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => module = name,
            None if module.starts_with("refused") => {}
            None => found.extend(
                line.split_whitespace().map(|entry| (module, entry.split(':').next().unwrap_or(entry).to_owned())),
            ),
        }
    }
    // What stands for a GPU computes this by LAPACK, and lets nobody know where that gave up on a matrix.
    let sound = |name: &str| env!("CARGO_CRATE_NAME") != "on_gpu" || name != "lstsq";
    found.retain(|(_, name)| sound(name));
    found
}

fn names(outcome: &Outcome) -> Vec<String> {
    let Ok(result) = &outcome.end else { return Vec::new() };
    let text = |saved: &Saved, at| match saved.heap.get(at) {
        Some(program::Datum::Str(text)) => Some(text.clone()),
        _ => None,
    };
    let at = result.names.iter().find(|(name, _)| name == "done").unwrap().1;
    let Some(program::Datum::List(items)) = result.heap.get(at) else { return Vec::new() };
    items.iter().filter_map(|item| text(saved(outcome), *item)).collect()
}

/// Reads the numbers of those types that can hold a tag.
fn numbers(data: &TensorData) -> Vec<f64> {
    let four = || data.bytes.as_chunks::<4>().0.iter();
    let eight = || data.bytes.as_chunks::<8>().0.iter();
    match data.dtype {
        DType::Float32 | DType::Complex64 => four().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
        DType::Float64 | DType::Complex128 => eight().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        DType::Int32 => four().map(|bytes| f64::from(i32::from_le_bytes(*bytes))).collect(),
        DType::Int64 => eight().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect(),
        _ => Vec::new(),
    }
}
