//! For what times models are booked, on `/admin/models`, and booking one.

use maud::{Markup, html};
use serde::Deserialize;
use store::Booking;

use super::layout::{self, column, numbers, unnamed};
use super::models::path;
use super::now::Now;
use super::units::{moment, nothing, number, until};
use crate::Error;
use crate::v1::windows::New;

/// The form of a booking. A box that is not ticked is not sent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Booked {
    pub model: String,
    /// As browsers write a time without its zone, which is UTC here.
    from: String,
    to: String,
    daily: Option<String>,
    replicas: String,
    tenant: String,
}

impl Booked {
    /// Says the same as `POST /v1/models/{model}/windows` takes it.
    ///
    /// # Errors
    /// [`Error::Unfit`] for what is no number.
    pub fn asked(&self) -> Result<New, Error> {
        let replicas = number("replicas", &self.replicas)?.map(u32::try_from).transpose();
        let tenant = self.tenant.trim();
        Ok(New {
            from: utc(&self.from),
            to: utc(&self.to),
            daily: self.daily.is_some(),
            replicas: replicas
                .map_err(|_| Error::Unfit(format!("replicas is {}, which is more than there can be", self.replicas)))?,
            tenant: (!tenant.is_empty()).then(|| tenant.to_owned()),
        })
    }
}

/// Returns a time as RFC 3339 has it. What a browser did not write is left as it is, and refused as that.
fn utc(typed: &str) -> String {
    match typed.len() {
        // Without seconds, and with them.
        16 => format!("{typed}:00Z"),
        19 => format!("{typed}Z"),
        _ => typed.to_owned(),
    }
}

/// Lists the bookings that are not over, the next one first.
pub fn table(now: &Now) -> Markup {
    let mut next: Vec<(u64, u64, &Booking)> = Vec::new();
    for booking in &now.bookings {
        next.extend(booking.window.next(now.at).map(|(from, to)| (from, to, booking)));
    }
    next.sort_by_key(|(from, _, booking)| (*from, booking.number));
    html! {
        section #windows {
            h2 { "Booked times" }
            @if next.is_empty() {
                (layout::empty("No model is booked.", &html! { "In a time that is booked, a model is there from its beginning on." }))
            } @else {
                (rows(now, &next))
            }
        }
    }
}

/// A row a booking, with when it begins and ends next.
fn rows(now: &Now, next: &[(u64, u64, &Booking)]) -> Markup {
    let columns = [
        column("Model"),
        column("State"),
        column("From, UTC"),
        column("To"),
        numbers("Replicas"),
        column("Jobs of"),
        unnamed("acts", "Acts"),
    ];
    let rows = next.iter().map(|(from, to, booking)| {
        vec![
            html! { (booking.model) },
            if *from <= now.at { layout::state("well", "open") } else { until(*from, now.at) },
            html! { (moment(*from)) @if booking.window.daily { small { " daily" } } },
            html! { (moment(*to)) },
            html! { (booking.window.replicas) },
            booking.window.tenant.as_ref().map_or_else(nothing, |tenant| html! { (tenant) }),
            html! { form method="post" action={ (path(&booking.model)) "/windows/" (booking.number) "/remove" } { details {
                summary { "Take back" span.hidden { " window " (booking.number) " of " (booking.model) } }
                p { "What runs goes on, and the model stays as long as any other." }
                button.danger type="submit" { "Take it back" }
            } } },
        ]
    });
    layout::table("Booked times", &columns, rows)
}

/// The form that books a model.
pub fn form(now: &Now, typed: &Booked) -> Markup {
    html! {
        section #book {
            h2 { "Book a model" }
            form.filters method="post" action="/admin/windows" {
                label { "Model" select name="model" {
                    @for specification in &now.specifications {
                        @let name = specification.key.to_string();
                        option value=(name) selected[typed.model == name] { (name) }
                    }
                } }
                label { "From, UTC" input type="datetime-local" name="from" value=(typed.from) required; }
                label { "To, UTC" input type="datetime-local" name="to" value=(typed.to) required; }
                label.box { input type="checkbox" name="daily" value="yes" checked[typed.daily.is_some()]; " every day" }
                label { "Replicas" input.short type="number" name="replicas" value=(typed.replicas) min="1" max="4294967295" placeholder="1"; }
                label { "For the tenant" input type="text" name="tenant" value=(typed.tenant) placeholder="everybody" autocomplete="off" spellcheck="false"; }
                button type="submit" { "Book the model" }
                span.note { "The model is loaded ahead, by as long as that takes, and stays until the end. Where a tenant is named, its jobs \
                    alone run in that time, and those of others wait. What cannot be had beside what is booked already is refused." }
            }
        }
    }
}
