//! Requests that are made to hurt: each ends in a result or an error, soon, and within the memory that it may have.
//!
//! The payloads are put together here, so that this runs without the client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use nnsight::{DecodeError, RequestFields, decode};
use program::{Datum, Limits, Program, Ref};
use serde_json::json;

const MIB: u64 = 1 << 20;

fn fields(compress: bool) -> RequestFields {
    let key = r#"nnsight.modeling.transformers.TransformersModel:{"repo_id": "a/b", "revision": null}"#;
    RequestFields::parse(json!({ "model_key": key, "compress": compress }).to_string().as_bytes()).unwrap()
}

fn limits() -> Limits {
    Limits { decoded_bytes: 8 * MIB, heap_nodes: 100_000, ..Limits::default() }
}

/// Decodes a pickle, and checks that this took neither long nor much memory.
fn run(pickle: &[u8]) -> Result<Program, DecodeError> {
    run_fields(&fields(false), pickle)
}

fn run_fields(fields: &RequestFields, blob: &[u8]) -> Result<Program, DecodeError> {
    let (start, before) = (Instant::now(), peak_kib());
    let result = decode(fields, &blob.to_vec().into(), &limits());
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
    // Tests share a process, so this bounds what they use together: a few times the limit of one.
    let used = peak_kib().saturating_sub(before);
    assert!(used < 256 << 10, "used {used} KiB");
    result
}

/// Returns the most memory that this process has had resident, or nothing where the system does not say.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Opcodes, written as Python's pickler would.
mod op {
    pub fn text(text: &str) -> Vec<u8> {
        [b"X".to_vec(), (text.len() as u32).to_le_bytes().to_vec(), text.as_bytes().to_vec()].concat()
    }

    pub fn bytes(bytes: &[u8]) -> Vec<u8> {
        [b"B".to_vec(), (bytes.len() as u32).to_le_bytes().to_vec(), bytes.to_vec()].concat()
    }

    pub fn int(value: i64) -> Vec<u8> {
        [vec![0x8a, 8], value.to_le_bytes().to_vec()].concat()
    }

    pub fn global(module: &str, name: &str) -> Vec<u8> {
        format!("c{module}\n{name}\n").into_bytes()
    }

    pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
    }

    pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let entries: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
        [b"}(".to_vec(), entries, b"u".to_vec()].concat()
    }

    pub fn reduce(module: &str, name: &str, args: &[Vec<u8>]) -> Vec<u8> {
        [global(module, name), tuple(args), b"R".to_vec()].concat()
    }

    pub fn new(module: &str, name: &str, state: Vec<u8>) -> Vec<u8> {
        [global(module, name), b")\x81".to_vec(), state, b"b".to_vec()].concat()
    }
}

/// Returns a session's payload whose block reads `value`.
fn payload(value: &[u8]) -> Vec<u8> {
    let code = op::reduce("types", "SimpleNamespace", &[]);
    let code = [code, op::dict(&[("co_filename", op::text("f.py")), ("co_name", op::text("<module>"))]), b"b".to_vec()];
    let frame = op::new("nnsight.tracing.util", "SerializedFrame", op::dict(&[("f_code", code.concat())]));
    let info = op::new("nnsight.tracing.tracer", "Tracer.Info", op::dict(&[("frame", frame)]));
    let tracer = op::new("nnsight.tracing.tracer", "Tracer", op::dict(&[("info", info)]));
    let block = op::tuple(&[op::text("x"), op::dict(&[]), op::dict(&[("x", value.to_vec())])]);
    [b"\x80\x04".to_vec(), tracer, block, b"\x86.".to_vec()].concat()
}

fn value(pickle: &[u8]) -> Result<Datum, DecodeError> {
    run(&payload(pickle)).map(|program| program.heap.get(program.locals[0].1).unwrap().clone())
}

/// Returns the legacy form of a storage, with its parts as given.
fn storage(class: &str, count: i64, header: u64, data: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    let system = [b"\x80\x02".to_vec(), op::dict(&[("little_endian", b"\x88".to_vec())]), b".".to_vec()].concat();
    let parts = [
        op::text("storage"),
        op::global("torch", class),
        op::text("0"),
        op::text("cpu"),
        op::int(count),
        b"N".to_vec(),
    ];
    let described = [b"\x80\x02".to_vec(), op::tuple(&parts), b"Q.".to_vec()].concat();
    let keys = [b"\x80\x02](".to_vec(), op::text("0"), b"e.".to_vec()].concat();
    [magic, system, described, keys, header.to_le_bytes().to_vec(), data.to_vec()].concat()
}

fn ints(values: &[i64]) -> Vec<u8> {
    op::tuple(&values.iter().map(|&value| op::int(value)).collect::<Vec<_>>())
}

fn tensor(storage: &[u8], offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
    let storage = op::reduce("torch.storage", "_load_from_bytes", &[op::bytes(storage)]);
    let hooks = op::reduce("collections", "OrderedDict", &[]);
    let args = [storage, op::int(offset), ints(size), ints(stride), b"\x89".to_vec(), hooks];
    op::reduce("torch._utils", "_rebuild_tensor_v2", &args)
}

fn floats(count: usize) -> Vec<u8> {
    storage("FloatStorage", count as i64, count as u64, &vec![1; 4 * count])
}

#[test]
fn the_payloads_here_are_well_formed() {
    let program = run(&payload(b"K\x07")).unwrap();
    assert_eq!(program.source.filename, "f.py");
    assert_eq!(program.heap.get(Ref(0)), Some(&Datum::Int(7.into())));
    let turned = value(&tensor(&floats(6), 1, &[2, 2], &[1, 2])).unwrap();
    assert!(matches!(turned, Datum::View { shape, strides, offset: 0, .. } if shape == [2, 2] && strides == [1, 2]));
}

#[test]
fn bombs_are_refused_before_they_grow() {
    let bomb = zstd::encode_all(std::io::repeat(0).take_bytes(64 * MIB), 19).unwrap();
    assert!(bomb.len() < 64 << 10);
    let too_large = |blob: &[u8]| matches!(run_fields(&fields(true), blob), Err(DecodeError::TooLarge { .. }));
    assert!(too_large(&bomb), "a stream without its size");
    let sized = zstd::bulk::compress(&vec![0; 9 * MIB as usize], 3).unwrap();
    assert!(too_large(&sized), "a frame that says its size");
    assert!(matches!(run(&vec![b'N'; 9 * MIB as usize]), Err(DecodeError::TooLarge { compressed: false, .. })));
}

trait Repeat {
    fn take_bytes(self, count: u64) -> std::io::Take<std::io::Repeat>;
}

impl Repeat for std::io::Repeat {
    fn take_bytes(self, count: u64) -> std::io::Take<std::io::Repeat> {
        std::io::Read::take(self, count)
    }
}

#[test]
fn only_one_small_frame_is_read() {
    let pickle = payload(b"N");
    let frame = zstd::bulk::compress(&pickle, 6).unwrap();
    assert!(run_fields(&fields(true), &frame).is_ok());
    let zstd = |blob: &[u8]| matches!(run_fields(&fields(true), blob), Err(DecodeError::Zstd(_)));
    assert!(zstd(&[frame.as_slice(), &frame].concat()), "two frames");
    assert!(zstd(&[frame.as_slice(), b"x"].concat()), "bytes after the frame");
    assert!(zstd(b"") && zstd(b"\x28\xb5\x2f\xfd") && zstd(&pickle));
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    std::io::Write::write_all(&mut encoder, &pickle).unwrap();
    assert!(zstd(&encoder.finish().unwrap()), "a window of 128 MiB");
}

#[test]
fn a_payload_of_another_shape_is_refused() {
    for pickle in [
        b"N.".to_vec(),
        b"NN\x86.".to_vec(),
        b")).\x86.".to_vec(),
        [payload(b"N"), b".".to_vec()].concat(),
        b"\x80\x04}}\x86.".to_vec(),
        op::tuple(&[b"N".to_vec(), op::tuple(&[op::text(""), op::dict(&[]), op::dict(&[])]), b".".to_vec()]),
    ] {
        assert!(run(&pickle).is_err(), "{pickle:?}");
    }
}

#[test]
fn depth_is_no_danger() {
    // Lists inside lists, by marks and without; what is too deep is refused and the rest is flat.
    let deep = [b"]".repeat(90_000), b"a".repeat(89_999)].concat();
    assert!(run(&payload(&deep)).is_ok());
    assert!(run(&payload(&[b"]".repeat(200_000), b"a".repeat(199_999)].concat())).is_err());
    assert!(run(&payload(&[b"(".repeat(5_000), b"t".repeat(5_000)].concat())).is_err());
    let tuples = [b"N".to_vec(), b"\x85".repeat(90_000)].concat();
    assert!(run(&payload(&tuples)).is_ok());
    let calls = [b"cos\nsystem\n".to_vec(), b")R".repeat(45_000)].concat();
    assert!(run(&payload(&calls)).is_ok(), "nothing is called");
    let doubling = [b"N".to_vec(), b"2\x86".repeat(30_000)].concat();
    assert!(run(&payload(&doubling)).is_ok());
    let itself = b"]\x94(h\x00h\x00h\x00e";
    assert_eq!(value(itself).unwrap(), Datum::List(vec![Ref(0); 3]));
}

#[test]
fn one_large_value_used_everywhere_is_charged_for_each_copy() {
    let many = |first: Vec<u8>, each: &[u8]| {
        let body = [b"](".to_vec(), first, b"\x94".to_vec(), each.repeat(9_000), b"e".to_vec()].concat();
        assert!(matches!(run(&payload(&body)), Err(DecodeError::TooManyBytes { .. })));
    };
    let long = "x".repeat(60_000);
    let function = "cnnsight.intervention.serialization\n_load_function\n(h\x00h\x00NNNh\x00K\x01tR";
    many(op::text(&long), function.as_bytes());
    let entries: Vec<_> = (0..5_000).map(|_| ("name", b"N".to_vec())).collect();
    let function = b"cnnsight.intervention.serialization\n_load_function\n(X\0\0\0\0X\0\0\0\0Nh\x00NX\0\0\0\0K\x01tR";
    many(op::dict(&entries), function);
    // A dict of thousands of entries as the state of thousands of objects, each searched.
    many(op::dict(&entries), b"cos\npath\n)\x81h\x00b");
    many(ints(&vec![1; 5_000]), b"ctorch\nSize\nh\x00\x85R");
    // A storage of 16 kB, of which ten thousand tensors each take most.
    let view = b"ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\nh\x00\x85RK\x00M\x10\x0e\x85K\x01\x85NNtR";
    many(op::bytes(&floats(4_000)), view);
}

#[test]
fn a_source_is_kept_once_however_many_functions_have_it() {
    let source = format!("def f():\n    return 1  # {}", "x".repeat(480));
    let new = |source: &[u8]| {
        let function = b"cnnsight.intervention.serialization\n_load_function\n(".to_vec();
        [function, source.to_vec(), op::text("f"), b")}NX\x01\x00\x00\x00fK\x01tR".to_vec()].concat()
    };
    // Once as it is sent first, ten thousand times by the memo, and twice in full.
    let first = new(&[op::text(&source), b"\x94".to_vec()].concat());
    let again = new(&op::text(&source)).repeat(2);
    let all = [b"](".to_vec(), first, new(b"h\x00").repeat(10_000), again, b"e".to_vec()].concat();
    let program = run(&payload(&all)).unwrap();
    let Some(Datum::List(functions)) = program.heap.get(program.locals[0].1) else { panic!("{program:?}") };
    assert_eq!(functions.len(), 10_003);
    let sources = functions.iter().map(|at| match program.heap.get(*at) {
        Some(Datum::Function { source, .. }) => *source,
        other => panic!("{other:?}"),
    });
    let sources: std::collections::BTreeSet<Ref> = sources.collect();
    assert_eq!(sources.iter().map(|at| program.heap.text(*at)).collect::<Vec<_>>(), [Some(source.as_str())]);
    let encoded = program.encode().unwrap();
    assert!(encoded.len() < 10_003 * 32, "{} bytes", encoded.len());
    assert_eq!(Program::decode(&encoded, 1 << 20).unwrap(), program);
}

#[test]
fn views_stay_inside_their_storage_and_the_limits() {
    let refused = |pickle: Vec<u8>| {
        let result = value(&pickle);
        assert!(result.is_err(), "{result:?}");
    };
    let saved = floats(8);
    let huge = i64::MAX;
    refused(tensor(&saved, 0, &[9], &[1]));
    refused(tensor(&saved, 7, &[2], &[1]));
    refused(tensor(&saved, 0, &[2], &[-1]));
    refused(tensor(&saved, -1, &[1], &[1]));
    refused(tensor(&saved, 0, &[-1], &[1]));
    refused(tensor(&saved, huge, &[1], &[1]));
    refused(tensor(&saved, 0, &[2], &[huge]));
    refused(tensor(&saved, 0, &[huge, huge], &[0, 0]));
    refused(tensor(&saved, 0, &[3], &[1, 1]));
    refused(tensor(&saved, 0, &[1; 100], &[0; 100]));
    // A number that stands for many stays one number: it is a view here too.
    let expanded = run(&payload(&tensor(&saved, 0, &[1 << 30], &[0]))).unwrap();
    assert!(expanded.heap.bytes() < 4096, "{}", expanded.heap.bytes());
    refused(tensor(&storage("FloatStorage", 8, 8, &[0; 31]), 0, &[1], &[1]));
    refused(tensor(&storage("FloatStorage", 8, 9, &[0; 32]), 0, &[1], &[1]));
    refused(tensor(&storage("FloatStorage", huge, huge as u64, &[0; 32]), 0, &[1], &[1]));
    refused(tensor(&storage("FloatStorage", -1, u64::MAX, &[]), 0, &[0], &[1]));
    refused(tensor(&storage("DoubleStorage", 8, 8, &[0; 32]), 0, &[1], &[1]));
    refused(tensor(&storage("QInt8Storage", 8, 8, &[0; 8]), 0, &[1], &[1]));
    refused(tensor(b"", 0, &[1], &[1]));
    for end in 0..saved.len() {
        refused(tensor(&saved[..end], 0, &[1], &[1]));
    }
}

#[test]
fn what_is_unknown_stays_inert() {
    for pickle in [
        op::global("os", "system"),
        op::reduce("os", "system", &[op::text("true")]),
        op::reduce("builtins", "eval", &[op::text("1")]),
        op::reduce("torch._utils", "_rebuild_sparse_tensor", &[b"N".to_vec()]),
        op::reduce("torch.storage", "_load_from_bytes", &[op::bytes(b"junk")]),
        op::reduce("cloudpickle.cloudpickle", "_make_function", &[]),
        op::reduce("cloudpickle.cloudpickle", "subimport", &[b"N".to_vec()]),
        op::reduce("builtins", "range", &[op::int(0), op::int(1), op::int(0)]),
        op::reduce("numpy._core.multiarray", "_reconstruct", &[]),
        [op::text("Nobody"), b"Q".to_vec()].concat(),
        b"NQ".to_vec(),
    ] {
        let found = value(&pickle).unwrap();
        let inert = matches!(found, Datum::Global { .. } | Datum::Object { .. } | Datum::Opaque { .. });
        assert!(inert, "{found:?}");
    }
}

#[test]
fn an_envoy_tree_that_contains_itself_ends() {
    let module = [op::text("Module:model"), b"Q".to_vec()].concat();
    let rules = op::dict(&[("a", op::text("b"))]);
    let state = [
        op::dict(&[("_module", module), ("path", op::text("model")), ("_rename", rules.clone()), ("_aliases", rules)]),
        op::text("_children"),
        b"](h\x00h\x00h\x00es".to_vec(),
    ];
    let envoy =
        [op::global("nnsight.intervention.envoy", "Envoy"), b")\x81\x94".to_vec(), state.concat(), b"b".to_vec()];
    let Ok(Datum::Envoy(found)) = value(&envoy.concat()) else { panic!("each module is walked once") };
    assert_eq!(found.aliases, [("a".to_owned(), "b".to_owned())]);
}
