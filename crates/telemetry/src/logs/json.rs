//! One JSON object a line: the event's fields beside those of the spans that it happened in, and who speaks.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::io::Write;
use std::ops::Range;
use std::time::SystemTime;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::SPEAKER;

/// Writes each event as a line. Where an event and its spans have a field of one name, the innermost counts.
pub struct Lines<W> {
    writer: fn() -> W,
}

/// Fields, each with where its value lies among the values as JSON writes them: those of a span are written once, and go into each
/// line from there.
#[derive(Default)]
struct Fields {
    names: Vec<(&'static str, Range<usize>)>,
    values: Vec<u8>,
    /// For what has to be written down before it can be written as JSON.
    text: String,
}

/// Bytes of memory that a thread keeps for its next line.
const KEPT: usize = 64 << 10;

thread_local! {
    /// What the last line of this thread was made in: the next one takes no memory.
    static LINE: RefCell<(Fields, Vec<u8>)> = RefCell::default();
}

impl<W: Write + 'static> Lines<W> {
    pub fn new(writer: fn() -> W) -> Self {
        Self { writer }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // A value that logs while it is written has a line of its own.
        // At the end of a thread there is no memory of the last one.
        let (mut line, mut text) = LINE.try_with(RefCell::take).unwrap_or_default();
        line.clear();
        line.print("timestamp", &humantime::format_rfc3339_micros(SystemTime::now()));
        line.put("level", event.metadata().level().as_str());
        line.put("target", event.metadata().target());
        if let Some(speaker) = SPEAKER.get() {
            line.put("role", speaker.role);
            line.put("replica", &speaker.replica);
        }
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.take_all(fields);
            }
        }
        event.record(&mut line);
        text.clear();
        line.write(&mut text);
        // Nobody is left to tell if this fails.
        let _ = (self.writer)().write_all(&text);
        if text.capacity() <= KEPT {
            let _ = LINE.try_with(|kept| kept.replace((line, text)));
        }
    }
}

impl Fields {
    fn clear(&mut self) {
        self.names.clear();
        self.values.clear();
    }

    fn put(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        let from = self.values.len();
        // What JSON has no word for, as a number that is none, is null.
        if serde_json::to_writer(&mut self.values, value).is_err() {
            self.values.truncate(from);
            self.values.extend_from_slice(b"null");
        }
        self.name(name, from);
    }

    /// Puts what a value looks like as text.
    fn print(&mut self, name: &'static str, value: &impl std::fmt::Display) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        // A string takes whatever is written to it.
        let _ = write!(text, "{value}");
        self.put(name, text.as_str());
        self.text = text;
    }

    /// Takes the fields of a span.
    fn take_all(&mut self, other: &Self) {
        for (name, at) in &other.names {
            let from = self.values.len();
            self.values.extend_from_slice(other.values.get(at.clone()).unwrap_or_default());
            self.name(name, from);
        }
    }

    /// Names the value that begins there and is the last, in place of one of the same name. A line has few.
    fn name(&mut self, name: &'static str, from: usize) {
        let at = from..self.values.len();
        match self.names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = at,
            None => self.names.push((name, at)),
        }
    }

    /// Writes the line. Names are those of the source's fields, which JSON writes as they are.
    fn write(&self, text: &mut Vec<u8>) {
        for (name, at) in &self.names {
            text.extend_from_slice(if text.is_empty() { b"{\"" } else { b",\"" });
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b"\":");
            text.extend_from_slice(self.values.get(at.clone()).unwrap_or_default());
        }
        text.extend_from_slice(b"}\n");
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.print(field.name(), &format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use tracing_subscriber::layer::SubscriberExt;

    use serde_json::Value;

    use super::*;

    static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    struct Here;

    impl Write for Here {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            WRITTEN.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_an_object_with_the_fields_of_its_spans_and_the_innermost_counts() {
        let subscriber = tracing_subscriber::registry().with(Lines::new(|| Here));
        tracing::subscriber::with_default(subscriber, || {
            let outer = tracing::info_span!("http", tenant = tracing::field::Empty, job = "outer", bytes = 7);
            let _outer = outer.enter();
            outer.record("tenant", "ada");
            let _inner = tracing::info_span!("inner", job = "inner").entered();
            tracing::warn!(attempt = 2, why = %"a \"reason\"", part = f64::NAN, "it failed\nat once");
        });
        let text = String::from_utf8(WRITTEN.lock().unwrap().clone()).unwrap();
        let line: Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
        let fields = ["level", "message", "tenant", "job", "why"].map(|name| line[name].as_str().unwrap());
        assert_eq!(fields, ["WARN", "it failed\nat once", "ada", "inner", "a \"reason\""]);
        assert_eq!((&line["attempt"], &line["bytes"]), (&2.into(), &7.into()));
        assert!(line["part"].is_null());
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
