//! Where the settings of a role are given.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, FILE_VARIABLE, Sources};

/// The flags that every role has.
#[derive(Args, Clone, Debug)]
pub struct Given {
    /// A file of settings in TOML [env: VITRINE_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting, for example `gateway.key_rate=100` [env: VITRINE_GATEWAY__KEY_RATE]. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print all settings as they would be used, and end.
    #[arg(long)]
    pub print_config: bool,
    /// Look whether the settings can be used, and end.
    #[arg(long)]
    pub check_config: bool,
}

impl Given {
    /// Returns whether somebody named a file of settings or gave one by flag.
    #[must_use]
    pub fn anything(&self) -> bool {
        self.config.is_some() || !self.set.is_empty() || std::env::var_os(FILE_VARIABLE).is_some()
    }

    /// Puts settings together: defaults, then the file, then the environment, then flags, of which `named` are those that
    /// have a name of their own.
    ///
    /// # Errors
    /// A sentence that names the key and where its value came from.
    pub fn load<T: Serialize + DeserializeOwned + Default>(&self, named: Vec<(String, String)>) -> Result<T, Error> {
        let environment: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let variable = environment.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, path)| PathBuf::from(path));
        let file = self.config.clone().or(variable);
        let mut flags = Vec::new();
        for set in &self.set {
            let (key, value) = set.split_once('=').ok_or_else(|| Error::Set(set.clone()))?;
            flags.push((key.to_owned(), value.to_owned()));
        }
        flags.extend(named);
        crate::load(&Sources { file: file.as_deref(), environment, flags })
    }
}
