"""The forecast of a loop and the verdict on a round: simulated loops answer by answer against their
forecasts.

Fixed seeds; every rate is compared with stated bounds and has a power twin, a wrong forecast that
the same check must find out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from reference.self_evaluation_loop import simulate_loop

from evoprompt.recurrence.evaluator import EvaluatorCounts
from evoprompt.recurrence.forecast import Calibration, Loop, predict
from evoprompt.recurrence.imitation import Imitation, fit_imitation, trajectory
from evoprompt.recurrence.verdict import Assumption, RoundCounts, failed_assumptions, verdict

CALIBRATION = Calibration(90, 200, EvaluatorCounts(96, 120, 20, 80))
EXACT = Calibration(
    450_000_000,
    1_000_000_000,
    EvaluatorCounts(800_000_000, 1_000_000_000, 250_000_000, 1_000_000_000),
)


# The forecast


@pytest.mark.parametrize("buffer", ["replace", "accumulate"])
@pytest.mark.parametrize("imitation", [1.0, 0.7, Imitation(0.1, 0.6)])
def test_a_known_evaluator_and_large_counts_leave_the_recurrence_alone(buffer, imitation):
    loop = Loop(4, 1_000_000, 1_000_000, buffer, imitation)
    forecast = predict(EXACT, loop, np.random.default_rng(1), num_draws=200)
    line = (
        imitation
        if isinstance(imitation, Imitation)
        else Imitation((1 - imitation) * 0.45, (1 - imitation) * 0.45 + imitation)
    )
    expected = trajectory(0.45, 0.8, 0.75, 4, imitation=line, buffer=buffer)[1:]
    for values in (forecast.mean, forecast.median, forecast.low, forecast.high):
        assert values == pytest.approx(expected, abs=0.004)


def test_parts_of_a_forecast_belong_together():
    forecast = predict(CALIBRATION, Loop(5, 40, 100), np.random.default_rng(2))
    assert forecast.mean.shape == forecast.low.shape == (5,)
    assert (forecast.low <= forecast.median).all()
    assert (forecast.median <= forecast.high).all()
    assert forecast.low[0] < forecast.median[0] < forecast.high[0]
    # values that can be measured
    np.testing.assert_allclose(forecast.low * 100, np.rint(forecast.low * 100))
    wider = predict(CALIBRATION, Loop(5, 40, 100), np.random.default_rng(2), alpha=0.01)
    assert (wider.low <= forecast.low).all()
    assert wider.greatest_z > forecast.greatest_z > 1.959964, (
        "five rounds together need more than one round alone"
    )


def test_the_same_generator_gives_the_same_forecast():
    one, two = (
        predict(CALIBRATION, Loop(3, 40, 100), np.random.default_rng(3), num_draws=300)
        for _ in range(2)
    )
    assert one.mean.tolist() == two.mean.tolist()


def test_less_calibration_means_wider_intervals_and_none_is_still_a_forecast():
    small, none = (
        Calibration(9, 20, EvaluatorCounts(10, 12, 2, 8)),
        Calibration(9, 20, EvaluatorCounts(0, 0, 0, 0)),
    )
    widths = []
    for calibration in (CALIBRATION, small, none):
        forecast = predict(calibration, Loop(1, 40, 100), np.random.default_rng(4))
        widths.append(float(forecast.high[0] - forecast.low[0]))
    assert widths == sorted(widths)
    assert widths[2] > 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Calibration(3, 2, EvaluatorCounts(0, 0, 0, 0)), "0 <= wrong <= answers"),
        (lambda: Loop(0, 5, 5), "at least one round"),
        (lambda: Loop(1, 5, 5, "append"), "valid are: replace, accumulate"),
        (
            lambda: predict(CALIBRATION, Loop(1, 5, 5), np.random.default_rng(0), alpha=1.0),
            "alpha in",
        ),
        (
            lambda: predict(CALIBRATION, Loop(1, 5, 5, imitation=1.5), np.random.default_rng(0)),
            "share has the value 1.5",
        ),
        (
            lambda: RoundCounts(0, 1, 2, 0, 0, EvaluatorCounts(0, 0, 0, 0), 0, True),
            "a round from 1",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Coverage

SIZE, ANSWERS, ROUNDS, SHARE = 40, 200, 4, 0.7


@cache
def worlds(num: int, accumulate: bool, seed: int, share: float, least_specificity: float):
    """Loops of unlike rates that run answer by answer: their calibrations, and the measured error
    rates, shape (loop, round).
    """
    rng = np.random.default_rng(seed)
    e, s, c = (
        rng.uniform(0.2, 0.6, num),
        rng.uniform(0.6, 0.9, num),
        rng.uniform(least_specificity, least_specificity + 0.3, num),
    )
    shares = simulate_loop(rng, ROUNDS, SIZE, e, s, c, share=share, accumulate=accumulate)
    measured = rng.binomial(ANSWERS, (1 - share) * e[:, None] + share * shares) / ANSWERS
    counts = np.stack(
        [rng.binomial(200, e), rng.binomial(120, s), rng.binomial(80, 1 - c)], axis=1
    ).tolist()
    return [
        Calibration(wrong, 200, EvaluatorCounts(right, 120, passed, 80))
        for wrong, right, passed in counts
    ], measured


def coverage(
    num: int,
    loop: Loop,
    *,
    accumulate: bool,
    seed: int,
    share: float = SHARE,
    least_specificity: float = 0.55,
    mend=lambda c: c,
):
    """The share of loops whose measured error rate is inside, by round, and whose greatest |z| is
    below the forecast's.
    """
    calibrations, measured = worlds(num, accumulate, seed, share, least_specificity)
    rng, inside, together = np.random.default_rng(seed + 1), [], []
    for calibration, values in zip(calibrations, measured, strict=True):
        f = predict(mend(calibration), loop, rng, num_draws=400)
        inside.append((f.low <= values) & (values <= f.high))
        together.append(np.abs((values - f.mean) / f.standard_deviation).max() <= f.greatest_z)
    return np.mean(inside, axis=0), float(np.mean(together))


@pytest.mark.parametrize("buffer", ["replace", "accumulate"])
def test_intervals_of_simulated_loops_cover_at_their_rate(buffer):
    """Nominal .95; 1,600 loops have sd .0055, so that .93 to .97 is 3.6 of them on each side: 3e-4
    for a fresh seed and a round.
    """
    loop = Loop(ROUNDS, SIZE, ANSWERS, buffer, SHARE)
    by_round, together = coverage(1_600, loop, accumulate=buffer == "accumulate", seed=10)
    assert (by_round > 0.93).all()
    assert (by_round < 0.97).all()
    assert 0.93 < together < 0.97


def exchanged(calibration: Calibration) -> Calibration:
    """Take false negatives where the false positives belong."""
    e = calibration.evaluator
    return replace(
        calibration,
        evaluator=EvaluatorCounts(
            e.rejected_wrong, e.num_wrong, e.num_right - e.accepted_right, e.num_right
        ),
    )


def test_power_twins_wrong_forecasts_do_not_cover():
    right = Loop(ROUNDS, SIZE, ANSWERS, "replace", SHARE)
    for wrong in (
        replace(right, buffer="accumulate"),
        replace(right, imitation=1.0),
        replace(right, imitation=0.4),
    ):
        by_round, together = coverage(400, wrong, accumulate=False, seed=20)
        assert by_round[-1] < 0.93
        assert together < 0.93
    copied = replace(right, imitation=1.0)
    assert coverage(400, copied, accumulate=True, seed=30, share=1.0)[0][-1] < 0.93, (
        "accumulate taken for replace"
    )
    lenient, swapped = (
        coverage(400, copied, accumulate=False, seed=40, share=1.0, least_specificity=0.35, mend=m)[
            1
        ]
        for m in (replace, exchanged)
    )
    assert lenient > 0.93
    assert swapped < 0.8, "false negatives taken for false positives"


def test_with_an_estimated_line_intervals_cover_and_taking_it_for_known_does_not():
    """Nominal .95 or, for counts, more: 600 loops have sd .009. The line is estimated on two
    contexts of each kind, 40 answers each.
    """
    rng, truth, inside = (
        np.random.default_rng(50),
        Imitation(0.25, 0.7),
        {"drawn": [], "known": [], "perfect": []},
    )
    for _ in range(600):
        calibration = Calibration(
            int(rng.binomial(200, 0.4)),
            200,
            EvaluatorCounts(int(rng.binomial(120, 0.7)), 120, int(rng.binomial(80, 0.4)), 80),
        )
        rates = [rng.binomial(40, p) / 40 for p in (0.25, 0.25, 0.7, 0.7)]
        fit = fit_imitation([0, 0, 1, 1], rates, [40] * 4)
        impurity = rng.binomial(40, 0.4 * 0.4 / (0.4 * 0.4 + 0.6 * 0.7)) / 40
        measured = rng.binomial(200, truth.error_rate(impurity)) / 200
        for name, imitation in (("drawn", fit), ("known", fit.imitation), ("perfect", 1.0)):
            f = predict(calibration, Loop(1, 40, 200, "replace", imitation), rng, num_draws=400)
            inside[name].append(f.low[0] <= measured <= f.high[0])
    rates = {name: float(np.mean(values)) for name, values in inside.items()}
    assert 0.92 < rates["drawn"] < 0.98
    assert rates["known"] < 0.9, "power twin"
    assert rates["perfect"] < 0.91, "power twin"


# The verdict

PERFECT_LOOP = Loop(2, 40, 200)
FORECAST = predict(CALIBRATION, PERFECT_LOOP, np.random.default_rng(5))
#: The first round as predicted: h = .45 * .25 / (.45 * .25 + .55 * .8) = .2036, 8 wrong of 40 and
#: 41 of 200; the evaluator is the same.
AS_PREDICTED = RoundCounts(1, 41, 200, 8, 40, EvaluatorCounts(80, 100, 25, 100), 40, True)


def judge(**changes):
    return verdict(replace(AS_PREDICTED, **changes), CALIBRATION, PERFECT_LOOP, FORECAST)


def test_a_round_as_predicted_is_inside():
    outcome = judge()
    assert (outcome.inside, outcome.failed) == (True, ())
    assert outcome.surprise_z == pytest.approx(
        (41 / 200 - FORECAST.mean[0]) / FORECAST.standard_deviation[0]
    )


def test_what_failed_is_named_from_the_counts():
    # 60 of 100 wrong answers accepted, 25 of 80 expected: and the buffer is as bad, and the answers
    # too
    assert judge(
        num_wrong=100, context_wrong=20, evaluator=EvaluatorCounts(80, 100, 60, 100)
    ).failed == ("evaluator changed",)
    # the buffer is as predicted, the answers are not
    assert judge(num_wrong=90).failed == ("imitation partial",)
    assert judge(num_wrong=90, num_accepted=0, context_changed=False).failed == (
        "imitation partial",
        "buffer saturated",
    )
    assert judge(num_wrong=90, context_wrong=18, context_changed=False).failed == (
        "buffer saturated",
    )
    assert judge(
        num_wrong=100, evaluator=EvaluatorCounts(30, 100, 25, 100), num_accepted=0
    ).failed == ("evaluator changed", "buffer saturated")
    # the answers are as bad as the buffer, which had bad luck
    outcome = judge(num_wrong=90, context_wrong=18)
    assert (outcome.inside, outcome.failed) == (False, ())
    assert outcome.surprise_z > 2


def test_a_round_that_is_inside_accuses_nothing():
    outcome = judge(context_wrong=30, num_accepted=0)
    assert (outcome.inside, outcome.failed) == (True, ())
    assert failed_assumptions(
        replace(AS_PREDICTED, context_wrong=30, num_accepted=0), CALIBRATION, PERFECT_LOOP
    ) == (
        Assumption.IMITATION,
        Assumption.BUFFER,
    )


def test_imitation_is_compared_with_what_the_loop_assumes():
    """With floor .3 and ceiling .6 a buffer of impurity .2 leads to .36: 72 of 200 is no evidence,
    41 is.
    """
    loop = replace(PERFECT_LOOP, imitation=Imitation(0.3, 0.6))
    assert failed_assumptions(replace(AS_PREDICTED, num_wrong=72), CALIBRATION, loop) == ()
    assert failed_assumptions(AS_PREDICTED, CALIBRATION, loop) == ("imitation partial",)
    # share .5 of e0 = 90.5 / 201: .2251 + .5 * .2 = .325, 65 of 200
    assert (
        failed_assumptions(
            replace(AS_PREDICTED, num_wrong=65), CALIBRATION, replace(PERFECT_LOOP, imitation=0.5)
        )
        == ()
    )


def test_without_a_context_imitation_is_not_tested():
    empty = replace(
        AS_PREDICTED,
        num_wrong=90,
        context_wrong=0,
        context_size=0,
        num_accepted=0,
        context_changed=False,
    )
    assert verdict(empty, CALIBRATION, PERFECT_LOOP, FORECAST).failed == ("buffer saturated",)


def test_a_forecast_without_spread_has_no_surprise():
    flat = replace(FORECAST, standard_deviation=np.zeros(2))
    assert verdict(AS_PREDICTED, CALIBRATION, PERFECT_LOOP, flat).surprise_z is None


@pytest.mark.parametrize("changes", [{"round": 3}, {"num_answers": 100}])
def test_a_round_that_was_not_forecast_is_refused(changes):
    with pytest.raises(ValueError, match="the forecast is of 2 rounds with 200 each"):
        judge(**changes)


def accusations(
    num: int, *, specificity_now: float = 0.75, share: float = 1.0, seed: int
) -> dict[str, int]:
    """How often each assumption is refuted in first rounds of loops with e_0 = .45, s = .8, c = .75
    at calibration.
    """
    rng = np.random.default_rng(seed)
    context = np.rint(
        simulate_loop(rng, 1, 40, np.full(num, 0.45), 0.8, specificity_now)[:, 0] * 40
    ).astype(int)
    found = dict.fromkeys(Assumption, 0)
    for wrong_pairs in context.tolist():
        calibration = Calibration(
            int(rng.binomial(200, 0.45)),
            200,
            EvaluatorCounts(int(rng.binomial(120, 0.8)), 120, int(rng.binomial(80, 0.25)), 80),
        )
        now = EvaluatorCounts(
            int(rng.binomial(90, 0.8)), 90, int(rng.binomial(70, 1 - specificity_now)), 70
        )
        wrong = int(rng.binomial(200, (1 - share) * 0.45 + share * wrong_pairs / 40))
        for name in failed_assumptions(
            RoundCounts(1, wrong, 200, wrong_pairs, 40, now, 40, True), calibration, PERFECT_LOOP
        ):
            found[name] += 1
    return found


def test_false_accusations_are_no_more_than_alpha():
    """Exact tests at .05: of 1,500 rounds at most 75 expected by each, sd 8.4, and 5 sd are allowed
    (false-alarm probability 3e-7).
    """
    found = accusations(1_500, seed=40)
    assert found[Assumption.EVALUATOR] <= 75 + 42
    assert found[Assumption.IMITATION] <= 75 + 42
    assert found[Assumption.BUFFER] == 0


def test_power_a_failing_assumption_is_the_one_that_is_accused():
    changed = accusations(300, specificity_now=0.4, seed=41)
    assert changed[Assumption.EVALUATOR] > 240
    assert changed[Assumption.IMITATION] < 60
    partial = accusations(300, share=0.3, seed=42)
    assert partial[Assumption.IMITATION] > 240
    assert partial[Assumption.EVALUATOR] < 45
