"""A PEFT adapter (LoRA and its like): found, merged into the weights of its base model, and part of
the fingerprint of both. The only file that imports peft.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def resolve_adapter(name: str) -> Path:
    """Return the folder of an adapter, downloading it where the name is a hub id.

    Raises:
        UserError: peft is not installed, or there is no such adapter.
    """
    if find_spec("peft") is None:
        raise UserError(
            "model.adapter needs the package peft, which is not installed here: pip install "
            "'evoprompt[peft]'; or give a folder with the merged weights (merge_and_unload) as "
            "model.name"
        )
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _from_hub(name)
    if not (folder / CONFIG).exists() or _weights_of(folder) is None:
        raise UserError(
            f"{folder} is no PEFT adapter: it needs {CONFIG} and {WEIGHTS[0]}, as save_pretrained "
            "writes them; give such a folder as model.adapter"
        )
    return folder.resolve()


def with_adapter(fingerprint: str, folder: Path) -> str:
    """Return the fingerprint of a model with an adapter: it changes with the adapter's weights and
    configuration.
    """
    digest = hashlib.sha256(fingerprint.encode())
    weights = _weights_of(folder)
    for file in (folder / CONFIG, *([weights] if weights else [])):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:32]


def merge_adapter(network: Any, folder: Path) -> Any:
    """Return a network with an adapter merged into its weights, in their place.

    Raises:
        UserError: the adapter was made for a model of other layers or shapes, cannot be merged, or
            cannot be read.
    """
    import peft

    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the base model's folder has another name than its id
            adapted = peft.get_peft_model(network, config)
        if not hasattr(adapted, "merge_and_unload"):
            raise ValueError(f"one of the kind {config.peft_type} cannot be merged into weights")
        given = peft.load_peft_weights(str(folder), device="cpu")
        if fault := _fault(given, peft.get_peft_model_state_dict(adapted)):
            raise ValueError(fault)
        peft.set_peft_model_state_dict(adapted, given)
        return adapted.merge_and_unload(safe_merge=True)
    except Exception as error:  # noqa: BLE001  a folder may hold anything, and break any reader
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:250]
        raise UserError(
            f"the adapter {folder} cannot be merged into this model ({why}){_made_for(folder)}"
        ) from None


def _fault(given: dict[str, Any], expected: dict[str, Any]) -> str:
    """Return how an adapter's weights differ from those that its model has room for, or nothing."""
    missing, left = sorted(expected.keys() - given), sorted(given.keys() - expected)
    if missing or left:
        kind, names = ("lacks", missing) if missing else ("has no layer for", left)
        whose = "it" if missing else "the model"
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{whose} {kind} {names[0]}{more}"
    for name, weight in expected.items():
        if given[name].shape != weight.shape:
            shapes = f"{tuple(given[name].shape)}, the model has room for {tuple(weight.shape)}"
            return f"{name} has the shape {shapes}"
    return ""


def _made_for(folder: Path) -> str:
    """Return which model an adapter says that it was made for, for the end of a sentence."""
    try:
        base = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return "; give the model that it was made for as model.name"
    return f"; it was made for '{base}': give that as model.name" if base else ""


def _weights_of(folder: Path) -> Path | None:
    return next((folder / name for name in WEIGHTS if (folder / name).exists()), None)


def _from_hub(name: str) -> Path:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(
            f"there is no adapter '{name}': no folder of that name and no hub id (owner/name); "
            "give a folder as save_pretrained of peft writes it"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, *WEIGHTS]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"cannot get the adapter '{name}' from the hub ({str(error).splitlines()[0][:150]}); "
            "give a local folder"
        ) from None
