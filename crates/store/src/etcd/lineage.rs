//! Whether etcd is still the one that answered before. One that was restored from a snapshot has forgotten what this process
//! was told, and counts its revisions anew: what this process remembers of it, and compares when it writes, is worth nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use etcd_client::ResponseHeader;
use tokio_util::sync::CancellationToken;

use super::requests;
use crate::error::Error;
use crate::metadata::Revision;

/// What etcd has told of itself.
#[derive(Default)]
pub struct Lineage {
    /// The cluster's number. A restore gives another one where it is given another token.
    cluster: OnceLock<u64>,
    newest: AtomicU64,
    set_back: CancellationToken,
}

/// Etcd has forgotten what it had told.
#[derive(Clone, Copy, Debug)]
pub struct Forgotten;

impl Lineage {
    /// Returns the newest revision that etcd has told: the answer to what is asked now cannot be of an earlier one.
    pub fn newest(&self) -> Revision {
        self.newest.load(Ordering::Relaxed)
    }

    /// Notes that etcd has committed a revision.
    pub fn told(&self, revision: Revision) {
        self.newest.fetch_max(revision, Ordering::Relaxed);
    }

    /// Notes what an answer says of etcd that is of all that its members had agreed on when `asked` was the newest.
    pub fn answered(&self, asked: Revision, header: Option<&ResponseHeader>) -> Result<(), Forgotten> {
        let now = requests::revision(header);
        if header.is_some() && now < asked {
            return Err(self.forgotten(now));
        }
        self.told(now);
        self.same(header)
    }

    /// Notes what an answer says of the cluster, perhaps from a member that lags behind the others.
    pub fn same(&self, header: Option<&ResponseHeader>) -> Result<(), Forgotten> {
        // A proxy may leave it out.
        match header.map(ResponseHeader::cluster_id).filter(|cluster| *cluster != 0) {
            Some(cluster) if *self.cluster.get_or_init(|| cluster) != cluster => {
                Err(self.forgotten(requests::revision(header)))
            }
            _ => Ok(()),
        }
    }

    /// Says whether nothing may be written any more.
    pub fn check(&self) -> Result<(), Forgotten> {
        if self.set_back.is_cancelled() { Err(Forgotten) } else { Ok(()) }
    }

    /// Returns what is cancelled when etcd was set back.
    pub fn set_back(&self) -> CancellationToken {
        self.set_back.clone()
    }

    fn forgotten(&self, now: Revision) -> Forgotten {
        if !self.set_back.is_cancelled() {
            tracing::error!(told = self.newest(), now, "etcd has forgotten what it had told");
            self.set_back.cancel();
        }
        Forgotten
    }
}

impl From<Forgotten> for Error {
    fn from(Forgotten: Forgotten) -> Self {
        let reason = "etcd was restored from a snapshot, and this process has yet to be started again";
        Self::Unavailable { maybe_done: true, reason: reason.into() }
    }
}
