"""A whole run's dynamics, in one pass over its generations with two of them in memory at a time.

    for births in generations(lines):
        account = history.add(births)      what happened in this generation
    history.summary()                      what holds over the run

The latter is plain numbers by name, ready for JSON. What is undefined is a mapping with its
`undefined` reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.account import (
    GenerationAccount,
    example_degrees,
    example_errors,
)
from evoprompt.dynamics.cases import CaseColumns, CasesOn, spread
from evoprompt.dynamics.diversity import Diversity
from evoprompt.dynamics.drift import drift_test
from evoprompt.dynamics.evolvability import EvolvabilityCounts
from evoprompt.dynamics.follower import Follower
from evoprompt.dynamics.genealogy import Genealogy
from evoprompt.dynamics.inheritance import (
    OperatorResponse,
    Regressions,
    Response,
    Slope,
    Undefined,
    breeders_equation,
    operator_responses,
    plain,
    realised_heritability,
    response,
)
from evoprompt.dynamics.pool import Pool
from evoprompt.dynamics.population import Births, Filling
from evoprompt.dynamics.price import GenerationTerms
from evoprompt.dynamics.remeasured import on_one_measurement
from evoprompt.records import RESTART, SURVIVE


class History(Follower):
    """Follows a run, and adds all of it up.

    Args:
        most: generations whose accounts are kept, evenly spread, up to twice as many and the last;
            None keeps all of them, and what each birth gained.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__(0 if most else None)
        self.genealogy = Genealogy()
        self.num_generations = 0  #: that were added
        self.num_births = 0  #: survivors left out
        self.restarts: list[int] = []  #: generations in which a population was begun anew
        #: generations from which on births were measured on more examples than before, and how many
        self.growth: list[tuple[int, int]] = []
        #: mean effective population size, over the generations in which it is known
        self.effective_size: float | None = None
        self._most, self._every = most, 1
        self._kept: list[GenerationAccount] = []
        self._last: GenerationAccount | None = None
        self._examples: int | None = None  # of the last generation that tells of them
        self._sizes = (0.0, 0)  # sum and number of known effective sizes
        self._price: dict[str, dict[str, float]] = {}  # sums of terms, by trait
        self._totals: dict[str, dict[str, Floats]] = {}
        self._responses: dict[tuple[str, ...], Response] = {}  # sums, by the traits that they have
        self._regressions, self._evolvability = Regressions(), EvolvabilityCounts()
        self._operators: dict[str, _OperatorSums] = {}
        self._drift: list[tuple[float, float]] = []
        self._numbers: dict[str, set[int]] = {}  # of examples that each trait was a mean over
        self._differentials: dict[str, Floats] = {}  # S by trait and example, of all responses
        self._chance: dict[str, float] = {}  # variance of all S by trait, by who was drawn
        self._pool = Pool()

    @property
    def lines(self) -> list[GenerationAccount]:
        """What `add` returned, by generation: of those that are kept, and of the last."""
        if self._last is None or self._kept[-1] is self._last:
            return self._kept
        return [*self._kept, self._last]

    def _descend(self, births: Births) -> Diversity:
        return self.genealogy.add(births)

    def add(
        self,
        births: Births,
        cases: CasesOn | None = None,
        chances: Sequence[float] | None = None,
        *,
        filling: Filling | None = "independent",
        num_slots: int | None = None,
    ) -> GenerationAccount:
        """Return a generation's account, as `Follower.add`, and keep it."""
        account = super().add(births, cases, chances, filling=filling, num_slots=num_slots)
        self.num_births += int((~births.is_operator(SURVIVE)).sum())
        if births.is_operator(RESTART).any() and account.generation not in self.restarts[-1:]:
            self.restarts.append(account.generation)
        self._count(account)
        for name, price in account.price.items():
            total = self._price.setdefault(name, {})
            for term, value in price.terms().items():
                total[term] = total.get(term, 0.0) + value
        return account

    def _count(self, account: GenerationAccount) -> None:
        """Keep a generation's account, if it is one of those, and what is told of all of them."""
        if account.examples is not None:
            if self._examples is not None and account.examples > self._examples:
                self.growth.append((account.generation, account.examples))
            self._examples = account.examples
        if size := account.diversity["effective_size"]:
            total, number = self._sizes
            self._sizes = total + size, number + 1
            self.effective_size = self._sizes[0] / self._sizes[1]
        if self.num_generations % self._every == 0:
            self._kept.append(account)
            if self._most and len(self._kept) > 2 * self._most:
                self._kept, self._every = self._kept[::2], 2 * self._every
        self._last = account
        self.num_generations += 1

    def _keep(
        self,
        before: Births,
        births: Births,
        terms: GenerationTerms,
        by_example: Mapping[str, Mapping[str, Floats]],
        columns: Mapping[str, CaseColumns],
    ) -> None:
        """Add what happened in a generation to what holds over the run."""
        self._compare(*on_one_measurement(before, births))
        self._pool.add(before, births.first)
        selection = terms.reproduction.selection
        if selection.drift is not None and selection.drift_variance is not None:
            at = terms.trait_names.index("fitness")
            self._drift.append((float(selection.drift[at]), float(selection.drift_variance[at])))
            for name, value in zip(terms.trait_names, selection.drift_variance, strict=True):
                self._chance[name] = self._chance.get(name, 0.0) + float(value)
        for name, values in by_example.items():
            self._numbers.setdefault(name, set()).update(columns[name].numbers)
            total = self._totals.setdefault(name, {})
            for term, own in values.items():
                _add_up(total, term, own)
            differential = values.get("selection_honest", values["reproduction/selection"])
            _add_up(self._differentials, name, differential)

    def _compare(self, before: Births, births: Births) -> None:
        """Compare births with their parents, both on one measurement: all births on the first
        examples that they were measured on, so that operators are not judged by who went on.
        """
        found = response(before, births)
        known = self._responses.get(found.trait_names)
        self._responses[found.trait_names] = found if known is None else known + found
        for name, part in operator_responses(before, births).items():
            self._operators.setdefault(name, _OperatorSums()).add(part)
        self._regressions.add(before, births)
        self._evolvability.add(before, births)

    def summary(self) -> Mapping[str, Any]:
        """Return what holds over the whole run.

        `price`: each trait's terms summed over the generations, with standard errors and their
        degrees of freedom where there are examples; `heritability`: sum R / sum S, undefined within
        two errors of S, by which examples were asked and who was drawn as a parent; `operators`:
        births, effect on fitness, evolvability, and by trait the regression on parents and the
        breeder's equation; `drift`: the test of the selection operator; `coalescence`; `gradients`
        and `reward` of all generations together: see `Pool`. Heritability and operators are judged
        on the examples that all births of a generation were measured on; drift and gradients are of
        the parents as they were selected.
        """
        slopes = self._regressions.result()
        last = self._last.price if self._last else {}
        return {
            "price": {name: self._price_total(name) for name in last},
            "heritability": _heritability(list(self._responses.values()), self._selection_error),
            "operators": {
                name: self._operator(name, value, slopes)
                for name, value in self._evolvability.result().items()
            },
            **self._pool.summary(),
            "drift": plain(drift_test(*np.array(self._drift).T)) if self._drift else None,
            "coalescence": self._coalescence(),
        }

    def _selection_error(self, name: str) -> float:
        """Return the standard error of sum S: by the examples and by chance of who was drawn, as
        far as they are known.
        """
        total = self._differentials.get(name)
        by_example = 0.0
        if total is not None:
            by_example = example_errors({name: total}, self._numbers.get(name, ()))[name]
        return float(np.sqrt(by_example**2 + self._chance.get(name, 0.0)))

    def _price_total(self, name: str) -> dict[str, object]:
        total = self._price[name]
        if name not in self._totals:
            return {**total}
        by_example, numbers = self._totals[name], self._numbers[name]
        errors = example_errors(by_example, numbers)
        degrees = example_degrees(by_example, numbers)
        return total | {"standard_error": errors, "degrees": degrees}

    def _operator(
        self, name: str, found: Any, slopes: Mapping[tuple[str, str], Slope | Undefined]
    ) -> dict[str, object]:
        own = {trait: slope for (operator, trait), slope in slopes.items() if operator == name}
        return {
            "num_children": found.num_children,
            "mean_effect": found.mean_effect,
            "standard_error": found.standard_error,
            "share_better": found.share_better,
            "share_better_ci": found.confidence_interval(),
            "slopes": {trait: _slope(slope) for trait, slope in own.items()},
            "bias": self._operators[name].bias(name, slopes) if name in self._operators else {},
        }

    def _coalescence(self) -> dict[str, object]:
        found = self.genealogy.coalescence()
        return {
            "common_ancestor": plain(found.common_ancestor),
            "mean_pair_time": plain(found.mean_pair_time),
            "num_lineages": found.num_lineages.tolist(),
        }


class _OperatorSums:
    """Sums over generations of what one operator's children were expected and found to be."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._sums: dict[str, Floats] = {}  # by trait: of the share times S_o, and times R_o

    def add(self, part: OperatorResponse) -> None:
        """Add a generation."""
        self._weight += part.share
        both = part.share * np.stack([part.selection_differential, part.response], axis=1)
        for name, row in zip(part.trait_names, both, strict=True):
            known = self._sums.get(name)
            self._sums[name] = row if known is None else known + row

    def bias(
        self, name: str, slopes: Mapping[tuple[str, str], Slope | Undefined]
    ) -> dict[str, float]:
        """Return where the operator moves each trait whoever was selected: the mean bias of the
        breeder's equation, weighted by births.
        """
        selected, gained = np.stack(list(self._sums.values()), axis=1) / self._weight
        mean = OperatorResponse(tuple(self._sums), self._weight, selected, gained)
        return {
            trait: found.bias
            for (_, trait), found in breeders_equation({name: mean}, slopes).items()
            if not isinstance(found, Undefined)
        }


def _add_up(total: dict[str, Floats], name: str, values: Floats) -> None:
    """Add a term by example to that of generations before, which may have had fewer examples."""
    if name in total:
        num = max(len(total[name]), len(values))
        values = spread(total[name], num) + spread(values, num)
    total[name] = values


def _heritability(responses: list[Response], error_of: Callable[[str], float]) -> dict[str, object]:
    if not responses:
        return {}
    shared = [
        name for name in responses[0].trait_names if all(name in r.trait_names for r in responses)
    ]
    errors = [np.array([error_of(name) for name in shared])]
    found = realised_heritability([_only(r, shared) for r in responses], errors)
    return {name: plain(value) for name, value in found.items()}


def _only(found: Response, names: list[str]) -> Response:
    at = [found.trait_names.index(name) for name in names]
    return Response(
        tuple(names), found.selection_differential[at], found.response[at], found.rounding[at]
    )


def _slope(slope: Slope | Undefined) -> Any:
    return (
        plain(slope)
        if isinstance(slope, Undefined)
        else asdict(slope) | {"ci": slope.confidence_interval()}
    )
