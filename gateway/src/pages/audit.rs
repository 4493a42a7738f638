//! `/admin/audit`: who did what, and who was refused what, the newest first, for those who may read it.

use maud::{Markup, html};
use serde::Deserialize;
use store::{AuditEntry, AuditPlace, AuditWanted};

use super::layout::{self, column, empty, looking, numbers, table};
use super::now::Now;
use super::units::{ago, nothing};
use crate::{Error, Gateway};

/// Entries on a page.
const PAGE: usize = 50;

/// Which entries are wanted. Forms send what is not wanted empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    tenant: String,
    key: String,
    /// `done` or `refused`.
    outcome: String,
    cursor: String,
}

/// Shows a part of the trail.
///
/// # Errors
/// Failures of the store; [`Error::Unfit`] for an outcome or a place that there is not.
pub async fn search(gateway: &Gateway, now: &Now, search: Search) -> Result<Markup, Error> {
    let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let refused = match search.outcome.as_str() {
        "" => None,
        "done" => Some(false),
        "refused" => Some(true),
        other => return Err(Error::Unfit(format!("an outcome is done or refused, not {other:?}"))),
    };
    let wanted = AuditWanted { from: None, to: None, tenant: given(&search.tenant), key: given(&search.key), refused };
    let after = given(&search.cursor).map(|text| text.parse()).transpose().map_err(Error::Unfit)?;
    let (entries, next) = gateway.trail.list(&wanted, after, PAGE).await?;
    Ok(html! {
        h1 { "Audit trail" }
        (filters(&search))
        section #trail aria-label="Audit trail" {
            @if entries.is_empty() {
                (empty("Nothing here was done or refused.", &html! {
                    @if next.is_some() { "There are older entries that were not looked at yet." }
                    @else { "Ask for less, or look at " a href="/admin/audit" { "all of it" } "." }
                }))
            } @else { (rows(&entries, now.at)) }
            @if let Some(next) = next { p { a.older href=(older(&search, &next)) { "Older" } } }
        }
    })
}

fn older(search: &Search, next: &AuditPlace) -> String {
    let Search { tenant, key, outcome, .. } = search;
    let cursor = next.to_string();
    let parts = [("tenant", tenant), ("key", key), ("outcome", outcome), ("cursor", &cursor)];
    format!("/admin/audit?{}", serde_urlencoded::to_string(parts).unwrap_or_default())
}

fn filters(search: &Search) -> Markup {
    html! {
        form.filters action="/admin/audit" {
            label { "Outcome" select name="outcome" {
                option value="" { "any" }
                @for name in ["done", "refused"] { option value=(name) selected[name == search.outcome] { (name) } }
            } }
            label { "Tenant" input type="text" name="tenant" value=(search.tenant) autocomplete="off" spellcheck="false"; }
            label { "Key" input type="text" name="key" value=(search.key) autocomplete="off" spellcheck="false"; }
            button type="submit" { "Filter" }
            a href="/admin/audit" { "All" }
        }
    }
}

/// A row an entry.
fn rows(entries: &[AuditEntry], now: u64) -> Markup {
    let told = |text: &str| {
        if text.is_empty() {
            nothing()
        } else {
            html! { (text) }
        }
    };
    let columns = [
        numbers("When"),
        column("Outcome"),
        looking("text", "What"),
        column("Tenant"),
        looking("id", "Key"),
        column("Address"),
        looking("long", "Asked for"),
        numbers("Times"),
    ];
    let rows = entries.iter().map(|entry| {
        vec![
            ago(entry.at, now),
            match entry.refused() {
                true => layout::state("degraded", &format!("refused, {}", entry.status)),
                false => layout::state("well", "done"),
            },
            told(&entry.what),
            told(&entry.tenant),
            told(&entry.key),
            told(&entry.address),
            html! { code title=(entry.request_id) { (told(&entry.action)) } },
            html! { (entry.count) },
        ]
    });
    table("Audit trail", &columns, rows)
}
