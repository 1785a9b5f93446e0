"""Edits of the instruction, the template and the label words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials
from evoprompt.variation.base import Need, pick


def split_phrases(instruction: str) -> list[str]:
    """Return the phrases of an instruction: its sentences, and the parts of a sentence between
    commas or after a colon.
    """
    return [p for p in re.split(r"(?<=[.!?:,;])\s+", instruction.strip()) if p]


@dataclass(frozen=True, slots=True)
class InstructionDelete:
    """Leaves out one phrase."""

    name: ClassVar[str] = "instruction_delete"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no instruction."""
        phrases = split_phrases(parents[0].instruction)
        if not phrases:
            return None
        del phrases[int(rng.integers(len(phrases)))]
        return replace(parents[0], instruction=" ".join(phrases))


@dataclass(frozen=True, slots=True)
class InstructionSwap:
    """Exchanges two phrases."""

    name: ClassVar[str] = "instruction_swap"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there are fewer than two phrases."""
        phrases = split_phrases(parents[0].instruction)
        if len(phrases) < 2:
            return None
        a, b = rng.choice(len(phrases), size=2, replace=False)
        phrases[a], phrases[b] = phrases[b], phrases[a]
        return replace(parents[0], instruction=" ".join(phrases))


@dataclass(frozen=True, slots=True)
class InstructionReplace:
    """Puts a phrase of the bank in the place of one."""

    name: ClassVar[str] = "instruction_replace"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no instruction or no bank."""
        phrases = split_phrases(parents[0].instruction)
        if not phrases or not materials.phrases:
            return None
        phrases[int(rng.integers(len(phrases)))] = pick(materials.phrases, rng)
        return replace(parents[0], instruction=" ".join(phrases))


@dataclass(frozen=True, slots=True)
class InstructionInsert:
    """Adds a phrase of the bank at any place."""

    name: ClassVar[str] = "instruction_insert"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no bank."""
        if not materials.phrases:
            return None
        phrases = split_phrases(parents[0].instruction)
        phrases.insert(int(rng.integers(len(phrases) + 1)), pick(materials.phrases, rng))
        return replace(parents[0], instruction=" ".join(phrases))


@dataclass(frozen=True, slots=True)
class TemplateChange:
    """Takes another template of the bank."""

    name: ClassVar[str] = "template_change"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "template"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the bank has no other template."""
        others = [t for t in materials.templates if t != parents[0].template]
        return replace(parents[0], template=pick(others, rng)) if others else None


@dataclass(frozen=True, slots=True)
class LabelWordChange:
    """Takes another word for one choice; no two choices share a word."""

    name: ClassVar[str] = "label_word_change"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "label_words"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where no choice has another word that is free."""
        parent = parents[0]
        words = {choice: parent.word(choice) for choice in materials.label_words}
        moves = [
            (c, w)
            for c, bank in materials.label_words.items()
            for w in bank
            if w not in words.values()
        ]
        if not moves:
            return None
        choice, word = pick(moves, rng)
        return replace(parent, label_words=tuple((words | {choice: word}).items()))
