"""A plug-in that is installed beside the package: its things are found by name, run, checkpointed,
resumed, reported, and refused with a sentence when they are missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toys.http_model import ByteModel, served

from evoprompt.config.sections import JobConfig, ModelConfig, WorkersConfig
from evoprompt.config.task import TaskConfig

PLUGIN = Path(__file__).parents[1] / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the plug-in is installed in."""
    source = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("source") / "plugin")
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    how = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, *how, str(source)], check=True)
    return target


@pytest.fixture
def address() -> Iterator[str]:
    with served(ByteModel()) as found:
        yield found


@pytest.fixture
def config(tmp_path: Path, address: str) -> Path:
    """A run that is made of the plug-in's things alone."""
    lines = [f"the {n} {'film' if n % 2 else 'meal'} was {n}\t{'ab'[n % 2]}" for n in range(120)]
    (tmp_path / "lines.tsv").write_text("\n".join(lines))
    values: dict[str, Any] = {
        "model": {"name": address, "memo": False},
        "workers": {"backend": "http"},
        "task": {
            **{"source": "lines", "options": {"path": str(tmp_path / "lines.tsv")}},
            **{"fitness_examples": 8, "validation_examples": 8, "test_examples": 10},
            "starting_demonstrations": [0],
        },
        "fitness": {"kind": "cautious"},
        "traits": {"extra": {"question_marks": "question_marks"}},
        "evolution": {
            **{"population": 4, "children": 6, "generations": 3, "operators": {"shout": 5.0}},
            "parent_selection": {"method": "random"},
            "novelty": "id",  # a text that is only louder is another one
        },
        "tracking": {"tracker": "lines"},
    }
    path = tmp_path / "plugged.yaml"
    path.write_text(json.dumps(values))
    return path


def evoprompt(*arguments: object, site: Path | None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*([str(site)] if site else []), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "evoprompt.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_its_things_are_found_run_resumed_and_reported(installed, config, address, tmp_path):
    out = tmp_path / "run"
    done = evoprompt("run", config, "--out", out, site=installed)
    assert done.returncode == 0, done.stderr
    lineage = [json.loads(line) for line in (out / "lineage.jsonl").read_text().splitlines()]
    assert "shout" in {birth["operator"] for birth in lineage}
    assert all("question_marks" in birth["traits"] for birth in lineage)
    answered = json.loads((out / "provenance.json").read_text())["model"]
    assert answered == {
        **{"name": address, "folder": address, "fingerprint": "bytes-0"},
        "backend": "http",
    }
    assert json.loads((out / "summary.json").read_text())["fitness"]["kind"] == "cautious"
    told = (tmp_path / "evoprompt.txt").read_text()
    assert told.startswith("begin run")
    assert "step 3:" in told
    assert told.endswith("finish FINISHED\n")

    (out / "report.html").unlink()
    assert evoprompt("report", out, site=installed).returncode == 0
    assert "shout" in (out / "report.html").read_text()

    cut = tmp_path / "cut"
    short = ("--set", "evolution.generations=1")
    assert evoprompt("run", config, "--out", cut, *short, site=installed).returncode == 0
    (cut / "summary.json").unlink()
    gone = evoprompt("resume", cut, site=None)
    assert (gone.returncode, "Traceback" in gone.stderr) == (2, False), gone.stderr
    assert "of a plug-in that is not installed here" in gone.stderr.lower()
    longer = ("--set", "evolution.generations=3")
    again = evoprompt("resume", cut, *longer, site=installed)
    assert again.returncode == 0, again.stderr
    assert (cut / "lineage.jsonl").read_bytes() == (out / "lineage.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("workers.backend", "local"),
        ("fitness.kind", "label_normalized"),
        ("evolution.operators", "{}"),
        ("evolution.parent_selection.method", "tournament"),
        ("traits.extra", "{}"),
        ("tracking.enabled", "false"),
    ],
)
def test_each_missing_thing_is_named(config, key, value, tmp_path, tiny_model):
    """All but one thing is the package's own; the one that is left is what the sentence names."""
    own = {
        "workers.backend": "local",
        "fitness.kind": "label_normalized",
        "evolution.operators": "{}",
        "evolution.parent_selection.method": "tournament",
        "traits.extra": "{}",
        "tracking.enabled": "false",
    }
    mine = {"model.name": str(tiny_model), "task": "{name: inbox, test_examples: 10}"}
    left = {k: v for k, v in own.items() if k != key} | mine
    settings = [word for k, v in left.items() for word in ("--set", f"{k}={v}")]
    done = evoprompt("run", config, "--out", tmp_path / "run", *settings, site=None)
    assert done.returncode == 2, done.stderr
    named = {"evolution.operators": "shout", "traits.extra": "question_marks"}
    assert named.get(key, key) in done.stderr.replace("tracking.tracker", "tracking.enabled")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_play_and_score_ask_its_backend(installed, config, address, tmp_path):
    out = tmp_path / "run"
    short = ("--set", "evolution.generations=1")
    assert evoprompt("run", config, "--out", out, *short, site=installed).returncode == 0
    rows = [{"id": 1, "context": "a", "continuation": " b"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ("--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")
    how = ("--model", address, "--backend", "http", "--no-memo")
    assert evoprompt("score", *files, *how, site=installed).returncode == 0
    [line] = [json.loads(text) for text in (tmp_path / "out.jsonl").read_text().splitlines()]
    expected, _ = ByteModel().score([98], [33, 99])
    assert line["log_likelihood"] == pytest.approx(expected)


@pytest.mark.slow
def test_a_job_of_its_own_is_a_command_and_owns_its_folder(installed, tmp_path):
    (tmp_path / "who.txt").write_text("world")
    out = tmp_path / "greeting"
    done = evoprompt("greet", tmp_path / "who.txt", "--out", out, site=installed)
    assert done.returncode == 0, done.stderr
    assert (out / "greeting.txt").read_text() == "Hello world"
    assert evoprompt("report", out, site=installed).stdout.strip() == str(out / "greeting.txt")
    assert evoprompt("resume", out, site=installed).returncode == 0
    played = evoprompt("play", out, site=installed)
    assert (played.returncode, "has no champion" in played.stderr) == (2, True)
    assert evoprompt("greet", tmp_path / "who.txt", "--out", out, site=None).returncode == 2
    assert evoprompt("evolve", "--help", site=None).returncode == 0, "the package's jobs too"


def test_its_things_hold_the_contracts(installed, address, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(installed))
    from evoprompt_example.backend import HttpBackend
    from evoprompt_example.selection import Random
    from evoprompt_example.source import Lines

    from evoprompt.testing.backends import check_backend
    from evoprompt.testing.selection import check_scheme
    from evoprompt.testing.sources import check_source, check_splits

    check_backend(HttpBackend(), ModelConfig(name=address))
    check_scheme(Random())
    lines = tmp_path / "lines.tsv"
    lines.write_text("\n".join(f"number {n}\t{'ab'[n % 2]}" for n in range(120)))
    task = TaskConfig(source="evoprompt_example.source:Lines", options={"path": str(lines)})
    check_source(Lines(), task)
    check_splits(task)


def test_scores_of_its_backend_are_no_answer_for_another(installed, monkeypatch, tiny_model):
    """The memo keeps them apart, also where a backend gives out the weights as its own."""
    from evoprompt.backends.open import open_model
    from evoprompt.measurement.model import memo_opener

    signatures = []
    place = "evoprompt.measurement.model.open_memo"
    monkeypatch.setattr(place, lambda fingerprint, **_: signatures.append(fingerprint))
    for backend in ("local", "ray", "elsewhere"):
        config = JobConfig.model_validate(
            {"model": {"name": str(tiny_model)}, "workers": {"backend": backend}}
        )
        local = config.model_copy(update={"workers": WorkersConfig(backend="local")})
        model = open_model(local)
        memo_opener(config, model.identity)(model.executor.info())
    assert signatures[0] == signatures[1] != signatures[2]
