"""The values that configurations are made of, and what every section is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

#: The most of anything that is counted, the largest seed (the most that a store's integers hold),
#: and the largest weight or number of seconds.
MOST, LARGEST_SEED, LARGEST = 1_000_000, 2**63 - 1, 1e9


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"expected a number, not {str(value).lower()}")
    return value


#: Said of every number: YAML's true and false are none.
NUMBER = BeforeValidator(_no_truth_value)
Positive = Annotated[int, NUMBER, Field(ge=1, le=MOST)]
Count = Annotated[int, NUMBER, Field(ge=0, le=MOST)]
Few = Annotated[int, NUMBER, Field(ge=1, le=10_000)]
Seed = Annotated[int, NUMBER, Field(ge=0, le=LARGEST_SEED)]
Tokens = Annotated[int, NUMBER, Field(ge=1, le=10**15)]
Share = Annotated[float, NUMBER, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Probability = Annotated[float, NUMBER, Field(ge=0, le=1)]
Level = Annotated[float, NUMBER, Field(ge=1e-9, le=1 - 1e-9)]
Extent = Annotated[float, NUMBER, Field(ge=1e-9, le=LARGEST, allow_inf_nan=False)]


def possible(path: Path) -> Path:
    """Return the path, unless no file can have it."""
    if "\0" in str(path) or str(path) in ("", "."):
        raise ValueError(f"{str(path)!r} is no path of a file or a folder")
    return path


FilePath = Annotated[Path, AfterValidator(possible)]


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
