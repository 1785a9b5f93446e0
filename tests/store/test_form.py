"""Content of another form is one sentence, and a user's mistake stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from evoprompt.errors import UserError
from evoprompt.store.form import in_form


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda: {}["tokens"], "no 'tokens'"),
        (lambda: [][0], "out of range"),
        (lambda: len(1), "has no len"),
        (lambda: float("x"), "could not convert"),
        (lambda: None.items(), "no attribute"),
        (lambda: 1 / 0, "division by zero"),
    ],
)
def test_what_fails_by_the_content_names_the_file(read, reason: str):
    with pytest.raises(UserError, match=reason) as found, in_form(Path("x/summary.json")):
        read()
    assert str(found.value).startswith("x/summary.json is damaged: ")


def test_other_errors_pass():
    for error in (UserError("own words"), OSError("disk"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as found, in_form(Path("x")):
            raise error
        assert found.value is error


def test_content_that_has_none_of_what_is_asked_for_is_refused():
    with pytest.raises(UserError, match=r"x is damaged.*StopIteration"), in_form(Path("x")):
        next(iter([]))
