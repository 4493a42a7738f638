//! An authority of one's own, for trying things out: its certificates prove something to those who were given its own.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::{Error, Files, Role};

/// How long its certificates are valid.
const VALID: Duration = Duration::days(397);

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    /// Makes one. Its key exists only here.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn new() -> Result<Self, Error> {
        Self::until(OffsetDateTime::now_utc() + VALID)
    }

    pub(crate) fn until(not_after: OffsetDateTime) -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Vitrine development authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
        params.not_after = not_after;
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Writes the authority's own certificate to `ca.pem`, and certificate and key of a role to `{role}.pem` and
    /// `{role}.key`, which only the user can read. It is valid for the role's name, for `names`, and for this machine.
    ///
    /// # Errors
    /// When a name is none, or a file cannot be written.
    pub fn write(&self, folder: &Path, role: Role, names: &[String]) -> Result<Files, Error> {
        self.write_until(folder, role, names, OffsetDateTime::now_utc() + VALID)
    }

    pub(crate) fn write_until(
        &self,
        folder: &Path,
        role: Role,
        names: &[String],
        not_after: OffsetDateTime,
    ) -> Result<Files, Error> {
        let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let all: Vec<String> = [role.dns().to_owned()].into_iter().chain(local).chain(names.iter().cloned()).collect();
        let mut params = CertificateParams::new(all)?;
        params.distinguished_name.push(DnType::CommonName, format!("Vitrine {role}"));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = not_after - VALID - Duration::days(1);
        params.not_after = not_after;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let path = |name: String| folder.join(name);
        let files = Files {
            certificate: path(format!("{role}.pem")),
            key: path(format!("{role}.key")),
            authority: Some(path("ca.pem".into())),
        };
        write(&files.certificate, &certificate.pem(), 0o644)?;
        write(&files.key, &key.serialize_pem(), 0o600)?;
        write(&path("ca.pem".into()), &self.pem, 0o644)?;
        Ok(files)
    }
}

/// Writes a file whole or not at all, so that who watches it never reads a half.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    let written = written.and_then(|()| std::fs::rename(&fresh, path));
    written.map_err(|source| Error::Write { path: path.to_owned(), source })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    impl Authority {
        /// As [`Authority::write`], with a certificate that is no longer valid.
        pub(crate) fn write_expired(&self, folder: &Path, role: Role) -> Result<Files, Error> {
            self.write_until(folder, role, &[], OffsetDateTime::now_utc() - Duration::hours(1))
        }
    }

    #[test]
    fn a_key_is_for_its_owners_eyes() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let files = Authority::new().unwrap().write(folder.path(), Role::Worker, &[]).unwrap();
        assert_eq!(files.key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
