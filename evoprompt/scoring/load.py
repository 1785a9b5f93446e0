"""A model's configuration -> a scorer that is ready, and the memo that goes with it."""

from __future__ import annotations

from importlib import metadata

from evoprompt.config.sections import ModelConfig
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.models import memo_file, resolve_model
from evoprompt.scoring.prefix_store import PrefixStore


def load_scorer(model: ModelConfig, threads: int | None) -> Scorer:
    """Return a scorer with its model, loaded in this process.

    Raises:
        UserError: as `resolve_model` and `TransformersLM`.
    """
    from evoprompt.scoring.lm import TransformersLM

    folder = resolve_model(model.name, model.revision)
    network = TransformersLM(folder, dtype=model.dtype, device=model.device, threads=threads)
    store = PrefixStore(model.prefix_store_mib * 2**20) if model.prefix_store_mib else None
    return Scorer(
        network,
        chunk_tokens=model.chunk_tokens or network.chunk_tokens(),
        path=None if model.scoring == "auto" else model.scoring,
        store=store,
    )


def open_memo(
    fingerprint: str,
    *,
    dtype: str,
    device: str,
    arithmetic: str,
    path: str,
    chunk_tokens: int,
    threads: int | None,
) -> Memo:
    """Return the memo of a model as it is loaded: all that the bits of a score depend on, but its
    tokens, goes into the signature.
    """
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "transformers")]
    return Memo(
        memo_file(),
        " | ".join(
            map(
                str,
                (fingerprint, dtype, device, arithmetic, path, chunk_tokens, threads, *versions),
            )
        ),
    )
