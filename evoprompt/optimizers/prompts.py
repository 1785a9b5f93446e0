"""A prompt of MLflow's registry as a policy, and back: what is varied, and what stays as it is.

    text:  instruction | separator | (demonstrations) | prefix {{variables}} suffix
    chat:  system's turn = instruction, pairs of turns = demonstrations, the user's turn with the
           variables

Knows no MLflow. What is not varied comes back to the letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evoprompt.errors import UserError, quoted
from evoprompt.policy import Demonstration, Policy, Template

#: A variable as MLflow has it.
VARIABLE = re.compile(r"\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*\}\}", re.ASCII)
#: What MLflow would take for more than text, and there is no way to say it as text.
_STATEMENT = re.compile(r"\{%.*?%\}", re.DOTALL)
#: What ends an instruction that stands on the variables' own line.
_SENTENCE = re.compile(r"(.*[.!?])( )(.*)", re.DOTALL)
#: What a prompt ends with that an answer goes on from.
CUES = (":", "=", ">", "\uff1a", "\u2192")

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """What of a prompt stays as it is, and the policy that it begins as."""

    name: str
    policy: Policy
    variables: tuple[str, ...]
    asked: str  #: from the first variable to the last, of a chat to the end of the turn
    after: str = ""  #: what a text has after the last variable
    #: of a chat, those of the system, if any, and of the user
    messages: tuple[Message, ...] | None = None
    has_place: bool = True  #: whether demonstrations have a place

    @property
    def is_chat(self) -> bool:
        """Whether the prompt is messages."""
        return self.messages is not None

    def filled(self, inputs: Mapping[str, Any]) -> str | None:
        """Return what is asked with the values of a row; None where a value is missing, or MLflow
        would take something in it for a variable.
        """
        if any(name not in inputs for name in self.variables) or not self.variables:
            return None
        text = VARIABLE.sub(lambda found: str(inputs[found[1]]), self.asked)
        return None if is_taken(text) else text

    def text(self, policy: Policy) -> str:
        """Return a policy as the prompt's template, a chat as JSON: as MLflow's optimizers do."""
        if self.messages is not None:
            return json.dumps(self._turns(policy, self.messages), ensure_ascii=False)
        if not self.variables:
            return policy.instruction
        gap, prefix = policy.template.separator, policy.template.input_prefix
        between = self.after if self.after[-1:].isspace() else self.after + self._space
        shown = "".join(prefix + d.input + between + d.target + gap for d in policy.demonstrations)
        begin = policy.instruction and policy.instruction + gap
        return begin + shown + prefix + self.asked + self.after

    @property
    def _space(self) -> str:
        return " " if self.after else "\n"

    def _turns(self, policy: Policy, messages: Sequence[Message]) -> list[dict[str, Any]]:
        *system, last = messages
        prefix = policy.template.input_prefix
        told = [{**(system[0] if system else {"role": "system"}), "content": policy.instruction}]
        shown = [
            {"role": role, "content": text}
            for d in policy.demonstrations
            for role, text in (("user", prefix + d.input), ("assistant", d.target))
        ]
        asked = {**last, "content": prefix + self.asked}
        return [*(told if policy.instruction else ()), *shown, asked]


def is_taken(text: str) -> bool:
    """Return whether MLflow would take something in a text for a variable or a statement."""
    return bool(VARIABLE.search(text) or _STATEMENT.search(text))


def form_of(name: str, template: str) -> Form:
    """Return the form of a prompt as MLflow hands it to an optimizer: a text, or messages as JSON.

    Raises:
        UserError: it has statements of Jinja, or messages in an order that no policy has.
    """
    if _STATEMENT.search(template):
        raise UserError(
            f"the prompt '{name}' has statements of Jinja ({{% ... %}}), which edits would break; "
            "optimize a prompt with variables alone"
        )
    messages = _messages(template)
    return _of_text(name, template) if messages is None else _of_chat(name, messages)


def _of_text(name: str, text: str) -> Form:
    found = list(VARIABLE.finditer(text))
    if not found:
        return Form(name, Policy(text), (), "", has_place=False)
    before, after = text[: found[0].start()], text[found[-1].end() :]
    head, gap, prefix = _parted(before)
    template = Template(prefix, after, gap) if after else Template(prefix, "", gap, "\n")
    variables = tuple(dict.fromkeys(each[1] for each in found))
    asked = text[found[0].start() : found[-1].end()]
    answers = not after.strip() or after.rstrip().endswith(CUES)
    form = Form(name, Policy(head, (), template), variables, asked, after)
    return form if answers and gap != " " else _without_place(form)


def _parted(before: str) -> tuple[str, str, str]:
    """Return the instruction, what stands after it, and what belongs to the input: the instruction
    ends at the last blank line, line end or sentence before the first variable.
    """
    for gap in ("\n\n", "\n"):
        head, cut, prefix = before.rpartition(gap)
        if cut and head.strip() and head == head.rstrip():
            return head, gap, prefix
    sentence = None if "\n" in before else _SENTENCE.fullmatch(before)
    return (sentence[1], sentence[2], sentence[3]) if sentence else ("", "\n\n", before)


def _without_place(form: Form) -> Form:
    return Form(
        form.name, form.policy, form.variables, form.asked, form.after, form.messages, False
    )


def _messages(template: str) -> list[Message] | None:
    """Return the messages of a chat; None of a text."""
    try:
        found = json.loads(template)
    except ValueError:
        return None
    is_chat = isinstance(found, list) and found and all(isinstance(m, Mapping) for m in found)
    return found if is_chat and all("role" in m for m in found) else None


def _of_chat(name: str, messages: Sequence[Message]) -> Form:
    system = [m for m in messages[:1] if m["role"] == "system"]
    *pairs, last = messages[len(system) :] or [{"role": "none"}]
    roles = [m["role"] for m in (*pairs, last)]
    texts = [m.get("content") for m in messages]
    if (
        roles != ["user", "assistant"] * (len(pairs) // 2) + ["user"]
        or not all(isinstance(text, str) for text in texts)
        or any(VARIABLE.search(str(m["content"])) for m in (*system, *pairs))
    ):
        raise UserError(
            f"the chat prompt '{name}' has the messages {quoted([m['role'] for m in messages])}; "
            "expected one of the system, if any, pairs of user and assistant, if any, and one of "
            "the user, which alone has variables, all of text"
        )
    content = last["content"]
    found = list(VARIABLE.finditer(content))
    cut = found[0].start() if found else 0
    prefix = content[:cut]
    whole = all(m["content"].startswith(prefix) for m in pairs[::2])
    cut = cut if whole else 0
    prefix = content[:cut]
    shown = tuple(
        Demonstration(user["content"].removeprefix(prefix), assistant["content"])
        for user, assistant in zip(pairs[::2], pairs[1::2], strict=True)
    )
    policy = Policy(
        system[0]["content"] if system else "", shown, Template(prefix, "", "\n\n"), chat="turns"
    )
    variables = tuple(dict.fromkeys(each[1] for each in found))
    return Form(name, policy, variables, content[cut:], "", (*system, last), bool(variables))
