//! `/admin/models`: the hosted models, how far each is, and what operators do with them.

use std::path::PathBuf;

use ids::ModelKey;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use store::{ModelRecord, ModelState, Specification};

use super::layout::{self, column, looking, numbers, unnamed};
use super::now::Now;
use super::overview::search;
use super::units::{bytes, nothing, number, span};
use super::windows::{self, Booked};
use crate::Error;
use crate::v1::models::{Change, Deploy, Replicas};

/// The form of a model that is to be hosted. A box that is not ticked is not sent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct New {
    pub model: String,
    folder: String,
    dtype: String,
    device: String,
    ranks: String,
    residency: String,
    least: String,
    most: String,
    pinned: Option<String>,
}

/// What was typed into the forms of this page.
#[derive(Default)]
pub struct Typed {
    pub host: New,
    pub book: Booked,
}

/// The form of how many replicas a model has.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Count {
    least: String,
    most: String,
    pinned: Option<String>,
}

impl New {
    /// Says the same as `PUT /v1/models/{model}` takes it.
    ///
    /// # Errors
    /// [`Error::Unfit`] for what is no number.
    pub fn asked(&self) -> Result<Deploy, Error> {
        let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
        Ok(Deploy {
            folder: PathBuf::from(self.folder.trim()),
            dtype: given(&self.dtype),
            device: given(&self.device),
            ranks: count_of("ranks", &self.ranks)?,
            residency: given(&self.residency),
            replicas: replicas(&self.least, &self.most)?,
            pinned: self.pinned.is_some(),
            windows_only: false,
        })
    }
}

impl Count {
    /// Says the same as `PATCH /v1/models/{model}` takes it.
    ///
    /// # Errors
    /// [`Error::Unfit`] for what is no number.
    pub fn asked(&self) -> Result<Change, Error> {
        let replicas = Some(replicas(&self.least, &self.most)?);
        Ok(Change { replicas, pinned: Some(self.pinned.is_some()), windows_only: None })
    }
}

fn replicas(least: &str, most: &str) -> Result<Replicas, Error> {
    let min = count_of("replicas at least", least)?.unwrap_or(0);
    Ok(Replicas { min, max: count_of("replicas at most", most)? })
}

/// Reads how many of something there are to be, if that is said.
fn count_of(name: &str, text: &str) -> Result<Option<u32>, Error> {
    number(name, text)?.map(|count| u32::try_from(count).ok()).map_or(Ok(None), |fits| {
        fits.map(Some).ok_or_else(|| Error::Unfit(format!("{name} is {text}, which is more than there can be")))
    })
}

/// Shows all of them. A refusal of what was asked for is said where it was asked, with what was typed.
pub fn body(now: &Now, refusal: Option<&str>, typed: &Typed) -> Markup {
    html! {
        h1.hidden { "Models" }
        div #live data-live="/admin/live?parts=status,hosting,windows" {
            (layout::status(now.trouble().as_ref()))
            @if let Some(refusal) = refusal { p.refusal role="alert" { (refusal) } }
            (table(now, true))
            (windows::table(now))
        }
        (form(&typed.host))
        @if !now.specifications.is_empty() { (windows::form(now, &typed.book)) }
    }
}

fn form(typed: &New) -> Markup {
    html! {
        section #host {
            h2 { "Host a model" }
            form.filters method="post" action="/admin/models" {
                label { "Name" input type="text" name="model" value=(typed.model) required maxlength="400" placeholder="OWNER/NAME" autocomplete="off" spellcheck="false"; }
                label { "Folder" input type="text" name="folder" value=(typed.folder) required placeholder="/models/NAME" autocomplete="off" spellcheck="false"; }
                label { "Type" select name="dtype" {
                    @for (value, name) in [("", "as its files have it"), ("bfloat16", "bfloat16"), ("float32", "float32"), ("int8", "int8"), ("nf4", "nf4")] {
                        option value=(value) selected[typed.dtype == value] { (name) }
                    }
                } }
                label { "Device" input.short type="text" name="device" value=(typed.device) placeholder="any" autocomplete="off" spellcheck="false"; }
                label { "Ranks" input.short type="number" name="ranks" value=(typed.ranks) min="1" max="64" placeholder="1"; }
                label { "Layers" select name="residency" {
                    @for (value, name) in [("", "on the device"), ("stream", "brought when they are used")] {
                        option value=(value) selected[typed.residency == value] { (name) }
                    }
                } }
                (counts(&typed.least, &typed.most, typed.pinned.is_some()))
                button type="submit" { "Host the model" }
                span.note { "The folder has what the Hugging Face Hub has for the model, at the same place on every worker and gateway. \
                    It takes jobs at once; they wait until it is loaded. With neither number there are as many replicas as there is \
                    room for that nobody else needs. One that is pinned never leaves for another." }
            }
        }
    }
}

/// The fields of how many replicas there are to be.
fn counts(least: &str, most: &str, pinned: bool) -> Markup {
    html! {
        label { "Replicas, at least" input.short type="number" name="least" value=(least) min="0" max="4294967295" placeholder="0"; }
        label { "at most" input.short type="number" name="most" value=(most) min="1" max="4294967295" placeholder="any number"; }
        label.box { input type="checkbox" name="pinned" value="yes" checked[pinned]; " pinned" }
    }
}

/// A row a model, with what can be done to it or without.
pub fn table(now: &Now, acts: bool) -> Markup {
    html! {
        section #models {
            h2 { "Models" }
            @if now.models.is_empty() {
                (layout::empty("No model is hosted.", &html! {
                    "Host one " a href="/admin/models#host" { "here" } ", or name one when the server starts: " code { "--model REPO_ID=FOLDER" } "."
                }))
            } @else {
                (rows(now, acts))
            }
        }
    }
}

fn rows(now: &Now, acts: bool) -> Markup {
    let busy = |key: &ModelKey| now.live.iter().filter(|job| job.model == *key).count();
    let mut columns = vec![
        column("Model"),
        looking("text", "State"),
        numbers("Replicas"),
        column("Device"),
        column("Type"),
        numbers("Memory"),
        numbers("Jobs"),
    ];
    if acts {
        columns.push(unnamed("acts", "Acts"));
    }
    let rows = now.models.iter().map(|model| {
        let specification = now.specifications.iter().find(|specification| specification.key == model.key);
        let told = |text: &Option<String>| text.as_ref().map_or_else(nothing, |text| html! { (text) });
        let mut cells = vec![
            html! { a href=(search("model", &model.key.to_string())) { (model.key) } },
            if specification.is_some() { state(now, model) } else { layout::state("ended", "evicted") },
            count(model, specification),
            html! { (told(&model.device)) @if model.ranks > 1 { small { " " (model.ranks) " ranks" } } },
            told(&model.dtype),
            if model.bytes > 0 {
                html! { (bytes(model.bytes)) }
            } else {
                nothing()
            },
            html! { (busy(&model.key)) },
        ];
        if acts {
            cells.push(specification.map(act).unwrap_or_default());
        }
        cells
    });
    layout::table("Models", &columns, rows)
}

/// Where what is done to a model is sent.
pub fn path(key: &ModelKey) -> String {
    format!("/admin/models/{}", utf8_percent_encode(&key.to_string(), NON_ALPHANUMERIC))
}

/// What an operator can do to a model.
fn act(specification: &Specification) -> Markup {
    let Specification { key, replicas_min, replicas_max, pinned, .. } = specification;
    let path = path(key);
    let (least, most) = (replicas_min.to_string(), replicas_max.map_or_else(String::new, |most| most.to_string()));
    html! {
        form method="post" action={ (path) "/change" } { details {
            summary { "Change" span.hidden { " " (key) } }
            p { "More replicas load as there is room for them; those beyond the most leave when their jobs have ended. A pinned \
                model never leaves for another, and keeps at least one." }
            div.filters { (counts(&least, &most, *pinned)) }
            button type="submit" { "Change " (key) }
        } }
        form method="post" action={ (path) "/evict" } { details {
            summary { "Evict" span.hidden { " " (key) } }
            p { "Its jobs that run end, those that wait are refused, and then its memory is free." @if specification.configured {
                " The scheduler's settings name it, so it comes back when a scheduler starts." } }
            button.danger type="submit" { "Evict " (key) }
        } }
    }
}

/// How many replicas are ready, and how many there are to be.
fn count(model: &ModelRecord, specification: Option<&Specification>) -> Markup {
    html! {
        (model.replicas)
        @if let Some(specification) = specification { small {
            @match (specification.replicas_min, specification.replicas_max) {
                (0, None) => {}
                (min, None) => { " of at least " (min) }
                (0, Some(max)) => { " of up to " (max) }
                (min, Some(max)) if min == max => { " of " (max) }
                (min, Some(max)) => { " of " (min) " to " (max) }
            }
            @if specification.pinned { ", pinned" }
        } }
    }
}

/// How far a model is; of one that is not loaded why, and when it should be.
fn state(now: &Now, model: &ModelRecord) -> Markup {
    let why = html! {
        @if let Some(wait) = &model.wait { " " span.why { (wait.why) } }
        @if let Some(left) = now.expected(model) { " " span.why { "ready in about " (span(left)) } }
    };
    match &model.state {
        ModelState::Ready => layout::state("well", "ready"),
        ModelState::Waiting => html! { (layout::state("waiting", "no worker has it")) (why) },
        // It leaves no job waiting while nobody asks for it.
        ModelState::Cold => {
            html! { (layout::state(if model.wait.is_some() { "waiting" } else { "ended" }, model.state_name())) (why) }
        }
        ModelState::Loading { fraction } => {
            let percent = format!("{:.0}", fraction * 100.0);
            html! {
                (layout::state("waiting", "loading")) " "
                progress max="100" value=(percent) aria-label="loaded" {} " " (percent) " %" (why)
            }
        }
        ModelState::Failed(why) => html! { (layout::state("broken", "failed")) " " span.why title=(why) { (why) } },
    }
}
