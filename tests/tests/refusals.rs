//! Bad use gets a sentence that says what is wrong and what to do.

use std::fs;
use std::net::TcpListener;

use tests::http::{ask, form};
use tests::{Data, KEY, http, model};

fn sentence(stderr: &str, words: &[&str]) {
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in:\n{stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = Data::default();
    let up = data.up_at(&address);
    sentence(&up.tiny_models().canned().refused(), &[&address, "the port is in use", "--listen"]);
    assert!(!data.path("data").exists(), "nothing was written");
}

#[test]
fn an_address_that_is_none() {
    let data = Data::default();
    let stderr = data.up_at("nonsense").tiny_models().canned().refused();
    sentence(&stderr, &["cannot listen on nonsense", "--listen takes an address and a port"]);
    // An address of documentation: no machine has it.
    let stderr = data.up_at("192.0.2.1:8000").tiny_models().canned().refused();
    sentence(&stderr, &["cannot listen on 192.0.2.1:8000", "this machine does not have the address"]);
    fs::write(data.path("data"), "").unwrap();
    sentence(&data.up().tiny_models().canned().refused(), &["the data folder", "is a file", "--data"]);
}

#[test]
fn folders_that_hold_no_model() {
    let data = Data::default();
    let empty = data.path("empty");
    fs::create_dir(&empty).unwrap();
    let up = |value: String| data.up().canned().arguments(&["--model", &value]).refused();
    sentence(&up(format!("a/b={}", empty.display())), &["a/b", "has no config.json"]);
    sentence(&up("a/b=/no/such/folder".into()), &["/no/such/folder", "does not exist"]);
    sentence(
        &up(format!("a/b={},dtype=int4", model("tiny-gpt2").display())),
        &["float32, bfloat16, int8 or nf4, not int4"],
    );
    sentence(&up("nonsense".into()), &["REPO_ID=FOLDER"]);
    let folder = model("tiny-gpt2");
    let twice = format!("ndif-test/tiny-gpt2={}", folder.display());
    let twice = data.up().canned().tiny_models().arguments(&["--model", &twice]).refused();
    sentence(&twice, &["two folders are given for the model ndif-test/tiny-gpt2"]);
    sentence(&data.up().canned().refused(), &["no model to host"]);
}

#[test]
fn a_data_folder_that_another_server_uses() {
    let data = Data::default();
    let _server = data.up().key().tiny_models().canned().start();
    let stderr = data.up().tiny_models().canned().refused();
    sentence(&stderr, &["another vitrine is using the data folder", "--data"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let data = Data::default();
    let folder = data.path("broken");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(model("tiny-gpt2")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let weights = folder.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    let refused = || data.up().arguments(&["--model", &format!("a/b={}", folder.display())]).refused();

    fs::write(&weights, &whole[..whole.len() - 1000]).unwrap();
    let last = "transformer.wte.weight";
    sentence(&refused(), &["a/b", "model.safetensors is corrupt at tensor", last, "the file is truncated"]);
    let mut broken = whole.clone();
    broken[..8].fill(0xff);
    fs::write(&weights, broken).unwrap();
    sentence(&refused(), &["a/b", "model.safetensors is corrupt: its header is longer than the file"]);
    fs::write(&weights, "").unwrap();
    sentence(&refused(), &["a/b", "model.safetensors is corrupt", "too short"]);
    let at = whole.windows(5).position(|window| window == b"\"F32\"").unwrap();
    let mut untyped = whole.clone();
    untyped[at..at + 5].copy_from_slice(b"\"X32\"");
    fs::write(&weights, untyped).unwrap();
    sentence(&refused(), &["a/b", "corrupt at tensor transformer.", "dtype X32 is not supported"]);
    // Another name for one tensor: the model misses what it knows by the old one.
    let at = whole.windows(11).position(|window| window == b"ln_f.weight").unwrap();
    let mut renamed = whole.clone();
    renamed[at..at + 4].copy_from_slice(b"ln_x");
    fs::write(&weights, renamed).unwrap();
    sentence(&refused(), &["a/b", "model.safetensors has no tensor transformer.ln_f.weight"]);
    fs::remove_file(&weights).unwrap();
    sentence(&refused(), &["a/b", "neither model.safetensors nor"]);
    fs::write(&weights, &whole).unwrap();
    fs::write(folder.join("tokenizer.json"), "{").unwrap();
    sentence(&refused(), &["a/b", "tokenizer.json is no tokenizer"]);
    fs::write(folder.join("config.json"), "{\"model_type\": \"bert\"}").unwrap();
    sentence(&refused(), &["a/b", "config.json", "\"bert\" is not supported; supported are gpt2, llama"]);
    fs::write(folder.join("config.json"), "{").unwrap();
    sentence(&refused(), &["a/b", "config.json is not valid JSON"]);
}

#[test]
fn an_unfit_key() {
    let data = Data::default();
    let stderr = data.up().tiny_models().canned().arguments(&["--api-key", "schlüssel"]).refused();
    sentence(&stderr, &["API key", "ASCII"]);
}

#[test]
fn the_first_start_shows_a_key_and_later_ones_do_not() {
    let data = Data::default();
    let server = data.up().tiny_models().canned().start();
    let key = server.before.iter().find_map(|line| line.split("once: ").nth(1)).expect("a key is shown").to_owned();
    assert!(key.starts_with("vitrine_") && key.len() == 8 + 12 + 1 + 64, "{key}");
    let whoami = |key: &str| http::ask(&server.url, "GET", "/whoami", &[&format!("ndif-api-key: {key}")], b"").json();
    assert_eq!(whoami(&key)["email"], "local");
    assert!(whoami("vitrine_000000000000_0")["email"].is_null());
    server.kill();
    let stored = fs::read(data.path("data/metadata.redb")).unwrap();
    let secret = key.rsplit('_').next().unwrap();
    assert!(!stored.windows(64).any(|window| window == secret.as_bytes()), "the key's text is on disk");

    let server = data.up().tiny_models().canned().start();
    assert_eq!(server.before, Vec::<String>::new());
    assert_eq!(
        http::ask(&server.url, "GET", "/whoami", &[&format!("ndif-api-key: {key}")], b"").json()["email"],
        "local"
    );
}

#[test]
fn malformed_and_oversized_requests() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let key = format!("ndif-api-key: {KEY}");
    let post = |headers: &[&str], body: &[u8]| {
        let headers: Vec<&str> = headers.iter().copied().chain([key.as_str()]).collect();
        ask(&server.url, "POST", "/request", &headers, body)
    };
    let fields = |repo: &str, session: &str| {
        let key = serde_json::json!({ "repo_id": repo, "revision": null, "task": "text-generation" });
        serde_json::json!({
            "model_key": format!("nnsight.modeling.transformers.TransformersModel:{key}"),
            "session_id": session, "compress": false, "env": {},
        })
        .to_string()
    };
    let good = fields("ndif-test/tiny-gpt2", "");
    let cases = [
        (400, "not a multipart form", ("Content-Type: application/json".into(), b"{}".to_vec())),
        (400, "no part `blob`", form(&[("data", good.as_bytes())])),
        (400, "no part `data`", form(&[("blob", b"x")])),
        (400, "JSON", form(&[("data", b"{"), ("blob", b"x")])),
        (400, "model key", form(&[("data", br#"{"model_key": "x"}"#), ("blob", b"x")])),
        (
            404,
            "model a/b is not hosted here; hosted are: ndif-test/tiny-gpt2, ndif-test/tiny-llama",
            form(&[("data", fields("a/b", "").as_bytes()), ("blob", b"x")]),
        ),
        (400, "pickle", form(&[("data", good.as_bytes()), ("blob", b"x")])),
        (400, "pickle", form(&[("blob", b""), ("data", good.as_bytes())])),
        (
            400,
            "websocket",
            form(&[("data", fields("ndif-test/tiny-gpt2", "no-such-session").as_bytes()), ("blob", b"x")]),
        ),
    ];
    for (status, words, (header, body)) in cases {
        let answer = post(&[&header], &body);
        assert_eq!(answer.status, status, "{}", answer.detail());
        assert!(answer.detail().contains(words), "{words:?} is not in {:?}", answer.detail());
    }

    let (header, body) = form(&[("data", good.as_bytes()), ("blob", b"x")]);
    let huge = post(&[&header, "Content-Length: 10000000000"], b"");
    assert_eq!(huge.status, 413);
    assert!(huge.detail().contains("larger than"), "{}", huge.detail());
    for (headers, words) in [
        (vec![header.as_str()], "missing API key: set NDIF_API_KEY"),
        (vec![header.as_str(), "ndif-api-key: other"], "invalid API key"),
    ] {
        let answer = ask(&server.url, "POST", "/request", &headers, &body);
        assert_eq!(answer.status, 401);
        assert!(answer.detail().contains(words), "{}", answer.detail());
    }
    for path in ["/response/nonsense", "/response/01a20897-9af5-7681-b58f-3cc981eb7736"] {
        let answer = http::get(&server.url, path);
        assert_eq!((answer.status, answer.detail().as_str()), (404, "no job of yours has this id"));
        assert_eq!(ask(&server.url, "GET", path, &[], b"").status, 401);
    }
    for path in [
        "/results/01a20897-9af5-7681-b58f-3cc981eb7736",
        "/results/01a20897-9af5-7681-b58f-3cc981eb7736?expires=99999999999&signature=00",
        "/results/x?expires=x&signature=x",
    ] {
        assert_eq!(http::get(&server.url, path).status, 403, "{path}");
    }
    assert_eq!(http::get(&server.url, "/ping").body, b"\"pong\"");
    assert_eq!(http::get(&server.url, "/healthz").status, 200);
    assert_eq!(http::get(&server.url, "/readyz").status, 200);
}

#[test]
fn what_the_server_lacks_is_refused_when_a_program_is_sent() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let said = server.client("refused.py").succeed();
    assert_eq!(said.lines().count(), 23, "{said}");
    for line in said.lines() {
        let words =
            ["not supported by this server", "on this server", "this server does not offer", "not sent", "not send"];
        assert!(words.iter().any(|words| line.contains(words)), "{line}");
    }
}
