//! Connections: as many as there is room for, and none that its client leaves hanging.

use std::pin::pin;
use std::sync::Arc;

use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::router;
use crate::{Gateway, Settings};

/// Bytes of a request's head; a longer one is answered with 431.
const HEAD_BYTES: usize = 64 << 10;

/// Serves until `stopped` resolves and the requests in flight are answered.
pub async fn serve(mut listener: TcpListener, gateway: Arc<Gateway>, stopped: impl Future<Output = ()>) {
    // Inherited by its connections: statuses are small frames that must not wait for one another.
    if let Err(error) = rustix::net::sockopt::set_tcp_nodelay(&listener, true) {
        tracing::debug!(%error, "cannot disable Nagle's algorithm");
    }
    let room = Arc::new(Semaphore::new(gateway.settings.connections));
    let (open, closing) = (TaskTracker::new(), CancellationToken::new());
    let http = http(&gateway.settings);
    let patience = gateway.settings.socket_patience;
    let service = TowerToHyperService::new(router(gateway));
    let mut stopped = pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => None,
            // Cancel safe: a connection that was not returned is still in the listener's queue.
            accepted = accept(&mut listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else { break };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(patience));
        let stream = TokioIo::new(Box::pin(stream));
        let connection = http.serve_connection(stream, service.clone()).with_upgrades();
        let closing = closing.clone();
        open.spawn(async move {
            // A websocket is bounded on its own, and holds no permit.
            let _permit = permit;
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended badly");
            }
        });
    }
    drop(listener);
    closing.cancel();
    open.close();
    open.wait().await;
}

fn http(settings: &Settings) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(settings.head_patience).max_buf_size(HEAD_BYTES);
    http
}

/// Waits for room first, so that what has none waits in the listener's queue.
async fn accept(listener: &mut TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    // This one retries what is not the listener's own failure, such as too many open files.
    let (stream, _) = Listener::accept(listener).await;
    Some((stream, permit))
}
