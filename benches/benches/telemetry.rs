//! What it costs to count; and a collector that traces are sent to, for `benches/compare/telemetry.py`.
//!
//!     telemetry             prints nanoseconds of each kind of count, as a JSON object
//!     telemetry collect     prints its address, takes spans until its input ends, and prints how many came

use std::hint::black_box;
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use serde_json::json;
use telemetry::metrics::{Counter, Histogram, Label, MODEL, SECONDS};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

static COUNTED: Counter =
    Counter::new("bench_counted_total", "Counts.", &[MODEL, Label::of("outcome", &["completed", "failed"])]);
static TIMES: Histogram = Histogram::new("bench_seconds", "Says how long it took.", &[MODEL], SECONDS);

const ROUNDS: u32 = 2_000_000;

fn main() {
    if std::env::args().any(|argument| argument == "collect") {
        collect();
    } else {
        count();
    }
}

fn count() {
    for model in 0..20 {
        COUNTED.with(&[&format!("model-{model}"), "completed"]);
    }
    let (series, times) = (COUNTED.with(&["model-7", "completed"]), TIMES.with(&["model-7"]));
    let found = nanoseconds(|| COUNTED.with(black_box(&["model-7", "completed"])).one());
    let held = nanoseconds(|| black_box(series).one());
    let observed = nanoseconds(|| black_box(times).observe(black_box(0.02)));
    println!("{}", json!({ "counter_found_ns": found, "counter_held_ns": held, "histogram_held_ns": observed }));
}

fn nanoseconds(mut count: impl FnMut()) -> f64 {
    let began = Instant::now();
    (0..ROUNDS).for_each(|_| count());
    began.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

#[derive(Clone, Default)]
struct Collector(Arc<AtomicUsize>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.get_ref().resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        self.0.fetch_add(scopes.map(|scope| scope.spans.len()).sum(), Ordering::Relaxed);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn collect() {
    let collector = Collector::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let service = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        service.serve_with_incoming(TcpListenerStream::new(listener)).await
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    println!("{}", collector.0.load(Ordering::Relaxed));
}
