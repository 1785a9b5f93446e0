"""A run goes on from its snapshot, and without one from its lines, to the same bytes; what it keeps
in memory and in its folder does not grow with the generations.
"""

from __future__ import annotations

import shutil
import sqlite3
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from toys.instant import SMALL

from evoprompt.errors import UserError
from evoprompt.jobs.evolve import measured as module
from evoprompt.jobs.evolve.config import Config, load_config
from evoprompt.jobs.evolve.folder import LINEAGE, MEASUREMENTS, EvolveFolder
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.jobs.evolve.measured import EVERY, INDEX
from evoprompt.jobs.evolve.session import conduct, resume
from evoprompt.policy import Policy
from evoprompt.records import LabelScores
from evoprompt.store.commits import is_kept
from evoprompt.store.folder import RunFolder

SETTINGS = (
    *SMALL,
    "evolution.generations=44",
    "evolution.restart.patience=9",
    "evolution.adaptation.method=matching",
    "fitness.calibration=batch",
)
#: After how many generations the run is killed: eight after a snapshot.
KILLED = 2 * EVERY + 8


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole run, and one that was killed."""
    place = tmp_path_factory.mktemp("runs")
    (place / "long.yaml").write_text("task: {name: inbox}")
    config = load_config(place / "long.yaml", SETTINGS)
    conduct(config, place / "whole", show=False)
    with pytest.raises(KeyboardInterrupt):
        conduct(config, place / "killed", show=False, on_generation=killing)
    return place


def killing(line) -> None:
    if line["generation"] == KILLED:
        raise KeyboardInterrupt


def config_of(place: Path) -> Config:
    return EvolveFolder.open(place).config()


def torn(index: Path) -> None:
    index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])


def with_other_digests(index: Path) -> None:
    with sqlite3.connect(index) as database:
        [[text]] = database.execute("SELECT content FROM snapshot").fetchall()
        database.execute("UPDATE snapshot SET content = ?", (text.replace("a", "b"),))


DAMAGES = {
    "whole": lambda index: None,
    "torn": torn,
    "missing": Path.unlink,
    "no database": lambda index: index.write_bytes(b"0" * 100_000),
    "changed": with_other_digests,
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_resume_reads_the_snapshot_or_all_lines_and_leads_to_the_same_bytes(
    damage: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(runs / "killed", tmp_path / "run")
    DAMAGES[damage](tmp_path / "run" / INDEX)
    explained = []
    explain = Journal.explain

    def counting(self, births, chances=None):
        explained.append(births.generation)
        return explain(self, births, chances)

    monkeypatch.setattr(Journal, "explain", counting)
    resume(tmp_path / "run")
    for name in (LINEAGE, MEASUREMENTS):
        whole = (runs / "whole" / name).read_bytes()
        assert (tmp_path / "run" / name).read_bytes() == whole
    assert explained[0] == (2 * EVERY + 1 if damage == "whole" else 0)
    found, expected = (EvolveFolder.open(p).summary() for p in (tmp_path / "run", runs / "whole"))
    assert found.champion == expected.champion
    assert found.report == expected.report
    accounts = [
        [line.account for line in EvolveFolder.open(place).generations()]
        for place in (runs / "whole", tmp_path / "run")
    ]
    assert accounts[0] == accounts[1]
    assert not (tmp_path / "run" / INDEX).exists()  # what is complete needs it no more


def test_a_refusal_leaves_also_what_was_never_committed(runs: Path, tmp_path: Path):
    """A run that was killed between its lines and their commit; its tracking.json is damaged."""
    place = tmp_path / "run"
    shutil.copytree(runs / "killed", place)
    (place / "tracking.json").write_text('{"checksum": "0"}')
    with (place / LINEAGE).open("ab") as stream:
        stream.write(b'{"generation": 99}')
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    with pytest.raises(UserError, match=r"tracking\.json is damaged"):
        resume(place)
    assert {n: (place / n).read_bytes() for n in before if not n.startswith(".")} == {
        n: content for n, content in before.items() if not n.startswith(".")
    }


@pytest.mark.slow
def test_a_run_keeps_few_policies_in_memory_and_asks_the_disk_for_the_others(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With room for four policies the lineage is the same as with room for all."""
    monkeypatch.setattr(module, "LEAST_KEPT", 4)
    recent = module.Recent
    monkeypatch.setattr(module, "Recent", lambda most: recent(4))
    config = config_of(runs / "whole").model_copy(update={"name": "whole"})
    conduct(config, tmp_path / "run", show=False)
    whole = (runs / "whole" / LINEAGE).read_bytes()
    assert (tmp_path / "run" / LINEAGE).read_bytes() == whole


def scores(policy: Policy) -> LabelScores:
    one = np.ones((1, 1, 1), dtype=np.int64)
    gold = np.zeros(1, dtype=np.int64)
    return LabelScores((policy.policy_id,), ("e",), gold, -1.0 * one, one, one, one > 0)


def test_the_fittest_are_ranked_as_by_sorting_and_found_again_after_a_snapshot(tmp_path: Path):
    policies = [Policy(f"instruction {i}") for i in range(8)]
    measured = module.Measured(tmp_path)
    fitness = {p.policy_id: float(i % 3) for i, p in enumerate(policies)}
    for policy in policies:
        measured.enter(policy, scores(policy), f"name {policy.policy_id}")
        measured.rate(policy.policy_id, fitness[policy.policy_id])
    expected = sorted(fitness, key=lambda p: (-fitness[p], p))
    assert measured.fittest(None) == expected
    assert measured.fittest(2) == expected[:2]
    assert f"name {expected[0]}" in measured
    assert "another" not in measured


def test_the_commits_that_are_kept_are_few_and_denser_towards_the_end():
    """Of 100,000 commits the last 32 all; of those of age 2^k * 32 every 2^(k+1)-th; the number
    grows by 16 with each doubling.
    """
    kept = [n for n in range(100_001) if is_kept(n, 100_000)]
    assert kept[-32:] == list(range(99_969, 100_001))
    assert len(kept) < 32 + 16 * 13
    for before, after in pairwise(kept):
        assert after - before <= max(1, (100_000 - before) / 15)
    # what is kept later was kept before: thinning twice is thinning once
    assert all(is_kept(n, 99_000) for n in kept if n <= 99_000)


def test_lines_are_found_by_what_they_are_before_without_reading_all(tmp_path: Path):
    folder = RunFolder(tmp_path)
    rows = [{"generation": g, "fill": "x" * (g % 7)} for g in range(50) for _ in range(1 + g % 3)]
    folder.commit_lines({"a.jsonl": rows}, {})
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    for step in range(-1, 51):
        place = folder.place_of("a.jsonl", lambda row, step=step: row["generation"] <= step)
        num = sum(r["generation"] <= step for r in rows)
        assert place == sum(map(len, lines[:num]))
        found = list(folder.placed_lines("a.jsonl", place))
        assert [row for _, row in found] == rows[num:]
        for (begin, length), row in found:
            assert lines[rows.index(row)] == (tmp_path / "a.jsonl").read_bytes()[begin:][:length]
