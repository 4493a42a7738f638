//! `/admin/keys`: made and revoked. What a key is made of is shown once, and here only.

use auth::{KeyRecord, Scope, Tenant};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, column, empty, looking, unnamed};
use super::now::Now;
use super::units::{date, nothing};
use crate::v1;

/// Whose keys are wanted.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Search {
    pub tenant: String,
}

/// The form of a new key. A box that is not ticked is not sent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Create {
    tenant: String,
    note: String,
    expires_in: String,
    class: String,
    cancel_when_gone: String,
    submit: Option<String>,
    read_own: Option<String>,
    operate: Option<String>,
    admin: Option<String>,
    audit: Option<String>,
}

impl Create {
    /// Says the same as `POST /v1/keys` takes it.
    pub fn asked(self) -> v1::keys::Create {
        let given = |text: String| (!text.trim().is_empty()).then(|| text.trim().to_owned());
        let boxes = [
            (self.submit, Scope::Submit),
            (self.read_own, Scope::ReadOwn),
            (self.operate, Scope::Operate),
            (self.admin, Scope::Admin),
            (self.audit, Scope::Audit),
        ];
        let scopes = boxes.into_iter().filter(|(ticked, _)| ticked.is_some()).map(|(_, scope)| scope.name().to_owned());
        v1::keys::Create {
            tenant: given(self.tenant).map(ids::TenantId::new),
            scopes: Some(scopes.collect()),
            role: None,
            expires_in: given(self.expires_in),
            note: given(self.note),
            project: None,
            models: None,
            quota: None,
            batching: None,
            class: given(self.class),
            cancel_when_gone: given(self.cancel_when_gone),
        }
    }
}

/// The form of a key that somebody makes for themselves.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CreateOwn {
    note: String,
    expires_in: String,
}

impl CreateOwn {
    /// Says the same as `POST /v1/keys` takes it.
    pub fn asked(self) -> v1::keys::Create {
        let given = |text: String| (!text.trim().is_empty()).then(|| text.trim().to_owned());
        v1::keys::Create { note: given(self.note), expires_in: given(self.expires_in), ..v1::keys::Create::default() }
    }
}

/// Which of some keys can be revoked where they are shown.
pub enum Acts<'a> {
    None,
    /// All but the one that looks at them.
    All(&'a ids::KeyId),
    /// Those that a user has made for themselves.
    Own(&'a str),
}

/// What was done, or refused.
pub enum Said<'a> {
    Nothing,
    /// The text of a key that was just made.
    Made(&'a KeyRecord, &'a str),
    Refused(&'a str),
}

/// Shows keys, of all tenants or of one.
pub fn body(
    now: &Now,
    own: &ids::KeyId,
    tenants: &[Tenant],
    keys: &[KeyRecord],
    wanted: &str,
    said: &Said<'_>,
) -> Markup {
    html! {
        h1 { "Keys" @if !wanted.is_empty() { " of " (wanted) " " a.older href="/admin/keys" { "all" } } }
        div #live data-live="/admin/live?parts=status" { (layout::status(now.trouble().as_ref())) }
        (told(said))
        (form(tenants, wanted))
        section #list aria-label="Keys" {
            @if keys.is_empty() { (empty("There is no key here.", &html! { "Create one above; its text is shown once." })) }
            @else { (table(keys, &Acts::All(own))) }
        }
    }
}

/// Says what was done, or refused.
pub fn told(said: &Said<'_>) -> Markup {
    html! {
        @match said {
            Said::Nothing => {},
            Said::Made(record, text) => div.made role="alert" {
                p { "The key " code { (record.id) } " of " (record.tenant) " is made. " strong { "It is shown only this once." } }
                p.secret { code #made data-copy=(text) { (text) } }
            },
            Said::Refused(refusal) => p.refusal role="alert" { (refusal) },
        }
    }
}

/// The way to make one's own key.
pub fn own_form() -> Markup {
    html! {
        form.filters method="post" action="/me/keys" {
            label { "Note" input type="text" name="note" maxlength="200" placeholder="where it is used" autocomplete="off"; }
            label { "Ends in" input.short type="text" name="expires_in" placeholder="such as 7d" autocomplete="off" spellcheck="false"; }
            button type="submit" { "Make a key" }
        }
    }
}

fn form(tenants: &[Tenant], wanted: &str) -> Markup {
    let boxes = [
        ("submit", "submit", "submit jobs", true),
        ("read_own", "read-own", "follow, read and cancel its own", true),
        ("operate", "operate", "see and cancel all jobs", false),
        ("admin", "admin", "make tenants and keys, and all but the audit trail", false),
        ("audit", "audit", "read the audit trail", false),
    ];
    html! {
        form.filters method="post" action="/admin/keys" {
            label { "Tenant" select name="tenant" required {
                @for tenant in tenants { option value=(tenant.name) selected[tenant.name.as_str() == wanted] { (tenant.name) } }
            } }
            label { "Note" input type="text" name="note" maxlength="200" placeholder="what it is for" autocomplete="off"; }
            label { "Ends in" input.short type="text" name="expires_in" placeholder="never, or 30d" autocomplete="off" spellcheck="false"; }
            label { "Class" select name="class" {
                option value="" selected { "its tenant's" }
                @for class in ids::Class::ALL { option value=(class) { (class) } }
            } }
            label title="how long a job goes on whose client waited for it and is gone" { "Client gone"
                input.short type="text" name="cancel_when_gone" placeholder="such as 30s" autocomplete="off" spellcheck="false"; }
            fieldset { legend { "Permits" }
                @for (name, scope, what, ticked) in boxes {
                    label.box title=(what) { input type="checkbox" name=(name) value="yes" checked[ticked]; " " (scope) }
                }
            }
            button type="submit" { "Create a key" }
        }
    }
}

/// A row a key.
pub fn table(keys: &[KeyRecord], acts: &Acts<'_>) -> Markup {
    let (some, all) = (!matches!(acts, Acts::None), matches!(acts, Acts::All(_)));
    let mut columns = vec![looking("id", "Key")];
    if all {
        columns.push(column("Tenant"));
    }
    columns.extend([column("Permits"), column("Class"), looking("text", "Note"), column("Created"), column("Ends")]);
    if some {
        columns.push(unnamed("acts", "Acts"));
    }
    let rows = keys.iter().map(|key| {
        let mut cells = vec![html! { (key.id) }];
        if all {
            cells.push(html! { (key.tenant) });
        }
        cells.extend([
            html! { @for (index, scope) in key.scopes.iter().enumerate() { @if index > 0 { ", " } (scope) } },
            html! { @match key.terms.class { Some(class) => (class), None => "its tenant's" } },
            html! {
                @match &key.note { Some(note) => (note), None => (nothing()) }
                @if let Some(owner) = &key.owner { " " span.note { "made by " (owner) } }
                @if let Some(seconds) = key.terms.cancel_when_gone {
                    " " span.note { "ends its jobs " (v1::keys::duration(seconds)) " after their client is gone" }
                }
            },
            date(key.created_at),
            key.expires_at.map_or_else(|| html! { "never" }, date),
        ]);
        if some {
            cells.push(match acts {
                Acts::All(own) if **own == key.id => html! { span.note { "yours, now" } },
                Acts::All(_) => revoke(key, "/admin/keys"),
                Acts::Own(user) if key.owner.as_deref() == Some(*user) => revoke(key, "/me/keys"),
                Acts::None | Acts::Own(_) => Markup::default(),
            });
        }
        cells
    });
    layout::table("Keys", &columns, rows)
}

fn revoke(key: &KeyRecord, path: &str) -> Markup {
    html! {
        form method="post" action={ (path) "/" (key.id) "/revoke" } { details {
            summary { "Revoke" span.hidden { " " (key.id) } }
            p { "It is refused within 5 s everywhere, and cannot be brought back. Jobs that were accepted run on." }
            button.danger type="submit" { "Revoke " (key.id) }
        } }
    }
}
