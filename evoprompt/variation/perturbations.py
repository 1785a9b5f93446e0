"""Changes that leave what a prompt means, or what an input says, as it is: by how little wording
counts, a policy is robust.

A new source is a class and a line of `PERTURBATIONS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Example, Materials
from evoprompt.variation.base import pick
from evoprompt.variation.edits import split_at, with_more
from evoprompt.variation.wording import BETWEEN_SENTENCES, InstructionSynonym

#: Sentences that say nothing of any task.
DISTRACTORS = (
    "The weather was mild for the season.",
    "A train leaves every half hour.",
    "There are seven days in a week.",
    "Someone left an umbrella by the door.",
    "The library closes at eight.",
    "The bridge was painted green last year.",
    "Most of the shops on the street sell bread.",
    "My neighbour has two bicycles.",
)
#: The share of the words of a text that have a typo, one at least; of letters that a word has
#: before it gets one.
TYPO_SHARE, LEAST_LETTERS = 0.15, 4
#: Words of an instruction that one draw of synonyms changes.
MOST_SYNONYMS = 3


@dataclass(frozen=True, slots=True)
class Sources:
    """What perturbations draw from."""

    materials: Materials
    paraphrases: tuple[str, ...] = ()  #: whole instructions, in the place of any
    #: words that mean the same, by choice
    label_synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: what a choice means, in several words, by choice
    label_descriptions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def kept(self, policy: Policy) -> frozenset[str]:
        """Return the words that no perturbation of a text touches, in small letters: those of the
        choices and what stands for them.
        """
        texts = [c for offer in self.materials.choices for c in offer]
        texts += [text for pair in policy.label_words for text in pair]
        return frozenset(word for text in texts for word in re.findall(r"\w+", text.lower()))


class Perturbation(Protocol):
    """Changes a prompt, or an input; None where what is drawn changes nothing. Holds no state. What
    is drawn does not depend on what the policy has already, so that one draw is one change for all
    policies, as far as their texts allow it.
    """

    @property
    def of_input(self) -> bool:
        """Whether it changes inputs, else prompts."""

    def prompt(self, policy: Policy, sources: Sources, rng: np.random.Generator) -> Policy | None:
        """Return the policy with its prompt changed."""

    def text(self, text: str, kept: frozenset[str], rng: np.random.Generator) -> str | None:
        """Return an input changed; words that are kept stay."""


@dataclass(frozen=True, slots=True)
class OfPrompt:
    """What changes prompts alone."""

    of_input = False

    def text(self, text: str, kept: frozenset[str], rng: np.random.Generator) -> str | None:
        """Return None."""
        return None


@dataclass(frozen=True, slots=True)
class OfInput:
    """What changes inputs alone."""

    of_input = True

    def prompt(self, policy: Policy, sources: Sources, rng: np.random.Generator) -> Policy | None:
        """Return None."""
        return None


@dataclass(frozen=True, slots=True)
class LabelWords(OfPrompt):
    """Other words for each choice that has some, in the answers and in the instruction."""

    described: bool  #: by descriptions, else by synonyms

    def prompt(self, policy: Policy, sources: Sources, rng: np.random.Generator) -> Policy | None:
        """Return the policy with those words; None where two choices would share one."""
        bank = sources.label_descriptions if self.described else sources.label_synonyms
        choices = list(dict.fromkeys(c for offer in sources.materials.choices for c in offer))
        words = {c: policy.word(c) for c in choices}
        for choice in choices:
            if bank.get(choice):
                words[choice] = pick(bank[choice], rng)
        changed = replace(policy, label_words=tuple((dict(policy.label_words) | words).items()))
        if changed == policy or changed.mistake_in_words(choices) is not None:
            return None
        others = {policy.word(c).strip(): words[c].strip() for c in choices}
        return replace(changed, instruction=_with_words(policy.instruction, others))


@dataclass(frozen=True, slots=True)
class Paraphrase(OfPrompt):
    """Another instruction that means the same: one that was given, else with synonyms."""

    def prompt(self, policy: Policy, sources: Sources, rng: np.random.Generator) -> Policy | None:
        """Return the policy with it; None where there is no instruction or no other."""
        if not policy.instruction:
            return None
        found = policy
        if sources.paraphrases:
            found = replace(policy, instruction=pick(sources.paraphrases, rng))
            return found if found != policy else None
        for _ in range(int(rng.integers(1, MOST_SYNONYMS + 1))):
            found = InstructionSynonym().apply([found], sources.materials, rng) or found
        return found if found != policy else None


@dataclass(frozen=True, slots=True)
class Order(OfPrompt):
    """The demonstrations in another order."""

    def prompt(self, policy: Policy, sources: Sources, rng: np.random.Generator) -> Policy | None:
        """Return the policy with it; None with fewer than two different ones."""
        shown = policy.demonstrations
        changed = tuple(shown[int(i)] for i in rng.permutation(len(shown)))
        return replace(policy, demonstrations=changed) if changed != shown else None


@dataclass(frozen=True, slots=True)
class Format(OfPrompt):
    """Another template of the bank."""

    def prompt(self, policy: Policy, sources: Sources, rng: np.random.Generator) -> Policy | None:
        """Return the policy with it; None where a chat template makes the text."""
        if policy.is_chat or not sources.materials.templates:
            return None
        template = pick(sources.materials.templates, rng)
        return replace(policy, template=template) if template != policy.template else None


@dataclass(frozen=True, slots=True)
class Instruction(OfPrompt):
    """A change of texts, done to the instruction."""

    change: Perturbation

    def prompt(self, policy: Policy, sources: Sources, rng: np.random.Generator) -> Policy | None:
        """Return the policy with its instruction changed."""
        text = self.change.text(policy.instruction, sources.kept(policy), rng)
        return None if text is None else replace(policy, instruction=text)


@dataclass(frozen=True, slots=True)
class Typos(OfInput):
    """Two letters exchanged, one left out or one twice, in a share of the longer words."""

    def text(self, text: str, kept: frozenset[str], rng: np.random.Generator) -> str | None:
        """Return the text with typos; None where no word is long enough."""
        words = [
            found
            for found in re.finditer(r"[^\W\d_]+", text)
            if len(found[0]) >= LEAST_LETTERS and found[0].lower() not in kept
        ]
        if not words:
            return None
        num = max(1, round(TYPO_SHARE * len(words)))
        places = sorted(rng.choice(len(words), size=num, replace=False), reverse=True)
        for found in (words[int(place)] for place in places):
            text = text[: found.start()] + _mistyped(found[0], rng) + text[found.end() :]
        return text


@dataclass(frozen=True, slots=True)
class Distractor(OfInput):
    """A sentence that says nothing of the task, before, between or after the others."""

    def text(self, text: str, kept: frozenset[str], rng: np.random.Generator) -> str | None:
        """Return the text with it."""
        sentences, gaps = split_at(BETWEEN_SENTENCES, text)
        free = [d for d in DISTRACTORS if d not in text]
        if not free:
            return None
        return with_more(int(rng.integers(len(sentences) + 1)), pick(free, rng), sentences, gaps)


@dataclass(frozen=True, slots=True)
class Casing(OfInput):
    """All in capitals, in small letters, or with a capital before each word; kept words stay."""

    def text(self, text: str, kept: frozenset[str], rng: np.random.Generator) -> str | None:
        """Return the text so; None where that changes nothing."""

        def cased(way: str) -> str:
            return re.sub(
                r"\w+", lambda m: m[0] if m[0].lower() in kept else getattr(m[0], way)(), text
            )

        others = [new for new in map(cased, ("upper", "lower", "capitalize")) if new != text]
        return pick(others, rng) if others else None


#: Every source by name. Its place is part of what is drawn, so a new one goes to the end.
PERTURBATIONS: Mapping[str, Perturbation] = {
    "label_synonyms": LabelWords(described=False),
    "label_descriptions": LabelWords(described=True),
    "paraphrase": Paraphrase(),
    "typos": Instruction(Typos()),
    "order": Order(),
    "distractor": Instruction(Distractor()),
    "format": Format(),
    "casing": Instruction(Casing()),
    "input_typos": Typos(),
    "input_distractor": Distractor(),
    "input_casing": Casing(),
}
#: Those that put other words in the place of labels.
OF_LABELS = tuple(name for name, of in PERTURBATIONS.items() if isinstance(of, LabelWords))


def with_change(
    name: str,
    policy: Policy,
    examples: Sequence[Example],
    sources: Sources,
    rng: Callable[..., np.random.Generator],
) -> tuple[Policy, tuple[Example, ...]] | None:
    """Return a prompt and its inputs with one change; None where that changes nothing of the
    prompt.

    Args:
        name: of the source, one of `PERTURBATIONS`.
        policy: whose prompt it is.
        examples: that it is asked.
        sources: what changes draw from.
        rng: the source's place, and of an input the number of its example -> a generator.
    """
    found, place = PERTURBATIONS[name], list(PERTURBATIONS).index(name)
    if not found.of_input:
        made = found.prompt(policy, sources, rng(place))
        return None if made is None else (made, tuple(examples))
    kept, changed = sources.kept(Policy()), []
    for number, example in enumerate(examples):
        text = found.text(example.input, kept, rng(place, number))
        changed.append(example if text is None else replace(example, input=text))
    return policy, tuple(changed)


def _with_words(text: str, others: Mapping[str, str]) -> str:
    """Return a text with other words in the place of whole ones."""
    known = sorted(filter(None, others), key=len, reverse=True)
    if not known:
        return text
    pattern = rf"(?<!\w)({'|'.join(map(re.escape, known))})(?!\w)"
    return re.sub(pattern, lambda found: others[found[1]], text)


def _mistyped(word: str, rng: np.random.Generator) -> str:
    place, way = int(rng.integers(1, len(word) - 1)), int(rng.integers(3))
    a, b = word[place], word[place + 1]
    middle = (b + a if a != b else a, b, a + a + b)[way]
    return word[:place] + middle + word[place + 2 :]
