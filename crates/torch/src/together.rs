//! Backward passes that jobs ask for at one moment.
//!
//! Each has a graph of its own. They are walked at once, so that products with weights which were one in the forward pass
//! are one here, too. Everything else belongs to the job that it is computed for, and is paid by it.

use std::cell::RefCell;
use std::rc::Rc;

use interpreter::Value;
use interpreter::raise::Raise;
use libtorch::account::{self, Pays};
use libtorch::{Failure, ffi, foreign};

use crate::autograd::{Aim, Asked, NESTED};
use crate::job::{Job, Payer, Paying};
use crate::raising::Raising;
use crate::tensor::Tensor;

/// Answers all, those of different jobs together. None of them takes long.
pub fn walk(all: Vec<Asked>) -> Vec<Result<Value, Raise>> {
    let mut answers: Vec<Option<Result<Value, Raise>>> = all.iter().map(|_| None).collect();
    for retain in [false, true] {
        let places = company(&all, retain);
        if places.len() < 2 {
            continue;
        }
        let members: Vec<&Asked> = places.iter().filter_map(|&place| all.get(place)).collect();
        for (place, answer) in places.iter().zip(walk_as_one(&members, retain)) {
            if let Some(slot) = answers.get_mut(*place) {
                *slot = answer.map(|walked| walked.map(|()| Value::None));
            }
        }
    }
    all.into_iter().zip(answers).map(|(asked, answer)| answer.unwrap_or_else(|| asked.walk(false))).collect()
}

/// Lists those that can be walked together, one of each job: a hook must see all of what comes to its tensor, and that of
/// one walk only.
fn company(all: &[Asked], retain: bool) -> Vec<usize> {
    let mut jobs: Vec<Rc<Job>> = Vec::new();
    let mut places = Vec::new();
    for (place, asked) in all.iter().enumerate() {
        let job = Job::of(&asked.machine);
        let plain = asked.aim == Aim::Accumulate && asked.inputs.is_empty() && !asked.options.create_graph;
        let fits = plain
            && !job.regrets()
            && asked.options.retain_graph == retain
            && asked.outputs.iter().all(Tensor::requires_grad);
        if fits && !jobs.iter().any(|known| Rc::ptr_eq(known, &job)) {
            jobs.push(job);
            places.push(place);
        }
    }
    places
}

/// Walks the graphs of several jobs. `None` says that one of them has to be walked by itself.
fn walk_as_one(members: &[&Asked], retain: bool) -> Vec<Option<Result<(), Raise>>> {
    let jobs: Vec<Rc<Job>> = members.iter().map(|asked| Job::of(&asked.machine)).collect();
    let Ok(_walking) = jobs.iter().map(|job| job.walk(true, NESTED)).collect::<Result<Vec<_>, _>>() else {
        return members.iter().map(|_| None).collect();
    };
    // Hooks run inside libtorch's walk, which keeps by thread how deep and where it is.
    let _held: Vec<_> = members.iter().map(|asked| asked.machine.hold()).collect();
    let payers: Vec<Payer> =
        members.iter().zip(&jobs).map(|(asked, job)| Payer::sharing(&asked.machine, job)).collect();
    let _unpaid = Paying::nobody();
    let walkers = Walkers::enter(payers.clone());

    let (mut outputs, mut seeds, mut owner) = (Vec::new(), Vec::new(), Vec::new());
    for (own, asked) in members.iter().enumerate() {
        for (output, seed) in asked.outputs.iter().zip(&asked.seeds) {
            outputs.push(output.as_ptr());
            seeds.push(seed.as_ref().map_or(std::ptr::null(), Tensor::as_ptr));
            owner.push(own);
        }
    }
    let mut walked = vec![false; members.len()];
    let mut failure = Failure::none();
    // SAFETY: the first three arrays have as many elements, of live tensors or null, as the first count says, and the last
    // as many as the second.
    let done = unsafe {
        ffi::vt_backward_together(
            outputs.as_ptr(),
            seeds.as_ptr(),
            owner.as_ptr(),
            outputs.len(),
            members.len(),
            retain,
            pays,
            walked.as_mut_ptr(),
            failure.out(),
        )
    };
    drop(walkers);
    foreign::go_on();
    if done {
        let answer = |(walked, payer): (bool, &Payer)| walked.then(|| payer.refusal().map_or(Ok(()), Err));
        return walked.into_iter().zip(&payers).map(answer).collect();
    }
    // Nobody can tell whose fault it was, nor walk again what hooks have seen: each begins again, by itself.
    let text = failure.raise().message().to_string();
    let begin_again = |(walked, job): (bool, &Rc<Job>)| {
        walked.then(|| {
            job.regret();
            Err(Raise::runtime_error(text.as_str()))
        })
    };
    walked.into_iter().zip(&jobs).map(begin_again).collect()
}

thread_local! {
    static WALKERS: RefCell<Vec<Payer>> = const { RefCell::new(Vec::new()) };
}

/// Those whose graphs are walked at once, until it is dropped.
struct Walkers;

impl Walkers {
    fn enter(payers: Vec<Payer>) -> Self {
        WALKERS.set(payers);
        Self
    }
}

impl Drop for Walkers {
    fn drop(&mut self) {
        WALKERS.take();
    }
}

/// Has one of those that walk pay from now on.
extern "C" fn pays(owner: usize) {
    foreign::called((), || {
        let payer = WALKERS.with_borrow(|all| all.get(owner).cloned());
        drop(account::install(payer.map(|payer| Rc::new(payer) as Rc<dyn Pays>)));
    });
}

#[cfg(test)]
mod tests {
    use interpreter::{Environment, Machine};
    use program::Limits;
    use tch::{Device, Kind};

    use super::*;
    use crate::autograd::Options;
    use kernels::Moment;
    use kernels::Weight;
    use kernels::{Kernels, Products, Rows};

    struct Host;

    impl Environment for Host {
        fn import(&self, _: &Machine, _: &str) -> Option<Value> {
            None
        }
    }

    /// A job that has multiplied some rows by a weight, and asks for gradients of the sum of what came of it.
    struct Asking {
        input: Tensor,
        asked: Option<Asked>,
    }

    fn asking(rows: i64, products: &Products, weight: &Rc<Weight>, moment: Moment, limit: u64) -> Asking {
        let machine = Machine::new(&Limits { tensor_bytes: limit, ..Limits::default() }, Rc::new(Host));
        let input = tch::Tensor::ones([rows, weight.size()[1]], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let product = tch::no_grad(|| products.linear(&input.detach(), weight, None)).unwrap();
        let loss = products.record(&input, weight, &product, moment).unwrap().sum(Kind::Float);
        let asked = Asked {
            machine,
            outputs: vec![Tensor::new(loss)],
            seeds: vec![Some(Tensor::new(tch::Tensor::from(1.0_f32)))],
            inputs: Vec::new(),
            options: Options::default(),
            aim: Aim::Accumulate,
        };
        Asking { input: Tensor::new(input), asked: Some(asked) }
    }

    fn gradient(asking: &Asking) -> Vec<f32> {
        Vec::try_from(asking.input.grad().unwrap().unwrap().tch().flatten(0, -1)).unwrap()
    }

    fn weight() -> Rc<Weight> {
        Rc::new(Weight::new(&tch::Tensor::full([5, 4], 2.0, (Kind::Float, Device::Cpu))).unwrap())
    }

    const PLENTY: u64 = 1 << 20;

    #[test]
    fn products_of_one_moment_have_their_gradients_in_one_product() {
        let (weight, kernels, moment) = (weight(), Rc::new(Kernels::default()), Moment::new());
        let products = Products::new(&kernels, Rows::Rounded);
        let mut all = [3, 6, 2].map(|rows| asking(rows, &products, &weight, moment, PLENTY));
        let known = kernels.sizes([4, 5]);
        let answers = walk(all.iter_mut().filter_map(|one| one.asked.take()).collect());
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!((known, kernels.sizes([4, 5])), (vec![], vec![12]), "of all eleven rows");
        for one in &all {
            assert!(gradient(one).iter().all(|&number| number == 10.0));
        }
    }

    #[test]
    fn who_is_refused_memory_is_told_and_nobody_else() {
        let (weight, moment) = (weight(), Moment::new());
        let products = Products::default();
        let mut poor = asking(3, &products, &weight, moment, 16);
        let mut rich = asking(6, &products, &weight, moment, PLENTY);
        let machine = rich.asked.as_ref().unwrap().machine.clone();
        let answers = walk(vec![poor.asked.take().unwrap(), rich.asked.take().unwrap()]);
        assert!(answers[0].as_ref().unwrap_err().message().contains("memory for tensors"));
        assert!(answers[1].is_ok());
        assert_eq!(gradient(&rich), [10.0; 24]);
        assert!(machine.tensor_bytes() >= 24 * 4, "it pays for its own: {}", machine.tensor_bytes());
    }
}
