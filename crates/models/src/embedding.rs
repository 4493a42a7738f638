//! The first hidden states of a model.

use std::rc::Rc;

use engine::Part;
use tch::Tensor;

use crate::nn::{Dropout, Embedding};
use crate::pass::{Parts, Pass, Result};
use crate::tokens::Tokens;

/// Tables of words, and perhaps of positions.
pub struct Embed {
    pub words: Rc<Embedding>,
    pub positions: Option<Rc<Embedding>>,
    pub dropout: Option<Rc<Dropout>>,
}

/// What a pass begins with.
pub enum Words {
    /// One tensor of ids for each part.
    Ids(Vec<Tensor>),
    /// What stands for their embeddings, in the only part.
    Embedded(Tensor),
}

impl Embed {
    /// Embeds words at positions, `[rows or 1, length]`, one tensor for each part.
    pub fn run(&self, pass: &mut Pass<'_>, words: Words, positions: &[Rc<Tensor>]) -> Result<Tokens> {
        let mut hidden = match words {
            Words::Ids(ids) => {
                let ids = pass.join(ids)?;
                self.words.run(pass, &ids)?
            }
            Words::Embedded(embeds) => pass.join(vec![embeds])?,
        };
        if let Some(table) = &self.positions {
            let positions = embed_positions(table, pass, positions)?;
            hidden = pass.both(&hidden, &positions, Tensor::f_add)?;
        }
        match &self.dropout {
            Some(dropout) => dropout.run(pass, &hidden),
            None => Ok(hidden),
        }
    }
}

fn embed_positions(table: &Embedding, pass: &mut Pass<'_>, positions: &[Rc<Tensor>]) -> Result<Tokens> {
    let wants = pass.wants(table.site);
    if pass.single() || !pass.recorders.is_empty() || wants.input || wants.output {
        let ids = positions.iter().map(|part| part.shallow_clone()).collect();
        let embedded = table.run_parts(pass, Parts(ids))?.0;
        if pass.single() {
            return pass.join(embedded);
        }
        let mut parts = Vec::with_capacity(embedded.len());
        for (part, &Part { rows, length, .. }) in embedded.iter().zip(&pass.layout.parts) {
            parts.push(part.f_expand([rows, length, -1], false)?);
        }
        return pass.join(parts);
    }
    let mut flat = Vec::with_capacity(positions.len());
    for (part, &Part { rows, length, .. }) in positions.iter().zip(&pass.layout.parts) {
        flat.push(part.f_expand([rows, length], false)?.f_reshape([-1])?);
    }
    Ok(Tokens::Packed(table.compute(&Tensor::f_cat(&flat, 0)?)?))
}
