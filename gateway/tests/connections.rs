//! A client that is slow or silent holds nobody up, and not for ever.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::{Grant, Keys, Links, Scope, Secret, ServerSecret};
use gateway::{Gateway, Settings, serve};
use ids::{JobId, KeyId, ModelKey, TenantId, WorkerId};
use store::job::Event;
use store::{Blob, JobRecord, Jobs, MetadataStore, Models, Objects, Place, RedbStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_millis(300);

struct Server {
    address: SocketAddr,
    /// A path under which 32 MiB can be had.
    long: String,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

async fn server(settings: Settings) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn MetadataStore> = Arc::new(RedbStore::open(folder.path().join("metadata.redb")).unwrap());
    let secret = ServerSecret::load(store.as_ref()).await.unwrap();
    let objects = Objects::local(folder.path().join("objects")).unwrap();
    let (keys, links) = (Keys::new(Arc::clone(&store), &secret), Links::new(&secret));
    keys.register(&Secret::new("key"), Grant::new(TenantId::new("ada"), &[Scope::Submit])).await.unwrap();
    let (jobs, id, tenant) = (Jobs::new(Arc::clone(&store)), JobId::new(), TenantId::new("ada"));
    let long = format!("/results/{id}?expires={}&signature={}", u32::MAX, links.sign(id, u32::MAX.into()));
    let result = objects.keep(&Place::result(&tenant, id, 1, 2), vec![0; 32 << 20].into()).await.unwrap();
    let empty = Blob::Inline(Default::default());
    jobs.accept(&JobRecord::queued(id, tenant, KeyId::new("k"), ModelKey::new("o/n", None), empty, 1)).await.unwrap();
    jobs.transition(id, 0, &Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 }, 2).await.unwrap();
    jobs.transition(id, 1, &Event::Finished { result, meta: "{}".into() }, 3).await.unwrap();
    let gateway = Gateway::new(jobs, objects, Models::new(store), keys, links, settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let ended = tokio::spawn(serve(listener, gateway, stop.clone().cancelled_owned()));
    Server { address, long, stop, ended, _folder: folder }
}

impl Server {
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

/// Reads until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // Closing with bytes unread resets the connection: that, too, is an end.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

const PING: &str = "GET /ping HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn unfinished_heads_give_their_room_to_the_next() {
    let server = server(Settings { connections: 3, head_patience: PATIENCE, ..Settings::default() }).await;
    let halves =
        [server.send("").await, server.send("GET /pi").await, server.send("GET /ping HTTP/1.1\r\nx-half: of a").await];
    // There is no room for a fourth before one of these is given up.
    assert!(rest(server.send(PING).await).await.ends_with("\"pong\""));
    for half in halves {
        assert_eq!(rest(half).await, "");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answers() {
    let server = server(Settings { head_patience: PATIENCE, ..Settings::default() }).await;
    let request = "GET /ping HTTP/1.1\r\nhost: h\r\n\r\n";
    let answers = rest(server.send(&request.repeat(2)).await).await;
    assert_eq!(answers.matches("\"pong\"").count(), 2);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_gives_its_room_to_the_next() {
    let server = server(Settings { connections: 1, socket_patience: PATIENCE, ..Settings::default() }).await;
    let unread = server.send(&format!("GET {} HTTP/1.1\r\nhost: h\r\n\r\n", server.long)).await;
    assert!(rest(server.send(PING).await).await.ends_with("\"pong\""));
    let mut unread = unread;
    let mut bytes = Vec::new();
    let _ = unread.read_to_end(&mut bytes).await;
    assert!((1..32 << 20).contains(&bytes.len()), "{} bytes came", bytes.len());
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = server(Settings::default()).await;
    let answer = rest(server.send(&format!("GET /ping HTTP/1.1\r\nx: {}", "y".repeat(80 << 10))).await).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn stopping_closes_what_is_idle_and_answers_what_was_asked() {
    let server = server(Settings::default()).await;
    let mut kept = server.send("GET /ping HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let mut byte = [0];
    kept.read_exact(&mut byte).await.unwrap();
    server.stop.cancel();
    assert!(rest(kept).await.ends_with("\"pong\""));
    server.ended.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_burst_of_requests_waits_for_its_turn() {
    let server = server(Settings { submissions: 1, ..Settings::default() }).await;
    let head = |length: usize| {
        format!(
            "POST /request HTTP/1.1\r\nhost: h\r\nndif-api-key: key\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    // Whichever of them is read first, none is refused for the other's sake.
    let slow = server.send(&head(1000)).await;
    let waiting = server.send(&head(0)).await;
    drop(slow);
    let answer = rest(waiting).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}
