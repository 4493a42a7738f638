//! Tenants: who keys, jobs and results belong to.
//!
//! A tenant is there once it was made, or has a key. What is stored of it is when it was made, whether it is
//! suspended, and its terms.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use ids::TenantId;
use serde::{Deserialize, Serialize};
use store::{Entry, MetadataStore, Mirror, Txn, Unsure};

use crate::{Error, KeyRecord, Keys, Terms, unix_seconds};

/// The tenants of one installation. Clones share what they keep in memory.
#[derive(Clone)]
pub struct Tenants {
    store: Arc<dyn MetadataStore>,
    mirror: Mirror<TenantRecord>,
}

impl Tenants {
    const PREFIX: &str = "/vitrine/v1/tenants/";

    pub(crate) fn new(store: Arc<dyn MetadataStore>) -> Self {
        let mirror = Mirror::new(Arc::clone(&store), Self::PREFIX, |entry| TenantRecord::read(entry).ok());
        Self { store, mirror }
    }

    /// Keeps the tenants in memory, for as long as it is polled: one that is suspended anywhere is so a moment later here.
    pub async fn keep(&self) -> Infallible {
        self.mirror.keep().await
    }

    /// Makes a tenant. Returns whether it was not there before.
    ///
    /// # Errors
    /// [`Error::UnfitTenant`]; else when the store fails.
    pub async fn create(&self, name: &TenantId) -> Result<bool, Error> {
        if !fits(name.as_str()) {
            return Err(Error::UnfitTenant(name.as_str().to_owned()));
        }
        let path = Self::path(name);
        let record = TenantRecord::new();
        let txn = Txn::default().absent(&path).put(&path, record.write(&path)?);
        let Some(revision) = self.store.txn(txn).await?.committed() else { return Ok(false) };
        self.mirror.shows(revision).await;
        Ok(true)
    }

    /// Suspends a tenant or ends that. It counts here when this returns, and everywhere within 5 s where the store can be
    /// reached. One that is nothing but a name on keys gets a record.
    ///
    /// # Errors
    /// When the store fails; then it may be done all the same, and can be asked for again.
    pub async fn suspend(&self, name: &TenantId, suspended: bool) -> Result<(), Error> {
        self.change(name, |record| {
            record.suspended_at = suspended.then(|| record.suspended_at.unwrap_or_else(unix_seconds));
        })
        .await
    }

    /// Gives a tenant other terms: what `change` makes of those that it has. It counts as soon as a suspension does.
    ///
    /// # Errors
    /// As [`Tenants::suspend`].
    pub async fn give(&self, name: &TenantId, change: impl Fn(&mut Terms)) -> Result<(), Error> {
        self.change(name, |record| change(Arc::make_mut(&mut record.terms))).await
    }

    async fn change(&self, name: &TenantId, change: impl Fn(&mut TenantRecord)) -> Result<(), Error> {
        let path = Self::path(name);
        loop {
            let found = self.store.get(&path).await?;
            let mut record = found.as_ref().map(TenantRecord::read).transpose()?.unwrap_or_else(TenantRecord::new);
            change(&mut record);
            let txn = match &found {
                Some(entry) => Txn::default().unchanged(&path, entry.revision),
                None => Txn::default().absent(&path),
            };
            // Where somebody else changed it meanwhile, it is read again.
            if let Some(revision) = self.store.txn(txn.put(&path, record.write(&path)?)).await?.committed() {
                self.mirror.shows(revision).await;
                return Ok(());
            }
        }
    }

    /// Returns a tenant's terms; `None` for one that is suspended. Looked at with every request.
    ///
    /// # Errors
    /// When the store fails; [`Error::Unreadable`] for a record that this version cannot read.
    pub async fn terms(&self, name: &TenantId) -> Result<Option<Arc<Terms>>, Error> {
        let path = Self::path(name);
        let record = match self.mirror.get(&path) {
            Ok(record) => record,
            Err(Unsure) => self.store.get(&path).await?.as_ref().map(TenantRecord::read).transpose()?.map(Arc::new),
        };
        Ok(match record {
            None => Some(Arc::default()),
            Some(record) => record.suspended_at.is_none().then(|| Arc::clone(&record.terms)),
        })
    }

    /// Returns whether there is a tenant: one that was made, or that `keys` know.
    ///
    /// # Errors
    /// When the store fails; [`Error::Unreadable`] for a record that this version cannot read.
    pub async fn exists(&self, name: &TenantId, keys: &Keys) -> Result<bool, Error> {
        let path = Self::path(name);
        let made = match self.mirror.get(&path) {
            Ok(record) => record.is_some(),
            Err(Unsure) => self.store.get(&path).await?.is_some(),
        };
        Ok(made || keys.any_of(name).await?)
    }

    /// Returns all tenants in the order of their names: those that were made, and those of `keys`.
    ///
    /// # Errors
    /// When the store fails; [`Error::Unreadable`] for a record that this version cannot read.
    pub async fn list(&self, keys: &[KeyRecord]) -> Result<Vec<Tenant>, Error> {
        let mut tenants = BTreeMap::new();
        for entry in self.store.list(Self::PREFIX).await? {
            let name = TenantId::new(entry.key.strip_prefix(Self::PREFIX).unwrap_or_default());
            let TenantRecord { created_at, suspended_at, terms } = TenantRecord::read(&entry)?;
            tenants.insert(name.clone(), Tenant { name, created_at: Some(created_at), suspended_at, keys: 0, terms });
        }
        for key in keys {
            let name = key.tenant.clone();
            let implied =
                || Tenant { name: name.clone(), created_at: None, suspended_at: None, keys: 0, terms: Arc::default() };
            tenants.entry(name.clone()).or_insert_with(implied).keys += 1;
        }
        Ok(tenants.into_values().collect())
    }

    fn path(name: &TenantId) -> String {
        format!("{}{name}", Self::PREFIX)
    }
}

/// One tenant. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    pub name: TenantId,
    /// `None` for one that is nothing but a name on keys.
    pub created_at: Option<u64>,
    /// `None` for one that is not suspended.
    pub suspended_at: Option<u64>,
    /// How many keys it has, those that have expired too.
    pub keys: usize,
    pub terms: Arc<Terms>,
}

/// What is stored of a tenant. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TenantRecord {
    created_at: u64,
    suspended_at: Option<u64>,
    terms: Arc<Terms>,
}

impl TenantRecord {
    fn new() -> Self {
        Self { created_at: unix_seconds(), suspended_at: None, terms: Arc::default() }
    }

    fn read(entry: &Entry) -> Result<Self, Error> {
        // Records of before there were terms end earlier; zeros that nothing asks for are not looked at.
        postcard::from_bytes(&[&entry.value[..], &Terms::NONE].concat())
            .map_err(|_| Error::Unreadable(entry.key.clone()))
    }

    fn write(&self, path: &str) -> Result<Vec<u8>, Error> {
        postcard::to_stdvec(self).map_err(|_| Error::Unreadable(path.to_owned()))
    }
}

fn fits(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    // A path made of points alone is another path to who resolves it.
    (1..=63).contains(&name.len()) && name.bytes().all(plain) && name.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grant, Scope, ServerSecret};

    #[tokio::test(start_paused = true)]
    async fn a_tenant_is_suspended_at_once_where_it_is_asked_and_a_moment_later_everywhere() {
        let store = store::MemoryStore::new(1);
        let tenants = || Tenants::new(Arc::new(store.clone()));
        let [here, there, unkept] = [tenants(), tenants(), tenants()];
        for kept in [&here, &there] {
            let keeper = kept.clone();
            tokio::spawn(async move { keeper.keep().await });
            while kept.mirror.all().is_err() {
                tokio::task::yield_now().await;
            }
        }
        let lab = TenantId::new("lab-b");
        assert!(here.create(&lab).await.unwrap());
        assert!(!there.create(&lab).await.unwrap(), "there is one");
        for suspended in [true, false] {
            here.suspend(&lab, suspended).await.unwrap();
            assert_eq!(here.terms(&lab).await.unwrap().is_none(), suspended);
            assert_eq!(unkept.terms(&lab).await.unwrap().is_none(), suspended);
            while there.terms(&lab).await.unwrap().is_none() != suspended {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(here.terms(&TenantId::new("nobody")).await.unwrap(), Some(Arc::default()));
    }

    #[tokio::test]
    async fn a_tenant_that_is_a_name_on_keys_is_one_and_can_be_suspended() {
        let store: Arc<dyn MetadataStore> = Arc::new(store::MemoryStore::new(1));
        let keys = Keys::new(Arc::clone(&store), &ServerSecret::load(store.as_ref()).await.unwrap());
        let tenants = keys.tenants();
        keys.create(Grant::new(TenantId::new("Ada Lovelace"), &Scope::DEFAULT)).await.unwrap();
        tenants.create(&TenantId::new("bob")).await.unwrap();
        for (name, there) in [("Ada Lovelace", true), ("bob", true), ("eve", false)] {
            assert_eq!(tenants.exists(&TenantId::new(name), &keys).await.unwrap(), there, "{name}");
        }
        let listed = tenants.list(&keys.list().await.unwrap()).await.unwrap();
        let of = |tenant: &Tenant| (tenant.name.as_str().to_owned(), tenant.created_at.is_some(), tenant.keys);
        assert_eq!(
            listed.iter().map(of).collect::<Vec<_>>(),
            [("Ada Lovelace".into(), false, 1), ("bob".into(), true, 0)]
        );
        tenants.suspend(&listed[0].name, true).await.unwrap();
        assert_eq!(tenants.terms(&listed[0].name).await.unwrap(), None);
        assert!(tenants.list(&[]).await.unwrap()[0].suspended_at.is_some());
    }

    #[tokio::test]
    async fn terms_are_given_and_a_record_from_before_there_were_any_is_read() {
        let store: Arc<dyn MetadataStore> = Arc::new(store::MemoryStore::new(1));
        let tenants = Tenants::new(Arc::clone(&store));
        let lab = TenantId::new("lab");
        let before = postcard::to_stdvec(&(7u64, Option::<u64>::None)).unwrap();
        store.put(&Tenants::path(&lab), before.into()).await.unwrap();
        assert_eq!(tenants.terms(&lab).await.unwrap(), Some(Arc::default()));
        let models = Some(vec!["a/b".to_owned()]);
        tenants.give(&lab, |terms| terms.quota.queued_jobs = Some(3)).await.unwrap();
        tenants.give(&lab, |terms| terms.models.clone_from(&models)).await.unwrap();
        let listed = tenants.list(&[]).await.unwrap().remove(0);
        assert_eq!(
            (listed.created_at, listed.terms.quota.queued_jobs, &listed.terms.models),
            (Some(7), Some(3), &models)
        );
        assert_eq!(tenants.terms(&lab).await.unwrap(), Some(listed.terms));
    }

    #[tokio::test]
    async fn a_key_is_as_urgent_as_its_tenant_or_less_and_a_record_from_before_classes_is_normal() {
        let store: Arc<dyn MetadataStore> = Arc::new(store::MemoryStore::new(1));
        let tenants = Tenants::new(Arc::clone(&store));
        let lab = TenantId::new("lab");
        // What was stored of it, up to the models that it might use.
        let quota = store::Quota { queued_jobs: Some(3), ..store::Quota::default() };
        let before = postcard::to_stdvec(&(7u64, Option::<u64>::None, quota, Some(vec!["a/b"]))).unwrap();
        store.put(&Tenants::path(&lab), before.into()).await.unwrap();
        let terms = tenants.terms(&lab).await.unwrap().unwrap();
        assert_eq!(
            (terms.class, terms.quota.queued_jobs, terms.models.as_deref()),
            (None, Some(3), Some(&["a/b".to_owned()][..]))
        );
        let keys = Keys::new(Arc::clone(&store), &ServerSecret::load(store.as_ref()).await.unwrap());
        let key = keys.create(Grant::new(lab.clone(), &Scope::DEFAULT)).await.unwrap();
        let principal = keys.authenticate(key.reveal()).await.unwrap().unwrap();
        use ids::Class::{High, Low, Normal};
        for (tenant, key, class) in [
            (None, None, Normal),
            (None, Some(Low), Low),
            (Some(Low), None, Low),
            (Some(High), None, High),
            (Some(High), Some(Normal), Normal),
            // Its tenant was lowered since.
            (Some(Low), Some(High), Low),
        ] {
            let of = |class| Arc::new(crate::Terms { class, ..crate::Terms::default() });
            let principal = crate::Principal { tenants: of(tenant), terms: of(key), ..principal.clone() };
            assert_eq!(principal.class(), class, "{tenant:?} {key:?}");
            tenants.give(&lab, |terms| terms.class = tenant).await.unwrap();
            assert_eq!(tenants.terms(&lab).await.unwrap().unwrap().class, tenant);
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        for good in ["lab-b", "a", "0", "x.y_z", &"a".repeat(63)] {
            assert!(fits(good), "{good}");
        }
        for bad in ["", ".", "..", "Lab", "a b", "a/b", "ä", "--", &"a".repeat(64)] {
            assert!(!fits(bad), "{bad}");
        }
    }
}
