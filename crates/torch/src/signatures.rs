//! Functions that PyTorch writes in Python as little more than a call of an operator: `signatures.txt`.

mod checks;

use std::collections::HashMap;
use std::sync::OnceLock;

use interpreter::raise::Raise;
use interpreter::{Args, Machine, Use, Value};

use crate::binding;
use crate::python;
use crate::tensor::Tensor;

/// One line of `signatures.txt`.
pub struct Signature {
    name: &'static str,
    /// Parameters with their defaults.
    parameters: Vec<(&'static str, Option<&'static str>)>,
    operator: &'static str,
    arguments: Vec<Argument>,
    check: Option<&'static str>,
    /// Parameters that only their default may be given for.
    refused: Vec<&'static str>,
    /// Parameters that have no effect in PyTorch either.
    #[cfg_attr(not(test), expect(dead_code, reason = "what they are given does not matter"))]
    ignored: Vec<&'static str>,
}

/// The arguments of one call, by the names of the parameters.
pub struct Bound(Vec<(&'static str, Value)>);

impl Bound {
    /// Returns an argument.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    /// Returns an argument that is a tensor.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        self.get(name).as_ref().and_then(Tensor::of)
    }
}

/// One argument of the call.
pub struct Argument {
    pub keyword: Option<&'static str>,
    /// A parameter's name or a literal.
    pub source: &'static str,
    adapter: Option<&'static str>,
}

/// Finds a function of a module.
#[must_use]
pub fn find(module: &str, name: &str) -> Option<&'static Signature> {
    static ALL: OnceLock<HashMap<&'static str, HashMap<&'static str, Signature>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut all: HashMap<_, HashMap<_, _>> = HashMap::new();
        let mut section = "";
        for line in include_str!("signatures.txt").lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(name) => section = name,
                None => {
                    let signature = Signature::parse(line).map(|signature| (signature.name, signature));
                    all.entry(section).or_default().extend(signature);
                }
            }
        }
        all
    });
    all.get(module)?.get(name)
}

impl Signature {
    /// Reads one line.
    pub fn parse(line: &'static str) -> Option<Self> {
        let (line, notes) = line.split_once(" | ").unwrap_or((line, ""));
        let note = |key: &str| {
            let found = notes.split("; ").find_map(|note| note.strip_prefix(key)?.strip_prefix(": "));
            found.map(|names| names.split(", ").collect::<Vec<_>>()).unwrap_or_default()
        };
        let (left, right) = line.split_once(") = ")?;
        let (name, parameters) = left.split_once('(')?;
        let (operator, arguments) = right.strip_suffix(')')?.split_once('(')?;
        let parameters = parameters.split(", ").filter(|parameter| !parameter.is_empty()).map(|parameter| {
            parameter.split_once('=').map_or((parameter, None), |(name, default)| (name, Some(default)))
        });
        let arguments = arguments.split(", ").map(|argument| {
            let (keyword, source) =
                argument.split_once('=').map_or((None, argument), |(name, source)| (Some(name), source));
            let (source, adapter) =
                source.split_once(':').map_or((source, None), |(source, adapter)| (source, Some(adapter)));
            Argument { keyword, source, adapter }
        });
        Some(Self {
            name,
            parameters: parameters.collect(),
            operator,
            arguments: arguments.collect(),
            check: note("check").first().copied(),
            refused: note("refused"),
            ignored: note("ignored"),
        })
    }

    /// Returns the function's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the arguments of the call.
    #[must_use]
    pub fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    /// Returns the names of the parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.parameters.iter().map(|(name, _)| *name)
    }

    /// Says whether a parameter may be left out.
    #[cfg(test)]
    pub fn has_default(&self, name: &str) -> bool {
        self.parameters.iter().any(|(known, default)| *known == name && default.is_some())
    }

    /// Says whether only a parameter's default may be given for it.
    #[cfg(test)]
    pub fn refuses(&self, name: &str) -> bool {
        self.refused.contains(&name)
    }

    /// Says whether the function has a parameter of this name.
    #[must_use]
    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameters.iter().any(|(known, _)| *known == name)
    }

    /// Returns the operator, without the mark of its in-place form.
    #[must_use]
    pub fn operator(&self) -> &'static str {
        self.operator.trim_end_matches('!')
    }

    /// Returns whether a call may write to its first argument.
    #[must_use]
    pub fn writes(&self, usage: Use<'_>) -> bool {
        let in_place = self.parameters.iter().position(|(name, _)| *name == "inplace");
        match (in_place.filter(|_| self.operator.ends_with('!')), usage) {
            (None, _) => false,
            (Some(at), Use::Call { positional, keywords }) => positional > at || keywords.contains(&"inplace"),
            (Some(_), _) => true,
        }
    }

    /// Calls the function.
    ///
    /// # Errors
    /// `TypeError` as Python gives for its own functions; what the operator raises.
    pub fn call(&self, machine: &Machine, args: &Args) -> Result<Value, Raise> {
        let bound = self.bind(args)?;
        let (input, weight) = (bound.0.first().and_then(|(_, value)| Tensor::of(value)), bound.tensor("weight"));
        if let Some(check) = self.check.and_then(checks::find) {
            check(machine, &bound)?;
        }
        let mut passed = Args::default();
        for argument in &self.arguments {
            let given = bound.get(argument.source).unwrap_or_else(|| literal(argument.source));
            let adapted = match argument.adapter {
                Some("reduction") => reduction(&reduced(machine, &bound)?.unwrap_or(given))?,
                Some(adapter) => adapt(adapter, given, input.as_ref(), weight.as_ref())?,
                None => given,
            };
            match argument.keyword {
                None => passed.positional.push(adapted),
                Some(_) if matches!(adapted, Value::None) => {}
                Some(keyword) => passed.keyword.push((keyword.into(), adapted)),
            }
        }
        let in_place = self.operator.ends_with('!')
            && bound.get("inplace").map_or(Ok(false), |value| python::truth(machine, &value))?;
        let operator = self.operator();
        match in_place {
            true => binding::call(machine, &format!("{operator}_"), None, &passed),
            false => binding::call(machine, operator, None, &passed),
        }
    }

    /// Gives each parameter its argument or default.
    ///
    /// # Errors
    /// `TypeError` as Python gives for its own functions; `RuntimeError` for an argument that could not be obeyed.
    pub fn bind(&self, args: &Args) -> Result<Bound, Raise> {
        self.bound(args, self.name, 0)
    }

    /// As [`Signature::bind`], of a class: what is called is its `__init__`, which has `self` before the others.
    ///
    /// # Errors
    /// As [`Signature::bind`].
    pub fn bind_constructor(&self, args: &Args) -> Result<Bound, Raise> {
        self.bound(args, &format!("{}.__init__", self.name), 1)
    }

    fn bound(&self, args: &Args, name: &str, receivers: usize) -> Result<Bound, Raise> {
        let (most, given) = (self.parameters.len(), args.positional.len());
        if given > most {
            let least = receivers + self.parameters.iter().filter(|(_, default)| default.is_none()).count();
            let (most, given) = (receivers + most, receivers + given);
            let takes = if least == most { format!("{most}") } else { format!("from {least} to {most}") };
            return Err(Raise::type_error(format!(
                "{name}() takes {takes} positional arguments but {given} were given"
            )));
        }
        for (at, (keyword, _)) in args.keyword.iter().enumerate() {
            let known = self.parameters.iter().position(|(parameter, _)| **parameter == **keyword);
            match known {
                None => {
                    return Err(Raise::type_error(format!("{name}() got an unexpected keyword argument '{keyword}'")));
                }
                Some(place) if place < given || args.keyword[..at].iter().any(|(other, _)| other == keyword) => {
                    return Err(Raise::type_error(format!("{name}() got multiple values for argument '{keyword}'")));
                }
                Some(_) => {}
            }
        }
        let mut missing = Vec::new();
        let mut bound = Vec::with_capacity(most);
        for (place, (parameter, default)) in self.parameters.iter().enumerate() {
            let keyword = args.keyword.iter().find(|(keyword, _)| **keyword == **parameter).map(|(_, value)| value);
            match (args.positional.get(place).or(keyword), default) {
                (Some(value), _) => bound.push((*parameter, value.clone())),
                (None, Some(default)) => bound.push((*parameter, literal(default))),
                (None, None) => missing.push(format!("'{parameter}'")),
            }
        }
        match missing.as_slice() {
            [] => {
                let is_default = |name: &str, value: &Value| {
                    let default =
                        self.parameters.iter().find(|(known, _)| *known == name).and_then(|(_, default)| *default);
                    default.is_some_and(|default| is_same(&literal(default), value))
                };
                match bound.iter().find(|(name, value)| self.refused.contains(name) && !is_default(name, value)) {
                    Some((refused, _)) => Err(Raise::runtime_error(format!(
                        "{name}(): argument '{refused}' is not supported by this server"
                    ))),
                    None => Ok(Bound(bound)),
                }
            }
            [one] => Err(Raise::type_error(format!("{name}() missing 1 required positional argument: {one}"))),
            [most @ .., last] => {
                let (count, comma) = (missing.len(), if most.len() > 1 { "," } else { "" });
                let most = most.join(", ");
                Err(Raise::type_error(format!(
                    "{name}() missing {count} required positional arguments: {most}{comma} and {last}"
                )))
            }
        }
    }
}

/// Says whether an argument is the default that it could have been left to.
fn is_same(default: &Value, given: &Value) -> bool {
    match (default, given) {
        (Value::None, Value::None) => true,
        (Value::Bool(default), Value::Bool(given)) => default == given,
        (Value::Str(default), Value::Str(given)) => default == given,
        (default, given) => {
            let numbers = (python::float(default), python::float(given));
            matches!(numbers, (Some(default), Some(given)) if default == given)
        }
    }
}

/// Reads `None`, `True`, `1`, `0.5`, `'mean'`.
pub fn literal(text: &str) -> Value {
    match text {
        "None" => Value::None,
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        text => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Value::Int(number),
            (_, Ok(number)) => Value::Float(number),
            _ => Value::from(text.trim_matches('\'')),
        },
    }
}

/// Returns the reduction that the parameters before `reduction` ask for, as PyTorch's `legacy_get_string`; `None` where
/// they are not given.
///
/// # Errors
/// What `bool()` of them raises.
pub fn reduced(machine: &Machine, bound: &Bound) -> Result<Option<Value>, Raise> {
    let [average, reduce] = ["size_average", "reduce"].map(|name| python::given(bound.get(name)));
    legacy_reduction(machine, average, reduce)
}

/// As [`reduced`], of the arguments themselves.
///
/// # Errors
/// What `bool()` of them raises.
pub fn legacy_reduction(
    machine: &Machine,
    average: Option<Value>,
    reduce: Option<Value>,
) -> Result<Option<Value>, Raise> {
    if average.is_none() && reduce.is_none() {
        return Ok(None);
    }
    let flag = |value: Option<Value>| value.map_or(Ok(true), |value| python::truth(machine, &value));
    Ok(Some(match (flag(average)?, flag(reduce)?) {
        (true, true) => "mean".into(),
        (false, true) => "sum".into(),
        (_, false) => "none".into(),
    }))
}

/// Changes an argument as PyTorch's Python code does on the way to the operator.
fn adapt(adapter: &str, value: Value, input: Option<&Tensor>, weight: Option<&Tensor>) -> Result<Value, Raise> {
    Ok(match adapter {
        "distance" => match value.as_str() {
            Some("use_mm_for_euclid_dist_if_necessary") => Value::None,
            Some("use_mm_for_euclid_dist") => Value::Int(1),
            Some("donot_use_mm_for_euclid_dist") => Value::Int(2),
            _ => {
                let text = interpreter::format::repr_now(&value).unwrap_or_default();
                let text = text.trim_matches('\'');
                return Err(Raise::value_error(format!("{text} is not a valid value for compute_mode")));
            }
        },
        // Without a dim, the old rule of `_get_softmax_dim`.
        "softmax_dim" => match (&value, input.map(|input| input.sizes().len())) {
            (Value::None, Some(0 | 1 | 3)) => Value::Int(0),
            (Value::None, _) => Value::Int(1),
            _ => value,
        },
        // Embeddings count a negative padding index from the end; none is -1.
        "padding" => match (&value, weight.and_then(|weight| weight.sizes().first().copied())) {
            (Value::None, _) => Value::Int(-1),
            (Value::Int(index), Some(rows)) if *index < 0 => Value::Int(index + rows),
            _ => value,
        },
        "pair" => match value {
            Value::Int(number) => Value::tuple(vec![Value::Int(number), Value::Int(number)]),
            value => value,
        },
        "empty" => match value {
            Value::None => Value::list(Vec::new()),
            value => value,
        },
        _ => value,
    })
}

/// Returns libtorch's number of a reduction.
///
/// # Errors
/// `ValueError` for other words.
pub fn reduction(value: &Value) -> Result<Value, Raise> {
    match value.as_str() {
        Some("none") => Ok(Value::Int(0)),
        Some("mean" | "elementwise_mean") => Ok(Value::Int(1)),
        Some("sum") => Ok(Value::Int(2)),
        Some(other) => Err(Raise::value_error(format!("{other} is not a valid value for reduction"))),
        None => Err(Raise::value_error(format!("{} is not a valid value for reduction", python::type_name(value)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Operators;

    #[test]
    fn every_line_is_read_and_has_an_operator() {
        let lines = include_str!("signatures.txt").lines().filter(|line| line.contains('('));
        for line in lines.filter(|line| !line.starts_with('#')) {
            let signature = Signature::parse(line).unwrap_or_else(|| panic!("{line}"));
            let operator = signature.operator();
            assert!(Operators::all().get(operator).is_some(), "{operator}");
            if signature.operator.ends_with('!') {
                let in_place = format!("{operator}_");
                assert!(Operators::all().get(&in_place).is_some(), "{in_place}");
            }
        }
    }

    #[test]
    fn every_parameter_is_obeyed_or_refused_by_name() {
        let lines = include_str!("signatures.txt").lines().filter(|line| line.contains('(') && !line.starts_with('#'));
        for signature in lines.filter_map(Signature::parse) {
            let name = signature.name;
            if let Some(check) = signature.check {
                assert!(checks::find(check).is_some(), "{name}: there is no check {check}");
            }
            for (parameter, _) in &signature.parameters {
                let passed = signature.arguments.iter().any(|argument| argument.source == *parameter);
                let reduces = signature.arguments.iter().any(|argument| argument.adapter == Some("reduction"));
                let used = passed
                    || reduces && ["size_average", "reduce"].contains(parameter)
                    || *parameter == "inplace" && signature.operator.ends_with('!')
                    || signature.check == Some("embedding") && ["max_norm", "norm_type"].contains(parameter);
                let listed = signature.refused.contains(parameter) || signature.ignored.contains(parameter);
                assert!(used != listed, "{name}: what becomes of '{parameter}'?");
            }
        }
    }

    #[test]
    fn arguments_are_bound_as_python_binds_them() {
        let softmax = find("torch.nn.functional", "softmax").unwrap();
        let error = softmax.bind(&Args::default()).err().map(|raise| raise.message());
        assert_eq!(error.as_deref(), Some("softmax() missing 1 required positional argument: 'input'"));
    }
}
