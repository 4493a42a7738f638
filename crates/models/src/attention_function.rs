//! The functions that an attention module's forward calls to attend, step by step: what `.source` shows of that call. Where
//! nobody looks inside, [`crate::attention`] computes the same at once.

use std::rc::Rc;

use engine::{Attention, Site, Tree};
use interpreter::Value;
use interpreter::raise::Raise;
use kernels::attention::Seen;
use kernels::{number, varlen};
use tch::{Kind, Tensor};

use crate::builder::Builder;
use crate::decoder::Shared;
use crate::error::LoadError;
use crate::families::functions::{REPEATS, SDPA};
use crate::family::{self, CAUSAL};
use crate::pass::{Flow, Pass, Result, no_part};
use crate::source::{self, Argument, Forward, Given, Held, Operations, Shown, dtype};

/// The functions of one module, by how attention is computed.
pub struct Functions {
    /// The operation that calls one of them.
    caller: usize,
    eager: Operations,
    sdpa: Option<Operations>,
    /// How many heads share a head of keys, where the module says that.
    groups: Option<i64>,
    scaling: f64,
    cap: Option<f64>,
    /// Heads are too wide for what takes grouped keys.
    wide: bool,
}

/// What a call is given besides what it computes with.
pub struct Called<'a> {
    pub shared: &'a Shared,
    /// The layer's kind.
    pub kind: usize,
    /// The module, as it is shown.
    pub module: Flow,
}

impl Functions {
    /// Adds the functions that an operation of a module's forward calls; none where they are not known step by step.
    pub fn add(
        builder: &mut Builder<'_>,
        operations: &Operations,
        about: &family::Attention,
        only_eager: bool,
    ) -> std::result::Result<Option<Self>, LoadError> {
        let Some(caller) = operations.calling("attend").filter(|_| !about.eager.is_empty()) else { return Ok(None) };
        let mut add = |source, when| -> std::result::Result<Operations, LoadError> {
            let mut operations = builder.function(caller, source, when, &|_| None)?;
            builder.functions(&mut operations, REPEATS, &|_| None)?;
            Ok(operations)
        };
        let eager = add(about.eager, (!only_eager).then_some(Attention::Eager))?;
        let sdpa = match only_eager {
            true => None,
            false => Some(add(SDPA, Some(Attention::Sdpa))?),
        };
        let says = about.attributes.iter().any(|(name, _)| *name == "num_key_value_groups");
        let groups = says.then(|| about.heads / about.key_heads.max(1));
        let (scaling, cap, wide) = (about.scaling, about.cap, about.head_dim > 256);
        Ok(Some(Self { caller, eager, sdpa, groups, scaling, cap, wide }))
    }

    /// Returns the site of the operation that calls them.
    pub fn caller(&self) -> Site {
        self.eager.site_of(self.caller)
    }

    /// Lists the operations in the order in which they run.
    pub fn order(&self) -> Vec<Site> {
        [Some(&self.eager), self.sdpa.as_ref()].into_iter().flatten().flat_map(Operations::order).collect()
    }

    /// Lets queries attend to keys and values: returns `[rows, length, heads, head_dim]`, and weights where they are computed.
    pub fn run(
        &self,
        pass: &mut Pass<'_>,
        called: &Called<'_>,
        operands: &[Held],
        sinks: Option<&Tensor>,
    ) -> Result<Held> {
        let [query, key, value] = operands else {
            return Err(Raise::runtime_error("attention takes queries, keys and values").into());
        };
        let mask = match called.shared.field("attention_mask", called.kind, pass)? {
            Tree::None => Held::NONE,
            mask => Held::Tensors(pass.tensors(mask)?),
        };
        let queries = query.tensors()?;
        let number = |number: f64| -> Result<Held> {
            let own = |like: &Tensor| Ok(number::full(number, (Kind::Float, like.device()))?);
            Ok(Held::Tensors(queries.iter().map(own).collect::<Result<_>>()?))
        };
        let mut given = vec![("query", query.share()), ("key", key.share()), ("value", value.share())];
        given.extend([("attention_mask", mask.share()), ("scaling", number(self.scaling)?)]);
        if let Some(cap) = self.cap {
            given.push(("cap", number(cap)?));
        }
        if let Some(sinks) = sinks {
            given.push(("sinks", Held::Tensors(queries.iter().map(|_| sinks.shallow_clone()).collect())));
        }
        let parts = 0..queries.len();
        let repeated = |part: usize| self.repeats(called, part);
        let (any, all) = (parts.clone().any(repeated), parts.clone().all(repeated));
        let grouped = self.groups.is_some_and(|groups| groups > 1);
        let holds = |what: &str| match what {
            "masked" => matches!(mask, Held::Tensors(_)),
            "asked" => self.asked(called),
            "untold" => called.told(CAUSAL).is_none(),
            "grouped" => grouped,
            "repeated" => grouped && any,
            "shared" => grouped && !all,
            _ => false,
        };
        let kind = called.shared.attention.first().copied().unwrap_or_default();
        let operations = match (kind, &self.sdpa) {
            (Attention::Sdpa, Some(sdpa)) => sdpa,
            _ => &self.eager,
        };
        let call = Call { functions: self, called };
        let mut returned = source::run(operations, pass, &call, given, &holds)?.into_iter();
        let attended = returned.next().unwrap_or(Held::NONE);
        Ok(Held::Tuple(vec![attended, returned.next().unwrap_or(Held::NONE)]))
    }

    /// Returns whether a part's keys have to be repeated for each head.
    fn repeats(&self, called: &Called<'_>, part: usize) -> bool {
        self.wide || called.shared.mask(called.kind, part).is_some()
    }

    fn asked(&self, called: &Called<'_>) -> bool {
        matches!(called.told("output_attentions"), Some(Tree::Bool(true)))
    }
}

impl Called<'_> {
    /// Returns an argument that a call of the model handed down.
    fn told(&self, name: &str) -> Option<&Flow> {
        self.shared.flags.iter().find(|(own, _)| *own == name).map(|(_, flow)| flow)
    }
}

/// What the lines of a function mean.
struct Call<'a> {
    functions: &'a Functions,
    called: &'a Called<'a>,
}

impl Call<'_> {
    fn groups(&self) -> i64 {
        self.functions.groups.unwrap_or(1)
    }

    fn attend(&self, pass: &Pass<'_>, operands: &[Held]) -> Result<Held> {
        let [query, keys, values, masks] = operands else {
            return Err(Raise::runtime_error("attention takes queries, keys, values and a mask").into());
        };
        let (keys, values) = (keys.tensors()?, values.tensors()?);
        let masks = match masks {
            Held::Tensors(masks) => masks.as_slice(),
            _ => &[],
        };
        let (shared, kind) = (self.called.shared, self.called.kind);
        let written = shared.written_masks(kind, pass)?;
        query.map(pass, |part, query| {
            let (key, value) = (keys.get(part).ok_or_else(no_part)?, values.get(part).ok_or_else(no_part)?);
            // A mask that only stands for what is done without one, since others have one, is none.
            let stands = |mask: &&Tensor| -> bool {
                let same = |written: &Tensor| written.size() == mask.size() && written.f_equal(mask).unwrap_or(false);
                shared.mask(kind, part).is_none() && written.get(part).is_some_and(same)
            };
            let mask = masks.get(part).filter(|mask| !stands(mask));
            let seen = mask.map_or(shared.unmasked(), Seen::Shown);
            Ok(kernels::attention::attend([query, key, value], seen, self.functions.scaling, &|| ())?)
        })
    }
}

fn text(text: &'static str) -> Flow {
    Tree::Object(Rc::new(text) as Rc<dyn std::any::Any>)
}

/// Shows a value for each part's tensor.
fn each(held: &Held, of: impl Fn(usize, &Tensor) -> Value) -> Result<Flow> {
    let shown = held.tensors()?.iter().enumerate().map(|(part, tensor)| of(part, tensor)).collect();
    Ok(Tree::Object(Rc::new(Shown(shown)) as Rc<dyn std::any::Any>))
}

fn both(
    pass: &Pass<'_>,
    operands: &[Held],
    apply: fn(&Tensor, &Tensor) -> std::result::Result<Tensor, tch::TchError>,
) -> Result<Held> {
    let others = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
    let first = operands.first().unwrap_or(&Held::NONE);
    first.map(pass, |part, own| Ok(apply(own, others.get(part).ok_or_else(no_part)?)?))
}

impl Forward for Call<'_> {
    fn call(&self, pass: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given> {
        let first = |kwargs: Vec<(&'static str, Flow)>| Given {
            args: vec![Argument::Operand(0)],
            kwargs: kwargs.into_iter().map(|(name, flow)| (name, Argument::Other(flow))).collect(),
        };
        let ints = |numbers: &[i64]| Given::method(numbers.iter().copied().map(Tree::Int).collect());
        let module = || self.called.module.clone();
        Ok(match name {
            "repeat" | "repeat_where_masked" => {
                let mut call = Given::plain(1);
                call.args.push(Argument::Other(Tree::Int(self.groups())));
                call
            }
            "turn" => ints(&[2, 3]),
            "turn_last" => ints(&[-1, -2]),
            "back" => ints(&[1, 2]),
            "contiguous" | "tracing" => Given::method(Vec::new()),
            "expand_groups" | "merge_groups" => {
                let groups = self.groups();
                let sizes = |states: &Tensor| -> Vec<i64> {
                    match *states.size().as_slice() {
                        [rows, heads, length, width] => vec![rows, heads, groups, length, width],
                        [rows, heads, groups, length, width] => vec![rows, heads * groups, length, width],
                        _ => Vec::new(),
                    }
                };
                let parts = operands.first().unwrap_or(&Held::NONE).tensors()?;
                let all: Vec<Vec<i64>> = parts.iter().map(sizes).collect();
                let size = |at: usize| {
                    let own = all.iter().map(|sizes| Value::Int(sizes.get(at).copied().unwrap_or(0)));
                    Tree::Object(Rc::new(Shown(own.collect())) as Rc<dyn std::any::Any>)
                };
                Given::method((0..all.first().map_or(0, Vec::len)).map(size).collect())
            }
            "reshaped" => ints(&[1, -1, 1, 1]),
            "expanded" => {
                let queries = operands.get(1).unwrap_or(&Held::NONE);
                let of = |at: usize| each(queries, |_, query| Value::Int(query.size().get(at).copied().unwrap_or(0)));
                Given::method(vec![of(0)?, Tree::Int(-1), of(2)?, Tree::Int(-1)])
            }
            "cat" => Given { args: vec![Argument::Operands(2)], kwargs: vec![("dim", Argument::Other(Tree::Int(-1)))] },
            "most" => Given {
                args: Vec::new(),
                kwargs: vec![("dim", Argument::Other(Tree::Int(-1))), ("keepdim", Argument::Other(Tree::Bool(true)))],
            },
            "softmax_own" => first(vec![("dim", Tree::Int(-1)), ("dtype", dtype(operands.first(), None)?)]),
            "softmax" => first(vec![("dim", Tree::Int(-1))]),
            "softmax_wide" => {
                first(vec![("dim", Tree::Int(-1)), ("dtype", dtype(operands.first(), Some(Kind::Float))?)])
            }
            "dropout" => first(vec![("p", Tree::Float(0.0)), ("training", Tree::Bool(false))]),
            "to" => Given::method(vec![dtype(operands.get(1), None)?]),
            "softcap" => Given::method(vec![text("softcap")]),
            "asked" => Given::method(vec![text("output_attentions"), Tree::Bool(false)]),
            // Of a cache of another kind, which is never handed on.
            "isinstance" => {
                let class = Tree::Object(Rc::new(Shown(
                    pass.layout.parts.iter().map(|_| Value::host(source::Opaque("type".into()))).collect(),
                )) as Rc<dyn std::any::Any>);
                Given::method(vec![Tree::None, class])
            }
            "hasattr" => Given::method(vec![module(), text("num_key_value_groups")]),
            "getattr" => Given::method(vec![module(), text(CAUSAL), Tree::Bool(true)]),
            "gqa" => {
                let mask = self.called.shared.field("attention_mask", self.called.kind, pass)?;
                let args = vec![Argument::Other(mask), Argument::Operand(0), Argument::Operand(1)];
                Given { args, kwargs: Vec::new() }
            }
            "attend" => {
                let causal = each(operands.first().unwrap_or(&Held::NONE), |part, query| self.causal(part, query))?;
                let mut kwargs = vec![
                    ("attn_mask", Argument::Operand(3)),
                    ("dropout_p", Argument::Other(Tree::Float(0.0))),
                    ("scale", Argument::Other(Tree::Float(self.functions.scaling))),
                    ("is_causal", Argument::Other(causal)),
                ];
                if self.groups() > 1 && !self.functions.repeats(self.called, 0) {
                    kwargs.push(("enable_gqa", Argument::Other(Tree::Bool(true))));
                }
                Given { args: (0..3).map(Argument::Operand).collect(), kwargs }
            }
            _ => Given::plain(operands.len()),
        })
    }

    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held> {
        let input = operands.first().unwrap_or(&Held::NONE);
        let plain = |flow: Flow| Ok(Held::Plain(flow));
        match name {
            "repeat" => input.map(pass, |_, states| Ok(varlen::repeat(states, self.groups())?)),
            "repeat_where_masked" => input.map(pass, |part, states| {
                let groups = if self.functions.repeats(self.called, part) { self.groups() } else { 1 };
                Ok(varlen::repeat(states, groups)?)
            }),
            "turn" | "turn_last" => input.map(pass, |_, states| Ok(states.f_transpose(-1, -2)?)),
            "back" => input.map(pass, |_, states| Ok(states.f_transpose(1, 2)?)),
            "contiguous" => input.map(pass, |_, states| Ok(states.f_contiguous()?)),
            "matmul" => both(pass, operands, Tensor::f_matmul),
            "expand_groups" => input.map(pass, |_, states| {
                let size = states.size();
                let [rows, heads, length, width] = size.as_slice() else {
                    return Err(Raise::runtime_error("keys and values have four dimensions").into());
                };
                Ok(states.f_unsqueeze(2)?.f_expand([*rows, *heads, self.groups(), *length, *width], false)?)
            }),
            "merge_groups" => input.map(pass, |_, states| Ok(states.f_flatten(1, 2)?)),
            "reshaped" => input.map(pass, |_, sinks| Ok(sinks.f_reshape([1, -1, 1, 1])?)),
            "expanded" => {
                let queries = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
                input.map(pass, |part, sinks| {
                    let size = queries.get(part).ok_or_else(no_part)?.size();
                    let [rows, length] = [0, 2].map(|at| size.get(at).copied().unwrap_or(1));
                    Ok(sinks.f_expand([rows, -1, length, -1], false)?)
                })
            }
            "cat" => both(pass, operands, |own, other| Tensor::f_cat(&[own, other], -1)),
            "most" => {
                let (mut most, mut places) = (Vec::new(), Vec::new());
                for scores in input.tensors()? {
                    let (own, at) = scores.f_max_dim(-1, true)?;
                    most.push(own);
                    places.push(at);
                }
                Ok(Held::Tuple(vec![Held::Tensors(most), Held::Tensors(places)]))
            }
            "softmax_own" => input.map(pass, |_, scores| Ok(scores.f_softmax(-1, scores.f_kind()?)?)),
            "without_sinks" => input.map(pass, |_, shares| {
                let keys = shares.size().last().copied().unwrap_or(1) - 1;
                Ok(shares.f_narrow(-1, 0, keys)?)
            }),
            "tanh" => input.map(pass, |_, scores| Ok(scores.f_tanh()?)),
            "softmax" => input.map(pass, |_, scores| Ok(scores.f_softmax(-1, scores.f_kind()?)?)),
            "softmax_wide" => input.map(pass, |_, scores| Ok(scores.f_softmax(-1, Kind::Float)?)),
            "to" => both(pass, operands, |own, like| own.f_to_kind(like.f_kind()?)),
            "dropout" => input.map(pass, |_, shares| Ok(shares.shallow_clone())),
            "attend" => self.attend(pass, operands),
            "softcap" | "warned" => plain(Tree::None),
            "asked" => plain(Tree::Bool(self.functions.asked(self.called))),
            "isinstance" | "tracing" => plain(Tree::Bool(false)),
            "kwargs" => plain(Tree::Dict(Vec::new())),
            "hasattr" => plain(Tree::Bool(self.functions.groups.is_some())),
            "true" => plain(Tree::Bool(true)),
            "getattr" | "told" => plain(Tree::Bool(self.called.shared.causal)),
            "gqa" => plain(each(input, |part, _| Value::Bool(!self.functions.repeats(self.called, part)))?),
            "length" => plain(each(input, |_, states| Value::Int(states.size().get(2).copied().unwrap_or(0)))?),
            "causal" => plain(each(input, |part, query| self.causal(part, query))?),
            _ => Err(Raise::runtime_error(format!("attention has no {name}")).into()),
        }
    }
}

impl Call<'_> {
    fn causal(&self, part: usize, query: &Tensor) -> Value {
        let several = query.size().get(2).is_some_and(|length| *length > 1);
        Value::Bool(several && matches!(self.called.shared.sees(self.called.kind, part), Seen::Before))
    }
}
