"""A task of the harness -> the policy that says its prompt to the byte, and the input in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.tasks.harness.files import refuse

#: Prompts of which whole lines that all have are taken for the task's own words.
ENOUGH = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """What is the same in the prompts of all examples."""

    description: str  #: before everything else
    before: str  #: an input
    after: str  #: it, without white space at its end
    spaces: str  #: that white space

    def input(self, body: str) -> str:
        """Return the input in a prompt without its description."""
        end = len(body) - len(self.after) - len(self.spaces)
        return body[len(self.before) : end]


def body_of(task: Any, doc: Any) -> str:
    """Return the prompt of an example without examples shown and without the description."""
    said = task.fewshot_context(doc, 0, gen_prefix=task.doc_to_prefix(doc))
    return str(said)[len(_description(task, doc)) :]


def frame_of(task: Any, docs: Sequence[Any], name: str) -> Frame:
    """Return what is the same in the prompts of these examples: the words of the task's template
    around what varies, or, where a function makes the prompt, lines that all share.

    Raises:
        UserError: the description differs by example.
    """
    descriptions = {_description(task, doc) for doc in docs}
    if len(descriptions) > 1:
        refuse(name, "its description differs by example")
    said = [body_of(task, doc) for doc in docs]
    bodies = list(dict.fromkeys(said))
    if len(bodies) == 1:
        refuse(name, "all its examples have one prompt, so that only their choices differ")
    before, after = _constant_ends(task.config.doc_to_text, task.features)
    tails = {body[len(task.doc_to_text(doc)) :] for doc, body in zip(docs, said, strict=True)}
    after = after + tails.pop() if len(tails) == 1 else ""
    before = before or _shared_lines(bodies)
    if not after:
        shared = _shared([body[len(before) :][::-1] for body in bodies])[::-1]
        lines = shared[shared.index("\n") :] if "\n" in shared and len(bodies) >= ENOUGH else ""
        after = lines or shared[len(shared.rstrip()) :]
    short = min(map(len, bodies)) < len(before) + len(after)
    if short or not all(b.startswith(before) and b.endswith(after) for b in bodies):
        before = after = ""
    words = after.rstrip()
    return Frame(descriptions.pop(), before, words, after[len(words) :])


def starting_policy(
    task: Any, frame: Frame, shown: Sequence[Demonstration], delimiter: str, name: str
) -> Policy:
    """Return the policy that says the task's prompt, with these demonstrations.

    Args:
        task: of the harness.
        frame: of its prompts.
        shown: in front of every input.
        delimiter: between a prompt and its answer.
        name: of the task, for errors.

    Raises:
        UserError: the description runs on into the first demonstration.
    """
    separator = str(task.config.fewshot_delimiter)
    instruction, before = frame.description.removesuffix(separator), frame.before
    if not shown:
        instruction, _, before = _cut(frame.description + frame.before, separator)
    elif frame.description and not frame.description.endswith(separator):
        refuse(name, "its description is not ended by fewshot_delimiter, as what is shown is")
    template = Template(before, frame.after, separator, frame.spaces + delimiter)
    return Policy(instruction, tuple(shown), template)


def _cut(head: str, separator: str) -> tuple[str, str, str]:
    """Return what stands before the last separator, and what after it; all after it where there
    is none, or nothing before it.
    """
    found = head.rpartition(separator) if separator else ("", "", head)
    return found if found[0] else ("", "", head)


def _description(task: Any, doc: Any) -> str:
    return str(task.resolve_field(doc, task.config.description) or "")


def _constant_ends(template: Any, features: Sequence[str]) -> tuple[str, str]:
    """Return what a Jinja template says before the first and after the last thing that varies."""
    if not isinstance(template, str) or template in features:
        return "", ""
    from jinja2 import nodes
    from lm_eval.utils import env

    body = env.parse(template).body
    parts = [child for node in body if isinstance(node, nodes.Output) for child in node.nodes]
    if len(parts) < 2 or not all(isinstance(node, nodes.Output) for node in (body[0], body[-1])):
        return "", ""
    first, last = parts[0], parts[-1]
    return (
        first.data if isinstance(first, nodes.TemplateData) else "",
        last.data if isinstance(last, nodes.TemplateData) else "",
    )


def _shared_lines(bodies: Sequence[str]) -> str:
    """Return the whole lines with which all begin; none where there are few."""
    shared = _shared(bodies) if len(bodies) >= ENOUGH else ""
    return shared[: shared.rfind("\n") + 1]


def _shared(texts: Sequence[str]) -> str:
    """Return what all begin with."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False))
    return "".join(column[0] for column in columns)
