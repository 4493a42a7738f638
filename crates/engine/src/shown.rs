//! What `print(model)` shows: the tree of modules, each with what its class says of itself.

use interpreter::raise::Raise;
use interpreter::{Machine, Value, format};

use crate::envoy::Place;
use crate::job::JobState;
use crate::model::{Model, Site, Tensor};

/// Writes a module and all that is inside of it.
///
/// # Errors
/// When the machine's limits are exceeded.
pub fn shown<M: Model>(machine: &Machine, job: &JobState<M>, place: Place) -> Result<String, Raise> {
    machine.charge_fuel(10)?;
    let site = match place {
        Place::Module(site) => site,
        Place::Generator => return Ok(GENERATOR.to_owned()),
        Place::Streamer => return Ok("Streamer()".to_owned()),
    };
    let Some(module) = job.model.schema().module(site) else { return Ok(String::new()) };
    let mut children = Vec::with_capacity(module.children.len());
    for (name, site) in &module.children {
        children.push((name.clone(), indented(&shown(machine, job, Place::Module(*site))?)));
    }
    if module.parent.is_none() {
        children.push(("generator".to_owned(), indented(GENERATOR)));
    }
    let lines = match module.class == "ModuleList" {
        true => runs(children),
        false => children.into_iter().map(|(name, text)| format!("({name}): {text}")).collect(),
    };
    let class = &module.class;
    let text = match lines.is_empty() {
        true => format!("{class}({})", extra(machine, job, site, class)),
        false => format!("{class}(\n  {}\n)", lines.join("\n  ")),
    };
    machine.charge_fuel(text.len() as u64 / 64)?;
    Ok(text)
}

const GENERATOR: &str = "Generator(\n  (streamer): Streamer()\n)";

fn indented(text: &str) -> String {
    text.replace('\n', "\n  ")
}

/// Writes entries that are shown the same and follow each other once.
fn runs(children: Vec<(String, String)>) -> Vec<String> {
    let mut runs: Vec<(usize, usize, String)> = Vec::new();
    for (index, (_, text)) in children.into_iter().enumerate() {
        match runs.last_mut() {
            Some((_, last, shown)) if *shown == text => *last = index,
            _ => runs.push((index, index, text)),
        }
    }
    let line = |(first, last, text): (usize, usize, String)| match last - first {
        0 => format!("({first}): {text}"),
        more => format!("({first}-{last}): {} x {text}", more + 1),
    };
    runs.into_iter().map(line).collect()
}

/// Writes what `extra_repr()` of a module's class says.
fn extra<M: Model>(machine: &Machine, job: &JobState<M>, site: Site, class: &str) -> String {
    let read = |name: &str| job.model.attribute(machine, site, name);
    let shown = |name: &str| read(name).and_then(|value| format::repr_now(&value)).unwrap_or_default();
    let width = || read("weight").and_then(|weight| M::Tensor::of_value(&weight)).map(|weight| weight_width(&weight));
    let said = |value: Option<Value>| value.is_some_and(|value| !matches!(value, Value::None));
    if class == "Linear" {
        let bias = if said(read("bias")) { "True" } else { "False" };
        format!("in_features={}, out_features={}, bias={bias}", shown("in_features"), shown("out_features"))
    } else if class == "LayerNorm" {
        format!("({},), eps={}, elementwise_affine=True", width().unwrap_or_default(), shown("eps"))
    } else if class.ends_with("RMSNorm") {
        let eps = if said(read("variance_epsilon")) { "variance_epsilon" } else { "eps" };
        format!("({},), eps={}", width().unwrap_or_default(), shown(eps))
    } else if class == "Dropout" {
        format!("p={}, inplace={}", shown("p"), shown("inplace"))
    } else if said(read("num_embeddings")) {
        let padding =
            if said(read("padding_idx")) { format!(", padding_idx={}", shown("padding_idx")) } else { String::new() };
        format!("{}, {}{padding}", shown("num_embeddings"), shown("embedding_dim"))
    } else {
        String::new()
    }
}

fn weight_width<T: Tensor>(weight: &T) -> i64 {
    weight.shape().last().copied().unwrap_or_default()
}
