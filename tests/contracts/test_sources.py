"""The contract of task sources over the package's, and broken ones that it must catch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evoprompt.config.task import TaskConfig
from evoprompt.tasks.sources.base import Raw
from evoprompt.tasks.sources.builtin import BuiltinSource, builtin_names
from evoprompt.tasks.sources.file import FileSource
from evoprompt.testing.sources import check_source, check_splits


@pytest.mark.parametrize("name", builtin_names())
def test_a_task_of_the_package_holds_the_contract(name):
    check_source(BuiltinSource(), TaskConfig(name=name))
    check_splits(TaskConfig(name=name))


def test_a_users_file_holds_the_contract(task_file: Path):
    check_source(FileSource(), TaskConfig(path=task_file))
    check_splits(TaskConfig(path=task_file))


class Broken:
    """Reads inbox and spoils it."""

    def __init__(self, spoil) -> None:
        self.spoil, self.calls = spoil, 0

    def read(self, config: TaskConfig) -> Raw:
        self.calls += 1
        return self.spoil(BuiltinSource().read(TaskConfig(name="inbox")), self.calls)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda raw, n: replace(raw, examples=raw.examples[n:]), "a second call"),
        (lambda raw, _: replace(raw, examples=()), "no examples"),
        (
            lambda raw, _: replace(
                raw, examples=tuple(replace(e, example_id="same") for e in raw.examples)
            ),
            "two examples",
        ),
        (lambda raw, _: replace(raw, answered=lambda e: replace(e, target="no")), "is not among"),
    ],
)
def test_a_broken_source_is_caught_for_what_is_wrong_with_it(spoil, said):
    with pytest.raises(AssertionError, match=said):
        check_source(Broken(spoil), TaskConfig(name="inbox"))
