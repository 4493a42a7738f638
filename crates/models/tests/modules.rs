//! Single modules: called by users' code on what a forward pass gave them, and asked for their attributes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::LazyLock;

use engine::{
    Arithmetic, Entered, Forwarded, Inputs, Interrupt, JobContext, Layout, Namespace, Observer, Packed, Segment, Site,
    Tree, Wants,
};
use interpreter::machine::Environment;
use interpreter::{Args, Machine, Value};
use models::{DType, Transformer};
use program::Batching;
use tch::Tensor;

struct Outside;

impl Environment for Outside {}

type Flow = Tree<Packed<torch::Tensor>>;
type Arguments = Inputs<Packed<torch::Tensor>>;

/// Remembers what passes, and leaves one module out if told to.
#[derive(Default)]
struct Recorder {
    open: Vec<Arguments>,
    seen: Vec<(Site, Arguments, Flow)>,
    skip: Option<(Site, Flow)>,
}

impl Observer<torch::Tensor> for Recorder {
    fn wants(&self, _: Site, _: engine::SegmentIndex) -> Wants {
        Wants { input: true, output: true, inside: true, operations: false }
    }

    fn enter(&mut self, site: Site, inputs: Arguments, _: &Layout) -> Result<Entered<torch::Tensor>, Interrupt> {
        self.open.push(inputs.clone());
        let skipped = self.skip.as_ref().filter(|(skipped, _)| *skipped == site).map(|(_, flow)| flow.clone());
        Ok(Entered { inputs, skipped })
    }

    fn exit(&mut self, site: Site, output: Flow, _: &Layout) -> Result<Flow, Interrupt> {
        self.seen.push((site, self.open.pop().unwrap(), output.clone()));
        Ok(output)
    }
}

/// What `parity.py` wrote, made once.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules");
    let python = std::env::var_os("VITRINE_PYTHON").map_or(root.join("../../.venv/bin/python"), PathBuf::from);
    let status = Command::new(&python).arg(root.join("tests/parity.py")).arg(&folder).status();
    assert!(status.unwrap_or_else(|error| panic!("{}: {error}", python.display())).success());
    folder
});

fn load(name: &str) -> Box<Transformer> {
    torch::prepare();
    models::load(&FOLDER.join(name), Some(DType::Float32), models::Device::CPU, &mut |_, _| {})
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Runs two rows of four tokens without a cache, and returns the logits.
fn run(model: &Transformer, observer: &mut dyn Observer<torch::Tensor>) -> Tensor {
    run_for(model, observer, None)
}

/// Runs the same, and records what gradients need if somebody pays for it.
fn run_for(model: &Transformer, observer: &mut dyn Observer<torch::Tensor>, recorder: Option<Machine>) -> Tensor {
    let ids = Tensor::from_slice(&[5_i64, 6, 7, 8, 9, 10, 11, 12]).view([2, 4]);
    let mut segment = Segment {
        flags: vec![("use_cache".into(), Value::Bool(false))],
        recorder,
        ..Segment::new(2, 4, torch::Tensor::new(ids))
    };
    match model.forward(std::slice::from_mut(&mut segment), observer) {
        Ok(Forwarded { output: Tree::Record { fields, .. }, .. }) => leaf(&fields.first().unwrap().1),
        Ok(_) => panic!("the forward pass returns a record"),
        Err(Interrupt::Failed(raise)) => panic!("{}", raise.message()),
        Err(Interrupt::Enough) => panic!("interrupted"),
    }
}

fn value(flow: &Flow) -> Value {
    match flow {
        Tree::None => Value::None,
        Tree::Bool(flag) => Value::Bool(*flag),
        Tree::Leaf(Packed::Parts(parts)) => parts.first().unwrap().value(),
        Tree::Tuple(items) => Value::tuple(items.iter().map(value).collect()),
        _ => panic!("not among the arguments of an uncached pass"),
    }
}

fn tensors(value: &Value) -> Vec<Tensor> {
    match value {
        Value::Tuple(items) => items.iter().flat_map(tensors).collect(),
        value => torch::Tensor::of(value).map(|tensor| tensor.tch().shallow_clone()).into_iter().collect(),
    }
}

fn leaf(flow: &Flow) -> Tensor {
    tensors(&value(flow)).remove(0)
}

fn machine() -> Machine {
    Machine::new(&program::Limits::default(), Rc::new(Outside))
}

#[test]
fn every_module_called_by_itself_returns_what_it_returned_in_the_pass() {
    for name in ["gpt2", "llama"] {
        let model = load(name);
        let mut recorder = Recorder::default();
        let _ = run(&model, &mut recorder);
        for (site, inputs, output) in &recorder.seen {
            let path = &model.schema().module(*site).unwrap().path;
            if ["", "transformer", "model"].contains(&path.as_str()) {
                continue;
            }
            let args = Args {
                positional: inputs.args.iter().map(value).collect(),
                keyword: inputs.kwargs.iter().map(|(name, flow)| (Rc::from(*name), value(flow))).collect(),
            };
            let machine = machine();
            // Bits are compared: kernels may differ where gradients are recorded, as they were not in the pass.
            model.begin(&machine, false, Batching::Shared, false);
            let found = model.call_module(&machine, *site, &args, engine::Attention::Sdpa);
            let found = found.unwrap_or_else(|raise| panic!("{path}: {}", raise.message()));
            let (found, expected) = (tensors(&found), tensors(&value(output)));
            assert!(!found.is_empty() && found.len() == expected.len(), "{path}");
            assert!(found.iter().zip(&expected).all(|(found, expected)| found.equal(expected)), "{path}");
            assert!(machine.fuel_used() > 0, "{path}");
        }
    }
}

#[test]
fn activations_round_as_transformers_own() {
    let values = Tensor::read_safetensors(FOLDER.join("activations.safetensors")).unwrap();
    let value = |name: &str| &values.iter().find(|(known, _)| known == name).unwrap().1;
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(FOLDER.join("gpt2")).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    let names: Vec<&str> = values.iter().filter_map(|(name, _)| name.strip_suffix("|float32")).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let config = config.replace("\"gelu_new\"", &format!("\"{name}\""));
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let model = models::load(folder.path(), Some(DType::Float32), models::Device::CPU, &mut |_, _| {}).unwrap();
        let site = model.schema().site("transformer.h.0.mlp.act").unwrap();
        for kind in ["float32", "bfloat16"] {
            let input = torch::Tensor::new(value(kind).shallow_clone()).value();
            let args = Args { positional: vec![input], keyword: Vec::new() };
            let found = model.call_module(&machine(), site, &args, engine::Attention::Sdpa);
            let found = tensors(&found.unwrap_or_else(|raise| panic!("{name}: {}", raise.message())));
            assert!(found[0].equal(value(&format!("{name}|{kind}"))), "{name} {kind}");
        }
    }
}

#[test]
fn a_wrong_call_raises_what_python_raises() {
    let model = load("llama");
    let call = |path: &str, args: Args| {
        let site = model.schema().site(path).unwrap();
        model.call_module(&machine(), site, &args, engine::Attention::Sdpa).err().unwrap().message()
    };
    let tensor = torch::Tensor::new(Tensor::ones([1, 2, 5], (tch::Kind::Float, tch::Device::Cpu))).value();
    let one = Args { positional: vec![tensor.clone()], keyword: Vec::new() };
    assert_eq!(call("lm_head", one.clone()), "mat1 and mat2 shapes cannot be multiplied (2x5 and 32x96)");
    assert_eq!(call("lm_head", Args::default()), "forward() missing 1 required positional argument: 'input'");
    assert!(call("model.layers", one).contains("missing the required \"forward\" function"));
    let named = Args { positional: Vec::new(), keyword: vec![("inputs".into(), tensor)] };
    assert_eq!(call("lm_head", named), "forward() got an unexpected keyword argument 'inputs'");
}

#[test]
fn attributes_are_those_of_hugging_faces_modules() {
    let (gpt2, llama) = (load("gpt2"), load("llama"));
    let machine = machine();
    let read = |model: &Transformer, path: &str, name: &str| {
        model.attribute(&machine, model.schema().site(path).unwrap(), name)
    };
    let int = |model: &Transformer, path: &str, name: &str| read(model, path, name).unwrap().as_int().unwrap();
    assert_eq!(int(&gpt2, "transformer.h.1.attn", "num_heads"), 4);
    assert_eq!(int(&gpt2, "transformer.h.1.attn", "layer_idx"), 1);
    assert_eq!(int(&gpt2, "transformer.h.0.mlp.c_fc", "nf"), 128);
    assert_eq!(int(&llama, "model.layers.0.self_attn", "num_key_value_groups"), 2);
    assert_eq!(int(&llama, "model.layers.0.self_attn", "head_dim"), 8);
    assert_eq!(int(&llama, "lm_head", "out_features"), 96);
    assert!(matches!(read(&llama, "lm_head", "bias"), Some(Value::None)));
    assert!(matches!(read(&llama, "model.norm", "training"), Some(Value::Bool(false))));
    assert!(read(&llama, "model.layers.0.self_attn", "num_heads").is_none());
    let weight = torch::Tensor::of(&read(&llama, "model.layers.0.mlp.up_proj", "weight").unwrap()).unwrap();
    assert_eq!((weight.sizes(), weight.is_read_only()), (vec![48, 32], true));
    let Some(Value::Host(config)) = read(&gpt2, "", "config") else { panic!("config is an object") };
    for (name, expected) in [("n_embd", 32), ("hidden_size", 32), ("num_hidden_layers", 2), ("vocab_size", 96)] {
        let found = Rc::clone(&config).get_attribute(&machine, name).unwrap();
        assert!(matches!(found, interpreter::Outcome::Ready(Value::Int(found)) if found == expected), "{name}");
    }
}

#[test]
fn a_skipped_layer_is_replaced_by_what_is_given() {
    for name in ["gpt2", "llama"] {
        let model = load(name);
        let mut recorder = Recorder::default();
        let _ = run(&model, &mut recorder);
        let [first, second] = [0, 1].map(|layer| model.schema().layers[layer]);
        let output = |recorder: &Recorder, site: Site| {
            recorder.seen.iter().find(|(seen, ..)| *seen == site).map(|(_, _, output)| output.clone())
        };
        let given = output(&recorder, first).unwrap();
        let mut skipping = Recorder { skip: Some((second, given.clone())), ..Recorder::default() };
        let _ = run(&model, &mut skipping);
        assert!(leaf(&output(&skipping, second).unwrap()).equal(&leaf(&given)), "{name}");
        let inside = model.schema().module(second).unwrap().children[0].1;
        assert!(output(&skipping, inside).is_none(), "{name}");
    }
}

#[test]
fn edits_in_place_reach_the_layers_after() {
    struct Zero(Site);
    impl Observer<torch::Tensor> for Zero {
        fn wants(&self, site: Site, _: engine::SegmentIndex) -> Wants {
            Wants { output: site == self.0, ..Wants::default() }
        }

        fn enter(&mut self, _: Site, inputs: Arguments, _: &Layout) -> Result<Entered<torch::Tensor>, Interrupt> {
            Ok(Entered { inputs, skipped: None })
        }

        fn exit(&mut self, _: Site, output: Flow, _: &Layout) -> Result<Flow, Interrupt> {
            let _ = leaf(&output).zero_();
            Ok(output)
        }
    }
    let model = load("gpt2");
    let found = run(&model, &mut Zero(model.schema().layers[1]));
    // With nothing left in the residual stream, every position gets the logits of the last norm's bias.
    let (left, right) = (found.select(1, 0), found.select(1, 2));
    assert!(left.allclose(&right, 1e-5, 1e-6, false));
    assert!(!run(&model, &mut Recorder::default()).equal(&found));
}

#[test]
fn every_activation_requires_grad_where_gradients_are_recorded_and_no_weight_does() {
    for name in ["gpt2", "llama"] {
        let model = load(name);
        assert!(!run(&model, &mut Recorder::default()).requires_grad(), "{name}");
        let machine = machine();
        let mut seen = Recorder::default();
        let logits = run_for(&model, &mut seen, Some(machine.clone()));
        let path = |site: Site| model.schema().module(site).unwrap().path.clone();
        for (site, _, output) in &seen.seen {
            if let Tree::Leaf(_) = output {
                let found = leaf(output);
                assert!(found.requires_grad() && !found.is_leaf(), "{name} {}", path(*site));
            }
            for weight in ["weight", "bias"].map(|weight| model.attribute(&machine, *site, weight)) {
                let weight = weight.as_ref().and_then(torch::Tensor::of);
                assert!(!weight.is_some_and(|weight| weight.requires_grad()), "{name} {}", path(*site));
            }
        }
        assert!(machine.tensor_bytes() > 0, "the graph is paid for");
        drop((logits, seen));
    }
}

#[test]
fn a_graph_that_costs_too_much_is_refused() {
    let model = load("gpt2");
    let limits = program::Limits { tensor_bytes: 4096, ..program::Limits::default() };
    let machine = Machine::new(&limits, Rc::new(Outside));
    let ids = torch::Tensor::new(Tensor::from_slice(&[5_i64, 6, 7, 8]).view([1, 4]));
    let mut segment = Segment { recorder: Some(machine), ..Segment::new(1, 4, ids) };
    let outcome = model.forward(std::slice::from_mut(&mut segment), &mut Recorder::default());
    let Err(Interrupt::Failed(raise)) = outcome else { panic!("it was paid for") };
    assert_eq!(raise.as_fatal(), Some(interpreter::Fatal::Tensors));
}
