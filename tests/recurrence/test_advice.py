"""The advice before the first round: what it says of loops whose end is known."""

from __future__ import annotations

import numpy as np
import pytest

from evoprompt.recurrence.advice import Advice, Answer, advise
from evoprompt.recurrence.answers import JudgedAnswers
from evoprompt.recurrence.context import Rules
from evoprompt.recurrence.evaluator import EvaluatorCounts
from evoprompt.recurrence.forecast import Calibration, Loop
from evoprompt.recurrence.imitation import ImitationFit, fixed_point
from evoprompt.seeding import Stream, generator

RNG = (0, Stream.PREDICTION, 0)


def told(wrong: int, floor: float, ceiling: float, *counts: int, **more) -> Advice:
    """The advice to a loop of many pairs, after 200 answers without context."""
    judged = JudgedAnswers.of_counts(EvaluatorCounts(*counts))
    fit = ImitationFit(floor, ceiling, 0.01, 0.01, 8, 0.01)
    loop = Loop.alike(6, 400, 200, 2000, rules=Rules(0.0), imitation=fit)
    return advise(Calibration(wrong, 200, judged), loop, generator(*RNG), num_draws=300, **more)


def test_the_change_is_that_to_the_fixed_point():
    # s = .8, 1 - c = .2: Lambda = 4; the fixed point of floor .1 and ceiling .6 is below .4.
    advice = told(80, 0.1, 0.6, 80, 100, 20, 100)
    fit = ImitationFit(0.1, 0.6, 0.01, 0.01, 8, 0.01)
    assert advice.change == pytest.approx(fixed_point(fit.imitation, 4.0) - 0.4, abs=0.02)
    assert advice.low < advice.change < advice.high < 0
    assert advice.at_best == pytest.approx(0.1 - 0.4)
    assert (advice.answer, advice.pays) == (Answer.YES, True)


def test_no_judge_helps_where_the_floor_is_above_the_error():
    # a perfect judge, and a model that right pairs make worse
    advice = told(55, 0.46, 0.54, 100, 100, 0, 100)
    assert advice.at_best == pytest.approx(0.46 - 0.275)
    assert (advice.answer, advice.pays) == (Answer.NO, False)
    assert advice.chance < 0.01


def test_a_judge_worse_than_chance_is_advised_against_where_a_good_one_is_not():
    good, bad = told(80, 0.2, 0.8, 80, 100, 20, 100), told(80, 0.2, 0.8, 20, 100, 80, 100)
    assert (good.pays, bad.pays) == (True, False)
    assert good.at_best == bad.at_best < 0


def test_what_is_not_sure_cannot_be_told():
    # a floor of .39 +- .01 against .4 +- .035: lower in 2 of 3 draws or so, and nothing above it
    advice = told(80, 0.37, 0.38, 50, 100, 50, 100)
    assert 0.5 < advice.chance < 0.9
    assert (advice.answer, advice.pays) == (Answer.UNKNOWN, False)


def test_an_interval_covers_more_where_alpha_is_less():
    wide, narrow = (told(80, 0.1, 0.6, 8, 10, 2, 10, alpha=a) for a in (0.01, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_it_takes_a_measured_imitation():
    judged = JudgedAnswers.of_counts(EvaluatorCounts(5, 10, 5, 10))
    loop = Loop.alike(1, 4, 20, 8)
    with pytest.raises(ValueError, match="was not measured"):
        advise(Calibration(10, 20, judged), loop, np.random.default_rng(0))


def test_it_is_read_back_as_it_was_written():
    advice = Advice(0.95, -0.1, -0.2, -0.01, -0.15)
    assert advice.to_dict()["answer"] == "yes"
    assert Advice.from_dict(advice.to_dict()) == advice
