"""A policy as a prompt of MLflow's registry, with `{{input}}` for the input. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from evoprompt.errors import UserError
from evoprompt.policy import Policy
from evoprompt.tasks.render import render_prompt

#: A text, or the messages of a chat, each with a role and a content.
Template = str | list[dict[str, str]]

#: The variable that stands for the input.
VARIABLE = "{{input}}"
#: Stands for the input while a prompt is rendered; no character of any language.
INPUT = "\ufdef"
#: What MLflow takes for a variable or a statement, and cannot be told not to.
_TAKEN = re.compile(r"\{\{\s*[A-Za-z_][\w.]*\s*\}\}|\{%.*?%\}", re.DOTALL)
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class RegisteredPrompt:
    """What `mlflow.genai.register_prompt` takes."""

    name: str
    template: Template
    tags: Mapping[str, str]
    commit_message: str = "the champion of an evoprompt run"
    #: of the model that it was evolved for
    model_config: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments by name."""
        return asdict(self)


def registered(policy: Policy, name: str, model: str) -> RegisteredPrompt:
    """Return a policy as a prompt; characters that a name there cannot have become `-`.

    Raises:
        UserError: as `template_of`.
    """
    tags = {"evoprompt.policy_id": policy.policy_id}
    known = _NO_NAME.sub("-", name).strip("-.") or "evoprompt"
    return RegisteredPrompt(known, template_of(policy), tags, model_config={"model_name": model})


def template_of(policy: Policy) -> Template:
    """Return a policy's whole prompt as a template of MLflow: a text, or messages where it is a
    chat; a beginning of the answer is the last of them.

    Raises:
        UserError: it has steps, or a text that MLflow would take for a variable.
    """
    if policy.steps:
        raise UserError("a policy with steps is no single prompt, as MLflow's registry has them")
    said = render_prompt(policy, INPUT)
    if isinstance(said, str):
        return _filled(said)
    messages = [{"role": turn.role, "content": _filled(turn.content)} for turn in said.turns]
    begun = [{"role": "assistant", "content": _filled(said.begun)}] if said.begun else []
    return [*messages, *begun]


def _filled(text: str) -> str:
    taken = _TAKEN.search(text)
    if taken:
        raise UserError(
            f"the prompt says {taken[0][:40]!r}, which MLflow would take for a variable, and there "
            "is no way to say it as text there; take --to json or --to text, or leave that "
            "demonstration out"
        )
    return text.replace(INPUT, VARIABLE)
