//! Settings, from wherever an operator has put them: defaults, then a file in TOML, then the environment, then flags. What
//! comes later counts. A key that no setting has is refused by its name.
//!
//! A role's settings are a struct beside the role; here is only how one is filled. Whoever starts the process loads them
//! once and passes them on: nobody else reads the environment.

mod error;
mod given;
mod name;
mod texts;

use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::Error;
pub use given::Given;
pub use name::process_name;
pub use texts::Texts;

/// Where settings come from, besides their defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// A file in TOML.
    pub file: Option<&'a Path>,
    /// Variables of the environment: `VITRINE_LISTEN`, and `VITRINE_GATEWAY__KEY_RATE` for a key in a section.
    pub environment: Vec<(String, String)>,
    /// `section.key=value`, as flags give them.
    pub flags: Vec<(String, String)>,
}

/// Fills settings.
///
/// # Errors
/// A sentence that names the key, and where its value came from.
pub fn load<T: Serialize + DeserializeOwned + Default>(sources: &Sources<'_>) -> Result<T, Error> {
    let defaults = Figment::from(Serialized::defaults(T::default()));
    let known = Texts::known(&T::default())?;
    let mut layers = defaults;
    if let Some(path) = sources.file {
        if !path.is_file() {
            return Err(Error::NoFile(path.to_owned()));
        }
        layers = layers.merge(Toml::file_exact(path));
    }
    let variables = sources.environment.iter().filter_map(|(name, value)| Some((known.named_by(name)?, value.clone())));
    layers = layers.merge(known.layer("the environment", variables)?);
    layers = layers.merge(known.layer("the flags", sources.flags.iter().cloned())?);
    layers.extract().map_err(Error::from)
}

/// Returns which variables of the environment are read for settings of a kind: whoever starts another role leaves them
/// out.
///
/// # Errors
/// When the settings cannot be written down, which none should.
pub fn read_for<T: Serialize + Default>(variables: impl IntoIterator<Item = String>) -> Result<Vec<String>, Error> {
    let known = Texts::known(&T::default())?;
    let read = |name: &String| name == FILE_VARIABLE || known.named_by(name).is_some();
    Ok(variables.into_iter().filter(read).collect())
}

/// The variable that names the file.
pub(crate) const FILE_VARIABLE: &str = "VITRINE_CONFIG";

/// Writes settings as a file would have them.
///
/// # Errors
/// When one of them has no form in TOML, which no setting should.
pub fn print<T: Serialize>(settings: &T) -> Result<String, Error> {
    toml::to_string_pretty(settings).map_err(|error| Error::Unprintable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        listen: String,
        key: Option<String>,
        models: Vec<String>,
        open: bool,
        gateway: Section,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Section {
        rate: u32,
        name: String,
    }

    impl Default for Settings {
        fn default() -> Self {
            Self { listen: "default".into(), key: None, models: vec![], open: false, gateway: Section::default() }
        }
    }

    impl Default for Section {
        fn default() -> Self {
            Self { rate: 1, name: "default".into() }
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn try_load(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vitrine.toml");
        std::fs::write(&path, file).unwrap();
        let sources = Sources { file: Some(&path), environment: pairs(environment), flags: pairs(flags) };
        load(&sources).map_err(|error| error.to_string())
    }

    #[test]
    fn each_source_counts_more_than_the_one_before() {
        let file = "listen = 'file'\n[gateway]\nrate = 2\nname = 'file'";
        let loaded = try_load(file, &[("VITRINE_GATEWAY__RATE", "3")], &[]).unwrap();
        let section = Section { rate: 3, name: "file".into() };
        assert_eq!(loaded, Settings { listen: "file".into(), gateway: section, ..Settings::default() });
        let loaded =
            try_load(file, &[("VITRINE_LISTEN", "env")], &[("listen", "flag"), ("gateway.rate", "4")]).unwrap();
        assert_eq!((loaded.listen.as_str(), loaded.gateway.rate), ("flag", 4));
        assert_eq!(load::<Settings>(&Sources::default()).unwrap(), Settings::default());
    }

    #[test]
    fn a_text_becomes_what_its_setting_is() {
        let variables = [("VITRINE_KEY", "123"), ("VITRINE_OPEN", "true"), ("VITRINE_MODELS", "['a', 'b']")];
        let loaded = try_load("", &variables, &[("gateway.name", "true")]).unwrap();
        assert_eq!((loaded.key.as_deref(), loaded.open, loaded.gateway.name.as_str()), (Some("123"), true, "true"));
        assert_eq!(loaded.models, ["a", "b"]);
    }

    #[test]
    fn what_no_setting_has_is_refused_by_name_and_place() {
        for (file, variables, flags, words) in [
            ("lisen = 'x'", vec![], vec![], vec!["lisen", "vitrine.toml"]),
            ("[gateway]\nrat = 1", vec![], vec![], vec!["rat", "gateway"]),
            ("", vec![("VITRINE_GATEWAY__RAT", "1")], vec![], vec!["rat", "the environment"]),
            ("", vec![], vec![("gatway.rate", "1")], vec!["gatway", "the flags"]),
            ("", vec![], vec![("gateway.rate", "many")], vec!["gateway.rate", "many", "the flags"]),
            ("[gateway]\nrate = 'many'", vec![], vec![], vec!["rate", "many", "vitrine.toml"]),
            ("listen = ", vec![], vec![], vec!["vitrine.toml"]),
        ] {
            let refused = try_load(file, &variables, &flags).unwrap_err();
            for word in words {
                assert!(refused.contains(word), "{word:?} is not in {refused:?}");
            }
        }
        // Variables of others that begin alike are theirs.
        assert_eq!(try_load("", &[("VITRINE_PYTHON", "x")], &[]).unwrap(), Settings::default());
        let missing = Sources { file: Some(Path::new("/no/such.toml")), ..Sources::default() };
        assert!(load::<Settings>(&missing).unwrap_err().to_string().contains("/no/such.toml"));
    }

    #[test]
    fn what_is_printed_is_a_file_that_says_the_same() {
        let settings = Settings { models: vec!["a=b".into()], ..Settings::default() };
        assert_eq!(try_load(&print(&settings).unwrap(), &[], &[]).unwrap(), settings);
    }
}
