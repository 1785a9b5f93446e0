"""Where examples come from: the package's own tasks, files, and sources of plug-ins.

A file is a table whose columns `task.fields` names, or it has a line `{"input", "target", "choices"
(list, or null for free form), "id" (optional)}` for each example. The split of an example follows
from the hash of its content alone: it does not change when lines are added, removed or reordered.
Examples with one input never part: they go where the least of their hashes says. Splits that a file
or a data set has itself are kept.

Fitness, validation and demonstrations have each label as often as the others (`balanced`) or as
often as the data has it (`proportional`). The test is always as the data is.

A task of the package is a file of settings, `builtin/<name>.json`, and its examples: those of
`<name>.jsonl`, those that a generator makes, or those of another task with other targets. The last
keep their splits, so that what the one never sees the other does not either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evoprompt.config.task import Balance, PolicyConfig, TaskConfig
from evoprompt.errors import UserError, nearest
from evoprompt.plugins import find
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example
from evoprompt.tasks.banks import (
    GENERAL_PHRASES,
    GENERAL_STEPS,
    GENERAL_TEMPLATES,
    default_policies,
)
from evoprompt.tasks.base import Task, in_one_order, in_order_of
from evoprompt.tasks.blank import BLANK_POLICIES, with_blank
from evoprompt.tasks.judge import check_judgements, judge_task, mistake_in_words
from evoprompt.tasks.paths import as_scored, in_stages
from evoprompt.tasks.sources.base import Raw, Source
from evoprompt.tasks.sources.builtin import GRADED
from evoprompt.tasks.sources.jsonl import read_answers
from evoprompt.tasks.sources.splits import (
    SPLITS,
    balanced,
    notes_on_labels,
    proportional,
    shorter,
    split_by_input,
)
from evoprompt.tasks.starting import with_demonstrations

#: Every source of the package. A new one is a file in `sources/` and a line here.
SOURCES: Mapping[str, str] = {
    "builtin": "evoprompt.tasks.sources.builtin:BuiltinSource",
    "file": "evoprompt.tasks.sources.file:FileSource",
    "harness": "evoprompt.tasks.sources.harness:HarnessSource",
}

#: The keys of the configuration that say how many examples each split has.
#: Labelled examples at most that are kept beside the splits.
SPARE = 1000
SIZES = ("demonstration_pool", "fitness_examples", "validation_examples", "test_examples")

#: Test examples, of which fewer are told.
FEW = 30

#: Those that are asked for by a key of their own. Any other one is named by task.source.
KEYS: Mapping[str, str] = {"builtin": "name", "file": "path", "harness": "lm_eval"}


def load_task(config: TaskConfig, balance: Balance = "balanced", seed: int = 0) -> Task:
    """Return the task that a configuration asks for, its splits cut to the configured sizes.

    Args:
        config: of the task.
        balance: of the labels where something is learned, where the configuration does not say.
        seed: of the demonstrations that are added to starting policies.

    Raises:
        UserError: the name is unknown, a difficulty is given for a task that has none, a file is
            missing or malformed (with its line number), a target is not among its choices, a
            split is empty, or the starting demonstrations are not there.
    """
    config = config.model_copy(update={"balance": config.balance or balance})
    task = _judging(config) if config.judge else _plain(config)
    return with_demonstrations(task, config, seed)


def _plain(config: TaskConfig) -> Task:
    raw = _source(config).read(config)
    if config.difficulty is not None and config.name not in GRADED:
        raise UserError(
            f"task '{raw.name}' has no difficulty (given: {config.difficulty}); leave "
            f"task.difficulty out, or use {' or '.join(GRADED)}"
        )
    splits, notes = _splits(raw, config)
    if config.written:
        raw, splits = _without_choices(raw, splits)
    if config.blank is not None:
        splits = [with_blank(split, config.blank) for split in splits]
    *told, spare = splits
    demonstrations, fitness, validation, test = in_one_order(told)
    fitness = in_stages(fitness) if config.stages else fitness
    given = tuple(policy_of(p) for p in config.starting_policies) or raw.starting_policies
    if config.blank is not None and not given:
        given = BLANK_POLICIES
    task = Task(
        name=raw.name,
        demonstrations=tuple(Demonstration(e.input, e.target + e.rest) for e in demonstrations),
        pool=demonstrations,
        fitness=fitness,
        validation=validation,
        test=test,
        spare=in_order_of(fitness, spare),
        starting_policies=given,
        phrases=(*raw.phrases, *config.phrases, *GENERAL_PHRASES),
        templates=(*raw.templates, *GENERAL_TEMPLATES),
        label_words=_label_words(raw.label_words, config),
        steps=() if fitness[0].path else (*raw.steps, *config.steps, *GENERAL_STEPS),
        notes=notes,
    )
    _check(task)
    return task if given else replace(task, starting_policies=default_policies(task.choices))


def _without_choices(
    raw: Raw, splits: Sequence[Sequence[Example]]
) -> tuple[Raw, list[tuple[Example, ...]]]:
    """Return what was read, and its splits, with answers in free text."""
    policies = tuple(replace(p, label_words=()) for p in raw.starting_policies)
    free = [tuple(replace(e, choices=None) for e in split) for split in splits]
    return replace(raw, label_words={}, starting_policies=policies), free


def _source(config: TaskConfig) -> Source:
    if config.source is not None and config.source in KEYS:
        raise UserError(
            f"task.source={config.source} is asked for by task.{KEYS[config.source]}; give that "
            f"instead of task.source"
        )
    name = config.source or next(s for s, key in KEYS.items() if getattr(config, key) is not None)
    source: Source = find("source", name, SOURCES, "task.source", ("read",))
    return source


def _splits(raw: Raw, config: TaskConfig) -> tuple[list[tuple[Example, ...]], tuple[str, ...]]:
    """Return the demonstrations, fitness, validation and test examples, cut to their sizes, the
    first of those that no size has room for, and notes.
    """
    sizes = [getattr(config, key) for key in SIZES]
    splits, notes = _own_splits(raw) or split_by_input(raw.examples, raw.test, raw.validation)
    whole = as_scored([[raw.answered(e) for e in splits[name]] for name in SPLITS], config)
    for name, split in zip(SPLITS[1:], whole[1:], strict=True):
        if not split:
            raise UserError(
                f"task '{raw.name}': the {name} split is empty "
                f"({len(raw.examples) + len(raw.test)} examples in all); give more examples with "
                f"different inputs, or a test_path{''.join(f'; {note}' for note in notes)}"
            )
    [(most_common, number)] = Counter(e.example_id for s in whole for e in s).most_common(1)
    if number > 1:
        raise UserError(
            f"task '{raw.name}': the id {most_common!r} is that of {number} examples; give each an "
            f"own id"
        )
    known = [e for split in whole[:-1] for e in split]
    if config.demonstration_inputs == "shorter":
        whole[0] = shorter(whole[0])
    cut = proportional if config.balance == "proportional" else balanced
    learned = [cut(s, size) for s, size in zip(whole[:-1], sizes[:-1], strict=True)]
    sample = proportional(whole[-1], config.test_examples)
    if raw.test and len(sample) < len(whole[-1]):
        notes += (
            f"the test is a sample of {len(sample)} of the {len(whole[-1])} examples of the test "
            f"file, labels in proportion; task.test_examples={len(whole[-1])} takes all",
        )
    test = balanced(sample, len(sample))  # in turns, as the recorded runs have it
    found = (*notes, *notes_on_labels(learned[1], test), *_notes_on_sizes(config, [*learned, test]))
    used = {e.example_id for split in learned for e in split}
    spare = cut([e for e in known if e.example_id not in used], SPARE)
    return [*learned, test, spare], (*raw.notes, *found)


def _own_splits(raw: Raw) -> tuple[dict[str, list[Example]], tuple[str, ...]] | None:
    """Return the splits of a source that has all four, and no notes; None of another."""
    if raw.demonstrations is None:
        return None
    splits = (raw.demonstrations, raw.examples, raw.validation, raw.test)
    return dict(zip(SPLITS, map(list, splits), strict=True)), ()


def _notes_on_sizes(config: TaskConfig, splits: Sequence[Sequence[Example]]) -> tuple[str, ...]:
    """Return a note on splits that have fewer examples than were asked for, where that was said,
    and on a test that is small.
    """
    asked = [
        f"{len(split)} of {getattr(config, key)} {name}"
        for name, key, split in zip(SPLITS, SIZES, splits, strict=True)
        if key in config.model_fields_set
        and len(split) < getattr(config, key)
        and not (name == SPLITS[0] and config.demonstration_inputs == "shorter")
    ]
    notes = [f"fewer examples are there than were asked for: {', '.join(asked)}"] if asked else []
    if len(splits[-1]) < FEW:
        notes.append(
            f"the test has {len(splits[-1])} examples, fewer than {FEW}: a gain of a few points "
            f"cannot be told from chance there; give more examples"
        )
    return tuple(notes)


def _judging(config: TaskConfig) -> Task:
    """Return the judging task of the task that is configured, with half of each split's size, since
    judging doubles it; with a model's own answers those that can be had of all.

    Raises:
        UserError: as `load_task`; a split has no right or no wrong own answer.
    """
    own = read_answers(config.own_answers) if config.own_answers is not None else None
    sizes = ("fitness_examples", "validation_examples", "test_examples")
    parts = 2 if own is None else 1
    halves = {name: max(1, getattr(config, name) // parts) for name in sizes} | {
        "demonstration_pool": config.demonstration_pool // parts
    }
    evaluators = (
        "judge",
        "own_answers",
        "starting_policies",
        "starting_demonstrations",
        "phrases",
        "label_words",
        "steps",
    )
    unasked = {name: TaskConfig.model_fields[name].default for name in evaluators}
    judged = load_task(config.model_copy(update=halves | unasked))
    if judged.has_paths:
        raise UserError("task.judge takes examples with one answer, and these are paths")
    if own is None:
        check_judgements(judged)
    task = judge_task(judged, own)
    for name in ("fitness", "validation", "test") if own is not None else ():
        if not task.splits[name]:
            raise UserError(
                f"task.own_answers: {config.own_answers} has no right or no wrong answer to the "
                f"{name} examples of task '{judged.name}', so that there is nothing to tell apart; "
                "give more answers, or leave it out"
            )
    task = replace(
        task,
        starting_policies=tuple(policy_of(p) for p in config.starting_policies)
        or task.starting_policies,
        phrases=(*task.phrases, *config.phrases),
        label_words=_label_words(task.label_words, config),
        steps=tuple(config.steps),
        notes=judged.notes,
    )
    _check(task)
    return task


def policy_of(config: PolicyConfig) -> Policy:
    """Return the policy that a configuration describes."""
    return Policy.from_dict(config.slots())


def _label_words(
    own: Mapping[str, Sequence[str]], config: TaskConfig
) -> dict[str, tuple[str, ...]]:
    choices = dict.fromkeys([*own, *config.label_words])
    return {
        c: tuple(dict.fromkeys([*own.get(c, []), *config.label_words.get(c, [])])) for c in choices
    }


def _check(task: Task) -> None:
    Policy(steps=task.steps)  # refuses a step that no policy could have
    named = set(task.label_words) | {c for p in task.starting_policies for c, _ in p.label_words}
    for choice in sorted(named):
        if task.choices is None or choice not in task.choices:
            hint = (
                nearest(choice, task.choices)
                if task.choices
                else "but the examples share no choices"
            )
            raise UserError(f"label words are given for '{choice}'; {hint}")
        if any(not word.strip() for word in task.label_words.get(choice, ())):
            raise UserError(
                f"task.label_words gives the choice '{choice}' a word that is blank; leave it out"
            )
    for policy in task.starting_policies:
        if mistake := mistake_in_words(policy, task.offers):
            raise UserError(
                f"task.starting_policies: {mistake}, so that they cannot be told apart; give each "
                f"choice a label word of its own (the policy is {policy.canonical_json})"
            )
