//! What tests of programs share: a host with torch and nothing else, and Python as the oracle.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part")]
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
import __future__, io, json, sys, types, warnings
from contextlib import redirect_stdout
warnings.simplefilter('ignore')
results = []
for text in json.load(sys.stdin):
    out = io.StringIO()
    with redirect_stdout(out):
        try:
            sys.modules['__main__'] = types.ModuleType('__main__')
            exec(compile(text, 'program', 'exec', flags=__future__.annotations.compiler_flag), vars(sys.modules['__main__']))
        except Exception as e:
            print(f'{type(e).__name__}: {e}')
    results.append(out.getvalue())
json.dump(results, sys.stdout)
";

/// Returns the Python that the tests' libraries are installed for.
pub fn python() -> PathBuf {
    let local = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    std::env::var_os("VITRINE_PYTHON").map_or_else(local, PathBuf::from)
}

/// Runs programs in Python, in one process, and returns what each prints.
pub fn in_python(texts: &[&str]) -> Vec<String> {
    let python = python();
    let mut child = Command::new(&python)
        .args(["-c", DRIVER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; `make setup-tests` installs it", python.display()));
    let input = serde_json::to_vec(texts).unwrap_or_else(|error| panic!("texts are JSON: {error}"));
    let Some(mut stdin) = child.stdin.take() else { panic!("stdin is piped") };
    stdin.write_all(&input).unwrap_or_else(|error| panic!("Python reads the programs: {error}"));
    drop(stdin);
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("Python ends: {error}"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("Python answers with JSON: {error}"))
}

/// Runs a program here, and returns what it prints.
pub fn here(text: &str, limits: &Limits) -> String {
    let host = Rc::new(Host::default());
    let machine = Machine::new(limits, host.clone());
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

/// Runs programs, each after a line `#### title`, here and in Python, and fails with every difference.
pub fn check(text: &str) {
    let programs: Vec<(&str, &str)> = text.split("#### ").filter_map(|part| part.split_once('\n')).collect();
    let texts: Vec<&str> = programs.iter().map(|(_, source)| *source).collect();
    let mut wrong = Vec::new();
    for ((title, source), expected) in programs.iter().zip(in_python(&texts)) {
        let got = here(source, &Limits::default());
        if got != expected {
            wrong.push(format!("== {title}\n-- Python:\n{expected}-- here:\n{got}"));
        }
    }
    assert!(!programs.is_empty());
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), programs.len(), wrong.join("\n"));
}
