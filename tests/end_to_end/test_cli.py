"""The command line as a user meets it: exit codes, one sentence for a mistake, no traceback,
nothing lost.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from reference.wright_fisher import lineage

from evoprompt import cli


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["evoprompt", *map(str, arguments)])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def evoprompt(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def test_run_report_and_a_second_run_in_the_same_folder(
    evoprompt, config_file: Path, tmp_path: Path
):
    code, out, _ = evoprompt(
        "run", config_file, "--out", tmp_path / "run", "--set", "evolution.generations=1"
    )
    assert code == 0
    assert "held-out accuracy after" in out
    assert "MLflow off (tracking.enabled is false)" in " ".join(out.split())
    assert " ui --runs " not in out, "nothing is tracked"
    assert "champion.txt" in out
    report = tmp_path / "run" / "report.html"
    first = report.read_text()
    report.unlink()
    assert evoprompt("report", tmp_path / "run")[0] == 0
    assert "How the champion came about" in report.read_text()
    assert len(report.read_text()) == pytest.approx(len(first), rel=0.01)
    summary = (tmp_path / "run" / "summary.json").read_text()
    code, _, err = evoprompt("run", config_file, "--out", tmp_path / "run")
    assert code == 2
    assert "in use" in err
    assert (tmp_path / "run" / "summary.json").read_text() == summary


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "evolution.generatons=1"), "did you mean 'generations'"),
        (("--set", "evolution.operators.demonstration_ad=1"), "did you mean 'demonstration_add'"),
        (("--set", "model.name=nowhere"), "there is no model 'nowhere'"),
        (("--set", "task={name: inbx}"), "did you mean 'inbox'"),
        (("--set", "task={path: none.jsonl}"), "cannot read the examples"),
        (("--set", "task.fitness_examples=0"), "task.fitness_examples"),
        (("--frobnicate",), "No such option"),
        (
            ("--set", "workers.backend=ray", "--ray-address", "127.0.0.1:1"),
            "no Ray cluster answers at 127.0.0.1:1",
        ),
    ],
)
def test_a_mistake_costs_one_sentence_and_exit_2(
    evoprompt, config_file: Path, tmp_path: Path, arguments, message
):
    code, _, err = evoprompt("run", config_file, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_nan_from_the_model_is_one_sentence_and_exit_2(
    evoprompt, config_file: Path, tmp_path: Path, tiny_model: Path
):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    broken = AutoModelForCausalLM.from_pretrained(tiny_model)
    broken.model.norm.weight.data.fill_(float("nan"))
    broken.save_pretrained(tmp_path / "broken")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "broken")
    code, _, err = evoprompt(
        "run", config_file, "--out", tmp_path / "run", "--set", f"model.name={tmp_path / 'broken'}"
    )
    assert code == 2
    assert "NaN" in err
    assert "Traceback" not in err


def test_the_other_commands_name_what_is_missing(evoprompt, tmp_path: Path):
    for arguments, message in [
        (("resume", tmp_path), "there is no run in"),
        (("report", tmp_path / "x"), "there is no run in"),
        (("export", tmp_path, "--to", "json"), "there is no run in"),
        (("ui", "--runs", tmp_path), "there is no MLflow store"),
        (("models", "--fetch", "smol"), "there is no embedded model 'smol'"),
        (("run", tmp_path / "none.yaml"), "cannot read the config"),
    ]:
        code, _, err = evoprompt(*arguments)
        assert (code, message in err) == (2, True), err


def test_a_failure_that_is_not_the_users_exits_1_with_its_traceback(
    evoprompt, config_file: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("evoprompt.jobs.evolve.session.run", lambda *_, **__: 1 / 0)
    code, _, err = evoprompt("run", config_file, "--out", tmp_path / "run")
    assert code == 1
    assert "ZeroDivisionError" in err


def test_a_lineage_of_another_program_has_its_report(evoprompt, tmp_path: Path):
    rows = list(lineage(8, 4, np.random.default_rng(0), mutation=0.5))
    (tmp_path / "lineage.jsonl").write_text(
        "".join(json.dumps(row | {"fitness": row["traits"]["z"]}) + "\n" for row in rows)
    )
    assert evoprompt("report", tmp_path)[0] == 0
    page = (tmp_path / "report.html").read_text()
    for title in (
        "Why the population changed",
        "Expected selection and drift",
        "What each operator did to fitness",
        "Diversity",
        "Descent",
    ):
        assert f">{title}</h2>" in page
    (tmp_path / "lineage.jsonl").write_text(
        "\n".join(json.dumps(row | {"parent_ids": ["nobody"], "shares": [1.0]}) for row in rows)
    )
    code, _, err = evoprompt("report", tmp_path)
    assert (code, "names the parent nobody" in err) == (2, True)
    (tmp_path / "lineage.jsonl").write_text(json.dumps(rows[0]) + "\n{broken\n")
    code, _, err = evoprompt("report", tmp_path)
    assert (code, "line 2 is not JSON" in err) == (2, True)


def heed_ctrl_c() -> None:
    """A shell starts its background jobs with Ctrl-C ignored, and children inherit that; a user's
    terminal does not.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("stop", "backend"),
    [(signal.SIGINT, "local"), (signal.SIGTERM, "local"), (signal.SIGTERM, "ray")],
)
@pytest.mark.slow
def test_ctrl_c_keeps_the_checkpoint_and_exits_130(
    config_file: Path, tmp_path: Path, stop: signal.Signals, backend: str
):
    command = [
        sys.executable,
        "-m",
        "evoprompt.cli",
        "run",
        str(config_file),
        "--out",
        str(tmp_path / "run"),
    ]
    command += ["--set", "evolution.generations=500", "--set", f"workers.backend={backend}"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoint.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"resume {tmp_path / 'run'}" in out
    assert "Traceback" not in err


def test_help_loads_none_of_the_heavy_packages():
    code = (
        "import sys, evoprompt.cli; print([m for m in ('torch', 'transformers', 'ray', "
        "'mlflow', 'deap', 'numpy', 'pydantic') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_the_version_is_printed(evoprompt):
    assert evoprompt("--version")[:2] == (0, "0.1.0\n")


# --- evoprompt score


def write_requests(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_score_writes_every_request_in_order_and_the_counts(
    evoprompt, tiny_model: Path, tmp_path: Path
):
    rows = [
        {"id": i, "context": c, "continuation": k}
        for i, (c, k) in enumerate(
            [("ab", " c"), ("ab", " d"), ("ab ", "c"), ("", "x"), ("ab", " c")]
        )
    ]
    source = write_requests(tmp_path / "in.jsonl", rows)
    code, _, err = evoprompt(
        "score",
        "--model",
        tiny_model,
        "--input",
        source,
        "--output",
        tmp_path / "out.jsonl",
        "--stats",
        tmp_path / "s.json",
    )
    assert code == 0, err
    scores = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [s["id"] for s in scores] == [0, 1, 2, 3, 4]
    assert all(set(s) == {"id", "log_likelihood", "num_tokens", "is_greedy"} for s in scores)
    assert scores[0] | {"id": 9} == scores[2] | {"id": 9} == scores[4] | {"id": 9}, (
        "trailing spaces move to the continuation"
    )
    stats = json.loads((tmp_path / "s.json").read_text())
    keys = {
        "body_tokens",
        "floor_body_tokens",
        "head_rows",
        "floor_head_rows",
        "forwards",
        "seconds",
        "load_seconds",
        "path",
        "model_path",
    }
    assert keys <= set(stats)
    # fed: "a b space" (two continuations of two tokens share it) and the beginning-of-text token: 3
    # + 1
    assert stats["body_tokens"] == stats["floor_body_tokens"] == 4
    assert (
        evoprompt(
            "score", "--model", tiny_model, "--input", source, "--output", tmp_path / "out.jsonl"
        )[0]
        == 2
    )


def test_what_was_scored_before_is_answered_by_the_memo_which_models_shows_and_clears(
    evoprompt, tiny_model: Path, tmp_path: Path
):
    rows = [
        {"id": i, "context": f"the film {i} was", "continuation": w}
        for i in range(3)
        for w in (" good", " bad")
    ]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows[:4]))
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    def score(source: str, *options: str) -> tuple[list[float], dict]:
        target, stats = (
            tmp_path / f"{source}{len(options)}.out",
            tmp_path / f"{source}{len(options)}.stats",
        )
        command = (
            "score",
            "--model",
            tiny_model,
            "--input",
            tmp_path / f"{source}.jsonl",
            "--output",
            target,
            "--stats",
            stats,
            *options,
        )
        assert evoprompt(*command)[0] == 0
        return [
            json.loads(line)["log_likelihood"] for line in target.read_text().splitlines()
        ], json.loads(stats.read_text())

    assert "memo of scores: empty" in evoprompt("models")[1]
    score("few")
    # and as many of the plain forward, which checked them
    assert "memo of scores: 8 scores" in evoprompt("models")[1]
    values, stats = score("all")
    fresh, whole = score("all", "--no-memo")
    assert values == pytest.approx(fresh, abs=1e-5)
    assert (stats["memo_requests"], stats["requests"], whole["memo_requests"]) == (4, 6, 0)
    assert (
        0
        < stats["body_tokens"]
        < whole["body_tokens"]
        == whole["floor_body_tokens"]
        == stats["floor_body_tokens"]
    )
    assert "memo of scores: empty" in evoprompt("models", "--clear-memo")[1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ('{"id": 1, "context": "a"}', "line 2: expected"),
        ('{"id": 1, "prompt": "a", "continuation": "b"}', "did you mean 'context'"),
        ('{"id": 1, "context": "a", "continuation": 2}', 'put it in quotes: "2"'),
        ('{"id": 1, "id": 2, "context": "a", "continuation": "b"}', "stands twice"),
        ('{"id": 1, "context": "a", "continuation": ""}', "has no tokens of its own"),
    ],
)
def test_score_names_the_line_that_is_malformed_and_writes_nothing(
    evoprompt, tiny_model: Path, tmp_path: Path, line: str, message: str
):
    source = write_requests(tmp_path / "in.jsonl", [{"id": 0, "context": "a", "continuation": "b"}])
    source.write_text(source.read_text() + line + "\n")
    code, _, err = evoprompt(
        "score", "--model", tiny_model, "--input", source, "--output", tmp_path / "out.jsonl"
    )
    assert code == 2
    assert message in err
    assert not (tmp_path / "out.jsonl").exists()
