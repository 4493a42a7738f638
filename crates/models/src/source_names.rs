//! What `.source` shows of each family's forwards has the names that nnsight makes of the pinned transformers' own text.
//!
//! `families/source_names.json` has these: `tools/source_names.py` writes it.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Arithmetic, Attention, Schema, Site};
use serde_json::json;

use crate::families;
use crate::parameters::testing::{settings, write};

type Names = BTreeMap<String, BTreeMap<String, String>>;

/// What is not shown from inside, by the end of its name: single computations, whose output is the module's own; modules that
/// compute in another way here than transformers does; and functions that only give tensors another form.
const REFUSED: [&str; 18] = [
    "Conv1D",
    "Linear",
    "Embedding",
    "ScaledWordEmbedding",
    "Dropout",
    "SiLUActivation",
    "GELUTanh",
    "GELUActivation",
    "NewGELUActivation",
    "RotaryEmbedding",
    "TopKRouter",
    "Experts",
    ".rope_forward_0",
    ".self__split_heads_0",
    ".self__split_heads_1",
    ".self__split_heads_2",
    ".self__merge_heads_0",
    ".self__get_embed_positions_0",
];

/// Notes the operations of a forward, or of a function, and of the functions that it calls.
fn note(schema: &Schema, of: Site, attention: Attention, place: &str, found: &mut BTreeMap<String, String>) {
    let operations: Vec<_> = schema.operations_of(of, attention).collect();
    if operations.is_empty() {
        return;
    }
    let names: Vec<&str> = operations.iter().map(|(_, name)| *name).collect();
    let before = found.insert(place.into(), names.join(" "));
    assert!(before.is_none_or(|before| before == names.join(" ")), "{place} differs from itself");
    for (site, name) in operations {
        let way = match (name, attention) {
            ("attention_interface_1", Attention::Sdpa) => "@sdpa",
            ("attention_interface_1" | "self__attn_0", _) => "@eager",
            _ => "",
        };
        note(schema, site, attention, &format!("{place}.{name}{way}"), found);
    }
}

#[test]
fn every_operation_has_transformers_own_name() {
    let expected: Names = serde_json::from_str(include_str!("families/source_names.json")).unwrap();
    for family in families::ALL {
        let changes = json!({
            "mlp_only_layers": [1], "use_sliding_window": true, "sliding_window": 4, "max_window_layers": 1,
            "layer_types": ["sliding_attention", "full_attention"], "reorder_and_upcast_attn": true,
        });
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &settings(family.model_type, changes), &|_| false);
        let model = crate::load(folder.path(), None, torch::Device::CPU, &mut |_, _| {}).unwrap();
        let schema = model.schema();
        let mut found = BTreeMap::new();
        let both = [Attention::Eager, Attention::Sdpa];
        let ways = if model.is_eager() { &both[..1] } else { &both };
        for (index, module) in schema.modules.iter().enumerate() {
            for &attention in ways {
                note(schema, Site(u32::try_from(index).unwrap()), attention, &module.class, &mut found);
            }
        }
        // What one family does not come to within a function of all, another does.
        let of_any = |place: &str| {
            let (_, inside) = place.split_once('.')?;
            let same = |(other, _): &(&String, &String)| other.split_once('.').is_some_and(|(_, own)| own == inside);
            expected.values().flatten().find(same).map(|(_, names)| names)
        };
        let expected = &expected[family.model_type];
        for (place, names) in &found {
            let known = expected.get(place).or_else(|| of_any(place));
            assert_eq!(Some(names), known, "{}: {place}", family.model_type);
        }
        let refused = |place: &&String| REFUSED.iter().any(|end| place.ends_with(end));
        // What has no operations has nothing to show.
        let shown = expected.iter().filter(|(_, names)| !names.is_empty()).map(|(place, _)| place);
        let missing: BTreeSet<&String> = shown.filter(|place| !found.contains_key(*place) && !refused(place)).collect();
        assert!(missing.is_empty(), "{} does not show {missing:?}", family.model_type);
    }
}
