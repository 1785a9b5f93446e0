"""Parents and births on one measurement: what the parents are worth on the examples that all births
of the next generation were measured on first.

Where both were measured on as many examples there is nothing to do. Else the parents' traits are
those that the lineage says, those of the births that survived from them, or the parents' own on an
earlier number of examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats, Integers
from evoprompt.dynamics.population import Births


def is_measured_again(before: Births, births: Births) -> bool:
    """Return whether the next generation was measured first on another number of examples than this
    one was last, as far as it is told.
    """
    number = births.first.examples
    told = births.rungs is not None or before.examples is not None
    return number is not None and told and number != before.examples


def remeasured_for(before: Births, births: Births) -> Births:
    """Return a generation with what its births are worth where the next was measured first, as
    `remeasured`; as it is where that was on as many examples, or it is not told on how many.

    Raises:
        ValueError: it is not known what a selected birth is worth there, so that births would be
            compared with parents on other examples.
    """
    if not is_measured_again(before, births):
        return before
    again = _known(before, births)
    unknown = _unknown(before, again)
    if unknown.size:
        raise ValueError(
            f"birth {before.birth_ids[unknown[0]]} is a parent, and not known on the "
            f"{births.first.examples} examples that generation {births.generation} was measured on "
            "first; give its traits there as 'remeasured'"
        )
    return replace(before, remeasured=again)


def unknown_parents(before: Births, births: Births) -> tuple[str, ...]:
    """Return the ids of the selected births of which it is not known what they are worth where the
    next generation was measured first.
    """
    found = _unknown(before, _known(before, births)) if is_measured_again(before, births) else ()
    return tuple(before.birth_ids[i] for i in found)


def with_parents(
    before: Births, births: Births, traits: Mapping[str, Mapping[str, float]]
) -> Births:
    """Return births with what births of the generation before, by id, are worth where these were
    measured first.
    """
    shape = len(before), len(births.trait_names)
    parental = np.full(shape, np.nan) if births.parental is None else births.parental.copy()
    for name, own in traits.items():
        row = [own.get(trait, np.nan) for trait in births.trait_names]
        parental[before.birth_ids.index(name)] = row
    return replace(births, parental=parental)


def on_one_measurement(before: Births, births: Births) -> tuple[Births, Births]:
    """Return a generation and the next as they are compared with each other: all births as they
    were measured first, on the fewest examples, and the parents on the same.

    Raises:
        ValueError: as `remeasured_for`.
    """
    before = remeasured_for(before, births)
    if before.remeasured is not None:
        again = replace(before, traits=before.remeasured, remeasured=None)
        before = again.of_known_traits(before.selected)
    return before, births.first


def gains(before: Births, births: Births, trait: str) -> Floats:
    """Return each birth's trait less the mean of its parents' by their shares, shape (birth,): on
    the most examples on which both are known; NaN where there are none, or no parents.
    """
    found = np.full(len(births), np.nan)
    parental = {number: values for number, _, values in _by_number(before, trait)}
    for number, measured, values in _by_number(births, trait):
        if number in parental:
            gain = values - births.mid_parent(parental[number])
            found = np.where(measured & births.has_parents, gain, found)
    return found


def _by_number(
    births: Births, trait: str
) -> Iterator[tuple[int | None, NDArray[np.bool_], Floats]]:
    """Yield each number of examples, ascending, who was measured on it, and their trait."""
    if births.rungs is None:
        yield births.examples, births.last, births.trait(trait)
        return
    values = births.rungs.traits[:, :, births.trait_names.index(trait)]
    yield from zip(births.rungs.examples, births.rungs.measured, values, strict=True)


def _known(before: Births, births: Births) -> Floats:
    """Return what a generation's births are worth where the next was measured first, shape (birth,
    trait); NaN where that is not known.
    """
    again = np.full(before.traits.shape, np.nan)
    for place, name in enumerate(before.trait_names):
        if births.parental is not None and name in births.trait_names:
            again[:, place] = births.parental[:, births.trait_names.index(name)]
    number, own = births.first.examples, before.rungs
    if own is not None and number in own.examples:
        earlier = own.traits[own.examples.index(number)]
        again = np.where(np.isnan(again), earlier, again)
    told = before.remeasured
    return again if told is None else np.where(np.isnan(told), again, told)


def _unknown(before: Births, again: Floats) -> Integers:
    return np.flatnonzero(before.selected & np.isnan(again).all(axis=1))
