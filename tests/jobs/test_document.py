"""Every key of a configuration says what it means, and editors get the same."""

from __future__ import annotations

from importlib import resources

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from evoprompt.config.values import Section
from evoprompt.errors import UserError
from evoprompt.jobs.document import (
    SCHEMAS,
    described,
    explain,
    keys_of,
    schema_text,
    shipped,
    task_lines,
)


@pytest.mark.parametrize("job", SCHEMAS)
def test_the_schema_that_ships_is_that_of_the_classes(job: str):
    file = resources.files("evoprompt") / "schemas" / f"{job}.json"
    fresh = "make it anew: python -m evoprompt.jobs.document"
    assert file.read_text("utf-8") == schema_text(job), fresh
    Draft202012Validator.check_schema(shipped(job))


@pytest.mark.parametrize("job", SCHEMAS)
def test_every_key_has_a_description(job: str):
    assert [key.name for key in keys_of(job).values() if not key.text] == []
    assert len(keys_of(job)) >= 8


class Inner(Section):
    """What an inner section is."""

    #: the first
    #: of two lines
    one: int = Field(1, ge=0, le=9)
    two: str | None = None  #: behind it


class Outer(Section):
    """What it is."""

    inner: Inner = Inner()
    bare: float = 0.5


def test_descriptions_come_from_the_comments_and_limits_have_their_names():
    schema = described(Outer)
    inner = schema["$defs"]["Inner"]["properties"]
    assert inner["one"]["description"] == "the first of two lines"
    assert (inner["one"]["minimum"], inner["one"]["maximum"]) == (0, 9)
    assert inner["two"]["description"] == "behind it"
    assert schema["properties"]["inner"]["description"] == "What an inner section is."
    # power: a key without a comment has none
    assert "description" not in schema["properties"]["bare"]


def test_a_schema_takes_a_configuration_and_refuses_a_wrong_one():
    check = Draft202012Validator(shipped("run"))
    assert not list(check.iter_errors({"task": {"name": "inbox"}, "evolution": {"population": 4}}))
    assert list(check.iter_errors({"task": {"name": "inbox"}, "evolution": {"populatoin": 4}}))
    assert list(check.iter_errors({"task": {"name": "inbox"}, "evolution": {"population": 0}}))


def test_a_key_is_explained_with_what_it_takes_and_a_section_with_its_keys():
    text = explain("run", "evolution.generations")
    assert "takes a whole number from 1 to 1,000,000; default 12" in text
    assert "evolution.racing.first" in explain("run", "evolution.racing")
    assert "plus | comma" in explain("run", "evolution.scheme")
    assert "loop.judge" in explain("boost", "loop")


def test_a_key_that_is_none_is_told_where_it_is():
    with pytest.raises(UserError, match=r"did you mean 'evolution\.generations'\?"):
        explain("run", "generations")
    with pytest.raises(UserError, match=r"did you mean 'evolution\.generations'"):
        explain("run", "evolution.generatons")
    with pytest.raises(UserError, match="no configuration of 'ran'"):
        explain("ran", "seed")


def test_tasks_are_listed_and_shown():
    listed = list(task_lines(None))
    assert any(line.startswith("inbox: 336 examples, answers: complaint") for line in listed)
    assert "word_problems: 2,000 examples, answers: free text" in listed
    shown = list(task_lines("inbox"))
    assert any("->" in line for line in shown)
    assert any("{input}" in line for line in shown)
    with pytest.raises(UserError, match="did you mean 'inbox'"):
        list(task_lines("inbx"))
