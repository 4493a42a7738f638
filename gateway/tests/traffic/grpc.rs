//! The API by gRPC: what it gives to whom, and that it says what HTTP says.

use std::sync::Arc;
use std::time::Duration;

use auth::{Grant, Keys, Scope, Secret, ServerSecret};
use bytes::{Buf, BufMut, Bytes};
use gateway::Settings;
use ids::{JobId, TenantId};
use program::{DType, Datum, Heap, Saved, TensorData};
use proto::api::{Method, methods};
use proto::v1::job_event::Event;
use proto::v1::jobs_client::JobsClient;
use proto::v1::{
    CancelJobRequest, FetchResultRequest, FollowJobRequest, GetJobRequest, JobEvent, JobState, ListJobsRequest,
    ResultFormat, ResultPiece, SubmitHead, SubmitRequest,
};
use store::{Line, MemoryStore, MetadataStore};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_types::StatusExt;

use crate::several::gateways;
use crate::site::{FORM, MODEL, Site, form, pickle};

async fn channel(site: &Site) -> Channel {
    let address = site.by_grpc().await;
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// A call under a key, if there is one.
fn under<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !key.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    request
}

fn head(payload: &[u8]) -> SubmitHead {
    SubmitHead { model: MODEL.into(), payload_bytes: payload.len() as u64, ..SubmitHead::default() }
}

async fn submit(channel: &Channel, key: &str, head: SubmitHead, payload: &[u8]) -> Result<String, Status> {
    let (first, rest) = payload.split_at(payload.len() / 2);
    let first = SubmitRequest { head: Some(head), payload: Bytes::copy_from_slice(first) };
    let rest = SubmitRequest { head: None, payload: Bytes::copy_from_slice(rest) };
    let messages = futures::stream::iter([first, rest]);
    let answer = JobsClient::new(channel.clone()).submit(under(key, messages)).await?;
    Ok(answer.into_inner().job_id)
}

/// Messages as their bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Calls any method with a request that names a job, where it can. Returns the first message of the answer, if there is one.
async fn call(channel: &Channel, key: &str, method: &Method, job: &str) -> Result<Option<Bytes>, Status> {
    let message = method.job_id.map_or_else(Vec::new, |field| {
        let tag = u8::try_from(field << 3 | 2).unwrap();
        [&[tag, u8::try_from(job.len()).unwrap()], job.as_bytes()].concat()
    });
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let asked = under(key, futures::stream::iter([Bytes::from(message)]));
    let answer = client.streaming(asked, method.path.parse().unwrap(), Raw).await?;
    answer.into_inner().message().await
}

fn said(status: &Status) -> (Code, String, Option<String>) {
    let reason = status.get_details_error_info().map(|info| info.reason);
    (status.code(), status.message().to_owned(), reason)
}

#[tokio::test]
async fn i1_whatever_method_is_called_another_tenants_job_is_as_one_that_is_not_there() {
    let site = Site::new(Settings::default()).await;
    let channel = channel(&site).await;
    let job = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job().to_string();
    let methods = methods().unwrap();
    let without: Vec<&str> = methods.iter().filter(|it| it.job_id.is_none()).map(|it| it.path.as_str()).collect();
    assert_eq!(without, ["/vitrine.v1.Jobs/Submit", "/vitrine.v1.Jobs/ListJobs"], "these name no job");
    for method in &methods {
        for (key, sentence) in [("", "missing API key"), ("wrong", "invalid API key")] {
            let refused = call(&channel, key, method, &job).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{method:?}");
            assert!(refused.message().contains(sentence), "{method:?} {refused}");
        }
        let nothing = call(&channel, "key of ada that may do nothing", method, &job).await.unwrap_err();
        assert_eq!(nothing.code(), Code::PermissionDenied, "{method:?}");
        if method.job_id.is_none() {
            continue;
        }
        let theirs = call(&channel, "key of bob", method, &job).await.unwrap_err();
        for nobodys in [JobId::new().to_string(), "nonsense".into()] {
            let nobodys = call(&channel, "key of bob", method, &nobodys).await.unwrap_err();
            assert_eq!(said(&theirs), said(&nobodys), "{method:?}");
        }
        let expected = (Code::NotFound, "no job of yours has this id".to_owned(), Some("NOT_FOUND".to_owned()));
        assert_eq!(said(&theirs), expected, "{method:?}");
    }
    let listed = |key| {
        let asked = under(key, ListJobsRequest::default());
        let mut client = JobsClient::new(channel.clone());
        async move { client.list_jobs(asked).await.unwrap().into_inner().jobs.len() }
    };
    assert_eq!((listed("key of bob").await, listed("key of ada").await), (0, 1));
    let none = Method { path: "/vitrine.v1.Jobs/Nothing".into(), ..methods[0].clone() };
    assert_eq!(call(&channel, "key of ada", &none, "").await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_job_is_submitted_followed_over_a_break_fetched_and_listed() {
    let site = Site::new(Settings::default()).await;
    let channel = channel(&site).await;
    let mut client = JobsClient::new(channel.clone());
    let (key, payload) = ("key of ada", pickle::payload(b"K\x07"));
    let id = submit(&channel, key, head(&payload), &payload).await.unwrap();
    let job: JobId = id.parse().unwrap();
    let follow = |after: &str| under(key, FollowJobRequest { job_id: id.clone(), after: after.into() });
    let mut events = client.follow_job(follow("")).await.unwrap().into_inner();
    let mut states = Vec::new();
    let mut next = async |events: &mut tonic::Streaming<JobEvent>| {
        let JobEvent { id, event } = events.message().await.unwrap()?;
        match event.unwrap() {
            Event::State(job) => states.push(job.state()),
            Event::Printed(printed) => return Some((id, printed.text)),
        }
        Some((id, String::new()))
    };
    next(&mut events).await.unwrap();
    site.dispatch(job, 0).await;
    let long = "x".repeat(100_000);
    let line = |number, text: &str| Line { job, attempt: 1, number, text: text.into() };
    site.jobs.append_log(&[line(0, "one"), line(1, &long)]).await.unwrap();
    let mut printed = String::new();
    let after = loop {
        let (id, text) = next(&mut events).await.unwrap();
        printed += &text;
        if printed.len() >= 3 + long.len() {
            break id;
        }
    };
    assert!(printed == format!("one\n{long}") || printed == format!("one{long}"), "{} bytes", printed.len());
    drop(events);
    // Numbers, and the first of them again where its elements lie in another order.
    let mut heap = Heap::default();
    let bytes: Vec<u8> = (0..6_i64).flat_map(i64::to_le_bytes).collect();
    let data = TensorData { dtype: DType::Int64, shape: vec![6], bytes: bytes.into(), requires_grad: false };
    let storage = heap.push(Datum::Storage(data));
    let (shape, strides) = (vec![3, 2], vec![1, 3]);
    let turned = heap.push(Datum::View { storage, shape, strides, offset: 0, requires_grad: false });
    let answer = heap.push(Datum::Int(42.into()));
    let saved = Saved { heap, names: vec![("turned".into(), turned), ("answer".into(), answer)] };
    let written = Bytes::from(nnsight::encode_saved(&saved, false).unwrap());
    site.finish_with("ada", job, 1, written.clone()).await;
    let mut events = client.follow_job(follow(&after)).await.unwrap().into_inner();
    let mut last = String::new();
    while let Some((id, text)) = next(&mut events).await {
        assert!(text.is_empty(), "it was heard before");
        last = id;
    }
    assert_eq!((states.first(), states.last()), (Some(&JobState::Queued), Some(&JobState::Completed)));
    let mut events = client.follow_job(follow(&last)).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap(), None, "there is nothing behind the last");

    let fetch = |format: ResultFormat| under(key, FetchResultRequest { job_id: id.clone(), format: format.into() });
    let (head, own) = whole(client.fetch_result(fetch(ResultFormat::Client)).await.unwrap().into_inner()).await;
    assert_eq!((head.0, head.1, own), (ResultFormat::Client, written.len() as u64, written.to_vec()));
    let (head, told) = whole(client.fetch_result(fetch(ResultFormat::Unspecified)).await.unwrap().into_inner()).await;
    assert_eq!((head.0, head.1), (ResultFormat::Safetensors, told.len() as u64));
    let length = u64::from_le_bytes(told[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&told[8..8 + length]).unwrap();
    assert_eq!(header["__metadata__"]["values"], r#"{"turned":{"$tensor":"turned"},"answer":42}"#);
    let numbers: Vec<i64> =
        told[8 + length..].as_chunks::<8>().0.iter().map(|number| i64::from_le_bytes(*number)).collect();
    assert_eq!(numbers, [0, 3, 1, 4, 2, 5]);

    let shown = client.get_job(under(key, GetJobRequest { job_id: id.clone() })).await.unwrap().into_inner();
    assert_eq!((shown.state(), shown.result_bytes), (JobState::Completed, Some(written.len() as u64)));
    let completed = ListJobsRequest { state: JobState::Completed.into(), ..ListJobsRequest::default() };
    let listed = client.list_jobs(under(key, completed)).await.unwrap().into_inner();
    assert_eq!(listed.jobs, [shown]);
}

async fn whole(mut pieces: tonic::Streaming<ResultPiece>) -> ((ResultFormat, u64), Vec<u8>) {
    let head = pieces.message().await.unwrap().unwrap().head.unwrap();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        assert_eq!(piece.head, None);
        whole.extend_from_slice(&piece.piece);
    }
    ((head.format(), head.bytes), whole)
}

#[tokio::test]
async fn what_is_refused_is_refused_by_both_in_the_same_words_and_says_when_to_come_again() {
    let settings = Settings { queued_jobs_per_tenant: 1, body_bytes: 1 << 20, ..Settings::default() };
    let site = Site::new(settings).await;
    let channel = channel(&site).await;
    let http = async |body: Vec<u8>, head: &str| {
        let head = format!("{FORM}ndif-api-key: key of ada\r\n{head}");
        site.ask("POST", "/request", &head, &body).await.detail()
    };
    let payload = pickle::payload(b"K\x07");
    let refused = submit(&channel, "key of ada", head(b"what is no pickle"), b"what is no pickle").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), http(form("", b"what is no pickle"), "").await);
    let other = String::from_utf8_lossy(&form("", &payload)).replace(MODEL, "o/other");
    let other_head = SubmitHead { model: "o/other".into(), ..head(&payload) };
    let refused = submit(&channel, "key of ada", other_head, &payload).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, http(other.into_bytes(), "").await.as_str()));
    let named = SubmitHead { idempotency_key: "ä".into(), ..head(&payload) };
    let refused = submit(&channel, "key of ada", named, &payload).await.unwrap_err();
    assert!(refused.message().contains("Idempotency-Key must be 1 to 128"), "{refused}");
    // Its size is what its head says, and no more.
    let lying = SubmitHead { payload_bytes: 5, ..head(&payload) };
    let refused = submit(&channel, "key of ada", lying, &payload).await.unwrap_err();
    assert!(refused.message().contains("more bytes than its head says"), "{refused}");
    let large = SubmitHead { payload_bytes: 2 << 20, ..head(&payload) };
    let refused = submit(&channel, "key of ada", large, &payload).await.unwrap_err();
    assert!(refused.message().contains("larger than the 1048576 bytes"), "{refused}");
    let unsaid = SubmitHead { payload_bytes: 0, ..head(&payload) };
    let refused = submit(&channel, "key of ada", unsaid, &vec![0; 6 << 20]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let named = || SubmitHead { idempotency_key: "once".into(), ..head(&payload) };
    let job = submit(&channel, "key of ada", named(), &payload).await.unwrap();
    let full = submit(&channel, "key of ada", head(&payload), &payload).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert_eq!(full.message(), http(form("", &payload), "").await);
    let again = full.get_details_retry_info().and_then(|info| info.retry_delay).unwrap();
    assert_eq!(again.as_secs(), 10);
    assert_eq!(full.get_details_error_info().unwrap().reason, "OWN_QUEUE_FULL");
    // Both ways know the same keys of submissions.
    site.dispatch(job.parse().unwrap(), 0).await;
    site.finish("ada", job.parse().unwrap(), 1, 10).await;
    while submit(&channel, "key of ada", head(&payload), &payload).await.is_err() {
        tokio::task::yield_now().await;
    }
    let reused = http(form("", &payload), "idempotency-key: once\r\n").await;
    assert!(reused.contains("once") || reused.contains("wait or run"), "{reused}");
}

#[tokio::test]
async fn a_submission_under_the_same_key_is_one_job() {
    let site = Site::new(Settings::default()).await;
    let channel = channel(&site).await;
    let payload = pickle::payload(b"K\x07");
    let named = || SubmitHead { idempotency_key: "once".into(), ..head(&payload) };
    let first = submit(&channel, "key of ada", named(), &payload).await.unwrap();
    assert_eq!(submit(&channel, "key of ada", named(), &payload).await.unwrap(), first);
    let other = pickle::payload(b"K\x08");
    let reused = submit(&channel, "key of ada", SubmitHead { payload_bytes: 0, ..named() }, &other).await.unwrap_err();
    assert_eq!(reused.code(), Code::FailedPrecondition, "{reused}");
}

#[tokio::test]
async fn acts_and_denials_are_in_the_audit_trail_as_those_of_http_are() {
    let store: Arc<dyn MetadataStore> = Arc::new(MemoryStore::new(1));
    let [site] = gateways(&store, ["one"], Settings::default()).await;
    let keys = Keys::new(Arc::clone(&store), &ServerSecret::load(store.as_ref()).await.unwrap());
    for (name, scope) in [("operator", Scope::Operate), ("auditor", Scope::Audit)] {
        keys.register(&Secret::new(name), Grant::new(TenantId::new(name), &[scope])).await.unwrap();
    }
    let channel = channel(&site).await;
    let mut client = JobsClient::new(channel.clone());
    let job_id = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job().to_string();
    let theirs = under("key of bob", GetJobRequest { job_id: job_id.clone() });
    assert_eq!(client.get_job(theirs).await.unwrap_err().code(), Code::NotFound);
    client.cancel_job(under("operator", CancelJobRequest { job_id: job_id.clone() })).await.unwrap();
    let trail = site.ask("GET", "/v1/audit", "authorization: Bearer auditor\r\n", b"").await.json();
    let entries = trail["entries"].as_array().unwrap();
    let of = |action: &str| entries.iter().find(|entry| entry["action"] == action).unwrap_or_else(|| panic!("{trail}"));
    let ended = of("POST /vitrine.v1.Jobs/CancelJob");
    assert!(
        ended["what"].as_str().unwrap().contains(&format!("asked for the end of the job {job_id} of ada")),
        "{ended}"
    );
    let denied = of("POST /vitrine.v1.Jobs/GetJob");
    assert_eq!((&denied["tenant"], &denied["status"]), (&"bob".into(), &404.into()), "{denied}");
}

#[tokio::test]
async fn anybody_learns_how_the_server_is_and_what_it_offers() {
    let site = Site::new(Settings::default()).await;
    let channel = channel(&site).await;
    let asked = || HealthCheckRequest { service: "vitrine.v1.Jobs".into() };
    let mut health = HealthClient::new(channel.clone());
    // It is found out a moment after the start.
    let status = async |health: &mut HealthClient<Channel>| {
        health.check(asked()).await.map(|answer| answer.into_inner().status())
    };
    while !matches!(status(&mut health).await, Ok(ServingStatus::Serving)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(health.watch(asked()).await.unwrap_err().code(), Code::Unauthenticated, "that would last");
    let mut watched = health.watch(under("key of ada", asked())).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    site.gateway.drain();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);

    let ask = MessageRequest::ListServices(String::new());
    let ask = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut told = reflection.server_reflection_info(futures::stream::iter([ask])).await.unwrap().into_inner();
    let told = format!("{:?}", told.message().await.unwrap().unwrap());
    assert!(told.contains("vitrine.v1.Jobs") && !told.contains("WorkerSessions"), "{told}");
}

#[tokio::test]
async fn a_stopping_gateway_ends_streams_with_a_word_that_says_to_go_on_elsewhere() {
    let site = Site::new(Settings::default()).await;
    let channel = channel(&site).await;
    let job_id = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job().to_string();
    let asked = under("key of ada", FollowJobRequest { job_id, after: String::new() });
    let mut events = JobsClient::new(channel.clone()).follow_job(asked).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    site.gateway.drain();
    let ended = events.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    let refused = submit(&channel, "key of ada", head(b""), b"").await.unwrap_err();
    assert_eq!(said(&ended).1, said(&refused).1);
}

#[tokio::test]
async fn who_connects_and_calls_nothing_has_to_leave_and_a_call_that_lasts_stays() {
    let site = Site::new(Settings { head_patience: Duration::from_millis(20), ..Settings::default() }).await;
    let address = site.by_grpc().await;
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let job = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job();
    let asked = under("key of ada", FollowJobRequest { job_id: job.to_string(), after: String::new() });
    let mut events = JobsClient::new(channel).follow_job(asked).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut heard = Vec::new();
    // To its end, however that comes.
    let _ = silent.read_to_end(&mut heard).await;
    site.dispatch(job, 0).await;
    site.finish("ada", job, 1, 10).await;
    let mut last = None;
    while let Some(event) = events.message().await.unwrap() {
        last = event.event;
    }
    let Some(Event::State(ended)) = last else { panic!("{last:?}") };
    assert_eq!(ended.state(), JobState::Completed);
}
