"""The contract of a kind of fitness. Each function takes a kind, and raises `AssertionError` where
the contract is broken.

    from evoprompt.testing.fitness import check_fitness

    def test_my_fitness():
        check_fitness(MyFitness())
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats, Integers
from evoprompt.fitness.base import FitnessKind
from evoprompt.records import LabelScores

#: By which sums in another order may differ.
TOLERANCE = 1e-9
#: Log-likelihoods of a right answer before and after it has become as likely as can be, nats.
UNLIKELY, SURE = -60.0, -0.01


def check_fitness(kind: FitnessKind, num_draws: int = 20) -> None:
    """Check the whole contract on scores drawn at random, with choices, and in free form where the
    kind takes it; of one that needs written answers in free form alone.
    """
    check_declaration(kind)
    graded = bool(getattr(kind, "needs_answers", False))
    for seed in range(num_draws):
        for choices in (1,) if graded else (3,) if kind.needs_choices else (3, 1):
            scores = drawn_scores(
                seed, num_choices=choices, with_prior=kind.needs_prior, with_grades=graded
            )
            check_shape(kind, scores)
            check_purity(kind, scores)
            check_gold_rise(kind, scores)
            check_policies_apart(kind, scores)
            check_order_of_policies(kind, scores)
            check_order_of_examples(kind, scores)


def check_declaration(kind: FitnessKind) -> None:
    """It says its name and what has to be measured for it."""
    assert isinstance(kind, FitnessKind), f"{kind!r} lacks an attribute of a FitnessKind"
    assert isinstance(kind.name, str), f"the name is {kind.name!r}"
    assert kind.name, "the name is empty"
    for need in ("needs_prior", "needs_choices"):
        assert isinstance(getattr(kind, need), bool), f"{need} is {getattr(kind, need)!r}"


def check_shape(kind: FitnessKind, scores: LabelScores) -> None:
    """It is one finite number for each policy and example."""
    shape, cases = (len(scores.policy_ids), len(scores.example_ids)), kind.cases(scores)
    assert np.shape(cases) == shape, f"the shape is {np.shape(cases)}, not {shape}"
    assert np.isfinite(cases).all(), "a number is NaN or infinite"


def check_purity(kind: FitnessKind, scores: LabelScores) -> None:
    """It follows from the scores alone, and leaves them as they are."""
    before = deepcopy(scores)
    first, second = kind.cases(scores), kind.cases(scores)
    assert np.array_equal(first, second), "the same scores give two fitnesses"
    for field in fields(LabelScores):
        was, now = getattr(before, field.name), getattr(scores, field.name)
        same = np.array_equal(was, now) if isinstance(was, np.ndarray) else was == now
        assert same, f"it changes the {field.name} that it is given"


def check_gold_rise(kind: FitnessKind, scores: LabelScores) -> None:
    """A right answer that gets likelier never lowers it, and one that gets sure raises it."""
    before, gold = kind.cases(scores), scores.of_gold(scores.log_likelihood)
    for nats in (0.01, 1.0, 30.0):
        after = kind.cases(_with_gold(scores, np.minimum(gold + nats, 0.0)))
        assert (after >= before - TOLERANCE).all(), f"it falls where a right answer gains {nats}"
    unlikely, sure = _with_gold(scores, UNLIKELY), _with_gold(scores, SURE)
    sure = replace(sure, is_greedy=_gold_mask(scores))
    unlikely = replace(unlikely, is_greedy=np.zeros_like(scores.is_greedy))
    if scores.grade is not None:
        sure = replace(sure, grade=np.ones_like(scores.grade))
        unlikely = replace(unlikely, grade=np.zeros_like(scores.grade))
    assert (kind.cases(sure) > kind.cases(unlikely)).all(), "a right answer does not raise it"


def check_policies_apart(kind: FitnessKind, scores: LabelScores) -> None:
    """A policy has the same fitness alone as among others: that is how a run measures them."""
    together = kind.cases(scores)
    for row in range(len(scores.policy_ids)):
        alone = kind.cases(_of_policies(scores, np.array([row])))
        np.testing.assert_allclose(alone[0], together[row], atol=TOLERANCE, rtol=0)


def check_order_of_policies(kind: FitnessKind, scores: LabelScores) -> None:
    """In another order the policies have the same fitnesses."""
    order = np.arange(len(scores.policy_ids))[::-1]
    turned = kind.cases(_of_policies(scores, order))
    np.testing.assert_allclose(turned, kind.cases(scores)[order], atol=TOLERANCE, rtol=0)


def check_order_of_examples(kind: FitnessKind, scores: LabelScores) -> None:
    """In another order the examples have the same fitnesses."""
    order = np.roll(np.arange(len(scores.example_ids)), 1)
    turned = kind.cases(_of_examples(scores, order))
    np.testing.assert_allclose(turned, kind.cases(scores)[:, order], atol=TOLERANCE, rtol=0)


def drawn_scores(
    seed: int,
    *,
    num_policies: int = 3,
    num_examples: int = 5,
    num_choices: int = 3,
    with_prior: bool = False,
    with_grades: bool = False,
) -> LabelScores:
    """Return scores as a run could measure them, drawn by a seed, with verdicts.

    With three choices or more the last example lacks the last one; with a single one the answers
    are in free form.
    """
    rng = np.random.default_rng(seed)
    grade = np.random.default_rng([seed, 1]).random((num_policies, num_examples))
    shape = (num_policies, num_examples, num_choices)
    num_tokens = np.broadcast_to(rng.integers(1, 5, size=shape[1:]), shape).copy()
    if num_choices > 2:
        num_tokens[:, -1, -1] = 0
    here = num_tokens > 0
    widths = here[0].sum(axis=1)
    log_likelihood = np.where(here, -rng.gamma(2.0, 2.0, size=shape), -np.inf)
    prior = np.where(here, -rng.gamma(2.0, 2.0, size=shape), -np.inf)
    return LabelScores(
        policy_ids=tuple(f"p{i}" for i in range(num_policies)),
        example_ids=tuple(f"e{i}" for i in range(num_examples)),
        gold=rng.integers(0, widths),
        log_likelihood=log_likelihood,
        num_tokens=num_tokens,
        num_bytes=num_tokens * 3,
        is_greedy=here & (rng.random(shape) < 0.3),
        prior=prior if with_prior else None,
        verdict=-rng.gamma(2.0, 1.0, size=(num_policies, num_examples, 2, 2)),
        grade=grade if with_grades else None,
    )


def _with_gold(scores: LabelScores, value: Floats | float) -> LabelScores:
    """Return the scores with another log-likelihood of each right answer."""
    values = np.broadcast_to(value, scores.log_likelihood.shape[:2])
    changed = np.where(_gold_mask(scores), values[:, :, None], scores.log_likelihood)
    return replace(scores, log_likelihood=changed)


def _gold_mask(scores: LabelScores) -> NDArray[np.bool_]:
    width = scores.log_likelihood.shape[2]
    mask = np.arange(width)[None, None, :] == scores.gold[None, :, None]
    return np.broadcast_to(mask, scores.log_likelihood.shape).copy()


def _of_policies(scores: LabelScores, rows: Integers) -> LabelScores:
    ids = tuple(scores.policy_ids[i] for i in rows)
    return replace(scores, policy_ids=ids, **_taken(scores, rows, axis=0))


def _of_examples(scores: LabelScores, places: Integers) -> LabelScores:
    ids = tuple(scores.example_ids[i] for i in places)
    gold = scores.gold[places]
    return replace(scores, example_ids=ids, gold=gold, **_taken(scores, places, axis=1))


def _taken(scores: LabelScores, places: Integers, axis: int) -> dict[str, Any]:
    """Return the arrays by policy and example with these entries along an axis."""
    names = ("log_likelihood", "num_tokens", "num_bytes", "is_greedy")
    optional = ("prior", "verdict", "calibrated", "grade")
    known = {name: getattr(scores, name) for name in (*names, *optional)}
    return {n: values.take(places, axis=axis) for n, values in known.items() if values is not None}
