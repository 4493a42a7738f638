//! `module.parameters()` and its like on a model's modules: weights to look at, one after another.

use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Iteration, Iterator, Machine, Outcome, Value};

use crate::envoy::Envoy;
use crate::job::JobState;
use crate::model::{Model, Site, Tensor};
use crate::python;

/// Methods that modules of the model have as any `nn.Module` has them.
pub const METHODS: [&str; 13] = [
    "parameters",
    "named_parameters",
    "buffers",
    "named_buffers",
    "children",
    "named_children",
    "state_dict",
    "num_parameters",
    "get_parameter",
    "get_submodule",
    "requires_grad_",
    "zero_grad",
    "eval",
];

/// Those of them that list what is below a module.
pub const LISTS: [&str; 6] =
    ["parameters", "named_parameters", "children", "named_children", "state_dict", "num_parameters"];

/// A parameter of a module at or below another.
struct Found {
    /// From that other one on: `mlp.c_fc.weight`.
    path: String,
    site: Site,
    name: &'static str,
    shared: bool,
}

/// Calls one of [`METHODS`].
///
/// # Errors
/// `TypeError` for arguments that it does not take, `AttributeError` for a path to nothing, `RuntimeError` for what would
/// change the model; fatal where a weight that is shown takes more memory than the job may have.
pub fn call<M: Model>(
    job: &Rc<JobState<M>>,
    machine: &Machine,
    envoy: &Value,
    site: Site,
    name: &str,
    args: &Args,
) -> Result<Value, Raise> {
    let args = args.clone();
    Ok(match name {
        "parameters" => {
            let [recurse] = args.bind(name, ["recurse"], 0)?;
            iterator(job, found(job, site, flag(recurse, true)?), true, None)
        }
        "named_parameters" => {
            let [prefix, recurse, once] = args.bind(name, ["prefix", "recurse", "remove_duplicate"], 0)?;
            let prefix = prefix.as_ref().and_then(python::string).unwrap_or_default();
            iterator(job, found(job, site, flag(recurse, true)?), flag(once, true)?, Some(prefix))
        }
        // None that are kept with a checkpoint.
        "buffers" | "named_buffers" => {
            Value::Iterator(Rc::new(Iterator::new("generator", Listed(Vec::new().into_iter()))))
        }
        "children" | "named_children" => {
            args.none(name)?;
            let children = python::host::<Envoy<M>>(envoy).map(Envoy::below).unwrap_or_default();
            let named =
                |(path, child)| if name == "children" { child } else { Value::tuple(vec![Value::string(path), child]) };
            let children: Vec<Value> = children.into_iter().map(named).collect();
            Value::Iterator(Rc::new(Iterator::new("generator", Listed(children.into_iter()))))
        }
        "state_dict" => {
            args.none(name)?;
            let mut pairs = Vec::new();
            for found in found(job, site, true) {
                machine.charge_fuel(8)?;
                pairs.push((Value::string(found.path.as_str()), found.read(job, machine)?));
            }
            python::dict(machine, pairs)?
        }
        "num_parameters" => {
            let mut count = 0;
            for found in found(job, site, true).iter().filter(|found| !found.shared) {
                machine.charge_fuel(8)?;
                let weight = found.read(job, machine)?;
                let sizes = M::Tensor::of_value(&weight).map(|tensor| tensor.shape().iter().product::<i64>());
                count += sizes.unwrap_or(0);
            }
            Value::Int(count)
        }
        "get_parameter" | "get_submodule" => {
            let [target] = args.bind(name, ["target"], 1)?;
            let target = target.as_ref().and_then(python::string).unwrap_or_default();
            let kind = name.trim_start_matches("get_");
            let missing = || Raise::attribute_error(format!("the module has no {kind} `{target}`"));
            if name == "get_parameter" {
                let all = found(job, site, true);
                return all.iter().find(|one| one.path == target).ok_or_else(missing)?.read(job, machine);
            }
            let own = job.model.schema().module(site).map(|module| module.path.clone()).unwrap_or_default();
            let path =
                if own.is_empty() || target.is_empty() { format!("{own}{target}") } else { format!("{own}.{target}") };
            Envoy::at(job, &path).ok_or_else(missing)?
        }
        "requires_grad_" => {
            let [wanted] = args.bind(name, ["requires_grad"], 0)?;
            if flag(wanted, true)? {
                return Err(Raise::runtime_error(
                    "weights of the hosted model take no gradients on this server: train parameters of your own",
                ));
            }
            envoy.clone()
        }
        "zero_grad" => Value::None,
        _ => envoy.clone(),
    })
}

fn flag(value: Option<Value>, default: bool) -> Result<bool, Raise> {
    match value {
        None | Some(Value::None) => Ok(default),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(Raise::type_error("the argument has to be True or False")),
    }
}

/// Lists the parameters of a module and, where `deep`, those below it.
fn found<M: Model>(job: &JobState<M>, site: Site, deep: bool) -> Vec<Found> {
    let mut all = Vec::new();
    let mut open = vec![(site, String::new())];
    while let Some((site, path)) = open.pop() {
        let own = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for parameter in job.model.parameters(site) {
            all.push(Found { path: own(parameter.name), site, name: parameter.name, shared: parameter.shared });
        }
        if let Some(module) = job.model.schema().module(site).filter(|_| deep) {
            // Depth first, in the order in which they were declared.
            open.extend(module.children.iter().rev().map(|(name, child)| (*child, own(name))));
        }
    }
    // What is shared with nothing that is listed is the module's own.
    if !deep || site != Site(0) {
        all.iter_mut().for_each(|found| found.shared = false);
    }
    all
}

impl Found {
    fn read<M: Model>(&self, job: &JobState<M>, machine: &Machine) -> Result<Value, Raise> {
        // Where the job may not have a copy of it, it ends.
        machine.charge_fuel(1)?;
        job.model.attribute(machine, self.site, self.name).ok_or_else(|| Raise::attribute_error(self.path.clone()))
    }
}

fn iterator<M: Model>(job: &Rc<JobState<M>>, all: Vec<Found>, once: bool, prefix: Option<String>) -> Value {
    let left = all.into_iter().filter(|found| !(once && found.shared)).collect::<Vec<_>>().into_iter();
    Value::Iterator(Rc::new(Iterator::new("generator", Parameters { job: Rc::clone(job), left, prefix })))
}

/// Shows parameters when they are asked for: a weight that nobody reads need not be unpacked.
struct Parameters<M: Model> {
    job: Rc<JobState<M>>,
    left: std::vec::IntoIter<Found>,
    /// What stands before names, where they are shown.
    prefix: Option<String>,
}

impl<M: Model> Iteration for Parameters<M> {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        let Some(found) = self.left.next() else { return Ok(None) };
        let value = found.read(&self.job, machine)?;
        Ok(Some(Outcome::Ready(match &self.prefix {
            None => value,
            Some(prefix) if prefix.is_empty() => Value::tuple(vec![Value::string(found.path), value]),
            Some(prefix) => Value::tuple(vec![Value::string(format!("{prefix}.{}", found.path)), value]),
        })))
    }
}

struct Listed(std::vec::IntoIter<Value>);

impl Iteration for Listed {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        machine.charge_fuel(1)?;
        Ok(self.0.next().map(Outcome::Ready))
    }
}
