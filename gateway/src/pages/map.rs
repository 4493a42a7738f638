//! Where models are: a column a device, as high as its memory, with the models that lie there; and what else lies there.

use std::collections::BTreeSet;
use std::fmt::Write;

use ids::ModelKey;
use maud::{Markup, PreEscaped, html};
use store::{DeviceMemory, NodeRecord, ReplicaRecord};

use super::layout::{self, column, numbers};
use super::now::Now;
use super::units::{bytes, nothing};
use crate::v1::nodes::Node;

/// Devices that are drawn, and rows of their memory; of a larger cluster the tables have the rest.
const DRAWN: usize = 48;

/// Kinds of memory, as workers tell them, each with what it is called here.
const KINDS: [(&str, &str); 6] = [
    ("weights", "Weights"),
    ("copies", "Copies"),
    ("trunks", "Trunks"),
    ("warm", "Warm"),
    ("other", "Other"),
    ("free", "Free"),
];

/// Of a drawing of a device: its height, and where its two columns begin and how wide they are.
const HEIGHT: u64 = 120;
const MODELS: (u64, u64) = (1, 70);
const MEMORY: (u64, u64) = (77, 14);

/// A device, and what is there.
struct Place<'a> {
    node: &'a NodeRecord,
    name: &'a str,
    /// Bytes that models may take.
    room: u64,
    replicas: Vec<&'a ReplicaRecord>,
    memory: Option<&'a DeviceMemory>,
}

impl<'a> Place<'a> {
    fn all(now: &'a Now) -> impl Iterator<Item = Self> {
        let nodes = now.workers().iter().filter(|node| node.connected()).filter_map(|node| node.record.as_ref());
        nodes.flat_map(|node| {
            let gpus = node.devices.iter().any(|(name, _)| name != "cpu");
            node.devices.iter().filter_map(move |(name, room)| {
                let replicas: Vec<_> = node.replicas.iter().filter(|replica| replica.device == *name).collect();
                let memory = node.memory.iter().find(|memory| memory.device == *name);
                // Beside GPUs, nobody looks at a processor that has nothing.
                let shown = name != "cpu" || !gpus || !replicas.is_empty();
                shown.then_some(Place { node, name, room: *room, replicas, memory })
            })
        })
    }

    fn taken(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.bytes).sum()
    }
}

/// Draws where models are.
pub fn part(now: &Now) -> Markup {
    let places: Vec<Place<'_>> = Place::all(now).collect();
    let hidden = places.len().saturating_sub(DRAWN);
    html! {
        section #map {
            h2 { "Where models are" }
            @if places.is_empty() {
                p.note { "No worker is connected that has told its devices." }
            } @else {
                svg.hidden aria-hidden="true" { defs { pattern #loading width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect.hatch width="3" height="6" {}
                } } }
                ul.map { @for place in places.iter().take(DRAWN) { li { (device(place)) } } }
                @if hidden > 0 { p.note { (hidden) " more devices are not drawn; the table below has all workers." } }
                p.note.legend {
                    "Left: what models take of what they may. Right, where it is measured: "
                    @for (kind, name) in KINDS.iter().filter(|(kind, _)| *kind != "free") { span.key { span.swatch data-kind=(kind) {} (name.to_lowercase()) } " " }
                    "and above them what is free."
                }
            }
            (temperatures(now))
        }
    }
}

/// Says which models are on no device: those that come back sooner, and those that do not.
fn temperatures(now: &Now) -> Markup {
    let connected = || now.workers().iter().filter(|node| node.connected()).filter_map(|node| node.record.as_ref());
    let on_device: BTreeSet<&ModelKey> = connected().flat_map(|node| &node.replicas).map(|it| &it.model).collect();
    let kept: BTreeSet<&ModelKey> = connected().flat_map(|node| &node.kept).map(|(model, _)| model).collect();
    let off: Vec<&ModelKey> = now
        .specifications
        .iter()
        .map(|specification| &specification.key)
        .filter(|key| !on_device.contains(key))
        .collect();
    let (warm, cold): (Vec<_>, Vec<_>) = off.into_iter().partition(|key| kept.contains(key));
    let line = |what: &str, models: &[&ModelKey]| {
        html! { @if !models.is_empty() {
            p { (what) @for (index, model) in models.iter().enumerate() { @if index > 0 { ", " } (model) } "." }
        } }
    };
    html! {
        (line("Warm, so that they come back sooner: ", &warm))
        (line("Cold, until somebody asks for them: ", &cold))
    }
}

fn device(place: &Place<'_>) -> Markup {
    let (taken, room) = (place.taken(), place.room);
    let said = format!("{} of {}: {} of {} taken by models", place.name, place.node.name, bytes(taken), bytes(room));
    html! {
        svg viewBox={ "0 0 92 " (HEIGHT + 2) } role="img" aria-label=(said) { (PreEscaped(drawing(place))) }
        p.device { b { (place.node.name) } " " (place.name) br; (bytes(taken)) small { " of " (bytes(room)) } }
        ul { @for replica in &place.replicas { li { (replica.model) " " (stage(replica)) } } }
    }
}

/// How a model is on a device, in words.
fn stage(replica: &ReplicaRecord) -> Markup {
    match (replica.stage.as_str(), replica.jobs) {
        ("loading", _) => layout::state("waiting", &format!("loading {} %", replica.loaded)),
        ("ready", 0) => layout::state("well", "idle"),
        ("ready", 1) => layout::state("well", "1 job"),
        ("ready", jobs) => layout::state("well", &format!("{jobs} jobs")),
        ("rank", _) => layout::state("well", "a rank"),
        ("failed", _) => layout::state("broken", "failed"),
        (other, _) => layout::state("ended", other),
    }
}

/// Draws what lies on a device, from the bottom: models, and beside them what was measured.
fn drawing(place: &Place<'_>) -> String {
    let mut out = String::new();
    let mut rect = |class: &str, (x, width): (u64, u64), y: u64, height: u64, more: &str| {
        // A string takes whatever is written.
        let _ = write!(out, "<rect {class} x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"{more}/>");
    };
    rect("class=\"room\"", MODELS, 1, HEIGHT, "");
    let mut bottom = HEIGHT + 1;
    for replica in &place.replicas {
        // What is small is seen, too, and nothing stands beyond the top.
        let height = scaled(replica.bytes, place.room.max(place.taken())).max(3).min(bottom.saturating_sub(1));
        bottom -= height;
        let class = match (replica.stage.as_str(), replica.jobs) {
            ("ready", 1..) => "class=\"model busy\"",
            ("ready" | "rank", _) => "class=\"model\"",
            ("loading", _) => "class=\"model coming\"",
            ("failed", _) => "class=\"model broken\"",
            _ => "class=\"model going\"",
        };
        let fill = if replica.stage == "loading" { " fill=\"url(#loading)\"" } else { "" };
        rect(class, MODELS, bottom, height, fill);
        if replica.stage == "loading" {
            let done = height * u64::from(replica.loaded) / 100;
            rect("class=\"model\"", MODELS, bottom + height - done, done, "");
        }
    }
    if let Some(memory) = place.memory {
        let told: u64 = memory.kinds.iter().map(|(_, bytes)| *bytes).sum();
        // Of GPUs nobody tells what else lies there; but what models may take is there.
        let all = told.max(place.room);
        let untold = ("other".to_owned(), all - told);
        rect("class=\"room\"", MEMORY, 1, HEIGHT, "");
        let mut bottom = HEIGHT + 1;
        for (kind, lying) in memory.kinds.iter().chain([&untold]).filter(|(kind, lying)| kind != "free" && *lying > 0) {
            let height = scaled(*lying, all).min(bottom - 1);
            bottom -= height;
            if let Some((kind, _)) = KINDS.iter().find(|(known, _)| known == kind) {
                rect(&format!("data-kind=\"{kind}\""), MEMORY, bottom, height, "");
            }
        }
    }
    out
}

fn scaled(part: u64, whole: u64) -> u64 {
    let height = u128::from(part) * u128::from(HEIGHT) / u128::from(whole.max(1));
    u64::try_from(height).unwrap_or(HEIGHT).min(HEIGHT)
}

/// What lies in the memory of each device, by what it is for.
pub fn memory(now: &Now) -> Markup {
    let told: Vec<(&Node, &DeviceMemory)> = now
        .workers()
        .iter()
        .filter(|node| node.connected())
        .flat_map(|node| node.record.iter().flat_map(|record| &record.memory).map(move |memory| (node, memory)))
        .collect();
    let mut columns = vec![column("Device")];
    columns.extend(KINDS.iter().map(|(_, name)| numbers(*name)));
    let row = |(node, memory): &(&Node, &DeviceMemory)| {
        let mut cells = vec![html! { (node.name) " " (memory.device) }];
        cells.extend(KINDS.iter().map(|(kind, _)| {
            let told = memory.kinds.iter().find(|(name, _)| name == kind).map(|(_, bytes)| *bytes);
            told.filter(|lying| *lying > 0).map_or_else(nothing, |lying| html! { (bytes(lying)) })
        }));
        cells
    };
    html! {
        section #memory {
            h2 { "Memory, as measured" }
            @if told.is_empty() { p.note { "No worker has told of its memory yet; each does so a second after it came." } }
            @else {
                (layout::table("Memory", &columns, told.iter().take(DRAWN).map(row)))
                @if told.len() > DRAWN { p.note { (told.len() - DRAWN) " more devices." } }
                details { summary { "What is what" } dl {
                    dt { "Weights" } dd { "as kernels have them" }
                    dt { "Copies" } dd { "of weights, for gradients and for " code { ".weight" } }
                    dt { "Trunks" } dd { "states of prompts that come again" }
                    dt { "Warm" } dd { "weights that are kept for a GPU" }
                    dt { "Other" } dd { "keys and values, activations, tensors of jobs, other processes and ranks, and programs themselves" }
                } }
            }
        }
    }
}
