//! What the server tells of itself: a trace for each job, log lines as JSON; and that none of it has what users send or are
//! sent, or a key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, LazyLock, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::Signal;
use serde_json::Value;
use tests::cluster::Cluster;
use tests::{Data, KEY, http, ports, python};
use tokio::runtime::Runtime;
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

impl Collector {
    /// Takes what is sent to an address, for as long as the runtime lives.
    fn start(&self, endpoint: &str) -> Runtime {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = Server::builder().add_service(TraceServiceServer::new(self.clone()));
        runtime.spawn(service.serve(endpoint.parse().unwrap()));
        runtime
    }

    fn taken(&self) -> Vec<ExportTraceServiceRequest> {
        self.0.lock().unwrap().clone()
    }
}

/// Returns the spans, each with the service that told it.
fn spans(requests: &[ExportTraceServiceRequest]) -> Vec<(String, Span)> {
    let mut spans = Vec::new();
    for resource in requests.iter().flat_map(|request| &request.resource_spans) {
        let service = format!("{:?}", resource.resource);
        let roles = ["vitrine-up", "vitrine-gateway", "vitrine-scheduler", "vitrine-worker"];
        let role = roles.into_iter().find(|role| service.contains(role)).unwrap();
        let told = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
        spans.extend(told.map(|span| (role.to_owned(), span.clone())));
    }
    spans
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
    let collector = Collector::default();
    let [endpoint, health, worker] = ports::free();
    let _runtime = collector.start(&endpoint);
    let data = Data::default();
    let log = data.path("log");
    let set = format!("worker_health={worker}");
    let mut up = data.up().key().tiny_models().traced_to(&log);
    up.command.env("VITRINE_OTLP_ENDPOINT", format!("http://{endpoint}")).env("VITRINE_LOG_FORMAT", "json");
    up.command.env("VITRINE_TRACE_SAMPLE", "1");
    let server = up.arguments(&["--health-listen", &health, "--set", &set]).start();
    server.client("tagged.py").env("WORD", WORD).succeed();
    let metrics = [health, worker].map(|address| {
        let openmetrics = "Accept: application/openmetrics-text";
        let answer = http::ask(&format!("http://{address}"), "GET", "/metrics", &[openmetrics], b"");
        String::from_utf8(answer.body).unwrap()
    });
    server.signal(Signal::TERM);
    assert!(server.wait(), "it ends badly");
    let requests = collector.taken();
    let log = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    Run { spans: spans(&requests), told: format!("{requests:?}"), log, metrics: metrics.join("\n") }
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

#[test]
fn c12_no_role_of_a_cluster_tells_what_a_user_sends_or_is_sent_or_a_key_and_a_trace_goes_through_all_of_them() {
    let collector = Collector::default();
    let [endpoint] = ports::free();
    let _runtime = collector.start(&endpoint);
    let data = Data::default();
    let folder = data.path("cluster");
    let mut cluster = Cluster::start(
        &folder,
        &[
            ("VITRINE_LOG", "trace"),
            ("VITRINE_LOG_FORMAT", "json"),
            ("VITRINE_TRACE_SAMPLE", "1"),
            ("VITRINE_OTLP_ENDPOINT", &format!("http://{endpoint}")),
        ],
    );
    let (about, gateway) = (cluster.about(), cluster.gateway());
    let key = about["api_key"].as_str().unwrap().to_owned();
    let mut client = python("tagged.py").env("WORD", WORD).env("HF_ENDPOINT", &gateway);
    client = client.env("NDIF_HOST", &gateway).env("NDIF_API_KEY", &key);
    client.succeed();
    let mut outputs = Vec::new();
    for address in cluster.health() {
        let metrics = http::get(&format!("http://{address}"), "/metrics");
        outputs.push((address, String::from_utf8(metrics.body).unwrap()));
    }
    assert_eq!(outputs.len(), 7, "each role shows its metrics");
    cluster.end();
    let mut lines = 0;
    for file in fs::read_dir(folder.join("logs")).unwrap().map(|entry| entry.unwrap().path()) {
        let log = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        lines += log.lines().filter(|line| line.contains("\"TRACE\"")).count();
        outputs.push((file.display().to_string(), log));
    }
    assert!(lines > 100, "too little was logged to show anything");
    let requests = collector.taken();
    outputs.push(("the spans".into(), format!("{requests:?}")));
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap().trim().to_owned();
    let admin = about["admin_key"].as_str().unwrap().to_owned();
    for secret in [WORD.to_owned(), key, admin, file("worker.token"), file("bucket.secret")] {
        for (name, output) in &outputs {
            let found = output.lines().find(|line| line.contains(&secret));
            assert_eq!(found.map(|line| &line[..line.len().min(2000)]), None, "{secret} is in {name}");
        }
    }
    let mut traces: BTreeMap<Vec<u8>, BTreeSet<String>> = BTreeMap::new();
    for (role, span) in spans(&requests) {
        traces.entry(span.trace_id).or_default().insert(role);
    }
    let all = ["vitrine-gateway", "vitrine-scheduler", "vitrine-worker"].map(str::to_owned).into();
    assert_eq!(
        traces.into_values().collect::<Vec<_>>(),
        vec![all; 2],
        "each of the two jobs is one trace of all roles"
    );
}
