//! Requests that a loop sends one by one, where one session would do.

use std::collections::BTreeMap;

use explain::Explanation;
use explain::answer::{Certainty, Kind, Warning};
use program::ir::{Body, StatementKind};
use program::{Limits, Source, lower};

use crate::remote::Refusal;

/// Adds a warning to the first request of each place that sends several, and to those that stand in a loop of the script.
pub fn warn(told: &mut [Result<Explanation, Refusal>], script: &str) {
    let mut times: BTreeMap<(String, u32), usize> = BTreeMap::new();
    for request in told.iter().flatten() {
        *times.entry(place(request)).or_default() += 1;
    }
    let looping = loops(script);
    for request in told.iter_mut().flatten().filter(|request| !request.session) {
        let place = place(request);
        let Some(times) = times.remove(&place) else { continue };
        let line = place.1;
        let stands = looping.iter().any(|(first, last)| (*first..=*last).contains(&line));
        let sent = match times {
            1 if stands => "a loop sends this request at each of its turns".to_owned(),
            1 => continue,
            times => format!("this request is sent {times} times, each by itself"),
        };
        let text =
            format!("{sent}: put the loop inside `with model.session(remote=True):`, and all of it is one request");
        let certainty = if times > 1 { Certainty::Certain } else { Certainty::Perhaps };
        request.warnings.push(Warning { kind: Kind::Loop, line, text, certainty });
        request.warnings.sort_by_key(|warning| (warning.line, warning.kind));
    }
}

fn place(request: &Explanation) -> (String, u32) {
    (request.file.clone(), request.traces.first().map_or(0, |trace| trace.line))
}

/// Returns the first and the last lines of a script's loops; none where it has syntax that this program does not know.
fn loops(script: &str) -> Vec<(u32, u32)> {
    let source = Source { text: script.to_owned(), filename: String::new(), function: String::new() };
    let mut found = Vec::new();
    if let Ok(code) = lower::block(&source, &Limits::default()) {
        collect(&code.body, &mut found);
    }
    found
}

fn collect(body: &Body, found: &mut Vec<(u32, u32)>) {
    for statement in &body.statements {
        let span = (statement.span.line, statement.span.end_line);
        match &statement.kind {
            StatementKind::For { body, otherwise, .. } | StatementKind::While { body, otherwise, .. } => {
                found.push(span);
                collect(body, found);
                collect(otherwise, found);
            }
            StatementKind::If { branches, otherwise } => {
                branches.iter().for_each(|(_, body)| collect(body, found));
                collect(otherwise, found);
            }
            StatementKind::With { body, .. } => collect(body, found),
            StatementKind::Try(attempt) => {
                collect(&attempt.body, found);
                attempt.handlers.iter().for_each(|handler| collect(&handler.body, found));
                collect(&attempt.otherwise, found);
                collect(&attempt.finally, found);
            }
            StatementKind::Function { definition, .. } => collect(&definition.code.body, found),
            StatementKind::Class(class) => collect(&class.code.body, found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use explain::answer::{Calls, Trace};

    use super::*;

    fn request(line: u32, session: bool) -> Result<Explanation, Refusal> {
        let trace = Trace {
            line,
            calls: Calls::Forward,
            certainty: Certainty::Certain,
            inputs: Vec::new(),
            length: None,
            passes: Some(1),
            accesses: Vec::new(),
            accesses_left_out: 0,
            stops_after: None,
            layers: None,
            layers_in_all: None,
            stops: Certainty::Perhaps,
        };
        Ok(Explanation { traces: vec![trace], session, ..Explanation::default() })
    }

    #[test]
    fn requests_of_a_loop_are_warned_of_unless_they_are_a_session() {
        let script = "x = 1\nfor i in range(3):\n    with model.trace('a', remote=True):\n        y = 1\nwith model.trace('b'):\n    y = 1\n";
        let warned = |requests: Vec<Result<Explanation, Refusal>>| -> Vec<Vec<Certainty>> {
            let mut requests = requests;
            warn(&mut requests, script);
            let of = |request: &Explanation| request.warnings.iter().map(|it| it.certainty).collect();
            requests.iter().flatten().map(of).collect()
        };
        assert_eq!(warned(vec![request(4, false)]), [vec![Certainty::Perhaps]]);
        assert_eq!(warned(vec![request(6, false)]), [vec![]]);
        assert_eq!(warned(vec![request(4, true)]), [vec![]]);
        assert_eq!(warned(vec![request(6, false), request(6, false)]), [vec![Certainty::Certain], vec![]]);
        assert!(loops("async def f(): pass\n(((").is_empty());
    }
}
