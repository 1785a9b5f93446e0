"""What a loop can be told to do: each word stands in one table, which the configuration, the loop
and the page read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evoprompt.choices import COMPARISONS
from evoprompt.errors import UserError
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.boost.judges import JUDGES, Judge
from evoprompt.jobs.boost.session import start
from evoprompt.jobs.boost.state import BUFFERS, RULES, Buffer
from evoprompt.recurrence.imitation import CONTEXTS

TABLES = {"buffer": BUFFERS, "answers": COMPARISONS, "judge": JUDGES, "choose": RULES}


@pytest.mark.parametrize(("key", "name"), [(k, n) for k, table in TABLES.items() for n in table])
def test_the_configuration_takes_every_name_of_a_table(boost_file: Path, key: str, name: str):
    config = load_boost(boost_file, [f"loop.{key}={name}"])
    assert getattr(config.loop, key) == name


@pytest.mark.parametrize(
    ("key", "given", "meant"),
    [
        ("buffer", "acumulate", "accumulate"),
        ("answers", "likelyhood", "likelihood"),
        ("judge", "rival", "rivals"),
        ("choose", "balance", "balanced"),
    ],
)
def test_a_name_of_no_table_is_refused_with_the_nearest_one(
    boost_file: Path, key: str, given: str, meant: str
):
    with pytest.raises(
        UserError, match=f"loop.{key}: there is no '{given}'; did you mean '{meant}'"
    ):
        load_boost(boost_file, [f"loop.{key}={given}"])


def test_every_buffer_has_a_prediction():
    assert BUFFERS.keys() == CONTEXTS.keys()


def test_a_new_judge_and_a_new_buffer_take_a_line_each(
    boost_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    coin = Judge("a coin", lambda asker, evaluator, asked, answers: np.arange(len(asked)) - 2.5)
    monkeypatch.setitem(JUDGES, "coin", coin)
    first = Buffer("the first answers", lambda pairs, newest, least: pairs[:least])
    monkeypatch.setitem(BUFFERS, "first", first)
    monkeypatch.setitem(CONTEXTS, "first", CONTEXTS["accumulate"])
    settings = ["loop.judge=coin", "loop.buffer=first", "loop.threshold=0"]
    summary = start(load_boost(boost_file, settings), tmp_path / "loop")
    assert (summary["judge"], summary["buffer"]) == ("coin", "first")
    page = (tmp_path / "loop" / "report.html").read_text()
    assert "Buffer: first (the first answers). Judge: coin (a coin)" in page
    # Log-odds above 0 are accepted: three of the six answers of each round.
    assert "3 of 6" in page
