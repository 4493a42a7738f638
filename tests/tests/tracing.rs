//! What the server tells of itself: a trace for each job, log lines as JSON; and that none of it has what users send or are
//! sent, or a key.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::Signal;
use serde_json::Value;
use tests::{Data, KEY, http, ports};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A word that nobody else has, in whatever the client sends.
const WORD: &str = "zebraxylophonequux";

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// What a server told that ran two jobs, the second of which failed.
struct Run {
    /// Each with the service that told it.
    spans: Vec<(String, Span)>,
    told: String,
    log: String,
    metrics: String,
}

/// It runs once, for all tests here.
static RUN: LazyLock<Run> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let collector = Collector::default();
    let [endpoint, health, worker] = ports::free();
    let service = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
    runtime.spawn(service.serve(endpoint.parse().unwrap()));
    let data = Data::default();
    let log = data.path("log");
    let set = format!("worker_health={worker}");
    let mut up = data.up().key().tiny_models().traced_to(&log);
    up.command.env("VITRINE_OTLP_ENDPOINT", format!("http://{endpoint}")).env("VITRINE_LOG_FORMAT", "json");
    let server = up.arguments(&["--health-listen", &health, "--set", &set]).start();
    server.client("tagged.py").env("WORD", WORD).succeed();
    let metrics = [health, worker].map(|address| {
        let openmetrics = "Accept: application/openmetrics-text";
        let answer = http::ask(&format!("http://{address}"), "GET", "/metrics", &[openmetrics], b"");
        String::from_utf8(answer.body).unwrap()
    });
    server.signal(Signal::TERM);
    assert!(server.wait(), "it ends badly");
    let requests = collector.0.lock().unwrap().clone();
    let mut spans = Vec::new();
    for resource in requests.iter().flat_map(|request| &request.resource_spans) {
        let service = format!("{:?}", resource.resource);
        let role = ["vitrine-up", "vitrine-worker"].into_iter().find(|role| service.contains(role)).unwrap();
        let told = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
        spans.extend(told.map(|span| (role.to_owned(), span.clone())));
    }
    let log = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    Run { spans, told: format!("{requests:?}"), log, metrics: metrics.join("\n") }
});

#[test]
fn a_job_is_one_trace_with_a_span_for_each_step_in_their_order() {
    let mut traces: BTreeMap<&[u8], Vec<&(String, Span)>> = BTreeMap::new();
    for span in &RUN.spans {
        traces.entry(&span.1.trace_id).or_default().push(span);
    }
    assert_eq!(traces.len(), 2, "a trace for each job");
    let mut ends = Vec::new();
    for mut trace in traces.into_values() {
        trace.sort_by_key(|(_, span)| span.start_time_unix_nano);
        // The queue's beginning is in the record, in milliseconds: it may seem to come before the commit.
        let names: Vec<_> = trace.iter().map(|(_, span)| span.name.as_str()).filter(|name| *name != "queue").collect();
        let finished = names.contains(&"result");
        let expected = ["request", "accept", "decode", "check", "commit", "decide", "assign", "read", "run", "forward"];
        let rest: &[&str] = if finished { &["result", "settle", "deliver"] } else { &["settle", "deliver"] };
        // A block that raises before the model is asked has no pass.
        let all: Vec<_> = expected.iter().chain(rest).copied().filter(|name| *name != "forward" || finished).collect();
        assert_eq!(names, all);
        ends.push(finished);
        let find = |name: &str| &trace.iter().find(|(_, span)| span.name == name).unwrap().1;
        let (root, run) = (find("request"), find("run"));
        assert_eq!(root.parent_span_id, b"", "nobody asked for this trace");
        assert!(trace.iter().any(|(_, span)| span.name == "queue"));
        for (role, span) in &trace {
            let at_worker = ["read", "run", "forward", "result"].contains(&span.name.as_str());
            assert_eq!(role, if at_worker { "vitrine-worker" } else { "vitrine-up" }, "{}", span.name);
            assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{}", span.name);
            if span.name == "forward" {
                assert_eq!(span.parent_span_id, run.span_id);
            } else if span.name != "request" {
                assert_eq!(span.parent_span_id, root.span_id, "{}", span.name);
            }
        }
    }
    ends.sort_unstable();
    assert_eq!(ends, [false, true], "one failed");
}

#[test]
fn every_line_is_an_object_and_says_who_speaks_of_which_job() {
    let lines: Vec<Value> = RUN.log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // The programs say a few words to people, too.
    let others = RUN.log.lines().filter(|line| !line.starts_with('{'));
    let others: Vec<&str> = others.filter(|line| line.contains("TRACE") || line.contains("DEBUG")).collect();
    assert_eq!(others, [""; 0]);
    for (role, message, fields) in [
        ("up", "accepted", &["job", "tenant", "model"][..]),
        ("up", "given to a worker", &["job", "tenant", "model", "worker"]),
        ("up", "ended", &["job", "tenant", "model", "state"]),
        ("worker", "ran", &["job", "tenant", "model", "seconds"]),
    ] {
        let line = lines.iter().find(|line| line["message"] == message && line["role"] == role);
        let line = line.unwrap_or_else(|| panic!("{role} does not say that a job is {message:?}"));
        for field in fields.iter().chain(&["timestamp", "level", "target", "replica"]) {
            assert!(line[*field].is_string() || line[*field].is_number(), "{field} is missing: {line}");
        }
    }
}

#[test]
fn c12_no_line_metric_or_span_has_what_a_user_sends_or_is_sent_or_the_key() {
    let outputs = [("the log", &RUN.log), ("the spans", &RUN.told), ("the metrics", &RUN.metrics)];
    for (name, output) in outputs {
        for secret in [WORD, KEY] {
            let found = output.lines().find(|line| line.contains(secret));
            assert_eq!(found.map(|line| &line[..line.len().min(2000)]), None, "{secret} is in {name}");
        }
    }
    assert!(RUN.log.contains("\"TRACE\""), "too little was logged to show anything");
    assert!(RUN.told.contains("forward") && RUN.told.contains("ndif-test/tiny-gpt2"), "too little was traced");
    assert!(RUN.metrics.contains("vitrine_jobs_total{"), "too little was counted");
    let exemplar = RUN
        .metrics
        .lines()
        .find(|line| line.starts_with("vitrine_job_seconds_bucket") && line.contains("# {trace_id="));
    assert!(exemplar.is_some(), "no job's time names its trace");
}
