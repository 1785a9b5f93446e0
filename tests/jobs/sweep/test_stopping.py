"""Runs of a sweep that are stopped early: which, that nothing else changes, and that they go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.errors import UserError
from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.jobs.sweep import loop as sweep
from evoprompt.jobs.sweep.config import load_sweep
from evoprompt.jobs.sweep.halving import Halving
from evoprompt.jobs.sweep.page import PAGE, markdown, read_state
from evoprompt.jobs.sweep.record import SweepRow
from evoprompt.jobs.sweep.stopping import StoppingConfig
from evoprompt.jobs.sweep.tracked import ending_of

CHILDREN = "evolution.children"
STOPPING = StoppingConfig(method="halving", first=0.1, keep=3)


class Judge:
    """Halving, told of values at rungs."""

    def __init__(self, num: int, rows: Sequence[SweepRow] | None = None) -> None:
        self.rows = list(rows or (SweepRow(n, f"r{n}", {}) for n in range(1, num + 1)))
        self.halving = Halving(STOPPING, self.rows)

    def falls(self, number: int, value: float, examples: int = 8) -> bool:
        row = self.rows[number - 1]
        step = round(STOPPING.rungs()[len(row.rungs)] * 1000)
        self.rows[number - 1] = replace(row, rungs=[*row.rungs, (examples, value)])
        return self.halving._falls_behind(row, step, examples, value)


def test_one_in_three_goes_on_of_those_that_have_come_so_far():
    """1: the only one. 2: the best of two. 0: of three, the best alone goes on. 3: the best of
    four. 2.5: not the best of five. 4: among the best two of six. 3: of seven the best two are 4
    and 3, and it is as good.
    """
    judge = Judge(7)
    values = [1, 2, 0, 3, 2.5, 4, 3]
    falls = [judge.falls(number, value) for number, value in enumerate(values, 1)]
    assert falls == [False, False, True, False, True, False, False]
    # the second rung is a race of its own: 4 alone, then 3 behind it
    assert [judge.falls(6, 4.0), judge.falls(7, 3.0)] == [False, True]


def slow_twin(seen: list[float], value: float, keep: int) -> bool:
    """As the paper says: behind, unless among the best 1 in `keep`, or the best of fewer."""
    seen.append(value)
    return value < sorted(seen, reverse=True)[max(1, len(seen) // keep) - 1]


@given(st.data())
def test_it_is_the_rule_of_the_paper_and_follows_from_the_rows(data: st.DataObject):
    num = 6
    judge, seen = Judge(num), {0: [], 1: []}
    can = dict.fromkeys(range(1, num + 1), 0)
    for _ in range(data.draw(st.integers(1, 10))):
        if not can:
            return
        number = data.draw(st.sampled_from(sorted(can)))
        value = data.draw(st.integers(0, 5)) / 2
        if data.draw(st.booleans()):  # as a sweep that was killed and gone on with
            judge = Judge(num, judge.rows)
        falls = judge.falls(number, value)
        assert falls == slow_twin(seen[can[number]], value, STOPPING.keep)
        can[number] += 1
        if falls or can[number] == 2:
            del can[number]


def test_runs_are_compared_at_the_first_rung_and_keep_times_as_far():
    assert STOPPING.rungs() == pytest.approx([0.1, 0.3])  # .9 is later than .7
    assert StoppingConfig(first=0.2, keep=2, last=0.8).rungs() == pytest.approx([0.2, 0.4, 0.8])


def write(folder: Path, config: str) -> Path:
    """Write three settings with two seeds and three generations, compared after two."""
    (folder / "tiny.yaml").write_text(config)
    values = {
        "base": "tiny.yaml",
        "set": {"evolution.generations": 3},
        "axes": {"seed": [0, 1], CHILDREN: [12, 1, 2]},
        "stopping": {"method": "halving", "first": 0.6, "keep": 2},
    }
    path = folder / "mood.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def seeds(tmp_path: Path, config_text: str) -> Path:
    return write(tmp_path, config_text)


@pytest.fixture(autouse=True, scope="module")
def no_pages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evoprompt.jobs.evolve.loop.write_page", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, config_text: str) -> Path:
    """The sweep of which no run is stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert sweep.start(write(folder, config_text), folder / "sweep", ["stopping.method=off"]) == 0
    return folder / "sweep"


def lineages(folder: Path) -> list[bytes]:
    files = [folder / row.folder / LINEAGE for row in read_state(folder).rows]
    return [file.read_bytes() if file.exists() else b"" for file in files]


def results(folder: Path) -> list[tuple[str, float | None]]:
    return [(row.status, row.value("objective")) for row in read_state(folder).rows]


@pytest.mark.slow
def test_a_stopped_run_is_the_beginning_of_the_whole_one_and_can_be_gone_on_with(
    seeds: Path, whole: Path, tmp_path: Path
):
    halved = tmp_path / "halved"
    assert sweep.start(seeds, halved) == 0
    state = read_state(halved)
    stopped = [row for row in state.rows if row.status == "stopped"]
    assert stopped
    assert any(row.is_done for row in state.rows)
    for row, first, all_of_it in zip(state.rows, lineages(halved), lineages(whole), strict=True):
        assert all_of_it.startswith(first)
        assert (first == all_of_it) == row.is_done
    whole_groups = {row.settings[CHILDREN] for row in state.rows if row.is_done}
    assert {(r.settings[CHILDREN] in whole_groups) for r in stopped} == {False}
    for row in stopped:
        if row.settings["seed"]:
            assert row.reason in [f"its settings were, in {first.folder}" for first in stopped]
            assert not (halved / row.folder).exists()
            continue
        assert "was not among the best 1 in 2" in str(row.reason)
        assert row.value("objective") is None
        assert (row.value("tokens") or 0) > 0
        assert not (halved / row.folder / "summary.json").exists()
    assert f"{len(stopped)} stopped early" in (halved / PAGE).read_text()
    assert markdown(state).count("stopped") == len(stopped)
    point = ending_of(halved, state).point
    assert point is not None
    assert point.metrics["sweep/runs_stopped"] == len(stopped)
    with pytest.raises(UserError, match="is complete"):
        sweep.resume(halved)
    assert sweep.resume(halved, ["stopping.method=off"]) == 0
    assert lineages(halved) == lineages(whole)
    assert results(halved) == results(whole)


@pytest.mark.slow
def test_several_runs_at_a_time_are_those_that_are_done_one_after_another(
    seeds: Path, whole: Path, tmp_path: Path
):
    """What is stopped depends on the order in which runs come so far; what a run is, does not."""
    halved = tmp_path / "halved"
    assert sweep.start(seeds, halved, ["parallel=2"]) == 0
    for row, (_, value) in zip(read_state(halved).rows, results(whole), strict=True):
        assert (row.status, row.value("objective")) in (("stopped", None), ("done", value))
    for some, all_of_it in zip(lineages(halved), lineages(whole), strict=True):
        assert all_of_it.startswith(some)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"axes": {"task.shots": [1, 2]}, "objective": "test.champion"}, "axes vary 'task.shots'"),
        ({"axes": {"seed": [1, 2]}}, "axes vary the seed alone"),
        ({"method": "bayes", "runs": 3}, "bayes learns from runs that came to their end"),
        ({"stopping": {"method": "halving", "first": 0.9}}, "must not be more than last"),
        (
            {"method": "bayes", "runs": 3, "parallel": 2, "stopping": {"method": "off"}},
            "bayes learns from each run before the next",
        ),
    ],
)
def test_what_does_not_go_with_stopping_is_refused(seeds: Path, changed: dict, message: str):
    values = yaml.safe_load(seeds.read_text()) | changed
    seeds.write_text(json.dumps(values))
    with pytest.raises(UserError, match=message):
        load_sweep(seeds)


def test_each_process_takes_a_gpu_in_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from evoprompt.jobs.sweep import at_once

    monkeypatch.setattr(at_once, "GPUS", tmp_path)
    for bus in ("a", "b"):
        (tmp_path / bus).mkdir()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [at_once.gpu_of(slot) for slot in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [at_once.gpu_of(slot) for slot in range(3)] == ["5", "7", "5"]
    for one in ("3", ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", one)
        assert at_once.gpu_of(1) is None


def test_runs_are_compared_with_those_of_their_own_seed_alone():
    """The examples of seed 1 are harder: its best run is worse than all of seed 0."""
    rows = [SweepRow(n, f"r{n}", {"seed": n % 2, "x": n // 2}) for n in range(1, 5)]
    judge = Judge(0, rows)
    assert [judge.falls(2, 0.5), judge.falls(1, -2.0), judge.falls(4, 0.2)] == [False, False, True]
    assert not judge.falls(3, -1.0)


def test_runs_are_compared_with_those_on_as_many_examples_alone():
    """On 16 examples fitness is lower; the best there goes on, whatever was reached on 8."""
    judge = Judge(4)
    assert [judge.falls(1, -0.5, 8), judge.falls(2, -0.9, 16)] == [False, False]
    assert [judge.falls(3, -1.0, 16), judge.falls(4, -0.4, 8)] == [True, False]
