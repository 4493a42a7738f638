//! A worker that holds no model and runs no program: it does what a string in the block's source tells it.
//!
//! It lets tests stop a job at an exact place, which no real program can. The strings:
//! `canned:print TEXT`, `canned:fail TEXT`, `canned:mark FILE` (makes it), `canned:wait FILE` (until it is
//! there), `canned:die FILE` (the process ends, once: it makes the file), `canned:big BYTES`.
//! The result is `{"answer": 42, "attempt": N}`, and `big` beside.

use std::path::Path;
use std::time::Duration;

use program::{DType, Datum, Program, Ref, Saved, TensorData};
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Told;
use proto::v1::worker_sessions_client::WorkerSessionsClient;
use proto::v1::{self, FromWorker};
use store::{Blob, Objects, Place};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // A parent that was killed closes the pipe.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let scheduler = std::env::args().nth(3).ok_or("usage: canned-worker run --scheduler URL")?;
    let (outbox, messages) = mpsc::channel(64);
    let hello = v1::WorkerHello {
        worker_id: format!("canned-{}", std::process::id()),
        token: std::env::var("VITRINE_WORKER_TOKEN")?,
        version: env!("CARGO_PKG_VERSION").into(),
        slots: 8,
    };
    tell(&outbox, Message::Hello(hello)).await?;
    let mut client = WorkerSessionsClient::connect(scheduler).await?;
    let mut inbox = client.open(ReceiverStream::new(messages)).await?.into_inner();
    let mut objects = None;
    let mut beats = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            // An error, too, is the end of a scheduler that was killed.
            message = inbox.message() => match message.ok().flatten().and_then(|message| message.message) {
                None => return Ok(()),
                Some(Told::Welcome(welcome)) => objects = Some(Objects::local(welcome.objects_folder)?),
                Some(Told::LoadModel(load)) => {
                    let state = Some(v1::model_state::State::Ready(true));
                    tell(&outbox, Message::ModelState(v1::ModelState { model: load.model, state })).await?;
                }
                Some(Told::Assign(assign)) => {
                    let job = Job { outbox: outbox.clone(), objects: objects.clone().ok_or("no welcome")?, assign };
                    tokio::spawn(async move {
                        if let Err(error) = job.run().await {
                            fail(&error);
                        }
                    });
                }
                Some(Told::Cancel(_) | Told::Heartbeat(_)) => {}
            },
            _ = beats.tick() => tell(&outbox, Message::Heartbeat(v1::Heartbeat {})).await?,
        }
    }
}

struct Job {
    outbox: mpsc::Sender<FromWorker>,
    objects: Objects,
    assign: v1::Assign,
}

impl Job {
    async fn run(self) -> Result<(), Failure> {
        let (job_id, attempt) = (self.assign.job_id.clone(), self.assign.attempt);
        tell(&self.outbox, Message::Started(v1::Started { job_id: job_id.clone(), attempt })).await?;
        let program = self.program().await?;
        let (mut number, mut big) = (0, 0);
        for directive in directives(&program.source.text) {
            match directive.split_once(' ') {
                Some(("print", text)) => {
                    let log = v1::Log { job_id: job_id.clone(), attempt, number, text: text.into() };
                    tell(&self.outbox, Message::Log(log)).await?;
                    number += 1;
                }
                Some(("fail", text)) => {
                    let (fault, usage) = (v1::Fault::User.into(), "{}".into());
                    let failed = v1::Failed { job_id, attempt, fault, text: text.into(), usage };
                    return tell(&self.outbox, Message::Failed(failed)).await;
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
                Some(("big", bytes)) => big = bytes.parse()?,
                _ => return Err(format!("unknown directive {directive:?}").into()),
            }
        }
        let result = nnsight::encode_saved(&saved(attempt, big), self.assign.compress)?;
        let result = self.objects.keep(&Place::parse(&self.assign.result_path)?, result.into()).await?;
        let finished = v1::Finished { job_id, attempt, result: Some(to_wire(result)), usage: "{}".into() };
        tell(&self.outbox, Message::Finished(finished)).await
    }

    async fn program(&self) -> Result<Program, Failure> {
        let payload = self.assign.payload.clone().and_then(|payload| payload.blob).ok_or("no payload")?;
        let bytes = match payload {
            v1::blob::Blob::Inline(bytes) => bytes,
            v1::blob::Blob::Object(object) => {
                let digest = object.digest[..].try_into()?;
                self.objects.get(&store::ObjectRef { path: object.path, digest, bytes: object.bytes }).await?
            }
        };
        Ok(postcard::from_bytes(&bytes)?)
    }
}

/// Finds the strings `"canned:…"` in a source, in their order. The client normalises quotes.
fn directives(source: &str) -> impl Iterator<Item = &str> {
    source.split(['"', '\'']).filter_map(|text| text.strip_prefix("canned:"))
}

fn saved(attempt: u32, big: usize) -> Saved {
    let mut saved = Saved::default();
    let mut add = |name: &str, datum: Datum| {
        let at: Ref = saved.heap.push(datum);
        saved.names.push((name.to_owned(), at));
    };
    add("answer", Datum::Int(42.into()));
    add("attempt", Datum::Int(attempt.into()));
    if big > 0 {
        let shape = vec![i64::try_from(big).unwrap_or(0)];
        add("big", Datum::Tensor(TensorData { dtype: DType::UInt8, shape, bytes: vec![7; big], requires_grad: false }));
    }
    saved
}

fn to_wire(blob: Blob) -> v1::Blob {
    let blob = match blob {
        Blob::Inline(bytes) => v1::blob::Blob::Inline(bytes),
        Blob::Object(object) => {
            let (path, digest, bytes) = (object.path, object.digest.to_vec().into(), object.bytes);
            v1::blob::Blob::Object(v1::Object { path, digest, bytes })
        }
    };
    v1::Blob { blob: Some(blob) }
}

async fn tell(outbox: &mpsc::Sender<FromWorker>, message: Message) -> Result<(), Failure> {
    Ok(outbox.send(FromWorker { message: Some(message) }).await?)
}

fn fail(error: &Failure) {
    eprintln!("canned-worker: {error}");
    std::process::exit(1);
}
