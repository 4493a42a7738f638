//! When the certificates end that a process uses, shown while that can still be mended.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use crate::metrics::EXPIRY;
use crate::{Error, Files, der};

/// How long before its end a certificate is something to see to.
pub const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The same, at once.
pub const URGENT: Duration = Duration::from_secs(3 * 24 * 3600);

/// What certificates are for, of those that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Clients see it.
    Serving,
    /// Other parts of the cluster do.
    Peer,
    /// etcd does.
    Etcd,
}

/// The end of a certificate that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expiry {
    /// As the metric has it.
    certificate: &'static str,
    /// Seconds since the Unix epoch.
    at: i64,
}

/// What is in use, by name.
static IN_USE: Mutex<Vec<Expiry>> = Mutex::new(Vec::new());

impl Purpose {
    /// Returns what a role's own certificate is called, and what that of the authority is.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Serving => ("serving", "serving_authority"),
            Self::Peer => ("peer", "peer_authority"),
            Self::Etcd => ("etcd", "etcd_authority"),
        }
    }
}

impl Files {
    /// Shows from now on when these certificates end. Whoever reads them to use them says so.
    ///
    /// # Errors
    /// When the files are not there or hold something else.
    pub fn show_expiry(&self, purpose: Purpose) -> Result<(), Error> {
        self.ends(purpose)?.into_iter().for_each(show);
        Ok(())
    }

    fn ends(&self, purpose: Purpose) -> Result<Vec<Expiry>, Error> {
        let (own, authority) = purpose.names();
        // What a chain leads through may have ended without harm, where a peer finds another way; of several authorities, one is
        // enough.
        let certified = self.chain()?.first().and_then(|certificate| end(certificate));
        let trusted = self.authorities()?.iter().filter_map(|certificate| end(certificate)).max();
        let ends = [(own, certified), (authority, trusted)].into_iter();
        Ok(ends.filter_map(|(certificate, at)| Some(Expiry { certificate, at: at? })).collect())
    }
}

/// Returns when a certificate ends, in seconds since the Unix epoch; `None` of what is none.
#[must_use]
pub fn end(certificate: &[u8]) -> Option<i64> {
    der::not_after(certificate).map(OffsetDateTime::unix_timestamp)
}

/// Returns when the certificates end that this process uses, in seconds since the Unix epoch, by their names, which they are
/// ordered by.
#[must_use]
pub fn in_use() -> Vec<(&'static str, i64)> {
    let in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ends: Vec<_> = in_use.iter().map(|expiry| (expiry.certificate, expiry.at)).collect();
    ends.sort_unstable();
    ends
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn show(expiry: Expiry) {
    EXPIRY.with(&[expiry.certificate]).set(expiry.at as f64);
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    in_use.retain(|other| other.certificate != expiry.certificate);
    in_use.push(expiry);
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::dev::Authority;
    use crate::{Role, Server};

    /// Returns in how many days a certificate ends.
    fn days(shown: &[Expiry], certificate: &str) -> i64 {
        let shown = shown.iter().find(|shown| shown.certificate == certificate).unwrap();
        (shown.at - OffsetDateTime::now_utc().unix_timestamp() + 3600) / (24 * 3600)
    }

    /// The same of one that this process uses. No other test serves clients.
    fn serving() -> i64 {
        days(&IN_USE.lock().unwrap(), "serving")
    }

    #[test]
    fn what_is_in_use_is_shown_with_its_end_and_what_replaces_it_is_too() {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new().unwrap());
        let ending = |days| OffsetDateTime::now_utc() + Duration::days(days);
        let write = |days| authority.write_until(folder.path(), Role::Gateway, &[], ending(days)).unwrap();
        let public = Server::public(Files { authority: None, ..write(9) }, b"h2").unwrap();
        assert_eq!(serving(), 9);
        write(90);
        assert!(public.reload().unwrap());
        assert_eq!(serving(), 90);
        // An authority that ends before another is no matter while that one lives.
        let files = write(30);
        let older = Authority::until(ending(5)).unwrap().pem;
        let both = [older, std::fs::read_to_string(folder.path().join("ca.pem")).unwrap()].concat();
        std::fs::write(folder.path().join("ca.pem"), both).unwrap();
        let peer = files.ends(Purpose::Peer).unwrap();
        assert_eq!((days(&peer, "peer"), days(&peer, "peer_authority")), (30, 397));
        write(2).show_expiry(Purpose::Etcd).unwrap();
        let shown: Vec<_> = in_use().into_iter().map(|(certificate, at)| Expiry { certificate, at }).collect();
        let names: Vec<_> = shown.iter().map(|expiry| expiry.certificate).collect();
        assert!(names.is_sorted() && names.contains(&"serving"), "{names:?}");
        assert!((days(&shown, "etcd"), days(&shown, "etcd_authority")) == (2, 397));
        assert_eq!(end(b"no certificate"), None);
    }
}
