//! A gateway over stores of its own, on a socket, with a played scheduler and a client that can be slow.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use auth::{Grant, Keys, Links, Scope, Secret, ServerSecret, SessionIds, Terms};
use bytes::Bytes;
use gateway::{Gateway, Settings, serve, serve_grpc};
use ids::{JobId, ModelKey, TenantId, WorkerId};
use serde_json::{Value, json};
use store::job::Event;
use store::{Jobs, MetadataStore, ModelRecord, ModelState, Models, Objects, Place, RedbStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub const MODEL: &str = "o/n";

pub struct Site {
    pub address: SocketAddr,
    pub gateway: Arc<Gateway>,
    pub jobs: Jobs,
    pub models: Models,
    pub objects: Objects,
    pub keys: Keys,
    folder: Arc<TempDir>,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    /// Knows `key of ada` and `key of bob`, each a tenant's, `key of brief`, whose jobs end a second after their client is gone,
    /// and hosts one model.
    pub async fn new(settings: Settings) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let store: Arc<dyn MetadataStore> = Arc::new(RedbStore::open(folder.path().join("metadata.redb")).unwrap());
        Self::among(&store, Arc::clone(&store), folder, "one", settings).await
    }

    /// A gateway among others over `store`, with all their objects in one folder. It sees the store as `seen`.
    pub async fn among(
        store: &Arc<dyn MetadataStore>,
        seen: Arc<dyn MetadataStore>,
        folder: Arc<TempDir>,
        name: &str,
        settings: Settings,
    ) -> Self {
        let objects = Objects::local(folder.path().join("objects")).unwrap();
        Self::with(store, seen, objects, folder, name, settings).await
    }

    pub async fn with(
        store: &Arc<dyn MetadataStore>,
        seen: Arc<dyn MetadataStore>,
        objects: Objects,
        folder: Arc<TempDir>,
        name: &str,
        settings: Settings,
    ) -> Self {
        let secret = ServerSecret::load(store.as_ref()).await.unwrap();
        let keys = Keys::new(Arc::clone(store), &secret);
        for tenant in ["ada", "bob"] {
            let grant = Grant::new(TenantId::new(tenant), &[Scope::Submit, Scope::ReadOwn]);
            keys.register(&Secret::new(format!("key of {tenant}")), grant).await.unwrap();
        }
        let terms = Terms { cancel_when_gone: Some(1), ..Terms::default() };
        let brief = Grant { terms, ..Grant::new(TenantId::new("brief"), &[Scope::Submit, Scope::ReadOwn]) };
        keys.register(&Secret::new("key of brief"), brief).await.unwrap();
        let nothing = Grant::new(TenantId::new("ada"), &[]);
        keys.register(&Secret::new("key of ada that may do nothing"), nothing).await.unwrap();
        let keys = Keys::new(Arc::clone(&seen), &secret);
        let gateway = Gateway::new(
            Jobs::new(Arc::clone(&seen)),
            objects.clone(),
            Models::new(seen),
            keys.clone(),
            Links::new(&secret),
            SessionIds::new(&secret, name),
            settings,
        );
        let (jobs, models) = (Jobs::new(Arc::clone(store)), Models::new(Arc::clone(store)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(serve(listener, None, Arc::clone(&gateway), stop.clone().cancelled_owned()));
        let site = Self { address, gateway, jobs, models, objects, keys, folder, stop };
        site.model(ModelState::Ready).await;
        site
    }

    /// Serves gRPC, too. Returns where.
    pub async fn by_grpc(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = self.stop.clone().cancelled_owned();
        tokio::spawn(serve_grpc(listener, None, Arc::clone(&self.gateway), stopped));
        address
    }

    /// Says how far the hosted model is.
    pub async fn model(&self, state: ModelState) {
        let record =
            ModelRecord { state, ..ModelRecord::waiting(ModelKey::new(MODEL, None), self.folder.path().to_owned()) };
        self.models.put(&record).await.unwrap();
    }

    /// Returns the files under the object store.
    pub fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut folders) = (Vec::new(), vec![self.folder.path().join("objects")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }

    /// Gets a path, with a head that names the host.
    pub async fn ask_as(&self, path: &str, head: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{head}\r\n").as_bytes()).await
    }

    /// Asks for a path, and reads no more of the answer than its status.
    pub async fn begin(&self, path: &str) -> (u16, TcpStream) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        (std::str::from_utf8(&start[9..]).unwrap().parse().unwrap(), stream)
    }

    async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that refuses early may not read the body.
        let _ = stream.write_all(bytes).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        Answer::read(&bytes)
    }

    /// Sends a request, `head` being lines with their ends, and returns the answer's status, head and body.
    pub async fn ask(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n{head}\r\n"
        );
        self.send(&[head.as_bytes(), body].concat()).await
    }

    /// Has a submission looked at.
    pub async fn check(&self, key: &str, session: &str, payload: &[u8]) -> Answer {
        let head = format!("{FORM}ndif-api-key: {key}\r\n");
        self.ask("POST", "/v1/check", &head, &form(session, payload)).await
    }

    pub async fn submit(&self, tenant: &str, session: &str, payload: &[u8], head: &str) -> Answer {
        let body = form(session, payload);
        self.ask("POST", "/request", &format!("{FORM}ndif-api-key: key of {tenant}\r\n{head}"), &body).await
    }

    /// Gives a job to a worker of the play.
    pub async fn dispatch(&self, job: JobId, attempt: u32) {
        let worker = WorkerId::new("w");
        self.jobs.transition(job, attempt, &Event::Dispatched { worker, epoch: 1 }, 2).await.unwrap();
    }

    /// Ends a job with a result of so many bytes.
    pub async fn finish(&self, tenant: &str, job: JobId, attempt: u32, bytes: usize) {
        self.finish_with(tenant, job, attempt, vec![7; bytes].into()).await;
    }

    /// Ends a job with a result.
    pub async fn finish_with(&self, tenant: &str, job: JobId, attempt: u32, result: Bytes) {
        let place = Place::result(&TenantId::new(tenant), job, attempt, 2);
        let result = self.objects.keep(&place, result).await.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let finished = Event::Finished { result, meta: "{}".into() };
        self.jobs.transition(job, attempt, &finished, now.as_millis() as u64).await.unwrap();
    }

    /// Opens a websocket.
    pub async fn subscribe(&self, tenant: &str) -> Socket {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "GET /subscribe HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             ndif-api-key: key of {tenant}\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let mut socket = Socket { stream, session: String::new() };
        socket.session = socket.json().await["session_id"].as_str().unwrap().to_owned();
        socket
    }
}

/// The line that goes with [`form`].
pub const FORM: &str = "content-type: multipart/form-data; boundary=b\r\n";

/// The body of a request.
pub fn form(session: &str, payload: &[u8]) -> Vec<u8> {
    let key = json!({ "repo_id": MODEL, "revision": null, "task": "text-generation" });
    let fields = json!({
        "model_key": format!("nnsight.modeling.transformers.TransformersModel:{key}"),
        "session_id": session, "compress": false, "env": {},
    });
    let part = |name: &str, bytes: &[u8]| {
        [format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(), bytes, b"\r\n"].concat()
    };
    [part("data", fields.to_string().as_bytes()), part("blob", payload), b"--b--\r\n".to_vec()].concat()
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase() + "\r\n";
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// Returns the job of an accepted request.
    pub fn job(&self) -> JobId {
        assert_eq!(self.status, 200, "{}", self.json());
        self.json()["id"].as_str().unwrap().parse().unwrap()
    }

    pub fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }

    /// Returns the body of an answer whose length was not known when it began.
    pub fn plain(&self) -> Vec<u8> {
        let (mut rest, mut whole) = (self.body.as_slice(), Vec::new());
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            whole.extend_from_slice(&rest[end + 2..end + 2 + length]);
            rest = &rest[end + 2 + length + 2..];
        }
        whole
    }

    pub fn retry_after(&self) -> Option<u64> {
        self.head.lines().find_map(|line| line.strip_prefix("retry-after: ")?.parse().ok())
    }
}

/// A client's end of a websocket, which reads only when it is asked to.
pub struct Socket {
    stream: TcpStream,
    pub session: String,
}

impl Socket {
    /// Reads the next frame that is not a ping: whether it is binary, and its bytes.
    pub async fn frame(&mut self) -> (bool, Vec<u8>) {
        loop {
            let mut start = [0; 2];
            self.stream.read_exact(&mut start).await.unwrap();
            let length = match start[1] & 0x7f {
                126 => self.stream.read_u16().await.unwrap().into(),
                127 => self.stream.read_u64().await.unwrap(),
                short => short.into(),
            };
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut bytes).await.unwrap();
            match start[0] & 0xf {
                1 => return (false, bytes),
                2 => return (true, bytes),
                8 => panic!("the server closed: {}", String::from_utf8_lossy(&bytes[2..])),
                _ => {}
            }
        }
    }

    /// Reads to the end of a job: the bytes of a result that came inside, or the link to one that did not.
    pub async fn end(&mut self) -> Result<usize, String> {
        loop {
            let (binary, bytes) = self.frame().await;
            if binary {
                return Ok(bytes.len());
            }
            let frame: Value = serde_json::from_slice(&bytes).unwrap();
            assert_ne!(frame["status"], "ERROR", "{frame}");
            if frame["status"] == "COMPLETED" {
                return Err(frame["data"].as_str().unwrap().to_owned());
            }
        }
    }

    pub async fn json(&mut self) -> Value {
        let (binary, bytes) = self.frame().await;
        assert!(!binary, "{} bytes", bytes.len());
        serde_json::from_slice(&bytes).unwrap()
    }
}

/// Pickles, written as Python's pickler would.
pub mod pickle {
    pub fn text(text: &str) -> Vec<u8> {
        [b"X".to_vec(), (text.len() as u32).to_le_bytes().to_vec(), text.as_bytes().to_vec()].concat()
    }

    /// Bytes that take as many where they are kept, others for each seed.
    pub fn noise(seed: u64, count: usize) -> Vec<u8> {
        let next =
            |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        let bytes: Vec<u8> =
            std::iter::successors(Some(seed), next).map(|state| (state >> 56) as u8).take(count).collect();
        [b"B".to_vec(), (count as u32).to_le_bytes().to_vec(), bytes].concat()
    }

    fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
    }

    fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let entries: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
        [b"}(".to_vec(), entries, b"u".to_vec()].concat()
    }

    fn global(module: &str, name: &str) -> Vec<u8> {
        format!("c{module}\n{name}\n").into_bytes()
    }

    fn new(module: &str, name: &str, state: Vec<u8>) -> Vec<u8> {
        [global(module, name), b")\x81".to_vec(), state, b"b".to_vec()].concat()
    }

    /// A session's payload whose block reads `value`.
    pub fn payload(value: &[u8]) -> Vec<u8> {
        block("x", value)
    }

    /// A session's payload with the text of its block, which has `value` under the name `x`.
    pub fn block(source: &str, value: &[u8]) -> Vec<u8> {
        let names = dict(&[("co_filename", text("f.py")), ("co_name", text("<module>"))]);
        let code = [global("types", "SimpleNamespace"), tuple(&[]), b"R".to_vec(), names, b"b".to_vec()].concat();
        let frame = new("nnsight.tracing.util", "SerializedFrame", dict(&[("f_code", code)]));
        let info = new("nnsight.tracing.tracer", "Tracer.Info", dict(&[("frame", frame)]));
        let tracer = new("nnsight.tracing.tracer", "Tracer", dict(&[("info", info)]));
        let block = tuple(&[text(source), dict(&[]), dict(&[("x", value.to_vec())])]);
        [b"\x80\x04".to_vec(), tracer, block, b"\x86.".to_vec()].concat()
    }

    /// A payload in which one edit, of a source of so many lines, is named over and over through the pickler's memo.
    pub fn edits(lines: usize, copies: usize) -> Vec<u8> {
        let reduced = tuple(&[text(&"a\n".repeat(lines)), dict(&[]), dict(&[])]);
        let mediator = new("nnsight.intervention.mediator", "Mediator", dict(&[("reduced", reduced)]));
        let edits = [b"](".to_vec(), mediator, b"\x94".to_vec(), b"h\x00".repeat(copies - 1), b"e".to_vec()].concat();
        let module = [text("Module:model"), b"Q".to_vec()].concat();
        let state = dict(&[("_module", module), ("path", text("model")), ("_edits", edits)]);
        payload(&new("nnsight.intervention.envoy", "Envoy", state))
    }
}
