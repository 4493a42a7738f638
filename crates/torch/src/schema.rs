//! Operators of libtorch's dispatcher and the types of their parameters.

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::OnceLock;

use libtorch::ffi;

use crate::adjacent;
use crate::cost::Nature;
use crate::learned;

/// One overload of an `aten::` operator.
#[derive(Debug)]
pub struct Operator {
    /// The shim's number of this overload.
    pub(crate) handle: usize,
    pub name: Box<str>,
    pub overload: Box<str>,
    /// Draws random numbers.
    pub random: bool,
    /// Multiplies matrices.
    pub multiplies: bool,
    /// Its results come of parameters where its tensors do.
    pub(crate) passes_on: bool,
    /// Its kernel takes some values on trust even on a CPU.
    pub(crate) trusts: bool,
    pub parameters: Vec<Parameter>,
    /// The overload that takes a generator besides, where this one takes none.
    pub(crate) twin: Option<usize>,
    /// What its cost depends on.
    pub(crate) nature: Nature,
    /// Names of the returned values; empty ones are unnamed.
    pub returns: Vec<Box<str>>,
}

/// One parameter of an operator.
#[derive(Debug)]
pub struct Parameter {
    pub name: Box<str>,
    pub kind: Kind,
    /// `None` is accepted.
    pub optional: bool,
    /// May be left out.
    pub default: bool,
    pub keyword_only: bool,
    /// The operator writes to this tensor.
    pub written: bool,
    /// The result may be a view of this tensor.
    pub viewed: bool,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tensor,
    Tensors,
    OptionalTensors,
    Int,
    /// `int[]`, or `int[n]`, for which a single int stands for n equal ones.
    Ints(Option<usize>),
    Float,
    Floats,
    Bool,
    Bools,
    Str,
    Scalar,
    DType,
    Layout,
    Device,
    MemoryFormat,
    Generator,
    /// A type that no allowed operator has.
    Other,
}

impl Operator {
    /// Returns whether the overload writes results to caller-given tensors, takes named dimensions or lists that
    /// Python cannot write down.
    fn is_internal(&self) -> bool {
        let named = ["names", "dimname"].iter().any(|word| self.overload.to_lowercase().contains(word));
        // Arithmetic with numbers is that with tensors: they are wrapped.
        let wrapped =
            *self.overload == *"Scalar" && ["add", "sub", "mul", "div"].contains(&self.name.trim_end_matches('_'));
        named || wrapped || self.parameters.iter().any(|p| p.kind == Kind::Other || p.keyword_only && p.written)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let handle = fields.next()?.parse().ok()?;
        let name: Box<str> = fields.next()?.into();
        let overload = fields.next()?.into();
        let (multiplies, passes_on) = (adjacent::is_product(&name), learned::passes_on(&name));
        let random = fields.next()?.contains('r');
        let parameters: Vec<Parameter> =
            entries(fields.next()?).map(|(name, kind, flags)| Parameter::new(name, kind, flags)).collect();
        let trusts = matches!(&*name, "lu_solve" | "linalg_lu_solve" | "lu_unpack" | "combinations");
        let nature = Nature::of(&name, random, parameters.iter().any(|parameter| parameter.viewed));
        let returns = entries(fields.next()?).map(|(name, ..)| name.into()).collect();
        Some(Self {
            handle,
            name,
            overload,
            random,
            multiplies,
            passes_on,
            trusts,
            parameters,
            twin: None,
            nature,
            returns,
        })
    }
}

/// Splits `name,type,flags;…`. Types have no semicolons, and commas only within parentheses, which none here needs.
fn entries(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.split(';').filter_map(|entry| {
        let (name, rest) = entry.split_once(',')?;
        let (kind, flags) = rest.rsplit_once(',')?;
        Some((name, kind, flags))
    })
}

impl Parameter {
    fn new(name: &str, kind: &str, flags: &str) -> Self {
        let kind = kind.replace("SymInt", "int");
        let (kind, optional) = kind.strip_suffix('?').map_or((kind.as_str(), false), |inner| (inner, true));
        Self {
            name: name.into(),
            kind: Kind::parse(kind),
            optional,
            default: flags.contains('d'),
            keyword_only: flags.contains('k'),
            written: flags.contains('w'),
            viewed: flags.contains('v'),
        }
    }
}

impl Kind {
    fn parse(text: &str) -> Self {
        match text {
            "Tensor" => Self::Tensor,
            "Tensor[]" => Self::Tensors,
            "Tensor?[]" => Self::OptionalTensors,
            "int" => Self::Int,
            "float" => Self::Float,
            "float[]" => Self::Floats,
            "bool" => Self::Bool,
            "str" => Self::Str,
            "Scalar" | "number" => Self::Scalar,
            "ScalarType" => Self::DType,
            "Layout" => Self::Layout,
            "Device" => Self::Device,
            "MemoryFormat" => Self::MemoryFormat,
            "Generator" => Self::Generator,
            _ => match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
                Some(("int", count)) => Self::Ints(count.parse().ok()),
                Some(("bool", _)) => Self::Bools,
                _ => Self::Other,
            },
        }
    }

    /// Returns PyTorch's word for the type in error messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tensor => "Tensor",
            Self::Tensors | Self::OptionalTensors => "tuple of Tensors",
            Self::Int => "int",
            Self::Ints(_) => "tuple of ints",
            Self::Float => "float",
            Self::Floats => "tuple of floats",
            Self::Bool => "bool",
            Self::Bools => "tuple of bools",
            Self::Str => "str",
            Self::Scalar => "Number",
            Self::DType => "torch.dtype",
            Self::Layout => "torch.layout",
            Self::Device => "torch.device",
            Self::MemoryFormat => "torch.memory_format",
            Self::Generator => "torch.Generator",
            Self::Other => "object",
        }
    }
}

/// All operators by name, their overloads in the order in which PyTorch tries them.
pub struct Operators(HashMap<Box<str>, Vec<Operator>>);

impl Operators {
    /// Returns the dispatcher's operators, listed once per process.
    pub fn all() -> &'static Self {
        static ALL: OnceLock<Operators> = OnceLock::new();
        ALL.get_or_init(|| {
            let mut operators: HashMap<Box<str>, Vec<Operator>> = HashMap::new();
            for operator in listing().lines().filter_map(Operator::parse).filter(|operator| !operator.is_internal()) {
                operators.entry(operator.name.clone()).or_default().push(operator);
            }
            let ordered = |(name, overloads)| (name, with_twins(in_order_of_trial(overloads)));
            Self(operators.into_iter().map(ordered).collect())
        })
    }

    /// Returns the overloads of an operator.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[Operator]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Returns one overload.
    #[must_use]
    pub fn overload(&self, name: &str, overload: &str) -> Option<&Operator> {
        self.get(name)?.iter().find(|operator| &*operator.overload == overload)
    }
}

fn listing() -> String {
    crate::prepare();
    let mut error = ffi::Error { kind: 0, text: std::ptr::null_mut() };
    // SAFETY: called once, from within `OnceLock::get_or_init`; `error` outlives the call.
    let text = unsafe { ffi::vt_operators(&raw mut error) };
    if text.is_null() {
        return String::new();
    }
    // SAFETY: a non-null answer is a NUL-terminated string.
    let listing = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: the answer is ours to free.
    unsafe { ffi::vt_free(text.cast()) };
    listing
}

/// Orders overloads as `torchgen`'s `sort_overloads`: an overload that takes less comes after the one that takes more.
fn in_order_of_trial(mut overloads: Vec<Operator>) -> Vec<Operator> {
    overloads.sort_by(|left, right| left.overload.cmp(&right.overload));
    let mut ordered: Vec<Operator> = Vec::with_capacity(overloads.len());
    while !overloads.is_empty() {
        let next = overloads.iter().position(|one| !overloads.iter().any(|other| is_smaller(one, other)));
        ordered.push(overloads.remove(next.unwrap_or(0)));
    }
    ordered
}

/// Notes for each overload that draws random numbers which other one takes a generator, too.
fn with_twins(mut overloads: Vec<Operator>) -> Vec<Operator> {
    let form = |operator: &Operator| -> Vec<(Box<str>, Kind)> {
        let parameters = operator.parameters.iter().filter(|parameter| parameter.kind != Kind::Generator);
        parameters.map(|parameter| (parameter.name.clone(), parameter.kind)).collect()
    };
    let takes = |operator: &Operator| operator.parameters.iter().any(|parameter| parameter.kind == Kind::Generator);
    for at in 0..overloads.len() {
        if overloads[at].random && !takes(&overloads[at]) {
            let own = form(&overloads[at]);
            overloads[at].twin = overloads.iter().position(|other| takes(other) && form(other) == own);
        }
    }
    overloads
}

fn is_smaller(left: &Operator, right: &Operator) -> bool {
    let mut strictly = false;
    left.parameters.len() == right.parameters.len()
        && left.parameters.iter().zip(&right.parameters).all(|(left, right)| {
            if left.kind == right.kind && left.optional == right.optional {
                return true;
            }
            strictly = true;
            matches!((left.kind, right.kind), (Kind::Scalar | Kind::Int, Kind::Tensor) | (Kind::Ints(_), Kind::Int))
                && (left.optional == right.optional || left.kind == Kind::Int || matches!(left.kind, Kind::Ints(_)))
        })
        && strictly
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_listed_with_their_parameters() {
        let add = Operators::all().overload("add", "Tensor");
        let names: Vec<_> = add.iter().flat_map(|add| &add.parameters).map(|p| (&*p.name, p.kind)).collect();
        assert_eq!(names, [("self", Kind::Tensor), ("other", Kind::Tensor), ("alpha", Kind::Scalar)]);
    }

    #[test]
    fn who_draws_has_a_twin_that_takes_a_generator() {
        let drawing =
            |name| Operators::all().get(name).into_iter().flatten().find(|operator| operator.overload.is_empty());
        let twin = |name| Operators::all().get(name)?.get(drawing(name)?.twin?).map(|twin| &*twin.overload);
        assert_eq!([twin("randn"), twin("rand"), twin("randperm")], [Some("generator"); 3]);
        assert_eq!(twin("dropout"), None);
    }

    #[test]
    fn overloads_with_tensors_are_tried_before_those_with_scalars() {
        let order: Vec<_> = Operators::all().get("eq").into_iter().flatten().map(|eq| &*eq.overload).collect();
        assert_eq!(order, ["Tensor", "Scalar"]);
    }
}
