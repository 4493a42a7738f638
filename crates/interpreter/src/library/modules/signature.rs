//! Parameters of the functions that `namedtuple` and `dataclass` write.

use std::rc::Rc;

use crate::values::host::Args;
use crate::values::raise::Raise;
use crate::values::value::Value;

/// One parameter.
pub(super) struct Parameter {
    pub name: Rc<str>,
    /// A call may leave it out.
    pub optional: bool,
    pub keyword_only: bool,
}

/// Refuses an argument that CPython has and this server does not obey.
pub(super) fn unsupported(function: &str, parameter: &str) -> Raise {
    Raise::type_error(format!("{function}(): the argument '{parameter}' is not supported by this server"))
}

/// Binds the arguments after `self`, with the messages of functions written in Python. `None` where left out.
///
/// # Errors
/// `TypeError` for arguments that do not fit.
pub(super) fn bind(function: &str, parameters: &[Parameter], args: Args) -> Result<Vec<Option<Value>>, Raise> {
    let mut bound: Vec<Option<Value>> = parameters.iter().map(|_| None).collect();
    let most = parameters.iter().filter(|parameter| !parameter.keyword_only).count();
    let given = args.positional.len();
    if given > most {
        let optional = parameters.iter().filter(|parameter| parameter.optional && !parameter.keyword_only).count();
        let takes = match optional {
            0 => (most + 1).to_string(),
            optional => format!("from {} to {}", most + 1 - optional, most + 1),
        };
        let plural = if most == 0 && optional == 0 { "" } else { "s" };
        let given = given + 1;
        return Err(Raise::type_error(format!(
            "{function}() takes {takes} positional argument{plural} but {given} were given"
        )));
    }
    let mut positional = args.positional.into_iter();
    for (slot, _) in bound.iter_mut().zip(parameters).filter(|(_, parameter)| !parameter.keyword_only) {
        *slot = positional.next();
    }
    for (name, value) in args.keyword {
        let Some(position) = parameters.iter().position(|parameter| parameter.name == name) else {
            return Err(Raise::type_error(format!("{function}() got an unexpected keyword argument '{name}'")));
        };
        if bound[position].replace(value).is_some() {
            return Err(Raise::type_error(format!("{function}() got multiple values for argument '{name}'")));
        }
    }
    for (keyword_only, kind) in [(false, "positional"), (true, "keyword-only")] {
        let missing: Vec<String> = parameters
            .iter()
            .zip(&bound)
            .filter(|(parameter, value)| {
                value.is_none() && !parameter.optional && parameter.keyword_only == keyword_only
            })
            .map(|(parameter, _)| format!("'{}'", parameter.name))
            .collect();
        if let Some(names) = listed(&missing) {
            let (count, plural) = (missing.len(), if missing.len() == 1 { "" } else { "s" });
            return Err(Raise::type_error(format!(
                "{function}() missing {count} required {kind} argument{plural}: {names}"
            )));
        }
    }
    Ok(bound)
}

fn listed(names: &[String]) -> Option<String> {
    Some(match names {
        [] => return None,
        [only] => only.clone(),
        [first, second] => format!("{first} and {second}"),
        [rest @ .., last] => format!("{}, and {last}", rest.join(", ")),
    })
}
