//! Python's builtin exception classes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::values::class::Class;
use crate::values::value::Value;

macro_rules! kinds {
    ($($name:ident : $parent:ident),* $(,)?) => {
        /// A builtin exception class.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { BaseException, $($name),* }

        impl Kind {
            /// Every class, each after its base.
            pub const ALL: &[Self] = &[Self::BaseException, $(Self::$name),*];

            /// Returns the name.
            pub fn name(self) -> &'static str {
                match self { Self::BaseException => "BaseException", $(Self::$name => stringify!($name)),* }
            }

            /// Returns the base, or `None` for the root.
            pub fn base(self) -> Option<Self> {
                match self { Self::BaseException => None, $(Self::$name => Some(Self::$parent)),* }
            }
        }
    };
}

kinds! {
    Exception: BaseException,
    GeneratorExit: BaseException,
    KeyboardInterrupt: BaseException,
    SystemExit: BaseException,
    ArithmeticError: Exception,
    FloatingPointError: ArithmeticError,
    OverflowError: ArithmeticError,
    ZeroDivisionError: ArithmeticError,
    AssertionError: Exception,
    AttributeError: Exception,
    BufferError: Exception,
    EOFError: Exception,
    ImportError: Exception,
    ModuleNotFoundError: ImportError,
    LookupError: Exception,
    IndexError: LookupError,
    KeyError: LookupError,
    MemoryError: Exception,
    NameError: Exception,
    UnboundLocalError: NameError,
    OSError: Exception,
    ConnectionError: OSError,
    FileExistsError: OSError,
    FileNotFoundError: OSError,
    PermissionError: OSError,
    TimeoutError: OSError,
    ReferenceError: Exception,
    RuntimeError: Exception,
    NotImplementedError: RuntimeError,
    RecursionError: RuntimeError,
    StopAsyncIteration: Exception,
    StopIteration: Exception,
    SyntaxError: Exception,
    IndentationError: SyntaxError,
    SystemError: Exception,
    TypeError: Exception,
    ValueError: Exception,
    UnicodeError: ValueError,
    UnicodeDecodeError: UnicodeError,
    UnicodeEncodeError: UnicodeError,
    Warning: Exception,
    DeprecationWarning: Warning,
    FutureWarning: Warning,
    RuntimeWarning: Warning,
    SyntaxWarning: Warning,
    UserWarning: Warning,
}

thread_local! {
    static CLASSES: Vec<Rc<Class>> = {
        let mut classes: Vec<Rc<Class>> = Vec::with_capacity(Kind::ALL.len());
        for &kind in Kind::ALL {
            let base = kind.base().map(|base| Rc::clone(&classes[base as usize]));
            classes.push(Class::exception(kind, base));
        }
        classes
    };
}

/// Returns the class object of a builtin exception: one per thread, immutable.
pub fn class(kind: Kind) -> Rc<Class> {
    CLASSES.with(|classes| Rc::clone(&classes[kind as usize]))
}

thread_local! {
    static HOST_CLASSES: RefCell<HashMap<&'static str, Rc<Class>>> = RefCell::default();
}

/// Returns the class of a host's exception, by its module and name: one per thread, immutable.
pub fn host_class(path: &'static str, base: Kind) -> Rc<Class> {
    HOST_CLASSES.with_borrow_mut(|classes| {
        let made = classes.entry(path).or_insert_with(|| Class::host_exception(path, class(base)));
        Rc::clone(made)
    })
}

/// Returns the builtin exception class of this name; `IOError` and `EnvironmentError` are other names of `OSError`.
pub fn lookup(name: &str) -> Option<Value> {
    let name = if matches!(name, "IOError" | "EnvironmentError") { "OSError" } else { name };
    Kind::ALL.iter().find(|kind| kind.name() == name).map(|&kind| Value::Class(class(kind)))
}
