//! `/subscribe`: the websocket down which a blocking client hears of its one job.
//!
//! The order is the client's: a first frame with the session id, then a status for each change, then the result.
//! The job does not depend on the websocket: when the client vanishes, it runs on and can be polled.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::response::Response;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use ids::JobId;
use nnsight::{ResponseModel, Status};
use serde_json::json;
use store::{Change, JobRecord};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::authenticate::Caller;
use crate::session::Session;
use crate::{Error, Gateway, mebibytes, progress};

/// How often a quiet websocket is pinged, so that proxies keep it and a dead client is noticed.
const PING: Duration = Duration::from_secs(20);
/// How long a websocket without a valid key may stay: as long as a client needs to be refused.
const KEYLESS_IDLE: Duration = Duration::from_secs(10);
/// Bytes a client sends: control frames only.
const INCOMING_BYTES: usize = 16 << 10;
/// Bytes per second below which a reader is too slow for its frame.
const SLOWEST: u64 = 256 << 10;

/// Opens the websocket. A missing or wrong key is refused at the request that follows: there the client shows the
/// reason, here it would show a failed handshake.
pub async fn subscribe(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Error> {
    let permit = Arc::clone(&gateway.sockets).try_acquire_owned().map_err(|_| Error::Busy)?;
    let tenant = match caller {
        Caller::Known(principal) => Some(principal.tenant),
        Caller::Nobody | Caller::Unknown => None,
    };
    let idle = if tenant.is_some() { gateway.settings.socket_idle } else { KEYLESS_IDLE };
    let session = gateway.sessions.open(tenant, gateway.settings.sockets)?;
    let origin = progress::origin(&gateway, &headers);
    let upgrade = upgrade.max_message_size(INCOMING_BYTES).max_frame_size(INCOMING_BYTES);
    let followers = gateway.followers.clone();
    Ok(upgrade.on_upgrade(move |socket| {
        let (sink, stream) = socket.split();
        let subscriber = Subscriber { gateway, origin, idle, sink, _permit: permit };
        followers.track_future(async move {
            if let Err(gone) = subscriber.run(session, stream).await {
                tracing::debug!(reason = %gone.0, "websocket closed early");
            }
        })
    }))
}

/// The sending half of one websocket.
struct Subscriber {
    gateway: Arc<Gateway>,
    origin: String,
    /// How long it waits for its request.
    idle: Duration,
    sink: SplitSink<WebSocket, Message>,
    _permit: OwnedSemaphorePermit,
}

/// Why the client hears no more.
struct Gone(&'static str);

impl Subscriber {
    async fn run(mut self, mut session: Session, mut stream: SplitStream<WebSocket>) -> Result<(), Gone> {
        self.send(Message::text(json!({ "session_id": session.id }).to_string())).await?;
        let gateway = Arc::clone(&self.gateway);
        let job = tokio::select! {
            // Cancel safe: the receiver stays, and closing drops nothing.
            job = timeout(self.idle, &mut session.job) => match job {
                Ok(Ok(job)) => job,
                Ok(Err(_)) => return self.close(close_code::NORMAL, "the request was refused").await,
                Err(_) => return self.close(close_code::POLICY, "no request came").await,
            },
            () = closed(&mut stream) => return Ok(()),
            () = gateway.closing.cancelled() => return self.close(close_code::AWAY, "the server is stopping").await,
        };
        drop(session);
        self.follow(job, &mut stream).await?;
        // The client closes once it has read its last frame; closing first could cut that off.
        let _ = timeout(gateway.settings.socket_patience, closed(&mut stream)).await;
        Ok(())
    }

    /// Sends every change of a job until its end.
    async fn follow(&mut self, job: JobId, stream: &mut SplitStream<WebSocket>) -> Result<(), Gone> {
        let gateway = Arc::clone(&self.gateway);
        let mut follow = match self.gateway.jobs.follow(job, 0).await {
            Ok(follow) => follow,
            Err(error) => return self.fail(job, &error).await,
        };
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        loop {
            // Cancel safe: `Follow::next` says so, reading a websocket and ticking are. In this order, so that
            // what has happened is told before a stopping server ends the websocket.
            tokio::select! {
                biased;
                change = follow.next() => match change {
                    Ok(Some(change)) => self.tell(job, change).await?,
                    Ok(None) => return Ok(()),
                    Err(error) => return self.fail(job, &error).await,
                },
                () = closed(stream) => return Err(Gone("the client left before its job ended")),
                () = gateway.closing.cancelled() => return self.leave(job).await,
                _ = ping.tick() => self.send(Message::Ping(bytes::Bytes::new())).await?,
            }
        }
    }

    async fn tell(&mut self, job: JobId, change: Change) -> Result<(), Gone> {
        match change {
            Change::Log { text, .. } => {
                // The client prints each frame on a line of its own.
                for line in text.split('\n') {
                    self.send_text(&ResponseModel::new(job.to_string(), Status::Log, line)).await?;
                }
                Ok(())
            }
            Change::Record(record) => self.tell_state(&record).await,
        }
    }

    async fn tell_state(&mut self, record: &JobRecord) -> Result<(), Gone> {
        let response = progress::response(&self.gateway, record, &self.origin);
        let inline = progress::result(record).filter(|blob| blob.len() <= self.gateway.settings.inline_result_bytes);
        let Some(blob) = inline else { return self.send_text(&response).await };
        let gateway = Arc::clone(&self.gateway);
        // Twice its length: the bytes as stored, and the frame around a copy of them.
        let whole = mebibytes(gateway.settings.inline_memory_bytes);
        let memory = gateway.inline_memory.acquire_many(mebibytes(blob.len() * 2).min(whole)).await;
        let _memory = memory.map_err(|_| Gone("the server is stopping"))?;
        match gateway.objects.load(blob).await {
            Ok(bytes) => {
                let frame = nnsight::binary_frame(
                    &response.id,
                    response.status,
                    &response.description,
                    &bytes,
                    response.meta.as_ref(),
                );
                self.send(Message::binary(frame)).await
            }
            Err(error) => self.fail(record.id, &error).await,
        }
    }

    /// Tells the client that its job may be fine, but this server cannot say.
    async fn fail(&mut self, job: JobId, error: &store::Error) -> Result<(), Gone> {
        tracing::error!(%job, %error, "cannot follow a job");
        let text = "The server failed to read your job's state, which is no fault of your code; submit it again.";
        self.send_text(&ResponseModel::new(job.to_string(), Status::Error, text)).await
    }

    /// Tells the client that its job outlives this server. Only an error ends the client's wait.
    async fn leave(&mut self, job: JobId) -> Result<(), Gone> {
        let text = format!(
            "The server is stopping before your job has ended, which is no fault of your code. The job is kept and \
             runs when the server is back: fetch its result with RemoteBackend(model.to_model_key(), blocking=False, \
             job_id=\"{job}\")()."
        );
        self.send_text(&ResponseModel::new(job.to_string(), Status::Error, text)).await?;
        self.close(close_code::AWAY, "the server is stopping").await
    }

    async fn send_text(&mut self, response: &ResponseModel) -> Result<(), Gone> {
        let text = serde_json::to_string(response).map_err(|_| Gone("a status could not be written"))?;
        self.send(Message::text(text)).await
    }

    /// Sends a frame, and gives up on a client that does not read it.
    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        let bytes = match &message {
            Message::Binary(bytes) => bytes.len() as u64,
            _ => 0,
        };
        let patience = self.gateway.settings.socket_patience + Duration::from_secs(bytes / SLOWEST);
        match timeout(patience, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone("the connection broke")),
            Err(_) => Err(Gone("the client reads too slowly")),
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Gone> {
        self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await
    }
}

/// Resolves when the client has closed its end; what it sends meanwhile means nothing.
async fn closed(stream: &mut SplitStream<WebSocket>) {
    while let Some(Ok(message)) = stream.next().await {
        if matches!(message, Message::Close(_)) {
            return;
        }
    }
}
