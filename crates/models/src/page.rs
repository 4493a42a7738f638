//! What `docs/families.md` says of each family is what its blueprint says.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::config::Config;
use crate::families;
use crate::family::{Attention, Blueprint, Family, FeedForward, Module, NormKind, Over, Pairs, Projections, Way};
use crate::parameters::testing::settings;

/// A line of the page's table.
fn line(family: &Family) -> String {
    let folder = tempfile::tempdir().unwrap();
    // Where there can be windows, there are, and as many layers as they take turns over.
    let mut windows = json!({"use_sliding_window": true, "sliding_window": 4, "max_window_layers": 1});
    windows["num_hidden_layers"] = 6.into();
    let settings = settings(family.model_type, windows);
    std::fs::write(folder.path().join("config.json"), serde_json::to_vec(&settings).unwrap()).unwrap();
    let blueprint = (family.blueprint)(&Config::read(folder.path()).unwrap()).unwrap();
    let cells = [attention(&blueprint), feed_forward(&blueprint), norms(&blueprint), positions(&blueprint)];
    format!("| `{}` | {} | {} |", family.model_type, blueprint.root.class, cells.join(" | "))
}

fn attention(blueprint: &Blueprint) -> String {
    let attentions = || blueprint.layer.iter().filter_map(|layer| layer.attention());
    let first: &Attention = attentions().next().unwrap();
    let mut words = vec![match first.projections {
        Projections::Separate(_) => "three projections",
        Projections::Packed(..) => "one projection",
    }];
    if first.key_heads < first.heads {
        words.push("keys for several heads");
    }
    match first.head_norms.as_ref().map(|norms| norms.over) {
        Some(Over::Width) => words.push("norms over all heads"),
        Some(Over::Heads | Over::Turned) => words.push("norms of each head"),
        None => {}
    }
    let windows: Vec<bool> = blueprint.layer.iter().map(|layer| blueprint.kinds[layer.kind].window.is_some()).collect();
    match (windows.contains(&true), windows.contains(&false)) {
        (true, true) => words.push("windows in some layers"),
        (true, false) => words.push("windows"),
        _ => {}
    }
    for (has, word) in [(first.cap.is_some(), "capped scores"), (first.sinks.is_some(), "sinks")] {
        if has {
            words.push(word);
        }
    }
    words.join(", ")
}

fn feed_forward(blueprint: &Blueprint) -> String {
    let modules = blueprint.layer.iter().flat_map(|layer| &layer.modules);
    let kinds: BTreeSet<&str> = modules
        .filter_map(|(_, module)| match module {
            Module::FeedForward(FeedForward { way: Way::Plain { .. }, .. }) => Some("plain"),
            Module::FeedForward(FeedForward { way: Way::Gated { .. }, .. }) => Some("gated"),
            Module::FeedForward(FeedForward { way: Way::GatedTogether { .. }, .. }) => Some("gated, in one projection"),
            Module::Experts(_) => Some("experts"),
            _ => None,
        })
        .collect();
    kinds.into_iter().collect::<Vec<_>>().join(", ")
}

fn norms(blueprint: &Blueprint) -> String {
    let own = &blueprint.layer[0].modules;
    let kind = match blueprint.norm.1.kind {
        NormKind::Layer => "LayerNorm",
        NormKind::Rms | NormKind::RmsWide => "RMS",
        NormKind::RmsOnePlus => "RMS times weight and one",
    };
    format!("{kind}, {} a layer", own.iter().filter(|(_, module)| matches!(module, Module::Norm(_))).count())
}

fn positions(blueprint: &Blueprint) -> String {
    let attention: &Attention = blueprint.layer[0].attention().unwrap();
    match attention.turn {
        None => "learned".into(),
        Some(turn) => {
            let ropes = blueprint.rotary.iter().map(|rotary| rotary.ropes.len()).max().unwrap_or(1);
            let pairs = if turn.pairs == Pairs::Neighbours { " of neighbours" } else { "" };
            let part = if turn.width < attention.head_dim { ", part of each head" } else { "" };
            let each = if ropes > 1 { ", by type of layer" } else { "" };
            format!("rotary{pairs}{part}{each}")
        }
    }
}

#[test]
fn the_page_has_the_families_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/families.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = page.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let found: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<String> = families::ALL.iter().map(|family| line(family)).collect();
    assert_eq!(found, expected, "the table of docs/families.md is to be\n{}", expected.join("\n"));
    let cases = include_str!("../tests/parity.py");
    for family in families::ALL {
        let case = format!("\n    \"{}\": ", family.model_type);
        assert!(cases.contains(&case), "{} has no case in tests/parity.py", family.model_type);
    }
}
