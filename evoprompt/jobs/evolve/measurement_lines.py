"""What was measured of a policy, as a line of `measurements.jsonl`, and back."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evoprompt.records import LabelScores


def measurement_line(scores: LabelScores) -> dict[str, object]:
    """Return one policy's scores as `measurements.jsonl` has them; absent candidates have null for
    -inf.
    """

    def plain(values: np.ndarray) -> list[list[float | None]]:
        return [[float(v) if np.isfinite(v) else None for v in row] for row in values[0]]

    [policy_id] = scores.policy_ids
    return {
        "policy_id": policy_id,
        "example_ids": list(scores.example_ids),
        "gold": scores.gold.tolist(),
        "log_likelihood": plain(scores.log_likelihood),
        "num_tokens": scores.num_tokens[0].tolist(),
        "num_bytes": scores.num_bytes[0].tolist(),
        "is_greedy": scores.is_greedy[0].tolist(),
        "prior": plain(scores.prior) if scores.prior is not None else None,
        "prompt_cross_entropy": scores.prompt_cross_entropy.tolist()
        if scores.prompt_cross_entropy is not None
        else None,
        "verdict": scores.verdict[0].tolist() if scores.verdict is not None else None,
        **({"features": _packed(scores.features)} if scores.features is not None else {}),
        **({"moves": _moves_list(scores.moves[0])} if scores.moves is not None else {}),
        **({"said": _moves_list(scores.said[0])} if scores.said is not None else {}),
        **_written_dict(scores),
    }


def _moves_list(moves: np.ndarray) -> list[list[float]]:
    """Return the log-likelihood of each move of each path."""
    return [row[~np.isnan(row)].tolist() for row in moves]


def _moves_array(rows: list[list[float]]) -> np.ndarray:
    """Return the moves of `_moves_list`, shape (1, example, move)."""
    moves = np.full((1, len(rows), max(map(len, rows))), np.nan)
    for place, row in enumerate(rows):
        moves[0, place, : len(row)] = row
    return moves


def _written_dict(scores: LabelScores) -> dict[str, object]:
    """Return one policy's written answers with their grades, where there are any."""
    if scores.written is None or scores.grade is None or scores.feedback is None:
        return {}
    values = {"written": scores.written[0].tolist(), "grade": scores.grade[0].tolist()}
    feedback = scores.feedback[0].tolist()
    return {**values, **({"feedback": feedback} if any(feedback) else {})}


def measurement_of(row: Mapping[str, Any]) -> LabelScores:
    """Return the scores of a line of `measurements.jsonl`."""

    def array(values: list[list[float | None]]) -> np.ndarray:
        return np.array([[[-np.inf if v is None else v for v in example] for example in values]])

    return LabelScores(
        policy_ids=(row["policy_id"],),
        example_ids=tuple(row["example_ids"]),
        gold=np.array(row["gold"]),
        log_likelihood=array(row["log_likelihood"]),
        num_tokens=np.array([row["num_tokens"]]),
        num_bytes=np.array([row["num_bytes"]]),
        is_greedy=np.array([row["is_greedy"]]),
        prior=array(row["prior"]) if row["prior"] is not None else None,
        prompt_cross_entropy=np.array(row["prompt_cross_entropy"])
        if row.get("prompt_cross_entropy") is not None
        else None,
        verdict=np.array([row["verdict"]]) if row.get("verdict") is not None else None,
        features=_unpacked(row["features"], len(row["gold"])) if "features" in row else None,
        moves=_moves_array(row["moves"]) if "moves" in row else None,
        said=_moves_array(row["said"]) if "said" in row else None,
        written=_texts(row["written"]) if "written" in row else None,
        grade=np.array([row["grade"]], dtype=np.float64) if "written" in row else None,
        feedback=_texts(row.get("feedback") or [""] * len(row["gold"]))
        if "written" in row
        else None,
    )


def _texts(texts: Sequence[str]) -> np.ndarray:
    return np.array([texts], dtype=object)


def _packed(features: np.ndarray) -> str:
    """Return one policy's features as text: little-endian numbers of 16 bits in base 64, example
    after example.
    """
    return b64encode(features.astype("<f2").tobytes()).decode()


def _unpacked(text: str, num_examples: int) -> np.ndarray:
    """Return the features of `_packed`, shape (1, example, word)."""
    values = np.frombuffer(b64decode(text, validate=True), "<f2").astype(np.float64)
    return values.reshape(1, num_examples, -1)
