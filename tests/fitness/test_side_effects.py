"""Side effects as a penalty: hand-worked numbers, what holds of it for any log-likelihoods, and a
slow obvious twin.
"""

from __future__ import annotations

from math import pi, sqrt
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evoprompt.arrays import Floats
from evoprompt.fitness.side_effects import attainable, change, mean_change, scale_of

NUM_PROMPTS, NUM_EXAMPLES = 2, 6
NATS = arrays(np.float64, (NUM_PROMPTS, NUM_EXAMPLES), elements=st.floats(-30, 0, width=32))
SCALE = st.floats(0.01, 100)


def twin(policy: Floats, baseline: Floats, scale: float) -> tuple[float, float, float, float]:
    """Return decrease, increase, plain and noise floor, word by word as they are defined."""

    def q(rows: list[list[float]]) -> float:
        return max(fmean(row) for row in rows)

    def part(rows: Floats, place: int) -> list[list[float]]:
        return [[v for i, v in enumerate(row) if i % 2 == place] for row in rows.tolist()]

    even, odd = ((q(part(policy, i)) - q(part(baseline, i))) / scale for i in (0, 1))
    both = [(1, even, odd), (1, odd, even)]
    decrease = sum(-size for _, sign, size in both if sign < 0) / 2
    increase = sum(size for _, sign, size in both if sign > 0) / 2
    before, after = baseline.tolist(), policy.tolist()
    differences = [
        a - b for a, b in zip(max(after, key=fmean), max(before, key=fmean), strict=True)
    ]
    error = stdev(differences) / sqrt(len(differences)) / scale
    return decrease, increase, abs(q(after) - q(before)) / scale, sqrt(2 / pi) * error


def test_numbers_worked_by_hand():
    # even places: baseline mean(-4, -2) = -3, policy mean(-6, -4) = -5; odd: -3 and mean(-5, -3)
    # = -4. In scales of 2: d = -1 and e = -1/2; both say less, so (1/2 + 1) / 2 = 3/4 is decrease.
    baseline, policy = np.array([[-4.0, -4, -2, -2]]), np.array([[-6.0, -5, -4, -3]])
    found = change(policy, baseline, 2.0)
    assert (found.decrease, found.increase, found.both) == (0.75, 0.0, 0.75)
    # -4.5 against -3, in scales of 2
    assert found.plain == 0.75
    # the differences -2, -1, -2, -1 have the standard deviation sqrt(1/3), their mean half of it
    assert found.noise_floor == pytest.approx(sqrt(2 / pi) * sqrt(1 / 3) / 2 / 2)
    # of two prompts the one that is best in the mean counts, on each half: -1 and -3 here
    assert attainable(np.array([[-1.0, -5], [-2, -2]])) == -2.0
    # the halves disagree: d = 1, e = -1; decrease -(1)/2 of e's sign, increase -1/2 of d's
    mixed = change(np.array([[-1.0, -3]]), np.array([[-2.0, -2]]), 1.0)
    assert (mixed.decrease, mixed.increase, mixed.plain) == (-0.5, -0.5, 0.0)
    mean = mean_change([found, mixed])
    assert (mean.decrease, mean.increase, mean.both) == (0.125, -0.25, -0.125)
    assert mean.of("decrease") == 0.125
    # Q = -1, -2, -3: their standard deviation is 1
    assert scale_of([np.full((1, 2), q) for q in (-1.0, -2.0, -3.0)]) == 1.0
    assert scale_of([np.zeros((1, 2))]) == 0.0


@given(NATS, NATS, SCALE)
@settings(max_examples=60, deadline=None)
def test_it_is_what_the_slow_twin_says(policy: Floats, baseline: Floats, scale: float):
    found = change(policy, baseline, scale)
    told = (found.decrease, found.increase, found.plain)
    decrease, increase, plain, floor = twin(policy, baseline, scale)
    halves = [attainable(policy[:, i::2]) - attainable(baseline[:, i::2]) for i in (0, 1)]
    if min(map(abs, halves)) > 1e-9:  # else the last bits decide the sign
        assert told == pytest.approx((decrease, increase, plain), abs=1e-9)
    gaps = [abs(float(np.diff(v.mean(axis=1))[0])) for v in (policy, baseline)]
    if min(gaps) > 1e-9:  # else the last bits decide which prompt is best
        assert found.noise_floor == pytest.approx(floor, abs=1e-9)


@given(NATS, NATS, SCALE, st.sampled_from([0.25, 2.0, 8.0]))
@settings(max_examples=60, deadline=None)
def test_identities(policy: Floats, baseline: Floats, scale: float, factor: float):
    found = change(policy, baseline, scale)
    # the baseline changes nothing, exactly
    same = change(baseline, baseline, scale)
    assert (same.decrease, same.increase, same.plain, same.noise_floor) == (0.0, 0.0, 0.0, 0.0)
    # decrease-only and increase-only sum up to both
    assert found.of("both") == found.of("decrease") + found.of("increase")
    # in another unit of nats nothing is another number, by powers of two to the last bit
    assert change(factor * policy, factor * baseline, factor * scale) == found
    # one unit of scale less is as much more
    assert change(policy, baseline, 2 * scale).both == found.both / 2
    # from policy to baseline, what was more is less
    back = change(baseline, policy, scale)
    assert (back.decrease, back.increase) == (found.increase, found.decrease)
    # in size no more than the larger half's change
    halves = [
        abs(attainable(policy[:, i::2]) - attainable(baseline[:, i::2])) / scale for i in (0, 1)
    ]
    assert abs(found.both) <= max(halves) * (1 + 1e-12)


def test_a_shift_of_all_is_told_whole_and_to_its_side():
    baseline = np.random.default_rng(1).normal(-5, 1, (2, 8))
    less, more = change(baseline - 3, baseline, 2.0), change(baseline + 3, baseline, 2.0)
    assert (less.decrease, less.increase) == (pytest.approx(1.5), 0.0)
    assert (more.decrease, more.increase) == (0.0, pytest.approx(1.5))
    assert less.noise_floor == pytest.approx(0.0, abs=1e-12)


@pytest.mark.statistical
def test_noise_is_not_punished_and_a_plain_difference_punishes_it():
    # 4,000 policies that change nothing but the noise of 16 examples, of sd 1: se of the mean 1/4.
    # By the split the mean is 0 with a standard error of 0.354 * 1/4 ... at most 0.006; 4 of these
    # are passed by chance once in 16,000. The plain form is its power twin: 0.798 * 1/4 = 0.199.
    draws = np.random.default_rng(7)
    baseline = np.zeros((1, 16))
    found = [change(draws.normal(0, 1, (1, 16)), baseline, 1.0) for _ in range(4000)]
    both = np.array([c.both for c in found])
    error = both.std(ddof=1) / sqrt(len(both))
    assert error < 0.006
    assert abs(both.mean()) < 4 * error
    plain = float(np.mean([c.plain for c in found]))
    assert plain == pytest.approx(sqrt(2 / pi) / 4, abs=0.01)
    assert not abs(plain) < 4 * error
    assert np.mean([c.noise_floor for c in found]) == pytest.approx(plain, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "scale"), [((1, 1), 1.0), ((1, 4), 0.0), ((1, 4), -1.0), ((2, 4), 1.0)]
)
def test_what_has_no_change_is_refused(shape: tuple[int, int], scale: float):
    with pytest.raises(ValueError, match="two examples or more and a positive scale"):
        change(np.zeros(shape), np.zeros((1, shape[1])), scale)
