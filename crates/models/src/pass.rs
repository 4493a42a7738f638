//! One forward pass, as the modules see it: who watches, and where each segment lies.
//!
//! Performance-critical: a module that nobody wants costs one question and no allocation.
//!
//! A pass of one segment computes on Hugging Face's own shapes, `[rows, length, …]`, so that what a user is shown is
//! the very tensor that the model goes on with. Several segments lie packed, `[tokens, …]`.

use std::rc::Rc;

use engine::{Inputs, Interrupt, Layout, Observer, Packed, Site, Tree, Wants};
use interpreter::raise::Raise;
use tch::{TchError, Tensor};

use crate::cache::Caches;

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
    if text.contains("index out of range") { Raise::index_error(text) } else { Raise::runtime_error(text) }
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
}

impl<'a> Pass<'a> {
    pub fn new(observer: &'a mut dyn Observer<torch::Tensor>, layout: Layout) -> Self {
        Self { observer, layout }
    }

    /// Returns what is wanted of a module.
    pub fn wants(&self, site: Site) -> Wants {
        self.observer.wants(site)
    }

    /// Runs a module between its watchers.
    pub fn module<I: Input, O: Output>(
        &mut self,
        site: Site,
        input: I,
        run: impl FnOnce(&mut Self, I) -> Result<O>,
    ) -> Result<O> {
        let output = if self.observer.wants(site).input {
            let shown = input.show(self)?;
            let entered = self.observer.enter(site, shown)?;
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
        if !self.observer.wants(site).output {
            return Ok(output);
        }
        let shown = output.show(self);
        let flow = self.observer.exit(site, shown)?;
        O::read(self, flow)
    }

    /// Runs a module that takes one tensor and returns one.
    pub fn unary(&mut self, site: Site, input: &Tensor, run: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        self.module(site, input.shallow_clone(), |_, input| run(&input))
    }

    /// Returns whether the pass has one segment, in Hugging Face's shape.
    pub fn single(&self) -> bool {
        self.layout.segments.len() == 1
    }

    /// Shows a tensor over all tokens.
    pub fn leaf(&self, tensor: &Tensor) -> Flow {
        let tensor = torch::Tensor::new(tensor.shallow_clone());
        Tree::Leaf(if self.single() { Packed::Segments(vec![tensor]) } else { Packed::Tokens(tensor) })
    }

    /// Reads a tensor over all tokens.
    pub fn tensor(&self, flow: Flow) -> Result<Tensor> {
        let Tree::Leaf(packed) = flow else { return Err(not_a_tensor(&flow).into()) };
        match packed {
            Packed::Tokens(tensor) if self.single() => self.segment(tensor.tch(), 0),
            Packed::Tokens(tensor) => Ok(tensor.tch().shallow_clone()),
            Packed::Segments(parts) if self.single() => match parts.as_slice() {
                [part] => Ok(part.tch().shallow_clone()),
                _ => Err(wrong_segments().into()),
            },
            Packed::Segments(parts) => {
                if parts.len() != self.layout.segments.len() {
                    return Err(wrong_segments().into());
                }
                let flat =
                    parts.iter().map(|part| part.tch().f_flatten(0, 1)).collect::<std::result::Result<Vec<_>, _>>()?;
                Ok(Tensor::f_cat(&flat, 0)?)
            }
        }
    }

    /// Reads one tensor per segment.
    pub fn tensors(&self, flow: Flow) -> Result<Vec<Tensor>> {
        match flow {
            Tree::Leaf(Packed::Segments(parts)) if parts.len() == self.layout.segments.len() => {
                Ok(parts.iter().map(|part| part.tch().shallow_clone()).collect())
            }
            Tree::Leaf(Packed::Tokens(tensor)) => {
                (0..self.layout.segments.len()).map(|segment| self.view(tensor.tch(), segment)).collect()
            }
            Tree::Leaf(Packed::Segments(_)) => Err(wrong_segments().into()),
            other => Err(not_a_tensor(&other).into()),
        }
    }

    /// Returns one segment of a tensor over all tokens, as `[rows, length, …]`.
    pub fn segment(&self, tensor: &Tensor, segment: usize) -> Result<Tensor> {
        if self.single() && tensor.dim() > 2 { Ok(tensor.shallow_clone()) } else { self.view(tensor, segment) }
    }

    fn view(&self, tensor: &Tensor, segment: usize) -> Result<Tensor> {
        let &(rows, length) = self.layout.segments.get(segment).ok_or_else(wrong_segments)?;
        let own = tensor.f_narrow(0, self.layout.start(segment), rows * length)?;
        let mut shape = vec![rows, length];
        shape.extend(own.size().iter().skip(1));
        Ok(own.f_view(shape.as_slice())?)
    }

    /// Joins one `[rows, length, …]` tensor per segment to a tensor over all tokens.
    pub fn join(&self, parts: Vec<Tensor>) -> Result<Tensor> {
        if self.single() {
            return parts.into_iter().next().ok_or_else(|| wrong_segments().into());
        }
        let flat = parts.iter().map(|part| part.f_flatten(0, 1)).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Tensor::f_cat(&flat, 0)?)
    }
}

/// Shows one tensor per segment.
pub fn leaves<'t>(parts: impl IntoIterator<Item = &'t Tensor>) -> Flow {
    Tree::Leaf(Packed::Segments(parts.into_iter().map(|part| torch::Tensor::new(part.shallow_clone())).collect()))
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
        Tree::Record { class, .. } => class.rsplit('.').next().unwrap_or(class),
        Tree::Object(_) => "DynamicCache",
    };
    Raise::type_error(format!("the model computes with a Tensor here, not '{found}'"))
}

fn wrong_segments() -> Raise {
    Raise::runtime_error("a value does not have one part for each segment of the pass")
}

impl Input for Tensor {
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments> {
        Ok(Inputs { args: vec![pass.leaf(self)], kwargs: Vec::new() })
    }

    fn read(self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let first = arguments.args.into_iter().next();
        let first = first.or_else(|| arguments.kwargs.into_iter().next().map(|(_, flow)| flow));
        pass.tensor(
            first.ok_or_else(|| Raise::type_error("forward() missing 1 required positional argument: 'input'"))?,
        )
    }
}

impl Output for Tensor {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        pass.leaf(self)
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        pass.tensor(flow)
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
        leaves(&self.0)
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        pass.tensors(flow).map(Self)
    }
}

/// Watches nothing.
pub struct Nobody;

impl Observer<torch::Tensor> for Nobody {
    fn wants(&self, _: Site) -> Wants {
        Wants::default()
    }

    fn enter(&mut self, _: Site, inputs: Arguments) -> std::result::Result<engine::Entered<torch::Tensor>, Interrupt> {
        Ok(engine::Entered { inputs, skipped: None })
    }

    fn exit(&mut self, _: Site, output: Flow) -> std::result::Result<Flow, Interrupt> {
        Ok(output)
    }
}
