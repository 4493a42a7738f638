//! Programs: their text, their lowering, and their evaluation within limits.

use std::rc::Rc;
use std::sync::OnceLock;

use interpreter::{Coroutine, Environment, Frame, Machine, Raise, Step, Value};
use program::{Limits, Source};

/// Programs of every part of the language.
const LANGUAGE: &str = include_str!("../../interpreter/tests/language.py");

fn programs() -> impl Iterator<Item = &'static str> {
    LANGUAGE.split("#### ").filter_map(|part| part.split_once('\n')).map(|(_, text)| text)
}

/// Pieces of programs: all names, numbers, operators and ends of lines that the language's own tests have.
fn pieces() -> &'static [&'static str] {
    static PIECES: OnceLock<Vec<&str>> = OnceLock::new();
    PIECES.get_or_init(|| {
        let mut all: Vec<&str> = programs().flat_map(split).chain(TORCH.iter().flat_map(|text| split(text))).collect();
        all.sort_unstable();
        all.dedup();
        all
    })
}

/// Programs that reach for tensors.
const TORCH: [&str; 4] = [
    "import torch\nx = torch.arange(12.).view(3, 4)\nprint((x @ x.mT)[1:, None].softmax(-1))\n",
    "import torch\nx = torch.ones(2, 2, requires_grad=True)\n(x * x).sum().backward()\nprint(x.grad)\n",
    "import torch\nx = torch.zeros(5)\nx[torch.tensor([1, 3])] = 2.\nprint(x.tolist(), x.topk(2))\n",
    "import torch, einops\nwith torch.no_grad():\n    print(einops.rearrange(torch.rand(2, 6), 'a (b c) -> c a b', b=2).shape)\n",
];

/// Cuts a text into names and numbers, ends of lines with the indentation behind them, spaces, and other characters.
fn split(text: &'static str) -> Vec<&'static str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let wordy = |letter: char| letter.is_alphanumeric() || letter == '_';
        let end = match first {
            '\n' => 1 + rest[1..].find(|letter| letter != ' ').unwrap_or(rest.len() - 1),
            first if wordy(first) => rest.find(|letter| !wordy(letter)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Makes a text of bytes: as they are where the first is odd, else of two bytes for each piece.
fn text_of(data: &[u8]) -> String {
    match data.split_first() {
        Some((first, text)) if first % 2 == 1 => String::from_utf8_lossy(text).into_owned(),
        Some((_, numbers)) => {
            let pieces = pieces();
            let number = |pair: &[u8]| pair.iter().fold(0, |number, &byte| number << 8 | usize::from(byte));
            numbers.chunks(2).map(|pair| pieces[number(pair) % pieces.len()]).collect()
        }
        None => String::new(),
    }
}

/// Reads bytes as a program's text.
pub fn run(data: &[u8]) -> bool {
    lowered(&String::from_utf8_lossy(data))
}

/// Reads a text of pieces.
pub fn lower(data: &[u8]) -> bool {
    lowered(&text_of(data))
}

fn lowered(text: &str) -> bool {
    let limits = Limits::default();
    let _ = program::lower::function(text, "f", "/user/block.py", 3, &limits);
    match program::lower::block(&source(text), &limits) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

fn source(text: &str) -> Source {
    Source { text: text.to_owned(), filename: "/user/block.py".to_owned(), function: String::new() }
}

struct Host;

impl Environment for Host {
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        torch::import(machine, module)
    }
}

/// Runs a text within limits, whatever it comes to. What it was charged for is given back in the end.
pub fn evaluate(data: &[u8]) -> bool {
    let limits = Limits {
        fuel: 20_000,
        memory_bytes: 4 << 20,
        tensor_bytes: 16 << 20,
        call_depth: 100,
        run_time: std::time::Duration::from_secs(1),
        ..Limits::default()
    };
    let text = text_of(data);
    let machine = Machine::new(&limits, Rc::new(Host));
    let globals = vec![("__name__".into(), Value::from("__main__"))];
    let block = Frame::root(&machine, &source(&text), Vec::new(), globals);
    let taken = block.is_ok();
    let ended = block.and_then(|block| match Coroutine::of_block(&machine, block).resume(None) {
        Step::Done(result) => result.map(drop),
        Step::Waiting(_) => Err(Raise::runtime_error("a program that asks nobody waited")),
    });
    if let Err(raise) = ended {
        assert!(!raise.traceback_text().is_empty(), "{text}");
        assert!(!raise.message().contains("asks nobody"), "{text}");
    }
    machine.teardown();
    assert_eq!(machine.memory_bytes(), 0, "what was charged is given back: {text}");
    taken
}

/// Texts as they are.
pub fn seeds() -> Vec<Vec<u8>> {
    programs().map(|text| text.as_bytes().to_vec()).collect()
}

/// Texts in pieces.
pub fn spliced() -> Vec<Vec<u8>> {
    let number = |piece: &&str| pieces().binary_search(piece).unwrap_or(0).to_be_bytes();
    let encoded = |text| split(text).iter().flat_map(|piece| number(piece)[6..].to_vec()).collect::<Vec<_>>();
    programs().chain(TORCH).map(|text| [vec![0], encoded(text)].concat()).collect()
}
