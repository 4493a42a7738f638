"""Weights in few bits, by plain torch: what the codes of each form are, what they stand for, and how files have them.

A form is how `dtype=` brings floats into few bits (`int8`, `nf4`), or how files have them already: bitsandbytes' (`bnb-…`) and
compressed-tensors' (`ct-…`).
"""
import json
import re

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

NF4 = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])  # fmt: skip
BLOCK = 64


def dequantized(folder, form):
    """Brings a saved model's matrices into few bits, and returns the model of what they stand for.

    The folder is left as it is to be loaded: of a form that `dtype=` asks for, with its floats.
    """
    tensors, plain, codes = load_file(folder / "model.safetensors"), {}, {}
    for name, tensor in tensors.items():
        if not is_matrix(name, tensor):
            plain[name] = codes[name] = tensor
            continue
        # Conv1D's lie [in, out], and so do gpt_oss' experts.
        turned = ".h." in name or name.endswith(("gate_up_proj", "down_proj"))
        turned = turned and (tensor.dim() == 3 or ".h." in name) and is_turned(folder, name)
        each = tensor.unsqueeze(0) if tensor.dim() == 2 else tensor
        each = [one.T.contiguous() if turned else one for one in each]
        made = [FORMS[form](name, one) for one in each]
        for _, parts in made:
            codes |= parts
        dense = [dense.T.contiguous() if turned else dense for dense, _ in made]
        plain[name] = dense[0] if tensor.dim() == 2 else torch.stack(dense)
    save_file(plain, folder / "model.safetensors", metadata={"format": "pt"})
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    if form in CONFIGS:
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] = CONFIGS[form]
        (folder / "config.json").write_text(json.dumps(config))
        save_file(codes, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return model


def is_matrix(name, tensor):
    """Whether it is one that a layer multiplies by; routers are not."""
    router = re.search(r"(block_sparse_moe\.gate|mlp\.gate|router)\.", name)
    return bool(re.search(r"\.(layers|h)\.\d+\.", name)) and tensor.dim() >= 2 and not router


def is_turned(folder, name):
    return json.loads((folder / "config.json").read_text())["model_type"] in ("gpt2", "gpt_oss")


def int8(weight):
    """Returns codes, and a scale for each row, of which the largest number becomes 127."""
    scale = weight.abs().amax(1, keepdim=True) / 127
    codes = torch.where(scale > 0, torch.round(weight / scale), 0.0).clamp(-127, 127).to(torch.int8)
    return codes, scale


def nf4(weight):
    """Returns numbers of levels, and what each 64 of them, row after row, are multiplied by."""
    flat = weight.flatten()
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True)
    between = (NF4[1:] + NF4[:-1]) / 2
    levels = torch.bucketize(torch.where(scale > 0, blocks / scale, 0.0), between)
    return levels.flatten()[: len(flat)], scale.flatten()


def from_levels(levels, scale, shape):
    each = scale.repeat_interleave(BLOCK)[: len(levels)]
    return (NF4[levels] * each).view(shape)


def of_dtype_int8(name, weight):
    codes, scale = int8(weight)
    return codes.float() * scale, {}


def of_dtype_nf4(name, weight):
    levels, scale = nf4(weight)
    return from_levels(levels, scale, weight.shape), {}


def bnb_nf4(name, weight, nested=False, dtype=torch.float32):
    levels, scale = nf4(weight)
    state = {"quant_type": "nf4", "blocksize": BLOCK, "dtype": str(dtype).removeprefix("torch."), "shape": list(weight.shape)}
    parts = {f"{name}.quant_map": NF4.clone()}
    if nested:
        offset = scale.mean()
        map_ = torch.linspace(-1, 1, 256)
        blocks = torch.nn.functional.pad(scale - offset, (0, -len(scale) % 256)).view(-1, 256)
        outer = blocks.abs().amax(1)
        codes = (blocks / outer[:, None] - map_[:, None, None]).abs().argmin(0).flatten()[: len(scale)]
        scale = map_[codes] * outer.repeat_interleave(256)[: len(scale)] + offset
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": offset.item()}
        parts |= {f"{name}.absmax": codes.to(torch.uint8), f"{name}.nested_absmax": outer, f"{name}.nested_quant_map": map_}
    else:
        parts[f"{name}.absmax"] = scale
    bytes_ = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    pairs = levels.view(-1, 2).to(torch.uint8)
    parts[name] = (pairs[:, 0] << 4 | pairs[:, 1]).unsqueeze(1)
    parts[f"{name}.quant_state.bitsandbytes__nf4"] = bytes_
    return from_levels(levels, scale, weight.shape).to(dtype).float(), parts


def bnb_int8(name, weight):
    largest = weight.abs().amax(1)
    codes = torch.round(weight * (127 / largest[:, None])).to(torch.int8)
    module = name.removesuffix("weight")
    parts = {name: codes, f"{module}SCB": largest, f"{module}weight_format": torch.tensor(0, dtype=torch.uint8)}
    return codes * largest[:, None] * 7.874015718698502e-3, parts


def ct_pack(name, weight, group=None):
    shape, group = weight.shape, group or weight.shape[1]
    codes, scale = int8(weight.reshape(-1, group))
    dense, codes, scale = (codes * scale).view(shape), codes.view(shape), scale.view(shape[0], -1)
    padded = torch.nn.functional.pad(codes.int() + 128, (0, -shape[1] % 4)).to(torch.uint8)
    parts = {"packed": padded.contiguous().view(torch.int32), "scale": scale, "shape": torch.tensor(shape)}
    return dense, {f"{name}_{part}": tensor for part, tensor in parts.items()}


def ct_int(name, weight):
    codes, scale = int8(weight)
    return codes * scale, {name: codes, f"{name}_scale": scale}


def ct_float(name, weight, channel=False):
    scale = weight.abs().amax(1, keepdim=True) if channel else weight.abs().amax().view(1)
    scale = scale / torch.finfo(torch.float8_e4m3fn).max
    codes = (weight / scale).to(torch.float8_e4m3fn)
    return codes.float() * scale, {name: codes, f"{name}_scale": scale}


FORMS = {
    "int8": of_dtype_int8,
    "nf4": of_dtype_nf4,
    "bnb-nf4": bnb_nf4,
    "bnb-nested": lambda name, weight: bnb_nf4(name, weight, nested=True),
    "bnb-half": lambda name, weight: bnb_nf4(name, weight, dtype=torch.float16),
    "bnb-int8": bnb_int8,
    "ct-pack": ct_pack,
    "ct-groups": lambda name, weight: ct_pack(name, weight, group=16),
    "ct-int": ct_int,
    "ct-float": ct_float,
    "ct-channels": lambda name, weight: ct_float(name, weight, channel=True),
}


def compressed(format_, **weights):
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False} | weights
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None, "output_activations": None}
    return {
        "quant_method": "compressed-tensors", "format": format_, "quantization_status": "compressed",
        "config_groups": {"group_0": group}, "ignore": ["lm_head"], "kv_cache_scheme": None,
    }  # fmt: skip


FOUR_BITS = {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "nf4"}

CONFIGS = {
    "bnb-nf4": FOUR_BITS,
    "bnb-nested": FOUR_BITS | {"bnb_4bit_use_double_quant": True},
    "bnb-half": FOUR_BITS,
    "bnb-int8": {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False},
    "ct-pack": compressed("pack-quantized"),
    "ct-groups": compressed("pack-quantized", strategy="group", group_size=16),
    "ct-int": compressed("int-quantized"),
    "ct-float": compressed("float-quantized", type="float", strategy="tensor"),
    "ct-channels": compressed("float-quantized", type="float"),
}
