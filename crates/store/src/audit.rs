//! The audit trail: what was done to the installation and what was refused, by whom, when and from where.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proto::stored as records;

use crate::error::Error;
use crate::metadata::{MetadataStore, Range};
use crate::stored;
use crate::txn::Txn;
use crate::{Jobs, ROOT};

/// How long is kept what was done, and what was refused.
const KEEP: Duration = Duration::from_secs(365 * 24 * 3600);
const KEEP_REFUSED: Duration = Duration::from_secs(90 * 24 * 3600);

/// Entries that are looked at together.
const TOGETHER: usize = 100;

/// The audit trail of one installation.
#[derive(Clone)]
pub struct Audit {
    store: Arc<dyn MetadataStore>,
    /// Tells entries of one moment apart: this process, and how many it has written.
    writer: u32,
    written: Arc<AtomicU32>,
}

/// One thing that was done or refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuditEntry {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Who: empty where no key, or none of this server's, was shown.
    pub tenant: String,
    pub key: String,
    /// Where the request came from; empty where that is not known.
    pub address: String,
    /// What was asked: a method and a route.
    pub action: String,
    /// What it was about, as the path names it.
    pub object: String,
    /// What was done, or why it was refused, in words.
    pub what: String,
    /// The HTTP status of the answer.
    pub status: u16,
    pub request_id: String,
    /// How many such things it stands for.
    pub count: u32,
}

/// Which entries are wanted. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default)]
pub struct AuditWanted {
    pub from: Option<u64>,
    /// Not included.
    pub to: Option<u64>,
    pub tenant: Option<String>,
    pub key: Option<String>,
    /// Only what was refused, or only what was done.
    pub refused: Option<bool>,
}

/// A place in the trail: only what is older is wanted. Its text is what travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPlace(String);

impl AuditEntry {
    /// Returns whether it was refused.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.status >= 400
    }
}

impl Jobs {
    /// Returns the audit trail of the same installation.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit { store: Arc::clone(self.store()), writer: fastrand::u32(..), written: Arc::default() }
    }
}

impl Audit {
    /// Writes an entry, durably.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn write(&self, entry: &AuditEntry) -> Result<(), Error> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let message = records::AuditEntry {
            at: entry.at,
            tenant: entry.tenant.clone(),
            key: entry.key.clone(),
            address: entry.address.clone(),
            action: entry.action.clone(),
            object: entry.object.clone(),
            what: entry.what.clone(),
            status: entry.status.into(),
            request_id: entry.request_id.clone(),
            count: entry.count,
        };
        let key = format!("{}-{:08x}-{number:08x}", first_at(entry.at), self.writer);
        self.store.put(&key, stored::encode(&message).into()).await
    }

    /// Returns up to `limit` entries, the newest first, those after a place that an earlier call told, and the place where
    /// to go on: `None` when these are the last. There may be fewer, or none, and more to come.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(
        &self,
        wanted: &AuditWanted,
        after: Option<AuditPlace>,
        limit: usize,
    ) -> Result<(Vec<AuditEntry>, Option<AuditPlace>), Error> {
        // Later times come first: what is wanted begins behind all that is not before `to`.
        let newest = wanted.to.map_or_else(prefix, |to| first_at(to.saturating_sub(1)));
        let after = after.map_or(newest.clone(), |place| prefix() + &place.0).max(newest);
        let range = Range { after: Some(after), ..Range::of(prefix()).limit(limit.max(TOGETHER)) };
        let page = self.store.range(range).await?;
        let mut entries = Vec::new();
        for entry in &page.entries {
            let message: records::AuditEntry = stored::decode(entry)?;
            if wanted.from.is_some_and(|from| message.at < from) {
                return Ok((entries, None));
            }
            let read = read(message);
            if wanted.fits(&read) {
                entries.push(read);
                if entries.len() >= limit {
                    return Ok((entries, AuditPlace::of(&entry.key)));
                }
            }
        }
        let next = page.entries.last().filter(|_| page.more).and_then(|last| AuditPlace::of(&last.key));
        Ok((entries, next))
    }

    /// Removes what was kept for long enough: what was refused is not kept as long as what was done. Returns how many.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn forget(&self, now: u64) -> Result<usize, Error> {
        let before = |keep: Duration| now.saturating_sub(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
        let (old, old_refused) = (before(KEEP), before(KEEP_REFUSED));
        let mut next = Some(Range { after: Some(first_at(old_refused)), ..Range::of(prefix()).limit(TOGETHER) });
        let mut forgotten = 0;
        while let Some(range) = next.take() {
            let page = self.store.range(range.clone()).await?;
            let mut txn = Txn::default();
            for entry in &page.entries {
                let message: records::AuditEntry = stored::decode(entry)?;
                if message.at < old || (message.at < old_refused && read(message).refused()) {
                    txn = txn.delete(&entry.key);
                    forgotten += 1;
                }
            }
            if !txn.ops.is_empty() {
                self.store.txn(txn).await?;
            }
            next = range.next(&page).map(|next| Range { at: None, ..next });
        }
        Ok(forgotten)
    }
}

impl AuditWanted {
    fn fits(&self, entry: &AuditEntry) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == entry.tenant)
            && self.key.as_ref().is_none_or(|key| *key == entry.key)
            && self.refused.is_none_or(|refused| refused == entry.refused())
    }
}

impl AuditPlace {
    fn of(key: &str) -> Option<Self> {
        key.strip_prefix(&prefix()).map(|place| Self(place.to_owned()))
    }
}

impl fmt::Display for AuditPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AuditPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.len() == 34 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        place.then(|| Self(text.to_owned())).ok_or_else(|| format!("{text:?} is no cursor that this server gave out"))
    }
}

fn prefix() -> String {
    format!("{ROOT}audit/")
}

/// Returns what the keys of all entries of a moment begin with: those of a later one come before them.
fn first_at(at: u64) -> String {
    format!("{}{:016x}", prefix(), u64::MAX - at)
}

fn read(message: records::AuditEntry) -> AuditEntry {
    AuditEntry {
        at: message.at,
        tenant: message.tenant,
        key: message.key,
        address: message.address,
        action: message.action,
        object: message.object,
        what: message.what,
        status: u16::try_from(message.status).unwrap_or(u16::MAX),
        request_id: message.request_id,
        count: message.count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    const DAY: u64 = 24 * 3600 * 1000;

    #[tokio::test]
    async fn entries_come_newest_first_page_by_page_by_what_is_wanted_and_go_when_their_time_is_over() {
        let jobs = Jobs::new(Arc::new(MemoryStore::new(1)));
        let audits = [jobs.audit(), jobs.audit()];
        for day in 0..400u64 {
            let (tenant, status) = (["ada", "bob"][day as usize % 2], [200, 403, 200][day as usize % 3]);
            let entry = AuditEntry { at: (20_000 + day) * DAY, tenant: tenant.into(), status, ..AuditEntry::default() };
            audits[day as usize % 2].write(&entry).await.unwrap();
        }
        let audit = &audits[0];
        let all = async |wanted: AuditWanted| {
            let (mut days, mut after) = (Vec::new(), None);
            loop {
                let (entries, next) = audit.list(&wanted, after, 30).await.unwrap();
                days.extend(entries.iter().map(|entry| entry.at / DAY - 20_000));
                let Some(next) = next else { return days };
                after = Some(next.to_string().parse().unwrap());
            }
        };
        let days = |fits: fn(u64) -> bool| (0..400).rev().filter(|day| fits(*day)).collect::<Vec<u64>>();
        assert_eq!(all(AuditWanted::default()).await, days(|_| true));
        let bobs = AuditWanted { tenant: Some("bob".into()), ..AuditWanted::default() };
        assert_eq!(all(bobs).await, days(|day| day % 2 == 1));
        let refused = AuditWanted { refused: Some(true), ..AuditWanted::default() };
        assert_eq!(all(refused).await, days(|day| day % 3 == 1));
        let some = AuditWanted { from: Some(20_100 * DAY), to: Some(20_150 * DAY), ..AuditWanted::default() };
        assert_eq!(all(some).await, days(|day| (100..150).contains(&day)));
        assert!("x".parse::<AuditPlace>().is_err());
        audit.forget(20_400 * DAY).await.unwrap();
        assert_eq!(all(AuditWanted::default()).await, days(|day| day >= 310 || (day >= 35 && day % 3 != 1)));
    }
}
