//! The websockets that wait for a request. A request names its websocket by the session id that the websocket's
//! first frame gave out; after that the two are joined and the id is spent.
//!
//! The request may come to another gateway. That one sees from the id that it is a websocket of the same tenant's, and
//! the job's record has the id in it: the websocket's own gateway, which looks at what others accept, finds it there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::SessionIds;
use ids::{JobId, TenantId};
use store::{Follow, Jobs};
use tokio::sync::oneshot;

use crate::gone::Gone;
use crate::{Error, unix_millis, unix_seconds};

/// Seconds by which gateways' clocks may differ.
const CLOCKS: u64 = 60;

/// Names that are kept before it is looked which of them have expired.
const NAMES: usize = 1024;

/// The waiting websockets of one gateway. Clones share them.
#[derive(Clone)]
pub struct Sessions {
    ids: SessionIds,
    waiting: Arc<Mutex<HashMap<String, Waiting>>>,
    /// Websockets of other gateways that had their request here.
    spent: Arc<Mutex<Names<Request>>>,
    /// Websockets of this one that were closed before they heard of their request: it may have come to another.
    closed: Arc<Mutex<Names<()>>>,
}

struct Waiting {
    /// `None` when the websocket came without a valid key: then no request can claim it.
    tenant: Option<TenantId>,
    /// Milliseconds since 1970.
    opened_at: u64,
    /// Until when it waits, in seconds since 1970.
    expires: u64,
    job: oneshot::Sender<(JobId, Follow)>,
}

/// What is remembered of websockets, by their names, until no request may name them any more.
struct Names<T> {
    /// Until when each waits, or would have, in seconds since 1970.
    names: HashMap<String, (u64, T)>,
    /// How many there may be before those that have expired are forgotten.
    room: usize,
}

/// The request that a websocket of another gateway had here, by its idempotency key.
type Request = Option<String>;

/// A websocket's place among those that wait; dropping it leaves.
pub struct Session {
    pub id: String,
    /// Yields the job to follow; fails when its request was refused.
    pub job: oneshot::Receiver<(JobId, Follow)>,
    sessions: Sessions,
}

/// A request's hold on its websocket until its job exists. Dropping it closes a websocket that is here, and frees one of
/// another gateway.
pub enum Claim {
    Here(oneshot::Sender<(JobId, Follow)>),
    There(Elsewhere),
}

/// A hold on a websocket of another gateway.
pub struct Elsewhere {
    sessions: Sessions,
    id: String,
    /// Whether it was so before.
    again: bool,
    spent: bool,
}

impl Sessions {
    #[must_use]
    pub fn new(ids: SessionIds) -> Self {
        Self { ids, waiting: Arc::default(), spent: Arc::default(), closed: Arc::default() }
    }

    /// Enters a websocket, which waits for so long, under a fresh name.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn open(&self, tenant: Option<TenantId>, patience: Duration) -> Result<Session, Error> {
        let expires = unix_seconds() + patience.as_secs();
        let id = self.ids.make(tenant.as_ref(), expires)?;
        let (sender, job) = oneshot::channel();
        self.waiting().insert(id.clone(), Waiting { tenant, opened_at: unix_millis(), expires, job: sender });
        Ok(Session { id, job, sessions: self.clone() })
    }

    /// Takes the websocket that a tenant's request names, wherever it is. Where the same request came before, as its
    /// idempotency key shows, one of another gateway may be named again.
    ///
    /// # Errors
    /// [`Error::NoSession`] when it is known that none waits under this name, or when it is another tenant's.
    pub fn claim(&self, id: &str, tenant: &TenantId, idempotency_key: Option<&str>) -> Result<Claim, Error> {
        let named = self.ids.read(id, tenant).ok_or(Error::NoSession)?;
        if named.here {
            return self.take(id, tenant).map(Claim::Here).ok_or(Error::NoSession);
        }
        if named.expires + CLOCKS < unix_seconds() {
            return Err(Error::NoSession);
        }
        let mut spent = locked(&self.spent);
        let before = spent.names.get(id).map(|(_, request)| request.as_deref());
        let again = before.is_some_and(|before| before.is_some() && before == idempotency_key);
        if before.is_some() && !again {
            return Err(Error::NoSession);
        }
        spent.add(id, named.expires, idempotency_key.map(str::to_owned));
        drop(spent);
        Ok(Claim::There(Elsewhere { sessions: self.clone(), id: id.to_owned(), again, spent: false }))
    }

    /// Takes a websocket that waits here.
    pub fn take(&self, id: &str, tenant: &TenantId) -> Option<oneshot::Sender<(JobId, Follow)>> {
        let mut waiting = self.waiting();
        waiting.get(id).filter(|session| session.tenant.as_ref() == Some(tenant))?;
        waiting.remove(id).map(|session| session.job)
    }

    /// Says whether a tenant's websocket waits here under this name.
    #[must_use]
    pub fn waits(&self, id: &str, tenant: &TenantId) -> bool {
        self.waiting().get(id).is_some_and(|session| session.tenant.as_ref() == Some(tenant))
    }

    /// Returns a time before which no job was accepted that a websocket here waits for, in milliseconds since 1970.
    /// `None` where none waits.
    #[must_use]
    pub fn since(&self) -> Option<u64> {
        let oldest = self.waiting().values().map(|session| session.opened_at).min();
        oldest.map(|opened_at| opened_at.saturating_sub(CLOCKS * 1000))
    }

    /// Says whether a tenant's websocket of this name was here and is closed, without having heard of a job.
    #[must_use]
    pub fn closed(&self, id: &str, tenant: &TenantId) -> bool {
        locked(&self.closed).names.contains_key(id) && self.ids.read(id, tenant).is_some()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        locked(&self.waiting)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { names: HashMap::new(), room: NAMES }
    }
}

impl<T> Names<T> {
    fn add(&mut self, id: &str, expires: u64, what: T) {
        if self.names.len() >= self.room {
            let now = unix_seconds();
            // Whoever takes a request may be late by as much as this one is early.
            self.names.retain(|_, (expires, _)| *expires + 2 * CLOCKS >= now);
            self.room = (self.names.len() * 2).max(NAMES);
        }
        self.names.insert(id.to_owned(), (expires, what));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut waiting = self.sessions.waiting();
        // Together, so that whoever looks for it finds it in one of the two.
        if let Some(Waiting { tenant: Some(_), expires, .. }) = waiting.remove(&self.id) {
            locked(&self.sessions.closed).add(&self.id, expires, ());
        }
    }
}

impl Claim {
    /// Refuses a websocket that would never hear of a job: one of another gateway, which learns from the job's record
    /// who waits for it, where the record of a request that came before names another.
    ///
    /// # Errors
    /// [`Error::HeardElsewhere`]; failures of the store.
    pub async fn check(&self, jobs: &Jobs, job: JobId) -> Result<(), Error> {
        let Self::There(elsewhere) = self else { return Ok(()) };
        match jobs.look(&[job]).await?.first() {
            Some(record) if record.session == elsewhere.id => Ok(()),
            _ => Err(Error::HeardElsewhere(job)),
        }
    }

    /// Tells the websocket which job to follow. A websocket that left meanwhile loses nothing but the news. One of
    /// another gateway is told by that one.
    pub fn attach(self, job: JobId, follow: Follow, gone: &Gone) {
        if let Self::Here(sender) = self {
            attach(sender, job, follow, gone);
        }
    }

    /// Lets no other request have a websocket of another gateway, for a job of this one may be accepted from now on.
    pub fn spend(&mut self) {
        if let Self::There(elsewhere) = self {
            elsewhere.spent = true;
        }
    }

    /// Undoes [`Claim::spend`]: it is known that there is no such job.
    pub fn free(&mut self) {
        if let Self::There(elsewhere) = self {
            elsewhere.spent = false;
        }
    }
}

/// Tells a websocket which job to follow.
pub fn attach(sender: oneshot::Sender<(JobId, Follow)>, job: JobId, follow: Follow, gone: &Gone) {
    if sender.send((job, follow)).is_err() {
        tracing::debug!(%job, "the websocket closed before its job was accepted");
        gone.left(job);
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if !self.again && !self.spent {
            locked(&self.sessions.spent).names.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use auth::ServerSecret;
    use store::{MemoryStore, MetadataStore};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Makes the websockets of two gateways of one installation.
    async fn two() -> (MemoryStore, Sessions, Sessions) {
        let store = MemoryStore::new(1);
        let secret = ServerSecret::load(&store as &dyn MetadataStore).await.unwrap();
        let sessions = |name: &str| Sessions::new(SessionIds::new(&secret, name));
        (store, sessions("one"), sessions("other"))
    }

    fn tenants() -> (TenantId, TenantId) {
        (TenantId::new("ada"), TenantId::new("bob"))
    }

    fn refused(claim: &Result<Claim, Error>) -> bool {
        matches!(claim, Err(Error::NoSession))
    }

    #[tokio::test]
    async fn a_session_is_claimed_once_and_only_by_its_tenant() {
        let (store, sessions, _) = two().await;
        let jobs = Jobs::new(Arc::new(store.clone()));
        let (ada, bob) = tenants();
        let mut session = sessions.open(Some(ada.clone()), PATIENCE).unwrap();
        assert!(refused(&sessions.claim(&session.id, &bob, None)));
        let job = JobId::new();
        let keys = auth::Keys::new(Arc::new(store.clone()), &ServerSecret::load(&store).await.unwrap());
        let gone = Gone::new(jobs.clone(), keys, Default::default(), Default::default());
        sessions.claim(&session.id, &ada, None).unwrap().attach(job, jobs.follow_new(job).await.unwrap(), &gone);
        assert_eq!(session.job.try_recv().unwrap().0, job);
        assert!(refused(&sessions.claim(&session.id, &ada, None)));
    }

    #[tokio::test]
    async fn a_websocket_without_a_key_is_nobodys() {
        let (_, sessions, other) = two().await;
        let session = sessions.open(None, PATIENCE).unwrap();
        assert!(refused(&sessions.claim(&session.id, &tenants().0, None)));
        assert!(refused(&other.claim(&session.id, &tenants().0, None)));
    }

    #[tokio::test]
    async fn a_refused_request_frees_its_websocket_and_a_closed_websocket_leaves() {
        let (_, sessions, _) = two().await;
        let (ada, _) = tenants();
        let mut session = sessions.open(Some(ada.clone()), PATIENCE).unwrap();
        assert!(sessions.waits(&session.id, &ada) && sessions.since().is_some());
        drop(sessions.claim(&session.id, &ada, None).unwrap());
        assert!(matches!(session.job.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        drop(session);
        assert!(sessions.waiting().is_empty() && sessions.since().is_none());
    }

    #[tokio::test]
    async fn a_websocket_of_another_gateway_has_one_request_of_its_tenants() {
        let (_, one, other) = two().await;
        let (ada, bob) = tenants();
        let session = one.open(Some(ada.clone()), PATIENCE).unwrap();
        assert!(refused(&other.claim(&session.id, &bob, None)));
        assert!(refused(&other.claim(&session.id.replace('.', "0"), &ada, None)));
        drop(other.claim(&session.id, &ada, Some("k")).unwrap());
        // What was refused has not had it; what may have been accepted has.
        let mut claim = other.claim(&session.id, &ada, Some("k")).unwrap();
        claim.spend();
        drop(claim);
        assert!(refused(&other.claim(&session.id, &ada, None)));
        assert!(refused(&other.claim(&session.id, &ada, Some("another"))));
        drop(other.claim(&session.id, &ada, Some("k")).unwrap());
        assert!(refused(&other.claim(&session.id, &ada, None)), "it stays spent");
        assert!(one.waits(&session.id, &ada));
    }

    #[tokio::test]
    async fn the_names_of_websockets_that_are_long_gone_are_refused_and_forgotten() {
        let (_, one, other) = two().await;
        let (ada, _) = tenants();
        let id = |expires| one.ids.make(Some(&ada), expires).unwrap();
        assert!(refused(&other.claim(&id(unix_seconds() - CLOCKS - 1), &ada, None)));
        for number in 0..10_000 {
            locked(&other.spent).add(&number.to_string(), 1, None);
        }
        assert!(locked(&other.spent).names.len() <= NAMES);
        other.claim(&id(unix_seconds()), &ada, None).unwrap().spend();
        assert_eq!(locked(&other.spent).names.values().filter(|(expires, _)| *expires > 1).count(), 1);
    }
}
