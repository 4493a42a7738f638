//! What the tests of the interpreter share: a host with nothing, and CPython as the oracle.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part")]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::io::Write;
use std::process::{Command, Stdio};
use std::rc::Rc;

use interpreter::{Coroutine, Environment, Frame, Machine, Raise, Step, Value};
use program::{Limits, Source};

/// A host that offers nothing and keeps what is printed.
#[derive(Default)]
pub struct Bare {
    pub printed: RefCell<String>,
}

impl Environment for Bare {
    fn print(&self, line: &str) {
        self.printed.borrow_mut().push_str(line);
        self.printed.borrow_mut().push('\n');
    }
}

pub fn source(text: &str) -> Source {
    Source { text: text.to_owned(), filename: "/user/block.py".to_owned(), function: "<module>".to_owned() }
}

/// Takes a file of programs apart, each after a line `#### title`.
pub fn programs(text: &str) -> Vec<(String, String)> {
    let parts = text.split("#### ").filter_map(|part| part.split_once('\n'));
    parts.map(|(title, source)| (title.to_owned(), source.to_owned())).collect()
}

/// Runs a program that asks its host nothing.
pub fn run(text: &str, limits: &Limits) -> (String, Result<Value, Raise>) {
    let (printed, result, _) = run_to_text(text, limits);
    (printed, result)
}

/// The same with the traceback, which is written before everything is let go of.
fn run_to_text(text: &str, limits: &Limits) -> (String, Result<Value, Raise>, String) {
    let host = Rc::new(Bare::default());
    let machine = Machine::new(limits, host.clone());
    let globals = vec![(Rc::from("__name__"), Value::from("__main__"))];
    let result =
        Frame::root(&machine, &source(text), Vec::new(), globals).and_then(|block| {
            match Coroutine::of_block(&machine, block).resume(None) {
                Step::Done(result) => result,
                Step::Waiting(_) => Err(Raise::runtime_error("a program without a host waited")),
            }
        });
    machine.flush();
    let traceback = result.as_ref().err().map(Raise::traceback_text).unwrap_or_default();
    machine.teardown();
    let printed = host.printed.borrow().clone();
    (printed, result, traceback)
}

/// Runs a program and returns its output with its traceback.
pub fn transcript(text: &str) -> String {
    let (printed, _, traceback) = run_to_text(text, &Limits::default());
    printed + &traceback
}

/// CPython, in one process for all programs of a test, which compiles them as the client compiles blocks.
pub struct Oracle;

const DRIVER: &str = r"
import __future__, io, json, linecache, sys, traceback, types
from contextlib import redirect_stderr, redirect_stdout
name = '/user/block.py'
# What generators raise that nobody goes on with is not told here.
sys.unraisablehook = lambda *_: None
results = []
for text in json.load(sys.stdin):
    out = io.StringIO()
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    with redirect_stdout(out):
        try:
            sys.modules['__main__'] = types.ModuleType('__main__')
            code = compile(text, name, 'exec', flags=__future__.annotations.compiler_flag)
            with redirect_stderr(out):
                exec(code, vars(sys.modules['__main__']))
        except SyntaxError as e:
            out.write('SyntaxError\n')
        except BaseException as e:
            e.__traceback__ = e.__traceback__.tb_next
            out.write(''.join(traceback.format_exception(e)))
    results.append(out.getvalue())
json.dump(results, sys.stdout)
";

impl Oracle {
    /// Runs programs here and in CPython, and fails with every difference.
    pub fn check(programs: &[(String, String)]) {
        let texts: Vec<&str> = programs.iter().map(|(_, source)| source.as_str()).collect();
        let expected = Self::run(&texts);
        assert_eq!(expected.len(), programs.len(), "CPython answered for every program");
        let mut differences = Vec::new();
        for ((title, source), expected) in programs.iter().zip(expected) {
            let mut actual = transcript(source);
            // Messages of the parser are its own; that there is an error, and where, is compared elsewhere.
            if actual.contains("\nSyntaxError: ") && expected.ends_with("SyntaxError\n") {
                actual = expected.clone();
            }
            if actual != expected {
                differences.push(format!("== {title}\n-- CPython:\n{expected}-- here:\n{actual}"));
            }
        }
        assert!(
            differences.is_empty(),
            "{} of {} differ\n{}",
            differences.len(),
            programs.len(),
            differences.join("\n")
        );
    }

    fn run(texts: &[&str]) -> Vec<String> {
        let python = std::env::var("VITRINE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut child = Command::new(python)
            .args(["-c", DRIVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("CPython is needed as the oracle: python3, or VITRINE_PYTHON");
        let input = serde_json::to_vec(texts).expect("texts are JSON");
        child.stdin.take().expect("stdin is piped").write_all(&input).expect("CPython reads the programs");
        let output = child.wait_with_output().expect("CPython ends");
        serde_json::from_slice(&output.stdout).expect("CPython answers with JSON")
    }
}
