//! Compares every module's arguments and output with what transformers shows, on small random models.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::LazyLock;

use engine::{Arithmetic, Attention, Entered, Inputs, Interrupt, Layout, Observer, Packed, Segment, Site, Tree, Wants};
use interpreter::machine::Environment;
use interpreter::raise::Raise;
use interpreter::{Machine, Value};
use models::{DType, Transformer};
use serde_json::Value as Json;
use tch::{Kind, Tensor};

/// Largest difference between two float32 elements.
const TOLERANCE: f64 = 1e-4;
/// One or more of each family.
const MODELS: [&str; 32] = [
    "gpt2",
    "gpt2-variant",
    "gpt2-upcast",
    "llama",
    "llama-tied",
    "llama-linear",
    "llama-dynamic",
    "llama-yarn",
    "qwen2",
    "qwen2-windows",
    "qwen3",
    "qwen3-windows",
    "mistral",
    "mistral-full",
    "gemma2",
    "gemma2-uncapped",
    "gemma3_text",
    "gemma3_text-capped",
    "gemma3",
    "gemma3-untied",
    "phi3",
    "phi3-long",
    "gpt_neox",
    "gpt_neox-serial",
    "gptj",
    "olmo2",
    "olmo3",
    "olmo3-yarn",
    "mixtral",
    "qwen3_moe",
    "qwen3_moe-raw",
    "gpt_oss",
];
/// Models whose matrices are in few bits: a model of those above, and a form of `quantized.py`'s.
const QUANTIZED: [(&str, &[&str]); 4] = [
    (
        "llama",
        &[
            "int8",
            "nf4",
            "bnb-nf4",
            "bnb-nested",
            "bnb-half",
            "bnb-int8",
            "ct-pack",
            "ct-groups",
            "ct-int",
            "ct-float",
            "ct-channels",
        ],
    ),
    ("gpt2", &["int8", "nf4", "bnb-nf4", "bnb-nested", "bnb-half", "bnb-int8"]),
    ("mixtral", &["int8", "nf4", "bnb-nf4", "bnb-nested", "bnb-half", "bnb-int8"]),
    ("gpt_oss", &["int8", "nf4"]),
];
const CASES: [&str; 9] =
    ["plain", "long", "uncached", "masked", "padded", "steps", "padded-steps", "packed", "uncached-steps"];

/// What `parity.py` wrote, made once.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parity");
    let python = std::env::var_os("VITRINE_PYTHON").map_or(root.join("../../.venv/bin/python"), PathBuf::from);
    let status = Command::new(&python).arg(root.join("tests/parity.py")).arg(&folder).status();
    assert!(status.unwrap_or_else(|error| panic!("{}: {error}", python.display())).success());
    folder
});

fn load(name: &str) -> Box<Transformer> {
    models::load(&FOLDER.join(name), Some(DType::Float32), models::Device::CPU, &mut |_, _| {})
        .unwrap_or_else(|error| panic!("{error}"))
}

fn json(path: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Remembers what every module was given and returned, in the order in which they return.
#[derive(Default)]
struct Recorder {
    /// Whether somebody may look at operations, too.
    operations: bool,
    open: Vec<(Site, Inputs<Packed<torch::Tensor>>)>,
    seen: Vec<Seen>,
}

type Seen = (Site, Inputs<Packed<torch::Tensor>>, Tree<Packed<torch::Tensor>>);

impl Observer<torch::Tensor> for Recorder {
    fn wants(&self, _: Site, _: engine::SegmentIndex) -> Wants {
        Wants { input: true, output: true, inside: true, operations: self.operations }
    }

    fn enter(
        &mut self,
        site: Site,
        inputs: Inputs<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Entered<torch::Tensor>, Interrupt> {
        self.open.push((site, inputs.clone()));
        Ok(Entered { inputs, skipped: None })
    }

    fn exit(
        &mut self,
        site: Site,
        output: Tree<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Tree<Packed<torch::Tensor>>, Interrupt> {
        let (entered, inputs) = self.open.pop().unwrap();
        assert_eq!(entered, site);
        self.seen.push((site, inputs, output.clone()));
        Ok(output)
    }
}

/// Wants nothing.
struct Blind;

impl Observer<torch::Tensor> for Blind {
    fn wants(&self, _: Site, _: engine::SegmentIndex) -> Wants {
        Wants::default()
    }

    fn enter(
        &mut self,
        _: Site,
        _: Inputs<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Entered<torch::Tensor>, Interrupt> {
        unreachable!("nothing is wanted")
    }

    fn exit(
        &mut self,
        _: Site,
        _: Tree<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Tree<Packed<torch::Tensor>>, Interrupt> {
        unreachable!("nothing is wanted")
    }
}

fn forward(
    model: &Transformer,
    segments: &mut [Segment<torch::Tensor>],
    observer: &mut dyn Observer<torch::Tensor>,
) -> Tree<Packed<torch::Tensor>> {
    match model.forward(segments, observer) {
        Ok(forwarded) => forwarded.output,
        Err(Interrupt::Failed(raise)) => panic!("{}", raise.message()),
        Err(Interrupt::Enough) => panic!("interrupted"),
    }
}

/// Returns how a model's attention can be computed in transformers.
fn attentions(model: &str) -> &'static [&'static str] {
    let family = model.split('-').next().unwrap();
    if matches!(family, "gemma2" | "gptj" | "gpt_oss") { &["eager"] } else { &["sdpa", "eager"] }
}

struct Case {
    attention: Attention,
    steps: Vec<Json>,
    tensors: HashMap<String, Tensor>,
}

impl Case {
    fn read(model: &str, case: &str, attention: &str) -> Self {
        let attention = if attentions(model).contains(&attention) { attention } else { "eager" };
        let path = FOLDER.join(model).join(format!("{case}-{attention}"));
        let structure = json(&path.with_extension("json"));
        let tensors = Tensor::read_safetensors(path.with_extension("safetensors")).unwrap();
        Self {
            attention: if attention == "eager" { Attention::Eager } else { Attention::Sdpa },
            steps: structure["steps"].as_array().unwrap().clone(),
            tensors: tensors.into_iter().collect(),
        }
    }

    fn segment(&self, step: usize, cache: &Box<dyn Any>) -> Segment<torch::Tensor> {
        let tensor = |name: &str| {
            self.tensors.get(&format!("{step}|call|{name}")).map(|tensor| torch::Tensor::new(tensor.shallow_clone()))
        };
        let input_ids = tensor("input_ids").unwrap();
        let flags = self.steps[step]["flags"].as_object().unwrap().iter().map(|(name, value)| {
            let value = match value {
                Json::Bool(flag) => Value::Bool(*flag),
                Json::Number(number) => Value::Int(number.as_i64().unwrap()),
                other => panic!("{other}"),
            };
            (Rc::from(name.as_str()), value)
        });
        let flags: Vec<(Rc<str>, Value)> = flags.collect();
        let cached = !flags.iter().any(|(name, value)| &**name == "use_cache" && matches!(value, Value::Bool(false)));
        let (rows, length) = (input_ids.sizes()[0], input_ids.sizes()[1]);
        Segment {
            attention_mask: tensor("attention_mask"),
            position_ids: tensor("position_ids"),
            cache: cached.then(|| share(cache)),
            attention: self.attention,
            flags,
            generating: self.steps[step]["generating"] == true,
            ..Segment::new(rows, length, input_ids)
        }
    }
}

/// Returns a module's path, and the type of layers that a rotary embedding was called for.
fn called(model: &Transformer, (site, inputs, _): &Seen) -> String {
    let path = model.schema().module(*site).unwrap().path.clone();
    match inputs.args.get(2) {
        Some(Tree::Object(object)) if object.is::<&'static str>() => {
            format!("{path}@{}", object.downcast_ref::<&'static str>().unwrap())
        }
        _ => path,
    }
}

/// Hands the same cache to another pass.
fn share(cache: &Box<dyn Any>) -> Box<dyn Any> {
    let cache: &models::Cache = cache.downcast_ref().unwrap();
    Box::new(cache.clone())
}

/// Compares structure and tensors with what transformers showed.
fn compare(case: &Case, found: &Tree<Packed<torch::Tensor>>, expected: &Json, place: &str) {
    match (found, expected) {
        (Tree::None, Json::Null) => {}
        (Tree::Bool(found), Json::Bool(expected)) => assert_eq!(found, expected, "{place}"),
        (Tree::Int(found), Json::Number(expected)) => assert_eq!(Some(*found), expected.as_i64(), "{place}"),
        (Tree::Object(object), Json::String(expected)) => {
            let text = object.downcast_ref::<&'static str>().copied().unwrap_or("cache");
            assert_eq!(expected, text, "{place}");
        }
        (Tree::Leaf(Packed::Parts(parts)), Json::String(expected)) => {
            assert_eq!((expected.as_str(), parts.len()), ("tensor", 1), "{place}");
            close(parts[0].tch(), &case.tensors[place], place);
        }
        (Tree::Tuple(found), Json::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{place}");
            for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
                compare(case, found, expected, &format!("{place}|{index}"));
            }
        }
        (Tree::Dict(entries), Json::Object(expected)) => {
            assert_eq!("builtins.dict", expected["class"], "{place}");
            let expected = expected["fields"].as_object().unwrap();
            assert_eq!(names(entries), expected.keys().map(String::as_str).collect::<Vec<_>>(), "{place}");
            for (name, entry) in entries {
                compare(case, entry, &expected[*name], &format!("{place}|{name}"));
            }
        }
        (Tree::Record { class, fields }, Json::Object(expected)) => {
            assert_eq!(*class, expected["class"], "{place}");
            let expected = expected["fields"].as_object().unwrap();
            assert_eq!(names(fields), expected.keys().map(String::as_str).collect::<Vec<_>>(), "{place}");
            for (name, field) in fields {
                compare(case, field, &expected[*name], &format!("{place}|{name}"));
            }
        }
        (found, expected) => panic!("{place}: found {}, expected {expected}", kind(found)),
    }
}

fn names<T>(fields: &[(&'static str, T)]) -> Vec<&'static str> {
    let mut names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names
}

fn kind<T>(tree: &Tree<T>) -> &'static str {
    match tree {
        Tree::None => "None",
        Tree::Bool(_) => "bool",
        Tree::Int(_) => "int",
        Tree::Float(_) => "float",
        Tree::Leaf(_) => "tensor",
        Tree::Tuple(_) => "tuple",
        Tree::Dict(_) => "dict",
        Tree::Record { .. } => "record",
        Tree::Object(_) => "object",
    }
}

fn close(found: &Tensor, expected: &Tensor, place: &str) {
    assert_eq!((found.size(), found.kind()), (expected.size(), expected.kind()), "{place}");
    let difference = found.to_kind(Kind::Double) - expected.to_kind(Kind::Double);
    let largest = difference.abs().max().double_value(&[]);
    assert!(largest <= TOLERANCE, "{place} differs by {largest}");
}

#[test]
fn module_trees_are_transformers_own() {
    for name in MODELS {
        let model = load(name);
        let expected = json(&FOLDER.join(name).join("tree.json"));
        let expected: Vec<(&str, &str)> = expected
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .filter(|(path, _)| model.schema().absent(path).is_none())
            .collect();
        let found: Vec<(&str, &str)> =
            model.schema().modules.iter().map(|module| (module.path.as_str(), module.class.as_str())).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn every_modules_arguments_and_output_are_transformers_own() {
    for name in MODELS {
        compare_modules(name, &load(name), &CASES);
    }
}

#[test]
fn ranks_that_hold_pieces_of_a_model_make_it_the_same_model() {
    for name in MODELS {
        for ranks in [2, 3, 4] {
            let model = models::testing::apart(&FOLDER.join(name), DType::Float32, ranks);
            compare_modules(name, &model, &["padded", "steps"]);
            compare_generation(name, &model);
            assert_eq!(model.parameters(), load(name).parameters());
        }
    }
}

/// The type to ask for of a form of [`QUANTIZED`].
fn dtype_of(form: &str) -> DType {
    form.parse().unwrap_or(DType::Float32)
}

#[test]
fn models_in_few_bits_compute_with_what_the_codes_stand_for() {
    for (base, forms) in QUANTIZED {
        for form in forms {
            let (name, dtype) = (format!("{base}-{form}"), dtype_of(form));
            let folder = FOLDER.join(&name);
            let model = models::load(&folder, Some(dtype), models::Device::CPU, &mut |_, _| {});
            let model = model.unwrap_or_else(|error| panic!("{name}: {error}"));
            compare_modules(&name, &model, &["plain", "padded", "steps"]);
            let report = models::check(&folder);
            assert!(report.can_be_served(), "{report}");
            let needs = report.needs.unwrap();
            assert_eq!(needs.parameters, model.parameters(), "{name}");
            // All else is of the type that is computed in, as it is without.
            let few = model.bytes_in_few_bits();
            let floats = load(base);
            let others = models::check(&FOLDER.join(base)).needs.unwrap();
            let matrices = match &needs.stored {
                Some(stored) => stored.parameters,
                None => others.matrices(),
            };
            assert!(few > 0 && few < 3 * matrices, "{name}: {few} bytes for {matrices} numbers");
            assert_eq!(floats.bytes_in_few_bits(), 0);
            assert_eq!(needs.weights(dtype) - few, others.weights(DType::Float32) - 4 * matrices, "{name}");
            assert_eq!(
                needs.weights_on_cpu(dtype) - needs.weights(dtype),
                others.weights_on_cpu(DType::Float32) - others.weights(DType::Float32)
            );
        }
    }
}

#[test]
fn ranks_hold_rows_of_matrices_in_few_bits() {
    for (base, forms) in QUANTIZED {
        for form in forms {
            let name = format!("{base}-{form}");
            for ranks in [2, 3] {
                let model = models::testing::apart(&FOLDER.join(&name), dtype_of(form), ranks);
                compare_modules(&name, &model, &["steps"]);
            }
        }
    }
}

#[test]
fn what_is_in_few_bits_already_is_not_brought_there_again() {
    for dtype in [DType::Int8, DType::Nf4] {
        let refused = models::load(&FOLDER.join("llama-ct-int"), Some(dtype), models::Device::CPU, &mut |_, _| {});
        let error = refused.err().unwrap().to_string();
        let expected = format!(
            "config.json: quantization_config: the weights are quantized already, by compressed-tensors: leave out dtype={dtype}"
        );
        assert!(error.contains(&expected), "{error}");
    }
}

#[expect(clippy::print_stdout, reason = "what came before a failure says where it is")]
fn compare_modules(name: &str, model: &Transformer, cases: &[&str]) {
    for case_name in cases {
        for attention in attentions(name) {
            let case = Case::read(name, case_name, attention);
            let cache = model.new_cache();
            let stepped = model.new_cache();
            // As a whole, and operation by operation.
            let twice = case.steps.iter().enumerate().flat_map(|step| [(false, step), (true, step)]);
            for (operations, (number, step)) in twice {
                let context = format!("{name} {case_name} {attention}, operations {operations}");
                let mut recorder = Recorder { operations, ..Recorder::default() };
                let cache = if operations { &stepped } else { &cache };
                forward(model, &mut [case.segment(number, cache)], &mut recorder);
                recorder.seen.retain(|(site, ..)| model.schema().module(*site).is_some());
                let expected = step["modules"].as_array().unwrap();
                let paths: Vec<&str> = expected.iter().map(|module| module["path"].as_str().unwrap()).collect();
                let mut seen: Vec<(String, &Seen)> =
                    recorder.seen.iter().map(|seen| (called(model, seen), seen)).collect();
                // A rotary embedding is called for each type of layer, in no fixed order.
                let typed = |(path, _): &(String, &Seen)| path.contains('@');
                if let Some(first) = seen.iter().position(typed) {
                    let count = seen.iter().filter(|one| typed(one)).count();
                    seen[first..first + count].sort_by(|left, right| left.0.cmp(&right.0));
                }
                assert_eq!(seen.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), paths, "{context}");
                for ((path, (_, inputs, output)), expected) in seen.iter().zip(expected) {
                    let place = format!("{number}|{path}");
                    println!("{context} {place}");
                    compare(&case, &Tree::Tuple(inputs.args.clone()), &expected["args"], &format!("{place}|args"));
                    let kwargs = expected["kwargs"]["fields"].as_object().unwrap();
                    assert_eq!(
                        names(&inputs.kwargs),
                        kwargs.keys().map(String::as_str).collect::<Vec<_>>(),
                        "{context} {place}"
                    );
                    for (name, value) in &inputs.kwargs {
                        compare(&case, value, &kwargs[*name], &format!("{place}|kwargs|{name}"));
                    }
                    compare(&case, output, &expected["output"], &format!("{place}|output"));
                }
            }
        }
    }
}

#[test]
fn modules_are_entered_in_the_order_that_the_schema_says() {
    #[derive(Default)]
    struct Order(Vec<Site>, bool);
    impl Observer<torch::Tensor> for Order {
        fn wants(&self, _: Site, _: engine::SegmentIndex) -> Wants {
            Wants { input: true, output: false, inside: true, operations: self.1 }
        }
        fn enter(
            &mut self,
            site: Site,
            inputs: Inputs<Packed<torch::Tensor>>,
            _: &Layout,
        ) -> Result<Entered<torch::Tensor>, Interrupt> {
            self.0.push(site);
            Ok(Entered { inputs, skipped: None })
        }
        fn exit(
            &mut self,
            _: Site,
            _: Tree<Packed<torch::Tensor>>,
            _: &Layout,
        ) -> Result<Tree<Packed<torch::Tensor>>, Interrupt> {
            unreachable!("no output is wanted")
        }
    }
    for name in MODELS {
        let model = load(name);
        // Here a module runs in `eager` alone.
        let case = Case::read(name, "plain", if name == "gpt2-upcast" { "eager" } else { "sdpa" });
        for operations in [false, true] {
            let mut order = Order(Vec::new(), operations);
            forward(&model, &mut [case.segment(0, &model.new_cache())], &mut order);
            // A rotary embedding may be called for each type of layer.
            let mut known = HashSet::new();
            order.0.retain(|site| known.insert(*site));
            let all = model.schema().execution.iter().copied();
            let reached = |site: &Site| match model.schema().operation(*site) {
                Some(operation) => {
                    operations && operation.when.is_none_or(|when| when == case.attention) && !operation.perhaps
                }
                None => true,
            };
            order.0.retain(|site| model.schema().operation(*site).is_none_or(|operation| !operation.perhaps));
            let expected: Vec<Site> = all.filter(reached).collect();
            assert_eq!(order.0, expected, "{name}");
        }
    }
}

#[test]
fn segments_that_share_a_pass_get_what_they_get_alone() {
    for name in MODELS {
        let model = load(name);
        // Engines have no two of them in one pass. Only where they enter the same modules could there be.
        let ways = if name == "gpt2-upcast" { ["eager"; 3] } else { ["sdpa", "eager", "sdpa"] };
        let cases: Vec<Case> = ["padded-steps", "long", "steps"]
            .into_iter()
            .zip(ways)
            .map(|(case, attention)| Case::read(name, case, attention))
            .collect();
        let caches: Vec<_> = cases.iter().map(|_| model.new_cache()).collect();
        let alone: Vec<_> = cases.iter().map(|_| model.new_cache()).collect();
        let steps = [Some(0), Some(1)];
        for step in steps.into_iter().flatten() {
            let running: Vec<usize> = (0..cases.len()).filter(|&index| step < cases[index].steps.len()).collect();
            let segments =
                || running.iter().map(|&index| cases[index].segment(step, &caches[index])).collect::<Vec<_>>();
            let mut recorder = Recorder::default();
            let output = forward(&model, &mut segments(), &mut recorder);
            for (at, &index) in running.iter().enumerate() {
                let segment = cases[index].segment(step, &alone[index]);
                let mut own = Recorder::default();
                let expected = forward(&model, &mut [segment], &mut own);
                let layout = segments().iter().map(|segment| (segment.rows, segment.length)).collect::<Vec<_>>();
                same_leaves(&part(&output, &layout, at), &part(&expected, &[layout[at]], 0), name);
                for (shared, own) in recorder.seen.iter().zip(&own.seen) {
                    let path = &model.schema().module(shared.0).unwrap().path;
                    same_leaves(&part(&shared.2, &layout, at), &part(&own.2, &[layout[at]], 0), path);
                }
            }
        }
    }
}

#[test]
fn nobody_watching_changes_nothing() {
    for name in MODELS {
        let model = load(name);
        for (case, attention) in [("padded", "eager"), ("plain", "sdpa")] {
            let case = Case::read(name, case, attention);
            let output = forward(&model, &mut [case.segment(0, &model.new_cache())], &mut Blind);
            let expected = &case.steps[0]["modules"].as_array().unwrap().last().unwrap()["output"];
            compare(&case, &output, expected, "0||output");
        }
    }
}

/// Returns the root of the mean square of differences.
fn distance(left: &Tensor, right: &Tensor) -> f64 {
    (left.to_kind(Kind::Double) - right.to_kind(Kind::Double)).square().mean(Kind::Double).sqrt().double_value(&[])
}

#[test]
fn in_bfloat16_a_model_is_as_near_to_transformers_as_its_two_ways_to_attend_are_to_each_other() {
    let mut far = Vec::new();
    for name in MODELS {
        let made = Tensor::read_safetensors(FOLDER.join(name).join("halves.safetensors")).unwrap();
        let made: HashMap<String, Tensor> = made.into_iter().collect();
        let model = models::load(&FOLDER.join(name), Some(DType::BFloat16), models::Device::CPU, &mut |_, _| {});
        let model = model.unwrap_or_else(|error| panic!("{error}"));
        for way in attentions(name) {
            let segment = Segment {
                attention: if *way == "eager" { Attention::Eager } else { Attention::Sdpa },
                ..Segment::new(2, 40, torch::Tensor::new(made["ids"].shallow_clone()))
            };
            let Tree::Record { fields, .. } = forward(&model, &mut [segment], &mut Blind) else { panic!("no record") };
            let found = match fields.into_iter().find(|(name, _)| *name == "logits") {
                Some((_, Tree::Leaf(Packed::Parts(parts)))) => parts[0].tch().shallow_clone(),
                _ => panic!("no logits"),
            };
            let own = distance(&found, &made[&format!("bfloat16-{way}")]);
            // Where there is one way only, what rounding does to it.
            let usual = match attentions(name) {
                [_, _] => distance(&made["bfloat16-sdpa"], &made["bfloat16-eager"]),
                _ => distance(&made["bfloat16-eager"], &made["float32-eager"]),
            };
            println!("{name} {way}: {own:.6} beside {usual:.6}");
            if own > usual {
                far.push(format!("{name} {way}: {own} is more than {usual}"));
            }
        }
    }
    assert!(far.is_empty(), "{far:#?}");
}

#[test]
fn what_a_configuration_asks_for_is_returned_by_calls_that_do_not_say_otherwise() {
    for name in ["mixtral", "qwen3_moe", "gpt_oss"] {
        let folder = tempfile::tempdir().unwrap();
        for file in ["model.safetensors", "tokenizer.json"] {
            std::fs::copy(FOLDER.join(name).join(file), folder.path().join(file)).unwrap();
        }
        let mut config = json(&FOLDER.join(name).join("config.json"));
        config["output_router_logits"] = true.into();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let model = models::load(folder.path(), Some(DType::Float32), models::Device::CPU, &mut |_, _| {});
        let model = model.unwrap_or_else(|error| panic!("{error}"));
        let case = Case::read(name, "padded", "eager");
        let output = |flag: Option<bool>| {
            let mut segment = case.segment(0, &model.new_cache());
            segment.flags.retain(|(name, _)| &**name != "output_router_logits");
            segment.flags.extend(flag.map(|flag| ("output_router_logits".into(), Value::Bool(flag))));
            forward(&model, &mut [segment], &mut Blind)
        };
        let expected = &case.steps[0]["modules"].as_array().unwrap().last().unwrap()["output"];
        compare(&case, &output(None), expected, "0||output");
        let Tree::Record { fields, .. } = output(Some(false)) else { panic!("no record") };
        assert!(!fields.iter().any(|(name, _)| ["aux_loss", "router_logits"].contains(name)), "{name}");
    }
}

/// Lists the tensors that one segment has of a value.
fn part(tree: &Tree<Packed<torch::Tensor>>, layout: &[(i64, i64)], segment: usize) -> Vec<Tensor> {
    match tree {
        Tree::Leaf(Packed::Parts(parts)) => vec![parts[segment].tch().shallow_clone()],
        Tree::Leaf(Packed::Tokens(tensor)) => {
            let start: i64 = layout.iter().take(segment).map(|(rows, length)| rows * length).sum();
            let (rows, length) = layout[segment];
            let own = tensor.tch().narrow(0, start, rows * length);
            let mut shape = vec![rows, length];
            shape.extend(own.size().iter().skip(1));
            vec![own.view(shape.as_slice())]
        }
        Tree::Tuple(items) => items.iter().flat_map(|item| part(item, layout, segment)).collect(),
        // What only one segment asked for is there for all.
        Tree::Record { fields, .. } => {
            let asked = fields.iter().filter(|(name, _)| matches!(*name, "logits" | "last_hidden_state"));
            asked.flat_map(|(_, field)| part(field, layout, segment)).collect()
        }
        _ => Vec::new(),
    }
}

fn same_leaves(found: &[Tensor], expected: &[Tensor], place: &str) {
    // Weights are shown only where every segment computes them.
    for (found, expected) in found.iter().zip(expected) {
        close(found, expected, place);
    }
    assert!(!found.is_empty(), "{place}");
}

struct Outside;

impl Environment for Outside {}

#[test]
fn generation_chooses_the_tokens_that_transformers_chooses() {
    for name in MODELS {
        compare_generation(name, &load(name));
    }
}

fn compare_generation(name: &str, model: &Transformer) {
    let generations = json(&FOLDER.join(name).join("generate.json"));
    let prompts = rows(&generations["prompts"]);
    for case in generations["cases"].as_array().unwrap() {
        let found = generate(model, &prompts, &case["settings"]).unwrap_or_else(|raise| panic!("{}", raise.message()));
        assert_eq!(found, rows(&case["ids"]), "{name} {}", case["settings"]);
    }
}

fn rows(json: &Json) -> Vec<Vec<i64>> {
    let row = |row: &Json| row.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
    json.as_array().unwrap().iter().map(row).collect()
}

fn generate(model: &Transformer, prompts: &[Vec<i64>], settings: &Json) -> Result<Vec<Vec<i64>>, Raise> {
    let machine = Machine::new(&program::Limits::default(), Rc::new(Outside));
    torch::Job::of(&machine).seed(1234)?;
    let kwargs = settings.as_object().unwrap().iter().map(|(name, value)| {
        let value = match value {
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap()), Value::Int),
            Json::Array(items) => Value::list(items.iter().map(|item| Value::Int(item.as_i64().unwrap())).collect()),
            other => panic!("{other}"),
        };
        (Rc::from(name.as_str()), value)
    });
    let mut sampler = model.sampler(&machine, &kwargs.collect::<Vec<_>>(), prompts)?;
    let (mut sequences, mut finished) = (prompts.to_vec(), vec![false; prompts.len()]);
    let cache = model.new_cache();
    let mut fresh = sequences[0].len();
    while sampler.remaining(sequences[0].len()) > 0 && !finished.iter().all(|&done| done) {
        let ids: Vec<i64> = sequences.iter().flat_map(|row| row[row.len() - fresh..].to_vec()).collect();
        let ids = Tensor::from_slice(&ids).view([sequences.len() as i64, -1]);
        let mut segment = Segment {
            cache: Some(share(&cache)),
            flags: vec![("logits_to_keep".into(), Value::Int(1))],
            ..Segment::new(sequences.len() as i64, fresh as i64, torch::Tensor::new(ids))
        };
        let output = forward(model, std::slice::from_mut(&mut segment), &mut Blind);
        let logits = part(&output, &[(sequences.len() as i64, 1)], 0).remove(0).squeeze_dim(1);
        let drawn = sampler.draw(&machine, &torch::Tensor::new(logits), &sequences)?;
        let chosen = model.drawn(vec![drawn]).remove(0)?;
        for ((row, done), token) in sequences.iter_mut().zip(&mut finished).zip(chosen) {
            row.push(if *done { sampler.pad_token() } else { token });
            *done |= sampler.finished(row);
        }
        fresh = 1;
    }
    Ok(sequences)
}
