//! Connections: as many as there is room for, and none that its client leaves hanging.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;

use crate::app::router;
use crate::authenticate::Peer;
use crate::{Error, Gateway};

/// Bytes of a request's head; a longer one is answered with 431.
const HEAD_BYTES: usize = 64 << 10;

/// Serves until `stopped` resolves and the requests in flight are answered; over TLS where there is a certificate.
///
/// # Errors
/// When what follows the store has ended, which only a fault of this program does.
pub async fn serve(
    mut listener: TcpListener,
    tls: Option<tls::Server>,
    gateway: Arc<Gateway>,
    stopped: impl Future<Output = ()>,
) -> Result<(), Error> {
    // Inherited by its connections: statuses are small frames that must not wait for one another.
    if let Err(error) = rustix::net::sockopt::set_tcp_nodelay(&listener, true) {
        tracing::debug!(%error, "cannot disable Nagle's algorithm");
    }
    let room = Arc::new(Semaphore::new(gateway.settings.connections));
    let (open, closing) = (TaskTracker::new(), CancellationToken::new());
    let (head_patience, crowded) = (gateway.settings.head_patience, gateway.settings.head_patience_crowded);
    // Under so many free places, who asks for nothing leaves sooner.
    let few = gateway.settings.connections / 4;
    let patience = gateway.settings.socket_patience;
    let mut tracking = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.keep().await }
    });
    let router = router(gateway);
    let mut stopped = pin!(stopped);
    let ended = loop {
        let accepted = tokio::select! {
            () = &mut stopped => None,
            ended = &mut tracking => break Err(Error::internal(format!("the store is no longer followed: {ended:?}"))),
            // Cancel safe: a connection that was not returned is still in the listener's queue.
            accepted = accept(&mut listener, &room) => accepted,
        };
        let Some((stream, address, permit)) = accepted else { break Ok(()) };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(patience));
        let head_patience = if room.available_permits() < few { crowded } else { head_patience };
        let connection = Connection {
            router: router.clone(),
            peer: Peer(address.ip()),
            tls: tls.clone(),
            head_patience,
            closing: closing.clone(),
        };
        // In its place from the start: spawning moves what it is given again and again.
        open.spawn(Box::pin(async move {
            // A websocket is bounded on its own, and holds no permit.
            let _permit = permit;
            connection.run(Box::pin(stream)).await;
        }));
    };
    drop(listener);
    closing.cancel();
    open.close();
    open.wait().await;
    tracking.abort();
    ended
}

/// One connection.
struct Connection {
    router: Router,
    peer: Peer,
    tls: Option<tls::Server>,
    head_patience: Duration,
    closing: CancellationToken,
}

type Plain = Pin<Box<TimeoutStream<TcpStream>>>;

impl Connection {
    async fn run(self, stream: Plain) {
        let stream = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => match timeout(self.head_patience, tls.accept(stream)).await {
                Ok(Ok(stream)) => Either::Right(stream),
                Ok(Err(error)) => return tracing::debug!(%error, "no TLS session came about"),
                Err(_) => return tracing::debug!("a client took too long over its TLS session"),
            },
        };
        let peer = self.peer;
        let told = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request
        };
        let service = TowerToHyperService::new(ServiceBuilder::new().map_request(told).service(self.router));
        let connection = http(self.head_patience).serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
    }
}

fn http(head_patience: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_patience).max_buf_size(HEAD_BYTES);
    http
}

/// Waits for room first, so that what has none waits in the listener's queue.
async fn accept(
    listener: &mut TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    // This one retries what is not the listener's own failure, such as too many open files.
    let (stream, address) = Listener::accept(listener).await;
    Some((stream, address, permit))
}
