"""Makes GGUF files whose tokenizers are SentencePiece's, and writes down what transformers makes of them.

    sentencepiece.py FOLDER            for each of several settings FOLDER/NAME.gguf, a Llama of one layer, and
                                       FOLDER/NAME.json: texts, their token ids by transformers' own conversion of the
                                       file, and what it makes of these ids again
    sentencepiece.py FOLDER imported   looks that a client that reads what was imported to FOLDER/NAME gets these ids
"""
import json
import random
import struct
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer
from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer
from transformers.integrations.gguf.gguf_tokenizer_mapping import get_merges
from transformers.utils import logging

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
WORDS = (
    "the of and to in a is that for it was on are as with his they at be this from have or by one had not but what all were "
    "when we there can an your which their said if do will each about how up out them then she many some so these would other "
    "into has more her two like him see time could no make than first been its who now people my made over did down only way "
    "return def class import self print None True False lambda yield await async for_each getItem parseInt std::vector "
    "Straße naïve façade être niño mañana Привет мир Москва здравствуйте Ελληνικά γειά שלום مرحبا 日本語 東京 你好 世界 한국어"
).split()


def vocabulary(seed):
    """Pieces with their scores, as SentencePiece's trainer for byte pairs leaves them: the sooner merged, the better."""
    chance = random.Random(seed)
    text = [" ".join(chance.choices(WORDS, k=12)) + chance.choice([".", "!", "\n", ", 12", " 3.14;"]) for _ in range(400)]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    trained.train_from_iterator(text, trainers.BpeTrainer(vocab_size=700, show_progress=False, max_token_length=14))
    pieces = sorted(trained.get_vocab(), key=trained.get_vocab().get)
    merged = [piece for piece in pieces if len(piece) > 1]
    single = [piece for piece in pieces if len(piece) == 1]
    spaces = ["▁" * count for count in (2, 3, 4, 8)]
    merged += [piece for piece in spaces if piece not in merged]
    if "▁" not in single:
        single.append("▁")
    return [(piece, -float(rank)) for rank, piece in enumerate(merged)] + [
        (piece, -float(len(merged) + rank)) for rank, piece in enumerate(single)
    ]


def tokens(seed, user_defined, unused):
    all_tokens = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    all_tokens += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    all_tokens += [(piece, score, NORMAL) for piece, score in vocabulary(seed)]
    all_tokens += [(text, 0.0, USER_DEFINED) for text in user_defined]
    all_tokens += [(text, 0.0, CONTROL) for text in ("[INST]", "[/INST]")[: len(user_defined)]]
    return all_tokens + [(text, 0.0, UNUSED) for text in unused]


def texts(seed):
    chance = random.Random(seed)
    made = [
        "", " ", "  ", "   ", "\n", "\t", "\n\n  \n", " the", "the ", "  the  of ", "the<s>of", "<s>", "</s> the", "[INST] the [/INST]",
        "<tool> the</tool>", "<tool>", " <tool> ", "<unk>", "<0x41>", "▁", "▁the", "the▁of", "1234567890", "0.5e-3", "\r\n", "\x00", "\x7f",
        "é", "é", "ﬁ", "…", "½", "①", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "\u200b", "\u00a0the", "\u3000", "\ufeffthe", "الْعَرَبِيَّة", "हिन्दी", "ไทย", "𝔘𝔫𝔦", "\U0010ffff",
        "def f(x):\n    return x + 1\n", "if (a && b) { c++; }", "    indented\n        more", "https://example.org/?a=b&c=%20",
    ]  # fmt: skip
    alphabet = "abcdefghij THE▁▁  \n\t.,;:!?()[]{}<>/\\\\0123456789éüßñПривет日本語한국👍🙂\u200d\u0301"
    for _ in range(420):
        kind = chance.random()
        if kind < 0.5:
            made.append(chance.choice(["", " "]) + chance.choice([" ", "  ", "\n"]).join(chance.choices(WORDS, k=chance.randint(1, 9))))
        elif kind < 0.85:
            made.append("".join(chance.choices(alphabet, k=chance.randint(1, 24))))
        else:
            made.append("".join(chr(chance.choice([*range(32, 0x250), *range(0x370, 0x700), *range(0x1F300, 0x1F650)])) for _ in range(chance.randint(1, 9))))
    return made


def text_of(text):
    text = text.encode()
    return struct.pack("<Q", len(text)) + text


def value(kind, given):
    if kind == "list":
        inner, items = given
        return struct.pack("<IIQ", 9, KINDS[inner][0], len(items)) + b"".join(value(inner, item)[4:] for item in items)
    number, form = KINDS[kind]
    return struct.pack("<I", number) + (text_of(given) if form is None else struct.pack(form, given))


KINDS = {"u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"), "text": (8, None)}


def write(path, all_tokens, settings):
    """Writes a Llama of one layer, float32, in GGUF version 3."""
    width, inner = 8, 12
    metadata = [
        ("general.architecture", "text", "llama"), ("llama.block_count", "u32", 1), ("llama.context_length", "u32", 64),
        ("llama.embedding_length", "u32", width), ("llama.feed_forward_length", "u32", inner),
        ("llama.attention.head_count", "u32", 2), ("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5),
        ("tokenizer.ggml.model", "text", "llama"),
        ("tokenizer.ggml.tokens", "list", ("text", [text for text, _, _ in all_tokens])),
        ("tokenizer.ggml.scores", "list", ("f32", [score for _, score, _ in all_tokens])),
        ("tokenizer.ggml.token_type", "list", ("i32", [kind for _, _, kind in all_tokens])),
        ("tokenizer.ggml.bos_token_id", "u32", 1), ("tokenizer.ggml.eos_token_id", "u32", 2),
        ("tokenizer.ggml.unknown_token_id", "u32", 0), *settings,
    ]  # fmt: skip
    tensors = [("token_embd.weight", (width, len(all_tokens))), ("output_norm.weight", (width,)), ("output.weight", (width, len(all_tokens)))]
    tensors += [(f"blk.0.{name}.weight", shape) for name, shape in {
        "attn_q": (width, width), "attn_k": (width, width), "attn_v": (width, width), "attn_output": (width, width),
        "ffn_gate": (width, inner), "ffn_up": (width, inner), "ffn_down": (inner, width), "attn_norm": (width,), "ffn_norm": (width,),
    }.items()]  # fmt: skip
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    out += b"".join(text_of(key) + value(kind, given) for key, kind, given in metadata)
    data = b""
    for name, shape in tensors:
        out += text_of(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", 0, len(data))
        count = 1
        for size in shape:
            count *= size
        data += struct.pack(f"<{count}f", *(0.01 * (at % 7) for at in range(count)))
        data += bytes(-len(data) % 32)
    out += bytes(-len(out) % 32)
    path.write_bytes(out + data)


# Whether texts begin with a space and with a token, whether they end with one, and whether the file has the merges itself.
FILES = {
    "plain": dict(),
    "llama-2": dict(begins=True, ends=False, space=True),
    "mistral": dict(begins=True, space=True, unused=["<reserved_0>", "<reserved_1>"]),
    "instructed": dict(begins=True, user_defined=["<tool>", "</tool>", "<|im start|>"]),
    "no-space": dict(begins=True, space=False, user_defined=["<tool>"]),
    "no-beginning": dict(begins=False, ends=True),
    "merges": dict(begins=True, merges=True),
}


def main(folder):
    logging.set_verbosity_error()
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, about) in enumerate(FILES.items()):
        path = folder / f"{name}.gguf"
        all_tokens = tokens(seed, about.get("user_defined", []), about.get("unused", []))
        given = [(key, about[own]) for key, own in (
            ("tokenizer.ggml.add_bos_token", "begins"), ("tokenizer.ggml.add_eos_token", "ends"),
            ("tokenizer.ggml.add_space_prefix", "space"),
        ) if own in about]  # fmt: skip
        settings = [(key, "bool", flag) for key, flag in given]
        if about.get("merges"):
            implied = get_merges({"tokens": [text for text, *_ in all_tokens], "scores": [score for _, score, _ in all_tokens]})
            settings.append(("tokenizer.ggml.merges", "list", ("text", [" ".join(pair) for pair in implied])))
        write(path, all_tokens, settings)
        tokenizer, _ = convert_gguf_tokenizer(*get_gguf_tokenizer(str(path))[:2])
        if about.get("space") is False:
            # transformers reads the key, and does nothing with it.
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
            tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        # Nor does it put these around a text.
        first = [1] if about.get("begins", True) else []
        last = [2] if about.get("ends") else []
        cases = []
        for text in texts(seed):
            ids = tokenizer.encode(text).ids
            cases.append(dict(text=text, ids=first + ids + last, back=tokenizer.decode(ids, skip_special_tokens=False)))
        (folder / f"{name}.json").write_text(json.dumps(cases))


def imported(folder):
    for name in FILES:
        tokenizer = AutoTokenizer.from_pretrained(str(folder / name))
        for case in json.loads((folder / f"{name}.json").read_text()):
            found = tokenizer(case["text"]).input_ids
            assert found == case["ids"], f"{name}: {case['text']!r} is {found}, not {case['ids']}"


if __name__ == "__main__":
    (imported if sys.argv[2:] == ["imported"] else main)(Path(sys.argv[1]))
