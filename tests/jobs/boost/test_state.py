"""The self-evaluation loop's pure functions: who is accepted, what the buffer holds, what the
context shows, when it ends.
"""

from __future__ import annotations

from itertools import permutations
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.jobs.boost.state import (
    Judged,
    LoopState,
    abstain,
    accept,
    batch_of,
    believed_error,
    choose,
    fill_buffer,
    goes_on,
    in_context,
)
from evoprompt.policy import Demonstration, Policy


def judged(
    log_odds: float,
    *,
    question: str = "q",
    answer: str = "a",
    round_number: int = 1,
    probability: float = 0.9,
    **more,
) -> Judged:
    return Judged(
        round_number,
        question,
        more.pop("text", f"text of {question}"),
        answer,
        probability,
        log_odds,
        **more,
    )


def test_a_batch_follows_from_the_round_alone():
    batches = [batch_of(10, 4, seed=3, round_number=r) for r in range(1, 6)]
    assert batches == [batch_of(10, 4, seed=3, round_number=r) for r in range(1, 6)]
    assert batch_of(10, 4, seed=4, round_number=1) != batches[0]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 5))
def test_no_question_comes_twice_in_a_batch_or_before_the_order_is_used_up(
    num_questions, size, seed
):
    if num_questions < size:
        with pytest.raises(ValueError, match="at least as many questions"):
            batch_of(num_questions, size, seed, 1)
        return
    whole = num_questions // size
    batches = [batch_of(num_questions, size, seed, r) for r in range(1, 3 * whole + 1)]
    assert all(len(set(batch)) == size for batch in batches)
    for turn in range(3):
        asked = [i for batch in batches[turn * whole : (turn + 1) * whole] for i in batch]
        assert len(set(asked)) == len(asked) == whole * size


def test_a_threshold_accepts_what_is_above_it():
    accepted = accept([judged(0.4), judged(0.5), judged(0.6)], threshold=0.5, share=0.0)
    assert [j.accepted for j in accepted] == [False, False, True]


def test_a_share_accepts_the_surest_and_ties_in_order():
    accepted = accept(
        [judged(0.1), judged(2.0), judged(0.1), judged(-1.0)], threshold=None, share=0.5
    )
    assert [j.accepted for j in accepted] == [True, True, False, False]


def test_an_answer_that_abstained_is_not_accepted_and_does_not_count_for_the_share():
    given_answers = abstain([judged(3.0, probability=0.2), judged(1.0), judged(0.5)], 0.3)
    assert [j.abstained for j in given_answers] == [True, False, False]
    assert [j.accepted for j in accept(given_answers, threshold=None, share=0.5)] == [
        False,
        True,
        False,
    ]
    assert [j.accepted for j in accept(given_answers, threshold=0.0, share=0.0)] == [
        False,
        True,
        True,
    ]


def test_the_believed_error_is_the_mean_probability_of_false():
    # log-odds ln 3: p(FALSE) = 1/4; 0: 1/2; the third abstained. Mean 3/8.
    assert believed_error(
        [judged(log(3)), judged(0.0), judged(-9.0, abstained=True)]
    ) == pytest.approx(0.375)
    assert np.isnan(believed_error([judged(1.0, abstained=True)]))
    assert np.isnan(believed_error([judged(float("nan"))]))
    assert believed_error([judged(1_000.0), judged(-1_000.0), judged(float("nan"))]) == 0.5


def test_an_answer_that_could_not_be_judged_is_never_accepted_wherever_it_stands():
    numbers = [3.0, float("nan"), 1.0, 2.0, float("nan")]
    for order in permutations(numbers):
        accepted = accept([judged(x) for x in order], threshold=None, share=2 / 3)
        assert sorted(j.log_odds for j in accepted if j.accepted) == [2.0, 3.0]


def test_a_replaced_buffer_holds_the_newest_round_and_older_pairs_only_to_make_up_the_least():
    old = [judged(1.0, question=f"old{i}", accepted=True) for i in range(3)]
    new = [judged(1.0, question=f"new{i}", round_number=2, accepted=i < 2) for i in range(3)]
    assert [j.question_id for j in fill_buffer(old, new, "replace", 2)] == ["new0", "new1"]
    assert [j.question_id for j in fill_buffer(old, new, "replace", 4)] == [
        "old1",
        "old2",
        "new0",
        "new1",
    ]
    assert [j.question_id for j in fill_buffer(old, [], "replace", 2)] == ["old1", "old2"]


def test_an_accumulating_buffer_holds_all_and_the_newest_answer_to_each_question():
    old = [judged(1.0, question=q, accepted=True) for q in "abc"]
    again = [judged(2.0, question="b", answer="other", round_number=2, accepted=True)]
    buffer = fill_buffer(old, again, "accumulate", 1)
    assert [(j.question_id, j.answer) for j in buffer] == [("a", "a"), ("c", "a"), ("b", "other")]


def shown(buffer, rule, most=2, max_tokens=100, cost=lambda _: 1) -> set[str]:
    return {
        j.question_id
        for j in choose(buffer, rule, most, max_tokens, cost, np.random.default_rng(0))
    }


def test_each_rule_shows_what_it_says():
    buffer = [
        judged(5.0, question="1", answer="x", text="red car"),
        judged(4.0, question="2", answer="x", text="red car fast"),
        judged(3.0, question="3", answer="x", text="red big car"),
        judged(1.0, question="4", answer="y", text="blue sky above"),
        judged(2.0, question="5", answer="x", text="red car fast again"),
    ]
    assert shown(buffer, "newest") == {"4", "5"}
    assert shown(buffer, "confident") == {"1", "2"}
    assert shown(buffer, "balanced") == {"1", "4"}
    assert shown(buffer, "diverse") == {"1", "4"}  # no word in common with "red car"
    # Then 5: its nearest of {1, 4} is 1 with 2 of 4 words in common, distance 1/2; for 2 and 3 it
    # is 1/3.
    assert shown(buffer, "diverse", most=3) == {"1", "4", "5"}


def test_a_pair_that_does_not_fit_the_tokens_left_is_passed_over():
    buffer = [
        judged(3.0, question="long"),
        judged(2.0, question="short"),
        judged(1.0, question="also short"),
    ]
    cost = {"long": 50, "short": 6, "also short": 5}
    assert shown(
        buffer, "confident", most=3, max_tokens=11, cost=lambda j: cost[j.question_id]
    ) == {"short", "also short"}


def test_the_order_in_the_context_follows_from_the_generator():
    buffer = [judged(float(i), question=str(i)) for i in range(6)]
    orders = {
        tuple(
            j.question_id
            for j in choose(buffer, "confident", 6, 99, lambda _: 1, np.random.default_rng(seed))
        )
        for seed in range(5)
    }
    assert len(orders) > 1
    again = [
        choose(buffer, "confident", 6, 99, lambda _: 1, np.random.default_rng(1)) for _ in range(2)
    ]
    assert again[0] == again[1]


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.sampled_from("xyz"), st.integers(1, 9)), max_size=12),
    st.sampled_from(["newest", "confident", "diverse", "balanced"]),
)
def test_a_context_is_a_part_of_the_buffer_within_its_limits(rows, rule):
    buffer = [
        judged(o, question=str(i), answer=a, text=f"{a} {n} {i % 3}")
        for i, (o, a, n) in enumerate(rows)
    ]
    context = choose(
        buffer, rule, 4, 20, lambda j: int(j.input.split()[1]), np.random.default_rng(0)
    )
    assert set(context) <= set(buffer)
    assert len(set(context)) == len(context) <= 4
    assert sum(int(j.input.split()[1]) for j in context) <= 20


def test_the_context_follows_the_policys_own_demonstrations():
    policy = Policy(demonstrations=(Demonstration("own", "b"),))
    assert in_context(policy, [judged(1.0, question="q")]).demonstrations == (
        Demonstration("own", "b"),
        Demonstration("text of q", "a"),
    )


def test_the_loop_ends_with_its_rounds_its_budget_or_its_patience():
    def state(*believed: float, tokens: int = 0) -> LoopState:
        return LoopState(0, len(believed), believed=believed, tokens=tokens)

    def on(s: LoopState) -> bool:
        return goes_on(s, rounds=5, patience=2, max_tokens=100)

    assert on(state())
    assert on(state(0.5))
    assert on(state(0.5, 0.5))
    assert not on(state(0.5, 0.5, 0.5))  # two rounds without a lower one
    assert on(state(0.5, 0.4, 0.45))
    assert not on(state(0.5, 0.4, 0.45, 0.4))
    assert not on(state(0.5, 0.4, tokens=100))
    assert not on(state(0.5, 0.4, 0.3, 0.2, 0.1))
    assert goes_on(state(0.5, 0.4, tokens=10**9), rounds=5, patience=2, max_tokens=None)


@given(
    st.lists(st.floats(0, 1), max_size=6),
    st.lists(st.integers(0, 6), max_size=4),
    st.integers(1, 4),
)
def test_rounds_that_believe_nothing_change_nothing_wherever_they_stand(known, places, patience):
    with_gaps = list(known)
    for place in places:
        with_gaps.insert(min(place, len(with_gaps)), float("nan"))
    goes = [
        goes_on(LoopState(0, 3, believed=tuple(b)), rounds=9, patience=patience, max_tokens=None)
        for b in (known, with_gaps)
    ]
    assert goes[0] == goes[1]
