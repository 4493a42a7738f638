//! One forward pass over the rows of several runs.

use interpreter::raise::Raise;

use crate::model::{Entered, Inputs, Interrupt, Layout, Model, Observer, Packed, Site, Tree, Wants};
use crate::run::{Ending, Run};
use crate::tree;

/// Shows each run its own segment of what flows through the model.
pub struct Pass<'a, M: Model> {
    pub runs: Vec<&'a mut Run<M>>,
    pub layout: Layout,
}

impl<M: Model> Pass<'_, M> {
    fn unless_enough<R>(&self, value: R) -> Result<R, Interrupt> {
        if self.runs.iter().any(|run| run.needs_more()) { Ok(value) } else { Err(Interrupt::Enough) }
    }
}

impl<M: Model> Observer<M::Tensor> for Pass<'_, M> {
    fn wants(&self, site: Site) -> Wants {
        self.runs.iter().map(|run| run.wants(site)).fold(Wants::default(), |all, one| Wants {
            input: all.input | one.input,
            output: all.output | one.output,
            inside: all.inside | one.inside,
        })
    }

    fn enter(&mut self, site: Site, inputs: Inputs<Packed<M::Tensor>>) -> Result<Entered<M::Tensor>, Interrupt> {
        let mut inputs = inputs;
        let mut all_skip = true;
        for segment in 0..self.runs.len() {
            let layout = &self.layout;
            let Some(run) = self.runs.get_mut(segment) else { continue };
            if !run.wants(site).input || run.inside_skipped(site) {
                all_skip = false;
                continue;
            }
            let own = tree::map_inputs(&inputs, |tree| tree::take(tree, layout, segment))?;
            let (replaced, skip) = run.enter(site, segment, own);
            all_skip &= skip;
            if let Some(new) = replaced {
                match put_inputs(&inputs, layout, segment, new) {
                    Ok(new) => inputs = new,
                    // Only the run that assigned the value is to blame.
                    Err(raise) => run.ended = Some(Ending::Failed(raise)),
                }
            }
        }
        let skipped = if all_skip { self.skipped_by_all(site)? } else { None };
        self.unless_enough(Entered { inputs, skipped })
    }

    fn exit(&mut self, site: Site, output: Tree<Packed<M::Tensor>>) -> Result<Tree<Packed<M::Tensor>>, Interrupt> {
        let mut output = output;
        for segment in 0..self.runs.len() {
            let layout = &self.layout;
            let Some(run) = self.runs.get_mut(segment) else { continue };
            if !run.wants(site).output || run.inside_skipped(site) {
                continue;
            }
            let own = tree::take(&output, layout, segment)?;
            if let Some(new) = run.exit(site, segment, own) {
                match tree::put(&output, layout, segment, new) {
                    Ok(new) => output = new,
                    Err(raise) => run.ended = Some(Ending::Failed(raise)),
                }
            }
        }
        self.unless_enough(output)
    }
}

impl<M: Model> Pass<'_, M> {
    /// Packs what every run put in a module's place.
    fn skipped_by_all(&self, site: Site) -> Result<Option<Tree<Packed<M::Tensor>>>, Raise> {
        let mut parts = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            let Some(tree) = run.skipped_output(site) else { return Ok(None) };
            parts.push(tree);
        }
        tree::pack(&parts, &self.layout).map(Some)
    }
}

fn put_inputs<T: crate::model::Tensor>(
    inputs: &Inputs<Packed<T>>,
    layout: &Layout,
    segment: usize,
    new: Inputs<T>,
) -> Result<Inputs<Packed<T>>, Raise> {
    let mut args = Vec::with_capacity(inputs.args.len());
    let mut given = new.args.into_iter();
    for old in &inputs.args {
        args.push(match given.next() {
            Some(new) => tree::put(old, layout, segment, new)?,
            None => old.clone(),
        });
    }
    let mut kwargs = Vec::with_capacity(inputs.kwargs.len());
    for (name, old) in &inputs.kwargs {
        kwargs.push(match new.kwargs.iter().find(|(other, _)| other == name) {
            Some((_, new)) => (*name, tree::put(old, layout, segment, new.clone())?),
            None => (*name, old.clone()),
        });
    }
    Ok(Inputs { args, kwargs })
}
