"""Every number of every configuration has bounds: none takes what would never end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from evoprompt.config.reader import check_section
from evoprompt.errors import UserError
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.sweep.config import Range, SweepConfig


def numbers(section: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of fields that take numbers."""
    for name, field in section.model_fields.items():
        members = [field.annotation, *get_args(field.annotation)]
        sections = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
        for inner in sections:
            if inner is not section:
                first = ("0",) if get_origin(field.annotation) is list else ()
                yield from numbers(inner, (*path, name, *first))
        if any(kind in str(field.annotation) for kind in ("int", "float")) and not sections:
            yield (*path, name)


FIELDS = [
    (section, path)
    for section in (Config, BoostConfig, SweepConfig, Range)
    for path in numbers(section)
    if path[-1] not in ("starting_demonstrations", "operators", "axes")
]


@pytest.mark.parametrize(
    ("section", "path"), FIELDS, ids=lambda p: ".".join(p) if isinstance(p, tuple) else p.__name__
)
@pytest.mark.parametrize(
    "value", [float("inf"), float("-inf"), float("nan"), 1e300, -1e300, 10**40, True, -(10**19)]
)
def test_no_number_is_without_bounds(section: Any, path: tuple[str, ...], value: Any):
    values: Any = value
    for name in reversed(path):
        values = [values] if name == "0" else {name: values}
    with pytest.raises(UserError, match=f"{'.'.join(path)}: ") as caught:
        check_section(section, values, "c.yaml")
    assert len(str(caught.value)) < 2000


def test_numbers_are_found():
    names = {path[-1] for _, path in FIELDS}
    assert {"tournament_size", "alpha", "low", "runs", "share", "threshold", "seed"} <= names
    assert len(FIELDS) > 40


def test_a_table_of_operators_and_a_list_of_numbers_have_bounds():
    for values in (
        {"evolution": {"operators": {"crossover": float("inf")}}},
        {"task": {"name": "inbox", "starting_demonstrations": [10**19]}},
    ):
        with pytest.raises(UserError, match=r"crossover: |starting_demonstrations.0: "):
            check_section(Config, {"task": {"name": "inbox"}, **values}, "c.yaml")
