//! What it costs to multiply by matrices in few bits, beside the same matrices as floats, in one run; and what each takes.
//! A line of JSON for each type and number of rows.
//!
//!     cargo bench -p benches --bench quantized [-- ROUNDS]

use std::rc::Rc;
use std::time::{Duration, Instant};

use kernels::{Coded, Coding, Kernels, Products, Quantized, Rows, Scales, Scheme, Weight};
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// The matrices of a layer such as Llama 3.2's with a billion parameters: query, key, value, output, gate, up, down.
const LAYER: [[i64; 2]; 7] =
    [[2048, 2048], [512, 2048], [512, 2048], [2048, 2048], [8192, 2048], [8192, 2048], [2048, 8192]];
const ROWS: [i64; 4] = [1, 16, 64, 256];

/// Makes a weight of a size.
type Make<'a> = &'a dyn Fn([i64; 2]) -> Weight;

fn main() {
    let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let rounds: usize = given.unwrap_or(15);
    torch::prepare();
    for kind in [Kind::Float, Kind::BFloat16] {
        let name = if kind == Kind::Float { "float32" } else { "bfloat16" };
        let forms: [(&str, Make); 4] = [
            (name, &|size| Weight::new(&random(&size, kind)).unwrap()),
            ("int8", &|size| quantized(size, Scheme::Int8, kind)),
            ("fp8", &|size| float8(size, kind)),
            ("nf4", &|size| quantized(size, Scheme::Nf4, kind)),
        ];
        // All are there at once, and take turns, so that they meet the same machine.
        let layers: Vec<Vec<Rc<Weight>>> =
            forms.iter().map(|(_, make)| LAYER.iter().map(|size| Rc::new(make(*size))).collect()).collect();
        let numbers: i64 = LAYER.iter().map(|[outputs, inputs]| outputs * inputs).sum();
        let element = if kind == Kind::Float { 4 } else { 2 };
        let bytes: Vec<u64> = layers
            .iter()
            .map(|layer| match layer.iter().map(|weight| weight.bytes_in_few_bits()).sum() {
                0 => element * numbers.unsigned_abs(),
                few => few,
            })
            .collect();
        for rows in ROWS {
            for backward in [false, true] {
                let products = Products::new(&Rc::new(Kernels::default()), Rows::Rounded);
                let inputs: Vec<Tensor> = LAYER.iter().map(|[_, inputs]| random(&[rows, *inputs], kind)).collect();
                let mut times = vec![Duration::MAX; forms.len()];
                for _ in 0..rounds {
                    for (layer, time) in layers.iter().zip(&mut times) {
                        *time = (*time).min(once(&products, layer, &inputs, backward));
                    }
                }
                for (at, (form, _)) in forms.iter().enumerate() {
                    let line = json!({
                        "computed_in": name, "weights": form, "rows": rows, "gradient": backward,
                        "micros": times[at].as_secs_f64() * 1e6,
                        "times_as_long": times[at].as_secs_f64() / times[0].as_secs_f64(),
                        "bytes": bytes[at], "share": bytes[at] as f64 / bytes[0] as f64,
                    });
                    println!("{line}");
                }
            }
        }
    }
}

/// Times a layer's products, or their gradients.
fn once(products: &Products, layer: &[Rc<Weight>], inputs: &[Tensor], backward: bool) -> Duration {
    let begun = Instant::now();
    if !backward {
        for (weight, input) in layer.iter().zip(inputs) {
            drop(products.linear(input, weight, None).unwrap());
        }
        return begun.elapsed();
    }
    let mut spent = Duration::ZERO;
    for (weight, input) in layer.iter().zip(inputs) {
        let input = input.detach().set_requires_grad(true);
        let product = products.linear(&input, weight, None).unwrap();
        let gradient = product.ones_like();
        let begun = Instant::now();
        drop(Tensor::run_backward(&[(&product * gradient).sum(product.kind())], &[&input], false, false));
        spent += begun.elapsed();
    }
    spent
}

fn random(size: &[i64], kind: Kind) -> Tensor {
    (Tensor::randn(size, (Kind::Float, Device::Cpu)) * 0.02).to_kind(kind)
}

fn quantized(size: [i64; 2], scheme: Scheme, kind: Kind) -> Weight {
    let whole = random(&size, Kind::Float);
    let coded = scheme.quantize(size, Device::Cpu, |first, count| whole.f_narrow(0, first, count));
    Weight::quantized(Quantized::new(vec![coded.unwrap()], kind).unwrap())
}

fn float8(size: [i64; 2], kind: Kind) -> Weight {
    let codes = Tensor::randint(120, [size[0] * size[1]], (Kind::Uint8, Device::Cpu));
    let scales = Scales::Each(Tensor::full([size[0]], 1e-4, (Kind::Float, Device::Cpu)));
    let coded = Coded::new(size, Coding::Float8, &codes, (scales, size[1]), Kind::Float).unwrap();
    Weight::quantized(Quantized::new(vec![coded], kind).unwrap())
}
