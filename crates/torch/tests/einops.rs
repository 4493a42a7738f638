//! `einops` patterns mean what the same steps of PyTorch mean.

use std::rc::Rc;

use interpreter::{Coroutine, Environment, Frame, Machine, Step, Value};
use program::{Limits, Source};

struct Host;

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }
}

fn run(code: &str) -> Result<(), String> {
    let machine = Machine::new(&Limits::default(), Rc::new(Host));
    let text = format!(
        "import torch\nfrom einops import rearrange, reduce, repeat, einsum, parse_shape\n\
         x = torch.arange(24).reshape(2, 3, 4)\nf = x.float()\n{code}\n"
    );
    let source = Source { text, filename: "case".into(), function: "<module>".into() };
    let block = Frame::root(&machine, &source, Vec::new(), Vec::new()).map_err(|raise| raise.message())?;
    match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(Ok(_)) => Ok(()),
        Step::Done(Err(raise)) => Err(format!("{}: {}", raise.type_name(), raise.message())),
        Step::Waiting(_) => Err("suspended".into()),
    }
}

#[test]
fn patterns_mean_what_their_steps_mean() {
    for (pattern, steps) in [
        ("rearrange(x, 'a b c -> c a b')", "x.permute(2, 0, 1)"),
        ("rearrange(x, 'a b c -> (a b) c')", "x.reshape(6, 4)"),
        ("rearrange(x, 'a b c -> a (c b)')", "x.permute(0, 2, 1).reshape(2, 12)"),
        ("rearrange(x, 'a b (h d) -> a h b d', h=2)", "x.reshape(2, 3, 2, 2).permute(0, 2, 1, 3)"),
        ("rearrange(x, 'a b (h d) -> a h b d', d=2)", "x.reshape(2, 3, 2, 2).permute(0, 2, 1, 3)"),
        ("rearrange(x, '... c -> c ...')", "x.permute(2, 0, 1)"),
        ("rearrange(x, 'a ... -> a (...)')", "x.reshape(2, 12)"),
        ("rearrange(x, 'a b c -> a 1 b c')", "x[:, None]"),
        ("rearrange(x[:, :1], 'a 1 c -> a c')", "x[:, 0]"),
        ("rearrange(x, 'a b c -> a b c')", "x"),
        ("rearrange([x, x], 'l a b c -> a l b c')", "torch.stack([x, x]).transpose(0, 1)"),
        ("rearrange(x, 'a b c -> ()  (a b c)')", "x.reshape(1, 24)"),
        ("reduce(f, 'a b c -> a', 'mean')", "f.mean((1, 2))"),
        ("reduce(x, 'a b c -> c', 'sum')", "x.sum((0, 1))"),
        ("reduce(x, 'a b c -> b a', 'max')", "x.amax(2).T"),
        ("reduce(x, 'a b c -> a', 'min')", "x.amin((1, 2))"),
        ("reduce(x, 'a b c -> a', 'prod')", "x.prod(2).prod(1)"),
        ("reduce(x, 'a b (c d) -> a b c', 'sum', d=2)", "x.reshape(2, 3, 2, 2).sum(3)"),
        ("reduce(x, 'a b c -> a 1 c', 'max')", "x.amax(1, keepdim=True)"),
        ("reduce(x, '... c -> c', 'sum')", "x.sum((0, 1))"),
        ("repeat(x, 'a b c -> a b c d', d=2)", "x[..., None].expand(2, 3, 4, 2)"),
        ("repeat(x, 'a b c -> (r a) b c', r=2)", "x.repeat(2, 1, 1)"),
        ("repeat(x, 'a b c -> a (b r) c', r=2)", "x.repeat_interleave(2, 1)"),
        ("einsum(f, f, 'a b c, a d c -> a b d')", "f @ f.mT"),
        ("einsum(f, 'batch pos dim -> batch dim')", "f.sum(1)"),
    ] {
        run(&format!("assert torch.equal({pattern}, {steps}), {pattern}")).unwrap_or_else(|e| panic!("{pattern}: {e}"));
    }
    run("assert parse_shape(x, 'b _ w') == {'b': 2, 'w': 4}").unwrap();
    run("y = f.clone().requires_grad_()\nrearrange(y, 'a b c -> c (a b)').sum().backward()\nassert y.grad.sum().item() == 24").unwrap();
}

#[test]
fn wrong_patterns_say_what_is_wrong() {
    for (code, expected) in [
        ("rearrange(x, 'a b (h d) -> a h b d', h=3)", "Shape mismatch, can't divide axis of length 4 in chunks of 3"),
        ("rearrange(x, 'a b -> b a')", "Wrong shape: expected 2 dims. Received 3-dim tensor."),
        ("rearrange(x, 'a b c -> a b')", "Identifiers only on one side of expression (should be on both): {'c'}"),
        ("rearrange(x, 'a a b -> a b')", "duplicate dimension"),
        ("rearrange(x, 'a (b c -> a b c')", "Brackets are not balanced"),
        ("rearrange(x, 'a b c')", "left and a right side"),
        ("repeat(x, 'a b c -> a b c d')", "Specify sizes for new axes in repeat: d"),
        ("reduce(x, 'a b c -> a', 'median')", "Unknown reduction median"),
        ("reduce(x, 'a b c -> a', 'mean')", "not available for non-floating tensors"),
        ("rearrange(x, '(a b) c d -> a', a=0)", ""),
    ] {
        let error = run(code).unwrap_err();
        assert!(error.starts_with("einops.EinopsError") && error.contains(expected), "{code}: {error}");
    }
}
