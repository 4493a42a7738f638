//! Request bytes to a program.

mod archive;
mod envoy;
pub(crate) mod layout;
mod lower;
mod saved;
mod tensor;

pub use saved::decode_saved;

use bytes::Bytes;
use program::{Entry, Function, Limits, Program, Ref, Source};

use crate::compression::decompress;
use crate::error::DecodeError;
use crate::pickle::{self, Bounds, Id};
use crate::request::RequestFields;
use lower::Lowering;

/// Turns a request of the nnsight 0.8 client into a program: the multipart field `data`, parsed, and the file `blob`. The
/// bytes of its tensors are parts of the payload where they can be.
///
/// # Errors
/// A [`DecodeError`] whose message can be shown to the user. Values that this server does not know are no error
/// here: they become placeholders that fail when used.
pub fn decode(request: &RequestFields, blob: &Bytes, limits: &Limits) -> Result<Program, DecodeError> {
    if request.compress {
        let payload = decompress(blob, limits.decoded_bytes)?;
        decode_payload(request, &payload.into(), limits)
    } else {
        decode_payload(request, blob, limits)
    }
}

/// As [`decode`], of what was [decompressed](crate::decompress_to) already where it came compressed.
///
/// # Errors
/// As [`decode`].
pub fn decode_payload(request: &RequestFields, payload: &Bytes, limits: &Limits) -> Result<Program, DecodeError> {
    let model = request.model()?;
    let env = request.environment()?;
    if payload.len() as u64 > limits.decoded_bytes {
        return Err(DecodeError::TooLarge { limit: limits.decoded_bytes, compressed: request.compress });
    }
    let (graph, root, end) = pickle::read(payload, Bounds { nodes: limits.heap_nodes })?;
    if end != payload.len() {
        return Err(DecodeError::Payload("there are bytes after the pickle"));
    }
    let (tracer, block) = match graph.tuple(root) {
        Some(&[tracer, block]) => (tracer, block),
        _ => return Err(DecodeError::Payload("it is not a tracer and its block")),
    };
    let mut lowering = Lowering::new(&graph, payload, tracer, limits.decoded_bytes);
    let (text, globals, locals) = lowering.block(block)?;
    let (filename, function) = origin(&mut lowering, tracer)?;
    let entry = entry(&mut lowering, tracer)?;
    let source = Source { text, filename, function };
    let modules = lowering.modules()?;
    let heap = lowering.finish()?;
    if heap.len() > limits.heap_nodes as usize {
        return Err(DecodeError::TooManyValues { limit: limits.heap_nodes });
    }
    Ok(Program { model, env, entry, modules, source, heap, locals, globals })
}

/// Returns the file and the function that the block was written in.
fn origin(lowering: &mut Lowering<'_, '_>, tracer: Id) -> Result<(String, String), DecodeError> {
    let mut at = lowering.state(tracer);
    for name in ["info", "frame", "f_code"] {
        let Some(dict) = at else { break };
        at = lowering.entry(dict, name)?.and_then(|object| lowering.state(object));
    }
    let missing = DecodeError::Payload("it does not say where its block was written");
    let Some(code) = at else { return Err(missing) };
    match (lowering.text_entry(code, "co_filename")?, lowering.text_entry(code, "co_name")?) {
        (Some(filename), Some(name)) => Ok((filename, name)),
        _ => Err(missing),
    }
}

/// Returns what the block is attached to: a session's tracer has its place in a file and nothing else.
fn entry(lowering: &mut Lowering<'_, '_>, tracer: Id) -> Result<Entry, DecodeError> {
    let Some(state) = lowering.state(tracer) else {
        return Err(DecodeError::Payload("its tracer has no state"));
    };
    let Some(called) = lowering.entry(state, "fn")? else { return Ok(Entry::Session) };
    let function = function(lowering, called)?;
    let missing = DecodeError::Payload("its tracer lacks the traced module or its arguments");
    let (envoy, args) = (lowering.entry(state, "envoy")?, lowering.entry(state, "args")?);
    let (Some(envoy), Some(args), Some(kwargs)) = (envoy, args, lowering.entry(state, "kwargs")?) else {
        return Err(missing);
    };
    if !lowering.is_envoy(envoy)? {
        return Err(missing);
    }
    let Some(args) = lowering.graph.tuple(args) else { return Err(missing) };
    let args: Vec<Ref> = args.iter().map(|&arg| lowering.refer(arg)).collect();
    Ok(Entry::Trace { function, envoy: lowering.refer(envoy), args, kwargs: lowering.names(kwargs)? })
}

/// Tells which method a tracer calls. `generate` and `pipe` come as the client's own source under their names;
/// the name decides and the source is not looked at.
fn function(lowering: &mut Lowering<'_, '_>, called: Id) -> Result<Function, DecodeError> {
    let graph = lowering.graph;
    let method = graph.object(called).and_then(|object| graph.args(object).first().copied());
    let name = match (graph.text(called), method) {
        (Some(name), _) => name,
        (None, Some(method)) => match (graph.global(method), graph.object(method)) {
            (Some((_, name)), _) => name.rsplit('.').next().unwrap_or(name),
            (None, Some(source)) => graph.args(source).get(1).and_then(|&name| graph.text(name)).unwrap_or("?"),
            (None, None) => "?",
        },
        (None, None) => "?",
    };
    match name {
        "_call" | "__call__" => Ok(Function::Call),
        "generate" => Ok(Function::Generate),
        "pipe" => Ok(Function::Pipe),
        other => Err(DecodeError::Function(other.chars().take(80).collect())),
    }
}
