"""Seeded random models of known shapes, as Hugging Face lays them out, and what their arithmetic amounts to."""
import dataclasses
import json
import shutil
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / ".models/bench"


@dataclasses.dataclass(frozen=True)
class Shape:
    """A model's sizes; `kv_heads` below `heads` and a gated MLP make it a Llama."""

    name: str
    family: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int
    context: int

    def with_layers(self, layers):
        return self if layers in (None, self.layers) else dataclasses.replace(self, layers=layers)

    @property
    def folder(self):
        return FOLDER / f"{self.name}-{self.layers}"

    @property
    def repo_id(self):
        """The name that servers host it under."""
        return f"bench/{self.name}-{self.layers}"

    @property
    def key_value_width(self):
        return self.width // self.heads * self.kv_heads

    @property
    def mlp_matrices(self):
        return 2 if self.family == "gpt2" else 3

    @property
    def layer_parameters(self):
        """Elements of a layer's matrices."""
        attention = 2 * self.width * self.width + 2 * self.width * self.key_value_width
        return attention + self.mlp_matrices * self.width * self.inner

    @property
    def streamed_bytes(self):
        """Bytes of float32 weights that one decode step reads: the layers and the unembedding."""
        return 4 * (self.layers * self.layer_parameters + self.vocabulary * self.width)

    def attention_flops(self, first, length):
        """FLOPs of one layer's scores and mixing for the queries `first..length`, causally."""
        return sum(4 * self.width * (position + 1) for position in range(first, length))

    def forward_flops(self, rows, length, logits=None):
        """FLOPs of a forward pass that computes `logits` positions' logits, all by default."""
        layer = 2 * length * self.layer_parameters + self.attention_flops(0, length)
        return rows * self.layers * layer + (rows * length if logits is None else logits) * 2 * self.width * self.vocabulary

    def attribution_flops(self, length):
        """FLOPs of two forward passes and a backward one that ends behind the first layer."""
        backward = (self.layers - 1) * 2 * length * self.layer_parameters
        return 2 * self.forward_flops(1, length, logits=1) + backward

    def sweep_flops(self, length):
        """FLOPs of patching every (layer, position), as written and with every unchanged number computed once.

        Unchanged are positions before the patched one and layers up to it; the last layer is needed at the last
        position only, and the patched layer's successor projects one new row. Both include the clean and the corrupt
        run.
        """
        width, cache = self.width, 2 * 2 * self.width * self.key_value_width
        token, mlp = 2 * self.layer_parameters, 2 * self.mlp_matrices * self.width * self.inner
        square = 2 * width * width
        exact = 0
        for patched in range(self.layers - 1):
            for position in range(length):
                rest = length - position
                for layer in range(patched + 1, self.layers):
                    new = 1 if layer == patched + 1 else rest
                    if layer == self.layers - 1:
                        exact += new * cache + 2 * square + mlp + 4 * width * length
                    else:
                        projections = new * (square + cache)
                        exact += projections + rest * (token - square - cache) + self.attention_flops(position, length)
        forks = (self.layers - 1) * length + 1
        exact += forks * 2 * width * self.vocabulary + 2 * self.forward_flops(1, length, logits=1)
        return self.layers * length * self.forward_flops(1, length), exact


TINY = Shape("tiny", "gpt2", 4, 64, 4, 4, 256, 512, 256)
# The same for generations of thousands of tokens.
WINDING = dataclasses.replace(TINY, name="tinylong", context=8192)
GPT2 = Shape("gpt2s", "gpt2", 12, 768, 12, 12, 3072, 50257, 1024)
LLAMA = Shape("llama160", "llama", 12, 768, 12, 4, 3072, 32000, 2048)
# The same for prompts of thousands of tokens.
LONG = dataclasses.replace(LLAMA, name="llama160long", context=4096)
# The same for ten thousands of tokens, so small that an unoptimised server does not take long.
FAR = Shape("llamafar", "llama", 4, 128, 2, 1, 384, 512, 16384)
# The matrices of a model of a billion parameters, in fewer layers: 2 GB in float32.
LARGE = Shape("llama480", "llama", 8, 2048, 32, 4, 5632, 32000, 2048)
SHAPES = {shape.name: shape for shape in (TINY, WINDING, GPT2, LLAMA, LONG, FAR, LARGE)}


def make(shape):
    """Makes a shape's folder unless it is there: the same bytes on every machine."""
    folder = shape.folder
    if (folder / "config.json").is_file():
        return folder
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    torch.manual_seed(0)
    model = build(shape)
    # Vectors leave their initial 0 and 1, where leaving one out would go unseen.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(fresh)
    tokenizer(shape.vocabulary).save(str(fresh / "tokenizer.json"))
    config = {
        "backend": "tokenizers", "clean_up_tokenization_spaces": False, "model_max_length": shape.context,
        "tokenizer_class": "TokenizersBackend", "pad_token": "<pad>", "eos_token": "<pad>", "unk_token": "<unk>",
    }  # fmt: skip
    (fresh / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    fresh.rename(folder)
    return folder


def stored_as(shape, dtype):
    """Makes a shape's folder with weights of another type, unless it is there."""
    own = make(shape)
    folder = own.with_name(f"{own.name}-{dtype}")
    if dtype == "float32" or (folder / "config.json").is_file():
        return own if dtype == "float32" else folder
    from transformers import AutoModelForCausalLM

    fresh = own.with_name(own.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    AutoModelForCausalLM.from_pretrained(own, dtype=getattr(torch, dtype)).save_pretrained(fresh)
    for name in "tokenizer.json", "tokenizer_config.json":
        shutil.copy(own / name, fresh / name)
    fresh.rename(folder)
    return folder


def build(shape):
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    # 1 / sqrt(width): signals keep their size through the layers, so that a wrong layer shows in the logits.
    common = dict(vocab_size=shape.vocabulary, initializer_range=shape.width**-0.5, bos_token_id=0, eos_token_id=0)
    if shape.family == "gpt2":
        sizes = dict(n_layer=shape.layers, n_embd=shape.width, n_head=shape.heads, n_positions=shape.context)
        return GPT2LMHeadModel(GPT2Config(**sizes, **common))
    sizes = dict(
        num_hidden_layers=shape.layers, hidden_size=shape.width, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, intermediate_size=shape.inner, max_position_embeddings=shape.context,
        tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**sizes, **common))


def tokenizer(vocabulary):
    """Makes a tokenizer whose word `tN` is token N, so that a prompt's length is exact."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<pad>": 0, "<unk>": 1, **{f"t{token}": token for token in range(2, vocabulary)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def prompt(tokens):
    return " ".join(f"t{token}" for token in tokens)


def ids(prompt):
    return [int(word[1:]) for word in prompt.split()]


def prompts(shape, lengths, seed):
    """Returns one random prompt for each length."""
    generator = torch.Generator().manual_seed(seed)
    return [prompt(torch.randint(2, shape.vocabulary, (length,), generator=generator).tolist()) for length in lengths]


def pair(shape, length, seed=7):
    """Returns a clean prompt and a corrupt one that differs in three tokens."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(2, shape.vocabulary, (length,), generator=generator)
    corrupt = clean.clone()
    subject = slice(length // 4, length // 4 + 3)
    corrupt[subject] = torch.randint(2, shape.vocabulary, corrupt[subject].shape, generator=generator)
    return prompt(clean.tolist()), prompt(corrupt.tolist())


def layers(model, shape):
    """Returns a model's layers, of an nnsight model or the plain one."""
    return model.transformer.h if shape.family == "gpt2" else model.model.layers
