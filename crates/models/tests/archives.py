#!/usr/bin/env python3
"""Saves a model folder's weights with torch.save, as they are and in ways that are refused.

    archives.py MODEL FOLDER

FOLDER/whole and FOLDER/shards can be served; the other folders of FOLDER cannot.
"""
import json
import os
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file


class Evil:
    def __reduce__(self):
        return os.mkdir, (str(FOLDER / "executed"),)


MODEL, FOLDER = map(Path, sys.argv[1:])
WEIGHTS = load_file(MODEL / "model.safetensors")
FIRST = "model.embed_tokens.weight"


def save(name, weights, file="pytorch_model.bin", **how):
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for own in "config.json", "tokenizer.json":
        shutil.copy(MODEL / own, folder)
    torch.save(weights, folder / file, **how)
    return folder / file


names = sorted(WEIGHTS)
save("whole", OrderedDict((name, torch.nn.Parameter(WEIGHTS[name]) if name == FIRST else WEIGHTS[name]) for name in names))
# Views of one storage, and weights of half the size.
both = torch.cat([WEIGHTS[names[0]].flatten(), WEIGHTS[names[1]].flatten()])
first, second = both.split([WEIGHTS[names[0]].numel(), WEIGHTS[names[1]].numel()])
shards = {names[0]: first.view(WEIGHTS[names[0]].shape), names[1]: second.view(WEIGHTS[names[1]].shape)}
save("shards", shards, "one.bin")
file = save("shards", {name: WEIGHTS[name] for name in names[2:]}, "two.bin")
index = {"weight_map": {name: "one.bin" if name in shards else "two.bin" for name in names}}
file.with_name("pytorch_model.bin.index.json").write_text(json.dumps(index))

save("executing", {**WEIGHTS, FIRST: Evil()})
save("nested", {"state_dict": WEIGHTS})
save("object", Evil())
save("turned", {**WEIGHTS, FIRST: WEIGHTS[FIRST].T.contiguous().T})
save("complex", {**WEIGHTS, FIRST: WEIGHTS[FIRST].to(torch.complex64)})
save("sparse", {**WEIGHTS, FIRST: WEIGHTS[FIRST].to_sparse()})
save("old", WEIGHTS, _use_new_zipfile_serialization=False)
cut = save("cut", WEIGHTS)
cut.write_bytes(cut.read_bytes()[:-1000])
