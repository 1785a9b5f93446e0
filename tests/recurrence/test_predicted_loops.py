"""Whole loops with a simulated model, by the functions that a loop runs on, against their
predictions: the model imitates its context perfectly, and what its evaluator makes of right and of
wrong answers stays the same, or does not.

Fixed seeds; each rate has a bound and a power twin.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from evoprompt.config.reader import check_section
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.prediction import against_prediction
from evoprompt.jobs.boost.record import Measured, Outcomes, RoundLine, round_line
from evoprompt.jobs.boost.state import (
    Judged,
    LoopState,
    abstain,
    accept,
    choose,
    fill_buffer,
)
from evoprompt.recurrence.verdict import Assumption

pytestmark = pytest.mark.statistical

E0, APART, TESTED, BATCH, PAIRS, ROUNDS = 0.35, 1.4, 120, 40, 8, 2
#: P(answer c | right), P(answer c | wrong): wrong answers are mostly a.
SAYS_C = (0.5, 0.2)


@dataclass
class Model:
    """Answers and judges: log-odds are normal with sd 1, `apart` higher for right answers."""

    rng: np.random.Generator
    apart: float = APART
    wrong: dict[tuple[int, str], bool] = field(default_factory=dict)

    def judged(self, number: int, num: int, error: float, config: BoostConfig) -> list[Judged]:
        rows = []
        for i in range(num):
            wrong = bool(self.rng.random() < error)
            says_c = self.rng.random() < SAYS_C[wrong]
            log_odds = self.rng.normal(-0.5 if wrong else self.apart - 0.5)
            probability = self.rng.beta(3 if wrong else 6, 2)
            self.wrong[number, f"{number}-{i}"] = wrong
            words = " ".join(self.rng.choice(list("abcdefghij"), 4))
            rows.append(Judged(number, f"{number}-{i}", words, "ac"[says_c], probability, log_odds))
        loop = config.loop
        given = abstain(rows, loop.abstain_below)
        return list(accept(given, threshold=loop.threshold, share=loop.share))

    def right(self, judged) -> tuple[bool, ...]:
        return tuple(not self.wrong[j.round, j.question_id] for j in judged)


def line_of(config, before, state, model, judged, tested, earlier) -> RoundLine:
    measured = Measured(
        Outcomes(tested, np.ones(len(tested))),
        tuple(judged),
        model.right(judged),
        model.right(state.buffer),
        model.right(state.context),
        earlier=tuple(earlier),
    )
    line = round_line(config, state, measured, config.loop.threshold)
    return against_prediction(config, before, line, measured)


def one_loop(config: BoostConfig, seed: int, later_apart: float) -> list[RoundLine]:
    """The lines of a loop whose evaluator has another distance after the calibration."""
    model, loop = Model(np.random.default_rng(seed)), config.loop
    first = model.judged(0, TESTED, E0, config)
    earlier = list(zip(first, model.right(first), strict=True))
    tested = np.array(model.right(first))
    lines = [line_of(config, [], LoopState(seed), model, first, tested, [])]
    buffer, error, model.apart = (), E0, later_apart
    for number in range(1, ROUNDS + 1):
        judged = model.judged(number, BATCH, error, config)
        buffer = fill_buffer(buffer, judged, loop.buffer, loop.least_buffer)
        context = choose(buffer, loop.choose, PAIRS, 10**6, lambda _: 1, model.rng)
        error = 1 - float(np.mean(model.right(context)))
        tested = model.rng.random(TESTED) >= error
        state = LoopState(seed, number, buffer, context)
        lines.append(line_of(config, lines, state, model, judged, tested, earlier))
        earlier += zip(judged, model.right(judged), strict=True)
    return lines


def loops(settings: str, num: int, *, later_apart: float = APART) -> list[RoundLine]:
    """The predicted rounds of many loops."""
    loop = dict(setting.split("=") for setting in settings.split())
    found = []
    for seed in range(num):
        values = {"task": {"name": "inbox"}, "loop": loop, "seed": seed}
        found += one_loop(check_section(BoostConfig, values, "test"), seed, later_apart)[1:]
    return found


WAYS = (
    "threshold=0 choose=newest",
    "share=0.5 choose=newest",
    "share=0.5 choose=confident",
    "share=0.5 choose=balanced",
    "share=0.3 choose=diverse",
    "share=0.5 choose=balanced buffer=accumulate",
    "share=0.5 choose=newest abstain_below=0.7",
    "threshold=0 choose=confident abstain_below=0.7",
)


@pytest.mark.parametrize("settings", WAYS)
def test_a_loop_that_does_as_assumed_is_predicted_and_its_evaluator_not_blamed(settings: str):
    """24 loops of two rounds. By exact tests at .05 at most 2.4 rounds of 48 are expected to be
    outside, and to blame the evaluator; 8 have a probability of 3e-3. The mean error of a round has
    an sd near .025 over 24 loops of 8 pairs.
    """
    rounds = loops(settings, 24)
    assert sum(not line.verdict.inside for line in rounds) < 8
    assert sum(Assumption.EVALUATOR in line.verdict.failed for line in rounds) < 8
    for number in range(1, ROUNDS + 1):
        lines = [line for line in rounds if line.round == number]
        predicted, measured = (
            float(np.mean([getattr(line, name) for line in lines]))
            for name in ("predicted", "error_rate")
        )
        assert predicted == pytest.approx(measured, abs=0.06)


@pytest.mark.parametrize("settings", WAYS[:4])
def test_power_twin_an_evaluator_that_goes_blind_is_found_in_most_rounds(settings: str):
    rounds = loops(settings, 16, later_apart=0.0)
    assert sum(Assumption.EVALUATOR in line.verdict.failed for line in rounds) > 16


def test_power_twin_a_loop_taken_for_one_of_another_rule_is_not_predicted():
    """The error of a context of the surest pairs, beside the prediction for the newest ones."""
    surest, newest = (loops(f"share=0.5 choose={rule}", 24) for rule in ("confident", "newest"))
    measured = float(np.mean([line.error_rate for line in surest if line.round == 1]))
    predicted = float(np.mean([line.predicted for line in newest if line.round == 1]))
    assert predicted - measured > 0.05
