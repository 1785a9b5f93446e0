"""Operators as other packages bring them, and broken ones that the contract must catch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from evoprompt.policy import Demonstration, Policy


class Shout:
    """Writes the instruction in capitals: an operator whose text is its own."""

    name, num_parents, slot, needs = "shout", 1, "instruction", frozenset()

    def apply(self, parents, materials, rng):
        loud = parents[0].instruction.upper()
        return replace(parents[0], instruction=loud) if loud != parents[0].instruction else None


class Loud(Shout):
    """Another of the same name."""


class Survive(Shout):
    """Calls itself what the lineage calls a birth that no operator made."""

    name = "survive"


@dataclass(frozen=True)
class Say:
    """Puts a text in the place of the instruction; is given as an object."""

    text: str
    name: str = "say"
    num_parents: int = 1
    slot: str | None = "instruction"
    needs: frozenset[str] = frozenset()

    def apply(self, parents, materials, rng):
        return replace(parents[0], instruction=self.text)


SAY_HELLO = Say("Hello.")


class Broken(Shout):
    """What is wrong with each is in its name; `why` is in what the contract says of it."""

    name = "broken"
    why = ""


class NamelessOne(Broken):
    why = "its name is None"
    name = None


class OfAnUnknownSlot(Broken):
    why = "did you mean 'instruction'"
    slot = "instructions"


class NeedingTheUnknown(Broken):
    why = "did you mean 'author'"
    needs = frozenset({"autor"})


class OfTheGlobalGenerator(Broken):
    why = "not a function of"

    def apply(self, parents, materials, rng):
        return replace(parents[0], instruction=str(np.random.random()))


class Counting(Broken):
    why = "not a function of"
    numbers = count()

    def apply(self, parents, materials, rng):
        return replace(parents[0], instruction=str(next(self.numbers)))


class ChangingTheMaterials(Broken):
    why = "arguments were changed"

    def apply(self, parents, materials, rng):
        materials.label_words.pop("a", None)
        return parents[0]


class ChangingAParent(Broken):
    why = "arguments were changed"

    def apply(self, parents, materials, rng):
        object.__setattr__(parents[0], "instruction", "changed")
        return parents[0]


class EditingAnotherSlot(Broken):
    why = "its slot is instruction"

    def apply(self, parents, materials, rng):
        return replace(parents[0], steps=parents[0].steps[1:])


class ReturningText(Broken):
    why = "is no policy"

    def apply(self, parents, materials, rng):
        return parents[0].instruction


class InventingADemonstration(Broken):
    why = "unknown demonstrations"
    slot = "demonstrations"

    def apply(self, parents, materials, rng):
        return replace(parents[0], demonstrations=(Demonstration("invented", "a"),))


class ShowingTwice(Broken):
    why = "a demonstration twice"
    slot = "demonstrations"

    def apply(self, parents, materials, rng):
        return replace(parents[0], demonstrations=parents[0].demonstrations[:1] * 2)


class OverfillingThePrompt(Broken):
    why = "too many demonstrations"
    slot = "demonstrations"

    def apply(self, parents, materials, rng):
        return replace(parents[0], demonstrations=materials.demonstrations[:5])


class GivingTwoChoicesOneWord(Broken):
    why = "two choices have one word"
    slot = "label_words"

    def apply(self, parents, materials, rng):
        return replace(parents[0], label_words=(("a", "one"), ("b", "one")))


class JudgingByTheTask(Broken):
    why = "unknown template"
    slot, needs = "evaluator", frozenset({"evaluator"})

    def apply(self, parents, materials, rng):
        return replace(parents[0], evaluator=Policy(template=parents[0].template))


BROKEN = Broken.__subclasses__()
