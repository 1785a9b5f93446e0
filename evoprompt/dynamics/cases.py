"""Traits that are means over examples, by example: for standard errors over the examples.

Knows who was measured on which number of the first examples. Does not know what the examples are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

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
    """Return a mean over the first m examples as one over the first `num`, with the same mean and
    the same standard error.

        x_e -> mean + f (x_e - mean), f^2 = num (num - 1) / (m (m - 1)), for e < m; the mean itself
        for the others

    So means over different numbers of the first examples can be added up example by example, and
    the standard error of their sum is the jackknife's that leaves out one example at a time, each
    mean's change being taken times sqrt((m - 1) / m), so that it is without bias for each mean.

    Args:
        values: by example, shape (..., m).
        num: of examples, at least m.

    Raises:
        ValueError: m is 1 and less than `num`: one example has no spread.

    Source: Tukey 1958 (the jackknife's standard error).
    """
    own = values.shape[-1]
    if own == num:
        return values
    if own < 2:
        raise ValueError(f"spread: {own} example(s); a standard error needs at least two")
    mean = values.mean(axis=-1, keepdims=True)
    result = np.repeat(mean, num, axis=-1)
    result[..., :own] += sqrt(num * (num - 1) / (own * (own - 1))) * (values - mean)
    return np.asarray(result, dtype=np.float64)


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
