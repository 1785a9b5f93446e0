"""Which weights a server has: it tells nothing of them, so it is asked for a few log-probabilities,
and these are held against those that were heard under its name before. Weights that change under
one name are so told apart, and the memo does not answer for them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

#: Nats that one log-probability may differ by for the same weights: by the order of sums, what else
#: is in a batch, and kernels (measured: llama.cpp with flash attention 0.009 a token at most).
TOLERANCE = 0.02
#: Weights that are remembered of one name, the last heard.
MOST = 50


def known_weights(file: Path, name: str, heard: Sequence[float]) -> str:
    """Return by what the weights behind a name are known: that of the first ones that gave the same
    log-probabilities, within a tolerance, or a new one.

    Args:
        file: where is remembered what was heard; one that cannot be read or written is passed over,
            so that the weights are new ones, and nothing is answered for others.
        name: of the model, and where it is.
        heard: log-probabilities of fixed tokens, nats, in order.
    """
    kept = _read(file)
    others = kept.get(name, {})
    for own, values in others.items():
        if len(values) == len(heard) and all(
            abs(a - b) <= TOLERANCE for a, b in zip(values, heard, strict=True)
        ):
            return own
    new = hashlib.sha256(json.dumps([name, *heard]).encode()).hexdigest()[:16]
    last = list(others.items())[1 - MOST :]
    _write(file, {**kept, name: {**dict(last), new: list(heard)}})
    return new


def _read(file: Path) -> dict[str, dict[str, list[float]]]:
    try:
        found = json.loads(file.read_text("utf-8"))
        return {
            str(name): {str(own): [float(v) for v in values] for own, values in weights.items()}
            for name, weights in found.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(file: Path, kept: dict[str, dict[str, list[float]]]) -> None:
    """Write whole or not at all."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(kept), "utf-8")
        part.replace(file)
    with suppress(OSError):
        part.unlink()  # there is none where all went well
