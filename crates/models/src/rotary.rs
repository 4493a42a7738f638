//! The module that computes the cosines and sines by which queries and keys are rotated.

use std::cell::RefCell;
use std::rc::Rc;

use engine::{Inputs, Site, Tree};
use interpreter::raise::Raise;
use kernels::number;
use tch::{Kind, TchError, Tensor};

use crate::call::bind;
use crate::decoder::unpack;
use crate::pass::{Arguments, Flow, Input, Output, Pass, Result, leaves};
use crate::rope::Rope;
use crate::tokens::Tokens;

pub struct RotaryEmbedding {
    /// `None` where each attention computes them for itself.
    pub site: Option<Site>,
    pub ropes: Vec<Rope>,
    /// It is called for each type of layer, one rope each; or once.
    pub types: Vec<&'static str>,
    /// Positions are given by keyword.
    pub keyword: bool,
    pub wide: bool,
    pub half: bool,
    /// The type of hidden states.
    pub kind: Kind,
    /// Positions that there are, where their table ends.
    pub positions: Option<i64>,
}

impl RotaryEmbedding {
    /// Runs the module for every rope, or computes what attention would.
    pub fn run_all(&self, pass: &mut Pass<'_>, given: Rotary) -> Result<Vec<Option<Rc<Rotations>>>> {
        let Some(site) = self.site else { return Ok(self.compute_all(&given.positions)?) };
        let all = (0..self.ropes.len()).map(|rope| {
            let given = Rotary { hidden: given.hidden.share(), positions: given.positions.clone() };
            self.run(site, rope, pass, given).map(|made| Some(Rc::new(made)))
        });
        all.collect()
    }

    /// Returns a table of frequencies by the name of its buffer, which begins with the type of layers that it is for.
    pub fn buffer(&self, name: &str) -> Option<&Tensor> {
        let of = name.strip_suffix("inv_freq")?;
        let of = of.strip_suffix("original_").unwrap_or(of);
        let rope = match self.types.as_slice() {
            [] if of.is_empty() => 0,
            types => types.iter().position(|own| of.strip_suffix('_') == Some(own))?,
        };
        Some(self.ropes.get(rope)?.frequencies())
    }

    /// Returns which rope a call's arguments ask for.
    pub fn rope_of(&self, arguments: &Arguments) -> Result<usize> {
        if self.types.is_empty() {
            return Ok(0);
        }
        let named = arguments.kwargs.iter().find(|(name, _)| *name == "layer_type").map(|(_, flow)| flow);
        let text = match named.or(arguments.args.get(2)) {
            Some(Tree::Object(object)) => object.downcast_ref::<String>(),
            _ => None,
        };
        let found = text.and_then(|text| self.types.iter().position(|own| own == text));
        found.ok_or_else(|| {
            Raise::value_error(format!("`layer_type` has to be one of {}", self.types.join(", "))).into()
        })
    }

    /// Runs the module for one rope.
    pub fn run(&self, site: Site, rope: usize, pass: &mut Pass<'_>, given: Rotary) -> Result<Rotations> {
        let call = Call { given, of: self.types.get(rope).copied(), keyword: self.keyword };
        pass.module(site, call, |_, call| {
            let kind = call.given.hidden.kind()?;
            Ok(self.compute(rope, &call.given.positions, kind)?)
        })
    }

    /// Computes the rotations of every rope.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn compute_all(&self, positions: &[Rc<Tensor>]) -> std::result::Result<Vec<Option<Rc<Rotations>>>, TchError> {
        let one = |rope| Ok(Some(Rc::new(self.compute(rope, positions, self.kind)?)));
        (0..self.ropes.len()).map(one).collect()
    }

    fn compute(&self, rope: usize, positions: &[Rc<Tensor>], kind: Kind) -> std::result::Result<Rotations, TchError> {
        let mut made = Rotations::new(Vec::new(), Vec::new());
        let Some(rope) = self.ropes.get(rope) else { return Ok(made) };
        let kind = if self.wide { Kind::Float } else { kind };
        for positions in positions {
            let angles = rope.angles(positions)?;
            let angles = if self.half { angles } else { Tensor::f_cat(&[&angles, &angles], -1)? };
            let scaled = |numbers: Tensor| {
                let numbers = if rope.factor == 1.0 { numbers } else { number::multiply(&numbers, rope.factor)? };
                numbers.f_to_kind(kind)
            };
            made.cosines.push(scaled(angles.f_cos()?)?);
            made.sines.push(scaled(angles.f_sin()?)?);
        }
        Ok(made)
    }
}

/// Any hidden states, for their type, and positions.
pub struct Rotary {
    pub hidden: Tokens,
    pub positions: Vec<Rc<Tensor>>,
}

struct Call {
    given: Rotary,
    of: Option<&'static str>,
    keyword: bool,
}

impl Rotary {
    /// Takes the arguments of a call.
    pub fn read(mut self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        for (name, flow) in bind(arguments, &["x", "position_ids", "layer_type"])? {
            match name {
                "x" => self.hidden = pass.tokens(flow)?,
                "position_ids" => self.positions = pass.tensors(flow)?.into_iter().map(Rc::new).collect(),
                _ => {}
            }
        }
        Ok(self)
    }
}

impl Input for Call {
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments> {
        let mut inputs = Inputs { args: vec![pass.leaf(&self.given.hidden)], kwargs: Vec::new() };
        let positions = leaves(self.given.positions.iter().map(|part| &**part));
        if self.keyword {
            inputs.kwargs.push(("position_ids", positions));
        } else {
            inputs.args.push(positions);
        }
        // A text, which the flow of tensors does not know.
        inputs.args.extend(self.of.map(|of| Tree::Object(Rc::new(of))));
        Ok(inputs)
    }

    fn read(self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        Ok(Self { given: self.given.read(pass, arguments)?, ..self })
    }
}

/// Cosines and sines by segment, `[rows or 1, length, width]`.
pub struct Rotations {
    pub cosines: Vec<Tensor>,
    pub sines: Vec<Tensor>,
    /// What [`crate::rope::table`] made of those of all segments, and how often they had been written to by then.
    pub table: RefCell<Option<(i64, Tensor)>>,
}

impl Rotations {
    pub fn new(cosines: Vec<Tensor>, sines: Vec<Tensor>) -> Self {
        Self { cosines, sines, table: RefCell::default() }
    }
}

impl Output for Rotations {
    fn show(&self, _: &Pass<'_>) -> Flow {
        Tree::Tuple(vec![leaves(&self.cosines), leaves(&self.sines)])
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        let [cosines, sines] = unpack(flow)?;
        Ok(Self::new(pass.tensors(cosines)?, pass.tensors(sines)?))
    }
}
