//! What a gateway counts.

use std::time::{Instant, SystemTime};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use telemetry::metrics::{Counter, Gauge, Histogram, Label, MODEL, Metric, Metrics, Reading, SECONDS, TENANT, Values};

use crate::error::Reason;

/// The routes, as this program has them.
const ROUTE: Label = Label { name: "route", values: Values::First(128) };
const CODE: Label = Label { name: "code", values: Values::First(32) };
const WAY: Label = Label::of("way", &["inline", "link"]);

pub static REQUESTS: Counter = Counter::new(
    "vitrine_gateway_requests_total",
    "Counts requests that were answered, by the route's template and the status of the answer.",
    &[ROUTE, CODE],
);
pub static LATENCY: Histogram = Histogram::new(
    "vitrine_gateway_request_seconds",
    "Says how long requests took from their head to that of their answer.",
    &[ROUTE],
    SECONDS,
);
pub static UPLOADED: Counter =
    Counter::new("vitrine_gateway_upload_bytes_total", "Counts bytes of requests for jobs that arrived whole.", &[]);
pub static REFUSED: Counter = Counter::new(
    "vitrine_gateway_refused_total",
    "Counts requests that were refused or failed, by the reason.",
    &[Label::of("reason", Reason::ALL)],
);
pub static ACCEPTED: Counter =
    Counter::new("vitrine_gateway_accepted_total", "Counts requests that became jobs, by tenant.", &[TENANT]);
pub static SOCKETS: Gauge = Gauge::new(
    "vitrine_gateway_sockets",
    "Says how many websockets are open, with a valid key or without.",
    &[Label::of("key", &["valid", "none"])],
);
pub static RESULTS: Counter = Counter::new(
    "vitrine_gateway_results_total",
    "Counts results that were sent, in the last frame of a websocket or by a link.",
    &[WAY],
);
pub static RESULT_BYTES: Counter = Counter::new(
    "vitrine_gateway_result_bytes_total",
    "Counts bytes of results that were sent or begun to be.",
    &[WAY],
);
pub static BACKLOG: Gauge = Gauge::new(
    "vitrine_gateway_backlog_jobs",
    "Says how many jobs wait or run in the whole installation, as this gateway counts them to bound them.",
    &[],
);
pub static BACKLOG_BYTES: Gauge = Gauge::new(
    "vitrine_gateway_backlog_bytes",
    "Says how many bytes the requests of the jobs have that wait or run.",
    &[],
);
pub static BACKLOG_LIMIT: Gauge = Gauge::new(
    "vitrine_gateway_backlog_limit_jobs",
    "Says how many jobs may wait or run before requests are refused.",
    &[],
);

/// All of them.
pub static METRICS: Metrics = &[
    &REQUESTS,
    &LATENCY,
    &UPLOADED,
    &REFUSED,
    &ACCEPTED,
    &SOCKETS,
    &RESULTS,
    &RESULT_BYTES,
    &BACKLOG,
    &BACKLOG_BYTES,
    &BACKLOG_LIMIT,
];

/// What a gateway is to who looks at it from outside: counted by `vitrine canary`.
pub static OUTSIDE: Metrics = &[&OUTSIDE_RUNS, &OUTSIDE_TIME];

pub static OUTSIDE_RUNS: Counter = Counter::new(
    "vitrine_outside_runs_total",
    "Counts programs that `vitrine canary` sent from outside, by what came of them: the result came (completed), the server refused \
     the program, it failed, nothing came in time (late), or nobody answered (unreached).",
    &[MODEL, Label::of("outcome", &["completed", "refused", "failed", "late", "unreached"])],
);
pub static OUTSIDE_TIME: Histogram = Histogram::new(
    "vitrine_outside_seconds",
    "Says how long it took `vitrine canary` from sending a program to having its result.",
    &[MODEL],
    SECONDS,
);

/// When the head of a request had come.
#[derive(Clone, Copy)]
pub struct Arrived(pub SystemTime);

/// The middleware that counts what is answered.
pub async fn count(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Arrived(SystemTime::now()));
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    // What has no route is the mirror's, or nothing.
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    LATENCY.with(&[route]).time(began.elapsed());
    REQUESTS.with(&[route, response.status().as_str()]).one();
    if let Some(reason) = response.extensions().get::<Reason>() {
        REFUSED.with(&[reason.0]).one();
    }
    response
}

/// Returns how often this process found no room so far, in the store or for what requests bring.
pub fn no_space() -> u64 {
    let mut counted = 0.0;
    for counter in [&REFUSED, &store::metrics::ERRORS] {
        counter.read(&mut |values, reading| {
            if let (Reading::Number(number), true) = (reading, values.iter().any(|value| value == "no_space")) {
                counted += number;
            }
        });
    }
    counted as u64
}
