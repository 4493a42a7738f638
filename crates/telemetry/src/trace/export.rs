//! Sending spans, beside everything else: what does not get away in time is dropped, and nobody waits for it.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use tonic::transport::ClientTlsConfig;

use super::{EXPORTER, Step};

/// Spans that may wait to be sent.
const WAITING: usize = 8192;
/// How long a span waits for others to be sent with.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to the collector.
#[derive(Debug)]
pub struct Exporter {
    pub sample: f64,
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

/// Traces are sent for as long as it lives, and those that wait when it is dropped.
#[derive(Debug)]
pub struct Exporting(());

/// Sends the spans of this process to a collector. Called once.
///
/// # Errors
/// A sentence when that cannot be begun.
pub fn export(endpoint: &str, sample: f64, role: &str, replica: &str) -> Result<Exporting, String> {
    // A thread of its own carries what is sent: whoever ends the process can wait for it, whichever runtime they stop.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("there is no runtime for traces: {error}"))?;
    let made = {
        let _inside = runtime.enter();
        let mut builder =
            opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(PATIENCE);
        if endpoint.starts_with("https://") {
            builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
        }
        builder.build().map_err(|error| format!("traces cannot be sent to {endpoint}: {error}"))?
    };
    let batches = BatchConfigBuilder::default().with_max_queue_size(WAITING).with_scheduled_delay(PAUSE).build();
    let mut processor = BatchSpanProcessor::builder(made).with_batch_config(batches).build();
    let resource = Resource::builder_empty().with_service_name(format!("vitrine-{role}")).with_attributes([
        KeyValue::new("service.instance.id", replica.to_owned()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ]);
    processor.set_resource(&resource.build());
    let exporter = Exporter { sample, processor, scope: InstrumentationScope::builder("vitrine").build() };
    EXPORTER.set(exporter).map_err(|_| "traces are sent already".to_owned())?;
    let thread = std::thread::Builder::new().name("traces".into());
    let spawned = thread.spawn(move || runtime.block_on(std::future::pending::<()>()));
    spawned.map_err(|error| format!("there is no thread for traces: {error}"))?;
    Ok(Exporting(()))
}

impl Exporter {
    /// Has a step sent with the next ones.
    pub fn tell(&self, step: Step, ended: SystemTime) {
        let Step { name, kind, trace, parent, began, attributes } = step;
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(trace.trace, trace.span, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: kind,
            name: name.into(),
            start_time: began,
            // Clocks of different machines made them, perhaps.
            end_time: ended.max(began),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Some(exporter) = EXPORTER.get()
            && let Err(error) = exporter.processor.shutdown_with_timeout(PATIENCE)
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}
