//! A worker that holds no model and runs no program: it does what a string in the block's source tells it.
//!
//! It lets tests stop a job at an exact place, which no real program can. The strings:
//! `canned:print TEXT`, `canned:fail TEXT`, `canned:mark FILE` (makes it), `canned:wait FILE` (until it is
//! there), `canned:die FILE` (the process ends, once: it makes the file), `canned:big BYTES`, `canned:noise BYTES`
//! (of which none can be spared).
//! The result is `{"answer": 42, "attempt": N}`, and `big` beside.
//!
//! Like the real one it outlives its sessions: it dials again with what it has, and keeps an end until it is settled.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use ids::InstanceId;
use program::{DType, Datum, Program, Ref, Saved, TensorData};
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Told;
use proto::v1::worker_sessions_client::WorkerSessionsClient;
use proto::v1::{self, FromWorker};
use store::{Blob, Place, messages};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The command line of the real worker, as far as it matters here.
#[derive(Parser)]
enum Command {
    Run {
        #[arg(long)]
        scheduler: String,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        instance: Option<String>,
    },
}

/// What it has: each job's attempt and epoch, and its end once it has come to that.
type Held = Arc<Mutex<HashMap<String, (u32, u64, Option<FromWorker>)>>>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // A parent that was killed closes the pipe.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let Command::Run { scheduler, name, instance } = Command::parse();
    let mut hello = v1::WorkerHello {
        worker_id: name.unwrap_or_else(|| format!("canned-{}", std::process::id())),
        token: std::env::var("VITRINE_WORKER_TOKEN")?,
        version: env!("CARGO_PKG_VERSION").into(),
        slots: 8,
        devices: vec![v1::Device { name: DEVICE.0.into(), model_bytes: DEVICE.1 }],
        instance: instance.unwrap_or_else(|| InstanceId::unique().to_string()),
        ..v1::WorkerHello::default()
    };
    let held = Held::default();
    // Where jobs tell of themselves: the latest session.
    let (latest, outboxes) = watch::channel(None);
    loop {
        hello.dial += 1;
        hello.holds = holds(&held);
        let session = Session { held: Arc::clone(&held), latest: latest.clone(), outboxes: outboxes.clone() };
        // Whatever ended it, it dials again.
        let _ = session.run(&scheduler, &mut hello).await;
        latest.send_replace(None);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn holds(held: &Held) -> Vec<v1::Held> {
    let held = held.lock().unwrap();
    let hold = |(job, (attempt, epoch, end)): (&String, &(u32, u64, Option<FromWorker>))| v1::Held {
        job_id: job.clone(),
        attempt: *attempt,
        epoch: *epoch,
        state: if end.is_some() { v1::HeldState::Ended } else { v1::HeldState::Running }.into(),
        ran_milliseconds: 0,
    };
    held.iter().map(hold).collect()
}

struct Session {
    held: Held,
    latest: watch::Sender<Option<mpsc::Sender<FromWorker>>>,
    outboxes: watch::Receiver<Option<mpsc::Sender<FromWorker>>>,
}

impl Session {
    async fn run(&self, scheduler: &str, hello: &mut v1::WorkerHello) -> Result<(), Failure> {
        let (outbox, messages) = mpsc::channel(64);
        send(&outbox, Message::Hello(hello.clone())).await?;
        let mut client = WorkerSessionsClient::connect(scheduler.to_owned()).await?;
        let mut inbox = client.open(ReceiverStream::new(messages)).await?.into_inner();
        let mut inline_bytes = 0;
        let mut beats = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                message = inbox.message() => match message?.and_then(|message| message.message) {
                    None => return Ok(()),
                    Some(Told::Welcome(welcome)) => {
                        hello.epoch = welcome.epoch;
                        inline_bytes = welcome.inline_bytes as usize;
                        let ends: Vec<FromWorker> = {
                            let mut held = self.held.lock().unwrap();
                            welcome.drop.iter().for_each(|dropped| drop(held.remove(&dropped.job_id)));
                            held.values().filter_map(|(_, _, end)| end.clone()).collect()
                        };
                        self.latest.send_replace(Some(outbox.clone()));
                        for end in ends {
                            outbox.send(end).await?;
                        }
                    }
                    Some(Told::LoadModel(load)) => {
                        let state = Some(v1::model_state::State::Ready(true));
                        let (model, device, bytes) = (load.model, DEVICE.0.into(), MODEL_BYTES);
                        let state = v1::ModelState { model, state, device, bytes, ..v1::ModelState::default() };
                        send(&outbox, Message::ModelState(state)).await?;
                    }
                    // It keeps no weights.
                    Some(Told::CoolModel(_)) => {}
                    Some(Told::UnloadModel(unload)) => {
                        let state = Some(v1::model_state::State::Unloaded(true));
                        let state = v1::ModelState { model: unload.model, state, ..v1::ModelState::default() };
                        send(&outbox, Message::ModelState(state)).await?;
                    }
                    Some(Told::Assign(assign)) => {
                        let (held, outboxes) = (Arc::clone(&self.held), self.outboxes.clone());
                        held.lock().unwrap().insert(assign.job_id.clone(), (assign.attempt, assign.epoch, None));
                        let job = Job { outboxes, held, inline_bytes, assign };
                        tokio::spawn(async move {
                            if let Err(error) = job.run().await {
                                fail(&error);
                            }
                        });
                    }
                    Some(Told::Settled(settled)) => {
                        let mut held = self.held.lock().unwrap();
                        if held.get(&settled.job_id).is_some_and(|(attempt, epoch, _)| {
                            (*attempt, *epoch) == (settled.attempt, settled.epoch)
                        }) {
                            held.remove(&settled.job_id);
                        }
                    }
                    Some(Told::Cancel(_) | Told::Heartbeat(_) | Told::NotLeader(_)) => {}
                },
                _ = beats.tick() => {
                    send(&outbox, Message::Heartbeat(v1::Heartbeat::default())).await?;
                    send(&outbox, Message::Measured(self.measured())).await?;
                }
            }
        }
    }
}

/// The device that it says it has, with the bytes that models may take, and what each model takes.
const DEVICE: (&str, u64) = ("cpu", 16 << 30);
const MODEL_BYTES: u64 = 512 << 20;

impl Session {
    /// Says how it is: the same always, and of each job that it is in its 18th pass.
    fn measured(&self) -> v1::Measured {
        let kinds = [("weights", MODEL_BYTES), ("trunks", 64 << 20), ("other", 1 << 30), ("free", DEVICE.1)];
        let kinds = kinds.map(|(kind, bytes)| v1::Lying { kind: kind.into(), bytes }).into();
        let held = self.held.lock().unwrap();
        let running = held.iter().filter(|(_, (_, _, end))| end.is_none());
        let far = |job: &String| v1::JobProgress { job_id: job.clone(), passes: 17, layer: 5, layers: 12 };
        let jobs = running.map(|(job, _)| far(job)).collect();
        v1::Measured {
            memory: vec![v1::DeviceMemory { device: DEVICE.0.into(), kinds }],
            jobs,
            certificates: Vec::new(),
        }
    }
}

struct Job {
    outboxes: watch::Receiver<Option<mpsc::Sender<FromWorker>>>,
    held: Held,
    inline_bytes: usize,
    assign: v1::Assign,
}

impl Job {
    async fn run(mut self) -> Result<(), Failure> {
        let epoch = self.assign.epoch;
        let (job_id, attempt) = (self.assign.job_id.clone(), self.assign.attempt);
        self.tell(Message::Started(v1::Started { job_id: job_id.clone(), attempt, epoch })).await;
        let program = self.program().await?;
        let (mut number, mut big) = (0, Vec::new());
        for directive in directives(&program.source.text) {
            match directive.split_once(' ') {
                Some(("print", text)) => {
                    let log = v1::Log { job_id: job_id.clone(), attempt, number, text: text.into(), epoch };
                    self.tell(Message::Log(log)).await;
                    number += 1;
                }
                Some(("fail", text)) => {
                    let (fault, usage) = (v1::Fault::User.into(), "{}".into());
                    let failed = v1::Failed { job_id, attempt, fault, text: text.into(), usage, epoch };
                    self.end(Message::Failed(failed)).await;
                    return Ok(());
                }
                Some(("mark", file)) => drop(std::fs::File::create(file)?),
                Some(("wait", file)) => {
                    while !Path::new(file).exists() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                Some(("die", file)) => {
                    if std::fs::File::create_new(file).is_ok() {
                        std::process::exit(3);
                    }
                }
                Some(("big", bytes)) => big = vec![7; bytes.parse()?],
                Some(("noise", bytes)) => big = noise(bytes.parse()?),
                _ => return Err(format!("unknown directive {directive:?}").into()),
            }
        }
        let result = nnsight::encode_saved(&saved(attempt, big), self.assign.compress)?;
        let result = if result.len() <= self.inline_bytes {
            Blob::Inline(result.into())
        } else {
            let grant = self.assign.result_grant.clone().and_then(messages::read_grant).ok_or("no grant")?;
            Blob::Object(grant.put(&Place::parse(&self.assign.result_path)?, result.into()).await?)
        };
        let result = Some(messages::blob(&result));
        let finished = v1::Finished { job_id, attempt, result, usage: "{}".into(), epoch };
        self.end(Message::Finished(finished)).await;
        Ok(())
    }

    /// Tells the latest session, or the next one.
    async fn tell(&mut self, message: Message) {
        let message = FromWorker { message: Some(message) };
        loop {
            let outbox = self.outboxes.wait_for(Option::is_some).await.unwrap().clone();
            if outbox.unwrap().send(message.clone()).await.is_ok() {
                return;
            }
            // That one is over; another comes.
            self.outboxes.changed().await.unwrap();
        }
    }

    /// Tells an end, and keeps it until it is settled.
    async fn end(&self, message: Message) {
        let message = FromWorker { message: Some(message) };
        if let Some((_, _, end)) = self.held.lock().unwrap().get_mut(&self.assign.job_id) {
            *end = Some(message.clone());
        }
        // Without a session it is told on the next one.
        let outbox = self.outboxes.borrow().clone();
        if let Some(outbox) = outbox {
            let _ = outbox.send(message).await;
        }
    }

    async fn program(&self) -> Result<Program, Failure> {
        let payload = self.assign.payload.clone().and_then(messages::read_blob).ok_or("no payload")?;
        let bytes = match payload {
            Blob::Inline(bytes) => bytes,
            Blob::Object(object) => {
                let grant = self.assign.payload_grant.clone().and_then(messages::read_grant).ok_or("no grant")?;
                grant.get(&object).await?
            }
        };
        Ok(Program::decode(&bytes, u64::MAX)?)
    }
}

/// Finds the strings `"canned:…"` in a source, in their order. The client normalises quotes.
fn directives(source: &str) -> impl Iterator<Item = &str> {
    source.split(['"', '\'']).filter_map(|text| text.strip_prefix("canned:"))
}

/// Bytes that cannot be compressed, the same each time.
fn noise(count: usize) -> Vec<u8> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1), next).map(|state: u64| (state >> 56) as u8).take(count).collect()
}

fn saved(attempt: u32, big: Vec<u8>) -> Saved {
    let mut saved = Saved::default();
    let mut add = |name: &str, datum: Datum| {
        let at: Ref = saved.heap.push(datum);
        saved.names.push((name.to_owned(), at));
    };
    add("answer", Datum::Int(42.into()));
    add("attempt", Datum::Int(attempt.into()));
    if !big.is_empty() {
        let shape = vec![i64::try_from(big.len()).unwrap_or(0)];
        add("big", Datum::Tensor(TensorData { dtype: DType::UInt8, shape, bytes: big.into(), requires_grad: false }));
    }
    saved
}

async fn send(outbox: &mpsc::Sender<FromWorker>, message: Message) -> Result<(), Failure> {
    Ok(outbox.send(FromWorker { message: Some(message) }).await?)
}

fn fail(error: &Failure) {
    eprintln!("canned-worker: {error}");
    std::process::exit(1);
}
