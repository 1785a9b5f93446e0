"""What a loop asks: the questions of a file, or a task's examples without their labels."""

from __future__ import annotations

from dataclasses import dataclass

from evoprompt.errors import UserError
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.records import Example
from evoprompt.tasks.base import Task, examples_digest, label_shares, size_and_labels
from evoprompt.tasks.blank import refuse_blank
from evoprompt.tasks.load import load_task
from evoprompt.tasks.sources.jsonl import read_jsonl, read_questions
from evoprompt.tasks.sources.splits import conflicts, without_inputs


@dataclass(frozen=True, slots=True)
class Asked:
    """The data of a loop."""

    task: Task | None  #: what measures; None where nothing is known
    #: in a fixed order; a target that is not known is empty
    questions: tuple[Example, ...]
    notes: tuple[str, ...] = ()  #: what is not as it may be thought, a sentence each

    def account(self) -> dict[str, object]:
        """Return what is recorded of the data: that of the task, how many questions there are, and
        the share of each label among those that have one.
        """
        asked = {
            "examples": len(self.questions),
            "labels": label_shares(self.questions),
            "sha256": examples_digest(self.questions),
        }
        account = self.task.account() if self.task is not None else {}
        return {**account, "questions": asked, "notes": list(self.notes)}

    def summary(self) -> str:
        """Return the data, a line for each split and one for the questions."""
        splits = [self.task.summary()] if self.task is not None else []
        return "\n".join([*splits, size_and_labels("questions", self.questions)])


def asked_of(config: BoostConfig) -> Asked:
    """Return what a loop asks and what measures it. A question whose input is in the test is left
    out: the context would show what is measured.

    Raises:
        UserError: as `load_task` and `read_questions`.
    """
    refuse_blank(config.task, "a loop judges")
    task = load_task(config.task, "proportional") if config.task is not None else None
    if task is not None and task.has_paths:
        raise UserError("a loop judges one answer to each question, and these examples are paths")
    notes = task.notes if task is not None else ()
    if config.questions is None:
        return Asked(task, (*task.pool, *task.fitness) if task is not None else (), notes)
    questions = read_questions(config.questions)
    found = [conflicts(read_jsonl(config.questions, labelled=False))]
    if task is not None:
        kept, leaked = without_inputs(questions, task.test, "a question has an input of the test")
        questions = tuple(kept)
        found.append(leaked)
    return Asked(task, questions, (*notes, *(note for note in found if note)))
