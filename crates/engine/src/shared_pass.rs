//! A pass of traces that share one: the model over their segments, what each is handed of the outcome, and what it is charged.

use std::borrow::Borrow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ids::TenantId;
use interpreter::raise::Raise;
use program::Batching;

use crate::common::Common;
use crate::contract::Usage;
use crate::metrics::{Phases, Tokens};
use crate::model::{Drawn, Forwarded, Interrupt, Model, Segment, SegmentIndex};
use crate::pacing::Pacing;
use crate::pass::Pass;
use crate::run::Ending;
use crate::shares::{Load, Part, Took};
use crate::trace::Trace;
use crate::trunks::Row;
use crate::turn::Turn;

/// A trace that takes part in a pass.
pub struct Member<'a, M: Model> {
    /// Its job's place among the active ones.
    pub index: usize,
    pub tenant: TenantId,
    pub alone: bool,
    pub batching: Batching,
    pub trace: &'a mut Trace<M>,
}

/// A pass before it has run.
pub struct SharedPass<'a, M: Model> {
    common: &'a Common<M>,
    members: Vec<Member<'a, M>>,
    pacing: Option<Rc<Pacing<M>>>,
    /// Who else is in the pass is paused when its first job is: that one's clock measures it.
    clock: Rc<Turn>,
    began: Duration,
    started: Instant,
}

/// What a pass came to.
pub struct Passed {
    /// In the members' order.
    pub told: Vec<Told>,
    pub took: Took,
    pub started: Instant,
}

/// What it came to for one of its members.
pub struct Told {
    /// Its job's place among the active ones.
    pub index: usize,
    pub usage: Usage,
    pub part: Part,
    /// Its job has to run by itself.
    pub apart: bool,
    /// Its job's own code took longer than it may while others wait.
    pub late: bool,
}

impl Borrow<Part> for Told {
    fn borrow(&self) -> &Part {
        &self.part
    }
}

impl<'a, M: Model> SharedPass<'a, M> {
    /// Begins a pass of some traces; `None` of none. One that takes `long` is left now and then.
    pub fn of(common: &'a Common<M>, members: Vec<Member<'a, M>>, long: bool) -> Option<Self> {
        members.iter().for_each(|member| member.trace.run.job.turn.begin());
        let clock = Rc::clone(&members.first()?.trace.run.job.turn);
        let pacing = long.then(|| Rc::new(Pacing::new(&common.model, &clock, common.settings.slice)));
        let began = clock.clock();
        Some(Self { common, members, pacing, clock, began, started: Instant::now() })
    }

    /// Runs the model over the members' segments, and hands each its part of the outcome. `forks` says whether they may begin from
    /// what is kept of their rows.
    ///
    /// # Errors
    /// What the arithmetic raises: then nobody has taken part.
    pub fn run(mut self, forks: bool) -> Result<Passed, Raise> {
        let mut segments = self.segments()?;
        if forks {
            self.fork(&mut segments);
        }
        let prepared = self.clock.clock();
        let output = match self.forward(&mut segments) {
            Ok(output) => Some(output),
            Err(Interrupt::Enough) => None,
            Err(Interrupt::Failed(raise)) => {
                self.common.series.failed();
                undo(&mut self.members, segments);
                return Err(raise);
            }
        };
        let Self { common, members, clock, began, started, .. } = self;
        let with_segment = |(member, segment): (_, _)| Served { member, segment, spent: Duration::ZERO, drawn: None };
        let mut served: Vec<Served<'_, M>> = members.into_iter().zip(segments).map(with_segment).collect();
        let blocks: Duration = served.iter().map(|own| own.member.trace.run.busy).sum();
        let computed = clock.clock();
        let tokens = tokens(&served);
        hand_out(common, &clock, &mut served, output.as_ref());
        let counts = Counts::of(common, &served, computed.saturating_sub(began).saturating_sub(blocks));
        let deepest = served.iter().map(|own| own.segment.done.layers).max().unwrap_or_default();
        let told: Vec<Told> = served.into_iter().map(|own| counts.account(own)).collect();
        let all = told.iter().map(|told| told.part.load.blocks).sum();
        let took = Took { time: clock.clock().saturating_sub(began).saturating_sub(all), depth: counts.depth(deepest) };
        let phases = Phases {
            prepare: prepared.saturating_sub(began),
            model: computed.saturating_sub(prepared).saturating_sub(blocks),
            blocks,
            finish: clock.clock().saturating_sub(computed),
        };
        let most = common.settings.shared_tokens.min(common.settings.pass_tokens);
        let charged: Vec<_> = told.iter().map(|told| (told.index, &told.usage)).collect();
        common.series.passed(phases, tokens, &charged, most);
        Ok(Passed { told, took, started })
    }

    fn segments(&mut self) -> Result<Vec<Segment<M::Tensor>>, Raise> {
        let mut segments = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            match member.trace.segment() {
                Ok(segment) => segments.push(Segment { batching: member.batching, ..segment }),
                Err(raise) => {
                    undo(&mut self.members, segments);
                    return Err(raise);
                }
            }
        }
        Ok(segments)
    }

    /// Gives segments what is kept of their rows. That saves work, and no more: where it cannot be had, they are computed.
    fn fork(&self, segments: &mut [Segment<M::Tensor>]) {
        let common = self.common;
        let rows_of = |(member, segment): (&Member<'_, M>, &Segment<M::Tensor>)| {
            // What is kept was computed at shapes of then.
            let forks = !member.alone && member.batching == Batching::Shared;
            let plain = if forks { member.trace.plain_rows() } else { None };
            let row = |ids: Vec<i64>| Row::new(&member.tenant, segment.attention, ids);
            plain.into_iter().flatten().map(row).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<Row>> = self.members.iter().zip(segments.iter()).map(rows_of).collect();
        let bytes = |row: &Row| common.model.trunk_bytes(i64::try_from(row.ids.len()).unwrap_or(i64::MAX));
        let wanted = common.trunks.borrow_mut().want(&rows, bytes);
        // Others may come and go while these are computed.
        let rest = || self.pacing.iter().for_each(|pacing| pacing.pause_if_late());
        let computed = wanted.missing().map(|(rows, attention)| common.model.trunks(&rows, attention, &rest));
        let computed = computed.map(Result::unwrap_or_default).collect();
        for (segment, own) in segments.iter_mut().zip(common.trunks.borrow_mut().find(&rows, &wanted, computed)) {
            segment.trunks = own;
        }
    }

    fn forward(&mut self, segments: &mut [Segment<M::Tensor>]) -> Result<Forwarded<M::Tensor>, Interrupt> {
        let runs = self.members.iter_mut().map(|member| &mut member.trace.run).collect();
        let forking = segments.iter().map(|segment| !segment.trunks.is_empty());
        let mut pass = Pass::new(runs, forking, self.pacing.clone());
        let outcome = self.common.model.forward(segments, &mut pass);
        pass.end().map_err(Interrupt::Failed).and(outcome)
    }
}

/// A member whose segment was computed.
struct Served<'a, M: Model> {
    member: Member<'a, M>,
    segment: Segment<M::Tensor>,
    /// What its own code took, in the pass and after it.
    spent: Duration,
    /// What its generation goes on with, and which part of the outcome that is of.
    drawn: Option<(usize, Drawn<M::Tensor>)>,
}

/// Makes a pass undone that failed.
fn undo<M: Model>(members: &mut [Member<'_, M>], segments: Vec<Segment<M::Tensor>>) {
    for (member, segment) in members.iter_mut().zip(segments) {
        member.trace.undo_pass(segment.cache);
    }
}

/// Counts what the tokens of a pass were.
fn tokens<M: Model>(served: &[Served<'_, M>]) -> Tokens {
    let mut counted = Tokens::default();
    for Served { member, segment, .. } in served {
        *match (segment.trunks.is_empty(), member.trace.run.passes()) {
            (false, _) => &mut counted.kept,
            (true, 0) => &mut counted.prompt,
            (true, _) => &mut counted.decode,
        } += count(segment.rows * segment.length);
    }
    counted
}

/// Hands each its part of the outcome, and generations the tokens that are drawn of it, for all of them at once.
fn hand_out<M: Model>(
    common: &Common<M>,
    clock: &Turn,
    served: &mut [Served<'_, M>],
    output: Option<&Forwarded<M::Tensor>>,
) {
    for (place, own) in served.iter_mut().enumerate() {
        let (began, in_pass) = (clock.clock(), own.member.trace.run.busy);
        let part = output.and_then(|output| Some((output, output.layout.position(SegmentIndex(place))?)));
        // This runs blocks, too.
        let drawn = own.member.trace.after_pass(part, own.segment.cache.take());
        own.drawn = drawn.map(|drawn| (part.map_or(0, |(_, part)| part), drawn));
        own.spent = in_pass + clock.clock().saturating_sub(began);
    }
    let (mut parts, mut drawn) = (Vec::new(), Vec::new());
    for own in served.iter_mut() {
        if let Some((part, own_drawn)) = own.drawn.take() {
            parts.push((part, own));
            drawn.push(own_drawn);
        }
    }
    let began = clock.clock();
    let chosen = common.model.drawn(drawn);
    let waited = clock.clock().saturating_sub(began).div_f64(parts.len().max(1) as f64);
    for ((part, own), chosen) in parts.into_iter().zip(chosen) {
        let began = clock.clock();
        own.member.trace.append(part, chosen);
        own.spent += waited + clock.clock().saturating_sub(began);
    }
}

/// What the members of a pass are charged by.
struct Counts {
    members: usize,
    /// Tokens that layers computed, all layers' together.
    computed: u64,
    /// What the model took.
    seconds: f64,
    /// The model's layers.
    layers: u64,
}

impl Counts {
    fn of<M: Model>(common: &Common<M>, served: &[Served<'_, M>], time: Duration) -> Self {
        Self {
            members: served.len(),
            computed: served.iter().map(|own| own.segment.done.tokens).sum(),
            seconds: time.as_secs_f64(),
            layers: u64::try_from(common.model.schema().layers.len()).unwrap_or(0),
        }
    }

    /// Returns the part of the layers that so many are.
    #[expect(clippy::cast_precision_loss, reason = "no model has so many layers")]
    fn depth(&self, layers: u64) -> f64 {
        layers as f64 / self.layers.max(1) as f64
    }

    /// Returns what of the model's time so many tokens are charged.
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
    fn cost(&self, tokens: u64) -> f64 {
        match self.computed {
            0 => self.seconds / self.members as f64,
            all => self.seconds * tokens as f64 / all as f64,
        }
    }

    fn account<M: Model>(&self, own: Served<'_, M>) -> Told {
        let Served { member, segment, spent, .. } = own;
        let (run, done) = (&member.trace.run, &segment.done);
        let usage = Usage {
            forwards: 1,
            shared: u64::try_from(self.members).unwrap_or(0),
            rows: count(segment.rows),
            tokens: count(segment.rows * segment.length),
            forks: u64::try_from(segment.trunks.len()).unwrap_or(0),
            layers_run: done.layers,
            layers_skipped: self.layers.saturating_sub(done.layers),
            shapes: done.shapes,
            seconds: self.cost(done.tokens) + spent.as_secs_f64(),
            ..Usage::default()
        };
        let load = Load::computed(segment.rows, done, run.busy);
        Told {
            index: member.index,
            usage,
            apart: matches!(run.ended, Some(Ending::Apart)),
            late: run.job.turn.spent(),
            part: Part { tenant: member.tenant, load, computed: done.tokens, depth: self.depth(done.layers) },
        }
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
