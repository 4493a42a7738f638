//! Objects in a bucket: what is kept comes back, grants are enough to read or write one object and nothing else.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use ids::{JobId, TenantId};
use store::{Blob, Error, Grant, ObjectRef, Objects, Place, S3Options};

const ID: &str = "an-id";
const SECRET: &str = "a-secret-key-that-only-the-server-has";
const PATIENCE: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3600);

/// SeaweedFS with a bucket, on this machine.
struct Server {
    child: Child,
    endpoint: String,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("s3.json");
        let key = format!(r#"{{"accessKey": "{ID}", "secretKey": "{SECRET}"}}"#);
        let actions = r#"["Admin", "Read", "Write", "List", "Tagging"]"#;
        let identity = format!(r#"{{"name": "vitrine", "credentials": [{key}], "actions": {actions}}}"#);
        std::fs::write(&config, format!(r#"{{"identities": [{identity}]}}"#)).unwrap();
        let bound: Vec<TcpListener> = (0..9).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let ports: Vec<u16> = bound.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(bound);
        let child = Command::new(program())
            .arg("server")
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-filer", "-master.volumeSizeLimitMB=64"])
            .args(["-volume.max=8", "-volume.preStopSeconds=0", "-master.telemetry=false"])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-dir={}", folder.path().display()))
            .arg(format!("-s3.config={}", config.display()))
            .arg(format!("-master.port={}", ports[0]))
            .arg(format!("-master.port.grpc={}", ports[1]))
            .arg(format!("-volume.port={}", ports[2]))
            .arg(format!("-volume.port.grpc={}", ports[3]))
            .arg(format!("-filer.port={}", ports[4]))
            .arg(format!("-filer.port.grpc={}", ports[5]))
            .arg(format!("-s3.port={}", ports[6]))
            .arg(format!("-s3.port.grpc={}", ports[7]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, endpoint: format!("http://127.0.0.1:{}", ports[6]), _folder: folder };
        let client = reqwest::Client::new();
        let ready = async {
            // A folder of the filer's is a bucket.
            let bucket = format!("http://127.0.0.1:{}/buckets/vitrine/", ports[4]);
            while !client.post(&bucket).send().await.is_ok_and(|answer| answer.status().is_success()) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let probe = Place::parse("probe").unwrap();
            while server.objects(SECRET).put(&probe, Bytes::from_static(b"x")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            server.objects(SECRET).delete(&probe).await.unwrap();
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the server of S3 does not answer");
        server
    }

    fn objects(&self, secret: &str) -> Objects {
        let options = S3Options {
            bucket: "vitrine".into(),
            region: "us-east-1".into(),
            endpoint: Some(self.endpoint.clone()),
            key: Some((ID.into(), secret.into())),
            allow_http: true,
        };
        Objects::s3(options).unwrap().with_inline_bytes(1 << 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds the server's program: where the system has it, or where `make setup-tests` puts it.
fn program() -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let venv = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin"));
    let found = std::env::split_paths(&folders).chain([venv]).map(|folder| folder.join("weed")).find(|it| it.is_file());
    found.expect("weed is missing: `make setup-tests` installs SeaweedFS")
}

#[tokio::test]
async fn a_bucket_keeps_what_it_is_given_and_a_grant_opens_one_object() {
    let server = Server::start().await;
    let objects = server.objects(SECRET);
    let (lab, job) = (TenantId::new("lab"), JobId::new());
    let (payload, result) = (Place::payload(&lab, job), Place::result(&lab, job, 1, 1));
    let bytes = Bytes::from((0..3_000_000u32).map(|number| number.to_le_bytes()[0]).collect::<Vec<_>>());

    // As the gateway keeps it, and as it comes back: whole, and in pieces.
    assert_eq!(objects.keep(&payload, bytes.slice(..1024)).await.unwrap(), Blob::Inline(bytes.slice(..1024)));
    let Blob::Object(object) = objects.keep(&payload, bytes.clone()).await.unwrap() else { panic!("it lies inline") };
    assert_eq!(objects.get(&object).await.unwrap(), bytes);
    let mut pieces = objects.stream(&object).await.unwrap();
    let mut read = Vec::new();
    while let Some(piece) = pieces.next().await {
        read.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(read, bytes);

    // A worker has grants and no key of the bucket.
    let grant = objects.grant_get(&payload, HOUR).await.unwrap();
    assert_eq!(grant.get(&object).await.unwrap(), bytes);
    assert!(!format!("{grant:?}").contains("Signature"), "{grant:?}");
    let put = objects.grant_put(&result, HOUR).await.unwrap();
    let written = put.put(&result, bytes.slice(5..)).await.unwrap();
    assert_eq!(objects.get(&written).await.unwrap(), bytes.slice(5..));

    // What it says is what it is for: not to write, not another object, not for ever, not with other bytes.
    assert!(grant.put(&payload, Bytes::from_static(b"mine now")).await.is_err());
    assert_eq!(objects.get(&object).await.unwrap(), bytes);
    let Grant::Link { url, .. } = &grant else { panic!("a bucket grants links") };
    let elsewhere = url.replace(payload.as_str(), result.as_str());
    assert_ne!(*url, elsewhere);
    let elsewhere = Grant::Link { url: elsewhere, expires_at: std::time::SystemTime::now() };
    assert!(elsewhere.get(&written).await.is_err());
    let brief = objects.grant_get(&payload, Duration::from_secs(1)).await.unwrap();
    let expired = async {
        while brief.get(&object).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, expired).await.expect("a grant of a second does not end");
    let other = ObjectRef { digest: [0; 32], ..object.clone() };
    assert!(matches!(grant.get(&other).await, Err(Error::Damaged(_))));

    // Whoever has another key gets nowhere.
    let stranger = server.objects("a-wrong-secret-key");
    assert!(stranger.get(&object).await.is_err());
    assert!(stranger.grant_get(&payload, HOUR).await.unwrap().get(&object).await.is_err());

    // What nobody knows is found by its age, and all of a job's results go together.
    let found: Vec<Place> = objects.older(SystemTime::now()).map(Result::unwrap).collect().await;
    assert_eq!(found, [payload.clone(), result.clone()]);
    assert_eq!(objects.older(SystemTime::now() - HOUR).count().await, 0);
    objects.delete_all(&Place::results(&lab, job)).await.unwrap();
    objects.delete(&payload).await.unwrap();
    objects.delete(&payload).await.unwrap();
    assert!(matches!(objects.get(&object).await, Err(Error::NoObject(_))));
    assert!(matches!(grant.get(&object).await, Err(Error::NoObject(_))));
    assert_eq!(objects.older(SystemTime::now()).count().await, 0);
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_is_told_from_one_that_refuses() {
    // It hangs up on everybody.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let options = S3Options {
        bucket: "vitrine".into(),
        region: "us-east-1".into(),
        endpoint: Some(format!("http://{nobody}")),
        key: Some((ID.into(), SECRET.into())),
        allow_http: true,
    };
    let objects = Objects::s3(options).unwrap();
    let (place, bytes) = (Place::parse("probe").unwrap(), Bytes::from_static(b"x"));
    assert!(matches!(objects.put(&place, bytes).await, Err(Error::Unavailable { maybe_done: true, .. })));
    let object = ObjectRef { path: "probe".into(), digest: [0; 32], bytes: 1 };
    assert!(matches!(objects.get(&object).await, Err(Error::Unavailable { .. })));
    assert!(matches!(objects.delete(&place).await, Err(Error::Unavailable { .. })));
}
