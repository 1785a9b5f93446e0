"""Whether a line of a lineage says what it may, so that nothing is counted by mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

#: Numbers beyond this have squares and sums that are not finite.
GREATEST = 1e100
#: By which a fitness that is told twice may differ: rounding, in parts of it or in its unit.
SAME = 1e-9


def check_line(row: Any) -> None:
    """Find out whether a line has the parts of a birth, each of its own type.

    Raises:
        ValueError: it has not; the message names the birth, the key and what was expected.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"expected a JSON object with the keys of a birth, got {row!r}"[:200])
    who = f"birth {row.get('birth_id')}"
    for key in ("generation", "birth_id", "parent_ids", "shares", "operator", "selected", "traits"):
        if key not in row:
            raise ValueError(f"{who} has no '{key}'")
    _expect(who, row, "generation", "a whole number", _is_whole)
    _expect(who, row, "island", "a whole number", _is_whole)
    _expect(who, row, "selected", "true or false", lambda v: isinstance(v, bool))
    for key in ("birth_id", "operator", "policy_id"):
        _expect(who, row, key, "a text", lambda v: isinstance(v, str))
    _expect(who, row, "parent_ids", "a list of birth ids", lambda v: _all(v, _is_text))
    _expect(who, row, "shares", "a list of numbers from 0 to 1", lambda v: _all(v, _is_share))
    _expect(
        who,
        row,
        "edits",
        "a list of operators, the first that of the birth",
        lambda v: _all(v, _is_text) and _operators(v[:1]) == [row["operator"]],
    )
    for key in ("selection_probability", "survival_probability"):
        _expect(who, row, key, "a number from 0 to 1, or null", _is_share_or_none)
    _expect(who, row, "fitness", f"a number within {GREATEST:.0e}", _is_number)
    numbers = f"numbers by name, within {GREATEST:.0e}"
    _expect(who, row, "traits", numbers, _is_numbers)
    _expect(who, row, "remeasured", numbers, lambda v: v is None or _is_numbers(v))
    _expect(who, row, "examples", "a whole number of examples, at least 1", _is_count)
    form = "a list of {'examples': a number of them, 'traits': numbers by name}"
    _expect(who, row, "rungs", form, lambda v: bool(v) and _all(v, _is_rung))
    _check_fitness(who, row)
    _check_rungs(who, row)


def _operators(edits: Sequence[str]) -> list[str]:
    """Return the operators of edits, without their ways."""
    return [edit.partition(":")[0] for edit in edits]


def same(a: float, b: float) -> bool:
    """Return whether two numbers are one but for rounding."""
    return abs(a - b) <= SAME * max(1.0, abs(a), abs(b))


def _check_fitness(who: str, row: Mapping[str, Any]) -> None:
    beside, inside = row.get("fitness"), row["traits"].get("fitness")
    if beside is not None and inside is not None and not same(beside, inside):
        raise ValueError(
            f"{who} has the fitness {beside!r} and, among its traits, {inside!r}; give it once, or "
            "the same twice"
        )


def _check_rungs(who: str, row: Mapping[str, Any]) -> None:
    if "rungs" not in row:
        return
    counts, last = [rung["examples"] for rung in row["rungs"]], row["rungs"][-1]
    if any(a >= b for a, b in pairwise(counts)):
        raise ValueError(f"{who}: the examples of its rungs are {counts}; expected them ascending")
    if row.get("examples", counts[-1]) != counts[-1] or last["traits"] != row["traits"]:
        raise ValueError(
            f"{who}: 'examples' and 'traits' are not those of its last rung, of {counts[-1]} "
            "examples; expected the same"
        )


def _expect(who: str, row: Mapping[str, Any], key: str, what: str, holds: Any) -> None:
    if key in row and not holds(row[key]):
        raise ValueError(f"{who}: '{key}' is {row[key]!r}; expected {what}"[:300])


def _is_number(value: Any) -> bool:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and abs(value) <= GREATEST and isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def _is_rung(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and _is_count(value.get("examples"))
        and _is_numbers(value.get("traits"))
    )


def _is_share(value: Any) -> bool:
    # a sum of probabilities may be off by rounding
    return _is_number(value) and -SAME <= value <= 1 + SAME


def _is_share_or_none(value: Any) -> bool:
    return value is None or _is_share(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_number, value.values()))


def _all(value: Any, holds: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(holds, value))
