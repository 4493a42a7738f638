//! Parts of a pass that attend in one call.
//!
//! A call for each part costs more than its arithmetic where parts are short. On a GPU, parts of any lengths attend as
//! sequences that lie end to end. On a CPU, adjacent parts of one form that have nothing before them are rows of one batch
//! to the kernel, which computes each head of each row by itself, at the same sizes and steps as alone. Either way the bits
//! are those that a part gets alone.

use std::rc::Rc;

use engine::{Attention, Part, Site};
use interpreter::raise::Raise;
use kernels::varlen::{self, Known};
use tch::{Device, Kind, TchError, Tensor};

use crate::attention::{Extent, Scores, attend, mix, weigh};
use crate::cache::{Cache, Layer, Place};
use crate::decoder::{Attended, Shared};
use crate::family::Turn;

use crate::nn::Dropout;
use crate::pass::{Parts, Pass, Result, no_part};
use crate::room::{Lodged, Room};
use crate::rope;
use crate::rotary::Rotations;
use crate::tokens::Tokens;

/// Adjacent parts of a pass that attend in one call.
pub struct Span {
    pub first: usize,
    pub parts: usize,
    /// Of all parts together, as their tensors are viewed: those of a flat span are one row.
    pub rows: i64,
    pub length: i64,
    packing: Packing,
}

/// Which parts can attend with others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    /// With none.
    Alone,
    /// Those with as many rows of the same length, as one batch.
    Batch { rows: i64, length: i64 },
    /// Those of any lengths, end to end; or those of one token each, which kernels treat otherwise.
    Flat { single: bool },
}

/// An attention module: its site, its layer, and the layer's kind.
pub struct At {
    pub site: Site,
    pub layer: usize,
    pub kind: usize,
}

impl Span {
    /// Makes the span of one part.
    pub fn alone(first: usize, part: Part) -> Self {
        Self { first, parts: 1, rows: part.rows, length: part.length, packing: Packing::Alone }
    }

    /// Takes what the span's queries attended to. Where masks or rotations are of more rows, there are more of it than
    /// queries.
    fn keeps_rows(&self, attended: Tensor) -> Result<Tensor> {
        match attended.size().first() {
            Some(&rows) if rows != self.rows && !self.is_flat() => Err(Raise::runtime_error(format!(
                "{} rows of hidden states were assigned where the trace's masks and positions are of {rows}",
                self.rows
            ))
            .into()),
            _ => Ok(attended),
        }
    }

    /// Returns whether all parts lie end to end in one row.
    pub fn is_flat(&self) -> bool {
        matches!(self.packing, Packing::Flat { .. })
    }
}

impl Shared {
    /// Lets what was projected attend, one call for each span. `heads` makes queries, keys and values of a span, as
    /// `[rows, heads, length, head_dim]`.
    pub fn attend(
        &self,
        pass: &mut Pass<'_>,
        at: &At,
        projected: &[&Tokens],
        scores: &Scores,
        heads: impl Fn(&Pass<'_>, &Span) -> Result<[Tensor; 3]>,
    ) -> Result<Attended> {
        let eager = self.attention.first() == Some(&Attention::Eager);
        if let Some(dropout) = scores.dropout.as_ref().filter(|dropout| {
            let wants = pass.wants(dropout.site);
            eager && (wants.input || wants.output)
        }) {
            return self.attend_apart(pass, at, projected, (scores, dropout), heads);
        }
        let (mut attended, mut weights) = (Vec::with_capacity(pass.layout.parts.len()), Vec::new());
        for span in self.spans(pass, at, projected)? {
            let own = || self.attend_span(pass, at, &span, heads(pass, &span)?, scores);
            let (hidden, own_weights) = pass.paid(span.first, own)?;
            attended.push(hidden);
            weights.extend(own_weights);
        }
        let complete = weights.len() == attended.len();
        Ok(Attended { hidden: pass.join(attended)?, weights: complete.then_some(weights) })
    }

    /// The same where somebody looks at weights between two steps.
    fn attend_apart(
        &self,
        pass: &mut Pass<'_>,
        at: &At,
        projected: &[&Tokens],
        (scores, dropout): (&Scores, &Dropout),
        heads: impl Fn(&Pass<'_>, &Span) -> Result<[Tensor; 3]>,
    ) -> Result<Attended> {
        let (mut weights, mut values) = (Vec::new(), Vec::new());
        let spans = self.spans(pass, at, projected)?;
        for span in &spans {
            let (own, value) = pass.paid(span.first, || {
                let [query, keys, value] = heads(pass, span)?;
                let (keys, value) = self.seen(pass, at, span, keys, value)?;
                Ok((weigh(&query, &keys, &value, self.mask(at.kind, span.first), scores)?, value))
            })?;
            weights.push(own);
            values.push(value);
        }
        let Parts(weights) = pass.module(dropout.site, Parts(weights), |_, weights| Ok(weights))?;
        let mut attended = Vec::with_capacity(values.len());
        for (part, (weights, value)) in weights.iter().zip(&values).enumerate() {
            let mixed = pass.paid(part, || Ok(mix(weights, value)?))?;
            attended.push(match spans.get(part) {
                Some(span) => span.keeps_rows(mixed)?,
                None => mixed,
            });
        }
        Ok(Attended { hidden: pass.join(attended)?, weights: Some(weights) })
    }

    /// Cuts a pass into spans.
    pub fn spans(&self, pass: &Pass<'_>, at: &At, projected: &[&Tokens]) -> Result<Vec<Span>> {
        if let Some(span) = of_another_form(pass, projected)? {
            return Ok(vec![span]);
        }
        let mut spans: Vec<Span> = Vec::with_capacity(pass.layout.parts.len());
        let packed = if let Some(Tokens::Packed(tensor)) = projected.first() { Some(tensor) } else { None };
        let fits = |known: &Known, tokens: &Tokens| tokens.kind().is_ok_and(|kind| kind == known.kind);
        let flat = self.varlen.as_ref().is_some_and(|known| projected.iter().all(|tokens| fits(known, tokens)));
        for (index, part) in pass.layout.parts.iter().enumerate() {
            let packing = packed.map_or(Packing::Alone, |tensor| self.packing(pass, at, index, tensor, flat));
            match (packing, spans.last_mut()) {
                (Packing::Flat { .. }, Some(span)) if span.packing == packing => {
                    span.parts += 1;
                    span.length += part.rows * part.length;
                }
                (Packing::Batch { .. }, Some(span)) if span.packing == packing => {
                    span.parts += 1;
                    span.rows += part.rows;
                }
                _ => {
                    let flat = matches!(packing, Packing::Flat { .. });
                    let (rows, length) = if flat { (1, part.rows * part.length) } else { (part.rows, part.length) };
                    spans.push(Span { first: index, parts: 1, rows, length, packing });
                }
            }
        }
        Ok(spans)
    }

    fn packing(
        &self,
        pass: &Pass<'_>,
        &At { site, layer, kind }: &At,
        index: usize,
        projected: &Tensor,
        flat: bool,
    ) -> Packing {
        let sdpa = self.attention.get(index).copied().unwrap_or_default() == Attention::Sdpa;
        let Some(&part) = pass.layout.parts.get(index) else { return Packing::Alone };
        let turned = |own: &Rotations| own.are_made(index, part, projected);
        if !sdpa || self.mask(kind, index).is_some() || !self.rotations(kind).is_none_or(turned) {
            return Packing::Alone;
        }
        if flat {
            return Packing::Flat { single: part.length == 1 };
        }
        let begins = |cache: &Cache| cache.begins(layer, part.length) && !pass.leaves_out(&part, site);
        if batches(projected) && self.cache(index).is_some_and(begins) {
            return Packing::Batch { rows: part.rows, length: part.length };
        }
        Packing::Alone
    }

    /// Puts a span's new keys and values into its caches, and lets its queries attend to all that these have. Returns what
    /// [`attend`] does.
    fn attend_span(
        &self,
        pass: &Pass<'_>,
        at: &At,
        span: &Span,
        [query, keys, values]: [Tensor; 3],
        scores: &Scores,
    ) -> Result<(Tensor, Option<Tensor>)> {
        if let (true, Some(known)) = (span.is_flat(), &self.varlen) {
            // `[tokens, heads, head_dim]`.
            let flat = |own: &Tensor| own.f_transpose(1, 2)?.f_squeeze_dim(0);
            let states = Flat { query: flat(&query)?, keys: flat(&keys)?, values: flat(&values)?, both: None };
            return Ok((self.attend_flat(pass, at, span, states, scores.scaling, known)?, None));
        }
        let (keys, values) = self.seen(pass, at, span, keys, values)?;
        let attention = self.attention.get(span.first).copied().unwrap_or_default();
        let rest = || pass.rest();
        let (hidden, weights) =
            attend(attention, &query, &keys, &values, self.sees(at.kind, span.first), scores, &rest)?;
        Ok((span.keeps_rows(hidden)?, weights))
    }

    /// Puts a span's new keys and values into its caches, and returns those that its queries may see.
    ///
    /// # Errors
    /// When they do not fit what is there.
    pub fn seen(
        &self,
        pass: &Pass<'_>,
        at: &At,
        span: &Span,
        keys: Tensor,
        values: Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let length = keys.size().get(2).copied().unwrap_or(0);
        let (keys, values) = self.update(pass, at, span, keys, values)?;
        let past = keys.size().get(2).copied().unwrap_or(length) - length;
        let extent = Extent { rows: span.rows, length, past, window: self.window(at.kind) };
        Ok((extent.seen(keys)?, extent.seen(values)?))
    }

    /// Returns a part's cache; what a segment skips leaves no keys and values behind.
    fn filled(&self, pass: &Pass<'_>, site: Site, part: usize) -> Option<&Cache> {
        let own = pass.layout.parts.get(part)?;
        self.cache(part).filter(|_| !pass.leaves_out(own, site))
    }

    fn update(
        &self,
        pass: &Pass<'_>,
        &At { site, layer, .. }: &At,
        span: &Span,
        keys: Tensor,
        values: Tensor,
    ) -> Result<(Tensor, Tensor)> {
        if span.parts == 1 {
            return Ok(match self.filled(pass, site, span.first) {
                Some(cache) => cache.update(layer, &keys, &values)?,
                None => (keys, values),
            });
        }
        // A copy, as a cache makes it: at the same steps, and out of extent of later edits of the projections' outputs.
        let all = Rc::new((Tensor::f_cat(&[keys], -2)?, Tensor::f_cat(&[values], -2)?));
        let rows = span.rows / i64::try_from(span.parts).unwrap_or(1);
        for (part, first) in (span.first..span.first + span.parts).zip(0..) {
            if let Some(cache) = self.cache(part) {
                cache.place(layer, &all, Place::Rows { first: first * rows, rows });
            }
        }
        Ok((all.0.shallow_clone(), all.1.shallow_clone()))
    }

    /// Lets queries attend that lie end to end, of all parts of a span.
    pub fn attend_flat(
        &self,
        pass: &Pass<'_>,
        &At { site, layer, .. }: &At,
        span: &Span,
        new: Flat,
        scaling: f64,
        known: &Known,
    ) -> Result<Tensor> {
        let mut members = Vec::with_capacity(span.parts);
        for part in span.first..span.first + span.parts {
            let &Part { rows, length, .. } = pass.layout.parts.get(part).ok_or_else(no_part)?;
            let cache = self.filled(pass, site, part);
            let before = cache.map(|cache| cache.before(layer, length)).transpose()?.flatten();
            let past = before.as_ref().and_then(|(keys, _)| keys.size().get(2).copied()).unwrap_or(0);
            members.push(Member { rows, length, past, before, cache });
        }
        let lengths = |length: fn(&Member<'_>) -> i64| -> Vec<i64> {
            let each = |member| std::iter::repeat_n(length(member), usize::try_from(member.rows).unwrap_or(0));
            members.iter().flat_map(each).collect()
        };
        let totals = lengths(|member| member.past + member.length);
        let queries = known.of(lengths(|member| member.length), new.query.device())?;
        let ((keys, values), sequences) = match Member::lodge(&members, layer, &new)? {
            Some(room) => {
                let begins = (0..).zip(&totals).map(|(sequence, &total)| room.begin(sequence, total)).collect();
                (room.layer()?, known.within(begins, totals, new.query.device())?)
            }
            None => (Member::join_all(&members, layer, &new)?, known.of(totals, new.query.device())?),
        };
        let attended = varlen::attend([&new.query, &keys, &values], [&*queries, &*sequences], scaling, known)?;
        let (rows, length) = match pass.layout.parts.as_slice() {
            [only] => (only.rows, only.length),
            _ => (1, span.length),
        };
        Ok(attended.f_reshape([rows, length, -1])?)
    }
}

/// Returns the span of a part that has the pass to itself and that a block gave on in another form: with more rows, say.
///
/// # Errors
/// `ValueError` for so many tokens that others would wait for them longer than for any other pass.
fn of_another_form(pass: &Pass<'_>, projected: &[&Tokens]) -> Result<Option<Span>> {
    let [part] = pass.layout.parts.as_slice() else { return Ok(None) };
    let tensor = match projected.first() {
        Some(Tokens::Packed(tensor)) => tensor,
        Some(Tokens::Apart(parts)) => parts.first().ok_or_else(no_part)?,
        None => return Ok(None),
    };
    let (rows, length) = match *tensor.size() {
        [rows, length, _, ..] if (rows, length) != (part.rows, part.length) => (rows, length),
        _ => return Ok(None),
    };
    let most = if tensor.device() == Device::Cpu { MOST_ON_A_CPU } else { MOST_ON_A_GPU };
    let (tokens, own) = (rows.saturating_mul(length), part.rows.saturating_mul(part.length));
    if tokens > most.max(own) {
        return Err(Raise::value_error(format!(
            "{rows} rows of {length} positions were assigned where the trace has {} of {}: this server computes at most \
             {most} tokens so; make the rows prompts of the trace, which may be as many as you like",
            part.rows, part.length
        ))
        .into());
    }
    Ok(Some(Span { first: 0, parts: 1, rows, length, packing: Packing::Alone }))
}

/// Tokens of a value of another form, which nobody knew of when the pass began. As many as different jobs share a pass up to.
const MOST_ON_A_CPU: i64 = 256;
const MOST_ON_A_GPU: i64 = 4096;

/// New queries, keys and values of a flat span: `[tokens, heads, head_dim]`.
pub struct Flat {
    pub query: Tensor,
    pub keys: Tensor,
    pub values: Tensor,
    /// Keys and values, where they lie together: `[tokens, 2, key_heads, head_dim]`.
    pub both: Option<Tensor>,
}

/// A part of a flat span, whose rows are sequences of their own.
struct Member<'a> {
    rows: i64,
    length: i64,
    /// Tokens of each row before the new ones.
    past: i64,
    before: Option<Layer>,
    cache: Option<&'a Cache>,
}

impl Member<'_> {
    /// Puts each row's new keys, or values, behind those that it has.
    /// A copy, out of extent of later edits of the projections' outputs. Each head's lie end to end.
    fn join(members: &[Self], new: &Tensor, of: fn(&Layer) -> &Tensor) -> Result<Tensor> {
        if members.iter().all(|member| member.before.is_none()) {
            return Ok(Tensor::f_cat(&[new.f_transpose(0, 1)?], 1)?.f_transpose(0, 1)?);
        }
        let (mut pieces, mut at) = (Vec::new(), 0);
        for member in members {
            for row in 0..member.rows {
                if let Some(before) = &member.before {
                    pieces.push(of(before).f_select(0, row)?);
                }
                pieces.push(new.f_narrow(0, at, member.length)?.f_transpose(0, 1)?);
                at += member.length;
            }
        }
        Ok(Tensor::f_cat(&pieces, 1)?.f_transpose(0, 1)?)
    }

    /// The same of keys and values, which caches keep their parts of.
    fn join_all(members: &[Self], layer: usize, new: &Flat) -> Result<Layer> {
        let keys = Self::join(members, &new.keys, |before| &before.0)?;
        let all = Rc::new((keys, Self::join(members, &new.values, |before| &before.1)?));
        let mut first = 0;
        for &Self { rows, length, past, cache, .. } in members {
            if let Some(cache) = cache {
                cache.place(layer, &all, Place::Tokens { first, rows, length: past + length });
            }
            first += rows * (past + length);
        }
        Ok((all.0.shallow_clone(), all.1.shallow_clone()))
    }

    /// Puts what is new where the members' sequences grow together: where they do so already, or in a new room, which takes copies
    /// of all that they have. `None` where they do not take the same step of generations, or differ too much in length.
    fn lodge(members: &[Self], layer: usize, new: &Flat) -> Result<Option<Rc<Room>>> {
        let Some(length) = members.first().map(|member| member.length) else { return Ok(None) };
        if members.iter().any(|member| member.length != length || member.cache.is_none()) {
            return Ok(None);
        }
        let states = [&new.keys, &new.values];
        let room = match Self::shared_room(members, layer).filter(|room| room.has_room(length)) {
            Some(room) => {
                room.append(states, new.both.as_ref(), length)?;
                room
            }
            None => {
                let total = |member: &Self| member.past + member.length;
                let to_come = |member: &Self| member.cache.map_or(0, |cache| cache.still_to_come(total(member)));
                let more = members.iter().map(to_come).min().unwrap_or(0);
                let longest = members.iter().map(total).max().unwrap_or(0);
                let rows = members.iter().map(|member| member.rows).sum::<i64>();
                let used = members.iter().map(|member| member.rows * total(member)).sum::<i64>();
                // What lies idle before shorter sequences is at most as much as what is used.
                if more == 0 || rows * longest > 2 * used || members.iter().all(|member| member.before.is_none()) {
                    return Ok(None);
                }
                let mut sequences = Vec::new();
                for member in members {
                    for row in 0..member.rows {
                        let own = |(keys, values): &Layer| {
                            Ok::<_, TchError>((keys.f_select(0, row)?, values.f_select(0, row)?))
                        };
                        sequences.push(member.before.as_ref().map(own).transpose()?);
                    }
                }
                Rc::new(Room::new(&sequences, states, more.min(longest))?)
            }
        };
        let mut first = 0;
        for &Self { rows, length, past, cache, .. } in members {
            if let Some(cache) = cache {
                cache.lodge(layer, &room, Lodged { first, rows, length: past + length, end: room.end() });
            }
            first += rows;
        }
        Ok(Some(room))
    }

    /// Returns the room whose sequences are just the members', all of them.
    fn shared_room(members: &[Self], layer: usize) -> Option<Rc<Room>> {
        let (mut shared, mut next): (Option<Rc<Room>>, _) = (None, 0);
        for member in members {
            let (room, lodged) = member.cache?.lodged(layer)?;
            let alike = shared.as_ref().is_none_or(|shared| Rc::ptr_eq(shared, &room));
            let whole = lodged.end == room.end() && lodged.length == member.past && lodged.rows == member.rows;
            if !alike || !whole || lodged.first != next {
                return None;
            }
            next += lodged.rows;
            shared = Some(room);
        }
        shared.filter(|room| room.sequences() == next)
    }
}

impl Rotations {
    /// Returns whether a part's are as the model makes them: a user may have put others there.
    fn are_made(&self, index: usize, part: Part, like: &Tensor) -> bool {
        let made = |own: &Tensor| {
            let [rows, length, _] = *own.size() else { return false };
            let fits = (rows == 1 || rows == part.rows) && length == part.length;
            fits && (own.kind() == like.kind() || own.kind() == Kind::Float) && own.device() == like.device()
        };
        self.cosines.get(index).is_some_and(made) && self.sines.get(index).is_some_and(made)
    }

    /// Returns the [`rope::table`] of a span of all parts, if there are any cosines and sines. It is made once, unless somebody writes
    /// to these.
    pub fn table(&self, pass: &Pass<'_>, span: &Span, by: Turn, half: bool) -> Result<Option<Tensor>> {
        let writes = self.cosines.iter().chain(&self.sines).map(libtorch::writes).sum();
        if let Some((_, table)) = self.table.borrow().as_ref().filter(|(known, _)| *known == writes) {
            return Ok(Some(table.shallow_clone()));
        }
        let Some((cosine, sine)) = self.of(pass, span)? else { return Ok(None) };
        let table = rope::table(&cosine, &sine, by, half)?;
        *self.table.borrow_mut() = Some((writes, table.shallow_clone()));
        Ok(Some(table))
    }

    /// Returns the cosines and sines of a span, if there are any.
    pub fn of(&self, pass: &Pass<'_>, span: &Span) -> Result<Option<(Tensor, Tensor)>> {
        let parts = span.first..span.first + span.parts;
        let (Some(cosines), Some(sines)) = (self.cosines.get(parts.clone()), self.sines.get(parts.clone())) else {
            return Ok(None);
        };
        let layouts = pass.layout.parts.get(parts).unwrap_or_default();
        if let ([cosine], [sine], [Part { rows, .. }]) = (cosines, sines, layouts)
            && !(span.is_flat() && *rows > 1)
        {
            return Ok(Some((cosine.shallow_clone(), sine.shallow_clone())));
        }
        let all = |own: &[Tensor]| -> Result<Tensor> {
            let mut rows = Vec::with_capacity(own.len());
            for (one, part) in own.iter().zip(layouts) {
                let each = one.f_expand([part.rows, -1, -1], false)?;
                rows.push(if span.is_flat() { each.f_reshape([1, part.rows * part.length, -1])? } else { each });
            }
            Ok(Tensor::f_cat(&rows, i64::from(span.is_flat()))?)
        };
        Ok(Some((all(cosines)?, all(sines)?)))
    }
}

/// Returns whether the kernel computes rows of a batch as it computes them alone: on a CPU in float32. In smaller types it
/// chooses how to go on by the size of the batch.
fn batches(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.kind() == Kind::Float
}
