"""Instructions that a model writes from those of the parents. Each prompt is one that a base model
goes on with: worked examples of other tasks, then the parents' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials
from evoprompt.variation.base import Edited, Need, pick
from evoprompt.variation.written import instruction_of, plain

PARAPHRASE = """Instructions, and the same in other words.

Instruction: Say whether the film review is good or bad.
In other words: Decide if the writer of the review liked the film or not.

Instruction: Name the language of the text.
In other words: Which language is this text written in?

Instruction: {0}
In other words:"""

CROSSOVER = """Two instructions, and one that has something of both.

First: Say whether the film review is good or bad.
Second: Read closely. Did the writer like it? Answer with one word.
Combined: Read the film review closely and say with one word whether it is good or bad.

First: Which language is this text written in?
Second: Look at the spelling and name the country.
Combined: Look at the spelling and name the language of the text.

First: {0}
Second: {1}
Combined:"""

DIFFERENCE = """Two instructions differ in something. That is changed and put into the best one, \
and the new one has something of the old one too.

First: Say whether the film review is good or bad.
Second: Read closely. Is the review good or bad?
Best: Did the writer like the film?
Old: Decide what the writer thinks in one word.
New: Read every word. Did the writer like the film? Decide in one word.

First: {1}
Second: {2}
Best: {3}
Old: {0}
New:"""

MUTATE = """Instructions, and what becomes of them by a change.

Instruction: Say whether the film review is good or bad.
Change: Ask it as a question.
Changed: Is the film review good or bad?

Instruction: Name the language.
Change: Say more precisely what to do.
Changed: Read the text and name the language that it is written in.

Instruction: {0}
Change: {1}
Changed:"""

#: What is asked for when an instruction is mutated, by name.
MUTATIONS: Mapping[str, str] = MappingProxyType(
    {
        "simpler": "Use simpler words.",
        "shorter": "Make it shorter.",
        "precise": "Say more precisely what to do.",
        "hint": "Add a hint that helps to find the answer.",
        "question": "Ask it as a question.",
        "expert": "Say it as an expert would.",
        "first": "Say first what to look at.",
        "form": "Say what the answer looks like.",
        "mistakes": "Say which mistake to avoid.",
        "different": "Say it in an entirely different way.",
    }
)


def written_child(
    prompt: str,
    parents: Sequence[Policy],
    materials: Materials,
    rng: np.random.Generator,
    shown: Sequence[str] = (),
) -> Policy | None:
    """Return the first parent with the instruction that is written after a prompt; the generator
    gives the seed of the draws.

    None where nobody writes, nothing of use was written, or it reads as a parent's does. `shown`
    are the inputs in the prompt, which the instruction may not have.
    """
    seed = int(rng.integers(2**32))
    text = None if materials.writer is None else materials.writer.write(prompt, seed)
    instruction = None if text is None else instruction_of(text, shown)
    if instruction is None or plain(instruction) in {plain(p.instruction) for p in parents}:
        return None
    return replace(parents[0], instruction=instruction)


def one_line(parents: Sequence[Policy]) -> list[str] | None:
    """Return the parents' instructions, each in a line; None where one has none."""
    lines = [" ".join(parent.instruction.split()) for parent in parents]
    return lines if all(lines) else None


@dataclass(frozen=True, slots=True)
class InstructionParaphrase:
    """Says the instruction in other words.

    Source: the resampling of Zhou et al. 2023 (APE).
    """

    name: ClassVar[str] = "instruction_paraphrase"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.WRITER})

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no instruction, or nothing new was written."""
        lines = one_line(parents)
        if lines is None:
            return None
        return written_child(PARAPHRASE.format(*lines), parents, materials, rng)


@dataclass(frozen=True, slots=True)
class InstructionCrossover:
    """Combines two instructions; all else is the first parent's.

    Source: the genetic algorithm of Guo et al. 2024 (EvoPrompt), whose crossover and mutation are
    one step here.
    """

    name: ClassVar[str] = "instruction_crossover"
    num_parents: ClassVar[int] = 2
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.WRITER})

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where a parent has no instruction, both have the same, or
        nothing new was written.
        """
        lines = one_line(parents)
        if lines is None or plain(lines[0]) == plain(lines[1]):
            return None
        return written_child(CROSSOVER.format(*lines), parents, materials, rng)


@dataclass(frozen=True, slots=True)
class InstructionDifference:
    """Changes what two instructions differ in and puts it into the best one and the old one. The
    parents are the old one, the two, and the best, as `evolution.mating: differential` gives them;
    otherwise whoever is drawn. All else is the old one's.

    Source: the differential evolution of Guo et al. 2024 (EvoPrompt).
    """

    name: ClassVar[str] = "instruction_difference"
    num_parents: ClassVar[int] = 4
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.WRITER})

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where a parent has no instruction, the second and the third
        have the same, or nothing new was written.
        """
        lines = one_line(parents)
        if lines is None or plain(lines[1]) == plain(lines[2]):
            return None
        return written_child(DIFFERENCE.format(*lines), parents, materials, rng)


@dataclass(frozen=True, slots=True)
class InstructionMutate:
    """Changes the instruction as one of `MUTATIONS` says, all equally likely.

    Source: the first-order mutation of Fernando et al. 2023 (PromptBreeder), with a bank of
    mutation prompts that does not evolve.
    """

    name: ClassVar[str] = "instruction_mutate"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.WRITER})

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Edited | None:
        """Return the child and which mutation made it, or None where there is no instruction, or
        nothing new was written.
        """
        lines = one_line(parents)
        if lines is None:
            return None
        way = pick(list(MUTATIONS), rng)
        child = written_child(MUTATE.format(*lines, MUTATIONS[way]), parents, materials, rng)
        return None if child is None else Edited(child, way)
