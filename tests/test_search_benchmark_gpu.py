"""The benchmark of searches from nothing to tables: pinned data, what is looked at first, and the
whole of it small on a CPU.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from experiments.benchmarks.search import gpu, pinned, tables
from experiments.benchmarks.search.record import read
from experiments.benchmarks.search.tasks import load

FILES = {
    "train.txt": "".join(f"text {i} of two\t{i % 2}\n" for i in range(60)),
    "test.txt": "".join(f"other {i}\t{i % 2}\n" for i in range(20)),
    "prompts.txt": "Which is it?\nDecide.\n",
    "data/template_de.py": 'v1 = {"cls": {"sst-5": "<prompt1> then <prompt0>"}}\nv2 = {}\n',
}


@pytest.fixture
def pins(tmp_path: Path) -> dict[str, Any]:
    """A manifest of files on this machine."""
    source = tmp_path / "source"
    for name, text in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    return {
        "source": source.as_uri() + "/",
        "tasks": {
            "two": {
                "labels": ["no", "yes"],
                "train": "train.txt",
                "test": "test.txt",
                "prompts": "prompts.txt",
            }
        },
        "files": {n: hashlib.sha256(t.encode()).hexdigest() for n, t in FILES.items()},
    }


def test_pinned_files_become_a_task(pins: dict[str, Any], tmp_path: Path):
    [name] = pinned.fetch(tmp_path / "data", ["two"], pins)
    found = load(name, tmp_path / "data")
    assert [p.instruction for p in found.starting[:2]] == ["Which is it?", "Decide."]
    assert len(found.task.test) == 20
    example = next(e for e in found.task.test if e.input == "other 3")
    assert (example.target, example.choices) == ("yes", ("no", "yes"))
    assert (tmp_path / "data/de_template.txt").read_text() == "<prompt1> then <prompt0>"


def test_a_file_with_another_sum_is_refused_and_one_that_is_there_is_not_fetched(
    pins: dict[str, Any], tmp_path: Path
):
    folder = tmp_path / "data"
    pinned.fetch(folder, ["two"], pins)
    (tmp_path / "source" / "train.txt").write_text("changed\t0\n")
    pinned.fetch(folder, ["two"], pins)
    (folder / "fetched" / "train.txt").write_text("changed\t0\n")
    with pytest.raises(SystemExit, match=r"SHA-256 .* is pinned; remove it"):
        pinned.fetch(folder, ["two"], pins)


def test_what_cannot_be_fetched_says_where_to_put_it(pins: dict[str, Any], tmp_path: Path):
    (tmp_path / "source" / "test.txt").unlink()
    with pytest.raises(SystemExit, match=r"cannot fetch .*test\.txt .*put the file at"):
        pinned.fetch(tmp_path / "data", ["two"], pins)
    with pytest.raises(SystemExit, match="no pinned task 'three'; there are two"):
        pinned.fetch(tmp_path / "data", ["three"], pins)


def test_the_manifest_pins_every_file_that_it_names():
    pins = pinned.manifest()
    named = {t[k] for t in pins["tasks"].values() for k in ("train", "test", "prompts")}
    assert named | {"data/template_de.py"} == set(pins["files"])
    assert all(len(digest) == 64 for digest in pins["files"].values())
    assert {"sst2", "agnews", "trec", "subj"} <= set(pins["tasks"])


def test_published_numbers_have_sources_and_make_a_table():
    with gpu.PUBLISHED.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all(row["source"] and 0 < float(row["value"]) <= 100 for row in rows)
    assert {row["task"] for row in rows} <= set(pinned.manifest()["tasks"])
    lines = tables.published_table(gpu.PUBLISHED)
    assert len(lines) == len(rows) + 2
    assert len({line.count("|") for line in lines}) == 1


def test_without_a_gpu_it_ends_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path
):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU is to be seen"):
        gpu.main(["--model", str(tiny_model), "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="model folder"):
        gpu.main(["--model", str(tmp_path), "--out", str(tmp_path), "--cpu"])


def test_a_model_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "toy")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (14 * gpu.GIB, 16 * gpu.GIB))
    gpu._check_gpu(10 * gpu.GIB)  # 1.4 times 10 is 14
    with pytest.raises(SystemExit, match="needs about 15 GiB .* 14 GiB are free"):
        gpu._check_gpu(11 * gpu.GIB)


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(300)
def test_the_whole_of_it_with_the_real_model_at_5000_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["--model", "smollm2-135m", "--tasks", "inbox", "--budget", "5000", "--cpu"]
    arguments += ["--contenders", "zero_shot", "random_demonstrations", "--seeds", "0"]
    arguments += ["--test-examples", "20", "--out", str(tmp_path)]
    text = gpu.main(arguments)
    rows = read(tmp_path / "results.jsonl")
    assert {r["contender"] for r in rows} == {"zero_shot", "random_demonstrations"}
    assert all(2_500 < r["tokens"]["total"] <= 5_000 for r in rows)
    assert "| random_demonstrations | " in text
    assert "CAPO" in text
    assert "take at most" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0])["seed"] == 0
