//! A layer's attention module: projections, norms of heads, rotation, and what comes of the attended.

use std::rc::Rc;

use engine::{Inputs, Packed, Site, Tree};
use interpreter::raise::Raise;
use tch::Tensor;

use crate::attention::Scores;
use crate::decoder::{Attended, Stream};
use crate::family::{Cut, Over, Turn};
use crate::nn::{Dropout, Linear};
use crate::norm::Norm;
use crate::pass::{Arguments, Flow, Input, Output, Pass, Result};
use crate::rope;
use crate::runs::{At, Run};
use crate::tokens::Tokens;

pub struct SelfAttention {
    pub site: Site,
    pub projections: Projections,
    pub head_norms: Option<(Over, [Rc<Norm>; 2])>,
    /// How queries and keys are rotated, and whether each pair's cosine comes once.
    pub turn: Option<(Turn, bool)>,
    pub heads: i64,
    pub key_heads: i64,
    pub head_dim: i64,
    pub scores: Scores,
    pub output: Rc<Linear>,
    pub dropout: Option<Rc<Dropout>>,
}

/// See [`crate::family::Projections`].
pub enum Projections {
    Separate([Rc<Linear>; 3]),
    Packed(Rc<Linear>, Cut),
}

impl SelfAttention {
    pub fn run(&self, layer: usize, pass: &mut Pass<'_>, stream: Stream) -> Result<Attended> {
        let shared = Rc::clone(&stream.shared);
        let attended = pass.module(self.site, stream, |pass, stream| {
            let projected = self.project(pass, &stream.hidden)?;
            let missing = || Raise::type_error("cannot unpack non-iterable NoneType object");
            let rotations = stream.shared.rotations(stream.kind);
            let heads = |pass: &Pass<'_>, run: &Run| {
                let [query, key, value] = self.split(pass, run, &projected)?;
                let Some((turn, half)) = self.turn else { return Ok([query, key, value]) };
                let (cosine, sine) = rotations.ok_or_else(missing)?.of(pass, run)?.ok_or_else(missing)?;
                let turned = |states: &Tensor| rope::turn(states, &cosine, &sine, turn, half);
                Ok([turned(&query)?, turned(&key)?, value])
            };
            let at = At { site: self.site, layer, kind: stream.kind };
            let all: Vec<&Tokens> = projected.iter().collect();
            let attended = stream.shared.attend(pass, &at, &all, &self.scores, heads)?;
            let mut hidden = self.output.run(pass, &attended.hidden)?;
            if let Some(dropout) = &self.dropout {
                hidden = dropout.run(pass, &hidden)?;
            }
            Ok(Attended { hidden, ..attended })
        })?;
        shared.capture(&attended);
        Ok(attended)
    }

    /// Lists the modules in the order in which they run.
    pub fn order(&self) -> Vec<Site> {
        let mut order = Vec::new();
        match &self.projections {
            Projections::Packed(all, _) => order.push(all.site),
            Projections::Separate([query, key, value]) => match &self.head_norms {
                Some((Over::Width | Over::Heads, [of_queries, of_keys])) => {
                    order.extend([query.site, of_queries.site, key.site, of_keys.site, value.site]);
                }
                Some((Over::Turned, [of_queries, of_keys])) => {
                    order.extend([query.site, key.site, value.site, of_queries.site, of_keys.site]);
                }
                None => order.extend([query.site, key.site, value.site]),
            },
        }
        order.extend(self.scores.dropout.as_ref().map(|dropout| dropout.site));
        order.push(self.output.site);
        order.extend(self.dropout.as_ref().map(|dropout| dropout.site));
        order
    }

    /// Makes queries, keys and values, or one tensor of all three.
    fn project(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Vec<Tokens>> {
        let linears = match &self.projections {
            Projections::Packed(all, _) => return Ok(vec![all.run(pass, hidden)?]),
            Projections::Separate(linears) => linears,
        };
        let mut projected = Vec::with_capacity(3);
        for (index, linear) in linears.iter().enumerate() {
            let mut states = linear.run(pass, hidden)?;
            if let Some((over @ (Over::Width | Over::Heads), norms)) = &self.head_norms
                && let Some(norm) = norms.get(index)
            {
                if *over == Over::Heads {
                    states = self.by_head(pass, &states)?;
                }
                states = norm.run(pass, &states)?;
            }
            projected.push(states);
        }
        if let Some((Over::Turned, norms)) = &self.head_norms {
            for (states, norm) in projected.iter_mut().zip(norms) {
                let heads = Turned(self.by_head(pass, states)?);
                let normed = |pass: &mut Pass<'_>, Turned(heads): Turned| {
                    pass.each(&heads, |heads| norm.compute(heads)).map(Turned)
                };
                Turned(*states) = pass.module(norm.site, heads, normed)?;
            }
        }
        Ok(projected)
    }

    /// Views tokens as `[…, heads, head_dim]`.
    fn by_head(&self, pass: &Pass<'_>, states: &Tokens) -> Result<Tokens> {
        pass.each(states, |states| {
            let mut size = states.size();
            size.pop();
            size.extend([-1, self.head_dim]);
            states.f_view(size.as_slice())
        })
    }

    /// Returns a run's queries, keys and values, `[rows, heads, length, head_dim]` each.
    fn split(&self, pass: &Pass<'_>, run: &Run, projected: &[Tokens]) -> Result<[Tensor; 3]> {
        let heads = |part: &Tensor| -> Result<Tensor> {
            Ok(part.f_view([run.rows, run.length, -1, self.head_dim])?.f_transpose(1, 2)?)
        };
        let (own, cut) = match (&self.projections, projected) {
            (Projections::Separate(_), [query, key, value]) => {
                return Ok([
                    heads(&pass.run(query, run)?)?,
                    heads(&pass.run(key, run)?)?,
                    heads(&pass.run(value, run)?)?,
                ]);
            }
            (Projections::Packed(_, cut), [all]) => (pass.run(all, run)?, *cut),
            _ => return Err(Raise::runtime_error("a projection got lost").into()),
        };
        // Split as one: where gradients are recorded, theirs are put together as one, too.
        let parts = match cut {
            Cut::Widths => {
                let widths = [self.heads, self.key_heads, self.key_heads].map(|heads| heads * self.head_dim);
                own.f_split_with_sizes(widths, -1)?
            }
            Cut::Heads => own.f_view([run.rows, run.length, self.heads, 3 * self.head_dim])?.f_chunk(3, -1)?,
        };
        let [query, key, value] = parts.as_slice() else {
            return Err(Raise::value_error("too many values to unpack (expected 3)").into());
        };
        match cut {
            Cut::Widths => Ok([heads(query)?, heads(key)?, heads(value)?]),
            Cut::Heads => Ok([query.f_transpose(1, 2)?, key.f_transpose(1, 2)?, value.f_transpose(1, 2)?]),
        }
    }
}

/// Tokens' heads, `[…, heads, head_dim]`, which are shown as `[rows, heads, length, head_dim]`.
struct Turned(Tokens);

impl Turned {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        let own = |part| Ok(pass.segment(&self.0, part)?.f_transpose(1, 2)?);
        // What does not fit the parts shows as nothing.
        let parts: Result<Vec<Tensor>> = (0..pass.layout.parts.len()).map(own).collect();
        let learned = |part: &Tensor| torch::Tensor::new(part.shallow_clone()).learned();
        Tree::Leaf(Packed::Segments(parts.unwrap_or_default().iter().map(learned).collect()))
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        let parts = pass.tensors(flow)?;
        let back = parts.iter().map(|part| Ok(part.f_transpose(1, 2)?)).collect::<Result<_>>()?;
        Ok(Self(pass.gather(back)?))
    }
}

impl Input for Turned {
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments> {
        Ok(Inputs { args: vec![self.show(pass)], kwargs: Vec::new() })
    }

    fn read(self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let first = arguments.args.into_iter().chain(arguments.kwargs.into_iter().map(|(_, flow)| flow)).next();
        Self::read(pass, first.unwrap_or(Tree::None))
    }
}

impl Output for Turned {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        self.show(pass)
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        Self::read(pass, flow)
    }
}
