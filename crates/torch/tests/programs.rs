//! Programs that train, and the modules that they import: what they print here is what they print in Python, to the last
//! bit, tracebacks apart.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use interpreter::{Coroutine, Environment, Frame, Machine, Step, Value};
use program::{Limits, Source};

#[derive(Default)]
struct Host {
    printed: RefCell<String>,
}

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }

    fn print(&self, line: &str) {
        self.printed.borrow_mut().push_str(line);
        self.printed.borrow_mut().push('\n');
    }
}

const DRIVER: &str = r"
import io, json, sys, warnings
from contextlib import redirect_stdout
warnings.simplefilter('ignore')
results = []
for text in json.load(sys.stdin):
    out = io.StringIO()
    with redirect_stdout(out):
        try:
            exec(compile(text, 'program', 'exec'), {'__name__': '__main__'})
        except Exception as e:
            print(f'{type(e).__name__}: {e}')
    results.append(out.getvalue())
json.dump(results, sys.stdout)
";

fn python(texts: &[&str]) -> Vec<String> {
    let local = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let python = std::env::var_os("VITRINE_PYTHON").map_or_else(local, PathBuf::from);
    let mut child = Command::new(&python)
        .args(["-c", DRIVER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; `make setup-tests` installs it", python.display()));
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(texts).unwrap()).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

fn here(text: &str) -> String {
    let host = Rc::new(Host::default());
    let machine = Machine::new(&Limits::default(), host.clone());
    let source = Source { text: text.into(), filename: "program".into(), function: "<module>".into() };
    let globals = vec![(Rc::from("__name__"), Value::from("__main__"))];
    let result = Frame::root(&machine, &source, Vec::new(), globals).and_then(|block| {
        match Coroutine::of_block(&machine, block).resume(None) {
            Step::Done(result) => result,
            Step::Waiting(_) => panic!("a program without a model waited"),
        }
    });
    machine.flush();
    if let Err(raise) = &result {
        let name = raise.type_name();
        let line = format!("{}: {}\n", name.rsplit('.').next().unwrap_or(&name), raise.message());
        host.printed.borrow_mut().push_str(&line);
    }
    drop(result);
    machine.teardown();
    host.printed.take()
}

fn check(text: &str) {
    let programs: Vec<(&str, &str)> = text.split("#### ").filter_map(|part| part.split_once('\n')).collect();
    let texts: Vec<&str> = programs.iter().map(|(_, source)| *source).collect();
    let mut wrong = Vec::new();
    for ((title, source), expected) in programs.iter().zip(python(&texts)) {
        let got = here(source);
        if got != expected {
            wrong.push(format!("== {title}\n-- Python:\n{expected}-- here:\n{got}"));
        }
    }
    assert!(!programs.is_empty());
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), programs.len(), wrong.join("\n"));
}

#[test]
fn training_gives_the_bits_that_pytorch_gives() {
    check(include_str!("programs/training.py"));
}
