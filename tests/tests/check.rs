//! `vitrine check` and `vitrine explain`: the unmodified client's requests, looked at and not run.

use std::process::{Command, Output};

use serde_json::Value;
use tests::{Data, KEY, Server, program, root};

/// Runs one of the commands on a script of `tests/python/checked.py`.
fn run(server: &Server, command: &str, script: &str, more: &[&str]) -> Output {
    let client = server.client("checked.py");
    let mut run = Command::new(program("vitrine"));
    run.arg(command).arg(client.command.get_args().next().unwrap());
    run.arg("--python").arg(client.command.get_program()).args(more).args(["--", script]);
    for (name, value) in client.command.get_envs() {
        match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
    }
    // This program reads them, too, and wants some.
    run.env_remove("SSL_CERT_DIR");
    run.env("VITRINE_HOST", &server.url).env("VITRINE_API_KEY", KEY);
    run.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stdout)))
}

#[test]
fn a_script_is_looked_at_up_to_its_request_and_nothing_of_it_runs() {
    let data = Data::default();
    let server = data.up().key().tiny_models().one_thread().start();

    let svg = data.path("patch.svg");
    let output = run(&server, "explain", "patch", &["--svg", svg.to_str().unwrap()]);
    let (told, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}\n{errors}");
    for part in [
        "one trace of ndif-test/tiny-gpt2",
        "reads",
        "model.transformer.h.0.output",
        "writes",
        "model.transformer.h.1.output",
        "the pass ends after model.lm_head.output: 4 of 4 layers",
        "what depends on what",
        "logits",
        "device for passes",
        "0 jobs of this model have not ended",
        "neither saved nor used",
    ] {
        assert!(told.contains(part), "{part:?} is not in\n{told}\n{errors}");
    }
    // What the script prints does not mix with what is told, and it ends at its request.
    assert!(errors.contains("the script prints this") && !errors.contains("come to its end"), "{errors}");
    assert!(!told.contains("the script prints this"), "{told}");
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("model.lm_head.output"), "{svg}");

    let told = json(&run(&server, "check", "session", &["--json"]));
    let request = &told["requests"][0];
    assert_eq!((&request["session"], &request["model_known"]), (&true.into(), &true.into()), "{told:#}");
    let layers: Vec<_> = request["traces"].as_array().unwrap().iter().map(|trace| trace["layers"].as_u64()).collect();
    assert_eq!(layers, [Some(1), Some(2), Some(3)], "{told:#}");
    // Tokens are counted by the model's own tokenizer, and shapes follow.
    assert!(request["traces"][0]["length"].as_i64().is_some_and(|length| length > 0), "{told:#}");
    assert_eq!(request["saved"][0]["name"], "found");
    assert!(request["saved"][0]["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{told:#}");

    // A client that does not wait sends all of a loop.
    let told = json(&run(&server, "check", "several", &["--json"]));
    let requests = told["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 3, "{told:#}");
    let kinds = |request: &Value| -> Vec<String> {
        let all = request["warnings"].as_array().unwrap().iter();
        all.map(|warning| format!("{} {}", warning["kind"], warning["certainty"])).collect()
    };
    assert!(kinds(&requests[0]).contains(&"\"loop\" \"certain\"".to_owned()), "{told:#}");

    let refused = run(&server, "check", "refused", &[]);
    let told = text(&refused.stdout);
    assert!(!refused.status.success() && told.contains("would be refused"), "{told}\n{}", text(&refused.stderr));
    assert!(told.contains("checked.py\", line 38") && told.contains("'async def'"), "{told}");

    let jobs = run_plain(&server, &["job", "list", "--json"]);
    assert_eq!(json(&jobs)["jobs"].as_array().map(Vec::len), Some(0), "nothing ran");

    let script = root().join("tests/python/checked.py");
    for (python, says) in
        [("false", "failed before it sent a request"), ("true", "sent no request"), ("no/python", "--python names")]
    {
        let none = run_plain(&server, &["check", script.to_str().unwrap(), "--python", python]);
        let errors = text(&none.stderr);
        assert!(!none.status.success() && errors.contains(says), "{errors}");
    }
}

fn run_plain(server: &Server, arguments: &[&str]) -> Output {
    let mut run = Command::new(program("vitrine"));
    run.args(arguments).env("VITRINE_HOST", &server.url).env("VITRINE_API_KEY", KEY);
    run.output().unwrap()
}
