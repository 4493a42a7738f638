//! Large bodies lie in files while they arrive and are read, and nothing is left of those that do not.

use std::path::Path;
use std::time::Duration;

use gateway::Settings;
use program::{Datum, Program};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{FORM, Site, form, pickle};

const MIB: usize = 1 << 20;

/// A gateway, and the folder that its large bodies lie in.
async fn site(settings: Settings) -> (TempDir, Site) {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(Settings { upload_folder: Some(folder.path().to_owned()), ..settings }).await;
    (folder, site)
}

/// Bytes of which no two stretches are alike.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * at / 251) as u8).collect()
}

fn large(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    pickle::payload(&[b"B", length.as_slice(), bytes].concat())
}

/// Returns how many files of a folder this process has open or mapped, names or not.
fn open_files(folder: &Path) -> usize {
    let of_folder = |path: &Path| path.starts_with(folder);
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let open =
        open.filter(|entry| std::fs::read_link(entry.as_ref().unwrap().path()).is_ok_and(|path| of_folder(&path)));
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mapped =
        maps.lines().filter(|line| line.split_whitespace().nth(5).is_some_and(|path| of_folder(Path::new(path))));
    open.count() + mapped.count()
}

/// Waits until a folder has as many open files, which must come.
async fn until_open(folder: &Path, count: usize) {
    while open_files(folder) != count {
        tokio::task::yield_now().await;
    }
}

/// Begins an upload: sends the head, and of the body as much as is given.
async fn begin(site: &Site, tenant: &str, length: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /request HTTP/1.1\r\nhost: h\r\nconnection: close\r\nndif-api-key: key of {tenant}\r\n{length}\r\n{FORM}\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    stream
}

/// Returns the status of an answer.
async fn status(mut stream: TcpStream) -> String {
    let mut line = vec![0; 12];
    stream.read_exact(&mut line).await.unwrap();
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn a_large_request_is_kept_as_it_came_compressed_or_not() {
    let (folder, site) = site(Settings::default()).await;
    let sent = bytes(5 * MIB + 3);
    let plain = large(&sent);
    // A frame that does not say how much it holds.
    let frame = zstd::stream::encode_all(plain.as_slice(), 1).unwrap();
    let body = form("", &frame);
    let at = body.windows(16).position(|window| window == br#""compress":false"#).unwrap();
    let compressed = [&body[..at], br#""compress":true"#, &body[at + 16..]].concat();
    let head = format!("{FORM}ndif-api-key: key of ada\r\n");
    let jobs =
        [site.submit("ada", "", &plain, "").await.job(), site.ask("POST", "/request", &head, &compressed).await.job()];
    for job in jobs {
        let (record, _) = site.jobs.find(job).await.unwrap().unwrap();
        assert_eq!(record.payload_bytes, record.payload.len());
        let program = Program::decode(&site.objects.load(&record.payload).await.unwrap(), 6 * MIB as u64).unwrap();
        let Some(Datum::Bytes(come)) = program.heap.get(program.locals[0].1) else { panic!("no bytes came") };
        assert!(*come == sent, "other bytes came");
    }
    until_open(folder.path(), 0).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing_and_gives_its_room_back() {
    let body = form("", &large(&bytes(3 * MIB)));
    let (upload_bytes, length) = (body.len() as u64, format!("content-length: {}", body.len()));
    let settings =
        Settings { body_bytes: body.len(), upload_bytes, upload_bytes_per_tenant: upload_bytes, ..Settings::default() };
    let (folder, site) = site(settings).await;
    for tenant in ["ada", "bob"] {
        let cut = begin(&site, tenant, &length, &body[..2 * MIB]).await;
        until_open(folder.path(), 1).await;
        drop(cut);
        until_open(folder.path(), 0).await;
    }
    // One that ends before it has sent what it announced, and one that announces less than it sends.
    let longer = begin(&site, "ada", &format!("content-length: {}", body.len()), &body[..body.len() - 10]).await;
    drop(longer);
    let shorter = begin(&site, "ada", &format!("content-length: {}", body.len() - 10), &body).await;
    assert_eq!(status(shorter).await, "HTTP/1.1 400");
    site.submit("ada", "", &large(&bytes(3 * MIB - 100)), "").await.job();
    site.gateway.close().await;
    assert_eq!((site.files().len(), open_files(folder.path())), (1, 0));
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_refused_where_it_does() {
    let (folder, site) = site(Settings { body_bytes: 2 * MIB, ..Settings::default() }).await;
    let body = form("", &large(&bytes(3 * MIB)));
    let announced = begin(&site, "ada", &format!("content-length: {}", body.len()), b"").await;
    assert_eq!(status(announced).await, "HTTP/1.1 413");
    let chunk = [format!("{:x}\r\n", body.len() - 100).as_bytes(), &body[..body.len() - 100]].concat();
    let unannounced = begin(&site, "ada", "transfer-encoding: chunked", &chunk).await;
    assert_eq!(status(unannounced).await, "HTTP/1.1 413");
    until_open(folder.path(), 0).await;
    assert!(site.files().is_empty());
}

#[tokio::test]
async fn a_large_upload_that_stalls_is_given_up_and_holds_up_no_other_tenant() {
    let settings = Settings { upload_grace: Duration::from_secs(4), upload_rate: u64::MAX, ..Settings::default() };
    let (folder, site) = site(settings).await;
    let body = form("", &large(&bytes(3 * MIB)));
    let stalled = begin(&site, "ada", &format!("content-length: {}", body.len()), &body[..2 * MIB]).await;
    until_open(folder.path(), 1).await;
    site.submit("bob", "", &large(&bytes(3 * MIB)), "").await.job();
    assert_eq!(status(stalled).await, "HTTP/1.1 408");
    until_open(folder.path(), 0).await;
}
