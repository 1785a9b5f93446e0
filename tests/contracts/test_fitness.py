"""The contract of a kind of fitness holds for the package's own, and catches kinds that break
it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from evoprompt.choices import choice_log_probabilities
from evoprompt.fitness.catalog import KINDS
from evoprompt.testing.fitness import check_fitness, check_gold_rise, drawn_scores


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_the_package_holds_the_contract(kind):
    check_fitness(kind)


@dataclass
class Broken:
    """The sum of log-likelihoods, but for what a test makes of it."""

    make: object
    name: str = "broken"
    needs_prior: bool = False
    needs_choices: bool = False

    def cases(self, scores):
        return self.make(scores)


def gold(scores):
    return scores.of_gold(scores.log_likelihood)


def in_place(scores):
    scores.num_tokens[...] += 1
    return gold(scores)


CALLS = []


def remembering(scores):
    CALLS.append(1)
    return gold(scores) + len(CALLS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: gold(s).mean(axis=1), "the shape is"),
        (lambda s: gold(s) + np.nan, "NaN or infinite"),
        (lambda s: -gold(s), "it falls"),
        (lambda s: np.zeros_like(gold(s)), "does not raise it"),
        (in_place, "changes the num_tokens"),
        (remembering, "two fitnesses"),
        (lambda s: gold(s) - gold(s).max(axis=0) * 0.5, "Not equal to tolerance"),
        (lambda s: gold(s) + np.arange(len(s.policy_ids))[:, None], "Not equal to tolerance"),
        (lambda s: gold(s) + np.arange(len(s.example_ids)), "Not equal to tolerance"),
    ],
)
def test_a_kind_that_breaks_the_contract_is_caught(make, message: str):
    check_fitness(Broken(gold))
    with pytest.raises(AssertionError, match=message):
        check_fitness(Broken(make))


def test_what_is_no_kind_is_caught():
    with pytest.raises(AssertionError, match="lacks an attribute"):
        check_fitness(object())
    with pytest.raises(AssertionError, match="needs_prior is 1"):
        check_fitness(Broken(gold, needs_prior=1))


def test_a_kind_that_counts_a_wrong_choice_is_caught():
    def first(scores):
        return choice_log_probabilities(scores)[:, :, 0]

    with pytest.raises(AssertionError, match=r"it falls|does not raise"):
        check_gold_rise(Broken(first, needs_choices=True), drawn_scores(0))


def test_the_contract_needs_no_test_runner():
    code = (
        "import sys, evoprompt.testing.fitness; "
        "print([m for m in ('pytest', 'hypothesis', 'torch', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
