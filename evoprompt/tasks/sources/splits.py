"""Examples -> four splits that share no content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from evoprompt.records import Example
from evoprompt.tasks.sources.jsonl import content_hash

SPLITS = ("demonstrations", "fitness", "validation", "test")


def split_by_content(rows: Iterable[Example], test: Sequence[Example]) -> dict[str, list[Example]]:
    """Split by content: equal content is taken once; what is in a given test file is in no other
    split.
    """
    unique: dict[str, Example] = {}
    for example in rows:
        unique.setdefault(content_hash(example), example)
    held_out = {content_hash(e): e for e in test}
    order = sorted(h for h in unique if h not in held_out)
    # Content hashes are uniform, so their order is a fixed random one; a quarter each of the range,
    # three where test is given.
    splits: dict[str, list[Example]] = {s: [] for s in SPLITS}
    parts = SPLITS[:3] if held_out else SPLITS
    for h in order:
        splits[parts[_bucket(h, held_out)]].append(unique[h])
    splits["test"] += [held_out[h] for h in sorted(held_out)]
    return splits


def balanced(examples: Sequence[Example], size: int) -> tuple[Example, ...]:
    """Return the first `size` examples; where all have the same choices, the first of each target
    in turn.

    Where choices differ, most targets occur once, and taking them in turn would leave out the ones
    that occur often.
    """
    if len({frozenset(e.choices or ()) for e in examples}) != 1 or not examples[0].choices:
        return tuple(examples[:size])
    turns: dict[str, int] = {}
    ranked = []
    for position, example in enumerate(examples):
        turn = turns[example.target] = turns.get(example.target, -1) + 1
        ranked.append((turn, position, example))
    return tuple(example for _, _, example in sorted(ranked, key=lambda r: r[:2])[:size])


def _bucket(content: str, held_out: object) -> int:
    """Return the index of the split: shares of 24, 20, 16 and 40 percent, or 40, 30 and 30 where
    the test is given.
    """
    bounds = (0.40, 0.70) if held_out else (0.24, 0.44, 0.60)
    position = (
        int(hashlib.blake2b(content.encode(), digest_size=8, person=b"split").hexdigest(), 16)
        / 2**64
    )
    return sum(position >= bound for bound in bounds)
