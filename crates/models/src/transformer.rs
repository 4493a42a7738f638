//! A loaded language model.

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use engine::{
    Arithmetic, Attention, Forwarded, Interrupt, JobContext, Layout, Namespace, Observer, Parameter, Schema, Segment,
    SegmentIndex, Site,
};
use interpreter::raise::Raise;
use interpreter::{Args, Effect, Machine, Use, Value};
use kernels::{BLOCK, Kernels, Memory, Products, Ranks, Rows, Scrub, Weight};
use program::{Batching, Function, Heap, Ref};
use tch::{TchError, Tensor};

use crate::adapter;
use crate::alone;
use crate::assembly::assemble;
use crate::builder::{Builder, Node};
use crate::cache::{self, Cache};
use crate::call::Call;
use crate::config::Config;
use crate::course::Trunk;
use crate::decoder::{self, Decoder};
use crate::dtype::{DType, Precision};
use crate::error::LoadError;
use crate::families;
use crate::family::Attributes;
use crate::flags::Flags;
use crate::generation::{self, GenerationConfig, Sampler};
use crate::layer::Layer;
use crate::library;
use crate::pass::{self, Pass};
use crate::residency::{Price, Streamed, Streaming};
use crate::shelf::Keeping;
use crate::steps::Steps;
use crate::tokenizer::Tokenizer;
use crate::tokens::Recorder;
use crate::weights::Weights;
use crate::{modules, settings};

/// A decoder-only model with its head, its tokenizer and its settings.
pub struct Transformer {
    pub(crate) config: Rc<Config>,
    pub(crate) decoder: Decoder,
    schema: Schema,
    nodes: Vec<Node>,
    attributes: Vec<Attributes>,
    tokenizer: Rc<Tokenizer>,
    settings: GenerationConfig,
    /// Where it was read from, and its adapters are.
    folder: PathBuf,
    kernels: Rc<Kernels>,
    device: torch::Device,
    /// In which parameters lie, here and on other ranks.
    memory: Vec<Memory>,
    ranks: Option<Rc<Ranks>>,
    streaming: Option<Rc<Streaming>>,
}

/// Loads a folder that Hugging Face's `save_pretrained` wrote to a device, which must be there. Without a `dtype` the
/// checkpoint's own is kept if it is bfloat16, and is float32 otherwise; what the files have in few bits stays so. Tells the bytes read, and those of all weights.
///
/// # Errors
/// When something is missing, damaged, or asks for what is not supported; the message names the file.
pub fn load(
    folder: &Path,
    dtype: Option<DType>,
    device: torch::Device,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Box<Transformer>, LoadError> {
    Ok(load_over(Way::Here(None), folder, dtype, device, progress)?.0)
}

/// Loads a model as [`load`] does, with weights that are kept in memory where they are, and may be. Returns whether they were,
/// all of them.
///
/// # Errors
/// As [`load`].
pub fn load_keeping(
    keeping: Keeping,
    folder: &Path,
    dtype: Option<DType>,
    device: torch::Device,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Box<Transformer>, bool), LoadError> {
    load_over(Way::Here(Some(keeping)), folder, dtype, device, progress)
}

/// Loads a model as [`load`] does, of which the matrices of layers stay in the files, or beside a GPU in the host's memory, and are
/// brought to the device when a pass comes to them: two layers are there at once.
///
/// # Errors
/// As [`load`], and for weights in few bits.
pub fn load_streamed(
    folder: &Path,
    dtype: Option<DType>,
    device: torch::Device,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Box<Transformer>, LoadError> {
    Ok(load_over(Way::Streamed, folder, dtype, device, progress)?.0)
}

/// Loads a folder's matrices in pieces, one for each rank: the others [follow](crate::follow) with the same folder. All else
/// is here, on a device.
///
/// # Errors
/// As [`load`], and when a rank cannot do the same.
pub fn load_apart(
    ranks: Rc<Ranks>,
    folder: &Path,
    dtype: Option<DType>,
    device: torch::Device,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Box<Transformer>, LoadError> {
    Ok(load_over(Way::Apart(ranks), folder, dtype, device, progress)?.0)
}

/// Where a model's matrices are to be.
enum Way {
    Here(Option<Keeping>),
    Apart(Rc<Ranks>),
    Streamed,
}

fn load_over(
    way: Way,
    folder: &Path,
    dtype: Option<DType>,
    device: torch::Device,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Box<Transformer>, bool), LoadError> {
    libtorch::prepare();
    let _spare = libtorch::spare();
    let config = Config::read(folder)?;
    let precision = Precision::new(&config, dtype)?;
    let kind = precision.kind();
    let tokenizer = Rc::new(Tokenizer::read(folder)?);
    let settings = GenerationConfig::read(folder, &config)?;
    let mut weights = Weights::open_as(folder, precision, device)?;
    let blueprint = families::blueprint(&config)?;
    weights.adapt(&blueprint.root);
    let (mut ranks, mut streaming) = (None, None);
    match way {
        // Of weights in few bits, what is read is not what is kept on the device.
        Way::Here(Some(keeping)) if !weights.in_few_bits() => weights.keep(keeping),
        Way::Here(_) => {}
        Way::Apart(own) => ranks = Some(own),
        Way::Streamed => {
            streaming = Some(Streaming::open(folder, precision, device.into(), &blueprint.root)?);
        }
    }
    let mut builder = Builder::new(&mut weights, ranks.clone().map(|ranks| (ranks, precision)), progress);
    if let Some(streaming) = &streaming {
        builder.stream(streaming);
    }
    let decoder = assemble(&config, blueprint, &mut builder, (kind, device.into()))?;
    let (schema, nodes, attributes, memory) = (builder.schema, builder.nodes, builder.attributes, builder.memory);
    weights.finish(decoder.about.blueprint.head.tied)?;
    let (config, kernels) = (Rc::new(config), Rc::default());
    let warm = weights.were_kept();
    let model = Transformer {
        config,
        decoder,
        schema,
        nodes,
        attributes,
        tokenizer,
        settings,
        folder: folder.to_path_buf(),
        kernels,
        device,
        memory,
        ranks,
        streaming,
    };
    Ok((Box::new(model), warm))
}

impl Transformer {
    /// Returns the number of parameters, tied ones once.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let count = |tensor: &Tensor| u64::try_from(tensor.numel()).unwrap_or(0);
        let entries = |weight: &Weight| u64::try_from(weight.size().iter().product::<i64>()).unwrap_or(0);
        let of_node = |node: &Node| match node {
            Node::Linear(linear) if linear.site == self.decoder.head.site && self.tied() => {
                linear.bias.as_ref().map_or(0, count)
            }
            Node::Linear(linear) | Node::Conv1D(linear) => {
                entries(&linear.weight) + linear.bias.as_ref().map_or(0, count)
            }
            Node::Norm(norm) => count(&norm.weight) + norm.bias.as_ref().map_or(0, count),
            Node::Embedding(embedding) => embedding.table.size().map(i64::unsigned_abs).iter().product(),
            Node::Layer(index) => self.decoder.at(*index).map_or(0, Layer::own_parameters),
            _ => 0,
        };
        self.nodes.iter().map(of_node).sum()
    }

    /// Returns the bytes that what is kept in few bits takes in this process, with its scales.
    #[must_use]
    pub fn bytes_in_few_bits(&self) -> u64 {
        let of_node = |node: &Node| match node {
            Node::Linear(linear) | Node::Conv1D(linear) => linear.weight.bytes_in_few_bits(),
            Node::Experts(index) => {
                let sparse = self.decoder.at(*index).ok().and_then(Layer::experts);
                let each = sparse.map(|sparse| sparse.experts.each.iter()).into_iter().flatten();
                each.map(|expert| expert.gate_up.0.bytes_in_few_bits() + expert.down.0.bytes_in_few_bits()).sum()
            }
            _ => 0,
        };
        self.nodes.iter().map(of_node).sum()
    }

    /// Learns what the weights are, so that they can be compared with that. Once: another one has nothing to look at.
    ///
    /// # Errors
    /// When a GPU refuses, or ranks are lost.
    pub fn scrub(&mut self) -> Result<Scrub, TchError> {
        Scrub::learn(std::mem::take(&mut self.memory), self.ranks.clone())
    }

    /// Returns what a pass costs more for layers that are brought when they are used; `None` where they are on the device.
    #[must_use]
    pub fn price(&self) -> Option<Price> {
        self.streaming.as_ref().map(|streaming| streaming.price())
    }

    /// Returns what such layers have brought so far.
    #[must_use]
    pub fn streamed(&self) -> Option<Streamed> {
        self.streaming.as_ref().map(|streaming| streaming.streamed())
    }

    /// Returns Python's expressions for what a pass leads to, of the last token: what the last norm gives, and the logits. What is
    /// wrong with a weight or a kernel shows in these.
    #[must_use]
    pub fn ends(&self) -> Vec<String> {
        let sites = [self.decoder.norm.site, self.decoder.head.site];
        let paths = sites.into_iter().filter_map(|site| self.schema.path(site));
        paths.map(|path| format!("model.{path}.output[:, -1].float()")).collect()
    }

    /// Meets what passes of up to so many tokens will meet, so that the first users do not wait for it: which sizes kernels
    /// treat alike is measured; and on a GPU, kernels are loaded when they are first launched, and memory is taken when it is
    /// first needed.
    ///
    /// # Errors
    /// When a kernel fails, or memory is short: what PyTorch says.
    pub fn warm_up(&self, tokens: i64) -> Result<(), Raise> {
        // Which form a matrix has is known without it being here.
        let meet = |weight: &Weight, biased: bool, most: i64| {
            self.kernels.meet(weight, biased, most).map_err(|error| pass::raise(&error))
        };
        for node in &self.nodes {
            match node {
                // Logits are computed in blocks, and so is what experts make.
                Node::Linear(linear) if linear.site == self.decoder.head.site => {
                    meet(&linear.weight, linear.bias.is_some(), BLOCK)?;
                }
                Node::Linear(linear) | Node::Conv1D(linear) => {
                    meet(&linear.weight, linear.bias.is_some(), tokens)?;
                    if let Some(share) = &linear.share {
                        meet(&share.joint.weight, linear.bias.is_some(), tokens)?;
                    }
                }
                Node::Experts(index) => {
                    let sparse = self.decoder.at(*index).ok().and_then(Layer::experts);
                    let first = sparse.and_then(|sparse| sparse.experts.each.first());
                    for (weight, bias) in first.iter().flat_map(|expert| [&expert.gate_up, &expert.down]) {
                        meet(weight, bias.is_some(), BLOCK)?;
                    }
                }
                _ => {}
            }
        }
        if !self.device.is_cuda() {
            return Ok(());
        }
        let longest = self.config.size("max_position_embeddings").unwrap_or(1).min(tokens);
        let row = |length: i64| vec![0; usize::try_from(length.min(longest)).unwrap_or(1)];
        let rows: Vec<Vec<i64>> = [1, 16, 64, longest].map(row).into();
        for rows in rows.chunks(1).chain([rows.as_slice()]) {
            self.trunks(rows, Attention::Sdpa, &|| {})?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn is_eager(&self) -> bool {
        self.decoder.about.blueprint.eager
    }

    fn tied(&self) -> bool {
        self.decoder.about.blueprint.head.tied
    }

    /// Returns how many numbers of keys and values a token has in a layer.
    fn kept(&self) -> i64 {
        let (_, key_heads, head_dim) = self.decoder.heads();
        2 * key_heads * head_dim
    }

    pub(crate) fn config_value(&self) -> Value {
        Value::host(settings::Settings::of_config(&self.config))
    }

    /// Shows the settings of which the language model's are a part, or these where they are all.
    pub(crate) fn whole_config_value(&self) -> Value {
        Value::host(settings::Settings::of_whole(&self.config))
    }

    pub(crate) fn attributes_of(&self, site: Site) -> &Attributes {
        const NONE: &Attributes = &Attributes::new();
        self.attributes.get(site.0 as usize).unwrap_or(NONE)
    }

    pub(crate) fn generation_config(&self) -> Value {
        Value::host(settings::Settings::of_generation(Rc::clone(&self.config), self.settings.shown()))
    }

    /// Returns how a pass, or a module that a job calls, multiplies.
    pub(crate) fn products(&self, rows: Rows) -> Products {
        Products::new(&self.kernels, rows)
    }

    pub(crate) fn node(&self, site: Site) -> Option<&Node> {
        self.nodes.get(site.0 as usize)
    }

    /// Returns the trunks of each segment. What is looked at before the first layer can change more than positions, so
    /// such a segment is computed as if it had none.
    fn trunks_of(
        &self,
        segments: &[Segment<torch::Tensor>],
        flags: &Flags,
        observer: &dyn Observer<torch::Tensor>,
    ) -> Vec<Vec<Rc<Trunk>>> {
        let about = &self.decoder.about;
        if !about.forks() || flags.collects() {
            return segments.iter().map(|_| Vec::new()).collect();
        }
        let first = about.layers.first();
        let before: Vec<Site> = self.schema.execution.iter().take_while(|site| Some(*site) != first).copied().collect();
        let early = |segment: usize| {
            before.iter().any(|&site| {
                let wants = observer.wants(site, SegmentIndex(segment));
                let around = [Some(about.root), about.around, Some(about.base)].contains(&Some(site));
                wants.input || (!around && (wants.output || wants.inside))
            })
        };
        let own = |(index, segment): (usize, &Segment<torch::Tensor>)| {
            let trunk = |kept: &Rc<dyn Any>| Rc::clone(kept).downcast::<Trunk>().ok();
            let all = || segment.trunks.iter().map(trunk).collect::<Option<Vec<_>>>();
            if segment.trunks.is_empty() || early(index) { Vec::new() } else { all().unwrap_or_default() }
        };
        segments.iter().enumerate().map(own).collect()
    }

    /// Returns what holds for calls that say nothing.
    fn usual_flags(&self) -> Flags {
        let about = &self.decoder.about.blueprint;
        Flags {
            output_hidden_states: about.usual.hidden_states,
            output_attentions: about.usual.attentions,
            causal: about.usual.causal,
            uncached: !self.caches(),
            routes: about.balance.map(|balance| balance.asked),
            ..Flags::default()
        }
    }

    /// Reads the segments' keyword arguments, which are the same ones for all of a pass.
    fn flags(&self, segments: &[Segment<torch::Tensor>]) -> Result<Flags, Raise> {
        let mut flags = self.usual_flags();
        for segment in segments {
            let keep = flags.add(&segment.flags)?;
            flags.logits_to_keep.push(keep);
        }
        Ok(flags)
    }
}

fn rows(batching: Batching) -> Rows {
    match batching {
        Batching::Shared => Rows::Rounded,
        Batching::Reproducible => Rows::Fixed,
        Batching::Exclusive => Rows::Own,
    }
}

impl Arithmetic for Transformer {
    type Tensor = torch::Tensor;

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn adapter(&self, name: &str) -> Result<engine::Files, Raise> {
        let (folder, stamp) = adapter::find(&self.folder, name).map_err(Raise::value_error)?;
        let size = |(site, node): (usize, &Node)| match node {
            Node::Linear(linear) | Node::Conv1D(linear) => {
                Some((Site(u32::try_from(site).ok()?), linear.weight.size()))
            }
            _ => None,
        };
        let sizes: HashMap<Site, [i64; 2]> = self.nodes.iter().enumerate().filter_map(size).collect();
        let (name, schema) = (name.to_owned(), self.schema.clone());
        let read = move || adapter::read(&folder, &name, &schema, &sizes);
        Ok(engine::Files { stamp, read: Box::new(read) })
    }

    /// Records what gradients need if a segment has a recorder: then every activation that weights take part in
    /// requires grad, and no weight does. Segments of one pass should carry the same flags.
    fn forward(
        &self,
        segments: &mut [Segment<torch::Tensor>],
        observer: &mut dyn Observer<torch::Tensor>,
    ) -> Result<Forwarded<torch::Tensor>, Interrupt> {
        let only = segments.first().and_then(|segment| segment.only.clone());
        if let ([segment], Some(only)) = (&*segments, &only)
            && let Some(given) = &only.given
        {
            return modules::forward(self, segment, (only, given), observer);
        }
        let own = |tensor: &torch::Tensor| self.place(tensor.clone()).map(|tensor| tensor.tch().shallow_clone());
        let each = |one: fn(&Segment<torch::Tensor>) -> Option<&torch::Tensor>| {
            segments.iter().map(|segment| one(segment).map(own).transpose()).collect::<Result<_, _>>()
        };
        let cache = |segment: &Segment<torch::Tensor>| segment.cache.as_ref()?.downcast_ref::<Cache>().cloned();
        // A generation that began with rows kept from before goes on by itself.
        segments.iter().filter(|segment| segment.trunks.is_empty()).filter_map(cache).for_each(|cache| cache.settle());
        let flags = self.flags(segments)?;
        let mut call = Call {
            ids: segments.iter().map(|segment| own(&segment.input_ids)).collect::<Result<_, _>>()?,
            padding: each(|segment| segment.attention_mask.as_ref())?,
            positions: each(|segment| segment.position_ids.as_ref())?,
            caches: segments.iter().map(cache).collect(),
            attention: segments.iter().map(|segment| segment.attention).collect(),
            trunks: self.trunks_of(segments, &flags, observer),
            flags,
            generating: segments.iter().map(|segment| segment.generating).collect(),
            images: self.decoder.about.around.is_some(),
            pairs_caches: self.decoder.about.blueprint.paired_caches,
            ..Call::default()
        };
        if let ([segment], past) = (&*segments, call.past(0))
            && let Some(padding) = &call.flags.alone.padding
        {
            // A mask of the new tokens alone says that they are hidden from each other.
            let padded = alone::padded(padding, past + segment.length, self.decoder.about.device);
            call.padding = vec![Some(padded.map_err(|error| pass::raise(&error))?)];
        }
        let batching = segments.first().map(|segment| segment.batching).unwrap_or_default();
        let mut pass = Pass::new(observer, Layout::of(segments), self.products(rows(batching)));
        let recorder = |segment: &Segment<torch::Tensor>| {
            let machine = segment.recorder.clone()?;
            Some(Recorder { job: torch::Job::of(&machine), machine })
        };
        pass.recorders = segments.iter().map(recorder).collect::<Option<_>>().unwrap_or_default();
        let records = !pass.recorders.is_empty();
        let tuple = call.flags.alone.tuple;
        let run = || match &only {
            None => decoder::run(&self.decoder, &mut pass, call),
            Some(_) => decoder::base(&self.decoder, &mut pass, call).map(|record| record.returned(tuple)),
        };
        let output = if records { run() } else { tch::no_grad(run) }.map_err(Interrupt::from);
        for (segment, done) in segments.iter_mut().zip(&pass.done) {
            segment.done = *done;
        }
        Ok(Forwarded { output: output?, layout: pass.layout })
    }

    fn vocabulary(&self) -> Option<i64> {
        self.config.size("vocab_size").ok()
    }

    fn positions(&self) -> Option<i64> {
        self.decoder.about.blueprint.positions
    }

    fn begins_anew_at(&self) -> Option<i64> {
        self.decoder.about.blueprint.anew_at
    }

    fn caches(&self) -> bool {
        !matches!(self.config.get("use_cache"), Some(serde_json::Value::Bool(false)))
    }

    fn takes_tokens(&self, site: Site) -> bool {
        let about = &self.decoder.about;
        site == about.root || site == about.around.unwrap_or(about.base)
    }

    fn accept(&self, kwargs: &[(Rc<str>, Value)]) -> Result<(), Raise> {
        self.usual_flags().add(kwargs).map(drop)
    }

    /// Counts what is alive at once where memory is fullest: in an attention block, its scores if they are written down,
    /// or in a feed-forward block; and the keys and values of all layers.
    fn pass_bytes(&self, rows: i64, length: i64, total: i64, attention: Attention) -> u64 {
        let size = |name: &str| self.config.size(name).unwrap_or(0);
        // No sequence grows beyond the positions that there are.
        let total = total.min(size("max_position_embeddings").max(length));
        let (heads, _, head_dim) = self.decoder.heads();
        let (width, attention) = (size("hidden_size"), self.decoder.about.attention(attention));
        let inner = self.decoder.inner();
        let kept = self.kept();
        let layers = i64::try_from(self.decoder.about.layers.len()).unwrap_or(0);
        let scores = if attention == Attention::Eager { 3 * heads * total } else { 0 };
        let wide = (2 * heads * head_dim + kept + scores).max(3 * inner);
        let numbers = [rows, length, 3 * width + wide].iter().fold(1_u64, |all, &size| all.saturating_mul(size as u64));
        let caches = [rows, total, layers, kept].iter().fold(1_u64, |all, &size| all.saturating_mul(size as u64));
        let element = self.decoder.head.weight.kind().elt_size_in_bytes() as u64;
        numbers.saturating_add(caches).saturating_mul(element)
    }

    fn trunks(&self, rows: &[Vec<i64>], attention: Attention, rest: &dyn Fn()) -> Result<Vec<engine::Trunk>, Raise> {
        let _unrecorded = tch::no_grad_guard();
        let products = self.products(Rows::Rounded);
        let trunks = Trunk::compute(&self.decoder, products, rows, attention, rest).map_err(|stop| {
            match Interrupt::from(stop) {
                Interrupt::Failed(raise) => raise,
                Interrupt::Enough => Raise::runtime_error("nobody needs these rows"),
            }
        })?;
        let keep = |trunk: Trunk| engine::Trunk { bytes: trunk.bytes(), states: Rc::new(trunk) };
        Ok(trunks.into_iter().map(keep).collect())
    }

    fn trunk_bytes(&self, length: i64) -> u64 {
        let about = &self.decoder.about;
        if !about.forks() {
            // Nobody could use it, so that it must not fit.
            return u64::MAX;
        }
        Trunk::estimate(about, self.config.size("hidden_size").unwrap_or(0), self.kept(), length)
    }

    fn catch_up(&self) {
        if self.device.is_cuda() {
            // A GPU that is lost is found out by whoever asks it for something.
            let _ = torch::cuda::check(self.device);
        }
    }

    fn place(&self, tensor: torch::Tensor) -> Result<torch::Tensor, Raise> {
        tensor.to_device(self.device)
    }

    fn new_cache(&self) -> Box<dyn Any> {
        Box::new(Cache::new(Rc::clone(&self.decoder.about.windows)))
    }

    fn expect(&self, cache: &dyn Any, longest: i64) {
        if let Some(cache) = cache.downcast_ref::<Cache>() {
            let positions = self.config.size("max_position_embeddings").unwrap_or(longest);
            cache.expect(longest.min(positions.max(cache.length())));
        }
    }

    fn rewind(&self, cache: &dyn Any, length: i64) -> Result<(), Raise> {
        let own = cache.downcast_ref::<Cache>();
        own.map_or(Ok(()), |cache| cache.rewind(length)).map_err(|error| pass::raise(&error))
    }

    fn sampler(
        &self,
        machine: &Machine,
        kwargs: &[(Rc<str>, Value)],
        prompt: &[Vec<i64>],
    ) -> Result<Box<dyn engine::Sampler<torch::Tensor>>, Raise> {
        let (settings, more) = self.settings.with(kwargs)?;
        let sampler = Sampler::new(settings, prompt.first().map_or(0, Vec::len))?;
        Ok(match more.matters() {
            true => Box::new(Steps::new(machine, sampler, more, prompt, self.decoder.about.device)?),
            false => Box::new(sampler),
        })
    }

    fn drawn(&self, all: Vec<engine::Drawn<torch::Tensor>>) -> Vec<Result<Vec<i64>, Raise>> {
        generation::drawn(&all)
    }

    fn copies(&self, kwargs: &[(Rc<str>, Value)]) -> Result<usize, Raise> {
        let (settings, more) = self.settings.with(kwargs)?;
        more.copies(settings.samples())
    }

    fn reorder(&self, cache: &dyn Any, order: &[i64]) -> Result<(), Raise> {
        let own = cache.downcast_ref::<Cache>();
        own.map_or(Ok(()), |cache| cache.reorder(order)).map_err(|error| pass::raise(&error))
    }

    fn generation_settings(&self) -> &[(String, serde_json::Value)] {
        self.settings.given()
    }
}

impl Namespace for Transformer {
    fn tokenizer(&self) -> Rc<dyn engine::Tokenizer> {
        Rc::clone(&self.tokenizer) as Rc<dyn engine::Tokenizer>
    }

    fn given_cache(&self, value: &Value) -> Option<Box<dyn Any>> {
        Cache::of_value(value).map(|cache| Box::new(cache) as Box<dyn Any>)
    }

    fn cache_of(&self, layers: Vec<(torch::Tensor, torch::Tensor)>) -> Result<Value, Raise> {
        let own = |tensor: torch::Tensor| self.place(tensor).map(|tensor| tensor.tch().shallow_clone());
        let layers = layers.into_iter().map(|(keys, values)| Ok((own(keys)?, own(values)?)));
        let windows = Rc::clone(&self.decoder.about.windows);
        Ok(Cache::filled(windows, layers.collect::<Result<_, Raise>>()?).value())
    }

    fn call_module(&self, machine: &Machine, site: Site, args: &Args, attention: Attention) -> Result<Value, Raise> {
        modules::call(self, machine, site, (args, attention))
    }

    fn attribute(&self, machine: &Machine, site: Site, name: &str) -> Option<Value> {
        modules::attribute(self, machine, site, name)
    }

    fn parameters(&self, site: Site) -> Vec<Parameter> {
        let tied = site == self.decoder.head.site && self.tied();
        let names = self.node(site).map(|node| modules::parameters(self, node)).unwrap_or_default();
        names.into_iter().map(|name| Parameter { name, shared: tied && name == "weight" }).collect()
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Option<Effect> {
        let plain = match usage {
            Use::Store => false,
            Use::Read | Use::Call { .. } => {
                let own = |attributes: &Attributes| attributes.iter().any(|(own, _)| *own == name);
                modules::ATTRIBUTES.contains(&name)
                    || cache::NAMES.contains(&name)
                    || settings::has(&self.config, name)
                    || self.attributes.iter().any(own)
            }
        };
        Effect::either(plain.then_some(Effect::Looks), torch::effects::of_object(name, usage))
    }

    fn object(&self, _: &Machine, object: &Rc<dyn Any>, part: usize) -> Value {
        modules::show_object(object, part)
    }

    fn object_data(&self, value: &Value, heap: &mut Heap) -> Option<Ref> {
        Cache::data_of(value, heap)
    }

    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        library::import(machine, module).or_else(|| torch::import(machine, module))
    }

    fn global(&self, machine: &Machine, module: &str, name: &str) -> Option<Value> {
        library::global(machine, module, name).or_else(|| torch::global(machine, module, name))
    }

    fn instance(
        &self,
        machine: &Machine,
        class: &str,
        args: &[Value],
        state: Option<&Value>,
    ) -> Option<Result<Value, Raise>> {
        torch::instance(machine, class, args, state)
    }

    fn named_result(&self, value: &Value) -> Option<(String, Vec<Value>)> {
        torch::named_result(value)
    }

    fn value_data(&self, value: &Value, heap: &mut Heap) -> Option<Result<Ref, Raise>> {
        torch::value_data(value, heap)
    }
}

impl JobContext for Transformer {
    type Aside = torch::Aside;

    fn begin(&self, machine: &Machine, recording: bool, batching: Batching, alone: bool) {
        let job = torch::Job::of(machine);
        job.set_device(self.device);
        job.set_gradients(recording);
        job.set_rows(rows(batching));
        job.set_company(!alone);
    }

    fn regrets(&self, machine: &Machine) -> bool {
        torch::Job::of(machine).regrets()
    }

    fn put_aside(&self) -> torch::Aside {
        torch::Aside::take()
    }

    fn bring_back(&self, aside: torch::Aside) {
        aside.bring_back();
    }

    fn recording(&self, machine: &Machine) -> bool {
        torch::Job::of(machine).gradients()
    }

    fn opens(&self, machine: &Machine, function: Function) {
        torch::Job::of(machine).note_trace(function == Function::Call);
    }

    fn takes(&self, machine: &Machine, value: &Value) {
        if !modules::is_learned(value) {
            torch::Job::of(machine).doubt();
        }
    }

    /// With the client, the model computes in the mode that a block has set when it waits: under `torch.no_grad()`, nothing of what
    /// it reads there requires grad.
    fn gives(&self, machine: &Machine, value: &Value) {
        if !torch::Job::of(machine).records() {
            modules::forget(value);
        }
    }
}
