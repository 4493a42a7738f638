//! Quotas: what a tenant or a key may take, kept for a job by the very transaction that accepts it.
//!
//! Each acceptance against a quota writes its tenant's account, and requires that nobody did since it was read. So of
//! acceptances at one time, at whichever gateways, each sees those before it. The end of a job is written beside the account,
//! in an entry of the job's own, so that ends wait for nobody and hold up nobody; the next acceptance, or the sweep, adds them
//! up. Who reads an end late refuses too much for a moment, and never takes too much.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ids::{JobId, KeyId, TenantId};
use proto::stored as records;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as Turn;
use tokio::time::timeout;

use super::{Accepted, Jobs, acceptance, keys};
use crate::error::Error;
use crate::job::{Ended, JobRecord};
use crate::metadata::{Entry, MetadataStore, Range, Revision};
use crate::stored;
use crate::txn::{Txn, TxnOutcome};

const DAY: u64 = 24 * 3600;
const SECOND: u64 = 1_000_000;

/// Ends that are added up together, each of which is an operation of a transaction.
const TOGETHER: usize = 24;

/// What a tenant or a key may take. `None` is any amount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Seconds that its jobs may compute on one day, which begins at 00:00 UTC.
    pub device_seconds_per_day: Option<u64>,
    /// Jobs that may be with workers at once. More wait.
    pub running_jobs: Option<u64>,
    /// Jobs that may wait or run at once.
    pub queued_jobs: Option<u64>,
    /// Bytes of the programs of jobs that wait or run, and of results and programs that are kept.
    pub stored_bytes: Option<u64>,
    /// Requests of any kind, at each gateway.
    pub requests_per_second: Option<u64>,
}

/// The quotas that a job counts against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    pub tenant: Quota,
    /// Of the key that asks, within its tenant's.
    pub key: Quota,
}

/// What counts against quotas at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Jobs that wait or run.
    pub jobs: u64,
    /// Microseconds computed today by jobs that have ended.
    pub computed: u64,
    /// Microseconds kept for jobs that wait or run.
    pub reserved: u64,
    /// Bytes of programs of jobs that wait or run, and of results and programs that are kept.
    pub bytes: u64,
    /// Jobs that ended today.
    ended: u64,
}

/// Whose quota it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    Tenant(TenantId),
    Key(KeyId),
}

/// A quota that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    pub whose: Whose,
    pub what: What,
    /// When asking again makes sense.
    pub again: Duration,
}

/// Which quota is used up: what may be taken, and what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Jobs { quota: u64, used: u64 },
    Bytes { quota: u64, used: u64, wanted: u64 },
    DeviceSeconds { quota: u64, used: u64, reserved: u64 },
}

/// The turns at tenants' accounts within one process. Two that wrote one account at once would only be in each other's way.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<TenantId, Arc<Turn<()>>>>>);

impl Quota {
    /// Returns whether jobs have to be counted for it.
    fn meters(&self) -> bool {
        self.device_seconds_per_day.is_some() || self.queued_jobs.is_some() || self.stored_bytes.is_some()
    }

    fn check(&self, whose: Whose, used: &Use, wanted: u64, now: u64) -> Result<(), Over> {
        let over = |what, again| Err(Over { whose, what, again: Duration::from_secs(again) });
        if let Some(quota) = self.queued_jobs.filter(|quota| used.jobs >= *quota) {
            return over(What::Jobs { quota, used: used.jobs }, 10);
        }
        if let Some(quota) = self.stored_bytes.filter(|quota| used.bytes.saturating_add(wanted) > *quota) {
            return over(What::Bytes { quota, used: used.bytes, wanted }, 600);
        }
        let device = self.device_seconds_per_day;
        let taken = used.computed.saturating_add(used.reserved);
        if let Some(quota) = device.filter(|quota| taken >= quota.saturating_mul(SECOND)) {
            let what = What::DeviceSeconds { quota, used: used.computed, reserved: used.reserved };
            // What is kept and not used comes back sooner than the next day.
            let until_midnight = DAY - now / 1000 % DAY;
            return over(what, if used.computed >= quota.saturating_mul(SECOND) { until_midnight } else { 10 });
        }
        Ok(())
    }
}

impl Allowance {
    /// Returns whether a job has to be counted.
    #[must_use]
    pub fn meters(&self) -> bool {
        self.tenant.meters() || self.key.meters()
    }

    /// Returns how many of the tenant's jobs may be with workers at once; zero for any number.
    #[must_use]
    pub fn at_once(&self) -> u32 {
        self.tenant.running_jobs.map_or(0, |jobs| u32::try_from(jobs).unwrap_or(u32::MAX))
    }
}

impl Jobs {
    /// Makes a queued job durable, as [`Jobs::accept`] does, if that leaves its tenant and its key within their quotas.
    /// The record has to be [`JobRecord::metered`] where [`Allowance::meters`] says so.
    ///
    /// # Errors
    /// [`Error::OverQuota`]; [`Error::Crowded`] where too many of the tenant's are under way; else as [`Jobs::accept`].
    pub async fn accept_within(&self, record: &JobRecord, allowance: &Allowance) -> Result<Accepted, Error> {
        let waits = self.turns.line_up(&record.tenant);
        let patience = self.deadline() / 3;
        match timeout(patience, waits.turn.lock()).await {
            Ok(_held) => self.accept_in_turn(record, allowance, patience).await,
            Err(_) => Err(Error::Crowded),
        }
    }

    async fn accept_in_turn(
        &self,
        record: &JobRecord,
        allowance: &Allowance,
        patience: Duration,
    ) -> Result<Accepted, Error> {
        loop {
            let book = Book::read(self.store.as_ref(), &record.tenant).await?;
            if let Err(over) = book.check(record, allowance) {
                // The same submission told again needs no room.
                return match self.submitted(record).await? {
                    Some(before) => Ok(before),
                    None => Err(Error::OverQuota(over)),
                };
            }
            let txn = book.write(acceptance(record), record.accepted_at);
            let txn = txn.put(keys::hold(&record.tenant, record.id), stored::hold(record, book.reserve(record)));
            let Some(TxnOutcome::Conflict(compared)) = self.certain(vec![txn], patience).await?.pop() else {
                return Ok(Accepted::New);
            };
            if let Some(before) = Self::before(record, compared)? {
                return Ok(before);
            }
        }
    }

    /// Says whether a job would be taken now, as [`Jobs::accept_within`] does, and takes nothing.
    ///
    /// # Errors
    /// [`Error::OverQuota`]; failures of the store.
    pub async fn would_accept(&self, record: &JobRecord, allowance: &Allowance) -> Result<(), Error> {
        let book = Book::read(self.store.as_ref(), &record.tenant).await?;
        book.check(record, allowance).map_err(Error::OverQuota)
    }

    /// Returns the job that a submission made when it came before.
    async fn submitted(&self, record: &JobRecord) -> Result<Option<Accepted>, Error> {
        let Some(idempotency) = &record.idempotency else { return Ok(None) };
        let entry = self.store.get(&keys::submission(&record.tenant, &idempotency.key)).await?;
        Self::before(record, vec![None, entry])
    }

    /// Returns what counts against a tenant's quota, and against that of one of its keys.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn used(&self, tenant: &TenantId, key: Option<&KeyId>, now: u64) -> Result<Use, Error> {
        Ok(Book::read(self.store.as_ref(), tenant).await?.used(key, now))
    }

    /// Adds up the ends of all tenants' jobs, so that no entries stay of who submits nothing more.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn add_up(&self, now: u64) -> Result<(), Error> {
        let mut tenants: Vec<TenantId> = Vec::new();
        for entry in self.store.list(&keys::all_holds()).await? {
            if let Some(tenant) = keys::account_tenant(&entry.key) {
                tenants.push(TenantId::new(tenant));
            }
        }
        for tenant in tenants {
            loop {
                let book = Book::read(self.store.as_ref(), &tenant).await?;
                if book.ends.is_empty() {
                    break;
                }
                // Where somebody else wrote it meanwhile, it is read again.
                self.store.txn(book.write(Txn::default(), now)).await?;
            }
        }
        Ok(())
    }
}

impl Jobs {
    /// Counts anew what is stored for each tenant, of all that has ended and is not forgotten, and sets those accounts right that
    /// have something else: a version that did not know of all that is kept has forgotten too little with a job. Returns how
    /// many were wrong. Those that somebody writes meanwhile are left as they are.
    ///
    /// # Errors
    /// Failures of the store; [`Error::Compacted`] where it takes so long that what was there is not known any more; what this
    /// version cannot read.
    pub async fn recount(&self) -> Result<usize, Error> {
        let mut stored: HashMap<TenantId, HashMap<String, i64>> = HashMap::new();
        let revision = self.each(keys::all_ended(), None, |entry| {
            let Some(id) = keys::job_of(&entry.key) else { return Ok(()) };
            let ended = stored::read_ended(id, entry)?;
            if ended.metered {
                let bytes = stored.entry(ended.tenant.clone()).or_default().entry(ended.key.to_string()).or_default();
                *bytes += signed(ended.kept_bytes());
            }
            Ok(())
        });
        let revision = revision.await?;
        let mut books: HashMap<TenantId, Book> = HashMap::new();
        let holds = self.each(keys::all_holds(), Some(revision), |entry| {
            let Some((tenant, name)) = keys::hold_of(&entry.key) else { return Ok(()) };
            let tenant = TenantId::new(tenant);
            books.entry(tenant.clone()).or_insert_with(|| Book::empty(&tenant)).take(entry, name)
        });
        holds.await?;
        let mut wrong = 0;
        for (tenant, book) in books {
            let Some(revision) = book.revision else { continue };
            let mut account = book.account.clone();
            book.set_right(&mut account, &stored.remove(&tenant).unwrap_or_default());
            if account != book.account {
                let path = keys::account(&tenant);
                let txn = Txn::default().unchanged(&path, revision).put(path, stored::encode(&account));
                wrong += usize::from(self.store.txn(txn).await?.committed().is_some());
            }
        }
        Ok(wrong)
    }

    /// Looks at all entries whose keys begin so, as of one instant. Returns which.
    async fn each(
        &self,
        prefix: String,
        at: Option<Revision>,
        mut look: impl FnMut(&Entry) -> Result<(), Error>,
    ) -> Result<Revision, Error> {
        let mut next = Some(Range { at, ..Range::of(prefix) });
        let mut revision = 0;
        while let Some(range) = next {
            let page = self.store.range(range.clone()).await?;
            page.entries.iter().try_for_each(&mut look)?;
            (revision, next) = (page.revision, range.next(&page));
        }
        Ok(revision)
    }
}

/// A tenant's account with all that is not added up yet, as of one instant.
struct Book {
    tenant: TenantId,
    account: records::Account,
    /// What wrote the account last; `None` where there is none.
    revision: Option<Revision>,
    /// Of jobs that wait or run.
    holds: Vec<records::Hold>,
    /// What is to be added to the account, and where it lies.
    ends: Vec<(String, End)>,
}

enum End {
    Of(records::Hold),
    Freed(records::Freed),
}

impl End {
    fn key(&self) -> &str {
        match self {
            Self::Of(hold) => &hold.key,
            Self::Freed(freed) => &freed.key,
        }
    }

    /// Returns what is stored more by it.
    fn bytes(&self) -> i64 {
        match self {
            Self::Of(hold) => signed(hold.result_bytes),
            Self::Freed(freed) => -signed(freed.bytes),
        }
    }
}

impl Book {
    async fn read(store: &dyn MetadataStore, tenant: &TenantId) -> Result<Self, Error> {
        let prefix = keys::holds(tenant);
        let entries = store.list(&prefix).await?;
        let mut book = Self::empty(tenant);
        for entry in &entries {
            book.take(entry, entry.key.strip_prefix(&prefix).unwrap_or_default())?;
        }
        Ok(book)
    }

    fn empty(tenant: &TenantId) -> Self {
        let (account, revision) = (records::Account::default(), None);
        Self { tenant: tenant.clone(), account, revision, holds: Vec::new(), ends: Vec::new() }
    }

    fn take(&mut self, entry: &Entry, name: &str) -> Result<(), Error> {
        if name == keys::ACCOUNT {
            self.account = stored::decode(entry)?;
            self.revision = Some(entry.revision);
        } else if let Some(id) = name.strip_suffix(keys::FREED) {
            if id.parse::<JobId>().is_ok() {
                self.ends.push((entry.key.clone(), End::Freed(stored::decode(entry)?)));
            }
        } else if name.parse::<JobId>().is_ok() {
            match stored::decode::<records::Hold>(entry)? {
                hold if hold.ended_at == 0 => self.holds.push(hold),
                hold => self.ends.push((entry.key.clone(), End::Of(hold))),
            }
        }
        Ok(())
    }

    fn check(&self, record: &JobRecord, allowance: &Allowance) -> Result<(), Over> {
        let (bytes, now) = (record.payload_bytes, record.accepted_at);
        allowance.tenant.check(Whose::Tenant(record.tenant.clone()), &self.used(None, now), bytes, now)?;
        let of_key = self.used(Some(&record.key), now);
        allowance.key.check(Whose::Key(record.key.clone()), &of_key, bytes, now)
    }

    /// Returns the microseconds that are kept for a job: as many as its tenant's jobs took on average today, and at least a
    /// second.
    fn reserve(&self, record: &JobRecord) -> u64 {
        let used = self.used(None, record.accepted_at);
        used.computed.checked_div(used.ended).unwrap_or(0).max(SECOND)
    }

    fn used(&self, key: Option<&KeyId>, now: u64) -> Use {
        let account = self.added(self.ends.iter().map(|(_, end)| end), now);
        let wanted = |name: &str| key.is_none_or(|key| key.as_str() == name);
        let spent = match key {
            None => account.all.unwrap_or_default(),
            Some(key) => account.keys.get(key.as_str()).copied().unwrap_or_default(),
        };
        let mut used = Use {
            computed: spent.ran,
            ended: spent.jobs,
            bytes: spent.bytes.try_into().unwrap_or(0),
            ..Use::default()
        };
        for hold in self.holds.iter().filter(|hold| wanted(&hold.key)) {
            used.jobs += 1;
            used.reserved += hold.reserved;
            used.bytes += hold.request_bytes;
        }
        used
    }

    /// Returns the account as it is when some ends are added to it.
    fn added<'a>(&self, ends: impl Iterator<Item = &'a End>, now: u64) -> records::Account {
        let mut account = self.account.clone();
        let today = now / 1000 / DAY;
        if account.day < today {
            account.day = today;
            for spent in account.all.iter_mut().chain(account.keys.values_mut()) {
                (spent.ran, spent.jobs) = (0, 0);
            }
            account.keys.retain(|_, spent| spent.bytes != 0);
        }
        for end in ends {
            let (ran, bytes) = match end {
                End::Of(hold) => (Some((hold.ended_at, hold.ran)), end.bytes()),
                End::Freed(_) => (None, end.bytes()),
            };
            let of_key = account.keys.entry(end.key().to_owned()).or_default();
            for spent in [account.all.get_or_insert_default(), of_key] {
                spent.bytes = spent.bytes.saturating_add(bytes);
                // What ended yesterday is of no day that anybody asks for.
                if let Some((_, ran)) = ran.filter(|(ended_at, _)| ended_at / 1000 / DAY == account.day) {
                    spent.ran = spent.ran.saturating_add(ran);
                    spent.jobs += 1;
                }
            }
        }
        account
    }

    /// Has an account say what is stored, by key, without what is still to be added to it.
    fn set_right(&self, account: &mut records::Account, stored: &HashMap<String, i64>) {
        let mut bytes = stored.clone();
        for (_, end) in &self.ends {
            *bytes.entry(end.key().to_owned()).or_default() -= end.bytes();
        }
        let all: i64 = bytes.values().sum();
        if account.all.unwrap_or_default().bytes != all {
            account.all.get_or_insert_default().bytes = all;
        }
        for (key, spent) in &mut account.keys {
            spent.bytes = bytes.remove(key).unwrap_or(0);
        }
        let others = bytes.into_iter().filter(|(_, bytes)| *bytes != 0);
        account.keys.extend(others.map(|(key, bytes)| (key, records::Spent { bytes, ..records::Spent::default() })));
    }

    /// Adds to a transaction that the account is written, with some of the ends, if nobody has written it since.
    fn write(&self, txn: Txn, now: u64) -> Txn {
        let path = keys::account(&self.tenant);
        let ends = self.ends.iter().take(TOGETHER);
        let account = self.added(ends.clone().map(|(_, end)| end), now);
        let txn = match self.revision {
            Some(revision) => txn.unchanged(&path, revision),
            None => txn.absent(&path),
        };
        ends.fold(txn.put(path, stored::encode(&account)), |txn, (place, _)| txn.delete(place))
    }
}

/// Adds the end of a job to what is written with its outcome.
pub(super) fn settle(txn: Txn, record: &JobRecord) -> Txn {
    match record.metered {
        true => txn.put(keys::hold(&record.tenant, record.id), stored::hold(record, 0)),
        false => txn,
    }
}

/// Adds to what forgets a job that nothing of it takes room any more.
pub(super) fn free(txn: Txn, ended: &Ended) -> Txn {
    if !ended.metered || ended.kept_bytes() == 0 {
        return txn;
    }
    let freed = records::Freed { key: ended.key.to_string(), bytes: ended.kept_bytes() };
    txn.put(keys::freed(&ended.tenant, ended.id), stored::encode(&freed))
}

impl Turns {
    fn line_up(&self, tenant: &TenantId) -> Waits<'_> {
        let turn = Arc::clone(self.all().entry(tenant.clone()).or_default());
        Waits { turns: self, tenant: tenant.clone(), turn }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<Turn<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for a tenant's account, or has it; whoever leaves last, also by giving up, has the tenant forgotten.
struct Waits<'a> {
    turns: &'a Turns,
    tenant: TenantId,
    turn: Arc<Turn<()>>,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.all();
        // Nobody has it but the table and this one, and nobody else can take it meanwhile.
        if Arc::strong_count(&self.turn) == 2 {
            turns.remove(&self.tenant);
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => write!(f, "the tenant {tenant}"),
            Self::Key(key) => write!(f, "the key {key}"),
        }
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whose, what, again } = self;
        match what {
            What::Jobs { quota, used } => write!(
                f,
                "{whose} has a quota of {quota} jobs that wait or run at once, and {used} do; there is room when one of \
                 them has ended"
            ),
            What::Bytes { quota, used, wanted } => write!(
                f,
                "{whose} has a quota of {quota} bytes of programs and results, of which {used} are taken, and this request \
                 has {wanted}; there is room when jobs that wait have ended, or results that are kept have had their time"
            ),
            What::DeviceSeconds { quota, used, reserved } => {
                let (used, reserved) = (*used as f64 / 1e6, *reserved as f64 / 1e6);
                write!(f, "{whose} has a quota of {quota} device seconds a day, of which {used:.1} are used")?;
                match again.as_secs() {
                    0..=10 => {
                        write!(f, " and {reserved:.1} kept for jobs that wait or run; there may be room when one ends")
                    }
                    _ => write!(f, "; there is room from 00:00 UTC on"),
                }
            }
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use ids::WorkerId;

    use super::super::tests::queued;
    use super::*;
    use crate::job::{Event, Idempotency};
    use crate::memory::{Faults, MemoryStore};
    use crate::objects::Blob;

    const NOW: u64 = 20_000 * DAY * 1000;

    fn job(key: &str) -> JobRecord {
        JobRecord { id: JobId::new(), key: KeyId::new(key), metered: true, accepted_at: NOW, ..queued() }
    }

    /// One whose program, of 400 bytes, is kept.
    fn with_program(key: &str) -> JobRecord {
        let payload = Blob::Inline(vec![7; 400].into());
        JobRecord { payload, payload_bytes: 400, keeps_program: true, ..job(key) }
    }

    fn quota(queued_jobs: u64) -> Allowance {
        Allowance { tenant: Quota { queued_jobs: Some(queued_jobs), ..Quota::default() }, ..Allowance::default() }
    }

    async fn end(jobs: &Jobs, record: &JobRecord, seconds: f64, bytes: usize, now: u64) -> Ended {
        let given = Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 };
        jobs.transition(record.id, 0, &given, now).await.unwrap();
        let meta = format!("{{\"execution_time_s\": {seconds}}}");
        let end = Event::Finished { result: Blob::Inline(vec![1; bytes].into()), meta };
        jobs.transition(record.id, 1, &end, now).await.unwrap().ended()
    }

    fn over(accepted: Result<Accepted, Error>) -> Over {
        match accepted {
            Err(Error::OverQuota(over)) => over,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_hundred_submissions_at_once_at_two_gateways_as_many_are_accepted_as_there_is_room_for() {
        for (seed, unknown) in (0..20).map(|seed| (seed, if seed % 2 == 0 { 0.0 } else { 0.3 })) {
            let store = MemoryStore::new(seed);
            store.set_faults(Faults { unknown_outcome: unknown, delay: Duration::from_millis(3), ..Faults::default() });
            let gateways = [1, 2].map(|way| Jobs::new(Arc::new(store.on_another_way(way))));
            let room = seed % 4 + 1;
            let tries = (0..100usize).map(|number| {
                let jobs = gateways[number % 2].clone();
                tokio::spawn(async move { jobs.accept_within(&job("k"), &quota(room)).await })
            });
            let mut accepted = 0;
            for attempt in tries.collect::<Vec<_>>() {
                match attempt.await.unwrap() {
                    Ok(_) => accepted += 1,
                    Err(Error::OverQuota(_) | Error::Crowded | Error::Unavailable { .. }) => {}
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
            let live = gateways[0].live().await.unwrap().jobs.len();
            assert!(live as u64 <= room, "seed {seed}: {live} jobs where {room} may be");
            if unknown == 0.0 {
                assert_eq!((accepted, live as u64), (room, room), "seed {seed}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_an_acceptance_leaves_nothing_of_its_tenant_behind() {
        let store = MemoryStore::new(1);
        store.set_faults(Faults { delay: Duration::from_secs(1), ..Faults::default() });
        let jobs = Jobs::new(Arc::new(store));
        let (first, second, allowance) = (job("k"), job("k"), quota(9));
        let gives_up = async |record| timeout(Duration::from_millis(100), jobs.accept_within(record, &allowance)).await;
        let (one, other) = tokio::join!(gives_up(&first), gives_up(&second));
        assert!(one.is_err() && other.is_err(), "the store takes a second");
        assert!(jobs.turns.all().is_empty());
    }

    #[tokio::test]
    async fn what_a_job_took_is_its_tenants_and_its_keys_use_until_the_day_is_over_and_the_result_forgotten() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let limit = |device: u64, bytes: u64| Quota {
            device_seconds_per_day: Some(device),
            stored_bytes: Some(bytes),
            ..Quota::default()
        };
        let allowance = Allowance { tenant: limit(11, 1000), key: limit(8, 1000) };
        let mut ended = Vec::new();
        for seconds in [3.0, 4.0] {
            let record = job("one");
            assert_eq!(jobs.accept_within(&record, &allowance).await.unwrap(), Accepted::New);
            ended.push(end(&jobs, &record, seconds, 100, NOW + 1).await);
        }
        let used = jobs.used(&queued().tenant, None, NOW + 2).await.unwrap();
        assert_eq!((used.jobs, used.computed, used.bytes), (0, 7_000_000, 200));
        // One more is expected to take what they took on average, and then the key has had all of its own.
        let third = job("one");
        jobs.accept_within(&third, &allowance).await.unwrap();
        assert_eq!(jobs.used(&third.tenant, Some(&third.key), NOW).await.unwrap().reserved, 3_500_000);
        let refused = over(jobs.accept_within(&job("one"), &allowance).await);
        assert_eq!(refused.whose, Whose::Key(KeyId::new("one")));
        assert!(
            refused.to_string().contains("8 device seconds a day, of which 7.0 are used and 3.5 kept"),
            "{refused}"
        );
        assert_eq!(refused.again, Duration::from_secs(10));
        end(&jobs, &third, 5.0, 0, NOW + 3).await;
        let refused = over(jobs.accept_within(&job("other"), &allowance).await);
        assert_eq!((&refused.whose, refused.again), (&Whose::Tenant(third.tenant.clone()), Duration::from_secs(DAY)));
        assert!(refused.to_string().ends_with("from 00:00 UTC on"), "{refused}");
        // The next day has seconds of its own, and the results are there still.
        let tomorrow = JobRecord { accepted_at: NOW + DAY * 1000, payload_bytes: 801, ..job("one") };
        let refused = over(jobs.accept_within(&tomorrow, &allowance).await);
        assert_eq!(refused.what, What::Bytes { quota: 1000, used: 200, wanted: 801 });
        jobs.forget(&ended[0]).await.unwrap();
        jobs.accept_within(&tomorrow, &allowance).await.unwrap();
        let used = jobs.used(&tomorrow.tenant, Some(&tomorrow.key), tomorrow.accepted_at).await.unwrap();
        assert_eq!((used.jobs, used.computed, used.reserved, used.bytes), (1, 0, 1_000_000, 901));
        // The same as a process sees it that has to add up all by itself.
        let other = Jobs::new(store.clone());
        other.add_up(tomorrow.accepted_at).await.unwrap();
        assert_eq!(other.used(&tomorrow.tenant, Some(&tomorrow.key), tomorrow.accepted_at).await.unwrap(), used);
        assert_eq!(store.list(&keys::holds(&tomorrow.tenant)).await.unwrap().len(), 2, "an account and a job");
    }

    #[tokio::test]
    async fn a_program_that_is_kept_counts_as_stored_from_its_acceptance_until_its_job_is_forgotten() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let allowance =
            Allowance { tenant: Quota { stored_bytes: Some(1000), ..Quota::default() }, ..Allowance::default() };
        let kept = with_program("one");
        let dropped = JobRecord { keeps_program: false, ..with_program("one") };
        let used = async || jobs.used(&kept.tenant, Some(&kept.key), NOW).await.unwrap().bytes;
        for record in [&kept, &dropped] {
            assert_eq!(jobs.accept_within(record, &allowance).await.unwrap(), Accepted::New);
        }
        assert_eq!(used().await, 800);
        let mut ended = Vec::new();
        for record in [&kept, &dropped] {
            ended.push(end(&jobs, record, 1.0, 100, NOW + 1).await);
        }
        assert_eq!(used().await, 400 + 100 + 100);
        let refused = over(jobs.accept_within(&JobRecord { payload_bytes: 401, ..job("one") }, &allowance).await);
        assert_eq!(refused.what, What::Bytes { quota: 1000, used: 600, wanted: 401 });
        let payload = async |record: &JobRecord| jobs.find(record.id).await.unwrap().unwrap().0.payload;
        assert_eq!(payload(&kept).await, kept.payload);
        assert!(payload(&dropped).await.is_empty());
        for job in &ended {
            jobs.forget(job).await.unwrap();
        }
        assert_eq!(used().await, 0);
        let left = store.list("").await.unwrap();
        assert!(left.iter().all(|entry| entry.value.len() < 400), "{left:?}");
    }

    #[tokio::test]
    async fn what_was_forgotten_without_its_program_is_counted_as_stored_until_it_is_counted_anew() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let allowance =
            Allowance { tenant: Quota { stored_bytes: Some(5000), ..Quota::default() }, ..Allowance::default() };
        let mut ended = Vec::new();
        for key in ["one", "one", "other", "other"] {
            let record = with_program(key);
            assert_eq!(jobs.accept_within(&record, &allowance).await.unwrap(), Accepted::New);
            ended.push(end(&jobs, &record, 1.0, 100, NOW + 1).await);
        }
        let (tenant, one) = (queued().tenant, KeyId::new("one"));
        let used = async || {
            let of = async |key| jobs.used(&tenant, key, NOW).await.unwrap().bytes;
            (of(None).await, of(Some(&one)).await)
        };
        // Ends that are not added up yet are as they should be, and so are those that are.
        assert_eq!((jobs.recount().await.unwrap(), used().await), (0, (2000, 1000)));
        jobs.add_up(NOW + 2).await.unwrap();
        assert_eq!((jobs.recount().await.unwrap(), used().await), (0, (2000, 1000)));
        // A version that knows of no programs forgets the result alone.
        jobs.forget(&Ended { program_bytes: 0, ..ended[0].clone() }).await.unwrap();
        jobs.forget(&ended[3]).await.unwrap();
        assert_eq!(used().await, (1400, 900));
        assert_eq!((jobs.recount().await.unwrap(), used().await), (1, (1000, 500)));
        jobs.add_up(NOW + 3).await.unwrap();
        assert_eq!((jobs.recount().await.unwrap(), used().await), (0, (1000, 500)));
        let empty = JobRecord { tenant: TenantId::new("empty"), ..job("one") };
        jobs.accept_within(&empty, &allowance).await.unwrap();
        assert_eq!(jobs.recount().await.unwrap(), 0, "nothing is stored");
    }

    #[tokio::test]
    async fn the_same_submission_needs_room_once_and_is_told_its_job_where_there_is_none() {
        let jobs = Jobs::new(Arc::new(MemoryStore::new(1)));
        let again = || JobRecord { idempotency: Some(Idempotency { key: "k".into(), digest: [1; 32] }), ..job("one") };
        let first = again();
        assert_eq!(jobs.accept_within(&first, &quota(1)).await.unwrap(), Accepted::New);
        assert_eq!(jobs.accept_within(&again(), &quota(1)).await.unwrap(), Accepted::Before(first.id));
        assert_eq!(jobs.accept_within(&again(), &quota(9)).await.unwrap(), Accepted::Before(first.id));
        let refused = over(jobs.accept_within(&job("one"), &quota(1)).await);
        assert_eq!(refused.what, What::Jobs { quota: 1, used: 1 });
        jobs.transition(first.id, 0, &Event::Cancelled, NOW).await.unwrap();
        assert_eq!(jobs.accept_within(&job("one"), &quota(1)).await.unwrap(), Accepted::New);
    }

    #[tokio::test]
    async fn a_job_against_a_quota_is_as_many_commits_as_any_and_few_bytes_more() {
        let store = MemoryStore::new(1);
        let jobs = Jobs::new(Arc::new(store.clone()));
        let mut writes = Vec::new();
        for metered in [false, true, true] {
            let record = JobRecord { metered, ..job("0123456789ab") };
            let before = store.writes();
            match metered {
                true => jobs.accept_within(&record, &quota(5)).await.unwrap(),
                false => jobs.accept(&record).await.unwrap(),
            };
            end(&jobs, &record, 1.0, 10, NOW).await;
            let after = store.writes();
            writes.push((after.commits - before.commits, after.bytes - before.bytes));
        }
        assert_eq!(writes.iter().map(|(commits, _)| *commits).collect::<Vec<_>>(), [3, 3, 3]);
        assert!(writes[2].1 - writes[0].1 < 800, "{writes:?}");
    }
}
