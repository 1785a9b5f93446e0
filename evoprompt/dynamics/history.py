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
    PriceAccount,
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


class History(Follower):
    """Follows a run, and adds all of it up."""

    def __init__(self) -> None:
        super().__init__(None)
        self.genealogy = Genealogy()
        self.lines: list[GenerationAccount] = []  #: by generation: what `add` returned
        self._totals: dict[str, dict[str, Floats]] = {}
        self._responses: list[Response] = []
        self._regressions, self._evolvability = Regressions(), EvolvabilityCounts()
        self._operator_responses: list[Any] = []
        self._drift: list[tuple[float, float]] = []
        self._numbers: dict[str, set[int]] = {}  # of examples that each trait was a mean over
        self._differentials: dict[str, Floats] = {}  # S by trait and example, of all responses
        self._chance: dict[str, float] = {}  # variance of all S by trait, by who was drawn
        self._pool = Pool()

    def _descend(self, births: Births) -> Diversity:
        self.genealogy.add(births)
        return self.genealogy.diversity()[-1]

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
        self.lines.append(account)
        return account

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
        self._responses.append(response(before, births))
        self._operator_responses.append(operator_responses(before, births))
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
        steps = [line.price for line in self.lines if line.price]
        return {
            "price": {
                name: self._price_total(name, steps) for name in (steps[-1] if steps else {})
            },
            "heritability": _heritability(self._responses, self._selection_error),
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

    def _price_total(
        self, name: str, steps: Sequence[Mapping[str, PriceAccount]]
    ) -> dict[str, object]:
        total: dict[str, float] = {}
        for price in steps:
            for term, value in (price[name].terms() if name in price else {}).items():
                total[term] = total.get(term, 0.0) + value
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
            "bias": self._bias(name, slopes),
        }

    def _bias(
        self, name: str, slopes: Mapping[tuple[str, str], Slope | Undefined]
    ) -> dict[str, float]:
        """Return where an operator moves each trait whoever was selected: the mean bias of the
        breeder's equation, weighted by births.
        """
        sums: dict[str, float] = {}
        weight = 0.0
        for parts in self._operator_responses:
            if name in parts:
                weight += parts[name].share
                for (_, trait), found in breeders_equation({name: parts[name]}, slopes).items():
                    if not isinstance(found, Undefined):
                        sums[trait] = sums.get(trait, 0.0) + parts[name].share * found.bias
        return {trait: value / weight for trait, value in sums.items()}

    def _coalescence(self) -> dict[str, object]:
        found = self.genealogy.coalescence()
        return {
            "common_ancestor": plain(found.common_ancestor),
            "mean_pair_time": plain(found.mean_pair_time),
            "num_lineages": found.num_lineages.tolist(),
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
