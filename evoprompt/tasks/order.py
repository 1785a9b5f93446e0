"""Examples in an order of which every beginning stands for the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evoprompt.records import Example
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.base import share_choices


def in_order(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    """Return the examples in an order that the seed draws. Where all have the same choices, the
    first m have each target about as often as all have it, for every m.

    Of the n examples of a target, the j-th (from 0) stands at (j + 1/2) / n of the way, and of
    those that stand at the same place the one whose target was drawn first.
    """
    rng = generator(seed, Stream.EXAMPLES)
    drawn = [examples[i] for i in rng.permutation(len(examples))]
    if not share_choices(drawn):
        return tuple(drawn)
    counts = Counter(e.target for e in drawn)
    first = {target: i for i, target in enumerate(counts)}
    seen: Counter[str] = Counter()
    places = []
    for example in drawn:
        target = example.target
        places.append(((seen[target] + 0.5) / counts[target], first[target]))
        seen[target] += 1
    return tuple(drawn[i] for i in sorted(range(len(drawn)), key=places.__getitem__))
