"""Runs the programs of examples/ and checks what each of them prints.

    gallery.py [NAME...]
"""
import contextlib
import io
import re
import runpy
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))
LARGEST = 60 << 10
# What is the same number computed twice: kernels add in another order at another shape.
CLOSE = 1e-4
checks = {}


def check(function):
    checks[function.__name__] = function
    return function


def numbers(printed, pattern):
    """Returns the numbers that groups of a pattern find in what was printed, where it is there just once."""
    found = re.findall(pattern.replace("#", r"([-+]?\d+\.?\d*)"), printed)
    assert len(found) == 1, f"{pattern!r} is there {len(found)} times in:\n{printed}"
    return [float(number) for number in (found[0] if isinstance(found[0], tuple) else [found[0]])]


@check
def logit_lens(printed):
    assert numbers(printed, "logits differ by at most #")[0] < CLOSE, "after the last layer, the lens is the model"
    settled = [int(layer) for layer in re.findall(r"first from layer (\d+) on", printed)]
    assert len(settled) == 6 and min(settled) >= 20, settled


@check
def causal_tracing(printed):
    clean, noisy = numbers(printed, "probability of ' Paris': # clean, # with noise")
    (everything,) = numbers(printed, "with all tokens of layer 0 put back: #")
    assert abs(everything - clean) < 2e-4, "a whole layer put back is the clean run from there on"
    (subject,) = numbers(printed, r"'iffel': at best #")
    (before,) = numbers(printed, r"'The': at best #")
    assert noisy < clean / 5 and subject > clean / 2, (clean, noisy, subject)
    assert abs(before - noisy) < 2e-4, "a token before the noise is as it was"


@check
def ioi_path_patching(printed):
    assert abs(numbers(printed, "in place of themselves: #")[0]) < CLOSE, "what is already there changes nothing"
    (clean,) = numbers(printed, r"mean of 6 prompts: #")
    layer, head, direct = numbers(printed, r"path to the logits: L#H# #")
    assert (layer, head) == (23, 3) and clean > 3 and direct < -1, printed
    layer, head, indirect = numbers(printed, r"path to the queries of L23.*?: L#H# #")
    assert (layer, head) == (20, 0) and indirect < -0.4, printed


@check
def attribution_patching(printed):
    rest, _ = numbers(printed, r"r = # over 299 places; with layer 0 MLP at 'keys' too, #")
    assert rest > 0.8, rest
    clean, other = numbers(printed, r"logit\(is\): # for .*?, # for ")
    assert clean > 2 and other < -2, "the noun decides on the verb"


@check
def steering(printed):
    assert numbers(printed, "strength 0 changes probabilities by #")[0] < CLOSE
    odds = [float(odd) for odd in re.findall(r"log odds of glad words ([-+][\d.]+)", printed)]
    assert len(odds) == 9 and odds == sorted(odds) and odds[-1] - odds[0] > 5, odds
    texts = re.findall(r"\| … (.*)", printed)
    assert len(texts) == 5 and texts[0] != texts[2] != texts[4], texts


@check
def sae_features(printed):
    seen, unseen, active = numbers(printed, r"variance explained: # .*, # of held-out ones, by .* \(at most #\)")
    assert seen > 0.7 and unseen > 0.3 and active == 8, (seen, unseen, active)
    clean, spliced, mean = numbers(printed, "held-out tokens: #; # through the features, # with the mean")
    assert clean < spliced < (clean + mean) / 2, "the autoencoder keeps most of what the layer says"
    shares = [int(share) for share in re.findall(r"feature \d+, (\d+)% of it", printed)]
    assert len(shares) == 10 and sum(share > 30 for share in shares) >= 7, f"of ten topics, chance is 10%: {shares}"


@check
def induction_heads(printed):
    assert numbers(printed, "ablating no head changes the loss by #")[0] < CLOSE
    (best,) = numbers(printed, "induction heads: L18H6 #")
    first, second = numbers(printed, "loss: # the first time, # the second")
    without, other = numbers(printed, "without 8 induction heads: #; without 8 others: #")
    assert best > 0.8 and second < first / 3, (best, first, second)
    assert without > 2 * second and other < 1.3 * second, (without, other, second)


@check
def probing(printed):
    embeddings, best = numbers(printed, "held-out accuracy: # on embeddings, # after layer")
    assert embeddings == 0.5, "the last token is the same in all sentences: its embedding tells nothing"
    before, after = numbers(printed, "loss # before, # after 150 steps")
    assert abs(before - 0.693) < 1e-3, "probes that have learned nothing give one half: ln 2"
    assert best > 0.9 and after < 0.2, (best, after)


@check
def ablation(printed):
    (difference,) = numbers(printed, "both of its parts zero: losses differ by #")
    assert difference < CLOSE, "leaving a layer out is leaving out what it adds"
    (loss,) = numbers(printed, "tokens: # nats a token")
    (first,) = numbers(printed, r"without MLP: layer 0 #")
    assert loss < 4 and first > 5, (loss, first)


@check
def attention_patterns(printed):
    off, later = numbers(printed, "rows sum to 1 within #; weight on later tokens: #")
    assert off < CLOSE and later == 0, (off, later)
    for kind in ("to the first token", "to the token before", "to the token after the last time"):
        best, mean = numbers(printed, kind + r": L\d+H\d+ with # on average, all heads #")
        assert best > 0.7 and best > mean, (kind, best, mean)


@check
def function_vectors(printed):
    for task in ("opposite", "past tense", "capital"):
        without, helped, moved, last = numbers(printed, f"{task}: # right without examples, # with 6, # with the vector at layer \\d+; # at the last")
        assert without <= 0.1 and helped > 0.6 and moved >= 0.5, (task, without, helped, moved)
        assert last <= 0.1, "put in at the last layer, one vector is one answer to all prompts"


@check
def jacobian_lens(printed):
    assert numbers(printed, "after the last layer both lenses are one: they differ by #") == [0]
    gradient, moved = numbers(printed, "one direction: # by the Jacobian, # by moving")
    assert abs(gradient - moved) < 0.01 * abs(moved), (gradient, moved)
    logit, jacobian = numbers(printed, r"country's token, .*?: logit lens [\d.]+, #, .*; Jacobian lens [\d.]+, #, ")
    assert logit < 0.3 and jacobian > 0.7, (logit, jacobian)


def run(name, folder):
    """Runs a program as `python examples/NAME.py` does, but for what it imports; returns what it printed."""
    picture = folder / f"{name}.png"
    sys.argv = [str(EXAMPLES / f"{name}.py"), "--picture", str(picture)]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        runpy.run_path(sys.argv[0], run_name="__main__")
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < LARGEST, picture.stat().st_size
    return out.getvalue()


def main():
    programs = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "shared")
    assert programs == sorted(checks), "each program has a check"
    page = (EXAMPLES / "README.md").read_text()
    for name in programs:
        assert f"{name}.py" in page and f"images/{name}.png" in page and (EXAMPLES / "images" / f"{name}.png").exists(), name
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or programs:
            begin = time.monotonic()
            checks[name](run(name, Path(folder)))
            print(f"ok   {name}: {time.monotonic() - begin:.1f} s", flush=True)


main()
