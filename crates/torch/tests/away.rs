//! A long operation is done on a thread of its own: it comes to the same, is paid for, and its job rests meanwhile.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use interpreter::{Coroutine, Environment, Fatal, Frame, Machine, Pool, Raise, Step, Value};
use program::{Limits, Source};

/// A host whose programs may wait, as in a lane, or not.
struct Host {
    waits: bool,
    rests: Cell<u64>,
    stop: Arc<AtomicU8>,
    stops: bool,
}

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }

    fn lasts(&self, _: &Machine) -> Result<bool, Fatal> {
        Ok(self.waits)
    }

    fn rest(&self) {
        self.rests.set(self.rests.get() + 1);
        if self.stops {
            self.stop.store(1, Ordering::Relaxed);
        }
    }
}

struct Ran {
    machine: Machine,
    host: Rc<Host>,
    outcome: Result<Option<String>, Raise>,
}

fn run(code: &str, waits: bool, stops: bool, limits: &Limits) -> Ran {
    run_among(&Pool::default(), code, waits, stops, limits)
}

/// Runs code beside what others hold.
fn run_among(pool: &Pool, code: &str, waits: bool, stops: bool, limits: &Limits) -> Ran {
    let host = Rc::new(Host { waits, rests: Cell::new(0), stop: Arc::default(), stops });
    let machine = Machine::new(limits, host.clone());
    machine.set_stop_flag(Arc::clone(&host.stop));
    machine.set_share(pool.share());
    let text = format!("import torch\ntorch.manual_seed(5)\n{code}\n");
    let source = Source { text, filename: "case".into(), function: "<module>".into() };
    let block = Frame::root(&machine, &source, Vec::new(), Vec::new()).unwrap();
    let frame = Rc::clone(&block.frame);
    let outcome = match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(Ok(_)) => Ok(frame.get("r").as_ref().and_then(Value::as_str).map(str::to_owned)),
        Step::Done(Err(raise)) => Err(raise),
        Step::Waiting(_) => Err(Raise::runtime_error("suspended")),
    };
    Ran { machine, host, outcome }
}

/// Operations that are long by what is computed, drawn, copied, gathered and written.
const LONG: [&str; 6] = [
    "r = repr(torch.linalg.svdvals(torch.randn(700, 700))[:5])",
    "r = repr(torch.randn(15_000_000)[::3_000_000])",
    "r = repr(torch.arange(12.).expand(10_000_000, 12).contiguous()[5_000_000])",
    "r = repr(torch.arange(1000.)[torch.zeros(30_000_000, dtype=torch.uint8).long()].sum())",
    "x = torch.zeros(30_000_000)\nx[torch.arange(30_000_000)] = torch.tensor(2.)\nr = repr(x.mean())",
    "w = torch.ones(200, 3, requires_grad=True)\nr = repr(torch.einsum('ia,jb->ijab', w, torch.ones(30_000, 3)).sum())",
];

#[test]
fn what_another_thread_computes_is_what_this_one_would() {
    for code in LONG {
        let (here, there) = (run(code, false, false, &Limits::default()), run(code, true, false, &Limits::default()));
        let (here, there) =
            (here.outcome.map_err(|raise| raise.message()), there.outcome.map_err(|raise| raise.message()));
        assert!(here.as_ref().is_ok_and(Option::is_some), "{code}: {here:?}");
        assert_eq!(here, there, "{code}");
    }
}

#[test]
fn what_another_thread_takes_is_charged_and_given_back() {
    let there = run("x = torch.randn(15_000_000)\nr = 'done'", true, false, &Limits::default());
    assert!(there.outcome.is_ok());
    assert!(there.machine.tensor_bytes() >= 60_000_000, "{}", there.machine.tensor_bytes());
    assert!(there.machine.fuel_used() >= 3000, "what is written is steps: {}", there.machine.fuel_used());
    let limits = Limits { tensor_bytes: 50_000_000, ..Limits::default() };
    let refused = run("x = torch.randn(15_000_000)", true, false, &limits);
    assert_eq!(refused.outcome.err().and_then(|raise| raise.as_fatal()), Some(Fatal::Tensors));
    let freed = run(
        "for _ in range(3):\n    x = torch.randn(15_000_000)\n    del x\ntorch.ones(1)",
        true,
        false,
        &Limits::default(),
    );
    assert!(freed.machine.tensor_bytes() < 1 << 20, "{}", freed.machine.tensor_bytes());
}

#[test]
fn b6_another_thread_takes_no_more_than_others_leave() {
    let (pool, code) = (Pool::new(100_000_000), "x = torch.randn(15_000_000)");
    let outcome = |code| run_among(&pool, code, true, false, &Limits::default()).outcome;
    let others = pool.note(50_000_000);
    assert_eq!(outcome(code).err().and_then(|raise| raise.as_fatal()), Some(Fatal::Crowded));
    drop(others);
    assert!(outcome(code).is_ok());
    assert!(outcome("x = torch.randn(10_000_000)\nx = torch.randn(10_000_000)").is_ok());
    assert_eq!(outcome("x = torch.randn(30_000_000)").err().and_then(|raise| raise.as_fatal()), Some(Fatal::Tensors));
    assert_eq!(pool.taken(), 0);
}

#[test]
fn a_job_that_is_stopped_does_not_wait_for_the_end() {
    let stopped = run("torch.linalg.svd(torch.randn(1500, 1500))", true, true, &Limits::default());
    assert_eq!(stopped.outcome.err().and_then(|raise| raise.as_fatal()), Some(Fatal::Cancelled));
    assert!(stopped.host.rests.get() > 0);
}

#[test]
fn what_a_job_has_no_time_for_is_refused_with_a_sentence() {
    let limits = Limits { run_time: std::time::Duration::from_secs(2), ..Limits::default() };
    let refused = run("torch.linalg.svd(torch.zeros(1).expand(4000, 4000))", true, false, &limits);
    let message = refused.outcome.err().map(|raise| raise.message()).unwrap_or_default();
    assert!(message.starts_with("linalg_svd() would take about "), "{message}");
    assert!(message.contains("a job has 2"), "{message}");
}

/// Two products of 1,800 rows, columns and terms, of which a backward pass has four.
const GRAPH: &str = "x = torch.randn(1800, 1800, requires_grad=True)\ny = x @ x\nz = (y @ x).sum()\n";

/// Ways to have the graph walked, with blocks beside.
const WALKS: [&str; 4] = [
    "z.backward()\nr = repr(x.grad[3, :5])",
    "with z.backward():\n    g = y.grad\n    y.grad = g * 2\nr = repr((g[1, :5], x.grad[3, :5]))",
    "(g,) = torch.autograd.grad(z, [x], retain_graph=True)\nz.backward()\nr = repr((g - x.grad).abs().max())",
    "u = (x * 3).sum()\nwith z.backward(retain_graph=True):\n    y.grad\n    with u.backward():\n        g = u.grad\n\
     z.backward()\nr = repr((g, x.grad[3, :5]))",
];

#[test]
fn a_long_walk_through_a_graph_comes_to_the_same_on_a_thread_of_its_own() {
    for code in WALKS {
        let code = format!("{GRAPH}{code}");
        let (here, there) = (run(&code, false, false, &Limits::default()), run(&code, true, false, &Limits::default()));
        let rests = there.host.rests.get();
        let (here, there) =
            (here.outcome.map_err(|raise| raise.message()), there.outcome.map_err(|raise| raise.message()));
        assert!(here.as_ref().is_ok_and(Option::is_some), "{code}: {here:?}");
        assert_eq!(here, there, "{code}");
        assert!(rests > 0, "{code}");
    }
}

#[test]
fn what_goes_wrong_in_a_long_walk_is_the_jobs_own_fault() {
    let (raise, limits) = ("with z.backward():\n    y.grad\n    raise ValueError('no more')", Limits::default());
    let raised = run(&format!("{GRAPH}{raise}"), true, false, &limits);
    assert_eq!(raised.outcome.err().map(|raise| raise.message().to_string()).as_deref(), Some("no more"));
    let again = run(&format!("{GRAPH}z.backward()\nz.backward()"), true, false, &limits);
    let message = again.outcome.err().map(|raise| raise.message().to_string()).unwrap_or_default();
    assert!(message.starts_with("Trying to backward through the graph a second time"), "{message}");
    // The graph has 13 MB of x, and as much of y; gradients are as large.
    let limits = Limits { tensor_bytes: 45_000_000, ..Limits::default() };
    let refused = run(&format!("{GRAPH}z.backward()"), true, false, &limits);
    assert_eq!(refused.outcome.err().and_then(|raise| raise.as_fatal()), Some(Fatal::Tensors));
    let stopped = run(&format!("{GRAPH}z.backward()"), true, true, &Limits::default());
    assert_eq!(stopped.outcome.err().and_then(|raise| raise.as_fatal()), Some(Fatal::Cancelled));
}

#[test]
fn what_a_long_walk_takes_is_charged_and_given_back() {
    let code = format!("{GRAPH}z.backward()\ndel y, z");
    let [here, there] = [false, true].map(|waits| run(&code, waits, false, &Limits::default()));
    assert!(there.outcome.is_ok() && there.host.rests.get() > 0);
    assert_eq!(there.machine.tensor_bytes(), here.machine.tensor_bytes());
}
