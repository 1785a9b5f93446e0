"""Edits that the model itself proposes: label words by what it would say next, and words of the
instruction by its gradient. Both are guesses, which scoring judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials
from evoprompt.variation.base import Need, pick


@dataclass(frozen=True, slots=True)
class LabelWordFromModel:
    """Takes for one choice a word that the model's next token separates it by."""

    name: ClassVar[str] = "label_word_from_model"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "label_words"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.READER})

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where nobody reads or no choice has a word that is free."""
        parent = parents[0]
        if materials.reader is None:
            return None
        proposed = materials.reader.words(parent)
        choices = dict.fromkeys([*proposed, *chain.from_iterable(materials.choices)])
        words = {choice: parent.word(choice) for choice in choices}
        taken = {word.strip() for word in words.values()}
        moves = [(c, w) for c, some in proposed.items() for w in some if w not in taken]
        if not moves:
            return None
        choice, word = pick(moves, rng)
        return replace(parent, label_words=tuple((words | {choice: word}).items()))


@dataclass(frozen=True, slots=True)
class TokenSubstitute:
    """Exchanges one word of the instruction where the model's gradient says that the right answers
    would become likelier.
    """

    name: ClassVar[str] = "token_substitute"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.READER})

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where nobody reads or nothing is proposed."""
        if materials.reader is None:
            return None
        proposed = materials.reader.exchanges(parents[0])
        return pick(proposed, rng) if proposed else None
