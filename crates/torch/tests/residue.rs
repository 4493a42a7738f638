//! S10: no result depends on what was in memory before, for any operator that users may call.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::rc::Rc;

use fastrand::Rng;
use interpreter::{Coroutine, Environment, Frame, Machine, Step, Value};
use program::{Limits, Source};

struct Host;

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }
}

/// The lists of what may be called, by module.
const LISTS: &str = include_str!("../src/operators.txt");

/// How a function of each listed module is called on `V`, with further arguments for `, ARGS`.
const CALLS: [(&str, &str); 6] = [
    ("torch.Tensor", "V.NAME(ARGS)"),
    ("torch", "torch.NAME(V, ARGS)"),
    ("torch.nn.functional", "F.NAME(V, ARGS)"),
    ("torch.linalg", "torch.linalg.NAME(V, ARGS)"),
    ("torch.special", "torch.special.NAME(V, ARGS)"),
    ("torch.fft", "torch.fft.NAME(V, ARGS)"),
];

/// What operators are called on.
const VALUES: [&str; 6] = [
    "torch.arange(-30., 66.).view(8, 12) / 7",
    "torch.arange(-8., 8.).view(4, 4).exp2() + torch.eye(4)",
    "torch.tensor([[1., 2., 3.], [2., 4., 6.], [1., 2., 3.]])",
    "torch.arange(48).view(2, 4, 6)",
    "torch.complex(torch.arange(12.).view(3, 4), torch.ones(3, 4))",
    "torch.tensor([float('nan'), float('inf'), -1., 0., 2.5])",
];

/// Arguments after the first: `W` has `V`'s shape, `I` holds places, `M` truth values.
const ARGUMENTS: [&str; 40] = [
    "",
    "W",
    "0",
    "1",
    "-1",
    "2",
    "2.5",
    "0, 1",
    "1, 0",
    "-1, 0, 2",
    "1, 2, 1",
    "W, W",
    "W, W, W",
    "0, I",
    "-1, I",
    "0, I, W",
    "-1, I, W",
    "0, torch.tensor([0]), W[:1]",
    "0, torch.tensor([1, 0]), 3.5",
    "0, torch.tensor([1, 0])",
    "M",
    "M, 1.5",
    "M, W",
    "W.mT",
    "W.mT, W",
    "W[0]",
    "W[:, 0]",
    "W.shape",
    "(-1,)",
    "(0, 1)",
    "[0], [1]",
    "2, -1",
    "(torch.tensor([0]), torch.tensor([-1])), torch.tensor(4)",
    "W.shape[-1:]",
    "True",
    "False, True",
    "'mean'",
    "[[1], [0]]",
    "1, True, True",
    "I, 'sum'",
];

/// What every program begins with: `fill` leaves the numbers of a job before in the memory that comes next, and
/// `outcome` says what a call gives, to the last bit.
const BEFORE: &str = "import torch
import torch.nn.functional as F
def fill():
    left = []
    for size in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 512):
        left.append(torch.full((size,), LEFT, dtype=torch.int64))
def shown(value):
    if isinstance(value, torch.Tensor):
        return (value.dtype, value.shape, value.tolist())
    if isinstance(value, (tuple, list)):
        return [shown(one) for one in value]
    return value
def outcome(call):
    try:
        return repr(shown(call()))
    except Exception:
        return 'raised'
torch.manual_seed(0)
result = []
";

/// Returns what each call gives on a value, where the memory was filled before unless `left` is empty.
fn outcomes(value: &str, calls: &[(usize, String)], left: &str) -> Vec<String> {
    let mut text = BEFORE.replace("LEFT", if left.is_empty() { "0" } else { left });
    text += &format!(
        "made = {value}\nW = made.clone()\nI = torch.zeros_like(W, dtype=torch.int64)\nM = torch.ones_like(W, dtype=torch.bool)\n"
    );
    for (_, call) in calls {
        let filled = if left.is_empty() { "" } else { "fill()\n" };
        text += &format!("V = made.clone()\n{filled}result.append(outcome(lambda: {call}))\n");
    }
    let limits = Limits { tensor_bytes: 64 << 20, fuel: 20_000_000, ..Limits::default() };
    let machine = Machine::new(&limits, Rc::new(Host));
    let source = Source { text, filename: "case".into(), function: "<module>".into() };
    let block = Frame::root(&machine, &source, Vec::new(), Vec::new()).unwrap();
    let frame = Rc::clone(&block.frame);
    let found = match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(Ok(_)) => match frame.get("result") {
            Some(Value::List(list)) => {
                list.to_vec().iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
            }
            _ => Vec::new(),
        },
        // Too much is asked for by one of them: each by itself, then.
        _ if calls.len() > 1 => {
            calls.iter().flat_map(|call| outcomes(value, std::slice::from_ref(call), left)).collect()
        }
        _ => vec!["raised".to_owned()],
    };
    machine.teardown();
    found
}

/// Returns what may be called, by module and name: each operator once, by its first name.
fn operators() -> Vec<(&'static str, &'static str)> {
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    let mut module = "";
    for line in LISTS.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => module = name,
            None if module.starts_with("refused") => {}
            None => {
                for (name, operator) in
                    line.split_whitespace().map(|entry| entry.split_once(':').unwrap_or((entry, entry)))
                {
                    if known.insert(operator) {
                        found.push((module, name));
                    }
                }
            }
        }
    }
    found
}

#[test]
fn s10_no_operator_gives_what_was_in_memory_before() {
    let mut dice = Rng::with_seed(20_261_128);
    println!("seed {}", dice.get_seed());
    let all = operators();
    let (mut tried, mut sound, mut gave, mut wrong) = (0, 0, HashSet::new(), Vec::new());
    // Several at a time: to begin a program takes longer than most of them do.
    for some in all.chunks(16) {
        let calls: Vec<[String; 40]> = some.iter().map(calls).collect();
        let mut taken: Vec<Vec<String>> = vec![Vec::new(); some.len()];
        for value in VALUES {
            // All arguments for the first value; for others those that it took, and some more.
            let mut chosen: Vec<(usize, String)> = Vec::new();
            for (place, (calls, taken)) in calls.iter().zip(&taken).enumerate() {
                if value == VALUES[0] {
                    chosen.extend(calls.iter().map(|call| (place, call.clone())));
                } else {
                    chosen.extend(taken.iter().take(6).map(|call| (place, call.clone())));
                    chosen.extend((0..4).map(|_| (place, calls[dice.usize(..calls.len())].clone())));
                }
            }
            tried += chosen.len();
            let raised = outcomes(value, &chosen, "");
            chosen =
                chosen.into_iter().zip(raised).filter(|(_, found)| found != "raised").map(|(call, _)| call).collect();
            let (one, two) = (outcomes(value, &chosen, "0x5a5a5a5a5a5a5a5a"), outcomes(value, &chosen, "3"));
            assert_eq!((one.len(), two.len()), (chosen.len(), chosen.len()));
            sound += chosen.len();
            for ((place, call), (one, two)) in chosen.into_iter().zip(one.iter().zip(&two)) {
                if one != two {
                    wrong.push(format!("V = {value}; {call}\n  {one:.300}\n  {two:.300}"));
                }
                gave.insert(some[place]);
                if value == VALUES[0] {
                    taken[place].push(call);
                }
            }
        }
    }
    println!("{sound} of {tried} calls, of {} of {} operators, gave something", gave.len(), all.len());
    assert!(gave.len() > all.len() * 3 / 4, "too few operators took part");
    assert!(wrong.is_empty(), "{} calls depend on memory:\n{}", wrong.len(), wrong.join("\n"));
}

/// Writes the calls of an operator.
fn calls((module, name): &(&str, &str)) -> [String; 40] {
    let call = CALLS.iter().find(|(known, _)| known == module).unwrap().1.replace("NAME", name);
    ARGUMENTS.map(|arguments| call.replace("ARGS", arguments).replace(", )", ")"))
}
