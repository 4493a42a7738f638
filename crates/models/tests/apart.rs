//! Models whose weights are elsewhere, in the engine: in pieces that ranks hold, or in the files until a pass comes to them. A
//! program cannot tell.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use collectives::{Alarm, Group, Lost, Memory, Patience};
use engine::conformance::{self, Outcome, Subject, check, flat, near};
use engine::{Engine, Fault, Interleaver};
use fastrand::Rng;
use kernels::Ranks;
use models::Device;
use program::Function;

/// Names of the test models, and what their layers are called.
const MODELS: [(&str, &str); 4] = [
    ("tiny-gpt2", "model.transformer.h"),
    ("tiny-llama", "model.model.layers"),
    ("tiny-gemma3", "model.model.layers"),
    ("tiny-qwen3-moe", "model.model.layers"),
];

/// Largest difference between two float32 elements: of sums that are added in another order.
const TOLERANCE: f32 = 2e-4;

/// Programs that look at weights, edit, and walk back in every way that meets a matrix. `EMBED` is the table of words.
const PROGRAMS: [&str; 16] = [
    "out = HEAD.output.save()",
    "one = HEAD.output[0, -1, 7].save()\nsome = HEAD.output[:, 1:3].save()\nlast = HEAD.output[0, -1].save()",
    "LAYERS[0].output[:, 1] *= 2\nLAYERS[1].MLP.output[:] += 1\nout = HEAD.output.save()",
    "hidden = [layer.MLP.output.save() for layer in LAYERS]\nout = tracer.result.logits.save()",
    "LAYERS[0].skip(LAYERS[0].input * 3)\nout = HEAD.output.save()",
    "h = LAYERS[0].output\nloss = HEAD.output[:, -1].logsumexp(-1).sum()\nwith loss.backward():\n    g = h.grad.clone().save()",
    "h = EMBED.output\na = LAYERS[1].MLP.output\nloss = (HEAD.output[0, -1, 3] - HEAD.output[0, -1, 5])\nwith loss.backward():\n    ga = a.grad.clone().save()\n    gh = h.grad.clone().save()",
    "h = LAYERS[-1].output\nloss = HEAD.output.float().pow(2).mean()\ng, = torch.autograd.grad(loss, h, create_graph=True)\ngg, = torch.autograd.grad(g.pow(2).sum(), h)\nfirst = g.detach().clone().save()\nsecond = gg.clone().save()",
    "w = HEAD.weight.clone().save()\nrows = HEAD.weight[3:7].clone().save()\ne = EMBED.weight[[0, 5, 9]].clone().save()",
    "rows = (LAYERS[0].output @ HEAD.weight.T)[0, -1].clone().save()",
    "embedded = EMBED(torch.tensor([[1, 2, 90], [0, 0, 3]])).save()\nlens = HEAD(LAYERS[0].output)[:, -1].save()",
    "fed = LAYERS[1].MLP(LAYERS[0].output.clone()).save()\nnothing = HEAD(torch.zeros(0, LAYERS[0].output.shape[-1])).save()",
    "x = HEAD.output[:, -1]\nx[:] = 7\nHEAD.output[:, 0] = 3\nout = tracer.result.logits.save()",
    "r = tracer.result\nkeys = r.past_key_values.layers[1].keys.save()\nvalues = r.past_key_values.layers[0].values.save()\nout = r.logits.save()",
    "try:\n    EMBED(torch.tensor([[10 ** 6]]))\nexcept IndexError as error:\n    why = nnsight.save(str(error))\nout = HEAD.output[:, -1].save()",
    "try:\n    HEAD(torch.zeros(2, 3))\nexcept RuntimeError as error:\n    why = nnsight.save(str(error))\nout = HEAD.output[:, -1].save()",
];

/// Ranks of a model that has none: its layers are brought when they are used.
const STREAMED: usize = 0;

fn engine(name: &str, ranks: usize) -> Box<dyn Engine> {
    let model = match ranks {
        STREAMED => models::testing::load_streamed(name, Device::CPU),
        1 => models::testing::load(name),
        ranks => models::testing::load_apart(name, ranks),
    };
    Box::new(Interleaver::new(model).with_slice(std::time::Duration::MAX))
}

fn program(name: &str, source: &str) -> String {
    let embed = if name == "tiny-gpt2" { "model.transformer.wte" } else { "model.model.embed_tokens" };
    format!("import torch\n{}", source.replace("MLP", "mlp").replace("EMBED", embed))
}

fn outcomes(name: &str, layers: &str, ranks: usize) -> Vec<Outcome> {
    outcomes_of(name, layers, &|| engine(name, ranks))
}

/// Runs all programs at once, and then a generation.
fn outcomes_of(name: &str, layers: &str, engine: &dyn Fn() -> Box<dyn Engine>) -> Vec<Outcome> {
    let subject = Subject { layers, head: "model.lm_head", engine };
    let job = |source: &&str| subject.job("Hello there, world", Function::Call, &program(name, source), &[]);
    let generation = subject.job(
        "Hello there",
        Function::Generate,
        "first = HEAD.output[:, -1].clone().save()\nout = tracer.result.save()",
        &[("max_new_tokens", 4)],
    );
    subject.outcomes(PROGRAMS.iter().map(job).chain([generation]).collect())
}

fn same(found: &Outcome, expected: &Outcome, context: &str) {
    let saved =
        |outcome: &Outcome| outcome.end.clone().unwrap_or_else(|failure| panic!("{context}: {}", failure.message));
    let (found, expected) = (saved(found), saved(expected));
    let names = |saved: &program::Saved| saved.names.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "{context}");
    for (name, at) in &found.names {
        let other = expected.names.iter().find(|(other, _)| other == name).unwrap().1;
        if let (Some(program::Datum::Str(found)), Some(program::Datum::Str(expected))) =
            (found.heap.get(*at), expected.heap.get(other))
        {
            assert_eq!(found, expected, "{context}");
        }
    }
    near(&found, &expected, TOLERANCE, context);
}

#[test]
fn whatever_a_program_looks_at_or_changes_is_what_it_is_without_ranks() {
    for (name, layers) in MODELS {
        let expected = outcomes(name, layers, 1);
        for ranks in [2, 3, 4] {
            let found = outcomes(name, layers, ranks);
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let source = PROGRAMS.get(index).unwrap_or(&"a generation");
                same(found, expected, &format!("{name} on {ranks} ranks: {source}"));
            }
        }
    }
}

fn bytes(outcomes: &[Outcome]) -> Vec<Vec<u8>> {
    let saved = outcomes.iter().flat_map(|outcome| flat(outcome.end.as_ref().unwrap()));
    saved.map(|data| data.bytes.to_vec()).collect()
}

#[test]
fn a_model_whose_layers_are_brought_when_they_are_used_has_the_bits_of_one_that_is_there() {
    for (name, layers) in MODELS {
        let (found, expected) = (outcomes(name, layers, STREAMED), outcomes(name, layers, 1));
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let source = PROGRAMS.get(index).unwrap_or(&"a generation");
            same(found, expected, &format!("{name}, streamed: {source}"));
        }
        assert_eq!(bytes(&found), bytes(&expected), "{name}");
    }
}

#[test]
fn a_model_whose_layers_are_brought_keeps_the_engines_contract() {
    let (name, layers) = MODELS[1];
    check(&Subject { layers, head: "model.lm_head", engine: &|| engine(name, STREAMED) });
}

#[test]
fn only_the_layers_that_are_used_are_here_and_files_that_were_written_to_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32/tiny-llama");
    for file in std::fs::read_dir(&from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let model = models::load_streamed(folder.path(), None, Device::CPU, &mut |_, _| {}).unwrap();
    let price = model.price().unwrap();
    let layers = engine::Arithmetic::schema(&*model).layers.len() as u64;
    let before = model.streamed().unwrap();
    assert_eq!((before.held, before.most, before.brought), (0, 0, 0), "loading leaves nothing here");
    let row: Vec<i64> = (1..9).collect();
    let compute =
        || engine::Arithmetic::trunks(&*model, std::slice::from_ref(&row), engine::Attention::Sdpa, &|| {}).map(drop);
    for passes in 1..4 {
        compute().unwrap_or_else(|raise| panic!("{}", raise.message()));
        let after = model.streamed().unwrap();
        assert_eq!(after.brought, passes * price.bytes, "each pass brings all");
        assert!(after.most <= price.bytes / layers * 2 && after.held <= after.most, "{after:?} of {price:?}");
    }
    let weights = folder.path().join("model.safetensors");
    let changed = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, changed).unwrap();
    let why = compute().unwrap_err().message();
    assert!(why.contains("its files were written to since it was loaded; it has to be loaded again"), "{why}");
}

#[test]
fn a_model_in_pieces_gives_the_same_bits_each_time() {
    let (name, layers) = MODELS[1];
    assert_eq!(bytes(&outcomes(name, layers, 3)), bytes(&outcomes(name, layers, 3)));
}

#[test]
fn a_model_whose_ranks_have_connections_has_the_bits_of_one_whose_ranks_share_memory() {
    for ((name, layers), ranks) in [(MODELS[0], 2), (MODELS[1], 2), (MODELS[3], 3)] {
        let over_network = || -> Box<dyn Engine> {
            let model = models::testing::load_over_network(name, ranks);
            Box::new(Interleaver::new(model).with_slice(Duration::MAX))
        };
        let (found, expected) = (outcomes_of(name, layers, &over_network), outcomes(name, layers, ranks));
        assert_eq!(bytes(&found), bytes(&expected), "{name} on {ranks} ranks");
    }
}

#[test]
fn a_model_in_pieces_keeps_the_engines_contract() {
    let (name, layers) = MODELS[1];
    check(&Subject { layers, head: "model.lm_head", engine: &|| engine(name, 2) });
}

/// A session of several traces and generations, which keep what they see, carry it on, and change what comes.
fn random_session(dice: &mut Rng) -> String {
    const SITES: [&str; 5] =
        ["LAYERS[0].input", "LAYERS[0].mlp.output", "LAYERS[0].output", "LAYERS[1].mlp.input", "LAYERS[1].output"];
    const DEEDS: [&str; 7] = [
        "kept.append(x.clone())",
        "x[:, -1] *= 0.5",
        "x[:, 0] = 0.25",
        "SITE = x * 0.75",
        "x += scale",
        "x[:] = kept[-1] if kept and kept[-1].shape == x.shape else x",
        "scale = scale + 0.125",
    ];
    const TEXTS: [&str; 4] = ["Hello there, world", "The tower of Paris", "Helix", "The tower"];
    let mut lines = vec!["kept = nnsight.save([])".to_owned(), "scale = 0.5".to_owned()];
    for _ in 0..dice.usize(2..5) {
        let (text, margin) = (TEXTS[dice.usize(..TEXTS.len())], "    ");
        let indent = if dice.usize(..4) == 0 {
            lines.push(format!("for turn in range({}):", dice.usize(2..4)));
            margin
        } else {
            ""
        };
        let generates = dice.usize(..4) == 0;
        lines.push(match generates {
            true => format!("{indent}with model.generate('{text}', max_new_tokens=3) as tracer:"),
            false => format!("{indent}with model.trace('{text}') as tracer:"),
        });
        for site in SITES {
            if dice.usize(..3) == 0 {
                let deed = DEEDS[dice.usize(..DEEDS.len())].replace("SITE", site);
                lines.push(format!("{indent}{margin}x = {site}\n{indent}{margin}{deed}"));
            }
        }
        let end = match dice.usize(..4) {
            _ if generates => "kept.append(tracer.result)",
            0 => "kept.append(HEAD.output[:, -1].clone())",
            1 => {
                "y = LAYERS[1].output\nINDENTloss = HEAD.output[:, -1].logsumexp(-1).sum()\nINDENTwith loss.backward():\nINDENT    kept.append(y.grad.clone())"
            }
            2 => "kept.append(HEAD.weight[2:4].clone())",
            _ => "kept.append(tracer.result.logits)",
        };
        lines.push(format!("{indent}{margin}{}", end.replace("INDENT", &format!("{indent}{margin}"))));
    }
    lines.join("\n")
}

/// A rank that is late, now and then by much.
struct Late {
    group: Memory,
    dice: RefCell<Rng>,
}

impl Late {
    fn rest(&self) {
        let micros = match self.dice.borrow_mut().usize(..200) {
            0 => 8_000,
            1..20 => 200,
            _ => return,
        };
        std::thread::sleep(Duration::from_micros(micros));
    }
}

impl Group for Late {
    fn rank(&self) -> usize {
        self.group.rank()
    }

    fn size(&self) -> usize {
        self.group.size()
    }

    fn send(&self, bytes: &[u8], patience: Patience) -> Result<(), Lost> {
        self.rest();
        self.group.send(bytes, patience)
    }

    fn receive(&self, from: usize, bytes: &mut [u8], patience: Patience) -> Result<(), Lost> {
        self.rest();
        self.group.receive(from, bytes, patience)
    }

    fn abort(&self, why: &str) {
        self.group.abort(why);
    }

    fn alarm(&self) -> Alarm {
        self.group.alarm()
    }
}

/// `VITRINE_PROGRAMS` says how many there are, `VITRINE_SEED` which.
#[test]
fn random_sessions_on_late_ranks_give_what_they_give_without_whoever_else_is_cancelled() {
    let number =
        |name: &str, usual: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (programs, seed) = (number("VITRINE_PROGRAMS", 24), number("VITRINE_SEED", 7));
    println!("seed {seed}");
    let (mut dice, (name, layers)) = (Rng::with_seed(seed as u64), MODELS[1]);
    let mut group = Memory::threads(2).unwrap().into_iter();
    let [leader, other] = [seed, seed + 1]
        .map(|seed| Late { group: group.next().unwrap(), dice: RefCell::new(Rng::with_seed(seed as u64)) });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32").join(name);
    let own = folder.clone();
    let follower = std::thread::spawn(move || models::follow(&own, Device::CPU, &other));
    let ranks = Rc::new(Ranks::new(Box::new(leader), Box::new(|why| panic!("{why}"))));
    let model = models::load_apart(ranks, &folder, Some(models::DType::Float32), Device::CPU, &mut |_, _| {}).unwrap();
    let (mut apart, mut whole) = (Interleaver::new(*model), engine(name, 1));
    let subject = Subject { layers, head: "model.lm_head", engine: &|| engine(name, 1) };
    let (mut done, mut cancelled) = (0, 0);
    while done < programs {
        let sources: Vec<String> = (0..8).map(|_| random_session(&mut dice)).collect();
        let jobs = || sources.iter().map(|source| subject.session_job(source)).collect::<Vec<_>>();
        let expected = conformance::outcomes(whole.as_mut(), jobs());
        let jobs = jobs();
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        let leave: Vec<Option<usize>> = ids.iter().map(|_| (dice.usize(..4) == 0).then(|| dice.usize(..12))).collect();
        jobs.into_iter().for_each(|job| apart.submit(job));
        let (mut events, mut step) = (Vec::new(), 0);
        while !apart.idle() {
            for (id, _) in ids.iter().zip(&leave).filter(|(_, leave)| **leave == Some(step)) {
                apart.cancel(*id);
            }
            events.extend(apart.step());
            step += 1;
        }
        for (((id, leave), expected), source) in ids.into_iter().zip(leave).zip(&expected).zip(&sources) {
            let found = conformance::outcome_of(id, &events);
            match (&found.end, leave) {
                (Err(failure), Some(_)) if failure.fault == Fault::Cancelled => cancelled += 1,
                _ => same(&found, expected, source),
            }
            done += 1;
        }
    }
    println!("{done} sessions, of which {cancelled} were cancelled in time");
    assert!(cancelled > 0 && cancelled < done);
    drop(apart);
    follower.join().unwrap().unwrap();
}

#[test]
fn a_matrix_with_fewer_rows_than_ranks_is_refused_in_a_sentence() {
    let mut group = Memory::threads(40).unwrap().into_iter();
    let ranks = Ranks::new(Box::new(group.next().unwrap()), Box::new(|_| {}));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32/tiny-llama");
    let followers: Vec<_> = group
        .map(|rank| {
            let folder = folder.clone();
            std::thread::spawn(move || models::follow(&folder, Device::CPU, &rank))
        })
        .collect();
    let loaded = models::load_apart(Rc::new(ranks), &folder, None, Device::CPU, &mut |_, _| {});
    let error = loaded.err().unwrap().to_string();
    assert!(error.contains("_proj.weight has ") && error.contains("rows, too few for 40 ranks"), "{error}");
    followers.into_iter().for_each(|follower| follower.join().unwrap().unwrap());
}
