"""Writes the public names of Python's standard modules that blocks may import, and modules that other programs import: what
crates/explain/src/refused.txt is asked for.

    python3 tools/standard_names.py > crates/torch/tests/refused/names.txt
"""
import importlib
import sys
import types
import warnings

warnings.simplefilter("ignore")
OFFERED = """abc bisect collections collections.abc contextlib copy dataclasses datetime decimal enum fractions functools heapq
gc inspect io itertools json logging math numbers operator pathlib pprint random re statistics string sys textwrap time types typing
warnings""".split()
# What research programs import besides, and no server of models has to have.
OTHERS = """accelerate aiohttp altair anthropic baukit beartype bitsandbytes bokeh boto3 bs4 captum causal_conv1d cv2 dask datasets
deepspeed dill dotenv evaluate fancy_einsum faiss fastapi fire flash_attn flax fsspec gradio graphviz h5py httpx huggingface_hub
hydra imageio ipywidgets IPython jax joblib jsonlines keras lightning line_profiler lm_eval loguru markdown matplotlib memory_profiler
mpl_toolkits msgpack networkx nltk nnterp numba omegaconf openai optuna pandas peft PIL plotly polars psutil pyarrow pydantic pytest
pytorch_lightning pyvene rapidfuzz ray regex requests rich sae_lens safetensors scipy seaborn sentence_transformers sentencepiece
simple_parsing skimage sklearn sparsify spacy statsmodels streamlit submitit sympy tabulate tensorboard tensorflow termcolor tiktoken
tokenizers toml torchaudio torchdata torchmetrics torchtext torchvision transformer_lens triton trl ujson umap unsloth vllm wandb xarray
xformers xgboost yaml zstandard""".split()


def public(module):
    names = getattr(module, "__all__", None) or dir(module)
    for name in names:
        value = getattr(module, name, None)
        if not name.startswith("_") and not isinstance(value, types.ModuleType):
            # What a module has from another is that one's.
            if getattr(module, "__all__", None) or getattr(value, "__module__", module.__name__) in (module.__name__, None):
                yield name


print(f"# Made by tools/standard_names.py: Python {'.'.join(map(str, sys.version_info[:3]))}")
print("\n[modules]")
hidden = {name for name in sys.stdlib_module_names if name.startswith("_")}
print("\n".join(sorted(set(sys.stdlib_module_names) - hidden - {"antigravity", "builtins", "this"} | {"_io"} | set(OTHERS))))
for name in OFFERED:
    print(f"\n[{name}]")
    print("\n".join(sorted(set(public(importlib.import_module(name))))))
