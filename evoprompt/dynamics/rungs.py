"""The numbers of examples that one generation was measured on: all births on the first few, then
some of them on more.

    lineage lines of a generation --> Rungs

Knows traits by number of examples. Does not know parentage, nor who decided that a birth goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats


@dataclass(frozen=True, slots=True)
class Rungs:
    """A generation's traits on each number of examples, ascending. All births were measured on the
    first; a birth that was measured on one was on all before.
    """

    examples: tuple[int, ...]
    measured: NDArray[np.bool_]  #: shape (rung, birth)
    #: shape (rung, birth, trait); NaN where a birth was not measured or lacks the trait
    traits: Floats


def read_rungs(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Rungs | None:
    """Return the rungs of a generation's lines, or None where all births were measured on one
    number of examples.

    Args:
        rows: lines of the lineage, all of one generation.
        names: the traits.

    Raises:
        ValueError: a birth was measured on a number of examples but not on one before, a selected
            birth not on the last, or the births were measured on different numbers and do not say
            what they were on each. The message names the birth.
    """
    if not any("rungs" in row for row in rows):
        _check_one_number(rows)
        return None
    ladders = [_by_number(row) for row in rows]
    examples = sorted({number for ladder in ladders for number in ladder})
    for row, ladder in zip(rows, ladders, strict=True):
        _check_ladder(row, list(ladder), examples)
        if "fitness" in names and not all("fitness" in traits for traits in ladder.values()):
            raise ValueError(f"a rung of birth {row['birth_id']} has no fitness; give it on each")
    lacking: Mapping[str, float] = {}
    return Rungs(
        tuple(examples),
        np.array([[m in ladder for ladder in ladders] for m in examples]),
        np.array(
            [
                [[ladder.get(m, lacking).get(name, np.nan) for name in names] for ladder in ladders]
                for m in examples
            ],
            dtype=np.float64,
        ).reshape(len(examples), len(rows), len(names)),
    )


def common_number(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the number of examples that a generation ended with, or None where it is not told."""
    return max((row["examples"] for row in rows if row.get("examples")), default=None)


def _by_number(row: Mapping[str, Any]) -> dict[int, Mapping[str, float]]:
    if "rungs" not in row and "examples" not in row:
        raise ValueError(
            f"birth {row['birth_id']} does not say on how many examples it was measured, and others"
            " of its generation do; give it 'rungs'"
        )
    told = row.get("rungs", [{"examples": row.get("examples"), "traits": row["traits"]}])
    found = {rung["examples"]: rung["traits"] for rung in told}
    last = max(found)
    if "fitness" in row and "fitness" not in found[last]:
        found[last] = {"fitness": row["fitness"], **found[last]}
    return found


def _check_one_number(rows: Sequence[Mapping[str, Any]]) -> None:
    numbers = {int(row["examples"]): row["birth_id"] for row in rows if row.get("examples")}
    if len(numbers) > 1:
        least = min(numbers)
        raise ValueError(
            f"birth {numbers[least]} was measured on {least} examples, others of its generation on "
            f"{max(numbers)}; give all their traits on each number as 'rungs'"
        )


def _check_ladder(row: Mapping[str, Any], own: list[int], examples: list[int]) -> None:
    who, numbers = f"birth {row['birth_id']}", ", ".join(map(str, own))
    if own != examples[: len(own)]:
        missing = next(m for m in examples if m not in own)
        raise ValueError(
            f"{who} was measured on {numbers} examples, and not on {missing}, as others of its "
            "generation; expected the first of the generation's numbers"
        )
    if row["selected"] and own != examples:
        raise ValueError(
            f"{who} is selected and was measured on {numbers} examples alone, others of its "
            f"generation on {examples[-1]}; expected the selected to be measured on all"
        )
