//! No input aborts the process or runs on: every one ends in an error value.
#![expect(clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use common::{Bare, run, source};
use interpreter::{Coroutine, Fatal, Frame, Kind, Machine, Raise, Step};
use program::Limits;

fn fails(text: &str) -> Raise {
    let limits = Limits { fuel: 300_000, ..Limits::default() };
    match run(text, &limits).1 {
        Ok(_) => panic!("the program ends well: {}", text.get(..80).unwrap_or(text)),
        Err(raise) => raise,
    }
}

#[test]
fn source_that_nests_too_deep_is_a_syntax_error() {
    let many = 100_000;
    for text in [
        "(".repeat(many),
        format!("{}1{}", "(".repeat(many), ")".repeat(many)),
        format!("x = {}1", "[".repeat(many)),
        vec!["1"; many].join("+"),
        format!("x = {}1", "-".repeat(many)),
        format!("x = {}1", "not ".repeat(many / 2)),
        format!("x = a{}", ".a".repeat(many)),
        format!("x = f{}", "()".repeat(many)),
        format!("x = f{}", "[0]".repeat(many / 2)),
        vec!["a"; many].join("**"),
        vec!["a"; many / 4].join(" if b else "),
        format!("x = {}1", "lambda: ".repeat(many / 4)),
        "x = [".to_owned() + &"[1],".repeat(10) + &"-".repeat(many),
        (0..1000).map(|depth| " ".repeat(depth) + "if 1:\n").collect(),
        format!("f'{}1{}'", "{f\"".repeat(200), "\"}".repeat(200)),
        vec!["a"; many / 2].join("<"),
        format!("x = {}", "await ".repeat(many / 4)),
        format!("{}x", "*".repeat(many)),
        format!("match x:\n case {}1", "[".repeat(many)),
        "x".repeat(300 << 10),
        "\u{feff}(".repeat(1000),
        "def f(".to_owned() + &"a=(".repeat(5000),
        "class A(".to_owned() + &"B(".repeat(5000),
        "@".repeat(50_000),
        "x = '''".to_owned() + &"a".repeat(100),
        "\0".to_owned(),
        format!("f = {}0", "lambda a,:".repeat(many / 5)),
        format!("f = {}0{}", "lambda a=".repeat(many / 5), ":0".repeat(many / 5)),
        format!("with {}:pass", vec!["a"; many].join(",")),
        format!("with {}:pass", vec!["a as (b, c)"; many / 5].join(",")),
        "async ".repeat(many / 4),
        "if 1: ".repeat(many / 4),
    ] {
        let raise = fails(&text);
        assert!(raise.is(Kind::SyntaxError), "{raise}: {}", text.get(..40).unwrap_or(&text));
        assert!(raise.traceback_text().contains("SyntaxError"));
    }
}

#[test]
fn the_deepest_source_that_is_allowed_runs_on_a_small_stack() {
    let chains = [
        vec!["1"; 1999].join("+"),
        format!("{}1", "-".repeat(1999)),
        format!("{}1{}", "(".repeat(199), ")".repeat(199)),
        format!("{}1{}", "[".repeat(199), "]".repeat(199)),
        format!("{}1", "not ".repeat(1999)),
        format!("{}1", "1 if 0 else ".repeat(990)),
    ];
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(move || {
        for chain in chains {
            let text = format!("def f(): return {chain}\nx = f()\ny = {chain}");
            run(&text, &Limits::default()).1.map_err(|raise| raise.traceback_text()).expect("the chain evaluates");
        }
    });
    thread.expect("a thread starts").join().expect("the thread ends");
}

/// What a context manager and its like are written with.
const MANAGER: &str = "class M:\n  def __enter__(self): opened.append(1)\n  def __exit__(self, *a): opened.pop()\n\
                       opened = []\nm = M()\n";

#[test]
fn a_with_statement_of_many_items_runs_on_a_small_stack() {
    let items = vec!["m"; 5000].join(",");
    let text = format!("{MANAGER}with {items}:\n  most = len(opened)\nassert (most, opened) == (5000, [])");
    small(move || {
        run(&text, &Limits::default()).1.map_err(|raise| raise.traceback_text()).expect("all are opened and closed");
    });
}

#[test]
fn lambdas_nest_as_deep_as_other_expressions() {
    let text = format!("f = {}7\nfor _ in range(1000): f = f()\nassert f == 7", "lambda: ".repeat(1000));
    small(move || {
        run(&text, &Limits::default()).1.map_err(|raise| raise.traceback_text()).expect("the lambdas are called");
    });
}

/// Runs something on a stack of 512 KiB.
fn small(body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(body);
    thread.expect("a thread starts").join().expect("the thread ends");
}

#[test]
fn the_check_of_a_text_takes_time_as_the_text_is_long() {
    // Looking through all names for each would take hours.
    let many = 300_000;
    let limits = Limits { source_bytes: 64 << 20, ..Limits::default() };
    let names: String = (0..many).map(|index| format!("a{index}=1\n")).collect();
    let keywords: Vec<String> = (0..many).map(|index| format!("a{index}=1")).collect();
    let nested = 400;
    let free: Vec<String> = (0..many / 10).map(|index| format!("a{index}")).collect();
    let outer = format!("class {}:\n  x = [{}]", "A".repeat(many), vec!["lambda: 0"; many / 10].join(","));
    for text in [
        names,
        format!("f({})", keywords.join(",")),
        format!("f = {}[{}]", "lambda: ".repeat(nested), free.join(",")),
        outer,
    ] {
        program::lower::block(&source(&text), &limits).map_err(|error| error.message).expect("the text is in order");
    }
}

#[test]
fn programs_that_never_end_run_out_of_fuel() {
    for text in [
        "while True: pass",
        "while 1:\n  try:\n    while 1: pass\n  except BaseException:\n    pass\n  finally:\n    continue",
        "x = 0\nfor i in iter(int, 1): x += i",
        "def g():\n  while 1: yield 1\nsum(g())",
        "def f():\n  f2()\ndef f2():\n  try: f()\n  except RecursionError: f()\nf()",
        "[0 for i in range(10**12)]",
        "class A:\n  def __getattr__(self, n): return getattr(self, n + 'x')\nwhile 1:\n  try: A().b\n  except RecursionError: pass",
        "class A:\n  def __exit__(self, *a): return True\n  def __enter__(self): pass\nwhile 1:\n  with A():\n    while 1: 1/0",
        "x = (i for i in range(10**9))\nfor i in x: pass",
    ] {
        let raise = fails(text);
        let fatal = raise.as_fatal();
        assert!(matches!(fatal, Some(Fatal::Fuel | Fatal::Memory)), "{raise}: {text}");
    }
}

#[test]
fn recursion_ends_in_an_exception_on_a_small_stack() {
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(|| {
        for text in [
            "def f(n): return f(n + 1)\nf(0)",
            "def f(n): return [f(n + 1) for _ in range(2)]\nf(0)",
            "f = lambda: (lambda: f())()\nf()",
            "class A:\n  def __add__(self, o): return self + o\nA() + 1",
            "class A:\n  def __repr__(self): return f'{self!r}'\nrepr(A())",
            "class A:\n  def __call__(self): return self()\nA()()",
            "class A:\n  @property\n  def p(self): return self.p\nA().p",
            "class A:\n  def __getattr__(self, n): return self.q\nA().b",
            "class A:\n  def __init__(self): A()\nA()",
            "def g(): yield from g()\nlist(g())",
            "def g(n):\n  for x in g(n + 1): yield x\nlist(g(0))",
            "class A:\n  def __iter__(self): return iter(self)\nlist(A())",
            "class A:\n  def __enter__(self):\n    with self: pass\n  def __exit__(self, *a): pass\nwith A(): pass",
            "def f(x): return sorted([2, 1], key=f)\nf(0)",
            "def f():\n  try: f()\n  finally: f()\nf()",
            "f = frozenset()\nwhile True: f = frozenset([f])",
            "f = frozenset()\nwhile True: f = frozenset([(f, 1)])",
        ] {
            let raise = fails(text);
            let ends = raise.is(Kind::RecursionError) || raise.as_fatal() == Some(Fatal::Fuel);
            assert!(ends, "{text}: {}", raise.traceback_text());
        }
    });
    thread.expect("a thread starts").join().expect("the thread ends");
}

#[test]
fn deep_nests_of_values_are_dropped_without_recursion() {
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(|| {
        for text in [
            "x = []\nfor i in range(200000): x = [x]",
            "x = ()\nfor i in range(200000): x = (x,)",
            "x = {}\nfor i in range(100000): x = {'k': x}",
            "class N:\n  def __init__(self, n): self.n = n\nx = None\nfor i in range(50000): x = N(x)",
            "x = 1\ndef wrap(f): return lambda: f\nfor i in range(50000): x = wrap(x)",
            "x = iter([])\nfor i in range(50000): x = map(len, x)",
            "x = []\ndef g(y):\n  for z in y: yield z\nfor i in range(50000): x = g(x)",
            "x = []\nfor i in range(50000): x = (y for y in x)",
            "e = None\nfor i in range(20000):\n  try:\n    raise ValueError(i) from e\n  except ValueError as err:\n    e = err",
            "x = None\nclass A:\n  def m(self): pass\nfor i in range(50000):\n  a = A()\n  a.x = x\n  x = a.m",
            "x = slice(None)\nfor i in range(100000): x = slice(x)",
            "x = 1\nfor i in range(100000): x = staticmethod(x)",
            "x = 1\nfor i in range(100000): x = classmethod(x)",
            "x = 1\nfor i in range(100000): x = property(x)",
            "import functools\nx = len\nfor i in range(20000): x = functools.partial(x)",
            "import typing\nx = int\nfor i in range(50000): x = typing.Optional[x]",
            "import collections\nx = None\nfor i in range(50000): x = collections.deque([x])",
            "class A(int):\n  def __int__(self): return self\nx = A(1)\nfor i in range(50000): x = A(x)\nassert x + 1 == 2",
            "class A: pass\nfor i in range(3000):\n  class A(A): pass",
        ] {
            run(text, &Limits::default()).1.map_err(|raise| raise.traceback_text()).expect("the nest is built");
        }
    });
    thread.expect("a thread starts").join().expect("the thread ends");
}

#[test]
fn what_stands_for_something_else_is_called_as_deep_as_the_stack_goes() {
    small(|| {
        for text in [
            "s = len\nfor _ in range(20000): s = staticmethod(s)\ns([])",
            "i = len\nfor _ in range(5000):\n  class A: pass\n  A.__call__ = i\n  i = A()\ni([])",
            "class A:\n  def __init__(self, f): self.f = f\n  def __call__(self, x): return self.f(x)\n\
             i = len\nfor _ in range(5000): i = A(i)\ni([])",
            "import functools\nclass A:\n  def __call__(self): pass\n\
             f = A()\nfor _ in range(5000):\n  class A:\n    __call__ = staticmethod(f)\n  f = A()\nf()",
        ] {
            let raise = fails(text);
            assert!(raise.is(Kind::RecursionError), "{text}: {}", raise.traceback_text());
        }
    });
}

#[test]
fn classes_in_tuples_are_caught_and_tuples_in_tuples_are_not_classes() {
    small(|| {
        let raise = fails("t = ()\nfor _ in range(50000): t = (t,)\ntry:\n  raise ValueError\nexcept t:\n  pass");
        assert!(raise.is(Kind::TypeError), "{raise}");
        let text = "try:\n  raise KeyError\nexcept (ValueError, LookupError):\n  pass";
        run(text, &Limits::default()).1.map_err(|raise| raise.traceback_text()).expect("the exception is caught");
    });
}

#[test]
fn deep_expressions_in_deep_calls_are_paid_for_and_dropped() {
    let deep = format!("{}f(n - 1)", "-".repeat(1900));
    let text = format!("def f(n):\n  if n == 0: return wait()\n  return {deep}\nf(DEPTH)");
    small(move || {
        // Every suspended call holds as many futures as its expression has nodes.
        let raise = fails(&text.replace("DEPTH", "900"));
        assert_eq!(raise.as_fatal(), Some(Fatal::Memory), "{raise}");
        // Dropped while it waits.
        let machine = Machine::new(&Limits::default(), std::rc::Rc::new(Bare::default()));
        let wait =
            interpreter::Value::native("wait", |_, _| Ok(interpreter::Outcome::Wait(interpreter::Request::new(1))));
        let block =
            Frame::root(&machine, &source(&text.replace("DEPTH", "40")), vec![("wait".into(), wait)], Vec::new());
        let mut coroutine = Coroutine::of_block(&machine, block.expect("the program parses"));
        assert!(matches!(coroutine.resume(None), Step::Waiting(_)), "the program waits");
        drop(coroutine);
        machine.teardown();
    });
}

#[test]
fn values_that_grow_run_out_of_memory() {
    let limits = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    for text in [
        "x = []\nwhile 1: x.append(1)",
        "x = []\nclass A: pass\nwhile 1: x.append(A())",
        "x = {}\ni = 0\nwhile 1:\n  i += 1\n  x[i] = i",
        "x = 'a'\nwhile 1: x = x + x",
        "[0] * 10**12",
        "x = []\nwhile 1: x.append(lambda: 1)",
        "x = []\nwhile 1: x.append(i for i in [])",
        "class A: pass\na = A()\ni = 0\nwhile 1:\n  i += 1\n  setattr(a, 'x' + str(i), i)",
        "x = [[0] * 1000 for i in range(10**9)]",
        "x = set()\ni = 0\nwhile 1:\n  i += 1\n  x.add(i)",
        "big = [0] * 100000\nkeep = []\nwhile 1:\n  first, *rest = big\n  keep.append(rest)",
        "big = (0,) * 100000\nkeep = []\nwhile 1:\n  *rest, last = big\n  keep.append(rest)",
        "big = [0] * 100000\nkeep = []\nwhile 1:\n  match big:\n    case [*rest]: keep.append(rest)",
        "def f(*a): return a\nbig = [0] * 100000\nkeep = []\nwhile 1: keep.append(f(*big))",
        "def f(**k): return k\nbig = {str(i): i for i in range(10000)}\nkeep = []\nwhile 1: keep.append(f(**big))",
        "def f(*a): return 1\nbig = [0] * 100000\nf(*big, *big, *big, *big, *big, *big, *big, *big, *big, *big)",
        "x = list(b'a' * 2000000)",
        "x = sorted(b'a' * 2000000)",
        "x = [*(b'a' * 2000000)]",
        "x = []\nwhile 1: x.append({})",
        "x = []\nwhile 1: x.append(set())",
        "x = []\nwhile 1: x.append(list())",
        "x = []\nwhile 1: x.append(iter([]))",
        "x = []\nwhile 1: x.append(x.append)",
        "class A: pass\nx = 0\nwhile 1:\n  x += 1\n  setattr(A, 'x' + str(x), x)",
        "class A: pass\nwhile 1:\n  class A(A): pass",
        "x = []\nwhile 1:\n  try: 1/0\n  except ZeroDivisionError as e: x.append(e)",
        "big = list(range(100000))\ndef f(x): return sorted(big, key=f)\nf(0)",
        "class A:\n  def __repr__(self): return repr(big)\nbig = [A()] + [0] * 50000\nrepr(big)",
        "x = ['a'] * 100000\nwhile 1: x.append(' '.join(x))",
    ] {
        let result = run(text, &limits).1;
        let raise = result.err().unwrap_or_else(|| panic!("the program ends well: {text}"));
        let ends = raise.as_fatal() == Some(Fatal::Memory) || raise.is(Kind::MemoryError);
        assert!(ends, "{raise}: {text}");
    }
}

#[test]
fn operations_that_would_take_too_long_are_refused_by_name() {
    for (text, operation) in [
        ("x = (1 << 20000000) * ((1 << 20000000) - 1)", "a multiplication"),
        ("x = 3 ** 20000000", "a power"),
        ("x = ((1 << 4000000) + 1) // ((1 << 2000000) + 1)", "a division"),
        ("x = ((1 << 4000000) + 1) / ((1 << 2000000) + 1)", "a division"),
        ("x = pow(3, 1 << 100000, (1 << 100000) + 1)", "a power with a modulus"),
        ("x = pow(1 << 1600000000, 1, (1 << 320000) + 1)", "a power with a modulus"),
        ("x = round((1 << 4000000) + 1, -500000)", "rounding"),
        ("import math\nx = math.gcd((1 << 3000000) - 1, (1 << 2999999) - 1)", "gcd"),
    ] {
        let limits = Limits { fuel: 100_000_000, ..Limits::default() };
        let raise = run(text, &limits).1.err().unwrap_or_else(|| panic!("the program ends well: {text}"));
        assert!(raise.is(Kind::OverflowError) && raise.message().starts_with(operation), "{raise}: {text}");
    }
}

#[test]
fn long_texts_are_looked_through_once_and_paid_for() {
    // In 300,000 steps.
    for text in [
        "s = 'ab' * 1000000\nfor i in range(10000): assert s[i] == 'ab'[i % 2] and len(s) == 2000000",
        "s = 'äé' * 300000\nfor i in range(5000): assert s[i * 100 + 1] == 'é' and len(s) == 600000",
        "s = 'ä' * 300000 + 'x'\nassert s[-1] == 'x' and s.index('x') == 300000 and s[299999:] == 'äx'",
        "a = 1 << 1000000\nfor i in range(100): assert a == a and not a < a",
    ] {
        let limits = Limits { fuel: 300_000, ..Limits::default() };
        run(text, &limits).1.map_err(|raise| raise.traceback_text()).expect("the program has fuel enough");
    }
    for text in [
        "s = 'a' * 10000000\nwhile True: s.isalpha()",
        "s = 'é' * 5000000\nwhile True: s.islower()",
        "a = 1 << 100000000\nb = (1 << 100000000) + 1\nwhile True: a == b",
        "d = {}\ns = 'x' * 10000000\nwhile True: s in d",
        "s = 'x' * 10000000\nt = 'x' * 9999999 + 'y'\nwhile True: s == t",
        "s = 'x' * 10000000\nwhile True: 'y' in s",
        "b = b'x' * 10000000\nwhile True: b.find(b'y')",
        "class A: pass\nfor _ in range(20000):\n  class A(A): pass",
    ] {
        let limits = Limits { fuel: 1_000_000, ..Limits::default() };
        let raise = run(text, &limits).1.err().unwrap_or_else(|| panic!("the program ends well: {text}"));
        assert!(matches!(raise.as_fatal(), Some(Fatal::Fuel | Fatal::Memory)), "{raise}: {text}");
    }
}

#[test]
fn looks_come_as_time_passes() {
    /// Has a clock that every step, as the test makes it, moves on.
    #[derive(Default)]
    struct Slow {
        now: std::cell::Cell<Duration>,
        looks: std::cell::Cell<u32>,
    }
    impl interpreter::Environment for Slow {
        fn pace(&self, _: &Machine) -> Result<(), Fatal> {
            self.looks.set(self.looks.get() + 1);
            Ok(())
        }

        fn clock(&self) -> Option<Duration> {
            Some(self.now.get())
        }
    }
    let host = std::rc::Rc::new(Slow::default());
    let machine = Machine::new(&Limits::default(), host.clone());
    let looks = |steps: u32, step: Duration| {
        host.looks.set(0);
        for _ in 0..steps {
            host.now.set(host.now.get() + step);
            machine.charge_fuel(1).expect("there is fuel");
        }
        host.looks.get()
    };
    let fast = looks(10_000, Duration::from_nanos(100));
    assert!(fast < 20, "{fast} looks where steps are short");
    // Steps become long: after the first look that notices, another comes every few milliseconds.
    looks(1024, Duration::from_millis(1));
    let slow = looks(1000, Duration::from_millis(1));
    assert!(slow >= 150, "{slow} looks in a second");
    machine.teardown();
}

#[test]
fn memory_is_given_back() {
    let limits = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    let text = "class A: pass\nfor i in range(20000):\n  x = [0] * 1000\n  y = A()\n  y.z = x\n  f = lambda: x\n  g = (v for v in x)\n  next(g)";
    run(text, &limits).1.map_err(|raise| raise.traceback_text()).expect("garbage does not count");
}

#[test]
fn output_is_bounded() {
    let raise = fails("while 1: print('x' * 1000)");
    assert_eq!(raise.as_fatal(), Some(Fatal::Output));
}

#[test]
fn another_thread_stops_a_program() {
    let flag = Arc::new(AtomicU8::new(0));
    let machine = Machine::new(&Limits { fuel: u64::MAX, ..Limits::default() }, std::rc::Rc::new(Bare::default()));
    machine.set_stop_flag(Arc::clone(&flag));
    let text = "while True:\n  try:\n    while True: pass\n  except BaseException: pass";
    let block = Frame::root(&machine, &source(text), Vec::new(), Vec::new()).expect("the program parses");
    let watchdog = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        flag.store(2, Ordering::Relaxed);
    });
    let Step::Done(Err(raise)) = Coroutine::of_block(&machine, block).resume(None) else {
        panic!("the program does not end");
    };
    assert_eq!(raise.as_fatal(), Some(Fatal::Time));
    assert!(raise.traceback_text().contains("line 3, in <module>"), "{}", raise.traceback_text());
    watchdog.join().expect("the watchdog ends");
    machine.teardown();
}

#[test]
fn what_the_evaluator_lacks_is_named_with_its_line() {
    for (text, line, what) in [
        ("\n\nasync def f(): pass", 3, "'async def'"),
        ("x = 1\nfrom math import *", 2, "'import *'"),
        ("from . import x", 1, "a relative import"),
        ("def f():\n  return 1\n\nbreak", 4, "'break' outside loop"),
        ("yield 1", 1, "'yield' outside function"),
    ] {
        let raise = fails(text);
        let printed = raise.traceback_text();
        assert!(raise.is(Kind::SyntaxError) && raise.message().contains(what), "{printed}");
        assert!(printed.contains(&format!("File \"/user/block.py\", line {line}\n")), "{printed}");
    }
}

#[test]
fn nothing_is_left_after_teardown() {
    use std::rc::Rc;
    let host = Rc::new(Bare::default());
    let machine = Machine::new(&Limits::default(), host.clone());
    let text = "import math\nclass A:\n  def m(self): return a\na = A()\na.me = a\nxs = [a]\nxs.append(xs)\n\
                def f(): return f\ndef g():\n  yield f\nh = g()\nnext(h)\n\
                try: raise ValueError(f)\nexcept ValueError as e: kept = e";
    let block = Frame::root(&machine, &source(text), Vec::new(), Vec::new()).expect("the program parses");
    let frame = Rc::downgrade(&block.frame);
    let Step::Done(Ok(_)) = Coroutine::of_block(&machine, block).resume(None) else {
        panic!("the program does not end well");
    };
    machine.teardown();
    assert_eq!(frame.strong_count(), 0);
}
