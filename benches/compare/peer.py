"""Peers run in a process of their own, which has the GEMM setting in its environment and answers one order a line.

    python -m benches.compare.peer SHAPE LAYERS DEVICE

An order names a bench and one of its peer functions: `{"bench": "sweep", "peer": "hooks", "arguments": {…}}`.
"""
import functools
import importlib
import json
import os
import subprocess
import sys
import time

from . import models


class Peer:
    """The driver's end of a peer's process."""

    def __init__(self, python, shape, device, environment, log):
        command = [str(python), "-m", "benches.compare.peer", shape.name, str(shape.layers), device]
        self.process = subprocess.Popen(
            command, cwd=models.ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        self.log = log

    def run(self, bench, peer, **arguments):
        """Has a peer function run; returns `wall` and `cpu` in seconds, and the function's `value`."""
        self.process.stdin.write(json.dumps({"bench": bench, "peer": peer, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer {bench}.{peer} failed; see {self.log.name}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# Which of `Models` a peer function runs on, where it is not `plain`.
LOADED = {"nnsight": "nnsight", "transformer_lens": "transformer_lens"}


class Models:
    """What peer functions run on: the same weights as each peer loads them, none of them recording gradients.

    Loaded when first asked for, and run once: what happens only once is not what a peer is measured by.
    """

    def __init__(self, shape, device):
        self.shape, self.device = shape, device

    def load(self):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self.shape.folder)
        return model.to(self.device).eval().requires_grad_(False)

    @functools.cached_property
    def plain(self):
        """The transformers model, for plain PyTorch hooks."""
        model = self.load()
        model(self.ids("t2"))
        return model

    @functools.cached_property
    def nnsight(self):
        from nnsight import TransformersModel
        from transformers import AutoTokenizer

        # Not the model that the hooks run on: nnsight wraps the modules it is given.
        wrapped = self.load()
        tokenizer = AutoTokenizer.from_pretrained(self.shape.folder)
        model = TransformersModel(wrapped, tokenizer=tokenizer, task="text-generation")
        with model.trace("t2"):
            pass
        return model

    @functools.cached_property
    def transformer_lens(self):
        from transformer_lens.model_bridge import TransformerBridge

        bridge = TransformerBridge.boot_transformers(str(self.shape.folder), device=self.device)
        bridge.enable_compatibility_mode()
        bridge.requires_grad_(False)
        bridge(self.ids("t2"))
        return bridge

    def ids(self, prompt):
        """Returns a prompt's ids as `[1, length]`."""
        import torch

        return torch.tensor([models.ids(prompt)], device=self.device)


def main():
    # Libraries print to stdout; answers go where they cannot.
    answers, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    name, layers, device = sys.argv[1:]
    shape = models.SHAPES[name]
    peer = Models(shape.with_layers(int(layers)), device)
    for line in sys.stdin:
        order = json.loads(line)
        function = getattr(importlib.import_module(f"benches.compare.{order['bench']}"), f"peer_{order['peer']}")
        getattr(peer, LOADED.get(order["peer"], "plain"))
        settle(device)
        wall, cpu = time.perf_counter(), time.process_time()
        value = function(peer, **order["arguments"])
        settle(device)
        answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "value": value}
        print(json.dumps(answer), file=answers, flush=True)


def settle(device):
    """Waits until what was begun is done."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
