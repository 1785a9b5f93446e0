"""A task: examples in four splits that share no input, and what policies for it start from.

Knows nothing of models or fitness.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

from evoprompt.errors import UserError
from evoprompt.policy import Chat, Demonstration, Policy, Template
from evoprompt.records import Example, Materials
from evoprompt.tasks.banks import GENERAL_SYNONYMS

#: Labels whose shares are told in a line.
MOST_LABELS = 4


def share_choices(examples: Sequence[Example]) -> bool:
    """Return whether all have the same choices, in any order."""
    return bool(examples and examples[0].choices) and (
        len({frozenset(e.choices or ()) for e in examples}) == 1
    )


def in_one_order(splits: Sequence[Sequence[Example]]) -> list[tuple[Example, ...]]:
    """Return the splits as they are; where all examples have the same choices in several orders,
    with the choices sorted, so that a place among them is one label everywhere.
    """
    examples = [e for split in splits for e in split]
    if not share_choices(examples) or len({e.choices for e in examples}) == 1:
        return [tuple(split) for split in splits]
    choices = tuple(sorted(examples[0].candidates))
    return [tuple(replace(e, choices=choices) for e in split) for split in splits]


def in_order_of(split: Sequence[Example], examples: Sequence[Example]) -> tuple[Example, ...]:
    """Return examples with the choices in the order of a split whose examples share them; without
    those that have others. Where the split's do not share them, as they are.
    """
    if not share_choices(split):
        return tuple(examples)
    choices = split[0].choices or ()
    same = (e for e in examples if e.choices is not None and set(e.choices) == set(choices))
    return tuple(replace(e, choices=choices) for e in same)


def label_shares(examples: Sequence[Example]) -> dict[str, float]:
    """Return the share of each choice among the targets that are known; empty where choices differ
    or there are none.
    """
    counts = Counter(e.target for e in examples if e.target)
    if not share_choices(examples) or not counts:
        return {}
    return {c: counts[c] / counts.total() for c in sorted(examples[0].choices or ())}


def examples_digest(examples: Sequence[Example]) -> str:
    """Return the SHA-256 of examples as they are asked, in order, in hexadecimal."""
    rows = [
        [e.example_id, e.input, e.target, e.choices, *filter(None, (e.also, e.rest, _moves(e)))]
        for e in examples
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _moves(example: Example) -> list[tuple[object, ...]]:
    """Return the moves of a path, as far as they decide its likelihood."""
    return [astuple(move) for move in example.path]


def size_and_labels(name: str, examples: Sequence[Example]) -> str:
    """Return a line with how many examples there are, and label shares where there are few
    labels.
    """
    shares = label_shares(examples)
    told = ", ".join(f"{label} {share:.2f}" for label, share in shares.items())
    line = f"{len(examples):>7,} {name:<15}{told if len(shares) <= MOST_LABELS else ''}"
    return line.rstrip()


def is_any_chat(policy: Policy) -> bool:
    """Return whether a chat template renders a policy or its evaluator."""
    return policy.is_chat or (policy.evaluator is not None and policy.evaluator.is_chat)


def rendered(policy: Policy, chats: Sequence[Chat]) -> tuple[Policy, ...]:
    """Return a policy in each of these renderings, its evaluator as it is; one that has a chat
    rendering of its own stays as it is.
    """
    if policy.is_chat:
        return (policy,)
    judge = policy.evaluator
    return tuple(
        replace(policy, chat=c, evaluator=judge and rendered(judge, (c,))[0]) for c in chats
    )


@dataclass(frozen=True, slots=True)
class Task:
    """Examples and starting points. The splits serve one purpose each and share no input."""

    name: str
    demonstrations: tuple[Demonstration, ...]  #: what operators may put into a prompt
    fitness: tuple[Example, ...]  #: what the search is selected on
    validation: tuple[Example, ...]  #: what picks the champion among the search's best
    test: tuple[Example, ...]  #: what the search never sees
    starting_policies: tuple[Policy, ...]
    phrases: tuple[str, ...] = ()
    templates: tuple[Template, ...] = ()
    label_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pool: tuple[Example, ...] = ()  #: the examples that the demonstrations are
    #: labelled examples of no split, the first of them: what is fitted beside a search may use them
    spare: tuple[Example, ...] = ()
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  #: what is not as it may be thought, a sentence each
    #: the starting policies that demonstrations of the pool were added to
    added: frozenset[Policy] = frozenset()

    @property
    def given_policies(self) -> tuple[Policy, ...]:
        """The starting policies as they were given, without added demonstrations; all, where none
        is without. A baseline is one of them.
        """
        given = tuple(p for p in self.starting_policies if p not in self.added)
        return given or self.starting_policies

    def check_chat(self, mode: str) -> None:
        """Find out whether starting policies that are chats may be: `mode` is `model.chat`.

        Raises:
            UserError: it is off, and one is a chat.
        """
        if mode == "off" and any(is_any_chat(p) for p in self.starting_policies):
            raise UserError(
                "task.starting_policies has a policy with `chat`, and model.chat is off; set "
                "model.chat to auto, turns or single, or leave `chat` out of the policy"
            )

    def rendered(self, chats: Sequence[Chat]) -> Task:
        """Return the task with each starting policy in each of these renderings; one that has a
        chat rendering of its own stays as it is.
        """
        copies = {p: rendered(p, chats) for p in self.starting_policies}
        return replace(
            self,
            starting_policies=tuple(c for p in self.starting_policies for c in copies[p]),
            added=frozenset(c for p in self.added for c in copies[p]),
        )

    def without(self, policies: Collection[Policy], why: str) -> Task:
        """Return the task that does not start from some policies, with a note on why; at least one
        has to stay.
        """
        kept = tuple(p for p in self.starting_policies if p not in policies)
        return replace(self, starting_policies=kept, notes=(*self.notes, why))

    @property
    def splits(self) -> Mapping[str, tuple[Example, ...]]:
        """The examples of each split by its name."""
        return {
            "demonstrations": self.pool,
            "fitness": self.fitness,
            "validation": self.validation,
            "test": self.test,
        }

    def account(self) -> dict[str, object]:
        """Return what is recorded of the data: of each split how many examples it has and the share
        of each label, where all have the same choices; and the notes.
        """
        splits = {
            name: {
                "examples": len(split),
                "labels": label_shares(split),
                "sha256": examples_digest(split),
            }
            for name, split in self.splits.items()
        }
        return {"name": self.name, "splits": splits, "notes": list(self.notes)}

    def summary(self) -> str:
        """Return the splits, a line each."""
        return "\n".join(size_and_labels(*split) for split in self.splits.items())

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The choices that all examples share, or None where they differ or the task is free
        form.
        """
        shared = {e.choices for split in (self.fitness, self.validation, self.test) for e in split}
        return next(iter(shared)) if len(shared) == 1 else None

    @property
    def offers(self) -> tuple[tuple[str, ...], ...]:
        """Every different set of choices that an example offers, in the order of the examples."""
        examples = (e for split in self.splits.values() for e in split if e.choices)
        return tuple({frozenset(e.choices or ()): e.choices or () for e in examples}.values())

    @property
    def has_choices(self) -> bool:
        """Whether every example offers choices."""
        return all(
            e.choices is not None
            for split in (self.fitness, self.validation, self.test)
            for e in split
        )

    @property
    def has_paths(self) -> bool:
        """Whether the examples are paths of moves; a task has either paths or none."""
        return bool(self.fitness[0].path)

    def materials(self, max_demonstrations: int) -> Materials:
        """Return what operators draw from."""
        return Materials(
            phrases=self.phrases,
            demonstrations=self.demonstrations,
            templates=self.templates,
            label_words=self.label_words,
            max_demonstrations=max_demonstrations,
            steps=self.steps,
            choices=self.offers,
            synonyms=GENERAL_SYNONYMS,
        )
