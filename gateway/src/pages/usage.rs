//! `/admin/usage`: what jobs came to by the ledger, of all tenants.

use auth::Principal;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{empty, status};
use super::now::Now;
use super::units::{bytes, count, nothing, span};
use crate::v1::usage::{self, Row, Told};
use crate::{Error, Gateway};

/// By what one can have it told apart.
const BY: [(&str, &str); 4] = [
    ("tenant", "tenant"),
    ("tenant,model", "tenant and model"),
    ("tenant,project", "tenant and project"),
    ("day", "day"),
];

/// What is wanted. Forms send what is not wanted empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    from: String,
    to: String,
    tenant: String,
    by: String,
}

/// Shows what jobs that ended came to, in the last 30 days where nobody says when.
///
/// # Errors
/// As [`usage::tell`].
pub async fn search(gateway: &Gateway, principal: &Principal, search: Search) -> Result<Markup, Error> {
    let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let by = given(&search.by).unwrap_or_else(|| "tenant".into());
    let wanted = usage::Search {
        from: given(&search.from),
        to: given(&search.to),
        tenant: given(&search.tenant).map(ids::TenantId::new),
        by: Some(by.clone()),
    };
    let told = usage::tell(gateway, principal, wanted).await?;
    let now = Now::of(gateway).await?;
    Ok(html! {
        (status(now.trouble().as_ref()))
        h1 { "Usage" }
        (filters(&search, &told, &by))
        section #usage aria-label="Usage" {
            @if told.usage.is_empty() {
                (empty("No job ended in these days.", &html! { "Ask for others, or look at " a href="/admin/jobs" { "what runs" } "." }))
            } @else { (table(&told)) }
            p.note { "Jobs that have ended, by the day of their end in UTC." }
        }
    })
}

fn filters(search: &Search, told: &Told, by: &str) -> Markup {
    html! {
        form.filters action="/admin/usage" {
            label { "From" input.short type="date" name="from" value=(told.from); }
            label { "To" input.short type="date" name="to" value=(told.to); }
            label { "By" select name="by" {
                @for (value, name) in BY { option value=(value) selected[value == by] { (name) } }
            } }
            label { "Tenant" input type="text" name="tenant" value=(search.tenant) autocomplete="off" spellcheck="false"; }
            button type="submit" { "Show" }
            a href="/admin/usage" { "The last 30 days" }
        }
    }
}

/// A row for each thing that is told apart.
fn table(told: &Told) -> Markup {
    let title = |by: &str| by[..1].to_uppercase() + &by[1..];
    html! {
        div.scroll tabindex="0" role="group" aria-label="Usage" { table {
            thead { tr {
                @for by in &told.by { th scope="col" { (title(by)) } }
                th.number scope="col" { "Jobs" } th.number scope="col" { "Failed" } th.number scope="col" { "Device time" }
                th.number scope="col" { "Requests" } th.number scope="col" { "Results" }
            } }
            tbody { @for row in &told.usage { tr {
                @for by in &told.by { td { @match place(row, by) { Some(value) => (value), None => (nothing()) } } }
                td.number { (count(row.jobs)) }
                td.number { (count(row.failed_jobs)) }
                td.number { (span(milliseconds(row.compute_seconds))) }
                td.number { (bytes(row.request_bytes)) }
                td.number { (bytes(row.result_bytes)) }
            } } }
        } }
    }
}

fn place<'a>(row: &'a Row, by: &str) -> Option<&'a str> {
    let value = match by {
        "day" => &row.day,
        "tenant" => &row.tenant,
        "project" => &row.project,
        "key" => &row.key,
        _ => &row.model,
    };
    value.as_ref()?.as_deref()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are not negative, and `as` saturates"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}
