"""What is asked of the model: blind to labels, by likelihood or beyond the prior, and what the
evaluator says.
"""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest

from evoprompt.calibration import LabelCalibration
from evoprompt.measurement.asker import Asker, blind, is_right, prior_of
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores, TokenCount
from evoprompt.store.ledger import Ledger

CHOICES = ("red", "green", "blue")
ASKED = [Example("a", "sky", "blue", CHOICES), Example("b", "grass", "green", CHOICES)]
#: Log-likelihoods by example and choice, and what the same choices have after an input without
#: content.
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
            (policies[0].policy_id,),
            tuple(e.example_id for e in examples),
            gold,
            self.log_likelihood[None],
            ones,
            ones,
            ones > 0,
            prior,
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
    answers = Asker(Measures(LIKELY, PRIOR), None, Ledger(), answered_by="pmi").answers(
        Policy("x"), ASKED, "answers"
    )
    assert [a.text for a in answers] == ["blue", "green"]
    assert answers[0].probability == pytest.approx(3 / 4.75)
    assert answers[1].probability == pytest.approx(4 / 5.625)


def test_beyond_the_batch_a_favoured_label_is_not_every_answer():
    # Geometric means over both: sqrt(.6 .5), sqrt(.1 .4), sqrt(.3 .1). Ratios: 1.095, .5, 1.732, of
    # 3.327; and .913, 2, .577, of 3.490.
    answers = Asker(Measures(LIKELY), None, Ledger(), answered_by="batch").answers(
        Policy("x"), ASKED, "answers"
    )
    assert [a.text for a in answers] == ["blue", "green"]
    assert answers[0].probability == pytest.approx(3**0.5 / (1.2**0.5 + 0.5 + 3**0.5))
    assert answers[1].probabilities == pytest.approx(
        np.array([(5 / 6) ** 0.5, 2, 3**-0.5]) / ((5 / 6) ** 0.5 + 2 + 3**-0.5)
    )


def test_no_label_reaches_what_is_scored():
    measures = Measures(LIKELY)
    Asker(measures, None, Ledger()).answers(Policy("x"), ASKED, "answers")
    assert [e.target for e in measures.examples] == ["red", "red"]
    assert blind(ASKED[0]) == Example("a", "sky", "red", CHOICES)


def test_answers_and_verdicts_are_calibrated_by_label():
    """Red is halved and blue doubled: 0.6 : 0.1 : 0.3 becomes 3 : 1 : 6, and 0.5 : 0.4 : 0.1
    becomes 5 : 8 : 4. Odds of 3 and 1/2 squared, less log 4, are 9/4 and 1/16.
    """
    offsets = {"blue": log(2), "red": -log(2), "green": 0.0}
    known = LabelCalibration("batch", 1.0, offsets, 8)
    asked = [ASKED[0], replace(ASKED[1], choices=("green", "blue", "red"))]
    turned = np.array([LIKELY[0], LIKELY[1][[1, 2, 0]]])
    asker = Asker(Measures(turned), None, Ledger(), calibration=known)
    answers = asker.answers(Policy("x"), asked, "answers")
    assert [a.text for a in answers] == ["blue", "green"]
    assert answers[0].probabilities == pytest.approx((0.3, 0.1, 0.6))
    assert answers[1].probabilities == pytest.approx((8 / 17, 4 / 17, 5 / 17))
    others = [Example("a", "sky", "red", ("red", "pink", "blue"))] * 2
    plain = asker.answers(Policy("x"), others, "answers")
    assert plain[0].probabilities == pytest.approx((0.6, 0.1, 0.3)), "pink has no offset"
    judging = LabelCalibration("labelled", 2.0, {"TRUE": -log(2), "FALSE": log(2)}, 8)
    measures = Measures(np.log([[0.3, 0.1], [0.2, 0.4]]))
    odds = Asker(measures, None, Ledger(), verdict_calibration=judging).verdicts(
        Policy("judge"), ["sky", "grass"], ["red", "green"], "judging"
    )
    assert odds == pytest.approx([log(9 / 4), log(1 / 16)])


def test_a_verdict_is_the_log_odds_of_true():
    measures = Measures(np.log([[0.3, 0.1], [0.2, 0.4]]))
    odds = Asker(measures, None, Ledger()).verdicts(
        Policy("judge"), ["sky", "grass"], ["red", "green"], "judging"
    )
    assert odds == pytest.approx([log(3), log(0.5)])
    assert [e.input for e in measures.examples] == [
        "sky\nProposed answer: red",
        "grass\nProposed answer: green",
    ]


#: log p(TRUE), log p(FALSE) of an evaluator: odds of 2, 1 and 1 for the first input's choices, of
#: 8, 1 and 4 for the second's.
VERDICTS = np.log([[0.4, 0.2], [0.3, 0.3], [0.2, 0.2], [0.8, 0.1], [0.1, 0.1], [0.4, 0.1]])


def test_among_rivals_an_answer_has_the_odds_that_it_alone_is_right():
    # p(only red) : p(only green) : p(only blue) = 2 : 1 : 1, whatever the odds of the rest, so red
    # has odds of 2 to 2; blue has 4 to 9.
    measures = Measures(VERDICTS)
    odds = Asker(measures, None, Ledger()).verdicts_among(
        Policy("judge"), ASKED, ["red", "blue"], "judging"
    )
    assert odds == pytest.approx([log(2 / 2), log(4 / 9)])
    assert [e.input for e in measures.examples][:3] == [
        f"sky\nProposed answer: {c}" for c in CHOICES
    ]
    exactly_one = [
        p * (1 - q) * (1 - r)
        for p, q, r in ((2 / 3, 1 / 2, 1 / 2), (1 / 2, 2 / 3, 1 / 2), (1 / 2, 1 / 2, 2 / 3))
    ]
    assert exactly_one[0] / (exactly_one[1] + exactly_one[2]) == pytest.approx(1)


def test_over_a_batch_a_choice_that_is_always_called_true_is_no_better_for_it():
    # Geometric means of the odds: 4, 1, 2. Beyond them: 1/2, 1, 1/2 and 2, 1, 2.
    odds = Asker(Measures(VERDICTS), None, Ledger(), answered_by="batch").verdicts_among(
        Policy("judge"), ASKED, ["red", "blue"], "judging"
    )
    assert odds == pytest.approx([log(0.5 / 1.5), log(2 / 3)])


def test_a_batch_with_choices_of_their_own_is_freed_of_the_favour_for_the_one_they_share():
    asked = [
        Example("a", "sky", "blue", ("blue", "pass")),
        Example("b", "2 + 2", "4", ("4", "5", "pass")),
    ]
    logs = np.log([[0.2, 0.8, 1.0], [0.1, 0.1, 0.8]])
    logs[0, 2] = -np.inf
    answers = Asker(Measures(logs), None, Ledger(), answered_by="batch").answers(
        Policy("x"), asked, "answers"
    )
    # "pass" has .8 both times: beyond that 1, 1; the others .2, .1, .1 with the geometric mean .002
    # ** (1 / 3): beyond that 1.587, .794, .794.
    assert answers[0].probabilities == pytest.approx((1.5874 / 2.5874, 1 / 2.5874), abs=1e-4)
    assert answers[1].text == "pass"


def test_a_prior_is_what_the_batch_takes_from_the_choices_that_all_inputs_have():
    asked = [
        Example("a", "sky", "blue", ("blue", "pass")),
        Example("b", "2 + 2", "4", ("4", "5", "pass")),
    ]
    logs = np.log([[0.2, 0.8, 1.0], [0.1, 0.1, 0.8]])
    logs[0, 2] = -np.inf
    prior = Asker(Measures(logs), None, Ledger(), answered_by="batch").answer_prior(
        Policy("x"), asked, "measuring"
    )
    assert prior == {"pass": pytest.approx(log(0.8))}, "of what all inputs have alone"
    assert list(prior_of(prior, ("pass", "4"))) == [0, 0], (
        "the 4 is not known, so they are compared as they are"
    )
    assert list(prior_of({"up": -1.0, "down": -2.0}, ("down", "up"))) == [-2, -1]


def test_with_a_prior_one_input_is_judged_as_in_its_batch():
    judge, batch = Policy("judge"), Asker(Measures(VERDICTS), None, Ledger(), answered_by="batch")
    together = batch.verdicts_among(judge, ASKED, ["red", "blue"], "judging")
    prior = batch.verdict_prior(judge, ASKED, "judging")
    assert [prior[c] for c in CHOICES] == pytest.approx(np.log([4, 1, 2]))
    for i, (asked, answer) in enumerate(zip(ASKED, ["red", "blue"], strict=True)):
        alone = Asker(Measures(VERDICTS[3 * i : 3 * i + 3]), None, Ledger())
        assert alone.verdicts_among(judge, [asked], [answer], "judging", prior) == pytest.approx(
            together[i : i + 1]
        )


def test_nothing_asked_is_nothing_answered():
    asker = Asker(Measures(LIKELY), None, Ledger())
    assert asker.answers(Policy("x"), [], "answers") == []
    assert len(asker.verdicts(Policy("x"), [], [], "judging")) == 0
    assert len(asker.verdicts_among(Policy("x"), [], [], "judging")) == 0


def test_an_answer_is_right_whatever_its_case_and_unknown_without_a_label():
    assert is_right(" Blue ", "blue") is True
    assert is_right("red", "blue") is False
    assert is_right("red", "") is None
