//! A request's payload, and the tensors inside.

use nnsight::{RequestFields, decode};
use program::{Limits, Program};

use crate::pickle::{bytes, call, dict, global, int, list, object, text, tuple};

const KEY: &str = r#"nnsight.modeling.transformers.TransformersModel:{"repo_id": "a/b", "revision": null}"#;

/// Decodes a payload, a compressed one where the first byte is odd. What comes out is checked and sent on.
pub fn run(data: &[u8]) -> bool {
    let Some((first, payload)) = data.split_first() else { return false };
    let fields = serde_json::json!({ "model_key": KEY, "compress": first % 2 == 1 }).to_string();
    let fields = RequestFields::parse(fields.as_bytes()).expect("the fields are well-formed");
    // The fields come from outside as well.
    if let Ok(other) = RequestFields::parse(payload) {
        let _ = (other.model().is_ok(), other.environment().is_ok());
    }
    let limits = Limits { decoded_bytes: 1 << 20, heap_nodes: 20_000, ..Limits::default() };
    let program = match decode(&fields, &bytes::Bytes::copy_from_slice(payload), &limits) {
        Ok(program) => program,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let sent = postcard::to_stdvec(&program).expect("a program can be sent");
    let come: Program = postcard::from_bytes(&sent).expect("what was sent can be read");
    // Compared as bytes: a NaN is another value than itself.
    assert_eq!(postcard::to_stdvec(&come).expect("a program can be sent"), sent);
    for at in 0..program.heap.len() {
        let at = program::Ref(u32::try_from(at).expect("there are few values"));
        // Views may show one number many times.
        if matches!(program.heap.get(at), Some(program::Datum::View { shape, .. }) if shape.iter().product::<i64>() < 1 << 16)
        {
            let _ = program.heap.tensor(at);
        }
    }
    program::check(program, &limits).is_ok()
}

/// Decodes a payload with one tensor, whose storage the bytes are.
pub fn run_archive(data: &[u8]) -> bool {
    let storage = call("torch.storage", "_load_from_bytes", &[bytes(data)]);
    run(&payload(&tensor(storage, 0, &[2], &[1])))
}

/// Payloads of a session whose block reads a value.
pub fn seeds() -> Vec<Vec<u8>> {
    let storage = |data: &[u8]| call("torch.storage", "_load_from_bytes", &[bytes(data)]);
    let array = [
        call("numpy._core.multiarray", "_reconstruct", &[global("numpy", "ndarray"), tuple(&[int(0)]), bytes(b"b")]),
        tuple(&[
            int(1),
            tuple(&[int(2)]),
            [
                call("numpy", "dtype", &[text("f4"), b"\x89".to_vec(), b"\x88".to_vec()]),
                tuple(&[int(3), text("<"), b"N".to_vec(), b"N".to_vec(), b"N".to_vec(), int(-1), int(-1), int(0)]),
                b"b".to_vec(),
            ]
            .concat(),
            b"\x89".to_vec(),
            bytes(&[0; 8]),
        ]),
        b"b".to_vec(),
    ];
    let function = [
        text("def f(x, y=1):\n    return x + y + z\n"),
        text("f"),
        text("f.py"),
        b"N".to_vec(),
        tuple(&[int(1)]),
        dict(&[("z", int(2))]),
        b"N".to_vec(),
        text("f"),
        b"N".to_vec(),
        int(1),
    ];
    let envoy = dict(&[
        ("_module", [text("Module:model"), b"Q".to_vec()].concat()),
        ("path", text("model")),
        ("_children", list(&[])),
        ("_aliases", dict(&[("a", text("b"))])),
    ]);
    let linear = dict(&[
        ("training", b"\x88".to_vec()),
        ("_parameters", dict(&[("weight", tensor(storage(&saved("FloatStorage", 4, &[0; 16])), 0, &[2, 2], &[2, 1]))])),
        ("_buffers", call("collections", "OrderedDict", &[])),
        ("in_features", int(2)),
        ("out_features", int(2)),
    ]);
    let values = [
        int(7),
        list(&[int(1), text("one"), b"G\x3f\xf0\0\0\0\0\0\0".to_vec(), b"N".to_vec(), b"\x88".to_vec()]),
        dict(&[("a", list(&[tuple(&[]), bytes(b"raw")]))]),
        // A list that holds itself.
        b"]\x94(h\x00h\x00e".to_vec(),
        tensor(storage(&saved("FloatStorage", 8, &[1; 32])), 1, &[2, 2], &[1, 2]),
        tensor(storage(&saved("LongStorage", 2, &[2; 16])), 0, &[2], &[1]),
        array.concat(),
        call("nnsight.intervention.serialization", "_load_function", &function),
        object("nnsight.intervention.envoy", "Envoy", envoy),
        object("torch.nn.modules.linear", "Linear", linear),
        call("builtins", "range", &[int(0), int(9), int(2)]),
        call("builtins", "slice", &[int(0), b"N".to_vec(), b"N".to_vec()]),
        call("builtins", "complex", &[b"G\x3f\xf0\0\0\0\0\0\0".to_vec(), b"G\x3f\xf0\0\0\0\0\0\0".to_vec()]),
        call("torch", "Size", &[tuple(&[int(3), int(4)])]),
        call("collections", "OrderedDict", &[]),
        global("torch", "float32"),
        global("os", "system"),
    ];
    values.iter().map(|value| payload(value)).collect()
}

/// Tensors as `torch.save` writes them: in the old form, and as archives.
pub fn archives() -> Vec<Vec<u8>> {
    vec![
        saved("FloatStorage", 4, &[1; 16]),
        saved("HalfStorage", 2, &[1; 4]),
        saved("ComplexFloatStorage", 2, &[1; 16]),
        archive("FloatStorage", 2, &[0, 0, 128, 63, 0, 0, 0, 64]),
        archive("LongStorage", 2, &[3; 16]),
    ]
}

/// A payload, with the byte before it that [`run`] looks at.
fn payload(value: &[u8]) -> Vec<u8> {
    let code = object("types", "Code", dict(&[("co_filename", text("f.py")), ("co_name", text("<module>"))]));
    let frame = object("nnsight.tracing.util", "SerializedFrame", dict(&[("f_code", code)]));
    let info = object("nnsight.tracing.tracer", "Tracer.Info", dict(&[("frame", frame)]));
    let tracer = object("nnsight.tracing.tracer", "Tracer", dict(&[("info", info)]));
    let block = tuple(&[text("y = x\n"), dict(&[]), dict(&[("x", value.to_vec())])]);
    [b"\0\x80\x04".to_vec(), tracer, block, b"\x86.".to_vec()].concat()
}

fn tensor(storage: Vec<u8>, offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
    let ints = |list: &[i64]| tuple(&list.iter().map(|&number| int(number)).collect::<Vec<_>>());
    let hooks = call("collections", "OrderedDict", &[]);
    let arguments = [storage, int(offset), ints(size), ints(stride), b"\x89".to_vec(), hooks];
    call("torch._utils", "_rebuild_tensor_v2", &arguments)
}

/// What stands for a storage in a pickle of tensors.
fn named(class: &str, count: i64) -> Vec<u8> {
    let parts = [text("storage"), global("torch", class), text("0"), text("cpu"), int(count)];
    [tuple(&parts), b"Q".to_vec()].concat()
}

/// A storage in the form before archives.
fn saved(class: &str, count: i64, data: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    let system = [b"\x80\x02".to_vec(), dict(&[("little_endian", b"\x88".to_vec())]), b".".to_vec()].concat();
    let parts = [text("storage"), global("torch", class), text("0"), text("cpu"), int(count), b"N".to_vec()];
    let described = [b"\x80\x02".to_vec(), tuple(&parts), b"Q.".to_vec()].concat();
    let keys = [b"\x80\x02".to_vec(), list(&[text("0")]), b".".to_vec()].concat();
    [magic, system, described, keys, count.to_le_bytes().to_vec(), data.to_vec()].concat()
}

/// A storage in an archive: stored entries, and the directory behind them.
fn archive(class: &str, count: i64, data: &[u8]) -> Vec<u8> {
    let described = [b"\x80\x02".to_vec(), named(class, count), b".".to_vec()].concat();
    let entries: [(&str, &[u8]); 4] = [
        ("archive/data.pkl", &described),
        ("archive/byteorder", b"little"),
        ("archive/data/0", data),
        ("archive/version", b"3\n"),
    ];
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, body) in entries {
        let offset = u32::try_from(file.len()).unwrap_or(0);
        let (length, size) = (u16::try_from(name.len()).unwrap_or(0), u32::try_from(body.len()).unwrap_or(0));
        // What both headers have: version, flags, method, time, date, sum, sizes, lengths.
        let mut common = Vec::new();
        common.extend([0_u8; 4]);
        common.extend([0_u8; 6]);
        common.extend(0_u32.to_le_bytes());
        common.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
        common.extend(length.to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        file.extend([b"PK\x03\x04".as_slice(), &common, name.as_bytes(), body].concat());
        directory
            .extend([b"PK\x01\x02\0\0".as_slice(), &common, &[0; 10], &offset.to_le_bytes(), name.as_bytes()].concat());
    }
    let (at, size) = (u32::try_from(file.len()).unwrap_or(0), u32::try_from(directory.len()).unwrap_or(0));
    let end = [b"PK\x05\x06\0\0\0\0".as_slice(), &[4, 0, 4, 0], &size.to_le_bytes(), &at.to_le_bytes(), &[0, 0]];
    [file, directory, end.concat()].concat()
}
