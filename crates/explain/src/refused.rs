//! What this server lacks of Python's and the libraries' own names: told before a program runs, in the words in which it
//! would be told while it runs.
//!
//! `refused.txt` is what blocks are told that ask for each name: `cargo run -p torch --example refused`.

use std::collections::HashMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("refused.txt");

#[derive(Default)]
struct Table {
    modules: HashMap<&'static str, &'static str>,
    names: HashMap<&'static str, &'static str>,
}

fn table() -> &'static Table {
    static READ: OnceLock<Table> = OnceLock::new();
    READ.get_or_init(|| {
        let mut table = Table::default();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            match line.split_once('\t') {
                Some((name, says)) if says.starts_with("No module named") => {
                    table.modules.insert(name, says);
                }
                Some((name, says)) => {
                    table.names.insert(name, says);
                }
                None => {}
            }
        }
        table
    })
}

/// Returns what importing a module raises, where it is one that this server is known to lack.
pub fn module(name: &str) -> Option<&'static str> {
    table().modules.get(name).copied()
}

/// Returns what using a name raises, by its whole path, where it is one that this server is known to lack: `torch.save`.
pub fn name(path: &str) -> Option<&'static str> {
    table().names.get(path).copied()
}

/// Returns the reason why a module is lacking that a name lies in.
pub fn inside(path: &str) -> Option<&'static str> {
    path.split_once('.').and_then(|(module, _)| table().modules.get_key_value(module)).map(|(name, _)| *name)
}

/// Says whether a value has an attribute of which nothing is known but that it was computed of tensors: no array, record,
/// container or text has one of these.
pub fn is_of_tensors_alone(name: &str) -> bool {
    const NAMES: [&str; 24] = [
        "align_to",
        "apply_",
        "as_strided",
        "as_strided_",
        "as_subclass",
        "coalesce",
        "data_ptr",
        "int_repr",
        "map_",
        "q_scale",
        "record_stream",
        "refine_names",
        "register_post_accumulate_grad_hook",
        "rename_",
        "resize_",
        "resize_as_",
        "set_",
        "share_memory_",
        "sparse_mask",
        "storage",
        "to_mkldnn",
        "to_sparse",
        "to_sparse_csr",
        "untyped_storage",
    ];
    NAMES.contains(&name)
}
