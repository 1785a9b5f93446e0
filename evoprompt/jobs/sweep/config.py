"""The strict schema of a sweep, its reader, and what its runs are.

Axes and `set` have dotted keys of the run configuration. A relative path among their values is read
from the sweep file's folder.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from evoprompt.config.reader import check_section, parse_override, put_value, read_mapping
from evoprompt.config.shipped import config_file, refuse_other_kind
from evoprompt.config.task import is_hub_address
from evoprompt.config.values import NUMBER, Few, FilePath, Section, Seed
from evoprompt.config.yaml_text import MAX_DEPTH, dump_yaml
from evoprompt.errors import UserError, nearest
from evoprompt.jobs.evolve.config import Config, check_config, load_config
from evoprompt.jobs.sweep.record import Settings
from evoprompt.jobs.sweep.stopping import StoppingConfig
from evoprompt.scoring.models import place_model
from evoprompt.seeding import Stream, generator

SEED = "seed"  #: the axis whose runs are replicates of each other
#: What an override sets of the sweep itself, and not of its runs.
OWN = ("stopping", "parallel")
PATH_KEYS = ("task.path", "task.test_path")
LABEL_CHARACTERS = 40
#: The most runs of a sweep, and the largest end of a range.
MOST_RUNS, LARGEST_END = 100_000, 1e18
#: What can be maximised: keys of `summary.json`; `champion.traits.<trait>` too.
OBJECTIVES = (
    *("fitness.best", "fitness.last", "champion.fitness", "champion.validation_fitness"),
    *("test.champion", "test.champion.value", "test.difference", "test.difference.value"),
)


class Range(Section):
    """Numbers from `low` to `high`, both included; whole ones where the key's are. `log`: every
    factor is as likely, not every step.
    """

    #: the least value
    low: Annotated[float, NUMBER, Field(ge=-LARGEST_END, le=LARGEST_END)]
    #: the greatest value
    high: Annotated[float, NUMBER, Field(ge=-LARGEST_END, le=LARGEST_END)]
    log: bool = False  #: whether every factor is as likely, rather than every step

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a positive low (given: {self.low:g})")
        return self


Axis = Annotated[
    Annotated[list[Any], Tag("list")] | Annotated[Range, Tag("range")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "range"),
]


class SweepConfig(Section):
    """Which runs a sweep has."""

    name: str  #: of the folder and of what is tracked; default: that of the file
    base: FilePath  #: a run config, relative to the sweep's file
    set: dict[str, Any] = Field(default_factory=dict)  #: dotted keys for all runs
    #: all combinations, random draws, or draws that learn from the runs before (needs optuna)
    method: Literal["grid", "random", "bayes"] = "grid"
    axes: dict[str, Axis]  #: dotted keys that vary: a list of values, or a range
    #: of random and bayes; a grid has all combinations
    runs: Annotated[int, NUMBER, Field(ge=1, le=MOST_RUNS)] | None = None
    #: what is maximised; `test.*` makes the test examples a part of the search, so that the best
    #: run's accuracy is no longer held out
    objective: str = "fitness.best"
    #: of the draws of random and bayes; the runs' own is the axis or key `seed`
    seed: Seed = 0
    stopping: StoppingConfig = StoppingConfig()
    #: runs at a time, each in a process of its own, with its share of the workers
    parallel: Few = 1

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.axes:
            raise ValueError(
                "axes is empty; name at least one key that varies, e.g. axes: {seed: [0, 1, 2]}"
            )
        for key, axis in self.axes.items():
            if isinstance(axis, Range):
                if self.method == "grid":
                    raise ValueError(
                        f"axes.{key} is a range, which a grid cannot take; list its values, or "
                        f"set method to random or bayes"
                    )
            elif not axis:
                raise ValueError(f"axes.{key} has no values; list at least one")
            elif len({canonical(v) for v in axis}) < len(axis):
                raise ValueError(f"axes.{key} has a value twice; name each once")
        if self.method == "grid" and (num := self._combinations()) > MOST_RUNS:
            raise ValueError(
                f"the grid has {num:,} runs, and {MOST_RUNS:,} is the most; list fewer values, or "
                f"set method to random and runs to their number"
            )
        if (self.runs is None) != (self.method == "grid"):
            raise ValueError(
                "runs goes with random and bayes; a grid has all combinations"
                if self.runs
                else f"method {self.method} needs runs"
            )
        _each_key_once([*self.axes, *self.set])
        if self.objective not in OBJECTIVES and not self.objective.startswith("champion.traits."):
            raise ValueError(
                f"objective '{self.objective}' is nothing of summary.json to be maximised; "
                f"{nearest(self.objective, OBJECTIVES)}"
            )
        return self

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        other = next((k for k in self.axes if k.startswith(("task", "fitness", "model"))), None)
        by_fitness = ("fitness.", "champion.fitness", "champion.validation")
        if other and self.objective.startswith(by_fitness):
            raise ValueError(
                f"axes vary '{other}', so {self.objective} of the runs cannot be compared; "
                f"set objective to test.champion"
            )
        self.stopping.check(self.axes, other, self.method)
        if self.parallel > 1 and self.method == "bayes":
            raise ValueError(
                f"parallel is {self.parallel}, but bayes learns from each run before the next; set "
                f"parallel to 1, or method to random"
            )
        return self

    def _combinations(self) -> int:
        return math.prod(len(axis) for axis in self.axes.values() if isinstance(axis, list))


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep's checked configuration with what it stands on."""

    config: SweepConfig
    base: Mapping[str, Any]  #: the base run config as plain values
    folder: Path  #: where relative paths begin


def load_sweep(path: Path, overrides: Iterable[str] = ()) -> Sweep:
    """Return the sweep of a YAML file, with `dotted.key=value` overrides for all of its runs.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, a value is not valid, or the
            base is not a run config.
    """
    path = config_file(path, "sweep")
    values = read_mapping(path, "sweep", "base: run.yaml, axes: {seed: [0, 1, 2]}")
    refuse_other_kind(values, path, "sweep")
    for key, value in (parse_override(text) for text in overrides):
        if key.split(".")[0] in OWN:
            put_value(values, key, value, f"--set {key}")
        else:
            values["set"] = {**(values.get("set") or {}), key: value}
    config = check_sweep(values, str(path))
    folder = path.resolve().parent
    if config.base.suffix == "" or not (folder / config.base).exists():
        raise UserError(
            f"{path}: base: there is no run config {folder / config.base}; the path is relative "
            f"to the sweep's file"
        )
    for key, axis in config.axes.items():
        if isinstance(axis, Range) and number_type(key) is int and (axis.low % 1 or axis.high % 1):
            raise UserError(
                f"{path}: axes.{key} takes whole numbers, and its range is {axis.low:g} to "
                f"{axis.high:g}; give whole ends"
            )
    return Sweep(config, load_config(folder / config.base).model_dump(mode="json"), folder)


def dump_sweep(sweep: Sweep, base: str) -> str:
    """Return the sweep as YAML that `load_sweep` reads back, with the base config under another
    path.
    """
    values = sweep.config.model_dump(mode="json") | {
        "base": base,
        "set": {k: _absolute(k, v, sweep.folder) for k, v in sweep.config.set.items()},
    }
    values["axes"] = {
        k: [_absolute(k, v, sweep.folder) for v in a] if isinstance(a, list) else a
        for k, a in values["axes"].items()
    }
    return dump_yaml({k: v for k, v in values.items() if v is not None})


def settle(sweep: Sweep, settings: Settings, name: str) -> Config:
    """Return the configuration of the run with these settings (dotted key to value).

    Raises:
        UserError: a key is unknown or a value is not valid.
    """
    values: dict[str, Any] = copy.deepcopy(dict(sweep.base))
    for key, value in {**sweep.config.set, **settings}.items():
        put_value(values, key, _absolute(key, value, sweep.folder), f"'{key}'")
    values["name"] = name
    return check_config(values, f"sweep {sweep.config.name}, run {name}")


def plan(sweep: Sweep) -> list[Settings]:
    """Return the settings of each run of a grid or random sweep, in order. The last axis of a grid
    varies fastest.

    Random draws follow from (sweep seed, run, axis); a listed `seed` is not drawn, the runs take
    its values in turn.
    """
    axes = sweep.config.axes
    if sweep.config.method == "grid":
        values = [axis for axis in axes.values() if isinstance(axis, list)]
        return [
            dict(zip(axes, combination, strict=True)) for combination in itertools.product(*values)
        ]
    return [
        {key: draw(sweep.config, key, number) for key in axes}
        for number in range(1, (sweep.config.runs or 0) + 1)
    ]


def draw(config: SweepConfig, key: str, number: int) -> Any:
    """Return the value of an axis in a run that is drawn; runs are numbered from 1."""
    axis = config.axes[key]
    rng = generator(config.seed, Stream.SWEEP, number, list(config.axes).index(key))
    if isinstance(axis, list):
        return axis[(number - 1) % len(axis)] if key == SEED else axis[int(rng.integers(len(axis)))]
    whole = number_type(key) is int
    edge = 0.5 if whole else 0.0  # so that the ends of whole numbers are as likely as the others
    low, high = axis.low - edge, axis.high + edge
    at = float(rng.uniform(np.log(low), np.log(high)) if axis.log else rng.uniform(low, high))
    return tidy(axis, float(np.exp(at)) if axis.log else at, whole)


def tidy(axis: Range, value: float, whole: bool) -> int | float:
    """Return a number of a range as it is used: whole, or with six digits; inside the range."""
    rounded = round(value) if whole else float(f"{value:.6g}")
    inside = min(max(rounded, axis.low), axis.high)
    return int(inside) if whole else inside


def corners(sweep: Sweep) -> list[Settings]:
    """Return settings in which every value and every end of a range is met once; what can be
    checked where the runs are not known yet.
    """
    values: dict[str, list[Any]] = {}
    for key, axis in sweep.config.axes.items():
        values[key] = (
            axis
            if isinstance(axis, list)
            else [tidy(axis, end, number_type(key) is int) for end in (axis.low, axis.high)]
        )
    first = {key: choices[0] for key, choices in values.items()}
    return [
        first,
        *({**first, key: value} for key, choices in values.items() for value in choices[1:]),
    ]


def number_type(key: str) -> type[int] | type[float]:
    """Return whether a key of the run configuration takes whole numbers or any.

    Raises:
        UserError: there is no such key, or its values are not numbers.
    """
    annotation: Any = Config
    for name in key.split("."):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if name not in annotation.model_fields:
                raise UserError(
                    f"axes: unknown key '{key}'; {nearest(name, annotation.model_fields)}"
                )
            annotation = annotation.model_fields[name].annotation
        else:
            annotation = (
                (*get_args(annotation), None)[1] if get_origin(annotation) is dict else None
            )
    kinds = _members(annotation)
    if float in kinds or int in kinds:
        return float if float in kinds else int
    raise UserError(f"axes.{key} is a range, but its values are not numbers; list them")


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return a name for each key: as many of its last parts as tell it from the others."""
    names = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        names[key] = next(
            (
                end
                for end in ends
                if not any(k != key and (k == end or k.endswith(f".{end}")) for k in keys)
            ),
            key,
        )
    return names


def short_value(value: Any) -> str:
    """Return a value for a table's cell or a folder's name."""
    if isinstance(value, Mapping):
        return " ".join(short_value(v) for v in value.values())
    if isinstance(value, str) and "/" in value:
        return Path(value).stem
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def label(number: int, settings: Settings) -> str:
    """Return a run's folder: its number, and its settings in short."""
    names = short_names(list(settings))
    words = [
        short_value(v)
        if isinstance(v, str | Mapping)
        else f"{names[k].split('.')[-1]}{short_value(v)}"
        for k, v in settings.items()
    ]
    text = "-".join(re.sub(r"[^a-z0-9.]+", "_", word.lower()).strip("_.") for word in words)
    return f"{number:03d}-{text[:LABEL_CHARACTERS].rstrip('-_.')}"


def canonical(value: Any) -> str:
    """Return a text that is equal for equal values only; true is not 1."""
    return json.dumps(value, sort_keys=True, default=str)


def _each_key_once(keys: Sequence[str]) -> None:
    known = Counter(keys)
    for key in keys:
        parts = key.split(".")
        above = (".".join(parts[:count]) for count in range(1, min(len(parts), MAX_DEPTH)))
        twice = [key] if known[key] > 1 else [k for k in above if k in known]
        if twice:
            raise ValueError(f"'{twice[0]}' and '{key}' set the same key; keep one of them")


def check_sweep(values: Mapping[str, Any], source: str) -> SweepConfig:
    """Return the sweep of plain values; `source` names them in errors."""
    for key, axis in (
        (values.get("axes") or {}).items() if isinstance(values.get("axes"), dict) else ()
    ):
        if not isinstance(axis, list | dict):
            raise UserError(
                f"{source}: axes.{key} is {axis!r}; expected a list of values or a range {{low: "
                f"1, high: 9}}"
            )
    return check_section(SweepConfig, values, source, _place)


def _place(location: list[str]) -> tuple[list[str], Sequence[str]]:
    """Leave out which kind of axis pydantic took a mapping for, which users do not write."""
    if location[:1] == ["axes"] and len(location) > 2:
        return location[:2] + location[3:], list(Range.model_fields)
    return location, list(SweepConfig.model_fields)


def _absolute(key: str, value: Any, folder: Path) -> Any:
    if key in ("model.name", "model.adapter") and isinstance(value, str):
        return place_model(value, folder)
    is_path = key in PATH_KEYS and isinstance(value, str) and not is_hub_address(value)
    return str((folder / value).resolve()) if is_path else value


def _members(annotation: Any) -> set[Any]:
    """Return the types that an annotation unites."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return {kind for part in get_args(annotation) for kind in _members(part)}
    return {annotation}
