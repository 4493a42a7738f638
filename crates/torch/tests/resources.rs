//! Whatever users call of torch with whatever: the process lives, memory is kept within the limit, and the clock is
//! looked at.
//!
//! Every operator, function, method and layer of the tables is called with arguments of the types that its schemas
//! name, large and odd ones among them. A child process does it, so that one that dies tells which call it was. How long
//! something may take between two looks is measured in time that the thread had a processor for, beside a plain loop.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use interpreter::{Coroutine, Environment, Fatal, Frame, Machine, Raise, Step, Value};
use program::{Limits, Source};
use torch::{Kind, Operators};

const OPERATORS: &str = include_str!("../src/operators.txt");
const SIGNATURES: &str = include_str!("../src/signatures.txt");
const LAYERS: &str = include_str!("../src/modules/neural/layers.txt");

/// What a program may have.
const TENSORS: u64 = 64 << 20;
const MEMORY: u64 = 8 << 20;
const FUEL: u64 = 200_000;
/// What the process may grow by while one program runs: kernels copy what they are given, and take scratch.
const GROWTH: u64 = 4 * (TENSORS + MEMORY);
/// Steps of a plain loop that one step may last between two looks, and the time that may pass besides.
const SLOWER: u32 = 100;
const BESIDE: Duration = Duration::from_millis(400);
/// Plain steps after which a thread that has not looked is given up, and its process ended, and the least time for that.
const GIVEN_UP: u32 = 5_000_000;
const PATIENCE: Duration = Duration::from_secs(2);
/// Calls of each callable, and programs that they may be spread over.
const CALLS: usize = 12;
const PROGRAMS: usize = 6;

/// Tensors, large and odd ones, made once: `f`, `i` and `b` for their elements.
const TENSORS_MADE: &[(&str, &str)] = &[
    ("f_matrix", "torch.rand(500, 400)"),
    ("f_square", "torch.rand(200, 200) + torch.eye(200)"),
    ("f_small", "torch.arange(-8., 8.).view(4, 4).exp2() + torch.eye(4)"),
    ("f_long", "torch.rand(200_000)"),
    ("f_five", "torch.rand(2, 3, 4, 5, 6)"),
    ("f_image", "torch.rand(2, 3, 30, 40)"),
    ("f_batches", "torch.rand(3000, 4, 4)"),
    ("f_wide", "torch.ones(1).expand(10**5, 10**5)"),
    ("f_tall", "torch.ones(1, 3).expand(10**8, 3)"),
    ("f_none", "torch.zeros(0, 3)"),
    ("f_number", "torch.tensor(3.)"),
    ("f_odd", "torch.tensor([float('nan'), float('inf'), -1., 0., -0., 1e38, 1e-45])"),
    ("f_half", "torch.rand(100, 100).half()"),
    ("f_bfloat", "torch.rand(100, 100).bfloat16()"),
    ("f_double", "torch.rand(100, 100).double().mT"),
    ("f_complex", "torch.complex(torch.rand(60, 60), torch.ones(60, 60))"),
    ("f_recorded", "torch.rand(100, 100, requires_grad=True)"),
    ("f_deep", "torch.zeros((1,) * 40)"),
    ("i_long", "torch.arange(200_000)"),
    ("i_matrix", "torch.zeros(500, 400, dtype=torch.int64)"),
    ("i_few", "torch.tensor([0, 1, 2, 1])"),
    ("i_odd", "torch.tensor([-1, 10**9, 2**62, -2**63])"),
    ("i_large", "torch.tensor([10**9])"),
    ("i_wide", "torch.zeros(1, dtype=torch.int64).expand(10**9)"),
    ("i_bytes", "torch.zeros(200_000, dtype=torch.uint8)"),
    ("b_matrix", "torch.rand(500, 400) > 0.5"),
    ("b_long", "torch.ones(200_000, dtype=torch.bool)"),
];

const INTS: &[&str] =
    &["0", "1", "-1", "2", "3", "7", "100", "1000", "10**6", "10**9", "2**31", "2**62", "-10**9", "-2**63"];
const REALS: &[&str] = &["0.5", "0.", "1.", "2.", "-1.", "3.7", "1e308", "1e-300", "float('nan')", "float('inf')"];
const LISTS: &[&str] = &[
    "[]",
    "[0]",
    "[-1]",
    "[1]",
    "[3]",
    "[0, 1]",
    "[2, 2]",
    "[-1, -2]",
    "[1, 0, 2]",
    "[3, 4, 5]",
    "[1000, 1000]",
    "[10**5, 10**5]",
    "[2**62, 4]",
    "[1] * 70",
    "[0] * 5000",
    "[1000] * 6",
    "[-5, 10**9]",
];
const WORDS: &[&str] = &[
    "'mean'",
    "'sum'",
    "'none'",
    "'constant'",
    "'reflect'",
    "'replicate'",
    "'nuc'",
    "'fro'",
    "'linear'",
    "'reduced'",
    "'complete'",
    "'ij'",
    "'trunc'",
    "'floor'",
    "'prod'",
    "'amax'",
    "'left'",
    "'ortho'",
    "'tanh'",
    "''",
    "'x' * 10**5",
];
const TYPES: &[&str] = &["torch.float64", "torch.int8", "torch.complex64", "torch.bfloat16", "torch.bool"];
const TENSOR_LISTS: &[&str] = &[
    "[f_square, f_square]",
    "[f_small] * 3000",
    "[f_matrix] * 40",
    "[]",
    "[f_wide, f_wide]",
    "[f_number] * 20000",
    "[f_long, f_long]",
    "[f_long, f_long, f_long]",
    "[i_few, i_few]",
    "[f_matrix, f_matrix.mT, f_matrix]",
];

/// What is in no table: functions and methods of our own, operators, indexing, and walks of gradients.
const OTHERS: &[&str] = &[
    "lambda a, b: a[b]",
    "lambda a, b: a[b, b]",
    "lambda a, b: a[..., None, b]",
    "lambda a, b: a[:, b] if a.dim() > 1 else a[b:]",
    "lambda a, b: a[(None,) * 60]",
    "lambda a, b: a[[0] * 100000]",
    "lambda a, b: a[::7, ...]",
    "lambda a, b: a.clone().__setitem__(b, 1)",
    "lambda a, b: a.clone().__setitem__(b, a)",
    "lambda a, b: a.clone().__setitem__(slice(None), b)",
    "lambda a, b: a + b",
    "lambda a, b: a @ b",
    "lambda a, b: a ** b",
    "lambda a, b: a // b",
    "lambda a, b: a << b",
    "lambda a, b: a == b",
    "lambda a, b: a in b",
    "lambda a, b: [x for x in a]",
    "lambda a, b: [*a, *b]",
    "lambda a, b: repr(a)",
    "lambda a, b: f'{a}{b}'",
    "lambda a, b: bool(a) or float(a)",
    "lambda a, b: a.tolist()",
    "lambda a, b: a.numpy().tolist()",
    "lambda a, b: str(a.numpy())",
    "lambda a, b: torch.tensor(a.tolist())",
    "lambda a, b: torch.tensor([[0.] * 1000] * 100)",
    "lambda a, b: torch.tensor([a, b])",
    "lambda a, b: a.unique()",
    "lambda a, b: a.unique(dim=0)",
    "lambda a, b: a.unique_consecutive()",
    "lambda a, b: a.nonzero(as_tuple=True)",
    "lambda a, b: a.norm(p=b)",
    "lambda a, b: a.norm('nuc')",
    "lambda a, b: a.norm(dim=0)",
    "lambda a, b: a.split(1)",
    "lambda a, b: a.split([1] * len(a))",
    "lambda a, b: a.to(torch.float64)",
    "lambda a, b: a.to(b)",
    "lambda a, b: a.long().double()",
    "lambda a, b: a.type('torch.HalfTensor')",
    "lambda a, b: a.new_tensor(b)",
    "lambda a, b: a.stft(64)",
    "lambda a, b: a.stft(400, 1, window=torch.ones(400), return_complex=True)",
    "lambda a, b: torch.istft(a, 64)",
    "lambda a, b: torch.einsum('ij,jk->ik', a, b)",
    "lambda a, b: torch.einsum('i,j->ij', a, b)",
    "lambda a, b: torch.einsum(','.join(['ij'] * 20), *[a] * 20)",
    "lambda a, b: torch.tensordot(a, b, 1)",
    "lambda a, b: torch.tensordot(a, b, dims=([0], [0]))",
    "lambda a, b: torch.meshgrid(a, b)",
    "lambda a, b: torch.meshgrid(*[i_few] * 30)",
    "lambda a, b: torch.cartesian_prod(a, b)",
    "lambda a, b: torch.cartesian_prod(*[i_few] * 20)",
    "lambda a, b: torch.block_diag(*[a] * 300)",
    "lambda a, b: torch.broadcast_tensors(a, b)",
    "lambda a, b: torch.broadcast_shapes([10**9] * 1000, [1] * 1000)",
    "lambda a, b: torch.chain_matmul(*[f_small] * 1000)",
    "lambda a, b: torch.linalg.multi_dot([f_square] * 60)",
    "lambda a, b: torch.linalg.lstsq(a, b)",
    "lambda a, b: torch.atleast_3d(*[a] * 10000)",
    "lambda a, b: torch.gradient(a)",
    "lambda a, b: torch.unravel_index(a, (1000,) * 5)",
    "lambda a, b: torch.nonzero(a)",
    "lambda a, b: torch.as_tensor(b)",
    "lambda a, b: torch.asarray([[0] * 1000] * 100)",
    "lambda a, b: torch.empty(b)",
    "lambda a, b: torch.empty_strided((10**5, 10**5), (0, 0))",
    "lambda a, b: torch.norm(a, p=b)",
    "lambda a, b: F.normalize(a)",
    "lambda a, b: F.kl_div(a, b, reduction='batchmean')",
    "lambda a, b: F.softmin(a, dim=0)",
    "lambda a, b: F.softsign(a)",
    "lambda a, b: F.tanhshrink(a)",
    "lambda a, b: F.gumbel_softmax(a, hard=True)",
    "lambda a, b: F.dropout1d(a)",
    "lambda a, b: F.dropout3d(a)",
    "lambda a, b: torch.randperm(10**6)",
    "lambda a, b: torch.Size([1000] * 10000).numel()",
    "lambda a, b: torch.manual_seed(b)",
    "lambda a, b: torch.set_rng_state(a)",
    "lambda a, b: einops.rearrange(a, 'a b -> (b a)')",
    "lambda a, b: einops.rearrange(a, ' '.join('a' * 1) + ' ...  -> ... a')",
    "lambda a, b: einops.repeat(a, '... -> ... n', n=10**6)",
    "lambda a, b: einops.repeat(a, 'a b -> a b ' + ' '.join(f'x{i}' for i in range(200)), **{f'x{i}': 9 for i in range(200)})",
    "lambda a, b: einops.reduce(a, 'a b -> a', 'max')",
    "lambda a, b: einops.einsum(a, b, 'i, j -> i j')",
    "lambda a, b: np.array(a)",
    "lambda a, b: np.concatenate([np.array(f_matrix)] * 100)",
    "lambda a, b: np.stack([np.array(f_matrix)] * 100)",
    "lambda a, b: np.zeros((10**5, 10**5))",
    "lambda a, b: np.arange(10**9)",
    "lambda a, b: np.linspace(0, 1, 10**9)",
    "lambda a, b: np.linalg.norm(np.array(a))",
    "lambda a, b: np.array([[0] * 1000] * 100)",
    "lambda a, b: np.array(a) @ np.array(b)",
    "lambda a, b: np.where(np.array(a), np.array(b), 0)",
    "lambda a, b: (f_recorded @ f_recorded).sum().backward()",
    "lambda a, b: sum(f_recorded for _ in range(3000)).sum().backward()",
    "lambda a, b: torch.autograd.grad((f_recorded * b).sum(), f_recorded)",
    "lambda a, b: torch.autograd.grad(torch.linalg.svdvals(f_recorded).sum(), f_recorded, create_graph=True)",
    "lambda a, b: torch.autograd.grad([f_recorded.exp()], [f_recorded] * 1000, grad_outputs=[f_double.float()])",
    "lambda a, b: torch.autograd.grad((f_recorded[:, None] * f_recorded).sum(), f_recorded)",
    "lambda a, b: nn.Parameter(a)",
    "lambda a, b: nn.Sequential(*[nn.ReLU()] * 1000)(a)",
    "lambda a, b: nn.ModuleList([nn.Linear(50, 50) for _ in range(300)]).state_dict()",
    "lambda a, b: repr(nn.Sequential(*[nn.Sequential(nn.ReLU())] * 500))",
];

/// One thing that is called, as programs write it, and what its arguments are drawn from.
struct Callable {
    name: String,
    draws: Vec<Vec<Wanted>>,
    /// Its first argument is changed.
    writes: bool,
}

/// One argument of a schema.
#[derive(Clone)]
struct Wanted {
    keyword: Option<String>,
    kind: Kind,
    may_lack: bool,
}

/// Lists all that is called.
fn callables() -> Vec<Callable> {
    let mut all = Vec::new();
    let mut known = HashSet::new();
    for (module, entry) in sections(OPERATORS).filter(|(module, _)| !module.starts_with("refused")) {
        for entry in entry.split_whitespace() {
            let (name, operator) = entry.split_once(':').unwrap_or((entry, entry));
            let method = module == "torch.Tensor";
            if !known.insert((method, operator)) {
                continue;
            }
            let overloads = Operators::all().get(operator).unwrap_or_default();
            let draws = overloads.iter().map(|overload| {
                let wanted = overload.parameters.iter().map(|parameter| Wanted {
                    keyword: parameter.keyword_only.then(|| parameter.name.to_string()),
                    kind: parameter.kind,
                    may_lack: parameter.default || parameter.optional,
                });
                let mut wanted: Vec<Wanted> = wanted.collect();
                // The tensor comes first, whichever parameter it is.
                if let Some(at) = overload.parameters.iter().position(|parameter| &*parameter.name == "self" && method)
                {
                    let own = wanted.remove(at);
                    wanted.insert(0, own);
                }
                wanted
            });
            let name = if module == "torch.nn.functional" { format!("F.{name}") } else { format!("{module}.{name}") };
            all.push(Callable { draws: draws.collect(), writes: name.ends_with('_'), name });
        }
    }
    for (module, line) in sections(SIGNATURES) {
        let (name, draws) = signature(line);
        let module = if module == "torch.nn.functional" { "F" } else { module };
        all.push(Callable { name: format!("{module}.{name}"), draws: vec![draws], writes: false });
    }
    for line in LAYERS.lines().filter(|line| line.contains('(') && !line.starts_with('#')) {
        let (name, draws) = signature(line);
        let inputs = (1..=3).filter(|n| {
            line.contains(if *n == 1 {
                "(input"
            } else if *n == 2 {
                "input2"
            } else {
                "input3"
            })
        });
        let given: Vec<String> = inputs.map(|n| format!("x{n}")).collect();
        let called = given.join(", ");
        let layer = format!("(lambda {called}, *a, **k: nn.{name}(*a, **k)({called}))");
        let own = |_| Wanted { keyword: None, kind: Kind::Tensor, may_lack: false };
        let mut wanted: Vec<Wanted> = given.iter().map(own).collect();
        wanted.extend(draws);
        all.push(Callable { name: layer, draws: vec![wanted], writes: false });
    }
    let two = Wanted { keyword: None, kind: Kind::Tensor, may_lack: false };
    let second = Wanted { kind: Kind::Other, ..two.clone() };
    all.extend(OTHERS.iter().map(|body| Callable {
        name: format!("({body})"),
        draws: vec![vec![two.clone(), second.clone()]],
        writes: false,
    }));
    all
}

/// Reads `[section]` and its lines.
fn sections(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut section = "";
    table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).filter_map(move |line| {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => {
                section = name;
                None
            }
            None => Some((section, line)),
        }
    })
}

/// Reads a name and its parameters, whose types their names and defaults tell.
fn signature(line: &str) -> (&str, Vec<Wanted>) {
    let (name, rest) = line.split_once('(').unwrap();
    let (parameters, _) = rest.split_once(") = ").unwrap();
    let wanted = parameters.split(", ").filter(|parameter| !parameter.is_empty()).map(|parameter| {
        let (name, default) = parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)));
        let kind = match default {
            Some("True" | "False") => Kind::Bool,
            Some(text) if text.starts_with('\'') => Kind::Str,
            Some(text) if text.contains('.') => Kind::Float,
            Some(text) if text.parse::<i64>().is_ok() => Kind::Int,
            _ if name == "dtype" => Kind::DType,
            _ if name == "device" => Kind::Device,
            _ if ["shape", "pad", "size"].iter().any(|part| name.contains(part)) => Kind::Ints(None),
            _ if ["num", "dim", "features", "channels", "groups"].iter().any(|part| name.contains(part)) => Kind::Int,
            _ => Kind::Tensor,
        };
        Wanted { keyword: default.map(|_| name.to_owned()), kind, may_lack: default.is_some() }
    });
    (name, wanted.collect())
}

/// Draws the arguments of one call.
fn draw(dice: &mut Rng, callable: &Callable) -> String {
    let choose = |dice: &mut Rng, pool: &[&str]| pool[dice.usize(..pool.len())].to_owned();
    let Some(wanted) = dice.choice(&callable.draws) else { return String::new() };
    // Half of the calls are of tensors that go together.
    let together = dice.bool().then(|| TENSORS_MADE[dice.usize(..TENSORS_MADE.len())].0);
    let mut text = String::new();
    for (place, one) in wanted.iter().enumerate() {
        if one.may_lack && dice.u8(..3) > 0 {
            if one.keyword.is_none() && !wanted[place..].iter().all(|later| later.may_lack) {
                text += "None, ";
                continue;
            }
            if one.keyword.is_none() {
                // Those behind are given by their place or not at all.
                break;
            }
            continue;
        }
        // Mostly ordinary numbers, so that the call gets as far as the kernel.
        let int = |dice: &mut Rng| if dice.u8(..3) > 0 { choose(dice, &INTS[..6]) } else { choose(dice, INTS) };
        let real = |dice: &mut Rng| if dice.bool() { choose(dice, &REALS[..2]) } else { choose(dice, REALS) };
        let tensor = |dice: &mut Rng| match together {
            Some(same) if dice.u8(..8) > 0 => same.to_owned(),
            _ => TENSORS_MADE[dice.usize(..TENSORS_MADE.len())].0.to_owned(),
        };
        let argument = match one.kind {
            Kind::Tensor if place == 0 && callable.writes => format!("copy({})", tensor(dice)),
            Kind::Tensor => tensor(dice),
            Kind::Tensors | Kind::OptionalTensors => choose(dice, TENSOR_LISTS),
            Kind::Int => int(dice),
            Kind::Ints(_) => choose(dice, LISTS),
            Kind::Float => real(dice),
            Kind::Floats => format!("[{}] * 3", real(dice)),
            Kind::Scalar => {
                if dice.bool() {
                    int(dice)
                } else {
                    real(dice)
                }
            }
            Kind::Bool => choose(dice, &["True", "False"]),
            Kind::Bools => choose(dice, &["[True] * 3", "[True] * 100000"]),
            Kind::Str => choose(dice, WORDS),
            Kind::DType => choose(dice, TYPES),
            Kind::Device => choose(dice, &["'cpu'", "'cuda'", "'meta'"]),
            Kind::Layout | Kind::MemoryFormat | Kind::Generator => continue,
            Kind::Other => match dice.u8(..3) {
                0 => int(dice),
                1 => real(dice),
                _ => tensor(dice),
            },
        };
        match &one.keyword {
            Some(keyword) => write!(text, "{keyword}={argument}, ").unwrap(),
            None => write!(text, "{argument}, ").unwrap(),
        }
    }
    text
}

const BEFORE: &str = "import torch, einops
import torch.nn as nn
import torch.nn.functional as F
import numpy as np
def copy(tensor):
    return tensor.clone() if tensor.numel() < 10**6 else tensor
";

/// Writes a program that makes these calls and keeps what some give.
fn program(callable: &str, calls: &[String]) -> String {
    let mut text = format!(
        "{BEFORE}kept = []\ndef attempt(call):\n  try:\n    result = call()\n    print('done')\n    kept.append(result)\n  \
         except Exception as error:\n    pass\n"
    );
    for (index, call) in calls.iter().enumerate() {
        writeln!(text, "print('call {index}')\nattempt(lambda: {callable}({call}))").unwrap();
    }
    text
}

/// Hears what a program does, and measures between its looks.
#[derive(Default)]
struct Host {
    calls: Cell<usize>,
    done: Cell<usize>,
    looked: Cell<(Duration, u64)>,
    /// The longest time between two looks beyond what its steps may take, and what may be taken for a step.
    longest: Cell<Duration>,
    /// In which call that was.
    at: Cell<usize>,
    step: Duration,
    waits: Cell<u64>,
    stop: Arc<AtomicU8>,
}

impl Host {
    /// Measures what went by since the last look.
    fn look(&self, steps: u64) {
        let now = processor_time();
        let (before, at) = self.looked.replace((now, steps));
        let allowed = self.step * u32::try_from(steps - at).unwrap_or(u32::MAX).saturating_mul(SLOWER);
        let longer = (now - before).saturating_sub(allowed);
        if longer > self.longest.get() {
            self.longest.set(longer);
            self.at.set(self.calls.get());
        }
        LOOKED.store(now.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }

    fn builtin(&self, _: &Machine, name: &str) -> Option<Value> {
        // What does not pay.
        match name {
            "computes" => Some(Value::native(name, |_, _| {
                let began = processor_time();
                let mut sum = 0_i64;
                while processor_time() - began < BESIDE * 3 {
                    sum = (0..100_000).map(std::hint::black_box).sum();
                }
                Ok(Value::Int(sum).into())
            })),
            "allocates" => Some(Value::native(name, |_, _| {
                let many = std::hint::black_box(vec![1_u8; 2 * GROWTH as usize]);
                Ok(Value::Int(many.len() as i64).into())
            })),
            _ => None,
        }
    }

    fn print(&self, line: &str) {
        if let Some(call) = line.strip_prefix("call ").and_then(|call| call.parse().ok()) {
            self.calls.set(call);
            say(&format!("call {call}"));
        }
        self.done.update(|done| done + usize::from(line == "done"));
    }

    fn pace(&self, machine: &Machine) -> Result<(), Fatal> {
        self.look(machine.fuel_used());
        Ok(())
    }

    fn lasts(&self, _: &Machine) -> Result<bool, Fatal> {
        Ok(true)
    }

    /// What another thread does may be as long as was said, and a good deal more.
    fn rest(&self) {
        self.waits.update(|waits| waits + 1);
        if self.waits.get().is_multiple_of(64) && process_time() > STARTED.load(Ordering::Relaxed) + 40_000_000_000 {
            self.stop.store(1, Ordering::Relaxed);
            self.longest.set(Duration::from_secs(40));
        }
    }
}

/// When the thread that runs programs last looked, in nanoseconds that it has had.
static LOOKED: AtomicU64 = AtomicU64::new(0);
/// What the process had computed when the program began.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// The time that this thread has had a processor for: others on the machine do not count.
fn processor_time() -> Duration {
    time_of("/proc/thread-self")
}

fn time_of(thread: &str) -> Duration {
    let text = fs::read_to_string(format!("{thread}/schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0))
}

/// The time that all threads of the process have had, in nanoseconds.
fn process_time() -> u64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.map(|thread| time_of(&thread.path().to_string_lossy()).as_nanos() as u64).sum()
}

/// Bytes of the process's memory: now, or the most since [`forget_peak`].
fn resident(what: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_default();
    line.split_whitespace().find_map(|word| word.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn forget_peak() {
    // Where the kernel does not let it, the peak is that of all programs so far.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// What a program took.
struct Took {
    calls: usize,
    done: usize,
    ended: Result<(), Raise>,
    /// What is wrong, and the call in which that was seen: it may have been one before.
    faults: Vec<(usize, String)>,
    made: Vec<(Rc<str>, Value)>,
    time: Duration,
    steps: u64,
}

fn run(text: String, globals: &[(Rc<str>, Value)], step: Duration) -> Took {
    let host = Rc::new(Host { step, ..Host::default() });
    let limits = Limits {
        memory_bytes: MEMORY,
        tensor_bytes: TENSORS,
        fuel: FUEL,
        run_time: Duration::from_secs(1),
        ..Limits::default()
    };
    forget_peak();
    let (before, began) = (resident("VmRSS:"), processor_time());
    STARTED.store(process_time(), Ordering::Relaxed);
    let machine = Machine::new(&limits, host.clone());
    machine.set_stop_flag(Arc::clone(&host.stop));
    host.look(0);
    host.longest.set(Duration::ZERO);
    let source = Source { text, filename: "case".into(), function: "<module>".into() };
    let block = Frame::root(&machine, &source, Vec::new(), globals.to_vec()).unwrap();
    let frame = Rc::clone(&block.frame);
    let ended = match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(result) => result.map(drop),
        Step::Waiting(_) => Err(Raise::runtime_error("suspended")),
    };
    host.look(machine.fuel_used());
    let made = TENSORS_MADE.iter().filter_map(|(name, _)| Some((Rc::from(*name), frame.get(name)?))).collect();
    drop(frame);
    machine.teardown();
    host.look(machine.fuel_used());
    let mut faults = Vec::new();
    if host.longest.get() > BESIDE {
        faults.push((host.at.get(), format!("did not look for {:?}", host.longest.get())));
    }
    let grown = resident("VmHWM:").saturating_sub(before);
    if grown > GROWTH {
        faults.push((host.calls.get(), format!("grew by {} MB", grown >> 20)));
    }
    if machine.memory_bytes() > 0 {
        faults.push((host.calls.get(), format!("left {} bytes charged", machine.memory_bytes())));
    }
    let (time, steps) = (processor_time() - began, machine.fuel_used());
    Took { calls: host.calls.get(), done: host.done.get(), ended, faults, made, time, steps }
}

/// How long a step of a plain loop takes here.
fn plain_step() -> Duration {
    let plain = run("x = 0\nfor i in range(10**9):\n  x = (x + i) % 1000\n  [x, i]".into(), &[], Duration::ZERO);
    assert!(plain.steps > FUEL / 2, "the loop runs out of fuel");
    plain.time / u32::try_from(plain.steps).unwrap()
}

/// Ends the process where its thread does not look any more.
fn watch_over(step: Duration) {
    let thread = fs::read_link("/proc/thread-self").unwrap();
    let thread = format!("/proc/{}", thread.display());
    std::thread::spawn(move || {
        loop {
            std::thread::park_timeout(Duration::from_millis(500));
            let now = time_of(&thread).as_nanos() as u64;
            let since = Duration::from_nanos(now.saturating_sub(LOOKED.load(Ordering::Relaxed)));
            if since > PATIENCE.max(step * GIVEN_UP) {
                say(&format!("fault has not looked for {since:?} and is given up"));
                std::process::abort();
            }
        }
    });
}

/// The calls, in a process of their own: `VITRINE_FROM` says where to begin.
#[test]
#[ignore = "what the other test has a process do"]
fn calls() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let (Some(from), Some(skipped), Some(seed)) =
        (number("VITRINE_FROM"), number("VITRINE_SKIP"), number("VITRINE_SEED"))
    else {
        return;
    };
    let only = std::env::var("VITRINE_ONLY").unwrap_or_default();
    tch::set_num_threads(1);
    let step = plain_step();
    watch_over(step);
    let making: Vec<String> = TENSORS_MADE.iter().map(|(name, made)| format!("{name} = {made}\n")).collect();
    let made = run(format!("import torch\ntorch.manual_seed(1)\n{}", making.concat()), &[], step).made;
    assert_eq!(made.len(), TENSORS_MADE.len());
    // What does not pay is seen.
    let seen = |text: &str| {
        let faults = run(text.to_owned(), &made, step).faults;
        faults.into_iter().map(|(_, fault)| fault).collect::<Vec<_>>().join("; ")
    };
    assert!(seen("computes()").contains("did not look"), "{}", seen("computes()"));
    assert!(seen("allocates()").contains("grew by"), "{}", seen("allocates()"));
    for (at, callable) in callables().iter().enumerate().skip(from).filter(|(_, one)| one.name.contains(&only)) {
        let mut dice = Rng::with_seed((seed * 100_000 + at) as u64);
        let calls: Vec<String> = (0..CALLS).map(|_| draw(&mut dice, callable)).collect();
        let mut first = if at == from { skipped } else { 0 };
        let (mut done, mut ends) = (0, BTreeSet::new());
        for _ in 0..PROGRAMS {
            let Some(rest) = calls.get(first..).filter(|rest| !rest.is_empty()) else { break };
            say(&format!("begin {at} {first}"));
            let took = run(program(&callable.name, rest), &made, step);
            for (call, fault) in &took.faults {
                let call = rest.get(*call).map_or("", String::as_str);
                say(&format!("fault {fault}: {}({call})", callable.name));
            }
            done += took.done;
            ends.insert(took.ended.as_ref().map_or_else(Raise::type_name, |()| "nothing".to_owned()));
            first += took.calls + 1;
            if took.ended.is_ok() {
                break;
            }
        }
        let ends: Vec<String> = ends.into_iter().collect();
        say(&format!("end {done} {}", ends.join(" ")));
    }
    say("all done");
}

#[test]
fn what_is_called_neither_aborts_nor_swells_nor_stops_looking() {
    let seed = std::env::var("VITRINE_SEED").unwrap_or_else(|_| "1".into());
    println!("VITRINE_SEED={seed}");
    let all = callables();
    let (mut from, mut skipped) = (0, 0);
    let (mut worked, mut called, mut wrong, mut ends) = (0, 0, Vec::new(), BTreeSet::new());
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["calls", "--exact", "--ignored", "--nocapture"])
            .env("VITRINE_FROM", from.to_string())
            .env("VITRINE_SKIP", skipped.to_string())
            .env("VITRINE_SEED", &seed)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut finished, mut call) = (false, 0);
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["begin", at, first] => (from, skipped, call) = (at.parse().unwrap(), first.parse().unwrap(), 0),
                ["call", index] => call = index.parse().unwrap(),
                ["end", done, how @ ..] => {
                    called += 1;
                    worked += usize::from(*done != "0");
                    ends.extend(how.iter().filter(|end| !end.is_empty()).map(|end| (*end).to_owned()));
                }
                ["fault", ..] => wrong.push(line.trim_start_matches("fault ").to_owned()),
                ["all", "done"] => finished = true,
                _ => {}
            }
        }
        let status = child.wait().unwrap();
        if finished {
            break;
        }
        let callable = &all[from];
        let mut dice = Rng::with_seed((seed.parse::<usize>().unwrap() * 100_000 + from) as u64);
        let text = (0..CALLS).map(|_| draw(&mut dice, callable)).nth(skipped + call).unwrap_or_default();
        wrong.push(format!("{status}: {}({text})", callable.name));
        assert!(wrong.len() < 100, "too many die:\n{}", wrong.join("\n"));
        skipped += call + 1;
    }
    println!("{worked} of {called} gave something; programs ended by {ends:?}");
    assert!(wrong.is_empty(), "{} are wrong (seed {seed}):\n{}", wrong.len(), wrong.join("\n"));
    if std::env::var("VITRINE_ONLY").is_err() {
        assert!(called > 800 && worked > called * 3 / 4, "only {worked} of {called} gave something");
        assert!(["nothing", "MemoryError", "TimeoutError"].iter().all(|end| ends.contains(*end)), "{ends:?}");
    }
}
