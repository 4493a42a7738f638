//! Programs as they lie in a store.

use program::{Batching, Datum, Entry, Env, Heap, Program, Source, frame};

/// Bytes that a program may hold here.
const LIMIT: u64 = 4 << 20;

/// Opens a stored program. What is one can be stored again, and comes back.
pub fn run(data: &[u8]) -> bool {
    let told = frame::content(data);
    let program = match Program::decode(data, LIMIT) {
        Ok(program) => program,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert!(told.expect("it was opened") <= LIMIT);
    let stored = program.encode().expect("a program can be stored");
    let again = Program::decode(&stored, LIMIT).expect("what was stored can be read");
    // Compared as bytes: a NaN is another value than itself.
    assert_eq!(again.encode().expect("a program can be stored"), stored);
    true
}

/// Programs of so little text that it is kept as it is, of one frame, and of several.
pub fn seeds() -> Vec<Vec<u8>> {
    [3, 100, 45_000].map(|lines| program(lines).encode().expect("a program can be stored")).into()
}

fn program(lines: usize) -> Program {
    let mut heap = Heap::default();
    let text = heap.push(Datum::Str("a text".into()));
    let list = heap.push(Datum::List(vec![text, text]));
    Program {
        model: ids::ModelKey::new("a/b", None),
        env: Env { batching: Some(Batching::Shared), ..Env::default() },
        entry: Entry::Session,
        modules: vec!["layers.0".into()],
        source: Source { text: "x = layers[0].output.save()\n".repeat(lines), ..Source::default() },
        heap,
        locals: vec![("x".into(), list)],
        globals: Vec::new(),
    }
}
