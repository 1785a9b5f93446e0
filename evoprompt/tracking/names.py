"""A configuration and examples -> what MLflow is told of them. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evoprompt.errors import clip, printable
from evoprompt.records import Example

#: What MLflow takes of a key and of a value; the rest would be refused, or cut without a word.
MAX_KEY, MAX_VALUE = 250, 6000
_KEY = re.compile(r"[\w.\- :/]+")  #: of its own rule
_REFUSED = re.compile(r"[^\w.\- :]")
_NO_PART = frozenset(("", ".", ".."))  #: of keys that it takes for paths


def flat_parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return a nested configuration with dotted keys. Where a key of a user's has a dot itself and
    gives the same dotted key, the later of them has a `_` more.
    """
    flat: dict[str, object] = {}
    for key, value in values.items():
        place = f"{prefix}{key}"
        nested = isinstance(value, dict) and value
        inner = flat_parameters(value, f"{place}.") if nested else {place: value}
        for name, found in inner.items():
            while name in flat:
                name += "_"
            flat[name] = found
    return flat


def store_key(key: str) -> str:
    """Return the key of a metric, a parameter or a tag as MLflow takes it; different keys stay
    different.

    What MLflow takes stays. In any other, what it refuses becomes `_`, and 8 hexadecimal digits of
    the whole key follow, which also tell apart what is cut.
    """
    parts = key.split("/")
    if len(key) <= MAX_KEY and _KEY.fullmatch(key) and not _NO_PART.intersection(parts):
        return key
    clean = "/".join("_" if p in _NO_PART else _REFUSED.sub("_", p) for p in parts)
    sign = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return f"{clean[: MAX_KEY - len(sign) - 1]}-{sign}"


def store_value(value: object) -> str:
    """Return the value of a parameter or a tag as text that any store takes: control characters as
    escapes, and cut with a mark where it is longer than MLflow takes.
    """
    return clip(printable(str(value)), MAX_VALUE)


def digest(examples: Sequence[Example]) -> str:
    """Return 16 hexadecimal digits that change with the examples or their order."""
    return hashlib.blake2b(
        "\n".join(f"{e.input}\t{e.target}" for e in examples).encode(), digest_size=8
    ).hexdigest()
