//! I3: weights cannot be modified by a request, whatever view of them and whatever operation it tries.

use std::rc::Rc;

use interpreter::{Coroutine, Environment, Frame, Machine, Step, Value};
use program::{DType, Limits, Source, TensorData};
use torch::Tensor;

struct Host;

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }
}

/// Ways to look at a weight's memory.
const VIEWS: &[&str] = &[
    "w",
    "w.data",
    "w.detach()",
    "w.T",
    "w.mT",
    "w.t()",
    "w.H",
    "w[0]",
    "w[:, 1]",
    "w[...]",
    "w[None]",
    "w[0:1]",
    "w[True]",
    "w.view(-1)",
    "w.view(6)",
    "w.view(torch.int32)",
    "w.reshape(-1)",
    "w.permute(1, 0)",
    "w.transpose(0, 1)",
    "w.flatten()",
    "w.unsqueeze(0)",
    "w.squeeze()",
    "w.expand(2, 2, 3)",
    "w.expand_as(w)",
    "w.narrow(0, 0, 1)",
    "w.select(0, 1)",
    "w.split(1)[0]",
    "w.chunk(2)[1]",
    "w.unbind()[0]",
    "w.tensor_split(2)[0]",
    "list(w)[0]",
    "w.diagonal()",
    "w.unfold(0, 1, 1)",
    "w.movedim(0, 1)",
    "w.swapaxes(0, 1)",
    "w.real",
    "w.contiguous()",
    "w.float()",
    "w.to('cpu')",
    "w.cpu()",
    "w.type(torch.float32)",
    "w.requires_grad_(False)",
    "w.view_as(w)",
    "w.numpy()",
    "torch.from_numpy(w.numpy())",
    "torch.as_tensor(w)",
    "torch.nn.Parameter(w)",
    "w.broadcast_to(2, 3)",
    "torch.transpose(w, 0, 1)",
    "torch.squeeze(w)",
    "torch.atleast_2d(w)",
    "torch.ravel(w)",
    "w.ravel()",
    "w.unflatten(1, (3, 1))",
    "w.hsplit(3)[0]",
    "w.vsplit(2)[0]",
    "w.adjoint()",
    "torch.broadcast_tensors(w, w)[0]",
    "w.resolve_conj()",
    "w.positive()",
    "einops.rearrange(w, 'a b -> b a')",
    "torch.nn.functional.dropout(w, 0.0, False)",
    "next(iter(w))",
    "torch.nn.Identity()(w)",
    "w.view(2, 3)[0].view(3)[1:]",
    "w.to_dense()",
    "w.cpu().data.T[0]",
    "torch.nn.functional.relu(w.abs()) * 0 + w",
];

/// Ways to write to `t`, which is such a view.
const WRITES: &[&str] = &[
    "t.add_(1)",
    "t += 1",
    "t[...] = 5",
    "t[:] = 5",
    "t[0] = 5",
    "t.zero_()",
    "t.fill_(2)",
    "t.copy_(t * 2)",
    "t.mul_(3)",
    "t.data = t * 2",
    "t.data.add_(1)",
    "t.detach().zero_()",
    "torch.nn.functional.relu(t.neg_(), inplace=True)",
    "t.clamp_(0, 0.1)",
    "t.normal_()",
    "t.uniform_()",
    "t.sub_(t)",
    "t.t_() if t.dim() <= 2 else t.add_(1)",
    "torch.relu_(t)",
    "t.index_fill_(0, torch.tensor([0]), 9)",
    "t.masked_fill_(t == t, 1)",
    "t.requires_grad_(True)",
    "t.grad = torch.ones_like(t)",
    "t.bernoulli_()",
];

fn weight() -> TensorData {
    let bytes = (1..=6).flat_map(|number| (number as f32).to_le_bytes()).collect();
    TensorData { dtype: DType::Float32, shape: vec![2, 3], bytes, requires_grad: false }
}

fn run(weight: &Tensor, code: &str) -> Result<(), String> {
    let machine = Machine::new(&Limits::default(), Rc::new(Host));
    let text = format!("import torch\nimport einops\nimport numpy as np\n{code}\n");
    let source = Source { text, filename: "case".into(), function: "<module>".into() };
    let block = Frame::root(&machine, &source, vec![("w".into(), weight.value())], Vec::new())
        .map_err(|raise| raise.message())?;
    let outcome = match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(Ok(_)) => Ok(()),
        Step::Done(Err(raise)) => Err(format!("{}: {}", raise.type_name(), raise.message())),
        Step::Waiting(_) => Err("suspended".into()),
    };
    machine.teardown();
    outcome
}

#[test]
fn no_operation_on_any_view_changes_a_weight() {
    let data = weight();
    let weight = Tensor::weight(Tensor::of_data(&data).unwrap().tch().shallow_clone());
    for view in VIEWS {
        run(&weight, &format!("t = {view}")).unwrap_or_else(|error| panic!("{view} should work: {error}"));
        for write in WRITES {
            let outcome = run(&weight, &format!("t = {view}\n{write}"));
            let after = weight.to_data().unwrap();
            assert_eq!(after.bytes, data.bytes, "{write} changed the weight through {view}: {outcome:?}");
            assert_eq!(after.shape, data.shape, "{write} reshaped the weight through {view}");
            assert!(!after.requires_grad, "{write} made the weight require grad through {view}");
        }
    }
}

#[test]
fn the_error_names_the_remedy() {
    let weight = Tensor::weight(Tensor::of_data(&weight()).unwrap().tch().shallow_clone());
    for code in ["w += 1", "w.data.zero_()", "w[0] = 1", "w.view(-1).mul_(2)", "w.T[1].fill_(0)", "w.numpy()[0] = 3"] {
        let error = run(&weight, code).unwrap_err();
        assert!(error.starts_with("RuntimeError") && error.contains("clone()"), "{code}: {error}");
    }
    run(&weight, "c = w.clone()\nc += 1\nc[0] = 2\nassert c[1, 0].item() == 5.0").unwrap();
}

#[test]
fn what_could_reach_beyond_a_view_is_refused_by_name() {
    let weight = Tensor::weight(Tensor::of_data(&weight()).unwrap().tch().shallow_clone());
    for name in
        ["as_strided", "set_", "untyped_storage", "storage", "data_ptr", "resize_", "resize_as_", "share_memory_"]
    {
        let error = run(&weight, &format!("w.{name}")).unwrap_err();
        let refusal = format!("AttributeError: torch.Tensor.{name} is not supported by this server: it ");
        assert!(error.starts_with(&refusal), "{error}");
    }
    for name in ["as_strided", "load", "save", "from_file", "frombuffer", "compile"] {
        let error = run(&weight, &format!("torch.{name}")).unwrap_err();
        let refusal = format!("AttributeError: torch.{name} is not supported by this server: it ");
        assert!(error.starts_with(&refusal), "{error}");
    }
}

#[test]
fn nobody_sees_memory_that_nobody_wrote() {
    let weight = Tensor::weight(Tensor::of_data(&weight()).unwrap().tch().shallow_clone());
    for code in ["torch.empty(1000)", "torch.empty_like(torch.ones(1000))", "w.new_empty(1000)", "torch.Tensor(1000)"] {
        let check = format!("for _ in range(20):\n    torch.ones(1000) * 7\n    assert {code}.abs().sum().item() == 0");
        run(&weight, &check).unwrap_or_else(|error| panic!("{code}: {error}"));
    }
}
