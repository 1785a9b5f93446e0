"""A whole run's dynamics, in one pass over its generations with two of them in memory at a time.

    for births in generations(lines):
        account = history.add(births)      what happened in this generation
    history.summary()                      what holds over the run

The latter is plain numbers by name, ready for JSON. What is undefined is a mapping with its
`undefined` reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.account import (
    GenerationAccount,
    PriceAccount,
    example_degrees,
    example_errors,
    example_terms,
    population_account,
    price_account,
)
from evoprompt.dynamics.cases import CaseColumns, CasesOn, case_columns, spread
from evoprompt.dynamics.drift import drift_test
from evoprompt.dynamics.evolvability import EvolvabilityCounts, Gain, paired_gains
from evoprompt.dynamics.genealogy import Genealogy
from evoprompt.dynamics.gradients import lande_arnold, reward_weights
from evoprompt.dynamics.inheritance import (
    Regressions,
    Response,
    Slope,
    Undefined,
    breeders_equation,
    operator_responses,
    realised_heritability,
    response,
)
from evoprompt.dynamics.intensity import intensity
from evoprompt.dynamics.pool import Pool, described_gradients, described_reward
from evoprompt.dynamics.population import Births, Filling
from evoprompt.dynamics.price import generation_terms
from evoprompt.dynamics.remeasured import on_one_measurement, unknown_parents, with_parents
from evoprompt.dynamics.rungs import Rungs

#: What a genealogy's diversity repeats of the population.
COUNTED = ("generation", "num_selected")


class History:
    """Follows a run."""

    def __init__(self) -> None:
        self.genealogy = Genealogy()
        self.lines: list[GenerationAccount] = []  #: by generation: what `add` returned
        #: by generation after the first: what each birth that has parents gained
        self.gains: list[tuple[Gain, ...]] = []
        self._before: Births | None = None
        self._totals: dict[str, dict[str, Floats]] = {}
        self._responses: list[Response] = []
        self._regressions, self._evolvability = Regressions(), EvolvabilityCounts()
        self._operator_responses: list[Any] = []
        self._drift: list[tuple[float, float]] = []
        self._numbers: dict[str, set[int]] = {}  # of examples that each trait was a mean over
        self._differentials: dict[str, Floats] = {}  # S by trait and example, of all responses
        self._chance: dict[str, float] = {}  # variance of all S by trait, by who was drawn
        self._pool = Pool()

    @property
    def index(self) -> dict[str, int]:
        """The place of each birth of the last generation, by birth id."""
        return {name: i for i, name in enumerate(self._before.birth_ids)} if self._before else {}

    def unknown_parents(self, births: Births) -> dict[str, str]:
        """Return the policy ids of the parents of which it is not known what they are worth on the
        examples that all of these births were measured on, by birth id.
        """
        if self._before is None:
            return {}
        policies = dict(zip(self._before.birth_ids, self._before.policy_ids, strict=True))
        return {name: policies[name] for name in unknown_parents(self._before, births)}

    def with_parents(self, births: Births, traits: Mapping[str, Mapping[str, float]]) -> Births:
        """Return births with what parents, by birth id, are worth on those examples."""
        return births if self._before is None else with_parents(self._before, births, traits)

    def add(
        self,
        births: Births,
        cases: CasesOn | None = None,
        chances: Sequence[float] | None = None,
        *,
        filling: Filling | None = "independent",
        num_slots: int | None = None,
    ) -> GenerationAccount:
        """Return a generation's account: that of the population, and how it came from the one
        before.

        Args:
            births: the next generation.
            cases: for standard errors over examples.
            chances: of each selected birth of the generation before to fill a parent slot, where
                they are not known from the lineage.
            filling: how the slots were filled; None where it is not known, so that the variance of
                drift is not either.
            num_slots: how many were filled, parents that have no share in a child included; None:
                there are none of these.

        Raises:
            ValueError: as `generation_terms` and `population_account`.
        """
        self.genealogy.add(births)
        found = self.genealogy.diversity()[-1]
        diversity = asdict(found) | {"effective_size": found.effective_size}
        account = replace(
            population_account(births),
            diversity={k: v for k, v in diversity.items() if k not in COUNTED},
        )
        if self._before is not None:
            before = self._before.with_chances(chances, filling, num_slots)
            account = self._step(account, before, births, cases)
        self._before = births
        self.lines.append(account)
        return account

    def _step(
        self, account: GenerationAccount, before: Births, births: Births, cases: CasesOn | None
    ) -> GenerationAccount:
        """Return a generation's account with why it is not as the one before."""
        terms = generation_terms(before, births)
        strength = _selection(before, births)
        beta = strength["reproduction"].get("beta_eff")
        continuous = _continuous(before, beta, terms.trait_names)
        columns = {} if cases is None else case_columns(before, births, cases)
        self._compare(*on_one_measurement(before, births))
        self._pool.add(before, births.first)
        selection = terms.reproduction.selection
        if selection.drift is not None and selection.drift_variance is not None:
            at = terms.trait_names.index("fitness")
            self._drift.append((float(selection.drift[at]), float(selection.drift_variance[at])))
            for name, value in zip(terms.trait_names, selection.drift_variance, strict=True):
                self._chance[name] = self._chance.get(name, 0.0) + float(value)
        price = {
            name: replace(
                each,
                reproduction=replace(each.reproduction, continuous=continuous.get(name)),
                standard_error=self._errors(name, before, births, columns.get(name)),
            )
            for name, each in price_account(terms).items()
        }
        return replace(
            account,
            price=price,
            selection=strength,
            gradients=_gradients(before, births),
            reward=described_reward(reward_weights([births.first])[0][1]),
        )

    def _compare(self, before: Births, births: Births) -> None:
        """Compare births with their parents, both on one measurement: all births on the first
        examples that they were measured on, so that operators are not judged by who went on.
        """
        self._responses.append(response(before, births))
        self._operator_responses.append(operator_responses(before, births))
        self._regressions.add(before, births)
        self._evolvability.add(before, births)
        self.gains.append(paired_gains(before, births))

    def _errors(
        self, name: str, before: Births, births: Births, cases: CaseColumns | None
    ) -> dict[str, float] | None:
        """Return the standard errors of a trait's terms, and keep its terms by example; None where
        it is not a mean over examples in both generations, or over one alone.
        """
        if cases is None or min(cases.numbers) < 2:
            return None
        by_example = example_terms(before, births, cases)
        self._numbers.setdefault(name, set()).update(cases.numbers)
        total = self._totals.setdefault(name, {})
        for term, values in by_example.items():
            _add_up(total, term, values)
        differential = by_example.get("selection_honest", by_example["reproduction/selection"])
        _add_up(self._differentials, name, differential)
        return example_errors(by_example, cases.numbers)

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
            "drift": _plain(drift_test(*np.array(self._drift).T)) if self._drift else None,
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
            "common_ancestor": _plain(found.common_ancestor),
            "mean_pair_time": _plain(found.mean_pair_time),
            "num_lineages": found.num_lineages.tolist(),
        }


def _add_up(total: dict[str, Floats], name: str, values: Floats) -> None:
    """Add a term by example to that of generations before, which may have had fewer examples."""
    if name in total:
        num = max(len(total[name]), len(values))
        values = spread(total[name], num) + spread(values, num)
    total[name] = values


def _selection(before: Births, births: Births) -> Mapping[str, Any]:
    """Return how strong selection on fitness was, in standard deviations and per unit of variance:
    among the parents as they were selected, among the births that were measured on the most
    examples, and on the way there by number of examples.
    """
    last, fitness = births.last, births.trait("fitness")
    stages = {
        "reproduction": intensity(
            before.trait("fitness")[before.selected], births.success(len(before))[before.selected]
        ),
        "survival": intensity(fitness[last], births.selected[last].astype(np.float64)),
    }
    found = {name: _plain(stage) for name, stage in stages.items()}
    return found if births.rungs is None else found | {"rungs": _races(births, births.rungs)}


def _races(births: Births, rungs: Rungs) -> Mapping[str, Any]:
    at, found = births.trait_names.index("fitness"), {}
    for r, number in enumerate(rungs.examples[:-1]):
        here = rungs.measured[r]
        goes_on = rungs.measured[r + 1][here].astype(np.float64)
        found[str(number)] = _plain(intensity(rungs.traits[r, here, at], goes_on))
    return found


def _continuous(before: Births, beta: float | None, names: Sequence[str]) -> dict[str, float]:
    """Return cov(z, f) beta of every trait: d/dt E(z) = cov(z, f) of the replicator equation, run
    for the time beta that moves fitness as it moved.

    beta = S_f / var(f) is the inverse temperature of the softmax selection that is as strong, to
    first order. None: fitness did not vary. Source: Page and Nowak 2002.
    """
    if beta is None:
        return {}
    chosen = before.traits[before.selected]
    fitness = before.trait("fitness")[before.selected]
    covariance = (fitness - fitness.mean()) @ (chosen - chosen.mean(axis=0)) / len(chosen)
    return {name: float(beta * covariance[before.trait_names.index(name)]) for name in names}


def _gradients(before: Births, births: Births) -> dict[str, object]:
    return described_gradients(lande_arnold(before, births))


def _heritability(responses: list[Response], error_of: Callable[[str], float]) -> dict[str, object]:
    if not responses:
        return {}
    shared = [
        name for name in responses[0].trait_names if all(name in r.trait_names for r in responses)
    ]
    errors = [np.array([error_of(name) for name in shared])]
    found = realised_heritability([_only(r, shared) for r in responses], errors)
    return {name: _plain(value) for name, value in found.items()}


def _only(found: Response, names: list[str]) -> Response:
    at = [found.trait_names.index(name) for name in names]
    return Response(
        tuple(names), found.selection_differential[at], found.response[at], found.rounding[at]
    )


def _slope(slope: Slope | Undefined) -> Any:
    return (
        _plain(slope)
        if isinstance(slope, Undefined)
        else asdict(slope) | {"ci": slope.confidence_interval()}
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Undefined):
        return {"undefined": value.reason}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
