//! One JSON object a line: the event's fields beside those of the spans that it happened in, and who speaks.

use std::fmt::Debug;
use std::io::Write;
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

/// Fields, each with its value as JSON writes it: those of a span are written once, and go into each line from there.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

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
        let mut line = Fields::default();
        line.put("timestamp", &humantime::format_rfc3339_micros(SystemTime::now()).to_string());
        line.put("level", event.metadata().level().as_str());
        line.put("target", event.metadata().target());
        if let Some(speaker) = SPEAKER.get() {
            line.put("role", speaker.role);
            line.put("replica", &speaker.replica);
        }
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                fields.0.iter().for_each(|(name, value)| line.take(name, value.clone()));
            }
        }
        event.record(&mut line);
        // Nobody is left to tell if this fails.
        let _ = (self.writer)().write_all(line.text().as_bytes());
    }
}

impl Fields {
    fn put(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        // What JSON has no word for, as a number that is none, is null.
        self.take(name, serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()));
    }

    /// Takes a field in place of one of the same name. A line has few.
    fn take(&mut self, name: &'static str, value: String) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Returns the line. Names are those of the source's fields, which JSON writes as they are.
    fn text(&self) -> String {
        let mut text = String::with_capacity(512);
        for (name, value) in &self.0 {
            text.push_str(if text.is_empty() { "{\"" } else { ",\"" });
            text.push_str(name);
            text.push_str("\":");
            text.push_str(value);
        }
        text.push_str("}\n");
        text
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
        self.put(field.name(), &format!("{value:?}"));
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
