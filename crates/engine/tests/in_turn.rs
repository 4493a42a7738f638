//! Random sessions give what they give when each trace runs in its turn: the same values, lines and errors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use engine::conformance::{Outcome, Subject, outcome_of};
use engine::{Engine, Job, fake};
use program::{Batching, Datum, Ref, Saved};

const TOY: Subject<'_> = Subject { layers: "model.layers", head: "model.head", engine: &|| Box::new(fake::engine()) };

/// Runs a job alone; counts the steps that the engine took.
fn run(mut job: Job, batching: Batching) -> (Outcome, usize) {
    job.program.env.batching = Some(batching);
    let (id, mut engine, mut events, mut steps) = (job.id, fake::engine(), Vec::new(), 0);
    engine.submit(job);
    while !engine.idle() {
        events.extend(engine.step());
        steps += 1;
    }
    (outcome_of(id, &events), steps)
}

/// Runs a session as it stands and with every trace in its turn. Returns whether traces waited for each other.
fn same(source: &str, context: &str) -> bool {
    let (late, steps) = run(TOY.session_job(source), Batching::Shared);
    // A job that has its passes to itself opens its traces one by one.
    let (turn, more) = run(TOY.session_job(source), Batching::Exclusive);
    let written = |outcome: &Outcome| match &outcome.end {
        Ok(saved) => Ok(written(saved)),
        Err(failure) => Err(failure.message.clone()),
    };
    assert_eq!(late.printed, turn.printed, "{context}\n{source}");
    assert_eq!(written(&late), written(&turn), "{context}\n{source}");
    steps < more
}

fn written(saved: &Saved) -> Vec<String> {
    let mut lines: Vec<String> =
        saved.names.iter().map(|(name, at)| format!("{name} = {}", text(saved, *at))).collect();
    lines.sort();
    lines
}

fn text(saved: &Saved, at: Ref) -> String {
    let all = |items: &[Ref]| items.iter().map(|item| text(saved, *item)).collect::<Vec<_>>().join(", ");
    match saved.heap.get(at).unwrap() {
        Datum::List(items) => format!("[{}]", all(items)),
        Datum::Tuple(items) => format!("({})", all(items)),
        Datum::Dict(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}: {}", text(saved, *key), text(saved, *value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Datum::Tensor(data) => format!("{:?} {:?}", data.shape, data.bytes),
        other => format!("{other:?}"),
    }
}

/// What every session begins with: things that its traces may look at and store in, some by two names.
const BEGIN: &str = "import bisect, copy, functools, heapq, operator, statistics
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, replace
from heapq import heappush, nlargest
from statistics import mean
rows = nnsight.save([])
table = nnsight.save({})
heap = nnsight.save([])
ordered = nnsight.save([1, 5])
same = rows
holder = nnsight.save({'rows': rows, 'heap': heap})
counts = nnsight.save(defaultdict(int))
last = nnsight.save([])
recent = deque(maxlen=3)
values = table.values()
n = 1
m = 0
@dataclass
class Place:
    row: int
    column: int = 0
place = Place(1)
@functools.cache
def kept(value):
    return value + len(rows)
def push(heap, value):
    heapq.heappush(heap, value)
def scaled(value):
    return value * n
def first():
    return rows[0] if rows else -1
def bump(by=[0]):
    by[0] += 1
    return by[0]
def total(values):
    total = 0
    for value in values:
        total = total + value
    return total
def clean_part():
    return clean
with model.trace('Hello'):
    clean = LAYERS[0].output.clone()
clean = nnsight.save(clean)
parts = nnsight.save([clean])
";

/// Statements of a trace's block; `L` is a layer no earlier than the one before.
const BLOCK: &[&str] = &[
    "rows.append(h.sum().item())",
    "rows.append(n)",
    "rows.append((n, m))",
    "rows.append(scaled(n))",
    "rows.append(first())",
    "rows.append(bump())",
    "rows.append(len(rows))",
    "rows.append(len(same))",
    "rows.append(len(holder['rows']))",
    "rows.append(len(values))",
    "rows.append(max(n, m, key=abs))",
    "rows.append(total([n, m]))",
    "same.append(n)",
    "last.append(h.clone())",
    "last.append([n, h.shape[0]])",
    "table[n] = h.shape[0]",
    "table['sum', m] = h.sum().item()",
    "table[n] = len(rows)",
    "rows[0] = n",
    "recent.append(n)",
    "heapq.heappush(heap, n)",
    "heappush(heap, n)",
    "push(heap, n)",
    "bisect.insort(ordered, n)",
    "operator.setitem(table, n, m)",
    "operator.iadd(rows, [n])",
    "rows.append(mean([n, m]))",
    "rows.append(statistics.median(ordered))",
    "rows.append(nlargest(1, rows))",
    "rows.append(copy.deepcopy([n, len(rows)]))",
    "last.append(copy.copy(holder))",
    "rows.append(bisect.bisect(ordered, n))",
    "rows.append(functools.reduce(operator.add, [n, m]))",
    "rows.append(kept(n))",
    "rows.append(replace(place, column=n).column)",
    "place.row = n\nBODYrows.append(place.row)",
    "heapq.heapify(rows)",
    "rows.extend([n, m])",
    "rows.sort(key=str)",
    "holder['heap'].append(n)",
    "holder['rows'] += [n]",
    "counts[n] += 1",
    "x = counts[m]",
    "x = n + m",
    "n = n + 1",
    "m = h.shape[1]",
    "print(n, m)",
    "clean[0] = n",
    "y = clean\nBODYy[0] = m",
    "y = parts[0]\nBODYy[0] = n",
    "y = [clean]\nBODYy[0][0] = m",
    "for y in parts:\n    BODYy[0] = n",
    "z = clean_part()\nBODYz[0] = m",
    "w = {'a': clean}\nBODYw['a'][0] = n",
    "both = parts + [clean]\nBODYboth[1][0] = m",
    "[operator.setitem(part, 0, n) for part in parts]",
    "LAYERS[L].output[:] = clean * n",
    "LAYERS[L].output[:] = 0",
    "LAYERS[L].output = clean * m",
    "LAYERS[L].output = clean",
    "h = LAYERS[L].output",
    "h = LAYERS[L].output\nBODYh[0] = n",
    "part = []\nBODYpart.append(h.sum().item())\nBODYpart.append(n)\nBODYrows.append(part)",
    "if n % 2:\n    BODYrows.append('odd')",
    "for k in range(2):\n    BODYrows.append((k, n))",
    "for k in range(2):\n    BODYv = k + n\n    BODYrows.append(v)",
    "found = [value for value in rows]",
    "rows.append([a + n for a in range(2)])",
    "g = rows.append\nBODYg(n)",
    "k = Counter([n, m])\nBODYrows.append(k[n])",
    "o = OrderedDict(a=n)\nBODYo['b'] = m\nBODYrows.append(list(o))",
    "rows.append(h[99])",
    "rows.append(undefined)",
    "assert n < 6",
];

/// Statements of the session's own code, between its traces.
const BETWEEN: &[&str] = &[
    "n = n + 1",
    "n += 1",
    "m = n * 2",
    "m = len(rows)",
    "print(len(rows), n)",
    "print(rows, table)",
    "print(len(recent), list(values))",
    "rows.append('between')",
    "last.append(rows)",
    "last.append(n)",
    "same = []",
    "same = rows",
    "x = 5",
    "h = None",
    "print(bump())",
    "kept = rows[0]",
    "kept = table[1]",
    "kept = counts[3]",
    "table['between'] = n",
    "push(heap, 0)",
    "scaled = abs",
    "if n > 3:\n    m = 0",
    "if len(rows) > 2:\n    n = 0",
    "parts.append(clean)",
    "clean = clean * 1",
    "pass",
    "'a text'",
];

/// Those that a plain loop of traces has, of which there are more.
const PLAIN: &[&str] = &[
    "rows.append(h.sum().item())",
    "rows.append((n, m))",
    "table[n] = h.shape[0]",
    "last.append(h.clone())",
    "LAYERS[L].output[:] = clean * n",
    "LAYERS[L].output = clean * m",
    "x = h.sum().item()",
];

struct Writer {
    random: fastrand::Rng,
    text: String,
}

impl Writer {
    fn session(seed: u64) -> String {
        let mut writer = Self { random: fastrand::Rng::with_seed(seed), text: BEGIN.to_owned() };
        for _ in 0..writer.random.usize(2..6) {
            writer.part("");
        }
        writer.text
    }

    fn part(&mut self, indent: &str) {
        let inner = format!("{indent}    ");
        match self.random.u8(0..10) {
            0..5 => self.trace(indent),
            5 | 6 => {
                let over = ["range(3)", "range(n)", "[1, 2]", "rows", "enumerate(ordered)"];
                let over = over[self.random.usize(..over.len())];
                let name = ["n", "m", "turn"][self.random.usize(..3)];
                self.text.push_str(&format!("{indent}for {name} in {over}:\n"));
                self.trace(&inner);
                for _ in 0..self.random.usize(..3) {
                    self.between(&inner);
                }
                // A list that its own loop makes longer.
                self.text.push_str(&format!("{inner}if len(rows) > 12:\n{inner}    break\n"));
            }
            _ => self.between(indent),
        }
    }

    fn trace(&mut self, indent: &str) {
        let input = ["'Hello'", "'Helix'", "['Hello']"][self.random.usize(..3)];
        let target = if self.random.u8(0..8) == 0 { " as tracer" } else { "" };
        self.text.push_str(&format!("{indent}with model.trace({input}){target}:\n{indent}    h = LAYERS[0].output\n"));
        let mut layer = 0;
        for _ in 0..self.random.usize(1..4) {
            let statements = if self.random.u8(0..4) < 3 { PLAIN } else { BLOCK };
            let statement = statements[self.random.usize(..statements.len())];
            if statement.contains("[L]") {
                layer = self.random.usize(layer..3);
            }
            // Lines after the first stand as deep as the first, or as their own indentation has it.
            let statement = statement.replace("[L]", &format!("[{layer}]"));
            for line in statement.lines() {
                let line = line.replace("BODY", "");
                self.text.push_str(&format!("{indent}    {line}\n"));
            }
        }
    }

    fn between(&mut self, indent: &str) {
        for line in BETWEEN[self.random.usize(..BETWEEN.len())].lines() {
            self.text.push_str(&format!("{indent}{line}\n"));
        }
    }
}

#[test]
fn random_sessions_give_what_they_give_in_turn() {
    let base = 20_261_129;
    let waited = (base..base + 600).filter(|seed| same(&Writer::session(*seed), &format!("seed {seed}"))).count();
    // Else the test shows nothing.
    assert!(waited > 100, "{waited} of 600 sessions had traces that waited");
}

/// Every statement of a block, in a loop of traces with the session's list looked at in between.
#[test]
fn every_statement_of_a_block_gives_what_it_gives_in_turn() {
    for statement in BLOCK {
        for between in ["pass", "print(len(rows), len(heap), len(table))", "n = n + 1", "m = len(rows)"] {
            let body: String = statement
                .replace("[L]", "[1]")
                .replace("BODY", "")
                .lines()
                .map(|line| format!("        {line}\n"))
                .collect();
            let source = format!(
                "{BEGIN}for turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n{body}    {between}\nprint(rows, heap, ordered, table, n, m)"
            );
            same(&source, statement);
        }
    }
}

/// The loops that researchers write must go on waiting.
#[test]
fn plain_loops_of_traces_wait_for_each_other() {
    let loops = [
        "for turn in range(4):\n    with model.trace('Hello'):\n        LAYERS[turn % 3].output[:] = clean\n        rows.append(HEAD.output.sum().item())",
        "for turn in range(4):\n    with model.trace('Hello'):\n        table[turn] = HEAD.output.sum().item()",
        "results = [None] * 4\nfor turn in range(4):\n    with model.trace('Hello'):\n        results[turn] = HEAD.output.clone()\nlast.append(results)",
        "for turn in range(4):\n    with model.trace('Hello'):\n        x = HEAD.output\n        rows.append((turn, x.sum().item()))",
        "for turn in range(4):\n    row = []\n    for step in range(2):\n        with model.trace('Hello') as tracer:\n            LAYERS[1].output[:] = clean * scaled(step)\n            row.append(HEAD.output.shape[1])\n    rows.append(row)",
        "for turn in range(4):\n    with model.trace('Hello'):\n        found = []\n        for layer in LAYERS:\n            h = layer.output\n            found.append(h.sum().item())\n        rows.append(found)",
        "for turn in range(4):\n    with model.trace('Hello'):\n        rows.append(total([turn, max(1, len('abc'))]))\n        h = HEAD.output.clone().save()",
        "for turn in range(4):\n    with model.trace('Hello'):\n        rows.append(mean([turn, 1]) + statistics.median(ordered) + bisect.bisect(ordered, turn))\n        last.append(copy.deepcopy([turn]) + nlargest(1, ordered))\n        rows.append(HEAD.output.sum().item())",
        "layers = list(LAYERS)\nfor turn in range(4):\n    with model.trace('Hello'):\n        layers[1].output[:] = clean\n        rows.append(round(HEAD.output.sum().item(), 3))",
    ];
    for source in loops {
        let source = format!("{BEGIN}{source}");
        assert!(same(&source, "a loop of traces"), "these traces do not wait:\n{source}");
    }
}
