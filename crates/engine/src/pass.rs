//! One forward pass over the rows of several runs.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use interpreter::raise::Raise;

use crate::arithmetic::Arithmetic;
use crate::model::{
    Entered, Form, Inputs, Interrupt, Layout, Model, Observer, Packed, Part, SegmentIndex, Site, Tensor, Tree, Wants,
};
use crate::pacing::Pacing;
use crate::run::{Ending, Run, Visit};
use crate::tree;
use crate::written::{Shown, Trail};

/// Shows each run its own segment of what flows through the model. Runs and segments have the same order.
pub struct Pass<'a, M: Model> {
    runs: Vec<&'a mut Run<M>>,
    /// What was shown of each segment that has trunks, and how it was then; `None` for other segments.
    shown: Vec<Option<Shown<M::Tensor>>>,
    /// By segment, the memory that was shown, and that of copies with which the pass went on.
    seen: RefCell<Vec<HashSet<usize>>>,
    /// By segment, what the pass has gone on with copies of.
    left: RefCell<Vec<Trail<M::Tensor>>>,
    /// Where the pass gives way to others; `None` for one that takes no time worth it.
    pacing: Option<Rc<Pacing<M>>>,
    /// Layers that it is done with.
    layers: u32,
}

/// Tensors that were shown, with the forms that they had.
struct Forms<T>(Vec<(Form, T)>);

impl<T: Tensor> Forms<T> {
    /// Returns whether a block gave one of them another form, in place. The model would go on with that, had the job the
    /// tensor to itself.
    fn changed(&self) -> bool {
        self.0.iter().any(|(form, leaf)| leaf.form() != *form)
    }
}

/// A run, and what it was shown of its segment if that has trunks.
type Seeing<'a, M> = (&'a mut Run<M>, Option<&'a mut Shown<<M as Arithmetic>::Tensor>>);

impl<'a, M: Model> Pass<'a, M> {
    /// Begins a pass. `forking` tells which segments have trunks.
    pub fn new(runs: Vec<&'a mut Run<M>>, forking: impl Iterator<Item = bool>, pacing: Option<Rc<Pacing<M>>>) -> Self {
        let shown = forking.map(|forking| forking.then(Shown::default)).collect();
        let left = RefCell::new(runs.iter().map(|_| Trail::default()).collect());
        let seen = RefCell::new(runs.iter().map(|_| HashSet::new()).collect());
        Self { runs, shown, seen, left, pacing, layers: 0 }
    }

    fn unless_enough<R>(&self, value: R) -> Result<R, Interrupt> {
        if self.runs.iter().any(|run| run.needs_more()) { Ok(value) } else { Err(Interrupt::Enough) }
    }

    /// Ends the pass. A block that wrote to what it had seen, when the pass had gone on with a copy, might have reached
    /// the model had it run alone: its job has to.
    ///
    /// # Errors
    /// When what was shown cannot be compared.
    pub fn end(&mut self) -> Result<(), Raise> {
        for ((run, shown), left) in self.runs.iter_mut().zip(&self.shown).zip(self.left.take()) {
            let written = shown.as_ref().map_or(Ok(false), |shown| shown.left.is_written())?;
            if written || left.is_written()? {
                run.ended = Some(Ending::Apart);
            }
        }
        Ok(())
    }

    /// Returns whether rows of one trace, computed whole, are all there is: then values may take any form.
    fn is_free(&self) -> bool {
        self.runs.len() == 1 && self.shown.iter().all(Option::is_none)
    }

    /// Notes what is about to be shown, and where values may not take any form, the form it has.
    fn note<'t>(&mut self, part: &Part, trees: impl Iterator<Item = &'t Tree<M::Tensor>>) -> Forms<M::Tensor> {
        let mut leaves = Vec::new();
        trees.for_each(|tree| tree::leaves(tree, &mut leaves));
        leaves.retain(|leaf| !leaf.pending());
        if let Some(seen) = part.segment.and_then(|segment| self.seen.get_mut().get_mut(segment.0)) {
            seen.extend(leaves.iter().map(Tensor::memory));
        }
        if self.is_free() {
            leaves.clear();
        }
        Forms(leaves.into_iter().map(|leaf| (leaf.form(), leaf)).collect())
    }

    fn run(&mut self, part: &Part) -> Option<Seeing<'_, M>> {
        let segment = part.segment?;
        let shown = self.shown.get_mut(segment.0).and_then(Option::as_mut);
        self.runs.get_mut(segment.0).map(|run| (&mut **run, shown))
    }
}

impl<M: Model> Observer<M::Tensor> for Pass<'_, M> {
    fn wants(&self, site: Site, segment: SegmentIndex) -> Wants {
        self.runs.get(segment.0).map(|run| run.wants(site)).unwrap_or_default()
    }

    fn live(&self, segment: SegmentIndex) -> bool {
        self.runs.get(segment.0).is_some_and(|run| run.needs_more())
    }

    fn enter(
        &mut self,
        site: Site,
        inputs: Inputs<Packed<M::Tensor>>,
        layout: &Layout,
    ) -> Result<Entered<M::Tensor>, Interrupt> {
        let mut inputs = inputs;
        let (mut all_skip, free) = (true, self.is_free());
        for (index, part) in layout.parts.iter().enumerate() {
            let seen = self.run(part).filter(|(run, _)| run.wants(site).input && !run.inside_skipped(site));
            if seen.is_none() {
                all_skip = false;
                continue;
            }
            let own = tree::map_inputs(&inputs, |tree| tree::take(tree, layout, index))?;
            let forms = self.note(part, own.trees());
            let Some((run, shown)) = self.run(part) else { continue };
            let mut shown = shown;
            let watched = shown.as_mut().map(|shown| shown.watch(part, own.trees())).transpose()?;
            let (replaced, skip) = run.enter(site, index, own);
            all_skip &= skip;
            if forms.changed() {
                run.ended = Some(Ending::Apart);
                continue;
            }
            if skip && let Some(shown) = shown.as_mut() {
                // The output is another from the start: nobody is shown how it would have been.
                shown.replace_all();
            }
            if let Some(new) = replaced {
                if !free {
                    let old = tree::map_inputs(&inputs, |tree| tree::take(tree, layout, index))?;
                    if !tree::alike_inputs(&old, &new, part) {
                        run.ended = Some(Ending::Apart);
                        continue;
                    }
                }
                if let (Some(shown), Some(watched)) = (shown, watched) {
                    shown.replace(watched, new.trees());
                }
                // Only the run that assigned the value is to blame.
                if let Err(raise) = put_inputs(&mut inputs, layout, index, new) {
                    run.ended = Some(Ending::Failed(raise));
                }
            }
        }
        let skipped = if all_skip { self.skipped_by_all(site, layout)? } else { None };
        self.unless_enough(Entered { inputs, skipped })
    }

    fn exit(
        &mut self,
        site: Site,
        output: Tree<Packed<M::Tensor>>,
        layout: &Layout,
    ) -> Result<Tree<Packed<M::Tensor>>, Interrupt> {
        let mut open = Vec::new();
        for (index, part) in layout.parts.iter().enumerate() {
            let seen = self.run(part).filter(|(run, _)| run.wants(site).output && !run.inside_skipped(site));
            if seen.is_none() {
                continue;
            }
            let own = tree::take(&output, layout, index)?;
            let forms = self.note(part, std::iter::once(&own));
            let Some((run, shown)) = self.run(part) else { continue };
            let watched = shown.map(|shown| shown.watch(part, std::iter::once(&own))).transpose()?;
            open.push(Open { index, part, watched, forms, visit: run.open(site, index, own) });
        }
        while self.compute_together(&mut open) {}
        let (mut output, free) = (output, self.is_free());
        for Open { index, part, watched, forms, visit } in open {
            let Some((run, shown)) = self.run(part) else { continue };
            let new = run.close(visit);
            if forms.changed() {
                run.ended = Some(Ending::Apart);
                continue;
            }
            let Some(new) = new else { continue };
            if !free && !tree::alike(&tree::take(&output, layout, index)?, &new, part) {
                run.ended = Some(Ending::Apart);
                continue;
            }
            if let (Some(shown), Some(watched)) = (shown, watched) {
                shown.replace(watched, std::iter::once(&new));
            }
            // Only the run that assigned the value is to blame.
            if let Err(raise) = tree::put(&mut output, layout, index, new) {
                run.ended = Some(Ending::Failed(raise));
            }
        }
        self.unless_enough(output)
    }

    fn leaves_out(&self, site: Site, segment: SegmentIndex) -> bool {
        self.runs.get(segment.0).is_some_and(|run| run.leaves_out(site))
    }

    fn moved(&self, segment: SegmentIndex, from: &M::Tensor, to: &M::Tensor) -> Result<(), Raise> {
        let mut all = self.seen.borrow_mut();
        let seen = all.get_mut(segment.0).filter(|seen| !from.pending() && seen.contains(&from.memory()));
        let Some(seen) = seen.filter(|_| self.live(segment)) else { return Ok(()) };
        // A copy of the copy stands for what was shown, too.
        seen.insert(to.memory());
        match self.left.borrow_mut().get_mut(segment.0) {
            Some(left) => left.push(vec![from.clone(), to.clone()], &from.duplicate()?),
            None => Ok(()),
        }
    }

    fn rest(&self) {
        self.pacing.iter().for_each(|pacing| pacing.pause_if_late());
    }

    fn between_layers(&mut self) -> Result<(), Interrupt> {
        self.layers += 1;
        for run in &self.runs {
            run.job.progress.at(self.layers + 1);
        }
        let Some(pacing) = &self.pacing else { return Ok(()) };
        pacing.pause();
        let mut stopped = false;
        for run in &mut self.runs {
            if run.job.is_stopped() && run.ended.is_none() {
                run.ended = Some(Ending::Stopped);
                stopped = true;
            }
        }
        if stopped { self.unless_enough(()) } else { Ok(()) }
    }

    fn written(&mut self, segment: SegmentIndex) -> Result<Vec<i64>, Raise> {
        match self.shown.get_mut(segment.0) {
            Some(Some(shown)) => shown.written(),
            _ => Ok(Vec::new()),
        }
    }
}

/// A part of the layout that is being shown.
struct Open<'p, T> {
    index: usize,
    part: &'p Part,
    /// What is remembered of how it was.
    watched: Option<Range<usize>>,
    forms: Forms<T>,
    visit: Visit<T>,
}

impl<M: Model> Pass<'_, M> {
    /// Computes what blocks of all runs wait for, and lets them go on. Returns whether any did.
    fn compute_together(&mut self, open: &mut [Open<'_, M::Tensor>]) -> bool {
        let (mut owners, mut requests) = (Vec::new(), Vec::new());
        for (at, Open { part, .. }) in open.iter().enumerate() {
            let Some((run, _)) = self.run(part) else { continue };
            for (block, request) in run.deferred() {
                if let Ok(request) = request.downcast::<<M::Tensor as Tensor>::Deferred>() {
                    owners.push((at, block));
                    requests.push(*request);
                }
            }
        }
        let waited = !requests.is_empty();
        for ((at, block), value) in owners.into_iter().zip(<M::Tensor as Tensor>::resolve(requests)) {
            let Some(Open { part, visit, .. }) = open.get_mut(at) else { continue };
            if let Some((run, _)) = self.run(part) {
                run.answer(visit, block, value);
            }
        }
        waited
    }

    /// Packs what every run put in a module's place; nothing where that does not lie along the tokens.
    fn skipped_by_all(&self, site: Site, layout: &Layout) -> Result<Option<Tree<Packed<M::Tensor>>>, Raise> {
        let mut parts = Vec::with_capacity(layout.parts.len());
        for part in &layout.parts {
            let run = part.segment.and_then(|segment| self.runs.get(segment.0));
            let Some(tree) = run.and_then(|run| run.skipped_output(site)) else { return Ok(None) };
            parts.push(tree);
        }
        if !self.is_free() && !tree::lie_along_tokens(&parts, layout) {
            return Ok(None);
        }
        tree::pack(&parts, layout).map(Some)
    }
}

fn put_inputs<T: crate::model::Tensor>(
    inputs: &mut Inputs<Packed<T>>,
    layout: &Layout,
    part: usize,
    new: Inputs<T>,
) -> Result<(), Raise> {
    inputs.args.iter_mut().zip(new.args).try_for_each(|(old, new)| tree::put(old, layout, part, new))?;
    for (name, new) in new.kwargs {
        if let Some((_, old)) = inputs.kwargs.iter_mut().find(|(other, _)| *other == name) {
            tree::put(old, layout, part, new)?;
        }
    }
    Ok(())
}
