//! What libtorch says when something fails, as the exception that PyTorch raises.

use interpreter::Kind;
use interpreter::raise::Raise;
use libtorch::ffi::error;
use libtorch::{Failure, Problem};

/// What an exception can be made of.
pub trait Raising {
    /// Makes the exception that PyTorch raises.
    fn raise(self) -> Raise;
}

impl Raising for Failure {
    fn raise(self) -> Raise {
        self.problem().raise()
    }
}

impl Raising for Problem {
    fn raise(self) -> Raise {
        let text = self.text;
        match self.kind {
            error::INDEX => Raise::index_error(text),
            error::VALUE => Raise::value_error(text),
            error::TYPE => Raise::type_error(text),
            error::NOT_IMPLEMENTED => Raise::new(Kind::NotImplementedError, text),
            error::LINALG => Raise::named("torch._C._LinAlgError", Kind::RuntimeError, text),
            error::MEMORY => Raise::named("torch.OutOfMemoryError", Kind::RuntimeError, text),
            error::RUNTIME => Raise::runtime_error(text),
            other => {
                Raise::runtime_error(format!("{text} (an error of kind {other}, which this server does not know)"))
            }
        }
    }
}
