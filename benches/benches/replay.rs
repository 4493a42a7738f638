//! Replays recorded requests on a server for `benches/compare`, from many clients at once.
//!
//! Reads one JSON object from standard input: `{"url", "key", "clients": N, "requests": [{"fields": {…}, "file": PATH}],
//! "frames": FOLDER}`. Writes the frame that ended each job to `FOLDER/<index>`, and one JSON object to standard output:
//! `wall` and, for each request in order, `seconds`, both from when the first was sent, and `took`, from when itself was;
//! and `refusals`, how often the server was too busy and a request was sent again.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use benches::client::Client;
use serde_json::{Value as Json, json};
use tungstenite::Message;

/// How long a refused client waits.
const PAUSE: Duration = Duration::from_millis(20);

struct Request {
    fields: Json,
    payload: Vec<u8>,
}

/// When a job ended, how long its client waited, and what was then heard.
struct Answer {
    seconds: f64,
    took: f64,
    frame: Vec<u8>,
}

fn main() {
    let order: Json = serde_json::from_reader(io::stdin()).unwrap();
    let text = |name: &str| order[name].as_str().unwrap();
    let client = Client { url: text("url"), key: text("key") };
    let read = |request: &Json| Request {
        fields: request["fields"].clone(),
        payload: fs::read(request["file"].as_str().unwrap()).unwrap(),
    };
    let requests: Vec<Request> = order["requests"].as_array().unwrap().iter().map(read).collect();

    let (next, refusals) = (AtomicUsize::new(0), AtomicU64::new(0));
    let answers: Vec<Mutex<Option<Answer>>> = requests.iter().map(|_| Mutex::default()).collect();
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..order["clients"].as_u64().unwrap() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(request) = requests.get(index) else { return };
                    let sent = Instant::now();
                    let frame = ask(&client, request, &refusals);
                    let (seconds, took) = (begun.elapsed().as_secs_f64(), sent.elapsed().as_secs_f64());
                    let answer = Answer { seconds, took, frame };
                    *answers[index].lock().unwrap() = Some(answer);
                }
            });
        }
    });
    let wall = begun.elapsed().as_secs_f64();

    let (mut seconds, mut took) = (Vec::new(), Vec::new());
    for (index, answer) in answers.into_iter().enumerate() {
        let answer = answer.into_inner().unwrap().unwrap();
        fs::write(Path::new(text("frames")).join(index.to_string()), answer.frame).unwrap();
        seconds.push(answer.seconds);
        took.push(answer.took);
    }
    println!("{}", json!({ "wall": wall, "seconds": seconds, "took": took, "refusals": refusals.into_inner() }));
}

/// Sends a request as one user would, and returns the frame that ends its job.
fn ask(client: &Client<'_>, request: &Request, refusals: &AtomicU64) -> Vec<u8> {
    let mut socket = client.subscribe();
    let mut fields = request.fields.clone();
    fields["session_id"] = json!(socket.session);
    loop {
        let answer = client.post(&fields, &request.payload);
        match answer.status {
            200 => break,
            503 => {
                refusals.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
            _ => panic!("{}: {}", answer.status, answer.detail()),
        }
    }
    let frame = loop {
        match socket.read() {
            Message::Binary(frame) => break frame.to_vec(),
            Message::Text(frame) => {
                let status = &serde_json::from_str::<Json>(&frame).unwrap()["status"];
                if status == "ERROR" || status == "COMPLETED" {
                    break frame.as_bytes().to_vec();
                }
            }
            other => panic!("{other:?}"),
        }
    };
    socket.close();
    frame
}
