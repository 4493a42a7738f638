//! Functions that were decorated before they were sent. The client sends the text of the innermost function, with its
//! decorators above it, but the name, the file and the defaults of what the decorators made of it; and of what its body
//! names, what that means where the outermost was defined. What they made is known where all that they read is.

use std::collections::HashMap;

use crate::lower::{Decorator, Heading};
use crate::{Datum, Heap, Program, Ref};

/// Files of decorators that programs use, and the modules that these are.
const WRAPPERS: [(&str, &str); 4] = [
    ("torch/utils/_contextlib.py", "torch.utils._contextlib"),
    ("torch/amp/autocast_mode.py", "torch.amp.autocast_mode"),
    ("/contextlib.py", "contextlib"),
    ("/functools.py", "functools"),
];

/// Decorators that make no function, or return the one that they were given: what they made of it is sent as such.
const DESCRIPTORS: [&str; 13] = [
    "property",
    "staticmethod",
    "classmethod",
    "cached_property",
    "functools.cached_property",
    "abstractmethod",
    "abc.abstractmethod",
    "final",
    "typing.final",
    "override",
    "typing.override",
    "overload",
    "typing.overload",
];

/// Modules that are known by one name.
pub const MODULES: [(&str, &str); 8] = [
    ("F", "torch.nn.functional"),
    ("contextlib", "contextlib"),
    ("functools", "functools"),
    ("itertools", "itertools"),
    ("math", "math"),
    ("nn", "torch.nn"),
    ("np", "numpy"),
    ("torch", "torch"),
];

/// Decorators that are known by one name.
const MEMBERS: [(&str, &str); 9] = [
    ("autocast", "torch"),
    ("cache", "functools"),
    ("contextmanager", "contextlib"),
    ("enable_grad", "torch"),
    ("inference_mode", "torch"),
    ("lru_cache", "functools"),
    ("no_grad", "torch"),
    ("set_grad_enabled", "torch"),
    ("wraps", "functools"),
];

/// Names that nobody sends, for they mean the same everywhere: those that decorators and default values read.
const BUILTINS: [&str; 32] = [
    "Ellipsis",
    "Exception",
    "abs",
    "all",
    "any",
    "bool",
    "bytes",
    "callable",
    "complex",
    "dict",
    "enumerate",
    "float",
    "frozenset",
    "getattr",
    "int",
    "isinstance",
    "len",
    "list",
    "map",
    "max",
    "min",
    "object",
    "print",
    "range",
    "repr",
    "reversed",
    "round",
    "set",
    "sorted",
    "str",
    "sum",
    "tuple",
];

/// What was made of a function before it was sent.
#[derive(Debug, PartialEq)]
pub enum Made<'a> {
    /// Nothing.
    AsItStands,
    /// What its decorators make of it.
    By(Decoration<'a>),
    /// Nobody knows: a sentence.
    Unknown(String),
}

/// Decorators of which everything is known.
#[derive(Debug, PartialEq)]
pub struct Decoration<'a> {
    /// Those that make a function, outermost first.
    pub decorators: Vec<Decorator>,
    /// What they and the default values read, where that is not sent with the function itself.
    pub names: Vec<(String, Meaning<'a>)>,
    /// The module that the outermost is certainly of, by the file of what it made.
    pub library: Option<&'static str>,
    /// The bytes of all others.
    descriptors: Vec<std::ops::Range<usize>>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning<'a> {
    Sent(Ref),
    Module(&'a str),
    Member(&'a str, String),
}

impl Decoration<'_> {
    /// Returns whether there is nothing but one mode of torch.
    #[must_use]
    pub fn is_mode(&self) -> bool {
        self.decorators.len() == 1 && self.library.is_some_and(|module| module.starts_with("torch"))
    }

    /// Returns the function's text without its outermost decorators, and without those that make no function. All that
    /// stays is where it was.
    #[must_use]
    pub fn text(&self, text: &str, outermost: usize) -> String {
        let left_out = self.decorators.iter().take(outermost).map(|decorator| &decorator.range);
        let left_out: Vec<_> = left_out.chain(&self.descriptors).collect();
        let shown = |(at, char): (usize, char)| match left_out.iter().any(|range| range.contains(&at)) {
            true if char != '\n' => ' ',
            _ => char,
        };
        text.char_indices().map(shown).collect()
    }
}

/// Says whether a function is certainly what its text says, without a look at the rest of the request.
#[must_use]
pub fn as_it_stands(function: &Datum, heading: &Heading) -> bool {
    let Datum::Function { filename, defaults, keyword_defaults, .. } = function else { return true };
    let lost =
        (heading.defaults, heading.keyword_defaults) != (0, 0) && defaults.is_empty() && keyword_defaults.is_empty();
    heading.decorators.is_empty() && !heading.around_lambda && !lost && wrapper(filename).is_none()
}

/// Says whether what a function is sent with under a name is what the module of a decorator has there.
#[must_use]
pub fn is_of_wrapper(heap: &Heap, filename: &str, at: Ref) -> bool {
    let Some(wrapper) = wrapper(filename) else { return false };
    let is_wrapper = |at: Ref| matches!(heap.get(at), Some(Datum::Module(name)) if name == wrapper);
    match heap.get(at) {
        Some(Datum::Attribute { object, .. }) => is_wrapper(*object),
        Some(Datum::Object { called: true, args, .. }) => args.first().is_some_and(|object| is_wrapper(*object)),
        _ => false,
    }
}

/// Returns the module that wrapped a function which is sent as from a file.
fn wrapper(filename: &str) -> Option<&'static str> {
    WRAPPERS.iter().find(|(file, _)| filename.ends_with(file)).map(|(_, module)| *module)
}

/// What names mean in a request, to say what was made of its functions.
pub struct Names<'a> {
    heap: &'a Heap,
    /// Of the file that the block is in, else of the request's functions and modules, where they agree.
    meanings: HashMap<&'a str, Option<Ref>>,
    /// All that is known by a name anywhere.
    bound: HashMap<&'a str, Vec<Ref>>,
}

impl<'a> Names<'a> {
    /// Goes through a request.
    #[must_use]
    pub fn of(program: &'a Program) -> Self {
        let heap = &program.heap;
        let around = program.locals.iter().chain(&program.globals);
        let mut names = Self { heap, meanings: HashMap::new(), bound: HashMap::new() };
        for (name, at) in around {
            names.meanings.entry(name).or_insert(Some(*at));
            names.bound.entry(name).or_default().push(*at);
        }
        let around: std::collections::HashSet<&str> = names.meanings.keys().copied().collect();
        for at in 0..u32::try_from(heap.len()).unwrap_or(u32::MAX) {
            match heap.get(Ref(at)) {
                Some(Datum::Function { filename, globals, .. }) => {
                    for (name, at) in globals {
                        names.bound.entry(name).or_default().push(*at);
                        if wrapper(filename).is_none() && !around.contains(name.as_str()) {
                            names.mean(name, *at);
                        }
                    }
                }
                Some(Datum::Class { attributes, .. }) => {
                    for (name, at) in attributes {
                        names.bound.entry(name).or_default().push(*at);
                    }
                }
                Some(Datum::Object { class, state: Some(state), .. }) if is_module(heap, *class) => {
                    let Some(Datum::Dict(pairs)) = heap.get(*state) else { continue };
                    for (name, at) in pairs.iter().filter_map(|(name, at)| Some((heap.text(*name)?, *at))) {
                        names.bound.entry(name).or_default().push(at);
                        if !around.contains(name) && !name.starts_with("__") {
                            names.mean(name, at);
                        }
                    }
                }
                _ => {}
            }
        }
        names
    }

    fn mean(&mut self, name: &'a str, at: Ref) {
        let heap = self.heap;
        let known = self.meanings.entry(name).or_insert(Some(at));
        *known = known.filter(|known| *known == at || heap.get(*known) == heap.get(at));
    }

    /// Returns what those names of a text mean that its function is not sent with.
    pub fn in_text<'s>(&'s self, text: &str) -> impl Iterator<Item = (&'a str, Ref)> + use<'s, 'a> {
        let words = text.split(|char: char| !char.is_alphanumeric() && char != '_');
        let words: std::collections::HashSet<&str> = words.collect();
        let known: Vec<_> = self.meanings.iter().filter(|(name, _)| words.contains(**name)).collect();
        known.into_iter().filter_map(|(name, at)| Some((*name, (*at)?)))
    }

    /// Says what was made of a function before it was sent.
    #[must_use]
    pub fn made(&self, at: Ref, heading: &Heading) -> Made<'a> {
        let Some(Datum::Function { name, filename, line, defaults, keyword_defaults, globals, .. }) = self.heap.get(at)
        else {
            return Made::AsItStands;
        };
        let library = wrapper(filename);
        let (descriptors, decorators): (Vec<_>, Vec<_>) =
            heading.decorators.iter().cloned().partition(|decorator| makes_no_function(&decorator.path));
        let sent = (defaults.len(), keyword_defaults.len());
        let written = (heading.defaults, heading.keyword_defaults);
        let Some(outermost) = decorators.first() else {
            // What has default values in its text and none where it is sent is not what its text says.
            let lost = written != (0, 0) && sent == (0, 0);
            return match library.is_some() || lost || heading.around_lambda {
                false => Made::AsItStands,
                true => Made::Unknown(format!(
                    "{name}() of line {line} was given to another function, which made this one of it and is not sent \
                     with it: {name} can be made so inside the block"
                )),
            };
        };
        if library.is_none() {
            let same_defaults = written != (0, 0) && written == sent;
            let has_class = heading.names_class && globals.iter().any(|(name, _)| name == "__class__");
            if same_defaults || has_class || (decorators.len() == 1 && self.is_held(name, at)) {
                return Made::AsItStands;
            }
        }
        let decorator = match outermost.path.as_str() {
            "" => "its decorator".to_owned(),
            path => format!("@{path}"),
        };
        if library == Some("functools") {
            return Made::Unknown(format!(
                "what {decorator} made of {name}() of line {line} is not sent: {name} can be decorated inside the block"
            ));
        }
        let own = |name: &str| {
            let sent = globals.iter().find(|(other, _)| other == name);
            sent.is_some_and(|(_, at)| !is_of_wrapper(self.heap, filename, *at))
        };
        let read = decorators.iter().flat_map(|decorator| &decorator.names).chain(&heading.names);
        let (mut names, mut missing) = (Vec::new(), Vec::new());
        for read in read.filter(|read| !own(read)) {
            match self.meaning(read) {
                Some(meaning) => names.push((read.clone(), meaning)),
                None if BUILTINS.contains(&read.as_str()) || read.ends_with("Error") => {}
                None => missing.push(read.as_str()),
            }
        }
        match missing.first().copied() {
            None => {
                let descriptors = descriptors.into_iter().map(|decorator| decorator.range).collect();
                Made::By(Decoration { decorators, names, library, descriptors })
            }
            Some(first) => {
                missing.sort_unstable();
                missing.dedup();
                Made::Unknown(format!(
                    "what {decorator} made of {name}() of line {line} is not known, because the client does not send {}: \
                     name it in the block, as by a line `{first}`, or decorate {name}() there",
                    missing.join(", ")
                ))
            }
        }
    }

    /// Returns what a name means that a function is not sent with.
    fn meaning(&self, name: &str) -> Option<Meaning<'a>> {
        if let Some(at) = self.meanings.get(name).copied().flatten() {
            return Some(Meaning::Sent(at));
        }
        let module = MODULES.iter().find(|(alias, _)| *alias == name).map(|(_, module)| Meaning::Module(module));
        let member = || MEMBERS.iter().find(|(member, _)| *member == name);
        module.or_else(|| member().map(|(member, module)| Meaning::Member(module, (*member).to_owned())))
    }

    /// Says whether what is known by a function's name is something else, which holds the function: what a decorator made of
    /// it that left no trace in its text, so that the function is the one that the decorator was given.
    fn is_held(&self, name: &str, function: Ref) -> bool {
        let bound = self.bound.get(name).into_iter().flatten().take(LOOKED);
        // A property of that name is what holds its functions, and these are what it is made of.
        let bound = bound.flat_map(|at| match self.heap.get(*at) {
            Some(Datum::Decorated { functions, .. }) => functions.as_slice(),
            _ => std::slice::from_ref(at),
        });
        let mut left = LOOKED;
        bound.into_iter().any(|at| *at != function && self.holds(*at, function, 3, &mut left))
    }

    fn holds(&self, holder: Ref, function: Ref, depth: usize, left: &mut usize) -> bool {
        if holder == function {
            return true;
        }
        let Some(next) = depth.checked_sub(1) else { return false };
        let held: Vec<Ref> = match self.heap.get(holder) {
            Some(Datum::Function { globals, .. }) => globals.iter().map(|(_, at)| *at).collect(),
            Some(Datum::Object { args, state, .. }) => args.iter().chain(state).copied().collect(),
            Some(Datum::Dict(pairs)) => pairs.iter().map(|(_, at)| *at).collect(),
            Some(Datum::Tuple(items)) => items.clone(),
            _ => return false,
        };
        held.into_iter().any(|at| {
            *left = left.saturating_sub(1);
            *left > 0 && self.holds(at, function, next, left)
        })
    }
}

/// How many values are looked at for one that holds a function.
const LOOKED: usize = 500;

fn makes_no_function(path: &str) -> bool {
    DESCRIPTORS.contains(&path) || [".setter", ".getter", ".deleter"].iter().any(|end| path.ends_with(end))
}

fn is_module(heap: &Heap, class: Ref) -> bool {
    matches!(heap.get(class), Some(Datum::Global { module, name }) if module == "types" && name == "ModuleType")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Env, Limits, Source, lower};

    /// A function's text, name and file, and what it is sent with.
    type Sent<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, u32)]);

    /// Makes a request whose block reads `around`, with functions of texts, files and what they are sent with.
    fn program(functions: &[Sent<'_>], around: &[(&str, u32)]) -> Program {
        let named = |all: &[(&str, u32)]| all.iter().map(|(name, at)| ((*name).to_owned(), Ref(*at))).collect();
        let mut heap = Heap::default();
        // Texts stand behind the functions, so that these are counted from zero.
        for (at, (_, name, file, globals)) in functions.iter().enumerate() {
            heap.push(Datum::Function {
                source: Ref(u32::try_from(functions.len() + at).unwrap()),
                name: (*name).into(),
                filename: (*file).into(),
                line: 7,
                defaults: Vec::new(),
                keyword_defaults: Vec::new(),
                globals: named(globals),
            });
        }
        for (text, ..) in functions {
            heap.push(Datum::Str((*text).into()));
        }
        Program {
            model: ids::ModelKey::new("o/n", None),
            env: Env::default(),
            entry: Entry::Session,
            modules: Vec::new(),
            source: Source { text: String::new(), filename: "f.py".into(), function: "<module>".into() },
            heap,
            locals: named(around),
            globals: Vec::new(),
        }
    }

    /// Says what was made of the first function.
    fn made(program: &Program) -> Made<'_> {
        let Some(Datum::Function { source, name, filename, line, .. }) = program.heap.get(Ref(0)) else {
            panic!("no function")
        };
        let text = program.heap.text(*source).unwrap();
        let (_, _, heading) = lower::function(text, name, filename, *line, &Limits::default()).unwrap();
        match as_it_stands(program.heap.get(Ref(0)).unwrap(), &heading) {
            true => Made::AsItStands,
            false => Names::of(program).made(Ref(0), &heading),
        }
    }

    fn unknown(program: &Program) -> String {
        match made(program) {
            Made::Unknown(says) => says,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_decorator_is_applied_where_it_is_known_and_named_where_it_is_not() {
        let text = "@double\ndef f(x):\n    return x";
        let says = unknown(&program(&[(text, "f", "f.py", &[])], &[("f", 0)]));
        assert!(says.contains("@double") && says.contains("line 7") && says.contains("a line `double`"), "{says}");
        let known = program(
            &[(text, "f", "f.py", &[]), ("def double(f):\n    return f", "double", "f.py", &[])],
            &[("f", 0), ("double", 1)],
        );
        let Made::By(decoration) = made(&known) else { panic!("{:?}", made(&known)) };
        assert_eq!(decoration.names, [("double".to_owned(), Meaning::Sent(Ref(1)))]);
        assert_eq!(decoration.text(text, 0), text);
        assert_eq!(decoration.text(text, 1), "       \ndef f(x):\n    return x");
    }

    #[test]
    fn what_a_wrapper_of_its_name_holds_is_what_the_decorator_was_given() {
        let text = "@plain\ndef f(x):\n    return x";
        let wrapper = "def wrapper(x):\n    return g(x)";
        let held = program(&[(text, "f", "f.py", &[]), (wrapper, "wrapper", "f.py", &[("g", 0)])], &[("f", 1)]);
        assert_eq!(made(&held), Made::AsItStands);
        let by_another_name =
            program(&[(text, "f", "f.py", &[]), (wrapper, "wrapper", "f.py", &[("g", 0)])], &[("h", 1)]);
        assert!(matches!(made(&by_another_name), Made::Unknown(_)));
    }

    #[test]
    fn a_property_holds_what_it_is_made_of() {
        let text = "@property\n@double\ndef f(self):\n    return 1";
        let mut program = program(&[(text, "f", "f.py", &[])], &[]);
        let functions = vec![Ref(0)];
        let property = program.heap.push(Datum::Decorated { kind: crate::datum::Decorator::Property, functions });
        program.locals.push(("f".into(), property));
        assert!(unknown(&program).contains("@double"));
    }

    #[test]
    fn a_library_s_decorator_is_known_by_its_file() {
        let text = "@contextmanager\ndef f():\n    yield 1";
        let context = program(&[(text, "f", "/usr/lib/python3.11/contextlib.py", &[])], &[("f", 0)]);
        let Made::By(decoration) = made(&context) else { panic!("{:?}", made(&context)) };
        let member = Meaning::Member("contextlib", "contextmanager".into());
        assert_eq!(decoration.names, [("contextmanager".to_owned(), member)]);
        let dispatched = "@functools.singledispatch\ndef f(x):\n    return x";
        unknown(&program(&[(dispatched, "f", "/usr/lib/python3.11/functools.py", &[])], &[("f", 0)]));
        let wrapped = "def f(x):\n    return x";
        unknown(&program(&[(wrapped, "f", "torch/utils/_contextlib.py", &[])], &[("f", 0)]));
    }

    #[test]
    fn functions_that_were_given_to_another_are_not_what_their_text_says() {
        for (text, name) in [("def f(x, k=1):\n    return x", "f"), ("g = double(lambda x: x)", "<lambda>")] {
            let says = unknown(&program(&[(text, name, "f.py", &[])], &[("f", 0)]));
            assert!(says.contains("was given to another function"), "{says}");
        }
        for (text, name) in [
            ("def f(x):\n    return x", "f"),
            ("lambda x: x", "<lambda>"),
            ("@property\ndef f(self):\n    return 1", "f"),
            ("@x.setter\ndef f(self, v):\n    pass", "f"),
        ] {
            assert_eq!(made(&program(&[(text, name, "f.py", &[])], &[("f", 0)])), Made::AsItStands, "{text}");
        }
    }

    #[test]
    fn decorators_that_make_no_function_are_left_out_where_they_stand() {
        let text = "@classmethod\n@torch.no_grad()\ndef f(cls):\n    @property\n    def g(): pass\n";
        let program = program(&[(text, "f", "torch/utils/_contextlib.py", &[])], &[]);
        let Made::By(decoration) = made(&program) else { panic!("{:?}", made(&program)) };
        let expected = "            \n@torch.no_grad()\ndef f(cls):\n    @property\n    def g(): pass\n";
        assert_eq!(decoration.text(text, 0), expected);
        assert!(decoration.is_mode());
    }
}
