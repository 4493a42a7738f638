//! Where the PEFT adapters of a model lie: in its own folder and nowhere else, as `adapters/REPO_ID`.

use std::path::{Path, PathBuf};

/// What PEFT writes beside an adapter's weights.
pub const CONFIG: &str = "adapter_config.json";

/// Returns where an adapter of a name is if a model has it; `None` for what is no name of one.
#[must_use]
pub fn folder(model: &Path, name: &str) -> Option<PathBuf> {
    let plain = |part: &str| {
        let known = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
    };
    let parts: Vec<&str> = name.split('/').collect();
    (parts.len() <= 2 && parts.into_iter().all(plain)).then(|| model.join("adapters").join(name))
}

/// Says that a model has no adapter of a name.
#[must_use]
pub fn missing(name: &str) -> String {
    format!(
        "this server has no PEFT adapter {name:?} for this model: an operator allows one by putting it into the model's \
         folder, as adapters/REPO_ID"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_lie_in_the_model_s_folder_and_nowhere_else() {
        for name in ["../x", "a/../b", "/etc", "a/b/c", "", ".hidden", "a/.b", "a b"] {
            assert_eq!(folder(Path::new("/models/m"), name), None, "{name}");
        }
        for (name, at) in [("a", "/models/m/adapters/a"), ("o/n-1.0_x", "/models/m/adapters/o/n-1.0_x")] {
            assert_eq!(folder(Path::new("/models/m"), name), Some(at.into()));
        }
    }
}
