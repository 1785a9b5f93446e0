"""Traits that are means over examples, by example: for standard errors over the examples.

Knows who was measured on which number of the first examples. Does not know what the examples are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.population import Births
from evoprompt.dynamics.remeasured import is_measured_again

#: Traits that are means over examples by example, each of shape (..., example).
Cases = Mapping[str, Floats]
#: A policy's id and a number of examples -> its traits on the first so many, shape (example,) each;
#: None stands for all that it was measured on.
CasesOn = Callable[[str, int | None], Cases]


@dataclass(frozen=True, slots=True)
class CaseColumns:
    """One trait of a generation and the next by example; rows of births that were not measured, and
    of parents that were not selected, do not count.
    """

    before: Floats  #: of the generation before as it was selected, shape (parent, example)
    #: of the next on each number of examples, ascending, shape (birth, example) each
    births: Sequence[Floats]
    #: of the generation before on the first of those numbers, shape (parent, example); None where
    #: it was not measured again
    again: Floats | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of examples, of every part."""
        parts = [self.before, *self.births, *([] if self.again is None else [self.again])]
        return tuple(part.shape[1] for part in parts)


def case_columns(before: Births, births: Births, cases: CasesOn) -> dict[str, CaseColumns]:
    """Return the traits that are means over examples of a generation and the next, by name."""
    rows = before.selected
    then = _by_example(before, rows, before.examples, cases)
    again = None
    if is_measured_again(before, births):
        again = _by_example(before, rows, births.first.examples, cases)
    if births.rungs is None:
        now = [_by_example(births, births.last, births.examples, cases)]
    else:
        steps = zip(births.rungs.measured, births.rungs.examples, strict=True)
        now = [_by_example(births, measured, number, cases) for measured, number in steps]
    names = [n for n in then if all(n in part for part in (*now, *([again] if again else [])))]
    return {
        name: CaseColumns(
            then[name], [part[name] for part in now], None if again is None else again[name]
        )
        for name in names
    }


def spread(values: Floats, num: int) -> Floats:
    """Return a mean over the first m examples as one over the first `num`: x_e num / m for those, 0
    for the others. So means over different numbers of examples add up example by example.

    Args:
        values: by example, shape (..., m).
        num: of examples, at least m.
    """
    own = values.shape[-1]
    if own == num:
        return values
    result = np.zeros((*values.shape[:-1], num))
    result[..., :own] = values * (num / own)
    return result


def strata(numbers: Iterable[int]) -> tuple[int, ...]:
    """Return the ends of the runs of examples that means over these numbers of the first examples
    weigh alike, ascending; a run has at least two examples, where there are as many.
    """
    ends: list[int] = []
    for number in sorted(set(numbers), reverse=True):
        if not ends or (number >= 2 and ends[-1] - number >= 2):
            ends.append(number)
    return tuple(reversed(ends))


def _by_example(
    births: Births, rows: Sequence[bool] | np.ndarray, number: int | None, cases: CasesOn
) -> Cases:
    """Return the traits of some of the births by example, shape (birth, example); 0 elsewhere."""
    found = {int(i): cases(births.policy_ids[i], number) for i in np.flatnonzero(rows)}
    every = list(found.values())
    names = [n for n in (every[0] if every else {}) if all(n in each for each in every)]
    result = {}
    for name in names:
        values = np.zeros((len(births), len(every[0][name])))
        for i, each in found.items():
            values[i] = each[name]
        result[name] = values
    return result
