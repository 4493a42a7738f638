//! Who gets what: every route under every key.

use gateway::Settings;
use ids::JobId;

use crate::site::{Site, pickle};

/// The methods and paths of the interface; `{job}` is one of Ada's, `{none}` nobody's.
const ROUTES: [(&str, &str); 14] = [
    ("POST", "/request"),
    ("DELETE", "/request/{job}"),
    ("DELETE", "/request/{none}"),
    ("DELETE", "/request/nonsense"),
    ("GET", "/response/{job}"),
    ("GET", "/response/{none}"),
    ("GET", "/response/nonsense"),
    ("GET", "/results/{job}?expires=9999999999&signature=00"),
    ("GET", "/results/{none}?expires=9999999999&signature=00"),
    ("GET", "/status"),
    ("GET", "/env"),
    ("GET", "/whoami"),
    ("GET", "/ping"),
    ("GET", "/healthz"),
];

/// What each route answers: to nobody, to a wrong key, to two keys at once, to Bob, to Ada, and to a key of Ada's that
/// may do nothing.
const STATUSES: [[u16; 6]; 14] = [
    [401, 401, 401, 400, 400, 403],
    [401, 401, 401, 404, 202, 403],
    [401, 401, 401, 404, 404, 403],
    [401, 401, 401, 404, 404, 403],
    [401, 401, 401, 404, 200, 403],
    [401, 401, 401, 404, 404, 403],
    [401, 401, 401, 404, 404, 403],
    [403, 403, 403, 403, 403, 403],
    [403, 403, 403, 403, 403, 403],
    [200; 6],
    [200; 6],
    [200; 6],
    [200; 6],
    [200; 6],
];

#[tokio::test]
async fn i1_each_route_gives_each_key_what_is_its_own_and_the_same_nothing_of_others() {
    let site = Site::new(Settings::default()).await;
    let job = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job();
    let line = |key: &str| format!("ndif-api-key: {key}\r\n");
    let ada = line("key of ada");
    let keys = [
        String::new(),
        line("wrong"),
        ada.clone() + &ada,
        line("key of bob"),
        ada,
        line("key of ada that may do nothing"),
    ];
    for under in ["", "/shared", "/reproducible", "/exclusive"] {
        for ((method, path), expected) in ROUTES.iter().zip(STATUSES) {
            let path = format!("{under}{path}").replace("{job}", &job.to_string());
            let path = path.replace("{none}", &JobId::new().to_string());
            for (key, status) in keys.iter().zip(expected) {
                let answer = site.ask(method, &path, key, b"").await;
                assert_eq!(answer.status, status, "{method} {path} {key:?}");
            }
        }
    }
    // What is another's and what is not there are the same to the last byte.
    for (method, path) in [("GET", "/response"), ("DELETE", "/request")] {
        let theirs = site.ask(method, &format!("{path}/{job}"), &keys[3], b"").await;
        let nobodys = site.ask(method, &format!("{path}/{}", JobId::new()), &keys[3], b"").await;
        assert_eq!((theirs.status, &theirs.body), (nobodys.status, &nobodys.body), "{method} {path}");
    }
}

#[tokio::test]
async fn what_a_client_calls_its_request_is_a_plain_word_or_another_is_made() {
    let site = Site::new(Settings::default()).await;
    let told = |head: String| {
        let site = &site;
        async move {
            let answer = site.ask("GET", "/ping", &head, b"").await;
            let id = answer.head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().to_owned();
            (answer.status, id)
        }
    };
    assert_eq!(told("x-request-id: trace-1.a_b\r\n".into()).await, (200, "trace-1.a_b".into()));
    for odd in ["a b", "\"quoted\"", "level=error", &"x".repeat(600)] {
        let (status, id) = told(format!("x-request-id: {odd}\r\n")).await;
        assert_eq!((status, id.len()), (200, 36), "{odd}");
    }
}
