"""Births as plain JSON values and back, exactly: for those who go on after a generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from evoprompt.dynamics.population import Births
from evoprompt.dynamics.rungs import Rungs

_ARRAY = "array"


def births_to_dict(births: Births | Rungs) -> dict[str, Any]:
    """Return births as plain JSON values, NaN and infinities as Python's `json` has them."""
    return {f.name: _plain(getattr(births, f.name)) for f in fields(births)}


def births_from_dict(values: Mapping[str, Any]) -> Births:
    """Return the births of `births_to_dict`'s values."""
    found = {name: _value(value) for name, value in values.items()}
    if found["rungs"] is not None:
        found["rungs"] = Rungs(**{name: _value(v) for name, v in found["rungs"].items()})
    return Births(**found)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {_ARRAY: value.tolist(), "dtype": value.dtype.name, "shape": list(value.shape)}
    return births_to_dict(value) if isinstance(value, Rungs) else value


def _value(value: Any) -> Any:
    if isinstance(value, Mapping) and _ARRAY in value:
        return np.array(value[_ARRAY], dtype=value["dtype"]).reshape(value["shape"])
    return tuple(value) if isinstance(value, list) else value
