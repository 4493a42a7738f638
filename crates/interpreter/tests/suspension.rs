//! Code stops at questions to its host wherever they stand, and goes on with the answers.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use common::source;
use interpreter::{
    Args, Block, Capture, Coroutine, Environment, Fatal, Frame, HostObject, HostResult, Machine, Outcome, Raise,
    Request, Siblings, Step, Value,
};
use program::Limits;

/// Offers `ask(x)`, which waits, `invoke`, whose bodies run as coroutines of their own, and `tensor`, whose
/// attributes and operators wait.
#[derive(Default)]
struct Host {
    printed: RefCell<Vec<String>>,
    bodies: RefCell<Vec<Block>>,
    siblings: Rc<Siblings>,
}

struct Environ(Rc<Host>);

impl Environment for Environ {
    fn attribute(&self, _: &Machine, object: &Value, name: &str) -> Option<Value> {
        let object = object.clone();
        (name == "save").then(|| Value::native("save", move |_, _| Ok(object.clone().into())))
    }

    fn builtin(&self, _: &Machine, name: &str) -> Option<Value> {
        let host = Rc::clone(&self.0);
        Some(match name {
            "ask" => {
                Value::native("ask", |_, mut args: Args| Ok(Outcome::Wait(Request::new(args.positional.remove(0)))))
            }
            "invoke" => Value::host(Invoke(host)),
            "tensor" => Value::host(Tensor),
            _ => return None,
        })
    }

    fn print(&self, line: &str) {
        self.0.printed.borrow_mut().push(line.to_owned());
    }
}

/// `with invoke:` hands its body to the test.
struct Invoke(Rc<Host>);

impl HostObject for Invoke {
    fn type_name(&self) -> Cow<'static, str> {
        "Invoke".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn capture(self: Rc<Self>, _: &Machine, body: Block) -> Result<Capture, Raise> {
        let frame = body.frame.fork(&self.0.siblings);
        self.0.bodies.borrow_mut().push(Block { code: body.code, frame });
        Ok(Capture::Takes { target: Value::Int(7), outcome: Value::None.into() })
    }
}

struct Tensor;

impl HostObject for Tensor {
    fn type_name(&self) -> Cow<'static, str> {
        "Tensor".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "output" => Ok(Outcome::Wait(Request::new(Value::from("output")))),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn set_attribute(self: Rc<Self>, _: &Machine, _: &str, value: Value) -> HostResult {
        Ok(Outcome::Wait(Request::new(value)))
    }

    fn binary(self: Rc<Self>, _: &Machine, _: interpreter::Operator, other: &Value, _: bool) -> HostResult {
        Ok(Outcome::Wait(Request::new(other.clone())))
    }
}

fn machine() -> (Rc<Host>, Machine) {
    let host = Rc::new(Host::default());
    let machine = Machine::new(&Limits::default(), Rc::new(Environ(Rc::clone(&host))));
    (host, machine)
}

fn start(machine: &Machine, text: &str) -> (Rc<Frame>, Coroutine) {
    let block = Frame::root(machine, &source(text), Vec::new(), Vec::new()).expect("the program parses");
    (Rc::clone(&block.frame), Coroutine::of_block(machine, block))
}

/// Runs to the end, answers every integer with ten times it and the rest with itself, and counts the questions.
fn drive(coroutine: &mut Coroutine) -> (usize, Result<Value, Raise>) {
    let mut answer = None;
    for asked in 0.. {
        match coroutine.resume(answer.take()) {
            Step::Done(result) => return (asked, result),
            Step::Waiting(request) => {
                let value = *request.0.downcast::<Value>().expect("the host asks with values");
                answer = Some(Ok(match value {
                    Value::Int(number) => Value::Int(number * 10),
                    value => value,
                }));
            }
        }
    }
    unreachable!("the loop has no end")
}

#[test]
fn questions_may_stand_anywhere() {
    for (text, asked, printed) in [
        ("print([ask(i) for i in range(3)])", 3, "[0, 10, 20]"),
        ("print({ask(i): ask(i) for i in range(2)})", 4, "{0: 0, 10: 10}"),
        ("print(sorted([3, 1, 2], key=lambda x: -ask(x)))", 3, "[3, 2, 1]"),
        ("print(list(map(ask, [1, 2])), sum(ask(i) for i in range(3)))", 5, "[10, 20] 30"),
        ("print(f'{ask(1)}{ask(2):>4}')", 2, "10  20"),
        ("x = ask(1) + ask(2) * ask(3)\nprint(x)", 3, "610"),
        ("print(ask(1) < ask(2) < ask(0), ask(0) or ask(5), not ask(0))", 6, "False 50 True"),
        ("if ask(0): print('a')\nelif ask(1): print('b')", 2, "b"),
        ("n = 3\nwhile ask(n): n -= 1\nprint(n)", 4, "0"),
        ("for i in range(ask(1)):\n  if ask(i) > 20: break\nprint(i)", 5, "3"),
        ("def f(a, b=ask(4)): return a + b\nprint(f(ask(1)), f(b=ask(2), a=1))", 3, "50 21"),
        (
            "class A:\n  x = ask(1)\n  def __add__(self, o): return ask(o)\n  @property\n  def p(self): return ask(self.x)\n\
          a = A()\nprint(a + 4, a.p)",
            3,
            "40 100",
        ),
        (
            "class A:\n  def __getattr__(self, n): return ask(n)\n  def __len__(self): return ask(2)\n  def __bool__(self): return ask(1) > 5\n\
          a = A()\nprint(a.foo, len(a), bool(a))",
            3,
            "foo 20 True",
        ),
        ("class A:\n  def __lt__(self, o): return ask(1) > 0\nprint(A() < A(), len(sorted([A(), A()])))", 2, "True 2"),
        (
            "class A:\n  def __iter__(self):\n    yield ask(1)\n    yield ask(2)\na, b = A()\nprint(a, b, list(A()))",
            4,
            "10 20 [10, 20]",
        ),
        ("def g():\n  x = yield ask(1)\n  yield x + ask(2)\ni = g()\nprint(next(i), i.send(5))", 2, "10 25"),
        ("def g(): yield from (ask(i) for i in range(3))\nprint(list(g()))", 3, "[0, 10, 20]"),
        (
            "class C:\n  def __enter__(self): return ask(1)\n  def __exit__(self, *a): return ask(1) > 0\n\
          with C() as c:\n  raise ValueError\nprint(c)",
            2,
            "10",
        ),
        ("try:\n  ask(1)\n  1/0\nexcept ZeroDivisionError:\n  print(ask(2))\nfinally:\n  ask(3)", 3, "20"),
        ("xs = [1, 2]\nxs[ask(0)] += ask(3)\nprint(xs)", 2, "[31, 2]"),
        ("match ask(1):\n  case 10 if ask(0): print('no')\n  case int(n): print(n)", 2, "10"),
        ("print(tensor.output, tensor + 4, [tensor * i for i in range(2)])\ntensor.output = 3", 5, "output 40 [0, 10]"),
        ("print((lambda *a, **k: (a, k))(*[ask(1)], **{'z': ask(2)}))", 2, "((10,), {'z': 20})"),
        ("import functools\nprint(functools.reduce(lambda a, b: a + ask(b), [1, 2, 3]))", 2, "51"),
        ("print(max([1, 3, 2], key=lambda x: ask(x)), any(ask(i) for i in range(3)))", 5, "3 True"),
        ("d = {1: 'a'}\nprint(d[ask(1) // 10], d.get(ask(0), ask(7)))", 3, "a 70"),
        ("assert ask(1), ask(2)\nprint(ask(3))", 2, "30"),
        (
            "from contextlib import contextmanager\n@contextmanager\ndef m():\n  yield ask(1)\n  ask(2)\n\
             with m() as x: print(x, ask(3))",
            3,
            "10 30",
        ),
        (
            "from dataclasses import dataclass, field\n@dataclass(order=True)\nclass A:\n  \
             x: int = field(default_factory=lambda: ask(1))\n  def __post_init__(self): self.y = ask(2)\n\
             print(A(), A().y, A(3) < A(4))",
            6,
            "A(x=10) 20 True",
        ),
        (
            "import heapq, functools\n\
             print(heapq.nlargest(1, [1, 2], key=ask), sorted([1, 2], key=functools.cmp_to_key(lambda a, b: ask(b - a))))",
            3,
            "[2] [2, 1]",
        ),
        ("import functools\n@functools.cache\ndef f(x): return ask(x)\nprint(f(1), f(1), f(2))", 2, "10 10 20"),
        (
            "import copy\nclass A:\n  def __deepcopy__(self, memo): return ask(4)\nprint(copy.deepcopy([A()]))",
            1,
            "[40]",
        ),
        ("import statistics\nprint(statistics.mean(ask(i) for i in range(3)))", 3, "10"),
        ("from enum import Enum\nclass E(Enum):\n  A = ask(1)\nprint(E.A.value, E(10).name)", 1, "10 A"),
        ("import re\nprint(re.sub(r'(?<=a)b', lambda m: str(ask(1)), 'ab ab'))", 2, "a10 a10"),
    ] {
        let (host, machine) = machine();
        let (_, mut coroutine) = start(&machine, text);
        let (count, result) = drive(&mut coroutine);
        if let Err(raise) = result {
            panic!("{text}\n{}", raise.traceback_text());
        }
        assert_eq!(host.printed.borrow().join("\n"), printed, "{text}");
        assert_eq!(count, asked, "{text}");
        machine.teardown();
    }
}

#[test]
fn an_answer_may_be_an_exception() {
    let (host, machine) = machine();
    let text = "def f():\n  try:\n    return ask(1)\n  except ValueError as e:\n    print('caught', e)\n    return ask(2)\nf()";
    let (_, mut coroutine) = start(&machine, text);
    assert!(matches!(coroutine.resume(None), Step::Waiting(_)));
    assert!(matches!(coroutine.resume(Some(Err(Raise::value_error("no layer")))), Step::Waiting(_)));
    assert_eq!(*host.printed.borrow(), ["caught no layer"]);
    let Step::Done(Err(raise)) = coroutine.resume(Some(Err(Raise::value_error("no more")))) else {
        panic!("the second answer is not caught");
    };
    assert!(raise.traceback_text().starts_with(
        "Traceback (most recent call last):\n  File \"/user/block.py\", line 3, in f\n    return ask(1)\n           ^^^^^^\n\
         ValueError: no layer\n\nDuring handling of the above exception, another exception occurred:\n\n\
         Traceback (most recent call last):\n  File \"/user/block.py\", line 7, in <module>\n    f()\n"
    ), "{}", raise.traceback_text());
}

#[test]
fn a_fatal_answer_skips_handlers() {
    let (host, machine) = machine();
    let text = "try:\n  ask(1)\nexcept BaseException:\n  print('except')\nfinally:\n  print('finally')";
    let (_, mut coroutine) = start(&machine, text);
    assert!(matches!(coroutine.resume(None), Step::Waiting(_)));
    let Step::Done(Err(raise)) = coroutine.resume(Some(Err(Raise::fatal(Fatal::Stopped)))) else {
        panic!("the program goes on after it was stopped");
    };
    assert_eq!(raise.as_fatal(), Some(Fatal::Stopped));
    assert!(host.printed.borrow().is_empty());
}

#[test]
fn coroutines_of_one_machine_alternate() {
    let (host, machine) = machine();
    let text = "def g(n):\n  for i in range(n):\n    yield ask(i)\n\
                try:\n  raise KeyError(name)\nexcept KeyError:\n  for v in g(3): print(name, v)\n  try:\n    raise\n  except KeyError as e: print(e)";
    let mut coroutines: Vec<Coroutine> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let (frame, coroutine) = start(&machine, text);
            frame.set("name", Value::from(name));
            coroutine
        })
        .collect();
    let mut answers: Vec<Option<Result<Value, Raise>>> = vec![None, None];
    let mut running = 2;
    while running > 0 {
        for (coroutine, answer) in coroutines.iter_mut().zip(&mut answers) {
            match coroutine.resume(answer.take()) {
                Step::Waiting(request) => {
                    *answer = Some(Ok(*request.0.downcast::<Value>().expect("the host asks with values")));
                }
                Step::Done(result) => {
                    result.expect("the program ends well");
                    running -= 1;
                }
            }
        }
    }
    assert_eq!(*host.printed.borrow(), ["a 0", "b 0", "a 1", "b 1", "a 2", "'a'", "b 2", "'b'"]);
}

#[test]
fn bodies_of_with_see_a_snapshot_and_what_their_siblings_bind() {
    let (host, machine) = machine();
    let text = "shared = 1\ndef helper(): return shared * 100\n\
                with invoke as inv:\n  first = ask(1) + shared\n  print(helper(), inv)\n\
                with invoke:\n  shared = 5\n  print(first, shared, helper())\n\
                print('after', shared)";
    let (frame, mut coroutine) = start(&machine, text);
    let (asked, result) = drive(&mut coroutine);
    result.expect("the outer block ends");
    assert_eq!((asked, host.printed.borrow().join("|")), (0, "after 1".to_owned()));
    let bodies = host.bodies.take();
    assert_eq!(bodies.len(), 2);
    for body in bodies {
        let (_, result) = drive(&mut Coroutine::of_block(&machine, body));
        result.expect("the body ends");
    }
    assert_eq!(host.printed.borrow()[1..].join("|"), "100 7|11 5 100");
    let names: Vec<String> = host.siblings.names().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["first", "shared"]);
    assert!(frame.get("first").is_none());
    assert_eq!(frame.get("shared").and_then(|value| value.as_int()), Some(1));
}

#[test]
fn a_body_that_reads_what_no_sibling_has_bound_fails_on_its_line() {
    let (host, machine) = machine();
    let text = "\n\nwith invoke:\n  x = clean\n";
    let (_, mut coroutine) = start(&machine, text);
    drive(&mut coroutine).1.expect("the outer block ends");
    let body = host.bodies.borrow_mut().remove(0);
    let (_, result) = drive(&mut Coroutine::of_block(&machine, body));
    let text = result.err().map(|raise| raise.traceback_text());
    assert_eq!(
        text.as_deref(),
        Some(
            "Traceback (most recent call last):\n  File \"/user/block.py\", line 4, in <module>\n    x = clean\n        ^^^^^\n\
             NameError: name 'clean' is not defined\n"
        )
    );
}

#[test]
fn dropping_a_deeply_suspended_coroutine_is_clean() {
    let (_, machine) = machine();
    let text = "def f(n): return ask(n) if n == 0 else [f(n - 1) for _ in range(1)]\nf(300)";
    let (_, mut coroutine) = start(&machine, text);
    assert!(matches!(coroutine.resume(None), Step::Waiting(_)));
    drop(coroutine);
    machine.teardown();
}

#[test]
fn environment_attributes_are_on_everything() {
    let (host, machine) = machine();
    let text = "class A: pass\na = A()\nprint([1].save(), (3).save(), a.save() is a, len.save() is len, A.save() is A)\n\
                x = [i for i in range(2)].save()";
    let (frame, mut coroutine) = start(&machine, text);
    drive(&mut coroutine).1.expect("the program ends");
    assert_eq!(host.printed.borrow().join(""), "[1] 3 True True True");
    assert!(matches!(frame.get("x"), Some(Value::List(_))));
}
