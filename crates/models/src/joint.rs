//! Linear modules that are given the same: on a GPU their matrices lie one below the other, and are multiplied as one.
//!
//! A module that is multiplied by itself takes its part of that same product: what others look at must not show in
//! anybody's bits, and a kernel for fewer columns might round otherwise.

use std::rc::Rc;

use kernels::{Memory, Products, Weight};
use tch::{TchError, Tensor};

use crate::nn::Linear;
use crate::pass::{Pass, Result};
use crate::tokens::Tokens;

/// Several modules' matrices and biases, as one.
pub struct Joint {
    pub weight: Rc<Weight>,
    bias: Option<Tensor>,
}

/// A module's columns of a joint product.
pub struct Share {
    pub joint: Rc<Joint>,
    first: i64,
    width: i64,
}

/// A module's own part of joined parameters: views.
pub type Parameters = (Rc<Weight>, Option<Tensor>, Share);

impl Joint {
    /// Joins `[out, in]` matrices of one `in`, and their biases, where they have any.
    ///
    /// # Errors
    /// When they do not fit each other.
    pub fn of(matrices: &[Tensor], biases: &[Tensor]) -> std::result::Result<Vec<Parameters>, TchError> {
        let all = Tensor::f_cat(matrices, 0)?;
        let bias = if biases.is_empty() { None } else { Some(Tensor::f_cat(biases, 0)?) };
        let joint = Rc::new(Self { weight: Rc::new(Weight::new(&all)?), bias });
        let (mut parameters, mut first) = (Vec::with_capacity(matrices.len()), 0);
        for matrix in matrices {
            let width = matrix.size().first().copied().unwrap_or(0);
            let weight = Rc::new(Weight::new(&all.f_narrow(0, first, width)?)?);
            let bias = joint.bias.as_ref().map(|bias| bias.f_narrow(0, first, width)).transpose()?;
            parameters.push((weight, bias, Share { joint: Rc::clone(&joint), first, width }));
            first += width;
        }
        Ok(parameters)
    }

    /// Returns what the modules share, if they are one joint's, and all of it.
    pub fn of_all(linears: &[&Rc<Linear>]) -> Option<Rc<Self>> {
        let first = &linears.first()?.share.as_ref()?.joint;
        let shares = linears.iter().map(|linear| linear.share.as_ref());
        let own = shares.flatten().filter(|share| Rc::ptr_eq(&share.joint, first));
        let (count, width) = own.fold((0, 0), |(count, width), share| (count + 1, width + share.width));
        (count == linears.len() && width == first.weight.size()[0]).then(|| Rc::clone(first))
    }

    /// Lists the memory in which all of it is kept.
    ///
    /// # Errors
    /// When libtorch does not say where it lies.
    pub fn memory(&self) -> std::result::Result<Vec<Memory>, TchError> {
        let mut all = self.weight.memory()?;
        all.extend(self.bias.as_ref().map(Memory::of).transpose()?.flatten());
        Ok(all)
    }

    /// Multiplies by all matrices.
    pub fn product(&self, products: &Products, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        products.linear(input, &self.weight, self.bias.as_ref())
    }
}

impl Share {
    fn of(&self, product: &Tensor) -> std::result::Result<Tensor, TchError> {
        product.f_narrow(-1, self.first, self.width)
    }

    /// Multiplies by the module's own matrix.
    pub fn product(&self, products: &Products, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        self.of(&self.joint.product(products, input)?)?.f_contiguous()
    }
}

/// A joint product, for as long as nobody writes to what was multiplied.
pub struct Once(Option<(Tensor, Tensor, i64)>);

impl Once {
    /// Multiplies packed rows by what some modules share, if they do. Where somebody may give one of them something else
    /// there is no such product.
    pub fn new(pass: &Pass<'_>, linears: &[&Rc<Linear>], input: &Tokens) -> Result<Self> {
        let Tokens::Packed(input) = input else { return Ok(Self(None)) };
        let alike = !linears.iter().any(|linear| pass.wants(linear.site).input);
        let joint = Joint::of_all(linears).filter(|_| alike && !libtorch::recording());
        let product = joint.map(|joint| joint.product(&pass.products, input)).transpose()?;
        Ok(Self(product.map(|product| (product, input.shallow_clone(), libtorch::writes(input)))))
    }

    /// Runs one of the modules.
    pub fn run(&self, pass: &mut Pass<'_>, linear: &Linear, input: &Tokens) -> Result<Tokens> {
        let known = self.0.as_ref().filter(|(_, given, writes)| libtorch::writes(given) == *writes);
        let (Some((product, ..)), Some(share)) = (known, &linear.share) else { return linear.run(pass, input) };
        if pass.wants(linear.site).input {
            return linear.run(pass, input);
        }
        let shown = pass.wants(linear.site).output;
        pass.module(linear.site, input.share(), |_, _| {
            let own = share.of(product)?;
            // What is shown lies by itself, as the module's own product does.
            Ok(Tokens::Packed(if shown { own.f_contiguous()? } else { own }))
        })
    }
}
