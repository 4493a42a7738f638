//! What of this process's environment is nobody else's.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;

/// Words in the names of variables that hold secrets.
const SECRET: [&str; 6] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"];

/// Returns the names of the variables that a child which runs strangers' programs must not be given.
pub fn secrets() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| is_secret(&name.to_string_lossy()))
}

/// Returns the names of the variables that are settings of this process, and not of a child that has settings, too.
///
/// # Errors
/// When the settings cannot be written down, which is a fault of this program.
pub fn own() -> Result<impl Iterator<Item = OsString>> {
    // A name that is no text names no setting.
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    Ok(config::read_for::<Config>(names)?.into_iter().map(OsString::from))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_their_names() {
        for secret in ["VITRINE_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PGPASSWORD", "google_credentials"] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["PATH", "HOME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "VITRINE_LOG", "LD_LIBRARY_PATH"] {
            assert!(!is_secret(open), "{open}");
        }
    }
}
