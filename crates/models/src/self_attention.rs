//! A layer's attention module: projections, norms of heads, rotation, and what comes of the attended.

use std::rc::Rc;

use engine::{Inputs, Part, Site, Tree};
use interpreter::Value;
use interpreter::raise::Raise;
use tch::{Kind, Tensor};

use crate::attention::{Scores, attend, mix, weigh};
use crate::attention_function::{Called, Functions};
use crate::cache::Caches;
use crate::decoder::{Attended, Stream, none};
use crate::family::{Cut, Over, Turn};
use crate::joint::Once;
use crate::leaves::Leaves;
use crate::nn::{Dropout, Linear};
use crate::norm::Norm;
use crate::pass::{Arguments, Flow, Input, Output, Parts, Pass, Result, learned, no_part};
use crate::rope;
use crate::source::{self, Argument, Forward, Given, Held, Operations};
use crate::spans::{At, Span};
use crate::tokens::Tokens;

pub struct SelfAttention {
    pub site: Site,
    pub class: String,
    pub operations: Operations,
    /// What its forward calls to attend, where that is known step by step.
    pub functions: Option<Box<Functions>>,
    /// What that is told besides what all are told.
    pub told: &'static [&'static str],
    pub leaves: Leaves,
    pub projections: Projections,
    pub head_norms: Option<(Over, [Rc<Norm>; 2])>,
    /// How queries and keys are rotated, and whether each pair's cosine comes once.
    pub turn: Option<(Turn, bool)>,
    pub heads: i64,
    pub key_heads: i64,
    pub head_dim: i64,
    pub scores: Scores,
    pub output: Rc<Linear>,
    pub dropout: Option<Rc<Dropout>>,
}

/// See [`crate::family::Projections`].
pub enum Projections {
    Separate([Rc<Linear>; 3]),
    Packed(Rc<Linear>, Cut),
}

impl SelfAttention {
    pub fn run(&self, layer: usize, pass: &mut Pass<'_>, stream: Stream) -> Result<Attended> {
        let shared = Rc::clone(&stream.shared);
        let attended = pass.module(self.site, stream, |pass, stream| {
            if pass.wants(self.site).operations {
                return self.step_by_step(layer, pass, &stream);
            }
            let at = At { site: self.site, layer, kind: stream.kind };
            if let Some(attended) = self.fused(pass, &at, &stream)? {
                return self.end(pass, Attended { hidden: attended, weights: None });
            }
            let projected = self.project(pass, &stream.hidden)?;
            let rotations = stream.shared.rotations(stream.kind);
            let heads = |pass: &Pass<'_>, span: &Span| {
                let [query, key, value] = self.split(pass, span, &projected)?;
                let Some((turn, half)) = self.turn else { return Ok([query, key, value]) };
                let (cosine, sine) = rotations.ok_or_else(none)?.of(pass, span)?.ok_or_else(none)?;
                let turned = |states: &Tensor| rope::turn(states, &cosine, &sine, turn, half);
                Ok([turned(&query)?, turned(&key)?, value])
            };
            let all: Vec<&Tokens> = projected.iter().collect();
            let attended = stream.shared.attend(pass, &at, &all, &self.scores, heads)?;
            self.end(pass, attended)
        })?;
        shared.capture(&attended);
        Ok(attended)
    }

    /// Makes of what was attended to what the module returns.
    fn end(&self, pass: &mut Pass<'_>, attended: Attended) -> Result<Attended> {
        let mut hidden = self.output.run(pass, &attended.hidden)?;
        if let Some(dropout) = &self.dropout {
            hidden = dropout.run(pass, &hidden)?;
        }
        Ok(Attended { hidden, ..attended })
    }

    fn step_by_step(&self, layer: usize, pass: &mut Pass<'_>, stream: &Stream) -> Result<Attended> {
        let forward = Steps { attention: self, at: At { site: self.site, layer, kind: stream.kind }, stream };
        let mut given = vec![("hidden_states", Held::of_tokens(pass, &stream.hidden)?)];
        let mask = match stream.shared.field("attention_mask", stream.kind, pass)? {
            Tree::None => Held::Nothing,
            mask => Held::of(pass, mask)?,
        };
        let pair = stream.shared.caches.as_ref().map(|caches| caches.paired);
        let (masked, eager) = (matches!(mask, Held::Tensors(_)), self.is_eager(stream));
        given.push(("attention_mask", mask));
        if let (Some(rotations), Some(_)) = (stream.shared.rotations(stream.kind), self.turn) {
            let [cosines, sines] = [&rotations.cosines, &rotations.sines];
            let all = |parts: &[Tensor]| Held::Tensors(parts.iter().map(Tensor::shallow_clone).collect());
            given.extend([("cosines", all(cosines)), ("sines", all(sines))]);
        }
        if self.scores.wide {
            let scale = kernels::number::full(1.0 / self.scores.scaling, (Kind::Float, self.output.weight.device()))?;
            let parts = 0..pass.layout.parts.len();
            given.push(("scale", Held::Tensors(parts.map(|_| scale.shallow_clone()).collect())));
        }
        let holds = |when: &str| match when {
            "masked" => masked,
            "eager" => eager,
            "sdpa" => !eager,
            "paired" => pair == Some(true),
            "single" => pair == Some(false),
            _ => stream.shared.caches.is_some(),
        };
        let mut returned = source::run(&self.operations, pass, &forward, given, &holds)?.into_iter();
        let hidden = returned.next().unwrap_or(Held::NONE).into_tokens(pass)?;
        let weights = match returned.next() {
            Some(Held::Tensors(weights)) => Some(weights),
            _ => None,
        };
        Ok(Attended { hidden, weights })
    }

    fn is_eager(&self, stream: &Stream) -> bool {
        stream.shared.attention.first() == Some(&engine::Attention::Eager)
    }

    /// Lists operations and modules in the order in which they run.
    pub fn order(&self) -> Vec<Site> {
        let functions = |site: Site| {
            let own = self.functions.iter().filter(move |own| own.caller() == site);
            own.flat_map(|own| own.order())
        };
        let with = |site: Site| std::iter::once(site).chain(self.leaves.inside(site)).chain(functions(site));
        self.operations.order().into_iter().flat_map(with).collect()
    }

    /// Makes queries, keys and values, or one tensor of all three.
    fn project(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Vec<Tokens>> {
        let linears = match &self.projections {
            Projections::Packed(all, _) => return Ok(vec![all.run(pass, hidden)?]),
            Projections::Separate(linears) => linears,
        };
        let mut projected = Vec::with_capacity(3);
        let once = Once::new(pass, &linears.each_ref(), hidden)?;
        for (index, linear) in linears.iter().enumerate() {
            let mut states = once.run(pass, linear, hidden)?;
            if let Some((over @ (Over::Width | Over::Heads), norms)) = &self.head_norms
                && let Some(norm) = norms.get(index)
            {
                if *over == Over::Heads {
                    states = self.by_head(pass, &states)?;
                }
                states = norm.run(pass, &states)?;
            }
            projected.push(states);
        }
        if let Some((Over::Turned, norms)) = &self.head_norms {
            for (states, norm) in projected.iter_mut().zip(norms) {
                let heads = Turned(self.by_head(pass, states)?);
                let normed = |pass: &mut Pass<'_>, Turned(heads): Turned| {
                    pass.each(&heads, |heads| norm.compute(heads)).map(Turned)
                };
                Turned(*states) = pass.module(norm.site, heads, normed)?;
            }
        }
        Ok(projected)
    }

    /// Views tokens as `[…, heads, head_dim]`.
    fn by_head(&self, pass: &Pass<'_>, states: &Tokens) -> Result<Tokens> {
        pass.each(states, |states| {
            let mut size = states.size();
            size.pop();
            size.extend([-1, self.head_dim]);
            states.f_view(size.as_slice())
        })
    }

    /// Returns a span's queries, keys and values, `[rows, heads, length, head_dim]` each.
    fn split(&self, pass: &Pass<'_>, span: &Span, projected: &[Tokens]) -> Result<[Tensor; 3]> {
        let heads = |part: &Tensor| -> Result<Tensor> {
            Ok(part.f_view([span.rows, span.length, -1, self.head_dim])?.f_transpose(1, 2)?)
        };
        let (own, cut) = match (&self.projections, projected) {
            (Projections::Separate(_), [query, key, value]) => {
                return Ok([
                    heads(&pass.span(query, span)?)?,
                    heads(&pass.span(key, span)?)?,
                    heads(&pass.span(value, span)?)?,
                ]);
            }
            (Projections::Packed(_, cut), [all]) => (pass.span(all, span)?, *cut),
            _ => return Err(Raise::runtime_error("a projection got lost").into()),
        };
        // Split as one: where gradients are recorded, theirs are put together as one, too.
        let parts = match cut {
            Cut::Widths => {
                let widths = [self.heads, self.key_heads, self.key_heads].map(|heads| heads * self.head_dim);
                own.f_split_with_sizes(widths, -1)?
            }
            Cut::Heads => own.f_view([span.rows, span.length, self.heads, 3 * self.head_dim])?.f_chunk(3, -1)?,
        };
        let [query, key, value] = parts.as_slice() else {
            return Err(Raise::value_error("too many values to unpack (expected 3)").into());
        };
        match cut {
            Cut::Widths => Ok([heads(query)?, heads(key)?, heads(value)?]),
            Cut::Heads => Ok([query.f_transpose(1, 2)?, key.f_transpose(1, 2)?, value.f_transpose(1, 2)?]),
        }
    }
}

/// What the lines of an attention module's forward mean.
struct Steps<'a> {
    attention: &'a SelfAttention,
    at: At,
    stream: &'a Stream,
}

/// Shows a number for each part.
fn numbers(pass: &Pass<'_>, of: impl Fn(&Part) -> i64) -> Flow {
    each(pass, |part| Value::Int(of(part)))
}

fn each(pass: &Pass<'_>, of: impl Fn(&Part) -> Value) -> Flow {
    Tree::Object(Rc::new(source::Shown(pass.layout.parts.iter().map(of).collect())) as Rc<dyn std::any::Any>)
}

impl Steps<'_> {
    fn part(pass: &Pass<'_>, part: usize) -> Result<Part> {
        Ok(*pass.layout.parts.get(part).ok_or_else(no_part)?)
    }

    /// Returns the numbers of a head, or of the three that lie together.
    fn width(&self) -> i64 {
        match self.attention.projections {
            Projections::Packed(_, Cut::Heads) => 3 * self.attention.head_dim,
            _ => self.attention.head_dim,
        }
    }

    fn heads_shape(&self, pass: &Pass<'_>) -> Flow {
        let width = self.width();
        each(pass, |part| Value::tuple([part.rows, part.length, -1, width].map(Value::Int).to_vec()))
    }

    fn implementation(&self) -> &'static str {
        if self.attention.is_eager(self.stream) { "eager" } else { "sdpa" }
    }

    fn opaque(&self, pass: &Pass<'_>, name: &str) -> Flow {
        each(pass, |_| Value::host(source::Opaque(name.into())))
    }

    fn turned(&self, pass: &Pass<'_>, states: &Held, [cosines, sines]: [&[Tensor]; 2]) -> Result<Held> {
        let (turn, half) = self.attention.turn.ok_or_else(|| Raise::runtime_error("nothing is rotated here"))?;
        states.map(pass, |part, states| {
            let (Some(cosine), Some(sine)) = (cosines.get(part), sines.get(part)) else {
                return Err(no_part().into());
            };
            Ok(rope::turn(states, cosine, sine, turn, half)?)
        })
    }

    /// Returns the first half of the last dimension, or the second.
    fn half(pass: &Pass<'_>, states: &Held, which: usize) -> Result<Held> {
        states.map(pass, |_, states| {
            let [first, second] = crate::feed_forward::halves(states)?;
            Ok(if which == 0 { first } else { second })
        })
    }

    /// Narrows the last dimension.
    fn narrowed(pass: &Pass<'_>, states: &Held, start: i64, length: i64) -> Result<Held> {
        states.map(pass, |_, states| Ok(states.f_narrow(-1, start, length)?))
    }

    fn updated(&self, pass: &Pass<'_>, keys: &Held, values: &Held) -> Result<Held> {
        let (keys, values) = (keys.tensors()?, values.tensors()?);
        let (mut all_keys, mut all_values) = (Vec::with_capacity(keys.len()), Vec::with_capacity(values.len()));
        for (part, (keys, values)) in keys.into_iter().zip(values).enumerate() {
            let span = Span::alone(part, Self::part(pass, part)?);
            let (keys, values) = pass.paid(part, || self.stream.shared.seen(pass, &self.at, &span, keys, values))?;
            all_keys.push(keys);
            all_values.push(values);
        }
        Ok(Held::Tuple(vec![Held::Tensors(all_keys), Held::Tensors(all_values)]))
    }

    /// Returns what queries attend to, `[rows, length, heads, head_dim]`, and weights where they are computed.
    fn attended(&self, pass: &mut Pass<'_>, operands: &[Held]) -> Result<[Held; 2]> {
        let (query, keys, values, masks) = match operands {
            [query, keys, values] => (query, keys, values, None),
            [query, keys, values, masks] => (query, keys, values, Some(masks)),
            _ => return Err(Raise::runtime_error("attention takes queries, keys and values").into()),
        };
        let (query, keys, values) = (query.tensors()?, keys.tensors()?, values.tensors()?);
        // Those that the function is called with count, where it is called with any.
        let masks = match masks {
            Some(Held::Tensors(masks)) => masks.as_slice(),
            _ => &[],
        };
        let shared = &self.stream.shared;
        let scores = &self.attention.scores;
        let kind = shared.attention.first().copied().unwrap_or_default();
        let (heads, head_dim) = (self.attention.heads, self.attention.head_dim);
        let mut all: Vec<(Tensor, Option<Tensor>)> = Vec::with_capacity(query.len());
        if let Some(dropout) = scores.dropout.as_ref().filter(|_| kind == engine::Attention::Eager) {
            let mut weights = Vec::with_capacity(query.len());
            for (part, (query, keys)) in query.iter().zip(&keys).enumerate() {
                let values = values.get(part).ok_or_else(no_part)?;
                let own = || Ok(weigh(query, keys, values, masks.get(part), scores)?);
                weights.push(pass.paid(part, own)?);
            }
            let Parts(weights) = pass.module(dropout.site, Parts(weights), |_, weights| Ok(weights))?;
            for (part, (weights, values)) in weights.into_iter().zip(&values).enumerate() {
                let attended = pass.paid(part, || Ok(mix(&weights, values)?))?;
                all.push((attended, Some(weights)));
            }
        } else {
            for (part, (query, keys)) in query.iter().zip(&keys).enumerate() {
                let values = values.get(part).ok_or_else(no_part)?;
                let seen = shared.sees(self.at.kind, part);
                all.push(pass.paid(part, || Ok(attend(kind, query, keys, values, seen, scores, &|| ())?))?);
            }
        }
        let (attended, weights): (Vec<Tensor>, Vec<Option<Tensor>>) = all.into_iter().unzip();
        let by_head = |(part, attended): (usize, Tensor)| {
            let Part { rows, length, .. } = Self::part(pass, part)?;
            Ok(attended.f_view([rows, length, heads, head_dim])?)
        };
        let attended = attended.into_iter().enumerate().map(by_head).collect::<Result<_>>()?;
        let weights = weights.into_iter().collect::<Option<Vec<_>>>();
        Ok([Held::Tensors(attended), weights.map_or(Held::NONE, Held::Tensors)])
    }

    /// Shows one of the sizes of each part's tensor.
    fn size(&self, held: Option<&Held>, at: usize) -> Result<Flow> {
        let parts = held.unwrap_or(&Held::NONE).tensors()?;
        let own = |states: &Tensor| Value::Int(states.size().get(at).copied().unwrap_or(0));
        let parts = parts.iter().map(own).collect();
        Ok(Tree::Object(Rc::new(source::Shown(parts)) as Rc<dyn std::any::Any>))
    }

    /// Shows what makes a matrix of scores for each head of each row.
    fn flat_scores(&self, pass: &Pass<'_>, operands: &[Held]) -> Result<Given> {
        let heads = numbers(pass, |part| part.rows * self.attention.heads);
        let kind = source::dtype(operands.first(), Some(Kind::Float))?;
        Ok(Given {
            args: [heads, self.size(operands.first(), 2)?, self.size(operands.get(1), 2)?].map(Argument::Other).into(),
            kwargs: vec![("dtype", Argument::Other(kind)), ("device", Argument::Other(self.opaque(pass, "device")))],
        })
    }

    /// GPT-J's table of sines and cosines, once for each row.
    fn table(&self, pass: &Pass<'_>) -> Result<Held> {
        let missing = || Raise::runtime_error("the model has no table of positions");
        let rotary = self.stream.shared.rotary.as_ref().ok_or_else(missing)?;
        let (rope, count) = (rotary.ropes.first().ok_or_else(missing)?, rotary.positions.ok_or_else(missing)?);
        let angles = rope.angles(&kernels::number::range(0, count, rope.frequencies().device())?)?;
        let table = Tensor::f_cat(&[angles.f_sin()?, angles.f_cos()?], 1)?;
        let own = |part: &Part| Ok(table.f_repeat([part.rows, 1, 1])?);
        Ok(Held::Tensors(pass.layout.parts.iter().map(own).collect::<Result<_>>()?))
    }

    /// Positions of each part's rows, as a column.
    fn column(&self, pass: &Pass<'_>) -> Result<Held> {
        let mut columns = Vec::with_capacity(pass.layout.parts.len());
        for (part, positions) in pass.layout.parts.iter().zip(&self.stream.shared.positions) {
            let positions = match self.stream.shared.generating.first() {
                Some(true) => positions.f_expand([part.rows, part.length], false)?,
                _ => positions.shallow_clone(),
            };
            columns.push(positions.f_unsqueeze(-1)?);
        }
        Ok(Held::Tensors(columns))
    }

    /// Keyword arguments that attention hands on as they are.
    fn handed_on(&self, pass: &Pass<'_>) -> Result<Vec<(&'static str, Argument)>> {
        let form = self.stream.form;
        let names = form.keyword.iter().filter(|name| !form.signature.contains(name));
        let shared = &self.stream.shared;
        let fields = names.map(|name| Ok((*name, Argument::Other(shared.field(name, self.at.kind, pass)?))));
        fields.chain(shared.flags.iter().map(|(name, flow)| Ok((*name, Argument::Other(flow.clone()))))).collect()
    }
}

impl Forward for Steps<'_> {
    fn call(&self, pass: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given> {
        let shape = || self.heads_shape(pass);
        Ok(match name {
            "view" => Given::method(vec![shape()]),
            "turn" => Given::method(vec![Tree::Int(1), Tree::Int(2)]),
            "permuted" => Given::method([0, 2, 1, 3].map(Tree::Int).into()),
            "merge" => {
                Given::method(vec![numbers(pass, |part| part.rows), numbers(pass, |part| part.length), Tree::Int(-1)])
            }
            "contiguous" => Given::method(Vec::new()),
            "split" => Given {
                args: vec![Argument::Other(Tree::Int(self.attention.heads * self.attention.head_dim))],
                kwargs: vec![("dim", Argument::Other(Tree::Int(2)))],
            },
            "chunk" => Given {
                args: vec![Argument::Other(Tree::Int(3))],
                kwargs: vec![("dim", Argument::Other(Tree::Int(-1)))],
            },
            "cat" => Given { args: vec![Argument::Operands(2)], kwargs: vec![("dim", Argument::Other(Tree::Int(-1)))] },
            "for_heads" => Given::method(vec![Tree::Int(1)]),
            "window" => Given::method(vec![
                self.opaque(pass, "config"),
                Tree::Object(Rc::new("sliding_window") as Rc<dyn std::any::Any>),
                Tree::None,
            ]),
            "is_updated" => Given::method(vec![Tree::Int(i64::try_from(self.at.layer).unwrap_or(i64::MAX))]),
            "is_pair" => Given::method(vec![
                self.stream.shared.field("past_key_values", self.at.kind, pass)?,
                self.opaque(pass, "type"),
            ]),
            "split_heads" | "split_heads_turned" | "merge_heads" => {
                let mut call = Given::plain(1);
                let sizes = [self.attention.heads, self.attention.head_dim].map(Tree::Int);
                call.args.extend(sizes.map(Argument::Other));
                if name != "merge_heads" {
                    call.args.push(Argument::Other(Tree::Bool(name == "split_heads")));
                }
                call
            }
            "table" => Given::method(vec![self.stream.shared.field("position_ids", self.at.kind, pass)?]),
            "column" => Given::method(vec![Tree::Int(-1)]),
            "repeated" => Given::method([1, 1, self.rotated()].map(Tree::Int).into()),
            "gather" => {
                let mut call = Given::plain(1);
                call.args.extend([Argument::Other(Tree::Int(1)), Argument::Operand(1)]);
                call
            }
            "halves" => Given {
                args: vec![Argument::Operand(0), Argument::Other(Tree::Int(self.rotated() / 2))],
                kwargs: vec![("dim", Argument::Other(Tree::Int(-1)))],
            },
            "both_halves" => Given {
                args: vec![Argument::Operand(0), Argument::Other(Tree::Int(2))],
                kwargs: vec![("dim", Argument::Other(Tree::Int(-1)))],
            },
            "interleave" => Given {
                args: vec![Argument::Operand(0), Argument::Other(Tree::Int(2)), Argument::Other(Tree::Int(3))],
                kwargs: Vec::new(),
            },
            "stack" => {
                Given { args: vec![Argument::Operands(2)], kwargs: vec![("dim", Argument::Other(Tree::Int(-1)))] }
            }
            "flatten" => Given::method(vec![Tree::Int(-2)]),
            "wide" => Given::method(vec![source::dtype(operands.first(), Some(Kind::Float))?]),
            "like" => Given::method(vec![source::dtype(operands.get(1), None)?]),
            "sizes" | "as_it_is" | "float" => Given::method(Vec::new()),
            "zeros" => self.flat_scores(pass, operands)?,
            "all_heads" => {
                let size = |at: usize| self.size(operands.first(), at);
                Given::method(vec![Tree::Int(-1), size(2)?, size(3)?])
            }
            "scaled" => Given {
                args: (0..3).map(Argument::Operand).collect(),
                kwargs: vec![
                    ("beta", Argument::Other(Tree::Int(0))),
                    ("alpha", Argument::Other(Tree::Float(self.attention.scores.scaling))),
                ],
            },
            "each_head" => {
                let heads = self.attention.heads;
                let rows = numbers(pass, |part| part.rows);
                let size = |at: usize| self.size(operands.first(), at);
                Given::method(vec![rows, Tree::Int(heads), size(1)?, size(2)?])
            }
            "turn_last" => Given::method(vec![Tree::Int(-1), Tree::Int(-2)]),
            "softmax" => {
                let mut call = Given::plain(1);
                call.kwargs.push(("dim", Argument::Other(Tree::Int(-1))));
                call
            }
            "update" => {
                let mut call = Given::plain(operands.len());
                let layer = i64::try_from(self.at.layer).unwrap_or(i64::MAX);
                call.args.push(Argument::Other(Tree::Int(layer)));
                call
            }
            "interface" => Given::method(vec![
                each(pass, |_| self.implementation().into()),
                self.opaque(pass, "function eager_attention_forward"),
            ]),
            "attend" => {
                let mask = self.stream.shared.field("attention_mask", self.at.kind, pass)?;
                let mut args = vec![Argument::Other(self.opaque(pass, &self.attention.class))];
                args.extend((0..operands.len()).map(Argument::Operand));
                args.push(Argument::Other(mask));
                let mut kwargs = vec![
                    ("dropout", Argument::Other(Tree::Float(0.0))),
                    ("scaling", Argument::Other(Tree::Float(self.attention.scores.scaling))),
                ];
                for name in self.attention.told {
                    let flow = match *name {
                        "softcap" => self.attention.scores.cap.map_or(Tree::None, Tree::Float),
                        "s_aux" => self.attention.scores.sinks.as_ref().map_or(Tree::None, |sinks| {
                            learned(&pass.layout.parts.iter().map(|_| sinks.shallow_clone()).collect::<Vec<_>>())
                        }),
                        _ => self.stream.shared.window(self.at.kind).map_or(Tree::None, Tree::Int),
                    };
                    kwargs.push((*name, Argument::Other(flow)));
                }
                kwargs.extend(self.handed_on(pass)?);
                Given { args, kwargs }
            }
            _ => Given::plain(operands.len()),
        })
    }

    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held> {
        let input = operands.first().unwrap_or(&Held::NONE);
        let (attention, shared) = (self.attention, &self.stream.shared);
        let SelfAttention { heads, key_heads, head_dim, .. } = *attention;
        if let Some(made) = attention.leaves.run(pass, name, input) {
            return made;
        }
        match name {
            "shape" => Ok(Held::Plain(each(pass, |part| torch::size_value(&[part.rows, part.length])))),
            "heads_shape" => Ok(Held::Plain(self.heads_shape(pass))),
            "false" => Ok(Held::Plain(Tree::Bool(false))),
            "is_pair" => Ok(Held::Plain(Tree::Bool(shared.caches.as_ref().is_some_and(|caches| caches.paired)))),
            "is_updated" => Ok(Held::Plain(Tree::Bool(false))),
            "own_past" => {
                let own = shared.caches.as_ref().map(|caches| Caches { all: caches.all.clone(), paired: false });
                Ok(Held::Plain(crate::pass::caches(own.map(Rc::new).as_ref())))
            }
            "is_eager" => Ok(Held::Plain(Tree::Bool(self.implementation() == "eager"))),
            "past" => Ok(Held::Plain(self.stream.shared.field("past_key_values", self.at.kind, pass)?)),
            "width" => Ok(Held::Plain(Tree::Int(heads * head_dim))),
            "window" => Ok(Held::Plain(self.stream.shared.window(self.at.kind).map_or(Tree::None, Tree::Int))),
            "interface" => {
                let name = format!("function {}_attention_forward", self.implementation());
                Ok(Held::Plain(self.opaque(pass, &name)))
            }
            "view" | "split_heads" => input.map(pass, |part, states| {
                let Part { rows, length, .. } = Self::part(pass, part)?;
                Ok(states.f_view([rows, length, -1, self.width()])?)
            }),
            "split_heads_turned" => input.map(pass, |part, states| {
                let Part { rows, length, .. } = Self::part(pass, part)?;
                Ok(states.f_view([rows, length, -1, head_dim])?.f_transpose(1, 2)?)
            }),
            "turn" | "permuted" => input.map(pass, |_, states| Ok(states.f_transpose(1, 2)?)),
            "merge" => input.map(pass, |part, states| {
                let Part { rows, length, .. } = Self::part(pass, part)?;
                Ok(states.f_reshape([rows, length, -1])?)
            }),
            "contiguous" => input.map(pass, |_, states| Ok(states.f_contiguous()?)),
            "split" => {
                let width = heads * head_dim;
                let own = |at: i64| Self::narrowed(pass, input, at * width, width);
                Ok(Held::Tuple(vec![own(0)?, own(1)?, own(2)?]))
            }
            "chunk" => {
                let own = |at: i64| Self::narrowed(pass, input, at * head_dim, head_dim);
                Ok(Held::Tuple(vec![own(0)?, own(1)?, own(2)?]))
            }
            "queries" => Self::narrowed(pass, input, 0, heads * head_dim),
            "keys" => Self::narrowed(pass, input, heads * head_dim, key_heads * head_dim),
            "values" => Self::narrowed(pass, input, (heads + key_heads) * head_dim, key_heads * head_dim),
            "rotate" => {
                let [_, keys, cosines, sines] = operands else {
                    return Err(Raise::runtime_error("a rotation takes queries, keys, cosines and sines").into());
                };
                let (cosines, sines) = (cosines.tensors()?, sines.tensors()?);
                let tables = [cosines.as_slice(), sines.as_slice()];
                Ok(Held::Tuple(vec![self.turned(pass, input, tables)?, self.turned(pass, keys, tables)?]))
            }
            "for_heads" => input.map(pass, |_, table| Ok(table.f_unsqueeze(1)?)),
            "by_head" => input.map(pass, |_, table| Ok(table.f_unsqueeze(2)?)),
            "interleave" => input.map(pass, |_, table| Ok(table.f_repeat_interleave_self_int(2, 3, None)?)),
            "type_of" => Ok(Held::Plain(source::dtype(Some(input), None)?)),
            "last_size" => {
                let width = |table: &Tensor| Value::Int(table.size().last().copied().unwrap_or(0));
                let parts = input.tensors()?.iter().map(width).collect();
                Ok(Held::Plain(Tree::Object(Rc::new(source::Shown(parts)) as Rc<dyn std::any::Any>)))
            }
            "begun" | "kept_past" => {
                let tables = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
                input.map(pass, |part, states| {
                    let width = |tensor: &Tensor| tensor.size().last().copied().unwrap_or(0);
                    let (all, begun) = (width(states), width(tables.get(part).ok_or_else(no_part)?));
                    let (start, length) =
                        if name == "begun" { (0, begun.min(all)) } else { (begun.min(all), (all - begun).max(0)) };
                    Ok(states.f_narrow(-1, start, length)?)
                })
            }
            "first_half" => Self::half(pass, input, 0),
            "second_half" => Self::half(pass, input, 1),
            "both_halves" => Ok(Held::Tuple(vec![Self::half(pass, input, 0)?, Self::half(pass, input, 1)?])),
            "turned_half" => {
                let (first, second) = (Self::half(pass, input, 0)?.tensors()?, Self::half(pass, input, 1)?);
                second.map(pass, |part, second| {
                    Ok(Tensor::f_cat(&[&second.f_neg()?, first.get(part).ok_or_else(no_part)?], -1)?)
                })
            }
            "turned_pairs" => {
                let [_, cosines, sines] = operands else {
                    return Err(Raise::runtime_error("a rotation takes cosines and sines").into());
                };
                let (cosines, sines) = (cosines.tensors()?, sines.tensors()?);
                input.map(pass, |part, states| {
                    let (cosine, sine) = (cosines.get(part).ok_or_else(no_part)?, sines.get(part).ok_or_else(no_part)?);
                    let [first, second] = crate::feed_forward::halves(states)?;
                    let one = first.f_mul(cosine)?.f_sub(&second.f_mul(sine)?)?;
                    let other = second.f_mul(cosine)?.f_add(&first.f_mul(sine)?)?;
                    Ok(Tensor::f_cat(&[one, other], -1)?)
                })
            }
            "evens" | "odds" => {
                let start = i64::from(name == "odds");
                input.map(pass, |_, states| Ok(states.f_slice(-1, start, None, 2)?))
            }
            "stack" => {
                let others = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
                input.map(pass, |part, own| Ok(Tensor::f_stack(&[own, others.get(part).ok_or_else(no_part)?], -1)?))
            }
            "flatten" => input.map(pass, |_, states| Ok(states.f_flatten(-2, -1)?)),
            "turned_neighbours" => input.map(pass, |_, states| {
                let [even, odd] = [0, 1].map(|start| states.f_slice(-1, start, None, 2));
                Ok(Tensor::f_stack(&[odd?.f_neg()?, even?], -1)?.f_flatten(-2, -1)?)
            }),
            "wide" => input.map(pass, |_, states| Ok(states.f_to_kind(Kind::Float)?)),
            "turn_last" => input.map(pass, |_, states| Ok(states.f_transpose(-1, -2)?)),
            "matmul" => {
                let others = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
                input.map(pass, |part, own| Ok(own.f_matmul(others.get(part).ok_or_else(no_part)?)?))
            }
            "softmax" => input.map(pass, |_, scores| Ok(scores.f_softmax(-1, scores.f_kind()?)?)),
            "sizes" => {
                let parts = input.tensors()?.iter().map(|states| torch::size_value(&states.size())).collect();
                Ok(Held::Plain(Tree::Object(Rc::new(source::Shown(parts)) as Rc<dyn std::any::Any>)))
            }
            "as_it_is" => Ok(Held::Plain(self.opaque(pass, "context"))),
            "zeros" => {
                let keys = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
                input.map(pass, |part, queries| {
                    let (queries, keys) = (queries.size(), keys.get(part).ok_or_else(no_part)?.size());
                    let [rows, heads, length, _] = *queries.as_slice() else { return Err(no_part().into()) };
                    let count = keys.get(2).copied().unwrap_or(0);
                    Ok(Tensor::f_zeros(
                        [rows * heads, length, count],
                        (Kind::Float, self.attention.output.weight.device()),
                    )?)
                })
            }
            "all_heads" => input.map(pass, |_, states| Ok(states.f_flatten(0, 1)?)),
            "float" => input.map(pass, |_, states| Ok(states.f_to_kind(Kind::Float)?)),
            "scaled" => {
                let [_, queries, keys] = operands else {
                    return Err(Raise::runtime_error("scores are made of queries and keys").into());
                };
                let keys = keys.tensors()?;
                queries.map(pass, |part, queries| {
                    let scores = queries.f_bmm(keys.get(part).ok_or_else(no_part)?)?;
                    Ok(kernels::number::multiply(&scores, attention.scores.scaling)?)
                })
            }
            "each_head" => input.map(pass, |_, scores| {
                let size = scores.size();
                let [_, length, keys] = *size.as_slice() else { return Err(no_part().into()) };
                Ok(scores.f_view([-1, heads, length, keys])?)
            }),
            "attend_upcast" => Ok(Held::Tuple(self.attended(pass, operands)?.into())),
            "update" => self.updated(pass, input, operands.get(1).unwrap_or(&Held::NONE)),
            "attend" => match attention.functions.as_ref().filter(|own| pass.wants(own.caller()).operations) {
                Some(functions) => {
                    let module = self.opaque(pass, &attention.class);
                    let called = Called { shared: &self.stream.shared, kind: self.at.kind, module };
                    functions.run(pass, &called, operands, attention.scores.sinks.as_ref())
                }
                None => Ok(Held::Tuple(self.attended(pass, operands)?.into())),
            },
            "attend_heads" => {
                let [attended, weights] = self.attended(pass, operands)?;
                let attended = attended.map(pass, |_, attended| Ok(attended.f_transpose(1, 2)?))?;
                Ok(Held::Tuple(vec![attended, weights]))
            }
            "merge_heads" => input.map(pass, |part, states| {
                let Part { rows, length, .. } = Self::part(pass, part)?;
                Ok(states.f_transpose(1, 2)?.f_contiguous()?.f_view([rows, length, heads * head_dim])?)
            }),
            "table" => self.table(pass),
            "column" => self.column(pass),
            "repeated" => input.map(pass, |_, column| Ok(column.f_repeat([1, 1, self.rotated()])?)),
            "gather" => {
                let places = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
                input.map(pass, |part, table| {
                    let places = places.get(part).ok_or_else(no_part)?;
                    let rows = table.size().first().copied().unwrap_or(1);
                    let places = places.f_expand([rows, -1, -1], false)?;
                    Ok(table.f_gather(1, &places, false)?)
                })
            }
            "like" => {
                let like = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
                input.map(pass, |part, own| Ok(own.f_to_kind(like.get(part).ok_or_else(no_part)?.f_kind()?)?))
            }
            "halves" => {
                let half = self.rotated() / 2;
                Ok(Held::Tuple(vec![Self::narrowed(pass, input, 0, half)?, Self::narrowed(pass, input, half, half)?]))
            }
            "rotated" => Self::narrowed(pass, input, 0, self.rotated()),
            "kept" => Self::narrowed(pass, input, self.rotated(), head_dim - self.rotated()),
            "neighbours" => {
                let [_, sines, cosines] = operands else {
                    return Err(Raise::runtime_error("a rotation takes sines and cosines").into());
                };
                let (sines, cosines) = (sines.tensors()?, cosines.tensors()?);
                let turn = Turn { pairs: crate::family::Pairs::Neighbours, width: self.rotated() };
                input.map(pass, |part, states| {
                    let (sine, cosine) = (sines.get(part).ok_or_else(no_part)?, cosines.get(part).ok_or_else(no_part)?);
                    Ok(rope::turn(&states.f_transpose(1, 2)?, cosine, sine, turn, true)?.f_transpose(1, 2)?)
                })
            }
            "cat" => {
                let rest = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
                input.map(pass, |part, own| Ok(Tensor::f_cat(&[own, rest.get(part).ok_or_else(no_part)?], -1)?))
            }
            _ => Err(Raise::runtime_error(format!("attention has no {name}")).into()),
        }
    }
}

impl Steps<'_> {
    /// Returns how many dimensions of each head are rotated.
    fn rotated(&self) -> i64 {
        self.attention.turn.map_or(0, |(turn, _)| turn.width)
    }
}

/// Tokens' heads, `[…, heads, head_dim]`, which are shown as `[rows, heads, length, head_dim]`.
struct Turned(Tokens);

impl Turned {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        let own = |part| Ok(pass.segment(&self.0, part)?.f_transpose(1, 2)?);
        // What does not fit the parts shows as nothing.
        let parts: Result<Vec<Tensor>> = (0..pass.layout.parts.len()).map(own).collect();
        learned(&parts.unwrap_or_default())
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        let parts = pass.tensors(flow)?;
        let back = parts.iter().map(|part| Ok(part.f_transpose(1, 2)?)).collect::<Result<_>>()?;
        Ok(Self(pass.gather(back)?))
    }
}

impl Input for Turned {
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments> {
        Ok(Inputs { args: vec![self.show(pass)], kwargs: Vec::new() })
    }

    fn read(self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let first = arguments.args.into_iter().chain(arguments.kwargs.into_iter().map(|(_, flow)| flow)).next();
        Self::read(pass, first.unwrap_or(Tree::None))
    }
}

impl Output for Turned {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        self.show(pass)
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        Self::read(pass, flow)
    }
}
