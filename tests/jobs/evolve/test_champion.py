"""Which policy a run ends with: worked by hand, without a model."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from evoprompt.fitness.base import Fitness
from evoprompt.fitness.likelihood import Sum
from evoprompt.fitness.written import WrittenMetric
from evoprompt.jobs.evolve.calibrator import Calibrator
from evoprompt.jobs.evolve.champion import (
    _is_likelihood_of_free_answers,
    finalists,
    pick_champion,
    pooled_fitness,
    validation_fitness,
)
from evoprompt.policy import Policy
from evoprompt.records import Evaluation, LabelScores

FOUNDER, SHORT, LONG = Policy("start"), Policy("short"), Policy("long " * 10)


def scores(policy: Policy, value: float) -> LabelScores:
    """One example with one candidate of this log-likelihood."""
    one = np.ones((1, 1, 1), dtype=np.int64)
    return LabelScores(
        policy_ids=(policy.policy_id,),
        example_ids=("a",),
        gold=np.zeros(1, dtype=np.int64),
        log_likelihood=np.full((1, 1, 1), value),
        num_tokens=one,
        num_bytes=one,
        is_greedy=one > 0,
    )


def ended(fitness: dict[Policy, float], *, candidates: int, penalty: float = 0.0):
    """Return the parts and the journal of a search that found these."""
    parts = SimpleNamespace(
        fitness=Fitness("sum", Sum(), prompt_token_penalty=penalty),
        task=SimpleNamespace(given_policies=(FOUNDER,), choices=None),
        config=SimpleNamespace(final=SimpleNamespace(candidates=candidates)),
        measurer=SimpleNamespace(prompt_tokens=lambda p: len(p.instruction)),
        taken=lambda p: 0.0,  # nobody looks at side effects
        preferred=lambda p: None,  # nobody said anything
        calibrator=Calibrator(),
    )
    order = sorted(fitness, key=lambda p: -fitness[p])
    evaluations = {p.policy_id: Evaluation(f, (f,), {}) for p, f in fitness.items()}
    best_of = lambda policies: max(policies, key=lambda p: fitness[p])  # noqa: E731
    measured = {p.policy_id: scores(p, f) for p, f in fitness.items()}
    journal = SimpleNamespace(
        ranked=lambda num: order[:num], evaluations=evaluations, best_of=best_of, scores=measured
    )
    return parts, journal


def test_a_champion_that_is_worse_than_the_baseline_on_all_examples_together_does_not_win():
    parts, journal = ended({SHORT: -1.0, LONG: -2.0, FOUNDER: -3.0}, candidates=2)
    assert finalists(parts, journal) == [SHORT, LONG, FOUNDER]
    # means of two examples each, one of the search and one of the validation
    found = {SHORT: -4.0, LONG: -2.2, FOUNDER: -1.0}  # -2.5, -2.1, -2.0
    validated = {p.policy_id: scores(p, v) for p, v in found.items()}
    assert pick_champion(parts, journal, finalists(parts, journal), validated) == FOUNDER
    # power: with the validation alone SHORT would be last, with the search alone first
    validated[FOUNDER.policy_id] = scores(FOUNDER, -1.4)  # -2.2
    assert pick_champion(parts, journal, finalists(parts, journal), validated) == LONG
    validated[SHORT.policy_id] = scores(SHORT, -3.0)  # -2.0
    assert pick_champion(parts, journal, finalists(parts, journal), validated) == SHORT


def test_a_tie_goes_to_the_fitter_in_the_search():
    parts, journal = ended({SHORT: -1.0, LONG: -2.0, FOUNDER: -9.0}, candidates=2)
    found = {SHORT: -2.0, LONG: -1.0, FOUNDER: -9.0}
    validated = {p.policy_id: scores(p, v) for p, v in found.items()}
    assert pick_champion(parts, journal, finalists(parts, journal), validated) == SHORT


def test_a_finalist_that_met_fewer_examples_gains_nothing_by_easy_ones():
    """The founder met the first, easy example of the search alone, -1, and there SHORT has -.5; its
    mean of both is -4.25. On the validation they are equal, so SHORT is better by half of .5; by
    plain means, (-.5 - 8 - 2) / 3 = -3.5 and (-1 - 2) / 2 = -1.5, it would have lost.
    """
    parts, journal = ended({SHORT: -4.25, FOUNDER: -1.0}, candidates=2)
    journal.scores[SHORT.policy_id] = scores(SHORT, -0.5).joined(scores(SHORT, -8.0))
    journal.ranked = lambda num: [SHORT]
    validated = {p.policy_id: scores(p, -2.0) for p in (SHORT, FOUNDER)}
    pooled = pooled_fitness(parts, journal, [SHORT, FOUNDER], validated)
    assert pooled[SHORT.policy_id] - pooled[FOUNDER.policy_id] == pytest.approx(0.25)
    assert pick_champion(parts, journal, finalists(parts, journal), validated) == SHORT


def test_a_baseline_among_the_fittest_is_validated_once():
    parts, journal = ended({FOUNDER: -1.0, SHORT: -2.0, LONG: -3.0}, candidates=2)
    assert finalists(parts, journal) == [FOUNDER, SHORT]


def test_the_champion_is_picked_with_the_penalty_of_the_search():
    found = {LONG: -1.0, SHORT: -1.1, FOUNDER: -9.0}
    validated = {p.policy_id: scores(p, v) for p, v in found.items()}
    # LONG has 50 characters and SHORT 5: -1.0 - 0.01 * 50 = -1.5, -1.1 - 0.01 * 5 = -1.15
    parts, journal = ended(found, candidates=2, penalty=0.01)
    assert validation_fitness(parts, journal, LONG, validated[LONG.policy_id]) == -1.5
    assert pick_champion(parts, journal, finalists(parts, journal), validated) == SHORT
    free, journal = ended(found, candidates=2)
    assert pick_champion(free, journal, finalists(free, journal), validated) == LONG


@pytest.mark.parametrize(("num_choices", "picked"), [(1, LONG), (2, SHORT)])
def test_free_answers_go_by_how_many_are_right_and_choices_by_likelihood(num_choices, picked):
    """SHORT is likelier by a nat an example; of the search's example and three of the validation
    LONG has all four right and SHORT the first alone, where there is nothing to choose from.
    """
    parts, journal = ended({SHORT: -1.0, LONG: -2.0, FOUNDER: -9.0}, candidates=2)
    validated = {}
    for policy, value, right in ((SHORT, -1.0, 0), (LONG, -2.0, 1), (FOUNDER, -9.0, 0)):
        found = scores(policy, value)
        for _ in range(2):
            found = found.joined(scores(policy, value))
        shape = (1, 3, num_choices)
        validated[policy.policy_id] = replace(
            found,
            log_likelihood=np.full(shape, value),
            num_tokens=np.ones(shape, dtype=np.int64),
            num_bytes=np.ones(shape, dtype=np.int64),
            is_greedy=np.full(shape, bool(right)),
        )
    if num_choices > 1:
        with_choice = {p: s.first(1) for p, s in validated.items()}
        journal.scores = with_choice
    candidates = finalists(parts, journal)
    assert pick_champion(parts, journal, candidates, validated) == picked
    # where more counts than the likelihood, or something else, fitness decides
    for more in ({"prompt_token_penalty": 1e-6}, {"self_evaluation": 1e-6}, {"name": "own:kind"}):
        other = SimpleNamespace(**{**vars(parts), "fitness": replace(parts.fitness, **more)})
        if "self_evaluation" not in more:
            assert pick_champion(other, journal, candidates, validated) == SHORT
        assert not _is_likelihood_of_free_answers(other, candidates, validated)
    metric = SimpleNamespace(**{**vars(parts), "fitness": Fitness("metric", WrittenMetric())})
    assert not _is_likelihood_of_free_answers(metric, candidates, validated)
    parts.preferred = lambda p: 0.001
    assert pick_champion(parts, journal, candidates, validated) == SHORT
