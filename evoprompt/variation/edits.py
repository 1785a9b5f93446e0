"""Edits of the instruction, the template and the label words."""

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


def split_phrases(instruction: str) -> tuple[list[str], list[str]]:
    """Return the phrases of an instruction (its lines, their sentences, and the parts of a sentence
    between commas or after a colon), and what stands between them, as `split_at` does.
    """
    return split_at(r"(?<=[.!?:,;])\s+|\s*\n\s*", instruction)


def split_at(boundary: str, instruction: str) -> tuple[list[str], list[str]]:
    """Return the parts of an instruction, and what stands between them, one less: white space with
    a line end as it is, any other as a space. `boundary` is a regular expression without groups.
    """
    parts = re.split(f"({boundary})", instruction.strip())
    gaps = [gap if "\n" in gap else " " for gap in parts[1::2]]
    return ([] if parts == [""] else parts[::2]), gaps


def joined(parts: Sequence[str], gaps: Sequence[str]) -> str:
    """Return the text of parts with what stands between them, one less."""
    return "".join(chain.from_iterable(zip(parts, [*gaps, ""], strict=True))) if parts else ""


def without(place: int, parts: Sequence[str], gaps: Sequence[str]) -> str:
    """Return the text without one part; of two gaps that meet, the line end stays."""
    around = slice(max(0, place - 1), place + 1)
    left = list(gaps)
    left[around] = sorted(left[around], key=lambda g: "\n" in g)[1:]
    return joined([*parts[:place], *parts[place + 1 :]], left)


def with_more(place: int, part: str, parts: Sequence[str], gaps: Sequence[str]) -> str:
    """Return the text with one part more at a place from 0 to their number, a space beside it."""
    more = [*gaps[:place], " ", *gaps[place:]] if parts else []
    return joined([*parts[:place], part, *parts[place:]], more)


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
        phrases, gaps = split_phrases(parents[0].instruction)
        if not phrases:
            return None
        place = int(rng.integers(len(phrases)))
        return replace(parents[0], instruction=without(place, phrases, gaps))


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
        phrases, gaps = split_phrases(parents[0].instruction)
        if len(phrases) < 2:
            return None
        a, b = rng.choice(len(phrases), size=2, replace=False)
        phrases[a], phrases[b] = phrases[b], phrases[a]
        return replace(parents[0], instruction=joined(phrases, gaps))


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
        phrases, gaps = split_phrases(parents[0].instruction)
        if not phrases or not materials.phrases:
            return None
        phrases[int(rng.integers(len(phrases)))] = pick(materials.phrases, rng)
        return replace(parents[0], instruction=joined(phrases, gaps))


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
        phrases, gaps = split_phrases(parents[0].instruction)
        place = int(rng.integers(len(phrases) + 1))
        text = with_more(place, pick(materials.phrases, rng), phrases, gaps)
        return replace(parents[0], instruction=text)


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
class ChatChange:
    """Has a prompt rendered otherwise: by the model's chat template, or as a text of its own."""

    name: ClassVar[str] = "chat_change"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "chat"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where its rendering is to stay."""
        others = [chat for chat in materials.chats if chat != parents[0].chat]
        return replace(parents[0], chat=pick(others, rng)) if others else None


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
        offered = dict.fromkeys([*words, *chain.from_iterable(materials.choices)])
        taken = {parent.word(choice).strip() for choice in offered}
        moves = [
            (c, w)
            for c, bank in materials.label_words.items()
            for w in bank
            if w.strip() and w.strip() not in taken
        ]
        if not moves:
            return None
        choice, word = pick(moves, rng)
        return replace(parent, label_words=tuple((words | {choice: word}).items()))
