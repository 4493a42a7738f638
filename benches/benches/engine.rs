//! The engine without a server, for `benches/compare`: obeys one JSON order a line and answers with a few numbers of
//! what it computed. The driver measures the CPU time of this process.
//!
//!     engine FOLDER DEVICE       FOLDER holds a GPT-2 or a Llama; `raw` knows GPT-2 only. DEVICE is `cpu` or `cuda`
//!
//! Orders: `{"what": "raw"|"packed"|"model", "ids": [[…], …], "logits": bool, "repeat": N}` for a forward pass written by hand on
//! the same libtorch, or the served model's own with nobody watching, up to the logits of all positions or to the last
//! layer's output; `"packed"` is `raw` on weights in blocks; `"parts"` in the place of `"model"` has each row as a part of its own with a cache, as the rows of
//! different requests are; `{"what": "read", "files": [PATH, …], "fields": "…"}` and then `{"what": "run", "together": N}`
//! for recorded requests, N at a time.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use engine::{
    Arithmetic, Engine, Entered, Event, Forwarded, Inputs, Interleaver, Interrupt, Job, Layout, Observer, Packed,
    Segment, Site, Tree, Wants,
};
use ids::{JobId, TenantId};
use kernels::Weight;
use models::cuda::Search;
use models::{DType, Transformer};
use nnsight::RequestFields;
use program::{Datum, Limits, Program, Saved};
use serde_json::{Value as Json, json};
use tch::Tensor;

/// Numbers of an answer.
const SHOWN: usize = 16;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (folder, device) = (arguments.next().expect("engine FOLDER DEVICE"), arguments.next());
    let device = match device.as_deref() {
        None | Some("cpu") => models::Device::CPU,
        Some("cuda") => {
            let search =
                Search { folder: std::env::var_os("VITRINE_TORCH_LIB").map(PathBuf::from), ..Search::default() };
            search.load().unwrap_or_else(|missing| panic!("{missing}"));
            models::Device::cuda(0)
        }
        Some(other) => panic!("no such device: {other}"),
    };
    let bench =
        Bench { folder: folder.into(), device, raw: OnceCell::new(), packed: OnceCell::new(), model: OnceCell::new() };
    // Loaded apart from `model`, for an engine owns its model.
    let mut interleaver = None;
    let mut programs = Vec::new();
    torch::prepare();
    let _no_grad = tch::no_grad_guard();
    for line in std::io::stdin().lines() {
        let order: Json = serde_json::from_str(&line.unwrap()).unwrap();
        let mut values = json!(null);
        for _ in 0..order["repeat"].as_u64().unwrap_or(1) {
            values = match order["what"].as_str().unwrap() {
                "raw" => json!(shown(&bench.raw(false).forward(&bench.ids(&order), logits(&order)))),
                "packed" => json!(shown(&bench.raw(true).forward(&bench.ids(&order), logits(&order)))),
                "model" => json!(shown(&forward(bench.model(), &[bench.ids(&order)], false, logits(&order)))),
                "parts" => {
                    json!(shown(&forward(bench.model(), &bench.ids(&order).split(1, 0), true, logits(&order))))
                }
                "read" => {
                    let files = order["files"].as_array().unwrap().iter();
                    // Decoded here: that is the gateway's work.
                    programs = files.map(|file| program(file.as_str().unwrap(), &order)).collect();
                    interleaver.get_or_insert_with(|| Interleaver::new(*bench.load()));
                    json!(null)
                }
                "run" => {
                    let (interleaver, mut values) = (interleaver.as_mut().unwrap(), Vec::new());
                    while !programs.is_empty() {
                        let together = (order["together"].as_u64().unwrap() as usize).min(programs.len());
                        values.extend(run(interleaver, programs.drain(..together).collect()));
                    }
                    json!(values)
                }
                other => panic!("no such order: {other}"),
            };
        }
        println!("{}", json!({ "values": values }));
        std::io::stdout().flush().unwrap();
    }
}

struct Bench {
    folder: PathBuf,
    device: models::Device,
    raw: OnceCell<Raw>,
    packed: OnceCell<Raw>,
    model: OnceCell<Box<Transformer>>,
}

impl Bench {
    fn load(&self) -> Box<Transformer> {
        models::load(&self.folder, Some(DType::Float32), self.device, &mut |_, _| {}).unwrap()
    }

    fn model(&self) -> &Transformer {
        self.model.get_or_init(|| self.load())
    }

    fn raw(&self, packed: bool) -> &Raw {
        let cell = if packed { &self.packed } else { &self.raw };
        cell.get_or_init(|| Raw::read(self, packed))
    }

    fn tch(&self) -> tch::Device {
        if self.device == models::Device::CPU { tch::Device::Cpu } else { tch::Device::Cuda(0) }
    }

    /// Returns the order's tokens as `[rows, length]` int64.
    fn ids(&self, order: &Json) -> Tensor {
        let rows: Vec<Vec<i64>> = serde_json::from_value(order["ids"].clone()).unwrap();
        let rows: Vec<Tensor> = rows.iter().map(|row| Tensor::from_slice(row)).collect();
        Tensor::stack(&rows, 0).to_device(self.tch())
    }
}

fn logits(order: &Json) -> bool {
    order["logits"].as_bool().unwrap_or(true)
}

/// Returns the first numbers of the last position of the first row of a `[rows, length, width]` tensor.
fn shown(tensor: &Tensor) -> Vec<f64> {
    let numbers: Vec<f32> = tensor.get(0).get(-1).to_device(tch::Device::Cpu).contiguous().try_into().unwrap();
    numbers.into_iter().take(SHOWN).map(f64::from).collect()
}

/// Runs the served model with nobody watching, or with one who goes home after the last layer.
fn forward(model: &Transformer, parts: &[Tensor], caching: bool, logits: bool) -> Tensor {
    let segment = |ids: &Tensor| Segment {
        cache: caching.then(|| model.new_cache()),
        ..Segment::new(ids.size()[0], ids.size()[1], torch::Tensor::new(ids.shallow_clone()))
    };
    let mut segments: Vec<Segment<torch::Tensor>> = parts.iter().map(segment).collect();
    let mut observer = Observed { last: (!logits).then(|| *model.schema().layers.last().unwrap()), output: None };
    match model.forward(&mut segments, &mut observer) {
        Ok(Forwarded { output: Tree::Record { fields, .. }, .. }) => {
            let logits = fields.into_iter().find(|(name, _)| *name == "logits").unwrap().1;
            leaf(&logits)
        }
        Err(Interrupt::Enough) => {
            // Several parts lie end to end.
            let (rows, length) = (segments[0].rows, segments[0].length);
            observer.output.unwrap().flatten(0, -2).narrow(0, 0, rows * length).view([rows, length, -1])
        }
        Err(Interrupt::Failed(raise)) => panic!("{}", raise.message()),
        Ok(_) => panic!("a model returns a record"),
    }
}

fn leaf(flow: &Tree<Packed<torch::Tensor>>) -> Tensor {
    match flow {
        Tree::Leaf(Packed::Tokens(tensor)) => tensor.tch().shallow_clone(),
        Tree::Leaf(Packed::Parts(parts)) => parts[0].tch().shallow_clone(),
        _ => panic!("not a tensor"),
    }
}

/// Wants one module's output at most.
struct Observed {
    last: Option<Site>,
    output: Option<Tensor>,
}

impl Observer<torch::Tensor> for Observed {
    fn wants(&self, site: Site, _: engine::SegmentIndex) -> Wants {
        Wants { output: self.last == Some(site), ..Wants::default() }
    }

    fn enter(
        &mut self,
        _: Site,
        inputs: Inputs<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Entered<torch::Tensor>, Interrupt> {
        Ok(Entered { inputs, skipped: None })
    }

    fn exit(
        &mut self,
        _: Site,
        output: Tree<Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<Tree<Packed<torch::Tensor>>, Interrupt> {
        self.output = Some(leaf(&output));
        Err(Interrupt::Enough)
    }
}

fn program(file: &str, order: &Json) -> Program {
    let fields = RequestFields::parse(order["fields"].as_str().unwrap().as_bytes()).unwrap();
    let blob = fs::read(file).unwrap();
    nnsight::decode(&fields, &blob.into(), &Limits::default()).unwrap()
}

/// Runs jobs to their ends. Returns numbers of the first tensor that each saved.
fn run(interleaver: &mut Interleaver<Transformer>, programs: Vec<Program>) -> Vec<Vec<f64>> {
    let mut jobs = Vec::new();
    for program in programs {
        let (id, tenant) = (JobId::new(), TenantId::new("bench"));
        interleaver.submit(Job {
            id,
            tenant,
            program,
            limits: Limits::default(),
            stop: Default::default(),
            trace: None,
            progress: Default::default(),
        });
        jobs.push((id, Vec::new()));
    }
    while !interleaver.idle() {
        for event in interleaver.step() {
            match event {
                Event::Finished(id, saved, _) => {
                    jobs.iter_mut().find(|(job, _)| *job == id).unwrap().1 = first_tensor(&saved);
                }
                Event::Failed(_, failure, _) => panic!("{}", failure.message),
                Event::Started(_) | Event::Printed(..) => {}
            }
        }
    }
    jobs.into_iter().map(|(_, values)| values).collect()
}

/// Returns the first numbers of the last row of the first saved value: a tensor, or a list that begins with one.
fn first_tensor(saved: &Saved) -> Vec<f64> {
    let mut found = saved.names.first().and_then(|(_, at)| saved.heap.get(*at));
    if let Some(Datum::List(items)) = found {
        found = items.first().and_then(|at| saved.heap.get(*at));
    }
    let Some(Datum::Tensor(data)) = found else { panic!("the request saves no tensor: {found:?}") };
    let floats: Vec<f32> =
        data.bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let row = floats.chunks_exact(*data.shape.last().unwrap() as usize).last().unwrap();
    row.iter().take(SHOWN).map(|&number| f64::from(number)).collect()
}

/// GPT-2 written by hand, as short as libtorch allows: what a batched forward pass costs without an engine.
struct Raw {
    tensors: HashMap<String, Tensor>,
    /// The matrices of layers, in blocks.
    packed: HashMap<String, Weight>,
    layers: usize,
    heads: i64,
}

impl Raw {
    fn read(bench: &Bench, packed: bool) -> Self {
        let config: Json = serde_json::from_slice(&fs::read(bench.folder.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["model_type"], "gpt2", "only GPT-2 is written by hand");
        let tensors = Tensor::read_safetensors(bench.folder.join("model.safetensors")).unwrap();
        // `[in, out]` on disk; `[out, in]` is what `linear` takes without copying.
        let is_matrix = |name: &str, tensor: &Tensor| name.contains(".c_") && tensor.dim() == 2;
        let turn = |(name, tensor): (String, Tensor)| {
            let tensor = if is_matrix(&name, &tensor) { tensor.tr().contiguous() } else { tensor };
            (name, tensor.to_device(bench.tch()))
        };
        let tensors: HashMap<String, Tensor> = tensors.into_iter().map(turn).collect();
        let matrices = tensors.iter().filter(|(name, tensor)| packed && is_matrix(name, tensor));
        Self {
            packed: matrices.map(|(name, tensor)| (name.clone(), Weight::new(tensor).unwrap())).collect(),
            tensors,
            layers: config["n_layer"].as_u64().unwrap() as usize,
            heads: config["n_head"].as_i64().unwrap(),
        }
    }

    fn forward(&self, ids: &Tensor, logits: bool) -> Tensor {
        let (rows, length) = (ids.size()[0], ids.size()[1]);
        let (tokens, positions) = (&self.tensors["transformer.wte.weight"], &self.tensors["transformer.wpe.weight"]);
        let mut hidden = Tensor::embedding(tokens, ids, -1, false, false) + positions.narrow(0, 0, length);
        let width = hidden.size()[2];
        for layer in 0..self.layers {
            let at = |name: &str| format!("transformer.h.{layer}.{name}");
            let parts = self.linear(&self.norm(&hidden, &at("ln_1")), &at("attn.c_attn"));
            let parts = parts.view([rows, length, 3, self.heads, width / self.heads]).permute([2, 0, 3, 1, 4]);
            let (query, key, value) = (parts.get(0), parts.get(1), parts.get(2));
            let mixed =
                Tensor::scaled_dot_product_attention(&query, &key, &value, None::<&Tensor>, 0.0, true, None, false);
            let mixed = mixed.transpose(1, 2).reshape([rows, length, width]);
            hidden += self.linear(&mixed, &at("attn.c_proj"));
            let inner = self.linear(&self.norm(&hidden, &at("ln_2")), &at("mlp.c_fc")).gelu("tanh");
            hidden += self.linear(&inner, &at("mlp.c_proj"));
        }
        if logits { self.norm(&hidden, "transformer.ln_f").linear(tokens, None::<&Tensor>) } else { hidden }
    }

    fn linear(&self, input: &Tensor, name: &str) -> Tensor {
        let (weight, bias) = (format!("{name}.weight"), Some(&self.tensors[&format!("{name}.bias")]));
        match self.packed.get(&weight) {
            Some(packed) => packed.multiply(input, bias).unwrap(),
            None => input.linear(&self.tensors[&weight], bias),
        }
    }

    fn norm(&self, input: &Tensor, name: &str) -> Tensor {
        let weight = &self.tensors[&format!("{name}.weight")];
        input.layer_norm(weight.size(), Some(weight), Some(&self.tensors[&format!("{name}.bias")]), 1e-5, true)
    }
}
