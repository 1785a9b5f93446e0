"""Fitness worked by hand: 1 policy, 2 examples; the second has one candidate less."""

from __future__ import annotations

import numpy as np
import pytest

from evoprompt.choices import correct
from evoprompt.config.sections import FitnessConfig
from evoprompt.errors import UserError
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.catalog import KINDS, fitness_of
from evoprompt.fitness.traits import case_traits, evaluate, extra_traits
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import LabelScores

LL = np.log([[[0.5, 0.25, 0.125], [0.1, 0.3, 1.0]]])
LL[0, 1, 2] = -np.inf


def fitness(kind: str, **settings: float) -> Fitness:
    return fitness_of(FitnessConfig(kind=kind, **settings), has_choices=True)


def scores(**changes) -> LabelScores:
    values = dict(
        policy_ids=(Policy().policy_id,),
        example_ids=("a", "b"),
        gold=np.array([1, 1]),
        log_likelihood=LL,
        num_tokens=np.array([[[1, 2, 1], [1, 1, 0]]]),
        num_bytes=np.array([[[4, 8, 4], [4, 5, 0]]]),
        is_greedy=np.array([[[True, False, False], [False, True, False]]]),
        prior=np.log([[[0.5, 0.125, 0.125], [0.2, 0.2, 1.0]]]),
    )
    return LabelScores(**(values | changes))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sum", [np.log(0.25), np.log(0.3)]),
        ("per_token", [np.log(0.25) / 2, np.log(0.3)]),
        ("per_byte", [np.log(0.25) / 8, np.log(0.3) / 5]),
        ("label_normalized", [np.log(0.25 / 0.875), np.log(0.3 / 0.4)]),
        # likelihood over prior: 1, 2, 1 and 0.5, 1.5
        ("pmi", [np.log(2 / 4), np.log(1.5 / 2)]),
        ("accuracy", [0, 1]),
    ],
)
def test_fitness_worked_by_hand(kind: str, expected: list[float]):
    np.testing.assert_allclose(fitness(kind).cases(scores()), [expected])


def test_every_kind_is_covered_above():
    likelihoods = {"sum", "per_token", "per_byte", "label_normalized", "pmi", "accuracy"}
    assert set(KINDS) - {"metric"} == likelihoods


def test_adding_a_constant_to_all_candidates_leaves_the_normalized_fitness():
    np.testing.assert_allclose(
        fitness("label_normalized").cases(scores(log_likelihood=LL - 7)),
        fitness("label_normalized").cases(scores()),
    )


def test_pmi_does_not_see_what_a_label_has_in_both():
    shift = np.array([[[1.0, -2.0, 0.5]] * 2])
    moved = scores(log_likelihood=LL + shift, prior=scores().prior + shift)
    np.testing.assert_allclose(fitness("pmi").cases(moved), fitness("pmi").cases(scores()))


def test_equal_candidates_are_at_chance():
    even = scores(log_likelihood=np.full((1, 2, 3), -3.0), num_tokens=np.ones((1, 2, 3), dtype=int))
    np.testing.assert_allclose(fitness("label_normalized").cases(even), -np.log(3))


def free_form() -> LabelScores:
    one = dict(
        num_tokens=np.array([[[2], [1]]]),
        num_bytes=np.array([[[3], [2]]]),
        is_greedy=np.array([[[True], [False]]]),
        prior=None,
    )
    return scores(gold=np.array([0, 0]), log_likelihood=np.log([[[0.5], [0.25]]]), **one)


def test_a_free_form_answer_is_right_where_it_is_the_greedy_one():
    assert correct(free_form()).tolist() == [[True, False]]


@pytest.mark.parametrize("kind", ["label_normalized", "pmi"])
def test_comparing_choices_without_choices_is_refused(kind: str):
    with pytest.raises(ValueError, match=r"compares choices|prior"):
        fitness(kind).cases(free_form())


def test_traits_worked_by_hand():
    evaluation = evaluate(
        Policy("Sort the mail."),
        scores(policy_ids=(Policy("Sort the mail.").policy_id,)),
        fitness("label_normalized", prompt_token_penalty=0.1, demonstrations_prior=0),
        5,
        labels=("a", "b", "c"),
    )
    cases = [np.log(0.25 / 0.875) - 0.5, np.log(0.3 / 0.4) - 0.5]
    assert evaluation.case_fitness == pytest.approx(cases, abs=1e-6)
    assert (
        evaluation.fitness
        == evaluation.traits["fitness"]
        == pytest.approx(np.mean(cases), abs=1e-6)
    )
    assert evaluation.traits["accuracy"] == 0.5
    assert evaluation.traits["instruction_words"] == 3
    assert evaluation.traits["prompt_tokens"] == 5
    # leads of the right answer: log(0.25/0.5) and log(0.3/0.1)
    assert evaluation.traits["margin"] == pytest.approx((np.log(0.5) + np.log(3)) / 2, abs=1e-6)
    # predicted 0 and 1, true 1 and 1: shares (1/2, 1/2) against (0, 1), half the sum of differences
    # is 1/2
    assert evaluation.traits["label_bias"] == 0.5
    assert evaluation.traits["cross_entropy"] == pytest.approx(
        -(np.log(0.25) / 2 + np.log(0.3)) / 2, abs=1e-6
    )


def test_traits_of_demonstrations_worked_by_hand():
    # Labels a, a, b, and c is missing: shares (2/3, 1/3, 0) against thirds, total variation 1/3.
    # Word sets of the inputs: {x, y}, {y, z} and {w}: Jaccard distances 1 - 1/3, 1, 1, mean 8/9.
    shown = Policy(
        demonstrations=(
            Demonstration("x y", "a"),
            Demonstration("Y z", "a"),
            Demonstration("w", "b"),
        )
    )
    traits = evaluate(
        shown, scores(policy_ids=(shown.policy_id,)), fitness("sum"), 0, labels=("a", "b", "c")
    ).traits
    assert traits["demonstration_balance"] == pytest.approx(2 / 3, abs=1e-6)
    assert traits["demonstration_diversity"] == pytest.approx(8 / 9, abs=1e-6)
    bare = evaluate(Policy(), scores(), fitness("sum"), 0, labels=("a", "b", "c")).traits
    assert (bare["demonstration_balance"], bare["demonstration_diversity"]) == (1, 0)


def test_calibration_worked_by_hand():
    # Likeliest choices: 0.5/0.875 = 0.571 and wrong; 0.3/0.4 = 0.75 and right. Two bins: (0.571 +
    # 0.25) / 2.
    expected = (0.5 / 0.875 + 0.25) / 2
    assert evaluate(Policy(), scores(), fitness("sum"), 0).traits[
        "calibration_error"
    ] == pytest.approx(expected, abs=1e-6)


def test_log_probabilities_by_label_worked_by_hand():
    traits = evaluate(Policy(), scores(), fitness("sum"), 0, labels=("no", "yes, sir", "c")).traits
    assert traits["log_probability_yes__sir"] == pytest.approx(
        (np.log(0.25 / 0.875) + np.log(0.3 / 0.4)) / 2, abs=1e-6
    )
    assert "log_probability_no" not in traits  # no example has this answer


def test_traits_by_example_have_the_traits_as_their_means():
    traits = evaluate(Policy(), scores(), fitness("sum"), 0).traits
    for name, values in case_traits(scores()).items():
        assert traits[name] == pytest.approx(values.mean(), abs=1e-6)


def test_a_trait_of_your_own_is_a_function_and_must_be_finite():
    own = {"shouting": lambda policy, scores: float(policy.instruction.count("!"))}
    assert (
        evaluate(
            Policy("Now!!"),
            scores(policy_ids=(Policy("Now!!").policy_id,)),
            fitness("sum"),
            0,
            extra=own,
        ).traits["shouting"]
        == 2
    )
    with pytest.raises(UserError, match="'broken' of policy .* is nan"):
        evaluate(
            Policy(),
            scores(),
            fitness("sum"),
            0,
            extra={"broken": lambda policy, scores: float("nan")},
        )


def test_traits_of_choices_are_absent_without_choices():
    assert {"margin", "label_bias"}.isdisjoint(
        evaluate(Policy(), free_form(), fitness("per_token"), 0).traits
    )


def test_scores_of_another_policy_are_refused():
    with pytest.raises(ValueError, match="was given the scores of"):
        evaluate(Policy("other"), scores(), fitness("sum"), 0)


def test_the_accuracy_of_a_fitness_is_that_of_its_own_comparison():
    # beyond the prior the first example's likelihoods are 1, 2 and 1: its right answer is found;
    # by likelihood it is not, and per token or byte neither: a tie, which goes to the first
    found = {
        kind: evaluate(Policy(), scores(), fitness(kind), 0, labels=("a", "b", "c")).traits
        for kind in KINDS
        if kind != "metric"
    }
    assert {kind: traits["accuracy"] for kind, traits in found.items()} == {
        "sum": 0.5,
        "per_token": 0.5,
        "per_byte": 0.5,
        "label_normalized": 0.5,
        "pmi": 1.0,
        "accuracy": 0.5,
    }
    # leads beyond the prior: log 2 and log(1.5 / 0.5)
    assert found["pmi"]["margin"] == pytest.approx((np.log(2) + np.log(3)) / 2, abs=1e-6)
    assert found["pmi"]["label_bias"] == 0


def test_label_bias_is_not_defined_where_choices_differ_by_example():
    assert "label_bias" not in evaluate(Policy(), scores(), fitness("sum"), 0).traits


def test_a_fitness_that_compares_by_nothing_there_is_is_refused(monkeypatch):
    class Odd(type(KINDS["sum"])):
        compared_by = "pmj"

    monkeypatch.setattr("evoprompt.fitness.catalog.KINDS", {"odd": Odd(), **KINDS})
    with pytest.raises(UserError, match="'pmj'; did you mean 'pmi'"):
        fitness("odd")


def test_a_trait_of_your_own_that_raises_is_named_with_what_it_raised():
    with pytest.raises(UserError, match=r"the trait 'odd' of policy .* raised KeyError: 'x'"):
        evaluate(Policy(), scores(), fitness("sum"), 0, extra={"odd": lambda p, s: {}["x"]})


@pytest.mark.parametrize("name", ["fitness", "accuracy", "label_bias", "log_probability_yes"])
def test_a_trait_of_your_own_has_a_name_of_its_own(name: str):
    with pytest.raises(UserError, match=f"traits.extra.{name}: the package has a trait"):
        extra_traits({name: "math:sqrt"})
    assert set(extra_traits({"mine": "math:sqrt"})) == {"mine"}


def test_nats_against_what_lacks_a_label_are_shared_among_the_examples():
    kind = fitness("label_normalized")
    assert kind.demonstrations_prior == 6.0
    plain = kind.cases(scores())
    np.testing.assert_allclose(kind.cases(scores(), lacks_labels=True), plain - 6 / 2, atol=1e-15)
    np.testing.assert_array_equal(kind.cases(scores(), lacks_labels=[False]), plain)
    both = Policy(demonstrations=(Demonstration("a", "no"), Demonstration("b", "yes")))
    one = Policy(demonstrations=(Demonstration("a", "no"), Demonstration("b", "no")))
    found = {
        policy: evaluate(policy, scores(policy_ids=(policy.policy_id,)), kind, 9, ("no", "yes"))
        for policy in (both, one, Policy())
    }
    assert [e.fitness for e in found.values()] == pytest.approx(
        [plain.mean(), plain.mean() - 3, plain.mean() - 3], abs=1e-6
    )
    assert found[both].fitness == pytest.approx(np.mean(found[both].case_fitness), abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "accuracy"},
        {"kind": "label_normalized", "calibration": "off"},
        {"kind": "label_normalized", "demonstrations_prior": 0.0},
    ],
)
def test_what_is_no_log_probability_or_not_calibrated_has_no_prior(settings):
    assert not fitness(**settings).handicap([True], 4).any()
