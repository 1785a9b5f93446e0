"""What is kept of the held-out answers: worked by hand, and of a tiny run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evoprompt.choices import LIKELIHOOD
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.predictions import (
    Prediction,
    changes,
    confusion,
    predictions_of,
)
from evoprompt.jobs.evolve.session import conduct
from evoprompt.records import Example, LabelScores

pytestmark = pytest.mark.usefixtures("no_pages")

CHOICES = ("no", "yes")
EXAMPLES = [
    Example("a", "one", "no", CHOICES),
    Example("b", "two", "yes", CHOICES),
    Example("c", "three", "yes", CHOICES),
]


def scores(values: list[list[float]], ids: str, gold: list[int]) -> LabelScores:
    nats = np.array([values])
    return LabelScores(
        policy_ids=("p",),
        example_ids=tuple(ids),
        gold=np.array(gold),
        log_likelihood=nats,
        num_tokens=np.ones(nats.shape, dtype=np.int64),
        num_bytes=np.ones(nats.shape, dtype=np.int64),
        is_greedy=np.ones(nats.shape, dtype=bool),
    )


def test_every_example_has_an_answer_and_one_without_a_score_is_wrong():
    # b stands before a among the scores, and c does not fit the prompt
    measured = scores([[-1.0, -2.0], [-1.0, -3.0]], "ba", [1, 0])
    a, b, c = predictions_of("test", EXAMPLES, ["p"], {"p": measured}, LIKELIHOOD)
    assert (a.answer, a.is_right, a.log_likelihood) == ("no", True, (-1.0, -3.0))
    assert (b.answer, b.is_right, b.log_likelihood) == ("no", False, (-1.0, -2.0))
    assert (c.answer, c.is_right, c.log_likelihood, c.compared) == (None, False, None, None)
    unknown = list(predictions_of("test", EXAMPLES, ["q"], {}, LIKELIHOOD))
    assert [(p.policy_id, p.is_right) for p in unknown] == [("q", False)] * 3


def test_the_answer_is_that_of_calibrated_scores_beside_what_was_measured():
    measured = scores([[-1.0, -2.0]], "b", [1])
    calibrated = replace(measured, calibrated=np.array([[[-3.0, -2.0]]]))
    [found] = predictions_of("test", EXAMPLES[1:2], ["p"], {"p": calibrated}, LIKELIHOOD)
    assert (found.answer, found.is_right) == ("yes", True)
    assert (found.log_likelihood, found.compared) == ((-1.0, -2.0), (-3.0, -2.0))
    assert Prediction.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_free_text_has_no_answer_among_choices():
    free = Example("a", "one", "no")
    [found] = predictions_of("test", [free], ["p"], {"p": scores([[-1.0]], "a", [0])}, LIKELIHOOD)
    assert (found.answer, found.is_right, found.compared) == (None, True, None)
    assert confusion([found], "p") is None


def row(example: str, policy: str, target: str, answer: str | None) -> Prediction:
    about = ("test", example, "x", target, CHOICES, policy)
    return Prediction(*about, answer, answer == target, None, None)


def test_what_changed_is_mended_first_and_the_confusion_counts_every_example():
    before = [row("a", "f", "no", "no"), row("b", "f", "yes", "no"), row("c", "f", "no", "no")]
    after = [row("a", "l", "no", "yes"), row("b", "l", "yes", "yes"), row("c", "l", "no", None)]
    found = changes([*before, *after], "f", "l")
    assert [(c.after.example_id, c.is_mended) for c in found] == [
        ("b", True),
        ("a", False),
        ("c", False),
    ]
    table = confusion([*before, *after], "l")
    assert table is not None
    assert dict(table.counts) == {("no", "yes"): 1, ("yes", "yes"): 1, ("no", None): 1}
    assert (table.of("no"), table.right("no"), table.of("yes"), table.right("yes")) == (2, 0, 1, 1)


def test_a_run_keeps_what_its_test_counts(tmp_path: Path, config_file: Path):
    folder = conduct(
        load_config(config_file, ["evolution.generations=1"]), tmp_path / "r", show=False
    )
    rows, summary = folder.predictions(), folder.summary()
    assert summary is not None
    for name in ("baseline", "champion"):
        own = [
            r.is_right
            for r in rows
            if (r.split, r.policy_id) == ("test", getattr(summary, name).policy_id)
        ]
        assert len(own) == 20
        assert np.mean(own) == pytest.approx(summary.test.part(name).value)
    assert {r.split for r in rows} == {"validation", "test"}
    (folder.path / "predictions.jsonl").write_text('{"split": "test"}\n')
    with pytest.raises(UserError, match="is damaged"):
        folder.predictions()
