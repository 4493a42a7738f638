//! A request as the client would send it, for who asks as a client does: a trace of the whole model.

use crate::pickle::Writer;
use crate::pickle::opcode::{BINPERSID, BUILD, EMPTY_DICT, MARK, NEWOBJ, SETITEMS};

/// Writes the payload of `with model.trace(prompt):`, whose block finds `model`. It was written in `file`.
#[must_use]
pub fn encode_trace(file: &str, source: &str, prompt: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    let mut envoy = None;
    object(&mut writer, "Tracer", |writer| {
        writer.text("info");
        object(writer, "Info", |writer| {
            writer.text("frame");
            object(writer, "Frame", |writer| {
                writer.text("f_code");
                object(writer, "Code", |writer| {
                    for (name, value) in [("co_filename", file), ("co_name", "<module>")] {
                        writer.text(name);
                        writer.text(value);
                    }
                });
            });
        });
        writer.text("fn");
        writer.text("__call__");
        writer.text("envoy");
        object(writer, "Envoy", |writer| {
            writer.text("_module");
            writer.text("Module:model");
            writer.op(BINPERSID);
            writer.text("path");
            writer.text("model");
        });
        envoy = Some(writer.memoize());
        writer.text("args");
        writer.text(prompt);
        writer.tuple(1);
        writer.text("kwargs");
        writer.op(EMPTY_DICT);
    });
    writer.text(source);
    writer.op(EMPTY_DICT);
    dict(&mut writer, |writer| {
        writer.text("model");
        envoy.into_iter().for_each(|envoy| writer.recall(envoy));
    });
    writer.tuple(3);
    writer.tuple(2);
    writer.finish()
}

/// Writes an object of a class of nnsight's, by its state alone: who reads it looks at that.
fn object(writer: &mut Writer, class: &str, state: impl FnOnce(&mut Writer)) {
    writer.global("nnsight", class);
    writer.tuple(0);
    writer.op(NEWOBJ);
    dict(writer, state);
    writer.op(BUILD);
}

fn dict(writer: &mut Writer, entries: impl FnOnce(&mut Writer)) {
    writer.op(EMPTY_DICT);
    writer.op(MARK);
    entries(writer);
    writer.op(SETITEMS);
}

#[cfg(test)]
mod tests {
    use program::{Datum, Entry, Function, Limits};

    use super::*;
    use crate::{RequestFields, decode};

    #[test]
    fn what_is_written_is_read_as_a_trace_of_the_model() {
        let fields = RequestFields::parse(br#"{"model_key": "c:{\"repo_id\": \"o/n\"}"}"#).unwrap();
        let payload = encode_trace("canary.py", "out = model.lm_head.output.save()", "Hello");
        let program = decode(&fields, &payload.into(), &Limits::default()).unwrap();
        let Entry::Trace { function: Function::Call, envoy, args, kwargs } = &program.entry else {
            panic!("{:?}", program.entry)
        };
        assert!(matches!(program.heap.get(*envoy), Some(Datum::Envoy(envoy)) if envoy.path.is_empty()));
        assert!(matches!(program.heap.get(args[0]), Some(Datum::Str(text)) if text == "Hello"));
        assert!(args.len() == 1 && kwargs.is_empty());
        assert_eq!(program.locals, [("model".to_owned(), *envoy)]);
        assert_eq!((program.source.filename.as_str(), program.modules.as_slice()), ("canary.py", &[String::new()][..]));
    }
}
