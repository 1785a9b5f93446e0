"""Rank correlations: worked numbers, and coverage by simulation (fixed seeds)."""

from __future__ import annotations

from math import atanh, sqrt, tanh

import numpy as np
import pytest

from evoprompt.stats.rank_correlation import kendall, rank_correlation, spearman


def test_four_policies_by_hand():
    """Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 * 2 / (4 * 15) = .8; five pairs of six agree: 4/6."""
    first, second = np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 7.0, 5.0, 9.0])
    assert spearman(first, second) == pytest.approx(0.8)
    assert kendall(first, second) == pytest.approx(4 / 6)


def test_ties_by_hand():
    """Ranks 1 2 3 and 1.5 1.5 3: products about the mean sum to 1.5, over sqrt(2 * 1.5). Of three
    pairs two agree and one is tied in the second: 2 / sqrt(3 * 2).
    """
    first, second = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.5, 0.75])
    assert spearman(first, second) == pytest.approx(1.5 / sqrt(3))
    assert kendall(first, second) == pytest.approx(2 / sqrt(6))


def test_it_is_undefined_of_two_and_where_nothing_varies():
    rng = np.random.default_rng(0)
    assert spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None
    assert kendall(np.ones(4), np.arange(4.0)) is None
    cases = rng.normal(size=(5, 8))
    assert rank_correlation(cases[:2], cases[:2], rng) is None
    assert rank_correlation(cases, np.ones((5, 8)), rng) is None


def test_the_interval_is_undefined_of_few_examples_and_where_ranks_agree_wholly():
    rng = np.random.default_rng(0)
    cases = np.arange(5.0)[:, None] + rng.normal(0, 0.1, (5, 8))
    same = rank_correlation(cases, 3 * cases, rng)
    assert same is not None
    assert (same.value, same.ci, same.kendall) == (1, None, 1)
    few = rank_correlation(rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng)
    assert few is not None
    assert (few.ci, few.num_policies, few.num_examples) == (None, 5, 3)


@pytest.mark.statistical
@pytest.mark.slow
def test_the_interval_covers_what_other_examples_would_give():
    """Likelihoods and right answers of 30 policies on 48 examples, answers full of ties. Nominal
    .95; 100 draws have sd .022, 3 sd are allowed. Twin: half as wide is found out. Nor is it
    more than 1.6 times as wide as the correlations are spread.
    """
    rng = np.random.default_rng(4)
    true = rng.normal(0, 0.3, 30)
    other = true + rng.normal(0, 0.1, 30)

    def drawn() -> tuple[np.ndarray, np.ndarray]:
        of_example = rng.normal(0.5, 1, 48) + rng.normal(0, 0.7, (30, 48))
        likely = -np.log1p(np.exp(-(true[:, None] + of_example)))
        return likely, (other[:, None] + of_example > 0).astype(float)

    many = [spearman(*(x.mean(axis=1) for x in drawn())) for _ in range(1000)]
    truth = float(np.mean(np.array(many, dtype=float)))
    found = [rank_correlation(*drawn(), rng) for _ in range(100)]
    ends = [f.ci for f in found if f is not None and f.ci is not None]
    assert len(ends) == 100
    covered = np.mean([low <= truth <= high for low, high in ends])
    assert covered > 0.95 - 0.066

    def halved(low: float, high: float) -> tuple[float, float]:
        middle, half = (atanh(low) + atanh(high)) / 2, (atanh(high) - atanh(low)) / 4
        return tanh(middle - half), tanh(middle + half)

    assert np.mean([a <= truth <= b for a, b in (halved(*e) for e in ends)]) < 0.95 - 0.066
    width = np.mean([high - low for low, high in ends])
    spread = 2 * 1.96 * np.std(np.array(many, dtype=float))
    assert width < 1.6 * spread
