"""Instructions that a model writes from what is known of the task and of the run: demonstrations of
the pool, what was tried and how good it was, what was answered wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Materials
from evoprompt.variation.base import Need
from evoprompt.variation.rewriting import one_line, written_child

INDUCE = """I gave a friend an instruction. Following it, the friend wrote an output for each \
input:

{0}

The instruction was to"""

HISTORY = """{0}

The inputs were answered by different instructions. A good one has a high score.

{1}

Score: {2}
Instruction:"""

REFLECT = """Instructions, what went wrong with them, and a better one for the same task.

Instruction: What is the weather?
Text: It poured all day long.
Answer: sun
Right answer: rain
Better instruction: Say whether the text tells of sun, rain or snow.

Instruction: {0}
{1}
Better instruction:"""

#: An instruction is asked for that is so much better than the best one.
STEP, HIGHEST = 10, 100
#: Characters of an input that is shown.
MOST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class InstructionInduce:
    """Writes the instruction that demonstrations of the pool follow, which are drawn label after
    label.

    Source: the forward generation of Zhou et al. 2023 (APE); their reverse one needs a model that
    fills gaps.
    """

    name: ClassVar[str] = "instruction_induce"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.WRITER})
    num_shown: int = 6

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the pool is too small, or nothing new was written."""
        if len(materials.demonstrations) < self.num_shown:
            return None
        drawn = in_turns(materials.demonstrations, self.num_shown, rng)
        prompt = INDUCE.format(_pairs(drawn, parents[0]))
        return written_child(prompt, parents, materials, rng, [d.input for d in drawn])


@dataclass(frozen=True, slots=True)
class InstructionFromHistory:
    """Writes an instruction after the best ones so far, in ascending order of their scores, and a
    score above theirs.

    Source: Yang et al. 2024 (OPRO), who show the best 20 and name no score for the new one.
    """

    name: ClassVar[str] = "instruction_from_history"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.WRITER, Need.HISTORY})
    num_tried: int = 8
    num_shown: int = 3  #: demonstrations of the pool

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where nothing was tried, or nothing new was written."""
        tried = [t for t in materials.history or () if t.policy.instruction.strip()]
        best = tried[: self.num_tried][::-1]
        if not best:
            return None
        policies = [t.policy for t in best]
        lines = one_line(policies) or []
        listed = "\n\n".join(
            f"Score: {t.score}\nInstruction: {line}" for t, line in zip(best, lines, strict=True)
        )
        pool = materials.demonstrations
        drawn = in_turns(pool, min(self.num_shown, len(pool)), rng)
        wanted = min(HIGHEST, best[-1].score + STEP)
        prompt = HISTORY.format(_pairs(drawn, parents[0]), listed, wanted)
        new = [parents[0], *policies]
        return written_child(prompt, new, materials, rng, [d.input for d in drawn])


@dataclass(frozen=True, slots=True)
class InstructionReflect:
    """Writes a better instruction after some of the worst answers that the parent gives to fitness
    examples, and the right ones, with what a metric says of them.

    Source: the reflective mutation of Agrawal et al. 2025 (GEPA), without traces.
    """

    name: ClassVar[str] = "instruction_reflect"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "instruction"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.WRITER, Need.MISTAKES})
    num_shown: int = 3
    num_worst: int = 9  #: that they are drawn from

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no instruction, no answer is wrong, or nothing
        new was written.
        """
        lines = one_line(parents)
        own = [m for m in materials.mistakes or () if m.policy_id == parents[0].policy_id]
        worst = own[: self.num_worst]
        if lines is None or not worst:
            return None
        num = min(self.num_shown, len(worst))
        drawn = [worst[int(i)] for i in sorted(rng.choice(len(worst), size=num, replace=False))]
        word = parents[0].word
        listed = "\n".join(
            f"Text: {_short(m.input)}\nAnswer: {word(m.answer)}\nRight answer: {word(m.target)}"
            + (f"\nWhat is said of it: {_short(m.feedback)}" if m.feedback else "")
            for m in drawn
        )
        prompt = REFLECT.format(*lines, listed)
        return written_child(prompt, parents, materials, rng, [m.input for m in drawn])


def in_turns(
    pool: Sequence[Demonstration], num: int, rng: np.random.Generator
) -> list[Demonstration]:
    """Return so many demonstrations of a pool in random order, each of a target that is shown
    least, as long as there are any.
    """
    left = [pool[int(i)] for i in rng.permutation(len(pool))]
    drawn: list[Demonstration] = []
    while len(drawn) < num:
        targets = [d.target for d in drawn]
        drawn.append(left.pop(min(range(len(left)), key=lambda i: targets.count(left[i].target))))
    return [drawn[int(i)] for i in rng.permutation(num)]


def _pairs(drawn: Sequence[Demonstration], policy: Policy) -> str:
    return "\n\n".join(f"Input: {_short(d.input)}\nOutput: {policy.word(d.target)}" for d in drawn)


def _short(text: str) -> str:
    return " ".join(text.split())[:MOST_CHARACTERS]
