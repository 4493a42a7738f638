//! Modules without modules inside, as a block of a layer has them, by name.

use std::collections::HashMap;
use std::rc::Rc;

use engine::Site;
use kernels::Along;
use tch::Tensor;

use crate::builder::Builder;
use crate::error::LoadError;
use crate::family::{self, Leaf};
use crate::nn::{Activation, Dropout, Linear};
use crate::norm::Norm;
use crate::pass::{Parts, Pass, Result};
use crate::source::Held;

#[derive(Default)]
pub struct Leaves(HashMap<&'static str, Module>);

enum Module {
    Linear(Rc<Linear>),
    Norm(Rc<Norm>),
    Dropout(Rc<Dropout>),
    Activation(Rc<Activation>),
}

impl Leaves {
    /// Adds modules to a tree, in their order. Of one of them, `summed`, ranks make parts of sums: see [`Way::block`].
    ///
    /// Those that lie `together` are given the same.
    ///
    /// [`Way::block`]: crate::feed_forward::Way::block
    pub fn add(
        builder: &mut Builder<'_>,
        leaves: &family::Leaves,
        summed: Option<&str>,
        together: &[&'static str],
    ) -> std::result::Result<Self, LoadError> {
        let mut all = HashMap::with_capacity(leaves.len());
        let mut joined: HashMap<_, _> = match alike(leaves, together) {
            Some((linears, biased)) => builder.join(&linears, biased)?.into_iter().flatten().collect(),
            None => HashMap::new(),
        };
        for &(name, ref leaf) in leaves {
            let along = if summed == Some(name) { Along::Inputs } else { Along::Outputs };
            let module = match leaf {
                &Leaf::Linear { inputs, outputs, bias } => match joined.remove(name) {
                    Some(parameters) => Module::Linear(builder.joined(name, parameters)),
                    None => Module::Linear(builder.linear(name, [inputs, outputs], bias, along)?),
                },
                &Leaf::Conv1D { inputs, outputs } => Module::Linear(builder.conv1d(name, [inputs, outputs], along)?),
                Leaf::Norm { norm, width } => Module::Norm(builder.norm(name, norm, *width)?),
                Leaf::Dropout(probability) => Module::Dropout(builder.dropout(name, *probability)),
                Leaf::Activation(function, class) => Module::Activation(builder.activation(name, *function, class)),
            };
            all.insert(name, module);
        }
        Ok(Self(all))
    }

    pub fn linear(&self, name: &str) -> std::result::Result<Rc<Linear>, LoadError> {
        match self.0.get(name) {
            Some(Module::Linear(linear)) => Ok(Rc::clone(linear)),
            _ => Err(LoadError::Table(name.into())),
        }
    }

    pub fn norm(&self, name: &str) -> std::result::Result<Rc<Norm>, LoadError> {
        match self.0.get(name) {
            Some(Module::Norm(norm)) => Ok(Rc::clone(norm)),
            _ => Err(LoadError::Table(name.into())),
        }
    }

    pub fn activation(&self, name: &str) -> std::result::Result<Rc<Activation>, LoadError> {
        match self.0.get(name) {
            Some(Module::Activation(activation)) => Ok(Rc::clone(activation)),
            _ => Err(LoadError::Table(name.into())),
        }
    }

    pub fn dropout(&self, name: Option<&str>) -> std::result::Result<Option<Rc<Dropout>>, LoadError> {
        let Some(name) = name else { return Ok(None) };
        match self.0.get(name) {
            Some(Module::Dropout(dropout)) => Ok(Some(Rc::clone(dropout))),
            _ => Err(LoadError::Table(name.into())),
        }
    }

    pub fn site(&self, name: &str) -> Option<Site> {
        Some(match self.0.get(name)? {
            Module::Linear(linear) => linear.site,
            Module::Norm(norm) => norm.site,
            Module::Dropout(dropout) => dropout.site,
            Module::Activation(activation) => activation.site,
        })
    }

    /// Lists the operations of the module at a site, in their order.
    pub fn inside(&self, site: Site) -> Vec<Site> {
        let own = |module: &Module| match module {
            Module::Norm(norm) if norm.site == site => Some(norm.operations.order()),
            _ => None,
        };
        self.0.values().find_map(own).unwrap_or_default()
    }

    /// Runs a module on a tensor of each part; `None` where there is no such module.
    pub fn run(&self, pass: &mut Pass<'_>, name: &str, input: &Held) -> Option<Result<Held>> {
        let module = self.0.get(name)?;
        let site = self.site(name)?;
        let run = |pass: &mut Pass<'_>, Parts(inputs): Parts| match module {
            Module::Linear(linear) => linear.run_each(pass, &inputs),
            Module::Norm(norm) => norm.run_each(pass, inputs),
            Module::Dropout(_) => Ok(Parts(inputs)),
            Module::Activation(activation) => each(pass, &inputs, |input| activation.compute(input)),
        };
        Some(input.tensors().and_then(|inputs| Ok(Held::Tensors(pass.module(site, Parts(inputs), run)?.0))))
    }
}

/// Linear modules by name, with their inputs and outputs, and whether they have biases.
type Alike = (Vec<(&'static str, [i64; 2])>, bool);

/// Returns inputs and outputs of linear modules, and whether they have biases, where they agree in both.
fn alike(leaves: &family::Leaves, names: &[&'static str]) -> Option<Alike> {
    let own = |name: &&'static str| match leaves.iter().find(|(own, _)| own == name)? {
        &(name, Leaf::Linear { inputs, outputs, bias }) => Some((name, [inputs, outputs], bias)),
        _ => None,
    };
    let all = names.iter().map(own).collect::<Option<Vec<_>>>()?;
    let &(_, [inputs, _], biased) = all.first()?;
    let alike = all.iter().all(|&(_, [own, _], bias)| own == inputs && bias == biased);
    alike.then(|| (all.iter().map(|&(name, sides, _)| (name, sides)).collect(), biased))
}

fn each(
    pass: &Pass<'_>,
    inputs: &[Tensor],
    compute: impl Fn(&Tensor) -> std::result::Result<Tensor, tch::TchError>,
) -> Result<Parts> {
    let own = |(part, input): (usize, &Tensor)| pass.paid(part, || Ok(compute(input)?));
    Ok(Parts(inputs.iter().enumerate().map(own).collect::<Result<_>>()?))
}
