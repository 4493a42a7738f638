"""What the programs of the gallery share: which model answers and where it runs, and how a picture is drawn."""
import argparse
import io
import os
import sys

if "--local" not in sys.argv and not {"HF_ENDPOINT", "NDIF_HOST", "NDIF_API_KEY"} <= os.environ.keys():
    sys.exit(
        "say which server is to be asked, which `make demo` prints: HF_ENDPOINT and NDIF_HOST are its address,"
        " NDIF_API_KEY your key; or name a folder with the model's files, to compute on this machine: --local FOLDER"
    )

# nnsight reads its settings as it is imported.
import anyio._backends._asyncio  # noqa: E402, F401  (before nnsight, which adds an attribute to every object)
import matplotlib  # noqa: E402
import nnsight  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
HEADS, WIDTH = 9, 64
# Colours that the colour-blind tell apart (Okabe and Ito), in the order in which pictures use them.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"

nnsight.CONFIG.APP.REMOTE_LOGGING = False
matplotlib.use("Agg")
matplotlib.rcParams.update({"font.size": 9, "axes.titlesize": 10, "figure.titlesize": 11, "figure.constrained_layout.use": True})


def start(description, **arguments):
    """Reads the command line. Returns the model, whether it is the server's, and the file that the picture goes to."""
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--local", metavar="FOLDER", help="compute in this process, with the model's files in FOLDER")
    options.add_argument("--picture", metavar="FILE", default=f"{name}.png", help="where the picture goes (default: %(default)s)")
    chosen = options.parse_args()
    if chosen.local:
        arguments.update(dispatch=True, dtype=torch.float32)
    model = nnsight.TransformersModel(chosen.local or MODEL, task="text-generation", **arguments)
    return model, not chosen.local, chosen.picture


def words(model, text):
    """Returns the tokens of a text as people read them."""
    return [model.tokenizer.decode(token) for token in model.tokenizer(text).input_ids]


def token(model, word):
    """Returns the id of a word that is one token."""
    (only,) = model.tokenizer(word, add_special_tokens=False).input_ids
    return only


def save(figure, picture):
    """Writes a figure in the few colours that it has, which makes a small file."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    Image.open(drawn).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(picture, "PNG", optimize=True)
    print(f"picture: {picture}")
