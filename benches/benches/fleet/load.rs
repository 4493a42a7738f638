//! Clients that send one job after another, each as the real one does: a websocket for every job, a request that names it,
//! and what is heard until the end.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use benches::client::Client;
use serde_json::{Value as Json, json};
use tungstenite::Message;

use crate::roles::Roles;

/// What is sent, and by how many.
pub struct Load {
    pub clients: usize,
    pub jobs: usize,
    url: String,
    key: String,
    fields: Json,
    payload: Vec<u8>,
}

/// What came of some jobs.
pub struct Ran {
    /// Seconds from the first to the last.
    pub wall: f64,
    /// Of each job, the seconds from its being sent to its being accepted, and to its end's being heard; both sorted.
    accepted: Vec<f64>,
    ended: Vec<f64>,
}

impl Load {
    pub fn read(order: &Json, roles: &Roles) -> Self {
        let number = |name: &str| usize::try_from(order[name].as_u64().unwrap()).unwrap();
        Self {
            clients: number("clients"),
            jobs: number("jobs"),
            url: roles.url.clone(),
            key: roles.key.clone(),
            fields: order["fields"].clone(),
            payload: fs::read(order["file"].as_str().unwrap()).unwrap(),
        }
    }

    /// Runs so many jobs.
    ///
    /// # Panics
    /// When one of them is not accepted, or fails.
    pub fn run(&self, jobs: usize) -> Ran {
        let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let client = Client { url: &self.url, key: &self.key };
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..self.clients {
                scope.spawn(|| {
                    while next.fetch_add(1, Ordering::Relaxed) < jobs {
                        let took = self.job(&client);
                        times.lock().unwrap().push(took);
                    }
                });
            }
        });
        let wall = began.elapsed().as_secs_f64();
        let (mut accepted, mut ended): (Vec<f64>, Vec<f64>) = times.into_inner().unwrap().into_iter().unzip();
        accepted.sort_by(f64::total_cmp);
        ended.sort_by(f64::total_cmp);
        Ran { wall, accepted, ended }
    }

    /// Runs one job. Returns the seconds until it was accepted and until it had ended.
    fn job(&self, client: &Client<'_>) -> (f64, f64) {
        let mut socket = client.subscribe();
        let mut fields = self.fields.clone();
        fields["session_id"] = json!(socket.session);
        let sent = Instant::now();
        let answer = client.post(&fields, &self.payload);
        let accepted = sent.elapsed().as_secs_f64();
        assert_eq!(answer.status, 200, "{}", answer.detail());
        assert_eq!(answer.json()["status"], "RECEIVED", "{}", answer.json());
        loop {
            match socket.read() {
                Message::Binary(_) => break,
                Message::Text(frame) => {
                    let frame: Json = serde_json::from_str(&frame).unwrap();
                    assert_ne!(frame["status"], "ERROR", "{}", frame["description"]);
                }
                other => panic!("{other:?}"),
            }
        }
        let ended = sent.elapsed().as_secs_f64();
        socket.close();
        (accepted, ended)
    }
}

impl Ran {
    /// Returns the milliseconds within which so large a share of the jobs was accepted.
    pub fn accepted(&self, share: f64) -> f64 {
        at(&self.accepted, share)
    }

    /// Returns the milliseconds within which so large a share had ended.
    pub fn ended(&self, share: f64) -> f64 {
        at(&self.ended, share)
    }
}

fn at(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize] * 1000.0
}
