//! `with loss.backward():` and its neighbours, by values that can be told without PyTorch.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::rc::Rc;

use interpreter::{Coroutine, Environment, Frame, Machine, Raise, Step, Value};
use program::{Limits, Source};

struct Host;

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }
}

/// Runs code after `x = [1, 2, 3]`, `y = x²` and `z = 5 Σ y`, whose gradients are `[10, 20, 30]`, 5 and 1.
fn run(code: &str) -> Result<(Rc<Frame>, Machine), Raise> {
    let limits = Limits { tensor_bytes: 1 << 20, ..Limits::default() };
    let machine = Machine::new(&limits, Rc::new(Host));
    let text = format!(
        "import torch\nx = torch.tensor([1., 2., 3.], requires_grad=True)\ny = x * x\nz = (y * 5).sum()\n{code}\n"
    );
    let source = Source { text, filename: "case".into(), function: "<module>".into() };
    let block = Frame::root(&machine, &source, Vec::new(), Vec::new())?;
    let frame = Rc::clone(&block.frame);
    match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(result) => result.map(|_| (frame, machine)),
        Step::Waiting(_) => panic!("{code}: nobody answers"),
    }
}

/// Runs code and returns the numbers in its `g`.
fn numbers(code: &str) -> Vec<f64> {
    let (frame, machine) = run(code).unwrap_or_else(|raise| panic!("{code}: {}", raise.message()));
    let found = torch::Tensor::of(&frame.get("g").unwrap()).unwrap().to_data().unwrap();
    machine.teardown();
    found.bytes.as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
}

fn error(code: &str) -> String {
    match run(code) {
        Ok(_) => panic!("{code} ended well"),
        Err(raise) => format!("{}: {}", raise.type_name(), raise.message()),
    }
}

#[test]
fn a_block_sees_and_replaces_gradients_on_their_way() {
    for (code, expected) in [
        ("with z.backward():\n    g = y.grad", vec![5.0, 5.0, 5.0]),
        ("with z.backward():\n    g = y.grad\n    g = x.grad", vec![10.0, 20.0, 30.0]),
        ("with z.backward():\n    g = z.grad", vec![1.0]),
        ("with z.backward():\n    y.grad = y.grad * 2\n    g = x.grad", vec![20.0, 40.0, 60.0]),
        ("with z.backward():\n    y.grad[0] = 0\n    g = x.grad", vec![0.0, 20.0, 30.0]),
        (
            "with z.backward():\n    y.grad = torch.ones(3)\n    y.grad = y.grad + 1\n    g = y.grad",
            vec![2.0, 2.0, 2.0],
        ),
        ("with z.backward():\n    z.grad = z.grad * 3\ng = x.grad", vec![30.0, 60.0, 90.0]),
        ("with z.backward():\n    pass\ng = x.grad", vec![10.0, 20.0, 30.0]),
        ("with z.backward(gradient=torch.tensor(2.)):\n    g = y.grad", vec![10.0, 10.0, 10.0]),
        ("with z.backward(retain_graph=True):\n    a = y.grad\nwith z.backward():\n    g = a + y.grad", vec![10.0; 3]),
        ("g = [0]\nwith z.backward() as tracer:\n    g = y.grad\nassert tracer is not None", vec![5.0; 3]),
        ("def f(loss):\n    with loss.backward():\n        g = y.grad\n    return g\ng = f(z)", vec![5.0; 3]),
        ("if z.backward() is None:\n    g = x.grad", vec![10.0, 20.0, 30.0]),
        ("with z.backward():\n    w = y.grad * x\n    g = torch.tensor([float(w.requires_grad)])", vec![0.0]),
        (
            "with z.backward(create_graph=True):\n    w = x.grad * 1\n    g = torch.tensor([float(w.requires_grad)])",
            vec![1.0],
        ),
        ("with z.backward():\n    y.grad\ng = torch.tensor([float((x * 2).requires_grad)])", vec![1.0]),
        (
            "u = (x ** 3).sum()\nwith z.backward():\n    y.grad\n    with u.backward():\n        g = u.grad\n    g = g + 1",
            vec![2.0],
        ),
    ] {
        assert_eq!(numbers(code), expected, "{code}");
    }
}

#[test]
fn what_goes_wrong_is_raised_where_it_was_written() {
    for (code, expected) in [
        ("with z.backward():\n    x.grad\n    y.grad", "OutOfOrderError: the `.grad` of a tensor of shape [3]"),
        ("with y.sum().backward():\n    z.grad", "OutOfOrderError: the `.grad` of a tensor of shape []"),
        ("with z.backward():\n    y.grad\n    1 / 0", "ZeroDivisionError: division by zero"),
        ("with z.backward():\n    1 / 0", "ZeroDivisionError: division by zero"),
        ("with z.detach().backward():\n    pass", "NotImplementedError: This tensor does not require grad"),
        ("with z.backward():\n    torch.ones(2).grad", "RuntimeError: cannot register a hook on a tensor"),
        ("with z.backward():\n    y.grad = 3", "TypeError: a gradient can only be replaced by a Tensor, not int"),
        ("with z.backward():\n    y.grad = torch.ones(7)", "RuntimeError: hook 'hook' has changed the size of value"),
        (
            "with z.backward():\n    y.grad = torch.ones(3).double()",
            "RuntimeError: hook 'hook' has changed the type of value (was torch.FloatTensor got torch.DoubleTensor)",
        ),
        ("with y.backward():\n    pass", "RuntimeError: grad can be implicitly created only for scalar outputs"),
        ("z.backward()\nwith z.backward():\n    pass", "RuntimeError: Trying to backward through the graph a second"),
        ("z.backward()\nz.backward()", "RuntimeError: Trying to backward through the graph a second time"),
    ] {
        let found = error(code);
        let found = found.rsplit_once("interleaver.").map_or(found.as_str(), |(_, found)| found);
        assert!(found.starts_with(expected), "{code}: {found}");
    }
}

#[test]
fn what_a_block_raises_can_be_caught_and_the_graph_goes_on() {
    let code = "try:\n    with z.backward(retain_graph=True):\n        y.grad\n        1 / 0\nexcept ZeroDivisionError:\n    \
                with z.backward():\n        g = y.grad";
    assert_eq!(numbers(code), [5.0; 3]);
    let code = "with z.backward():\n    g = x.grad\n    try:\n        y.grad\n    except Exception:\n        g = g + 1";
    assert_eq!(numbers(code), [11.0, 21.0, 31.0]);
}

#[test]
fn passes_nest_as_deep_as_one_thread_allows() {
    // Nothing inside an unrecorded pass is recorded, so the graphs are made before.
    let made = |depth: usize| {
        format!(
            "losses = [(x * n).sum() for n in range({depth})]\ndef f(n):\n    if n == len(losses):\n        return\n    \
             with losses[n].backward():\n        losses[n].grad\n        f(n + 1)\nf(0)\ng = x.grad"
        )
    };
    assert_eq!(numbers(&made(16)), [120.0; 3]);
    assert!(error(&made(17)).contains("more than 16 backward passes inside one another"));
}

#[test]
fn no_cycle_of_gradients_outlives_the_job() {
    for code in [
        "(x ** 3).sum().backward(create_graph=True)",
        "with (x ** 3).sum().backward(create_graph=True):\n    x.grad",
        "x.grad = y",
        "x.retain_grad()\nz.backward(create_graph=True)",
    ] {
        let (frame, machine) = run(code).unwrap_or_else(|raise| panic!("{code}: {}", raise.message()));
        let leaf = torch::Tensor::of(&frame.get("x").unwrap()).unwrap();
        assert!(leaf.grad().unwrap().is_some_and(|gradient| gradient.requires_grad()), "{code}");
        machine.teardown();
        assert!(leaf.grad().unwrap().is_none(), "{code}");
    }
}

#[test]
fn what_a_pass_held_is_given_back() {
    let code = "for _ in range(300):\n    a = torch.ones(10000, requires_grad=True)\n    b = a.exp()\n    \
                with b.sum().backward():\n        b.grad\ndel a, b\ntorch.ones(1)";
    let (frame, machine) = run(code).unwrap_or_else(|raise| panic!("{}", raise.message()));
    assert!(machine.tensor_bytes() < 1 << 16, "{} bytes still charged", machine.tensor_bytes());
    drop(frame);
}
