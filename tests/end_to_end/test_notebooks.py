"""Notebooks are executed from top to bottom: those that read on a tiny run, the one that evolves
with a tiny model.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evoprompt.jobs.boost import session as boost_session
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
@pytest.mark.slow
def test_a_notebook_runs_from_top_to_bottom(
    path: Path,
    config_file: Path,
    boost_file: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    import nbformat
    from nbclient import NotebookClient

    if path.stem == "read_a_loop":
        boost_session.start(load_boost(boost_file), tmp_path / "run")
        boost_session.start(
            load_boost(boost_file), tmp_path / "study" / "tiny" / "mood" / "naive-0"
        )
        monkeypatch.setenv("EVOPROMPT_STUDY", str(tmp_path / "study"))
    else:
        start(load_config(config_file), tmp_path / "run")
    monkeypatch.setenv("EVOPROMPT_MODEL", str(tiny_model))
    monkeypatch.setenv("EVOPROMPT_TOKENS", "60000")
    for variable in ("EVOPROMPT_RUN", "EVOPROMPT_LOOP"):
        monkeypatch.setenv(variable, str(tmp_path / "run"))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    assert all(
        not cell.get("outputs") or all(o.output_type != "error" for o in cell.outputs)
        for cell in notebook.cells
    )


def test_there_is_a_notebook():
    assert NOTEBOOKS
