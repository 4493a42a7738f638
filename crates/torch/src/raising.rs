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
        let text = named(self.text);
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

/// Words a message as PyTorch's Python does: `torch.FloatTensor` for `CPUFloatType`.
fn named(text: String) -> String {
    const UNUSED: &str = "of the differentiated Tensors appears to not have been used";
    if let Some((_, rest)) = text.split_once(UNUSED).filter(|(before, _)| before.starts_with("element ")) {
        return format!("One {UNUSED}{rest}");
    }
    const DEVICES: [(&str, &str); 2] = [("CPU", "torch."), ("CUDA", "torch.cuda.")];
    const TYPES: [&str; 8] = ["Byte", "Char", "Double", "Float", "Int", "Long", "Short", "Half"];
    if !DEVICES.iter().any(|(device, _)| text.contains(device)) {
        return text;
    }
    let mut named = text;
    for (device, module) in DEVICES {
        for of in TYPES {
            named = named.replace(&format!("{device}{of}Type"), &format!("{module}{of}Tensor"));
        }
    }
    named
}
