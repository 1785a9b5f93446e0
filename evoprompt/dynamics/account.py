"""A generation's account: every term by name, with its standard error where the traits are means
over examples. Plain numbers, for files.

    Births, Births --> GenerationTerms --> {trait: {term: number}}

Given the lineage, every term is linear in the traits. A trait that is a mean over examples makes
each term a mean over examples too, of the term of each example's own column: so standard errors
need no resampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.population import Births
from evoprompt.dynamics.price import GenerationTerms, SelectionTerms, generation_terms

Account = dict[str, Any]


def population_account(births: Births) -> Account:
    """Return how many were born and selected, and the selected births' best and mean fitness and
    mean traits.

    `best_accuracy` is that of the fittest, where accuracy is a trait.

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
    account: Account = {
        "num_births": len(births),
        "num_selected": len(chosen),
        "fitness": {
            "best": float(fitness[best]),
            "mean": float(fitness[births.selected].mean()),
            "births_mean": float(fitness.mean()),
        },
        "traits": dict(zip(births.trait_names, chosen.mean(axis=0).tolist(), strict=True)),
    }
    return account | (
        {"best_accuracy": float(births.trait("accuracy")[best])}
        if "accuracy" in births.trait_names
        else {}
    )


def price_account(terms: GenerationTerms) -> dict[str, Account]:
    """Return every term of every trait, in the trait's own unit.

    A trait's terms: `reproduction` and `survival` (each with `selection`, and where they are known
    `expected`, `drift`, and `drift_variance` of reproduction; with several islands `between` and
    `within`), `transmission`, `transmission_by_operator`, `immigration`, where parents were
    measured again `batch_shift`, `noise_giveback` and `selection_honest`, `change`, and `residual`:
    the change less all its terms.
    """
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
    accounts = [flat(_trait(columns, place)) for place in range(len(names))]
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
    """Return a trait's account by name; each operator's transmission stands below the whole:
    `transmission`, `transmission/edit`.
    """
    found: dict[str, float] = {}
    for name, value in account.items():
        place = f"{prefix}{name.removesuffix('_by_operator')}"
        found |= flat(value, f"{place}/") if isinstance(value, Mapping) else {place: value}
    return found


def _trait(terms: GenerationTerms, place: int) -> Account:
    stage = terms.reproduction
    by_operator = {name: float(values[place]) for name, values in stage.transmission.items()}
    account: Account = {
        "reproduction": _selection(stage.selection, place),
        "transmission": float(sum(values[place] for values in stage.transmission.values())),
        "transmission_by_operator": by_operator,
        "immigration": float(stage.immigration[place]),
        "survival": _selection(terms.survival, place),
    }
    if stage.remeasurement is not None:
        shift, giveback = (
            float(stage.remeasurement.shift[place]),
            float(stage.remeasurement.giveback[place]),
        )
        account |= {
            "batch_shift": shift,
            "noise_giveback": giveback,
            "selection_honest": float(stage.selection.total[place]) + giveback,
        }
    return account | {
        "change": float(terms.change[place]),
        "residual": float(terms.residual[place]),
    }


def _selection(terms: SelectionTerms, place: int) -> dict[str, float]:
    parts = {
        "selection": terms.total,
        "expected": terms.expected,
        "drift": terms.drift,
        "drift_variance": terms.drift_variance,
    }
    parts |= {"between": terms.between, "within": terms.within} if terms.num_islands > 1 else {}
    return {name: float(values[place]) for name, values in parts.items() if values is not None}
