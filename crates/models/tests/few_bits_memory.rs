//! What a model in few bits takes of the machine, at most: what is told before it is loaded. Alone in its process, whose memory
//! it measures.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use engine::{Arithmetic, Layout, Segment};
use models::{DType, Device};
use serde_json::{Map, Value as Json, json};
use tch::Tensor;

const WIDTH: usize = 512;
const INNER: usize = 1536;
const LAYERS: usize = 8;

/// Writes a Llama of random numbers, one tensor at a time.
fn write(folder: &Path, layers: usize) {
    let settings = json!({
        "model_type": "llama", "vocab_size": 256, "hidden_size": WIDTH, "intermediate_size": INNER,
        "num_hidden_layers": layers, "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 512,
        "tie_word_embeddings": false, "dtype": "float32",
    });
    std::fs::write(folder.join("config.json"), settings.to_string()).unwrap();
    let model = json!({"type": "BPE", "vocab": {"a": 0}, "merges": []});
    std::fs::write(folder.join("tokenizer.json"), json!({"version": "1.0", "model": model}).to_string()).unwrap();
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![256, WIDTH])];
    for layer in 0..layers {
        let mut add =
            |name: &str, shape: &[usize]| shapes.push((format!("model.layers.{layer}.{name}.weight"), shape.to_vec()));
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            add(&format!("self_attn.{name}"), &[WIDTH, WIDTH]);
        }
        add("mlp.gate_proj", &[INNER, WIDTH]);
        add("mlp.up_proj", &[INNER, WIDTH]);
        add("mlp.down_proj", &[WIDTH, INNER]);
        add("input_layernorm", &[WIDTH]);
        add("post_attention_layernorm", &[WIDTH]);
    }
    shapes.extend([("model.norm.weight".into(), vec![WIDTH]), ("lm_head.weight".into(), vec![256, WIDTH])]);
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in &shapes {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}));
    }
    let header = Json::Object(header).to_string();
    let mut file = BufWriter::new(File::create(folder.join("model.safetensors")).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..end / 4 {
        file.write_all(&((random.f32() - 0.5) / 10.0).to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

/// Reads a line of what the system says of this process, in bytes.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_model_in_few_bits_never_takes_more_than_is_told() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), LAYERS);
    let ids = |length: i64| torch::Tensor::new(Tensor::zeros([1, length], (tch::Kind::Int64, tch::Device::Cpu)));
    let pass = |model: &models::Transformer, length: i64| {
        let mut segments = [Segment::new(1, length, ids(length))];
        let forwarded = model.forward(&mut segments, &mut Nobody);
        assert!(forwarded.is_ok());
    };
    // What a process takes once, whatever it loads: libraries are read when something of theirs is first called.
    let small = tempfile::tempdir().unwrap();
    write(small.path(), 1);
    for dtype in [DType::Nf4, DType::Int8] {
        let model = models::load(small.path(), Some(dtype), Device::CPU, &mut |_, _| {}).unwrap();
        pass(&model, 64);
        pass(&model, 1);
    }
    let needs = models::needs(folder.path()).unwrap();
    for dtype in [DType::Nf4, DType::Int8] {
        libtorch::cuda::release_memory(false);
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS");
        let model = models::load(folder.path(), Some(dtype), Device::CPU, &mut |_, _| {}).unwrap();
        pass(&model, 64);
        pass(&model, 1);
        // What passes take is told by itself.
        let passes = model.pass_bytes(1, 64, 64, engine::Attention::Sdpa);
        let (peak, told) = (status("VmHWM") - before, needs.on_device(dtype, true) + passes);
        println!(
            "{dtype}: {peak} bytes at most, {told} told, {} of weights, {passes} of a pass",
            needs.weights_on_cpu(dtype)
        );
        assert!(peak <= told, "{dtype}: {peak} bytes at most, {told} told");
        assert!(told < needs.on_device(DType::Float32, true) / 2 + passes, "{dtype}: {told}");
    }
}

/// Looks at nothing.
struct Nobody;

impl engine::Observer<torch::Tensor> for Nobody {
    fn wants(&self, _: engine::Site, _: engine::SegmentIndex) -> engine::Wants {
        engine::Wants::default()
    }

    fn enter(
        &mut self,
        _: engine::Site,
        inputs: engine::Inputs<engine::Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<engine::Entered<torch::Tensor>, engine::Interrupt> {
        Ok(engine::Entered { inputs, skipped: None })
    }

    fn exit(
        &mut self,
        _: engine::Site,
        output: engine::Tree<engine::Packed<torch::Tensor>>,
        _: &Layout,
    ) -> Result<engine::Tree<engine::Packed<torch::Tensor>>, engine::Interrupt> {
        Ok(output)
    }
}
