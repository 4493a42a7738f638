//! Checks a program before anything of it runs.

use crate::datum::Datum;
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

/// Parses the block, which will run, and checks the number of values. The functions that came along are parsed where
/// they run: most of a library is never called. Edits are refused here, since they could not run; none is parsed.
///
/// # Errors
/// The first source that cannot run, with the user's file and line.
pub fn check(program: Program, limits: &Limits) -> Result<Checked<Program>, SyntaxError> {
    if program.heap.len() > limits.heap_nodes as usize {
        let message = format!("the request holds {} values, more than {}", program.heap.len(), limits.heap_nodes);
        return Err(SyntaxError { message, filename: program.source.filename, line: 0, text: None });
    }
    for index in 0..program.heap.len() {
        let Ok(index) = u32::try_from(index) else { break };
        if let Some(Datum::Envoy(envoy)) = program.heap.get(Ref(index))
            && !envoy.edits.is_empty()
        {
            let message = "model.edit() is not supported by this server".into();
            return Err(SyntaxError { message, filename: program.source.filename, line: 0, text: None });
        }
    }
    lower::block(&program.source, limits)?;
    Ok(Checked(program))
}

#[cfg(test)]
mod tests {
    use ids::ModelKey;

    use super::*;
    use crate::datum::{Edit, Envoy};
    use crate::{Entry, Env, Heap, Source};

    #[test]
    fn an_edit_is_refused_and_not_parsed() {
        let source = |text: &str| Source { text: text.into(), filename: "f.py".into(), function: String::new() };
        let program = |edits: Vec<Edit>| {
            let mut heap = Heap::default();
            heap.push(Datum::Envoy(Envoy { path: String::new(), edits, aliases: Vec::new() }));
            let (model, env, entry) = (ModelKey::new("o/n", None), Env::default(), Entry::Session);
            let source = source("x");
            Program { model, env, entry, modules: Vec::new(), source, heap, locals: Vec::new(), globals: Vec::new() }
        };
        assert!(check(program(Vec::new()), &Limits::default()).is_ok());
        // Its text would be an error of its own.
        let edit = Edit { source: source("((("), globals: Vec::new(), locals: Vec::new() };
        let refused = check(program(vec![edit]), &Limits::default()).unwrap_err();
        assert_eq!(refused.message, "model.edit() is not supported by this server");
        assert_eq!(refused.filename, "f.py");
    }
}
