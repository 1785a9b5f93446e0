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
from numpy.typing import NDArray

from evoprompt.arrays import Floats
from evoprompt.dynamics.account import (
    GenerationAccount,
    PriceAccount,
    example_errors,
    example_terms,
    population_account,
    price_account,
)
from evoprompt.dynamics.drift import drift_test
from evoprompt.dynamics.evolvability import EvolvabilityCounts
from evoprompt.dynamics.genealogy import Genealogy
from evoprompt.dynamics.gradients import (
    Gradients,
    RewardFeatures,
    lande_arnold,
    reward_features,
    reward_weights,
    selection_gradients,
)
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
from evoprompt.dynamics.population import Births, Filling
from evoprompt.dynamics.price import generation_terms

#: What a genealogy's diversity repeats of the population.
COUNTED = ("generation", "num_selected")
#: Births that gradients and reward features are pooled over, at most.
POOLED_ROWS = 100_000

#: A trait by birth and example, by trait name: those traits that are means over examples.
Cases = Mapping[str, Floats]


class History:
    """Follows a run."""

    def __init__(self) -> None:
        self.genealogy = Genealogy()
        self.lines: list[GenerationAccount] = []  #: by generation: what `add` returned
        self._before: Births | None = None
        self._cases: Cases = {}
        self._totals: dict[str, dict[str, Floats]] = {}
        self._responses: list[Response] = []
        self._regressions, self._evolvability = Regressions(), EvolvabilityCounts()
        self._operator_responses: list[Any] = []
        self._drift: list[tuple[float, float]] = []
        self._chance: dict[str, float] = {}  # variance of all S by trait, by who was drawn
        self._pool = Pool()

    @property
    def index(self) -> dict[str, int]:
        """The place of each birth of the last generation, by birth id."""
        return {name: i for i, name in enumerate(self._before.birth_ids)} if self._before else {}

    def add(
        self,
        births: Births,
        cases: Cases | None = None,
        chances: Sequence[float] | None = None,
        *,
        filling: Filling | None = "independent",
        num_slots: int | None = None,
    ) -> GenerationAccount:
        """Return a generation's account: that of the population, and how it came from the one
        before.

        Args:
            births: the next generation.
            cases: for standard errors over examples, shape (birth, example) each.
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
            account = self._step(account, before, births, cases or {})
        self._before, self._cases = births, cases or {}
        self.lines.append(account)
        return account

    def _step(
        self, account: GenerationAccount, before: Births, births: Births, cases: Cases
    ) -> GenerationAccount:
        """Return a generation's account with why it is not as the one before."""
        terms = generation_terms(before, births)
        strength = _selection(before, births)
        beta = strength["reproduction"].get("beta_eff")
        continuous = _continuous(before, beta, terms.trait_names)
        self._responses.append(response(before, births))
        self._operator_responses.append(operator_responses(before, births))
        self._pool.add(before, births)
        self._regressions.add(before, births)
        self._evolvability.add(before, births)
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
                standard_error=self._errors(name, before, births, cases),
            )
            for name, each in price_account(terms).items()
        }
        return replace(
            account,
            price=price,
            selection=strength,
            gradients=_gradients(before, births),
            reward=_described_reward(reward_weights([births])[0][1]),
        )

    def _errors(
        self, name: str, before: Births, births: Births, cases: Cases
    ) -> dict[str, float] | None:
        """Return the standard errors of a trait's terms, and keep its terms by example; None where
        it is not a mean over examples in both generations.
        """
        if name not in cases or name not in self._cases or cases[name].shape[1] < 2:
            return None
        by_example = example_terms(before, births, self._cases[name], cases[name])
        self._add_up(name, by_example)
        return example_errors(by_example)

    def _add_up(self, name: str, by_example: Mapping[str, Floats]) -> None:
        total = self._totals.setdefault(name, {})
        for term, values in by_example.items():
            total[term] = total[term] + values if term in total else values

    def summary(self) -> Mapping[str, Any]:
        """Return what holds over the whole run.

        `price`: each trait's terms summed over the generations, with standard errors where there
        are examples; `heritability`: sum R / sum S, undefined within two errors of S, by which
        examples were asked and who was drawn as a parent; `operators`: births, effect on fitness,
        evolvability, and by trait the regression on parents and the breeder's equation; `drift`:
        the test of the selection operator; `coalescence`; `gradients` and `reward` of all
        generations together: see `Pool`.
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
        total = self._totals.get(name)
        by_example = example_errors(total)["reproduction/selection"] if total else 0.0
        return float(np.sqrt(by_example**2 + self._chance.get(name, 0.0)))

    def _price_total(
        self, name: str, steps: Sequence[Mapping[str, PriceAccount]]
    ) -> dict[str, object]:
        total: dict[str, float] = {}
        for price in steps:
            for term, value in (price[name].terms() if name in price else {}).items():
                total[term] = total.get(term, 0.0) + value
        errors = example_errors(self._totals[name]) if name in self._totals else None
        return total | ({"standard_error": errors} if errors else {})

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


class Pool:
    """Individuals of all generations, each measured from the mean of its own: a small population
    tells many traits apart only so.

    Selection gradients from the parents' traits and relative success; reward features from all
    births' traits and fitness. The traits are those of the first generation but fitness; after
    `POOLED_ROWS` births no more are kept, since a large population has both in each generation.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._parents: list[tuple[Floats, Floats]] = []  # traits and relative success
        self._births: list[tuple[Floats, Floats]] = []  # traits and fitness
        self._num = 0

    def add(self, before: Births, births: Births) -> None:
        """Add a pair of generations."""
        if not self._names:
            self._names = tuple(name for name in before.trait_names if name != "fitness")
        complete = all(name in b.trait_names for b in (before, births) for name in self._names)
        if not complete or self._num > POOLED_ROWS:
            return
        success = births.success(len(before))[before.selected]
        self._parents.append((self._deviations(before, before.selected), success / success.mean()))
        fitness = births.trait("fitness")
        self._births.append(
            (self._deviations(births, np.ones(len(births), dtype=bool)), fitness - fitness.mean())
        )
        self._num += len(births)

    def _deviations(self, births: Births, rows: NDArray[np.bool_]) -> Floats:
        columns = births.traits[:, [births.trait_names.index(name) for name in self._names]][rows]
        return np.asarray(columns - columns.mean(axis=0), dtype=np.float64)

    def summary(self) -> dict[str, Mapping[str, object]]:
        """Return gradients and reward over all generations."""
        if not self._parents:
            return {}
        traits, weight = (np.concatenate(columns) for columns in zip(*self._parents, strict=True))
        all_traits, fitness = (
            np.concatenate(columns) for columns in zip(*self._births, strict=True)
        )
        gradients = selection_gradients(traits, self._names, weight, rng=np.random.default_rng(0))
        return {
            "gradients": _described_gradients(gradients),
            "reward": _described_reward(reward_features(all_traits, self._names, fitness)),
        }


def _selection(before: Births, births: Births) -> Mapping[str, Any]:
    """Return how strong selection on fitness was in both stages, in standard deviations and per
    unit of variance.
    """
    stages = {
        "reproduction": intensity(
            before.trait("fitness")[before.selected], births.success(len(before))[before.selected]
        ),
        "survival": intensity(births.trait("fitness"), births.selected.astype(np.float64)),
    }
    return {name: _plain(found) for name, found in stages.items()}


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
    return _described_gradients(lande_arnold(before, births))


def _described_gradients(found: Gradients | Undefined) -> dict[str, object]:
    if isinstance(found, Undefined):
        return {"undefined": found.reason}
    errors = found.standard_error.tolist() if found.standard_error is not None else None
    return {
        "gradient": dict(zip(found.trait_names, found.gradient.tolist(), strict=True)),
        "standard_error": dict(zip(found.trait_names, errors, strict=True)) if errors else None,
        "differential": dict(zip(found.trait_names, found.differential.tolist(), strict=True)),
        "warning": found.warning,
    }


def _described_reward(found: RewardFeatures | Undefined) -> dict[str, object]:
    if isinstance(found, Undefined):
        return {"undefined": found.reason}
    return {
        "weight": dict(zip(found.trait_names, found.weight.tolist(), strict=True)),
        "r_squared": found.r_squared,
        "warning": found.warning,
    }


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
