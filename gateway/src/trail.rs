//! What goes into the audit trail: each administrative act, and each refusal that says who may not do what. It is written
//! before the answer is given; but beside the answer that nothing is there, where what is there is another's: how long that
//! takes must not tell the two apart.
//!
//! Refusals cost who makes them nothing, so only so many are written: the same one of the same person, or address, once in a
//! minute, the others of that minute as a number; and of those that differ no more than [`IN_A_MINUTE`] and [`IN_AN_HOUR`],
//! for each tenant, and for all together who show no key. What goes beyond that is counted.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::User;
use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use store::{Audit, AuditEntry, AuditPlace, AuditWanted};
use tokio_util::task::TaskTracker;

use crate::authenticate::{Caller, Peer};
use crate::error::{Denied, Sentence};
use crate::rates::network;
use crate::{Error, unix_millis};

/// Refusals that differ and are written in a minute, and in an hour.
const IN_A_MINUTE: usize = 10;
const IN_AN_HOUR: usize = 60;
const MINUTE: u64 = 60_000;

/// How often what was only counted is written.
const FLUSH: Duration = Duration::from_secs(15);

/// What was done, as a part of the answer that the trail takes in.
#[derive(Clone)]
pub struct Act(pub String);

/// The audit trail as one gateway writes it.
pub struct Trail {
    audit: Audit,
    refusals: Mutex<Refusals>,
    /// What is being written beside answers.
    writing: TaskTracker,
}

/// What belongs into the trail.
pub enum Noted {
    Done(AuditEntry),
    Refused(AuditEntry),
}

/// Who asked for what, as far as it can be told before the answer is there.
pub struct Asked {
    tenant: String,
    key: String,
    address: Option<IpAddr>,
    action: String,
    object: String,
    request_id: String,
}

/// Refusals, of which nobody's are fewer for those of others.
#[derive(Default)]
struct Refusals {
    /// Of those with a key, by their tenant.
    tenants: BTreeMap<String, Recent>,
    strangers: Recent,
}

/// The refusals of a minute.
#[derive(Default)]
struct Recent {
    minute: u64,
    hour: u64,
    written_in_hour: usize,
    /// Each with how many more like it came.
    seen: HashMap<AuditEntry, u32>,
    /// How many came beyond that.
    others: u32,
}

impl Trail {
    #[must_use]
    pub fn new(audit: Audit) -> Self {
        let writing = TaskTracker::new();
        // Only then can its end be waited for; it takes tasks all the same.
        writing.close();
        Self { audit, refusals: Default::default(), writing }
    }

    /// Writes what was done or refused.
    ///
    /// # Errors
    /// [`Error::Unaudited`] for what was done.
    pub async fn note(&self, noted: Noted) -> Result<(), Error> {
        let entry = match noted {
            Noted::Done(entry) => {
                return self.audit.write(&entry).await.map_err(|error| {
                    tracing::error!(%error, ?entry, "an administrative act is missing in the audit trail");
                    Error::Unaudited
                });
            }
            Noted::Refused(entry) => entry,
        };
        let hides = entry.status == StatusCode::NOT_FOUND.as_u16();
        let entries = self.lock().take(entry);
        if !hides {
            write(&self.audit, entries).await;
        } else if !entries.is_empty() {
            let audit = self.audit.clone();
            self.writing.spawn(async move { write(&audit, entries).await });
        }
        Ok(())
    }

    /// Returns entries, as [`Audit::list`] does.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(
        &self,
        wanted: &AuditWanted,
        after: Option<AuditPlace>,
        limit: usize,
    ) -> Result<(Vec<AuditEntry>, Option<AuditPlace>), Error> {
        self.written().await;
        Ok(self.audit.list(wanted, after, limit).await?)
    }

    /// Writes now and then what was only counted, for as long as it is polled.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(FLUSH).await;
            self.flush(unix_millis()).await;
        }
    }

    /// Writes what was only counted until a time, in minutes that are over by then.
    pub async fn flush(&self, now: u64) {
        let entries = self.lock().roll(now);
        write(&self.audit, entries).await;
        self.written().await;
    }

    /// Waits until what was refused here before is written; what comes meanwhile, too, of which a minute has little.
    async fn written(&self) {
        self.writing.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes refusals. One that cannot be written is a line of the log: nobody is to be let in, or kept out, for that.
async fn write(audit: &Audit, entries: Vec<AuditEntry>) {
    for entry in entries {
        if let Err(error) = audit.write(&entry).await {
            tracing::error!(%error, ?entry, "a refusal is missing in the audit trail");
        }
    }
}

impl Noted {
    /// Reads off an answer what of it belongs into the trail, if anything does.
    pub fn of(asked: Asked, response: &Response) -> Option<Self> {
        let (status, extensions) = (response.status(), response.extensions());
        let act = extensions.get().map(|Act(what)| what.clone());
        if act.is_none() && extensions.get::<Denied>().is_none() && status != StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        let sentence = || extensions.get().map(|Sentence(sentence)| sentence.clone()).unwrap_or_default();
        // Many addresses of one customer of a provider are one.
        let address = asked.address.map(|address| if asked.key.is_empty() { network(address) } else { address });
        let entry = AuditEntry {
            at: unix_millis(),
            tenant: asked.tenant,
            key: asked.key,
            address: address.map(|address| address.to_canonical().to_string()).unwrap_or_default(),
            action: asked.action,
            object: asked.object,
            what: act.clone().unwrap_or_else(sentence),
            status: status.as_u16(),
            request_id: asked.request_id,
            count: 1,
        };
        Some(if act.is_some() { Self::Done(entry) } else { Self::Refused(entry) })
    }
}

impl Asked {
    /// Reads who asks for what off a request.
    pub fn of(request: &Request, caller: &Caller) -> Self {
        let (tenant, key) = match caller {
            Caller::Known(principal) => (principal.tenant.to_string(), principal.key.to_string()),
            Caller::Suspended(tenant) => (tenant.to_string(), String::new()),
            Caller::Refused(refusal) => (String::new(), refusal.user().map_or(String::new(), user)),
            Caller::Nobody | Caller::Unknown => (String::new(), String::new()),
        };
        let route = request.extensions().get::<MatchedPath>().map_or("(no route)", MatchedPath::as_str);
        let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let mut object = request.uri().path().to_owned();
        object.truncate(object.floor_char_boundary(200));
        Self {
            tenant,
            key,
            address: request.extensions().get::<Peer>().map(|Peer(address)| *address),
            action: format!("{} {route}", request.method()),
            object,
            request_id: id.to_owned(),
        }
    }
}

/// Names a user as the trail names keys.
fn user(name: &str) -> String {
    User::id(name).to_string()
}

impl Refusals {
    /// Takes in a refusal. Returns what is to be written now.
    fn take(&mut self, entry: AuditEntry) -> Vec<AuditEntry> {
        let recent = match entry.key.is_empty() {
            true => &mut self.strangers,
            false => self.tenants.entry(entry.tenant.clone()).or_default(),
        };
        recent.take(entry)
    }

    /// Returns what was only counted until a time, in minutes that are over by then.
    fn roll(&mut self, now: u64) -> Vec<AuditEntry> {
        let mut write = self.strangers.roll(now);
        self.tenants.retain(|tenant, recent| {
            let others = recent.roll(now).into_iter();
            write.extend(others.map(|entry| AuditEntry { tenant: tenant.clone(), ..entry }));
            // Who was refused nothing since has all that anybody has.
            recent.written_in_hour > 0 || !recent.seen.is_empty()
        });
        write
    }
}

impl Recent {
    /// Takes in a refusal. Returns what is to be written now.
    fn take(&mut self, entry: AuditEntry) -> Vec<AuditEntry> {
        let mut write = self.roll(entry.at);
        // What tells one from another is not when it came, nor what it was about in particular.
        let kind = AuditEntry {
            at: 0,
            object: String::new(),
            what: String::new(),
            request_id: String::new(),
            ..entry.clone()
        };
        if let Some(more) = self.seen.get_mut(&kind) {
            *more += 1;
        } else if self.seen.len() < IN_A_MINUTE && self.written_in_hour < IN_AN_HOUR {
            self.seen.insert(kind, 0);
            self.written_in_hour += 1;
            write.push(entry);
        } else {
            self.others += 1;
        }
        write
    }

    /// Begins another minute where one is over. Returns what came in that and was only counted.
    fn roll(&mut self, now: u64) -> Vec<AuditEntry> {
        let minute = now / MINUTE;
        if minute == self.minute {
            return Vec::new();
        }
        let at = (self.minute + 1) * MINUTE - 1;
        let mut write: Vec<AuditEntry> = Vec::new();
        for (kind, count) in self.seen.drain().filter(|(_, more)| *more > 0) {
            write.push(AuditEntry { at, count, what: "the same again within a minute".into(), ..kind });
        }
        if self.others > 0 {
            let what = "more refusals of this minute, of any kind".into();
            write.push(AuditEntry { at, count: self.others, what, status: 403, ..AuditEntry::default() });
        }
        self.others = 0;
        self.minute = minute;
        if now / (60 * MINUTE) != self.hour {
            self.hour = now / (60 * MINUTE);
            self.written_in_hour = 0;
        }
        write
    }
}

/// Answers what was done.
pub fn acted(what: String, answer: impl IntoResponse) -> Response {
    tracing::info!("{what}");
    let mut response = answer.into_response();
    response.extensions_mut().insert(Act(what));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use store::{Jobs, MemoryStore};

    use super::*;

    #[tokio::test]
    async fn what_is_written_beside_answers_is_there_at_the_end() {
        let trail = Trail::new(Jobs::new(Arc::new(MemoryStore::new(1))).audit());
        for address in ["one", "two"] {
            let (at, address) = (unix_millis(), address.to_owned());
            let entry = AuditEntry { at, address, status: 404, count: 1, ..AuditEntry::default() };
            assert!(trail.note(Noted::Refused(entry)).await.is_ok());
        }
        trail.flush(u64::MAX).await;
        let (written, _) = trail.audit.list(&AuditWanted::default(), None, 10).await.unwrap();
        assert_eq!(written.len(), 2);
    }

    #[test]
    fn a_tenant_that_is_refused_much_leaves_others_what_is_written_of_theirs() {
        let mut refusals = Refusals::default();
        let begin = 500_000 * 60 * MINUTE;
        let mut refused = |tenant: &str, action: u64| {
            let (tenant, key, action) = (tenant.to_owned(), format!("key of {tenant}"), format!("GET /{action}"));
            let at = begin + 1;
            refusals.take(AuditEntry { at, tenant, key, action, status: 403, count: 1, ..AuditEntry::default() }).len()
        };
        assert_eq!((0..100).map(|action| refused("loud", action)).sum::<usize>(), IN_A_MINUTE);
        assert_eq!((0..3).map(|action| refused("quiet", action)).collect::<Vec<_>>(), [1, 1, 1]);
        let counted = refusals.roll(begin + MINUTE);
        let counted: Vec<_> = counted.iter().map(|entry| (entry.tenant.as_str(), entry.count)).collect();
        assert_eq!(counted, [("loud", 100 - IN_A_MINUTE as u32)]);
        assert_eq!(refusals.tenants.len(), 2, "the hour is not over");
        assert_eq!((refusals.roll(begin + 60 * MINUTE), refusals.tenants.len()), (Vec::new(), 0));
    }

    #[test]
    fn a_flood_of_refusals_is_few_entries_and_every_one_is_counted() {
        let mut refusals = Refusals::default();
        let mut written: Vec<AuditEntry> = Vec::new();
        let begin = 500_000 * 60 * MINUTE;
        for number in 0..100_000u64 {
            // Ten seconds in each of ten minutes, from a thousand addresses, each of which asks for something else.
            let at = begin + number / 10_000 * MINUTE + number % 10_000;
            let address = (number % 1000).to_string();
            let object = format!("/v1/{number}");
            written.extend(refusals.take(AuditEntry {
                at,
                address,
                object,
                status: 401,
                count: 1,
                ..AuditEntry::default()
            }));
        }
        written.extend(refusals.roll(begin + 20 * MINUTE));
        assert!(written.len() <= 2 * IN_AN_HOUR + 10, "{} entries", written.len());
        assert_eq!(written.iter().map(|entry| u64::from(entry.count)).sum::<u64>(), 100_000);
        // Who is refused once in a while is written at once, each time.
        for minute in 0..5 {
            let at = begin + (100 + minute) * MINUTE;
            assert_eq!(refusals.take(AuditEntry { at, count: 1, ..AuditEntry::default() }).len(), 1);
        }
    }
}
