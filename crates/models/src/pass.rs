//! One forward pass, as the modules see it: who watches, and where each part lies.
//!
//! Performance-critical: a module that nobody wants costs one question and no allocation.
//!
//! A layout of one part computes on Hugging Face's own shapes, `[rows, length, …]`, so that what a user is shown is
//! the very tensor that the model goes on with. Several parts lie packed, `[tokens, …]`.

use std::rc::Rc;

use engine::{Done, Inputs, Interrupt, Layout, Observer, Packed, Part, SegmentIndex, Site, Tree, Wants};
use interpreter::raise::{Kind as Exception, Raise};
use kernels::Products;
use tch::{TchError, Tensor};

use crate::cache::Caches;
use crate::spans::Span;
use crate::tokens::{Recorder, Tokens};

/// What flows between modules and their watchers.
pub type Flow = Tree<Packed<torch::Tensor>>;
pub type Arguments = Inputs<Packed<torch::Tensor>>;
pub type Result<T> = std::result::Result<T, Stop>;

/// Why a module does not return.
pub enum Stop {
    Interrupt(Interrupt),
    Torch(TchError),
}

impl From<Interrupt> for Stop {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupt(interrupt)
    }
}

impl From<Raise> for Stop {
    fn from(raise: Raise) -> Self {
        Self::Interrupt(Interrupt::Failed(raise))
    }
}

impl From<TchError> for Stop {
    fn from(error: TchError) -> Self {
        Self::Torch(error)
    }
}

impl From<Stop> for Interrupt {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Interrupt(interrupt) => interrupt,
            Stop::Torch(error) => Self::Failed(raise(&error)),
        }
    }
}

/// Makes the exception that PyTorch raises in Python.
pub fn raise(error: &TchError) -> Raise {
    let text = match error {
        TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    // libtorch appends where in its own source the error arose.
    let text = text.split("\nException raised from").next().unwrap_or_default();
    match text {
        text if text.contains("index out of range") => Raise::index_error(text),
        text if text.starts_with("CUDA out of memory") => {
            Raise::named("torch.OutOfMemoryError", Exception::RuntimeError, text)
        }
        text => Raise::runtime_error(text),
    }
}

/// A module's input: one value in, one value back, whoever looks in between.
pub trait Input: Sized {
    /// Describes the arguments as Hugging Face's caller passes them.
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments>;

    /// Takes arguments back, some of them perhaps replaced.
    fn read(self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self>;
}

/// A module's output.
pub trait Output: Sized {
    fn show(&self, pass: &Pass<'_>) -> Flow;

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self>;
}

/// A forward pass in progress.
pub struct Pass<'a> {
    observer: &'a mut dyn Observer<torch::Tensor>,
    pub layout: Layout,
    pub products: Products,
    /// By segment.
    pub done: Vec<Done>,
    /// By segment; empty where nobody's gradients are recorded.
    pub recorders: Vec<Recorder>,
}

impl<'a> Pass<'a> {
    /// Begins a pass over segments.
    pub fn new(observer: &'a mut dyn Observer<torch::Tensor>, layout: Layout, products: Products) -> Self {
        let done = vec![Done::default(); layout.parts.len()];
        Self { observer, layout, products, done, recorders: Vec::new() }
    }

    /// Returns whose gradients are recorded of a part.
    pub fn recorder(&self, part: usize) -> Option<&Recorder> {
        self.recorders.get(self.layout.parts.get(part)?.segment?.0)
    }

    fn records(&self) -> bool {
        !self.recorders.is_empty()
    }

    /// Returns what anybody wants of a module.
    pub fn wants(&self, site: Site) -> Wants {
        let mut all = Wants::default();
        for segment in self.layout.parts.iter().filter_map(|part| part.segment) {
            all = all | self.observer.wants(site, segment);
        }
        all
    }

    /// Returns what is wanted of a module for one segment.
    pub fn wanted_by(&self, segment: SegmentIndex, site: Site) -> Wants {
        self.observer.wants(site, segment)
    }

    /// Returns what is wanted of a module for one part.
    pub fn part_wants(&self, part: usize, site: Site) -> Wants {
        let segment = self.layout.parts.get(part).and_then(|part| part.segment);
        segment.map(|segment| self.wanted_by(segment, site)).unwrap_or_default()
    }

    /// Returns whether anything still to come matters to a segment.
    pub fn live(&self, segment: SegmentIndex) -> bool {
        self.observer.live(segment)
    }

    /// Returns whether the segment behind a part leaves a module out that runs for others.
    pub fn leaves_out(&self, part: &Part, site: Site) -> bool {
        part.segment.is_some_and(|segment| self.observer.leaves_out(site, segment))
    }

    /// Tells the observer that the pass could be left here for a while.
    pub fn rest(&self) {
        self.observer.rest();
    }

    /// Tells the observer that the pass is between two layers.
    pub fn between_layers(&mut self) -> Result<()> {
        Ok(self.observer.between_layers()?)
    }

    /// Returns where each row of a segment was first changed since the last question.
    pub fn written(&mut self, segment: SegmentIndex) -> Result<Vec<i64>> {
        Ok(self.observer.written(segment)?)
    }

    /// Shows one tensor for each of some whole segments as a module's output, and returns what became of them.
    pub fn exit_parts(&mut self, site: Site, layout: &Layout, parts: &[Tensor]) -> Result<Vec<Tensor>> {
        match self.observer.exit(site, learned(parts), layout)? {
            Tree::Leaf(Packed::Parts(parts)) => Ok(parts.iter().map(|part| part.tch().shallow_clone()).collect()),
            other => Err(not_a_tensor(&other).into()),
        }
    }

    /// Runs a module between its watchers.
    pub fn module<I: Input, O: Output>(
        &mut self,
        site: Site,
        input: I,
        run: impl FnOnce(&mut Self, I) -> Result<O>,
    ) -> Result<O> {
        let output = if self.wants(site).input {
            let shown = input.show(self)?;
            let entered = self.observer.enter(site, shown, &self.layout)?;
            match entered.skipped {
                Some(flow) => O::read(self, flow)?,
                None => {
                    let input = input.read(self, entered.inputs)?;
                    run(self, input)?
                }
            }
        } else {
            run(self, input)?
        };
        self.observer.rest();
        if !self.wants(site).output {
            return Ok(output);
        }
        let shown = output.show(self);
        let flow = self.observer.exit(site, shown, &self.layout)?;
        O::read(self, flow)
    }

    /// Runs a module that takes one tensor and returns one.
    pub fn unary(
        &mut self,
        site: Site,
        input: &Tokens,
        run: impl Fn(&Tensor) -> std::result::Result<Tensor, TchError>,
    ) -> Result<Tokens> {
        self.module(site, input.share(), |pass, input| pass.each(&input, run))
    }

    /// Returns whether the pass has one segment, in Hugging Face's shape.
    pub fn single(&self) -> bool {
        self.layout.parts.len() == 1
    }

    /// Shows a tensor over all tokens.
    pub fn leaf(&self, tokens: &Tokens) -> Flow {
        match tokens {
            Tokens::Apart(parts) => learned(parts),
            Tokens::Packed(tensor) if self.single() => learned([tensor]),
            Tokens::Packed(tensor) => Tree::Leaf(Packed::Tokens(torch::Tensor::new(tensor.shallow_clone()).learned())),
        }
    }

    /// Reads a tensor over all tokens.
    pub fn tokens(&self, flow: Flow) -> Result<Tokens> {
        let Tree::Leaf(packed) = flow else { return Err(not_a_tensor(&flow).into()) };
        let parts = match packed {
            Packed::Tokens(tensor) if self.single() => return self.join(vec![self.view(tensor.tch(), 0)?]),
            Packed::Tokens(tensor) => return Ok(Tokens::Packed(tensor.tch().shallow_clone())),
            Packed::Parts(parts) => parts,
            Packed::Some(_) => return Err(not_a_tensor(&Tree::None).into()),
        };
        // Rows that lie beside others' must not grow into them.
        let fits = |(tensor, part): (&torch::Tensor, &Part)| {
            tensor.tch().size().starts_with(&[part.rows, part.length])
                && parts.first().is_some_and(|first| first.tch().kind() == tensor.tch().kind())
        };
        let all_fit = self.single() || parts.iter().zip(&self.layout.parts).all(fits);
        if parts.len() != self.layout.parts.len() || !all_fit {
            return Err(wrong_segments().into());
        }
        self.gather(parts.iter().map(|part| part.tch().shallow_clone()).collect())
    }

    /// Reads one tensor per part.
    pub fn tensors(&self, flow: Flow) -> Result<Vec<Tensor>> {
        match flow {
            Tree::Leaf(Packed::Parts(parts)) if parts.len() == self.layout.parts.len() => {
                Ok(parts.iter().map(|part| part.tch().shallow_clone()).collect())
            }
            Tree::Leaf(Packed::Tokens(tensor)) => {
                (0..self.layout.parts.len()).map(|segment| self.view(tensor.tch(), segment)).collect()
            }
            Tree::Leaf(Packed::Parts(_)) => Err(wrong_segments().into()),
            Tree::Leaf(Packed::Some(_)) => Err(not_a_tensor(&Tree::None).into()),
            other => Err(not_a_tensor(&other).into()),
        }
    }

    /// Returns one part of a tensor over all tokens, as `[rows, length, …]`.
    pub fn segment(&self, tokens: &Tokens, part: usize) -> Result<Tensor> {
        match tokens {
            Tokens::Apart(parts) => parts.get(part).map(Tensor::shallow_clone).ok_or_else(|| wrong_segments().into()),
            Tokens::Packed(tensor) if self.single() && tensor.dim() > 2 => Ok(tensor.shallow_clone()),
            Tokens::Packed(tensor) => self.view(tensor, part),
        }
    }

    /// Returns a span of a tensor over all tokens, as `[rows, length, …]`.
    pub fn span(&self, tokens: &Tokens, span: &Span) -> Result<Tensor> {
        match tokens {
            // One part alone lies as `[rows, length, …]`.
            Tokens::Packed(tensor) if span.is_flat() && self.single() && tensor.dim() > 2 => {
                Ok(tensor.f_flatten(0, 1)?.f_unsqueeze(0)?)
            }
            Tokens::Packed(tensor) if span.is_flat() || span.parts > 1 => {
                self.rows(tensor, span.first, (span.rows, span.length))
            }
            tokens => self.segment(tokens, span.first),
        }
    }

    fn view(&self, tensor: &Tensor, part: usize) -> Result<Tensor> {
        let &Part { rows, length, .. } = self.layout.parts.get(part).ok_or_else(wrong_segments)?;
        self.rows(tensor, part, (rows, length))
    }

    /// Returns so many rows from the first of a part on.
    fn rows(&self, tensor: &Tensor, part: usize, (rows, length): (i64, i64)) -> Result<Tensor> {
        let own = tensor.f_narrow(0, self.layout.start(part), rows * length)?;
        let mut shape = vec![rows, length];
        shape.extend(own.size().iter().skip(1));
        Ok(own.f_view(shape.as_slice())?)
    }

    /// Joins what blocks may have seen to a tensor over all tokens.
    pub fn gather(&self, parts: Vec<Tensor>) -> Result<Tokens> {
        let seen: Vec<Tensor> = parts.iter().map(Tensor::shallow_clone).collect();
        let joined = self.join(parts)?;
        if let (Tokens::Packed(packed), false) = (&joined, self.single()) {
            for (index, (part, from)) in self.layout.parts.iter().zip(seen).enumerate() {
                if let Some(segment) = part.segment {
                    let to = self.view(packed, index)?;
                    self.observer.moved(segment, &torch::Tensor::new(from), &torch::Tensor::new(to))?;
                }
            }
        }
        Ok(joined)
    }

    /// Joins one `[rows, length, …]` tensor per part, or per span, to a tensor over all tokens.
    pub fn join(&self, parts: Vec<Tensor>) -> Result<Tokens> {
        if self.records() {
            return Ok(Tokens::Apart(parts));
        }
        if self.single() {
            return parts.into_iter().next().map(Tokens::Packed).ok_or_else(|| wrong_segments().into());
        }
        let mut flat = parts.iter().map(|part| part.f_flatten(0, 1)).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Tokens::Packed(if flat.len() == 1 { flat.remove(0) } else { Tensor::f_cat(&flat, 0)? }))
    }
}

/// Shows one tensor per part that comes of the model's parameters.
pub fn learned<'t>(parts: impl IntoIterator<Item = &'t Tensor>) -> Flow {
    let shown = |part: &Tensor| torch::Tensor::new(part.shallow_clone()).learned();
    Tree::Leaf(Packed::Parts(parts.into_iter().map(shown).collect()))
}

/// Shows one tensor per part.
pub fn leaves<'t>(parts: impl IntoIterator<Item = &'t Tensor>) -> Flow {
    Tree::Leaf(Packed::Parts(parts.into_iter().map(|part| torch::Tensor::new(part.shallow_clone())).collect()))
}

/// Shows caches, or `None` where there are none.
pub fn caches(caches: Option<&Rc<Caches>>) -> Flow {
    match caches {
        Some(caches) => Tree::Object(Rc::clone(caches) as Rc<dyn std::any::Any>),
        None => Tree::None,
    }
}

fn not_a_tensor(flow: &Flow) -> Raise {
    let found = match flow {
        Tree::None => "NoneType",
        Tree::Bool(_) => "bool",
        Tree::Int(_) => "int",
        Tree::Float(_) => "float",
        Tree::Leaf(_) => "Tensor",
        Tree::Tuple(_) => "tuple",
        Tree::Dict(_) => "dict",
        Tree::Record { class, .. } => class.rsplit('.').next().unwrap_or(class),
        Tree::Object(_) => "DynamicCache",
    };
    Raise::type_error(format!("the model computes with a Tensor here, not '{found}'"))
}

/// The raise for a part that is not there.
pub fn no_part() -> Raise {
    Raise::runtime_error("a pass has no such part")
}

fn wrong_segments() -> Raise {
    Raise::runtime_error("a value does not have one tensor for each part of the pass")
}

impl Input for Tokens {
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments> {
        Ok(Inputs { args: vec![pass.leaf(self)], kwargs: Vec::new() })
    }

    fn read(self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let first = arguments.args.into_iter().next();
        let first = first.or_else(|| arguments.kwargs.into_iter().next().map(|(_, flow)| flow));
        pass.tokens(
            first.ok_or_else(|| Raise::type_error("forward() missing 1 required positional argument: 'input'"))?,
        )
    }
}

impl Output for Tokens {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        pass.leaf(self)
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        pass.tokens(flow)
    }
}

/// One tensor per segment, whatever their shapes: what a module sees that is given other than all tokens.
pub struct Parts(pub Vec<Tensor>);

impl Input for Parts {
    fn show(&self, _: &Pass<'_>) -> Result<Arguments> {
        Ok(Inputs { args: vec![leaves(&self.0)], kwargs: Vec::new() })
    }

    fn read(self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let first = arguments.args.into_iter().next();
        pass.tensors(first.unwrap_or(Tree::None)).map(Self)
    }
}

impl Output for Parts {
    fn show(&self, _: &Pass<'_>) -> Flow {
        learned(&self.0)
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        pass.tensors(flow).map(Self)
    }
}

/// Watches nothing.
pub struct Nobody;

/// Watches nothing, and is told where what is computed could be left for a while.
pub struct Unseen<'a>(pub &'a dyn Fn());

impl Observer<torch::Tensor> for Nobody {
    fn wants(&self, _: Site, _: SegmentIndex) -> Wants {
        Wants::default()
    }

    fn enter(
        &mut self,
        _: Site,
        inputs: Arguments,
        _: &Layout,
    ) -> std::result::Result<engine::Entered<torch::Tensor>, Interrupt> {
        Ok(engine::Entered { inputs, skipped: None })
    }

    fn exit(&mut self, _: Site, output: Flow, _: &Layout) -> std::result::Result<Flow, Interrupt> {
        Ok(output)
    }
}

impl Observer<torch::Tensor> for Unseen<'_> {
    fn wants(&self, _: Site, _: SegmentIndex) -> Wants {
        Wants::default()
    }

    fn enter(
        &mut self,
        site: Site,
        inputs: Arguments,
        layout: &Layout,
    ) -> std::result::Result<engine::Entered<torch::Tensor>, Interrupt> {
        Nobody.enter(site, inputs, layout)
    }

    fn exit(&mut self, site: Site, output: Flow, layout: &Layout) -> std::result::Result<Flow, Interrupt> {
        Nobody.exit(site, output, layout)
    }

    fn rest(&self) {
        self.0();
    }
}
