//! As much of HTTP as a test needs to see the answer's bare bytes.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// One answer.
pub struct Answer {
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }

    /// Returns the sentence of a refusal.
    pub fn detail(&self) -> String {
        self.json()["detail"].as_str().expect("a refusal has a detail").to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends one request; `headers` are lines without their ends.
pub fn ask(url: &str, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    try_ask(url, method, path, headers, body).expect("the server answers")
}

/// Sends one request to a server that may die meanwhile.
pub fn try_ask(url: &str, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Option<Answer> {
    let host = url.strip_prefix("http://").expect("a plain URL");
    let mut stream = TcpStream::connect(host).ok()?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if !headers.iter().any(|line| line.to_ascii_lowercase().starts_with("content-length")) {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for line in headers {
        head += &format!("{line}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).ok()?;
    // A server that refuses early may not read the body.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = bytes.split_off(end + 4);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    // An answer cut short is none.
    (method == "HEAD" || length.is_none_or(|length: usize| length == body.len())).then_some(Answer {
        status,
        head,
        body,
    })
}

/// Gets a path with the tests' key.
pub fn get(url: &str, path: &str) -> Answer {
    ask(url, "GET", path, &[&format!("ndif-api-key: {}", crate::KEY)], b"")
}

/// The body and the header of a multipart form.
pub fn form(parts: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        body.extend_from_slice(format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes());
        body.extend_from_slice(if *name == "blob" { b"; filename=\"request\"\r\n\r\n" } else { b"\r\n\r\n" });
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    ("Content-Type: multipart/form-data; boundary=b".into(), body)
}
