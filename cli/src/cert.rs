//! Certificates for trying things out.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use tls::Role;
use tls::dev::Authority;

use crate::progress;

#[derive(Subcommand)]
pub enum Command {
    /// Make an authority and, by it, a certificate for each part of a cluster. Whoever is to trust them needs `ca.pem`.
    Dev(Dev),
}

#[derive(clap::Args)]
pub struct Dev {
    /// The folder to write to: `ca.pem`, and for each role `ROLE.pem` and `ROLE.key`.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A name or an address under which clients reach the gateway, besides this machine's own. May be repeated.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
}

/// Runs a `vitrine cert` command.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(command: &Command) -> Result<ExitCode> {
    let Command::Dev(Dev { folder, names }) = command;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let authority = Authority::new()?;
    for role in Role::ALL {
        authority.write(folder, role, names)?;
    }
    let at = |name: &str| folder.join(name).display().to_string();
    progress::line(&format!(
        "made an authority and certificates in {}, valid for 13 months\n\
         serve:   vitrine up --tls-certificate {} --tls-key {}\n\
         clients: SSL_CERT_FILE={}",
        folder.display(),
        at("gateway.pem"),
        at("gateway.key"),
        at("ca.pem")
    ));
    Ok(ExitCode::SUCCESS)
}
