//! Connections: as many as there is room for, and none that its client leaves hanging.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{ServiceBuilder, ServiceExt};

use crate::app::router;
use crate::authenticate::Peer;
use crate::strangers::{Stranger, Strangers};
use crate::{Error, Gateway, grpc};

/// Bytes of a request's head; a longer one is answered with 431.
const HEAD_BYTES: usize = 32 << 10;

/// How long whoever has a key may take to show it before another gets their room, where all of it is taken.
const SETTLED: Duration = Duration::from_millis(250);

/// Of HTTP/2: calls at once on one connection, bytes that a client may send ahead of being read, and bytes of an answer that
/// wait to be sent.
const CALLS: u32 = 128;
const WINDOW: u32 = 256 << 10;
const UNSENT: usize = 64 << 10;
/// How often a quiet connection of HTTP/2 is asked whether its client is there.
const PING: Duration = Duration::from_secs(20);
/// How many times as long as one of HTTP/1.1 it may have no call: clients keep it for the next, and dial anew without a word.
const IDLE: u32 = 10;

/// Serves until `stopped` resolves and the requests in flight are answered; over TLS where there is a certificate.
///
/// # Errors
/// When what follows the store has ended, which only a fault of this program does.
pub async fn serve(
    listener: TcpListener,
    tls: Option<tls::Server>,
    gateway: Arc<Gateway>,
    stopped: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut tracking = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.keep().await }
    });
    let door = Door { tls, router: router(Arc::clone(&gateway)), speaks: Speaks::Http1 };
    let closing = CancellationToken::new();
    let until = async {
        let ended = tokio::select! {
            () = stopped => Ok(()),
            ended = &mut tracking => Err(Error::internal(format!("the store is no longer followed: {ended:?}"))),
        };
        closing.cancel();
        ended
    };
    let (ended, ()) = tokio::join!(until, door.open(listener, &gateway, &closing));
    tracking.abort();
    ended
}

/// Serves the same by gRPC, beside [`serve`], which keeps what the gateway knows.
///
/// # Errors
/// When the API cannot be described, which only a fault of this program does.
pub async fn serve_grpc(
    listener: TcpListener,
    tls: Option<tls::Server>,
    gateway: Arc<Gateway>,
    stopped: impl Future<Output = ()>,
) -> Result<(), Error> {
    let health = tonic_health::server::HealthReporter::new();
    let door = Door { tls, router: grpc::router(&gateway, &health)?, speaks: Speaks::Http2 };
    let closing = CancellationToken::new();
    let until = async {
        tokio::select! {
            () = stopped => {}
            () = grpc::tell(&gateway, &health) => {}
        }
        closing.cancel();
    };
    tokio::join!(until, door.open(listener, &gateway, &closing));
    Ok(())
}

/// What a port speaks. Not both on one: a connection of HTTP/1.1 is bounded by its one request, and one of HTTP/2 by its
/// calls; and whoever stands in front is told by port what to speak.
#[derive(Clone, Copy)]
enum Speaks {
    Http1,
    Http2,
}

/// A port, and what is behind it.
struct Door {
    tls: Option<tls::Server>,
    router: Router,
    speaks: Speaks,
}

impl Door {
    /// Serves whoever comes, until `closing` is cancelled and those who are there have been answered.
    async fn open(self, mut listener: TcpListener, gateway: &Gateway, closing: &CancellationToken) {
        // Inherited by its connections: statuses are small frames that must not wait for one another.
        if let Err(error) = rustix::net::sockopt::set_tcp_nodelay(&listener, true) {
            tracing::debug!(%error, "cannot disable Nagle's algorithm");
        }
        let settings = &gateway.settings;
        let room = Arc::new(Semaphore::new(settings.connections));
        let strangers = Strangers::new(settings.connections / 4);
        // Under so many free places, who asks for nothing leaves sooner.
        let few = settings.connections / 4;
        let open = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = closing.cancelled() => None,
                // Cancel safe: who has come when it is too late may come elsewhere.
                accepted = accept(&mut listener, &room, &strangers) => accepted,
            };
            let Some((stream, address, permit)) = accepted else { break };
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(settings.socket_patience));
            let crowded = room.available_permits() < few;
            let (stranger, ended) = strangers.enter(address.ip());
            let connection = Connection {
                router: self.router.clone(),
                peer: Peer(address.ip()),
                stranger,
                tls: self.tls.clone(),
                head_patience: if crowded { settings.head_patience_crowded } else { settings.head_patience },
                patience: settings.socket_patience,
                closing: closing.clone(),
            };
            let speaks = self.speaks;
            // In its place from the start: spawning moves what it is given again and again.
            open.spawn(Box::pin(async move {
                // A websocket is bounded on its own, and holds no permit.
                let _permit = permit;
                ended.run_until_cancelled(connection.run(Box::pin(stream), speaks)).await;
            }));
        }
        drop(listener);
        open.close();
        open.wait().await;
    }
}

/// What bytes come and go by.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// One connection.
struct Connection {
    router: Router,
    peer: Peer,
    stranger: Stranger,
    tls: Option<tls::Server>,
    head_patience: Duration,
    /// How long a client may take over what it is sent.
    patience: Duration,
    closing: CancellationToken,
}

type Plain = Pin<Box<TimeoutStream<TcpStream>>>;

impl Connection {
    async fn run(self, stream: Plain, speaks: Speaks) {
        let stream = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => match timeout(self.head_patience, tls.accept(stream)).await {
                Ok(Ok(stream)) => Either::Right(stream),
                Ok(Err(error)) => return tracing::debug!(%error, "no TLS session came about"),
                Err(_) => return tracing::debug!("a client took too long over its TLS session"),
            },
        };
        let ended = match speaks {
            Speaks::Http1 => self.http1(stream).await,
            Speaks::Http2 => self.http2(stream).await,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
    }

    async fn http1(self, stream: impl Stream) -> hyper::Result<()> {
        let (peer, stranger) = (self.peer, self.stranger);
        let told = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(stranger.clone());
            request
        };
        let service = TowerToHyperService::new(ServiceBuilder::new().map_request(told).service(self.router));
        let connection = http(self.head_patience).serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }

    async fn http2(self, stream: impl Stream) -> hyper::Result<()> {
        let (peer, stranger) = (self.peer, self.stranger);
        let (calls, idle) = watch::channel(0_usize);
        let service = tower::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(stranger.clone());
            let call = Call::begin(&calls);
            let answered = self.router.clone().oneshot(request);
            async move { answered.await.map(|response| grpc::holding(response, call)) }
        });
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(CALLS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(UNSENT)
            .max_header_list_size(HEAD_BYTES as u32)
            .keep_alive_interval(Some(PING))
            .keep_alive_timeout(self.patience);
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut connection = pin!(connection);
        let patience = tokio::select! {
            ended = connection.as_mut() => return ended,
            // What is under way is answered, to who reads it.
            () = self.closing.cancelled() => self.patience,
            () = unused(idle, self.head_patience * IDLE) => self.head_patience,
        };
        connection.as_mut().graceful_shutdown();
        timeout(patience, connection).await.unwrap_or(Ok(()))
    }
}

/// One call of a connection, until its answer is sent.
struct Call(watch::Sender<usize>);

impl Call {
    fn begin(calls: &watch::Sender<usize>) -> Self {
        calls.send_modify(|calls| *calls += 1);
        Self(calls.clone())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

/// Resolves when there has been no call for a while.
async fn unused(mut calls: watch::Receiver<usize>, patience: Duration) {
    // What cannot fail, while the connection has the other end.
    while calls.wait_for(|calls| *calls == 0).await.is_ok() {
        if timeout(patience, calls.changed()).await.is_err() {
            return;
        }
    }
}

fn http(head_patience: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_patience).max_buf_size(HEAD_BYTES);
    http
}

/// Waits for a connection, and for room. A stranger makes room, if there is one; where all are known, the next ones wait in the
/// listener's queue.
async fn accept(
    listener: &mut TcpListener,
    room: &Arc<Semaphore>,
    strangers: &Strangers,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // This one retries what is not the listener's own failure, such as too many open files.
    let (stream, address) = Listener::accept(listener).await;
    loop {
        if room.available_permits() == 0 {
            strangers.make_room(SETTLED);
        }
        if let Ok(permit) = timeout(SETTLED, Arc::clone(room).acquire_owned()).await {
            return Some((stream, address, permit.ok()?));
        }
    }
}
