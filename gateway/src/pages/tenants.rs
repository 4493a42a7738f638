//! `/admin/tenants`: made, suspended, resumed.

use auth::{Principal, Tenant};
use maud::{Markup, html};

use super::layout;
use super::now::Now;
use super::overview::search;
use super::units::{date, nothing};

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
        section #tenants aria-label="Tenants" { div.scroll tabindex="0" role="group" aria-label="Tenants" { table {
            thead { tr {
                th scope="col" { "Tenant" } th scope="col" { "State" } th.number scope="col" { "Keys" }
                th.number scope="col" { "Waiting or running" } th scope="col" { "Created" } th scope="col" { "Suspended" }
                th scope="col" { span.hidden { "Acts" } }
            } }
            tbody { @for tenant in tenants { tr {
                td { a href=(search("tenant", tenant.name.as_str())) { (tenant.name) } }
                td { @match tenant.suspended_at {
                    Some(_) => (layout::state("degraded", "suspended")),
                    None => (layout::state("well", "active")),
                } }
                td.number { a href={ "/admin/keys?tenant=" (tenant.name) } { (tenant.keys) } }
                td.number { (now.live.iter().filter(|job| job.tenant == tenant.name).count()) }
                td { @match tenant.created_at { Some(at) => (date(at)), None => (nothing()) } }
                td { @match tenant.suspended_at { Some(at) => (date(at)), None => (nothing()) } }
                td.acts { (act(tenant, principal)) }
            } } }
        } } }
    }
}

fn act(tenant: &Tenant, principal: &Principal) -> Markup {
    let path = format!("/admin/tenants/{}", tenant.name);
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
