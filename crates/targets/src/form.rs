//! Bodies of requests: multipart forms.

/// Takes a body apart. The line before it stands for the head that tells its boundary.
pub fn run(data: &[u8]) -> bool {
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (kind, body) = data.split_at(at);
    let kind = String::from_utf8_lossy(kind);
    match gateway::form(&kind, bytes::Bytes::copy_from_slice(body.get(1..).unwrap_or_default())) {
        Ok((fields, blob)) => {
            assert!(fields.len() + blob.len() <= body.len());
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Forms as two clients write them.
pub fn seeds() -> Vec<Vec<u8>> {
    let part = |head: &str, body: &str| format!("--line\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n");
    let data = part("name=\"data\"", r#"{"model_key": "k:{}"}"#);
    let blob = part("name=\"blob\"; filename=\"blob\"\r\nContent-Type: application/octet-stream", "\0\u{1}bytes");
    let form = |parts: &[&String]| {
        let parts: String = parts.iter().map(|part| part.as_str()).collect();
        format!("multipart/form-data; boundary=line\n{parts}--line--\r\n").into_bytes()
    };
    vec![
        form(&[&data, &blob]),
        form(&[&blob, &data]),
        form(&[&data]),
        form(&[&part("name=\"more\"", ""), &blob, &data]),
    ]
}
