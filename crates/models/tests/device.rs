//! Both model families give on a GPU what they give on the CPU, and what a GPU could not bear is refused: on what stands
//! for one, of which `crates/torch/mock/mock.cpp` says what it shows.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::rc::Rc;
use std::sync::LazyLock;

use collectives::nccl::{self, Joined, Library};
use collectives::{Group, Memory};
use engine::conformance::{self, Outcome, Subject, tensor};
use engine::{Engine, Interleaver, Job};
use kernels::{Gpu, Ranks};
use models::cuda::{self, Cuda, Search};
use models::testing::{self, GPT2, LLAMA};
use models::{Device, Transformer};
use program::{DType, Datum, Function, TensorData};

static CUDA: LazyLock<Cuda> = LazyLock::new(|| {
    let search = Search { folder: Some(mock::folder()), ..Search::default() };
    search.load().unwrap_or_else(|missing| panic!("{missing}"))
});

/// The last GPU, the second of those that are made up: nothing can do by naming the first.
static GPU: LazyLock<Device> = LazyLock::new(|| Device::cuda(i32::try_from(CUDA.devices - 1).unwrap()));

fn load(name: &str) -> Transformer {
    testing::load_to(name, *GPU)
}

fn engine(name: &str) -> Box<dyn Engine> {
    Box::new(Interleaver::new(load(name)))
}

/// Each family on the CPU and on the GPU.
const FAMILIES: [[Subject<'_>; 2]; 2] = [
    [GPT2, Subject { engine: &|| engine("tiny-gpt2"), ..GPT2 }],
    [LLAMA, Subject { engine: &|| engine("tiny-llama"), ..LLAMA }],
];

/// Makes a job, with a tensor that the client sends.
fn job(subject: &Subject<'_>, text: &str, function: Function, block: &str, kwargs: &[(&str, i64)]) -> Job {
    let attention = if subject.layers == LLAMA.layers { "self_attn" } else { "attn" };
    let words = if subject.layers == LLAMA.layers { "model.model.embed_tokens" } else { "model.transformer.wte" };
    let source = format!("import torch\n{}", block.replace("ATTN", attention).replace("EMBED", words));
    let mut job = subject.job(text, function, &source, kwargs);
    let bytes = [0.5_f32, -1.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    let data = TensorData { dtype: DType::Float32, shape: vec![2], bytes, requires_grad: true };
    let sent = job.program.heap.push(Datum::Tensor(data));
    job.program.locals.push(("sent".into(), sent));
    job
}

fn trace(subject: &Subject<'_>, block: &str) -> Outcome {
    LazyLock::force(&CUDA);
    subject.outcomes(vec![job(subject, "The tower of Paris", Function::Call, block, &[])]).remove(0)
}

fn failure(subject: &Subject<'_>, block: &str) -> String {
    trace(subject, block).end.unwrap_err().message
}

/// Checks that two results agree: shapes, types and integers exactly, floats to 1e-4 of the tensor's largest.
fn assert_near(found: &Outcome, expected: &Outcome, context: &str) {
    assert_eq!(found.printed, expected.printed, "{context}");
    let saved = |outcome: &Outcome| match &outcome.end {
        Ok(saved) => (conformance::names(saved), conformance::flat(saved)),
        Err(failure) => panic!("{context}: {}", failure.message),
    };
    let ((names, found), (expected_names, expected)) = (saved(found), saved(expected));
    assert_eq!((names, found.len()), (expected_names, expected.len()), "{context}");
    for (found, expected) in found.iter().zip(&expected) {
        let about = |data: &TensorData| (data.shape.clone(), data.dtype, data.requires_grad);
        assert_eq!(about(found), about(expected), "{context}");
        if found.dtype != DType::Float32 {
            assert_eq!(found.bytes, expected.bytes, "{context}");
            continue;
        }
        let floats = |data: &TensorData| -> Vec<f32> {
            data.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let (found, expected) = (floats(found), floats(expected));
        let largest = expected.iter().fold(1.0, |most: f32, number| most.max(number.abs()));
        let near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= 1e-4 * largest;
        assert!(found.iter().zip(&expected).all(near), "{context}: {found:?} where the CPU gives {expected:?}");
    }
}

const BLOCKS: [&str; 12] = [
    "a = EMBED.output.save()\nb = LAYERS[0].ATTN.output[0].save()\nc = LAYERS[1].mlp.output.save()\nd = LAYERS[2].output.save()\nlogits = HEAD.output.save()",
    "LAYERS[1].output[:, 2] = 0.5\nout = HEAD.output.save()",
    "x = LAYERS[0].output\nx += x.mean(-1, keepdim=True)\nLAYERS[1].mlp.output = LAYERS[1].mlp.output * 2\nout = HEAD.output.save()",
    "h = LAYERS[0].output\nloss = HEAD.output[:, -1].logsumexp(-1).sum()\nwith loss.backward():\n    g = h.grad.clone().save()",
    // What a client sends, and what a block makes, meets the model's without a word about devices.
    "LAYERS[0].output[..., :2] += sent\nLAYERS[1].output[:] += torch.linspace(0, 1, LAYERS[1].output.shape[-1])\nkept = sent.save()\nout = HEAD.output.save()",
    "torch.manual_seed(5)\nLAYERS[1].output[:] += torch.randn(LAYERS[1].output.shape[-1])\nout = HEAD.output.save()",
    "keep = torch.tensor([0, 2])\nout = LAYERS[1].output[:, keep].save()\ntop = HEAD.output[0, -1].topk(3).indices.save()",
    // Code for a GPU names its devices.
    "here = LAYERS[0].output.device\nLAYERS[0].output[:] += torch.ones(1, device=here)\nout = HEAD.output.cpu().save()\nprint(out.sum().item() == out.sum().item(), out.device)",
    "result = tracer.result\nkeys = result.past_key_values.layers[1].keys.save()\nlogits = result.logits.save()",
    "w = HEAD.weight[:2].clone().save()\nlens = HEAD(LAYERS[0].output)[:, -1].save()\nembedded = EMBED(torch.tensor([[1, 2]])).save()",
    "n = LAYERS[0].output.detach().numpy().mean()\nprint(type(n).__name__)\nids = model.tokenizer('Hello', return_tensors='pt')['input_ids']\nout = EMBED(ids).save()",
    "for layer in LAYERS[:2]:\n    layer.output[:, -1] *= 2\nshape = nnsight.save(HEAD.output.shape)\nprint(shape[1])",
];

#[test]
fn a_gpu_gives_what_the_cpu_gives() {
    for [cpu, gpu] in &FAMILIES {
        // A real one has random numbers of its own.
        for block in BLOCKS.iter().filter(|block| !(mock::is_real() && block.contains("manual_seed"))) {
            assert_near(&trace(gpu, block), &trace(cpu, block), block);
        }
    }
    assert_eq!(cuda::check(*GPU), Ok(()));
}

#[test]
fn generations_of_several_jobs_give_what_they_give_on_the_cpu() {
    let steps = "kept = nnsight.save([])\nfor step in tracer.iter[:4]:\n    LAYERS[0].output[:] *= 1.1\n    kept.append(HEAD.output[:, -1].argmax(-1))\nids = tracer.result.save()";
    let padded = "with tracer.invoke('Hello'):\n    a = LAYERS[0].output.save()\nwith tracer.invoke('Hello there, world'):\n    b = HEAD.output.save()";
    for [cpu, gpu] in &FAMILIES {
        let all = |subject: &Subject<'_>| {
            let kwargs = [("max_new_tokens", 4), ("no_repeat_ngram_size", 2), ("min_new_tokens", 2)];
            subject.outcomes(vec![
                job(subject, "The tower of Paris", Function::Generate, steps, &kwargs),
                job(subject, "Hello", Function::Generate, steps, &kwargs[..1]),
                job(subject, "", Function::Call, padded, &[]),
            ])
        };
        LazyLock::force(&CUDA);
        for (found, expected) in all(gpu).iter().zip(&all(cpu)) {
            assert_near(found, expected, steps);
        }
    }
}

#[test]
fn mixed_devices_raise_pytorchs_error_in_the_job_that_mixes_them() {
    for [_, gpu] in &FAMILIES {
        let message = failure(gpu, "x = LAYERS[0].output\ny = x + x.cpu()");
        assert!(message.contains("line 3"), "{message}");
        let expected = "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, ";
        assert!(message.contains(expected) && message.contains("cpu!"), "{message}");
        // What is assigned meets the model's own tensors in the pass.
        let assigned = "LAYERS[0].output = LAYERS[0].output.cpu()\nout = LAYERS[1].output.save()";
        assert!(failure(gpu, assigned).contains("Expected all tensors to be on the same device"));
        let neighbours = gpu.outcomes(vec![
            job(gpu, "Hello", Function::Call, assigned, &[]),
            job(gpu, "Hello", Function::Call, "out = LAYERS[1].output.save()", &[]),
        ]);
        assert!(neighbours[0].end.is_err());
        assert_eq!(tensor(neighbours[1].end.as_ref().unwrap(), "out").shape.first(), Some(&1));
    }
}

#[test]
fn no_index_that_a_block_gives_the_model_is_the_end_of_the_gpu() {
    for [cpu, gpu] in &FAMILIES {
        for block in [
            "x = EMBED.input\nx[:] = 10**6\nout = EMBED.output.save()",
            "EMBED.input = EMBED.input - 10**6\nout = EMBED.output.save()",
            "EMBED(torch.tensor([[-1]]))",
            "x = HEAD.output\nx[torch.tensor([7])]",
            "HEAD.output.gather(-1, torch.full((1, 1, 1), 10**6))",
        ] {
            let (found, expected) = (failure(gpu, block), failure(cpu, block));
            let last = |text: &str| text.lines().last().unwrap().to_owned();
            assert_eq!(last(&found), last(&expected), "{block}");
            assert_eq!(cuda::check(*GPU), Ok(()), "{block}");
        }
    }
}

#[test]
fn a_job_that_fills_the_gpu_fails_alone() {
    // A real one has more room than a job may ask for.
    if mock::is_real() {
        return;
    }
    let [_, gpu] = &FAMILIES[0];
    let message = failure(gpu, "kept = []\nfor _ in range(10):\n    kept.append(torch.zeros(50_000_000))");
    assert!(message.contains("CUDA out of memory"), "{message}");
    let mut engine = (gpu.engine)();
    let full = job(gpu, "Hello", Function::Call, "x = LAYERS[0].output\nx = torch.zeros(2**29)", &[]);
    let sound = job(gpu, "Hello", Function::Call, "out = HEAD.output.save()", &[]);
    let outcomes = conformance::outcomes(engine.as_mut(), vec![full, sound]);
    assert!(outcomes[0].end.as_ref().unwrap_err().message.contains("out of memory"), "{:?}", outcomes[0].end);
    assert!(outcomes[1].end.is_ok());
    assert_eq!(cuda::check(*GPU), Ok(()));
}

fn bytes(outcome: &Outcome) -> Vec<Vec<u8>> {
    let saved = outcome.end.as_ref().unwrap_or_else(|failure| panic!("{}", failure.message));
    conformance::flat(saved).iter().map(|data| data.bytes.to_vec()).collect()
}

/// What reads, edits, looks at weights and walks back.
const VARIED: [&str; 4] = [
    "LAYERS[0].output[:, 1] *= 2\nhidden = LAYERS[1].mlp.output.save()\nout = HEAD.output.save()",
    "a = LAYERS[1].mlp.output\nloss = HEAD.output[:, -1].logsumexp(-1).sum()\nwith loss.backward():\n    g = a.grad.clone().save()",
    "w = HEAD.weight[3:7].clone().save()\nfed = LAYERS[1].mlp(LAYERS[0].output.clone()).save()",
    "lens = HEAD(LAYERS[0].output)[:, -1].save()\nout = tracer.result.logits.save()",
];

/// A model in two pieces, each on a GPU. Tensors go between them by what stands for NCCL, or by memory.
fn apart(name: &str, by_nccl: bool) -> Box<dyn Engine> {
    LazyLock::force(&CUDA);
    let enter = move |memory: Memory, index: i32| -> Box<dyn Group> {
        if !by_nccl {
            return Box::new(memory);
        }
        let (stream, on_loss) =
            (Box::new(Gpu::new(index).unwrap()), Box::new(|why: &collectives::Lost| panic!("{why}")));
        match nccl::join(Box::new(memory), Library::load(&mock::nccl()), stream, on_loss, None).unwrap() {
            Joined::Nccl(group) => Box::new(group),
            Joined::Bytes(_, why) => panic!("{why}"),
        }
    };
    let mut group = Memory::threads(2).unwrap().into_iter();
    let [leader, other] = [(); 2].map(|()| group.next().unwrap());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32").join(name);
    let own = folder.clone();
    std::thread::spawn(move || models::follow(&own, Device::cuda(1), &*enter(other, 1)));
    let ranks = Rc::new(Ranks::new(enter(leader, 0), Box::new(|why| panic!("{why}"))));
    let model = models::load_apart(ranks, &folder, Some(models::DType::Float32), Device::cuda(0), &mut |_, _| {});
    Box::new(Interleaver::new(*model.unwrap_or_else(|error| panic!("{error}"))))
}

#[test]
fn ranks_on_gpus_give_the_same_bits_by_nccl_as_by_memory() {
    // One real GPU is not two.
    if mock::is_real() {
        return;
    }
    for (name, subject) in [("tiny-gpt2", &GPT2), ("tiny-llama", &LLAMA)] {
        let by = |by_nccl: bool| -> Vec<Outcome> {
            let engine = || apart(name, by_nccl);
            let subject = Subject { engine: &engine, ..*subject };
            VARIED.iter().map(|block| trace(&subject, block)).collect()
        };
        for ((found, expected), block) in by(true).iter().zip(&by(false)).zip(VARIED) {
            assert_eq!(bytes(found), bytes(expected), "{name}: {block}");
        }
    }
}

#[test]
fn layers_that_are_brought_to_the_gpu_give_the_bits_of_those_that_lie_there() {
    for (name, subject) in [("tiny-gpt2", &FAMILIES[0][1]), ("tiny-llama", &FAMILIES[1][1])] {
        LazyLock::force(&CUDA);
        let engine = || -> Box<dyn Engine> { Box::new(Interleaver::new(testing::load_streamed(name, *GPU))) };
        let streamed = Subject { engine: &engine, ..*subject };
        for block in VARIED {
            assert_eq!(bytes(&trace(&streamed, block)), bytes(&trace(subject, block)), "{name}: {block}");
        }
    }
}

#[test]
fn weights_lie_on_the_gpu() {
    let model = load("tiny-llama");
    for path in ["lm_head", "model.layers.0.self_attn.q_proj", "model.norm"] {
        let site = engine::Arithmetic::schema(&model).site(path).unwrap();
        let machine = interpreter::Machine::new(&program::Limits::default(), std::rc::Rc::new(Nothing));
        let weight = engine::Namespace::attribute(&model, &machine, site, "weight").unwrap();
        assert_eq!(torch::Tensor::of(&weight).unwrap().tch().device(), tch::Device::Cuda(CUDA.devices - 1), "{path}");
    }
}

struct Nothing;

impl interpreter::Environment for Nothing {
    fn import(&self, _: &interpreter::Machine, _: &str) -> Option<interpreter::Value> {
        None
    }
}

#[test]
fn a_model_warms_up_before_its_first_job() {
    LazyLock::force(&CUDA);
    for name in ["tiny-gpt2", "tiny-llama"] {
        load(name).warm_up(300).unwrap_or_else(|raise| panic!("{name}: {}", raise.message()));
    }
}
