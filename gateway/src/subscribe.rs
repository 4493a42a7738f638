//! `/subscribe`: the websocket down which a blocking client hears of its one job.
//!
//! The order is the client's: a first frame with the session id, then a status for each change, then the result. What
//! changes within a few milliseconds is sent as one.
//! The job does not depend on the websocket: when the client vanishes, it runs on and can be polled.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::response::Response;
use futures::{SinkExt, StreamExt};
use ids::{JobId, TenantId};
use nnsight::{ResponseModel, Status};
use serde_json::json;
use store::{Change, Follow, JobRecord, aside};
use telemetry::metrics::Holding;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::authenticate::Caller;
use crate::budget::Held;
use crate::session::Session;
use crate::{Error, Gateway, metrics, progress};

/// How often a quiet websocket is pinged, so that proxies keep it and a dead client is noticed.
const PING: Duration = Duration::from_secs(20);
/// How often a job that waits for its model is looked at, to tell how that is.
const LOOK: Duration = Duration::from_secs(2);
/// How long a status waits for the next ones, to be sent with them. Of a job that ends sooner all are sent with its end.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a websocket without a valid key may stay: as long as a client needs to be refused.
const KEYLESS_IDLE: Duration = Duration::from_secs(10);
/// How long a store that failed is left alone.
const AWAY: Duration = Duration::from_millis(500);
/// Bytes a client sends: control frames only.
const INCOMING_BYTES: usize = 16 << 10;
/// Bytes that are made room for before each read.
const READ_BYTES: usize = 1 << 10;
/// Bytes that wait for others to be sent with.
const WRITE_BYTES: usize = 16 << 10;
/// Bytes of printed text in one frame.
const PIECE_BYTES: usize = 16 << 10;
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
    let (place, tenant, idle) = match caller {
        Caller::Known(principal) => {
            let held = gateway.sockets.try_take(&principal.tenant, 1)?;
            let counted = metrics::SOCKETS.hold(&["valid"]);
            (Place::Tenants { _held: held, _counted: counted }, Some(principal.tenant), gateway.settings.socket_idle)
        }
        Caller::Nobody | Caller::Unknown | Caller::Suspended(_) | Caller::Refused(_) => {
            let permit = Arc::clone(&gateway.keyless_sockets).try_acquire_owned().map_err(|_| Error::NoKey)?;
            let counted = metrics::SOCKETS.hold(&["none"]);
            (Place::Nobodys { _permit: permit, _counted: counted }, None, KEYLESS_IDLE)
        }
    };
    let session = gateway.sessions.open(tenant.clone(), idle)?;
    let origin = progress::origin(&gateway, &headers);
    let upgrade = upgrade.max_message_size(INCOMING_BYTES).max_frame_size(INCOMING_BYTES);
    let upgrade = upgrade.read_buffer_size(READ_BYTES).write_buffer_size(WRITE_BYTES);
    let followers = gateway.followers.clone();
    Ok(upgrade.on_upgrade(move |socket| {
        let subscriber = Subscriber {
            gateway,
            origin,
            tenant,
            idle,
            socket,
            unsent: 0,
            attempt: 1,
            waiting: None,
            result: None,
            _place: place,
        };
        followers.track_future(Box::pin(async move {
            if let Err(gone) = subscriber.run(session).await {
                tracing::debug!(reason = %gone.0, "websocket closed early");
            }
        }))
    }))
}

/// One websocket.
struct Subscriber {
    gateway: Arc<Gateway>,
    origin: String,
    /// Whose it is; `None` for nobody's.
    tenant: Option<TenantId>,
    /// How long it waits for its request.
    idle: Duration,
    socket: WebSocket,
    /// Bytes that were written and not yet sent.
    unsent: u64,
    /// The attempt whose lines were told last.
    attempt: u32,
    /// The job while it waits for its model, and what was told of that.
    waiting: Option<(Box<JobRecord>, String)>,
    /// The memory of a result, until the websocket is closed: its buffers keep what they grew to.
    result: Option<Held>,
    _place: Place,
}

/// A websocket's place among those that may be open.
enum Place {
    Tenants { _held: Held, _counted: Holding },
    Nobodys { _permit: OwnedSemaphorePermit, _counted: Holding },
}

/// Why the client hears no more.
struct Gone(&'static str);

impl Subscriber {
    async fn run(mut self, mut session: Session) -> Result<(), Gone> {
        self.write(Message::text(json!({ "session_id": session.id }).to_string())).await?;
        self.send().await?;
        let gateway = Arc::clone(&self.gateway);
        let (job, follow) = tokio::select! {
            // Cancel safe: the receiver stays, and closing drops nothing.
            told = timeout(self.idle, &mut session.job) => match told {
                Ok(Ok(told)) => told,
                Ok(Err(_)) => return self.close(close_code::NORMAL, "the request was refused").await,
                Err(_) => return self.close(close_code::POLICY, "no request came").await,
            },
            () = closed(&mut self.socket) => return Ok(()),
            () = gateway.closing.cancelled() => return self.close(close_code::AWAY, "the server is stopping").await,
        };
        drop(session);
        let following = gateway.gone.follow(job);
        let followed = self.follow(job, follow).await;
        drop(following);
        if followed.is_err() {
            gateway.gone.left(job);
        }
        followed?;
        // The client closes once it has read its last frame; closing first could cut that off.
        let _ = timeout(gateway.settings.socket_patience, closed(&mut self.socket)).await;
        Ok(())
    }

    /// Sends every change of a job until its end.
    async fn follow(&mut self, job: JobId, mut follow: Follow) -> Result<(), Gone> {
        let gateway = Arc::clone(&self.gateway);
        // When what is unsent, or else a ping, is due.
        let mut due = std::pin::pin!(sleep_until(Instant::now() + PING));
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Cancel safe: `next` says so, reading a websocket and sleeping are. In this order, so that
            // what has happened is told before a stopping server ends the websocket.
            tokio::select! {
                biased;
                change = next(&mut follow) => match change {
                    Ok(Some(change)) => {
                        if self.unsent == 0 {
                            due.as_mut().reset(Instant::now() + PAUSE);
                        }
                        self.tell(job, change).await?;
                    }
                    Ok(None) => return self.send().await,
                    Err(error) => return self.fail(job, &error).await,
                },
                () = closed(&mut self.socket) => return Err(Gone("the client left before its job ended")),
                _ = looks.tick(), if self.waiting.is_some() => {
                    if self.tell_wait().await? {
                        due.as_mut().reset(Instant::now() + PAUSE);
                    }
                }
                () = gateway.closing.cancelled() => return self.leave(job).await,
                () = due.as_mut() => {
                    if self.unsent == 0 {
                        self.write(Message::Ping(bytes::Bytes::new())).await?;
                    }
                    self.send().await?;
                    due.as_mut().reset(Instant::now() + PING);
                }
            }
        }
    }

    async fn tell(&mut self, job: JobId, change: Change) -> Result<(), Gone> {
        match change {
            Change::Log { attempt, text } => {
                if attempt > self.attempt {
                    self.attempt = attempt;
                    let text =
                        format!("[attempt {attempt} of this job begins: the lines above are of one that was lost]");
                    self.tell_line(job, &text).await?;
                }
                // A frame for each line would cost the more the shorter they are.
                for piece in store::pieces(&text, PIECE_BYTES) {
                    self.tell_line(job, piece).await?;
                }
                Ok(())
            }
            Change::Record(record) => {
                let delivering = record.trace.filter(|_| record.state.terminal()).map(|trace| trace.step("deliver"));
                self.tell_state(&record).await?;
                if let Some(delivering) = delivering {
                    self.send().await?;
                    delivering.end();
                }
                Ok(())
            }
        }
    }

    async fn tell_line(&mut self, job: JobId, text: &str) -> Result<(), Gone> {
        self.write_text(&ResponseModel::new(job.to_string(), Status::Log, text)).await
    }

    /// Tells why the job still waits for its model, if that is something new. Returns whether it is.
    async fn tell_wait(&mut self) -> Result<bool, Gone> {
        let Some((record, told)) = &mut self.waiting else { return Ok(false) };
        match progress::wait(&self.gateway, record) {
            Some(why) if why != *told => {
                *told = why;
                let response = progress::response(&self.gateway, record, &self.origin);
                self.write_text(&response).await.map(|()| true)
            }
            Some(_) => Ok(false),
            None => {
                self.waiting = None;
                Ok(false)
            }
        }
    }

    async fn tell_state(&mut self, record: &JobRecord) -> Result<(), Gone> {
        self.waiting = progress::wait(&self.gateway, record).map(|why| (Box::new(record.clone()), why));
        let response = progress::response(&self.gateway, record, &self.origin);
        let inline = progress::result(record).filter(|blob| blob.len() <= self.gateway.settings.inline_result_bytes);
        let Some((blob, held)) = inline.and_then(|blob| Some((blob, self.room(blob.len())?))) else {
            return self.write_text(&response).await;
        };
        self.result = Some(held);
        match self.gateway.objects.load(blob).await {
            Ok(bytes) => {
                let frame = move || {
                    let ResponseModel { id, status, description, meta, .. } = response;
                    nnsight::binary_frame(&id, status, &description, &bytes, meta.as_ref())
                };
                let frame = aside(blob.len(), frame).await.map_err(|_| Gone("a result could not be written"))?;
                self.write(Message::binary(frame)).await?;
                metrics::RESULTS.with(&["inline"]).one();
                metrics::RESULT_BYTES.with(&["inline"]).add(blob.len());
                self.send().await
            }
            // It may be there again by the time that the client follows the link.
            Err(error @ (store::Error::Failed { .. } | store::Error::Unavailable { .. })) => {
                tracing::warn!(job = %record.id, %error, "a result cannot be read; its link is given");
                self.write_text(&response).await
            }
            Err(error) => self.fail(record.id, &error).await,
        }
    }

    /// Takes memory for a result of so many bytes, as stored and in the frame around a copy of them. Nobody waits for
    /// it: where there is none, the result is given as a link.
    fn room(&self, bytes: u64) -> Option<Held> {
        self.gateway.inline_memory.try_take(self.tenant.as_ref()?, bytes * 2).ok()
    }

    /// Tells the client that its job may be fine, but this server cannot say.
    async fn fail(&mut self, job: JobId, error: &store::Error) -> Result<(), Gone> {
        tracing::error!(%job, %error, "cannot follow a job");
        let text = "The server failed to read your job's state, which is no fault of your code; submit it again.";
        self.write_text(&ResponseModel::new(job.to_string(), Status::Error, text)).await?;
        self.send().await
    }

    /// Tells the client that its job outlives this server. Only an error ends the client's wait.
    async fn leave(&mut self, job: JobId) -> Result<(), Gone> {
        let text = format!(
            "The server is stopping before your job has ended, which is no fault of your code. The job is kept and \
             runs when the server is back: fetch its result with RemoteBackend(model.to_model_key(), blocking=False, \
             job_id=\"{job}\")()."
        );
        self.write_text(&ResponseModel::new(job.to_string(), Status::Error, text)).await?;
        self.close(close_code::AWAY, "the server is stopping").await
    }

    async fn write_text(&mut self, response: &ResponseModel) -> Result<(), Gone> {
        let text = serde_json::to_string(response).map_err(|_| Gone("a status could not be written"))?;
        self.write(Message::text(text)).await
    }

    /// Writes a frame, to be sent with the next ones or before.
    async fn write(&mut self, message: Message) -> Result<(), Gone> {
        self.unsent += match &message {
            Message::Binary(bytes) => bytes.len() as u64,
            Message::Text(text) => text.len() as u64,
            _ => 1,
        };
        patient(self.patience(), self.socket.feed(message)).await
    }

    /// Sends what was written.
    async fn send(&mut self) -> Result<(), Gone> {
        patient(self.patience(), self.socket.flush()).await?;
        self.unsent = 0;
        Ok(())
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Gone> {
        self.write(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
        self.send().await
    }

    /// Returns how long the client may take to read what is unsent.
    fn patience(&self) -> Duration {
        self.gateway.settings.socket_patience + Duration::from_secs(self.unsent / SLOWEST)
    }
}

/// Gives up on a client that does not read.
async fn patient(patience: Duration, sent: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Gone> {
    match timeout(patience, sent).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Gone("the connection broke")),
        Err(_) => Err(Gone("the client reads too slowly")),
    }
}

/// Returns a job's next change. Where the store is away, it waits until that is back.
///
/// Cancel safe, as [`Follow::next`] is: who failed goes on where it was.
async fn next(follow: &mut Follow) -> Result<Option<Change>, store::Error> {
    loop {
        match follow.next().await {
            Err(store::Error::Unavailable { reason, .. }) => {
                tracing::debug!(reason, "a job cannot be followed for now");
                sleep(AWAY).await;
            }
            told => return told,
        }
    }
}

/// Resolves when the client has closed its end; what it sends meanwhile means nothing.
async fn closed(socket: &mut WebSocket) {
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Close(_)) {
            return;
        }
    }
}
