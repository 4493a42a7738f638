//! Checks a program before anything of it runs.

use std::rc::Rc;

use crate::datum::Datum;
use crate::ir::Code;
use crate::{Limits, Program, Ref, SyntaxError, lower};

/// A program whose blocks parse and use only syntax that the evaluator has.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked<T>(T);

impl<T> Checked<T> {
    /// Returns what was checked.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// Gives up the mark.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Parses the block and the edits, which will run, and checks the number of values. The functions that came along are parsed
/// where they run: most of a library is never called. A request may name one edit many times, so that all of them together
/// may be as long as one text, and as many as [`MOST_EDITS`].
///
/// # Errors
/// The first source that cannot run, with the user's file and line.
pub fn check(program: Program, limits: &Limits) -> Result<Checked<Program>, SyntaxError> {
    lowered(program, limits).map(|(checked, _)| checked)
}

/// As [`check`], with the block's code, for who looks at it.
///
/// # Errors
/// As [`check`].
pub fn lowered(program: Program, limits: &Limits) -> Result<(Checked<Program>, Rc<Code>), SyntaxError> {
    if program.heap.len() > limits.heap_nodes as usize {
        let message = format!("the request holds {} values, more than {}", program.heap.len(), limits.heap_nodes);
        return Err(SyntaxError { message, filename: program.source.filename, line: 0, text: None });
    }
    let heap = (0..u32::try_from(program.heap.len()).unwrap_or(u32::MAX)).filter_map(|at| program.heap.get(Ref(at)));
    let edits = heap.filter_map(|datum| match datum {
        Datum::Envoy(envoy) => Some(&envoy.edits),
        _ => None,
    });
    let edits: Vec<_> = edits.flatten().map(|edit| &edit.source).collect();
    let bytes = edits.iter().fold(0_usize, |bytes, edit| bytes.saturating_add(edit.text.len()));
    if edits.len() > MOST_EDITS || bytes > limits.source_bytes {
        let message = format!(
            "the request holds {} edits of the model with {bytes} bytes of source text, more than {MOST_EDITS} or than {} \
             bytes",
            edits.len(),
            limits.source_bytes
        );
        return Err(SyntaxError { message, filename: program.source.filename, line: 0, text: None });
    }
    for edit in edits {
        lower::block(edit, limits)?;
    }
    let code = lower::block(&program.source, limits)?;
    Ok((Checked(program), code))
}

/// How many edits a request may hold.
const MOST_EDITS: usize = 1000;

#[cfg(test)]
mod tests {
    use ids::ModelKey;

    use super::*;
    use crate::datum::{Edit, Envoy};
    use crate::{Entry, Env, Heap, Source};

    #[test]
    fn edits_are_parsed_where_they_are_not_too_many() {
        let source = |text: &str| Source { text: text.into(), filename: "f.py".into(), function: String::new() };
        let program = |edits: Vec<Edit>| {
            let mut heap = Heap::default();
            heap.push(Datum::Envoy(Envoy { path: String::new(), edits, ..Envoy::default() }));
            let (model, env, entry) = (ModelKey::new("o/n", None), Env::default(), Entry::Session);
            let source = source("x");
            Program { model, env, entry, modules: Vec::new(), source, heap, locals: Vec::new(), globals: Vec::new() }
        };
        assert!(check(program(Vec::new()), &Limits::default()).is_ok());
        let edits = |text: &str, count: usize| {
            let edit = Edit { source: source(text), globals: Vec::new(), locals: Vec::new() };
            check(program(vec![edit; count]), &Limits::default())
        };
        assert!(edits("x = 1", MOST_EDITS).is_ok());
        let refused = edits("\n(((", 1).unwrap_err();
        assert_eq!((refused.filename.as_str(), refused.line), ("f.py", 2));
        // Its text would be an error of its own.
        let refused = edits("(((", MOST_EDITS + 1).unwrap_err();
        assert!(refused.message.starts_with("the request holds 1001 edits of the model"), "{}", refused.message);
        let long = "(".repeat(Limits::default().source_bytes / 2);
        let refused = edits(&long, 3).unwrap_err();
        assert!(refused.message.starts_with("the request holds 3 edits of the model"), "{}", refused.message);
    }
}
