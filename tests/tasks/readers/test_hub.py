"""A data set of the hub is read from the Parquet files of its branch; here a folder stands for the
hub, and no network is asked.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from evoprompt.config.task import HubAddress, TaskConfig, hub_address
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.tasks.load import load_task
from evoprompt.tasks.readers import hub

LABELS = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}


def shard(first: int, count: int, labels: Sequence[int] = (0, 1)) -> bytes:
    numbers = range(first, first + count)
    rows = [{"text": f"text {n}", "label": labels[n % len(labels)]} for n in numbers]
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(LABELS)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a data set, with two configurations, on its branch."""
    root = tmp_path / "datasets/me/pets@refs/convert/parquet"
    files = {
        "small/train/0000.parquet": shard(0, 60),
        "small/train/0001.parquet": shard(60, 40),
        "small/validation/0000.parquet": shard(100, 40),
        "small/test/0000.parquet": shard(200, 50, [-1]),
        "large/partial-train/0000.parquet": shard(0, 200),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    folder = DirFileSystem(path=str(tmp_path), fs=LocalFileSystem())
    monkeypatch.setattr(hub, "file_system", lambda: folder)
    return root


def read(address: str, **settings: Any) -> Any:
    return load_task(TaskConfig(path=address, **settings))


def test_one_split_is_read_from_all_its_files_with_the_names_of_its_labels(root: Path):
    task = read("hf://me/pets/small/train", demonstration_pool=999)
    assert task.name == "pets"
    assert sum(map(len, task.splits.values())) == 100
    assert task.choices == ("cat", "dog")
    assert {(e.input, e.target) for e in task.fitness} <= {
        (f"text {n}", ("cat", "dog")[n % 2]) for n in range(100)
    }
    assert len(read("hf://datasets/me/pets/large/train/").test) > 50


def test_the_splits_of_a_data_set_are_kept_and_a_test_without_labels_is_none(root: Path):
    task = read("hf://me/pets/small", test_examples=999, demonstration_pool=999)
    numbers = {name: {int(e.input[5:]) for e in of} for name, of in task.splits.items()}
    assert numbers["test"] == set(range(100, 140))
    assert set().union(*(numbers[n] for n in numbers if n != "test")) <= set(range(100))
    assert any("50 examples of the split 'test' have no target" in note for note in task.notes)
    assert any("validation split is the test here" in note for note in task.notes)
    (root / "small/test/0000.parquet").write_bytes(shard(200, 50))
    task = read("hf://me/pets/small", validation_examples=999, test_examples=999)
    numbers = {name: {int(e.input[5:]) for e in of} for name, of in task.splits.items()}
    assert numbers["validation"] == set(range(100, 140))
    assert numbers["test"] == set(range(200, 250))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://me/pets", "give the configuration of the data set; one of large, small"),
        ("hf://me/pets/smal", "give the configuration of the data set; did you mean 'small'"),
        ("hf://me/pets/small/tran", "there is no split 'tran'; did you mean 'train'"),
        ("hf://me/cats/small/train", "the hub has no such data set"),
        ("hf://me/pets@v2/small/train", "the hub has no such data set"),
    ],
)
def test_what_the_hub_has_not_is_said_with_what_it_has(root: Path, address: str, message: str):
    with pytest.raises(UserError, match=message):
        read(address)


def test_a_hub_that_does_not_answer_is_a_sentence(root: Path, monkeypatch: pytest.MonkeyPatch):
    class Silent:
        def find(self, path: str) -> list[str]:
            raise ConnectionError("no route to host")

    monkeypatch.setattr(hub, "file_system", Silent)
    with pytest.raises(UserError, match=r"does not answer \(no route to host\); try again"):
        read("hf://me/pets/small/train")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://a/b", HubAddress("a/b")),
        ("hf://a/b/c/d", HubAddress("a/b", "", "c", "d")),
        ("hf://datasets/a/b.c/d", HubAddress("a/b.c", "", "d")),
        ("hf://a/b@1f2e/c/d", HubAddress("a/b", "1f2e", "c", "d")),
        ("hf://a/b@refs/pr/7/c/d", HubAddress("a/b", "refs/pr/7", "c", "d")),
    ],
)
def test_an_address_has_these_parts(text: str, expected: HubAddress):
    assert hub_address(text) == expected


@pytest.mark.parametrize("text", ["hf://a", "hf://", "hf://a/b/c/d/e", "hf://a/b?x", "hf://a b/c"])
def test_what_is_no_address_is_refused_where_it_is_written(tmp_path: Path, text: str):
    config = tmp_path / "c.yaml"
    config.write_text(f"task: {{path: '{text}'}}\n")
    with pytest.raises(UserError, match="task.path: .* is no data set of the hub; expected hf://"):
        load_config(config)


def test_an_address_is_not_made_a_path_of_the_configs_folder(tmp_path: Path):
    config = tmp_path / "c.yaml"
    config.write_text("task: {path: hf://a/b/c/train, test_path: hf://a/b/c/test}\n")
    task = load_config(config).task
    assert (task.path, task.test_path) == ("hf://a/b/c/train", "hf://a/b/c/test")
