//! The methods: each reads its message, does what `/v1` does, and writes a message.

use std::sync::Arc;

use auth::{Principal, Scope};
use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use nnsight::RequestFields;
use proto::v1::jobs_server::Jobs;
use proto::v1::{
    CancelJobRequest, FetchResultRequest, FollowJobRequest, GetJobRequest, Job, JobEvent, ListJobsRequest,
    ListJobsResponse, Printed, ResultFormat, ResultHead, ResultPiece, SubmitHead, SubmitRequest, SubmitResponse,
    job_event,
};
use store::{Blob, Change, Position};
use tokio::time::timeout;
use tonic::{Code, Extensions, Request, Response, Status, Streaming};

use super::{MESSAGE_BYTES, shown, text};
use crate::authenticate::Caller;
use crate::metrics::Arrived;
use crate::submit::{Sent, Taken, take};
use crate::tensors::Tensors;
use crate::trail::Act;
use crate::upload::Coming;
use crate::v1::events::{Followed, follow};
use crate::v1::jobs::{RESULTS, Search, act_of_ending, find, onlooker, queue_time};
use crate::{Error, Gateway, job, progress, result};

/// Bytes of a result, or of printed text, in one message.
const PIECE: usize = 64 << 10;

/// The API over one gateway.
pub struct Service {
    gateway: Arc<Gateway>,
}

impl Service {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }

    async fn look(&self, caller: Caller, id: &str) -> Result<Job, Error> {
        let principal = onlooker(caller)?;
        let record = job::find(&self.gateway, &principal, id).await?;
        Ok(shown::job(&record, &principal, queue_time(&self.gateway).await?))
    }

    /// Ends a job. Returns what that was, too, where it is an act of administration.
    async fn end(&self, caller: Caller, id: &str) -> Result<(Job, Option<String>), Error> {
        let principal = onlooker(caller)?;
        let record = job::end(&self.gateway, &principal, id).await?;
        let act = act_of_ending(&principal, &record);
        Ok((shown::job(&record, &principal, queue_time(&self.gateway).await?), act))
    }

    async fn list(&self, caller: Caller, wanted: ListJobsRequest) -> Result<ListJobsResponse, Error> {
        let principal = onlooker(caller)?;
        let said = |text: String| (!text.is_empty()).then_some(text);
        let search = Search {
            state: shown::name(wanted.state)?,
            tenant: said(wanted.tenant).map(ids::TenantId::new),
            model: said(wanted.model),
            limit: (wanted.limit > 0).then_some(wanted.limit as usize),
            cursor: said(wanted.cursor),
        };
        let found = find(&self.gateway, &principal, search).await?;
        let jobs = found.jobs.iter().map(|record| shown::job(record, &principal, found.queue_time)).collect();
        Ok(ListJobsResponse { jobs, next: found.next.unwrap_or_default() })
    }

    async fn accept(&self, request: Request<Streaming<SubmitRequest>>) -> Result<SubmitResponse, Error> {
        let (metadata, extensions, mut messages) = request.into_parts();
        let caller = caller(&extensions);
        // Before anything is waited for.
        caller.clone().permitted(Scope::Submit)?;
        let first = timeout(self.gateway.settings.upload_patience, messages.message()).await;
        let first = first.map_err(|_| Error::TooSlow)?.map_err(|status| unread(&status))?;
        let Some(SubmitRequest { head: Some(head), payload }) = first else {
            return Err(Error::Malformed("the first message of a submission has its head".into()));
        };
        let rest = stream::try_unfold(messages, |mut messages| async move {
            let message = messages.message().await.map_err(|status| unread(&status))?;
            Ok::<_, Error>(message.map(|message| (message.payload, messages)))
        });
        let pieces = stream::once(std::future::ready(Ok(payload))).chain(rest);
        let sent = Sent {
            arrived: extensions.get::<Arrived>().map(|Arrived(at)| *at),
            traceparent: text(&metadata, "traceparent").map(str::to_owned),
            batching: None,
            announced: (head.payload_bytes > 0).then_some(head.payload_bytes),
            idempotency_key: (!head.idempotency_key.is_empty()).then(|| head.idempotency_key.clone().into()),
            coming: Coming::Apart { data: fields(head)?, blob: Body::from_stream(pieces) },
        };
        match take(Arc::clone(&self.gateway), caller, sent).await? {
            Taken::Job(id) => Ok(SubmitResponse { job_id: id.to_string() }),
            // Nobody waits at a websocket for what is submitted here.
            Taken::Raised(_, text) => Err(Error::Program(text)),
        }
    }

    async fn tell(&self, caller: Caller, asked: FollowJobRequest) -> Result<Events, Error> {
        let followed = follow(&self.gateway, caller, &asked.job_id, Some(&asked.after)).await?;
        let Some(Followed { principal, queue_time, changes }) = followed else { return Ok(stream::empty().boxed()) };
        let told = changes.map(move |change| {
            let events: Vec<Result<JobEvent, Status>> = match change {
                Ok((change, position)) => {
                    events(change, &position, &principal, queue_time).into_iter().map(Ok).collect()
                }
                Err(error) => vec![Err(error.into())],
            };
            stream::iter(events)
        });
        Ok(told.flatten().boxed())
    }

    async fn fetch(&self, caller: Caller, asked: FetchResultRequest) -> Result<Pieces, Error> {
        let (principal, record) = job::private(&self.gateway, caller, &asked.job_id, RESULTS).await?;
        let head = |format: ResultFormat, bytes, compressed| {
            let head = ResultHead { format: format.into(), bytes, compressed };
            stream::once(std::future::ready(Ok::<_, Status>(ResultPiece { head: Some(head), piece: Bytes::new() })))
        };
        let pieces = match ResultFormat::try_from(asked.format) {
            Ok(ResultFormat::Client) => {
                let whole = result::bytes(&self.gateway, &record).await?;
                let pieces = whole.into_body().into_data_stream().map_err(|error| {
                    tracing::debug!(%error, "a result is cut short");
                    Status::from(Error::ObjectsAway)
                });
                let pieces = pieces.map_ok(|piece| stream::iter(cut(piece))).try_flatten();
                let length = progress::result(&record).map_or(0, Blob::len);
                head(ResultFormat::Client, length, record.client.compress).chain(pieces).boxed()
            }
            Ok(ResultFormat::Safetensors | ResultFormat::Unspecified) => {
                let tensors = Tensors::of(&self.gateway, &principal, &record).await?;
                let head = head(ResultFormat::Safetensors, tensors.length(), false);
                head.chain(tensors.pieces(PIECE).map(|piece| Ok(ResultPiece { head: None, piece }))).boxed()
            }
            Err(_) => {
                return Err(Error::Unfit(format!("{} is no format of results that this server knows", asked.format)));
            }
        };
        Ok(pieces)
    }
}

type Events = BoxStream<'static, Result<JobEvent, Status>>;
type Pieces = BoxStream<'static, Result<ResultPiece, Status>>;

#[tonic::async_trait]
impl Jobs for Service {
    async fn submit(&self, request: Request<Streaming<SubmitRequest>>) -> Result<Response<SubmitResponse>, Status> {
        Ok(Response::new(self.accept(request).await?))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<Job>, Status> {
        let (caller, asked) = apart(request);
        Ok(Response::new(self.look(caller, &asked.job_id).await?))
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        let (caller, asked) = apart(request);
        Ok(Response::new(self.list(caller, asked).await?))
    }

    async fn cancel_job(&self, request: Request<CancelJobRequest>) -> Result<Response<Job>, Status> {
        let (caller, asked) = apart(request);
        let (job, act) = self.end(caller, &asked.job_id).await?;
        let mut response = Response::new(job);
        if let Some(act) = act {
            tracing::info!("{act}");
            response.extensions_mut().insert(Act(act));
        }
        Ok(response)
    }

    type FollowJobStream = Events;

    async fn follow_job(&self, request: Request<FollowJobRequest>) -> Result<Response<Events>, Status> {
        let (caller, asked) = apart(request);
        Ok(Response::new(self.tell(caller, asked).await?))
    }

    type FetchResultStream = Pieces;

    async fn fetch_result(&self, request: Request<FetchResultRequest>) -> Result<Response<Pieces>, Status> {
        let (caller, asked) = apart(request);
        Ok(Response::new(self.fetch(caller, asked).await?))
    }
}

/// Returns who asks, and for what.
fn apart<T>(request: Request<T>) -> (Caller, T) {
    let (_, extensions, asked) = request.into_parts();
    (caller(&extensions), asked)
}

fn caller(extensions: &Extensions) -> Caller {
    extensions.get::<Caller>().cloned().unwrap_or(Caller::Nobody)
}

/// Writes what nnsight's client sends beside its payload.
fn fields(head: SubmitHead) -> Result<Bytes, Error> {
    let model_key = match head.model.contains(":{") {
        true => head.model,
        false => {
            let model = crate::v1::jobs::model(&head.model);
            let key = serde_json::json!({ "repo_id": model.repo_id(), "revision": model.revision() });
            format!("vitrine:{key}")
        }
    };
    let env = head.env.into_iter().map(|(name, value)| (name, value.into())).collect();
    let fields = RequestFields { model_key, session_id: String::new(), compress: head.compressed, env };
    serde_json::to_vec(&fields).map(Bytes::from).map_err(Error::internal)
}

/// Tells why a message could not be read from what gRPC says of it.
fn unread(status: &Status) -> Error {
    Error::Malformed(match status.code() {
        Code::OutOfRange => {
            format!("a message of a submission has at most {MESSAGE_BYTES} bytes; send the payload in several")
        }
        _ => format!("the submission ended early: {}", status.message()),
    })
}

/// Writes what happened to a job. What goes on behind all of it is in the last.
fn events(change: Change, position: &Position, principal: &Principal, queue_time: Option<u64>) -> Vec<JobEvent> {
    let mut events: Vec<JobEvent> = match change {
        Change::Record(record) => {
            let state = job_event::Event::State(shown::job(&record, principal, queue_time));
            vec![JobEvent { id: String::new(), event: Some(state) }]
        }
        Change::Log { attempt, text } => {
            let printed = |text: &str| job_event::Event::Printed(Printed { attempt, text: text.into() });
            texts(&text).map(|text| JobEvent { id: String::new(), event: Some(printed(text)) }).collect()
        }
    };
    if let Some(last) = events.last_mut() {
        last.id = position.to_string();
    }
    events
}

/// Cuts a text, of which there is one piece at least.
fn texts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest?;
        let (piece, after) = all.split_at(all.floor_char_boundary(PIECE));
        rest = (!after.is_empty()).then_some(after);
        Some(piece)
    })
}

/// Cuts bytes into messages.
fn cut(mut bytes: Bytes) -> impl Iterator<Item = Result<ResultPiece, Status>> + Send {
    std::iter::from_fn(move || {
        let length = bytes.len().min(PIECE);
        (length > 0).then(|| Ok(ResultPiece { head: None, piece: bytes.split_to(length) }))
    })
}
