"""What remarks tell of the traits that are wanted: by hand, whatever their order, against a slow
twin, and how often the intervals hold the weights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.fitness.preference import (
    HALF,
    NOISE,
    PRIOR_VARIANCE,
    UNMENTIONED,
    Preference,
    Wishes,
    features_of,
    wishes_of,
)
from evoprompt.fitness.remarks import Remark
from evoprompt.policy import Demonstration, Policy
from evoprompt.stats.linear_posterior import LinearPosterior

NAMES = ("a", "b", "c")


def said(value: float, features: dict[str, float], kind: str = "descriptive") -> Remark:
    return Remark("", "", "", "", "prompt", kind, 1.0, value, value, features, "")  # type: ignore


def naive(remarks: list[Remark], *, pragmatic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Slow twin: the sum of precisions, one observation after another, by explicit inverses."""
    names = sorted({n for r in remarks for n in r.features})
    precision, shift = np.eye(len(names)) / PRIOR_VARIANCE, np.zeros(len(names))
    for r in remarks:
        if not r.features:
            continue
        f = np.array([r.features.get(n, 0.0) for n in names])
        observations = [(f / sum(abs(x) for x in f), r.value)]
        others = np.array([0.0 if n in r.features else 1.0 for n in names])
        if pragmatic and r.kind != "evaluative" and others.sum():
            observations.append((others / others.sum(), UNMENTIONED))
        for row, s in observations:
            precision += np.outer(row, row) / NOISE
            shift += row * s / NOISE
    covariance = np.linalg.inv(precision)
    return covariance @ shift, covariance


some_remarks = st.lists(
    st.builds(
        said,
        st.floats(-1, 1),
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from([-1.0, 1.0, 0.5]), max_size=3),
        st.sampled_from(["evaluative", "imperative", "descriptive"]),
    ),
    max_size=8,
)


def test_three_remarks_by_hand():
    # precision 1 + 3 / .5 = 7, mean -(3 / .5) / 7 = -6/7, sd 1 / sqrt(7) = .378
    wishes = wishes_of([said(-1.0, {"prompt_tokens": 1.0})] * 3)
    [wish] = wishes.each()
    assert wish.mean == pytest.approx(-6 / 7)
    assert wish.sd == pytest.approx(7**-0.5)
    assert wish.text == "shorter prompts are wanted: weight -0.86 +- 0.74, from 3 remarks"
    # strength .5; 31 tokens are log2(32) = 5, the reference's 15 are 4: .5 * -6/7 * (5 - 4)
    preference = Preference(wishes, wishes.posterior.mean, 0.5, {"prompt_tokens": 4.0})
    assert preference.of({"prompt_tokens": 5.0, "word:x": 1.0}) == pytest.approx(-3 / 7)
    assert replace(preference, strength=0.0).of({"prompt_tokens": 5.0}) == 0


def test_the_features_of_a_policy():
    policy = Policy(
        "Be kind, be brief.", (Demonstration("x", "bad"),), label_words=(("bad", "poor"),)
    )
    found = features_of(policy, 7, ("bad", "good"))
    # log2(1 + 7), log2(1 + 1), log2(1 + 4); one of two labels is shown: balance 1 - .5
    assert found == pytest.approx(
        {
            **{"prompt_tokens": 3.0, "num_demonstrations": 1.0, "instruction_words": np.log2(5)},
            **{"demonstration_balance": 0.5, "word:be": 1, "word:kind": 1, "word:brief": 1},
            **{"label:poor": 1, "label:good": 1},
        }
    )


@given(some_remarks, st.booleans(), st.randoms())
def test_the_order_of_remarks_does_not_matter_and_the_slow_twin_agrees(remarks, pragmatic, rng):
    shuffled = list(remarks)
    rng.shuffle(shuffled)
    one, other = (wishes_of(r, pragmatic=pragmatic).posterior for r in (remarks, shuffled))
    mean, covariance = naive(remarks, pragmatic=pragmatic)
    for posterior in (one, other):
        np.testing.assert_allclose(posterior.mean, mean, atol=1e-10)
        np.testing.assert_allclose(posterior.covariance, covariance, atol=1e-10)


@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_observed_at_once_or_one_by_one_is_the_same(seed, num):
    rng = np.random.default_rng(seed)
    features, values = rng.normal(size=(num, 3)), rng.normal(size=num)
    before = LinearPosterior.before(3, 2.0)
    whole, step = before.after(features, values, 0.3), before
    for row, value in zip(features, values, strict=True):
        step = step.after(row[None], np.array([value]), 0.3)
    np.testing.assert_allclose(step.mean, whole.mean, atol=1e-10)
    np.testing.assert_allclose(step.covariance, whole.covariance, atol=1e-10)


def coverage(pragmatic: bool, speakers_are: bool, num: int = 1000) -> float:
    """How often the 95 % intervals of 5 weights hold them, after 20 remarks of each of `num`
    speakers. To those about whom the pragmatic rule is true what they leave out is worth so much
    less: weights given its observations, which do not depend on the values that are said.
    """
    rng, size, held = np.random.default_rng(5), 5, []
    for _ in range(num):
        masks = rng.random((20, size)) < 0.4
        masks[np.arange(20), rng.integers(size, size=20)] = True
        masks[:size] |= np.eye(size, dtype=bool)  # each is named
        signed = masks * rng.choice([-1.0, 1.0], size=masks.shape)
        before = LinearPosterior.before(size, PRIOR_VARIANCE)
        if speakers_are:
            left = ~masks[~masks.all(axis=1)]
            rows = left / left.sum(axis=1, keepdims=True)
            before = before.after(rows, np.full(len(rows), UNMENTIONED), NOISE)
        weights = before.draw(rng)
        rows = signed / masks.sum(axis=1, keepdims=True)
        values = rows @ weights + rng.normal(0, NOISE**0.5, size=20)
        remarks = [
            said(s, {f"{i}": f for i, f in enumerate(row) if f})
            for s, row in zip(values, signed, strict=True)
        ]
        found: Wishes = wishes_of(remarks, pragmatic=pragmatic)
        held.append(np.abs(found.posterior.mean - weights) <= HALF * found.posterior.sd)
    return float(np.mean(held))


@pytest.mark.statistical
def test_intervals_hold_known_weights_with_and_without_the_pragmatic_rule():
    """1,000 speakers with 5 weights each: the standard error of the share is at most .0069 (were a
    speaker's five alike), so a right interval leaves .93 to .97 with probability below .004. Power
    twin: the rule for speakers about whom it is not true.
    """
    assert 0.93 <= coverage(pragmatic=False, speakers_are=False) <= 0.97
    assert 0.93 <= coverage(pragmatic=True, speakers_are=True) <= 0.97
    assert coverage(pragmatic=True, speakers_are=False, num=300) < 0.93
