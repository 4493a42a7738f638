//! Attention of a whole pass at once, on a GPU, where nobody looks inside: what was projected is one tensor, is turned where it
//! lies, and goes to the caches from there.
//!
//! It comes to the bits of [`SelfAttention::run`]'s other way, which is taken as soon as anybody of the pass looks inside.

use tch::{TchError, Tensor};

use crate::decoder::{Stream, none};
use crate::family::{Cut, Over};
use crate::joint::Joint;
use crate::pass::{Pass, Result};
use crate::rope;
use crate::self_attention::{Projections, SelfAttention};
use crate::spans::{At, Flat};
use crate::tokens::Tokens;

impl SelfAttention {
    /// Computes what the queries attend to, before the last projection; `None` where that is to be done step by step.
    pub fn fused(&self, pass: &mut Pass<'_>, at: &At, stream: &Stream) -> Result<Option<Tokens>> {
        let Tokens::Packed(hidden) = &stream.hidden else { return Ok(None) };
        let Some(known) = stream.shared.varlen.as_ref().filter(|_| hidden.device().is_cuda()) else { return Ok(None) };
        if libtorch::recording() || pass.wants(self.site).inside {
            return Ok(None);
        }
        let spans = stream.shared.spans(pass, at, &[&stream.hidden])?;
        let [span] = spans.as_slice() else { return Ok(None) };
        if !span.is_flat() {
            return Ok(None);
        }
        let states = self.states(pass, hidden)?;
        if let Some((turn, half)) = self.turn {
            let rotations = stream.shared.rotations(stream.kind).ok_or_else(none)?;
            let table = rotations.table(pass, span, turn, half)?.ok_or_else(none)?;
            rope::turn_in_place(&states.turning()?, &table, turn)?;
        }
        let attended = stream.shared.attend_flat(pass, at, span, states.flat()?, self.scores.scaling, known)?;
        Ok(Some(pass.join(vec![attended])?))
    }

    /// Makes queries, keys and values of all tokens.
    fn states(&self, pass: &Pass<'_>, hidden: &Tensor) -> std::result::Result<States, TchError> {
        let products = &pass.products;
        let (all, cut) = match &self.projections {
            Projections::Packed(all, cut) => (all.compute(products, hidden)?, *cut),
            Projections::Separate(linears) => (self.separate(pass, linears.each_ref(), hidden)?, Cut::Widths),
        };
        let width = all.size().last().copied().unwrap_or(0);
        let all = all.f_reshape([-1, width])?;
        let (queries, keys, head) = (self.heads, self.key_heads, self.head_dim);
        Ok(match cut {
            Cut::Widths => States { all: all.f_view([-1, 1, queries + 2 * keys, head])?, cut, queries, keys },
            Cut::Heads => States { all: all.f_view([-1, queries, 3, head])?, cut, queries, keys },
        })
    }

    fn separate(
        &self,
        pass: &Pass<'_>,
        linears: [&std::rc::Rc<crate::nn::Linear>; 3],
        hidden: &Tensor,
    ) -> std::result::Result<Tensor, TchError> {
        if let (Some(joint), None) = (Joint::of_all(&linears), &self.head_norms) {
            return joint.product(&pass.products, hidden);
        }
        let mut all = Vec::with_capacity(3);
        for (index, linear) in linears.into_iter().enumerate() {
            let mut states = linear.compute(&pass.products, hidden)?;
            if let Some((over, norms)) = &self.head_norms
                && let Some(norm) = norms.get(index)
            {
                let size = states.size();
                if *over != Over::Width {
                    let mut by_head = size.clone();
                    by_head.pop();
                    by_head.extend([-1, self.head_dim]);
                    states = states.f_view(by_head.as_slice())?;
                }
                states = norm.compute(&states)?.f_view(size.as_slice())?;
            }
            all.push(states);
        }
        Tensor::f_cat(&all, -1)
    }
}

/// What was projected of all tokens, by head: `[tokens, 1, heads, head_dim]`, or `[tokens, heads, 3, head_dim]`.
struct States {
    all: Tensor,
    cut: Cut,
    queries: i64,
    keys: i64,
}

impl States {
    /// Returns queries and keys, which are turned alike.
    fn turning(&self) -> std::result::Result<Tensor, TchError> {
        self.all.f_narrow(2, 0, if self.cut == Cut::Widths { self.queries + self.keys } else { 2 })
    }

    fn flat(&self) -> std::result::Result<Flat, TchError> {
        let (query, both) = match self.cut {
            Cut::Widths => {
                let both = self.all.f_select(1, 0)?.f_narrow(1, self.queries, 2 * self.keys)?;
                let head = both.size().last().copied().unwrap_or(0);
                let query = self.all.f_select(1, 0)?.f_narrow(1, 0, self.queries)?;
                (query, both.f_view([-1, 2, self.keys, head])?)
            }
            Cut::Heads => (self.all.f_select(2, 0)?, self.all.f_narrow(2, 1, 2)?.f_transpose(1, 2)?),
        };
        Ok(Flat { query, keys: both.f_select(1, 0)?, values: both.f_select(1, 1)?, both: Some(both) })
    }
}
