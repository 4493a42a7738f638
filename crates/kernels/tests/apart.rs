//! Matrices in pieces are the whole ones, whatever is done with them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::rc::Rc;
use std::thread::JoinHandle;

use collectives::{Alarm, Lost, Memory};
use kernels::{Along, Apart, Cut, Keep, Kernels, NotDone, Products, Ranks, Rows, Weight};
use tch::{Device, Kind, TchError, Tensor};

/// Ranks in threads, each of which makes the matrices that it is asked to load by itself.
struct Group {
    ranks: Rc<Ranks>,
    alarm: Alarm,
    followers: Vec<JoinHandle<Result<(), Lost>>>,
}

impl Group {
    fn new(count: usize) -> Self {
        let mut group = Memory::threads(count).unwrap().into_iter();
        let leader = group.next().unwrap();
        let alarm = leader.alarm();
        let followers = group.map(|rank| {
            std::thread::spawn(move || {
                let mut load = |asked: &kernels::Asked<'_>| {
                    let [.., along] = read(asked.request);
                    let whole = made(asked.request);
                    Ok(whole.narrow(along, asked.own.start, asked.own.end - asked.own.start).into())
                };
                kernels::follow(&rank, Device::Cpu, &mut load, &apply)
            })
        });
        let followers = followers.collect();
        Self { ranks: Rc::new(Ranks::new(Box::new(leader), Box::new(|_| {}))), alarm, followers }
    }

    fn load(&self, request: [i64; 5], keep: Keep) -> Weight {
        let request: Vec<u8> = request.iter().flat_map(|number| number.to_le_bytes()).collect();
        let [outputs, inputs, .., along] = read(&request);
        let side = if along == 0 { Along::Outputs } else { Along::Inputs };
        let cut = Cut::new([outputs, inputs], side, self.ranks.count()).unwrap();
        let own = |own: std::ops::Range<i64>| {
            Ok::<_, Failed>(made(&request).narrow(along, own.start, own.end - own.start).into())
        };
        Weight::apart(Apart::load(&self.ranks, cut, keep, &request, own).unwrap_or_else(|Failed(why)| panic!("{why}")))
    }

    /// Ends it; no follower may have failed.
    fn end(self) {
        drop(self.ranks);
        self.followers.into_iter().for_each(|follower| follower.join().unwrap().unwrap());
    }
}

struct Failed(String);

impl From<TchError> for Failed {
    fn from(error: TchError) -> Self {
        Self(error.to_string())
    }
}

impl From<NotDone> for Failed {
    fn from(not: NotDone) -> Self {
        Self(not.to_string())
    }
}

/// Functions of elements that come to the same bits wherever an element lies.
fn apply(function: i64, input: &Tensor) -> Result<Tensor, TchError> {
    if function == 1 { input.f_relu() } else { input.f_tanh() }
}

/// Reads a request: sides, seed, kind, and the side that is cut.
fn read(request: &[u8]) -> [i64; 5] {
    let numbers: Vec<i64> = request.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
    numbers.try_into().unwrap()
}

/// Makes the matrix that a request means: numbers that no thread's generator decides.
fn made(request: &[u8]) -> Tensor {
    let [outputs, inputs, seed, kind, _] = read(request);
    let numbers = (Tensor::arange(outputs * inputs, (Kind::Double, Device::Cpu)) * 0.7 + seed as f64).sin();
    numbers.view([outputs, inputs]).to_kind(KINDS[usize::try_from(kind).unwrap()])
}

const KINDS: [Kind; 3] = [Kind::Float, Kind::BFloat16, Kind::Double];

/// Terms of the longest sum here, each up to one: what it comes to on the way is about as large as their root.
const TERMS: f64 = 300.0;

/// How far two orders of one addition may be from each other, in halves of the last place of the largest number on the way:
/// halves of sixteen bits are rounded once more where pieces meet.
fn tolerance(kind: Kind) -> f64 {
    match kind {
        Kind::BFloat16 => 8.0 * 2f64.powi(-9),
        Kind::Float => 64.0 * 2f64.powi(-24),
        _ => 64.0 * 2f64.powi(-53),
    }
}

fn close(found: &Tensor, expected: &Tensor, context: &str) {
    assert_eq!((found.size(), found.kind()), (expected.size(), expected.kind()), "{context}");
    let largest = |of: Tensor| if of.numel() == 0 { 0.0 } else { of.abs().max().double_value(&[]) };
    let allowed = tolerance(expected.kind()) * largest(expected.to_kind(Kind::Double)).max(TERMS.sqrt());
    let difference = largest(found.to_kind(Kind::Double) - expected.to_kind(Kind::Double));
    assert!(difference <= allowed, "{context}: {difference} is more than {allowed}");
}

fn random(size: &[i64], kind: Kind) -> Tensor {
    Tensor::rand(size, (Kind::Float, Device::Cpu)).to_kind(kind)
}

#[test]
fn products_and_gradients_are_those_of_the_whole() {
    tch::manual_seed(1);
    for ranks in [2, 3, 4] {
        let group = Group::new(ranks);
        for (number, kind) in (0..).zip(KINDS) {
            // What divides evenly, what does not, and fewer rows than vectors have.
            for [outputs, inputs] in [[96, 64], [101, 37], [5, 300]] {
                for along in [0, 1] {
                    let request = [outputs, inputs, 3, number, along];
                    let apart = Rc::new(group.load(request, Keep::Packed));
                    let bytes: Vec<u8> = request.iter().flat_map(|number| number.to_le_bytes()).collect();
                    let whole = Rc::new(Weight::new(&made(&bytes)).unwrap());
                    assert_eq!((apart.size(), apart.kind(), apart.device()), ([outputs, inputs], kind, Device::Cpu));
                    let bias = random(&[outputs], kind);
                    apart.set_bias(&bias).unwrap();
                    for rule in [Rows::Own, Rows::Rounded, Rows::Fixed] {
                        let products = Products::new(&Rc::default(), rule);
                        for (rows, bias) in [(1, None), (1, Some(&bias)), (7, Some(&bias)), (70, None)] {
                            let context = format!("{ranks} ranks, {request:?}, {rule:?}, {rows}");
                            let input = random(&[2, rows, inputs], kind);
                            let [left, right] = [(); 2].map(|()| input.copy().set_requires_grad(true));
                            let found = products.linear(&left, &apart, bias).unwrap();
                            let expected = products.linear(&right, &whole, bias).unwrap();
                            close(&found, &expected, &context);
                            let pull = random(&[2, rows, outputs], kind);
                            (found * &pull).sum(Kind::Double).backward();
                            (expected * &pull).sum(Kind::Double).backward();
                            close(&left.grad(), &right.grad(), &context);
                        }
                    }
                }
            }
        }
        group.end();
    }
}

#[test]
fn rows_that_are_looked_at_are_the_wholes_own_bits() {
    for ranks in [2, 3, 4] {
        let group = Group::new(ranks);
        for keep in [Keep::Packed, Keep::Both, Keep::Plain] {
            for along in [0, 1] {
                let request = [41_i64, 24, 5, 0, along];
                let bytes: Vec<u8> = request.iter().flat_map(|number| number.to_le_bytes()).collect();
                let (apart, whole) = (group.load(request, keep), made(&bytes));
                assert_eq!(apart.dense().unwrap(), whole);
                for (first, count) in [(0, 1), (40, 1), (13, 1), (3, 30), (0, 41), (7, 0)] {
                    assert_eq!(apart.rows(first, count).unwrap(), whole.narrow(0, first, count));
                }
                assert!(apart.rows(40, 2).is_err() && apart.rows(-1, 1).is_err());
            }
            let request = [41_i64, 24, 5, 0, 0];
            let bytes: Vec<u8> = request.iter().flat_map(|number| number.to_le_bytes()).collect();
            let (table, whole) = (group.load(request, keep), made(&bytes));
            for ids in [vec![], vec![0_i64], vec![40, 40, 1], vec![5; 9], (0..41).rev().collect()] {
                let ids = Tensor::from_slice(&ids).view([-1, 1]);
                assert_eq!(table.select(&ids).unwrap(), Tensor::embedding(&whole, &ids, -1, false, false));
            }
            assert!(
                table.select(&Tensor::from_slice(&[41_i64])).unwrap_err().to_string().contains("index out of range")
            );
        }
        group.end();
    }
}

#[test]
fn a_row_has_the_same_bits_among_any_others_and_between_groups_of_one_size() {
    tch::manual_seed(2);
    let row = random(&[1, 64], Kind::Float);
    for ranks in [2, 3] {
        let mut found: Option<Tensor> = None;
        for _ in 0..2 {
            let (group, kernels) = (Group::new(ranks), Kernels::default());
            let weight = group.load([96, 64, 3, 0, 0], Keep::Packed);
            kernels.meet(&weight, false, 70).unwrap();
            for rows in [1, 3, 17, 65] {
                for at in [0, rows - 1] {
                    let all = (random(&[rows, 64], Kind::Float) * 1e30).index_put(
                        &[Some(Tensor::from(at))],
                        &row.squeeze(),
                        false,
                    );
                    let (product, class) = kernels.linear(&all, &weight, None, Rows::Fixed).unwrap();
                    let before = found.get_or_insert_with(|| product.get(at));
                    assert_eq!(*before, product.get(at), "row {at} of {rows}");
                    assert_eq!(class.unwrap() & 1, 0);
                }
            }
            drop(weight);
            group.end();
        }
    }
}

#[test]
fn a_feed_forward_block_in_one_order_has_the_bits_of_its_products_one_by_one() {
    tch::manual_seed(3);
    for ranks in [2, 3] {
        let group = Group::new(ranks);
        for (number, kind) in (0..).zip([Kind::Float, Kind::BFloat16]) {
            let load = |outputs: i64, inputs: i64, seed: i64, along: i64| {
                group.load([outputs, inputs, seed, number, along], Keep::Packed)
            };
            let (gate, up, down) = (load(101, 64, 1, 0), load(101, 64, 2, 0), load(48, 101, 3, 1));
            let biases = [101, 101, 48].map(|size| random(&[size], kind));
            for (weight, bias) in [&gate, &up, &down].into_iter().zip(&biases) {
                weight.set_bias(bias).unwrap();
            }
            let whole = load(48, 101, 3, 0);
            for rule in [Rows::Own, Rows::Rounded, Rows::Fixed] {
                for biased in [false, true] {
                    for two in [false, true] {
                        let bias = |at: usize| biased.then(|| &biases[at]);
                        let block = |down| kernels::Block {
                            gate: (&gate, bias(0)),
                            up: two.then(|| (&up, bias(1))),
                            down: (down, bias(2)),
                            function: 1,
                        };
                        for rows in [1, 7, 70] {
                            let input = random(&[2, rows, 64], kind);
                            let products = Products::new(&Rc::default(), rule);
                            let found = products.feed(&input, &block(&down), &apply).unwrap().unwrap();
                            let linear = |input: &Tensor, weight: &Weight, bias| {
                                let kernels = Kernels::default();
                                kernels.linear(input, weight, bias, rule).unwrap().0
                            };
                            let mut inner = linear(&input, &gate, bias(0)).relu();
                            if two {
                                inner *= linear(&input, &up, bias(1));
                            }
                            let expected = linear(&inner, &down, bias(2));
                            assert_eq!(found, expected, "{ranks} ranks, {kind:?}, {rule:?}, {biased}, {two}, {rows}");
                            // Cut in another way, it is computed product by product.
                            assert!(products.feed(&input, &block(&whole), &apply).unwrap().is_none());
                        }
                    }
                }
            }
        }
        group.end();
    }
}

#[test]
fn what_does_not_fit_is_refused_in_pytorchs_words_and_nothing_is_asked() {
    let group = Group::new(2);
    let weight = group.load([24, 16, 1, 0, 0], Keep::Packed);
    let kernels = Kernels::default();
    for (input, text) in [
        (Tensor::ones([2, 16], (Kind::Double, Device::Cpu)), "same dtype"),
        (Tensor::ones([2, 15], (Kind::Float, Device::Cpu)), "shapes cannot be multiplied (2x15 and 16x24)"),
    ] {
        let error = kernels.linear(&input, &weight, None, Rows::Rounded).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    let none = kernels.linear(&random(&[0, 16], Kind::Float), &weight, None, Rows::Rounded).unwrap().0;
    assert_eq!(none.size(), [0, 24]);
    assert_eq!(kernels.linear(&random(&[3, 16], Kind::Float), &weight, None, Rows::Rounded).unwrap().0.size(), [3, 24]);
    drop(weight);
    group.end();
}

#[test]
fn a_rank_that_is_lost_ends_whatever_is_asked_with_its_reason() {
    let group = Group::new(3);
    let weight = group.load([24, 16, 1, 0, 0], Keep::Packed);
    group.alarm.abort("rank 2 has ended (signal 9)");
    for _ in 0..2 {
        let error = weight.dense().unwrap_err().to_string();
        assert!(error.contains("rank 2 has ended (signal 9)") || error.contains("are gone"), "{error}");
    }
    drop(weight);
    drop(group.ranks);
    for follower in group.followers {
        assert!(matches!(follower.join().unwrap(), Err(Lost::Ended(_))));
    }
}

#[test]
fn a_piece_that_cannot_be_read_is_an_error_of_its_load_alone() {
    let mut group = Memory::threads(2).unwrap().into_iter();
    let (leader, other) = (group.next().unwrap(), group.next().unwrap());
    let follower = std::thread::spawn(move || {
        kernels::follow(&other, Device::Cpu, &mut |_| Err("the file is gone".into()), &apply).map_err(drop)
    });
    let ranks = Rc::new(Ranks::new(Box::new(leader), Box::new(|why| panic!("{why}"))));
    let cut = Cut::new([4, 4], Along::Outputs, 2).unwrap();
    let own = |_| Ok::<_, Failed>(Tensor::zeros([2, 4], (Kind::Float, Device::Cpu)).into());
    for _ in 0..2 {
        let Err(Failed(why)) = Apart::load(&ranks, cut, Keep::Packed, &[], own) else { panic!("it was loaded") };
        assert_eq!(why, "rank 1: the file is gone");
    }
    drop(ranks);
    follower.join().unwrap().unwrap();
}
