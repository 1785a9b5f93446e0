"""A folder without checksums, of an older version, may have anything in its files: what cannot be
used is a user's mistake, and never an error of Python's.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from evoprompt.config import yaml_text
from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.compare.comparison import Settings, compare_runs
from evoprompt.jobs.compare.runs import read_run
from evoprompt.jobs.evolve import dynamics_figures, dynamics_page, figures
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import start
from evoprompt.store.folder import CHECKPOINT, COMMITS

WRONG: tuple[Any, ...] = (None, "x", 3, -7.5, [], {}, 10**400)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, task_file: Path) -> Path:
    """A run without checksums."""
    folder = tmp_path_factory.mktemp("old")
    config = folder / "tiny.yaml"
    config.write_text(
        f"""
model: {{name: "{tiny_model}", chunk_tokens: 256, memo: false}}
task: {{path: "{task_file}", fitness_examples: 8, validation_examples: 8, test_examples: 20}}
evolution: {{population: 4, children: 4, generations: 2, max_demonstrations: 3}}
workers: {{backend: local}}
tracking: {{enabled: false}}
"""
    )
    start(load_config(config, []), folder / "run")
    (folder / "run" / COMMITS).unlink()
    for file in (folder / "run").glob("*.json"):
        content = json.loads(file.read_text())
        kept = {k: v for k, v in content.items() if k not in ("checksum", "digests")}
        file.write_text(json.dumps(kept))
    return folder / "run"


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw a figure once for the same numbers, and read the configuration, which no change
    reaches, once: nearly every folder has the same.
    """
    known: dict[tuple[str, str], Any] = {}

    def kept(function: Callable[..., Any]) -> Callable[..., Any]:
        def found(*args: Any) -> Any:
            key = (function.__name__, repr(args))
            if key not in known:
                known[key] = function(*args)
            return deepcopy(known[key])

        return found

    for module in (dynamics_figures, dynamics_page, figures):
        for name in [n for n in vars(module) if n.endswith("_figure")]:
            monkeypatch.setattr(module, name, kept(getattr(module, name)))
    monkeypatch.setattr(yaml_text, "parse_yaml", kept(yaml_text.parse_yaml))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    inner = [((*path, k), v) for k, v in pairs]
    deeper = [p for at, v in inner if isinstance(v, dict | list) for p in places(v, at)]
    return [at for at, _ in inner] + deeper


def change(value: Any, rng: random.Random) -> None:
    """Drop a key, or give it another value."""
    found = places(value)
    depth = rng.choice(sorted({len(path) for path in found}))
    *above, last = rng.choice([path for path in found if len(path) == depth])
    for key in above:
        value = value[key]
    wrong = rng.choice((*WRONG, "drop"))
    if wrong == "drop":
        del value[last]
    else:
        value[last] = wrong


def changed(old: Path, out: Path, rng: random.Random) -> Path:
    shutil.copytree(old, out)
    file = rng.choice(sorted(f for f in out.iterdir() if f.suffix in (".json", ".jsonl")))
    rows = [json.loads(line) for line in (file.read_text().splitlines())]
    rows = [row for row in rows if row]
    if rows:
        change(rng.choice(rows), rng)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if file.suffix == ".jsonl":
        commit = json.loads((out / CHECKPOINT).read_text())
        commit["sizes"][file.name] = file.stat().st_size
        (out / CHECKPOINT).write_text(json.dumps(commit))
    return out


def readers(folder: Path) -> list[Callable[[], object]]:
    job = job_of(folder)
    return [
        lambda: job.report(folder),
        lambda: job.champion(folder),
        lambda: read_run(folder, "fitness"),
        lambda: EvolveFolder.open(folder).generations(),
    ]


def refusals(old: Path, tmp_path: Path, seeds: range) -> int:
    """Return how often something was refused; any other error ends the test."""
    refused = 0
    for seed in seeds:
        folder = changed(old, tmp_path / str(seed), random.Random(seed))
        for read in readers(folder):
            try:
                read()
            except UserError:
                refused += 1
    return refused


@pytest.mark.slow
def test_whatever_is_in_a_file_of_an_old_run_is_used_or_refused(old: Path, tmp_path: Path):
    assert refusals(old, tmp_path, range(4)) > 0


@pytest.mark.slow
def test_no_change_of_an_old_run_is_an_error_of_the_program(old: Path, tmp_path: Path):
    assert refusals(old, tmp_path, range(100, 200)) > 22


@pytest.mark.slow
def test_unguarded_reading_would_be_an_error_of_the_program(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Power twin."""
    for place in ("job", "folder"):
        monkeypatch.setattr(f"evoprompt.jobs.evolve.{place}.in_form", lambda _: nullcontext())
    with pytest.raises((ArithmeticError, AttributeError, LookupError, TypeError, ValueError)):
        refusals(old, tmp_path, range(100, 170))


def test_a_comparison_names_the_summary_that_has_another_form(old: Path, tmp_path: Path):
    for name in "ab":
        shutil.copytree(old, tmp_path / name)
    file = tmp_path / "b" / "summary.json"
    summary = json.loads(file.read_text())
    summary["test"]["baseline"] = 0.5
    file.write_text(json.dumps(summary))
    with pytest.raises(UserError, match=r"b/summary\.json is damaged"):
        compare_runs([tmp_path / "a", tmp_path / "b"], Settings())
