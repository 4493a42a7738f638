//! API keys: made, stored as hashes, and told apart in constant time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ids::{Class, KeyId, ModelKey, TenantId};
use program::Batching;
use serde::{Deserialize, Serialize};
use store::{Allowance, Entry, MetadataStore, Mirror, Txn, Unsure};
use subtle::ConstantTimeEq;

use crate::seal::Seals;
use crate::secret::{hex, random};
use crate::sign_in::SignIns;
use crate::{Error, Scope, Secret, ServerSecret, Tenants, Terms, unix_seconds};

/// The keys of one installation. Clones share what they keep in memory.
#[derive(Clone)]
pub struct Keys {
    store: Arc<dyn MetadataStore>,
    hash_key: [u8; 32],
    sign_ins: SignIns,
    seals: Seals,
    mirror: Mirror<KeyRecord>,
}

impl Keys {
    const PREFIX: &str = "/vitrine/v1/keys/";
    const LONGEST: usize = 512;

    /// Opens the keys that `store` holds.
    pub fn new(store: Arc<dyn MetadataStore>, secret: &ServerSecret) -> Self {
        let mirror = Mirror::new(Arc::clone(&store), Self::PREFIX, |entry| KeyRecord::read(&entry.value));
        let hash_key = secret.derive("vitrine 2026 hash of API keys");
        Self { store, hash_key, sign_ins: SignIns::new(secret), seals: Seals::new(secret), mirror }
    }

    /// Keeps the keys in memory, for as long as it is polled: a key that is made or revoked anywhere counts a moment
    /// later here. While nobody does, and where the store was not heard of for seconds, it is asked about every key.
    pub async fn keep(&self) -> Infallible {
        self.mirror.keep().await
    }

    /// Returns the tenants of the same installation.
    #[must_use]
    pub fn tenants(&self) -> Tenants {
        Tenants::new(Arc::clone(&self.store))
    }

    /// Returns the seals of the same installation.
    #[must_use]
    pub fn seals(&self) -> Seals {
        self.seals.clone()
    }

    /// Makes a key `vitrine_<id>_<256 random bits>` and stores its hash. Its text exists only in what this returns.
    ///
    /// # Errors
    /// When the store or the source of randomness fails.
    pub async fn create(&self, grant: Grant) -> Result<Secret, Error> {
        let key = Self::make()?;
        self.register(&key, grant).await?;
        Ok(key)
    }

    /// Makes a key that is worth nothing until it is registered.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn make() -> Result<Secret, Error> {
        Ok(Secret::new(format!("vitrine_{}_{}", hex(&random::<6>()?), hex(&random::<32>()?))))
    }

    /// Accepts a key that somebody else made: any text that fits an HTTP header. Returns what is stored of it.
    ///
    /// # Errors
    /// [`Error::UnfitKey`] for a text that no client could send; else when the store fails.
    pub async fn register(&self, key: &Secret, grant: Grant) -> Result<KeyRecord, Error> {
        let text = key.reveal();
        let fits = (1..=Self::LONGEST).contains(&text.len()) && text.trim() == text;
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(Error::UnfitKey);
        }
        let record = KeyRecord {
            id: self.id_of(text),
            tenant: grant.tenant,
            digest: self.digest(text),
            scopes: grant.scopes,
            created_at: unix_seconds(),
            expires_at: grant.expires_at,
            batching: grant.batching,
            note: grant.note,
            project: grant.project,
            terms: Arc::new(grant.terms),
            owner: grant.owner,
        };
        let written = self.store.txn(record.put(Txn::default())?).await?;
        if let Some(revision) = written.committed() {
            self.mirror.shows(revision).await;
        }
        Ok(record)
    }

    /// Makes a key that is as another one, and has that one end after a while, or when it would have ended anyway. The new
    /// one lasts as long as the other was made to. Returns it, its record, and the other's; `None` where there is none.
    ///
    /// # Errors
    /// When the store or the source of randomness fails; then it may be done all the same.
    pub async fn rotate(&self, id: &KeyId, overlap: Duration) -> Result<Option<(Secret, KeyRecord, KeyRecord)>, Error> {
        let key = Self::make()?;
        loop {
            let path = Self::path(id);
            let Some(entry) = self.store.get(&path).await? else { return Ok(None) };
            let mut old = KeyRecord::read(&entry.value).ok_or_else(|| Error::Unreadable(path.clone()))?;
            let (text, now) = (key.reveal(), unix_seconds());
            let new = KeyRecord {
                id: self.id_of(text),
                digest: self.digest(text),
                created_at: now,
                expires_at: old.expires_at.map(|end| now + end.saturating_sub(old.created_at)),
                ..old.clone()
            };
            let end = now + overlap.as_secs();
            old.expires_at = Some(old.expires_at.map_or(end, |expires| expires.min(end)));
            let txn = old.put(new.put(Txn::default().unchanged(path, entry.revision))?)?;
            // Where somebody else changed it meanwhile, it is read again.
            if let Some(revision) = self.store.txn(txn).await?.committed() {
                self.mirror.shows(revision).await;
                return Ok(Some((key, new, old)));
            }
        }
    }

    /// Makes of a key's record what `change` makes of it, but for its id, its owner, and what it is made of. Returns it;
    /// `None` where there is none. It counts as soon as a revocation does.
    ///
    /// # Errors
    /// As [`Keys::revoke`].
    pub async fn change(&self, id: &KeyId, change: impl Fn(&mut KeyRecord)) -> Result<Option<KeyRecord>, Error> {
        let path = Self::path(id);
        loop {
            let Some(entry) = self.store.get(&path).await? else { return Ok(None) };
            let before = KeyRecord::read(&entry.value).ok_or_else(|| Error::Unreadable(path.clone()))?;
            let mut after = before.clone();
            change(&mut after);
            let KeyRecord { id, tenant, digest, owner, .. } = before;
            let after = KeyRecord { id, tenant, digest, owner, ..after };
            let txn = after.put(Txn::default().unchanged(&path, entry.revision))?;
            if let Some(revision) = self.store.txn(txn).await?.committed() {
                self.mirror.shows(revision).await;
                return Ok(Some(after));
            }
        }
    }

    /// Returns a key's record.
    ///
    /// # Errors
    /// When the store fails; [`Error::Unreadable`] for a record that this version cannot read.
    pub async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, Error> {
        let path = Self::path(id);
        let Some(entry) = self.store.get(&path).await? else { return Ok(None) };
        KeyRecord::read(&entry.value).map(Some).ok_or(Error::Unreadable(path))
    }

    /// Ends a key. It is dead here when this returns, and everywhere within 5 s where the store can be reached. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// When the store fails; then it may be done all the same, and can be asked for again.
    pub async fn revoke(&self, id: &KeyId) -> Result<bool, Error> {
        let path = Self::path(id);
        let there = self.store.get(&path).await?.is_some();
        let removed = self.store.txn(Txn::default().delete(path)).await?;
        if let Some(revision) = removed.committed().filter(|_| there) {
            self.mirror.shows(revision).await;
        }
        Ok(there)
    }

    /// Returns all keys, those that have expired too, in the order of their ids.
    ///
    /// # Errors
    /// When the store fails; [`Error::Unreadable`] for a record that this version cannot read.
    pub async fn list(&self) -> Result<Vec<KeyRecord>, Error> {
        let read = |entry: &Entry| KeyRecord::read(&entry.value).ok_or_else(|| Error::Unreadable(entry.key.clone()));
        self.store.list(Self::PREFIX).await?.iter().map(read).collect()
    }

    /// Returns whose key this is, or `None` for a key that is unknown or has expired.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn authenticate(&self, text: &str) -> Result<Option<Principal>, Error> {
        if text.is_empty() || text.len() > Self::LONGEST {
            return Ok(None);
        }
        let Some(record) = self.record(&self.id_of(text)).await? else { return Ok(None) };
        let right = bool::from(record.digest.ct_eq(&self.digest(text)));
        Ok((right && !record.expired()).then(|| record.principal()))
    }

    /// Returns a token that stands for a key from now until `expires`, in seconds since 1970, for a browser to keep instead
    /// of the key; `None` for a key that is unknown or has expired.
    ///
    /// # Errors
    /// When the store or the source of randomness fails.
    pub async fn sign_in(&self, text: &str, expires: u64) -> Result<Option<(Principal, String)>, Error> {
        let Some(principal) = self.authenticate(text).await? else { return Ok(None) };
        let token = self.sign_ins.make(&principal.key, &self.digest(text), expires)?;
        Ok(Some((principal, token)))
    }

    /// Returns whose key a token of [`Keys::sign_in`] stands for; `None` for one that is not ours or has expired, and for
    /// one whose key was revoked or has expired since.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signed_in(&self, token: &str) -> Result<Option<Principal>, Error> {
        let Some(key) = SignIns::key(token) else { return Ok(None) };
        let Some(record) = self.record(&key).await? else { return Ok(None) };
        let ours = self.sign_ins.verify(token, &record.digest, unix_seconds());
        Ok((ours && !record.expired()).then(|| record.principal()))
    }

    /// Returns whose key an id is, and what it permits now; `None` for one that was revoked or has expired.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn principal(&self, id: &KeyId) -> Result<Option<Principal>, Error> {
        Ok(self.record(id).await?.filter(|record| !record.expired()).map(|record| record.principal()))
    }

    async fn record(&self, id: &KeyId) -> Result<Option<Arc<KeyRecord>>, Error> {
        let path = Self::path(id);
        match self.mirror.get(&path) {
            Ok(found) => Ok(found),
            Err(Unsure) => {
                let Some(entry) = self.store.get(&path).await? else { return Ok(None) };
                KeyRecord::read(&entry.value).map(Arc::new).map(Some).ok_or(Error::Unreadable(path))
            }
        }
    }

    /// Returns whether a tenant has a key, one that has expired too.
    ///
    /// # Errors
    /// When the store fails; [`Error::Unreadable`] for a record that this version cannot read.
    pub async fn any_of(&self, tenant: &TenantId) -> Result<bool, Error> {
        match self.mirror.all() {
            Ok(records) => Ok(records.iter().any(|record| record.tenant == *tenant)),
            Err(Unsure) => Ok(self.list().await?.iter().any(|record| record.tenant == *tenant)),
        }
    }

    /// Returns whether no key exists yet, as on a first start.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn none_exist(&self) -> Result<bool, Error> {
        Ok(self.store.list(Self::PREFIX).await?.is_empty())
    }

    /// Finds the public part of a key: `<id>` of one made here, else a short hash of the text.
    fn id_of(&self, text: &str) -> KeyId {
        let ours = text.strip_prefix("vitrine_").and_then(|rest| rest.split_once('_'));
        match ours {
            Some((id, _)) if id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => KeyId::new(id),
            _ => KeyId::new(format!("x{}", hex(&self.digest(text)[..8]))),
        }
    }

    /// Hashes a key. A key has 256 random bits, so that no slow hash is needed against guessing.
    fn digest(&self, text: &str) -> [u8; 32] {
        *blake3::keyed_hash(&self.hash_key, text.as_bytes()).as_bytes()
    }

    fn path(id: &KeyId) -> String {
        format!("{}{id}", Self::PREFIX)
    }
}

/// What a key is given.
#[derive(Clone, Debug)]
pub struct Grant {
    pub tenant: TenantId,
    pub scopes: Vec<Scope>,
    /// How its jobs share forward passes where their request does not say.
    pub batching: Batching,
    /// Seconds since 1970; `None` for a key without end.
    pub expires_at: Option<u64>,
    /// What it is for, in the words of who made it.
    pub note: Option<String>,
    /// What the ledger shows its jobs under.
    pub project: Option<String>,
    pub terms: Terms,
    /// The user who made it for themselves; `None` for one that an administrator made.
    pub owner: Option<String>,
}

impl Grant {
    /// Lets a tenant do some things, without end.
    #[must_use]
    pub fn new(tenant: TenantId, scopes: &[Scope]) -> Self {
        let (batching, terms) = (Batching::default(), Terms::default());
        let scopes = scopes.to_vec();
        Self { tenant, scopes, batching, expires_at: None, note: None, project: None, terms, owner: None }
    }
}

/// What is stored of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    pub id: KeyId,
    pub tenant: TenantId,
    /// Keyed BLAKE3 of the whole text.
    pub digest: [u8; 32],
    pub scopes: Vec<Scope>,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970; `None` for a key without end.
    pub expires_at: Option<u64>,
    pub batching: Batching,
    /// As in [`Grant`].
    pub note: Option<String>,
    pub project: Option<String>,
    pub terms: Arc<Terms>,
    pub owner: Option<String>,
}

impl KeyRecord {
    fn principal(&self) -> Principal {
        let Self { id, tenant, scopes, batching, expires_at, project, terms, .. } = self.clone();
        let (tenants, user) = (Arc::default(), None);
        Principal { key: id, user, tenant, scopes, batching, expires_at, project, terms, tenants }
    }

    fn expired(&self) -> bool {
        self.expires_at.is_some_and(|end| end <= unix_seconds())
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        // Records of before there were a batching, a note, a project, terms and an owner end earlier; zeros that nothing asks
        // for are not looked at.
        postcard::from_bytes(&[bytes, &[0; 3], &Terms::NONE, &[0]].concat()).ok()
    }

    /// Adds to a transaction that this is what is stored.
    fn put(&self, txn: Txn) -> Result<Txn, Error> {
        let path = Keys::path(&self.id);
        let bytes = postcard::to_stdvec(self).map_err(|_| Error::Unreadable(path.clone()))?;
        Ok(txn.put(path, bytes))
    }
}

/// Who sent a request, once their key was found right, or what a provider says of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// For a user who showed no key, what stands in its place wherever keys are named: see [`crate::User`].
    pub key: KeyId,
    /// The name of a user who showed no key.
    pub user: Option<Arc<str>>,
    pub tenant: TenantId,
    pub scopes: Vec<Scope>,
    pub batching: Batching,
    /// Seconds since 1970; `None` for a key without end.
    pub expires_at: Option<u64>,
    pub project: Option<String>,
    /// Those of the key.
    pub terms: Arc<Terms>,
    /// Those of the tenant, which whoever knows tenants adds.
    pub tenants: Arc<Terms>,
}

impl Principal {
    /// Returns whether the key carries a permission; [`Scope::Admin`] carries all but [`Scope::Audit`]: who does things is
    /// not who looks at what was done, unless a key says so.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| *held == scope || (*held == Scope::Admin && scope != Scope::Audit))
    }

    /// Returns whether it may use a model.
    #[must_use]
    pub fn admitted(&self, model: &ModelKey) -> bool {
        self.terms.admit(model) && self.tenants.admit(model)
    }

    /// Returns how urgent its jobs are: as its tenant is, or less where the key says so.
    #[must_use]
    pub fn class(&self) -> Class {
        let tenant = self.tenants.class.unwrap_or_default();
        self.terms.class.map_or(tenant, |key| key.max(tenant))
    }

    /// Returns the quotas that its jobs count against.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        Allowance { tenant: self.tenants.quota.clone(), key: self.terms.quota.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn keys(folder: &tempfile::TempDir) -> Keys {
        let store: Arc<dyn MetadataStore> =
            Arc::new(store::RedbStore::open(folder.path().join("metadata.redb")).unwrap());
        let secret = ServerSecret::load(store.as_ref()).await.unwrap();
        Keys::new(store, &secret)
    }

    /// Has keys kept in memory, and waits until they are there.
    async fn keep(keys: &Keys) {
        let keeper = keys.clone();
        tokio::spawn(async move { keeper.keep().await });
        while keys.mirror.all().is_err() {
            tokio::task::yield_now().await;
        }
    }

    fn ada(scopes: &[Scope]) -> Grant {
        Grant { batching: Batching::Reproducible, ..Grant::new(TenantId::new("ada"), scopes) }
    }

    #[tokio::test]
    async fn a_made_key_is_known_and_its_text_is_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder).await;
        assert!(keys.none_exist().await.unwrap());
        let key = keys.create(ada(&[Scope::Submit])).await.unwrap();
        assert!(!keys.none_exist().await.unwrap());
        let principal = keys.authenticate(key.reveal()).await.unwrap().unwrap();
        assert_eq!((principal.tenant.clone(), principal.batching), (TenantId::new("ada"), Batching::Reproducible));
        assert!(principal.may(Scope::Submit) && !principal.may(Scope::Operate));
        let secret = key.reveal().rsplit('_').next().unwrap();
        assert_eq!(secret.len(), 64);
        for entry in keys.store.list("").await.unwrap() {
            assert!(!String::from_utf8_lossy(&entry.value).contains(secret));
        }
    }

    #[tokio::test]
    async fn a_key_with_one_other_character_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder).await;
        let key = keys.create(ada(&[Scope::Submit])).await.unwrap();
        for at in 0..key.reveal().len() {
            let mut other = key.reveal().to_owned().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(keys.authenticate(&String::from_utf8(other).unwrap()).await.unwrap(), None, "at {at}");
        }
        for junk in ["", "vitrine_", "vitrine__", "vitrine_000000000000_", &"k".repeat(100_000)] {
            assert_eq!(keys.authenticate(junk).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn any_text_that_a_header_can_carry_may_be_registered() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder).await;
        keys.register(&Secret::new("test-key"), ada(&[Scope::Admin])).await.unwrap();
        assert!(keys.authenticate("test-key").await.unwrap().unwrap().may(Scope::Operate));
        assert_eq!(keys.authenticate("test-kez").await.unwrap(), None);
        for unfit in ["", " edge", "zwei\nZeilen", "schlüssel"] {
            let outcome = keys.register(&Secret::new(unfit), ada(&[])).await;
            assert!(matches!(outcome, Err(Error::UnfitKey)), "{unfit:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_key_is_dead_at_once_where_it_is_revoked_and_a_moment_later_everywhere() {
        let store = store::MemoryStore::new(1);
        let secret = ServerSecret::load(&store).await.unwrap();
        let keys = || Keys::new(Arc::new(store.clone()), &secret);
        let [here, there, unkept] = [keys(), keys(), keys()];
        keep(&here).await;
        keep(&there).await;
        let key = here.create(ada(&[Scope::Submit])).await.unwrap();
        let other = here.create(ada(&[Scope::Submit])).await.unwrap();
        let knows = async |keys: &Keys, key: &Secret| keys.authenticate(key.reveal()).await.unwrap().is_some();
        assert!(knows(&here, &key).await && knows(&unkept, &key).await);
        while !knows(&there, &key).await {
            tokio::task::yield_now().await;
        }
        let listed = here.list().await.unwrap();
        let id = here.authenticate(key.reveal()).await.unwrap().unwrap().key;
        assert_eq!(listed.iter().filter(|record| record.id == id).count(), 1);
        assert_eq!(listed.len(), 2);
        assert!(here.revoke(&id).await.unwrap());
        assert!(!knows(&here, &key).await && !knows(&unkept, &key).await);
        while knows(&there, &key).await {
            tokio::task::yield_now().await;
        }
        assert!(!here.revoke(&id).await.unwrap(), "there is none any more");
        assert_eq!(here.list().await.unwrap().len(), 1);
        assert!(knows(&there, &other).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_key_costs_the_store_nothing_and_ends_when_it_expires() {
        let store = store::MemoryStore::new(1);
        let secret = ServerSecret::load(&store).await.unwrap();
        let keys = Keys::new(Arc::new(store.clone()), &secret);
        keep(&keys).await;
        let text = Secret::new("some key");
        let id = keys.register(&text, ada(&[Scope::Submit])).await.unwrap().id;
        // What can be told without the store is told while it is away, as it is for a moment when a member of it dies.
        store.set_faults(store::Faults { unavailable: 1.0, ..store::Faults::default() });
        assert_eq!(keys.authenticate("some key").await.unwrap().map(|found| found.key), Some(id.clone()));
        assert_eq!(keys.authenticate("some other").await.unwrap(), None);
        store.set_faults(store::Faults::default());
        let mut record = keys.list().await.unwrap().remove(0);
        record.expires_at = Some(unix_seconds());
        store.put(&Keys::path(&id), postcard::to_stdvec(&record).unwrap().into()).await.unwrap();
        while keys.authenticate("some key").await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_rotated_key_lives_beside_the_one_that_follows_it_and_no_longer_than_it_would_have() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder).await;
        let grant =
            Grant { expires_at: Some(unix_seconds() + 1000), project: Some("p".into()), ..ada(&[Scope::Submit]) };
        let old = keys.create(grant).await.unwrap();
        let id = keys.authenticate(old.reveal()).await.unwrap().unwrap().key;
        let (new, record, before) = keys.rotate(&id, Duration::from_secs(60)).await.unwrap().unwrap();
        assert!(record.id != id && before.id == id);
        let (one, other) =
            (keys.authenticate(old.reveal()).await.unwrap(), keys.authenticate(new.reveal()).await.unwrap().unwrap());
        assert!(one.unwrap().expires_at.unwrap() <= unix_seconds() + 60);
        assert_eq!((other.project.as_deref(), other.batching), (Some("p"), Batching::Reproducible));
        assert!(other.expires_at.unwrap() >= unix_seconds() + 990);
        // At once, and not again later.
        keys.rotate(&record.id, Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(keys.authenticate(new.reveal()).await.unwrap(), None);
        let (_, _, again) = keys.rotate(&id, Duration::from_secs(5000)).await.unwrap().unwrap();
        assert_eq!(again.expires_at, before.expires_at);
        assert!(keys.rotate(&KeyId::new("000000000000"), Duration::ZERO).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn who_administers_reads_the_audit_trail_only_with_a_scope_for_that() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder).await;
        for (scopes, audits) in [(&[Scope::Admin][..], false), (&[Scope::Audit], true), (&Scope::ALL, true)] {
            let key = keys.create(ada(scopes)).await.unwrap();
            let principal = keys.authenticate(key.reveal()).await.unwrap().unwrap();
            assert_eq!(principal.may(Scope::Audit), audits);
            assert_eq!(principal.may(Scope::Operate), scopes.contains(&Scope::Admin));
        }
    }

    #[test]
    fn a_record_from_before_there_were_batching_and_notes_is_read() {
        #[derive(Serialize)]
        struct Before {
            id: KeyId,
            tenant: TenantId,
            digest: [u8; 32],
            scopes: Vec<Scope>,
            created_at: u64,
            expires_at: Option<u64>,
        }
        let (id, tenant) = (KeyId::new("0123456789ab"), TenantId::new("ada"));
        let scopes = vec![Scope::Submit];
        let before = Before { id, tenant, digest: [7; 32], scopes, created_at: 1, expires_at: None };
        let read = KeyRecord::read(&postcard::to_stdvec(&before).unwrap()).unwrap();
        assert_eq!((read.batching, read.created_at, read.digest), (Batching::Shared, 1, [7; 32]));
        assert_eq!(read.note, None);
        assert_eq!((&read.project, &read.terms), (&None, &Arc::default()));
        let quota = store::Quota { queued_jobs: Some(3), ..store::Quota::default() };
        let (models, class) = (Some(vec!["o/n".into()]), Some(Class::Low));
        let terms = Arc::new(Terms { quota, models, class, cancel_when_gone: Some(30) });
        assert_eq!(read.owner, None);
        let owner = Some("ada@example.org".to_owned());
        let noted = KeyRecord { note: Some("the notebook".into()), expires_at: Some(7), terms, owner, ..read };
        assert_eq!(KeyRecord::read(&postcard::to_stdvec(&noted).unwrap()).unwrap(), noted);
    }
}
