"""Edits of an instruction by its words and sentences, without a model that writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials
from evoprompt.variation.base import Need, pick
from evoprompt.variation.edits import split_at, with_more, without

#: Where words part, and where sentences do: after what ends one, and at the end of a line.
BETWEEN_WORDS, BETWEEN_SENTENCES = r"\s+", r"(?<=[.!?])\s+|\s*\n\s*"


@dataclass(frozen=True, slots=True)
class InstructionWordDrop:
    """Leaves out one word, with the marks that it has."""

    name: ClassVar[str] = "instruction_word_drop"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there are fewer than two words."""
        return _one_less(parents[0], BETWEEN_WORDS, rng)


@dataclass(frozen=True, slots=True)
class InstructionSentenceDrop:
    """Leaves out one sentence, or a line without one."""

    name: ClassVar[str] = "instruction_sentence_drop"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there are fewer than two sentences."""
        return _one_less(parents[0], BETWEEN_SENTENCES, rng)


@dataclass(frozen=True, slots=True)
class InstructionSentenceAdd:
    """Adds a phrase of the bank before, between or after the sentences; none that is there."""

    name: ClassVar[str] = "instruction_sentence_add"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the bank has no other phrase."""
        sentences, gaps = split_at(BETWEEN_SENTENCES, parents[0].instruction)
        free = [phrase for phrase in materials.phrases if phrase not in sentences]
        if not free:
            return None
        place = int(rng.integers(len(sentences) + 1))
        text = with_more(place, pick(free, rng), sentences, gaps)
        return replace(parents[0], instruction=text)


@dataclass(frozen=True, slots=True)
class InstructionSynonym:
    """Puts another word of its group in the place of one, in capitals as it is. Words of choices
    and label words neither come nor go.
    """

    name: ClassVar[str] = "instruction_synonym"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where no word has a synonym."""
        text, kept = parents[0].instruction, _words_of_choices(parents[0], materials)
        groups = {word: group for group in materials.synonyms for word in group}
        moves = [
            (match, other)
            for match in re.finditer(r"\w+", text)
            if (word := match[0].lower()) in groups and word not in kept
            for other in groups[word]
            if other != word and other not in kept
        ]
        if not moves:
            return None
        match, other = pick(moves, rng)
        changed = text[: match.start()] + _cased_as(match[0], other) + text[match.end() :]
        return replace(parents[0], instruction=changed)


def _one_less(parent: Policy, boundary: str, rng: np.random.Generator) -> Policy | None:
    parts, gaps = split_at(boundary, parent.instruction)
    if len(parts) < 2:
        return None
    return replace(parent, instruction=without(int(rng.integers(len(parts))), parts, gaps))


def _words_of_choices(policy: Policy, materials: Materials) -> set[str]:
    choices = [*chain.from_iterable(materials.choices), *chain(*policy.label_words)]
    return {word for choice in choices for word in re.findall(r"\w+", choice.lower())}


def _cased_as(word: str, other: str) -> str:
    """Return another word in small letters, capitals or with a capital first, as the one is."""
    if len(word) > 1 and word.isupper():
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other
