"""The public clients of the Hugging Face Hub, pointed at the gateway by HF_ENDPOINT alone."""
import json
import os
import pathlib

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from transformers import AutoConfig, AutoTokenizer

REPO = "ndif-test/tiny-llama"
local = pathlib.Path(os.environ["TINY_LLAMA"])


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


info = HfApi().model_info(REPO)
assert info.id == REPO and info.pipeline_tag == "text-generation", info
names = {sibling.rfilename for sibling in info.siblings}
assert {"config.json", "tokenizer.json"} <= names and "model.safetensors" not in names, names
assert HfApi().model_info(REPO, revision="main").sha == HfApi().model_info(REPO, revision=info.sha).sha
assert {entry.path for entry in HfApi().list_repo_tree(REPO)} == names
assert HfApi().file_exists(REPO, "config.json") and not HfApi().file_exists(REPO, "nothing.json")

config = pathlib.Path(hf_hub_download(REPO, "config.json"))
assert config.read_bytes() == (local / "config.json").read_bytes()
folder = pathlib.Path(snapshot_download(REPO))
assert (folder / "tokenizer.json").read_bytes() == (local / "tokenizer.json").read_bytes()
assert not (folder / "model.safetensors").exists()

raises(EntryNotFoundError, lambda: hf_hub_download(REPO, "nothing.json"))
raises(RevisionNotFoundError, lambda: HfApi().model_info(REPO, revision="other"))
raises(RepositoryNotFoundError, lambda: HfApi().model_info("no/such"))
refused = raises(GatedRepoError, lambda: hf_hub_download(REPO, "model.safetensors"))
assert "stay on this server" in str(refused), refused

assert AutoConfig.from_pretrained(REPO).model_type == json.loads((local / "config.json").read_text())["model_type"]
text = "The capital of France"
assert AutoTokenizer.from_pretrained(REPO)(text).input_ids == AutoTokenizer.from_pretrained(local)(text).input_ids
