//! The websockets that wait for a request. A request names its websocket by the session id that the websocket's
//! first frame gave out; after that the two are joined and the id is spent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ids::{JobId, TenantId};
use store::Follow;
use tokio::sync::oneshot;

use crate::Error;

/// The waiting websockets of one gateway.
#[derive(Clone, Default)]
pub struct Sessions {
    waiting: Arc<Mutex<HashMap<String, Waiting>>>,
}

struct Waiting {
    /// `None` when the websocket came without a valid key: then no request can claim it.
    tenant: Option<TenantId>,
    job: oneshot::Sender<(JobId, Follow)>,
}

/// A websocket's place among those that wait; dropping it leaves.
pub struct Session {
    pub id: String,
    /// Yields the job to follow; fails when its request was refused.
    pub job: oneshot::Receiver<(JobId, Follow)>,
    sessions: Sessions,
}

/// A request's hold on its websocket until its job exists; dropping it closes the websocket.
pub struct Claim(oneshot::Sender<(JobId, Follow)>);

impl Sessions {
    /// Enters a websocket under a fresh, unguessable id.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn open(&self, tenant: Option<TenantId>) -> Result<Session, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Error::internal(error.to_string()))?;
        let id = format!("{:032x}", u128::from_be_bytes(random));
        let (sender, job) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.insert(id.clone(), Waiting { tenant, job: sender });
        drop(waiting);
        Ok(Session { id, job, sessions: self.clone() })
    }

    /// Takes the websocket that a tenant's request names.
    ///
    /// # Errors
    /// [`Error::NoSession`] when none waits under this id, or when it is another tenant's.
    pub fn claim(&self, id: &str, tenant: &TenantId) -> Result<Claim, Error> {
        let mut waiting = self.lock();
        if waiting.get(id).is_none_or(|session| session.tenant.as_ref() != Some(tenant)) {
            return Err(Error::NoSession);
        }
        waiting.remove(id).map(|session| Claim(session.job)).ok_or(Error::NoSession)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.id);
    }
}

impl Claim {
    /// Tells the websocket which job to follow. A websocket that left meanwhile loses nothing but the news.
    pub fn attach(self, job: JobId, follow: Follow) {
        if self.0.send((job, follow)).is_err() {
            tracing::debug!(%job, "the websocket closed before its job was accepted");
        }
    }
}

#[cfg(test)]
mod tests {
    use store::{Jobs, RedbStore};

    use super::*;

    #[tokio::test]
    async fn a_session_is_claimed_once_and_only_by_its_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = Jobs::new(Arc::new(RedbStore::open(folder.path().join("state")).unwrap()));
        let sessions = Sessions::default();
        let (ada, bob) = (TenantId::new("ada"), TenantId::new("bob"));
        let mut session = sessions.open(Some(ada.clone())).unwrap();
        assert!(matches!(sessions.claim(&session.id, &bob), Err(Error::NoSession)));
        let job = JobId::new();
        sessions.claim(&session.id, &ada).unwrap().attach(job, jobs.follow_new(job).await.unwrap());
        assert_eq!(session.job.try_recv().unwrap().0, job);
        assert!(matches!(sessions.claim(&session.id, &ada), Err(Error::NoSession)));
    }

    #[test]
    fn a_websocket_without_a_key_is_nobodys() {
        let sessions = Sessions::default();
        let session = sessions.open(None).unwrap();
        assert!(matches!(sessions.claim(&session.id, &TenantId::new("ada")), Err(Error::NoSession)));
    }

    #[test]
    fn a_refused_request_frees_its_websocket_and_a_closed_websocket_leaves() {
        let sessions = Sessions::default();
        let ada = TenantId::new("ada");
        let mut session = sessions.open(Some(ada.clone())).unwrap();
        drop(sessions.claim(&session.id, &ada).unwrap());
        assert!(matches!(session.job.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        drop(session);
        assert!(sessions.lock().is_empty());
    }
}
