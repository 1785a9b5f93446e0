"""Tasks of the LM Evaluation Harness (`task.lm_eval`), as the harness itself renders them. What it
would ask and what is asked here is compared for every example; a task that cannot be had to the
byte is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evoprompt.config.task import TaskConfig
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example
from evoprompt.tasks.harness.files import refuse
from evoprompt.tasks.harness.opened import Opened, opened
from evoprompt.tasks.harness.prompt import Frame, body_of, frame_of, starting_policy
from evoprompt.tasks.render import render_answer, render_prompt
from evoprompt.tasks.sources.base import Raw
from evoprompt.tasks.sources.jsonl import content_hash, content_of

#: By which the harness draws the examples that it shows, where nobody says another.
FEWSHOT_SEED = 1234
#: Metrics that are computed here as they are.
METRICS = ("acc", "exact_match", "perplexity")


@dataclass
class _Splits:
    """Documents of the harness, by what they are for."""

    learning: list[Any]
    validation: list[Any]
    test: list[Any]
    notes: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[Any]:
        return [*self.learning, *self.validation, *self.test]


class HarnessSource:
    """Tasks of the LM Evaluation Harness. Implements `base.Source`."""

    def read(self, config: TaskConfig) -> Raw:
        """Return the examples of `lm_eval`, and the prompt of the task as the starting policy. Its
        test split, or else its validation split, is the test.

        Raises:
            UserError: there is no such task, or it cannot be taken; the message says why.
        """
        files = {split: Path(path) for split, path in (config.data_files or {}).items()}
        with opened(str(config.lm_eval), files, config.num_fewshot) as found:
            return _read(found)


def _read(found: Opened) -> Raw:
    task, name = found.task, found.name
    if task.multiple_input:
        refuse(name, "its choices stand in the prompt, with one text after each of them")
    if task.multiple_target and task.OUTPUT_TYPE == "multiple_choice":
        refuse(name, "several of its choices are right at once")
    splits = _splits(task)
    shown = _shown(found, splits)
    frame = frame_of(task, splits.all, name)
    reader = _Reader(found, frame)
    demonstrations = [_demonstration(task, frame, doc) for doc in shown]
    policy = starting_policy(task, frame, demonstrations, reader.delimiter(splits.all), name)
    examples, validation, test = (
        reader.examples(docs, policy) for docs in (splits.learning, splits.validation, splits.test)
    )
    notes = (*found.notes, *splits.notes, *reader.notes, *_notes_on_metrics(task))
    return Raw(name, examples, test, validation, notes, starting_policies=(policy,))


def _splits(task: Any) -> _Splits:
    """Return the documents of a task: what the harness evaluates on is the test; where there is
    nothing beside it to learn from, it is all there is to share out.
    """
    own = list(task.eval_docs)
    has_both = task.has_test_docs() and task.has_validation_docs()
    more = list(task.validation_docs()) if has_both else []
    if task.has_training_docs():
        return _Splits(list(task.training_docs()), more, own)
    if more:
        return _Splits(more, [], own)
    named = (task.config.test_split, task.config.validation_split)
    if spare := [s for s in ("train", "validation") if s in task.dataset and s not in named]:
        made = task.config.process_docs or list
        return _Splits(list(made(task.dataset[spare[0]])), [], own)
    note = "the task has no split beside that of the test, whose examples are shared out here"
    return _Splits(own, [], [], [note])


def _shown(found: Opened, splits: _Splits) -> list[Any]:
    """Return the documents that the prompt shows, those that the harness shows before its first;
    they are taken out of the splits.
    """
    task = found.task
    if not found.shots:
        return []
    from lm_eval.api.samplers import FirstNSampler

    evaluated = splits.test or splits.learning
    same = task.fewshot_cfg.split == task.config.test_split
    task.set_fewshot_seed(FEWSHOT_SEED)
    try:
        shown = task.sampler.sample(n=found.shots, eval_doc=evaluated[0] if same else None)
    except (AssertionError, ValueError) as error:
        refuse(found.name, f"it shows {found.shots} examples, and that many are not there: {error}")
    if not isinstance(task.sampler, FirstNSampler):
        splits.notes.append(
            f"the harness shows other {found.shots} examples with each question; the starting "
            "prompt has those of its first"
        )
    shown = list(shown)
    task.sampler = FirstNSampler(shown)
    for part in (splits.learning, splits.validation, splits.test):
        part[:] = [doc for doc in part if doc not in shown]
    return shown


def _demonstration(task: Any, frame: Frame, doc: Any) -> Demonstration:
    target = _golds(task.doc_to_target(doc), _choices(task, doc))[0]
    return Demonstration(frame.input(body_of(task, doc)), target)


def _choices(task: Any, doc: Any) -> list[str]:
    """Return what an example is offered; empty where answers are free text."""
    return list(task.doc_to_choice(doc)) if task.config.doc_to_choice is not None else []


def _golds(target: Any, choices: Sequence[str]) -> list[str]:
    """Return the right answers as texts; an index names a choice."""
    if isinstance(target, int) and choices:
        return [choices[target]] if 0 <= target < len(choices) else []
    return [str(text) for text in (target if isinstance(target, list) else [target])]


class _Reader:
    """Makes examples of documents."""

    def __init__(self, found: Opened, frame: Frame) -> None:
        self.name, self.task, self.shots, self.frame = found.name, found.task, found.shots, frame
        self.kind = found.task.OUTPUT_TYPE
        self.spaces = ""  #: before every target, where the target itself brings them
        self._left_out = 0
        self._seen: dict[str, Example] = {}

    @property
    def notes(self) -> Iterable[str]:
        """What is to be known of the examples."""
        if self._left_out:
            yield (
                f"{self._left_out} examples are left out, for two of their choices are one text, "
                "or one is blank"
            )
        if self.kind == "generate_until" and self.frame.spaces:
            yield (
                "the harness has the model write after white space; here white space begins what "
                "it writes"
            )
        lists = self.task.config.filter_list or [{"filter": []}]
        first = {each["function"] for each in lists[0]["filter"]}
        if self.kind == "generate_until" and not first & {"regex", "remove_whitespace"}:
            yield "the harness counts white space around what is written, which is not counted here"
        if len(lists) > 1:
            names = ", ".join(str(each["name"]) for each in lists)
            yield f"of the task's filters {names} the first is that of its own metric"

    def delimiter(self, docs: Sequence[Any]) -> str:
        """Return what stands between a prompt and its answer."""
        if self.kind != "loglikelihood":
            return str(self.task.config.target_delimiter)
        targets = [str(self.task.doc_to_target(doc)) for doc in docs]
        found = {text[: len(text) - len(text.lstrip(" "))] for text in targets}
        self.spaces = found.pop() if len(found) == 1 else ""
        return self.spaces

    def examples(self, docs: Sequence[Any], policy: Policy) -> tuple[Example, ...]:
        """Return the example of each document.

        Raises:
            UserError: one has no right answer, or the harness asks it otherwise.
        """
        made = [self._example(doc, policy, place) for place, doc in enumerate(docs)]
        return tuple(example for example in made if example is not None)

    def _example(self, doc: Any, policy: Policy, place: int) -> Example | None:
        task, has_choices = self.task, self.kind == "multiple_choice"
        choices = _choices(task, doc)
        golds = [g.removeprefix(self.spaces) for g in _golds(task.doc_to_target(doc), choices)]
        golds = list(dict.fromkeys(g for g in golds if g.strip()))
        where = f"{self.name}, example {place}"
        if not golds or (has_choices and golds[0] not in choices):
            refuse(self.name, f"its example {place} has no right answer; is that a hidden test?")
        if has_choices and len({c.strip() for c in choices} - {""}) < len(choices):
            self._left_out += 1
            return None
        example = Example(
            "",
            self.frame.input(body_of(task, doc)),
            golds[0],
            tuple(choices) if has_choices else None,
            where,
            () if has_choices else tuple(golds[1:]),
            may_go_on=self.kind == "loglikelihood",
        )
        self._check(doc, example, policy)
        return replace(example, example_id=self._id(example))

    def _check(self, doc: Any, example: Example, policy: Policy) -> None:
        """Find out whether the policy asks an example as the harness does.

        Raises:
            UserError: it does not.
        """
        task = self.task
        said = task.fewshot_context(doc, self.shots, gen_prefix=task.doc_to_prefix(doc))
        ours = str(render_prompt(policy, example.input))
        same = ours.rstrip(" ") == said.rstrip(" ")
        if self.kind != "generate_until":
            requests = task.construct_requests(doc, said)
            asked = requests if isinstance(requests, list) else [requests]
            answers = [render_answer(policy, c) for c in example.candidates]
            wholes = [r.args[0] + r.args[1] for r in asked[: len(answers)]]
            same = ours.rstrip() == said.rstrip() and wholes == [ours + a for a in answers]
        if not same:
            refuse(
                self.name,
                f"its prompt would be another here (of the harness ...{said[-80:]!r}, here "
                f"...{ours[-80:]!r})",
            )

    def _id(self, example: Example) -> str:
        """Return an id by content; examples that differ in their choices alone are numbered."""
        own = number = content_hash(example)
        while content_of(self._seen.setdefault(number, example)) != content_of(example):
            number = f"{own}-{len(self._seen)}"
        return number


def _notes_on_metrics(task: Any) -> Iterable[str]:
    named = [str(name) for name in task._metric_fn_list]
    if "acc_norm" in named:
        yield (
            "acc_norm divides by the characters of an answer; near it is fitness.kind=per_byte, "
            "which counts the white space before it too"
        )
    if others := [name for name in named if name not in (*METRICS, "acc_norm")]:
        yield f"metrics of the task that are not computed here: {', '.join(others)}"
