"""The genome: a prompt with everything that belongs to it.

Knows its slots, their canonical JSON and the identity that follows from it. Does not know how a
slot is rendered, varied or scored.

A new slot is a field of `Policy`, a line of `SLOTS`, and its rendering in `tasks.render`; the
canonical JSON, configs, crossover and the words for a change go by the table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field
from functools import cached_property
from typing import Any, Literal, Self, get_args

from evoprompt.errors import UserError, nearest

#: How a prompt is rendered: as a text of its own, or by the model's chat template, with
#: demonstrations as turns or all in one turn.
Chat = Literal["off", "turns", "single"]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A worked example shown in the prompt. `target` is the answer itself; label words are put in
    when the prompt is rendered.
    """

    input: str
    target: str


@dataclass(frozen=True, slots=True)
class Template:
    """The words around an example: `input_prefix` + input + `output_prefix` + `answer_prefix` +
    answer, blocks joined by `separator`.

    `answer_prefix` is the white space between `output_prefix` and the answer, however the two were
    given: white space that ends `output_prefix` is moved there in place of the default, and what is
    no white space the other way. So what reads the same is the same.
    """

    input_prefix: str = "Input: "
    output_prefix: str = "\nOutput:"
    separator: str = "\n\n"
    #: a space; empty in a language that has none between words, a line end in a chat format
    answer_prefix: str = " "

    def __post_init__(self) -> None:
        is_spaced = self.output_prefix != self.output_prefix.rstrip()
        is_usual = self.answer_prefix == " "
        whole = self.output_prefix + ("" if is_spaced and is_usual else self.answer_prefix)
        object.__setattr__(self, "output_prefix", whole.rstrip())
        object.__setattr__(self, "answer_prefix", whole[len(whole.rstrip()) :])


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
    #: `turns` and `single` need a model with a chat template
    chat: Chat = "off"

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "label_words", tuple(sorted((c, w) for c, w in self.label_words if c != w))
        )
        if self.evaluator is not None:
            _check_evaluator(self.evaluator)
        if any(not step or step != step.rstrip() for step in self.steps):
            raise UserError(
                "a policy's steps are texts that do not end in white space (given: "
                f"{list(self.steps)}); the model writes after each"
            )
        if self.chat not in get_args(Chat):
            raise UserError(
                f"a policy's chat is {self.chat!r}; {nearest(self.chat, get_args(Chat))}"
            )

    @property
    def is_chat(self) -> bool:
        """Whether a chat template makes its prompts' text."""
        return self.chat != "off"

    def word(self, choice: str) -> str:
        """Return the label word of a choice."""
        return dict(self.label_words).get(choice, choice)

    def mistake_in_words(self, choices: Iterable[str]) -> str | None:
        """Return what is wrong with the words of choices that are compared, a clause; None where
        each has a word of its own, white space around it aside, which is not blank.
        """
        owners: dict[str, str] = {}
        for choice in choices:
            word = self.word(choice).strip()
            if not word:
                return f"the choice {choice!r} has the word {self.word(choice)!r}, which is blank"
            if word in owners:
                return f"the choices {owners[word]!r} and {choice!r} have the same word, {word!r}"
            owners[word] = choice
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the slots that differ from their defaults, as plain JSON values."""
        plain = {slot.name: slot.write(getattr(self, slot.name)) for slot in SLOTS}
        return {s.name: plain[s.name] for s in SLOTS if plain[s.name] != s.plain_default}

    @classmethod
    def from_dict(cls, slots: Mapping[str, Any]) -> Policy:
        """Return the policy of a slot dictionary as `to_dict` writes it.

        Raises:
            UserError: a slot is unknown.
        """
        valid = {slot.name: slot for slot in SLOTS}
        for name in slots:
            if name not in valid:
                raise UserError(f"a policy has no slot '{name}'; {nearest(name, valid)}")
        return cls(**{name: valid[name].read(plain) for name, plain in slots.items()})

    @property
    def canonical_json(self) -> str:
        """The one JSON text of this content: sorted keys, no spaces, no ASCII escapes."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def policy_id(self) -> str:
        """16 hexadecimal digits of BLAKE2b over the canonical JSON."""
        return hashlib.blake2b(self.canonical_json.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Slot:
    """What there is to say of a slot beside its type and default, which the field of `Policy` with
    its name has.
    """

    name: str
    plain: Any  #: the type of its JSON value, by which a config is checked
    write: Callable[[Any], Any]  #: its value -> a plain JSON value
    read: Callable[[Any], Any]  #: the plain JSON value -> its value
    #: Whether crossover always draws a parent for it, else only where a parent has it: a slot that
    #: was added to the language later leaves the children of policies without it what they were.
    always_crossed: bool = False
    in_evaluator: bool = False  #: whether a self-evaluation clause may have it
    #: The keys that a config has in its place, each with its default, one for each part of its JSON
    #: value, which are then of the type `plain`. Parts at the end may be left out of the value.
    keys: Mapping[str, Any] = field(default_factory=dict)
    #: (before, after) -> how it changed, in words; where there is none, the new value is told.
    tell: Callable[[Any, Any], list[str]] | None = None
    article: str = ""  #: before its name in a sentence

    @property
    def default(self) -> Any:
        """The value of a policy that does not have it."""
        return getattr(_DEFAULT, self.name)

    @property
    def plain_default(self) -> Any:
        """The default as a plain JSON value."""
        return self.write(self.default)

    @property
    def words(self) -> str:
        """Its name as people write it."""
        return self.name.replace("_", " ")

    def changes(self, before: Any, after: Any) -> list[str]:
        """Return in words how it differs between two policies; both as plain JSON values, None
        where it is left out.
        """
        if self.tell is not None:
            return self.tell(before, after)
        if before == after:
            return []
        return [f"{self.words}: {json.dumps(after, ensure_ascii=False)}"]


def _check_evaluator(evaluator: Policy) -> None:
    refused = [slot for slot in SLOTS if not slot.in_evaluator]
    if all(getattr(evaluator, slot.name) == slot.default for slot in refused):
        return
    own = " or ".join(slot.article + slot.words for slot in refused)
    valid = ", ".join(slot.article + slot.words for slot in SLOTS if slot.in_evaluator)
    raise UserError(f"a policy's evaluator has {own} of its own; it takes {valid}")


def _same(value: Any) -> Any:
    return value


def _template_parts(template: Template) -> list[str]:
    """Return the texts of a template, `answer_prefix` left out where it is the default."""
    parts = list(astuple(template))
    return parts[:-1] if template.answer_prefix == Template().answer_prefix else parts


def _tell_instruction(before: str | None, after: str | None) -> list[str]:
    return [] if (before or "") == (after or "") else [f"instruction: {after or ''!r}"]


def _tell_demonstrations(before: Any, after: Any) -> list[str]:
    """Return what came, what went, or that the order changed; a demonstration is a list or a
    mapping of input and target.
    """
    old, new = (
        [tuple(d.values()) if isinstance(d, Mapping) else tuple(d) for d in shown or []]
        for shown in (before, after)
    )
    changes = [f"+ demonstration {d[0]!r}: {d[1]!r}" for d in new if d not in old]
    changes += [f"- demonstration {d[0]!r}: {d[1]!r}" for d in old if d not in new]
    if sorted(old) == sorted(new) and old != new:
        changes.append("demonstrations in another order")
    return changes


_DEFAULT = Policy()

#: Every slot, in the order of the fields of `Policy`: crossover draws in this order, so a new one
#: goes to the end.
SLOTS = (
    Slot(
        "instruction",
        str,
        write=_same,
        read=_same,
        always_crossed=True,
        in_evaluator=True,
        tell=_tell_instruction,
        article="an ",
    ),
    Slot(
        "demonstrations",
        list[tuple[str, str]],
        write=lambda shown: [[d.input, d.target] for d in shown],
        read=lambda pairs: tuple(Demonstration(*pair) for pair in pairs),
        always_crossed=True,
        in_evaluator=True,
        tell=_tell_demonstrations,
    ),
    Slot(
        "template",
        str,
        write=_template_parts,
        read=lambda parts: Template(*parts),
        always_crossed=True,
        in_evaluator=True,
        keys=asdict(Template()),
    ),
    Slot(
        "label_words",
        dict[str, str],
        write=dict,
        read=lambda words: tuple(words.items()),
        always_crossed=True,
        in_evaluator=True,
    ),
    Slot("steps", list[str], write=list, read=tuple),
    Slot(
        "evaluator",
        Self | None,  # a config of the same kind, or none
        write=lambda policy: None if policy is None else policy.to_dict(),
        read=lambda slots: None if slots is None else Policy.from_dict(slots),
        article="an ",
    ),
    Slot("chat", Chat, write=_same, read=_same, in_evaluator=True, article="a "),
)
