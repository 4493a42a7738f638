//! What all pages have around what they show: the head, where one can go, and whether anything is wrong.

use auth::{Principal, Scope};
use maud::{DOCTYPE, Markup, html};

use super::assets::{ICON, SCRIPT, STYLE};
use super::now::Trouble;

/// Who reads a page.
pub enum Reader<'a> {
    Nobody,
    /// Somebody, on one of the pages that they can go to.
    Somebody(&'a Principal, Tab),
}

/// A page that one can go to from every other. A new page gets a line here, and its name and key below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Jobs,
    Models,
    Workers,
    Usage,
    Tenants,
    Keys,
    Audit,
    Me,
}

impl Tab {
    const ALL: [Self; 9] = [
        Self::Overview,
        Self::Jobs,
        Self::Models,
        Self::Workers,
        Self::Usage,
        Self::Tenants,
        Self::Keys,
        Self::Audit,
        Self::Me,
    ];

    /// Returns its name, its path, the letter that leads there after `g`, and what it takes to look at it.
    fn told(self) -> (&'static str, &'static str, char, Scope) {
        match self {
            Self::Overview => ("Overview", "/admin", 'q', Scope::Operate),
            Self::Jobs => ("Jobs", "/admin/jobs", 'j', Scope::Operate),
            Self::Models => ("Models", "/admin/models", 'm', Scope::Operate),
            Self::Workers => ("Workers", "/admin/workers", 'w', Scope::Operate),
            Self::Usage => ("Usage", "/admin/usage", 'u', Scope::Operate),
            Self::Tenants => ("Tenants", "/admin/tenants", 't', Scope::Admin),
            Self::Keys => ("Keys", "/admin/keys", 'k', Scope::Admin),
            Self::Audit => ("Audit", "/admin/audit", 'a', Scope::Audit),
            Self::Me => ("My jobs", "/me", 'i', Scope::ReadOwn),
        }
    }
}

/// Puts a page together.
pub fn page(title: &str, reader: &Reader<'_>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Vitrine" }
                link rel="icon" href=(ICON.path) type="image/svg+xml";
                link rel="stylesheet" href=(STYLE.path);
                script src=(SCRIPT.path) {}
            }
            body {
                a.skip href="#main" { "Skip to the page" }
                header.top {
                    span.brand { "Vitrine" }
                    @if let Reader::Somebody(principal, current) = reader { (nav(principal, *current)) }
                    div.right {
                        button.quiet #scheme type="button" hidden { "Dark" }
                        @if let Reader::Somebody(principal, _) = reader {
                            @match &principal.user {
                                None => span.who title={ "key " (principal.key) } { (principal.tenant) },
                                Some(user) => span.who title={ "of " (principal.tenant) } { (user) },
                            }
                            form method="post" action="/sign-out" { button.quiet type="submit" { "Sign out" } }
                        }
                    }
                }
                main #main tabindex="-1" { (body) }
                @if let Reader::Somebody(principal, _) = reader { (help(principal)) }
            }
        }
    }
}

/// Returns where somebody begins: the first page that they may look at.
pub fn home(principal: &Principal) -> &'static str {
    tabs(principal).next().map_or("/me", |(_, _, path, _)| path)
}

fn tabs(principal: &Principal) -> impl Iterator<Item = (Tab, &'static str, &'static str, char)> {
    let may = |tab: &Tab| principal.may(tab.told().3);
    Tab::ALL.into_iter().filter(may).map(|tab| {
        let (name, path, letter, _) = tab.told();
        (tab, name, path, letter)
    })
}

fn nav(principal: &Principal, current: Tab) -> Markup {
    html! {
        nav aria-label="Pages" {
            @for (tab, name, path, letter) in tabs(principal) {
                a href=(path) data-go=(letter) aria-current=[(tab == current).then_some("page")] { (name) }
            }
        }
        @if principal.may(Scope::Operate) {
            form.search role="search" action="/admin/jobs" {
                input type="search" name="q" placeholder="job, tenant or model" aria-label="Search jobs, tenants and models"
                    autocomplete="off" spellcheck="false";
            }
        }
    }
}

fn help(principal: &Principal) -> Markup {
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { "Keys" }
            dl.keys {
                @if principal.may(Scope::Operate) { dt { kbd { "/" } } dd { "search" } }
                @for (_, name, _, letter) in tabs(principal) { dt { kbd { "g" } " " kbd { (letter) } } dd { (name) } }
                dt { kbd { "?" } } dd { "this list" }
            }
            form method="dialog" { button type="submit" { "Close" } }
        }
    }
}

/// Shows whether anything is wrong: the worst there is, in one line.
pub fn status(trouble: Option<&Trouble>) -> Markup {
    html! {
        p #status.status data-level=(trouble.map_or("well", |trouble| trouble.level())) role="status" {
            @match trouble {
                None => { span.mark aria-hidden="true" { "●" } " All well" }
                Some(trouble) => {
                    span.mark aria-hidden="true" { (trouble.mark()) }
                    " " (trouble.sentence) " " a href=(trouble.path) { "Look" }
                }
            }
            span #stale.stale hidden {}
        }
    }
}

/// A column of a table: its name, and how its cells look.
pub struct Column {
    name: String,
    look: &'static str,
    /// Whether the name is for those alone who do not see what stands there.
    hidden: bool,
}

const NUMBER: &str = "number";

/// Returns a column of words.
pub fn column(name: impl Into<String>) -> Column {
    looking("", name)
}

/// Returns a column of numbers.
pub fn numbers(name: impl Into<String>) -> Column {
    looking(NUMBER, name)
}

/// Returns a column whose cells look as the style sheet says of a class.
pub fn looking(look: &'static str, name: impl Into<String>) -> Column {
    Column { name: name.into(), look, hidden: false }
}

/// Returns a column of which everybody sees what it is.
pub fn unnamed(look: &'static str, name: impl Into<String>) -> Column {
    Column { hidden: true, ..looking(look, name) }
}

/// Shows a table. A row's first cell names it. Each other says under which column it stands: on a narrow screen, a row is a list of
/// what it has.
pub fn table(label: &str, columns: &[Column], rows: impl IntoIterator<Item = Vec<Markup>>) -> Markup {
    let class = |column: &Column| (!column.look.is_empty()).then_some(column.look);
    html! {
        div.scroll tabindex="0" role="group" aria-label=(label) { table {
            thead { tr { @for column in columns {
                th class=[class(column).filter(|look| *look == NUMBER)] scope="col" {
                    @if column.hidden { span.hidden { (column.name) } } @else { (column.name) }
                }
            } } }
            tbody { @for row in rows { tr { @for (index, (column, cell)) in columns.iter().zip(row).enumerate() {
                @if index == 0 { th class=[class(column)] scope="row" { (cell) } }
                @else { td class=[class(column)] data-name=[(!column.hidden).then_some(&column.name)] { (cell) } }
            } } } }
        } }
    }
}

/// Shows an area that has nothing in it: what is missing, and the one thing to do.
pub fn empty(what: &str, todo: &Markup) -> Markup {
    html! { div.empty { p { (what) } p.todo { (todo) } } }
}

/// Shows how far something is: in words, with the colour of its state.
pub fn state(level: &str, word: &str) -> Markup {
    html! { span.state data-level=(level) { (word) } }
}
