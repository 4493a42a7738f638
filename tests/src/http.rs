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
    let mut body = bytes.split_off(end + 4);
    if method != "HEAD" && head.lines().any(|line| line == "transfer-encoding: chunked") {
        body = whole(&body)?;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    // An answer cut short is none.
    (method == "HEAD" || length.is_none_or(|length: usize| length == body.len())).then_some(Answer {
        status,
        head,
        body,
    })
}

/// Puts the chunks of a body together; `None` where the last is missing.
fn whole(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n")?;
        let length = std::str::from_utf8(&chunks[..end]).ok()?.split(';').next()?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunks.get(end + 2..end + 2 + length)?);
        chunks = chunks.get(end + 2 + length + 2..)?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_chunks_is_put_together_and_one_that_is_cut_short_is_none() {
        for (body, whole) in
            [("3\r\n{\"a\r\n4;x=y\r\n\": 1\r\n1\r\n}\r\n0\r\n\r\n", true), ("3\r\n{\"a\r\n4\r\n\":", false)]
        {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let answer = try_ask(&url, "GET", "/", &[], b"");
            server.join().unwrap();
            assert_eq!(answer.map(|answer| answer.json()["a"].clone()), whole.then(|| 1.into()));
        }
    }
}
