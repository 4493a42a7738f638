//! A full disk refuses what needs it, with a sentence, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tests::http::{ask, form};
use tests::{Data, KEY, Server};

/// Bytes of a file at which the disk is full to the servers of these tests.
const ROOM: u64 = 8 << 20;

/// Returns how many files lie below a folder.
fn files(folder: &Path) -> usize {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

#[test]
fn what_does_not_fit_on_the_disk_fails_alone() {
    let data = Data::default();
    let server = data.up().key().tiny_models().file_errors().start();
    let mut client = server.client("disk.py").start();
    let mut say = |line: &str| {
        client.say(line);
        client.expect("-> ")
    };
    let big = 2 * ROOM;
    assert_eq!(say("send 1000"), "1000");
    server.limit_files(Some(ROOM));

    let refused = say(&format!("send {big}"));
    assert!(refused.contains("the server has no disk space left for this request"), "{refused}");
    assert!(refused.contains("only the operator can mend"), "{refused}");
    assert_eq!(files(&data.path("data/objects")), 0, "nothing is left of it");
    assert_eq!(say("send 2000"), "2000");
    let failed = say(&format!("save {big}"));
    assert!(failed.contains("no fault of your code: there is no disk space left for the result"), "{failed}");
    assert_eq!(files(&data.path("data/objects")), 0, "nothing is left of it");
    assert_eq!(say("save 3000"), "3000");

    server.limit_files(None);
    assert_eq!(say(&format!("send {big}")), big.to_string());
    assert_eq!(say(&format!("save {big}")), big.to_string());
    client.finish();
}

/// Sends a request that is announced to be long, with none of its body.
fn announce(server: &Server) -> (u16, String) {
    let (header, _) = form(&[]);
    let headers = [header.as_str(), &format!("ndif-api-key: {KEY}"), "Content-Length: 1000000"];
    let answer = ask(&server.url, "POST", "/request", &headers, b"");
    (answer.status, answer.detail())
}

#[test]
fn a_request_is_refused_before_its_body_is_read() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let (objects, aside) = (data.path("data/objects"), data.path("aside"));
    fs::rename(&objects, &aside).unwrap();
    // The kernel says of this one that it has no free block.
    symlink("/proc", &objects).unwrap();
    let (status, detail) = announce(&server);
    assert_eq!((status, detail.contains("no disk space left for this request")), (507, true), "{detail}");
    let refused = Data::default();
    fs::create_dir(refused.path("data")).unwrap();
    symlink("/proc", refused.path("data/objects")).unwrap();
    let stderr = refused.up().key().tiny_models().canned().refused();
    assert!(stderr.contains("no space left on the disk that holds"), "{stderr}");

    fs::remove_file(&objects).unwrap();
    fs::rename(&aside, &objects).unwrap();
    server.client("canned.py").succeed();
}
