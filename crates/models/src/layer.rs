//! A decoder layer: its modules, and the steps that its forward takes with them.

use std::rc::Rc;

use engine::{Site, Tree};
use interpreter::raise::Raise;
use tch::Tensor;

use crate::decoder::{Attended, Stream};
use crate::experts::Sparse;
use crate::family::{Form, Register};
use crate::feed_forward::FeedForward;
use crate::nn::Dropout;
use crate::norm::Norm;
use crate::pass::{Flow, Output, Pass, Result, leaves};
use crate::self_attention::SelfAttention;
use crate::source::{self, Forward, Given, Held, Operations};
use crate::tokens::Tokens;

pub struct Layer {
    pub site: Site,
    pub kind: usize,
    pub names: Vec<&'static str>,
    pub modules: Vec<Module>,
    pub steps: Vec<Step>,
    pub returns_weights: bool,
    pub operations: Operations,
}

/// See [`crate::family::Module`].
pub enum Module {
    Norm(Rc<Norm>),
    Dropout(Rc<Dropout>),
    Attention(SelfAttention),
    FeedForward(FeedForward),
    Experts(Sparse),
}

/// See [`crate::family::Step`]; a module by its number.
#[derive(Clone, Copy)]
pub enum Step {
    Run(usize, Register, Register),
    Add(Register, Register),
}

impl Layer {
    /// Runs the layer; its attention is called as `form` says.
    pub fn run(&self, index: usize, pass: &mut Pass<'_>, stream: Stream, form: &'static Form) -> Result<Attended> {
        if self.returns_weights {
            let through = |pass: &mut Pass<'_>, stream: Stream| self.through(index, pass, &stream, form).map(Pair);
            return Ok(pass.module(self.site, stream, through)?.0);
        }
        let through = |pass: &mut Pass<'_>, stream: Stream| Ok(self.through(index, pass, &stream, form)?.hidden);
        Ok(Attended { hidden: pass.module(self.site, stream, through)?, weights: None })
    }

    fn through(&self, index: usize, pass: &mut Pass<'_>, stream: &Stream, form: &'static Form) -> Result<Attended> {
        if pass.wants(self.site).operations {
            return self.step_by_step(index, pass, stream, form);
        }
        let mut registers = Registers { hidden: stream.hidden.share(), branch: None, attended: None };
        let mut weights = None;
        for &step in &self.steps {
            match step {
                Step::Add(from, to) => {
                    let sum = pass.both(registers.get(to)?, registers.get(from)?, Tensor::f_add)?;
                    registers.set(to, sum);
                }
                Step::Run(module, from, to) => {
                    let from = registers.get(from)?;
                    let made = match self.modules.get(module).ok_or_else(lost)? {
                        Module::Norm(norm) => norm.run(pass, from)?,
                        Module::Dropout(dropout) => dropout.run(pass, from)?,
                        Module::FeedForward(block) => block.run(pass, from)?,
                        Module::Experts(block) => block.run(pass, from, stream.shared.routed.as_ref())?.hidden,
                        Module::Attention(attention) => {
                            let from = from.share();
                            let attended = attention.run(index, pass, stream.with(from, form))?;
                            weights = attended.weights;
                            attended.hidden
                        }
                    };
                    registers.set(to, made);
                }
            }
        }
        Ok(Attended { hidden: registers.hidden, weights })
    }

    fn step_by_step(
        &self,
        index: usize,
        pass: &mut Pass<'_>,
        stream: &Stream,
        form: &'static Form,
    ) -> Result<Attended> {
        let forward = Steps { layer: self, index, stream, form };
        let given = vec![("hidden_states", Held::of_tokens(pass, &stream.hidden)?)];
        let cached = stream.shared.caches.is_some();
        let mut returned = source::run(&self.operations, pass, &forward, given, &|_| cached)?.into_iter();
        let hidden = returned.next().ok_or_else(lost)?.into_tokens(pass)?;
        let weights = returned.next().and_then(|weights| weights.tensors().ok());
        Ok(Attended { hidden, weights })
    }

    /// Shows what the layer returned.
    pub fn show(&self, pass: &Pass<'_>, attended: Attended) -> Flow {
        if self.returns_weights { Pair(attended).show(pass) } else { pass.leaf(&attended.hidden) }
    }

    /// Runs the layer's attention alone.
    pub fn attend(&self, index: usize, pass: &mut Pass<'_>, stream: Stream) -> Result<Attended> {
        self.attention().ok_or_else(lost)?.run(index, pass, stream)
    }

    /// Runs the layer's feed-forward block alone.
    pub fn feed(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Flow> {
        for module in &self.modules {
            match module {
                Module::FeedForward(block) => {
                    let fed = block.run(pass, hidden)?;
                    return Ok(pass.leaf(&fed));
                }
                Module::Experts(block) => return Ok(block.run(pass, hidden, None)?.show(pass)),
                _ => {}
            }
        }
        Err(lost().into())
    }

    /// Returns the dimensions of a head.
    pub fn head_dim(&self) -> Option<i64> {
        self.attention().map(|attention| attention.head_dim)
    }

    fn attention(&self) -> Option<&SelfAttention> {
        self.modules.iter().find_map(|module| match module {
            Module::Attention(attention) => Some(attention),
            _ => None,
        })
    }

    /// Returns each head's score for seeing nothing, if there are such.
    pub fn sinks(&self) -> Option<&Tensor> {
        self.attention()?.scores.sinks.as_ref()
    }

    /// Returns the number of parameters that are no module's of their own: those of sinks, routers and experts.
    pub fn own_parameters(&self) -> u64 {
        let count = |tensor: &Tensor| u64::try_from(tensor.numel()).unwrap_or(0);
        let product = |(weight, bias): (&kernels::Weight, Option<&Tensor>)| {
            u64::try_from(weight.size().iter().product::<i64>()).unwrap_or(0) + bias.map_or(0, count)
        };
        let experts = self.experts().map_or(0, |sparse| {
            let router = &sparse.router.linear;
            let each = sparse.experts.each.iter().flat_map(|expert| [&expert.gate_up, &expert.down]);
            let all = each.map(|(weight, bias)| (&**weight, bias.as_ref())).map(product).sum::<u64>();
            all + product((&router.weight, router.bias.as_ref()))
        });
        experts + self.sinks().map_or(0, count)
    }

    /// Returns what the feed-forward block calls what it is given.
    pub fn argument(&self) -> &'static str {
        let own = self.modules.iter().find_map(|module| match module {
            Module::FeedForward(block) => Some(block.argument),
            _ => None,
        });
        own.unwrap_or("hidden_states")
    }

    /// Returns the layer's experts, if it has any.
    pub fn experts(&self) -> Option<&Sparse> {
        self.modules.iter().find_map(|module| match module {
            Module::Experts(block) => Some(block),
            _ => None,
        })
    }

    /// Lists the layer and its modules in the order in which they run.
    pub fn order(&self) -> Vec<Site> {
        let mut order = vec![self.site];
        let inside = |module: &Module| match module {
            Module::Dropout(_) => Vec::new(),
            Module::Norm(norm) => norm.operations.order(),
            Module::Attention(attention) => attention.order(),
            Module::FeedForward(block) => block.order(),
            Module::Experts(block) => block.order(),
        };
        for site in self.operations.order() {
            order.push(site);
            order.extend(self.modules.iter().filter(|module| module.site() == site).flat_map(inside));
        }
        order
    }
}

impl Module {
    pub fn site(&self) -> Site {
        match self {
            Self::Norm(norm) => norm.site,
            Self::Dropout(dropout) => dropout.site,
            Self::Attention(attention) => attention.site,
            Self::FeedForward(block) => block.site,
            Self::Experts(block) => block.site,
        }
    }
}

/// What the lines of a layer's forward mean.
struct Steps<'a> {
    layer: &'a Layer,
    index: usize,
    stream: &'a Stream,
    form: &'static Form,
}

impl Steps<'_> {
    fn module(&self, name: &str) -> Result<&Module> {
        let at = self.layer.names.iter().position(|own| *own == name);
        at.and_then(|at| self.layer.modules.get(at)).ok_or_else(|| lost().into())
    }
}

impl Forward for Steps<'_> {
    fn call(&self, pass: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given> {
        match self.module(name)? {
            Module::Attention(_) => self.stream.call(self.form, pass),
            _ => Ok(Given::plain(operands.len())),
        }
    }

    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held> {
        let input = operands.first().ok_or_else(lost)?.share().into_tokens(pass)?;
        let made = match self.module(name)? {
            Module::Norm(norm) => norm.run(pass, &input)?,
            Module::Dropout(dropout) => dropout.run(pass, &input)?,
            Module::FeedForward(block) => block.run(pass, &input)?,
            Module::Experts(block) => {
                let fed = block.run(pass, &input, self.stream.shared.routed.as_ref())?;
                return fed.held(pass);
            }
            Module::Attention(attention) => {
                let attended = attention.run(self.index, pass, self.stream.with(input, self.form))?;
                let weights = attended.weights.map_or(Held::NONE, Held::Tensors);
                return Ok(Held::Tuple(vec![Held::of_tokens(pass, &attended.hidden)?, weights]));
            }
        };
        Held::of_tokens(pass, &made)
    }
}

fn lost() -> Raise {
    Raise::runtime_error("a layer has no such module")
}

/// See [`Register`].
struct Registers {
    hidden: Tokens,
    branch: Option<Tokens>,
    attended: Option<Tokens>,
}

impl Registers {
    fn get(&self, register: Register) -> Result<&Tokens> {
        let found = match register {
            Register::Hidden => Some(&self.hidden),
            Register::Branch => self.branch.as_ref(),
            Register::Attended => self.attended.as_ref(),
        };
        found.ok_or_else(|| Raise::runtime_error("a layer reads what it has not computed").into())
    }

    fn set(&mut self, register: Register, tokens: Tokens) {
        match register {
            Register::Hidden => self.hidden = tokens,
            Register::Branch => self.branch = Some(tokens),
            Register::Attended => self.attended = Some(tokens),
        }
    }
}

/// What layers return that return hidden states and attention weights.
struct Pair(Attended);

impl Output for Pair {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        let Attended { hidden, weights } = &self.0;
        Tree::Tuple(vec![pass.leaf(hidden), weights.as_ref().map_or(Tree::None, leaves)])
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        let mut items = match flow {
            Tree::Tuple(items) => items.into_iter(),
            _ => {
                let text = "the layer returns a tuple, whose first element its caller takes: assign a tuple";
                return Err(Raise::type_error(text).into());
            }
        };
        let hidden = pass.tokens(items.next().unwrap_or(Tree::None))?;
        let weights = match items.next() {
            Some(flow @ Tree::Leaf(_)) => Some(pass.tensors(flow)?),
            _ => None,
        };
        Ok(Self(Attended { hidden, weights }))
    }
}
