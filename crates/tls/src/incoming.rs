//! Connections from a port, once their TLS sessions are agreed on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use crate::Server;

/// Sessions that are agreed on at once; more wait to be accepted.
const AT_ONCE: usize = 64;

/// How long agreeing may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time before a port is tried again that cannot accept, as where there are too many open files.
const AGAIN: Duration = Duration::from_millis(100);

impl Server {
    /// Yields the connections of a port whose sessions were agreed on, until it is dropped. One that dawdles, or is
    /// refused, holds up no other.
    pub fn incoming(self, listener: TcpListener) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> + Send {
        let (agreed, incoming) = mpsc::channel(AT_ONCE);
        tokio::spawn(async move {
            let room = Arc::new(Semaphore::new(AT_ONCE));
            while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
                // Cancel safe: a connection that was not returned is still in the listener's queue.
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = agreed.closed() => return,
                };
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(AGAIN).await;
                        continue;
                    }
                };
                let (server, agreed) = (self.clone(), agreed.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot disable Nagle's algorithm");
                    }
                    match timeout(PATIENCE, server.accept(stream)).await {
                        // Nobody takes it when everything stops.
                        Ok(Ok(stream)) => drop(agreed.send(Ok(stream)).await),
                        Ok(Err(error)) => tracing::warn!(%error, "a connection was refused"),
                        Err(_) => tracing::debug!("a connection was not agreed on in time"),
                    }
                });
            }
        });
        ReceiverStream::new(incoming)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::dev::Authority;
    use crate::{Client, Role, Server};

    use super::*;

    #[tokio::test]
    async fn who_says_nothing_and_who_is_refused_hold_up_nobody() {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new().unwrap());
        let files = |role| authority.write(folder.path(), role, &[]).unwrap();
        let server = Server::mutual(files(Role::Scheduler), b"h2", &[Role::Worker]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = Box::pin(server.incoming(listener));
        let _silent = TcpStream::connect(address).await.unwrap();
        let stranger = Client::open(&files(Role::Objects), b"h2").unwrap();
        let refused = TcpStream::connect(address).await.unwrap();
        // Its own end is agreed on before the server looks at its role.
        let _refused = stranger.connect(Role::Scheduler, refused).await;
        let worker = Client::open(&files(Role::Worker), b"h2").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = worker.connect(Role::Scheduler, stream).await.unwrap();
        let mut taken = incoming.next().await.unwrap().unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        taken.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    }
}
