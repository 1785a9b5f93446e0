"""Inputs with a blank: each choice is put in its place, and what follows it is scored.

    "The cup did not fit the box, for _ was too big." -> "... for" + " the cup" | " was too big."

Of a sentence that is read as a whole, how likely its end is after each choice tells which one is
meant, where the likelihood of the choice itself tells more of how common its words are.

Source: Trinh and Le 2018 (partial scoring); Brown et al. 2020 ask Winograd schemas so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError, quoted
from evoprompt.policy import Policy, Template
from evoprompt.records import Example

#: What a task with a blank starts from, where nobody says: sentences, one after another.
BLANK_POLICIES = (
    Policy(template=Template("", "", "\n\n")),
    Policy(template=Template("", "", "\n")),
)


def with_blank(examples: Sequence[Example], mark: str) -> tuple[Example, ...]:
    """Return examples whose input ends before the mark, and whose `rest` is what follows it.

    Raises:
        UserError: an input has no mark or several, a word before it without a space between, or
            nothing after it, or an example has no choices.
    """
    return tuple(_parted(example, mark) for example in examples)


def refuse_blank(task: TaskConfig | None, what: str) -> None:
    """Refuse a task with a blank where answers by themselves are needed; `what` begins the
    sentence.

    Raises:
        UserError: it has one.
    """
    if task is not None and task.blank is not None:
        raise UserError(
            f"{what} answers, and with task.blank what follows a choice is scored; take a task "
            f"without it"
        )


def _parted(example: Example, mark: str) -> Example:
    where = example.origin or f"the example {quoted(example.example_id)}"
    before, found, after = example.input.partition(mark)
    if not found or mark in after:
        raise UserError(
            f"{where}: task.blank is {quoted(mark)}, and the input has {example.input.count(mark)} "
            f"of it; expected one, where a choice is to be put"
        )
    if example.choices is None:
        raise UserError(f"{where}: task.blank puts choices in a blank, and there are none")
    if not after.strip():
        raise UserError(
            f"{where}: nothing follows the blank {quoted(mark)}, and what follows it is scored; "
            f"leave task.blank out to score the choices themselves"
        )
    if before and not before[-1].isspace():
        raise UserError(
            f"{where}: before the blank {quoted(mark)} stands {quoted(before[-1])}; expected a "
            f"space, or the blank at the beginning"
        )
    return replace(example, input=before.rstrip(), rest=after)
