"""Whole runs with a tiny model in this process: the record, its accounting, and that they survive
anything.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from math import fsum
from pathlib import Path
from shutil import copytree

import pytest

from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import LINEAGE, EvolveFolder
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.store.folder import CHECKPOINT, SUMMARY

pytestmark = pytest.mark.usefixtures("no_pages")

RUN_FILES = {
    "config.yaml",
    "provenance.json",
    "tracking.json",
    "lineage.jsonl",
    "generations.jsonl",
    "measurements.jsonl",
    "checkpoint.json",
    "commits.jsonl",
}


def lines(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def made(shared_config: Path) -> Path:
    start(load_config(shared_config), shared_config.with_name("run"))
    return shared_config.with_name("run")


@pytest.fixture
def finished(made: Path, tmp_path: Path) -> Path:
    return copytree(made, tmp_path / "run")


@pytest.mark.pages
def test_a_run_leaves_the_whole_record(finished: Path):
    assert {p.name for p in finished.iterdir()} == RUN_FILES | {
        "champion.txt",
        "dynamics.json",
        "predictions.jsonl",
        "report.html",
        "summary.json",
    }
    summary = json.loads((finished / SUMMARY).read_text())
    assert {
        "champion",
        "fitness",
        "test",
        "tokens",
        "seconds",
        "price_residual_max",
        "mlflow_run_id",
        "seed",
    } <= set(summary)
    assert {"policy", "policy_id", "prompt"} <= set(summary["champion"])
    assert set(summary["fitness"]) == {"kind", "first", "last", "best"}
    check = {"metric", "num_examples", "baseline", "champion", "difference", "mcnemar"}
    assert set(summary["test"]) == check
    assert {"prefill", "generated", "total", "floor", "by_phase"} <= set(summary["tokens"])
    for part in ("baseline", "champion", "difference"):
        low, high = summary["test"][part]["ci"]
        assert low <= summary["test"][part]["value"] <= high
    tokens = summary["tokens"]
    assert tokens["prefill"] == sum(tokens["by_phase"].values())
    assert tokens["prefill"] - tokens["by_phase"]["check"] == tokens["floor"] - tokens["stored"]
    assert tokens["by_phase"]["check"] == summary["checked"]["tokens"]
    assert summary["checked"]["requests"] >= 16
    assert summary["checked"]["difference"] < 1e-4
    assert tokens["stored"] > 0, "no child began as its parent"
    provenance = json.loads((finished / "provenance.json").read_text())
    assert provenance["model"]["fingerprint"]
    fitness = provenance["data"]["splits"]["fitness"]
    assert fitness.pop("sha256")
    assert fitness == {"examples": 8, "labels": {"bad": 0.5, "good": 0.5}}
    assert provenance["scoring"] == {
        "window": 256,
        "dtype": "float32",
        "path": "packed",
        "arithmetic": summary["model"]["arithmetic"],
        "chunk_tokens": 256,
        "device": "cpu",
        "threads": 1,
    }


def test_every_generation_is_in_the_lineage_with_those_that_died(finished: Path):
    births = lines(finished, LINEAGE)
    for generation in range(5):
        rows = [b for b in births if b["generation"] == generation]
        assert sum(b["selected"] for b in rows) == 4
        if generation:
            assert sum(b["operator"] == "survive" for b in rows) == 4
            assert len(rows) == 8
    assert all(b["policy_id"] for b in births)


def test_nothing_is_scored_twice(finished: Path):
    measured = [m["policy_id"] for m in lines(finished, "measurements.jsonl")]
    assert len(measured) == len(set(measured))
    assert set(measured) == {b["policy_id"] for b in lines(finished, LINEAGE)}


def test_prices_parts_recomputed_from_the_lineage_file_add_up(finished: Path):
    """Shares no code with the package: plain loops over the file, as an outsider would check it."""
    births = lines(finished, LINEAGE)
    for generation in range(1, 5):
        parents = {
            b["birth_id"]: b for b in births if b["generation"] == generation - 1 and b["selected"]
        }
        rows = [b for b in births if b["generation"] == generation]
        line = next(
            g for g in lines(finished, "generations.jsonl") if g["generation"] == generation
        )
        success = dict.fromkeys(parents, 0.0)
        for row in rows:
            for parent, share in zip(row["parent_ids"], row["shares"], strict=True):
                success[parent] += share
        mean_success = fsum(success.values()) / len(parents)
        for trait, price in line["price"].items():
            mean = fsum(p["traits"][trait] for p in parents.values()) / len(parents)
            selection = (
                fsum(
                    (success[i] - mean_success) * (p["traits"][trait] - mean)
                    for i, p in parents.items()
                )
                / len(parents)
                / mean_success
            )
            effects = [
                r["traits"][trait]
                - fsum(
                    s * parents[i]["traits"][trait]
                    for i, s in zip(r["parent_ids"], r["shares"], strict=True)
                )
                for r in rows
            ]
            transmission = fsum(effects) / len(rows)
            chosen = [r["traits"][trait] for r in rows if r["selected"]]
            survival = fsum(chosen) / len(chosen) - fsum(r["traits"][trait] for r in rows) / len(
                rows
            )
            change = fsum(chosen) / len(chosen) - mean
            assert abs(change - selection - transmission - survival) < 1e-12
            assert price["reproduction"]["selection"] == pytest.approx(selection, abs=1e-12)
            assert price["transmission"] == pytest.approx(transmission, abs=1e-12)
            assert price["survival"]["selection"] == pytest.approx(survival, abs=1e-12)
            assert sum(price["transmission_by_operator"].values()) == pytest.approx(
                transmission, abs=1e-12
            )


def test_the_test_examples_are_not_among_those_that_the_search_saw(finished: Path):
    from evoprompt.tasks.load import load_task

    task = load_task(EvolveFolder.open(finished).config().task)
    seen = {e for m in lines(finished, "measurements.jsonl") for e in m["example_ids"]}
    assert seen == {e.example_id for e in task.fitness}
    assert not seen & {e.example_id for e in (*task.validation, *task.test)}


def test_the_same_seed_writes_the_same_lineage_and_another_seed_another(
    config_file: Path, tmp_path: Path, finished: Path
):
    first = (finished / LINEAGE).read_bytes()
    start(load_config(config_file), tmp_path / "again")
    assert (tmp_path / "again" / LINEAGE).read_bytes() == first
    start(load_config(config_file, ["seed=1"]), tmp_path / "other")
    assert (tmp_path / "other" / LINEAGE).read_bytes() != first


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_to_the_same_lineage_to_the_byte(
    config_file: Path, tmp_path: Path
):
    overrides = ["evolution.generations=30"]
    start(load_config(config_file, overrides), tmp_path / "whole")
    expected = (tmp_path / "whole" / LINEAGE).read_bytes()
    command = [
        sys.executable,
        "-m",
        "evoprompt.cli",
        "run",
        str(config_file),
        "--out",
        str(tmp_path / "killed"),
        "--set",
        overrides[0],
    ]
    lineage = tmp_path / "killed" / LINEAGE
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONHASHSEED": "77"}
    )
    deadline = time.monotonic() + 120
    while not (lineage.exists() and len(lineage.read_bytes().splitlines()) > 60):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / SUMMARY).exists()
    assert expected.startswith(lineage.read_bytes()[:1000])
    resume(tmp_path / "killed")
    assert lineage.read_bytes() == expected
    results = [json.loads((tmp_path / run / SUMMARY).read_text()) for run in ("whole", "killed")]
    assert results[0]["test"] == results[1]["test"]
    assert results[0]["champion"] == results[1]["champion"]


def test_a_run_killed_before_its_first_generation_starts_again(
    config_file: Path, tmp_path: Path, finished: Path
):
    """The state of a folder after a kill between the first lines and the first checkpoint."""
    early = tmp_path / "early"
    early.mkdir()
    for name in ("config.yaml", "provenance.json"):
        (early / name).write_bytes((finished / name).read_bytes())
    (early / LINEAGE).write_text('{"generation": 0, "isl')
    resume(early)
    assert (early / LINEAGE).read_bytes() == (finished / LINEAGE).read_bytes()


def test_a_complete_run_is_not_resumed(finished: Path):
    with pytest.raises(UserError, match="is complete"):
        resume(finished)


def test_an_operator_from_elsewhere_is_drawn_and_a_resume_without_it_is_refused_by_its_name(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = tmp_path / "elsewhere.py"
    own.write_text("from toys.operators import Shout\n")
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["evolution.operators={'elsewhere:Shout': 9}"]
    start(load_config(config_file, overrides), tmp_path / "run")
    assert "shout" in {b["operator"] for b in lines(tmp_path / "run", LINEAGE)}
    (tmp_path / "run" / SUMMARY).unlink()
    before = (tmp_path / "run" / LINEAGE).read_bytes()
    own.unlink()
    monkeypatch.delitem(sys.modules, "elsewhere")
    importlib.invalidate_caches()
    with pytest.raises(UserError, match="'elsewhere:Shout' cannot be imported"):
        resume(tmp_path / "run")
    assert (tmp_path / "run" / LINEAGE).read_bytes() == before


def test_the_search_stops_within_its_token_budget(
    config_file: Path, tmp_path: Path, finished: Path
):
    spent = json.loads((finished / SUMMARY).read_text())["tokens"]
    limit = spent["floor"] * 5 // 4  # room is kept for validation, test and checks
    summary = start(
        load_config(config_file, [f"budget.prefill_tokens={limit}"]), tmp_path / "cheap"
    )
    assert summary["tokens"]["prefill"] <= limit
    assert 0 < summary["generations"] < 4


def test_a_prompt_that_does_not_fit_the_window_ends_the_run_without_a_trace(
    config_file: Path, tmp_path: Path
):
    override = f"task.starting_policies=[{{instruction: '{'long ' * 80}'}}]"
    with pytest.raises(UserError, match="longer than the model's window of 256"):
        start(load_config(config_file, [override]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_starts_with_the_demonstrations_that_fit_and_is_compared_with_the_users_own_prompts(
    config_file: Path, tmp_path: Path
):
    shown = ["task.starting_demonstrations=[auto, 30]", "evolution.generations=1"]
    summary = start(load_config(config_file, shown), tmp_path / "run")
    started = [b["policy"] for b in lines(tmp_path / "run", LINEAGE) if b["generation"] == 0]
    sizes = {len(policy.get("demonstrations", [])) for policy in started}
    assert {0} < sizes
    assert 30 not in sizes  # longer than the window of 256
    assert "demonstrations" not in summary["baseline"]["policy"]


def test_every_edit_of_a_child_stands_in_the_lineage_and_is_read_back(
    config_file: Path, tmp_path: Path
):
    often = ["evolution.further_edits=0.7", "evolution.generations=2"]
    start(load_config(config_file, often), tmp_path / "run")
    written = [b.get("edits") for b in lines(tmp_path / "run", LINEAGE)]
    read = [e.member.birth.edits for e in EvolveFolder(tmp_path / "run").lineage()]
    assert [tuple(edits or ()) for edits in written] == read
    assert max(map(len, read)) >= 2


def test_an_operator_that_goes_by_credit_makes_children_once_there_is_some(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evoprompt.variation.credit.LEAST_R_SQUARED", -9.0)  # whatever is found
    more = ["evolution.operators.demonstration_add_best=20", "evolution.children=12"]
    start(load_config(config_file, [*more, "evolution.generations=4"]), tmp_path / "run")
    births = lines(tmp_path / "run", LINEAGE)
    made = [b["generation"] for b in births if b["operator"] == "demonstration_add_best"]
    assert made
    assert min(made) > 1  # the founders show nothing that could be credited


@pytest.mark.parametrize("kind", ["sum", "per_token", "per_byte", "pmi", "accuracy"])
def test_every_fitness_carries_a_run(config_file: Path, tmp_path: Path, kind: str):
    summary = start(
        load_config(config_file, [f"fitness.kind={kind}", "evolution.generations=1"]),
        tmp_path / "run",
    )
    assert summary["fitness"]["kind"] == kind


def test_free_form_tasks_run_too(config_file: Path, tmp_path: Path):
    free = tmp_path / "free.jsonl"
    free.write_text(
        "".join(json.dumps({"input": f"say {i}", "target": f"t{i}"}) + "\n" for i in range(80))
    )
    override = [
        f"task={{path: {free}, fitness_examples: 6, validation_examples: 4, test_examples: 6}}",
        "evolution.generations=1",
    ]
    summary = start(load_config(config_file, override), tmp_path / "run")
    assert summary["fitness"]["kind"] == "per_token"
    assert CHECKPOINT in {p.name for p in (tmp_path / "run").iterdir()}


@pytest.mark.slow
def test_a_run_again_is_all_memo_and_the_same_to_the_byte(config_file: Path, tmp_path: Path):
    tokens = {}
    for name, memo in (("without", "false"), ("first", "true"), ("again", "true")):
        start(load_config(config_file, [f"model.memo={memo}"]), tmp_path / name)
        tokens[name] = json.loads((tmp_path / name / SUMMARY).read_text())["tokens"]
    assert len({(tmp_path / name / LINEAGE).read_bytes() for name in tokens}) == 1
    assert tokens["first"]["prefill"] > 0
    assert (tokens["again"]["prefill"], tokens["again"]["forwards"]) == (0, 0)
    assert (
        tokens["again"]["memo_requests"]
        == tokens["again"]["requests"]
        == tokens["first"]["requests"]
        > 0
    )
    assert tokens["again"]["floor"] == tokens["without"]["floor"], (
        "a budget would have been spent otherwise"
    )


@pytest.mark.slow
def test_the_lineage_does_not_depend_on_the_prefix_store(config_file: Path, tmp_path: Path):
    for mib in (0, 1, 256):
        start(load_config(config_file, [f"model.prefix_store_mib={mib}"]), tmp_path / str(mib))
    assert len({(tmp_path / str(mib) / LINEAGE).read_bytes() for mib in (0, 1, 256)}) == 1
    stored = [
        json.loads((tmp_path / str(mib) / SUMMARY).read_text())["tokens"]["stored"]
        for mib in (0, 256)
    ]
    assert stored[0] == 0 < stored[1]


@pytest.mark.slow
def test_a_run_whose_scores_are_wrong_begins_again_and_is_exact(config_file: Path, tmp_path: Path):
    """A way that is wrong for long prompts passes the probe; the run's own requests tell."""
    exact = load_config(config_file, ["model.scoring=plain"])
    start(exact, tmp_path / "exact")
    start(
        load_config(config_file, ["workers.backend=toys.inexact:InexactBackend"]), tmp_path / "run"
    )
    record = ("lineage.jsonl", "measurements.jsonl")
    for name in record:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "exact" / name).read_bytes()
    summary = json.loads((tmp_path / "run" / SUMMARY).read_text())
    assert summary["model"]["path"] == "plain"
    assert summary["checked"]["requests"] >= 16
    assert summary["checked"]["difference"] == 0
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert "packed scoring gave" in provenance["begun_again"]
