"""A configuration and examples -> what MLflow is told of them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from evoprompt.records import Example


def flat_parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return a nested configuration with dotted keys."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= (
            flat_parameters(value, f"{prefix}{key}.")
            if isinstance(value, dict) and value
            else {f"{prefix}{key}": value}
        )
    return flat


def digest(examples: Sequence[Example]) -> str:
    """Return 16 hexadecimal digits that change with the examples or their order."""
    return hashlib.blake2b(
        "\n".join(f"{e.input}\t{e.target}" for e in examples).encode(), digest_size=8
    ).hexdigest()
