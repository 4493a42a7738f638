//! Three models where there is room for two: what is loaded, what leaves, what comes back from memory, and how an operator
//! steers that.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tests::{Conversation, Data, KEY, Server, http, model, program};

const MODELS: [&str; 3] = ["ndif-test/tiny-gemma3", "ndif-test/tiny-gpt2", "ndif-test/tiny-llama"];

/// More than two of the models take, and less than three: each takes 16 MiB beside its weights, of less than 2 MiB.
const ROOM: &str = "40M";

fn vitrine(server: &Server, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(program("vitrine"));
    for name in ["VITRINE_DATA", "VITRINE_LISTEN", "VITRINE_CONFIG"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).env("VITRINE_HOST", &server.url).env("VITRINE_API_KEY", KEY);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn json(server: &Server, arguments: &[&str]) -> Value {
    let (done, out, errors) = vitrine(server, &[arguments, &["--json"]].concat());
    assert!(done, "{arguments:?}: {errors}");
    serde_json::from_str(&out).unwrap()
}

/// Returns the models in some state.
fn in_state(server: &Server, state: &str) -> Vec<String> {
    let models = json(server, &["model", "list"]);
    let models = models["models"].as_array().unwrap().iter();
    models.filter(|model| model["state"] == state).map(|model| model["name"].as_str().unwrap().to_owned()).collect()
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is() {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::yield_now();
    }
}

/// Runs a job on a model. Returns what it saved.
fn run(client: &mut Conversation, model: &str) -> String {
    client.say(model);
    let value = client.expect("value ");
    assert_eq!(client.expect("done "), model);
    value
}

#[test]
fn jobs_for_three_models_complete_where_two_have_room_and_who_nobody_asks_for_leaves() {
    let data = Data::default();
    let hosted =
        MODELS.map(|name| format!("{name}={},dtype=float32", model(name.split_once('/').unwrap().1).display()));
    let models: Vec<&str> = hosted.iter().flat_map(|hosted| ["--model", hosted]).collect();
    let server = data.up().key().one_thread().arguments(&models).arguments(&["--model-memory", ROOM]).start();
    let (ready, cold) = (in_state(&server, "ready"), in_state(&server, "cold"));
    assert_eq!((ready.len(), cold.len()), (2, 1), "{ready:?} and {cold:?}");

    let mut client = server.client("placement.py").start();
    client.expect("here");
    run(&mut client, &ready[0]);
    run(&mut client, &cold[0]);
    assert_eq!(in_state(&server, "cold"), [ready[1].clone()], "nobody asked for it");
    let node = &json(&server, &["node", "list"])["nodes"][0];
    assert_eq!((&node["name"], &node["state"]), (&"local".into(), &"ready".into()));
    let device = &node["devices"][0];
    assert!(device["used_bytes"].as_u64().unwrap() <= device["model_bytes"].as_u64().unwrap(), "{node}");
    // It has its turn all the same, once another has had its time.
    run(&mut client, &ready[1]);
    assert_eq!(in_state(&server, "ready").len(), 2);

    // What is pinned comes, and stays whatever is asked for.
    let pinned = &in_state(&server, "cold")[0];
    let (done, _, said) = vitrine(&server, &["model", "deploy", pinned, "--replicas", "1", "--pinned"]);
    assert!(done && said.contains("is hosted"), "{said}");
    until("a pinned model", || json(&server, &["model", "show", pinned])["state"] == "ready");
    for name in MODELS {
        run(&mut client, name);
    }
    assert_eq!(json(&server, &["model", "show", pinned])["state"], "ready");

    // What is evicted is not hosted, until it is hosted again.
    let (evicted, folder) = (MODELS[1], model("tiny-gpt2"));
    let (done, _, said) = vitrine(&server, &["model", "evict", evicted]);
    assert!(done && said.contains("no longer"), "{said}");
    until("the end of a model", || !http::get(&server.url, "/status").json().to_string().contains(evicted));
    client.say(evicted);
    let refused = client.expect("error ");
    assert!(refused.contains("not hosted here"), "{refused}");
    let named = format!("{evicted}={},dtype=float32", folder.display());
    assert!(vitrine(&server, &["model", "deploy", &named]).0);
    run(&mut client, evicted);

    let refusals = [
        (vec!["model", "deploy", "o/n=/nowhere"], "has no config.json here"),
        (vec!["model", "deploy", "o/n"], "nothing was said about o/n"),
        (
            vec!["model", "deploy", MODELS[0], "--replicas", "3", "--max-replicas", "1"],
            "must not be less than --replicas",
        ),
        (vec!["model", "show", "o/n"], "no model \"o/n\" here"),
        (vec!["node", "drain", "elsewhere"], "no node \"elsewhere\""),
    ];
    for (arguments, words) in refusals {
        let (done, out, said) = vitrine(&server, &arguments);
        assert!(!done && out.is_empty() && said.contains(words), "{words:?} is not in {said:?}");
    }

    // A node that is drained has nothing; what comes waits until it is let in again.
    assert!(vitrine(&server, &["node", "drain", "local"]).0);
    until("a drained node", || json(&server, &["node", "list"])["nodes"][0]["state"] == "drained");
    client.say(MODELS[0]);
    until("why it waits", || json(&server, &["model", "show", MODELS[0]])["wait"]["why"].is_string());
    assert!(vitrine(&server, &["node", "uncordon", "local"]).0);
    assert_eq!(client.expect("done "), MODELS[0]);
    let (_, status, _) = vitrine(&server, &["status"]);
    assert!(status.contains("local") && status.contains(MODELS[0]) && status.contains("jobs: 0 wait"), "{status}");
    client.finish();
}

#[test]
fn a_model_that_leaves_a_gpu_is_warm_and_comes_back_from_memory_with_the_same_values() {
    let data = Data::default();
    let hosted = MODELS.map(|name| {
        let folder = model(name.split_once('/').unwrap().1);
        format!("{name}={},dtype=float32,device=cuda:0", folder.display())
    });
    let models: Vec<&str> = hosted.iter().flat_map(|hosted| ["--model", hosted]).collect();
    let up = data.up().key().one_thread().arguments(&models).arguments(&["--model-memory", ROOM]);
    let mut up = up.arguments(&["--torch-lib", mock::folder().to_str().unwrap()]);
    up.command.env("VITRINE_WARM_MEMORY", "64M");
    let server = up.start();
    let (ready, cold) = (in_state(&server, "ready"), in_state(&server, "cold"));
    assert_eq!((ready.len(), cold.len()), (2, 1), "{ready:?} and {cold:?}");
    let mut client = server.client("placement.py").start();
    client.expect("here");
    let values: Vec<String> = ready.iter().map(|name| run(&mut client, name)).collect();
    run(&mut client, &cold[0]);
    until("one that left and is warm", || in_state(&server, "warm").len() == 1);
    let left = in_state(&server, "warm");
    let is_warm = |node: &Value| {
        (&node["stage"], &node["node"], &node["device"]) == (&"warm".into(), &"local".into(), &"memory".into())
    };
    // What a node has is told a moment after what became of a model.
    until("a node where it is warm", || {
        json(&server, &["model", "show", &left[0]])["nodes"].as_array().unwrap().iter().any(is_warm)
    });
    let shown = json(&server, &["model", "show", &left[0]]);
    assert!(shown["warm_load_time_s"].is_null() && shown["load_time_s"].as_f64().unwrap() > 0.0, "{shown}");
    let (_, told, _) = vitrine(&server, &["model", "show", &left[0]]);
    assert!(told.contains("warm load time"), "{told}");
    let node = &json(&server, &["node", "list"])["nodes"][0];
    assert_eq!(node["warm_bytes"], 64 << 20, "{node}");
    assert!(node["warm_used_bytes"].as_u64().unwrap() > 0, "{node}");
    let place = ready.iter().position(|name| *name == left[0]).unwrap();
    assert_eq!(run(&mut client, &left[0]), values[place], "from memory it is the same model");
    until("the time that loading from memory took", || {
        json(&server, &["model", "show", &left[0]])["warm_load_time_s"].as_f64().is_some_and(|seconds| seconds > 0.0)
    });
    client.finish();
}

/// A time as RFC 3339 has it, so many seconds from now.
fn in_seconds(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(seconds)).to_string()
}

#[test]
fn a_model_that_is_booked_is_there_for_its_tenant_when_its_window_opens_and_what_cannot_be_had_is_refused() {
    let data = Data::default();
    let hosted =
        MODELS.map(|name| format!("{name}={},dtype=float32", model(name.split_once('/').unwrap().1).display()));
    let models: Vec<&str> = hosted.iter().flat_map(|hosted| ["--model", hosted]).collect();
    let server = data.up().key().one_thread().arguments(&models).arguments(&["--model-memory", "20M"]).start();
    assert_eq!(in_state(&server, "ready").len(), 1, "there is room for one");
    let [one, other, third] = MODELS;
    let (done, _, said) = vitrine(&server, &["model", "deploy", one, "--windows-only"]);
    assert!(done, "{said}");
    until("a model that is not loaded", || json(&server, &["model", "show", one])["state"] == "cold");
    let window = |act: &[&str], name: &str, from: u64, to: u64, more: &[&str]| {
        let (from, to) = (in_seconds(from), in_seconds(to));
        let words = [&["model", "window"], act, &[name, "--from", &from, "--to", &to], more].concat();
        vitrine(&server, &words)
    };
    let (done, _, said) = window(&["add"], one, 7_200, 10_800, &[]);
    assert!(done && said.contains("is booked from"), "{said}");
    // A job for it waits for that, and is told so.
    let mut client = server.client("placement.py").start();
    client.expect("here");
    client.say(one);
    until("why it waits", || json(&server, &["model", "show", one])["wait"]["expected_at"].is_string());
    let wait = json(&server, &["model", "show", one])["wait"].clone();
    assert!(wait["why"].as_str().unwrap().contains("the next has yet to begin"), "{wait}");

    // There is room for one.
    let (done, _, said) = window(&["add"], other, 9_000, 12_000, &[]);
    assert!(!done && said.contains(one) && said.contains("cannot both be had"), "{said}");
    let (done, _, said) = window(&["add"], third, 9_000, 12_000, &["--replicas", "2"]);
    assert!(!done && said.contains("whatever else is booked"), "{said}");
    let (done, _, said) = window(&["add"], other, 20_000, 21_000, &["--daily", "--tenant", "nobody"]);
    assert!(!done && said.contains("no tenant \"nobody\""), "{said}");
    let (done, _, said) = window(&["add"], other, 20_000, 20_000, &[]);
    assert!(!done && said.contains("end after"), "{said}");
    let (done, out, _) = vitrine(&server, &["model", "window", "list", one]);
    assert!(done && out.contains("everybody") && out.contains("once"), "{out}");

    // One that is about to open: the model is loaded ahead, and the job runs.
    let (done, _, said) = window(&["add"], one, 5, 3_600, &["--tenant", "local"]);
    assert!(done, "{said}");
    assert_eq!(client.expect("done "), one);
    assert_eq!(in_state(&server, "ready"), [one]);
    let shown = json(&server, &["model", "show", one]);
    assert_eq!(shown["windows"].as_array().unwrap().len(), 2, "{shown}");
    // Nobody makes it leave while it lasts, and taken back it goes.
    let id = shown["windows"][0]["id"].to_string();
    client.say(other);
    until("why another waits", || json(&server, &["model", "show", other])["wait"]["why"].is_string());
    assert_eq!(in_state(&server, "ready"), [one]);
    let (done, _, said) = vitrine(&server, &["model", "window", "remove", one, &id]);
    assert!(done, "{said}");
    assert_eq!(client.expect("done "), other);
    let (done, _, said) = vitrine(&server, &["model", "window", "remove", one, &id]);
    assert!(!done && said.contains("has no window"), "{said}");
    client.finish();
}
