//! Where the parts of a job lie.
//!
//! `jobs/{id}/request` is what was asked for, `jobs/{id}/payload` the program where it is short, `jobs/{id}/log/…` what
//! it printed, `jobs/{id}/outcome` how it ended. `live/{id}` is how far it is, and there until it has ended. Nothing that
//! is read often has to list what has been: `ended/{hour}/{id}` says when to forget which, `cancels/{id}` whom to end.

use ids::{JobId, TenantId};

use crate::ROOT;

/// Milliseconds of an hour.
pub const HOUR: u64 = 3_600_000;

/// The last parts of the keys of what a job asks for, of its program, and of how it ended.
pub const REQUEST: &str = "request";
pub const PAYLOAD: &str = "payload";
pub const OUTCOME: &str = "outcome";

/// Makes a key of a job. Several are made for each change, so it is done in one go.
fn of(before: &str, id: JobId, after: &str) -> String {
    [ROOT, before, id.text(&mut [0; JobId::LENGTH]), after].concat()
}

pub fn all_jobs() -> String {
    format!("{ROOT}jobs/")
}

/// Takes the key of a part of a job apart: whose it is, and which.
pub fn part(key: &str) -> Option<(JobId, &str)> {
    let (id, part) = key.strip_prefix(ROOT)?.strip_prefix("jobs/")?.split_once('/')?;
    Some((id.parse().ok()?, part))
}

pub fn job(id: JobId) -> String {
    of("jobs/", id, "/")
}

pub fn request(id: JobId) -> String {
    of("jobs/", id, "/request")
}

pub fn payload(id: JobId) -> String {
    of("jobs/", id, "/payload")
}

pub fn outcome(id: JobId) -> String {
    of("jobs/", id, "/outcome")
}

pub fn log(id: JobId, attempt: u32, number: u32) -> String {
    format!("{}{number:010}", logs(id, attempt))
}

/// Returns what the keys of all begin with that an attempt printed.
pub fn logs(id: JobId, attempt: u32) -> String {
    format!("{ROOT}jobs/{id}/log/{attempt:010}/")
}

/// Returns the attempt that a part of a job is the log of; `None` where it is another part.
pub fn log_attempt(part: &str) -> Option<u32> {
    part.strip_prefix("log/")?.split('/').next()?.parse().ok()
}

pub fn all_live() -> String {
    format!("{ROOT}live/")
}

pub fn live(id: JobId) -> String {
    of("live/", id, "")
}

pub fn all_cancels() -> String {
    format!("{ROOT}cancels/")
}

pub fn cancel(id: JobId) -> String {
    of("cancels/", id, "")
}

pub fn all_ended() -> String {
    format!("{ROOT}ended/")
}

pub fn ended(id: JobId, ended_at: u64) -> String {
    format!("{}{id}", ended_in(ended_at / HOUR))
}

/// Returns what the keys of all begin with that ended in an hour.
pub fn ended_in(hour: u64) -> String {
    format!("{ROOT}ended/{hour:010}/")
}

/// Returns the hour in which the job of a key ended.
pub fn ended_hour(key: &str) -> Option<u64> {
    key.strip_prefix(&all_ended())?.split('/').next()?.parse().ok()
}

/// Returns a key that is later than those of all that ended up to a time, and before those of all later hours.
pub fn ended_until(time: u64) -> String {
    ended_in(time / HOUR + 1)
}

/// Returns a key before those of all jobs that were accepted since a time, of those that ended in the same hour as the
/// job of `key`; `None` for a key that is not of such a job, or not before them.
pub fn ended_of(key: &str, accepted: u64) -> Option<String> {
    let (hour, id) = key.rsplit_once('/')?;
    let first = first_of(accepted);
    (id < first.as_str()).then(|| format!("{hour}/{first}"))
}

/// Returns a key before those of all jobs that were accepted since a time and have ended, also where the clock that
/// told their end is an hour behind.
pub fn ended_since(accepted: u64) -> String {
    format!("{}{}", ended_in((accepted / HOUR).saturating_sub(1)), first_of(accepted))
}

/// Returns what the names of jobs that were made at a time, in milliseconds since the Unix epoch, begin with.
fn first_of(made: u64) -> String {
    format!("{:08x}-{:04x}", made >> 16, made & 0xffff)
}

pub fn submission(tenant: &TenantId, key: &str) -> String {
    format!("{ROOT}submissions/{tenant}/{key}")
}

/// What the key of a tenant's account ends with, and that of what a forgotten job takes no longer.
pub const ACCOUNT: &str = "account";
pub const FREED: &str = "/freed";

pub fn all_holds() -> String {
    format!("{ROOT}holds/")
}

/// Returns what the keys of all begin with that counts against a tenant's quotas.
pub fn holds(tenant: &TenantId) -> String {
    format!("{ROOT}holds/{tenant}/")
}

pub fn hold(tenant: &TenantId, id: JobId) -> String {
    format!("{ROOT}holds/{tenant}/{id}")
}

pub fn freed(tenant: &TenantId, id: JobId) -> String {
    format!("{ROOT}holds/{tenant}/{id}{FREED}")
}

pub fn account(tenant: &TenantId) -> String {
    format!("{ROOT}holds/{tenant}/{ACCOUNT}")
}

/// Returns whose tenant's a key is that counts against quotas, and the rest of it.
pub fn hold_of(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(ROOT)?.strip_prefix("holds/")?.split_once('/')
}

/// Returns whose account a key is of.
pub fn account_tenant(key: &str) -> Option<&str> {
    key.strip_prefix(ROOT)?.strip_prefix("holds/")?.strip_suffix(ACCOUNT)?.strip_suffix('/')
}

pub fn all_usage() -> String {
    format!("{ROOT}usage/")
}

/// Returns what the keys of all begin with that was added up of a day.
pub fn usage_of(day: u64) -> String {
    format!("{ROOT}usage/{day:010}/")
}

pub fn usage(day: u64, tenant: &TenantId) -> String {
    format!("{}{tenant}", usage_of(day))
}

/// Takes such a key apart.
pub fn usage_place(key: &str) -> Option<(u64, &str)> {
    let (day, tenant) = key.strip_prefix(ROOT)?.strip_prefix("usage/")?.split_once('/')?;
    Some((day.parse().ok()?, tenant))
}

/// Where it says up to which hour all is added up.
pub fn usage_through() -> String {
    format!("{ROOT}added-through")
}

/// Returns the job that the last part of a key names.
pub fn job_of(key: &str) -> Option<JobId> {
    key.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_name_begins_with_when_it_was_made() {
        let now = || {
            let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            u64::try_from(elapsed.as_millis()).unwrap()
        };
        let (before, id, after) = (now(), JobId::new(), now());
        let id = id.to_string();
        assert!(first_of(before) <= id && id < first_of(after + 1), "{before} {id} {after}");
        let key = ended(id.parse().unwrap(), after + 5 * HOUR);
        assert_eq!(ended_of(&key, before), None);
        let later = ended_of(&key, after + 1).unwrap();
        assert!(later > key && later < ended_in(after / HOUR + 6) && later.starts_with(&ended_in(after / HOUR + 5)));
        assert!(ended_since(before) < key);
    }
}
