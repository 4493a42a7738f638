//! Blocks whose model is on a GPU, on a stand-in for one: `mock/mock.cpp` says what that shows.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::rc::Rc;
use std::sync::LazyLock;

use interpreter::{Coroutine, Environment, Fatal, Frame, Machine, Raise, Step, Value};
use kernels::varlen;
use program::{Limits, Source};
use tch::{Kind, Tensor};
use torch::Device;
use torch::cuda::{Cuda, Search};

struct Host;

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }
}

static CUDA: LazyLock<Cuda> = LazyLock::new(|| {
    torch::prepare();
    let search = Search { folder: Some(mock::folder()), ..Search::default() };
    search.load().unwrap_or_else(|missing| panic!("{missing}"))
});

fn devices() -> [Device; 2] {
    assert!(CUDA.devices > 0);
    [Device::CPU, Device::cuda(0)]
}

/// Runs code of a job whose model is on a device.
fn run(code: &str, device: Device, limits: &Limits) -> (Rc<Frame>, Machine, Result<(), Raise>) {
    LazyLock::force(&CUDA);
    let machine = Machine::new(limits, Rc::new(Host));
    torch::Job::of(&machine).set_device(device);
    let source = Source { text: format!("import torch\n{code}\n"), filename: "case".into(), function: "f".into() };
    let block =
        Frame::root(&machine, &source, Vec::new(), Vec::new()).unwrap_or_else(|raise| panic!("{}", raise.message()));
    let frame = Rc::clone(&block.frame);
    match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(outcome) => (frame, machine, outcome.map(|_| ())),
        Step::Waiting(_) => panic!("{code}: nobody answers"),
    }
}

/// Returns the text of what is bound to `result`, or the exception.
fn result(code: &str, device: Device) -> String {
    let (frame, machine, outcome) = run(code, device, &Limits::default());
    let text = match outcome {
        Ok(()) => frame.get("result").as_ref().and_then(Value::as_str).unwrap_or("no result").to_owned(),
        Err(raise) => format!("{}: {}", raise.type_name(), raise.message()),
    };
    machine.teardown();
    text
}

fn on_gpu(expression: &str) -> String {
    result(&format!("result = str(({expression}))"), devices()[1])
}

/// Cases that tell where they run, and those that libtorch computes in other steps on a GPU, or with more random numbers.
const OTHERS: [&str; 7] = [
    "x.device",
    "x.is_cuda",
    "repr(x.device)",
    "x.device == torch.device(\"cpu\")",
    "F.scaled_dot_product_attention(cube[None], cube[None], cube[None])[0, 0]",
    "torch.manual_seed(9) ;; F.dropout(torch.ones(8), 0.5)",
    "torch.manual_seed(1) ;; nn.Conv1d(3, 2, 2, stride=1, padding='same', dilation=2)(cube)",
];

/// Leaves out of a text that it is about a GPU, and the quotation marks, which depend on that.
fn plain(text: &str) -> String {
    let text = text.replace(['\'', '"', '\\'], "").replace(", device=cuda:0", "");
    // Where that made a line too long, it was broken.
    text.replace(",n       grad_fn=", ", grad_fn=")
}

/// Says whether a GPU gave what the CPU gives: what stands for one to the last bit, a real one to a few of them.
fn alike(cpu: &str, gpu: &str) -> bool {
    let (cpu, gpu) = (plain(cpu), plain(gpu));
    if !mock::is_real() {
        return cpu == gpu;
    }
    let gpu = gpu.replace("_cuda not", "_cpu not");
    if cpu.contains("Error: ") && gpu.contains("Error: ") {
        return cpu.split_once(": ").map(|(kind, _)| kind) == gpu.split_once(": ").map(|(kind, _)| kind);
    }
    let words = |text: &str| -> Vec<String> {
        text.split(|letter: char| !letter.is_alphanumeric() && !".+-".contains(letter)).map(str::to_owned).collect()
    };
    let near = |(cpu, gpu): (&String, &String)| match (cpu.parse::<f64>(), gpu.parse::<f64>()) {
        (Ok(cpu), Ok(gpu)) => {
            cpu == gpu || (cpu - gpu).abs() <= 1e-5 * cpu.abs().max(1.0) || cpu.is_nan() && gpu.is_nan()
        }
        _ => cpu == gpu,
    };
    let (cpu, gpu) = (words(&cpu), words(&gpu));
    cpu.len() == gpu.len() && cpu.iter().zip(&gpu).all(near)
}

#[test]
fn every_case_of_the_oracle_gives_what_it_gives_on_the_cpu() {
    let [cpu, gpu] = devices();
    let prelude = include_str!("oracle/prelude.py");
    let cases = include_str!("oracle/cases.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut wrong = Vec::new();
    // A real GPU has random numbers and drivers of its own.
    let own =
        |case: &str| mock::is_real() && ["manual_seed", "Generator", "driver="].iter().any(|name| case.contains(name));
    // These name the device that they are about.
    let names = |case: &str| ["autocast", "device='cpu'"].iter().any(|name| case.contains(name));
    for case in cases.filter(|case| !OTHERS.contains(case) && !own(case) && !names(case)) {
        let case = case.replace("\\n", "\n");
        let (statements, expression) = case.rsplit_once(" ;; ").unwrap_or(("", &case));
        let statements = statements.replace(" ;; ", "\n");
        let code = format!("{prelude}\n{statements}\nresult = repr(describe({expression}))");
        let (expected, found) = (result(&code, cpu), result(&code, gpu));
        if !alike(&expected, &found) {
            wrong.push(format!("{case}\n  cpu: {expected}\n  gpu: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(torch::cuda::check(gpu), Ok(()));
}

#[test]
fn what_names_no_device_comes_to_the_models_and_what_names_one_goes_there() {
    for (expression, expected) in [
        ("torch.zeros(2).device", "cuda:0"),
        ("torch.tensor([1, 2]).device", "cuda:0"),
        ("torch.randn(2, generator=torch.Generator().manual_seed(1)).device", "cuda:0"),
        ("torch.empty(2)", "tensor([0., 0.], device='cuda:0')"),
        ("torch.zeros(2, device='cpu').device", "cpu"),
        ("torch.zeros(2).cpu().device", "cpu"),
        ("torch.zeros(2).cpu().cuda().device", "cuda:0"),
        ("torch.zeros(2, device='cpu').to('cuda').device", "cuda:0"),
        ("torch.zeros(2, device='cpu').to(torch.zeros(1)).device", "cuda:0"),
        ("torch.zeros(2, device='cpu').to(0).device", "cuda:0"),
        ("torch.zeros(2).to('cpu', torch.int64)", "tensor([0, 0])"),
        ("torch.tensor(torch.zeros(2, device='cpu')).device", "cpu"),
        ("torch.zeros(2, device='cpu').new_zeros(1).device", "cpu"),
        ("torch.zeros_like(torch.zeros(2, device='cpu')).device", "cpu"),
        ("torch.device('cuda'), torch.get_default_device()", "(device(type='cuda'), device(type='cuda', index=0))"),
        ("torch.cuda.is_available(), torch.cuda.device_count(), torch.cuda.current_device()", "(True, 1, 0)"),
        ("torch.zeros(2).get_device(), torch.zeros(2).is_cuda, torch.zeros(2).is_cpu", "(0, True, False)"),
        ("torch.from_numpy(torch.ones(2).numpy()).device", "cuda:0"),
        ("torch.ones(2).numpy() * torch.ones(2)", "tensor([1., 1.], device='cuda:0')"),
        ("float(torch.ones(2).sum()), torch.ones(2).tolist(), int(torch.ones(2).argmax())", "(2.0, [1.0, 1.0], 0)"),
    ] {
        assert_eq!(on_gpu(expression), expected, "{expression}");
    }
    assert!(on_gpu("torch.zeros(2, device='cuda:1')").ends_with("CUDA error: invalid device ordinal"));
    for expression in ["torch.zeros(2).cuda()", "torch.zeros(2, device='cuda')", "torch.Generator('cuda')"] {
        let found = result(&format!("result = str({expression})"), devices()[0]);
        assert_eq!(found, "RuntimeError: No CUDA GPUs are available", "{expression}");
    }
}

#[test]
fn a_job_sees_the_gpu_of_its_model_as_the_first_and_no_other() {
    // The second of those that are made up.
    let index = CUDA.devices - 1;
    let last = Device::cuda(i32::try_from(index).unwrap());
    let code = "x = torch.zeros(2) + torch.ones(2, device='cuda:0')\nresult = str((x, x.device, x.to('cuda').device))";
    let (frame, machine, outcome) = run(code, last, &Limits::default());
    assert!(outcome.is_ok());
    let x = torch::Tensor::of(&frame.get("x").unwrap()).unwrap();
    assert_eq!(x.tch().device(), tch::Device::Cuda(index));
    let expected = "(tensor([1., 1.], device='cuda:0'), device(type='cuda', index=0), device(type='cuda', index=0))";
    assert_eq!(frame.get("result").as_ref().and_then(Value::as_str), Some(expected));
    machine.teardown();
}

#[test]
fn mixed_devices_raise_pytorchs_error() {
    let expected =
        "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!";
    for expression in ["x + y", "y * x", "torch.where(x > 0, x, y)", "torch.cat([x, y])", "x.add_(y)"] {
        let code = format!("x = torch.ones(2)\ny = torch.ones(2, device='cpu')\nresult = str({expression})");
        let found = result(&code, devices()[1]);
        let expected = expected.strip_suffix("two devices, cuda:0 and cpu!").unwrap();
        let expected = expected.strip_suffix(", but found at least ").unwrap();
        assert!(
            found.starts_with(expected) && found.contains("cpu") && found.contains("cuda:0"),
            "{expression}: {found}"
        );
    }
    // A number may come from anywhere, and indices from the host.
    assert_eq!(on_gpu("torch.ones(2) + torch.tensor(1., device='cpu')"), "tensor([2., 2.], device='cuda:0')");
    assert_eq!(on_gpu("torch.arange(3)[torch.tensor([2], device='cpu')]"), "tensor([2], device='cuda:0')");
}

/// Hazards of which the CPU's kernels have several ways to speak.
const WORDS: [&str; 2] =
    ["x.index_select(1, torch.tensor([-1]))", "torch.embedding_bag(x, torch.tensor([3]), torch.tensor([0]))"];

/// What a GPU's kernel would assert, or read past the end of.
const HAZARDS: &str = "
x[torch.tensor([3])]
x[torch.tensor([[0, -4]])]
x[:, torch.tensor([4])]
x[None, ..., torch.tensor([4])]
x[torch.tensor([0]), torch.tensor([-5])]
x[[0, 3]]
x[torch.tensor([True, False, True])][torch.tensor([2])]
x.__setitem__(torch.tensor([3]), 1.0)
x.__setitem__((slice(None), torch.tensor([-5])), torch.ones(3, 1))
x.index_put_((torch.tensor([3]),), torch.ones(4))
x.index_put((None, torch.tensor([4])), torch.ones(3, 1), True)
x.index((torch.tensor([9]),))
torch.index_select(x, 0, torch.tensor([3]))
x.index_select(1, torch.tensor([-1]))
x.index_add(0, torch.tensor([3]), torch.ones(1, 4))
x.index_copy(0, torch.tensor([3]), torch.ones(1, 4))
x.index_fill(0, torch.tensor([-4]), 1)
x.index_fill(1, torch.tensor([-4]), 1)
x.index_reduce(0, torch.tensor([3]), torch.ones(1, 4), 'amax')
x.gather(0, torch.tensor([[3]]))
x.gather(-1, torch.tensor([[-1]]))
x.scatter(0, torch.tensor([[3]]), 1.0)
x.scatter_(1, torch.tensor([[4]]), torch.ones(1, 1))
x.scatter_add(0, torch.tensor([[-1]]), torch.ones(1, 1))
x.scatter_reduce(0, torch.tensor([[3]]), torch.ones(1, 1), 'sum')
torch.take_along_dim(x, torch.tensor([[4]]), 1)
torch.take_along_dim(x, torch.tensor([12]))
x.take(torch.tensor([12]))
x.take(torch.tensor([-13]))
x.put(torch.tensor([12]), torch.ones(1))
x.put_(torch.tensor([-13]), torch.ones(1))
F.embedding(torch.tensor([3]), x)
F.embedding(torch.tensor([-1]), x)
torch.embedding(x, torch.tensor([[3]]))
nn.Embedding(3, 4)(torch.tensor([7]))
torch.embedding_bag(x, torch.tensor([3]), torch.tensor([0]))
F.cross_entropy(x, torch.tensor([0, 1, 4]))
F.cross_entropy(x, torch.tensor([0, 1, -1]))
F.cross_entropy(x, torch.tensor([0, -100, 1]))
F.cross_entropy(x, torch.tensor([0, 5, 1]), ignore_index=5)
F.cross_entropy(x, torch.tensor([0, 6, 1]), ignore_index=5)
F.cross_entropy(x[0], torch.tensor(4))
F.cross_entropy(x.T[None], torch.tensor([[0, 1, 4]]))
F.nll_loss(x, torch.tensor([0, 1, 4]))
F.nll_loss(x.T[None, :, :, None], torch.tensor([[[0], [1], [-1]]]))
nn.CrossEntropyLoss()(x, torch.tensor([0, 1, 4]))
F.multi_margin_loss(x, torch.tensor([0, 1, 4]))
F.multilabel_margin_loss(x, torch.tensor([[0, 1, 4, 0]] * 3))
F.one_hot(torch.tensor([-1]))
F.one_hot(torch.tensor([3]), 3)
F.one_hot(torch.tensor([2]), 3)
torch.multinomial(torch.tensor([-1.0, 2.0]), 1)
torch.multinomial(torch.tensor([float('nan'), 2.0]), 1, True)
torch.multinomial(torch.tensor([float('inf'), 2.0]), 1, True)
torch.multinomial(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), 1, True)
torch.multinomial(torch.zeros(3), 1)
torch.bernoulli(torch.tensor([1.5]))
torch.bernoulli(torch.tensor([float('nan')]))
torch.zeros(2).bernoulli_(torch.tensor([0.5, -0.5]))
torch.poisson(torch.tensor([-1.0]))
F.binary_cross_entropy(torch.tensor([1.5]), torch.tensor([1.0]))
F.binary_cross_entropy(torch.tensor([0.5]), torch.tensor([1.5]))
torch.repeat_interleave(v, torch.tensor([1, -1, 2]))
torch.repeat_interleave(v, torch.tensor([1, 1, 2]), output_size=3)
torch.repeat_interleave(torch.tensor([-1]))
v.masked_scatter(torch.tensor([True, True, False]), torch.ones(1))
v.masked_scatter(torch.tensor([True, True, False]), torch.ones(2))
torch.quantile(v, torch.tensor([1.5]))
torch.nanquantile(v, torch.tensor([-0.5]))
torch.bincount(torch.tensor([-1]))
v.select(0, 3)
v.narrow(0, 2, 2)
v.median(2)
v.kthvalue(4)
v.topk(4)
torch.searchsorted(v, v, sorter=torch.tensor([0, 1, 9]))
torch.normal(v, -v)
";

#[test]
fn what_a_kernel_would_assert_raises_what_it_raises_on_the_cpu_and_no_gpu_sees_it() {
    let prelude = "import torch.nn as nn\nimport torch.nn.functional as F\nx = torch.arange(12.0).reshape(3, 4)\n\
                   v = torch.tensor([1.0, 2.0, 3.0])";
    let [cpu, gpu] = devices();
    let mut wrong = Vec::new();
    for hazard in HAZARDS.lines().filter(|line| !line.is_empty()) {
        let code = format!("{prelude}\ntorch.manual_seed(1)\nresult = str({hazard})");
        let (expected, found) = (result(&code, cpu), result(&code, gpu));
        let error = |text: &str| text.split_once("Error: ").is_some();
        let worded = WORDS.contains(&hazard) && error(&expected) && error(&found);
        if !worded && !alike(&expected, &found) {
            wrong.push(format!("{hazard}\n  cpu: {expected}\n  gpu: {found}"));
        }
        assert_eq!(torch::cuda::check(gpu), Ok(()), "{hazard}: {found}");
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

const LIMIT: u64 = 64 << 20;

fn limited(code: &str) -> (Machine, Result<(), Raise>) {
    let (_, machine, outcome) = run(code, devices()[1], &Limits { tensor_bytes: LIMIT, ..Limits::default() });
    (machine, outcome)
}

#[test]
fn a_jobs_device_memory_counts_and_ends_it_where_it_is_too_much() {
    for code in [
        "torch.zeros(10**8)",
        "torch.zeros(10**12)",
        "torch.ones(10**5)[:, None] * torch.ones(10**3)",
        "kept = []\nfor _ in range(10**6):\n    kept.append(torch.ones(10**6))",
        "x = torch.ones(10**6, requires_grad=True)\nfor _ in range(1000):\n    x = x.exp()",
        "try:\n    torch.zeros(10**8)\nexcept BaseException:\n    pass",
    ] {
        let (machine, outcome) = limited(code);
        assert_eq!(outcome.unwrap_err().as_fatal(), Some(Fatal::Tensors), "{code}");
        machine.teardown();
    }
}

#[test]
fn device_memory_that_is_freed_is_given_back() {
    let (machine, outcome) =
        limited("for _ in range(200):\n    x = torch.ones(10**6)\n    y = x * 2 + 1\ndel x, y\ntorch.ones(1)");
    assert!(outcome.is_ok());
    assert!(machine.tensor_bytes() < 1 << 20, "{} bytes still charged", machine.tensor_bytes());
    let (machine, outcome) = limited("x = torch.ones(10**6)\nkept = [x.view(-1)[i:] for i in range(500)]");
    assert!(outcome.is_ok());
    assert!((4_000_000..8 << 20).contains(&machine.tensor_bytes()), "{} bytes charged", machine.tensor_bytes());
    machine.teardown();
}

#[test]
fn a_gpu_without_room_raises_an_error_that_can_be_caught_and_the_job_goes_on() {
    // A real one has more room than a job may ask for.
    if mock::is_real() {
        return;
    }
    let code = "try:\n    torch.zeros(2**29)\nexcept RuntimeError as error:\n    result = str(error)[:18]\nassert float(torch.ones(3).sum()) == 3.0";
    assert_eq!(result(code, devices()[1]), "CUDA out of memory");
}

#[test]
fn sequences_that_lie_end_to_end_attend_as_each_does_alone() {
    LazyLock::force(&CUDA);
    let device = tch::Device::Cuda(0);
    tch::manual_seed(8);
    for (kind, heads, key_heads, head) in [(Kind::Float, 4, 4, 16), (Kind::Float, 6, 2, 64), (Kind::BFloat16, 8, 2, 64)]
    {
        assert!(varlen::has_kernels(kind, device, head), "{kind:?} {head}");
        let random = |tokens: i64, heads: i64| {
            Tensor::randn([tokens, heads, head], (Kind::Float, tch::Device::Cpu)).to_kind(kind).to_device(device)
        };
        // Single tokens are kept apart from longer sequences: kernels treat them otherwise.
        let singles = [(1, 6), (1, 1), (1, 40)];
        let longer = [(5, 5), (3, 20), (33, 33), (17, 70)];
        for group in [singles.to_vec(), longer.to_vec()] {
            let parts: Vec<[Tensor; 3]> = group
                .iter()
                .map(|&(length, keys)| [random(length, heads), random(keys, key_heads), random(keys, key_heads)])
                .collect();
            let attend = |parts: &[[Tensor; 3]]| {
                let known = varlen::Known::new(kind);
                let joined =
                    [0, 1, 2].map(|of| Tensor::cat(&parts.iter().map(|part| &part[of]).collect::<Vec<_>>(), 0));
                let lengths = |of: usize| parts.iter().map(|part| part[of].size()[0]).collect();
                let [queries, keys] = [0, 1].map(|of| known.of(lengths(of), device).unwrap());
                varlen::attend([&joined[0], &joined[1], &joined[2]], [&queries, &keys], 0.2, &known).unwrap()
            };
            let (together, mut start) = (attend(&parts), 0);
            for (index, part) in parts.iter().enumerate() {
                let context = format!("{kind:?}, sequence {index} of {group:?}");
                let (length, keys) = group[index];
                let own = together.narrow(0, start, length);
                assert_eq!(own, attend(std::slice::from_ref(part)), "{context}, alone");
                let others = |other: usize| {
                    let nothing = |tensor: &Tensor| tensor.full_like(f64::NAN);
                    if other == index {
                        part.each_ref().map(Tensor::shallow_clone)
                    } else {
                        parts[other].each_ref().map(nothing)
                    }
                };
                let among_nothing: Vec<[Tensor; 3]> = (0..parts.len()).map(others).collect();
                assert_eq!(own, attend(&among_nothing).narrow(0, start, length), "{context}, among NaN");
                let [query, key, value] =
                    part.each_ref().map(|own| own.to_kind(Kind::Float).transpose(0, 1).unsqueeze(0));
                let wide = |own: &Tensor| own.repeat_interleave_self_int(heads / key_heads, 1, None::<i64>);
                let mask = Tensor::ones([length, keys], (Kind::Bool, device)).tril(keys - length);
                let plain = Tensor::scaled_dot_product_attention(
                    &query,
                    &wide(&key),
                    &wide(&value),
                    Some(&mask),
                    0.0,
                    false,
                    0.2,
                    false,
                );
                let far =
                    (own.to_kind(Kind::Float) - plain.squeeze_dim(0).transpose(0, 1)).abs().max().double_value(&[]);
                assert!(far < if kind == Kind::Float { 1e-5 } else { 2e-2 }, "{context}: {far}");
                start += length;
            }
        }
    }
}
