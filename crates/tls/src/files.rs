//! Where a certificate and its key lie.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and those between it and its authority's.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificates of the authorities whose word on others is taken. Without it, nobody's is.
    pub authority: Option<PathBuf>,
}

/// What files looked like when they were read: which they were, their lengths and times.
pub(crate) type Stamp = Vec<Option<(u64, u64, SystemTime)>>;

impl Files {
    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        certificates(&self.certificate)
    }

    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let path = &self.key;
        let malformed = |why: String| Error::Malformed { path: path.clone(), what: "private key", why };
        PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| malformed(error.to_string()))
    }

    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in self.authorities()? {
            let path = self.authority.clone().unwrap_or_default();
            let malformed = |why: String| Error::Malformed { path, what: "authority", why };
            roots.add(certificate).map_err(|error| malformed(error.to_string()))?;
        }
        Ok(Arc::new(roots))
    }

    pub(crate) fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        self.authority.as_deref().map_or_else(|| Ok(Vec::new()), certificates)
    }

    /// Wraps what is wrong with certificate and key together.
    pub(crate) fn unfit(&self, why: &impl ToString) -> Error {
        Error::Unfit { certificate: self.certificate.clone(), key: self.key.clone(), why: why.to_string() }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let look = |path: &PathBuf| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.len(), meta.modified().ok()?))
        };
        [Some(&self.certificate), Some(&self.key), self.authority.as_ref()].into_iter().flatten().map(look).collect()
    }
}

/// Returns the cryptography that is used everywhere.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let malformed = |why: String| Error::Malformed { path: path.to_owned(), what: "certificate", why };
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(malformed("there is none".into())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(malformed(error.to_string())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
