//! What it costs that ranks hold a model's weights in pieces: on this machine's CPU, with threads as ranks, beside the same
//! matrices in one piece on as many cores.
//!
//!     cargo bench -p benches --bench sharding [-- RANKS]

use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use collectives::{Group, Memory};
use kernels::{Along, Apart, Asked, Block, Cut, Keep, Kernels, NotDone, Products, Ranks, Rows, Weight};
use tch::{Device, Kind, TchError, Tensor};

/// The matrices of a layer such as Llama's with 160 million parameters: query, key, value, output, gate, up, down.
const LAYER: [[i64; 2]; 7] = [[768, 768], [768, 768], [768, 768], [768, 768], [2048, 768], [2048, 768], [768, 2048]];

fn main() {
    let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let ranks: usize = given.unwrap_or(2);
    torch::prepare();
    round_trips(ranks);
    layers(ranks);
}

/// Bytes to all ranks and as many back from each.
fn round_trips(ranks: usize) {
    for bytes in [64_usize, 4 << 10, 16 << 10, 256 << 10] {
        let mut group = Memory::threads(ranks).unwrap().into_iter();
        let leader = group.next().unwrap();
        let others: Vec<_> = group
            .map(|rank| {
                std::thread::spawn(move || {
                    let mut own = vec![0; bytes];
                    while rank.receive(0, &mut own, None).is_ok() && rank.send(&own, None).is_ok() {}
                })
            })
            .collect();
        let (mut own, mut times) = (vec![1; bytes], Vec::new());
        for _ in 0..3000 {
            let begun = Instant::now();
            leader.send(&own, None).unwrap();
            (1..ranks).for_each(|rank| leader.receive(rank, &mut own, None).unwrap());
            times.push(begun.elapsed());
        }
        leader.abort("it is over");
        others.into_iter().for_each(|other| other.join().unwrap());
        times.sort_unstable();
        let micros = |at: usize| times[at].as_secs_f64() * 1e6;
        println!(
            "{bytes:>7} bytes to {} other ranks and back: {:.1} µs at best, {:.1} µs at the median",
            ranks - 1,
            micros(0),
            micros(times.len() / 2)
        );
    }
}

struct Failed;

impl From<TchError> for Failed {
    fn from(_: TchError) -> Self {
        Self
    }
}

impl From<NotDone> for Failed {
    fn from(_: NotDone) -> Self {
        Self
    }
}

fn random(size: &[i64]) -> Tensor {
    Tensor::randn(size, (Kind::Float, Device::Cpu))
}

fn layers(ranks: usize) {
    let cores = tch::get_num_threads();
    let whole: Vec<Weight> = LAYER.iter().map(|size| Weight::new(&random(size)).unwrap()).collect();
    let kernels = Kernels::default();
    let alone = timed(&kernels, &whole);
    // Each rank has its share of the cores, as processes would.
    tch::set_num_threads((cores / i32::try_from(ranks).unwrap()).max(1));
    let mut group = Memory::threads(ranks).unwrap().into_iter();
    let leader = Rc::new(Ranks::new(Box::new(group.next().unwrap()), Box::new(|why| panic!("{why}"))));
    for rank in group {
        let threads = tch::get_num_threads();
        std::thread::spawn(move || {
            tch::set_num_threads(threads);
            let mut load = |asked: &Asked<'_>| {
                let [outputs, inputs, along] = read(asked.request);
                let own = asked.own.end - asked.own.start;
                Ok(random(&if along == 0 { [own, inputs] } else { [outputs, own] }).into())
            };
            kernels::follow(&rank, tch::Device::Cpu, &mut load, &|_, input| input.f_silu())
        });
    }
    // The last one is cut by its inputs, as in models.
    let load = |&size: &[i64; 2]| {
        let along = if size == LAYER[6] { Along::Inputs } else { Along::Outputs };
        let cut = Cut::new(size, along, ranks).unwrap();
        let request = [size[0], size[1], i64::from(along == Along::Inputs)].map(i64::to_le_bytes).concat();
        let own = |_: Range<i64>| Ok::<_, Failed>(random(&cut.piece(0)).into());
        let pieces = Apart::load(&leader, cut, Keep::Packed, &request, own);
        Weight::apart(pieces.unwrap_or_else(|Failed| panic!("a matrix was not loaded")))
    };
    let apart: Vec<Weight> = LAYER.iter().map(load).collect();
    let together = timed(&Kernels::default(), &apart);
    for ((tokens, alone), (_, together)) in alone.into_iter().zip(together) {
        println!(
            "the matrices of a layer by {tokens:>3} rows: {:.0} µs in one piece on {cores} cores, {:.0} µs on {ranks} ranks, \
             {:.2} times as long, {:+.0} µs a matrix",
            micros(alone),
            micros(together),
            together.as_secs_f64() / alone.as_secs_f64(),
            (micros(together) - micros(alone)) / LAYER.len() as f64
        );
    }
    let [.., gate, up, down] = apart.as_slice() else { panic!("a layer has seven matrices") };
    let block = Block { gate: (gate, None), up: Some((up, None)), down: (down, None), function: 0 };
    let kernels = Kernels::default();
    for rows in [1, 16, 128, 256] {
        let (products, input) = (Products::new(&Rc::default(), Rows::Rounded), random(&[rows, 768]));
        let apply = |_, input: &Tensor| input.f_silu();
        let once = || products.feed(&input, &block, &apply).unwrap().unwrap();
        let linear = |input: &Tensor, weight| kernels.linear(input, weight, None, Rows::Rounded).unwrap().0;
        let in_turn = || linear(&(linear(&input, gate).silu() * linear(&input, up)), down);
        let (one, three) = (shortest(|| drop(once())), shortest(|| drop(in_turn())));
        println!(
            "a feed-forward block of {rows:>3} rows on {ranks} ranks: {:.0} µs as one order, {:.0} µs as three",
            micros(one),
            micros(three)
        );
    }
    kernels::keep_copies(0);
    for (weight, size) in apart.iter().zip(LAYER).skip(5) {
        let begun = Instant::now();
        drop(weight.dense().unwrap());
        let whole = begun.elapsed();
        let begun = Instant::now();
        drop(weight.rows(size[0] - 1, 1).unwrap());
        println!(
            "looking at a weight {size:?}: {:.0} µs for all of it, {:.0} µs for its last row, with its piece unpacked",
            micros(whole),
            micros(begun.elapsed())
        );
    }
}

/// The shortest times of a layer's products, by the number of rows.
fn timed(kernels: &Kernels, layer: &[Weight]) -> Vec<(i64, Duration)> {
    let time = |rows: i64| {
        let inputs: Vec<Tensor> = layer.iter().map(|weight| random(&[rows, weight.size()[1]])).collect();
        let once = || {
            for (weight, input) in layer.iter().zip(&inputs) {
                drop(kernels.linear(input, weight, None, Rows::Rounded).unwrap());
            }
        };
        (rows, shortest(once))
    };
    [1, 16, 128, 256].map(time).into()
}

/// The shortest of many times.
fn shortest(once: impl Fn()) -> Duration {
    let time = |_| {
        let begun = Instant::now();
        once();
        begun.elapsed()
    };
    (0..30).map(time).min().unwrap()
}

fn read(request: &[u8]) -> [i64; 3] {
    let numbers: Vec<i64> = request.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
    numbers.try_into().unwrap()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
