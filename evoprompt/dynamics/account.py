"""A generation's account: every term of every trait, with its standard error where the traits are
means over examples, and the files' form of it.

    Births, Births --> GenerationTerms --> {trait: PriceAccount} --> GenerationAccount

Given the lineage, every term is linear in the traits. A trait that is a mean over examples makes
each term a mean over examples too, of the term of each example's own column: so standard errors
need no resampling. A trait that is fitted to the examples, as one with calibrated choices, is taken
as if each example's value did not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import hypot, sqrt
from typing import Any, Self

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.cases import CaseColumns, spread, strata
from evoprompt.dynamics.population import Births
from evoprompt.dynamics.price import (
    GenerationTerms,
    RungTerms,
    SelectionTerms,
    generation_terms,
)
from evoprompt.stats.significance import t_quantile


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
        return _known(self)


@dataclass(frozen=True, slots=True)
class RungAccount:
    """What one number of examples did to a trait's mean, see `RungTerms`; in the trait's unit."""

    shift: float | None = None
    selection: float | None = None
    between: float | None = None  #: of several islands
    within: float | None = None

    def to_dict(self) -> dict[str, float]:
        """Return what is known, by name."""
        return _known(self)


@dataclass(frozen=True, slots=True)
class PriceAccount:
    """Every term of one trait, in its own unit; they add up to `change`: selection in reproduction,
    transmission, immigration, selection in the race, selection in survival, remeasurement.
    """

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
    #: by number of examples, ascending; empty where all births were measured on one
    rungs: Mapping[str, RungAccount] = field(default_factory=dict)

    @property
    def racing(self) -> float:
        """Selection of the births that were measured on more examples, over all rungs."""
        return sum(r.selection for r in self.rungs.values() if r.selection is not None)

    @property
    def racing_shift(self) -> float:
        """By how much their means changed on more examples, over all rungs."""
        return sum(r.shift for r in self.rungs.values() if r.shift is not None)

    @property
    def remeasurement(self) -> float:
        """What measuring again added to the mean: batch shift and noise given back of the parents,
        and the births' shift over all rungs; 0 where nothing was.
        """
        return (self.batch_shift or 0.0) + (self.noise_giveback or 0.0) + self.racing_shift

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
        race = {
            "racing": {"selection": self.racing, "shift": self.racing_shift},
            "rungs": {number: rung.to_dict() for number, rung in self.rungs.items()},
        }
        return {
            "reproduction": self.reproduction.to_dict(),
            "transmission": self.transmission,
            "transmission_by_operator": dict(self.transmission_by_operator),
            "immigration": self.immigration,
            **(race if self.rungs else {}),
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
        rungs = {number: RungAccount(**rung) for number, rung in values.get("rungs", {}).items()}
        own = {name: value for name, value in values.items() if name != "racing"}
        return cls(**{**own, **stages, "rungs": rungs})


@dataclass(frozen=True, slots=True)
class FitnessAccount:
    """Fitness in a generation."""

    best: float
    mean: float  #: of the selected
    births_mean: float  #: of all births, on the examples that all were measured on


@dataclass(frozen=True, slots=True)
class GenerationAccount:
    """A generation: who was born and selected, and why the traits' means are not those of the
    generation before; those from `price` to `reward` are empty or None where there is none before.
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
    examples: int | None = None  #: that the selected were measured on; None where not known

    def to_dict(self) -> dict[str, object]:
        """Return the account as `generations.jsonl` has it."""
        known = {name: getattr(self, name) for name in ("best_accuracy", "examples")}
        step = {name: getattr(self, name) for name in ("selection", "gradients", "reward")}
        return {
            "generation": self.generation,
            "num_births": self.num_births,
            "num_selected": self.num_selected,
            "fitness": asdict(self.fitness),
            "traits": dict(self.traits),
            **{name: value for name, value in known.items() if value is not None},
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
            births_mean=float(births.first.trait("fitness").mean()),
        ),
        dict(zip(births.trait_names, chosen.mean(axis=0).tolist(), strict=True)),
        accuracy,
        examples=births.examples,
    )


def price_account(terms: GenerationTerms) -> dict[str, PriceAccount]:
    """Return every term of every trait."""
    return {name: _trait(terms, _number(place)) for place, name in enumerate(terms.trait_names)}


def example_terms(before: Births, births: Births, cases: CaseColumns) -> dict[str, Floats]:
    """Return every term of a trait that is a mean over examples, by example: shape (example,) each;
    their means are the terms.

    Args:
        before: the generation before.
        births: all births of the next.
        cases: the trait by example.
    """
    num = max(cases.numbers)
    names = tuple(str(e) for e in range(num))
    values = np.stack([spread(each, num) for each in cases.births])
    again = None if cases.again is None else spread(cases.again, num)
    number = births.first.examples
    rungs = None if births.rungs is None else replace(births.rungs, traits=values)
    reached = 0 if rungs is None else rungs.measured.sum(axis=0) - 1
    columns = generation_terms(
        replace(
            before,
            trait_names=names,
            traits=spread(cases.before, num),
            remeasured=again,
            # where there is nothing by example of the parents again, they are taken as they are
            examples=before.examples if again is not None else number,
            rungs=None,
        ),
        replace(
            births,
            trait_names=names,
            traits=values[reached, np.arange(len(births))],
            rungs=rungs,
            parental=None,
        ),
    )
    found: dict[str, Any] = dict(_trait(columns, lambda values: values).terms())
    for name in ("residual", "reproduction/drift_variance"):
        found.pop(name, None)
    return found


def example_errors(terms: Mapping[str, Floats], numbers: Iterable[int] = ()) -> dict[str, float]:
    """Return the standard error of every term over examples, u as `example_terms` has it: sd(u,
    ddof=1) / sqrt(examples) where all means are over as many.

    Else the examples between two numbers are a stratum, in which all have the same part in the
    means, and with n_k of the n examples in each the error is sqrt(sum n_k var_k(u)) / n, that of
    the jackknife that leaves out one example at a time within its stratum.

    This is the uncertainty from which examples were asked, given who was born, who went on and who
    was selected; drift, the uncertainty of who was, is a term of its own. Terms of several
    generations may be added up before: the first examples are the same ones in all of them.

    Args:
        terms: by example, shape (example,) each.
        numbers: of the first examples that the means were over; may be of other terms too.

    Raises:
        ValueError: fewer than two examples; the error is then undefined.

    Source: Jones 1974 (the jackknife with strata).
    """
    num = min(map(len, terms.values()))
    if num < 2:
        raise ValueError(f"example_errors: {num} example(s); a standard error needs at least two")
    return {
        name: hypot(*_errors(values, _strata(values, numbers))) for name, values in terms.items()
    }


def example_degrees(terms: Mapping[str, Floats], numbers: Iterable[int] = ()) -> dict[str, float]:
    """Return the degrees of freedom of every standard error of `example_errors`, for intervals by
    Student's t: one less than examples where all means are over as many; with strata whose errors
    are e_k, (sum e_k^2)^2 / sum (e_k^4 / (n_k - 1)).

    Source: Satterthwaite 1946.
    """
    found = {}
    for name, values in terms.items():
        ends = _strata(values, numbers)
        free = np.diff(ends, prepend=0) - 1.0
        squares = np.square(_errors(values, ends))
        weight = float((squares**2 / free).sum())
        found[name] = round(float(squares.sum()) ** 2 / weight, 6) if weight else float(free.sum())
    return found


def _strata(values: Floats, numbers: Iterable[int]) -> tuple[int, ...]:
    """Return the ends of the strata of a term, perhaps a mean over fewer examples than others."""
    return strata({len(values), *(number for number in numbers if number < len(values))})


def _errors(values: Floats, ends: Sequence[int]) -> list[float]:
    """Return the part of each stratum in the standard error of the mean of all."""
    parts = np.split(values, ends[:-1])
    return [len(p) / len(values) * float(np.std(p, ddof=1)) / sqrt(len(p)) for p in parts]


def half_widths(total: Mapping[str, Any], alpha: float = 0.05) -> dict[str, float]:
    """Return half of the interval over examples of each of a run's terms, by Student's t; empty
    where they have no standard errors.

    Args:
        total: a trait's terms with `standard_error` and `degrees`, as `History.summary` has them.
        alpha: the intervals cover 1 - alpha.
    """
    degrees = total.get("degrees", {})
    factor = {d: t_quantile(1 - alpha / 2, d) for d in set(degrees.values())}
    return {
        name: factor[degrees[name]] * error
        for name, error in total.get("standard_error", {}).items()
    }


def flat(account: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return nested numbers by name; what is by operator stands below the whole: `transmission`,
    `transmission/edit`.
    """
    found: dict[str, float] = {}
    for name, value in account.items():
        place = f"{prefix}{name.removesuffix('_by_operator')}"
        found |= flat(value, f"{place}/") if isinstance(value, Mapping) else {place: value}
    return found


def _known(account: SelectionAccount | RungAccount) -> dict[str, float]:
    values = ((name, getattr(account, name)) for name in account.__slots__)
    return {name: value for name, value in values if value is not None}


def _trait(terms: GenerationTerms, at: Callable[[Floats], Any]) -> PriceAccount:
    """Return the account of one trait, or of all at once, of which `at` takes the numbers."""
    stage = terms.reproduction
    again = stage.remeasurement
    giveback = None if again is None else at(again.giveback)
    honest = None if giveback is None else at(stage.selection.total) + giveback
    return PriceAccount(
        reproduction=_selection(stage.selection, at),
        transmission=sum((at(v) for v in stage.transmission.values()), 0.0),
        transmission_by_operator={name: at(v) for name, v in stage.transmission.items()},
        immigration=at(stage.immigration),
        survival=_selection(terms.survival, at),
        rungs={str(rung.examples): _rung(rung, at) for rung in terms.rungs},
        change=at(terms.change),
        residual=at(terms.residual),
        batch_shift=None if again is None else at(again.shift),
        noise_giveback=giveback,
        selection_honest=honest,
    )


def _number(place: int) -> Callable[[Floats], float]:
    return lambda values: float(values[place])


def _rung(terms: RungTerms, at: Callable[[Floats], Any]) -> RungAccount:
    chosen = None if terms.selection is None else _selection(terms.selection, at)
    return RungAccount(
        None if terms.shift is None else at(terms.shift),
        *((chosen.selection, chosen.between, chosen.within) if chosen else ()),
    )


def _selection(terms: SelectionTerms, at: Callable[[Floats], Any]) -> SelectionAccount:
    def known(values: Floats | None) -> Any:
        return None if values is None else at(values)

    several = terms.num_islands > 1
    return SelectionAccount(
        selection=at(terms.total),
        expected=known(terms.expected),
        drift=known(terms.drift),
        drift_variance=known(terms.drift_variance),
        between=known(terms.between) if several else None,
        within=known(terms.within) if several else None,
    )
