//! Which functions of the standard modules leave no marks, as long as the functions that they are given leave none.
//!
//! What is not named here may do anything. So may what runs a method that it is told by name (`methodcaller`), what
//! changes an argument, and what keeps something between two calls.

use std::collections::HashMap;
use std::rc::Rc;

use crate::values::effect::Effect;
use crate::values::value::Value;

/// Modules, with their functions that only look.
const LOOKS: &[(&str, &str)] = &[
    ("bisect", "bisect bisect_left bisect_right"),
    ("copy", "copy deepcopy"),
    ("functools", "reduce"),
    ("heapq", "nlargest nsmallest"),
    (
        "itertools",
        "accumulate batched combinations combinations_with_replacement compress count cycle dropwhile filterfalse \
         groupby islice pairwise permutations product repeat starmap takewhile zip_longest",
    ),
    ("json", "dumps loads"),
    (
        "math",
        "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist erf erfc exp exp2 \
         expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot isclose isfinite isinf isnan isqrt lcm ldexp \
         lgamma log log10 log1p log2 modf nextafter perm pow prod radians remainder sin sinh sqrt tan tanh trunc \
         ulp",
    ),
    (
        "operator",
        "abs add and_ concat contains countOf eq floordiv ge getitem gt index inv invert is_ is_not itemgetter le \
         length_hint lshift lt matmul mod mul ne neg not_ or_ pos pow rshift sub truediv truth xor",
    ),
    (
        "statistics",
        "correlation covariance fmean geometric_mean mean median median_high median_low mode multimode pstdev \
         pvariance quantiles stdev variance",
    ),
    ("re", "compile escape findall fullmatch match search split sub subn"),
    ("string", "capwords"),
];

/// Marks the members of a module that was just made.
pub(super) fn declare(module: &str, members: &HashMap<Rc<str>, Value>) {
    let looks = LOOKS.iter().find(|(known, _)| *known == module).map_or("", |(_, names)| names);
    for name in looks.split_whitespace() {
        match members.get(name) {
            Some(Value::Native(native)) => native.declare(Effect::Looks),
            Some(Value::Function(function)) => function.declare(Effect::Looks),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::effect::Use;
    use crate::values::machine::{Environment, Machine};

    struct Nothing;

    impl Environment for Nothing {}

    fn effect(module: &str, name: &str) -> Effect {
        let machine = Machine::new(&program::Limits::default(), std::rc::Rc::new(Nothing));
        let module = super::super::import(&machine, module).unwrap().unwrap();
        let Value::Host(module) = module else { panic!("a module is a host object") };
        module.effect(&machine, name, Use::Read)
    }

    #[test]
    fn every_function_that_is_named_is_one() {
        for (module, names) in LOOKS {
            for name in names.split_whitespace() {
                assert_eq!(effect(module, name), Effect::Looks, "{module}.{name}");
            }
        }
    }

    #[test]
    fn what_changes_an_argument_or_runs_a_method_by_name_may_do_anything() {
        let names = [
            ("heapq", "heappush"),
            ("bisect", "insort"),
            ("operator", "setitem"),
            ("operator", "iadd"),
            ("operator", "methodcaller"),
            ("operator", "attrgetter"),
            ("operator", "call"),
            ("functools", "partial"),
            ("functools", "lru_cache"),
            ("itertools", "tee"),
            ("warnings", "warn"),
            ("math", "no_such_function"),
        ];
        for (module, name) in names {
            assert_eq!(effect(module, name), Effect::Anything, "{module}.{name}");
        }
    }
}
