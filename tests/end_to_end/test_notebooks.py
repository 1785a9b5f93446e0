"""Notebooks are executed from top to bottom, all at a tiny size: those that read on tiny runs,
the others with a tiny model. What is stored in them is from a model that is real.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evoprompt.jobs.boost import session as boost_session
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.sweep.loop import start as start_sweep
from evoprompt.terminal import new_console

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
#: What makes them tiny.
SIZES = {"TEST": "8", "DRAWS": "1", "TOKENS": "40000"}
#: Of two schemes on two seeds, for the notebook that compares.
SWEEP = """
base: tiny.yaml
set: {evolution.generations: 1}
method: grid
axes: {evolution.parent_selection.method: [tournament, truncation], seed: [0, 1]}
"""


def read(path: Path) -> Any:
    import nbformat

    return nbformat.read(path, as_version=4)


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
@pytest.mark.slow
def test_a_notebook_runs_from_top_to_bottom(
    path: Path,
    config_file: Path,
    boost_file: Path,
    long_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from nbclient import NotebookClient

    if path.stem == "read_a_loop":
        boost_session.start(load_boost(boost_file), tmp_path / "run")
        study = tmp_path / "study" / "tiny" / "mood" / "naive-0"
        boost_session.start(load_boost(boost_file), study)
        monkeypatch.setenv("EVOPROMPT_STUDY", str(tmp_path / "study"))
    elif path.stem == "read_a_run":
        start(load_config(config_file), tmp_path / "run")
    elif path.stem == "compare_algorithms":
        (tmp_path / "sweep.yaml").write_text(SWEEP)
        start_sweep(tmp_path / "sweep.yaml", tmp_path / "run", [], new_console(quiet=True))
    given = SIZES | {"MODEL": str(long_model), "MODELS": str(long_model)}
    given |= dict.fromkeys(("RUN", "LOOP", "SWEEP"), str(tmp_path / "run"))
    for name, value in given.items():
        monkeypatch.setenv(f"EVOPROMPT_{name}", value)
    notebook = read(path)
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    stored = code_of(read(path))
    for before, now in zip(stored, code_of(notebook), strict=True):
        assert now.outputs or not before.outputs, "what the stored one shows is shown"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_has_its_outputs_stored_without_errors_or_places_of_one_machine(path: Path):
    cells = code_of(read(path))
    assert any(cell.outputs for cell in cells)
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    assert "/tmp/" not in path.read_text("utf-8")
    numbers = [cell.execution_count for cell in cells]
    assert numbers == list(range(1, len(cells) + 1)), "it was not run from top to bottom"


def test_there_is_a_notebook():
    assert NOTEBOOKS
