"""Shared fixtures: a tiny model with its tokenizer on disk, a small task, and one Ray for the whole
session.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest
from hypothesis import settings
from toys.tiny_models import save_model

from evoprompt.tracking import courier

# How long an example takes says how busy the machine is, not whether it is right. The examples are
# the same at every run, so that what passed once passes again; `make fuzz` looks for new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

#: What names a store of MLflow's, or a part of one, in the environment; MLflow's own functions
#: write them there.
STORE_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID")
for variable in STORE_VARIABLES:
    os.environ.pop(variable, None)

LONG = {"slow", "statistical"}
#: How the variables begin that packages set for their process, once and for good.
SET_BY_PACKAGES = (
    *("HF_HUB_", "KMP_", "MLFLOW_HTTP_", "PYTEST_", "PYTHONBREAKPOINT", "RAY_"),
    *("TORCHINDUCTOR_", "TRANSFORMERS_"),
)
WORDS = (
    *("good", "great", "fine", "lovely", "happy", "bad", "poor", "awful", "sad", "broken"),
    *("film", "book", "meal", "room", "train", "was", "is", "very", "quite", "not", "so"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with most long tests first: one that begins last is waited for by all workers
    but its own.
    """
    long = Counter(i.path for i in items if {m.name for m in i.iter_markers()} & LONG)
    items.sort(key=lambda item: -long[item.path])  # stable, so that a file stays together


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """No test leaves a variable of the environment, or its current folder, for those after it."""
    before, folder = dict(os.environ), Path.cwd()
    yield
    os.chdir(folder)
    for name in before.keys() | os.environ.keys():
        if before.get(name) != os.environ.get(name) and not name.startswith(SET_BY_PACKAGES):
            os.environ.pop(name, None)
            os.environ.update({name: before[name]} if name in before else {})


@pytest.fixture(autouse=True)
def own_memo(as_it_was: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a memo of its own, so that none is answered by another's scores or leaves any
    with the user.
    """
    monkeypatch.setenv("EVOPROMPT_MEMO", str(tmp_path / "memo.sqlite"))
    return tmp_path / "memo.sqlite"


@pytest.fixture(autouse=True)
def own_store(as_it_was: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves a store of MLflow's for those after it in the same process."""
    for variable in STORE_VARIABLES:
        monkeypatch.setenv(variable, "")  # so that it is taken away again
        monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def time_to_tell(as_it_was: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run tells its store all, on a busy machine too, whatever store was down before."""
    monkeypatch.setattr(courier, "LAST_SECONDS", 240.0)
    monkeypatch.setattr(courier, "_DOWN", set())


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(as_it_was: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait until files are on the disk: a test that kills a process finds what it wrote all
    the same, and none can take the machine's power away.
    """
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random three-layer Llama with a byte-level tokenizer."""
    return save_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def long_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights with a window in which several examples have room."""
    folder = tmp_path_factory.mktemp("long") / "model"
    copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return folder


@pytest.fixture(scope="session")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 examples with two choices, as JSONL."""
    import numpy as np

    rng = np.random.default_rng(7)
    rows = []
    for index in range(160):
        words = [WORDS[i] for i in rng.integers(0, len(WORDS), size=4)]
        rows.append(
            {
                "input": " ".join(words),
                "target": ("bad", "good")[index % 2],
                "choices": ["bad", "good"],
                "id": f"e{index}",
            }
        )
    path = tmp_path_factory.mktemp("task") / "mood.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def config_text(tiny_model: Path, task_file: Path) -> str:
    """A config that runs in a second or two, in this process, without tracking."""
    return f"""
model: {{name: "{tiny_model}", chunk_tokens: 256, memo: false}}
task: {{path: "{task_file}", fitness_examples: 8, validation_examples: 8, test_examples: 20,
  starting_demonstrations: [0], demonstration_inputs: all,
  label_words: {{bad: [poor, sad], good: [great, fine]}}}}
fitness: {{calibration: "off"}}
evolution: {{population: 4, children: 4, generations: 4, max_demonstrations: 3, novelty: id,
  racing: {{method: "off"}}, examples: {{first: null}}}}
workers: {{backend: local}}
tracking: {{enabled: false}}
"""


@pytest.fixture
def config_file(tmp_path: Path, config_text: str) -> Path:
    """The same as a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(config_text)
    return path


@pytest.fixture(scope="module")
def shared_config(tmp_path_factory: pytest.TempPathFactory, config_text: str) -> Path:
    """The same for a run that each test of a file has a copy of; what is made goes beside it."""
    path = tmp_path_factory.mktemp("shared") / "tiny.yaml"
    path.write_text(config_text)
    return path


@pytest.fixture
def boost_file(tmp_path: Path, tiny_model: Path, task_file: Path) -> Path:
    """A loop that runs in a second or two, in this process, without tracking."""
    path = tmp_path / "boost.yaml"
    path.write_text(
        f"""
model: {{name: "{tiny_model}", chunk_tokens: 256, memo: false}}
task: {{path: "{task_file}", fitness_examples: 8, validation_examples: 8, test_examples: 20}}
policy: {{instruction: "Mood?", input_prefix: "", output_prefix: ":", separator: "\\n"}}
evaluator: {{input_prefix: "", output_prefix: "?", separator: "\\n"}}
loop: {{rounds: 3, batch: 6, context_pairs: 3, context_tokens: 150, least_buffer: 2,
       measure_imitation: 0, go_on: true}}
workers: {{backend: local}}
tracking: {{enabled: false}}
"""
    )
    return path


@pytest.fixture
def no_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run draws its report, which takes as long as a tiny run, but in tests marked `pages`."""
    if request.node.get_closest_marker("pages"):
        return
    monkeypatch.setattr("evoprompt.jobs.evolve.loop.write_page", lambda *_: None)
    monkeypatch.setattr("evoprompt.jobs.boost.loop.write_boost_page", lambda *_: None)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for all tests that need it, with four CPUs and two GPUs that exist in its books
    only.
    """
    from evoprompt.backends.cluster import import_ray
    from evoprompt.config.sections import WorkersConfig

    ray = import_ray(WorkersConfig())
    ray.init(
        address="local",
        num_cpus=4,
        num_gpus=2,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
    )
    yield
    ray.shutdown()
