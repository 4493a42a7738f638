//! Python's rules for calling an operator: which overload, and which value goes to which parameter.
//!
//! Performance-critical: one call here per operation of a user's block.

use interpreter::raise::Raise;
use interpreter::{Args, Machine, Value};

use crate::dispatch::{self, Argument, Number, Output};
use crate::dtype::{self, Device};
use crate::generator::Generator;
use crate::named::NamedTuple;
use crate::python;
use crate::schema::{Kind, Operator, Operators, Parameter};
use crate::tensor::Tensor;

/// Names that PyTorch accepts for parameters besides its own, for NumPy's sake.
const SYNONYMS: [(&str, &[&str]); 4] =
    [("dim", &["axis"]), ("keepdim", &["keepdims"]), ("self", &["input", "x", "a", "x1"]), ("other", &["x2"])];

/// Operators that take Python numbers where they take tensors.
const NUMBERS_AS_TENSORS: [&str; 16] = [
    "add",
    "add_",
    "sub",
    "sub_",
    "subtract",
    "subtract_",
    "mul",
    "mul_",
    "multiply",
    "multiply_",
    "div",
    "div_",
    "divide",
    "divide_",
    "true_divide",
    "true_divide_",
];
const MORE_NUMBERS_AS_TENSORS: [&str; 3] = ["floor_divide", "floor_divide_", "copy_"];

/// Calls an operator as Python would: `torch.name(…)`, or `receiver.name(…)`.
///
/// # Errors
/// `TypeError` for arguments that fit no overload, with PyTorch's text; what the operator raises.
pub fn call(machine: &Machine, name: &str, receiver: Option<&Tensor>, args: &Args) -> Result<Value, Raise> {
    let Some(overloads) = Operators::all().get(name) else {
        return Err(Raise::attribute_error(format!("torch.{name} is not supported by this server")));
    };
    let (args, requires_grad) = without_options(name, overloads, args)?;
    let (operator, arguments) = choose(name, overloads, receiver, &args)?;
    let outputs = dispatch::call(machine, operator, &arguments)?;
    let value = value_of(operator, outputs);
    if requires_grad && let Some(tensor) = Tensor::of(&value) {
        tensor.set_requires_grad(true)?;
    }
    Ok(value)
}

/// Calls an operator that answers with a tensor.
///
/// # Errors
/// As [`call`].
pub fn tensor(machine: &Machine, name: &str, args: &Args) -> Result<Tensor, Raise> {
    let value = call(machine, name, None, args)?;
    Tensor::of(&value).ok_or_else(|| Raise::runtime_error(format!("{name}() did not return a tensor")))
}

/// Shows an operator's results: nothing, one value, or a tuple, named where the schema names its parts.
fn value_of(operator: &Operator, mut outputs: Vec<Output>) -> Value {
    match outputs.len() {
        0 => Value::None,
        1 => outputs.pop().map_or(Value::None, python::value_of),
        _ => {
            let items = outputs.into_iter().map(python::value_of).collect();
            match operator.returns.iter().all(|name| !name.is_empty()) {
                true => Value::host(NamedTuple::new(&operator.name, &operator.returns, items)),
                false => Value::tuple(items),
            }
        }
    }
}

/// Takes out what Python's bindings add to the schemas: `out`, which is refused, and `requires_grad` of factories.
fn without_options<'a>(
    name: &str,
    overloads: &[Operator],
    args: &'a Args,
) -> Result<(std::borrow::Cow<'a, Args>, bool), Raise> {
    use std::borrow::Cow;
    let option = |name: &str| name == "out" || name == "requires_grad" || name == "pin_memory";
    if !args.keyword.iter().any(|(keyword, _)| option(keyword)) {
        return Ok((Cow::Borrowed(args), false));
    }
    let mut args = args.clone();
    if python::given(args.take_keyword("out")).is_some() {
        return Err(Raise::type_error(program::refusals::argument(name, "out")));
    }
    let factory = overloads.iter().any(|operator| operator.parameters.iter().any(|p| &*p.name == "pin_memory"));
    let mut requires_grad = false;
    if factory {
        requires_grad = matches!(args.take_keyword("requires_grad"), Some(Value::Bool(true)));
        args.take_keyword("pin_memory");
    }
    Ok((Cow::Owned(args), requires_grad))
}

/// Finds the first overload that the arguments fit.
fn choose<'a>(
    name: &str,
    overloads: &'a [Operator],
    receiver: Option<&Tensor>,
    args: &Args,
) -> Result<(&'a Operator, Vec<Argument>), Raise> {
    let mut mismatches = Vec::new();
    // A tensor of one whole number is a number as well, and a tensor first: `torch.max(x, tensor(2))` compares.
    let first = usize::from(receiver.is_none());
    let mut values = args.positional.iter().skip(first).chain(args.keyword.iter().map(|(_, value)| value));
    let ambiguous = overloads.len() > 1 && values.any(|value| index_tensor(value).is_some());
    for operator in overloads.iter().filter(|_| ambiguous) {
        let usable =
            receiver.is_none() || operator.parameters.iter().any(|p| &*p.name == "self" && p.kind == Kind::Tensor);
        if usable && let Ok(arguments) = (Call { name, operator, receiver, args, strict: true }).bind() {
            return Ok((operator, arguments));
        }
    }
    for operator in overloads {
        // The receiver is a tensor: overloads without one belong to functions.
        if receiver.is_some() && !operator.parameters.iter().any(|p| &*p.name == "self" && p.kind == Kind::Tensor) {
            continue;
        }
        match (Call { name, operator, receiver, args, strict: false }).bind() {
            Ok(arguments) => return Ok((operator, arguments)),
            Err(Mismatch::Raise(raise)) => return Err(raise),
            Err(mismatch) => mismatches.push((operator, mismatch)),
        }
    }
    // As PyTorch does, only overloads that take this many arguments are told of.
    let given = args.positional.len() + args.keyword.len();
    let own = usize::from(receiver.is_some());
    let is_plausible = |operator: &Operator| {
        let required = operator.parameters.iter().filter(|p| !p.default).count();
        (required - own.min(required)..=operator.parameters.len() - own).contains(&given)
    };
    let plausible = mismatches.iter().filter(|(operator, _)| is_plausible(operator)).count();
    let only = match (mismatches.len(), plausible) {
        (1, _) => mismatches.pop(),
        (_, 1) => mismatches.into_iter().find(|(operator, _)| is_plausible(operator)),
        _ => None,
    };
    Err(match only {
        Some((_, mismatch)) => mismatch.raise(name),
        None => no_overload(name, overloads, receiver.is_some(), args),
    })
}

fn no_overload(name: &str, overloads: &[Operator], method: bool, args: &Args) -> Raise {
    let positional = args.positional.iter().map(described);
    let keyword = args.keyword.iter().map(|(name, value)| format!("{name}={}", described(value)));
    let mut got = positional.chain(keyword).collect::<Vec<String>>().join(", ");
    if args.positional.is_empty() && !args.keyword.is_empty() {
        // As PyTorch prints it.
        got.push_str(", ");
    }
    let mut text = format!("{name}() received an invalid combination of arguments - got ({got}), but expected one of:");
    for operator in overloads {
        let mut star = false;
        let mut parts = Vec::new();
        for parameter in &operator.parameters {
            if method && &*parameter.name == "self" {
                continue;
            }
            if parameter.keyword_only && !star {
                star = true;
                parts.push(String::from("*"));
            }
            parts.push(format!("{} {}", parameter.kind.name(), parameter.python_name()));
        }
        text.push_str(&format!("\n * ({})", parts.join(", ")));
    }
    text.push('\n');
    Raise::type_error(text)
}

/// Returns the type of an argument as PyTorch's messages describe it: containers with their elements' types.
fn described(value: &Value) -> String {
    match value {
        Value::List(list) => {
            let items: Vec<String> = list.to_vec().iter().map(described).collect();
            format!("list of [{}]", items.join(", "))
        }
        Value::Tuple(tuple) => {
            let items: Vec<String> = tuple.iter().map(described).collect();
            match items.len() {
                1 => format!("tuple of ({},)", items.join(", ")),
                _ => format!("tuple of ({})", items.join(", ")),
            }
        }
        value => python::type_name(value),
    }
}

impl Parameter {
    /// Returns the name that Python gives the parameter.
    fn python_name(&self) -> &str {
        if &*self.name == "self" { "input" } else { &self.name }
    }

    fn is_called(&self, keyword: &str) -> bool {
        if *self.name == *keyword {
            return true;
        }
        SYNONYMS.iter().any(|(name, synonyms)| **name == *self.name && synonyms.contains(&keyword))
    }
}

/// Why arguments do not fit an overload.
enum Mismatch {
    /// Not an ordinary mismatch: nothing else is tried.
    Raise(Raise),
    Text(String),
    Missing(Vec<String>),
}

impl Mismatch {
    fn raise(self, function: &str) -> Raise {
        match self {
            Self::Raise(raise) => raise,
            Self::Text(text) => Raise::type_error(format!("{function}{text}")),
            Self::Missing(names) => {
                let plural = if names.len() == 1 { "" } else { "s" };
                let (count, names) = (names.len(), names.join(", "));
                Raise::type_error(format!("{function}() missing {count} required positional argument{plural}: {names}"))
            }
        }
    }
}

/// One attempt to call one overload.
struct Call<'a> {
    name: &'a str,
    operator: &'a Operator,
    receiver: Option<&'a Tensor>,
    args: &'a Args,
    /// Whether a tensor is no whole number.
    strict: bool,
}

impl Call<'_> {
    fn bind(&self) -> Result<Vec<Argument>, Mismatch> {
        let is_receiver = |p: &Parameter| self.receiver.is_some() && &*p.name == "self";
        let positional = self.operator.parameters.iter().filter(|p| !p.keyword_only && !is_receiver(p)).count();
        let only = self.operator.parameters.iter().find(|p| !p.keyword_only && !is_receiver(p));
        // `x.view(2, 3)`: the ints of a sole int-list parameter may be given one by one.
        let spread = positional == 1 && only.is_some_and(|p| matches!(p.kind, Kind::Ints(_)));
        let given = &self.args.positional;
        if given.len() > positional && !spread {
            return Err(self.too_many(positional));
        }
        let mut arguments = Vec::with_capacity(self.operator.parameters.len());
        let (mut next, mut used) = (0, 0);
        for parameter in &self.operator.parameters {
            if let Some(receiver) = self.receiver.filter(|_| &*parameter.name == "self") {
                arguments.push(Argument::Tensor(receiver.clone()));
                continue;
            }
            let keyword = self.args.keyword.iter().find(|(keyword, _)| parameter.is_called(keyword));
            let place = (!parameter.keyword_only && next < given.len()).then_some(next);
            let value = match (place, keyword) {
                (Some(_), Some((keyword, _))) => {
                    return Err(Mismatch::Text(format!("() got multiple values for argument '{keyword}'")));
                }
                (Some(place), None) => Some(&given[place]),
                (None, Some((_, value))) => {
                    used += 1;
                    Some(value)
                }
                (None, None) => None,
            };
            arguments.push(match value {
                None if parameter.default => Argument::Default,
                None => return Err(self.missing(next)),
                // Where a parameter has a default of None, or is optional, None is fine.
                Some(Value::None) if parameter.optional => Argument::None,
                Some(value) => match self.convert(parameter, value, place)? {
                    Some(argument) => argument,
                    None if spread && place == Some(0) && self.spreads(value) => {
                        next = given.len();
                        Argument::Ints(self.ints(parameter, given, Some(0))?)
                    }
                    None => return Err(self.wrong(parameter, value, place)),
                },
            });
            if place.is_some() && next < given.len() {
                next += 1;
            }
        }
        if next < given.len() {
            return Err(self.too_many(positional));
        }
        if used < self.args.keyword.len() {
            return Err(self.unexpected());
        }
        Ok(arguments)
    }

    fn spreads(&self, value: &Value) -> bool {
        matches!(value, Value::Int(_)) || index_tensor(value).is_some()
    }

    /// Converts a value to what a parameter takes; `None` if it is of another type.
    fn convert(
        &self,
        parameter: &Parameter,
        value: &Value,
        place: Option<usize>,
    ) -> Result<Option<Argument>, Mismatch> {
        let number = python::number(value);
        let takes_number = match parameter.kind {
            Kind::Tensor => self.numbers_as_tensors(),
            kind => kind == Kind::Scalar,
        };
        if takes_number && let Some(raise) = python::too_big(value) {
            return Err(Mismatch::Raise(raise));
        }
        Ok(match parameter.kind {
            Kind::Tensor => match Tensor::of(value) {
                Some(tensor) => Some(Argument::Tensor(tensor)),
                None if self.numbers_as_tensors() => number.map(Argument::Wrapped),
                None => None,
            },
            Kind::Tensors => tensors(value).map(Argument::Tensors),
            Kind::OptionalTensors => optional_tensors(value).map(Argument::OptionalTensors),
            Kind::Scalar => match number.or_else(|| scalar_of_tensor(value)) {
                Some(Number::Unsigned(number)) => Some(Argument::Number(self.signed(number)?)),
                number => number.map(Argument::Number),
            },
            Kind::Int => match value {
                Value::Int(number) => Some(Argument::from(*number)),
                Value::Big(_) => {
                    return Err(Mismatch::Raise(python::no_long()));
                }
                value if self.strict && Tensor::of(value).is_some() => None,
                value => index_tensor(value).map(Argument::from),
            },
            Kind::Float => match (value, number) {
                (Value::Big(_), _) => python::float(value).map(Argument::from),
                // What is true or false is a number where PyTorch wants one, and bounds and factors are.
                (Value::Bool(flag), _) => Some(Argument::from(if *flag { 1.0 } else { 0.0 })),
                (_, Some(Number::Complex(..))) => None,
                (_, Some(number)) => Some(Argument::Number(number)),
                (value, None) => match scalar_of_tensor(value) {
                    Some(Number::Complex(..)) | None => None,
                    Some(number) => Some(Argument::Number(number)),
                },
            },
            Kind::Bool => match value {
                Value::Bool(flag) => Some(Argument::from(*flag)),
                _ => None,
            },
            Kind::Ints(count) => match (value, count) {
                (Value::Int(number), Some(count)) => Some(Argument::Ints(vec![*number; count])),
                (value, _) => match python::sequence(value) {
                    Some(items) if items.first().is_none_or(|item| self.spreads(item)) => {
                        Some(Argument::Ints(self.ints(parameter, &items, place)?))
                    }
                    _ => None,
                },
            },
            Kind::Floats => match (python::sequence(value), number) {
                (Some(items), _) => items.iter().map(python::float).collect::<Option<_>>().map(Argument::Floats),
                (None, Some(Number::Float(number))) => Some(Argument::Floats(vec![number])),
                (None, Some(Number::Int(number))) => Some(Argument::Floats(vec![number as f64])),
                _ => None,
            },
            Kind::Bools => python::sequence(value).and_then(|items| {
                let flags = items.iter().map(|item| if let Value::Bool(flag) = item { Some(*flag) } else { None });
                flags.collect::<Option<_>>().map(Argument::Bools)
            }),
            Kind::Str => match value {
                Value::Str(text) => Some(Argument::Str(text.clone())),
                _ => None,
            },
            Kind::DType => dtype::of_value(value).map(|dtype| Argument::from(i64::from(dtype::code(dtype)))),
            Kind::Layout => constant(value, "torch.layout"),
            Kind::MemoryFormat => constant(value, "torch.memory_format"),
            Kind::Device => Device::of_value(value).map_err(Mismatch::Raise)?.map(Argument::Device),
            Kind::Generator => python::host::<Generator>(value).map(Argument::Generator),
            Kind::Other => None,
        })
    }

    /// Returns an integer beyond the signed ones as what kernels take: a float, where it meets floats.
    fn signed(&self, number: u64) -> Result<Number, Mismatch> {
        let mut given = self.args.positional.iter().chain(self.args.keyword.iter().map(|(_, value)| value));
        let first = self.receiver.cloned().or_else(|| given.find_map(Tensor::of));
        match first.map(|tensor| tensor.dtype()) {
            Some(dtype) if dtype::is_floating(dtype) || dtype::is_complex(dtype) => Ok(Number::Float(number as f64)),
            _ => {
                Err(Mismatch::Raise(Raise::runtime_error("value cannot be converted to type int64_t without overflow")))
            }
        }
    }

    fn numbers_as_tensors(&self) -> bool {
        NUMBERS_AS_TENSORS.contains(&self.name) || MORE_NUMBERS_AS_TENSORS.contains(&self.name)
    }

    fn ints(&self, parameter: &Parameter, items: &[Value], place: Option<usize>) -> Result<Vec<i64>, Mismatch> {
        let convert = |(at, item): (usize, &Value)| match item {
            Value::Int(number) => Ok(*number),
            item => index_tensor(item).ok_or_else(|| {
                let (name, found) = (parameter.python_name(), python::type_name(item));
                let place = position(place);
                Mismatch::Text(format!(
                    "(): argument '{name}'{place} must be tuple of ints, but found element of type {found} at pos {at}"
                ))
            }),
        };
        items.iter().enumerate().map(convert).collect()
    }

    /// Says whether another overload takes a list of numbers where this one takes one of tensors.
    fn takes_numbers(&self, parameter: &Parameter) -> bool {
        let same =
            |other: &Parameter| other.name == parameter.name && matches!(other.kind, Kind::Ints(_) | Kind::Floats);
        let overloads = Operators::all().get(&self.operator.name).unwrap_or_default();
        overloads.iter().any(|operator| operator.parameters.iter().any(same))
    }

    fn wrong(&self, parameter: &Parameter, value: &Value, place: Option<usize>) -> Mismatch {
        let (name, kind, found) = (parameter.python_name(), parameter.kind.name(), python::type_name(value));
        if let (Kind::Tensors, Some(items)) = (parameter.kind, python::sequence(value))
            && let Some(at) = items.iter().position(|item| Tensor::of(item).is_none())
            && !self.takes_numbers(parameter)
        {
            let (place, found) = (place.unwrap_or(0), python::type_name(&items[at]));
            return Mismatch::Raise(Raise::type_error(format!(
                "expected Tensor as element {at} in argument {place}, but got {found}"
            )));
        }
        Mismatch::Text(format!("(): argument '{name}'{} must be {kind}, not {found}", position(place)))
    }

    fn too_many(&self, most: usize) -> Mismatch {
        let least = self.operator.parameters.iter().filter(|p| !p.keyword_only && !p.default).count()
            - usize::from(self.receiver.is_some());
        let given = self.args.positional.len();
        let plural = if most == 1 { "" } else { "s" };
        Mismatch::Text(match least == most {
            true => format!("() takes {most} positional argument{plural} but {given} were given"),
            false => format!("() takes from {least} to {most} positional arguments but {given} were given"),
        })
    }

    fn missing(&self, from: usize) -> Mismatch {
        let given = |name: &str| self.receiver.is_some() && name == "self";
        let needed = self.operator.parameters.iter().filter(|p| !p.keyword_only && !p.default && !given(&p.name));
        let absent = needed
            .skip(from)
            .filter(|p| !self.args.keyword.iter().any(|(keyword, _)| p.is_called(keyword)))
            .map(|p| format!("\"{}\"", p.python_name()));
        Mismatch::Missing(absent.collect())
    }

    fn unexpected(&self) -> Mismatch {
        let unknown = self
            .args
            .keyword
            .iter()
            .find(|(keyword, _)| !self.operator.parameters.iter().any(|parameter| parameter.is_called(keyword)));
        let text = match unknown {
            Some((keyword, _)) => format!("() got an unexpected keyword argument '{keyword}'"),
            None => String::from("() got multiple values for an argument"),
        };
        Mismatch::Text(text)
    }
}

fn position(place: Option<usize>) -> String {
    place.map_or_else(String::new, |place| format!(" (position {})", place + 1))
}

fn tensors(value: &Value) -> Option<Vec<Tensor>> {
    python::sequence(value)?.iter().map(Tensor::of).collect()
}

fn optional_tensors(value: &Value) -> Option<Vec<Option<Tensor>>> {
    let one = |item: &Value| match item {
        Value::None => Some(None),
        item => Tensor::of(item).map(Some),
    };
    python::sequence(value)?.iter().map(one).collect()
}

fn constant(value: &Value, class: &str) -> Option<Argument> {
    let constant = python::host::<dtype::Constant>(value)?;
    (constant.class == class).then(|| Argument::from(constant.code))
}

/// Returns the element of a 0-dim integer tensor, or of one of numpy's whole numbers.
fn index_tensor(value: &Value) -> Option<i64> {
    let tensor = Tensor::of(value).or_else(|| crate::array::scalar_of(value))?;
    let integral = !dtype::is_floating(tensor.dtype()) && !dtype::is_complex(tensor.dtype());
    (integral && tensor.sizes().is_empty()).then(|| tensor.item().ok()).flatten().as_ref().and_then(python::int)
}

/// Returns the element of a 0-dim tensor that no gradient flows through.
fn scalar_of_tensor(value: &Value) -> Option<Number> {
    let tensor = Tensor::of(value)?;
    let plain = tensor.sizes().is_empty() && !tensor.requires_grad();
    plain.then(|| tensor.item().ok()).flatten().as_ref().and_then(python::number)
}
