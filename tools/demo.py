#!/usr/bin/env python3
"""Patches activations of a real model, served by Vitrine, with the nnsight client from PyPI.

    .venv/bin/python tools/demo.py                               starts `vitrine up`, runs, stops it again
    .venv/bin/python tools/demo.py --keep                        leaves it running until Ctrl-C
    .venv/bin/python tools/demo.py --host URL --api-key KEY      uses a server that runs already

The question: where does SmolLM2 keep the country on its way from "The capital of France is" to " Paris"?
For every layer and token, the residual stream of the Italy prompt is put in place of the France prompt's,
and logit(" Rome") - logit(" Paris") says whether the answer followed. Prints a table and draws a heat map.
"""
import argparse
import contextlib
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
FRANCE, ITALY = "The capital of France is", "The capital of Italy is"
PARIS, ROME = " Paris", " Rome"


def main():
    arguments = server_arguments("Patches activations of a real model, served by Vitrine.")
    arguments.add_argument("--png", type=Path, default=ROOT / "target/demo/patching.png", help="where the heat map goes")
    arguments.add_argument("--keep", action="store_true", help="leave the server running until Ctrl-C")
    chosen = arguments.parse_args()
    with chosen_server(chosen) as (host, key, server):
        experiment(host, key, chosen.data, chosen.png)
        print_notebook(host, key)
        print_pages(host, key, shown=not chosen.host)
        if server and (chosen.keep or sys.stdin.isatty()):
            print("\nThe server runs until you press Ctrl-C.", flush=True)
            server.wait()


def server_arguments(description):
    """Returns a parser of what says which server is used."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--host", help="a running server's URL; without it, one is started")
    arguments.add_argument("--api-key", default="", help="the key for --host")
    arguments.add_argument("--vitrine", type=Path, default=ROOT / "target/release/vitrine", help="the program to start")
    arguments.add_argument("--data", type=Path, default=ROOT / ".vitrine", help="the server's data folder")
    return arguments


@contextlib.contextmanager
def chosen_server(chosen):
    """Yields the URL, a key and the process of a server, and stops it in the end; the process is None for one that runs already."""
    if chosen.host:
        yield chosen.host.rstrip("/"), chosen.api_key, None
        return
    key = secrets.token_hex(16)
    with running_server(chosen.vitrine, chosen.data, key) as (host, server):
        yield host, key, server


@contextlib.contextmanager
def running_server(program, data, key):
    """Starts `vitrine up` on a free port; yields its URL and process, and stops it in the end."""
    if not program.exists():
        sys.exit(f"{program} is missing; run `make build` first")
    command = [program.resolve(), "up", "--listen", "127.0.0.1:0", "--data", data, "--api-key", key]
    # In a session of its own, so that Ctrl-C reaches it once, from here.
    server = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, start_new_session=True)
    addresses = queue.Queue()
    threading.Thread(target=relay, args=(server.stdout, addresses), daemon=True).start()
    try:
        # None comes when the output ended: the server is gone, and has said why on stderr.
        address = addresses.get(timeout=600)
        if address is None:
            sys.exit(f"demo: `vitrine up` ended with status {server.wait()} before it was ready")
        yield address, server
    except queue.Empty:
        sys.exit("demo: `vitrine up` was not ready after ten minutes")
    finally:
        stop(server)


def relay(output, addresses):
    """Passes the server's lines on, and the address of its `ready` line to the queue."""
    for line in output:
        print(line, end="", flush=True)
        if line.startswith("ready "):
            addresses.put(line.split()[1])
    addresses.put(None)


def stop(server):
    """Asks the server to drain and stop; after half a minute, or a second Ctrl-C, ends it."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
    try:
        server.wait(timeout=30)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        server.kill()
        server.wait()


def experiment(host, key, data, png):
    # The client reads these when it is imported. Its cache stays beside the server's data.
    os.environ.update(
        HF_ENDPOINT=host, NDIF_HOST=host, NDIF_API_KEY=key,
        HF_HOME=str(data.resolve() / "client"), HF_HUB_DISABLE_PROGRESS_BARS="1",
    )  # fmt: skip
    import nnsight

    nnsight.CONFIG.APP.REMOTE_LOGGING = False
    model = nnsight.TransformersModel(MODEL, task="text-generation")
    tokens = [model.tokenizer.decode(token) for token in model.tokenizer(FRANCE).input_ids]
    if len(tokens) != len(model.tokenizer(ITALY).input_ids):
        sys.exit("demo: the two prompts must have the same number of tokens")

    start = time.monotonic()
    france, italy, scores = patch_everywhere(model, len(tokens))
    seconds = time.monotonic() - start
    print_table(tokens, france, italy, scores)
    forwards = 2 + len(scores) * len(tokens)
    print(f"\n{forwards} forward passes as written, in one request: {seconds:.1f} s")
    draw(tokens, scores, png)
    print(f"heat map: {png.resolve()}")


def patch_everywhere(model, positions):
    """Returns the score of each prompt alone, and that of France with each (layer, position) taken from Italy."""
    paris, rome = (model.tokenizer(word).input_ids[-1] for word in (PARIS, ROME))
    layers = len(model.model.layers)
    with model.session(remote=True):
        with model.trace(ITALY):
            residual = [model.model.layers[layer].output for layer in range(layers)]
            logits = model.lm_head.output[0, -1]
            italy = (logits[rome] - logits[paris]).item().save()
        with model.trace(FRANCE):
            logits = model.lm_head.output[0, -1]
            france = (logits[rome] - logits[paris]).item().save()
        scores = list().save()
        for layer in range(layers):
            row = []
            for position in range(positions):
                with model.trace(FRANCE):
                    model.model.layers[layer].output[:, position] = residual[layer][:, position]
                    logits = model.lm_head.output[0, -1]
                    row.append((logits[rome] - logits[paris]).item())
            scores.append(row)
    return france, italy, scores


def print_table(tokens, france, italy, scores):
    print(f"\nlogit({ROME!r}) - logit({PARIS!r}) after one patch from Italy into France; * where Rome wins")
    print(f"unpatched: France {france:+.2f}, Italy {italy:+.2f}\n")
    print("layer  " + "".join(f"{token.strip():>10} " for token in tokens))
    for layer, row in enumerate(scores):
        print(f"{layer:>5}  " + "".join(f"{score:>+10.2f}{'*' if score > 0 else ' '}" for score in row))


def draw(tokens, scores, png):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    largest = max(abs(score) for row in scores for score in row)
    figure, axes = pyplot.subplots(figsize=(6.4, 7.2), layout="constrained")
    image = axes.imshow(scores, aspect="auto", origin="lower", cmap="RdBu_r", vmin=-largest, vmax=largest)
    axes.set_xticks(range(len(tokens)), [repr(token) for token in tokens])
    axes.set_yticks(range(0, len(scores), 3))
    axes.set_xlabel("token position patched")
    axes.set_ylabel("layer patched (residual stream after it)")
    axes.set_title(f'"{ITALY}" patched into "{FRANCE}"\n{MODEL.split("/")[1]}, served by Vitrine', fontsize=11)
    figure.colorbar(image, ax=axes, label=f"logit({ROME!r}) \N{MINUS SIGN} logit({PARIS!r})")
    png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(png, dpi=150)


def print_notebook(host, key):
    print(f"""
To look inside the model from a notebook of your own (pip install nnsight==0.8.1 transformers==5.22.2):

    import os
    os.environ.update(HF_ENDPOINT="{host}", NDIF_HOST="{host}", NDIF_API_KEY="{key}")
    from nnsight import TransformersModel

    model = TransformersModel("{MODEL}", task="text-generation")
    with model.trace("{FRANCE}", remote=True):
        hidden = model.model.layers[15].output.save()
        answer = model.lm_head.output[0, -1].argmax().save()
    print(hidden.shape, model.tokenizer.decode(answer))""")


def print_pages(host, key, shown):
    sign_in = f"sign in with the key {key}" if shown else "sign in with your key"
    print(f"""
What the server did, who waits and what it costs is at {host}/admin: {sign_in}.""")


def interrupt(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    # A closed terminal and a polite kill stop the server too.
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    try:
        main()
    except KeyboardInterrupt:
        pass
