//! Builds a model's module tree while its weights are read.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use engine::{AbsentSchema, Attention, ModuleSchema, OperationSchema, Round, Schema, Site};
use kernels::{Along, Apart, Cut, Keep, Memory, Ranks, Weight};
use tch::{Kind, Tensor};

use crate::dtype::Precision;
use crate::error::LoadError;
use crate::family::{self, Absent, Attributes, NormKind};
use crate::joint::{Joint, Parameters, Share};
use crate::matrix::{Block, Matrix};
use crate::nn::{Activation, Dropout, Embedding, Function, Linear, Table};
use crate::norm::Norm;
use crate::residency::Streaming;
use crate::source::{Loop, Operations, Script};
use crate::weights::Weights;

/// What a module is, for reading its attributes and for running it by itself.
#[derive(Clone)]
pub enum Node {
    /// The model with its head.
    Root,
    /// What stands between the model with its head and the one without.
    Around,
    /// The model without.
    Base,
    /// A `ModuleList`.
    List,
    /// A decoder layer, its attention, its feed-forward block: by the layer's number.
    Layer(usize),
    Attention(usize),
    Mlp(usize),
    /// What chooses a layer's experts, and these.
    Router(usize),
    Experts(usize),
    Rotary,
    Linear(Rc<Linear>),
    Conv1D(Rc<Linear>),
    Norm(Rc<Norm>),
    Embedding(Rc<Embedding>),
    Dropout(Rc<Dropout>),
    Activation(Rc<Activation>),
}

/// Adds modules in `named_modules()` order.
pub struct Builder<'a> {
    weights: &'a mut Weights,
    progress: &'a mut dyn FnMut(u64, u64),
    /// Who holds pieces of the matrices, which are kept so.
    ranks: Option<(Rc<Ranks>, Precision)>,
    /// In which parameters lie.
    pub memory: Vec<Memory>,
    /// What brings layers when they are used, and the layer that is being added.
    streaming: Option<Rc<Streaming>>,
    layer: Option<usize>,
    pub schema: Schema,
    pub nodes: Vec<Node>,
    /// By site.
    pub attributes: Vec<Attributes>,
    open: Vec<Site>,
    scripts: HashMap<&'static str, Rc<Script>>,
    /// Which of all operations are in the function that another one calls.
    inner: Vec<(Range<usize>, usize)>,
    /// The site of the first operation: modules come before.
    base: Rc<Cell<u32>>,
}

impl<'a> Builder<'a> {
    /// Begins a tree. Tells the bytes read, and those of all tensors, after each tensor. Matrices are cut into pieces where
    /// there are ranks to hold them.
    pub fn new(
        weights: &'a mut Weights,
        ranks: Option<(Rc<Ranks>, Precision)>,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Self {
        Self {
            weights,
            progress,
            ranks,
            memory: Vec::new(),
            streaming: None,
            layer: None,
            schema: Schema::default(),
            nodes: Vec::new(),
            attributes: Vec::new(),
            open: Vec::new(),
            scripts: HashMap::new(),
            inner: Vec::new(),
            base: Rc::default(),
        }
    }

    /// Has matrices of layers be elsewhere until they are used.
    pub fn stream(&mut self, streaming: &Rc<Streaming>) {
        self.streaming = Some(Rc::clone(streaming));
    }

    /// Says of which layer what follows is, if of one.
    pub fn enter(&mut self, layer: Option<usize>) {
        self.layer = layer;
    }

    /// Adds a module; what follows is inside it until [`Builder::close`].
    pub fn open(&mut self, name: &str, class: &str, node: Node) -> Site {
        let site = self.add(name, class, |_| node);
        self.open.push(site);
        site
    }

    /// Adds the operations of a module's forward. `called` returns the site of a module that an operation calls.
    pub fn operations(
        &mut self,
        of: Site,
        source: &'static str,
        called: impl Fn(&str) -> Option<Site>,
    ) -> Result<Operations, LoadError> {
        self.operations_in_rounds(of, source, |name, _| called(name), |_| 1)
    }

    /// The same of a forward with loops in it, of so many rounds. An operation may call another module in each.
    pub fn operations_in_rounds(
        &mut self,
        of: Site,
        source: &'static str,
        called: impl Fn(&str, usize) -> Option<Site>,
        rounds: impl Fn(Loop) -> usize,
    ) -> Result<Operations, LoadError> {
        let script = match self.scripts.get(source) {
            Some(script) => Rc::clone(script),
            None => {
                let script = Rc::new(Script::read(source)?);
                self.scripts.insert(source, Rc::clone(&script));
                script
            }
        };
        let (mut places, mut order) = (Vec::with_capacity(script.lines.len()), Vec::new());
        for (within, lines) in script.stretches() {
            let first = self.schema.operations.len();
            let lines = script.lines.get(lines).unwrap_or_default();
            let step = lines.iter().filter(|line| line.is_operation()).count();
            let mut next = first;
            for line in lines {
                places.push((next, step));
                next += usize::from(line.is_operation());
            }
            let count = within.map_or(1, &rounds);
            for round in 0..count {
                for line in lines.iter().filter(|line| line.is_operation()) {
                    let calls = line.calls().and_then(|name| called(name, round));
                    if line.when != Some("never") {
                        order.push((self.schema.operations.len(), calls));
                    }
                    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                    let round = Round { index: small(round), count: small(count), step: small(step) };
                    self.schema.operations.push(OperationSchema {
                        name: line.name,
                        of,
                        when: None,
                        calls,
                        perhaps: line.when.is_some(),
                        round: within.map(|_| round),
                    });
                }
            }
        }
        Ok(Operations::new(script, places, &self.base, order))
    }

    /// Adds the functions that a forward's lines call, and those that these call.
    pub fn functions(
        &mut self,
        operations: &mut Operations,
        functions: family::Routines,
        called: &dyn Fn(&str) -> Option<Site>,
    ) -> Result<(), LoadError> {
        for (line, name, number) in operations.calls() {
            if let Some((_, function)) = functions.iter().find(|(own, _)| *own == name) {
                let mut inner = self.function(number, function.source, None, called)?;
                self.functions(&mut inner, function.inside, called)?;
                operations.put_inside(line, function.parameters, inner);
            }
        }
        Ok(())
    }

    /// Adds the operations of a function that one of all operations calls where attention is computed in some way.
    pub fn function(
        &mut self,
        caller: usize,
        source: &'static str,
        when: Option<Attention>,
        called: &dyn Fn(&str) -> Option<Site>,
    ) -> Result<Operations, LoadError> {
        let first = self.schema.operations.len();
        let called_perhaps = self.schema.operations.get(caller).is_some_and(|operation| operation.perhaps);
        // Operations have no sites yet.
        let operations = self.operations(Site(0), source, called)?;
        let own = self.schema.operations.get_mut(first..).unwrap_or_default();
        own.iter_mut().for_each(|operation| {
            operation.when = when;
            operation.perhaps |= called_perhaps;
        });
        self.inner.push((first..self.schema.operations.len(), caller));
        Ok(operations)
    }

    /// Notes modules that Hugging Face's model has, and this one does not.
    pub fn leave_out(&mut self, absent: Vec<Absent>) {
        let noted = absent.into_iter().map(|Absent { path, why }| AbsentSchema { path, why });
        self.schema.absent.extend(noted);
    }

    /// Ends the tree: from now on operations have their sites.
    pub fn end(&mut self) {
        let base = self.next().0;
        self.base.set(base);
        for (range, caller) in std::mem::take(&mut self.inner) {
            let of = Site(base + u32::try_from(caller).unwrap_or(0));
            let own = self.schema.operations.get_mut(range).unwrap_or_default();
            own.iter_mut().for_each(|operation| operation.of = of);
        }
    }

    /// Ends the innermost open module.
    pub fn close(&mut self) {
        self.open.pop();
    }

    fn add(&mut self, name: &str, class: &str, node: impl FnOnce(Site) -> Node) -> Site {
        let site = Site(u32::try_from(self.schema.modules.len()).unwrap_or(u32::MAX));
        let parent = self.open.last().copied();
        let path = self.path(name);
        if let Some(parent) = parent.and_then(|parent| self.schema.modules.get_mut(parent.0 as usize)) {
            parent.children.push((name.into(), site));
        }
        self.schema.modules.push(ModuleSchema { path, class: class.into(), parent, children: Vec::new() });
        self.nodes.push(node(site));
        self.attributes.push(Attributes::new());
        site
    }

    /// Gives a module plain attributes.
    pub fn describe(&mut self, site: Site, attributes: &Attributes) {
        if let Some(own) = self.attributes.get_mut(site.0 as usize) {
            own.clone_from(attributes);
        }
    }

    /// Returns the full name of something in the innermost open module.
    pub fn path(&self, name: &str) -> String {
        let outer = self.open.last().and_then(|site| self.schema.module(*site)).map_or("", |module| &module.path);
        if outer.is_empty() { name.into() } else { format!("{outer}.{name}") }
    }

    fn next(&self) -> Site {
        Site(u32::try_from(self.schema.modules.len()).unwrap_or(u32::MAX))
    }

    fn read(&mut self, module: &str, parameter: &str, shape: &[i64]) -> Result<Tensor, LoadError> {
        let name = format!("{}.{parameter}", self.path(module));
        self.read_named(&name, shape)
    }

    /// Reads a tensor by its full name.
    pub fn read_named(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, LoadError> {
        let tensor = self.weights.read(name, shape);
        let tensor = self.tell(tensor)?;
        self.memory.extend(Memory::of(&tensor)?);
        Ok(tensor)
    }

    /// Returns whether there is a tensor of this full name.
    pub fn has(&self, name: &str) -> bool {
        self.weights.has(name)
    }

    fn tell<T>(&mut self, read: Result<T, LoadError>) -> Result<T, LoadError> {
        let (done, total) = self.weights.progress();
        (self.progress)(done + self.streaming.as_ref().map_or(0, |streaming| streaming.progress()), total);
        read
    }

    /// Adds a linear layer and reads its weight `[outputs, inputs]` and, if it has one, its bias.
    pub fn linear(
        &mut self,
        name: &str,
        [inputs, outputs]: [i64; 2],
        bias: bool,
        along: Along,
    ) -> Result<Rc<Linear>, LoadError> {
        let block = Block::new(format!("{}.weight", self.path(name)), [outputs, inputs]);
        let bias = if bias { Some(self.read(name, "bias", &[outputs])?) } else { None };
        let weight = self.matrix(vec![block], along, Keep::Packed, bias.as_ref())?;
        Ok(self.add_linear(name, weight, bias))
    }

    /// Reads the parameters of linear layers that are given the same, so many `[inputs, outputs]` each, as what is multiplied as
    /// one; `None` where that saves nothing.
    pub fn join(
        &mut self,
        linears: &[(&'static str, [i64; 2])],
        biased: bool,
    ) -> Result<Option<Vec<(&'static str, Parameters)>>, LoadError> {
        let elsewhere = self.ranks.is_some() || self.streaming.is_some();
        if elsewhere || self.weights.in_few_bits() || !self.weights.device().is_cuda() {
            return Ok(None);
        }
        let (mut matrices, mut biases) = (Vec::with_capacity(linears.len()), Vec::new());
        for &(name, [inputs, outputs]) in linears {
            let path = self.path(name);
            let matrix = self.weights.read(&format!("{path}.weight"), &[outputs, inputs]);
            matrices.push(self.tell(matrix)?);
            if biased {
                let bias = self.weights.read(&format!("{path}.bias"), &[outputs]);
                biases.push(self.tell(bias)?);
            }
        }
        let parameters = Joint::of(&matrices, &biases)?;
        if let Some((.., share)) = parameters.first() {
            self.memory.extend(share.joint.memory()?);
        }
        Ok(Some(linears.iter().map(|(name, _)| *name).zip(parameters).collect()))
    }

    /// Adds a linear layer whose parameters are there.
    pub fn joined(&mut self, name: &str, (weight, bias, share): Parameters) -> Rc<Linear> {
        self.add_sharing(name, weight, bias, Some(share))
    }

    /// Reads a matrix, cut along a side where there are ranks. Its products are to add a bias.
    pub fn matrix(
        &mut self,
        blocks: Vec<Block>,
        along: Along,
        keep: Keep,
        bias: Option<&Tensor>,
    ) -> Result<Rc<Weight>, LoadError> {
        let matrix = Matrix { blocks };
        let (size, packed) = (matrix.size(), keep == Keep::Packed);
        // A scale may be for numbers of a whole row.
        let along = if packed && self.weights.in_few_bits() { Along::Outputs } else { along };
        let streaming = self.streaming.clone().zip(self.layer).filter(|_| packed);
        let weight = match (self.ranks.clone(), streaming) {
            (None, Some((streaming, layer))) => {
                matrix.blocks.iter().for_each(|block| self.weights.leave(block));
                streaming.add(layer, matrix, keep)?
            }
            (None, None) => {
                let (kind, device) = (self.weights.kind(), self.weights.device());
                self.weights.pass_on(packed && Weight::lets_go(kind, device, size[1]));
                let given = matrix.load(self.weights, packed, Along::Outputs, &(0..size[0]));
                self.weights.pass_on(false);
                Weight::kept(given?, keep)?
            }
            (Some((ranks, precision)), _) => {
                let cut = Cut::new(size, along, ranks.count()).ok_or_else(|| LoadError::Ranks {
                    tensor: matrix.blocks.first().map(|block| block.name.clone()).unwrap_or_default(),
                    rows: size[0],
                    ranks: ranks.count(),
                })?;
                let request = matrix.request(self.weights, precision, packed, cut.along);
                let own = |own| matrix.load(self.weights, packed, along, &own);
                let pieces = Apart::load::<LoadError>(&ranks, cut, keep, &request, own)?;
                Weight::apart(pieces)
            }
        };
        if let Some(bias) = bias {
            weight.set_bias(bias)?;
        }
        self.memory.extend(weight.memory()?);
        self.tell(Ok(Rc::new(weight)))
    }

    /// Adds the head, with a weight that is the embedding's or its own `[outputs, inputs]`.
    pub fn head(
        &mut self,
        name: &str,
        embedding: &Embedding,
        &family::Head { other_name, bias, tied, .. }: &family::Head,
    ) -> Result<Rc<Linear>, LoadError> {
        let size = embedding.table.size();
        let read = other_name.filter(|other| self.has(&format!("{other}.weight"))).unwrap_or(name);
        let bias = if bias { Some(self.read(name, "bias", &size[..1])?) } else { None };
        // Single columns are read of it as it is.
        let weight = match (&embedding.table, tied) {
            (Table::Whole(table), true) => {
                let weight = Weight::beside(table)?;
                self.memory.extend(weight.memory()?);
                Rc::new(weight)
            }
            (Table::Apart(table), true) => {
                bias.as_ref().map_or(Ok(()), |bias| table.set_bias(bias))?;
                Rc::clone(table)
            }
            (_, false) => {
                let block = Block::new(format!("{}.weight", self.path(read)), size);
                self.matrix(vec![block], Along::Outputs, Keep::Both, bias.as_ref())?
            }
        };
        Ok(self.add_linear(name, weight, bias))
    }

    fn add_linear(&mut self, name: &str, weight: Rc<Weight>, bias: Option<Tensor>) -> Rc<Linear> {
        self.add_sharing(name, weight, bias, None)
    }

    fn add_sharing(
        &mut self,
        name: &str,
        weight: Rc<Weight>,
        bias: Option<Tensor>,
        share: Option<Share>,
    ) -> Rc<Linear> {
        let linear = Rc::new(Linear { site: self.next(), weight, bias, share });
        self.add(name, "Linear", |_| Node::Linear(Rc::clone(&linear)));
        linear
    }

    /// Adds a Conv1D and reads its weight `[inputs, outputs]` and its bias.
    pub fn conv1d(&mut self, name: &str, [inputs, outputs]: [i64; 2], along: Along) -> Result<Rc<Linear>, LoadError> {
        let block = Block::new(format!("{}.weight", self.path(name)), [inputs, outputs]);
        let bias = Some(self.read(name, "bias", &[outputs])?);
        let weight = self.matrix(vec![Block { turned: true, ..block }], along, Keep::Packed, bias.as_ref())?;
        let conv = Rc::new(Linear { site: self.next(), weight, bias, share: None });
        self.add(name, "Conv1D", |_| Node::Conv1D(Rc::clone(&conv)));
        Ok(conv)
    }

    pub fn norm(&mut self, name: &str, about: &family::Norm, width: i64) -> Result<Rc<Norm>, LoadError> {
        let weight = self.read(name, "weight", &[width])?;
        let bias = if about.kind == NormKind::Layer { Some(self.read(name, "bias", &[width])?) } else { None };
        let site = self.next();
        let mut operations = self.operations(site, about.kind.source(), |_| None)?;
        self.functions(&mut operations, about.kind.functions(), &|_| None)?;
        let scale = match about.kind {
            NormKind::RmsOnePlus => Some(kernels::number::add(&weight.f_to_kind(Kind::Float)?, 1.0)?),
            _ => None,
        };
        let norm = Rc::new(Norm { site, weight, scale, bias, eps: about.eps, kind: about.kind, operations });
        self.add(name, &about.class, |_| Node::Norm(Rc::clone(&norm)));
        Ok(norm)
    }

    /// Adds a table of so many entries, with what else is said of it. It may be cut into pieces that are kept so.
    pub fn embedding(
        &mut self,
        name: &str,
        (class, padding, scale): (&str, Option<i64>, Option<f64>),
        [entries, width]: [i64; 2],
        pieces: Option<Keep>,
    ) -> Result<Rc<Embedding>, LoadError> {
        let table = match pieces.filter(|_| self.ranks.is_some()) {
            Some(keep) => {
                let block = Block::new(format!("{}.weight", self.path(name)), [entries, width]);
                Table::Apart(self.matrix(vec![block], Along::Outputs, keep, None)?)
            }
            None => Table::Whole(self.read(name, "weight", &[entries, width])?),
        };
        let scale = match scale {
            Some(scale) => Some(kernels::number::full(scale, table.options())?),
            None => None,
        };
        let embedding = Rc::new(Embedding { site: self.next(), table, padding, scale });
        self.add(name, class, |_| Node::Embedding(Rc::clone(&embedding)));
        Ok(embedding)
    }

    pub fn dropout(&mut self, name: &str, probability: f64) -> Rc<Dropout> {
        let dropout = Rc::new(Dropout { site: self.next(), probability });
        self.add(name, "Dropout", |_| Node::Dropout(Rc::clone(&dropout)));
        dropout
    }

    pub fn activation(&mut self, name: &str, function: Function, class: &str) -> Rc<Activation> {
        let activation = Rc::new(Activation { site: self.next(), function });
        self.add(name, class, |_| Node::Activation(Rc::clone(&activation)));
        activation
    }

    /// Adds a module without parameters.
    pub fn plain(&mut self, name: &str, class: &str, node: Node) -> Site {
        self.add(name, class, |_| node)
    }
}
