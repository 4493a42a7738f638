//! One JSON object a line: the event's fields beside those of the spans that it happened in, and who speaks.

use std::fmt::Debug;
use std::io::Write;
use std::time::SystemTime;

use serde_json::{Map, Value};
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

/// The fields of a span.
struct Fields(Map<String, Value>);

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
        let mut fields = Fields(Map::new());
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
        let mut line = Fields(Map::new());
        line.put("timestamp", humantime::format_rfc3339_micros(SystemTime::now()).to_string().into());
        line.put("level", event.metadata().level().as_str().into());
        line.put("target", event.metadata().target().into());
        if let Some(speaker) = SPEAKER.get() {
            line.put("role", speaker.role.into());
            line.put("replica", speaker.replica.clone().into());
        }
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.0.extend(fields.0.clone());
            }
        }
        event.record(&mut line);
        let mut text = Value::Object(line.0).to_string();
        text.push('\n');
        // Nobody is left to tell if this fails.
        let _ = (self.writer)().write_all(text.as_bytes());
    }
}

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use tracing_subscriber::layer::SubscriberExt;

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
            tracing::warn!(attempt = 2, why = %"a \"reason\"", "it failed");
        });
        let text = String::from_utf8(WRITTEN.lock().unwrap().clone()).unwrap();
        let line: Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
        let fields = ["level", "message", "tenant", "job", "why"].map(|name| line[name].as_str().unwrap());
        assert_eq!(fields, ["WARN", "it failed", "ada", "inner", "a \"reason\""]);
        assert_eq!((&line["attempt"], &line["bytes"]), (&2.into(), &7.into()));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
