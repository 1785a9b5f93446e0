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

from evoprompt.recurrence.answers import JudgedAnswers
from evoprompt.recurrence.context import Rules
from evoprompt.recurrence.evaluator import EvaluatorCounts
from evoprompt.recurrence.forecast import Calibration, Loop, predict
from evoprompt.recurrence.imitation import Imitation, ImitationFit, fit_imitation, trajectory
from evoprompt.recurrence.verdict import Assumption, RoundCounts, failed_assumptions, verdict


def counted(num_wrong: int, num_answers: int, *counts: int) -> Calibration:
    """A calibration of which counts alone are known; log-odds above 0 are accepted."""
    judged = JudgedAnswers.of_counts(EvaluatorCounts(*counts))
    return Calibration(num_wrong, num_answers, judged)


def above_0(
    num_rounds: int, size: int, answers: int, *, buffer: str = "replace", imitation=1.0
) -> Loop:
    """A loop that accepts log-odds above 0 and shows the newest pairs, or all where it keeps all;
    of five times as many answers enough are accepted.
    """
    shown, rules = 10**6 if buffer == "accumulate" else size, Rules(0.0, buffer=buffer)
    loop = Loop.alike(num_rounds, shown, answers, 5 * size, rules=rules)
    return replace(loop, imitation=imitation)


CALIBRATION = counted(90, 200, 96, 120, 20, 80)
EXACT = counted(450_000_000, 1_000_000_000, 800_000_000, 1_000_000_000, 250_000_000, 1_000_000_000)


# The forecast


@pytest.mark.parametrize("buffer", ["replace", "accumulate"])
@pytest.mark.parametrize("imitation", [1.0, 0.7, Imitation(0.1, 0.6)])
def test_a_known_evaluator_and_large_counts_leave_the_recurrence_alone(buffer, imitation):
    loop = above_0(4, 4_000, 1_000_000, buffer=buffer, imitation=imitation)
    forecast = predict(EXACT, loop, np.random.default_rng(1), num_draws=30)
    line = (
        imitation
        if isinstance(imitation, Imitation)
        else Imitation((1 - imitation) * 0.45, (1 - imitation) * 0.45 + imitation)
    )
    expected = trajectory(0.45, 0.8, 0.75, 4, imitation=line, buffer=buffer)[1:]
    # 4,000 pairs have an sd of at most .008 a round, which rounds add up; 30 loops a fifth of it
    for values, tolerance in (
        *((v, 0.012) for v in (forecast.mean, forecast.median)),
        *((v, 0.035) for v in (forecast.low, forecast.high)),
    ):
        assert values == pytest.approx(expected, abs=tolerance)


def test_parts_of_a_forecast_belong_together():
    forecast = predict(CALIBRATION, above_0(5, 40, 100), np.random.default_rng(2))
    assert forecast.mean.shape == forecast.low.shape == (5,)
    assert (forecast.low <= forecast.median).all()
    assert (forecast.median <= forecast.high).all()
    assert forecast.low[0] < forecast.median[0] < forecast.high[0]
    # values that can be measured
    np.testing.assert_allclose(forecast.low * 100, np.rint(forecast.low * 100))
    wider = predict(CALIBRATION, above_0(5, 40, 100), np.random.default_rng(2), alpha=0.01)
    assert (wider.low <= forecast.low).all()
    assert wider.greatest_z > forecast.greatest_z > 1.959964, (
        "five rounds together need more than one round alone"
    )


def test_the_same_generator_gives_the_same_forecast():
    one, two = (
        predict(CALIBRATION, above_0(3, 40, 100), np.random.default_rng(3), num_draws=300)
        for _ in range(2)
    )
    assert one.mean.tolist() == two.mean.tolist()


def test_less_calibration_means_wider_intervals_and_none_is_still_a_forecast():
    small, none = (
        counted(9, 20, 10, 12, 2, 8),
        counted(9, 20, 0, 0, 0, 0),
    )
    widths = []
    for calibration in (CALIBRATION, small, none):
        forecast = predict(calibration, above_0(1, 40, 100), np.random.default_rng(4))
        widths.append(float(forecast.high[0] - forecast.low[0]))
    assert widths == sorted(widths)
    assert widths[2] > 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: counted(3, 2, 0, 0, 0, 0), "0 <= wrong <= answers"),
        (lambda: Loop.alike(0, 5, 5, 5), "at least one round"),
        (lambda: Loop((1, 1), 5, ((1, 2),)), "expected at least one round"),
        (lambda: above_0(1, 5, 5, buffer="append"), "valid are: replace, accumulate"),
        (
            lambda: predict(CALIBRATION, above_0(1, 5, 5), np.random.default_rng(0), alpha=1.0),
            "alpha in",
        ),
        (
            lambda: predict(CALIBRATION, above_0(1, 5, 5, imitation=1.5), np.random.default_rng(0)),
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

SIZE, ANSWERS, ROUNDS, SHARE = 20, 200, 4, 0.7


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
    shares = simulate_loop(
        rng, ROUNDS, SIZE, e, s, c, share=share, accumulate=accumulate, num_queries=5 * SIZE
    )
    measured = rng.binomial(ANSWERS, (1 - share) * e[:, None] + share * shares) / ANSWERS
    counts = np.stack(
        [rng.binomial(200, e), rng.binomial(120, s), rng.binomial(80, 1 - c)], axis=1
    ).tolist()
    return [
        counted(wrong, 200, right, 120, passed, 80) for wrong, right, passed in counts
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
        f = predict(mend(calibration), loop, rng, num_draws=200)
        inside.append((f.low <= values) & (values <= f.high))
        deviation = np.abs(values - f.mean) / np.maximum(f.standard_deviation, 1e-9)
        together.append(deviation.max() <= f.greatest_z)
    return np.mean(inside, axis=0), float(np.mean(together))


@pytest.mark.statistical
@pytest.mark.parametrize("buffer", ["replace", "accumulate"])
def test_intervals_of_simulated_loops_cover_at_their_rate(buffer):
    """Nominal .95; 600 loops have sd .0089, so that .92 to .98 is 3.4 of them on each side: 7e-4
    for a fresh seed and a round.
    """
    loop = above_0(ROUNDS, SIZE, ANSWERS, buffer=buffer, imitation=SHARE)
    by_round, together = coverage(600, loop, accumulate=buffer == "accumulate", seed=10)
    assert (by_round > 0.92).all()
    assert (by_round < 0.98).all()
    assert 0.92 < together < 0.98


def exchanged(calibration: Calibration) -> Calibration:
    """Take false negatives where the false positives belong."""
    judged = calibration.judged
    return replace(
        calibration, judged=replace(judged, is_right=~judged.is_right, log_odds=-judged.log_odds)
    )


@pytest.mark.statistical
def test_power_twins_wrong_forecasts_do_not_cover():
    right = above_0(ROUNDS, SIZE, ANSWERS, imitation=SHARE)
    for wrong in (
        above_0(ROUNDS, SIZE, ANSWERS, imitation=SHARE, buffer="accumulate"),
        replace(right, imitation=1.0),
        replace(right, imitation=0.4),
    ):
        by_round, together = coverage(200, wrong, accumulate=False, seed=20)
        assert by_round[-1] < 0.92
        assert together < 0.92
    copied = replace(right, imitation=1.0)
    assert coverage(200, copied, accumulate=True, seed=30, share=1.0)[0][-1] < 0.92, (
        "accumulate taken for replace"
    )
    lenient, swapped = (
        coverage(200, copied, accumulate=False, seed=40, share=1.0, least_specificity=0.35, mend=m)[
            1
        ]
        for m in (replace, exchanged)
    )
    assert lenient > 0.92
    assert swapped < 0.8, "false negatives taken for false positives"


def line_forecasts(num_contexts: int, between: float, num: int, seed: int) -> dict[str, float]:
    """How often the measured error rate of a first round is inside its interval, where the line is
    estimated on so many contexts of each kind, 60 answers each, and true error rates of contexts
    have the standard deviation `between` about it: with all that is estimated, and without what
    differs between contexts.
    """
    rng, inside = np.random.default_rng(seed), {"drawn": [], "answers alone": []}
    ends = np.repeat([0.3, 0.6], num_contexts)
    for _ in range(num):
        wrong, right, passed = rng.binomial((200, 120, 80), (0.4, 0.7, 0.4)).tolist()
        rates = rng.binomial(60, np.clip(rng.normal(ends, between), 0, 1)) / 60
        fit = fit_imitation(np.repeat([0.0, 1.0], num_contexts), rates, [60] * len(ends))
        impurity = rng.binomial(20, 0.4 * 0.4 / (0.4 * 0.4 + 0.6 * 0.7)) / 20
        error = np.clip(0.3 + 0.3 * impurity + rng.normal(0, between), 0, 1)
        measured = rng.binomial(200, error) / 200
        chance = np.sqrt([p * (1 - p) / 60 / num_contexts for p in (0.3, 0.6)]).tolist()
        alone = ImitationFit(fit.floor, fit.ceiling, *chance, 10**6, 0.0)
        for name, imitation in (("drawn", fit), ("answers alone", alone)):
            loop = above_0(1, 20, 200, imitation=imitation)
            f = predict(counted(wrong, 200, right, 120, passed, 80), loop, rng, num_draws=200)
            inside[name].append(f.low[0] <= measured <= f.high[0])
    return {name: float(np.mean(values)) for name, values in inside.items()}


@pytest.mark.statistical
@pytest.mark.parametrize(("num_contexts", "between"), [(2, 0.1), (4, 0.1), (4, 0.0)])
def test_with_an_estimated_line_intervals_cover_whatever_contexts_differ_by(num_contexts, between):
    """Nominal .95, and more where few contexts leave open how much they differ: 300 loops have sd
    .0126, 4 of them are allowed.
    """
    rates = line_forecasts(num_contexts, between, 300, seed=50)
    assert rates["drawn"] > 0.90
    if between:
        assert rates["answers alone"] < 0.85, "power twin"


def test_one_context_of_each_kind_leaves_the_prediction_wide():
    fit = fit_imitation([0, 1], [0.3, 0.6], [60, 60])
    assert fit.context_deviation is None
    loop = above_0(1, 20, 200, imitation=fit)
    forecast = predict(CALIBRATION, loop, np.random.default_rng(3))
    assert forecast.high[0] - forecast.low[0] > 0.6


def test_an_estimated_line_is_not_blamed_for_what_it_leaves_open():
    """Right pairs alone, floor .2: 80 wrong of 200 refute a known floor, not one between contexts
    that differ by .1.
    """
    counts = replace(AS_PREDICTED, num_wrong=80, context_wrong=0)
    known, open_ = (
        replace(PERFECT_LOOP, imitation=ImitationFit(0.2, 0.6, 0.03, 0.03, 12, deviation))
        for deviation in (0.0, 0.1)
    )
    assert failed(counts, known) == ("imitation partial",)
    assert failed(counts, open_) == ()


# The verdict

PERFECT_LOOP = above_0(2, 40, 200)
FORECAST = predict(CALIBRATION, PERFECT_LOOP, np.random.default_rng(5))
#: The first round as predicted: h = .45 * .25 / (.45 * .25 + .55 * .8) = .2036, 8 wrong of 40 and
#: 41 of 200; the evaluator is the same.
AS_PREDICTED = RoundCounts(1, 41, 200, 8, 40, EvaluatorCounts(80, 100, 25, 100), 40, True)


def rng() -> np.random.Generator:
    return np.random.default_rng(9)


def judge(**changes):
    counts = replace(AS_PREDICTED, **changes)
    return verdict(counts, CALIBRATION, PERFECT_LOOP, FORECAST, rng())


def failed(counts: RoundCounts, loop: Loop) -> tuple[str, ...]:
    return failed_assumptions(counts, CALIBRATION, loop, rng())


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
    unlike = replace(AS_PREDICTED, context_wrong=30, num_accepted=0)
    assert failed(unlike, PERFECT_LOOP) == (
        Assumption.IMITATION,
        Assumption.BUFFER,
    )


def test_imitation_is_compared_with_what_the_loop_assumes():
    """With floor .3 and ceiling .6 a buffer of impurity .2 leads to .36: 72 of 200 is no evidence,
    41 is.
    """
    loop = replace(PERFECT_LOOP, imitation=Imitation(0.3, 0.6))
    assert failed(replace(AS_PREDICTED, num_wrong=72), loop) == ()
    assert failed(AS_PREDICTED, loop) == ("imitation partial",)
    # share .5 of e0 = 90.5 / 201: .2251 + .5 * .2 = .325, 65 of 200
    assert failed(replace(AS_PREDICTED, num_wrong=65), replace(PERFECT_LOOP, imitation=0.5)) == ()


def test_without_a_context_imitation_is_not_tested():
    empty = replace(
        AS_PREDICTED,
        num_wrong=90,
        context_wrong=0,
        context_size=0,
        num_accepted=0,
        context_changed=False,
    )
    assert verdict(empty, CALIBRATION, PERFECT_LOOP, FORECAST, rng()).failed == (
        "buffer saturated",
    )


def test_a_forecast_without_spread_has_no_surprise():
    flat = replace(FORECAST, standard_deviation=np.zeros(2))
    assert verdict(AS_PREDICTED, CALIBRATION, PERFECT_LOOP, flat, rng()).surprise_z is None


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
        wrong, right, passed = rng.binomial((200, 120, 80), (0.45, 0.8, 0.25)).tolist()
        calibration = counted(wrong, 200, right, 120, passed, 80)
        now = EvaluatorCounts(
            int(rng.binomial(90, 0.8)), 90, int(rng.binomial(70, 1 - specificity_now)), 70
        )
        wrong = int(rng.binomial(200, (1 - share) * 0.45 + share * wrong_pairs / 40))
        for name in failed_assumptions(
            RoundCounts(1, wrong, 200, wrong_pairs, 40, now, 40, True),
            calibration,
            PERFECT_LOOP,
            rng,
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
