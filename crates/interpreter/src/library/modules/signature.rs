//! Parameters of the functions that `namedtuple` and `dataclass` write.

use std::rc::Rc;

use program::ir::{Body, Code, Parameters, Scope, Text};

use crate::evaluation::call;
use crate::library::modules::Members;
use crate::values::frame::{Frame, Globals};
use crate::values::function::Defaults;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::Dict;
use crate::values::types::charge::Charge;
use crate::values::value::Value;

/// The parameters of a function that has no text.
struct Signature {
    code: Rc<Code>,
    defaults: Defaults,
    _charge: Charge,
}

/// Bytes charged for a signature, and for each of its parameters.
const SIGNATURE: u64 = 512;
const PARAMETER: u64 = 64;

/// Makes `_signature`, which modules written in Python know: `_signature(function, positional, keyword, defaults)` takes
/// a function's name, the names of its parameters of both kinds, and what they are where a call leaves them out. It gives
/// what binds the arguments of a call, a tuple and a dict, and returns the values of all parameters by name.
pub(super) fn natives() -> Members {
    let make = |machine: &Machine, args: Args| -> HostResult {
        let [function, positional, keyword, defaults] =
            args.bind("_signature", ["function", "positional", "keyword", "defaults"], 4)?;
        let (
            Some(Value::Str(function)),
            Some(Value::List(positional)),
            Some(Value::List(keyword)),
            Some(Value::Dict(defaults)),
        ) = (function, positional, keyword, defaults)
        else {
            return Err(Raise::type_error("_signature() takes a name, two lists and a dict"));
        };
        let (positional, keyword) = (positional.to_vec(), keyword.to_vec());
        machine.charge_fuel((positional.len() + keyword.len()) as u64)?;
        let signature = Signature::new(machine, function, &positional, &keyword, &defaults)?;
        Ok(Value::native("bind", move |machine, args| signature.bind(machine, &args.between("bind", 2, 2)?)).into())
    };
    vec![("_signature", Value::native("_signature", make))]
}

impl Signature {
    fn new(
        machine: &Machine,
        function: Rc<str>,
        positional: &[Value],
        keyword: &[Value],
        defaults: &Dict,
    ) -> Result<Self, Raise> {
        let charge = Charge::default();
        charge.cover(machine, SIGNATURE + PARAMETER * (positional.len() + keyword.len()) as u64)?;
        let name = |name: &Value| match name {
            Value::Str(name) => Some(Rc::clone(name)),
            _ => None,
        };
        let default = |name: &Value| defaults.get_string(name.as_str()?);
        let parameters =
            Parameters { positional: positional.len(), keyword_only: keyword.len(), ..Parameters::default() };
        let text = Text { filename: "".into(), text: "".into(), first_line: 1, hidden: true };
        let code = Code {
            kind: Scope::Function,
            name: function,
            around: None,
            text: Rc::new(text),
            slots: positional.iter().chain(keyword).filter_map(name).collect(),
            parameters,
            body: Rc::new(Body::default()),
            generator: false,
            docstring: None,
            line: 1,
            deepest: 0,
        };
        let defaults = Defaults {
            positional: positional.iter().filter_map(default).collect(),
            keyword: keyword.iter().filter_map(|key| Some((name(key)?, default(key)?))).collect(),
        };
        Ok(Self { code: Rc::new(code), defaults, _charge: charge })
    }

    fn bind(&self, machine: &Machine, args: &[Value]) -> HostResult {
        let [Value::Tuple(positional), Value::Dict(keyword)] = args else {
            return Err(Raise::type_error("bind() takes a tuple and a dict"));
        };
        machine.charge_fuel((positional.len() + self.code.slots.len()) as u64)?;
        let keyword = keyword.entries().into_iter().filter_map(|(name, value)| match name {
            Value::Str(name) => Some((name, value)),
            _ => None,
        });
        let args = Args { positional: positional.to_vec(), keyword: keyword.collect() };
        let frame = Frame::around(machine, Rc::clone(&self.code), Globals::default())?;
        call::bind(machine, &self.code, &self.defaults, args, &frame)?;
        Ok(Value::dict(frame.names()).into())
    }
}
