"""Damaged files are taken or refused with a sentence, and the fuzzer sees what is neither."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  makes its cache folder when it is first imported
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))
import fuzz_inputs
from fuzz_changes import damaged
from fuzz_inputs import End, check_valid, fault_of, fuzz, in_this_process, try_one, without_model
from fuzz_kinds import KINDS, Kind, examples

from evoprompt.errors import UserError

OF = {kind.name: kind for kind in KINDS}


@pytest.fixture(autouse=True)
def instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models that answer at once, and a home of one's own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("EVOPROMPT_MEMO", str(home / "memo"))
    with without_model():
        yield


QUICK = ("requests", "play", "overrides")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=kind.name, marks=[] if kind.name in QUICK else pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_a_few_damaged_files_are_taken_or_refused_with_a_sentence(kind: Kind, tmp_path: Path):
    assert check_valid(kind, tmp_path) is None
    # inputs are texts, and few damages make them none
    ends = fuzz(kind, range(24 if kind.name == "inputs" else 8), tmp_path, seed=2)
    assert ends["fault"] == 0
    assert ends["exit 2"] > 0


@pytest.mark.slow
def test_what_is_neither_is_seen_and_its_folder_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def careless(source: Path) -> None:
        source.read_text(encoding="utf-8")  # raises UnicodeDecodeError for some
        raise UserError("no")

    monkeypatch.setattr("evoprompt.jobs.score.read_requests", careless)
    ends = fuzz(OF["requests"], range(60), tmp_path)
    assert ends["fault"] == ends["exit 1"] > 3
    assert len([f for f in tmp_path.iterdir() if f.name != "home"]) == ends["fault"]
    assert "UnicodeDecodeError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (End(0, "done\n"), None),
        (End(130, ""), None),
        (End(2, "evoprompt: no\n"), None),
        (End(1, "x"), "exit 1"),
        (End(0, "Traceback (most recent call last)"), "exit 0"),
        (End(2, " \n"), "an empty sentence"),
        (End(2, "x" * 9000), "9000 characters"),
        (End(0, "\x1b[31m"), "act on the terminal"),
        (End(0, "", seconds=5.1), "5.1 s"),
    ],
)
def test_only_these_ends_are_faults(end: End, expected: str | None):
    found = fault_of(end)
    assert found is None if expected is None else expected in str(found)


def test_a_file_written_elsewhere_is_a_fault(tmp_path: Path):
    inside = tmp_path / "in"
    inside.mkdir()
    kind = replace(OF["requests"], commands=lambda rng: [["x"]])
    for place, expected in ((tmp_path / "elsewhere", "outside: open"), (inside / "here", None)):

        def run(*_: object, place: Path = place) -> End:
            place.write_text("x")
            return End(0, "")

        fault = try_one(kind, random.Random(0), {}, inside, run)[1]
        assert fault is None if expected is None else str(fault).startswith(expected)


def test_what_never_ends_is_ended_and_told(monkeypatch: pytest.MonkeyPatch):
    def hang(source: Path) -> None:
        while True:
            pass

    monkeypatch.setattr(fuzz_inputs, "LIMIT", 0.3)
    monkeypatch.setattr("evoprompt.jobs.score.read_requests", hang)
    end = in_this_process(["score", "--input", "x", "--output", "y"], b"", 1.0)
    assert end.status == -1
    assert "TooLongError" in end.said


def test_a_damaged_file_follows_from_its_seed_alone():
    data = examples()
    draws = [damaged(random.Random(seed), data, "jsonl") for seed in (*range(99), 0)]
    assert draws[0] == draws[-1]
    assert len(set(draws)) > 70
    assert draws.count(data) < 20
