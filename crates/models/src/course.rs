//! The way of a batch through the layers: rows that equal one computed before are computed only from where they differ.
//!
//! Performance-critical. Models are causal: a change at one position of one layer leaves all earlier positions as they
//! were, so a changed row carries only its own end, on the keys and values of the unchanged one. A row that nobody has
//! changed yet is not computed at all. What somebody looks at is shown whole. A row in which somebody put an infinity or
//! NaN is computed whole from there on: those reach earlier positions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use engine::shape::Reach;
use engine::{Attention, Layout, Part, SegmentIndex, Site};
use interpreter::raise::Raise;
use kernels::{Products, number};
use tch::{Device, TchError, Tensor};

use crate::attention::{self, Extent};
use crate::cache::{Cache, Caches};
use crate::call::Call;
use crate::decoder::{Attended, Decoder, Description, Shared, Stream, share};
use crate::embedding::Words;
use crate::family::Sight;
use crate::pass::{Pass, Result, Unseen};
use crate::rotary::Rotations;
use crate::tokens::Tokens;

/// A row as it is when nobody changes it.
pub struct Trunk {
    /// `[1, length, width]` before each layer, and after the last.
    states: Vec<Tensor>,
    /// Keys and values of each layer.
    cache: Cache,
    /// What [`Products`] tell: the size that kernels were given, and what names their bits.
    shape: (i64, u64),
}

impl Trunk {
    /// Computes rows of token ids.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn compute(
        decoder: &Decoder,
        products: Products,
        rows: &[Vec<i64>],
        kind: Attention,
        rest: &dyn Fn(),
    ) -> Result<Vec<Self>> {
        let about = &decoder.about;
        let length = |row: &[i64]| i64::try_from(row.len()).unwrap_or(i64::MAX);
        let parts = rows.iter().enumerate().map(|(segment, row)| Part {
            segment: Some(SegmentIndex(segment)),
            rows: 1,
            length: length(row),
        });
        let mut unseen = Unseen(rest);
        let mut pass = Pass::new(&mut unseen, Layout { parts: parts.collect() }, products);
        let ids = |row: &Vec<i64>| Tensor::f_from_slice(row)?.f_to_device(about.device)?.f_view([1, length(row)]);
        let call = Call {
            ids: rows.iter().map(ids).collect::<std::result::Result<_, TchError>>()?,
            caches: rows.iter().map(|_| Some(Cache::new(Rc::clone(&about.windows)))).collect(),
            attention: vec![kind; rows.len()],
            ..Call::default()
        };
        let mut states: Vec<Vec<Tensor>> = rows.iter().map(|_| Vec::new()).collect();
        let mut course = Course::begin(decoder, &mut pass, &call)?;
        course.rotate(&mut pass)?;
        for layer in 0..about.layers.len() {
            course.prepare(layer, &mut pass)?;
            course.record(&pass, &mut states)?;
            course.run(layer, &mut pass)?;
            rest();
        }
        course.record(&pass, &mut states)?;
        let shape = course.shape;
        let caches = call.caches.into_iter().flatten();
        // Each is dropped at its own time.
        caches.clone().try_for_each(|cache| cache.keep_own())?;
        Ok(states.into_iter().zip(caches).map(|(states, cache)| Self { states, cache, shape }).collect())
    }

    /// Returns the bytes that the trunk holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let size = |tensor: &Tensor| tensor.numel() as u64 * tensor.kind().elt_size_in_bytes() as u64;
        self.states.iter().map(size).sum::<u64>() + self.cache.bytes()
    }

    /// Returns the bytes that the trunk of a row of so many tokens will hold, where a token has so many numbers of keys and
    /// values in each layer.
    #[must_use]
    pub fn estimate(about: &Description, width: i64, kept: i64, length: i64) -> u64 {
        let layers = i64::try_from(about.layers.len()).unwrap_or(0);
        let numbers = ((layers + 1) * width + layers * kept).cast_unsigned().saturating_mul(length.cast_unsigned());
        numbers.saturating_mul(about.kind.elt_size_in_bytes() as u64)
    }

    fn state(&self, layer: usize) -> Result<&Tensor> {
        self.states.get(layer).ok_or_else(|| Raise::runtime_error("a kept row lacks a layer").into())
    }
}

/// Where the segments of a pass have got to.
pub struct Course<'a> {
    decoder: &'a Decoder,
    call: &'a Call,
    /// What the layers share of whole segments, by segment.
    whole: Shared,
    segments: Vec<Standing>,
    /// What is packed, in order, and what the layers share of it. Empty while everything lies in `segments`.
    pieces: Vec<Piece>,
    packed: Option<Tokens>,
    /// Whole segments as they may have been shown, and the layer that they come before: blocks may write to them until it runs.
    shown: HashMap<usize, (usize, Tensor)>,
    /// Forking segments that somebody looked inside, with rotations of their own: blocks may write to what layers share.
    opened: HashMap<usize, Vec<Option<(Tensor, Tensor)>>>,
    shared: Rc<Shared>,
    ends: Ends,
    /// See [`Trunk::shape`]: of the last layer.
    shape: (i64, u64),
    /// What the last layer returned beside hidden states.
    pub weights: Option<Vec<Tensor>>,
}

enum Standing {
    /// `[rows, length, width]`, while it is not packed.
    Whole(Option<Tensor>),
    Forking(Vec<Row>),
}

/// A row that may equal one computed before.
struct Row {
    trunk: Rc<Trunk>,
    /// The first position that differs; the row's length while none does.
    from: i64,
    /// `[1, length - from, width]`, while it is not packed.
    own: Option<Tensor>,
    cache: Cache,
}

/// What a part of the packed tensor is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Piece {
    segment: usize,
    /// A row's end from a position on; `None` for the whole segment.
    end: Option<(usize, i64)>,
}

impl<'a> Course<'a> {
    /// Embeds what has to be computed from the start.
    pub fn begin(decoder: &'a Decoder, pass: &mut Pass<'_>, call: &'a Call) -> Result<Self> {
        let mut course = Self::lay_out(decoder, pass, call)?;
        if !course.pieces.is_empty() {
            let ids = course.pieces.iter().filter_map(|piece| call.ids.get(piece.segment)).map(Tensor::shallow_clone);
            let words = match &call.flags.alone.embeds {
                Some(embeds) => Words::Embedded(embeds.shallow_clone()),
                None => Words::Ids(ids.collect()),
            };
            course.packed = Some(decoder.embedding.run(pass, words, &course.shared.positions)?);
        }
        Ok(course)
    }

    /// Lays out what has to be computed from the start, which is yet to be embedded.
    pub fn lay_out(decoder: &'a Decoder, pass: &mut Pass<'_>, call: &'a Call) -> Result<Self> {
        let whole = share(decoder, pass, call)?;
        let segments: Vec<Standing> = (0..call.ids.len()).map(|index| Standing::of(call, index)).collect();
        let plain = |(index, segment): (usize, &Standing)| matches!(segment, Standing::Whole(_)).then_some(index);
        let plain: Vec<usize> = segments.iter().enumerate().filter_map(plain).collect();
        let packed = None;
        let shared = whole.only(&plain);
        if !plain.is_empty() {
            pass.layout.parts.retain(|part| part.segment.is_some_and(|segment| plain.contains(&segment.0)));
        }
        let pieces = plain.iter().map(|&segment| Piece { segment, end: None }).collect();
        let ends = Ends::default();
        let (shown, opened, shape, weights) = (HashMap::new(), HashMap::new(), (0, 0), None);
        let shared = Rc::new(shared);
        Ok(Self { decoder, call, whole, segments, pieces, packed, shown, opened, shared, ends, shape, weights })
    }

    /// Computes rotations, once embeddings, masks and positions are what somebody may have made of them.
    pub fn rotate(&mut self, pass: &mut Pass<'_>) -> Result<()> {
        let mut shared = (*self.shared).clone();
        if let Some(hidden) = &self.packed {
            self.decoder.rotate(pass, hidden, &mut shared)?;
        }
        self.adopt(shared)
    }

    /// Takes what layers share of what is packed: masks, positions, rotations.
    pub fn adopt(&mut self, shared: Shared) -> Result<()> {
        let embedded = self.embedded();
        if embedded.len() == self.segments.len() {
            self.whole = shared.clone();
        } else {
            self.whole.take(&embedded, &shared);
            self.whole.rotations = all_rotations(self.decoder, &self.whole, &embedded, &shared.rotations)?;
        }
        self.shared = Rc::new(shared);
        Ok(())
    }

    /// Lists the segments that lie whole in what is packed.
    pub fn embedded(&self) -> Vec<usize> {
        self.pieces.iter().filter(|piece| piece.end.is_none()).map(|piece| piece.segment).collect()
    }

    /// Returns what layers share of what is packed.
    pub fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    pub fn set_shared(&mut self, shared: Shared) {
        self.shared = Rc::new(shared);
    }

    pub fn set_hidden(&mut self, hidden: Tokens) {
        self.packed = Some(hidden);
    }

    /// Returns the packed hidden states.
    pub fn hidden(&self) -> Option<&Tokens> {
        self.packed.as_ref()
    }

    /// Packs what the next layer computes.
    pub fn prepare(&mut self, layer: usize, pass: &mut Pass<'_>) -> Result<()> {
        let site = self.site(layer)?;
        // What the caller collects from every layer has every segment in it.
        let collecting = self.call.flags.collects();
        let mut plan = Vec::with_capacity(self.segments.len());
        for (segment, state) in self.segments.iter().enumerate() {
            if !collecting && !pass.live(SegmentIndex(segment)) {
                continue;
            }
            match state {
                Standing::Whole(_) => plan.push(Piece { segment, end: None }),
                Standing::Forking(rows) => {
                    let wants = pass.wanted_by(SegmentIndex(segment), site);
                    if wants.input || wants.inside {
                        plan.push(Piece { segment, end: None });
                        continue;
                    }
                    let length = self.length(segment);
                    let ends = rows.iter().enumerate().filter(|(_, row)| row.from < length);
                    plan.extend(ends.map(|(index, row)| Piece { segment, end: Some((index, row.from)) }));
                }
            }
        }
        if plan != self.pieces {
            self.unpack(layer, pass)?;
            self.pack(layer, plan, pass)?;
        }
        Ok(())
    }

    /// Runs a layer, and keeps what it was given of together.
    pub fn run_packed(&mut self, layer: usize, pass: &mut Pass<'_>) -> Result<()> {
        let before = self.pieces.clone();
        self.run(layer, pass)?;
        if self.packed.is_some() || before.is_empty() {
            return Ok(());
        }
        // Showing others' rows took it apart, and may have moved where these differ.
        let again = |piece: Piece| match (piece.end, self.segments.get(piece.segment)) {
            (Some((index, _)), Some(Standing::Forking(rows))) => {
                rows.get(index).map(|row| Piece { end: Some((index, row.from)), ..piece })
            }
            _ => Some(piece),
        };
        let plan = before.into_iter().filter_map(again).collect();
        self.pack(layer + 1, plan, pass)
    }

    /// Runs a layer over what is packed, and shows its output to those who wait for nothing else of it.
    pub fn run(&mut self, layer: usize, pass: &mut Pass<'_>) -> Result<()> {
        self.begin_caches(layer);
        if let Some(hidden) = self.packed.take() {
            let form = &self.decoder.about.blueprint.calls.layer;
            let kind = self.decoder.kind(layer);
            let stream = Stream { hidden, shared: Rc::clone(&self.shared), kind, form };
            let outcome = self.decoder.layer(layer, pass, stream);
            // Also where the pass ends in the middle of it.
            self.note_done(pass);
            let Attended { hidden, weights } = outcome?;
            self.packed = Some(hidden);
            self.weights = weights;
        } else {
            self.note_done(pass);
        }
        let site = self.site(layer)?;
        let mut shown = Vec::new();
        for segment in 0..self.segments.len() {
            let Some(Standing::Forking(_)) = self.segments.get(segment) else { continue };
            if self.pieces.contains(&Piece { segment, end: None }) {
                self.note_changes(segment, pass)?;
            } else if pass.wanted_by(SegmentIndex(segment), site).output {
                shown.push(segment);
            }
        }
        self.spread(layer + 1, pass)?;
        if !shown.is_empty() {
            self.unpack(layer + 1, pass)?;
            self.show(layer + 1, &shown, site, pass)?;
        }
        Ok(())
    }

    /// Returns the last hidden states of all segments that are still live, whole, and what they share.
    pub fn end(mut self, pass: &mut Pass<'_>) -> Result<(Tokens, Rc<Shared>)> {
        let collecting = self.call.flags.collects();
        let live = (0..self.segments.len()).filter(|&segment| collecting || pass.live(SegmentIndex(segment)));
        let plan: Vec<Piece> = live.map(|segment| Piece { segment, end: None }).collect();
        if plan != self.pieces {
            let last = self.decoder.about.layers.len();
            self.unpack(last, pass)?;
            self.pack(last, plan, pass)?;
        }
        let hidden = self.packed.ok_or_else(|| Raise::runtime_error("nothing is left of the pass"))?;
        Ok((hidden, self.shared))
    }

    /// Has segments that fork, but are whole in this layer, keep their own keys and values of it, or none if it is left
    /// out.
    fn begin_caches(&self, layer: usize) {
        for piece in self.pieces.iter().filter(|piece| piece.end.is_none()) {
            let forks = matches!(self.segments.get(piece.segment), Some(Standing::Forking(_)));
            let cache = self.call.caches.get(piece.segment).and_then(Option::as_ref);
            cache.filter(|_| forks).into_iter().for_each(|cache| cache.begin(layer));
        }
    }

    /// Notes what a layer computed of each segment, and by which kernels.
    fn note_done(&mut self, pass: &mut Pass<'_>) {
        self.shape = (pass.products.size(pass.layout.tokens()), pass.products.take_class());
        let (size, kernels) = self.shape;
        for (segment, state) in self.segments.iter().enumerate() {
            let live = pass.live(SegmentIndex(segment));
            let Some(done) = pass.done.get_mut(segment) else { continue };
            let own = self.pieces.iter().zip(&pass.layout.parts).filter(|(piece, _)| piece.segment == segment);
            let tokens: i64 = own.map(|(_, part)| part.rows * part.length).sum();
            if tokens > 0 {
                let whole = self.pieces.contains(&Piece { segment, end: None });
                done.layers += 1;
                done.tokens += u64::try_from(tokens).unwrap_or(0);
                done.shapes.add(size, kernels, if whole { Reach::Whole } else { Reach::Ends });
            }
            if let Standing::Forking(rows) = state
                && live
            {
                rows.iter().for_each(|row| done.shapes.add(row.trunk.shape.0, row.trunk.shape.1, Reach::Kept));
            }
        }
    }

    /// Copies the state of each segment of a pass without forks.
    fn record(&self, pass: &Pass<'_>, states: &mut [Vec<Tensor>]) -> Result<()> {
        let Some(packed) = &self.packed else { return Ok(()) };
        for (part, states) in states.iter_mut().enumerate() {
            states.push(Tensor::f_cat(&[pass.segment(packed, part)?], 0)?);
        }
        Ok(())
    }

    fn site(&self, layer: usize) -> Result<Site> {
        let site = self.decoder.about.layers.get(layer).copied();
        site.ok_or_else(|| Raise::index_error(format!("there is no layer {layer}")).into())
    }

    fn length(&self, segment: usize) -> i64 {
        self.call.ids.get(segment).and_then(|ids| ids.size().last().copied()).unwrap_or(0)
    }

    /// Moves where rows of a segment differ to where somebody changed them.
    fn note_changes(&mut self, segment: usize, pass: &mut Pass<'_>) -> Result<()> {
        let written = pass.written(SegmentIndex(segment))?;
        if let Some(Standing::Forking(rows)) = self.segments.get_mut(segment) {
            rows.iter_mut().zip(written).for_each(|(row, written)| row.from = row.from.min(written));
        }
        Ok(())
    }

    /// Has rows computed whole from now on whose packed states before a layer would reach earlier positions.
    fn spread(&mut self, layer: usize, pass: &Pass<'_>) -> Result<()> {
        let later = |piece: &Piece| match (self.segments.get(piece.segment), piece.end) {
            (Some(Standing::Forking(_)), Some((_, from))) => from > 0,
            (Some(Standing::Forking(rows)), None) => rows.iter().any(|row| row.from > 0),
            _ => false,
        };
        let Some(packed) = self.packed.as_ref().filter(|_| self.pieces.iter().any(later)) else { return Ok(()) };
        if let Tokens::Packed(all) = packed
            && tame(all)?
        {
            return Ok(());
        }
        let mut wild = Vec::new();
        for (part, piece) in self.pieces.iter().enumerate().filter(|(_, piece)| later(piece)) {
            let states = pass.segment(packed, part)?;
            if !tame(&states)? {
                wild.push((*piece, states));
            }
        }
        if wild.is_empty() {
            return Ok(());
        }
        for (piece, states) in wild.iter().filter(|(piece, _)| piece.end.is_none()) {
            self.begin_wild_rows(piece.segment, states)?;
        }
        self.unpack(layer, pass)?;
        for (piece, states) in wild {
            if let (Some((index, from)), Some(Standing::Forking(rows))) =
                (piece.end, self.segments.get_mut(piece.segment))
                && let Some(row) = rows.get_mut(index)
            {
                let kept = row.trunk.state(layer)?.f_narrow(1, 0, from)?;
                row.own = Some(Tensor::f_cat(&[&kept, &states], 1)?);
                row.from = 0;
            }
        }
        Ok(())
    }

    /// Lets the rows of a forking segment that hold wild numbers differ from their beginning.
    fn begin_wild_rows(&mut self, segment: usize, whole: &Tensor) -> Result<()> {
        if let Some(Standing::Forking(rows)) = self.segments.get_mut(segment) {
            for (index, row) in (0_i64..).zip(rows) {
                if row.from > 0 && !tame(&whole.f_narrow(0, index, 1)?)? {
                    row.from = 0;
                }
            }
        }
        Ok(())
    }

    /// Shows whole segments that were not computed whole.
    fn show(&mut self, layer: usize, segments: &[usize], site: Site, pass: &mut Pass<'_>) -> Result<()> {
        let mut layout = Layout::default();
        let mut wholes = Vec::with_capacity(segments.len());
        for &segment in segments {
            let whole = self.assemble(layer, segment)?;
            let size = whole.size();
            let (rows, length) = (size.first().copied().unwrap_or(0), size.get(1).copied().unwrap_or(0));
            layout.parts.push(Part { segment: Some(SegmentIndex(segment)), rows, length });
            wholes.push(whole);
        }
        let seen = pass.exit_parts(site, &layout, &wholes)?;
        for ((&segment, before), after) in segments.iter().zip(&wholes).zip(seen) {
            if after.size() != before.size() {
                let (given, expected) = (after.size(), before.size());
                let message =
                    format!("the value assigned has shape {given:?}, but the model computes with {expected:?}");
                return Err(Raise::runtime_error(message).into());
            }
            self.note_changes(segment, pass)?;
            if !tame(&after)? {
                self.begin_wild_rows(segment, &after)?;
            }
            self.place(segment, &after)?;
            self.shown.insert(segment, (layer, after));
        }
        Ok(())
    }

    /// Returns a segment's state before a layer: `[rows, length, width]`, in memory of its own where it forks.
    fn assemble(&self, layer: usize, segment: usize) -> Result<Tensor> {
        let missing = || Raise::runtime_error("a segment got lost between layers");
        match self.segments.get(segment) {
            Some(Standing::Whole(Some(tensor))) => Ok(tensor.shallow_clone()),
            Some(Standing::Forking(rows)) => {
                if let Some((_, shown)) = self.shown.get(&segment).filter(|(before, _)| *before == layer) {
                    return Ok(shown.shallow_clone());
                }
                let mut parts = Vec::with_capacity(rows.len());
                for row in rows {
                    let kept = row.trunk.state(layer)?;
                    let start = if row.from > 0 { Some(kept.f_narrow(1, 0, row.from)?) } else { None };
                    let pieces: Vec<&Tensor> = start.iter().chain(&row.own).collect();
                    parts.push(Tensor::f_cat(&pieces, 1)?);
                }
                Ok(if let [only] = parts.as_slice() { only.shallow_clone() } else { Tensor::f_cat(&parts, 0)? })
            }
            _ => Err(missing().into()),
        }
    }

    /// Takes a segment's state, `[rows, length, width]`.
    fn place(&mut self, segment: usize, tensor: &Tensor) -> Result<()> {
        let length = self.length(segment);
        match self.segments.get_mut(segment) {
            Some(Standing::Whole(slot)) => *slot = Some(tensor.shallow_clone()),
            Some(Standing::Forking(rows)) => {
                for (index, row) in (0_i64..).zip(rows) {
                    row.own = match length - row.from {
                        0 => None,
                        rest => Some(tensor.f_narrow(0, index, 1)?.f_narrow(1, row.from, rest)?),
                    };
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Takes the packed tensor apart, which holds the states before a layer.
    fn unpack(&mut self, layer: usize, pass: &Pass<'_>) -> Result<()> {
        let Some(packed) = self.packed.take() else { return Ok(()) };
        for (part, piece) in std::mem::take(&mut self.pieces).into_iter().enumerate() {
            let tensor = pass.segment(&packed, part)?;
            let Some((index, _)) = piece.end else {
                self.place(piece.segment, &tensor)?;
                self.shown.insert(piece.segment, (layer, tensor));
                continue;
            };
            if let Some(Standing::Forking(rows)) = self.segments.get_mut(piece.segment)
                && let Some(row) = rows.get_mut(index)
            {
                row.own = Some(tensor);
            }
        }
        Ok(())
    }

    /// Packs what a plan says, from the states before a layer.
    fn pack(&mut self, layer: usize, plan: Vec<Piece>, pass: &mut Pass<'_>) -> Result<()> {
        let mut tensors = Vec::with_capacity(plan.len());
        let mut parts = Vec::with_capacity(plan.len());
        for piece in &plan {
            let tensor = match (piece.end, self.segments.get(piece.segment)) {
                (Some((index, _)), Some(Standing::Forking(rows))) => {
                    rows.get(index).and_then(|row| row.own.as_ref()).map(Tensor::shallow_clone)
                }
                _ => Some(self.assemble(layer, piece.segment)?),
            };
            let tensor = tensor.ok_or_else(|| Raise::runtime_error("a row got lost between layers"))?;
            let size = tensor.size();
            parts.push(Part {
                segment: piece.end.is_none().then_some(SegmentIndex(piece.segment)),
                rows: size.first().copied().unwrap_or(0),
                length: size.get(1).copied().unwrap_or(0),
            });
            tensors.push(tensor);
        }
        pass.layout.parts = parts;
        self.packed = if tensors.is_empty() { None } else { Some(pass.gather(tensors)?) };
        self.shared = Rc::new(self.share(&plan)?);
        self.pieces = plan;
        Ok(())
    }

    fn share(&mut self, plan: &[Piece]) -> Result<Shared> {
        let mut shared = self.whole.only(&[]);
        let mut caches = Vec::with_capacity(plan.len());
        let ropes = self.whole.rotations.len();
        let mut rotations: Vec<(Vec<Tensor>, Vec<Tensor>)> = (0..ropes).map(|_| Default::default()).collect();
        for piece in plan {
            let attention = self.whole.attention.get(piece.segment).copied().unwrap_or_default();
            shared.attention.push(attention);
            self.open(piece)?;
            for (rope, (cosines, sines)) in rotations.iter_mut().enumerate() {
                let Some((cosine, sine)) = self.rotation(rope, piece.segment) else { continue };
                let own = |numbers: Tensor| match piece.end {
                    Some((_, from)) => numbers.f_narrow(1, from, self.length(piece.segment) - from),
                    None => Ok(numbers),
                };
                cosines.push(own(cosine)?);
                sines.push(own(sine)?);
            }
            let Some((index, from)) = piece.end else {
                for (kind, masks) in shared.masks.iter_mut().enumerate() {
                    let own = self.whole.masks.get(kind).and_then(|masks| masks.get(piece.segment));
                    masks.push(own.cloned().flatten());
                }
                shared.positions.extend(self.whole.positions.get(piece.segment).cloned());
                shared.past.push(self.whole.past.get(piece.segment).copied().unwrap_or(0));
                caches.push(self.call.caches.get(piece.segment).cloned().flatten());
                continue;
            };
            let length = self.length(piece.segment) - from;
            let about = &self.decoder.about;
            for (kind, masks) in shared.masks.iter_mut().enumerate() {
                let extent = Extent { rows: 1, length, past: from, window: self.whole.window(kind) };
                let mask = self.whole.mask(kind, piece.segment).filter(|_| self.opened.contains_key(&piece.segment));
                masks.push(match mask {
                    Some(mask) => {
                        let row = mask.f_narrow(0, i64::try_from(index).unwrap_or(0), 1)?.f_narrow(2, from, length)?;
                        Some(Rc::new(row.f_narrow(3, from - extent.kept(), extent.kept() + length)?))
                    }
                    None => self.ends.mask(attention, extent, about)?,
                });
            }
            shared.positions.push(self.ends.positions(from, length, about.device)?);
            shared.past.push(from);
            caches.push(match self.segments.get(piece.segment) {
                Some(Standing::Forking(rows)) => rows.get(index).map(|row| row.cache.clone()),
                _ => None,
            });
        }
        shared.caches = Caches::some(&caches, self.decoder.about.blueprint.paired_caches);
        let made = |(cosines, sines)| Some(Rc::new(Rotations::new(cosines, sines)));
        shared.rotations = rotations.into_iter().map(made).collect();
        Ok(shared)
    }

    /// Notes that somebody looks inside a forking segment. Segments of one length share rotations until then.
    fn open(&mut self, piece: &Piece) -> Result<()> {
        let forks = matches!(self.segments.get(piece.segment), Some(Standing::Forking(_)));
        if forks && piece.end.is_none() && !self.opened.contains_key(&piece.segment) {
            let mut all = Vec::with_capacity(self.whole.rotations.len());
            for rope in 0..self.whole.rotations.len() {
                all.push(match self.rotation(rope, piece.segment) {
                    Some((cosine, sine)) => Some((Tensor::f_cat(&[cosine], 0)?, Tensor::f_cat(&[sine], 0)?)),
                    None => None,
                });
            }
            self.opened.insert(piece.segment, all);
        }
        Ok(())
    }

    fn rotation(&self, rope: usize, segment: usize) -> Option<(Tensor, Tensor)> {
        let all = self.whole.rotations.get(rope)?.as_ref()?;
        let shared = (all.cosines.get(segment)?, all.sines.get(segment)?);
        let own = self.opened.get(&segment).and_then(|own| own.get(rope)?.as_ref());
        let (cosine, sine) = own.map_or(shared, |(cosine, sine)| (cosine, sine));
        Some((cosine.shallow_clone(), sine.shallow_clone()))
    }
}

/// Numbers up to here have finite squares, so that norms and attention make finite numbers of them.
const TAME: f64 = 1e18;

/// Returns whether states have nothing in them that attention would carry to earlier positions: it hides later ones by
/// multiplying their values by zero, which infinities and NaN survive.
fn tame(states: &Tensor) -> Result<bool> {
    let (least, most) = states.f_aminmax(None, false)?;
    // Read at once, since a GPU is waited for here. Whatever NaN is compared with, the greater is NaN, and below nothing.
    Ok(f64::try_from(least.f_neg()?.f_maximum(&most)?)? < TAME)
}

impl Standing {
    fn of(call: &Call, index: usize) -> Self {
        let trunks = call.trunks.get(index).map(Vec::as_slice).unwrap_or_default();
        let cache = call.caches.get(index).and_then(Option::as_ref);
        let (false, Some(cache)) = (trunks.is_empty(), cache) else { return Self::Whole(None) };
        let length = call.ids.get(index).and_then(|ids| ids.size().last().copied()).unwrap_or(0);
        let row = |trunk: &Rc<Trunk>| Row {
            from: length,
            own: None,
            cache: Cache::after(vec![trunk.cache.clone()]),
            trunk: Rc::clone(trunk),
        };
        let rows: Vec<Row> = trunks.iter().map(row).collect();
        // Layers that the segment is not computed in have the keys and values of its rows.
        cache.follow(rows.iter().map(|row| row.cache.clone()).collect());
        Self::Forking(rows)
    }
}

/// Returns the rotations of all segments, by rope: those that were embedded have theirs.
fn all_rotations(
    decoder: &Decoder,
    whole: &Shared,
    embedded: &[usize],
    known: &[Option<Rc<Rotations>>],
) -> Result<Vec<Option<Rc<Rotations>>>> {
    let Some(rotary) = &decoder.rotary else { return Ok(Vec::new()) };
    let empty = || Rotations::new(Vec::new(), Vec::new());
    let mut all: Vec<Rotations> = rotary.ropes.iter().map(|_| empty()).collect();
    let mut computed: HashMap<i64, Vec<Option<Rc<Rotations>>>> = HashMap::new();
    for (segment, positions) in whole.positions.iter().enumerate() {
        let own = embedded.iter().position(|&index| index == segment).filter(|_| !known.is_empty());
        // Rows that fork count their positions from zero: equal lengths have equal rotations.
        let length = positions.size().last().copied().unwrap_or(0);
        let (made, at) = match own {
            Some(at) => (known, at),
            None => match computed.entry(length) {
                Entry::Occupied(known) => (known.into_mut().as_slice(), 0),
                Entry::Vacant(place) => {
                    (place.insert(rotary.compute_all(std::slice::from_ref(positions))?).as_slice(), 0)
                }
            },
        };
        for (all, made) in all.iter_mut().zip(made) {
            if let Some(made) = made
                && let (Some(cosine), Some(sine)) = (made.cosines.get(at), made.sines.get(at))
            {
                all.cosines.push(cosine.shallow_clone());
                all.sines.push(sine.shallow_clone());
            }
        }
    }
    Ok(all.into_iter().map(|made| Some(Rc::new(made))).collect())
}

/// How attention is computed, where the end of a row begins, how long it is, and the window.
type Meeting = (Attention, i64, i64, Option<i64>);

/// Masks and positions of the ends of rows, by where they begin and how long they are.
#[derive(Default)]
struct Ends {
    masks: HashMap<Meeting, Option<Rc<Tensor>>>,
    positions: HashMap<(i64, i64), Rc<Tensor>>,
}

impl Ends {
    fn mask(&mut self, attention: Attention, extent: Extent, about: &Description) -> Result<Option<Rc<Tensor>>> {
        let key = (attention, extent.past, extent.length, extent.window);
        if let Some(mask) = self.masks.get(&key) {
            return Ok(mask.clone());
        }
        // Rows fork of causal models alone.
        let mask = attention::mask(attention, (extent, Sight::default()), (None, None), about)?.map(Rc::new);
        self.masks.insert(key, mask.clone());
        Ok(mask)
    }

    fn positions(&mut self, from: i64, length: i64, device: Device) -> Result<Rc<Tensor>> {
        if let Some(positions) = self.positions.get(&(from, length)) {
            return Ok(Rc::clone(positions));
        }
        let positions = number::range(from, from + length, device)?.f_unsqueeze(0)?;
        let positions = Rc::new(positions);
        self.positions.insert((from, length), Rc::clone(&positions));
        Ok(positions)
    }
}
