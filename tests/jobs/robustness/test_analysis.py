"""Rates, errors, persistence and what is left of a gain, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from evoprompt.jobs.robustness.analysis import (
    crossing_of,
    effect_of,
    findings_of,
    gain_of,
    metrics_of,
    persistence_of,
)
from evoprompt.jobs.robustness.record import ATTACK, ATTACKED, NONE, Cell


def cell(
    subject: str, source: str, draw: int, answers: tuple[int, ...], right: tuple[int, ...]
) -> Cell:
    nats = tuple(-1.0 - n for n in range(len(right)))
    return Cell(subject, source, draw, {}, answers, right, right, nats)


CLEAN = cell("champion", NONE, 0, (0, 1, 0, 1), (1, 1, 1, 0))
FIRST = cell("champion", "typos", 0, (0, 1, 1, 1), (1, 1, 0, 0))
SECOND = cell("champion", "typos", 1, (1, 1, 1, 0), (0, 1, 0, 1))


def test_rates_and_their_errors_by_examples_and_draws():
    found = effect_of(CLEAN, [FIRST, SECOND], 2)
    # flips by draw 0 0 1 0 and 1 0 1 1; by example 1/2 0 1 1/2 of variance 1/6, by draw 1/4 and
    # 3/4 of variance 1/8; residuals of 1/4 in each of 8 places, over 3 degrees of freedom: 1/6
    assert found.flip_rate.value == 0.5
    assert found.flip_rate.error_examples == pytest.approx(sqrt(1 / 6 / 4))
    assert found.flip_rate.error_draws == pytest.approx(sqrt(1 / 8 / 2))
    assert found.flip_rate.error == pytest.approx(sqrt(1 / 24 + 1 / 16 - 1 / 48))
    # of right answers: 3/4 as it is; 2/4 in each draw; 1 in both; of 3 that were, 2 and 1 stay
    assert (found.accuracy.value, found.drop.value, found.worst) == (0.5, 0.25, 0.25)
    assert found.kept is not None
    assert found.kept.value == 0.5
    assert found.nats.value == 0
    assert found.is_brittle is False


def test_what_is_lost_on_most_examples_is_brittle_unless_many_sources_are_looked_at():
    clean = cell("champion", NONE, 0, (0,) * 10, (1,) * 10)
    worse = cell("champion", "typos", 0, (1,) * 3 + (0,) * 7, (0,) * 3 + (1,) * 7)
    # a drop of .3 with the error sqrt(.3 * .7 / 9) = .153, so t = 1.96 of 9 degrees of freedom;
    # the quantiles are 1.83 and 3.3
    assert effect_of(clean, [worse], 1).is_brittle
    assert not effect_of(clean, [worse], 11).is_brittle
    freed = replace(worse, freed_right=(1,) * 10)
    assert effect_of(clean, [freed], 1).is_brittle
    assert not effect_of(clean, [freed], 1).is_brittle_freed


def test_a_policy_that_changes_do_not_harm_is_rarely_called_brittle():
    """The five sources exchange right and wrong alike, on the same examples in all draws: the
    family's false alarms are 5 % at most, so of 200 policies 10, and more than 20 have a chance of
    .1 %.
    """
    rng = np.random.default_rng(5)
    calls, naive = 0, 0
    for _ in range(200):
        right = (rng.random(60) < 0.5).astype(int)
        clean = cell("champion", NONE, 0, tuple(right), tuple(right))
        found = []
        for _ in range(5):
            turned = rng.random(60) < 0.3
            rows = [np.where(turned & (rng.random(60) < 0.9), 1 - right, right) for _ in range(5)]
            changed = [
                cell("champion", "typos", d, tuple(row.tolist()), tuple(row.tolist()))
                for d, row in enumerate(rows)
            ]
            found.append(effect_of(clean, changed, 5))
            drops = (right - np.array(rows)).ravel()
            naive += drops.mean() > 2.33 * drops.std() / np.sqrt(len(drops))
        calls += any(effect.is_brittle for effect in found)
    assert calls <= 20
    assert naive > 3 * 20  # power twin: all draws of an example taken for independent


def test_persistence_is_told_beside_the_twin_that_was_not_attacked():
    attack = cell("champion", ATTACK, 0, (1, 2, 0, 1), (0, 0, 1, 0))  # turns examples 0 and 1
    attacked = [
        cell("champion", ATTACKED + "label_synonyms", 0, (1, 2, 0, 0), (0, 0, 1, 1)),
        cell("champion", ATTACKED + "label_synonyms", 1, (1, 0, 0, 0), (0, 0, 1, 1)),
    ]
    twins = [
        cell("champion", "label_synonyms", 0, (0, 2, 1, 1), (1, 0, 0, 0)),
        cell("champion", "label_synonyms", 1, (0, 1, 1, 1), (1, 1, 0, 0)),
    ]
    found = persistence_of(CLEAN, attack, attacked, twins)
    assert (found.num_flipped, found.num_draws) == (2, 2)
    assert found.share is not None
    assert found.twin is not None
    assert found.difference is not None
    assert found.share.value == 3 / 4
    assert found.twin.value == 1 / 4
    # 1 0 and 1 0: the draws are alike, the examples 1 and 0 apart, of variance 1/2
    assert found.difference.value == 1 / 2
    assert found.difference.error == pytest.approx(sqrt(1 / 2 / 2))
    nothing = persistence_of(CLEAN, CLEAN, attacked, twins)
    assert (nothing.num_flipped, nothing.share, nothing.difference) == (0, None, None)


def test_harm_crosses_where_both_were_right():
    other = cell("baseline", NONE, 0, (0, 1, 0, 0), (1, 1, 0, 1))
    changed = [
        cell("baseline", "typos", 0, (0, 0, 0, 0), (1, 0, 0, 0)),
        cell("baseline", "typos", 1, (1, 1, 0, 0), (0, 1, 0, 0)),
    ]
    # both right: examples 0 and 1; the champion is turned on 0 by the second draw alone
    clean = {"baseline": other, "champion": CLEAN}
    found = crossing_of(clean, changed, [FIRST, SECOND])
    assert (found.harmed, found.given, found.source) == ("baseline", "champion", "typos")
    assert (found.num_turned, found.share_turned) == (1, 1.0)
    assert (found.num_kept, found.share_kept) == (3, 1 / 3)


def test_the_share_of_a_gain_that_is_left_is_undefined_without_a_gain():
    num = 40
    nothing, all_right = (0,) * num, (1,) * num
    half = (0, 1) * (num // 2)
    clean = {
        "baseline": cell("baseline", NONE, 0, nothing, nothing),
        "champion": cell("champion", NONE, 0, nothing, all_right),
    }
    groups = {
        ("baseline", "typos"): [cell("baseline", "typos", 0, nothing, nothing)],
        ("champion", "typos"): [cell("champion", "typos", 0, nothing, half)],
    }
    found = gain_of(clean, groups, "typos", 0)
    assert (found.gain, found.changed, found.share) == (1.0, 0.5, 0.5)
    assert found.ci is not None
    assert 0.3 < found.ci[0] < 0.5 < found.ci[1] < 0.7
    none = {"baseline": clean["baseline"], "champion": clean["baseline"]}
    assert gain_of(none, groups, "typos", 0).share is None


def test_of_a_part_of_the_cells_is_told_what_is_known():
    found = findings_of([CLEAN, FIRST, SECOND], 0)
    assert [e.source for e in found.effects] == ["typos"]
    assert (found.persistence, found.crossings, found.gains) == ((), (), ())
    assert metrics_of(found) == {
        "robust/accuracy/champion": 0.75,
        "robust/flip_rate/champion typos": 0.5,
        "robust/drop/champion typos": 0.25,
        "robust/worst_of_2/champion typos": 0.25,
        "robust/transfer/champion typos": 0.5,
    }
    assert findings_of([CLEAN], 0).effects == ()
