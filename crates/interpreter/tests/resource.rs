//! Whatever is called with whatever, what it allocates is charged and what it does is paid for.
//!
//! Every builtin function, type, method, and member of a standard module is called with large and odd arguments, under a
//! limit of memory, while a counting allocator looks on. How long something may take is not measured by a clock but beside
//! a plain loop: a step may take so many times what a step of that takes.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use interpreter::{
    Args, Coroutine, Environment, Frame, HostResult, Machine, Raise, Step, Type, Value, builtins, modules,
};
use peak_alloc::PeakAlloc;
use program::{Limits, Source};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Bytes that a program may have, and that all its copies and tables may take for each of them.
const MEMORY: u64 = 8 << 20;
const FACTOR: usize = 5;
/// What the process may take besides: a program's text and code, modules, tables of patterns.
const SPARE: usize = 24 << 20;
/// Steps that a program may take.
const FUEL: u64 = 150_000;
/// Steps of a plain loop that one step of anything may last, and the time that any program may take besides.
const SLOWER: u32 = 60;
const BESIDE: Duration = Duration::from_millis(300);
/// Calls with arguments drawn for each callable, and programs that these may be spread over.
const CALLS: usize = 24;
const PROGRAMS: usize = 6;

/// Arguments: large ones of every kind, and odd ones.
const POOL: &[&str] = &[
    "'ab' * 150000",
    "'é' * 100000",
    "' ' * 200000",
    "'a b\\n' * 30000",
    "'\\x00' * 150000",
    "b'ab' * 150000",
    "[0] * 40000",
    "['a'] * 30000",
    "(1,) * 40000",
    "{'k' + str(i): i for i in range(1500)}",
    "set(range(2000))",
    "frozenset(range(2000))",
    "range(10**12)",
    "range(50000)",
    "1 << 400000",
    "-(1 << 300000) - 1",
    "10**6",
    "-1",
    "0",
    "3",
    "2.5",
    "1e308",
    "None",
    "True",
    "'a'",
    "''",
    "len",
    "str",
    "lambda *a, **k: a",
    "iter(range(10**9))",
    "(x for x in range(10**9))",
    "[[0] * 500] * 100",
    "'x' * 100 + '{}'",
    "'%s%s'",
    "slice(None, None, 3)",
    "[('a', 1)] * 5000",
    "1j",
];

/// A generator of arguments: the same seed draws the same.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// Remembers how far a program came.
#[derive(Default)]
struct Counting {
    calls: Cell<usize>,
}

impl Environment for Counting {
    /// What does not pay.
    fn builtin(&self, _: &Machine, name: &str) -> Option<Value> {
        let body: fn(&Machine, Args) -> HostResult = match name {
            "allocates" => |_, _| {
                let many = std::hint::black_box(vec![1_u8; 128 << 20]);
                Ok(Value::Int(many.len() as i64).into())
            },
            "computes" => |_, _| Ok(Value::Int((0..1_000_000_i64).map(std::hint::black_box).sum()).into()),
            _ => return None,
        };
        Some(Value::native(name, body))
    }

    fn print(&self, line: &str) {
        if let Some(call) = line.strip_prefix("call ").and_then(|call| call.parse().ok()) {
            self.calls.set(call);
        }
    }
}

/// What a program took.
struct Took {
    steps: u64,
    time: Duration,
    peak: usize,
    calls: usize,
    ended: Result<(), Raise>,
    left: u64,
}

fn run(text: &str) -> Took {
    let host = Rc::new(Counting::default());
    let limits = Limits { memory_bytes: MEMORY, fuel: FUEL, output_bytes: 64 << 20, ..Limits::default() };
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let began = processor_time();
    let machine = Machine::new(&limits, host.clone());
    let source = Source { text: text.to_owned(), filename: "/user/block.py".to_owned(), function: String::new() };
    let block = Frame::root(&machine, &source, Vec::new(), vec![("__name__".into(), Value::from("__main__"))]);
    let ended = block.and_then(|block| match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(result) => result.map(drop),
        Step::Waiting(_) => Err(Raise::runtime_error("a program without a host waited")),
    });
    let steps = machine.fuel_used();
    // What is left is dropped in the time of what made it.
    machine.teardown();
    Took {
        steps,
        time: processor_time().saturating_sub(began),
        peak: ALLOCATED.peak_usage().saturating_sub(before),
        calls: host.calls.get(),
        ended,
        left: machine.memory_bytes(),
    }
}

/// The time that this thread has had a processor for: others on the machine do not count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts the time of threads");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("nanoseconds come first"))
}

/// Everything that programs can call, as they write it, with arguments that it is made for.
fn callables() -> Vec<(String, Vec<&'static str>)> {
    let machine = Machine::new(&Limits::default(), Rc::new(Counting::default()));
    let mut all: Vec<(String, Vec<&str>)> = builtins::names().map(|name| (name.to_owned(), Vec::new())).collect();
    for kind in Type::ALL {
        let receivers = match kind {
            Type::Str => vec!["'ab' * 150000", "'é' * 100000", "'a b\\n' * 30000"],
            Type::Bytes => vec!["b'ab' * 150000", "b' ' * 150000"],
            Type::List => vec!["[0] * 40000", "['ab'] * 40000", "list(range(20000))"],
            Type::Tuple => vec!["(1,) * 40000"],
            Type::Dict => vec!["{'k' + str(i): i for i in range(1500)}", "{'x' * 100000: 1}"],
            Type::Set => vec!["set(range(2000))", "{'x' * 100000}"],
            Type::FrozenSet => vec!["frozenset(range(2000))"],
            Type::Int => vec!["1 << 400000", "-(1 << 300000)", "7"],
            Type::Float => vec!["1e300", "0.1"],
            Type::Range => vec!["range(10**12)"],
            Type::Slice => vec!["slice(1, 10**9, 7)"],
            _ => Vec::new(),
        };
        if builtins::lookup(kind.name()).is_some() {
            all.push((kind.name().to_owned(), Vec::new()));
        }
        for (name, _) in interpreter::methods::of(*kind).filter(|_| !receivers.is_empty()) {
            all.push((format!("{}.{name}", kind.name()), receivers.clone()));
        }
    }
    let found = modules::catalog(&machine).expect("the modules are made");
    all.extend(found.into_iter().map(|name| (name, Vec::new())));
    all.extend(SYNTAX.iter().map(|lambda| ((*lambda).to_owned(), Vec::new())));
    machine.teardown();
    all
}

/// What programs do without calling anything.
const SYNTAX: &[&str] = &[
    "(lambda a, b: f'{a}{b!r:>{3}}')",
    "(lambda a, b: f'{a:,}')",
    "(lambda a, b: '%s %r' % (a, b))",
    "(lambda a, b: [*a, *a, *b])",
    "(lambda a, b: (lambda *x, **y: x)(*a, *a, **b))",
    "(lambda a, b: {**a, **b})",
    "(lambda a, b: {a: b})",
    "(lambda a, b: {a, b})",
    "(lambda a, b: a[b])",
    "(lambda a, b: a[:b])",
    "(lambda a, b: a[::-1])",
    "(lambda a, b: a < b)",
    "(lambda a, b: a == a + b)",
    "(lambda a, b: a is b or a in b)",
    "(lambda a, b: a if a else b)",
    "(lambda a, b: [x for x in a])",
    "(lambda a, b: {x: b for x in a})",
    "(lambda a, b: print(a, b))",
    "(lambda a, b: sorted(a, key=lambda x: b))",
    "(lambda a, b: type('A', (a,), {'b': b}))",
];

/// Writes a program that makes these calls and keeps what they give.
fn program(callable: &str, calls: &[String]) -> String {
    let module = callable.rsplit_once('.').map(|(module, _)| module).filter(|_| !callable.starts_with('('));
    let import = match module {
        Some(module) if builtins::lookup(module).is_none() => format!("import {module}\n"),
        _ => String::new(),
    };
    let mut text = format!(
        "{import}F = {callable}\nkeep = []\ndef attempt(make):\n  try:\n    given = make()\n    result = F(*given)\n    \
         keep.append(result)\n    keep.append(F(*given))\n    for _ in zip(range(20), iter(result)): pass\n  \
         except Exception as error:\n    keep.append(error)\n"
    );
    for (index, call) in calls.iter().enumerate() {
        // Fails where writing to the string does, which is never.
        let _ = writeln!(text, "print('call {}')\nattempt(lambda: ({call}))", index + 1);
    }
    text
}

fn draw_calls(draw: &mut Draw, receivers: &[&str]) -> Vec<String> {
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        let mut arguments: Vec<&str> = Vec::new();
        if !receivers.is_empty() {
            arguments.push(receivers[draw.below(receivers.len())]);
        }
        for _ in 0..draw.below(4) {
            arguments.push(POOL[draw.below(POOL.len())]);
        }
        calls.push(arguments.iter().map(|argument| format!("{argument}, ")).collect());
    }
    calls
}

/// Says what is wrong with what a program took.
fn faults(took: &Took, step: Duration) -> Vec<String> {
    let mut wrong = Vec::new();
    if took.peak > FACTOR * MEMORY as usize + SPARE {
        wrong.push(format!("took {} MB", took.peak >> 20));
    }
    let allowed = step * u32::try_from(took.steps).unwrap_or(u32::MAX) * SLOWER + BESIDE;
    if took.time > allowed {
        wrong.push(format!("took {:?} for {} steps", took.time, took.steps));
    }
    if took.left > 0 {
        wrong.push(format!("left {} bytes charged", took.left));
    }
    wrong
}

/// Returns how long a step takes here: of a loop that does about as much as a call.
fn plain_step() -> Duration {
    let plain = run("x = 0\nfor i in range(10**9):\n  x = (x + i) % 1000\n  [x, i]");
    assert!(plain.steps > FUEL / 2, "the loop runs out of fuel");
    plain.time / u32::try_from(plain.steps).expect("few steps")
}

#[test]
fn what_is_called_pays_for_what_it_allocates_and_does() {
    let seed = std::env::var("VITRINE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("VITRINE_SEED={seed}");
    let mut draw = Draw(seed);
    let step = plain_step();
    // What does not pay is seen.
    let seen = |text: &str| faults(&run(text), step).join("; ");
    assert!(seen("x = allocates()").contains(" MB"), "{}", seen("x = allocates()"));
    assert!(seen("for i in range(1000): computes()").contains(" steps"), "{}", seen("computes()"));
    let all = callables();
    let only = std::env::var("VITRINE_ONLY").ok();
    let mut wrong = Vec::new();
    let mut ends = BTreeSet::new();
    for (callable, receivers) in all.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| name.contains(only))) {
        let calls = draw_calls(&mut draw, receivers);
        let mut from = 0;
        for _ in 0..PROGRAMS {
            let Some(rest) = calls.get(from..).filter(|rest| !rest.is_empty()) else { break };
            let took = run(&program(callable, rest));
            let at = calls.get((from + took.calls).saturating_sub(1)).map_or("", String::as_str);
            wrong.extend(faults(&took, step).into_iter().map(|fault| format!("{fault}: {callable}({at})")));
            ends.insert(took.ended.as_ref().map_or_else(Raise::type_name, |()| "nothing".to_owned()));
            from += took.calls.max(1);
            if took.ended.is_ok() {
                break;
            }
        }
    }
    assert!(only.is_some() || all.len() > 400, "only {} are called", all.len());
    assert!(
        only.is_some() || ["nothing", "MemoryError", "TimeoutError"].iter().all(|end| ends.contains(*end)),
        "{ends:?}"
    );
    if !wrong.is_empty() {
        panic!("{} are wrong (seed {seed}, a step takes {step:?}):\n{}", wrong.len(), wrong.join("\n"));
    }
}
