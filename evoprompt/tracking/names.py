"""A generation's or a round's line and a summary -> metric names and values. Pure.

Names are `group/name`, so that the MLflow UI draws each group as a section of charts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from evoprompt.records import Example


def held_out_table(test: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Return a held-out check as Markdown; `labels` has the part that each row shows."""
    rows = "".join(
        f"| {label} | {test[name]['value']:.3f} | {test[name]['ci'][0]:.3f} to "
        f"{test[name]['ci'][1]:.3f} |\n"
        for label, name in labels.items()
    )
    metric = test["metric"].replace("_", " ")
    return (
        f"{metric} on {test['num_examples']} examples\n\n| | {metric} | interval "
        f"|\n|---|---|---|\n{rows}"
    )


def flat_parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration with dotted keys."""
    flat: dict[str, Any] = {}
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
