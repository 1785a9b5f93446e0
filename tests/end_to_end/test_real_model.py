"""The real model, SmolLM2-135M: exact scores, the whole line through Ray and MLflow, and the fast
tokenizer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evoprompt.config.task import TaskConfig
from evoprompt.measurement.requests import tokenize
from evoprompt.policy import Policy
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.models import model_fingerprint, resolve_model
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest
from evoprompt.tasks.load import load_task
from evoprompt.tasks.render import render_queries

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder() -> Path:
    return resolve_model("smollm2-135m")


def test_the_converted_model_is_the_pinned_one(folder: Path):
    assert (
        model_fingerprint(folder)
        == json.loads((folder / "evoprompt.json").read_text())["fingerprint"]
    )


def test_packed_scores_equal_the_plain_forward_within_1e_4_nats(folder: Path):
    task = load_task(TaskConfig(name="inbox", fitness_examples=6))
    policies = [
        task.starting_policies[0],
        Policy(
            "Sort the mail.", task.demonstrations[:2], task.templates[2], (("praise", "thanks"),)
        ),
    ]
    tokenizer = Tokenizer(folder)
    requests = tokenize(tokenizer, [q for p in policies for q in render_queries(p, task.fitness)])
    model = TransformersLM(folder, threads=1)
    packed = Scorer(model, chunk_tokens=64)
    assert packed.path == "packed"
    scores = packed.score(requests)
    plain = Scorer(model, path="plain").score(requests)
    np.testing.assert_allclose(scores.log_likelihood, plain.log_likelihood, atol=1e-4)
    np.testing.assert_allclose(
        scores.log_likelihood, as_transformers_has_it(folder, requests), atol=1e-4
    )
    assert scores.is_greedy.tolist() == plain.is_greedy.tolist()
    assert scores.count.body_tokens == scores.count.floor_body_tokens
    sequences, prefixes = (
        {r.fed for r in requests},
        {r.fed[:n] for r in requests for n in range(1, len(r.fed) + 1)},
    )
    assert plain.count.body_tokens == sum(map(len, sequences))
    assert scores.count.body_tokens == len(prefixes)


def as_transformers_has_it(folder: Path, requests: Sequence[TokenRequest]) -> list[float]:
    """Each whole sequence through the model as transformers loads it: no packed layer, no mask, no
    cache.
    """
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    values = []
    for request in requests:
        with torch.no_grad():
            logits = network(torch.tensor([request.fed]), use_cache=False).logits[
                0, len(request.context) - 1 :
            ]
        values.append(
            logits.double()
            .log_softmax(-1)[range(len(request.continuation)), request.continuation]
            .sum()
            .item()
        )
    return values


def test_the_fast_tokenizer_agrees_with_the_one_of_transformers(folder: Path):
    from transformers import AutoTokenizer

    task = load_task(TaskConfig(name="inbox", test_examples=999))
    texts = ["", " ", "a  b\n\nc ", "naïve 😀", *(e.input for e in task.test)]
    slow = AutoTokenizer.from_pretrained(folder)
    assert Tokenizer(folder).encode(texts) == [tuple(ids) for ids in slow(texts)["input_ids"]]


def test_the_quickstart_runs_end_to_end_as_a_user_starts_it(tmp_path: Path):
    """Two generations on Ray workers with MLflow, through the command line, on the configuration
    that is shipped.
    """
    smaller = [
        "evolution.generations=2",
        "evolution.children=4",
        "task.fitness_examples=16",
        "task.validation_examples=12",
        "task.test_examples=24",
    ]
    command = [
        sys.executable,
        "-m",
        "evoprompt.cli",
        "run",
        str(ROOT / "configs" / "quickstart.yaml"),
        "--out",
        str(tmp_path / "runs" / "q"),
    ]
    command += [word for setting in smaller for word in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs" / "q" / "summary.json").read_text())
    assert summary["model"]["path"] == "packed"
    tokens, checked = summary["tokens"], summary["checked"]
    assert tokens["prefill"] - tokens["by_phase"]["check"] == tokens["floor"] - tokens["stored"]
    assert checked["requests"] >= 16
    assert checked["difference"] < 1e-4
    assert summary["fitness"]["best"] >= summary["fitness"]["first"]
    assert summary["price_residual_max"] < 1e-12
    assert summary["mlflow_run_id"]
    assert (tmp_path / "runs" / "mlflow.db").exists()
    for text in ("generation   2", "held-out accuracy before", "report.html", " ui --runs "):
        assert text in done.stdout
