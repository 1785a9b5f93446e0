"""Examples -> four splits that share no input; what is told about them."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import floor
from statistics import median

from evoprompt.records import Example
from evoprompt.tasks.base import label_shares, share_choices
from evoprompt.tasks.sources.jsonl import content_hash, content_of

SPLITS = ("demonstrations", "fitness", "validation", "test")

#: Where the range of hashes is cut into `SPLITS`, by whether a test and a validation split are
#: given: shares of 24, 20, 16 and 40 percent; 40, 30 and 30; 57 and 43.
BOUNDS = {
    (False, False): (0.24, 0.44, 0.60),
    (True, False): (0.40, 0.70),
    (True, True): (0.57,),
}

#: Total variation distance between the labels of fitness and test above which that is told.
MOST_DISTANCE = 0.1

#: The pairs of examples that a note is about.
Pairs = Sequence[tuple[Example, Example]]


def split_by_input(
    rows: Iterable[Example], test: Sequence[Example], validation: Sequence[Example] = ()
) -> tuple[dict[str, list[Example]], tuple[str, ...]]:
    """Return the splits, each in the order of content hashes, and notes on what is not as it may
    be thought.

    The same example (input, target, and choices in any order) is taken once. All examples with one
    input are in one split, that of the least of their content hashes; what is in a given test is in
    no other split, and what is in a given validation split, which goes with a test, is in neither
    of the two that are left.
    """
    learning, again = _once(rows)
    held_out, again_in_test = _once(test)
    chosen, again_in_validation = _once(validation)
    learning, leaked = without_inputs(
        learning, held_out, "an example has an input of the test file"
    )
    chosen, leaked_too = without_inputs(chosen, held_out, "a validation example has such an input")
    learning, shared = without_inputs(
        learning, chosen, "an example has an input of the validation split", "validation"
    )
    # Content hashes are uniform, so their order is a fixed random one, which is shared out.
    by_hash = _by_hash(learning)
    least: dict[str, str] = {}
    for content, example in by_hash:
        least.setdefault(input_key(example), content)
    splits: dict[str, list[Example]] = {s: [] for s in SPLITS}
    bounds = BOUNDS[bool(held_out), bool(chosen)]
    for _, example in by_hash:
        splits[SPLITS[_bucket(least[input_key(example)], bounds)]].append(example)
    splits["test"] += [e for _, e in _by_hash(held_out)]
    splits["validation"] += [e for _, e in _by_hash(chosen)]
    notes = (
        _note(
            [*again, *again_in_test, *again_in_validation],
            "an example repeats another one and is taken once",
        ),
        conflicts([*learning, *held_out, *chosen]),
        leaked,
        leaked_too,
        shared,
    )
    return splits, tuple(note for note in notes if note)


def input_key(example: Example) -> str:
    """Return what inputs have in common that are the same but for blanks and the way in which
    accents are encoded.
    """
    return unicodedata.normalize("NFC", " ".join(example.input.split()))


def without_inputs(
    examples: Iterable[Example], tested: Sequence[Example], what: str, where: str = "test"
) -> tuple[list[Example], str]:
    """Return the examples whose input is in no test, and a note on the others, which begins with
    `what` they are, and says `where` they are used; empty where there is none.
    """
    known = {input_key(e): e for e in reversed(tested)}
    kept, leaked = [], []
    for example in examples:
        found = known.get(input_key(example))
        if found is None:
            kept.append(example)
        else:
            leaked.append((example, found))
    return kept, _note(leaked, f"{what} and is used in the {where} alone")


def conflicts(examples: Iterable[Example]) -> str:
    """Return a note on inputs that stand with different targets; empty where there is none. Targets
    that are not known are passed over.
    """
    first: dict[str, Example] = {}
    found: dict[str, tuple[Example, Example]] = {}
    for example in examples:
        key = input_key(example)
        if example.target and first.setdefault(key, example).target != example.target:
            found.setdefault(key, (example, first[key]))
    return _note(list(found.values()), "an example has the input of another one and another target")


def balanced(examples: Sequence[Example], size: int) -> tuple[Example, ...]:
    """Return the first `size` examples; where all have the same choices, the first of each target
    in turn.

    Where choices differ, most targets occur once, and taking them in turn would leave out the ones
    that occur often.
    """
    if not share_choices(examples):
        return tuple(examples[:size])
    turns: dict[str, int] = {}
    ranked = []
    for position, example in enumerate(examples):
        turn = turns[example.target] = turns.get(example.target, -1) + 1
        ranked.append((turn, position, example))
    return tuple(example for _, _, example in sorted(ranked, key=lambda r: r[:2])[:size])


def proportional(examples: Sequence[Example], size: int) -> tuple[Example, ...]:
    """Return `size` examples, the first of each target, as many of each as its share of all; where
    choices differ, the first of all. Places that rounding leaves go to the largest remainders.
    """
    if size >= len(examples) or not share_choices(examples):
        return tuple(examples[:size])
    counts = Counter(e.target for e in examples)
    due = {target: size * count / len(examples) for target, count in counts.items()}
    quota = {target: floor(share) for target, share in due.items()}
    by_remainder = sorted(due, key=lambda t: (quota[t] - due[t], -counts[t], t))
    for target in by_remainder[: size - sum(quota.values())]:
        quota[target] += 1
    taken: Counter[str] = Counter()
    chosen = []
    for example in examples:
        taken[example.target] += 1
        if taken[example.target] <= quota[example.target]:
            chosen.append(example)
    return tuple(chosen)


def shorter(examples: Sequence[Example]) -> list[Example]:
    """Return the examples whose inputs have no more characters than the median of those with their
    target; where choices differ, or there are none, than the median of all.
    """
    by_target = share_choices(examples)
    lengths: dict[str, list[int]] = {}
    for example in examples:
        key = example.target if by_target else ""
        lengths.setdefault(key, []).append(len(example.input))
    limits = {target: median(of_one) for target, of_one in lengths.items()}
    return [e for e in examples if len(e.input) <= limits[e.target if by_target else ""]]


def notes_on_labels(fitness: Sequence[Example], test: Sequence[Example]) -> tuple[str, ...]:
    """Return notes on splits whose labels make results say less than they seem to.

    The total variation distance of two splits is the share of examples that would need another
    label for their label shares to be equal.
    """
    notes = []
    for name, split in (("fitness", fitness), ("test", test)):
        if len(split) > 1 and len({e.target for e in split}) == 1:
            notes.append(
                f"all {len(split)} {name} examples have the target {split[0].target!r}: a prompt "
                f"that always says it makes no mistake there"
            )
        if len(split) == 1:
            notes.append(f"the {name} split has one example; nothing can be learned from that")
    one, other = label_shares(fitness), label_shares(test)
    labels = sorted(one.keys() | other.keys())
    distance = sum(abs(one.get(c, 0) - other.get(c, 0)) for c in labels) / 2
    if one and other and distance > MOST_DISTANCE:
        label = max(labels, key=lambda c: abs(one.get(c, 0) - other.get(c, 0)))
        notes.append(
            f"labels are shared out otherwise in fitness than in test (total variation "
            f"{distance:.2f}, told above {MOST_DISTANCE}): {label!r} is {one.get(label, 0):.2f} "
            f"of the one and {other.get(label, 0):.2f} of the other; task.balance=proportional "
            f"takes them as the data has them"
        )
    if found := list(filter(None, map(_begun, (*fitness, *test)))):
        short, long = found[0]
        notes.append(
            f"choices of {len(found)} of {len(fitness) + len(test)} examples begin one another, as "
            f"{short!r} begins {long!r}: answers of which one's tokens begin the other's are "
            f"scored with their ends, else the shorter would always be the likelier"
        )
    return tuple(notes)


def _begun(example: Example) -> tuple[str, str] | None:
    """Return a choice and one that begins with it, if there are such."""
    # in this order, all that one begins stand right after it
    for short, long in pairwise(sorted(example.choices or ())):
        if long.startswith(short):
            return short, long
    return None


def _once(examples: Iterable[Example]) -> tuple[list[Example], list[tuple[Example, Example]]]:
    """Return each example once, and those that come again, each with its first."""
    first: dict[object, Example] = {}
    again = []
    for example in examples:
        known = first.setdefault(content_of(example), example)
        if known is not example:
            again.append((example, known))
    return list(first.values()), again


def _by_hash(examples: Iterable[Example]) -> list[tuple[str, Example]]:
    """Return the examples with their content hashes, in the order of these."""
    return sorted(((content_hash(e), e) for e in examples), key=lambda pair: pair[0])


def _note(pairs: Pairs, what: str) -> str:
    """Return a sentence with how often it is so and where first; empty where it is never so."""
    if not pairs:
        return ""
    (example, other), number = pairs[0], len(pairs)
    times = f"{number} time{'s' if number > 1 else ''}"
    return f"{what}: {times} (first {_place(example)} and {_place(other)})"


def _place(example: Example) -> str:
    return example.origin or repr(example.example_id)


def _bucket(content: str, bounds: Sequence[float]) -> int:
    """Return the index of the split."""
    position = (
        int(hashlib.blake2b(content.encode(), digest_size=8, person=b"split").hexdigest(), 16)
        / 2**64
    )
    return sum(position >= bound for bound in bounds)
