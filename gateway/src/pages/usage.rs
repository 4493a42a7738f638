//! `/admin/usage`: what jobs came to by the ledger, of all tenants.

use std::borrow::Cow;

use auth::Principal;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Column, column, empty, numbers, status, table};
use super::now::Now;
use super::units::{bytes, count, nothing, span};
use crate::v1::usage::{self, Row, Told};
use crate::{Error, Gateway, spreadsheet};

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
    let told = usage::tell(gateway, principal, wanted(&search)).await?;
    let now = Now::of(gateway).await?;
    let by = told.by.join(",");
    let same = [("from", &told.from), ("to", &told.to), ("tenant", &search.tenant), ("by", &by)];
    let file = format!("/admin/usage.csv?{}", serde_urlencoded::to_string(same).unwrap_or_default());
    Ok(html! {
        (status(now.trouble().as_ref()))
        h1 { "Usage" }
        (filters(&search, &told, &by))
        section #usage aria-label="Usage" {
            @if told.usage.is_empty() {
                (empty("No job ended in these days.", &html! { "Ask for others, or look at " a href="/admin/jobs" { "what runs" } "." }))
            } @else { (rows(&told)) p { a href=(file) download { "As CSV" } } }
            p.note { "Jobs that have ended, by the day of their end in UTC." }
        }
    })
}

/// Writes the same as comma-separated values, with the names that `/v1/usage` has.
///
/// # Errors
/// As [`usage::tell`].
pub async fn csv(gateway: &Gateway, principal: &Principal, search: &Search) -> Result<Vec<u8>, Error> {
    written(&usage::tell(gateway, principal, wanted(search)).await?)
}

fn written(told: &Told) -> Result<Vec<u8>, Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let figures = ["jobs", "failed_jobs", "compute_seconds", "request_bytes", "result_bytes"];
    writer.write_record(told.by.iter().copied().chain(figures)).map_err(Error::internal)?;
    for row in &told.usage {
        let named = told.by.iter().map(|by| spreadsheet::cell(place(row, by).unwrap_or_default()));
        let counted = [
            row.jobs.to_string().into(),
            row.failed_jobs.to_string().into(),
            row.compute_seconds.to_string().into(),
            row.request_bytes.to_string().into(),
            row.result_bytes.to_string().into(),
        ];
        writer.write_record(named.chain(counted).map(Cow::into_owned)).map_err(Error::internal)?;
    }
    writer.into_inner().map_err(|error| Error::internal(error.into_error()))
}

fn wanted(search: &Search) -> usage::Search {
    let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    usage::Search {
        from: given(&search.from),
        to: given(&search.to),
        tenant: given(&search.tenant).map(ids::TenantId::new),
        by: given(&search.by).or_else(|| Some("tenant".into())),
    }
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
fn rows(told: &Told) -> Markup {
    let title = |by: &&str| column(by[..1].to_uppercase() + &by[1..]);
    let mut columns: Vec<Column> = told.by.iter().map(title).collect();
    columns.extend(["Jobs", "Failed", "Device time", "Requests", "Results"].map(numbers));
    let rows = told.usage.iter().map(|row| {
        let named = told.by.iter().map(|by| place(row, by).map_or_else(nothing, |value| html! { (value) }));
        let counted = [
            count(row.jobs),
            count(row.failed_jobs),
            span(milliseconds(row.compute_seconds)),
            bytes(row.request_bytes),
            bytes(row.result_bytes),
        ];
        named.chain(counted.into_iter().map(|text| html! { (text) })).collect()
    });
    table("Usage", &columns, rows)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_that_a_spreadsheet_would_compute_is_a_text_in_the_file() {
        let row = Row {
            day: None,
            tenant: Some(Some("lab-b".into())),
            project: Some(Some("=HYPERLINK(\"http://example.org\")".into())),
            key: None,
            model: None,
            jobs: 1,
            failed_jobs: 0,
            compute_seconds: 0.5,
            request_bytes: 2,
            result_bytes: 3,
        };
        let told = Told { from: String::new(), to: String::new(), by: vec!["tenant", "project"], usage: vec![row] };
        let text = String::from_utf8(written(&told).unwrap()).unwrap();
        assert_eq!(text.lines().last(), Some("lab-b,\"'=HYPERLINK(\"\"http://example.org\"\")\",1,0,0.5,2,3"));
    }
}
