//! B8: what many large uploads take of the server's memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::{Data, KEY, memory};

const MIB: usize = 1 << 20;

/// Uploads at once, and MiB of each, where the environment does not say: `UPLOADS=16 UPLOAD_MIB=256` needs 9 GB of disk.
const UPLOADS: usize = 6;
const UPLOAD_MIB: usize = 24;

/// MiB that the server may take more than before, beside pages of files, which the system can have back.
const MOST_MIB: u64 = 100;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// What comes before and after the bytes that a request's block reads.
fn around(bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let text =
        |text: &str| [b"X".as_slice(), &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat();
    let dict = |entries: &[(&str, &[u8])]| {
        let entries = entries.iter().map(|(name, value)| [text(name), value.to_vec()].concat());
        [b"}(".to_vec(), entries.collect::<Vec<_>>().concat(), b"u".to_vec()].concat()
    };
    let new = |name: &str, state: &[u8]| [b"cnnsight.tracing.t\n", name.as_bytes(), b"\n)\x81", state, b"b"].concat();
    let code = new("Code", &dict(&[("co_filename", &text("f.py")), ("co_name", &text("<module>"))]));
    let frame = new("Frame", &dict(&[("f_code", &code)]));
    let tracer = new("Tracer", &dict(&[("info", &new("Info", &dict(&[("frame", &frame)])))]));
    let model = serde_json::json!({ "repo_id": "ndif-test/tiny-gpt2", "revision": null, "task": "text-generation" });
    let key = format!("nnsight.modeling.transformers.TransformersModel:{model}");
    let fields = serde_json::json!({ "model_key": key, "session_id": "", "compress": false, "env": {} });
    let part = |name: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    let form = [part("data").as_bytes(), fields.to_string().as_bytes(), b"\r\n", part("blob").as_bytes()].concat();
    // A tuple of the tracer and its block, which is its source and the names that it reads.
    let pickle = [b"\x80\x04", tracer.as_slice(), b"(", &text("x"), b"}}(", &text("x"), b"\x8e"].concat();
    let before = [form, pickle, (bytes as u64).to_le_bytes().to_vec()].concat();
    (before, b"ut\x86.\r\n--b--\r\n".to_vec())
}

/// Posts a request of so many bytes, of which no more than one MiB is here at once. All that post wait for each other
/// before their last bytes.
fn post(url: &str, bytes: usize, arrived: &Barrier) {
    let (before, after) = around(bytes);
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = before.len() + bytes + after.len();
    let head = format!(
        "POST /request HTTP/1.1\r\nHost: h\r\nConnection: close\r\nndif-api-key: {KEY}\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &before].concat()).unwrap();
    let piece: Vec<u8> = (0..MIB).map(|at| (at * at / 251) as u8).collect();
    let sent = (0..bytes / MIB).try_for_each(|_| stream.write_all(&piece));
    // Whoever could not send it all keeps nobody waiting.
    arrived.wait();
    sent.and_then(|()| stream.write_all(&after)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn b8_many_large_uploads_take_little_memory() {
    let (count, bytes) = (number("UPLOADS", UPLOADS), number("UPLOAD_MIB", UPLOAD_MIB) * MIB);
    let (one, all) = ((bytes + MIB).to_string(), (count * (bytes + MIB)).to_string());
    let data = Data::default();
    let mut up = data.up().key().tiny_models().canned();
    for (name, value) in [
        ("BODY_BYTES", &one),
        ("LIMITS__DECODED_BYTES", &one),
        ("UPLOAD_BYTES", &all),
        ("UPLOAD_BYTES_PER_TENANT", &all),
        ("QUEUED_BYTES", &all),
        ("QUEUED_BYTES_PER_TENANT", &all),
    ] {
        up.command.env(format!("VITRINE_GATEWAY__{name}"), value);
    }
    up.command.env("VITRINE_GATEWAY__UPLOAD_PATIENCE", "5m");
    let server = up.start();
    let before = memory(server.pid(), "RssAnon");
    let (arrived, done) = (Barrier::new(count), AtomicBool::new(false));
    let (most, mapped) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut most, mut mapped) = (before, 0);
            while !done.load(Ordering::Relaxed) {
                most = most.max(memory(server.pid(), "RssAnon"));
                mapped = mapped.max(memory(server.pid(), "RssFile"));
                std::thread::sleep(Duration::from_millis(2));
            }
            (most, mapped)
        });
        let posts: Vec<_> = (0..count).map(|_| scope.spawn(|| post(&server.url, bytes, &arrived))).collect();
        let posted: Vec<_> = posts.into_iter().map(|post| post.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(posted.iter().all(Result::is_ok), "an upload failed");
        looking.join().unwrap()
    });
    let sent = count * bytes / MIB;
    println!("{count} uploads, {sent} MiB: {} MiB more at most, and {mapped} MiB of mapped files", most - before);
    assert!(most - before < MOST_MIB, "{sent} MiB that were sent took {} MiB", most - before);
}
