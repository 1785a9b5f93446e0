"""The contract of a task source. Each function raises `AssertionError` where it is broken.

from evoprompt.testing.sources import check_source, check_splits

def test_my_source():
    config = TaskConfig(source="my_package.sources:Mine", options={...})
    check_source(Mine(), config)
    check_splits(config)
"""

from __future__ import annotations

from evoprompt.config.task import TaskConfig
from evoprompt.tasks.load import load_task
from evoprompt.tasks.sources.base import Raw, Source
from evoprompt.tasks.sources.splits import input_key


def check_source(source: Source, config: TaskConfig) -> None:
    """Check what a source reads for a configuration."""
    raw = source.read(config)
    check_again(source, config, raw)
    check_examples(raw)


def check_again(source: Source, config: TaskConfig, raw: Raw) -> None:
    """The same configuration gives the same examples."""
    again = source.read(config)
    assert again.examples == raw.examples, "a second call gives other examples"
    assert again.test == raw.test, "a second call gives another test split"


def check_examples(raw: Raw) -> None:
    """There are examples, ids tell them apart, targets are among the choices and have text."""
    assert raw.name, "the task has no name"
    assert raw.examples, "there are no examples"
    known: dict[str, object] = {}
    for example in (*raw.examples, *raw.test):
        assert known.setdefault(example.example_id, example) == example, (
            f"the id {example.example_id!r} is that of two examples"
        )
        answered = raw.answered(example)
        assert answered.target, f"example {example.example_id!r} has no target"
        assert answered.target in answered.candidates, (
            f"the target {answered.target!r} of example {example.example_id!r} is not among "
            f"{answered.candidates}"
        )


def check_splits(config: TaskConfig) -> None:
    """The four splits of the task share no input. The source is found by the configuration."""
    task = load_task(config)
    splits = (task.pool, task.fitness, task.validation, task.test)
    inputs = [{input_key(e) for e in split} for split in splits]
    for i, one in enumerate(inputs):
        for other in inputs[i + 1 :]:
            assert not one & other, "an input is in two splits"
