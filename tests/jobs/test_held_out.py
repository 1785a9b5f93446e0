"""The held-out check: the exact test beside the interval, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evoprompt.jobs.held_out import (
    HeldOut,
    McNemar,
    compare,
    held_out_markdown,
    held_out_table,
    mcnemar,
)
from evoprompt.report.table import to_html

LABELS = {"champion": "champion", "difference": "difference"}


def answers(*runs: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Answers of both, by runs of (how many examples, baseline right, champion right)."""
    num = [n for n, _, _ in runs]
    return tuple(np.repeat(np.array([r[i] for r in runs], dtype=bool), num) for i in (1, 2))


@pytest.mark.parametrize(
    ("lost", "won", "p_value"),
    [
        (0, 0, 1.0),
        (0, 5, 2 / 32),
        (5, 0, 2 / 32),
        (1, 7, 2 * (1 + 8) / 256),
        (3, 3, 1.0),
    ],
)
def test_the_exact_test_counts_the_examples_on_which_one_alone_is_right(lost, won, p_value):
    """Twice the tail of a binomial with probability 1/2."""
    both = answers((10, 1, 1), (lost, 1, 0), (won, 0, 1), (4, 0, 0))
    assert mcnemar(*both) == McNemar(lost, won, pytest.approx(p_value))


def test_a_check_has_it_beside_the_interval_and_shows_it():
    test = compare(*answers((10, 1, 1), (1, 1, 0), (7, 0, 1), (2, 0, 0)), 0, 0.05)
    assert test.difference.value == pytest.approx(6 / 20)
    assert test.mcnemar == McNemar(1, 7, pytest.approx(18 / 256))
    assert HeldOut.from_dict(json.loads(json.dumps(test.to_dict()))) == test
    for shown in (to_html(held_out_table(test, LABELS)), held_out_markdown(test, LABELS)):
        assert "0.070" in shown
        assert "7 examples against 1" in shown


def test_a_check_that_was_written_without_it_is_read_and_shown():
    test = compare(*answers((3, 1, 1), (1, 0, 1)), 0, 0.05)
    old = {name: value for name, value in test.to_dict().items() if name != "mcnemar"}
    found = HeldOut.from_dict(old)
    assert found.mcnemar is None
    assert "McNemar" not in held_out_markdown(found, LABELS)
