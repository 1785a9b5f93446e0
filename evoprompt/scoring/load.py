"""A model's configuration -> a scorer that is ready, and the memo that goes with it."""

from __future__ import annotations

from importlib import metadata

from evoprompt.config.sections import ModelConfig
from evoprompt.scoring.adapter import resolve_adapter, with_adapter
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.models import memo_file, model_fingerprint, resolve_model
from evoprompt.scoring.prefix_store import PrefixStore
from evoprompt.scoring.verdicts import keep_verdict, read_verdict, verdict_file


def load_scorer(model: ModelConfig, threads: int | None) -> Scorer:
    """Return a scorer with its model, loaded in this process.

    How the model is scored is found by a probe once, and read from the cache from then on.

    Raises:
        UserError: as `resolve_model`, `resolve_adapter` and `TransformersLM`, or there is no memory
            for passes.
    """
    from evoprompt.scoring.lm import TransformersLM

    folder = resolve_model(model.name, model.revision)
    adapter = None if model.adapter is None else resolve_adapter(model.adapter)
    network = TransformersLM(
        folder, dtype=model.dtype, device=model.device, threads=threads, adapter=adapter
    )
    chunk_tokens = model.chunk_tokens or network.chunk_tokens()
    network.check_memory(chunk_tokens)
    store = PrefixStore(model.prefix_store_mib * 2**20) if model.prefix_store_mib else None
    if model.scoring != "auto":
        return Scorer(network, chunk_tokens=chunk_tokens, path=model.scoring, store=store)
    # all that the verdict depends on; the package's own code too
    fingerprint = model_fingerprint(folder)
    if adapter is not None:
        fingerprint = with_adapter(fingerprint, adapter)
    signature = (fingerprint, network.dtype, network.device, network.arithmetic)
    file = verdict_file((*map(str, signature), str(chunk_tokens), *_versions()))
    known = read_verdict(file)
    scorer = Scorer(network, chunk_tokens=chunk_tokens, store=store, verdict=known)
    if known is None:
        keep_verdict(file, scorer.verdict)
    return scorer


def _versions() -> list[str]:
    return [f"{name} {metadata.version(name)}" for name in ("torch", "transformers")]


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
    return Memo(
        memo_file(),
        " | ".join(
            map(
                str,
                (fingerprint, dtype, device, arithmetic, path, chunk_tokens, threads, *_versions()),
            )
        ),
    )
