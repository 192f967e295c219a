"""Pretrained models and tokenizers: from a folder, or from the hub at a pinned commit.

The only module that speaks to the hub. It fetches configs, tokenizers and safetensors weights, never pickled ones, and
never runs code of a repository. What is in the hub's cache is taken from there, without a call. The variables of
huggingface_hub hold: HF_TOKEN, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE.
"""

import hashlib
from pathlib import Path
from typing import Any

from specbeam.errors import SpecbeamError
from specbeam.files import read_json

DESCRIPTION = ("*.json", "*.txt", "*.model", "*.jinja")
"""Files of configs and tokenizers."""
WEIGHTS = ("model*.safetensors", "[0-9]_*/model.safetensors")
"""Files of weights, and those of the modules behind a sentence encoder; other names (consolidated.safetensors) hold the
same once more."""
SHA256_DIGITS = 64
SWITCHES = {
    "quantization_config": "holds weights in few bits, which other packages or code of the hub would read",
    "transformers_weights": "takes its weights from files of other names",
    "configuration_files": "takes its config from another file",
    "attribute_map": "renames its own settings",
}
"""Keys of a config.json that are refused at any depth, and what a model with them does."""


def tokenizer(name: str, *, revision: str | None) -> Any:
    """The transformers tokenizer of the model `name` (see `files`); raises SpecbeamError if there is none."""
    return tokenizer_in(files(name, revision=revision, weights=False), of=name, mend="choose another base")


def tokenizer_in(folder: Path, *, of: str, mend: str) -> Any:
    """The transformers tokenizer whose files are in `folder`; SpecbeamError, which ends with `mend`, if it has none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # which is just what the package tokenizers raises
        raise SpecbeamError(
            f"cannot load the tokenizer of {of}: expected a tokenizer's files, such as tokenizer.json, in {folder}, "
            f"got {type(error).__name__}: {str(error)[:500]}; {mend}"
        ) from error


def files(name: str, *, revision: str | None, weights: bool) -> Path:
    """The folder with the config and tokenizer of the model `name`, and with its weights if asked for.

    `name` is a folder, or a repository of the hub, which is fetched at `revision`. Raises SpecbeamError if it is
    missing, may not be read, cannot be reached, has no safetensors weights, or was damaged on its way.
    """
    folder = Path(name) if Path(name).is_dir() else _fetched(name, revision or "main", weights=weights)
    if weights and not list(folder.glob(WEIGHTS[0])):
        others = ", ".join(sorted(path.name for path in folder.glob("*.bin")))
        raise SpecbeamError(
            f"cannot load {name}: expected safetensors weights (model.safetensors, or its shards) in {folder}, found "
            f"{others or 'none'}. Pickled weights are not loaded: take a revision with safetensors, or convert them "
            "once with transformers' save_pretrained, and set base to that folder"
        )
    return folder


def refuse_unsafe(folder: Path) -> None:
    """Raise SpecbeamError if the model in `folder` would have transformers read or run more than its own weights."""
    if (folder / "adapter_config.json").exists():
        raise SpecbeamError(
            f"{folder}: expected a whole model, found adapter_config.json, which names its base elsewhere; merge the "
            "adapters into the base first (peft's merge_and_unload) and save that"
        )
    for index in folder.glob("*.index.json"):
        shards = read_json(index)
        shards = shards.get("weight_map") if isinstance(shards, dict) else None
        names = list(shards.values()) if isinstance(shards, dict) else [None]
        if outside := [name for name in names if not isinstance(name, str) or Path(name).name != name]:
            raise SpecbeamError(
                f"{index}: expected names of files in this folder, got {outside[0]!r:.200}; take another copy of the "
                "model"
            )
    if (config := folder / "config.json").exists():
        for key in sorted(SWITCHES.keys() & _keys(read_json(config))):
            raise SpecbeamError(
                f"{config}: expected a model in safetensors of full precision, found {key}: it {SWITCHES[key]}; take "
                "another copy of the model"
            )


def _keys(value: Any) -> set[str]:
    """Keys at any depth of what was JSON, without those that are null."""
    found, below = set(), [value]
    while below:
        value = below.pop()
        if isinstance(value, dict):
            found |= {name for name in value if value[name] is not None}
            below += value.values()
        elif isinstance(value, list):
            below += value
    return found


def _fetched(name: str, revision: str, *, weights: bool) -> Path:
    from huggingface_hub import errors, snapshot_download

    what = f"cannot fetch {name} at revision {revision} from the hub"
    wanted = [*DESCRIPTION, *(WEIGHTS if weights else ())]
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except errors.GatedRepoError as error:
        raise SpecbeamError(
            f"{what}: its owner grants access. Expected the token of an account that has it: ask for access on the "
            "model's page, then set HF_TOKEN or run `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SpecbeamError(
            f"{what}: it has no such revision. Expected a commit of it; the model's page lists them under History"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SpecbeamError(
            f"{what}: expected a folder, or a repository such as huggyllama/llama-7b, found neither. Check the name; "
            "if it is private, set HF_TOKEN or run `hf auth login`"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise SpecbeamError(
            f"{what}: the hub was not reached, and not all of the model is in the cache. Expected a connection to the "
            "hub (HF_ENDPOINT, HF_HUB_OFFLINE), or a cache (HF_HOME) that a machine with one has filled"
        ) from error
    except errors.HFValidationError as error:
        raise SpecbeamError(f"{what}: expected a folder, or the name of a repository: {error}") from error
    except (errors.HTTPError, OSError, ValueError) as error:  # connections, proxies; names of files that lead outside
        why = str(error).strip()
        raise SpecbeamError(f"{what}: {why}. Check connection, proxy and token (HF_TOKEN), or try again") from error
    if weights:
        _check_downloads(folder)
    return folder


def _check_downloads(folder: Path) -> None:
    """Compare the weights with their checksums, by which the hub names large files in its cache.

    A file whose bytes are wrong but as many as they should be would load, and nothing else would tell.
    """
    for path in sorted(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        blob = path.resolve()
        if len(blob.name) != SHA256_DIGITS:
            continue
        with blob.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != blob.name:
            raise SpecbeamError(
                f"{path}: damaged on its way, or since: expected SHA-256 {blob.name}, got {found}; delete {blob} and "
                "run again"
            )
