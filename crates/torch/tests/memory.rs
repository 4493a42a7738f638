//! Tensors are charged to the job before they are allocated, and given back when they are freed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::rc::Rc;

use interpreter::{Coroutine, Environment, Fatal, Frame, Machine, Pool, Step, Value};
use program::{Limits, Source};

struct Host;

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }
}

const LIMIT: u64 = 64 << 20;

fn run(code: &str) -> (Machine, Result<(), Option<Fatal>>) {
    run_among(&Pool::default(), code)
}

/// Runs code beside what others hold.
fn run_among(pool: &Pool, code: &str) -> (Machine, Result<(), Option<Fatal>>) {
    let limits = Limits { tensor_bytes: LIMIT, ..Limits::default() };
    let machine = Machine::new(&limits, Rc::new(Host));
    machine.set_share(pool.share());
    let text = format!("import torch\nimport torch.nn.functional as F\n{code}\n");
    let source = Source { text, filename: "case".into(), function: "<module>".into() };
    let block = Frame::root(&machine, &source, Vec::new(), Vec::new()).unwrap();
    let outcome = match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(Ok(_)) => Ok(()),
        Step::Done(Err(raise)) => Err(raise.as_fatal()),
        Step::Waiting(_) => Err(None),
    };
    (machine, outcome)
}

#[test]
fn a_job_that_asks_for_too_much_ends_before_the_memory_is_taken() {
    for code in [
        "torch.zeros(10**12)",
        "torch.ones(10**6).expand(10**6, 10**6).contiguous()",
        "torch.ones(10**5)[:, None] * torch.ones(10**5)",
        "torch.ones(2).repeat(10**11)",
        "torch.cat([torch.ones(10**6)] * 1000)",
        "torch.ones(10**5, 1) @ torch.ones(1, 10**5)",
        "F.one_hot(torch.tensor([10**10]))",
        "torch.arange(10**11)",
        "torch.randn(10**5, 10**5)",
        "torch.cartesian_prod(torch.arange(10**5), torch.arange(10**5))",
        "torch.einsum('i,j,k->ijk', torch.ones(3000), torch.ones(3000), torch.ones(3000))",
        "torch.bincount(torch.tensor([10**12]))",
        "torch.tril(torch.ones(10**5, 1).expand(10**5, 10**5))",
        "kept = []\nfor _ in range(10**6):\n    kept.append(torch.ones(10**6))",
        "x = torch.ones(10**6, requires_grad=True)\nfor _ in range(1000):\n    x = x.exp()",
        "try:\n    torch.zeros(10**12)\nexcept BaseException:\n    pass",
    ] {
        let (_, outcome) = run(code);
        // Whichever budget is asked first: large results are charged as steps, too.
        assert!(matches!(outcome, Err(Some(Fatal::Tensors | Fatal::Fuel))), "{code}: {outcome:?}");
    }
}

#[test]
fn b6_what_others_hold_is_told_from_what_there_never_is() {
    let pool = Pool::new(48 << 20);
    let run = |code: &str| {
        let (machine, outcome) = run_among(&pool, code);
        machine.teardown();
        outcome
    };
    let others = pool.note(40 << 20);
    let code = "x = torch.zeros(4 * 2**20)";
    assert_eq!(run(code), Err(Some(Fatal::Crowded)));
    assert_eq!(pool.taken(), 40 << 20, "what has ended holds nothing");
    drop(others);
    assert_eq!(run(code), Ok(()));
    assert_eq!(run("for _ in range(20):\n    x = torch.zeros(4 * 2**20)"), Ok(()));
    assert_eq!(run("x = torch.zeros(15 * 2**20)"), Err(Some(Fatal::Tensors)));
    assert_eq!(pool.taken(), 0);
}

#[test]
fn what_is_freed_is_given_back() {
    let (machine, outcome) = run("for _ in range(200):\n    x = torch.ones(10**6)\n    y = x * 2 + 1\ndel x, y");
    assert_eq!(outcome, Ok(()));
    // What is freed is counted at the next operation.
    let block = Frame::root(
        &machine,
        &Source { text: "import torch\ntorch.ones(1)".into(), filename: "case".into(), function: "<module>".into() },
        Vec::new(),
        Vec::new(),
    );
    assert!(matches!(Coroutine::of_block(&machine, block.unwrap()).resume(None), Step::Done(Ok(_))));
    assert!(machine.tensor_bytes() < 1 << 20, "{} bytes still charged", machine.tensor_bytes());
}

#[test]
fn what_is_recorded_for_gradients_is_paid_for() {
    let begin = "a = torch.ones(1, requires_grad=True)\nx = a * 1\n";
    for code in [
        "while True:\n    x = x + 1",
        "while True:\n    x = x * a",
        "while True:\n    x = x[:1]",
        "while True:\n    x[0] = a[0]",
        "while True:\n    x.mul_(a)",
        "while True:\n    x = x.expand(50).unbind()[7].view(1)",
        "while True:\n    x, = torch.autograd.grad(x * x * a, a, create_graph=True)",
        "while True:\n    (a.grad * a if a.grad is not None else x * x).backward(create_graph=True, retain_graph=True)",
    ] {
        let (machine, outcome) = run(&format!("{begin}{code}"));
        assert_eq!(outcome, Err(Some(Fatal::Tensors)), "{code}");
        machine.teardown();
        drop(machine);
    }
}

#[test]
fn what_was_recorded_is_given_back() {
    let (machine, outcome) = run("from torch import nn
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
for _ in range(200):
    loss = (model(torch.ones(3, 4)) - 1).pow(2).mean()
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
del model, loss, p");
    assert_eq!(outcome, Ok(()));
    // What is freed is counted at the next operation.
    let code = "import torch\ntorch.ones(1)";
    let source = Source { text: code.into(), filename: "case".into(), function: "<module>".into() };
    let block = Frame::root(&machine, &source, Vec::new(), Vec::new()).unwrap();
    assert!(matches!(Coroutine::of_block(&machine, block).resume(None), Step::Done(Ok(_))));
    assert!(machine.tensor_bytes() < 4096, "{} bytes still charged", machine.tensor_bytes());
}

#[test]
fn views_cost_nothing() {
    let (machine, outcome) = run("x = torch.ones(10**6)\nkept = [x.view(-1)[i:] for i in range(500)]");
    assert_eq!(outcome, Ok(()));
    assert!(machine.tensor_bytes() < 8 << 20, "{} bytes charged", machine.tensor_bytes());
}

#[test]
fn arithmetic_is_paid_for_in_fuel() {
    for code in [
        "a = torch.ones(3000, 1).expand(3000, 3000).contiguous()\nwhile True:\n    a @ a",
        "a = torch.ones(1000, 1000)\nwhile True:\n    torch.linalg.svd(a)",
        "a = torch.ones(1).expand(10**9)\nwhile True:\n    a.sum()",
    ] {
        let limits = Limits { fuel: 50_000, ..Limits::default() };
        let machine = Machine::new(&limits, Rc::new(Host));
        let text = format!("import torch\n{code}\n");
        let source = Source { text, filename: "case".into(), function: "<module>".into() };
        let block = Frame::root(&machine, &source, Vec::new(), Vec::new()).unwrap();
        match Coroutine::of_block(&machine, block).resume(None) {
            Step::Done(Err(raise)) => assert_eq!(raise.as_fatal(), Some(Fatal::Fuel), "{code}"),
            _ => panic!("{code} ended"),
        }
    }
}

#[test]
fn many_tensors_or_modules_are_refused_before_they_are_made() {
    for code in [
        "torch.zeros(60_000_000).unbind()",
        "torch.zeros(300_000_000, 0).unbind()",
        "list(torch.zeros(10_000_000))",
        "torch.zeros(10_000_000).split(1)",
        "torch.zeros(10_000_000).tensor_split(10_000_000)",
        "for row in torch.zeros(10_000_000):\n    pass",
        "x = torch.zeros(1)\nkept = []\nwhile True:\n    kept.append(x.view(1))",
        "x = torch.zeros(1, requires_grad=True)\nkept = []\nwhile True:\n    kept.append(x.detach())",
        "s = torch.nn.Sequential(torch.nn.ReLU())\nfor _ in range(3):\n    s = s * 1000",
        "s = torch.nn.Sequential(torch.nn.ReLU())\nwhile True:\n    s = s + s",
        "s = torch.nn.ModuleList([torch.nn.ReLU()])\nwhile True:\n    s += s",
    ] {
        let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
        let machine = Machine::new(&limits, Rc::new(Host));
        let source =
            Source { text: format!("import torch\n{code}\n"), filename: "case".into(), function: "<module>".into() };
        let block = Frame::root(&machine, &source, Vec::new(), Vec::new()).unwrap();
        match Coroutine::of_block(&machine, block).resume(None) {
            Step::Done(Err(raise)) => {
                let fatal = raise.as_fatal();
                assert!(matches!(fatal, Some(Fatal::Memory | Fatal::Fuel)), "{code}: {}", raise.message());
            }
            _ => panic!("{code} ended"),
        }
        machine.teardown();
        assert_eq!(machine.memory_bytes(), 0, "{code}: what was charged is given back");
    }
}
