"""Damaged files are taken or refused with a sentence, and the fuzzer sees what is neither."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from evoprompt.errors import UserError

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))
from fuzz_inputs import KINDS, Kind, damaged, fault_of, fault_of_valid, fuzz


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_sixty_damaged_files_are_taken_or_refused_with_a_sentence(kind: Kind, tmp_path: Path):
    assert fault_of_valid(kind, tmp_path) is None
    ends = fuzz(kind, range(60), tmp_path)
    assert ends["fault"] == 0
    assert ends["taken"] > 0
    assert ends["refused"] > 10


def test_what_is_neither_is_seen_and_its_file_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def careless(file: Path) -> None:
        file.read_text(encoding="utf-8")  # raises UnicodeDecodeError for some

    ends = fuzz(Kind("x.jsonl", KINDS[0].valid, careless, KINDS[0].command), range(60), tmp_path)
    assert ends["fault"] > 3
    assert len(list(tmp_path.iterdir())) == ends["fault"]
    assert "UnicodeDecodeError" in capsys.readouterr().out


def test_a_file_written_elsewhere_and_an_empty_sentence_are_faults(tmp_path: Path):
    (tmp_path / "in").mkdir()
    elsewhere = tmp_path / "elsewhere"

    def say_nothing(file: Path) -> None:
        raise UserError("")

    for use, expected in (
        (lambda file: elsewhere.write_text("x"), f"writes {elsewhere}"),
        (lambda file: file.with_suffix(".out").write_text("x"), None),
        (say_nothing, "an empty sentence"),
    ):
        kind = Kind("x", KINDS[0].valid, use, KINDS[0].command)
        assert fault_of(kind, tmp_path / "in" / "x")[1] == expected


def test_a_damaged_file_follows_from_its_seed_alone():
    data = KINDS[0].valid()
    draws = [damaged(random.Random(seed), data) for seed in (*range(99), 0)]
    assert draws[0] == draws[-1]
    assert len(set(draws)) > 70
    assert draws.count(data) < 20
