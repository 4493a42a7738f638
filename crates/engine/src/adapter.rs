//! PEFT adapters of a request: what LoRA adds to what linear modules make, on the job's own rows. Each is two blocks that
//! every trace has beside its own: one that takes what the module was given when all others have had their say, and one that
//! adds to what it made before any other looks at it.

use std::cell::RefCell;
use std::rc::Rc;

use interpreter::frame::Frame;
use interpreter::raise::Raise;
use interpreter::{Coroutine, Machine, Value};
use program::{Source, TensorData};

use crate::adapters::{self, Adapters};
use crate::envoy::{Envoy, Place};
use crate::job::JobState;
use crate::model::{Model, Schema, Site, Tensor};
use crate::tracer::{TraceState, Tracer};

/// Two matrices whose product is added, scaled, to what a linear module makes of its input.
pub struct Addition {
    pub site: Site,
    /// `[rank, inputs]`
    pub down: TensorData,
    /// `[outputs, rank]`
    pub up: TensorData,
    pub scale: f64,
}

/// An adapter, for one job.
pub struct Adapter {
    name: String,
    /// Modules, with what is called with them.
    additions: Vec<(Site, [Value; 3])>,
}

/// Names that PEFT puts below a module that it adapts.
const PARTS: [&str; 7] =
    ["base_layer", "lora_A", "lora_B", "lora_dropout", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"];

/// Bytes of a matrix that are copied for a step.
const BYTES_A_STEP: u64 = 4096;

/// PEFT computes with adapters in single precision, whatever they are kept as.
const GIVEN: &str = "given.append(module.input)";
const MADE: &str = "
made = module.output
x = given.pop()
module.output = (made + linear(linear(x.float(), down.float()), up.float()) * scale).to(made.dtype)
";

impl Adapter {
    /// Reads an adapter that a request asks for.
    ///
    /// # Errors
    /// `ValueError` for one that the server does not have, or not for this model; when there is no room for it.
    pub fn open<M: Model>(
        job: &JobState<M>,
        machine: &Machine,
        adapters: &Adapters,
        name: &str,
    ) -> Result<Self, Raise> {
        let mut additions = Vec::new();
        let read = adapters::additions(adapters, machine, name, job.model.adapter(name)?)?;
        for Addition { site, down, up, scale } in &*read {
            // Each job has its own, which takes a while where they are large.
            let matrix = |data: &TensorData| {
                machine.charge_fuel(1 + data.bytes.len() as u64 / BYTES_A_STEP)?;
                machine.charge_tensor(data.bytes.len() as u64)?;
                Ok::<_, Raise>(job.model.place(M::Tensor::of_data(data)?)?.to_value(machine))
            };
            additions.push((*site, [matrix(down)?, matrix(up)?, Value::Float(*scale)]));
        }
        Ok(Self { name: name.to_owned(), additions })
    }

    /// Makes the blocks that a trace of a module begins with, and those that it ends with. `several` says that there are passes.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn blocks<M: Model>(
        &self,
        job: &Rc<JobState<M>>,
        machine: &Machine,
        of: Site,
        several: bool,
    ) -> Result<[Vec<Coroutine>; 2], Raise> {
        let linear = job.model.global(machine, "torch.nn.functional", "linear").unwrap_or(Value::None);
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for (site, [down, up, scale]) in &self.additions {
            if !is_inside(job.model.schema(), of, *site) {
                continue;
            }
            let given = Value::list(Vec::new());
            let names = |text: &str| -> Result<Coroutine, Raise> {
                let state = TraceState::default();
                state.running.set(true);
                let tracer = Tracer { job: Rc::clone(job), state: Rc::new(state), request: RefCell::new(None) };
                let locals = vec![
                    ("tracer".into(), Value::Host(Rc::new(tracer))),
                    ("module".into(), Envoy::value(job, Place::Module(*site))),
                    ("linear".into(), linear.clone()),
                    ("given".into(), given.clone()),
                    ("down".into(), down.clone()),
                    ("up".into(), up.clone()),
                    ("scale".into(), scale.clone()),
                ];
                let text = match several {
                    true => format!("for _ in tracer.iter[:]:\n    {}\n", text.trim().replace('\n', "\n    ")),
                    false => text.to_owned(),
                };
                let source = Source { text, filename: format!("<adapter {}>", self.name), function: "<module>".into() };
                Ok(Coroutine::of_block(machine, Frame::root(machine, &source, locals, Vec::new())?))
            };
            first.push(names(MADE)?);
            last.push(names(GIVEN)?);
        }
        Ok([first, last])
    }

    /// Requires that a module, and what is inside of it, has no part in the adapter.
    ///
    /// # Errors
    /// `ValueError` where it has one, which what is about to be done would leave out.
    pub fn leave(&self, schema: &Schema, site: Site, what: &str) -> Result<(), Raise> {
        match self.additions.iter().any(|(adapted, _)| is_inside(schema, site, *adapted)) {
            true => Err(Raise::value_error(format!(
                "{what} is not supported by this server where the adapter {:?} is: it adapts modules in there",
                self.name
            ))),
            false => Ok(()),
        }
    }

    /// Says whether a module is one that it adds to.
    pub fn adapts(&self, site: Site) -> bool {
        self.additions.iter().any(|(adapted, _)| *adapted == site)
    }

    /// Says whether a path is one of those that PEFT adds to a model.
    pub fn has_path(&self, schema: &Schema, path: &str) -> bool {
        self.additions.iter().filter_map(|(site, _)| schema.path(*site)).any(|module| {
            let below = path.strip_prefix(&module).and_then(|below| below.strip_prefix('.'));
            below.is_some_and(|below| PARTS.contains(&below.split('.').next().unwrap_or_default()))
        })
    }
}

fn is_inside(schema: &Schema, of: Site, site: Site) -> bool {
    std::iter::successors(Some(site), |site| schema.parent(*site)).any(|site| site == of)
}
