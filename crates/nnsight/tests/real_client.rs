//! The codec against the client as it is on PyPI: what it posts is decoded, what is encoded it loads.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nnsight::{DecodeError, RequestFields, Status, binary_frame, decode, encode_saved};
use program::datum::{Decorator, Envoy};
use program::{DType, Datum, Entry, Function, Heap, Limits, Program, Ref, Saved, TensorData};
use serde_json::{Map, Value, json};

/// What the client posted in one case.
struct Post {
    fields: RequestFields,
    blob: Vec<u8>,
    expected: Option<Value>,
}

impl Post {
    fn program(&self) -> Program {
        decode(&self.fields, &self.blob.clone().into(), &Limits::default()).unwrap()
    }

    /// Returns the payload as the pickle that it is, for bytes to be changed in.
    fn pickle(&self) -> (RequestFields, Vec<u8>) {
        let mut fields = self.fields.clone();
        let pickle = if fields.compress { zstd::decode_all(self.blob.as_slice()).unwrap() } else { self.blob.clone() };
        fields.compress = false;
        (fields, pickle)
    }
}

fn post(case: &str) -> &'static Post {
    static POSTS: OnceLock<HashMap<String, Post>> = OnceLock::new();
    let posts = POSTS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        client("submit", folder.path());
        let read = |path: PathBuf| std::fs::read(path).ok();
        let mut posts = HashMap::new();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let Some(blob) = read(path.with_extension("blob")) else { continue };
            let fields = RequestFields::parse(&read(path.with_extension("json")).unwrap()).unwrap();
            let expected = read(path.with_extension("expected")).map(|json| serde_json::from_slice(&json).unwrap());
            posts.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), Post { fields, blob, expected });
        }
        posts
    });
    posts.get(case).expect("the client posts this case")
}

/// Runs the script that plays the client and returns what it prints.
fn client(mode: &str, folder: &Path) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("VITRINE_PYTHON").map_or_else(|| here.join("../../.venv/bin/python"), PathBuf::from);
    let output = Command::new(&python).arg(here.join("tests/client.py")).arg(mode).arg(folder).output();
    let Ok(output) = output else {
        panic!("there is no Python with the nnsight client at {}: run `make setup-tests`", python.display());
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A program and what it calls things.
struct View {
    program: Program,
}

impl View {
    fn of(case: &str) -> Self {
        Self { program: post(case).program() }
    }

    fn get(&self, at: Ref) -> &Datum {
        self.program.heap.get(at).unwrap()
    }

    fn text(&self, at: Ref) -> &str {
        self.program.heap.text(at).unwrap()
    }

    fn find(&self, name: &str) -> Ref {
        let names = self.program.locals.iter().chain(&self.program.globals);
        names.clone().find(|(known, _)| known == name).map(|&(_, at)| at).unwrap_or_else(|| panic!("no name {name}"))
    }

    fn named(&self, name: &str) -> &Datum {
        self.get(self.find(name))
    }

    /// Returns the path of a module that the program gave nothing: the model is of one of nnsight's classes.
    fn untouched<'v>(&'v self, datum: &'v Datum) -> Option<&'v str> {
        let Datum::Envoy(Envoy { path, edits, aliases, own }) = datum else { return None };
        let class = global("nnsight.modeling.language", "LanguageModel");
        let usual = own.iter().all(|own| own.attributes.is_empty() && own.class.map(|at| self.get(at)) == Some(&class));
        (edits.is_empty() && aliases.is_empty() && usual).then_some(path)
    }

    fn attribute(&self, attributes: &[(String, Ref)], name: &str) -> &Datum {
        self.get(attributes.iter().find(|(known, _)| known == name).unwrap().1)
    }

    /// Returns an entry of a dict whose keys are text.
    fn entry(&self, dict: &Datum, name: &str) -> &Datum {
        let Datum::Dict(pairs) = dict else { panic!("{dict:?}") };
        let found = pairs.iter().find(|(key, _)| self.get(*key) == &Datum::Str(name.into()));
        self.get(found.unwrap_or_else(|| panic!("no entry {name}")).1)
    }

    /// Returns an object's class, whether it was called, and its state.
    fn object(&self, datum: &Datum) -> (&Datum, bool, Option<&Datum>) {
        let Datum::Object { class, called, state, .. } = datum else { panic!("{datum:?}") };
        (self.get(*class), *called, state.map(|state| self.get(state)))
    }
}

fn global(module: &str, name: &str) -> Datum {
    Datum::Global { module: module.into(), name: name.into() }
}

#[test]
fn a_trace_is_its_source_its_model_and_its_input() {
    let view = View::of("trace");
    let Program { model, env, entry, source, globals, .. } = &view.program;
    assert_eq!((model.repo_id(), model.revision()), ("test/tiny", None));
    assert_eq!(env.attn_implementation.as_deref(), Some("eager"));
    let Entry::Trace { function: Function::Call, envoy: root, args, kwargs } = entry else { panic!("{entry:?}") };
    assert_eq!((view.untouched(view.get(*root)), kwargs.len(), globals.len()), (Some(""), 0, 0));
    assert_eq!(*root, view.find("model"));
    assert_eq!(args.iter().map(|&arg| view.get(arg)).collect::<Vec<_>>(), [&Datum::Str("hello world".into())]);
    let modules = &view.program.modules;
    assert_eq!(modules.iter().filter(|path| *path == "transformer.h.1.mlp.c_fc").count(), 1);
    assert!(modules.iter().any(|path| path.is_empty()) && modules.iter().all(|path| !path.starts_with("model")));
    let code = "hidden = model.transformer.h[1].output.save()\nlogits = model.lm_head.output.save()";
    assert_eq!(source.text.trim_start(), code);
    assert!(source.filename.ends_with("client.py") && source.function == "submit", "{source:?}");
    // The first line of the block is where the user's file has it.
    let file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client.py")).unwrap();
    let line = source.text.len() - source.text.trim_start_matches('\n').len();
    assert_eq!(file.lines().nth(line).unwrap().trim(), code.lines().next().unwrap());
}

#[test]
fn captured_values_arrive_as_they_were() {
    for case in ["values", "tensors"] {
        let Post { fields, expected, .. } = post(case);
        assert_eq!(fields.compress, case == "tensors");
        let view = View::of(case);
        for (name, expected) in expected.as_ref().unwrap().as_object().unwrap() {
            let found = Summary { heap: &view.program.heap, seen: Vec::new() }.of(view.find(name));
            let (found, expected) = (found["dict"].as_array().unwrap(), expected["dict"].as_array().unwrap());
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found, expected);
            }
            assert_eq!(found.len(), expected.len());
        }
    }
}

#[test]
fn the_entry_tells_what_is_traced() {
    for (case, function) in [("generate", Function::Generate), ("pipe", Function::Pipe), ("submodule", Function::Call)]
    {
        let view = View::of(case);
        let Entry::Trace { function: found, envoy: at, kwargs, .. } = &view.program.entry else { panic!("{case}") };
        assert_eq!(*found, function);
        let path = if case == "submodule" { "transformer.h.0" } else { "" };
        assert_eq!(view.untouched(view.get(*at)), Some(path));
        let kwargs: Vec<_> = kwargs.iter().map(|(name, at)| (name.as_str(), view.get(*at).clone())).collect();
        assert_eq!(
            kwargs,
            match case {
                "generate" => {
                    vec![("max_new_tokens", Datum::Int(3.into())), ("do_sample", Datum::Bool(false))]
                }
                "pipe" => vec![("max_new_tokens", Datum::Int(2.into()))],
                _ => vec![("use_cache", Datum::Bool(false))],
            }
        );
        if case == "submodule" {
            assert_eq!(view.untouched(view.named("head")), Some("lm_head"));
        } else {
            assert_eq!(view.named("tracer"), &Datum::Tracer);
        }
    }
    let session = View::of("session");
    assert_eq!(session.program.entry, Entry::Session);
    assert!(session.program.source.text.contains("with model.trace(prompt):"));
    assert_eq!(session.untouched(session.named("model")), Some(""));
}

#[test]
fn an_encoding_is_its_data() {
    let view = View::of("encoding");
    let Entry::Trace { args, .. } = &view.program.entry else { panic!() };
    assert_eq!(args, &[view.find("encoding")]);
    let (class, called, state) = view.object(view.named("encoding"));
    assert_eq!((class, called), (&global("transformers.tokenization_utils_base", "BatchEncoding"), false));
    let Datum::Tensor(ids) = view.entry(view.entry(state.unwrap(), "data"), "input_ids") else { panic!() };
    assert_eq!((ids.dtype, ids.shape.as_slice()), (DType::Int64, &[2, 2][..]));
    let ids: Vec<_> = ids.bytes.as_chunks::<8>().0.iter().map(|id| i64::from_le_bytes(*id)).collect();
    assert_eq!(ids, [2, 3, 0, 2], "padded on the left");
    let Datum::List(rows) = view.entry(state.unwrap(), "encodings") else { panic!() };
    assert_eq!(rows.len(), 2, "what the tokenizer made of each row");
    assert!(rows.iter().all(|&row| matches!(view.get(row), Datum::Bytes(json) if json.starts_with(b"{"))));
}

#[test]
fn edits_and_aliases_come_with_the_envoy() {
    let view = View::of("edit");
    let Datum::Envoy(edited) = view.named("edited") else { panic!() };
    let [edit] = edited.edits.as_slice() else { panic!("{edited:?}") };
    assert!(edit.source.text.ends_with("edited.transformer.h[0].output[:] = edited.transformer.h[0].output * scale"));
    let scale = edit.locals.iter().find(|(name, _)| name == "scale").unwrap().1;
    assert!(matches!(view.get(scale), Datum::Tensor(TensorData { shape, .. }) if shape == &[16]));
    assert_eq!(edit.locals.iter().find(|(name, _)| name == "edited").unwrap().1, view.find("edited"), "itself");

    let view = View::of("rename");
    let Datum::Envoy(renamed) = view.named("renamed") else { panic!() };
    let mut aliases = renamed.aliases.clone();
    aliases.sort();
    let pairs = [
        ("layers", "transformer.h"),
        ("transformer.h.0.feed", "transformer.h.0.mlp"),
        ("transformer.h.1.feed", "transformer.h.1.mlp"),
        ("unembed", "lm_head"),
    ];
    assert_eq!(aliases, pairs.map(|(alias, path)| (alias.to_owned(), path.to_owned())));
}

#[test]
fn what_a_program_gives_its_model_comes_with_the_envoy() {
    let view = View::of("own");
    let Datum::Envoy(told) = view.named("told") else { panic!() };
    let [root, module] = told.own.as_slice() else { panic!("{:?}", told.own) };
    assert_eq!((root.path.as_str(), module.path.as_str()), ("", "transformer.h.1"));
    let Some(Datum::Class { name, bases, attributes, .. }) = root.class.map(|class| view.get(class)) else { panic!() };
    assert_eq!((name.as_str(), view.get(bases[0])), ("Told", &global("nnsight.modeling.language", "LanguageModel")));
    assert!(matches!(view.attribute(attributes, "tell"), Datum::Function { .. }));
    let names: Vec<&str> = root.attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["chosen", "first"], "nothing of nnsight's");
    assert!(
        matches!(view.attribute(&root.attributes, "first"), Datum::Envoy(first) if first.path == "transformer.h.0")
    );
    assert_eq!(module.class, None);
    assert_eq!(view.attribute(&module.attributes, "weighting"), &Datum::Float(0.5));
}

#[test]
fn functions_come_as_source_with_what_they_read() {
    let view = View::of("functions");
    let at = view.find("countdown");
    let Datum::Function { source, name, defaults, keyword_defaults, globals, .. } = view.get(at) else { panic!() };
    assert!(
        view.text(*source).starts_with("def countdown(n, step=1, *rest, floor=0, **options):\n") && name == "countdown"
    );
    assert_eq!(defaults.iter().map(|&at| view.get(at)).collect::<Vec<_>>(), [&Datum::Int(1.into())]);
    assert_eq!(view.attribute(keyword_defaults, "floor"), &Datum::Int(0.into()));
    assert_eq!(globals.iter().find(|(name, _)| name == "countdown").unwrap().1, at, "it calls itself");
    assert_eq!(view.attribute(globals, "FACTOR"), &Datum::Int(4.into()));
    assert_eq!(view.attribute(globals, "math"), &Datum::Module("math".into()));

    let Datum::Function { source, name, filename, line, .. } = view.named("double") else { panic!() };
    assert_eq!((view.text(*source), name.as_str()), ("lambda x, y=2: x * y", "<lambda>"));
    assert!(filename.ends_with("client.py") && *line > 1);
    let Datum::Function { globals, .. } = view.named("add") else { panic!() };
    assert!(matches!(view.attribute(globals, "amount"), Datum::Tensor(_)), "what it closes over");
}

#[test]
fn classes_and_their_objects_survive() {
    let view = View::of("classes");
    let class = |name: &str| match view.object(view.named(name)) {
        (Datum::Class { name, bases, attributes, .. }, called, state) => {
            (name.as_str(), view.get(bases[0]), attributes, called, state)
        }
        (other, ..) => panic!("{other:?}"),
    };
    let (name, base, attributes, called, state) = class("probe");
    assert_eq!((name, base, called), ("Probe", &global("torch.nn.modules.module", "Module"), false));
    assert_eq!(view.attribute(attributes, "scale"), &Datum::Int(3.into()));
    let Datum::Function { globals, .. } = view.attribute(attributes, "__init__") else { panic!() };
    assert!(
        matches!(view.attribute(globals, "__class__"), Datum::Class { name, .. } if name == "Probe"),
        "for super()"
    );
    let kinds =
        [("helper", Decorator::StaticMethod), ("build", Decorator::ClassMethod), ("width", Decorator::Property)];
    for (name, expected) in kinds {
        let Datum::Decorated { kind, functions } = view.attribute(attributes, name) else { panic!("{name}") };
        assert_eq!((*kind, functions.len()), (expected, 1));
        assert!(matches!(view.get(functions[0]), Datum::Function { name: known, .. } if known == name));
    }
    let linear = view.entry(view.entry(state.unwrap(), "_modules"), "linear");
    let (class_of, _, state) = view.object(linear);
    assert_eq!(class_of, &global("torch.nn.modules.linear", "Linear"));
    let weight = view.entry(view.entry(state.unwrap(), "_parameters"), "weight");
    let Datum::Parameter { tensor, requires_grad: true } = weight else { panic!("{weight:?}") };
    assert!(matches!(view.get(*tensor), Datum::Tensor(TensorData { shape, .. }) if shape == &[2, 16]));
    let Datum::Method { function, receiver } = view.named("forward") else { panic!("{:?}", view.named("forward")) };
    assert_eq!(*receiver, view.find("probe"));
    assert!(matches!(view.get(*function), Datum::Function { name, .. } if name == "forward"));

    let (name, _, attributes, _, state) = class("point");
    assert_eq!(name, "Point");
    assert_eq!(view.entry(state.unwrap(), "y"), &Datum::Float(2.0));
    let field = view.entry(view.attribute(attributes, "__dataclass_fields__"), "tags");
    let (class_of, _, Some(Datum::Tuple(slots))) = view.object(field) else { panic!() };
    assert_eq!(class_of, &global("dataclasses", "Field"));
    assert_eq!(view.entry(view.get(slots[1]), "default_factory"), &global("builtins", "list"));
    assert!(matches!(view.attribute(attributes, "norm"), Datum::Function { .. }));
    let Datum::Opaque { what } = view.attribute(attributes, "__init__") else { panic!("byte code is not a value") };
    assert!(what.contains("`__init__`"), "{what}");
    assert!(matches!(view.named("kind"), Datum::Class { name, .. } if name == "Point"));

    let (name, base, attributes, called, _) = class("colour");
    assert_eq!((name, base, called), ("Colour", &global("enum", "Enum"), true));
    assert_eq!(view.attribute(attributes, "BLUE"), &Datum::Str("b".into()));
    assert!(matches!(view.named("colour"), Datum::Object { args, .. } if view.get(args[0]) == &Datum::Str("b".into())));

    let (name, base, attributes, ..) = class("pair");
    assert_eq!((name, base), ("Pair", &global("builtins", "tuple")));
    assert!(matches!(view.attribute(attributes, "_fields"), Datum::Tuple(fields) if fields.len() == 2));
    let (name, base, _, called, _) = class("failure");
    assert_eq!((name, base, called), ("Failure", &global("builtins", "ValueError"), true));
    let (name, base, _, _, state) = class("mine");
    assert_eq!((name, base), ("Mine", &global("builtins", "dict")));
    assert!(matches!(view.entry(state.unwrap(), "extra"), Datum::List(items) if items.len() == 1));
    assert!(matches!(view.named("mine"), Datum::Object { pairs, .. } if pairs.len() == 1));
}

#[test]
fn library_objects_keep_the_names_that_users_know() {
    let view = View::of("library");
    for (name, module, known) in [
        ("relu", "torch", "relu"),
        ("gelu", "torch.nn.functional", "gelu"),
        ("softmax", "torch.nn.functional", "softmax"),
        ("norm", "torch.linalg", "norm"),
        ("einsum", "torch", "einsum"),
        ("mean", "numpy", "mean"),
        ("root", "math", "sqrt"),
        ("linear", "torch.nn.modules.linear", "Linear"),
    ] {
        assert_eq!(view.named(name), &global(module, known));
    }
    for (name, module) in [("math", "math"), ("np", "numpy"), ("functional", "torch.nn.functional")] {
        assert_eq!(view.named(name), &Datum::Module(module.into()));
    }
    let Datum::Attribute { object, name } = view.named("method") else { panic!() };
    assert_eq!((view.get(*object), name.as_str()), (&global("torch", "Tensor"), "sum"));
    let Datum::Attribute { object, name } = view.named("upper") else { panic!() };
    assert_eq!((view.get(*object), name.as_str()), (&Datum::Str("text".into()), "upper"));
    assert_eq!(view.named("module"), &Datum::ModelModule { path: "transformer.h.0".into() });
    assert_eq!(view.named("tokenizer"), &Datum::Tokenizer);
    assert!(matches!(view.named("words"), Datum::Opaque { what } if what.contains("numpy array")));
    let sizes = |name| match view.named(name) {
        Datum::Object { args, items, pairs, .. } => (args.len(), items.len(), pairs.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!([sizes("ordered"), sizes("counter"), sizes("default")], [(0, 0, 2), (1, 0, 0), (1, 0, 1)]);
    assert_eq!(sizes("queue"), (2, 2, 0));
    let part = view.named("part");
    let (class, true, Some(keywords)) = view.object(part) else { panic!("{part:?}") };
    assert_eq!(class, &global("functools", "partial"));
    assert_eq!(view.entry(keywords, "reverse"), &Datum::Bool(true));
    assert_eq!(sizes("part").0, 2, "the function and its argument");
    assert_eq!(view.object(view.named("generator")).0, &global("torch", "Generator"));
}

#[test]
fn a_payload_cut_anywhere_is_an_error() {
    for case in ["trace", "functions"] {
        let (fields, pickle) = post(case).pickle();
        for end in 0..pickle.len() {
            assert!(
                decode(&fields, &pickle[..end].to_vec().into(), &Limits::default()).is_err(),
                "{case} cut at {end}"
            );
        }
        assert!(decode(&fields, &pickle.clone().into(), &Limits::default()).is_ok());
        let Post { fields, blob, .. } = post(case);
        for end in 0..blob.len() {
            assert!(matches!(
                decode(fields, &blob[..end].to_vec().into(), &Limits::default()),
                Err(DecodeError::Zstd(_))
            ));
        }
    }
}

#[test]
fn changed_bytes_never_panic_and_never_outgrow_the_limits() {
    let limits = Limits { decoded_bytes: 1 << 20, heap_nodes: 20_000, ..Limits::default() };
    let mut random = Random(0x5eed);
    let (mut read, mut refused) = (0, 0);
    for case in ["trace", "values", "tensors", "edit", "rename", "functions", "classes", "library", "encoding"] {
        let (fields, original) = post(case).pickle();
        for _ in 0..400 {
            let mut pickle = original.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(pickle.len());
                match random.below(4) {
                    0 => pickle[at] = random.next() as u8,
                    1 => pickle[at] ^= 1 << random.below(8),
                    2 => drop(pickle.remove(at)),
                    // Another part of the payload in its place: opcodes that are right, elsewhere.
                    _ => {
                        let from = random.below(pickle.len());
                        let length = random.below(40).min(pickle.len() - from.max(at));
                        pickle.copy_within(from..from + length, at);
                    }
                }
            }
            match decode(&fields, &pickle.clone().into(), &limits) {
                Ok(program) => {
                    read += 1;
                    assert!(program.heap.len() <= limits.heap_nodes as usize);
                    assert!(held(&program.heap) <= limits.decoded_bytes, "{case}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(read > 300 && refused > 300, "seed 0x5eed: {read} read, {refused} refused");
}

/// Bytes of text, bytes and tensors in a heap.
fn held(heap: &Heap) -> u64 {
    let size = |at: usize| match heap.get(Ref(at as u32)).unwrap() {
        Datum::Str(text) => text.len(),
        Datum::Bytes(bytes) => bytes.len(),
        Datum::Tensor(data) | Datum::Array { data, .. } => data.bytes.len(),
        _ => 0,
    };
    (0..heap.len()).map(size).sum::<usize>() as u64
}

/// A linear congruential generator: the same changes on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound.max(1)
    }
}

/// Says what a value is, as the client's script does.
struct Summary<'h> {
    heap: &'h Heap,
    seen: Vec<Ref>,
}

impl Summary<'_> {
    fn many(&mut self, items: &[Ref]) -> Vec<Value> {
        items.iter().map(|&item| self.of(item)).collect()
    }

    fn sorted(&mut self, items: &[Ref]) -> Vec<Value> {
        let mut items = self.many(items);
        items.sort_by_key(Value::to_string);
        items
    }

    fn of(&mut self, at: Ref) -> Value {
        let bits = |number: &f64| hex(&number.to_be_bytes());
        let datum = self.heap.get(at).unwrap();
        if matches!(datum, Datum::List(_) | Datum::Dict(_)) {
            if let Some(index) = self.seen.iter().position(|&seen| seen == at) {
                return json!({ "again": index });
            }
            self.seen.push(at);
        }
        match datum {
            Datum::None => Value::Null,
            Datum::Bool(value) => json!(value),
            Datum::Str(text) => json!(text),
            Datum::Int(value) => json!({ "int": value.to_string() }),
            Datum::Float(value) => json!({ "float": bits(value) }),
            Datum::Complex(real, imaginary) => json!({ "complex": [bits(real), bits(imaginary)] }),
            Datum::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
            Datum::List(items) => json!({ "list": self.many(items) }),
            Datum::Tuple(items) => json!({ "tuple": self.many(items) }),
            Datum::Set(items) => json!({ "set": self.sorted(items) }),
            Datum::FrozenSet(items) => json!({ "frozenset": self.sorted(items) }),
            Datum::Dict(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|&(key, value)| [self.of(key), self.of(value)]).collect();
                json!({ "dict": pairs })
            }
            Datum::Range { start, stop, step } => {
                json!({ "range": [start.to_string(), stop.to_string(), step.to_string()] })
            }
            Datum::Slice { start, stop, step } => json!({ "slice": self.many(&[*start, *stop, *step]) }),
            Datum::Ellipsis => json!({ "constant": "Ellipsis" }),
            Datum::NotImplemented => json!({ "constant": "NotImplemented" }),
            Datum::Size(sizes) => json!({ "size": sizes }),
            Datum::DType(dtype) => json!({ "dtype": format!("torch.{}", dtype.name()) }),
            Datum::Device(name) => json!({ "device": name }),
            Datum::Parameter { tensor, requires_grad } => json!({ "parameter": [self.of(*tensor), requires_grad] }),
            Datum::Tensor(_) | Datum::View { .. } => {
                let TensorData { dtype, shape, bytes, requires_grad } = self.heap.tensor(at).unwrap();
                json!({ "tensor": [format!("torch.{}", dtype.name()), shape, hex(&bytes), requires_grad] })
            }
            Datum::Array { data, scalar: false } => {
                json!({ "array": [data.dtype.name(), data.shape, hex(&data.bytes)] })
            }
            Datum::Array { data, scalar: true } => json!({ "scalar": [data.dtype.name(), hex(&data.bytes)] }),
            other => panic!("{other:?}"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_client_loads_what_is_encoded() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();

    // What was decoded goes back as it came.
    let mut expected = Map::new();
    for case in ["values", "tensors"] {
        let program = post(case).program();
        let names = program.locals.into_iter().filter(|(name, _)| name == case).collect();
        let saved = Saved { heap: program.heap, names };
        write(&format!("plain_{case}.result"), &encode_saved(&saved, false).unwrap());
        write(&format!("compressed_{case}.result"), &encode_saved(&saved, true).unwrap());
        for form in ["plain", "compressed"] {
            expected.insert(format!("{form}_{case}"), post(case).expected.clone().unwrap());
        }
    }

    let (special, saved) = special_values();
    write("plain_special.result", &encode_saved(&saved, false).unwrap());
    expected.insert("plain_special".into(), special);

    let empty = encode_saved(&Saved::default(), true).unwrap();
    write("compressed_empty.result", &empty);
    expected.insert("compressed_empty".into(), json!({}));

    let meta = json!({ "execution_time_s": 1.5, "tokens": 3, "big": u64::MAX, "notes": ["a", null, true], "none": {} });
    let frame = binary_frame("job", Status::Completed, "done", &empty, meta.as_object());
    write("with_meta.frame", &frame);
    expected.insert("with_meta".into(), json!(["job", "COMPLETED", "done", hex(&empty), meta]));
    write("long.frame", &binary_frame("job", Status::Completed, "", &vec![7; 70_000], None));
    expected.insert("long".into(), json!(["job", "COMPLETED", "", "07".repeat(70_000), null]));

    let printed = client("load", folder.path());
    let found: Map<String, Value> = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, expected) in &expected {
        match (expected.as_object(), found[name].as_object()) {
            (Some(expected), Some(found)) => {
                for (variable, expected) in expected {
                    assert_eq!(&found[variable], expected, "{name} {variable}");
                }
                assert_eq!(found.len(), expected.len());
            }
            _ => assert_eq!(&found[name], expected, "{name}"),
        }
    }
}

/// Makes objects of library classes, and says what the client says of them.
fn special_values() -> (Value, Saved) {
    let mut heap = Heap::default();
    let mut names = Vec::new();
    let tensor = |data: &[f32], shape: &[i64]| TensorData {
        dtype: DType::Float32,
        shape: shape.to_vec(),
        bytes: data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        requires_grad: false,
    };
    let logits = tensor(&[1.0, 2.0], &[1, 1, 2]);
    let logits_summary = json!({ "tensor": ["torch.float32", [1, 1, 2], hex(&logits.bytes), false] });
    let none = heap.push(Datum::None);
    let logits = heap.push(Datum::Tensor(logits));
    let [keys, values] = [5.0, 6.0].map(|value| heap.push(Datum::Tensor(tensor(&[value; 6], &[1, 1, 3, 2]))));
    let dict = |heap: &mut Heap, entries: &[(&str, Ref)]| {
        let pairs = entries.iter().map(|(name, value)| (heap.push(Datum::Str((*name).into())), *value)).collect();
        heap.push(Datum::Dict(pairs))
    };
    let object = |heap: &mut Heap, (module, name), state| {
        let class = heap.push(global(module, name));
        let (args, items, pairs) = (vec![], vec![], vec![]);
        heap.push(Datum::Object { class, called: false, args, state: Some(state), items, pairs })
    };
    let called = |heap: &mut Heap, (module, name), args: &[Ref], items: &[Ref], pairs: &[(Ref, Ref)], state| {
        let class = heap.push(global(module, name));
        let (args, items, pairs) = (args.to_vec(), items.to_vec(), pairs.to_vec());
        heap.push(Datum::Object { class, called: true, args, state, items, pairs })
    };
    let (yes, no) = (heap.push(Datum::Bool(true)), heap.push(Datum::Bool(false)));
    let dtype = heap.push(Datum::DType(DType::Float32));
    let device = heap.push(Datum::Device("cpu".into()));

    const CACHE: &str = "transformers.cache_utils";
    let state = [("keys", keys), ("values", values), ("is_initialized", yes), ("dtype", dtype), ("device", device)];
    let state = dict(&mut heap, &state);
    let layer = object(&mut heap, (CACHE, "DynamicLayer"), state);
    let layers = heap.push(Datum::List(vec![layer]));
    let state = dict(&mut heap, &[("layers", layers), ("layer_class_to_replicate", none), ("offloading", no)]);
    let cache = object(&mut heap, (CACHE, "DynamicCache"), state);
    let fields = ["loss", "logits", "past_key_values", "hidden_states", "attentions"];
    let values = [none, logits, cache, none, none];
    let state: Vec<_> = fields.into_iter().zip(values).collect();
    let state = dict(&mut heap, &state);
    let keys = ["logits", "past_key_values"].map(|name| heap.push(Datum::Str(name.into())));
    let pairs = [(keys[0], logits), (keys[1], cache)];
    let class = ("transformers.modeling_outputs", "CausalLMOutputWithPast");
    names.push(("output", called(&mut heap, class, &values, &[], &pairs, Some(state))));

    const NNSIGHT: &str = "nnsight.intervention.cache";
    let state = dict(&mut heap, &[("output", logits), ("inputs", none)]);
    let entry = object(&mut heap, (NNSIGHT, "Entry"), state);
    let list = heap.push(Datum::List(vec![entry]));
    let entries = dict(&mut heap, &[("model.lm_head", list)]);
    let open = dict(&mut heap, &[]);
    let state = [("model", none), ("targets", none), ("entries", entries), ("_open", open), ("device", device)];
    let state = dict(&mut heap, &state);
    let cache = object(&mut heap, (NNSIGHT, "Cache"), state);
    let state = dict(&mut heap, &[("_cache", cache), ("_envoy", none), ("_path", none)]);
    names.push(("view", object(&mut heap, (NNSIGHT, "CacheView"), state)));

    let one = heap.push(Datum::Int(1.into()));
    let list = heap.push(global("builtins", "list"));
    let ones = heap.push(Datum::List(vec![one]));
    let key = heap.push(Datum::Str("k".into()));
    let items = heap.push(Datum::Tuple(vec![]));
    let pair = [(key, one)];
    for (name, args, items, pairs) in [
        ("OrderedDict", vec![], vec![], &pair[..]),
        ("Counter", vec![], vec![], &pair),
        ("defaultdict", vec![list], vec![], &[(key, ones)]),
        ("deque", vec![items, one], vec![one], &[]),
    ] {
        names.push((name, called(&mut heap, ("collections", name), &args, &items, pairs, None)));
    }
    let grad = TensorData { requires_grad: true, ..tensor(&[0.5], &[1]) };
    let integers = TensorData { dtype: DType::Int32, requires_grad: true, ..tensor(&[0.5], &[1]) };
    let [grad, integers] = [grad, integers].map(|data| heap.push(Datum::Tensor(data)));
    names.extend([("grad", grad), ("integers", integers)]);
    // A tuple that holds a list that holds the tuple.
    let inner = heap.push(Datum::List(vec![]));
    let knot = heap.push(Datum::Tuple(vec![inner, one, one, one]));
    heap.set(inner, Datum::List(vec![knot, knot]));
    let kept = heap.push(Datum::FrozenSet(vec![one]));
    names.extend([("knot", inner), ("kept", kept)]);

    let again = json!({ "tuple": [{ "again": 0 }, { "int": "1" }, { "int": "1" }, { "int": "1" }] });
    let expected = json!({
        "output": ["transformers.modeling_outputs.CausalLMOutputWithPast", logits_summary, "DynamicCache", 3, 2],
        "view": ["nnsight.intervention.cache.CacheView", ["model.lm_head"], logits_summary],
        "OrderedDict": ["collections.OrderedDict", "OrderedDict([('k', 1)])"],
        "Counter": ["collections.Counter", "Counter({'k': 1})"],
        "defaultdict": ["collections.defaultdict", "defaultdict(<class 'list'>, {'k': [1]})"],
        "deque": ["collections.deque", "deque([1], maxlen=1)"],
        "grad": { "tensor": ["torch.float32", [1], "0000003f", true] },
        "integers": { "tensor": ["torch.int32", [1], "0000003f", false] },
        "knot": { "list": [again, again] },
        "kept": { "frozenset": [{ "int": "1" }] },
    });
    (expected, Saved { heap, names: names.into_iter().map(|(name, at)| (name.to_owned(), at)).collect() })
}
