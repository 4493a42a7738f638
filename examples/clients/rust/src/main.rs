//! Runs a stored request by Vitrine's gRPC: submits it, follows its job, and shows what it saved.
//!
//! ```text
//! VITRINE_API_KEY=… grpc-client http://127.0.0.1:8001 MODEL REQUEST
//! ```
//!
//! REQUEST is a file with what nnsight's client posts as `blob`, uncompressed: what `RequestModel.serialize(tracer, False)`
//! returns.

use std::error::Error;

use proto::v1::job_event::Event;
use proto::v1::jobs_client::JobsClient;
use proto::v1::{FetchResultRequest, FollowJobRequest, Job, JobState, ResultFormat, SubmitHead, SubmitRequest};
use safetensors::SafeTensors;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of a message; one may have 4 MiB.
const MESSAGE: usize = 1 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, model, file] = arguments.as_slice() else {
        return Err("say three things: the server's address, the model, and the file with the request".into());
    };
    let mut client = connect(address, &std::env::var("VITRINE_API_KEY")?).await?;
    let id = submit(&mut client, model, std::fs::read(file)?).await?;
    println!("submitted {id}");
    let job = follow(&mut client, &id).await?;
    if job.state() != JobState::Completed {
        let why = job.failure.map(|failure| failure.text).unwrap_or_default();
        return Err(format!("the job ended as {}: {why}", JobState::try_from(job.state)?.as_str_name()).into());
    }
    let result = fetch(&mut client, &id).await?;
    let mut tensors = SafeTensors::deserialize(&result)?.tensors();
    tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
    for (name, tensor) in tensors {
        println!("{name} {:?} {:?}", tensor.dtype(), tensor.shape());
    }
    let (_, header) = SafeTensors::read_metadata(&result)?;
    let values = header.metadata().as_ref().and_then(|metadata| metadata.get("values"));
    println!("values {}", values.map_or("", String::as_str));
    Ok(())
}

type Client = JobsClient<InterceptedService<Channel, ShowKey>>;

/// Shows the key with each call.
#[derive(Clone)]
struct ShowKey(AsciiMetadataValue);

impl tonic::service::Interceptor for ShowKey {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

async fn connect(address: &str, key: &str) -> Result<Client> {
    let channel = Channel::from_shared(address.to_owned())?.connect().await?;
    Ok(JobsClient::with_interceptor(channel, ShowKey(format!("Bearer {key}").parse()?)))
}

/// Submits a payload. Returns the id of its job.
async fn submit(client: &mut Client, model: &str, payload: Vec<u8>) -> Result<String> {
    let head = SubmitHead { model: model.into(), payload_bytes: payload.len() as u64, ..SubmitHead::default() };
    let mut messages = vec![SubmitRequest { head: Some(head), ..SubmitRequest::default() }];
    let pieces = payload.chunks(MESSAGE).map(|piece| piece.to_vec().into());
    messages.extend(pieces.map(|payload| SubmitRequest { head: None, payload }));
    Ok(client.submit(tokio_stream::iter(messages)).await?.into_inner().job_id)
}

/// Prints what a job prints until it has ended. Where the stream breaks off, it goes on behind the last event.
async fn follow(client: &mut Client, id: &str) -> Result<Job> {
    let mut after = String::new();
    loop {
        let asked = FollowJobRequest { job_id: id.into(), after: after.clone() };
        let mut events = client.follow_job(asked).await?.into_inner();
        loop {
            let event = match events.message().await {
                Ok(Some(event)) => event,
                Ok(None) => return Err("the job's end has been told before".into()),
                Err(status) if status.code() == Code::Unavailable => break,
                Err(status) => return Err(status.into()),
            };
            if !event.id.is_empty() {
                after = event.id;
            }
            match event.event {
                Some(Event::Printed(printed)) => println!("it printed: {}", printed.text),
                Some(Event::State(job)) if job.ended_at.is_some() => return Ok(job),
                Some(Event::State(_)) | None => {}
            }
        }
    }
}

async fn fetch(client: &mut Client, id: &str) -> Result<Vec<u8>> {
    let asked = FetchResultRequest { job_id: id.into(), format: ResultFormat::Safetensors.into() };
    let mut pieces = client.fetch_result(asked).await?.into_inner();
    let mut whole = Vec::new();
    while let Some(message) = pieces.message().await? {
        whole.extend_from_slice(&message.piece);
    }
    Ok(whole)
}
