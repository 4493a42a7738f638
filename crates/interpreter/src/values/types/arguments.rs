//! Binding of arguments to the parameters of builtin functions, with CPython's messages.

use std::rc::Rc;

use crate::values::host::Args;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::value::Value;

impl Args {
    /// Charges for the arguments while they are kept beside those of a call that runs.
    pub(crate) fn held(&self) -> Charge {
        let bytes = self.positional.len() * size_of::<Value>() + self.keyword.len() * size_of::<(Rc<str>, Value)>();
        if bytes < 4096 { Charge::default() } else { Charge::of(bytes as u64) }
    }

    /// Makes positional arguments.
    pub fn of(values: impl Into<Vec<Value>>) -> Self {
        Self { positional: values.into(), keyword: Vec::new() }
    }

    /// Requires that there are no arguments. `name` is as CPython prints it, without brackets: `list.clear`.
    ///
    /// # Errors
    /// `TypeError`.
    pub fn none(&self, name: &str) -> Result<(), Raise> {
        self.no_keywords(name)?;
        match self.positional.len() {
            0 => Ok(()),
            given => Err(Raise::type_error(format!("{name}() takes no arguments ({given} given)"))),
        }
    }

    /// Takes exactly one argument.
    ///
    /// # Errors
    /// `TypeError`.
    pub fn one(mut self, name: &str) -> Result<Value, Raise> {
        self.no_keywords(name)?;
        let given = self.positional.len();
        match self.positional.pop() {
            Some(value) if given == 1 => Ok(value),
            _ => Err(Raise::type_error(format!("{name}() takes exactly one argument ({given} given)"))),
        }
    }

    /// Takes from `least` to `most` positional arguments.
    ///
    /// # Errors
    /// `TypeError`.
    pub fn between(self, name: &str, least: usize, most: usize) -> Result<Vec<Value>, Raise> {
        self.no_keywords(name)?;
        let given = self.positional.len();
        let short = name.rsplit('.').next().unwrap_or(name);
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        if (least..=most).contains(&given) {
            return Ok(self.positional);
        }
        Err(Raise::type_error(if least == most {
            format!("{short} expected {least} argument{}, got {given}", plural(least))
        } else if given < least {
            format!("{short} expected at least {least} argument{}, got {given}", plural(least))
        } else {
            format!("{short} expected at most {most} argument{}, got {given}", plural(most))
        }))
    }

    /// As [`Args::between`], in the words of functions whose arguments CPython parses from a format.
    ///
    /// # Errors
    /// `TypeError`.
    pub fn parsed(self, name: &str, least: usize, most: usize) -> Result<Vec<Value>, Raise> {
        self.no_keywords(name)?;
        let given = self.positional.len();
        if (least..=most).contains(&given) {
            return Ok(self.positional);
        }
        let (bound, count) = if given < least { ("least", least) } else { ("most", most) };
        let plural = if count == 1 { "" } else { "s" };
        Err(Raise::type_error(format!("{name}() takes at {bound} {count} argument{plural} ({given} given)")))
    }

    /// Binds to named parameters, the first `required` of which must be given.
    ///
    /// # Errors
    /// `TypeError`.
    pub fn bind<const N: usize>(
        self,
        name: &str,
        parameters: [&str; N],
        required: usize,
    ) -> Result<[Option<Value>; N], Raise> {
        let given = self.positional.len() + self.keyword.len();
        if self.positional.len() > N {
            let plural = if N == 1 { "" } else { "s" };
            let bound = if required == N { "exactly" } else { "at most" };
            return Err(Raise::type_error(format!("{name}() takes {bound} {N} argument{plural} ({given} given)")));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (keyword, value) in self.keyword {
            let Some(position) = parameters.iter().position(|parameter| **parameter == *keyword) else {
                return Err(unexpected_keyword(name, &keyword));
            };
            if bound[position].replace(value).is_some() {
                let position = position + 1;
                return Err(Raise::type_error(format!(
                    "argument for {name}() given by name ('{keyword}') and position ({position})"
                )));
            }
        }
        if let Some(missing) = bound[..required].iter().position(Option::is_none) {
            let (parameter, position) = (parameters[missing], missing + 1);
            return Err(Raise::type_error(format!(
                "{name}() missing required argument '{parameter}' (pos {position})"
            )));
        }
        Ok(bound)
    }

    /// Takes a keyword argument out.
    pub fn take_keyword(&mut self, name: &str) -> Option<Value> {
        let position = self.keyword.iter().position(|(keyword, _)| **keyword == *name)?;
        Some(self.keyword.remove(position).1)
    }

    /// Requires that no keyword arguments are left that a function with some does not know.
    ///
    /// # Errors
    /// `TypeError`.
    pub fn no_more_keywords(&self, name: &str) -> Result<(), Raise> {
        match self.keyword.first() {
            Some((keyword, _)) => Err(unexpected_keyword(name, keyword)),
            None => Ok(()),
        }
    }

    /// Requires that there are no keyword arguments.
    ///
    /// # Errors
    /// `TypeError`.
    pub fn no_keywords(&self, name: &str) -> Result<(), Raise> {
        if self.keyword.is_empty() {
            return Ok(());
        }
        Err(Raise::type_error(format!("{name}() takes no keyword arguments")))
    }
}

fn unexpected_keyword(name: &str, keyword: &Rc<str>) -> Raise {
    Raise::type_error(format!("'{keyword}' is an invalid keyword argument for {name}()"))
}
