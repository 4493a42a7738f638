//! `docs/coverage.md`: which public names of the libraries a block finds, counted by asking for each of them in a block.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use program::Limits;

use crate::common::here;

const NAMES: &str = include_str!("names.txt");
const REFUSALS: &str = include_str!("../../src/refusals.txt");

/// What became of the public names of one module.
pub struct Area {
    pub module: &'static str,
    pub offered: BTreeSet<&'static str>,
    /// Names by the reason.
    pub refused: BTreeMap<&'static str, BTreeSet<&'static str>>,
    pub missing: BTreeSet<&'static str>,
}

/// Asks for every name.
pub fn areas() -> Vec<Area> {
    sections(NAMES).map(|(module, lines)| Area::of(module, lines.collect())).collect()
}

fn sections(text: &'static str) -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    text.split("\n[").skip(1).filter_map(|part| {
        let (name, rest) = part.split_once("]\n")?;
        Some((name, rest.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))))
    })
}

impl Area {
    fn of(module: &'static str, names: Vec<&'static str>) -> Self {
        let found = found(module, &names);
        let mut area = Self { module, offered: found, refused: BTreeMap::new(), missing: BTreeSet::new() };
        let lines = sections(REFUSALS).filter(|(known, _)| *known == module).flat_map(|(_, lines)| lines);
        let reasons: Vec<(&str, Vec<&str>)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(reason, names)| (reason, names.split_whitespace().collect()))
            .collect();
        for name in names.into_iter().filter(|name| !area.offered.contains(name)).collect::<Vec<_>>() {
            match reasons.iter().find(|(_, names)| names.contains(&name)) {
                Some((reason, _)) => {
                    area.refused.entry(reason).or_default().insert(name);
                }
                None => {
                    area.missing.insert(name);
                }
            }
        }
        area
    }

    fn refusals(&self) -> usize {
        self.refused.values().map(BTreeSet::len).sum()
    }

    #[allow(
        dead_code,
        clippy::allow_attributes,
        reason = "a test asks for it, and the program that writes the page does not"
    )]
    /// The part of the names without a reason against them that a block finds, in percent.
    pub fn percent(&self) -> f64 {
        let sensible = self.offered.len() + self.missing.len();
        100.0 * self.offered.len() as f64 / sensible.max(1) as f64
    }
}

/// Returns the names that a block finds in a module.
fn found(module: &str, names: &[&'static str]) -> BTreeSet<&'static str> {
    let owner = match module {
        "torch.Tensor" => "torch.zeros(2, 2, dtype=torch.complex64)",
        "numpy.ndarray" => "numpy.zeros((2, 2))",
        module => module,
    };
    let package = module.split('.').next().unwrap_or(module);
    let import = if owner == module { module } else { package };
    let text = format!(
        "import {package}\nimport {import}\nowner = {owner}\nprint(' '.join([name for name in {:?}.split() if hasattr(owner, \
         name)]))",
        names.join(" ")
    );
    let printed = here(&text, &Limits { fuel: 1 << 40, memory_bytes: 1 << 32, ..Limits::default() });
    let printed: BTreeSet<&str> = printed.split_whitespace().collect();
    names.iter().copied().filter(|name| printed.contains(name)).collect()
}

/// Writes the page.
pub fn page(areas: &[Area]) -> String {
    let mut page = String::from(
        "# Coverage\n\n\
         How many of the public names of PyTorch 2.11, NumPy and einops a block finds. The names are those that the \
         libraries document\n(`tools/torch_names.py`); each is asked for in a block, and this page is made of the answers: \
         `cargo run -p torch --example\ncoverage > docs/coverage.md`. That a name is found says nothing of its values:\nprograms that run here and \
         in Python compare these (`cargo test -p torch`).\n\n\
         | module | public names | found | refused, with a reason | missing | found of what is not refused |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut total = [0; 4];
    for area in areas {
        let counts = [area.offered.len(), area.refusals(), area.missing.len()];
        let all: usize = counts.iter().sum();
        row(&mut page, &format!("`{}`", area.module), [all, counts[0], counts[1], counts[2]]);
        for (sum, count) in total.iter_mut().zip([all, counts[0], counts[1], counts[2]]) {
            *sum += count;
        }
    }
    row(&mut page, "all", total);
    page.push_str("\n## What is refused, and why\n\nThe error says it, too.\n");
    for area in areas.iter().filter(|area| !area.refused.is_empty()) {
        let _ = write!(page, "\n### `{}`\n\n| reason | names |\n|---|---|\n", area.module);
        for (reason, names) in &area.refused {
            let _ = writeln!(page, "| {reason} | {} |", joined(names));
        }
    }
    if areas.iter().any(|area| !area.missing.is_empty()) {
        page.push_str("\n## What is missing\n\n| module | names |\n|---|---|\n");
        for area in areas.iter().filter(|area| !area.missing.is_empty()) {
            let _ = writeln!(page, "| `{}` | {} |", area.module, joined(&area.missing));
        }
    }
    page
}

fn row(page: &mut String, name: &str, [all, found, refused, missing]: [usize; 4]) {
    let percent = 100.0 * found as f64 / (found + missing).max(1) as f64;
    let _ = writeln!(page, "| {name} | {all} | {found} | {refused} | {missing} | {percent:.1} % |");
}

fn joined(names: &BTreeSet<&str>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
