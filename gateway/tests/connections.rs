//! A client that is slow or silent holds nobody up, and not for ever.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::{Grant, Keys, Links, Scope, Secret, ServerSecret, SessionIds};
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
    let sessions = SessionIds::new(&secret, "one");
    for (key, tenant) in [("key", "ada"), ("key of bob", "bob"), ("key of eve", "eve")] {
        keys.register(&Secret::new(key), Grant::new(TenantId::new(tenant), &[Scope::Submit])).await.unwrap();
    }
    let (jobs, id, tenant) = (Jobs::new(Arc::clone(&store)), JobId::new(), TenantId::new("ada"));
    let long = format!("/results/{id}?expires={}&signature={}", u32::MAX, links.sign(id, u32::MAX.into()));
    let result = objects.keep(&Place::result(&tenant, id, 1, 2), vec![0; 32 << 20].into()).await.unwrap();
    let empty = Blob::Inline(Default::default());
    jobs.accept(&JobRecord::queued(id, tenant, KeyId::new("k"), ModelKey::new("o/n", None), empty, 1)).await.unwrap();
    jobs.transition(id, 0, &Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 }, 2).await.unwrap();
    jobs.transition(id, 1, &Event::Finished { result, meta: "{}".into() }, 3).await.unwrap();
    let gateway = Gateway::new(jobs, objects, Models::new(store), keys, links, sessions, settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let ended = tokio::spawn({
        let stopped = stop.clone().cancelled_owned();
        async move { serve(listener, None, gateway, stopped).await.unwrap() }
    });
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
async fn connections_that_ask_for_nothing_leave_sooner_when_there_is_little_room() {
    let settings = Settings { connections: 8, head_patience_crowded: PATIENCE, ..Settings::default() };
    let server = server(Settings { head_patience: Duration::from_secs(3600), ..settings }).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(server.send("").await);
    }
    assert!(rest(server.send(PING).await).await.ends_with("\"pong\""));
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
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
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

/// The head of a request whose body is a form of so many bytes.
fn post(key: &str, length: usize) -> String {
    format!(
        "POST /request HTTP/1.1\r\nhost: h\r\nndif-api-key: {key}\r\nconnection: close\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn uploads_of_one_tenant_wait_for_one_another_and_cost_others_nothing() {
    let settings = Settings {
        upload_bytes: 4000,
        upload_bytes_per_tenant: 2000,
        upload_grace: Duration::from_secs(3600),
        ..Settings::default()
    };
    let server = server(settings).await;
    // As many as there are to be had, and none of them sends a byte.
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(server.send(&post("key", 2000)).await);
    }
    // Of another key of the same tenant, the answer comes only when all of those are gone.
    let own = server.send(&post("key", 0)).await;
    let other = rest(server.send(&post("key of bob", 0)).await).await;
    assert!(other.starts_with("HTTP/1.1 400 "), "bob is read at once: {other}");
    drop(idle);
    let own = rest(own).await;
    assert!(own.starts_with("HTTP/1.1 400 "), "{own}");
}

#[tokio::test]
async fn an_upload_that_does_not_arrive_gives_its_room_to_the_next() {
    let settings =
        Settings { upload_bytes: 1000, upload_bytes_per_tenant: 1000, upload_grace: PATIENCE, ..Settings::default() };
    let server = server(settings).await;
    let idle = server.send(&post("key", 1000)).await;
    let waiting = server.send(&post("key", 0)).await;
    let idle = rest(idle).await;
    assert!(idle.starts_with("HTTP/1.1 408 ") && idle.contains("took too long to arrive"), "{idle}");
    assert!(rest(waiting).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn too_many_requests_of_one_key_or_of_nobody_are_told_when_to_come_again() {
    let settings = Settings { key_rate: 1, key_burst: 2, keyless_rate: 1, keyless_burst: 2, ..Settings::default() };
    let server = server(settings).await;
    for key in ["ndif-api-key: key\r\n", ""] {
        let request = format!("GET /ping HTTP/1.1\r\nhost: h\r\n{key}\r\n");
        let last = "GET /ping HTTP/1.1\r\nhost: h\r\nconnection: close\r\n".to_owned() + key + "\r\n";
        let answers = rest(server.send(&(request.repeat(3) + &last)).await).await;
        assert_eq!(answers.matches("\"pong\"").count(), 2, "{answers}");
        assert_eq!(answers.matches("HTTP/1.1 429 ").count(), 2, "{answers}");
        assert!(answers.contains("retry-after: 1\r\n") || answers.contains("retry-after: 2\r\n"), "{answers}");
    }
    let bob = rest(
        server.send("GET /ping HTTP/1.1\r\nhost: h\r\nconnection: close\r\nndif-api-key: key of bob\r\n\r\n").await,
    );
    assert!(bob.await.ends_with("\"pong\""), "another key is another's");
}

/// The head of a websocket's request.
fn subscribe(key: &str) -> String {
    format!(
        "GET /subscribe HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n{key}\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

async fn status(stream: &mut TcpStream) -> String {
    let mut line = vec![0; 12];
    stream.read_exact(&mut line).await.unwrap();
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn websockets_without_a_key_and_those_of_one_tenant_leave_room_for_others() {
    let settings = Settings { sockets: 4, sockets_per_tenant: 2, sockets_keyless: 2, ..Settings::default() };
    let server = server(settings).await;
    let mut open = Vec::new();
    for (key, expected) in [
        ("", ["101", "101", "401"]),
        ("ndif-api-key: wrong\r\n", ["401", "401", "401"]),
        ("ndif-api-key: key\r\n", ["101", "101", "429"]),
        ("ndif-api-key: key of bob\r\n", ["101", "101", "429"]),
        ("ndif-api-key: key of eve\r\n", ["503", "503", "503"]),
    ] {
        for code in expected {
            let mut stream = server.send(&subscribe(key)).await;
            assert_eq!(status(&mut stream).await, format!("HTTP/1.1 {code}"), "{key}");
            open.push(stream);
        }
    }
    drop(open);
}

#[tokio::test]
async fn who_has_a_key_waits_for_nobody_who_has_none() {
    // Nobody leaves by themselves.
    let long = Duration::from_secs(3600);
    let patient = Settings { head_patience: long, head_patience_crowded: long, ..Settings::default() };
    let server = server(Settings { connections: 8, ..patient }).await;
    let keyed = "GET /ping HTTP/1.1\r\nhost: h\r\nndif-api-key: key\r\n\r\n";
    let pong = async |stream: &mut TcpStream| {
        let mut answer = vec![0; 1024];
        let length = stream.read(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer[..length]).contains("\"pong\""));
    };
    let mut known = server.send(keyed).await;
    pong(&mut known).await;
    // Half heads, wrong keys, and connections that ask for nothing: more than there is room for.
    let mut flood = Vec::new();
    for _ in 0..10 {
        for half in
            ["", "GET /ping HTTP/1.1\r\nx-half: of a", "GET /ping HTTP/1.1\r\nhost: h\r\nndif-api-key: no\r\n\r\n"]
        {
            flood.push(server.send(half).await);
        }
        pong(&mut server.send(keyed).await).await;
    }
    // Who was known before is there still.
    known.write_all(keyed.as_bytes()).await.unwrap();
    pong(&mut known).await;
    // As many as all who may be open, known each: the next one waits until one of them leaves.
    let mut all = vec![known];
    for _ in 1..8 {
        let mut next = server.send(keyed).await;
        pong(&mut next).await;
        all.push(next);
    }
    drop(flood);
    let mut waits = server.send(keyed).await;
    assert!(tokio::time::timeout(PATIENCE, waits.read_u8()).await.is_err());
    drop(all.pop());
    pong(&mut waits).await;
}
