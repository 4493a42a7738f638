//! What a request costs besides its model: a recorded request of the real client, replayed over real sockets
//! against the tiny model, without the client's own 38 ms.
//!
//!     make bench ONLY=request        or: cargo build --release && cargo bench --package benches --bench request
//!
//! Prints a JSON object a line: the median and the 95th percentile of each stage in milliseconds, then of each entry of
//! the job's `meta`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use benches::client::Client;
use serde_json::{Value, json};
use tests::{Data, KEY, http};
use tungstenite::Message;

/// Requests before those that are measured.
const WARM_UP: usize = 20;
const MEASURED: usize = 300;

fn main() {
    let data = Data::default();
    let up = data.up().key().tiny_models();
    // With `--canned` no model and no interpreter takes part: what is left is the way there and back.
    let canned = std::env::args().any(|argument| argument == "--canned");
    let server = if canned { up.canned().start() } else { up.start() };
    let file = data.path("payload");
    server.client("payload.py").env("PAYLOAD", &file).succeed();
    let payload = fs::read(&file).unwrap();

    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 0..WARM_UP + MEASURED {
        for (stage, milliseconds) in replay(&server.url, &payload) {
            if round >= WARM_UP {
                samples.entry(stage).or_default().push(milliseconds);
            }
        }
    }
    for (stage, mut values) in samples {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
        println!("{}", json!({ "stage": stage, "median_ms": at(0.5), "p95_ms": at(0.95), "requests": MEASURED }));
    }
}

/// Sends one request and waits for its end. Returns the time each stage took.
fn replay(url: &str, payload: &[u8]) -> Vec<(String, f64)> {
    let client = Client { url, key: KEY };
    let mut socket = client.subscribe();
    let model = json!({ "repo_id": "ndif-test/tiny-gpt2", "revision": null, "task": "text-generation" });
    let fields = json!({
        "model_key": format!("nnsight.modeling.transformers.TransformersModel:{model}"),
        "session_id": socket.session, "compress": false, "env": {},
    });

    let mut stages = Vec::new();
    let posted = Instant::now();
    let elapsed = || posted.elapsed().as_secs_f64() * 1000.0;
    let answer = client.post(&fields, payload);
    assert_eq!(answer.status, 200, "{}", answer.detail());
    stages.push(("1 POST answered".to_owned(), elapsed()));
    loop {
        match socket.read() {
            Message::Text(text) => {
                let response: Value = serde_json::from_str(&text).unwrap();
                let name = match response["status"].as_str().unwrap() {
                    "QUEUED" => "2 QUEUED heard",
                    "DISPATCHED" => "3 DISPATCHED heard",
                    "RUNNING" => "4 RUNNING heard",
                    other => panic!("{other}: {}", response["description"]),
                };
                stages.push((name.to_owned(), elapsed()));
            }
            Message::Binary(_) => {
                stages.push(("5 COMPLETED heard".to_owned(), elapsed()));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    socket.close();
    let job = answer.json()["id"].as_str().unwrap().to_owned();
    let meta = http::get(url, &format!("/response/{job}")).json()["meta"].clone();
    for (name, value) in meta.as_object().unwrap() {
        if let (Some(name), Some(seconds)) = (name.strip_suffix("_s"), value.as_f64()) {
            stages.push((format!("meta {name}"), seconds * 1000.0));
        }
    }
    stages
}
