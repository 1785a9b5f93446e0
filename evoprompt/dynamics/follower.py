"""A run's dynamics as it goes, with two generations in memory however many there were.

    for births in generations(lines):
        account = follower.add(births)      what happened in this generation

What holds over a whole run is `history.History`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.account import (
    GenerationAccount,
    example_errors,
    example_terms,
    population_account,
    price_account,
)
from evoprompt.dynamics.cases import CaseColumns, CasesOn, case_columns
from evoprompt.dynamics.diversity import Descent, Diversity, followed
from evoprompt.dynamics.evolvability import Gain, paired_gains
from evoprompt.dynamics.gradients import lande_arnold, reward_weights
from evoprompt.dynamics.inheritance import plain
from evoprompt.dynamics.intensity import intensity
from evoprompt.dynamics.pool import described_gradients, described_reward
from evoprompt.dynamics.population import Births, Filling
from evoprompt.dynamics.price import GenerationTerms, generation_terms
from evoprompt.dynamics.remeasured import on_one_measurement, unknown_parents, with_parents
from evoprompt.dynamics.rungs import Rungs
from evoprompt.dynamics.saved import births_from_dict, births_to_dict

#: What a genealogy's diversity repeats of the population.
COUNTED = ("generation", "num_selected")


class Follower:
    """Follows a run.

    Args:
        keep: generations of which `gains` has what their births gained; None is all.
    """

    def __init__(self, keep: int | None = 0) -> None:
        #: by generation after the first: what each birth that has parents gained
        self.gains: deque[tuple[Gain, ...]] = deque(maxlen=keep)
        self.descent = Descent()
        self._before: Births | None = None

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

    def to_dict(self) -> dict[str, Any]:
        """Return all that it goes on from as plain JSON values."""
        return {
            "before": None if self._before is None else births_to_dict(self._before),
            "descent": self.descent.to_dict(),
            "gains": [[asdict(gain) for gain in brood] for brood in self.gains],
        }

    def resume(self, values: Mapping[str, Any]) -> None:
        """Go on from `to_dict`'s values, as if all generations up to there had been added."""
        self._before = None if values["before"] is None else births_from_dict(values["before"])
        self.descent = Descent.from_dict(values["descent"])
        self.gains.clear()
        for brood in values["gains"]:
            self.gains.append(
                tuple(Gain(**{**g, "parent_ids": tuple(g["parent_ids"])}) for g in brood)
            )

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
        found = self._descend(births)
        diversity = asdict(found) | {"effective_size": found.effective_size}
        account = replace(
            population_account(births),
            diversity={k: v for k, v in diversity.items() if k not in COUNTED},
        )
        if self._before is not None:
            before = self._before.with_chances(chances, filling, num_slots)
            account = self._step(account, before, births, cases)
        self._before = births
        return account

    def _descend(self, births: Births) -> Diversity:
        """Return the diversity of the next generation."""
        before = self._before
        parental = np.zeros(1) if before is None else before.trait("fitness")
        return self.descent.add(births, followed(births, parental)[0])

    def _step(
        self, account: GenerationAccount, before: Births, births: Births, cases: CasesOn | None
    ) -> GenerationAccount:
        """Return a generation's account with why it is not as the one before."""
        terms = generation_terms(before, births)
        strength = _selection(before, births)
        beta = strength["reproduction"].get("beta_eff")
        continuous = _continuous(before, beta, terms.trait_names)
        columns = {} if cases is None else case_columns(before, births, cases)
        by_example = {
            name: example_terms(before, births, own)
            for name, own in columns.items()
            if name in terms.trait_names and min(own.numbers) > 1
        }
        if self.gains.maxlen != 0:
            self.gains.append(paired_gains(*on_one_measurement(before, births)))
        self._keep(before, births, terms, by_example, columns)
        price = {
            name: replace(
                each,
                reproduction=replace(each.reproduction, continuous=continuous.get(name)),
                standard_error=example_errors(by_example[name], columns[name].numbers)
                if name in by_example
                else None,
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

    def _keep(
        self,
        before: Births,
        births: Births,
        terms: GenerationTerms,
        by_example: Mapping[str, Mapping[str, Floats]],
        columns: Mapping[str, CaseColumns],
    ) -> None:
        """Hear of a generation: who came of whom, the terms, and by example those of the traits
        that are means over examples.
        """


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
    found = {name: plain(stage) for name, stage in stages.items()}
    return found if births.rungs is None else found | {"rungs": _races(births, births.rungs)}


def _races(births: Births, rungs: Rungs) -> Mapping[str, Any]:
    at, found = births.trait_names.index("fitness"), {}
    for r, number in enumerate(rungs.examples[:-1]):
        here = rungs.measured[r]
        goes_on = rungs.measured[r + 1][here].astype(np.float64)
        found[str(number)] = plain(intensity(rungs.traits[r, here, at], goes_on))
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
