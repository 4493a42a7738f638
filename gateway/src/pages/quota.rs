//! Quotas, and what is used of them: as everybody sees their own, and as administrators give them.

use auth::{Principal, Quota};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, column, numbers, unnamed};
use super::units::{bytes, count, nothing, number, span};
use crate::v1::quota::{self, Shown, Used};
use crate::{Error, Gateway, users};

/// The form of a quota. A field that is empty is no bound.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Form {
    device_seconds_per_day: String,
    running_jobs: String,
    queued_jobs: String,
    stored_bytes: String,
    requests_per_second: String,
}

impl Form {
    /// Says the same as `PUT /v1/tenants/{tenant}/quota` takes it.
    ///
    /// # Errors
    /// [`Error::Unfit`] for what is no number.
    pub fn asked(&self) -> Result<Quota, Error> {
        Ok(Quota {
            device_seconds_per_day: number("device_seconds_per_day", &self.device_seconds_per_day)?,
            running_jobs: number("running_jobs", &self.running_jobs)?,
            queued_jobs: number("queued_jobs", &self.queued_jobs)?,
            stored_bytes: number("stored_bytes", &self.stored_bytes)?,
            requests_per_second: number("requests_per_second", &self.requests_per_second)?,
        })
    }
}

/// What somebody may take: their tenant, and of that their key.
pub struct Own {
    tenant: Shown,
    key: Shown,
}

impl Own {
    /// Returns it as it is now.
    ///
    /// # Errors
    /// Failures of the store; else where the key is worth nothing any more.
    pub async fn of(gateway: &Gateway, principal: &Principal) -> Result<Self, Error> {
        let Principal { tenant, key, tenants, terms, .. } = users::again(gateway, principal).await?.known()?;
        Ok(Self {
            tenant: quota::shown(gateway, &tenants.quota, &tenant, None).await?,
            key: quota::shown(gateway, &terms.quota, &tenant, Some(&key)).await?,
        })
    }

    /// Shows it.
    pub fn part(&self) -> Markup {
        let bounded = |shown: &Shown| shown.quota != Quota::default();
        html! {
            section #quota {
                h2 { "What you may take" }
                @match (bounded(&self.tenant), bounded(&self.key)) {
                    (false, false) => p.note { "Any amount: no quota bounds you." },
                    (tenant, key) => {
                        @if tenant { (table("Quota of your tenant", &self.tenant)) }
                        @if key { h3 { "Of that, with this key" } (table("Quota of this key", &self.key)) }
                    }
                }
            }
        }
    }
}

/// One line of a quota: what it bounds, how that is written, and how much of it is used, where it is counted.
struct Line {
    name: &'static str,
    bound: Option<u64>,
    used: Option<u64>,
    /// Of that, what is kept for jobs that wait or run.
    kept: u64,
    write: fn(u64) -> String,
}

fn lines(quota: &Quota, used: Option<&Used>) -> [Line; 5] {
    let seconds = |amount: u64| span(amount.saturating_mul(1000));
    let line = |name, bound, used, write| Line { name, bound, used, kept: 0, write };
    [
        Line {
            kept: used.map_or(0, |used| whole(used.device_seconds_reserved)),
            ..line(
                "Device time a day",
                quota.device_seconds_per_day,
                used.map(|used| whole(used.device_seconds_today + used.device_seconds_reserved)),
                seconds,
            )
        },
        line("Jobs that wait or run", quota.queued_jobs, used.map(|used| used.queued_jobs), count),
        line("Jobs with workers at once", quota.running_jobs, None, count),
        line("Bytes of programs and results", quota.stored_bytes, used.map(|used| used.stored_bytes), bytes),
        line("Requests a second", quota.requests_per_second, None, count),
    ]
}

/// Shows a quota, and what is used of it.
pub fn table(name: &str, shown: &Shown) -> Markup {
    let columns = [column("What"), numbers("Used"), numbers("Of"), unnamed("", "How full")];
    let rows = lines(&shown.quota, shown.used.as_ref()).into_iter().map(|line| {
        vec![
            html! { (line.name) },
            html! { @match line.used {
                Some(used) => { ((line.write)(used)) @if line.kept > 0 { small { ", " ((line.write)(line.kept)) " kept for jobs" } } }
                None => (nothing()),
            } },
            html! { @match line.bound { Some(bound) => ((line.write)(bound)), None => "any amount" } },
            html! { @if let (Some(used), Some(bound)) = (line.used, line.bound) {
                meter min="0" max=(bound.max(1)) value=(used.min(bound)) aria-label={ (line.name) ", used" } {}
                @if used >= bound { " " span.state data-level="degraded" { "used up" } }
            } },
        ]
    });
    html! { div.quota { (layout::table(name, &columns, rows)) } }
}

/// Says a quota in a few words.
pub fn words(quota: &Quota) -> Markup {
    let bounds = lines(quota, None).into_iter().filter_map(|line| Some((line.name, (line.write)(line.bound?))));
    let bounds: Vec<_> = bounds.collect();
    html! {
        @if bounds.is_empty() { "any amount" }
        @for (index, (name, bound)) in bounds.iter().enumerate() {
            @if index > 0 { ", " } (name[..1].to_lowercase()) (name[1..]) " " (bound)
        }
    }
}

/// The form that gives another.
pub fn form(path: &str, whose: &str, quota: &Quota) -> Markup {
    let fields = [
        ("Device seconds a day", "device_seconds_per_day", quota.device_seconds_per_day, 0),
        ("Jobs that wait or run", "queued_jobs", quota.queued_jobs, 0),
        ("Jobs with workers at once", "running_jobs", quota.running_jobs, 1),
        ("Bytes of programs and results", "stored_bytes", quota.stored_bytes, 0),
        ("Requests a second", "requests_per_second", quota.requests_per_second, 1),
    ];
    html! {
        form.act method="post" action=(path) { details {
            summary { "Change the quota" }
            p { "An empty field is no bound. It counts within 5 s at every gateway; jobs that were accepted run on." }
            div.filters { @for (name, field, bound, least) in fields {
                label { (name) input type="number" name=(field) value=[bound] min=(least) placeholder="any amount"; }
            } }
            button type="submit" { "Give " (whose) " this quota" }
        } }
    }
}

/// Seconds as people count them. What was begun is counted, so that nothing looks free that is not.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are not negative, and `as` saturates"
)]
fn whole(seconds: f64) -> u64 {
    seconds.ceil() as u64
}
