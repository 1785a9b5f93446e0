"""Edits of the demonstrations that heed their labels (`tasks.sets`): how often each is shown, and
in what order they come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Materials
from evoprompt.tasks.sets import draw_set, interleaved, labels_of
from evoprompt.variation.base import Need, pick
from evoprompt.variation.demonstrations import unused


@dataclass(frozen=True, slots=True)
class DemonstrationBalance:
    """Adds an example of a label that is shown least, at any place, or leaves out one of a label
    that is shown most, where that brings the labels' shares nearer to equal ones (by the sum of
    their squares). A prompt without examples gets one of each label at once, as many as may be
    shown.

    Without labels (`tasks.sets`) the one share is equal to itself: only a prompt without examples
    is changed, and gets one.
    """

    name: ClassVar[str] = "demonstration_balance"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the shares are as near to equal as one example can bring
        them.
        """
        shown = list(parents[0].demonstrations)
        labels = _labels(shown, materials)
        free = unused(shown, materials)
        room = max(0, materials.max_demonstrations - len(shown))
        if not shown:
            size = min(room, len(set(labels.values())))
            drawn = draw_set(free, size, labels, rng)
            return replace(parents[0], demonstrations=drawn) if drawn else None
        adds = _nearest_to_even(free, shown, labels, +1) if room else []
        drops = _nearest_to_even(shown, shown, labels, -1)
        if not adds and not drops:
            return None
        if adds and (not drops or rng.integers(2)):
            shown.insert(int(rng.integers(len(shown) + 1)), pick(adds, rng))
        else:
            shown.remove(pick(drops, rng))
        return replace(parents[0], demonstrations=tuple(shown))


@dataclass(frozen=True, slots=True)
class DemonstrationSwapInLabel:
    """Puts another example of the pool in the place of one of the same label; of any, where there
    are no labels.
    """

    name: ClassVar[str] = "demonstration_swap_in_label"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the pool has no other example of a label that is
        shown.
        """
        shown = list(parents[0].demonstrations)
        labels = _labels(shown, materials)
        free: dict[str, list[Demonstration]] = {}
        for demonstration in unused(shown, materials):
            free.setdefault(labels[demonstration], []).append(demonstration)
        places = [i for i, d in enumerate(shown) if labels[d] in free]
        if not places:
            return None
        place = pick(places, rng)
        shown[place] = pick(free[labels[shown[place]]], rng)
        return replace(parents[0], demonstrations=tuple(shown))


@dataclass(frozen=True, slots=True)
class DemonstrationOrder:
    """Puts all examples in a new order: the labels in turns, or those of one label last, equally
    likely. Without labels the order is any.
    """

    name: ClassVar[str] = "demonstration_order"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there are fewer than two examples or the order that was
        drawn is the one that they have.
        """
        shown = parents[0].demonstrations
        labels = _labels(shown, materials)
        mixed = [shown[int(i)] for i in rng.permutation(len(shown))]
        if rng.integers(2):
            ordered = interleaved(mixed, labels, rng)
        else:
            last = labels[pick(mixed, rng)] if mixed else ""
            ordered = tuple(sorted(mixed, key=lambda d: labels[d] == last))
        return replace(parents[0], demonstrations=ordered) if ordered != shown else None


@dataclass(frozen=True, slots=True)
class DemonstrationSet:
    """Shows as many other examples of the pool, each label as often as the others, in turns: a big
    step.
    """

    name: ClassVar[str] = "demonstration_set"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no example or the pool has too few others."""
        shown = parents[0].demonstrations
        labels = _labels(shown, materials)
        drawn = draw_set(unused(shown, materials), len(shown), labels, rng)
        if not shown or len(drawn) < len(shown):
            return None
        return replace(parents[0], demonstrations=drawn)


def _labels(shown: Sequence[Demonstration], materials: Materials) -> dict[Demonstration, str]:
    """Return the label of each demonstration of the pool and of those that are shown."""
    labels = labels_of(materials.demonstrations, materials.choices)
    named = any(labels.values())
    return {d: d.target if named else "" for d in shown} | labels


def _nearest_to_even(
    candidates: Sequence[Demonstration],
    shown: Sequence[Demonstration],
    labels: Mapping[Demonstration, str],
    change: int,
) -> list[Demonstration]:
    """Return the candidates that bring the labels' shares nearest to equal ones if they are shown
    too (change 1) or no more (-1); none where that is no nearer than now.
    """
    counts = Counter(labels[d] for d in shown)
    after = {
        label: _concentration(Counter({**counts, label: counts[label] + change}))
        for label in {labels[d] for d in candidates}
    }
    least = min(after.values(), default=Fraction(1))
    if least >= _concentration(counts):
        return []
    return [d for d in candidates if after[labels[d]] == least]


def _concentration(counts: Counter[str]) -> Fraction:
    """Return the sum of the squares of the labels' shares, the less the more equal they are; 1 of
    none.
    """
    total = counts.total()
    return Fraction(sum(n * n for n in counts.values()), total**2) if total else Fraction(1)
