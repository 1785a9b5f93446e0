"""The statistics of comparisons: step functions, exact rank tests beside brute force and scipy,
Holm, and Price's sums.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise, product
from math import comb, fsum, inf, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoprompt.dynamics.account import PriceAccount, SelectionAccount, price_account
from evoprompt.dynamics.comparison import (
    TERMS,
    Curve,
    band,
    common_range,
    contrasts,
    mean_height,
    median,
    price_totals,
    time_to_target,
)
from evoprompt.dynamics.population import births_of
from evoprompt.dynamics.price import generation_terms
from evoprompt.stats.significance import (
    EXACT_LIMIT,
    difference_interval,
    holm,
    mann_whitney,
    mean_interval,
    seeds_needed,
    signed_rank,
    superiority,
    t_quantile,
)

stats = pytest.importorskip("scipy.stats")


def curve(*points: tuple[float, float]) -> Curve:
    return Curve(
        np.array([x for x, _ in points], dtype=float), np.array([y for _, y in points], dtype=float)
    )


few = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=6)  # whole numbers: many ties
curves = st.lists(st.tuples(st.integers(0, 9), st.integers(-5, 5)), min_size=2, max_size=8).map(
    lambda p: curve(*sorted(p))
)


# --- curves


def test_a_step_function_holds_its_last_value_and_the_later_of_two_at_one_cost():
    steps = curve((1, 10), (3, 20), (3, 30), (5, 25))
    assert steps.at(np.array([1, 2.9, 3, 4, 5])).tolist() == [10, 10, 30, 30, 25]


def test_nothing_is_extrapolated():
    for x in (0.9, 5.1):
        with pytest.raises(ValueError, match="not all within 1 to 5"):
            curve((1, 10), (5, 25)).at(np.array([x]))


def test_a_cost_that_decreases_or_a_curve_without_points_is_refused():
    with pytest.raises(ValueError, match="decreases"):
        curve((2, 1), (1, 1))
    with pytest.raises(ValueError, match="at least one"):
        curve()


def test_the_common_range_is_where_all_curves_are_or_none():
    assert common_range([curve((1, 0), (9, 0)), curve((2, 0), (7, 0))]) == (2, 7)
    assert common_range([curve((1, 0), (2, 0)), curve((3, 0), (7, 0))]) is None


def test_the_mean_height_is_the_area_by_hand():
    steps = curve((0, 1), (2, 3), (6, 10))
    assert mean_height(steps, 0, 6) == pytest.approx((2 * 1 + 4 * 3) / 6)
    assert mean_height(steps, 1, 3) == pytest.approx((1 * 1 + 1 * 3) / 2)
    assert mean_height(steps, 6, 6) == 10


@given(curves)
def test_the_mean_height_is_that_of_a_fine_grid(steps: Curve):
    """The slow twin: costs are whole numbers, so midpoints of halves see every step."""
    low, high = float(steps.x[0]), float(steps.x[-1])
    grid = np.arange(low, high, 0.5) + 0.25
    assert mean_height(steps, low, high) == pytest.approx(
        steps.at(grid).mean() if high > low else steps.y[-1]
    )


def test_the_time_to_a_target_is_the_first_step_that_reaches_it_or_absent():
    steps = curve((1, 0), (4, 2), (6, 1), (8, 3))
    assert time_to_target(steps, 2, 8) == 4
    assert time_to_target(steps, 1.5, 8) == 4
    assert time_to_target(steps, 3, 8) == 8
    assert time_to_target(steps, 3, 7.9) is None
    assert time_to_target(steps, 3.1, 8) is None
    assert time_to_target(steps, -1, 8) == 1


def test_the_median_time_is_absent_where_half_or_more_are_censored():
    assert median([3, inf, 1]) == 3
    assert median([3, inf, inf]) is None
    assert median([3, inf]) is None


def test_a_band_is_students_interval_at_each_point_and_absent_for_one_curve():
    first, second, third = curve((0, 1), (2, 4)), curve((0, 2), (2, 4)), curve((0, 6), (2, 4))
    mean, half = band([first, second, third], np.array([0.0, 2.0]))
    expected = mean_interval([1, 2, 6])
    assert mean.tolist() == [3, 4]
    assert half is not None
    assert mean[0] - half[0] == pytest.approx(expected.low)
    assert half[1] == 0
    assert band([first], np.array([1.0]))[1] is None


# --- intervals


@pytest.mark.parametrize("degrees", [0.5, 1, 2, 2.7, 5, 30, 1000])
@pytest.mark.parametrize("probability", [0.5, 0.6, 0.9, 0.975, 0.9999])
def test_the_quantile_of_t_is_scipys(probability: float, degrees: float):
    assert t_quantile(probability, degrees) == pytest.approx(
        stats.t.ppf(probability, degrees), rel=1e-9, abs=1e-9
    )


def test_the_interval_of_a_mean_by_hand():
    # 1, 2, 6: mean 3, s^2 = (4 + 1 + 9) / 2 = 7, t(0.975, 2) = 4.302653
    estimate = mean_interval([1, 2, 6])
    assert (estimate.value, estimate.num) == (3, 3)
    assert estimate.high == pytest.approx(3 + 4.302653 * (7 / 3) ** 0.5, abs=1e-5)
    assert mean_interval([5]).low is None


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=6),
    st.lists(st.floats(-5, 5), min_size=2, max_size=6),
)
def test_welchs_interval_is_scipys(a: list[float], b: list[float]):
    if np.var(a) < 1e-6 or np.var(b) < 1e-6:
        return
    ours, theirs = (
        difference_interval(a, b),
        stats.ttest_ind(a, b, equal_var=False).confidence_interval(),
    )
    assert ours.low == pytest.approx(theirs.low, rel=1e-7, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, rel=1e-7, abs=1e-9)


def covered(make_interval) -> int:
    """How many of 600 intervals for three values of a normal distribution with mean 0 hold 0."""
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(600):
        estimate = make_interval(rng.normal(size=3))
        inside += estimate[0] <= 0 <= estimate[1]
    return inside


def test_the_interval_of_three_seeds_covers_as_it_says_where_a_normal_one_does_not():
    """Binomial(600, 0.95): outside 537..596 with a chance below 1e-5, fixed by the seed. The power
    twin is 1.96 standard errors.
    """

    def student(values: np.ndarray) -> tuple[float, float]:
        estimate = mean_interval(values)
        return estimate.low, estimate.high

    def normal(values: np.ndarray) -> tuple[float, float]:
        half = 1.96 * values.std(ddof=1) / 3**0.5
        return values.mean() - half, values.mean() + half

    assert 537 <= covered(student) <= 596
    assert covered(normal) < 537


# --- rank tests


def all_signs(differences: list[float]) -> float:
    """The obvious twin of Wilcoxon's test: every sign of every difference."""
    kept = [d for d in differences if d != 0]
    if not kept:
        return 1.0
    ranks = stats.rankdata(np.abs(kept))
    observed = sum(r for r, d in zip(ranks, kept, strict=True) if d > 0)
    sums = [
        sum(r for r, s in zip(ranks, signs, strict=True) if s)
        for signs in product([0, 1], repeat=len(kept))
    ]
    return min(
        1.0, 2 * min(np.mean([s <= observed for s in sums]), np.mean([s >= observed for s in sums]))
    )


def all_splits(a: list[float], b: list[float]) -> float:
    """The obvious twin of the Mann-Whitney test: every choice of the first sample."""
    ranks = stats.rankdata(a + b)
    observed = sum(ranks[: len(a)])
    sums = [sum(chosen) for chosen in combinations(ranks, len(a))]
    return min(
        1.0, 2 * min(np.mean([s <= observed for s in sums]), np.mean([s >= observed for s in sums]))
    )


@given(few)
def test_wilcoxons_test_is_that_of_all_signs_ties_and_zeros_too(differences: list[float]):
    assert signed_rank(differences).p_value == pytest.approx(all_signs(differences), abs=1e-12)


@given(few, few)
@settings(max_examples=60)
def test_the_mann_whitney_test_is_that_of_all_splits_ties_too(a: list[float], b: list[float]):
    assert mann_whitney(a, b).p_value == pytest.approx(all_splits(a, b), abs=1e-12)


@pytest.mark.parametrize("num", [2, 5, 12, 30])
def test_exact_tests_are_scipys_without_ties(num: int):
    rng = np.random.default_rng(num)
    a, b = rng.normal(0.4, size=num), rng.normal(size=num)
    assert signed_rank(a - b).p_value == pytest.approx(
        stats.wilcoxon(a, b, method="exact").pvalue, rel=1e-10
    )
    ours = mann_whitney(a[: EXACT_LIMIT // 2], b[: EXACT_LIMIT // 2])
    assert ours.exact
    theirs = stats.mannwhitneyu(a[: EXACT_LIMIT // 2], b[: EXACT_LIMIT // 2], method="exact")
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-10)


def test_beyond_the_limit_tests_are_scipys_normal_ones_corrected_for_ties():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 9, size=80).astype(float), rng.integers(0, 8, size=80).astype(float)
    ours = mann_whitney(a, b)
    assert not ours.exact
    assert ours.p_value == pytest.approx(
        stats.mannwhitneyu(a, b, method="asymptotic").pvalue, rel=1e-10
    )
    assert signed_rank(a - b).p_value == pytest.approx(
        stats.wilcoxon(a, b, method="asymptotic", correction=True).pvalue, rel=1e-10
    )


@given(few, few)
def test_tests_do_not_depend_on_which_group_comes_first(a: list[float], b: list[float]):
    assert mann_whitney(a, b).p_value == pytest.approx(mann_whitney(b, a).p_value, abs=1e-12)
    assert signed_rank(a).p_value == pytest.approx(signed_rank([-d for d in a]).p_value, abs=1e-12)
    assert superiority(a, b) + superiority(b, a) == pytest.approx(1)


@pytest.mark.parametrize("num", range(1, 9))
def test_the_attainable_p_value_is_that_of_the_clearest_outcome(num: int):
    clearest = list(range(1, num + 1))
    test = signed_rank(clearest)
    assert test.p_value == test.attainable == min(1, 2 / 2**num)
    apart = mann_whitney(clearest, [-v for v in clearest])
    assert apart.p_value == pytest.approx(apart.attainable)
    assert apart.attainable == min(1, 2 / comb(2 * num, num))


def test_three_seeds_can_not_be_significant_and_six_pairs_can():
    assert signed_rank([1, 2, 3]).p_value == 0.25
    assert mann_whitney([4, 5, 6], [1, 2, 3]).p_value == pytest.approx(0.1)
    assert seeds_needed(0.05, 1, paired=True) == 6
    assert seeds_needed(0.05, 1, paired=False) == 4  # 2 / C(8, 4) = 0.029
    assert seeds_needed(0.05, 10, paired=True) == 9  # 10 * 2 / 2^9 = 0.039


def test_differences_by_rounding_alone_are_ties():
    assert signed_rank([0.3 - 0.1, 0.2, -0.2]).p_value == signed_rank([1, 1, -1]).p_value
    assert superiority([0.1 + 0.2], [0.3]) == 0.5


def test_censored_times_have_the_last_rank_together():
    # ranks 1.5 1.5 | 3 4.5 4.5: of the 10 splits one is as low
    assert mann_whitney([1, 1], [2, inf, inf]).p_value == pytest.approx(
        all_splits([1, 1], [2, 9, 9])
    )
    assert superiority([inf, 1], [inf, inf]) == 0.25


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        signed_rank([1.0, float("nan")])


def rejections(p_value) -> int:
    """How often 8 against 8 values of one distribution, rounded so that there are ties, give p <=
    0.05, of 500 times.
    """
    rng = np.random.default_rng(5)
    return sum(
        p_value(rng.normal(size=8).round(1), rng.normal(size=8).round(1)) <= 0.05
        for _ in range(500)
    )


def test_a_true_null_is_rejected_no_more_often_than_said_and_a_one_sided_p_value_is_caught():
    """Binomial(500, 0.05): above 50 with a chance below 1e-5, fixed by the seed. The power twin
    takes one tail's p-value for two's.
    """
    assert rejections(lambda a, b: mann_whitney(a, b).p_value) <= 50
    assert rejections(lambda a, b: signed_rank(a - b).p_value) <= 50
    assert rejections(lambda a, b: mann_whitney(a, b).p_value / 2.5) > 50


# --- Holm, effect size


def test_holms_adjustment_by_hand():
    # sorted 0.01 0.02 0.03 0.5 times 4 3 2 1 = 0.04 0.06 0.06 0.5, never falling
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_keeps_their_order_and_stays_below_bonferroni(p: list[float]):
    adjusted = holm(p)
    for i, j in product(range(len(p)), repeat=2):
        assert p[i] <= adjusted[i] <= min(1.0, len(p) * p[i]) + 1e-15
        assert p[i] > p[j] or adjusted[i] <= adjusted[j]


def test_superiority_counts_pairs():
    assert superiority([1, 3], [2, 3]) == (0 + 0 + 1 + 0.5) / 4


# --- contrasts


def test_groups_with_the_same_seeds_are_compared_seed_by_seed():
    samples = {
        "base": {"final": {"0": 1.0, "1": 5.0, "2": 9.0}},
        "new": {"final": {"2": 9.5, "1": 5.25, "0": 2.0}},
    }
    [found] = contrasts(samples, "base")
    assert found.paired
    assert found.difference == mean_interval([0.5, 0.25, 1.0])
    assert found.p_value == found.p_holm == found.attainable == 0.25
    other = {"base": samples["base"], "new": {"final": {"3": 2.0, "1": 5.25, "2": 9.5}}}
    [found] = contrasts(other, "base")
    assert not found.paired
    assert found.difference == difference_interval([2.0, 5.25, 9.5], [1.0, 5.0, 9.0])


def test_holm_is_over_every_group_and_quantity():
    base = {"a": {str(i): float(i) for i in range(6)}, "b": {str(i): 0.0 for i in range(6)}}
    better = {
        "a": {str(i): i + 1.0 + i / 10 for i in range(6)},
        "b": {str(i): 0.0 for i in range(6)},
    }
    found = contrasts({"base": base, "x": better, "y": better}, "base")
    assert [(c.group, c.quantity) for c in found] == [
        ("x", "a"),
        ("x", "b"),
        ("y", "a"),
        ("y", "b"),
    ]
    assert [c.p_value for c in found] == [0.03125, 1, 0.03125, 1]
    assert [c.p_holm for c in found] == [0.125, 1, 0.125, 1]


def test_a_quantity_that_a_group_does_not_have_is_left_out_and_a_censored_one_has_ranks_only():
    base = {"time": {"0": 2.0, "1": 4.0}, "accuracy": {"0": 0.5}}
    [found] = contrasts(
        {"base": base, "slow": {"time": {"0": inf, "1": inf}, "accuracy": {}}}, "base"
    )
    assert found.quantity == "time"
    assert found.difference is None
    assert found.superiority == 1
    assert not isnan(found.p_value)
    both = contrasts(
        {"base": {"time": {"0": inf, "1": 4.0}}, "slow": {"time": {"0": inf, "1": 5.0}}}, "base"
    )
    assert both[0].p_value == 1


# --- Price


@st.composite
def lineages(draw: st.DrawFn) -> list[list[dict]]:
    """Four generations: every birth has up to two parents of those selected before, or none;
    operators are drawn; some generations re-measure.
    """
    value = st.floats(-1, 1)
    rows: list[list[dict]] = []
    for generation in range(4):
        alive = [b["birth_id"] for b in rows[-1] if b["selected"]] if rows else []
        births = []
        for i in range(draw(st.integers(2, 5))):
            orphan = not alive or (i > 0 and draw(st.booleans()))
            parents = (
                []
                if orphan
                else sorted(set(draw(st.lists(st.sampled_from(alive), min_size=1, max_size=2))))
            )
            births.append(
                {
                    "generation": generation,
                    "birth_id": f"{generation}.{i}",
                    "parent_ids": parents,
                    "shares": [1 / len(parents) for _ in parents],
                    "operator": draw(st.sampled_from("abc")),
                    "selected": i == 0 or draw(st.booleans()),
                    "traits": {"z": draw(value)},
                }
            )
        if draw(st.booleans()):
            for birth in births:
                if birth["selected"]:
                    birth["remeasured"] = {"z": draw(value)}
        rows.append(births)
    return rows


def births_by_generation(rows: list[list[dict]]):
    index: dict[str, int] = {}
    for births in rows:
        yield births_of(births, index)
        index = {b["birth_id"]: i for i, b in enumerate(births)}


@given(lineages())
def test_the_terms_of_a_run_add_up_to_its_total_change(rows: list[list[dict]]):
    populations = list(births_by_generation(rows))
    accounts = [price_account(generation_terms(a, b))["z"] for a, b in pairwise(populations)]
    totals = price_totals(accounts)
    means = [np.mean([b["traits"]["z"] for b in births if b["selected"]]) for births in rows]
    assert totals.change == pytest.approx(means[-1] - means[0], abs=1e-12)
    assert fsum(totals.terms.values()) == pytest.approx(means[-1] - means[0], abs=1e-12)
    assert fsum(totals.operators.values()) == pytest.approx(totals.terms["transmission"], abs=1e-12)


def test_the_sums_are_by_hand_and_an_account_that_leaves_something_out_leaves_a_residual():
    def account(
        selection: float, transmission: dict[str, float], survival: float, immigration: float
    ) -> PriceAccount:
        parts = [selection, *transmission.values(), survival, immigration]
        return PriceAccount(
            reproduction=SelectionAccount(selection),
            transmission=sum(transmission.values()),
            transmission_by_operator=transmission,
            immigration=immigration,
            survival=SelectionAccount(survival),
            change=sum(parts),
            residual=0.0,
        )

    first, second = account(1, {"edit": -2}, 4, 0), account(0.5, {"edit": -1, "cross": 0.25}, 2, 1)
    totals = price_totals([first, second])
    assert totals.terms == dict(zip(TERMS, (1.5, -2.75, 0, 1, 6), strict=True))
    assert totals.operators == {"edit": -3, "cross": 0.25}
    assert totals.change == 5.75
    assert totals.residual == 0
    assert price_totals([first, replace(second, immigration=0.0)]).residual == 1
    assert price_totals([]).change == 0
