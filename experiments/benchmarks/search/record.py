"""A run as a line of JSON: raw scores, so that every number can be found again without a model."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np

from evoprompt.calibration import Calibration, Way, fit
from evoprompt.policy import Policy
from evoprompt.tasks.render import render_prompt
from experiments.benchmarks.search.ledger import Bench, Scores

#: What a budget counts.
LOGICAL, FORWARDED = "logical tokens", "forwarded tokens"
#: Digits of what is kept, nats.
DIGITS = 5
#: How answers are calibrated where no words were read.
WAYS: tuple[Way, ...] = ("batch", "labelled")
#: Whose versions a result may depend on, where they are there.
PACKAGES = ("evoprompt", "torch", "transformers", "promptolution", "gepa")


@dataclass(frozen=True)
class Key:
    """Which run it is."""

    contender: str
    task: str
    seed: int
    budget: int
    model: str
    unit: str = LOGICAL  #: what the budget counts

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return the key of a line; one that names no unit counts logical tokens."""
        known = {"unit": LOGICAL, **row}
        return cls(*(known[name] for name in cls.__dataclass_fields__))


def record(key: Key, bench: Bench, policy: Policy, seconds: float) -> dict[str, Any]:
    """Return the line of a run that ended with this policy."""
    ledger = bench.ledger.to_dict()
    seen = list(bench.measured.get(policy, {}).values())
    development = bench.scores(policy, seen) if seen else None
    test = bench.test(policy)
    known = calibrations(bench, development) if development else {}
    return {
        **{name: getattr(key, name) for name in Key.__dataclass_fields__},
        "policy": policy.to_dict(),
        "prompt": render_prompt(policy),
        "policies": len(bench.measured) + bench.elsewhere,
        "tokens": ledger,
        "seconds": round(seconds, 1),
        "calibration": {
            way: {"temperature": c.temperature, "offsets": c.offsets, "factor": c.factor}
            for way, c in known.items()
        },
        "development": _plain(development) if development else None,
        "test": _plain(test),
        "accuracy": {
            "raw": accuracy(test, None),
            **{way: accuracy(test, c) for way, c in known.items()},
        },
        "versions": _versions(),
    }


def calibrations(bench: Bench, scores: Scores) -> dict[str, Calibration]:
    """Return the calibrations of a policy by its scores, by way; empty where there is nothing to
    fit.
    """
    return fitted(scores) if bench.task.is_shared and len(scores.gold) else {}


def fitted(scores: Scores) -> dict[str, Calibration]:
    """Return the calibrations that these scores are fitted with, by way; a head where words were
    read.
    """
    ways: tuple[Way, ...] = ("batch", "labelled", "head") if scores.words.size else WAYS
    values, gold, words = scores.log_likelihood, scores.gold, scores.words
    return {way: fit(values, gold, way, words=words) for way in ways}


def accuracy(scores: Scores, calibration: Calibration | None) -> float:
    """Return the share of right answers; without choices, of answers that the model writes."""
    if scores.log_likelihood.shape[1] == 1:
        return float(scores.is_greedy.mean())
    found = log_probabilities(scores, calibration)
    return float((found.argmax(axis=1) == scores.gold).mean())


def nats(scores: Scores, calibration: Calibration | None) -> float:
    """Return the mean log-likelihood of the right answers, nats; without choices, per token."""
    rows = np.arange(len(scores.gold))
    if scores.log_likelihood.shape[1] == 1:
        return float((scores.log_likelihood / scores.num_tokens).mean())
    return float(log_probabilities(scores, calibration)[rows, scores.gold].mean())


def log_probabilities(scores: Scores, calibration: Calibration | None) -> np.ndarray:
    """Return the log-probabilities among the choices, shape (example, choice)."""
    width = scores.log_likelihood.shape[1]
    values = scores.log_likelihood - scores.log_likelihood.max(axis=1, keepdims=True)
    values = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return (calibration or Calibration("off", 1.0, (0.0,) * width)).apply(values, scores.words)


def scores_of(plain: Mapping[str, Any]) -> Scores:
    """Return scores as they were kept."""
    return Scores(
        np.array(plain["log_likelihood"]),
        np.array(plain["num_tokens"]),
        np.array(plain["is_greedy"]),
        np.array(plain["gold"]),
        _unpacked(plain.get("words", ""), len(plain["gold"])),
    )


def _packed(words: np.ndarray) -> str:
    return b64encode(words.astype("<f2").tobytes()).decode()


def _unpacked(text: str, number: int) -> np.ndarray:
    return np.frombuffer(b64decode(text), "<f2").astype(float).reshape(number, -1)


def read(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, the last of each run; none where there is no file. A last line
    that was broken off is passed over.
    """
    if not file.exists():
        return []
    rows: dict[Key, dict[str, Any]] = {}
    lines = file.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines):
        if not line or number == len(lines) - 1:
            continue
        row = json.loads(line)
        rows[Key.of(row)] = row
    return list(rows.values())


def append(file: Path, row: Mapping[str, Any]) -> None:
    """Add a line; a broken one before it is ended first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, 2)
            if stream.read(1) != b"\n":
                keep = file.read_bytes().rpartition(b"\n")[0]
                stream.truncate(len(keep) + 1 if keep else 0)
        stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def _plain(scores: Scores) -> dict[str, Any]:
    return {
        "log_likelihood": np.round(scores.log_likelihood, DIGITS).tolist(),
        "num_tokens": scores.num_tokens.tolist(),
        "is_greedy": scores.is_greedy.tolist(),
        "gold": scores.gold.tolist(),
        "words": _packed(scores.words),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
