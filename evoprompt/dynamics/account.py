"""A generation's account: every term of every trait, with its standard error where the traits are
means over examples, and the files' form of it.

    Births, Births --> GenerationTerms --> {trait: PriceAccount} --> GenerationAccount

Given the lineage, every term is linear in the traits. A trait that is a mean over examples makes
each term a mean over examples too, of the term of each example's own column: so standard errors
need no resampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import sqrt
from typing import Any, Self

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.population import Births
from evoprompt.dynamics.price import GenerationTerms, SelectionTerms, generation_terms


@dataclass(frozen=True, slots=True)
class SelectionAccount:
    """One stage's selection on a trait, and what is known of its parts; in the trait's unit."""

    selection: float
    expected: float | None = None  #: in the mean over the scheme's chances
    drift: float | None = None  #: what was realised less what was expected
    drift_variance: float | None = None
    between: float | None = None  #: of several islands
    within: float | None = None
    continuous: float | None = None  #: of the replicator equation

    def to_dict(self) -> dict[str, float]:
        """Return what is known, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class PriceAccount:
    """Every term of one trait, in its own unit; they add up to `change`."""

    reproduction: SelectionAccount
    transmission: float
    transmission_by_operator: Mapping[str, float]
    immigration: float
    survival: SelectionAccount
    change: float
    residual: float  #: the change less all its terms: rounding
    batch_shift: float | None = None  #: these three where the parents were measured again
    noise_giveback: float | None = None
    selection_honest: float | None = None
    standard_error: Mapping[str, float] | None = None  #: over examples, by the names of `flat`

    @property
    def remeasurement(self) -> float:
        """What scoring the parents again added to the mean: batch shift and noise given back; 0
        where they were not.
        """
        return (self.batch_shift or 0.0) + (self.noise_giveback or 0.0)

    def terms(self) -> dict[str, float]:
        """Return the terms by name; each operator's transmission stands below the whole."""
        return flat({k: v for k, v in self.to_dict().items() if k != "standard_error"})

    def to_dict(self) -> dict[str, object]:
        """Return what is known, by name."""
        again = {
            name: value
            for name in ("batch_shift", "noise_giveback", "selection_honest")
            if (value := getattr(self, name)) is not None
        }
        errors = {} if self.standard_error is None else {"standard_error": self.standard_error}
        return {
            "reproduction": self.reproduction.to_dict(),
            "transmission": self.transmission,
            "transmission_by_operator": dict(self.transmission_by_operator),
            "immigration": self.immigration,
            "survival": self.survival.to_dict(),
            **again,
            "change": self.change,
            "residual": self.residual,
            **errors,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the account of `to_dict`'s values."""
        stages = {name: SelectionAccount(**values[name]) for name in ("reproduction", "survival")}
        return cls(**{**values, **stages})


@dataclass(frozen=True, slots=True)
class FitnessAccount:
    """Fitness in a generation."""

    best: float
    mean: float  #: of the selected
    births_mean: float  #: of all births


@dataclass(frozen=True, slots=True)
class GenerationAccount:
    """A generation: who was born and selected, and why the traits' means are not those of the
    generation before; the last four are empty or None where there is none before.
    """

    generation: int
    num_births: int
    num_selected: int
    fitness: FitnessAccount
    traits: Mapping[str, float]  #: means over the selected
    best_accuracy: float | None = None  #: of the fittest, where accuracy is a trait
    price: Mapping[str, PriceAccount] = field(default_factory=dict)  #: by trait
    diversity: Mapping[str, float | None] = field(default_factory=dict)
    selection: Mapping[str, Any] | None = None  #: how strong it was on fitness, by stage
    gradients: Mapping[str, Any] | None = None  #: what selection acts on
    reward: Mapping[str, Any] | None = None  #: what makes fitness

    def to_dict(self) -> dict[str, object]:
        """Return the account as `generations.jsonl` has it."""
        best = {} if self.best_accuracy is None else {"best_accuracy": self.best_accuracy}
        step = {name: getattr(self, name) for name in ("selection", "gradients", "reward")}
        return {
            "generation": self.generation,
            "num_births": self.num_births,
            "num_selected": self.num_selected,
            "fitness": asdict(self.fitness),
            "traits": dict(self.traits),
            **best,
            "price": {name: account.to_dict() for name, account in self.price.items()},
            "diversity": dict(self.diversity),
            **{name: value for name, value in step.items() if value is not None},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the account of `to_dict`'s values; what else there is, is left out."""
        own = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        price = {name: PriceAccount.from_dict(each) for name, each in values["price"].items()}
        return cls(**{**own, "fitness": FitnessAccount(**values["fitness"]), "price": price})


def population_account(births: Births) -> GenerationAccount:
    """Return how many were born and selected, and the selected births' best and mean fitness and
    mean traits.

    Raises:
        ValueError: none is selected, or fitness is not among the traits.
    """
    if "fitness" not in births.trait_names or not births.selected.any():
        raise ValueError(
            f"generation {births.generation} needs a fitness for every birth, and at least one "
            f"that is selected"
        )
    fitness, chosen = births.trait("fitness"), births.traits[births.selected]
    best = int(np.argmax(np.where(births.selected, fitness, -np.inf)))
    accuracy = float(births.trait("accuracy")[best]) if "accuracy" in births.trait_names else None
    return GenerationAccount(
        births.generation,
        len(births),
        len(chosen),
        FitnessAccount(
            best=float(fitness[best]),
            mean=float(fitness[births.selected].mean()),
            births_mean=float(fitness.mean()),
        ),
        dict(zip(births.trait_names, chosen.mean(axis=0).tolist(), strict=True)),
        accuracy,
    )


def price_account(terms: GenerationTerms) -> dict[str, PriceAccount]:
    """Return every term of every trait."""
    return {name: _trait(terms, place) for place, name in enumerate(terms.trait_names)}


def example_terms(
    before: Births, births: Births, cases_before: Floats, cases: Floats
) -> dict[str, Floats]:
    """Return every term of a trait that is a mean over examples, by example: shape (example,) each;
    their means are the terms.

    Args:
        before: the generation before.
        births: all births of the next.
        cases_before: the trait by example, shape (birth, example).
        cases: the same of the next generation.
    """
    names = tuple(str(e) for e in range(cases.shape[1]))
    columns = generation_terms(
        replace(before, trait_names=names, traits=cases_before, remeasured=None),
        replace(births, trait_names=names, traits=cases),
    )
    accounts = [_trait(columns, place).terms() for place in range(len(names))]
    left_out = ("residual", "reproduction/drift_variance")
    return {
        name: np.array([account[name] for account in accounts])
        for name in accounts[0]
        if name not in left_out
    }


def example_errors(terms: Mapping[str, Floats]) -> dict[str, float]:
    """Return the standard error of every term over examples: sd(u, ddof=1) / sqrt(examples), u as
    `example_terms` has it.

    This is the uncertainty from which examples were asked, given who was born and selected; drift,
    the uncertainty of who was, is a term of its own. Terms of several generations may be added up
    before: the same examples were asked in all of them.

    Raises:
        ValueError: fewer than two examples; the error is then undefined.
    """
    num = len(next(iter(terms.values())))
    if num < 2:
        raise ValueError(f"example_errors: {num} example(s); a standard error needs at least two")
    return {name: float(np.std(values, ddof=1)) / sqrt(num) for name, values in terms.items()}


def flat(account: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return nested numbers by name; what is by operator stands below the whole: `transmission`,
    `transmission/edit`.
    """
    found: dict[str, float] = {}
    for name, value in account.items():
        place = f"{prefix}{name.removesuffix('_by_operator')}"
        found |= flat(value, f"{place}/") if isinstance(value, Mapping) else {place: value}
    return found


def _trait(terms: GenerationTerms, place: int) -> PriceAccount:
    stage = terms.reproduction
    again = stage.remeasurement
    giveback = None if again is None else float(again.giveback[place])
    honest = None if giveback is None else float(stage.selection.total[place]) + giveback
    return PriceAccount(
        reproduction=_selection(stage.selection, place),
        transmission=float(sum(values[place] for values in stage.transmission.values())),
        transmission_by_operator={
            name: float(values[place]) for name, values in stage.transmission.items()
        },
        immigration=float(stage.immigration[place]),
        survival=_selection(terms.survival, place),
        change=float(terms.change[place]),
        residual=float(terms.residual[place]),
        batch_shift=None if again is None else float(again.shift[place]),
        noise_giveback=giveback,
        selection_honest=honest,
    )


def _selection(terms: SelectionTerms, place: int) -> SelectionAccount:
    def at(values: Floats | None) -> float | None:
        return None if values is None else float(values[place])

    several = terms.num_islands > 1
    return SelectionAccount(
        selection=float(terms.total[place]),
        expected=at(terms.expected),
        drift=at(terms.drift),
        drift_variance=at(terms.drift_variance),
        between=at(terms.between) if several else None,
        within=at(terms.within) if several else None,
    )
