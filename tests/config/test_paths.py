"""Relative paths are the config's, and a run goes on from wherever it is resumed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import resume, start


@pytest.mark.slow
def test_a_run_with_relative_paths_is_resumed_from_another_folder(
    tmp_path: Path, tiny_model: Path, task_file: Path, monkeypatch: pytest.MonkeyPatch
):
    """Examples and model are named as seen from the config; neither working directory has them."""
    home, first, second = (tmp_path / name for name in ("home", "first", "second"))
    for folder in (home, first, second):
        folder.mkdir()
    model, task = (os.path.relpath(path, home) for path in (tiny_model, task_file))
    config = home / "c.yaml"
    config.write_text(
        f"model: {{name: {model}, chunk_tokens: 64, memo: false}}\n"
        f"task: {{path: {task}, fitness_examples: 8, validation_examples: 8, test_examples: 8}}\n"
        "evolution: {population: 2, children: 2, generations: 1}\n"
        "workers: {backend: local}\n"
        "tracking: {enabled: false}\n"
    )
    monkeypatch.chdir(first)
    whole = start(load_config(config), Path("run"))
    (first / "run" / "summary.json").unlink()
    monkeypatch.chdir(second)
    again = resume(first / "run")
    assert again["champion"] == whole["champion"]
    assert list(second.iterdir()) == []
