"""Every command with a model behind a server, and what each says when the server is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys.model_server import ModelServer, served_model
from typer.testing import CliRunner, Result

import evoprompt as ep
from evoprompt.backends.server import client as http
from evoprompt.cli import app
from evoprompt.errors import MachineError

LOST = "cannot be reached or broke off the connection, after 1 tries; look whether it runs"
BRIEF = ["evolution.generations=1", "evolution.children=2"]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAUSES", ())
    monkeypatch.delenv(http.KEY, raising=False)


@pytest.fixture
def server(tiny_model: Path) -> Iterator[tuple[str, ModelServer]]:
    with served_model("vllm", tiny_model) as found:
        yield found


def sets(url: str, *more: str) -> list[str]:
    keys = ["workers.backend=server", f"workers.url={url}", "workers.count=1", *more]
    return [part for key in keys for part in ("--set", key)]


def told(*arguments: object, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=typed)


def done(*arguments: object, typed: str | None = None) -> str:
    result = told(*arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return result.output


def lose(model: ModelServer, after: int) -> None:
    model.fault, model.after = "down", len(model.prompts) + after


def sweep_file(config_file: Path, url: str) -> Path:
    """Two seeds on a server."""
    path = config_file.with_name("seeds.yaml")
    there = {"workers.backend": "server", "workers.url": url, "workers.count": 1}
    kept = {"evolution.generations": 1, "evolution.children": 2}
    sweep = {"base": str(config_file), "set": there | kept, "axes": {"seed": [0, 1]}}
    path.write_text(json.dumps(sweep))
    return path


def told_of(sweep: Path) -> list[list[float]]:
    rows = json.loads((sweep / "sweep.json").read_text())["runs"]
    return [[row["result"][name] for name in ("objective", "tokens")] for row in rows]


@pytest.mark.slow
def test_a_champion_is_asked_where_it_ran_and_at_another_address(
    server, config_file, tmp_path, tiny_model
):
    url, model = server
    done("run", config_file, "--out", tmp_path / "run", *sets(url, *BRIEF))
    (tmp_path / "new.txt").write_text("a good film\na bad meal\n")
    asked = len(model.prompts)
    first = done("predict", tmp_path / "run", tmp_path / "new.txt")
    assert len(model.prompts) > asked
    assert "good" in done("play", tmp_path / "run", typed="a good film\n")
    lose(model, 0)
    python = done("export", tmp_path / "run", "--to", "python")
    assert '"dtype": "float32"' in python
    lost = told("predict", tmp_path / "run", tmp_path / "new.txt")
    assert isinstance(lost.exception, MachineError)
    assert LOST in str(lost.exception)
    with served_model("vllm", tiny_model) as (other, there):
        again = done("predict", tmp_path / "run", tmp_path / "new.txt", "--url", other)
        assert there.prompts
        done("play", tmp_path / "run", "--url", other, typed="a good film\n")
    answers = [[r for r in text.splitlines() if r[:1] == "{"] for text in (first, again)]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 2


@pytest.mark.slow
def test_a_sweep_that_a_server_left_goes_on(server, config_file, tmp_path):
    url, model = server
    sweep = sweep_file(config_file, url)
    done("sweep", sweep, "--out", tmp_path / "whole")
    lose(model, 20)
    broken = told("sweep", sweep, "--out", tmp_path / "broken")
    assert broken.exit_code == 1
    rows = json.loads((tmp_path / "broken" / "sweep.json").read_text())["runs"]
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert all(row["reason"].startswith(f"the server {url} {LOST}") for row in rows)
    model.fault = ""
    done("sweep", "--resume", tmp_path / "broken")
    assert told_of(tmp_path / "whole") == told_of(tmp_path / "broken")


@pytest.mark.slow
def test_a_loop_that_a_server_left_goes_on(server, boost_file, tmp_path):
    url, model = server
    begun = len(model.prompts)
    done("boost", boost_file, "--out", tmp_path / "whole", *sets(url))
    lose(model, (len(model.prompts) - begun) // 2)
    broken = told("boost", boost_file, "--out", tmp_path / "broken", *sets(url))
    assert isinstance(broken.exception, MachineError)
    assert LOST in str(broken.exception)
    model.fault = ""
    done("resume", tmp_path / "broken")
    for name in ("answers.jsonl", "recurrence.jsonl"):
        lines = [
            [json.loads(line) for line in (tmp_path / n / name).read_text().splitlines()]
            for n in ("whole", "broken")
        ]
        kept = [[{**row, "seconds": 0, "time_ms": 0} for row in each] for each in lines]
        assert kept[0] == kept[1]
    done("play", tmp_path / "whole", typed="a good film\n")


def test_requests_are_scored_by_a_server(server, tiny_model, tmp_path):
    url, _ = server
    pairs = [("a good", " film"), ("a bad", " meal")]
    own = ep.score(pairs, model=str(tiny_model), backend=url)
    lines = [
        json.dumps({"id": str(i), "context": context, "continuation": continuation})
        for i, (context, continuation) in enumerate(pairs)
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    asked = ["--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl"]
    done("score", *asked, "--model", tiny_model, "--backend", url)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["log_likelihood"] for row in rows] == [s.log_likelihood for s in own]
    assert own[0].log_likelihood != own[1].log_likelihood


@pytest.mark.slow
def test_from_python_the_backend_is_an_address(server, tiny_model, config_file, task_file):
    url, model = server
    short = {"evolution.generations": 1, "evolution.children": 2, "model.memo": False}
    sizes = {f"task.{n}_examples": 8 for n in ("fitness", "validation", "test")}
    task = ep.Task.from_file(task_file)
    result = ep.evolve(task, model=str(tiny_model), backend=url, settings=short | sizes)
    assert result.summary["model"]["placement"] == f"the server {url}"
    asked = len(model.prompts)
    assert set(result.predict(["a good film"])) <= {"good", "bad"}
    assert len(model.prompts) > asked
    result.close()
