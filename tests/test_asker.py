"""What is asked of the model: blind to labels, by likelihood or beyond the prior, and what the evaluator says."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores, TokenCount
from evoprompt.runtime.asker import Asker, blind, is_right
from evoprompt.runtime.ledger import Ledger

CHOICES = ("red", "green", "blue")
ASKED = [Example("a", "sky", "blue", CHOICES), Example("b", "grass", "green", CHOICES)]
#: Log-likelihoods by example and choice, and what the same choices have after an input without content.
LIKELY = np.log([[0.6, 0.1, 0.3], [0.5, 0.4, 0.1]])
PRIOR = np.log([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]])


class Measures:
    """A measurer that has these scores, and keeps what it was asked."""

    def __init__(self, log_likelihood: np.ndarray, prior: np.ndarray | None = None) -> None:
        self.log_likelihood, self.prior = log_likelihood, prior
        self.examples: list[Example] = []

    def measure(self, policies, examples, on_policy, timed):
        self.examples = list(examples)
        count = TokenCount(body_tokens=7)
        on_policy(count)
        ones = np.ones((1, *self.log_likelihood.shape), dtype=np.int64)
        gold = np.array([e.gold for e in examples])
        prior = None if self.prior is None else self.prior[None]
        scores = LabelScores(
            (policies[0].policy_id,), tuple(e.example_id for e in examples), gold, self.log_likelihood[None], ones, ones, ones > 0, prior
        )
        return {policies[0].policy_id: (scores, count)}


def test_the_likeliest_choice_is_the_answer_with_its_probability_among_them():
    ledger = Ledger()
    answers = Asker(Measures(LIKELY), None, ledger).answers(Policy("x"), ASKED, "answers")
    assert [a.text for a in answers] == ["red", "red"]
    assert answers[0].probability == pytest.approx(0.6)
    assert answers[1].probabilities == pytest.approx((0.5, 0.4, 0.1))
    assert ledger.tokens["answers"].body_tokens == 7


def test_beyond_the_prior_a_favoured_label_is_not_every_answer():
    # Ratios to the prior: .6/.8, .1/.1, .3/.1 = .75, 1, 3, of 4.75; and .625, 4, 1, of 5.625.
    answers = Asker(Measures(LIKELY, PRIOR), None, Ledger(), kind="pmi").answers(Policy("x"), ASKED, "answers")
    assert [a.text for a in answers] == ["blue", "green"]
    assert answers[0].probability == pytest.approx(3 / 4.75)
    assert answers[1].probability == pytest.approx(4 / 5.625)


def test_no_label_reaches_what_is_scored():
    measures = Measures(LIKELY)
    Asker(measures, None, Ledger()).answers(Policy("x"), ASKED, "answers")
    assert [e.target for e in measures.examples] == ["red", "red"]
    assert blind(ASKED[0]) == Example("a", "sky", "red", CHOICES)


def test_a_verdict_is_the_log_odds_of_true():
    measures = Measures(np.log([[0.3, 0.1], [0.2, 0.4]]))
    odds = Asker(measures, None, Ledger()).verdicts(Policy("judge"), ["sky", "grass"], ["red", "green"], "judging")
    assert odds == pytest.approx([log(3), log(0.5)])
    assert [e.input for e in measures.examples] == ["sky\nProposed answer: red", "grass\nProposed answer: green"]


def test_nothing_asked_is_nothing_answered():
    asker = Asker(Measures(LIKELY), None, Ledger())
    assert asker.answers(Policy("x"), [], "answers") == []
    assert len(asker.verdicts(Policy("x"), [], [], "judging")) == 0


def test_an_answer_is_right_whatever_its_case_and_unknown_without_a_label():
    assert is_right(" Blue ", "blue") is True
    assert is_right("red", "blue") is False
    assert is_right("red", "") is None
