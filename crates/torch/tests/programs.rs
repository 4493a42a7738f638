//! Programs that use what PyTorch and NumPy write in Python: what they print here is what they print in Python, to the last
//! bit unless they round, tracebacks apart.

mod common;

use common::{check, here};
use program::Limits;

#[test]
fn training_gives_the_bits_that_pytorch_gives() {
    check(include_str!("programs/training.py"));
}

#[test]
fn layers_give_what_pytorch_gives() {
    check(include_str!("programs/layers.py"));
}

#[test]
fn distributions_are_pytorchs_own() {
    check(include_str!("programs/distributions.py"));
}

#[test]
fn functions_of_functions_and_other_functions_give_what_pytorch_gives() {
    check(include_str!("programs/transforms.py"));
}

#[test]
fn arrays_give_what_numpy_gives() {
    check(include_str!("programs/numbers.py"));
}

#[test]
fn values_of_every_kind_print_as_in_python() {
    check(include_str!("programs/probes.py"));
}

#[test]
fn features_that_meet_give_what_python_gives() {
    check(include_str!("programs/combinations.py"));
}

#[test]
fn a_class_that_derives_from_a_container_is_told_what_to_write_instead() {
    for container in ["Sequential", "ModuleList", "ModuleDict"] {
        let printed = here(&format!("from torch import nn\nclass Own(nn.{container}): pass"), &Limits::default());
        let refusal = format!(
            "TypeError: class Own: deriving from torch.nn.{container} is not supported by this server: derive from \
             torch.nn.Module, and keep one in an attribute\n"
        );
        assert_eq!(printed, refusal);
    }
}
