//! A program of nobody's that each model runs now and then among its users': where passes compute what they did, it has the bits that
//! it had. What makes a user's numbers wrong without an error, memory that has flipped, weights that are others, a kernel that reads
//! its neighbour's rows, is noticed while the model serves.

use std::collections::HashMap;
use std::sync::Arc;

use engine::{Event, Fault, Job, Usage};
use ids::{JobId, ModelKey, TenantId};
use program::datum::Envoy;
use program::{Datum, Entry, Env, Function, Heap, Limits, Program, Saved, Source};

/// Steps of an engine that has jobs between two runs.
const EVERY: u32 = 500;

/// Kinds of kernels whose bits are kept: those of the sizes that passes are rounded to.
const CLASSES: usize = 256;

/// How far a number may be from what it is alone, as a part of the largest: kernels of another size round otherwise, those of halves
/// most.
const NEAR: f32 = 0.05;

const PROMPT: &str = "The canary sings in the mine as long as the air is good.";

/// The canary of one model.
pub struct Canary {
    program: Program,
    /// What it saves.
    ends: Vec<String>,
    /// What they gave when the model was alone with it.
    alone: Vec<Vec<f32>>,
    /// The bits that they gave first under each class of kernels.
    known: HashMap<String, Vec<[u64; 2]>>,
    runs: u64,
    steps: u32,
    running: Option<JobId>,
}

/// What an event is to the canary.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// It is about a user's job.
    Others,
    /// It is about the canary's own, which goes on.
    Own,
    Ended(Verdict),
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first of its kernels: its numbers are near those that it gives alone.
    First,
    Same,
    /// What is otherwise.
    Drifted(String),
    /// It was not computed, and says nothing.
    NotRun(String),
}

impl Verdict {
    /// All names of verdicts.
    pub const NAMES: &[&str] = &["first", "same", "drifted", "not_run"];

    pub fn name(&self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Same => "same",
            Self::Drifted(_) => "drifted",
            Self::NotRun(_) => "not_run",
        }
    }
}

impl Canary {
    /// Makes the canary of a model, which saves what these expressions of Python come to: tensors of float32.
    pub fn new(model: &ModelKey, ends: &[String]) -> Self {
        let save = |(number, end): (usize, &String)| format!("end{number} = ({end}).save()\n");
        let text = ends.iter().enumerate().map(save).collect();
        let mut heap = Heap::default();
        let envoy = heap.push(Datum::Envoy(Envoy::default()));
        let args = vec![heap.push(Datum::Str(PROMPT.into()))];
        let program = Program {
            model: model.clone(),
            env: Env::default(),
            entry: Entry::Trace { function: Function::Call, envoy, args, kwargs: Vec::new() },
            modules: vec![String::new()],
            source: Source { text, filename: "canary.py".into(), function: "<module>".into() },
            heap,
            locals: vec![("model".into(), envoy)],
            globals: Vec::new(),
        };
        Self {
            program,
            ends: ends.to_vec(),
            alone: Vec::new(),
            known: HashMap::new(),
            runs: 0,
            steps: 0,
            running: None,
        }
    }

    /// Makes its next run. A tenant of its own each time: of one that came before, something might have been kept.
    pub fn job(&mut self) -> Job {
        self.runs += 1;
        let id = JobId::new();
        self.running = Some(id);
        Job {
            id,
            tenant: TenantId::new(format!("canary-{}", self.runs)),
            program: self.program.clone(),
            limits: Limits::default(),
            stop: Arc::default(),
            trace: None,
            progress: Arc::default(),
        }
    }

    /// Counts a step of an engine that has users' jobs, and returns the run that is due with it.
    pub fn step(&mut self) -> Option<Job> {
        self.steps += 1;
        if self.steps < EVERY || self.running.is_some() {
            return None;
        }
        self.steps = 0;
        Some(self.job())
    }

    /// Takes in what an engine tells.
    pub fn hear(&mut self, event: &Event) -> Heard {
        let job = crate::model::job_of(event);
        if self.running != Some(job) {
            return Heard::Others;
        }
        let verdict = match event {
            Event::Started(_) | Event::Printed(..) => return Heard::Own,
            Event::Finished(_, saved, usage) => self.judge(saved, usage),
            Event::Failed(_, failure, _) => match failure.fault {
                Fault::User | Fault::Server if !self.alone.is_empty() => {
                    Verdict::Drifted(format!("it failed: {}", failure.message))
                }
                _ => Verdict::NotRun(failure.message.clone()),
            },
        };
        self.running = None;
        Heard::Ended(verdict)
    }

    fn judge(&mut self, saved: &Saved, usage: &Usage) -> Verdict {
        let found = numbers(saved);
        if self.alone.is_empty() {
            self.alone.clone_from(&found);
        }
        let class = usage.shapes.to_string();
        // Where bits depend on where a row lies, they say nothing.
        let exact = !class.ends_with('?');
        let bits: Vec<_> = found.iter().map(|numbers| digest(numbers)).collect();
        if exact && let Some(known) = self.known.get(&class) {
            let other = self.ends.iter().zip(bits.iter().zip(known)).filter(|(_, (bits, known))| bits != known);
            let other: Vec<_> = other.map(|(end, _)| end.as_str()).collect();
            return match other[..] {
                [] if bits.len() == known.len() => Verdict::Same,
                _ => {
                    Verdict::Drifted(format!("{} had other bits under the kernels {class} before", other.join(" and ")))
                }
            };
        }
        let pairs = self.ends.iter().zip(found.iter().zip(&self.alone));
        if let Some(why) =
            pairs.filter_map(|(end, (found, alone))| Some(format!("{end}: {}", far(found, alone)?))).next()
        {
            return Verdict::Drifted(format!("{why} (kernels {class})"));
        }
        if exact && self.known.len() < CLASSES {
            self.known.insert(class, bits);
        }
        Verdict::First
    }
}

/// Returns the numbers of each tensor that was saved, in the order of their names.
fn numbers(saved: &Saved) -> Vec<Vec<f32>> {
    let mut names: Vec<_> = saved.names.iter().collect();
    names.sort();
    let tensors = names.into_iter().filter_map(|(_, at)| saved.heap.tensor(*at));
    tensors.map(|data| data.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()).collect()
}

/// Returns what any flipped bit changes: two sums that weigh places otherwise.
fn digest(numbers: &[f32]) -> [u64; 2] {
    numbers.iter().fold([numbers.len() as u64, 0], |[sum, weighed], number| {
        let sum = sum.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(number.to_bits()));
        [sum, weighed.wrapping_add(sum)]
    })
}

/// Says how numbers are further from others than rounding takes them.
fn far(found: &[f32], alone: &[f32]) -> Option<String> {
    if found.len() != alone.len() {
        return Some(format!("{} numbers came, and {} come alone", found.len(), alone.len()));
    }
    let largest = alone.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    let apart = found.iter().zip(alone).map(|(found, alone)| (found - alone).abs());
    // What is not a number is near nothing but itself.
    let strange = found.iter().zip(alone).filter(|(found, alone)| found.is_nan() != alone.is_nan()).count();
    let worst = apart.fold(0.0_f32, f32::max);
    if strange > 0 {
        return Some(format!("{strange} numbers are NaN there and not alone, or the other way"));
    }
    (worst > NEAR * largest)
        .then(|| format!("numbers are up to {worst} from what they are alone, and at most {largest} large"))
}

#[cfg(test)]
mod tests {
    use engine::conformance::Subject;
    use engine::{Engine, Failure, fake};
    use program::{DType, TensorData};

    use super::*;

    fn canary() -> Canary {
        Canary::new(&ModelKey::new("o/n", None), &["model.layers[1].output".into()])
    }

    /// Runs all that an engine has, and returns what came of the canary.
    fn run(engine: &mut dyn Engine, canary: &mut Canary) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        while !engine.idle() {
            for event in engine.step() {
                if let Heard::Ended(verdict) = canary.hear(&event) {
                    verdicts.push(verdict);
                }
            }
        }
        verdicts
    }

    #[test]
    fn one_runs_among_users_jobs_every_five_hundred_steps_and_is_nobodys() {
        let (mut engine, mut canary) = (fake::engine(), canary());
        engine.submit(canary.job());
        assert_eq!(run(&mut engine, &mut canary), [Verdict::First]);
        let mut due = (0..EVERY).filter_map(|_| canary.step());
        let job = due.next().unwrap();
        assert!(due.next().is_none());
        drop(due);
        let subject = Subject { layers: "model.layers", head: "model.head", engine: &|| unreachable!() };
        let users = subject.job("Hello", Function::Call, "out = HEAD.output.save()", &[]);
        let own = users.id;
        engine.submit(users);
        engine.submit(job);
        let mut heard = Vec::new();
        while !engine.idle() {
            heard.extend(engine.step().iter().map(|event| (crate::model::job_of(event) == own, canary.hear(event))));
        }
        assert!(heard.iter().all(|(others, heard)| *others == (*heard == Heard::Others)), "{heard:?}");
        assert!(heard.iter().any(|(_, heard)| *heard == Heard::Ended(Verdict::Same)), "{heard:?}");
    }

    #[test]
    fn a_real_model_gives_the_same_bits_again_whoever_else_is_there() {
        use models::testing::{EXPERTS, GPT2, LLAMA, WINDOWS};
        let mut dice = fastrand::Rng::with_seed(20_261_201);
        println!("seed {}", dice.get_seed());
        for (subject, norm) in
            [(GPT2, "transformer.ln_f"), (LLAMA, "model.norm"), (WINDOWS, "model.norm"), (EXPERTS, "model.norm")]
        {
            let mut canary = Canary::new(
                &ModelKey::new("o/n", None),
                &[norm, "lm_head"].map(|path| format!("model.{path}.output[:, -1]")),
            );
            let mut engine = (subject.engine)();
            engine.submit(canary.job());
            assert_eq!(run(engine.as_mut(), &mut canary), [Verdict::First], "{norm}");
            let mut same = 0;
            println!("{norm} {}", subject.layers);
            for round in 0..24 {
                for _ in 0..dice.usize(0..4) {
                    let text: String = (0..dice.usize(1..40)).map(|_| dice.alphanumeric()).collect();
                    engine.submit(subject.job(&text, Function::Call, "out = HEAD.output.save()", &[]));
                }
                engine.submit(canary.job());
                let verdicts = run(engine.as_mut(), &mut canary);
                assert!(
                    matches!(verdicts[..], [Verdict::First | Verdict::Same]),
                    "{}, round {round}: {verdicts:?}",
                    subject.layers
                );
                same += usize::from(verdicts == [Verdict::Same]);
            }
            assert!(same > 12, "{same} of 24 runs met kernels that were known");
        }
    }

    /// What a run gives that saved these numbers under kernels of a class.
    fn gave(canary: &mut Canary, numbers: &[f32], size: i64) -> Verdict {
        let mut heap = Heap::default();
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>().into();
        let shape = vec![1, i64::try_from(numbers.len()).unwrap()];
        let at = heap.push(Datum::Tensor(TensorData { dtype: DType::Float32, shape, bytes, requires_grad: false }));
        let saved = Saved { heap, names: vec![("end0".into(), at)] };
        let mut usage = Usage::default();
        usage.shapes.add(size, 2 * size.unsigned_abs(), engine::shape::Reach::Whole);
        let id = canary.job().id;
        match canary.hear(&Event::Finished(id, saved, usage)) {
            Heard::Ended(verdict) => verdict,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bit_that_flips_a_number_that_is_far_and_a_failure_are_drift_and_no_room_is_not() {
        let mut canary = canary();
        let id = canary.job().id;
        let broken = Failure { fault: Fault::User, message: "no such module".into() };
        let heard = canary.hear(&Event::Failed(id, broken, Usage::default()));
        assert!(matches!(heard, Heard::Ended(Verdict::NotRun(_))), "one that never ran says nothing: {heard:?}");
        assert_eq!(gave(&mut canary, &[1.0, -2.0, 3.0], 16), Verdict::First);
        assert_eq!(gave(&mut canary, &[1.0, -2.0, 3.0], 16), Verdict::Same);
        // Kernels of another size round otherwise, and from then on as they do.
        assert_eq!(gave(&mut canary, &[1.000_001, -2.0, 3.0], 32), Verdict::First);
        assert_eq!(gave(&mut canary, &[1.000_001, -2.0, 3.0], 32), Verdict::Same);
        for (numbers, size) in [
            ([f32::from_bits(1.0_f32.to_bits() + 1), -2.0, 3.0], 16),
            ([-2.0, 1.0, 3.0], 16),
            ([1.0, -2.5, 3.0], 48),
            ([1.0, f32::NAN, 3.0], 64),
        ] {
            let verdict = gave(&mut canary, &numbers, size);
            assert!(matches!(verdict, Verdict::Drifted(_)), "{numbers:?} {size}: {verdict:?}");
        }
        for (fault, name) in [(Fault::Server, "drifted"), (Fault::Crowded, "not_run"), (Fault::Limit, "not_run")] {
            let id = canary.job().id;
            let failed = Event::Failed(id, Failure { fault, message: "why".into() }, Usage::default());
            let Heard::Ended(verdict) = canary.hear(&failed) else { panic!("it has ended") };
            assert_eq!(verdict.name(), name);
        }
    }
}
