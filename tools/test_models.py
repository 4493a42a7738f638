#!/usr/bin/env python3
"""Makes the tests' models: small folders with seeded random weights, as Hugging Face lays them out.

    .venv/bin/python tools/test_models.py FOLDER [--dtype float32|bfloat16|float16] [--seed N]

Writes FOLDER/tiny-gpt2 and FOLDER/tiny-llama (4 layers, width 64; the Llama has 4 heads on 2 key-value heads), and of
the same sizes FOLDER/tiny-gemma3, whose layers see windows in turns, and FOLDER/tiny-qwen3-moe, with experts; each with config.json, generation_config.json, model.safetensors, tokenizer.json and tokenizer_config.json.
The same arguments give the same bytes.
"""
import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)
from transformers.utils import logging

VOCABULARY = 512
# 1 / sqrt(width): signals keep their size through the layers, so that a wrong layer shows in the logits.
DEVIATION = 0.125

# What the tokenizer learns its merges from.
TEXT = """
The capital of France is Paris, and the capital of Italy is Rome. The Eiffel Tower is in the city of Paris.
The Colosseum is in the city of Rome. The capital of Japan is Tokyo, and the capital of Spain is Madrid.
When Mary and John went to the store, John gave a drink to Mary. Then Tom and James had a long argument.
A researcher reads the activations of a model in the middle of its forward pass, changes them, and sees what follows.
Once upon a time there was a small model that lived in a glass case. Many people came to look at it every day.
It could count from one to ten: one, two, three, four, five, six, seven, eight, nine, ten. 1234567890 1990 2024
The quick brown fox jumps over the lazy dog. She sells sea shells by the sea shore. It was the best of times.
def forward(self, hidden_states): return self.norm(hidden_states + self.mlp(hidden_states))
"""


def main():
    arguments = argparse.ArgumentParser(description="Makes the tests' models.")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    arguments.add_argument("--seed", type=int, default=0)
    chosen = arguments.parse_args()
    dtype = getattr(torch, chosen.dtype)
    logging.disable_progress_bar()
    for name, make in MODELS.items():
        torch.manual_seed(chosen.seed)
        model, tokenizer, tokenizer_config = make()
        scramble_vectors(model)
        folder = chosen.folder / name
        model.to(dtype).save_pretrained(folder)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n")
        print(folder)


def tiny_gpt2():
    config = GPT2Config(
        n_layer=4, n_embd=64, n_head=4, n_positions=256, vocab_size=VOCABULARY,
        initializer_range=DEVIATION, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    end = "<|endoftext|>"
    return GPT2LMHeadModel(config), byte_level_bpe([end]), tokenizer_config(256, end, end, unk_token=end)


def tiny_llama():
    config = LlamaConfig(
        num_hidden_layers=4, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=176,
        max_position_embeddings=512, vocab_size=VOCABULARY, tie_word_embeddings=False,
        initializer_range=DEVIATION, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    tokenizer = byte_level_bpe([begin, end])
    # Llama's tokenizers put a token before every prompt.
    template = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, 0)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return LlamaForCausalLM(config), tokenizer, tokenizer_config(512, begin, end)


def tiny_gemma3():
    config = Gemma3TextConfig(
        num_hidden_layers=4, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=176,
        head_dim=24, max_position_embeddings=512, vocab_size=VOCABULARY, initializer_range=DEVIATION, bos_token_id=0,
        eos_token_id=1, pad_token_id=None, query_pre_attn_scalar=24, sliding_window=6, final_logit_softcapping=20.0,
        layer_types=["sliding_attention", "full_attention"] * 2,
    )  # fmt: skip
    begin, end = "<bos>", "<eos>"
    return Gemma3ForCausalLM(config), byte_level_bpe([begin, end]), tokenizer_config(512, begin, end)


def tiny_qwen3_moe():
    config = Qwen3MoeConfig(
        num_hidden_layers=4, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=176,
        head_dim=16, max_position_embeddings=512, vocab_size=VOCABULARY, initializer_range=DEVIATION, bos_token_id=0,
        eos_token_id=1, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=72, norm_topk_prob=True,
    )  # fmt: skip
    begin, end = "<|im_start|>", "<|im_end|>"
    return Qwen3MoeForCausalLM(config), byte_level_bpe([begin, end]), tokenizer_config(512, begin, end)


MODELS = {
    "tiny-gpt2": tiny_gpt2,
    "tiny-llama": tiny_llama,
    "tiny-gemma3": tiny_gemma3,
    "tiny-qwen3-moe": tiny_qwen3_moe,
}


def byte_level_bpe(special_tokens):
    """Trains a byte-level BPE tokenizer on TEXT: any string encodes, and decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special_tokens, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    return tokenizer


def tokenizer_config(length, begin, end, **more):
    return {
        "backend": "tokenizers",
        "bos_token": begin,
        "clean_up_tokenization_spaces": False,
        "eos_token": end,
        "model_max_length": length,
        "tokenizer_class": "TokenizersBackend",
        **more,
    }


def scramble_vectors(model):
    """Moves biases and norm weights off their initial 0 and 1, where leaving one out would go unseen."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)


if __name__ == "__main__":
    main()
