//! Every case of `oracle/cases.txt` gives here what it gives in Python: the same values to the last bit, types,
//! shapes, exceptions and their texts.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use interpreter::{Coroutine, Environment, Frame, Machine, Step, Value};
use program::{Limits, Source};

struct Host;

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(here(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn cases() -> Vec<String> {
    let text = read("cases.txt");
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Runs a block and returns the text bound to `result`, or the exception.
fn evaluate(prelude: &str, case: &str) -> String {
    let machine = Machine::new(&Limits::default(), Rc::new(Host));
    let case = case.replace("\\n", "\n");
    let (statements, expression) = case.rsplit_once(" ;; ").unwrap_or(("", &case));
    let statements = statements.replace(" ;; ", "\n");
    let text = format!("{prelude}\n{statements}\nresult = repr(describe({expression}))\n");
    let source = Source { text, filename: "case".into(), function: "<module>".into() };
    let block = match Frame::root(&machine, &source, Vec::new(), Vec::new()) {
        Ok(block) => block,
        Err(raise) => return format!("{}: {}", raise.type_name(), raise.message()),
    };
    let frame = Rc::clone(&block.frame);
    let outcome = match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(Ok(_)) => frame.get("result").as_ref().and_then(Value::as_str).unwrap_or("no result").to_owned(),
        Step::Done(Err(raise)) => {
            let name = raise.type_name();
            format!("{}: {}", name.rsplit('.').next().unwrap_or(&name), raise.message())
        }
        Step::Waiting(_) => "suspended".to_owned(),
    };
    machine.teardown();
    outcome
}

fn python() -> PathBuf {
    let local = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    std::env::var_os("VITRINE_PYTHON").map_or_else(local, PathBuf::from)
}

#[test]
fn every_case_gives_what_python_gives() {
    let run = Command::new(python())
        .arg(here("evaluate.py"))
        .args([here("prelude.py"), here("cases.txt")])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `make setup` installs it", python().display()));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let answers = String::from_utf8(run.stdout).unwrap();
    let answers: Vec<String> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (prelude, cases) = (read("prelude.py"), cases());
    assert_eq!(answers.len(), cases.len());
    let mut wrong = Vec::new();
    for (case, expected) in cases.iter().zip(&answers) {
        let got = evaluate(&prelude, case);
        if !agree(&got, expected) {
            wrong.push(format!("{case}\n  python: {expected}\n  here:   {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Texts agree when they are equal; of the lists of overloads that PyTorch appends to a `TypeError`, only the first
/// line counts.
fn agree(got: &str, expected: &str) -> bool {
    let first = |text: &str| text.split(", but expected ").next().unwrap_or_default().to_owned();
    first(got) == first(expected)
}
