"""The genome: a prompt with everything that belongs to it.

Knows its slots, their canonical JSON and the identity that follows from it. Does not know how a
slot is rendered, varied or scored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evoprompt.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A worked example shown in the prompt. `target` is the answer itself; label words are put in
    when the prompt is rendered.
    """

    input: str
    target: str


@dataclass(frozen=True, slots=True)
class Template:
    """The words around an example: `input_prefix` + input + `output_prefix` + answer, blocks joined
    by `separator`.

    `output_prefix` must not end in white space: the answer brings its own leading space, so that
    the tokens of a prompt stay a prefix of the tokens of prompt and answer.
    """

    input_prefix: str = "Input: "
    output_prefix: str = "\nOutput:"
    separator: str = "\n\n"

    def __post_init__(self) -> None:
        if self.output_prefix != self.output_prefix.rstrip():
            raise UserError(
                f"template output_prefix {self.output_prefix!r} ends in white space; the answer "
                f"brings its own leading space, "
                f"so write {self.output_prefix.rstrip()!r}"
            )


@dataclass(frozen=True)
class Policy:
    """One genome. Equal content means an equal `policy_id`, whatever the order in which it was
    built.

    A slot that has its default value is left out of the canonical JSON, so a slot added to the
    language later does not change the identity of the policies that lack it.
    """

    instruction: str = ""
    demonstrations: tuple[Demonstration, ...] = ()
    template: Template = Template()
    #: The word that stands for each choice; a choice that is not named stands for itself.
    label_words: tuple[tuple[str, str], ...] = ()
    #: Questions that break the input up: the model writes an answer to each, and what it wrote
    #: stands before the answer.
    steps: tuple[str, ...] = ()
    #: The self-evaluation clause, a policy of the judging task (`tasks.judge`); None is the
    #: package's own clause.
    evaluator: Policy | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "label_words", tuple(sorted((c, w) for c, w in self.label_words if c != w))
        )
        if self.evaluator is not None and (
            self.evaluator.evaluator is not None or self.evaluator.steps
        ):
            raise UserError(
                "a policy's evaluator has steps or an evaluator of its own; it takes an "
                "instruction, demonstrations, template, label words"
            )
        if any(not step or step != step.rstrip() for step in self.steps):
            raise UserError(
                "a policy's steps are texts that do not end in white space (given: "
                f"{list(self.steps)}); the model writes after each"
            )

    def word(self, choice: str) -> str:
        """Return the label word of a choice."""
        return dict(self.label_words).get(choice, choice)

    def to_dict(self) -> dict[str, Any]:
        """Return the slots that differ from their defaults, as plain JSON values."""
        slots: dict[str, Any] = {}
        if self.instruction:
            slots["instruction"] = self.instruction
        if self.demonstrations:
            slots["demonstrations"] = [[d.input, d.target] for d in self.demonstrations]
        if self.template != Template():
            slots["template"] = [
                self.template.input_prefix,
                self.template.output_prefix,
                self.template.separator,
            ]
        if self.label_words:
            slots["label_words"] = dict(self.label_words)
        if self.steps:
            slots["steps"] = list(self.steps)
        if self.evaluator is not None:
            slots["evaluator"] = self.evaluator.to_dict()
        return slots

    @classmethod
    def from_dict(cls, slots: Mapping[str, Any]) -> Policy:
        """Return the policy of a slot dictionary as `to_dict` writes it.

        Raises:
            UserError: a slot is unknown.
        """
        valid = {"instruction", "demonstrations", "template", "label_words", "steps", "evaluator"}
        for name in slots:
            if name not in valid:
                raise UserError(f"a policy has no slot '{name}'; {nearest(name, valid)}")
        return cls(
            instruction=slots.get("instruction", ""),
            demonstrations=tuple(Demonstration(*pair) for pair in slots.get("demonstrations", ())),
            template=Template(*slots.get("template", ())),
            label_words=tuple(slots.get("label_words", {}).items()),
            steps=tuple(slots.get("steps", ())),
            evaluator=cls.from_dict(slots["evaluator"]) if "evaluator" in slots else None,
        )

    @property
    def canonical_json(self) -> str:
        """The one JSON text of this content: sorted keys, no spaces, no ASCII escapes."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def policy_id(self) -> str:
        """16 hexadecimal digits of BLAKE2b over the canonical JSON."""
        return hashlib.blake2b(self.canonical_json.encode(), digest_size=8).hexdigest()
