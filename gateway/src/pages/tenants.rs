//! `/admin/tenants`: made, suspended, resumed; and one of them, with what it may take and takes.

use auth::{Principal, Tenant};
use ids::Class;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::layout::{column, looking, numbers, unnamed};
use super::now::Now;
use super::overview::search;
use super::units::{date, nothing};
use super::{layout, quota};
use crate::v1::quota::Shown;
use crate::v1::tenants::models_in_words;

/// Shows all of them. A refusal of what was asked for is said where it was asked.
pub fn body(now: &Now, principal: &Principal, tenants: &[Tenant], refusal: Option<&str>) -> Markup {
    html! {
        h1 { "Tenants" }
        div #live data-live="/admin/live?parts=status" { (layout::status(now.trouble().as_ref())) }
        @if let Some(refusal) = refusal { p.refusal role="alert" { (refusal) } }
        form.filters method="post" action="/admin/tenants" {
            label { "Name" input type="text" name="name" required maxlength="63" autocomplete="off" spellcheck="false"
                aria-describedby="name-note"; }
            button type="submit" { "Create a tenant" }
            span.note #name-note { "Lowercase letters, digits, '-', '.' and '_'. Its jobs and results are its own." }
        }
        section #tenants aria-label="Tenants" { (rows(now, principal, tenants)) }
    }
}

fn rows(now: &Now, principal: &Principal, tenants: &[Tenant]) -> Markup {
    let columns = [
        column("Tenant"),
        column("State"),
        column("Class"),
        numbers("Keys"),
        numbers("Waiting or running"),
        looking("text", "Quota"),
        column("Created"),
        column("Suspended"),
        unnamed("acts", "Acts"),
    ];
    let rows = tenants.iter().map(|tenant| {
        vec![
            html! { a href=(path(tenant)) { (tenant.name) } },
            state(tenant),
            html! { (tenant.terms.class.unwrap_or_default()) },
            html! { a href={ "/admin/keys?tenant=" (tenant.name) } { (tenant.keys) } },
            html! { (jobs(now, tenant)) },
            quota::words(&tenant.terms.quota),
            tenant.created_at.map_or_else(nothing, date),
            tenant.suspended_at.map_or_else(nothing, date),
            act(tenant, principal),
        ]
    });
    layout::table("Tenants", &columns, rows)
}

/// Shows one: what it may take, what it takes, and how to change that.
pub fn one(now: &Now, principal: &Principal, tenant: &Tenant, shown: &Shown, refusal: Option<&str>) -> Markup {
    let name = tenant.name.as_str();
    html! {
        h1 { "Tenant " (name) }
        div #live data-live="/admin/live?parts=status" { (layout::status(now.trouble().as_ref())) }
        @if let Some(refusal) = refusal { p.refusal role="alert" { (refusal) } }
        dl {
            dt { "State" } dd { (state(tenant)) }
            dt { "Class" } dd { (tenant.terms.class.unwrap_or_default()) }
            dt { "Waiting or running" } dd { a href=(search("tenant", name)) { (jobs(now, tenant)) } }
            dt { "Keys" } dd { a href={ "/admin/keys?tenant=" (name) } { (tenant.keys) } }
            dt { "Models" } dd { (models_in_words(tenant.terms.models.as_deref())) }
            dt { "Created" } dd { @match tenant.created_at { Some(at) => (date(at)), None => (nothing()) } }
            @if let Some(at) = tenant.suspended_at { dt { "Suspended" } dd { (date(at)) } }
        }
        section #quota {
            h2 { "Quota" }
            (quota::table("Quota", shown))
            (quota::form(&format!("{}/quota", path(tenant)), name, &shown.quota))
        }
        (class(tenant))
        section.act aria-label="Acts" { (act(tenant, principal)) }
    }
}

/// The form of how urgent its jobs are.
fn class(tenant: &Tenant) -> Markup {
    let now = tenant.terms.class.unwrap_or_default();
    html! {
        form.act method="post" action={ (path(tenant)) "/class" } { details {
            summary { "Change the class" }
            p { "While all have work, jobs of the class high get six tenths of what is given out, normal ones three, low ones one. \
                It counts for jobs that are accepted from then on." }
            div.filters {
                label { "Class" select name="class" {
                    @for class in Class::ALL { option value=(class) selected[class == now] { (class) } }
                } }
            }
            button type="submit" { "Give " (tenant.name) " this class" }
        } }
    }
}

/// Returns the way to one. A name on keys may be any text.
pub fn path(tenant: &Tenant) -> String {
    format!("/admin/tenants/{}", utf8_percent_encode(tenant.name.as_str(), NON_ALPHANUMERIC))
}

fn jobs(now: &Now, tenant: &Tenant) -> usize {
    now.live.iter().filter(|job| job.tenant == tenant.name).count()
}

fn state(tenant: &Tenant) -> Markup {
    match tenant.suspended_at {
        Some(_) => layout::state("degraded", "suspended"),
        None => layout::state("well", "active"),
    }
}

fn act(tenant: &Tenant, principal: &Principal) -> Markup {
    let path = path(tenant);
    match tenant.suspended_at {
        Some(_) => html! {
            form method="post" action={ (path) "/resume" } { button type="submit" { "Resume " span.hidden { (tenant.name) } } }
        },
        None if tenant.name == principal.tenant => html! { span.note { "yours" } },
        None => html! {
            form method="post" action={ (path) "/suspend" } { details {
                summary { "Suspend" span.hidden { " " (tenant.name) } }
                p { "Its keys are refused within 5 s; its jobs run to their end. Resuming undoes it." }
                button.danger type="submit" { "Suspend " (tenant.name) }
            } }
        },
    }
}
